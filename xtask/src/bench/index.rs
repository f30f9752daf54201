//! How fast a recording becomes searchable, from the file to the committed index, and how that grows with its length.

use super::chart::Chart;
use super::measure::{Run, measure, median};
use super::report::Report;
use super::{Bench, audio, path_text};
use crate::process;
use anyhow::Result;
use serde_json::{Value, json};
use std::time::Duration;

/// The length whose real-time factor is stated, in seconds.
const HALF_AN_HOUR: u64 = 1800;
/// Lengths in seconds, and how often each is indexed.
const LENGTHS: [(u64, u32); 5] = [(450, 1), (900, 1), (HALF_AN_HOUR, 3), (3600, 1), (7200, 1)];

/// Indexes speech with the local models and prints the real-time factor: the time taken divided by the length of the
/// recording. 0.05 means that an hour takes three minutes.
pub(super) fn run(bench: &Bench) -> Result<Report> {
    let lengths: &[(u64, u32)] = if bench.quick {
        &[(60, 1), (120, 1)]
    } else {
        &LENGTHS
    };
    let reading = super::reading(bench)?;
    process::headline("index: speech without pauses, with the local models");
    println!("   audio s    wall s     cpu s   peak MB   real-time factor");
    let (mut rows, mut middles) = (Vec::new(), Vec::new());
    for (length, rounds) in lengths {
        let file = bench.folder.join(format!("{length}.wav"));
        audio::write_shuffled(&file, &reading, Duration::from_secs(*length))?;
        let mut runs = Vec::new();
        for round in 0..*rounds {
            // A database of its own each round: nothing is reused.
            let database = format!("{length}-{round}");
            let run = measure(&mut bench.audiorag(&database, &["index", path_text(&file)?]))?;
            println!(
                "  {length:>8} {:>9.1} {:>9.1} {:>9.0} {:>18.4}",
                run.wall.as_secs_f64(),
                run.cpu.as_secs_f64(),
                run.peak_megabytes(),
                run.wall.as_secs_f64() / *length as f64
            );
            rows.push(json!({
                "audio_seconds": length,
                "wall_seconds": run.wall.as_secs_f64(),
                "cpu_seconds": run.cpu.as_secs_f64(),
                "peak_bytes": run.peak,
                "real_time_factor": run.wall.as_secs_f64() / *length as f64,
            }));
            runs.push(run);
        }
        middles.push((*length, runs));
    }
    charts(bench, &middles)?;
    let stated = middles
        .iter()
        .find(|(length, _)| *length == HALF_AN_HOUR)
        .map(|(length, runs)| middle(runs, |run| run.wall.as_secs_f64()) / *length as f64);
    if let Some(factor) = stated {
        println!("  median real-time factor of half an hour {factor:.4}");
    }
    Ok(Report {
        rows: Vec::new(),
        details: json!({
            "rounds": rows,
            "median_real_time_factor": stated.map_or(Value::Null, Value::from),
        }),
    })
}

fn middle(runs: &[Run], of: impl Fn(&Run) -> f64) -> f64 {
    median(&runs.iter().map(of).collect::<Vec<f64>>())
}

/// How costs grow with the hours.
fn charts(bench: &Bench, middles: &[(u64, Vec<Run>)]) -> Result<()> {
    let line = |name: &str, of: fn(&Run) -> f64| {
        let points = middles
            .iter()
            .map(|(length, runs)| (*length as f64 / 3600.0, middle(runs, of)))
            .collect();
        (name.to_owned(), points)
    };
    Chart {
        title: "Indexing with the local models",
        across: "hours of speech",
        up: "s",
        lines: vec![
            line("time", |run| run.wall.as_secs_f64()),
            line("processor time", |run| run.cpu.as_secs_f64()),
        ],
    }
    .write(&bench.results.join("index-time.svg"))?;
    Chart {
        title: "Memory of indexing with the local models",
        across: "hours of speech",
        up: "MB at the most",
        lines: vec![line("resident", |run| run.peak_megabytes())],
    }
    .write(&bench.results.join("index-memory.svg"))
}
