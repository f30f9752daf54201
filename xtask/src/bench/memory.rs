//! Whether memory grows with the length of a recording.

use super::measure::measure;
use super::report::{Report, Row, Target};
use super::{Bench, audio, path_text};
use crate::process;
use anyhow::Result;
use serde_json::json;
use std::time::Duration;

/// From one start of the reading to the next, unless speech is dense.
const SPARSE: Duration = Duration::from_mins(10);

/// Indexes 12 minutes and 12 hours of audio and compares the peaks.
///
/// Both recordings have two minutes of reading every ten minutes and silence between, so that the long one is
/// decoded, searched for speech, split and committed in full, while its nearly three hours of speech are transcribed
/// in minutes. With `dense`, speech follows on speech: that takes about a quarter of an hour on two cores.
pub(super) fn run(bench: &Bench, dense: bool) -> Result<Report> {
    let lengths: [u64; 2] = if bench.quick { [60, 1800] } else { [720, 43_200] };
    let reading = super::reading(bench)?;
    let period = if dense { reading.duration() } else { SPARSE };
    process::headline(&format!(
        "memory: peak while indexing, {} speech",
        if dense { "dense" } else { "sparse" }
    ));
    println!("   audio s  speech s    wall s     cpu s   peak MB");
    let mut rows = Vec::new();
    let mut peaks = Vec::new();
    for length in lengths {
        let file = bench.folder.join(format!("{length}.wav"));
        let spoken = audio::write_repeated(&file, &reading, Duration::from_secs(length), period)?;
        let run = measure(&mut bench.audiorag(&format!("{length}"), &["index", path_text(&file)?]))?;
        println!(
            "  {length:>8} {:>9.0} {:>9.1} {:>9.1} {:>9.0}",
            spoken.as_secs_f64(),
            run.wall.as_secs_f64(),
            run.cpu.as_secs_f64(),
            run.peak_megabytes()
        );
        peaks.push(run.peak as f64);
        rows.push(json!({
            "audio_seconds": length,
            "speech_seconds": spoken.as_secs_f64(),
            "wall_seconds": run.wall.as_secs_f64(),
            "cpu_seconds": run.cpu.as_secs_f64(),
            "peak_bytes": run.peak,
        }));
    }
    let ratio = match peaks.as_slice() {
        [short, long] => long / short,
        _ => f64::NAN,
    };
    println!("  the long one's peak is {ratio:.2} of the short one's");
    let peak = peaks.iter().copied().fold(0.0, f64::max) / 1e6;
    Ok(Report {
        rows: vec![
            Row::new(
                "peak of indexing with local models",
                peak,
                "MB",
                Target::AtMost(500.0),
            )
            .note(format!("{lengths:?} s of audio")),
            Row::new(
                "the same, long recording against short",
                ratio,
                "x",
                Target::AtMost(1.1),
            )
            .note(format!("{lengths:?} s of audio")),
        ],
        details: json!({ "dense": dense, "runs": rows, "peak_ratio": ratio }),
    })
}
