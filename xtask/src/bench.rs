//! `cargo xtask bench NAME`: the figures that the documentation states, each measured by one command.
//!
//! Every benchmark drives the release program from outside, prints a table and leaves the same numbers as JSON
//! in `target/bench`. Times depend on the machine: compare ratios, or runs of the same machine. `--all` runs those
//! that have a target and ends with one table of figure, target and verdict.

mod audio;
mod chart;
mod cold_search;
mod decode;
mod index;
mod local;
mod machine;
mod measure;
mod memory;
mod memory_remote;
mod orchestration;
mod page;
mod profile;
mod report;
mod search;
mod vendor;
mod words;

use crate::workspace::{self, Workspace};
use crate::{demo, models, process, programs, python};
use anyhow::{Context, Result, bail};
use report::{Report, Row};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;

/// What a benchmark works with.
struct Bench {
    program: PathBuf,
    /// A folder of its own, empty at the start.
    folder: PathBuf,
    results: PathBuf,
    /// A smaller run, to see that the benchmark works.
    quick: bool,
}

impl Bench {
    /// Builds the program, fetches the models and makes the folder.
    fn prepare(name: &str, quick: bool) -> Result<Self> {
        let bench = Self::without_program(name, quick)?;
        process::run(&mut process::cargo(&[
            "build",
            "--release",
            "--locked",
            "--package",
            "audiorag-cli",
        ]))?;
        models::pull(&bench.program)?;
        Ok(bench)
    }

    /// Makes the folder, and sees to it that ffmpeg is there, which makes recordings and is compared with.
    fn without_program(name: &str, quick: bool) -> Result<Self> {
        programs::install()?;
        let workspace = Workspace::load()?;
        let program = workspace.binary("release");
        let results = workspace.target_directory.join("bench");
        let folder = results.join(name);
        if folder.exists() {
            std::fs::remove_dir_all(&folder)
                .with_context(|| format!("cannot remove {}", folder.display()))?;
        }
        std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        Ok(Self {
            program,
            folder,
            results,
            quick,
        })
    }

    /// The program with a database of its own.
    fn audiorag(&self, database: &str, arguments: &[&str]) -> Command {
        let mut command = process::program(&self.program);
        let url = format!(
            "sqlite://{}",
            self.folder.join(format!("{database}.db")).display()
        );
        command
            .args(["--database-url", &url])
            .args(["--quiet", "--no-progress", "--yes"])
            .args(arguments);
        command
    }

    /// The folder of everything that is built.
    fn target(&self) -> &Path {
        self.results.parent().unwrap_or(&self.results)
    }

    /// The Python of an environment with `packages`, which something here is compared with.
    fn anchor(&self, name: &str, packages: &[&str]) -> Result<PathBuf> {
        python::environment(&self.target().join("anchors").join(name), packages)
    }

    /// Leaves the numbers where the next tool finds them.
    fn save(&self, name: &str, rows: &[Row], details: &Value) -> Result<()> {
        let rows: Vec<Value> = rows.iter().map(Row::to_json).collect();
        let record = json!({
            "bench": name, "quick": self.quick, "machine": machine::describe(), "rows": rows, "result": details,
        });
        let path = self.results.join(format!("{name}.json"));
        std::fs::write(&path, format!("{record:#}\n"))
            .with_context(|| format!("cannot write {}", path.display()))?;
        println!("\nsaved {}", path.display());
        Ok(())
    }
}

/// A benchmark by its name.
struct Named {
    name: &'static str,
    /// Whether it starts the program.
    needs_program: bool,
    run: fn(&Bench) -> Result<Report>,
}

/// Those with targets, in the order in which `--all` runs them.
const BENCHES: &[Named] = &[
    Named {
        name: "index",
        needs_program: true,
        run: index::run,
    },
    Named {
        name: "local",
        needs_program: true,
        run: local::run,
    },
    Named {
        name: "decode",
        needs_program: false,
        run: decode::run,
    },
    Named {
        name: "cold-search",
        needs_program: true,
        run: cold_search::run,
    },
    Named {
        name: "memory",
        needs_program: true,
        run: |bench| memory::run(bench, false),
    },
    Named {
        name: "search",
        needs_program: true,
        run: search::run,
    },
    Named {
        name: "orchestration",
        needs_program: true,
        run: orchestration::run,
    },
    Named {
        name: "memory-remote",
        needs_program: true,
        run: memory_remote::run,
    },
];

