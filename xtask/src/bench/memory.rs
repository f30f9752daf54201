//! Whether memory grows with the length of a recording.

use super::measure::measure;
use super::report::{Report, Row, Target};
use super::{Bench, audio, path_text};
use crate::process;
use anyhow::{Context, Result};
use serde_json::json;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// From one start of the reading to the next, unless speech is dense.
const SPARSE: Duration = Duration::from_mins(10);

/// Indexes 12 minutes and 12 hours of MP3 and compares the peaks; before that, the long one is planned, for which it
/// has to be probed.
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
    let mut probed = Duration::ZERO;
    for length in lengths {
        let wav = bench.folder.join(format!("{length}.wav"));
        let spoken = audio::write_repeated(&wav, &reading, Duration::from_secs(length), period)?;
        let file = to_mp3(&wav)?;
        let plan = ["index", "--plan", path_text(&file)?];
        probed = measure(&mut bench.audiorag(&format!("{length}"), &plan))?.cpu;
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
            Row::new(
                "planning the long MP3, processor time",
                probed.as_secs_f64() * 1e3,
                "ms",
                Target::AtMost(1000.0),
            )
            .note("start of the process included"),
        ],
        details: json!({
            "dense": dense, "runs": rows, "peak_ratio": ratio, "planned_cpu_seconds": probed.as_secs_f64(),
        }),
    })
}

/// The recording as podcasts have it, without the table of contents that would say how long it is; the original goes.
fn to_mp3(wav: &Path) -> Result<PathBuf> {
    let mp3 = wav.with_extension("mp3");
    process::run(
        process::program("ffmpeg")
            .args(["-nostdin", "-y", "-loglevel", "error", "-i", path_text(wav)?])
            .args(["-c:a", "libmp3lame", "-b:a", "32k", "-compression_level", "9"])
            .args(["-write_xing", "0", path_text(&mp3)?]),
    )?;
    fs::remove_file(wav).with_context(|| format!("cannot remove {}", wav.display()))?;
    Ok(mp3)
}
