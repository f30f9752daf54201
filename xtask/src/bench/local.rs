//! Indexing with the local models, held against the vendor's own transcriber on the same recording.
//!
//! `index` does everything from the file to the committed index; the anchor, `moonshine-voice`, only transcribes. The
//! same weights run in both.

use super::measure::{Run, median};
use super::report::{Report, Row, Target};
use super::{Bench, audio, machine, path_text};
use crate::process;
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use wait4::Wait4;

/// The last version whose package carries the model that the program uses, too.
const ANCHOR: &str = "moonshine-voice==0.0.48";
const SCRIPT: &str = include_str!("moonshine.py");

/// Chunks of another length than usual are cut and embedded anew, while the transcripts are used again: what such a
/// run takes is everything but transcription.
const OTHER_CHUNKS: &str = "20";

/// Indexes an hour of speech before and after the vendor's transcriber has transcribed it, then once more with the
/// transcripts stored. About ten minutes on two cores; one with `--quick`, on ten minutes of speech.
pub(super) fn run(bench: &Bench) -> Result<Report> {
    let (length, rounds) = if bench.quick { (600, 1) } else { (3600, 2) };
    let python = bench.anchor("moonshine", &[ANCHOR])?;
    let script = bench.folder.join("moonshine.py");
    std::fs::write(&script, SCRIPT)?;
    let reading = super::reading(bench)?;
    let file = bench.folder.join("reading.wav");
    audio::write_shuffled(&file, &reading, Duration::from_secs(length))?;

    process::headline(&format!(
        "local: {length} s of speech, indexed and only transcribed in turns"
    ));
    println!("                                        wall s     cpu s   peak MB");
    let mut indexed = Vec::new();
    let mut anchor = Value::Null;
    for round in 0..rounds {
        indexed.push(Watched::index(bench, &format!("round-{round}"), &file, &[])?);
        if round == 0 {
            anchor = transcribe(&python, &script, &file, length)?;
        }
    }
    // In the database of the first round, which has the transcripts.
    let again = [("AUDIORAG_CHUNK_DURATION_SECONDS", OTHER_CHUNKS)];
    let rest = Watched::index(bench, "round-0", &file, &again)?;
    Ok(report(length, &indexed, &anchor, &rest))
}

fn report(length: u64, indexed: &[Watched], anchor: &Value, rest: &Watched) -> Report {
    let of = |figure: fn(&Watched) -> f64| median(&indexed.iter().map(figure).collect::<Vec<f64>>());
    let (wall, cpu) = (
        of(|watched| watched.run.wall.as_secs_f64()),
        of(|watched| watched.run.cpu.as_secs_f64()),
    );
    let theirs = |name: &str| anchor.get(name).and_then(Value::as_f64).unwrap_or(f64::NAN);
    let (their_wall, their_cpu) = (theirs("wall_seconds"), theirs("cpu_seconds"));
    let busy = of(Watched::busy);
    let rest_cpu = rest.run.cpu.as_secs_f64();
    let embedded = |watched: &Watched| watched.counted("embedded_chunks").unwrap_or(f64::NAN);
    let rows = vec![
        Row::new(
            "indexing, against the vendor transcribing alone",
            wall / their_wall,
            "x",
            Target::AtMost(1.0),
        )
        .note(format!(
            "{ANCHOR}: {length} s of speech in {their_wall:.0} s ({their_cpu:.0} s of processor); index {wall:.0} s \
             ({cpu:.0} s)"
        )),
        Row::new("processors busy while transcribing", busy, "%", Target::AtLeast(90.0)),
        Row::new(
            "processor time that is not transcription",
            rest_cpu / cpu * 100.0,
            "%",
            Target::AtMost(15.0),
        )
        .note(format!(
            "{rest_cpu:.1} s with stored transcripts and {:.0} texts embedded; {cpu:.1} s with {:.0}",
            embedded(rest),
            of(|watched| watched.counted("embedded_chunks").unwrap_or(f64::NAN)),
        )),
    ];
    Report {
        rows,
        details: json!({
            "audio_seconds": length,
            "index": indexed.iter().map(Watched::to_json).collect::<Vec<Value>>(),
            "anchor": anchor,
            "with_stored_transcripts": rest.to_json(),
        }),
    }
}

/// Has the vendor transcribe the first `length` seconds.
fn transcribe(python: &Path, script: &Path, file: &Path, length: u64) -> Result<Value> {
    let mut command = process::program(python);
    command.arg(script).arg(file).arg(length.to_string());
    let printed = process::capture(&mut command)?;
    let took: Value = serde_json::from_str(&printed).context("the vendor's transcriber printed no JSON")?;
    let number = |name: &str| took.get(name).and_then(Value::as_f64).unwrap_or(f64::NAN);
    print_line(
        "moonshine-voice, transcription alone",
        number("wall_seconds"),
        number("cpu_seconds"),
        number("peak_bytes") / 1e6,
    );
    Ok(took)
}

