//! `bench search`: the embedded store against exact answers and against Chroma's persistent client in Python.
//!
//! Two sets of vectors: clusters made up of random numbers, and the definitions of WordNet embedded with the local
//! model, a thousand of them held out as queries. Both programs answer from the same files in turns, slice by slice.
//! What takes long to make (embeddings, stores) is kept in `target/bench/search-data` between runs.

mod answers;

use super::chart::Chart;
use super::measure::median;
use super::report::{Report, Row, Target};
use super::{Bench, path_text};
use crate::{models, process};
use answers::{Answers, Server, number, numbers};
use anyhow::{Context, Result};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const CHROMA: &str = "chromadb==1.5.9";
/// Queries asked of one program before it is the other's turn.
const SLICE: usize = 20;
/// Queries whose true neighbours are known.
const KNOWN: usize = 200;
/// Definitions that are embedded: the rest of a larger set is made of points between near ones.
const EMBEDDED: usize = 21_000;

/// The programs and the folder that is kept.
struct Tools<'a> {
    bench: &'a Bench,
    ours: PathBuf,
    python: PathBuf,
    script: PathBuf,
    folder: PathBuf,
}

/// One set of vectors of one size.
struct Set {
    name: &'static str,
    count: usize,
    vectors: PathBuf,
}

impl Set {
    fn title(&self) -> String {
        format!("{} {}", self.name, size(self.count))
    }

    /// The name of a store of these vectors: a quick run has others under the same name and number.
    fn store(&self, of: &str) -> Result<String> {
        let vectors = self.vectors.file_name().and_then(|name| name.to_str());
        let vectors = vectors.context("vectors without a name")?;
        Ok(format!("{of}-{vectors}-{}", self.count))
    }
}

fn size(count: usize) -> String {
    match count {
        count if count >= 1_000_000 => format!("{}M", count / 1_000_000),
        count => format!("{}k", count / 1000),
    }
}

