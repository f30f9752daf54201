//! How fast a recording becomes searchable, from the file to the committed index.

use super::measure::{measure, median};
use super::report::Report;
use super::{Bench, audio, path_text};
use crate::process;
use anyhow::Result;
use serde_json::json;
use std::time::Duration;

/// Indexes half an hour of speech with the local models and prints the real-time factor: the time taken divided
/// by the length of the recording. 0.05 means that an hour takes three minutes.
pub(super) fn run(bench: &Bench) -> Result<Report> {
    let (length, rounds) = if bench.quick { (120, 1) } else { (1800, 3) };
    let reading = super::reading(bench)?;
    let file = bench.folder.join("reading.wav");
    let spoken = audio::write_repeated(&file, &reading, Duration::from_secs(length), reading.duration())?;
    process::headline(&format!(
        "index: {length} s of audio, {:.0} s of them speech",
        spoken.as_secs_f64()
    ));

    let mut factors = Vec::new();
    let mut rows = Vec::new();
    println!("  round    wall s     cpu s   peak MB   real-time factor");
    for round in 0..rounds {
        // A database of its own each round: nothing is reused.
        let run = measure(&mut bench.audiorag(&format!("round-{round}"), &["index", path_text(&file)?]))?;
        let factor = run.wall.as_secs_f64() / length as f64;
        println!(
            "  {round:>5} {:>9.1} {:>9.1} {:>9.0} {factor:>18.4}",
            run.wall.as_secs_f64(),
            run.cpu.as_secs_f64(),
            run.peak_megabytes()
        );
        factors.push(factor);
        rows.push(json!({
            "wall_seconds": run.wall.as_secs_f64(),
            "cpu_seconds": run.cpu.as_secs_f64(),
            "peak_bytes": run.peak,
            "real_time_factor": factor,
        }));
    }
    println!("  median real-time factor {:.4}", median(&factors));
    Ok(Report {
        rows: Vec::new(),
        details: json!({
            "audio_seconds": length,
            "speech_seconds": spoken.as_secs_f64(),
            "rounds": rows,
            "median_real_time_factor": median(&factors),
        }),
    })
}