fn print_line(what: &str, wall: f64, cpu: f64, peak: f64) {
    println!("  {what:<36} {wall:>7.1} {cpu:>9.1} {peak:>9.0}");
}

/// A run of `audiorag index` and what it said, when.
struct Watched {
    run: Run,
    events: Vec<Event>,
}

/// A line of `--json`.
struct Event {
    /// Since the start of the process.
    at: Duration,
    /// What the process had used by then.
    cpu: Duration,
    said: Value,
}

impl Watched {
    fn index(bench: &Bench, database: &str, file: &Path, environment: &[(&str, &str)]) -> Result<Self> {
        let mut command = bench.audiorag(database, &["index", "--json", "--force", path_text(file)?]);
        command.envs(environment.iter().copied());
        let watched = Self::watch(&mut command)?;
        let what = match environment {
            [] => "audiorag index",
            _ => "audiorag index, transcripts stored",
        };
        let run = watched.run;
        print_line(
            what,
            run.wall.as_secs_f64(),
            run.cpu.as_secs_f64(),
            run.peak_megabytes(),
        );
        Ok(watched)
    }

    /// Runs a command to its end and notes when it says what.
    fn watch(command: &mut Command) -> Result<Self> {
        let started = Instant::now();
        let mut child = command
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {}", process::describe(command)))?;
        let output = child.stdout.take().context("the program has no output")?;
        let mut events = Vec::new();
        for line in BufReader::new(output).lines() {
            let said = serde_json::from_str(&line?).context("the program printed a line that is not JSON")?;
            events.push(Event {
                at: started.elapsed(),
                cpu: machine::processor_time(child.id()).unwrap_or_default(),
                said,
            });
        }
        let used = child.wait4().context("cannot wait for the program")?;
        let wall = started.elapsed();
        ensure!(
            used.status.success(),
            "{} ended with {}",
            process::describe(command),
            used.status
        );
        Ok(Self {
            run: Run {
                wall,
                cpu: used.rusage.utime + used.rusage.stime,
                peak: used.rusage.maxrss,
            },
            events,
        })
    }

    /// How much of all processors the program used from the start of transcription to its end, in per cent.
    fn busy(&self) -> f64 {
        let (Some(start), Some(end)) = (
            self.stage("transcribe", "started"),
            self.stage("transcribe", "completed"),
        ) else {
            return f64::NAN;
        };
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let used = end.cpu.saturating_sub(start.cpu).as_secs_f64();
        let there = end.at.saturating_sub(start.at).as_secs_f64() * cores as f64;
        used / there * 100.0
    }

    fn stage(&self, stage: &str, state: &str) -> Option<&Event> {
        self.events.iter().find(|event| {
            let is = |name: &str, value: &str| event.said.get(name).and_then(Value::as_str) == Some(value);
            is("event", "stage") && is("stage", stage) && is("state", state)
        })
    }

    /// A number of the report at the end.
    fn counted(&self, name: &str) -> Option<f64> {
        let source = self.events.last()?.said.get("indexed")?.get(0)?;
        source.get(name)?.as_f64()
    }

    fn to_json(&self) -> Value {
        // Wall and processor time at every event but the parts, which are many.
        let stages: Vec<Value> = self
            .events
            .iter()
            .filter(|event| event.said.get("event").and_then(Value::as_str) == Some("stage"))
            .map(|event| {
                json!({
                    "stage": event.said.get("stage"), "state": event.said.get("state"),
                    "wall_seconds": event.at.as_secs_f64(), "cpu_seconds": event.cpu.as_secs_f64(),
                })
            })
            .collect();
        json!({
            "wall_seconds": self.run.wall.as_secs_f64(),
            "cpu_seconds": self.run.cpu.as_secs_f64(),
            "peak_bytes": self.run.peak,
            "busy_percent": self.busy(),
            "chunks": self.counted("chunks"),
            "embedded_chunks": self.counted("embedded_chunks"),
            "stages": stages,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_program_says_is_noted_with_its_time() {
        let script = r#"
            echo '{"event":"stage","stage":"transcribe","state":"started"}'
            sleep 0.05
            echo '{"event":"stage","stage":"transcribe","state":"completed"}'
            echo '{"event":"summary","indexed":[{"chunks":7}]}'"#;
        let watched = Watched::watch(process::program("sh").args(["-c", script])).unwrap();
        assert_eq!(watched.events.len(), 3);
        let start = watched.stage("transcribe", "started").unwrap();
        let end = watched.stage("transcribe", "completed").unwrap();
        assert!(end.at > start.at);
        assert_eq!(watched.counted("chunks"), Some(7.0));
        assert!(watched.stage("embed", "started").is_none());
        assert!(Watched::watch(process::program("sh").args(["-c", "echo no JSON"])).is_err());
    }
}
