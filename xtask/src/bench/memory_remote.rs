//! `bench memory-remote`: whether memory grows with the length of a recording that a vendor transcribes.

use super::measure::measure;
use super::orchestration::remote;
use super::report::{Report, Row, Target};
use super::vendor::{Latency, StandIn};
use super::{Bench, audio, path_text};
use crate::process;
use anyhow::{Result, ensure};
use serde_json::json;
use std::time::Duration;

/// Indexes 12 minutes, 2 hours and 12 hours of dense speech, with as many transcriptions in flight as suit the vendor and
/// with sixteen, and compares the peaks of the shortest and the longest. The one between tells what grows with the length
/// from what is bounded, but not yet reached by a short recording.
pub(super) fn run(bench: &Bench) -> Result<Report> {
    let lengths: [u64; 3] = if bench.quick {
        [60, 600, 1800]
    } else {
        [720, 7200, 43_200]
    };
    let reading = super::reading(bench)?;
    process::headline("memory-remote: peak while indexing with a remote vendor");
    println!("  in flight   audio s   parts    wall s     cpu s   peak MB");
    let (mut rows, mut runs) = (Vec::new(), Vec::new());
    for (in_flight, called) in [(None, "what suits the vendor"), (Some(16), "16")] {
        let mut peaks = Vec::new();
        for length in lengths {
            let file = bench.folder.join(format!("{length}.wav"));
            if !file.exists() {
                // No part is like another, so that each has to be sent.
                audio::write_shuffled(&file, &reading, Duration::from_secs(length))?;
            }
            let vendor = StandIn::start(Latency::KNOWN, None)?;
            let database = format!("{}-{length}", in_flight.unwrap_or_default());
            let mut command = remote(bench, &vendor, &database, in_flight);
            let run = measure(command.args(["index", path_text(&file)?]))?;
            let record = vendor.record();
            ensure!(
                record.twice() == 0,
                "{} parts were transcribed twice",
                record.twice()
            );
            println!(
                "  {:>9} {length:>9} {:>7} {:>9.1} {:>9.1} {:>9.0}",
                record.most_in_flight,
                record.parts.len(),
                run.wall.as_secs_f64(),
                run.cpu.as_secs_f64(),
                run.peak_megabytes()
            );
            peaks.push(run.peak_megabytes());
            runs.push(json!({
                "in_flight": record.most_in_flight, "audio_seconds": length, "parts": record.parts.len(),
                "wall_seconds": run.wall.as_secs_f64(), "cpu_seconds": run.cpu.as_secs_f64(),
                "peak_bytes": run.peak,
            }));
        }
        let [short, middle, long] = peaks.as_slice() else {
            continue;
        };
        rows.push(
            Row::new(
                format!("peak with a remote vendor, in flight: {called}"),
                long.max(*middle).max(*short),
                "MB",
                Target::AtMost(200.0),
            )
            .note(format!(
                "{short:.0}, {middle:.0} and {long:.0} MB for {lengths:?} s"
            )),
        );
        if in_flight.is_none() {
            rows.push(
                Row::new(
                    "the long one's peak by the short one's",
                    long / short,
                    "x",
                    Target::AtMost(1.1),
                )
                .note(format!("{long:.0} by {short:.0} MB")),
            );
        }
    }
    Ok(Report {
        rows,
        details: json!({ "runs": runs }),
    })
}
