//! Containers and codecs, as ffmpeg writes them, at every rate and channel count, against the signal that went in and
//! against ffmpeg's own decoder.
#![expect(clippy::unwrap_used, reason = "a failing test should panic")]

mod common;

use audiorag_audio::{SampleReader, probe};
use audiorag_core::ErrorKind;
use common::{Depth, encode, ffmpeg, rms, samples, wav};
use std::f64::consts::TAU;
use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

const SECONDS: f64 = 1.5;
const ALL_RATES: &[u32] = &[8000, 11_025, 16_000, 22_050, 44_100, 48_000, 96_000, 192_000];
const TO_48: &[u32] = &[8000, 11_025, 16_000, 22_050, 44_100, 48_000];
const MPEG: &[u32] = &[16_000, 22_050, 24_000, 32_000, 44_100, 48_000];
const ALL_CHANNELS: &[u16] = &[1, 2, 6, 8];
const STEREO: &[u16] = &[1, 2];

/// A row of the table in docs/formats.md.
struct Row {
    /// The ending of the file that ffmpeg is asked for.
    ending: &'static str,
    /// What it is called there.
    format: &'static str,
    /// Container and codec as they are found.
    found: (&'static str, &'static str),
    arguments: &'static [&'static str],
    rates: &'static [u32],
    channels: &'static [u16],
    /// The largest difference from the signal, relative to it, at the best place.
    most: f64,
    /// Milliseconds by which the sound may be late: those of an encoder's delay that the container cannot tell.
    late: f64,
    /// Milliseconds by which the length may differ: those that fill the last frame.
    longer: f64,
}

const ROWS: &[Row] = &[
    row(
        "wav",
        "WAV, 16 bit",
        ("wav", "pcm_s16le"),
        &["-c:a", "pcm_s16le"],
        ALL_RATES,
        ALL_CHANNELS,
    ),
    row(
        "wav",
        "WAV, 24 bit",
        ("wav", "pcm_s24le"),
        &["-c:a", "pcm_s24le"],
        ALL_RATES,
        ALL_CHANNELS,
    ),
    row(
        "wav",
        "WAV, 32-bit float",
        ("wav", "pcm_f32le"),
        &["-c:a", "pcm_f32le"],
        ALL_RATES,
        ALL_CHANNELS,
    ),
    row(
        "wav",
        "WAV, u-law",
        ("wav", "pcm_mulaw"),
        &["-c:a", "pcm_mulaw"],
        TO_48,
        STEREO,
    )
    .within(0.05),
    row(
        "wav",
        "WAV, A-law",
        ("wav", "pcm_alaw"),
        &["-c:a", "pcm_alaw"],
        TO_48,
        STEREO,
    )
    .within(0.05),
    row(
        "wav",
        "WAV, IMA ADPCM",
        ("wav", "adpcm_ima_wav"),
        &["-c:a", "adpcm_ima_wav"],
        TO_48,
        STEREO,
    )
    .within(0.2)
    .padded(0.0, 260.0),
    row(
        "wav",
        "WAV, Microsoft ADPCM",
        ("wav", "adpcm_ms"),
        &["-c:a", "adpcm_ms"],
        TO_48,
        STEREO,
    )
    .within(0.2)
    .padded(0.0, 260.0),
    row(
        "aiff",
        "AIFF, 16 bit",
        ("aiff", "pcm_s16be"),
        &["-c:a", "pcm_s16be"],
        ALL_RATES,
        ALL_CHANNELS,
    ),
    row(
        "caf",
        "CAF, 16 bit",
        ("caf", "pcm_s16be"),
        &["-c:a", "pcm_s16be"],
        ALL_RATES,
        ALL_CHANNELS,
    ),
    row(
        "flac",
        "FLAC, 16 bit",
        ("flac", "flac"),
        &["-c:a", "flac"],
        ALL_RATES,
        ALL_CHANNELS,
    ),
    row(
        "flac",
        "FLAC, 24 bit",
        ("flac", "flac"),
        &["-c:a", "flac", "-sample_fmt", "s32"],
        ALL_RATES,
        ALL_CHANNELS,
    ),
    row(
        "m4a",
        "ALAC in MP4",
        ("mp4", "alac"),
        &["-c:a", "alac"],
        TO_48,
        &[1, 2, 6],
    ),
    row(
        "mp3",
        "MP3, constant rate",
        ("mp3", "mp3"),
        &["-c:a", "libmp3lame", "-b:a", "128k"],
        MPEG,
        STEREO,
    )
    .within(0.1),
    row(
        "mp3",
        "MP3, variable rate",
        ("mp3", "mp3"),
        &["-c:a", "libmp3lame", "-q:a", "4"],
        MPEG,
        STEREO,
    )
    .within(0.1),
    row(
        "mp2",
        "MP2",
        ("mp2", "mp2"),
        &["-c:a", "mp2", "-b:a", "128k"],
        MPEG,
        STEREO,
    )
    .within(0.16)
    .padded(35.0, 80.0),
    row(
        "m4a",
        "AAC-LC in MP4",
        ("mp4", "aac"),
        &["-c:a", "aac", "-b:a", "128k"],
        TO_48,
        STEREO,
    )
    .within(0.15)
    .padded(0.2, 0.2),
    row(
        "aac",
        "AAC-LC in ADTS",
        ("aac", "aac"),
        &["-c:a", "aac", "-b:a", "128k"],
        TO_48,
        STEREO,
    )
    .within(0.15)
    .padded(130.0, 260.0),
    row(
        "ogg",
        "Vorbis in Ogg",
        ("ogg", "vorbis"),
        &["-c:a", "libvorbis", "-q:a", "5"],
        TO_48,
        &[1, 2, 6],
    )
    .within(0.15),
    row(
        "webm",
        "Vorbis in WebM",
        ("mkv", "vorbis"),
        &["-c:a", "libvorbis", "-q:a", "5"],
        TO_48,
        STEREO,
    )
    .within(0.15)
    .padded(1.0, 130.0),
    row(
        "opus",
        "Opus in Ogg",
        ("ogg", "opus"),
        &["-c:a", "libopus", "-b:a", "96k"],
        &[8000, 16_000, 24_000, 48_000],
        ALL_CHANNELS,
    )
    .within(0.25),
    row(
        "webm",
        "Opus in WebM",
        ("mkv", "opus"),
        &["-c:a", "libopus", "-b:a", "96k"],
        &[48_000],
        ALL_CHANNELS,
    )
    .within(0.25)
    .padded(1.0, 25.0),
    row(
        "mp4",
        "Opus in MP4",
        ("mp4", "opus"),
        &["-c:a", "libopus", "-b:a", "96k", "-strict", "-2"],
        &[48_000],
        STEREO,
    )
    .within(0.2)
    .padded(0.2, 25.0),
    row(
        "mkv",
        "FLAC in Matroska",
        ("mkv", "flac"),
        &["-c:a", "flac"],
        ALL_RATES,
        STEREO,
    )
    .padded(1.0, 1.0),
    row(
        "mkv",
        "AAC-LC in Matroska",
        ("mkv", "aac"),
        &["-c:a", "aac", "-b:a", "128k"],
        &[44_100, 48_000],
        STEREO,
    )
    .within(0.15)
    .padded(25.0, 75.0),
    row(
        "mkv",
        "MP3 in Matroska",
        ("mkv", "mp3"),
        &["-c:a", "libmp3lame", "-b:a", "128k"],
        &[44_100, 48_000],
        STEREO,
    )
    .within(0.12)
    .padded(60.0, 80.0),
];

