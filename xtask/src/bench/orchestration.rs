//! `bench orchestration`: how well the program keeps a remote vendor busy, against one whose latencies are known.

use super::measure::{Run, measure};
use super::report::{Report, Row, Target};
use super::vendor::{Latency, Record, StandIn};
use super::{Bench, audio, path_text};
use crate::{environment, process};
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// Transcriptions that may be in flight.
const IN_FLIGHT: usize = 16;
/// Where in each twenty calls one fails.
const SEED: u64 = 7;

/// What the work costs a vendor, however it is arranged.
struct Bound {
    /// All transcriptions, spread evenly over those that may be in flight.
    spread: Duration,
    /// The longest transcription: no arrangement ends before it.
    longest: Duration,
    /// The last recording's embedding, which waits for its last transcript.
    tail: Duration,
    /// Every call after the other.
    in_turn: Duration,
}

impl Bound {
    /// From the calls that were answered: their times are what the stand-in was told to take.
    fn of(record: &Record) -> Self {
        let all: Duration = record.parts.iter().map(|part| part.latency).sum();
        let longest = record
            .parts
            .iter()
            .map(|part| part.latency)
            .max()
            .unwrap_or_default();
        let tail = record
            .batches
            .iter()
            .map(|batch| batch.latency)
            .max()
            .unwrap_or_default();
        let embedding: Duration = record.batches.iter().map(|batch| batch.latency).sum();
        Self {
            spread: all / IN_FLIGHT as u32,
            longest,
            tail,
            in_turn: all + embedding,
        }
    }

    fn total(&self) -> Duration {
        self.spread.max(self.longest) + self.tail
    }
}

/// Where the wall time went.
struct Timeline {
    /// Until the first transcription arrived.
    lead: Duration,
    /// From then until the last one was answered.
    speech: Duration,
    /// After that.
    tail: Duration,
    /// Transcriptions in flight, on average between the first and the last.
    mean: f64,
}

impl Timeline {
    fn of(started: Instant, run: Run, record: &Record) -> Result<Self> {
        let first = record
            .parts
            .iter()
            .map(|part| part.from)
            .min()
            .context("nothing was transcribed")?;
        let last = record
            .parts
            .iter()
            .map(|part| part.to)
            .max()
            .context("nothing was transcribed")?;
        let busy: Duration = record.parts.iter().map(|part| part.to - part.from).sum();
        let speech = last - first;
        Ok(Self {
            lead: first - started,
            speech,
            tail: run.wall.saturating_sub(last - started),
            mean: busy.as_secs_f64() / speech.as_secs_f64(),
        })
    }
}

/// Indexes twelve recordings, six hours in all, with a vendor that answers well and with one of whose calls 5 % fail.
pub(super) fn run(bench: &Bench) -> Result<Report> {
    let (files, minutes) = if bench.quick { (4, 5) } else { (12, 30) };
    let recordings = recordings(bench, files, Duration::from_secs(minutes * 60))?;
    process::headline(&format!(
        "orchestration: {files} recordings of {minutes} minutes, {IN_FLIGHT} transcriptions in flight"
    ));
    let (mut rows, mut details) = (Vec::new(), Vec::new());
    for (what, faults, most) in [
        ("wall time by the vendor's bound", None, 1.15),
        ("the same with 5 % of calls failing", Some(SEED), 1.4),
    ] {
        let (row, detail, faster) = one(bench, &recordings, what, faults, most)?;
        rows.push(row);
        rows.extend(faster.filter(|_| faults.is_none()));
        details.push(detail);
    }
    for recording in &recordings {
        fs::remove_file(recording)?;
    }
    Ok(Report {
        rows,
        details: json!({ "files": files, "minutes": minutes, "in_flight": IN_FLIGHT, "runs": details }),
    })
}

