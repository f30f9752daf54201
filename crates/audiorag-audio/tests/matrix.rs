//! Containers and codecs, as ffmpeg writes them, at every rate and channel count, against the signal that went in and
//! against ffmpeg's own decoder.
#![expect(clippy::unwrap_used, reason = "a failing test should panic")]

mod common;
mod rows;

use audiorag_audio::{DecodeOptions, SampleReader, probe};
use common::{Depth, encode, ffmpeg, rms, samples, wav};
use rows::{Cut, ROWS, Row, Slack};
use std::f64::consts::TAU;
use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

const SECONDS: f64 = 1.5;

/// What comes out of so many channels: their mean.
fn reference(channels: u16) -> Vec<f32> {
    (0..(SECONDS * 16_000.0) as usize)
        .map(|n| {
            let time = n as f64 / 16_000.0;
            let sum: f64 = (0..channels).map(|channel| rows::of_channel(time, channel)).sum();
            (sum / f64::from(channels)) as f32
        })
        .collect()
}

/// How loud a tone of this pitch is in the samples of a second.
fn level(samples: &[f32], pitch: f64) -> f64 {
    // A whole number of periods of every tone, behind what an encoder needs to begin.
    let window = samples.get(4000..20_000).unwrap();
    let (mut real, mut imaginary) = (0.0, 0.0);
    for (n, sample) in window.iter().enumerate() {
        let angle = TAU * pitch * n as f64 / 16_000.0;
        real += f64::from(*sample) * angle.cos();
        imaginary += f64::from(*sample) * angle.sin();
    }
    2.0 * f64::hypot(real, imaginary) / window.len() as f64
}

/// Reads every channel for itself: each must have its own sound and that of no other.
fn mixed_up(row: &Row, path: &Path, channels: u16) -> Vec<String> {
    let mut wrong = Vec::new();
    for channel in 0..channels {
        let options = DecodeOptions {
            channel: Some(channel + 1),
            ..DecodeOptions::default()
        };
        let mut reader = SampleReader::open_with(path, &options).unwrap();
        let mut found = Vec::new();
        while let Some(block) = reader.next_block().unwrap() {
            found.extend_from_slice(block);
        }
        for other in 0..channels {
            let is_own = other == channel;
            let share = if let Some((pitch, wanted)) = rows::tone(other) {
                level(&found, pitch) / wanted
            } else {
                let signal = reference(1);
                let most = (row.late.at(48_000) * 16.0).ceil() as usize;
                // What is not there leaves all of it as a difference.
                let (error, _) = nearest(&signal, &found, most);
                1.0 - error
            };
            let is_there = if is_own {
                (0.6..1.4).contains(&share)
            } else {
                share < 0.15
            };
            if !is_there {
                wrong.push(format!(
                    "channel {} has {share:.2} of what belongs to channel {}",
                    channel + 1,
                    other + 1
                ));
            }
        }
    }
    wrong
}

/// The smallest difference of `found` from `wanted` over shifts of up to `most` samples, relative to it, and where.
fn nearest(wanted: &[f32], found: &[f32], most: usize) -> (f64, usize) {
    let window = wanted.get(2400..16_000).unwrap();
    let loud = rms(window.iter().copied());
    (0..=most)
        .filter_map(|late| Some((found.get(2400 + late..16_000 + late)?, late)))
        .map(|(found, late)| (rms(window.iter().zip(found).map(|(a, b)| a - b)) / loud, late))
        .min_by(|a, b| a.0.total_cmp(&b.0))
        .unwrap()
}

/// The mean of all channels as ffmpeg decodes them.
fn decoded_by_ffmpeg(program: &Path, path: &Path, channels: u16) -> Vec<f32> {
    let mean: Vec<String> = (0..channels)
        .map(|channel| format!("{}*c{channel}", 1.0 / f64::from(channels)))
        .collect();
    let mean = format!("pan=mono|c0={}", mean.join("+"));
    let output = Command::new(program)
        .args(["-nostdin", "-loglevel", "error", "-i"])
        .arg(path)
        .args(["-af", &mean, "-ar", "16000", "-f", "f32le", "-"])
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    output
        .stdout
        .chunks_exact(4)
        .map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap()))
        .collect()
}

