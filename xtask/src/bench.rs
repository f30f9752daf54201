//! `cargo xtask bench NAME`: the figures that the documentation states, each measured by one command.
//!
//! Every benchmark drives the release program from outside, prints a table and leaves the same numbers as JSON
//! in `target/bench`. Times depend on the machine: compare ratios, or runs of the same machine.

mod audio;
mod cold_search;
mod decode;
mod index;
mod measure;
mod memory;
mod words;

use crate::workspace::{self, Workspace};
use crate::{demo, models, process};
use anyhow::{Context, Result, bail};
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

    /// Makes the folder.
    fn without_program(name: &str, quick: bool) -> Result<Self> {
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

    /// Leaves the numbers where the next tool finds them.
    fn save(&self, name: &str, result: &Value) -> Result<()> {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let record = json!({ "bench": name, "quick": self.quick, "cores": cores, "result": result });
        let path = self.results.join(format!("{name}.json"));
        std::fs::write(&path, format!("{record:#}\n"))
            .with_context(|| format!("cannot write {}", path.display()))?;
        println!("\nsaved {}", path.display());
        Ok(())
    }
}

/// Runs the named benchmark.
pub(crate) fn run(arguments: &[&str]) -> Result<()> {
    let (names, flags): (Vec<&str>, Vec<&str>) =
        arguments.iter().partition(|argument| !argument.starts_with("--"));
    if let Some(unknown) = flags.iter().find(|flag| !matches!(**flag, "--quick" | "--dense")) {
        bail!("unknown flag {unknown}");
    }
    let quick = flags.contains(&"--quick");
    match names.as_slice() {
        ["index"] => index::run(&Bench::prepare("index", quick)?),
        ["memory"] => memory::run(&Bench::prepare("memory", quick)?, flags.contains(&"--dense")),
        ["cold-search"] => cold_search::run(&Bench::prepare("cold-search", quick)?),
        ["words", pairs @ ..] => words::run(&Bench::prepare("words", quick)?, pairs),
        ["decode"] => decode::run(&Bench::without_program("decode", quick)?),
        _ => bail!("which benchmark? index, memory, cold-search, words or decode"),
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
