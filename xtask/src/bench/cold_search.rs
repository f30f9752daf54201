//! How long a command takes from the start of the process to its end: a search to its hits, and the help.

use super::Bench;
use super::measure::{Run, measure, median};
use super::report::{Report, Row, Target};
use crate::{demo, process};
use anyhow::Result;
use serde_json::{Value, json};
use std::path::Path;

const QUESTION: &str = "who had the superlative degree of comparison only";
/// What others keep vectors in.
const ANCHOR: &[&str] = &["chromadb==1.5.9", "numpy"];

/// What is started in turns, each next to the others at the same moment.
struct Start<'a> {
    what: &'static str,
    run: Box<dyn Fn() -> Result<Run> + 'a>,
    taken: Vec<Run>,
}

impl<'a> Start<'a> {
    fn new(what: &'static str, run: impl Fn() -> Result<Run> + 'a) -> Self {
        Self {
            what,
            run: Box::new(run),
            taken: Vec::new(),
        }
    }

    fn milliseconds(&self) -> Vec<f64> {
        self.taken
            .iter()
            .map(|run| run.wall.as_secs_f64() * 1000.0)
            .collect()
    }

    fn median_milliseconds(&self) -> f64 {
        median(&self.milliseconds())
    }

    fn to_json(&self) -> Value {
        let cpu: Vec<f64> = self
            .taken
            .iter()
            .map(|run| run.cpu.as_secs_f64() * 1000.0)
            .collect();
        let peaks: Vec<f64> = self.taken.iter().map(|run| run.peak_megabytes()).collect();
        json!({
            "what": self.what,
            "wall_ms": self.milliseconds(),
            "median_wall_ms": self.median_milliseconds(),
            "median_cpu_ms": median(&cpu),
            "median_peak_megabytes": median(&peaks),
        })
    }
}

/// Indexes the sample speech once, then searches it in fresh processes. Half a minute once the anchor is installed.
pub(super) fn run(bench: &Bench) -> Result<Report> {
    let rounds = if bench.quick { 3 } else { 21 };
    let chroma = bench.anchor("chroma", ANCHOR)?;
    measure(bench.audiorag("search", &["index"]).args(demo::SPEECH))?;

    process::headline(&format!("cold-search: {rounds} rounds, taken in turns"));
    let python = |program: &Path, code: &str| measure(process::program(program).args(["-c", code]));
    let mut starts = [
        Start::new("audiorag search", || {
            measure(&mut bench.audiorag("search", &["search", QUESTION, "--json"]))
        }),
        Start::new("audiorag --help", || {
            measure(process::program(&bench.program).arg("--help"))
        }),
        Start::new("python3 -c pass", || python(Path::new("python3"), "pass")),
        Start::new("python3 -c 'import chromadb'", || {
            python(&chroma, "import chromadb")
        }),
    ];
    // Once for the page cache.
    for start in &starts {
        (start.run)()?;
    }
    for _ in 0..rounds {
        for start in &mut starts {
            let run = (start.run)()?;
            start.taken.push(run);
        }
    }
    println!("                               median ms    cpu ms   peak MB");
    for start in &starts {
        let described = start.to_json();
        let number = |name: &str| described.get(name).and_then(Value::as_f64).unwrap_or(f64::NAN);
        println!(
            "  {:<28} {:>9.1} {:>9.1} {:>9.0}",
            start.what,
            number("median_wall_ms"),
            number("median_cpu_ms"),
            number("median_peak_megabytes")
        );
    }
    let [search, help, nothing, import] = &starts;
    let beside = format!(
        "python3 -c pass {:.0} ms, import chromadb {:.0} ms",
        nothing.median_milliseconds(),
        import.median_milliseconds()
    );
    Ok(Report {
        rows: vec![
            Row::new(
                "search, start of the process to hits",
                search.median_milliseconds(),
                "ms",
                Target::AtMost(250.0),
            )
            .note(beside.clone()),
            Row::new(
                "--help, start of the process to its end",
                help.median_milliseconds(),
                "ms",
                Target::AtMost(20.0),
            )
            .note(beside),
        ],
        details: json!({ "starts": starts.iter().map(Start::to_json).collect::<Vec<Value>>() }),
    })
}