/// Checks a row and returns what went wrong.
fn check(row: &Row, program: &Path, directory: &Path) -> Vec<String> {
    let mut wrong = Vec::new();
    for (rate, channels) in row.cells() {
        let case = format!("{}, {rate} Hz, {channels} channels", row.format);
        let reference = reference(channels);
        let name = format!("{}-{rate}-{channels}", row.format.replace([' ', ','], ""));
        let source = directory.join(format!("{name}.source.wav"));
        let path = directory.join(format!("{name}.{}", row.ending));
        std::fs::write(
            &source,
            wav(Depth::F32, rate, channels, SECONDS, rows::of_channel),
        )
        .unwrap();
        let mut arguments = vec!["-i", source.to_str().unwrap()];
        // Seven channels and more need to be said to be in the usual places.
        let layout = match channels {
            1 => "mono",
            2 => "stereo",
            6 => "5.1",
            _ => "7.1",
        };
        let filter = format!("aformat=channel_layouts={layout}");
        arguments.extend(["-af", &filter]);
        arguments.extend_from_slice(row.arguments);
        encode(program, &arguments, &path);
        let media = match probe(&path) {
            Ok(media) => media,
            Err(error) => {
                wrong.push(format!("{case}: {}", error.report()));
                continue;
            }
        };
        if (media.container.as_str(), media.codec.as_str()) != row.found || media.channels != channels {
            wrong.push(format!("{case}: found {media:?}"));
        }
        let (found, warnings) = match samples(&path) {
            Ok(found) => found,
            Err(error) => {
                wrong.push(format!("{case}: {}", error.report()));
                continue;
            }
        };
        let (late, longer) = (row.late.at(rate), row.longer.at(rate));
        let most = (late * 16.0).ceil() as usize;
        let (error, late) = nearest(&reference, &found, most);
        if error > row.most {
            wrong.push(format!(
                "{case}: differs by {error:.4} at {late}, at most {} is allowed",
                row.most
            ));
        }
        let length = found.len() as f64 / 16.0 - SECONDS * 1000.0;
        if !(-0.07..=longer).contains(&length) {
            wrong.push(format!(
                "{case}: {length:.2} ms longer than the signal, at most {longer:.2} are allowed"
            ));
        }
        if !warnings.is_empty() {
            wrong.push(format!("{case}: {warnings:?}"));
        }
        if channels > 1 && rate == 48_000 {
            let mixed_up = mixed_up(row, &path, channels);
            wrong.extend(mixed_up.into_iter().map(|what| format!("{case}: {what}")));
        }
        let other = decoded_by_ffmpeg(program, &path, channels);
        let (error, late) = nearest(&found, &other, 2200);
        let (back, early) = nearest(&other, &found, 2200);
        // Resamplers differ at the edge of the band; the rest is the same bits.
        if error.min(back) > 0.03 {
            wrong.push(format!(
                "{case}: ffmpeg decodes something else: {error:.4} at {late}, {back:.4} at -{early}"
            ));
        }
        let _ = std::fs::remove_file(source);
        let _ = std::fs::remove_file(path);
    }
    wrong
}

#[test]
fn every_format_is_the_signal_that_went_in() {
    let Some(program) = ffmpeg() else { return };
    let directory = tempfile::tempdir().unwrap();
    let (program, place) = (program.as_path(), directory.path());
    let halves = [0, 1].map(|half| ROWS.iter().skip(half).step_by(2));
    let wrong: Vec<String> = std::thread::scope(|scope| {
        let running = halves.map(|rows| {
            scope.spawn(move || {
                rows.flat_map(|row| check(row, program, place))
                    .collect::<Vec<_>>()
            })
        });
        running
            .into_iter()
            .flat_map(|thread| thread.join().unwrap())
            .collect()
    });
    assert!(
        wrong.is_empty(),
        "{} things are wrong:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

/// The table of docs/formats.md.
fn table() -> String {
    let list = |numbers: Vec<String>| numbers.join(", ");
    let mut out = String::from(
        "| format | rates (kHz) | channels | most difference | may start late | may be longer | when cut |\n| --- | --- | --- | --- | --- | --- | --- |\n",
    );
    for row in ROWS {
        let rates = row
            .rates
            .iter()
            .map(|rate| format!("{}", f64::from(*rate) / 1000.0))
            .collect();
        let channels = row.channels.iter().map(u16::to_string).collect();
        let exact = |slack: Slack| {
            let parts = [(slack.samples, "samples"), (slack.millis, "ms")];
            let said: Vec<String> = parts
                .iter()
                .filter(|(amount, _)| *amount > 0.0)
                .map(|(amount, unit)| format!("{amount} {unit}"))
                .collect();
            if said.is_empty() {
                "no".to_owned()
            } else {
                said.join(" and ")
            }
        };
        let _ = writeln!(
            out,
            "| {} | {} | {} | {} % | {} | {} | {} |",
            row.format,
            list(rates),
            list(channels),
            row.most * 100.0,
            exact(row.late),
            exact(row.longer),
            match row.cut {
                Cut::Counted => "refused, or read with a warning when nine tenths are there",
                Cut::Refused => "refused",
                Cut::Open => "read as far as it goes, with a warning",
            }
        );
    }
    out
}

#[test]
fn the_page_has_the_table_of_what_is_tested() {
    audiorag_testkit::page::has_table("docs/formats.md", "matrix", &table());
}
