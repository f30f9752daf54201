//! `bench profile`: where the time of indexing and of searching goes, as flame graphs.
//!
//! perf samples the clock, which works on machines that count no processor events as well. What it sees is drawn by
//! inferno, installed once below the target folder.

use super::report::Report;
use super::{Bench, audio, path_text, reading};
use crate::{environment, models, process};
use anyhow::{Context, Result, ensure};
use serde_json::json;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// What draws the graphs.
const INFERNO: &str = "^0.12";
/// Samples a second.
const FREQUENCY: &str = "199";

/// Profiles indexing with the local models, then a search of what was indexed.
pub(super) fn run(bench: &Bench) -> Result<Report> {
    let tools = tools(bench.target())?;
    let length = Duration::from_mins(if bench.quick { 2 } else { 10 });
    let reading = reading(bench)?;
    let file = bench.folder.join("reading.wav");
    audio::write_repeated(&file, &reading, length, reading.duration())?;
    let index = bench.audiorag("profile", &["index", path_text(&file)?]);
    let search = bench.audiorag("profile", &["search", "who had the superlative degree", "--json"]);
    let mut graphs = Vec::new();
    for (name, command) in [("flame-index", index), ("flame-search", search)] {
        let graph = bench.results.join(format!("{name}.svg"));
        draw(bench, &tools, name, &command, &graph)?;
        println!("drew {}", graph.display());
        graphs.push(graph);
    }
    Ok(Report {
        rows: Vec::new(),
        details: json!({ "graphs": graphs }),
    })
}

/// Runs a command under perf and draws what it did.
fn draw(bench: &Bench, tools: &Path, name: &str, command: &Command, graph: &Path) -> Result<()> {
    let samples = bench.folder.join(format!("{name}.perf"));
    let mut record = process::program("perf");
    record
        // Programs here keep no frame pointers; what unwinds a panic tells perf who called whom.
        .args(["record", "--quiet", "--event", "cpu-clock", "--freq", FREQUENCY])
        .args([
            "--call-graph",
            "dwarf,16384",
            "--output",
            path_text(&samples)?,
            "--",
        ])
        .arg(command.get_program())
        .args(command.get_args());
    process::run(record.stdout(Stdio::null()))?;
    let stacks = bench.folder.join(format!("{name}.stacks"));
    let mut script = process::program("perf")
        .args(["script", "--input", path_text(&samples)?])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .context("cannot start perf script")?;
    let printed = script.stdout.take().context("perf script has no output")?;
    let collapsed = process::program(tools.join("inferno-collapse-perf"))
        .stdin(printed)
        .stdout(File::create(&stacks)?)
        .status()
        .context("cannot start inferno-collapse-perf")?;
    ensure!(
        script.wait()?.success() && collapsed.success(),
        "what perf saw of {name} cannot be read"
    );
    let drawn = process::program(tools.join("inferno-flamegraph"))
        .args(["--title", name, "--minwidth", "0.5"])
        .arg(&stacks)
        .stdout(File::create(graph)?)
        .status()
        .context("cannot start inferno-flamegraph")?;
    ensure!(drawn.success(), "what perf saw of {name} cannot be drawn");
    Ok(())
}

/// Installs perf and inferno, unless they are there, and returns the folder of inferno's programs.
fn tools(target: &Path) -> Result<PathBuf> {
    if !environment::has_program("perf") {
        models::install(&["linux-perf"]).context("profiles need the program perf")?;
    }
    let folder = target.join("tools");
    let programs = folder.join("bin");
    if !programs.join("inferno-flamegraph").exists() {
        process::run(
            process::cargo(&["install", "--quiet", "inferno", "--locked", "--version", INFERNO])
                .arg("--root")
                .arg(&folder),
        )?;
    }
    Ok(programs)
}