/// What was measured of one set.
struct Measured {
    set: Set,
    built: Value,
    started: Value,
    /// By command: what ours and the anchor's slices took.
    ours: Vec<(&'static str, Answers)>,
    theirs: Vec<(&'static str, Answers)>,
    their_build: Option<Value>,
    exact: Value,
    memory: Value,
}

pub(super) fn run(bench: &Bench) -> Result<Report> {
    let tools = Tools::prepare(bench)?;
    let sizes: &[usize] = if bench.quick {
        &[1_000, 10_000]
    } else {
        &[1_000, 10_000, 100_000, 1_000_000]
    };
    let largest = sizes.last().copied().unwrap_or_default();
    let mut measured = Vec::new();
    for count in sizes {
        // The anchor takes a quarter of an hour to build a million, once.
        let compared = if bench.quick {
            *count == largest
        } else {
            *count >= 100_000
        };
        measured.push(tools.measure(tools.synthetic(*count, largest)?, compared)?);
        if *count >= 100_000 || (bench.quick && compared) {
            measured.push(tools.measure(tools.real(*count, largest)?, compared)?);
        }
    }
    let mut rows = Vec::new();
    for one in &measured {
        one.print();
        one.rows(&mut rows);
    }
    rows.extend(tools.added(&measured)?);
    charts(bench, &measured)?;
    let details: Vec<Value> = measured.iter().map(Measured::details).collect();
    Ok(Report {
        rows,
        details: json!({ "sets": details, "anchor": CHROMA, "slice": SLICE }),
    })
}

impl<'a> Tools<'a> {
    fn prepare(bench: &'a Bench) -> Result<Self> {
        process::run(&mut process::cargo(&[
            "build",
            "--release",
            "--locked",
            "-p",
            "audiorag-state",
            "--example",
            "search",
        ]))?;
        let folder = bench.results.join("search-data");
        fs::create_dir_all(&folder)?;
        let script = bench.folder.join("search.py");
        fs::write(&script, include_str!("search.py"))?;
        let release = bench.program.parent().context("a program without a folder")?;
        Ok(Self {
            bench,
            ours: release.join("examples/search"),
            python: bench.anchor("chroma", &[CHROMA, "numpy"])?,
            script,
            folder,
        })
    }

    fn python(&self, arguments: &[&str]) -> Command {
        let mut command = process::program(&self.python);
        command
            .arg(&self.script)
            .args(arguments)
            .current_dir(&self.folder);
        command
    }

    fn synthetic(&self, count: usize, largest: usize) -> Result<Set> {
        let name = "synthetic";
        let vectors = self.folder.join(format!("{name}-{largest}"));
        if !vectors.join("vectors.f32").exists() {
            let partial = vectors.with_extension("part");
            process::run(&mut self.python(&["generate", path_text(&partial)?, &largest.to_string()]))?;
            fs::rename(&partial, &vectors)?;
        }
        Ok(Set { name, count, vectors })
    }

    /// Definitions of WordNet, and points between them where there are not enough.
    fn real(&self, count: usize, largest: usize) -> Result<Set> {
        let name = "real";
        let vectors = self.folder.join(format!("{name}-{largest}"));
        if !vectors.join("vectors.f32").exists() {
            let embedded = self.folder.join("real.f32");
            if !embedded.exists() {
                let model = models::pull(&self.bench.program)?.join("all-MiniLM-L6-v2-int8");
                let (texts, few) = (self.texts()?, self.folder.join("embedded.txt"));
                let lines: Vec<String> = fs::read_to_string(texts)?
                    .lines()
                    .take(EMBEDDED)
                    .map(str::to_owned)
                    .collect();
                fs::write(&few, lines.join("\n"))?;
                process::headline(&format!("embedding {EMBEDDED} definitions with the local model"));
                process::run(&mut self.python(&[
                    "embed",
                    path_text(&model)?,
                    path_text(&few)?,
                    path_text(&embedded)?,
                ]))?;
            }
            let partial = vectors.with_extension("part");
            process::run(&mut self.python(&[
                "enlarge",
                path_text(&embedded)?,
                path_text(&partial)?,
                &largest.to_string(),
            ]))?;
            fs::rename(&partial, &vectors)?;
        }
        Ok(Set { name, count, vectors })
    }

    /// The definitions of WordNet, from Debian's package.
    fn texts(&self) -> Result<PathBuf> {
        let texts = self.folder.join("texts.txt");
        if !texts.exists() {
            let package = self.folder.join("package");
            fs::create_dir_all(&package)?;
            process::run(
                process::program("apt-get")
                    .args(["download", "-q", "wordnet-base"])
                    .current_dir(&package),
            )?;
            let archive = fs::read_dir(&package)?
                .filter_map(|entry| Some(entry.ok()?.path()))
                .find(|path| path.extension().is_some_and(|ending| ending == "deb"))
                .context("the package wordnet-base was not downloaded")?;
            process::run(process::program("dpkg").arg("-x").arg(&archive).arg(&package))?;
            let data = package.join("usr/share/wordnet");
            process::run(&mut self.python(&["glosses", path_text(&data)?, path_text(&texts)?]))?;
        }
        Ok(texts)
    }

    fn measure(&self, set: Set, compared: bool) -> Result<Measured> {
        process::headline(&set.title());
        let count = set.count.to_string();
        let vectors = path_text(&set.vectors)?.to_owned();
        let exact = kept(&set.vectors.join(format!("exact-{count}.json")), || {
            process::capture(&mut self.python(&["exact", &vectors, &count]))
        })?;
        // A store that another version of the program built is built again.
        let stamp = fs::metadata(&self.ours)?.len();
        let home = self.folder.join(format!("{}-{stamp}", set.store("ours")?));
        let (database, texts) = (home.join("state.db"), self.texts()?);
        let built = home.join("build.json");
        if !built.exists() {
            let _ = fs::remove_dir_all(&home);
            fs::create_dir_all(&home)?;
        }
        let serving = [path_text(&database)?, &vectors, &count, path_text(&texts)?];
        let built = kept(&built, || {
            process::capture(process::program(&self.ours).arg("build").args(serving))
        })?;
        let store = self.folder.join(set.store("chroma")?);
        if compared && !store.join("build.json").exists() {
            let _ = fs::remove_dir_all(&store);
            process::run(&mut self.python(&["build", path_text(&store)?, &vectors, &count]))?;
        }
        let mut their_build = None;
        let mut theirs = None;
        if compared {
            their_build = Some(serde_json::from_str(&fs::read_to_string(
                store.join("build.json"),
            )?)?);
            theirs = Some(Server::start(&mut self.python(&[
                "serve",
                path_text(&store)?,
                &vectors,
                &count,
            ]))?);
        }
        let mut ours = Server::start(process::program(&self.ours).arg("serve").args(serving))?;
        let started = ours.read()?;
        let mut measured = Measured {
            set,
            built,
            started,
            ours: Vec::new(),
            theirs: Vec::new(),
            their_build,
            exact,
            memory: Value::Null,
        };
        for command in ["dense", "filtered", "lexical", "sound", "hybrid"] {
            let (mut here, mut there) = (Answers::default(), Answers::default());
            for first in (0..KNOWN).step_by(SLICE) {
                here.take(first, &ours.ask(command, first)?)?;
                if let Some(server) = theirs
                    .as_mut()
                    .filter(|_| matches!(command, "dense" | "filtered"))
                {
                    there.take(first, &server.ask(command, first)?)?;
                }
            }
            measured.ours.push((command, here));
            if !there.walls.is_empty() {
                measured.theirs.push((command, there));
            }
        }
        measured.memory = ours.ask("memory", 0)?;
        Ok(measured)
    }

    /// A thousand vectors more, in an empty index and in the largest one, in turns.
    fn added(&self, measured: &[Measured]) -> Result<Option<Row>> {
        let Some(largest) = measured.iter().max_by_key(|one| one.set.count) else {
            return Ok(None);
        };
        let stamp = fs::metadata(&self.ours)?.len();
        let home = self
            .folder
            .join(format!("{}-{stamp}", largest.set.store("ours")?));
        let (mut to_empty, mut to_full) = (Vec::new(), Vec::new());
        for round in 0..3 {
            let empty = self.bench.folder.join(format!("empty-{round}.db"));
            for (database, times) in [(&empty, &mut to_empty), (&home.join("state.db"), &mut to_full)] {
                let answer = process::capture(process::program(&self.ours).arg("add").arg(database))?;
                let answer: Value = serde_json::from_str(&answer)?;
                times.extend(numbers(&answer, "wall_ms"));
            }
        }
        let (empty, full) = (median(&to_empty), median(&to_full));
        let what = format!(
            "{}: adding 1,000 vectors, against an empty index",
            largest.set.title()
        );
        Ok(Some(
            Row::new(what, full / empty, "x", Target::AtMost(1.1))
                .note(format!("{full:.0} ms against {empty:.0} ms")),
        ))
    }
}

impl Measured {
    fn of<'b>(side: &'b [(&'static str, Answers)], command: &str) -> Option<&'b Answers> {
        side.iter()
            .find(|(name, _)| *name == command)
            .map(|(_, answers)| answers)
    }

    fn recall(&self, side: &[(&'static str, Answers)], command: &str) -> f64 {
        let truth = self.exact.get(command);
        Self::of(side, command)
            .zip(truth)
            .map_or(f64::NAN, |(answers, truth)| answers.recall(truth))
    }

    fn print(&self) {
        println!("\n{}", self.set.title());
        println!("| search | by | p50 ms | p99 ms | CPU ms | recall@10 |\n|---|---|---:|---:|---:|---:|");
        for (by, side) in [("here", &self.ours), ("Chroma", &self.theirs)] {
            for (command, answers) in side {
                println!(
                    "| {command} | {by} | {:.2} | {:.2} | {:.2} | {:.4} |",
                    answers.percentile(0.5),
                    answers.percentile(0.99),
                    median(&answers.cpu),
                    self.recall(side, command),
                );
            }
        }
    }

    fn rows(&self, rows: &mut Vec<Row>) {
        let (title, count) = (self.set.title(), self.set.count);
        let mut push = |what: &str, figure: f64, unit, target, note: String| {
            rows.push(Row::new(format!("{title}: {what}"), figure, unit, target).note(note));
        };
        if count < 10_000 {
            return;
        }
        for command in ["dense", "filtered"] {
            let here = Self::of(&self.ours, command);
            let recall = self.recall(&self.ours, command);
            let note = here.map_or_else(String::new, |here| {
                format!(
                    "p50 {:.2} ms, p99 {:.2} ms",
                    here.percentile(0.5),
                    here.percentile(0.99)
                )
            });
            push(
                &format!("{command}, recall@10"),
                recall,
                "",
                Target::AtLeast(0.99),
                note,
            );
            let Some((here, there)) = here.zip(Self::of(&self.theirs, command)) else {
                continue;
            };
            let target = match (command, count) {
                ("filtered", _) => 50.0,
                (_, 1_000_000..) => 1.0,
                _ => 2.0,
            };
            let note = format!(
                "{:.0} a second against Chroma's {:.0} with recall {:.4}",
                here.throughput(),
                there.throughput(),
                self.recall(&self.theirs, command)
            );
            let ratio = here.throughput() / there.throughput();
            push(
                &format!("{command}, throughput"),
                ratio,
                "x",
                Target::AtLeast(target),
                note,
            );
        }
        // The anchor's larger store is kept, and was built beside whatever ran on that day.
        if let Some(theirs) = self.their_build.as_ref().filter(|_| count <= 100_000) {
            // Processor time: the stores are built at different times, and both mostly compute.
            let (here, there) = (number(&self.built, "vectors_cpu_s"), number(theirs, "cpu_s"));
            let note = format!("processor time, {here:.1} s against Chroma's {there:.0} s");
            push("ingest", there / here, "x", Target::AtLeast(15.0), note);
        }
        let p50 = |command| Self::of(&self.ours, command).map_or(f64::NAN, |answers| answers.percentile(0.5));
        let p99 =
            |command| Self::of(&self.ours, command).map_or(f64::NAN, |answers| answers.percentile(0.99));
        if count == 100_000 {
            let note = format!("p99 {:.1} ms", p99("lexical"));
            push("lexical, p50", p50("lexical"), "ms", Target::AtMost(5.0), note);
        }
        if count >= 1_000_000 {
            let note = format!("p99 {:.1} ms", p99("hybrid"));
            push("hybrid, p50", p50("hybrid"), "ms", Target::AtMost(20.0), note);
            let opened = number(&self.started, "open_ms");
            let note = format!(
                "first search after {:.1} ms",
                number(&self.started, "first_search_ms")
            );
            push("opening", opened, "ms", Target::AtMost(5.0), note);
            let megabytes = number(&self.memory, "anonymous_bytes") / 1e6;
            push(
                "anonymous memory of a searching process",
                megabytes,
                "MB",
                Target::AtMost(300.0),
                "with the benchmark's own texts and queries".to_owned(),
            );
        }
    }

    fn details(&self) -> Value {
        let side = |side: &[(&'static str, Answers)]| -> Value {
            side.iter()
                .map(|(command, answers)| {
                    let answers = json!({
                        "p50_ms": answers.percentile(0.5), "p99_ms": answers.percentile(0.99),
                        "cpu_ms": answers.cpu, "queries_per_second": answers.throughput(),
                        "recall": self.recall(side, command),
                    });
                    ((*command).to_owned(), answers)
                })
                .collect::<serde_json::Map<_, _>>()
                .into()
        };
        json!({
            "set": self.set.name, "count": self.set.count, "built": self.built, "started": self.started,
            "memory": self.memory, "ours": side(&self.ours), "chroma": side(&self.theirs),
            "chroma_built": self.their_build,
        })
    }
}

/// The JSON in a file, which is made where it is missing.
fn kept(path: &Path, make: impl FnOnce() -> Result<String>) -> Result<Value> {
    if !path.exists() {
        let text = make()?;
        fs::write(path, text)?;
    }
    serde_json::from_str(&fs::read_to_string(path)?)
        .with_context(|| format!("{} is not JSON; delete it", path.display()))
}

/// How costs grow with the chunks.
fn charts(bench: &Bench, measured: &[Measured]) -> Result<()> {
    let line = |name: &str, value: &dyn Fn(&Measured) -> f64| {
        let points = measured
            .iter()
            .filter(|one| one.set.name == "synthetic")
            .map(|one| (one.set.count as f64, value(one)))
            .collect();
        (name.to_owned(), points)
    };
    let p50 = |command: &'static str| {
        move |one: &Measured| Measured::of(&one.ours, command).map_or(0.0, |answers| answers.percentile(0.5))
    };
    Chart {
        title: "A search",
        across: "chunks",
        up: "ms, the middle of 200 searches",
        lines: vec![
            line("vectors", &p50("dense")),
            line("words", &p50("lexical")),
            line("hybrid", &p50("hybrid")),
        ],
    }
    .write(&bench.results.join("search-time.svg"))?;
    let thousands = |one: &Measured| one.set.count as f64 / 1000.0;
    Chart {
        title: "Adding to the index",
        across: "chunks",
        up: "processor ms for 1,000 chunks",
        lines: vec![
            line("vectors", &|one| {
                number(&one.built, "vectors_cpu_s") * 1000.0 / thousands(one)
            }),
            line("texts", &|one| {
                number(&one.built, "chunks_cpu_s") * 1000.0 / thousands(one)
            }),
        ],
    }
    .write(&bench.results.join("search-ingest.svg"))?;
    let file = |suffix: &'static str| {
        move |one: &Measured| {
            let files = one.built.get("files").cloned().unwrap_or_default();
            number(&files, suffix).max(0.0) / 1e6
        }
    };
    Chart {
        title: "Files of the index",
        across: "chunks",
        up: "MB",
        lines: vec![
            line("database", &file("")),
            line("vectors", &file(".vectors-1")),
            line("codes", &file(".vectors-1.codes")),
        ],
    }
    .write(&bench.results.join("search-files.svg"))
}