impl Named {
    /// Measures, saves, and prints the rows.
    fn measure(&self, quick: bool) -> Result<Vec<Row>> {
        let bench = if self.needs_program {
            Bench::prepare(self.name, quick)?
        } else {
            Bench::without_program(self.name, quick)?
        };
        let report = (self.run)(&bench)?;
        if !report.rows.is_empty() {
            println!("\n{}", report::table(&[(self.name, &report.rows)]));
        }
        bench.save(self.name, &report.rows, &report.details)?;
        Ok(report.rows)
    }
}

/// Runs the named benchmark, or all with targets.
pub(crate) fn run(arguments: &[&str]) -> Result<()> {
    let (names, flags): (Vec<&str>, Vec<&str>) =
        arguments.iter().partition(|argument| !argument.starts_with("--"));
    if let Some(unknown) = flags
        .iter()
        .find(|flag| !matches!(**flag, "--quick" | "--dense" | "--all" | "--bless"))
    {
        bail!("unknown flag {unknown}");
    }
    let quick = flags.contains(&"--quick");
    match names.as_slice() {
        [] if flags.contains(&"--all") || flags.contains(&"--bless") => {
            if flags.contains(&"--all") {
                all(quick)?;
            }
            if flags.contains(&"--bless") {
                page::bless(&Bench::all_results()?)?;
            }
            Ok(())
        }
        ["memory"] if flags.contains(&"--dense") => {
            let bench = Bench::prepare("memory", quick)?;
            let report = memory::run(&bench, true)?;
            bench.save("memory", &report.rows, &report.details)
        }
        ["profile"] => {
            let bench = Bench::prepare("profile", quick)?;
            let report = profile::run(&bench)?;
            bench.save("profile", &report.rows, &report.details)
        }
        ["words", pairs @ ..] => words::run(&Bench::prepare("words", quick)?, pairs),
        [name] => match BENCHES.iter().find(|bench| bench.name == *name) {
            Some(bench) => bench.measure(quick).map(|_| ()),
            None => bail!("there is no benchmark {name}, only {}", known()),
        },
        _ => bail!("which benchmark? {}; --all for all that have a target", known()),
    }
}

fn known() -> String {
    let mut names: Vec<&str> = BENCHES.iter().map(|bench| bench.name).collect();
    names.extend(["words", "profile"]);
    names.join(", ")
}

/// Runs one after the other, and goes on when one of them fails.
fn all(quick: bool) -> Result<()> {
    let mut measured = Vec::new();
    let mut failures = Vec::new();
    for bench in BENCHES {
        match bench.measure(quick) {
            Ok(rows) => measured.push((bench.name, rows)),
            Err(error) => failures.push(format!("{}: {error:#}", bench.name)),
        }
    }
    let tables: Vec<(&str, &[Row])> = measured
        .iter()
        .map(|(name, rows)| (*name, rows.as_slice()))
        .collect();
    process::headline(&format!("all benchmarks, on {}", machine::line()));
    println!("{}", report::table(&tables));
    if failures.is_empty() {
        Ok(())
    } else {
        bail!("{}", failures.join("; "))
    }
}

/// Texts read aloud, about two minutes, with a second of silence after each: what every benchmark speaks with.
fn reading(bench: &Bench) -> Result<audio::Wav> {
    let mut reading = audio::Wav {
        rate: 0,
        samples: Vec::new(),
    };
    for name in demo::SPEECH {
        let wav = bench.folder.join("decoded.wav");
        let mut decode = process::cargo(&["run", "--quiet", "--release", "--locked", "-p", "xtask"]);
        decode
            .args(["--example", "decode", "--"])
            .arg(workspace::root().join(name))
            .arg(&wav);
        process::run(&mut decode)?;
        let decoded = audio::Wav::read(&wav)?;
        reading.rate = decoded.rate;
        reading.samples.extend(decoded.samples);
        reading
            .samples
            .resize(reading.samples.len() + decoded.rate as usize, 0);
    }
    Ok(reading)
}

fn path_text(path: &Path) -> Result<&str> {
    path.to_str()
        .with_context(|| format!("{} is not UTF-8", path.display()))
}
