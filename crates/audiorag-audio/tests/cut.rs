//! What becomes of a file that is cut, in every format of the matrix.

mod common;
#[expect(
    dead_code,
    reason = "only the first channel, and the whole of it, matters here"
)]
mod rows;

use audiorag_audio::{DecodeOptions, Limits, SampleReader};
use audiorag_core::{ErrorKind, MediaTime};
use common::{Depth, encode, ffmpeg, rms, samples, wav};
use rows::{Cut, ROWS, Row, signal};

/// What is wrong with how a file of so many samples was read that ended after this share of its bytes.
fn wrong_with(
    row: &Row,
    percent: usize,
    share: f64,
    end: &Result<Vec<String>, audiorag_core::Error>,
) -> Option<String> {
    if let Err(error) = end
        && (error.kind() != ErrorKind::Input || error.hint().is_none())
    {
        return Some(format!("refused without reason: {}", error.report()));
    }
    let is_refused = end.is_err();
    // An Ogg page holds up to a second: of six, the first tenth may have none that is whole.
    let is_paged = row.found.0 == "ogg";
    let must_be_refused = match row.cut {
        Cut::Refused => Some(true),
        Cut::Open if is_paged && percent == 10 => None,
        Cut::Open => Some(false),
        // Headers and tables have their share of the bytes: nine tenths of these may be less of the sound.
        Cut::Counted => match percent {
            90 => None,
            percent => Some(percent < 90),
        },
    };
    if must_be_refused.is_some_and(|must| must != is_refused) {
        return Some(match end {
            Ok(_) => "was read".to_owned(),
            Err(error) => format!("was refused: {}", error.report()),
        });
    }
    let Ok(warnings) = end else { return None };
    if warnings.is_empty() {
        return Some("was read without a warning".to_owned());
    }
    let there = percent as f64 / 100.0;
    let least = if row.cut == Cut::Counted {
        0.9
    } else {
        there - if is_paged { 0.2 } else { 0.12 }
    };
    // At the start of the file are headers; a variable rate spends its bytes unevenly.
    let most = (there + 0.12).min(0.999);
    (!(least..=most).contains(&share)).then(|| format!("{share:.3} of it came out"))
}

#[test]
fn a_file_cut_anywhere_is_read_to_its_last_whole_frame_or_refused() {
    let Some(program) = ffmpeg() else { return };
    let directory = tempfile::tempdir().unwrap();
    let source = directory.path().join("source.wav");
    let mut wrong = Vec::new();
    for row in ROWS {
        // At the usual rate where there is one.
        let rate = if row.rates.contains(&48_000) {
            48_000
        } else {
            *row.rates.last().unwrap()
        };
        std::fs::write(&source, wav(Depth::F32, rate, 1, 6.0, |time, _| signal(time))).unwrap();
        let path = directory.path().join(format!("whole.{}", row.ending));
        let mut arguments = vec!["-i", source.to_str().unwrap()];
        arguments.extend_from_slice(row.arguments);
        encode(&program, &arguments, &path);
        let whole = std::fs::read(&path).unwrap();
        let (all, _) = samples(&path).unwrap();
        for percent in [10, 50, 90, 95] {
            // Not exactly between two frames of a constant rate, which nobody can see.
            std::fs::write(&path, whole.get(..whole.len() * percent / 100 + 7).unwrap()).unwrap();
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
            wrong.extend(wrong_with(row, percent, share, &end).map(|what| format!("{case}: {what}")));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// See docs/adr/0012-no-ratio-of-decoded-to-encoded.md: there is no bound on what a byte may become.
#[test]
fn silence_of_any_ratio_is_a_recording_and_bounded_in_seconds() {
    let Some(program) = ffmpeg() else { return };
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("silence.flac");
    let silence = [
        "-f",
        "lavfi",
        "-i",
        "anullsrc=r=8000:cl=mono",
        "-t",
        "3600",
        "-frame_size",
        "65535",
    ];
    encode(&program, &[&silence[..], &["-c:a", "flac"]].concat(), &path);
    let mut content = std::fs::read(&path).unwrap();
    let (all, warnings) = samples(&path).unwrap();
    assert_eq!((all.len(), warnings), (3600 * 16_000, Vec::new()));
    // As 16-bit samples, thousands of times the file.
    assert!(3600 * 8000 * 2 / content.len() > 2000, "{} bytes", content.len());
    // A length of zero is an unknown one: the limit stops it on the way.
    content.get_mut(22..26).unwrap().fill(0);
    std::fs::write(&path, content).unwrap();
    let limits = Limits {
        max_duration: MediaTime::from_seconds(600),
        ..Limits::default()
    };
    let options = DecodeOptions {
        limits,
        ..DecodeOptions::default()
    };
    let mut reader = SampleReader::open_with(&path, &options).unwrap();
    let error = loop {
        match reader.next_block() {
            Ok(Some(_)) => {}
            Ok(None) => panic!("it was read to its end"),
            Err(error) => break error,
        }
    };
    assert!(error.message().contains("is too long"), "{error}");
    assert!(reader.position() < 620 * 16_000);
}