fn one(
    bench: &Bench,
    recordings: &[PathBuf],
    what: &str,
    faults: Option<u64>,
    most: f64,
) -> Result<(Row, Value, Option<Row>)> {
    let vendor = StandIn::start(Latency::KNOWN, faults)?;
    let database = if faults.is_some() { "faults" } else { "clean" };
    let mut command = remote(bench, &vendor, database, Some(IN_FLIGHT));
    command.arg("index");
    for recording in recordings {
        command.arg(path_text(recording)?);
    }
    let mine = own_cpu();
    let started = Instant::now();
    let run = measure(&mut command)?;
    let stand_in = own_cpu().saturating_sub(mine);
    let record = vendor.record();
    let (bound, time) = (Bound::of(&record), Timeline::of(started, run, &record)?);
    ensure!(
        record.twice() == 0,
        "{} parts were transcribed twice",
        record.twice()
    );
    let hours = record.parts.iter().map(|part| part.seconds).sum::<f64>() / 3600.0;
    let ratio = run.wall.as_secs_f64() / bound.total().as_secs_f64();
    let speed_up = bound.in_turn.as_secs_f64() / run.wall.as_secs_f64();
    println!("\n{what}:");
    println!(
        "  {} transcriptions of {hours:.2} h in all, {} batches embedded; {} refused, {} broken off, none twice",
        record.parts.len(),
        record.batches.len(),
        record.refused,
        record.broken
    );
    println!(
        "  bound {:.2} s: transcription {:.2} s (longest {:.2} s) and {:.2} s for the last embedding; in turn {:.0} s",
        bound.total().as_secs_f64(),
        bound.spread.as_secs_f64(),
        bound.longest.as_secs_f64(),
        bound.tail.as_secs_f64(),
        bound.in_turn.as_secs_f64()
    );
    println!(
        "  wall {:.2} s = {ratio:.2} of it: {:.2} s before the first call, {:.2} s with {:.1} in flight on average (at \
         most {}), {:.2} s after the last",
        run.wall.as_secs_f64(),
        time.lead.as_secs_f64(),
        time.speech.as_secs_f64(),
        time.mean,
        record.most_in_flight,
        time.tail.as_secs_f64()
    );
    println!(
        "  processor {:.1} s of the program and {:.1} s of the stand-in, peak {:.0} MB",
        run.cpu.as_secs_f64(),
        stand_in.as_secs_f64(),
        run.peak_megabytes()
    );
    let note = format!(
        "{:.1} s by {:.1} s; {:.1} in flight, {:.1} s of processor time",
        run.wall.as_secs_f64(),
        bound.total().as_secs_f64(),
        time.mean,
        run.cpu.as_secs_f64()
    );
    let detail = json!({
        "what": what,
        "wall_seconds": run.wall.as_secs_f64(), "cpu_seconds": run.cpu.as_secs_f64(), "peak_bytes": run.peak,
        "stand_in_cpu_seconds": stand_in.as_secs_f64(),
        "bound_seconds": bound.total().as_secs_f64(), "spread_seconds": bound.spread.as_secs_f64(),
        "longest_seconds": bound.longest.as_secs_f64(), "tail_seconds": bound.tail.as_secs_f64(),
        "in_turn_seconds": bound.in_turn.as_secs_f64(),
        "lead_seconds": time.lead.as_secs_f64(), "speech_seconds": time.speech.as_secs_f64(),
        "after_seconds": time.tail.as_secs_f64(), "mean_in_flight": time.mean,
        "most_in_flight": record.most_in_flight, "transcriptions": record.parts.len(),
        "batches": record.batches.len(), "refused": record.refused, "broken": record.broken,
    });
    let faster = Row::new(
        "times as fast as one call at a time",
        speed_up,
        "x",
        Target::AtLeast(10.0),
    )
    .note(format!(
        "{:.0} s of the vendor's time",
        bound.in_turn.as_secs_f64()
    ));
    let row = Row::new(what, ratio, "x", Target::AtMost(most)).note(note);
    Ok((row, detail, Some(faster)))
}

/// The program, with the stand-in for speech-to-text and embeddings, and so many transcriptions in flight; as many as
/// suit the vendor without a number.
pub(super) fn remote(bench: &Bench, vendor: &StandIn, database: &str, in_flight: Option<usize>) -> Command {
    let mut command = bench.audiorag(database, &[]);
    command
        .env("AUDIORAG_STT_PROVIDER", "openai")
        .env("AUDIORAG_STT_MODEL", "whisper-1")
        .env("AUDIORAG_EMBEDDING_PROVIDER", "openai")
        .env("AUDIORAG_EMBEDDING_MODEL", "text-embedding-3-small")
        .env("AUDIORAG_OPENAI_BASE_URL", vendor.url());
    if let Some(in_flight) = in_flight {
        command.env("AUDIORAG_STT_CONCURRENCY", in_flight.to_string());
    }
    command
}

/// Recordings of the reading, each begun at another place: MP3 where ffmpeg is installed, else WAV.
fn recordings(bench: &Bench, files: usize, length: Duration) -> Result<Vec<PathBuf>> {
    let mut reading = super::reading(bench)?;
    let step = reading.samples.len() / files;
    let encodes = environment::has_program("ffmpeg");
    let mut recordings = Vec::with_capacity(files);
    for number in 1..=files {
        reading.samples.rotate_left(step);
        let wav = bench.folder.join(format!("{number}.wav"));
        audio::write_repeated(&wav, &reading, length, reading.duration())?;
        if !encodes {
            recordings.push(wav);
            continue;
        }
        let mp3 = wav.with_extension("mp3");
        encode(&wav, &mp3)?;
        fs::remove_file(&wav)?;
        recordings.push(mp3);
    }
    Ok(recordings)
}

fn encode(wav: &Path, to: &Path) -> Result<()> {
    let mut command = process::program("ffmpeg");
    command
        .args(["-nostdin", "-y", "-loglevel", "error", "-i", path_text(wav)?])
        .args(["-c:a", "libmp3lame", "-b:a", "64k", path_text(to)?]);
    process::run(&mut command)
}

/// Processor time of this process so far, which is the stand-in's while the program runs; zero where the system does not
/// say.
fn own_cpu() -> Duration {
    // Ticks of a hundredth of a second (`proc_pid_stat(5)`), in the twelfth and thirteenth field after the name.
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
    let ticks: u64 = fields
        .split_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|ticks| ticks.parse::<u64>().ok())
        .sum();
    Duration::from_millis(ticks * 10)
}