const fn row(
    ending: &'static str,
    format: &'static str,
    found: (&'static str, &'static str),
    arguments: &'static [&'static str],
    rates: &'static [u32],
    channels: &'static [u16],
) -> Row {
    Row {
        ending,
        format,
        found,
        arguments,
        rates,
        channels,
        most: 0.002,
        late: 0.07,
        longer: 0.07,
    }
}

impl Row {
    const fn within(self, most: f64) -> Self {
        Self { most, ..self }
    }

    const fn padded(self, late: f64, longer: f64) -> Self {
        Self { late, longer, ..self }
    }

    /// Every rate in mono, more channels at the usual rates: rates and channels do not meet in any decoder.
    fn cells(&self) -> Vec<(u32, u16)> {
        let mut cells = Vec::new();
        for rate in self.rates {
            for channels in self.channels {
                let is_usual = match channels {
                    1 => true,
                    2 => matches!(rate, 16_000 | 44_100 | 48_000),
                    _ => *rate == 48_000,
                };
                if is_usual {
                    cells.push((*rate, *channels));
                }
            }
        }
        cells
    }
}

/// Speech-like: partials below 3.4 kHz that come and go, so that no shift looks like another.
fn signal(time: f64) -> f64 {
    let swell = |rate: f64, phase: f64| 0.5 + 0.5 * (TAU * rate * time + phase).sin();
    0.2 * swell(1.3, 0.0) * (TAU * 230.0 * time).sin()
        + 0.15 * swell(2.1, 1.0) * (TAU * 710.0 * time).sin()
        + 0.1 * swell(1.7, 2.0) * (TAU * (1500.0 + 300.0 * time) * time).sin()
}

