//! `bench decode`: decoding, mixing and resampling to 16 kHz against ffmpeg, each on one core.

use super::measure::{Run, measure, median};
use super::report::{Report, Row, Target};
use super::{Bench, audio, path_text, reading};
use crate::process;
use anyhow::{Context, Result};
use serde_json::json;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// What a codec is called, the file's ending, and what ffmpeg encodes it with.
const CODECS: [(&str, &str, &[&str]); 5] = [
    ("mp3", "mp3", &["-c:a", "libmp3lame", "-b:a", "128k"]),
    ("flac", "flac", &["-c:a", "flac"]),
    ("aac", "m4a", &["-c:a", "aac", "-b:a", "128k"]),
    ("vorbis", "ogg", &["-c:a", "libvorbis", "-q:a", "4"]),
    ("opus", "opus", &["-c:a", "libopus", "-b:a", "96k"]),
];

pub(super) fn run(bench: &Bench) -> Result<Report> {
    let (minutes, rounds): (u64, u32) = if bench.quick { (4, 3) } else { (30, 7) };
    let reading = reading(bench)?;
    let wav = bench.folder.join("reading.wav");
    let length = Duration::from_secs(minutes * 60);
    audio::write_repeated(&wav, &reading, length, reading.duration())?;
    process::run(&mut process::cargo(&[
        "build",
        "--release",
        "--locked",
        "-p",
        "audiorag-audio",
        "--example",
        "samples",
    ]))?;
    let program = bench
        .program
        .parent()
        .context("a program without a folder")?
        .join("examples/samples");
    println!(
        "{minutes} minutes of stereo at 44.1 kHz, {rounds} rounds in turn, processor time of one thread\n"
    );
    println!("| codec | here | ffmpeg | ratio | times real time |");
    println!("| --- | --- | --- | --- | --- |");
    let (mut rows, mut results) = (Vec::new(), Vec::new());
    for (codec, ending, arguments) in CODECS {
        let path = bench.folder.join(format!("reading.{ending}"));
        encode(&wav, arguments, &path)?;
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            ours.push(measure(process::program(&program).arg(&path))?);
            theirs.push(measure(&mut ffmpeg(&path)?)?);
        }
        let middle = |runs: &[Run]| median(&runs.iter().map(|run| run.cpu.as_secs_f64()).collect::<Vec<_>>());
        let (here, there) = (middle(&ours), middle(&theirs));
        let speed = length.as_secs_f64() / here;
        println!(
            "| {codec} | {here:.2} s | {there:.2} s | {:.2} | {speed:.0} |",
            there / here
        );
        let all = |runs: &[Run]| runs.iter().map(|run| run.cpu.as_secs_f64()).collect::<Vec<_>>();
        results.push(json!({
            "codec": codec, "ours": all(&ours), "ffmpeg": all(&theirs), "ratio": there / here,
        }));
        rows.push(
            Row::new(
                format!("{codec} to 16 kHz mono, ffmpeg's processor time by ours"),
                there / here,
                "x",
                Target::AtLeast(1.0),
            )
            .note(format!(
                "ffmpeg {there:.2} s, here {here:.2} s for {minutes} minutes"
            )),
        );
        std::fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
    }
    println!("\nratio: ffmpeg's processor time by ours; above 1 we are faster");
    Ok(Report {
        rows,
        details: json!({ "minutes": minutes, "codecs": results }),
    })
}

fn encode(wav: &Path, arguments: &[&str], to: &Path) -> Result<()> {
    let mut command = process::program("ffmpeg");
    command
        .args(["-nostdin", "-y", "-loglevel", "error", "-i", path_text(wav)?])
        .args([
            "-ar",
            if to.extension().is_some_and(|e| e == "opus") {
                "48000"
            } else {
                "44100"
            },
        ])
        .args(["-ac", "2"])
        .args(arguments)
        .arg(to);
    process::run(&mut command)
}

/// The same work by ffmpeg, on one thread.
fn ffmpeg(path: &Path) -> Result<Command> {
    let mut command = process::program("ffmpeg");
    command
        .args([
            "-nostdin",
            "-loglevel",
            "error",
            "-threads",
            "1",
            "-i",
            path_text(path)?,
        ])
        .args(["-ac", "1", "-ar", "16000", "-f", "f32le", "-"]);
    Ok(command)
}