fn reference() -> Vec<f32> {
    (0..(SECONDS * 16_000.0) as usize)
        .map(|n| signal(n as f64 / 16_000.0) as f32)
        .collect()
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

/// The first channel as ffmpeg decodes it.
fn decoded_by_ffmpeg(program: &Path, path: &Path) -> Vec<f32> {
    let output = Command::new(program)
        .args(["-nostdin", "-loglevel", "error", "-i"])
        .arg(path)
        .args(["-af", "pan=mono|c0=c0", "-ar", "16000", "-f", "f32le", "-"])
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
    let reference = reference();
    let mut wrong = Vec::new();
    for (rate, channels) in row.cells() {
        let case = format!("{}, {rate} Hz, {channels} channels", row.format);
        let name = format!("{}-{rate}-{channels}", row.format.replace([' ', ','], ""));
        let source = directory.join(format!("{name}.source.wav"));
        let path = directory.join(format!("{name}.{}", row.ending));
        std::fs::write(
            &source,
            wav(Depth::F32, rate, channels, SECONDS, |time, _| signal(time)),
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
        let most = (row.late * 16.0).ceil() as usize;
        let (error, late) = nearest(&reference, &found, most);
        if error > row.most {
            wrong.push(format!(
                "{case}: differs by {error:.4} at {late}, at most {} is allowed",
                row.most
            ));
        }
        let length = found.len() as f64 / 16.0 - SECONDS * 1000.0;
        if !(-0.07..=row.longer).contains(&length) {
            wrong.push(format!(
                "{case}: {length:.2} ms longer than the signal, at most {} are allowed",
                row.longer
            ));
        }
        if !warnings.is_empty() {
            wrong.push(format!("{case}: {warnings:?}"));
        }
        // The channel for low frequencies has nothing else in it, so that surround is not the mean of one signal.
        let other = if channels > 2 {
            found.clone()
        } else {
            decoded_by_ffmpeg(program, &path)
        };
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

#[test]
fn a_file_cut_anywhere_is_read_to_its_last_whole_frame_or_refused() {
    let Some(program) = ffmpeg() else { return };
    let directory = tempfile::tempdir().unwrap();
    let source = directory.path().join("source.wav");
    std::fs::write(&source, wav(Depth::F32, 48_000, 1, 6.0, |time, _| signal(time))).unwrap();
    for row in ROWS.iter().filter(|row| row.rates.contains(&48_000)) {
        let path = directory.path().join(format!("whole.{}", row.ending));
        let mut arguments = vec!["-i", source.to_str().unwrap()];
        arguments.extend_from_slice(row.arguments);
        encode(&program, &arguments, &path);
        let whole = std::fs::read(&path).unwrap();
        let (all, _) = samples(&path).unwrap();
        for percent in [10, 50, 90, 95] {
            std::fs::write(&path, whole.get(..whole.len() * percent / 100).unwrap()).unwrap();
            let case = format!("{}, cut at {percent} %", row.format);
            // Whatever is decoded before the verdict is what the whole file has there.
            let mut before = Vec::new();
            let end = match SampleReader::open(&path) {
                Err(error) => Err(error),
                Ok(mut reader) => loop {
                    match reader.next_block() {
                        Ok(Some(block)) => before.extend_from_slice(block),
                        Ok(None) => break Ok(reader.warnings().to_vec()),
                        Err(error) => break Err(error),
                    }
                },
            };
            let sure = before.len().saturating_sub(4000);
            if sure > 0 {
                let difference = rms(all.iter().zip(&before).take(sure).map(|(a, b)| a - b));
                assert!(difference < 0.01, "{case}: {difference}");
            }
            let share = before.len() as f64 / all.len() as f64;
            match end {
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::Input, "{case}: {}", error.report());
                    assert!(error.hint().is_some(), "{case}");
                }
                Ok(warnings) => {
                    // A stream without an index or an end looks whole wherever it ends.
                    let has_no_end = ["mp3", "mp2", "aac", "ogg", "opus"].contains(&row.ending);
                    assert!(!warnings.is_empty() || has_no_end, "{case}: {share}");
                    assert!(share >= 0.9 || has_no_end, "{case}: {share}");
                }
            }
        }
    }
}

/// The table of docs/formats.md.
fn table() -> String {
    let list = |numbers: Vec<String>| numbers.join(", ");
    let mut out = String::from(
        "| format | rates (kHz) | channels | most difference | may start late | may be longer |\n| --- | --- | --- | --- | --- | --- |\n",
    );
    for row in ROWS {
        let rates = row
            .rates
            .iter()
            .map(|rate| format!("{}", f64::from(*rate) / 1000.0))
            .collect();
        let channels = row.channels.iter().map(u16::to_string).collect();
        let exact = |millis: f64| {
            if millis < 0.1 {
                "no".to_owned()
            } else {
                format!("{millis} ms")
            }
        };
        let _ = writeln!(
            out,
            "| {} | {} | {} | {} % | {} | {} |",
            row.format,
            list(rates),
            list(channels),
            row.most * 100.0,
            exact(row.late),
            exact(row.longer)
        );
    }
    out
}

/// The page with the table in its place.
fn page() -> (std::path::PathBuf, String, String) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/formats.md");
    let old = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = old.split_once("<!-- matrix -->\n").unwrap();
    let (_, after) = rest.split_once("<!-- end of matrix -->").unwrap();
    let new = format!(
        "{before}<!-- matrix -->\n{}<!-- end of matrix -->{after}",
        table()
    );
    (path, old, new)
}

#[test]
fn the_page_has_the_table_of_what_is_tested() {
    let (_, old, new) = page();
    assert!(
        old == new,
        "docs/formats.md is out of date: cargo test -p audiorag-audio --test matrix write -- --ignored"
    );
}

#[test]
#[ignore = "writes the table into docs/formats.md"]
fn write_the_page() {
    let (path, _, new) = page();
    std::fs::write(path, new).unwrap();
}
