//! What becomes of a file that is cut, in every format of the matrix.
#![expect(clippy::unwrap_used, reason = "a failing test should panic")]

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
use std::path::Path;

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

/// What is wrong with how a file was read that was cut at some shares of its bytes.
fn wrong_when_cut(row: &Row, whole: &[u8], path: &Path) -> Vec<String> {
    std::fs::write(path, whole).unwrap();
    let (all, _) = samples(path).unwrap();
    let mut wrong = Vec::new();
    for percent in [10, 50, 90, 95] {
        // Not exactly between two frames of a constant rate, which nobody can see.
        std::fs::write(path, whole.get(..whole.len() * percent / 100 + 7).unwrap()).unwrap();
        let case = format!("{}, cut at {percent} %", row.format);
        // Whatever is decoded before the verdict is what the whole file has there.
        let mut before = Vec::new();
        let end = match SampleReader::open(path) {
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
    wrong
}

/// Six seconds as ffmpeg writes them.
fn encoded(row: &Row, program: &Path, directory: &Path) -> Vec<u8> {
    // At the usual rate where there is one.
    let rate = if row.rates.contains(&48_000) {
        48_000
    } else {
        *row.rates.last().unwrap()
    };
    let source = directory.join("source.wav");
    std::fs::write(&source, wav(Depth::F32, rate, 1, 6.0, |time, _| signal(time))).unwrap();
    let path = directory.join(format!("whole.{}", row.ending));
    let mut arguments = vec!["-i", source.to_str().unwrap()];
    arguments.extend_from_slice(row.arguments);
    encode(program, &arguments, &path);
    std::fs::read(&path).unwrap()
}

#[test]
fn a_file_cut_anywhere_is_read_to_its_last_whole_frame_or_refused() {
    let Some(program) = ffmpeg() else { return };
    let directory = tempfile::tempdir().unwrap();
    let mut wrong = Vec::new();
    for row in ROWS {
        let whole = encoded(row, &program, directory.path());
        let path = directory.path().join(format!("cut.{}", row.ending));
        wrong.extend(wrong_when_cut(row, &whole, &path));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The chunks of a CAF file with that of packets before the sound.
fn with_the_table_first(content: &[u8]) -> Vec<u8> {
    let (mut head, mut table, mut sound) = (Vec::new(), Vec::new(), Vec::new());
    let mut rest = content.get(8..).unwrap();
    while let Some(size) = rest.get(4..12) {
        let size = 12 + u64::from_be_bytes(size.try_into().unwrap()) as usize;
        let chunk = rest.get(..size).unwrap();
        match chunk.get(..4).unwrap() {
            b"pakt" => &mut table,
            b"data" => &mut sound,
            _ => &mut head,
        }
        .extend_from_slice(chunk);
        rest = rest.get(size..).unwrap();
    }
    assert!(!table.is_empty() && !sound.is_empty());
    [content.get(..8).unwrap(), &head, &table, &sound].concat()
}

/// The packets of a stream of ADTS in a CAF file with its table before the sound, which ffmpeg does not write.
fn aac_in_caf(adts: &[u8], rate: u32) -> Vec<u8> {
    let chunk =
        |kind: &[u8; 4], content: &[u8]| [kind, &(content.len() as u64).to_be_bytes()[..], content].concat();
    let (mut sizes, mut sound, mut config, mut frames) = (Vec::new(), vec![0; 4], 0_u16, 0_i64);
    let mut rest = adts;
    // ISO/IEC 13818-7 section 6.2, and the same three numbers as in ISO/IEC 14496-3 section 1.6.2.1.
    while let [_, _, c, d, e, f, _, ..] = *rest {
        let (size, c, d) = (
            usize::from(d & 3) << 11 | usize::from(e) << 3 | usize::from(f >> 5),
            u16::from(c),
            u16::from(d),
        );
        config = ((c >> 6) + 1) << 11 | (c >> 2 & 15) << 7 | ((c & 1) << 2 | d >> 6) << 3;
        let packet = rest.get(7..size).unwrap();
        sizes.extend([0x80 | (packet.len() >> 7) as u8, packet.len() as u8 & 0x7f]);
        sound.extend_from_slice(packet);
        frames += 1024;
        rest = rest.get(size..).unwrap();
    }
    let description = [
        &f64::from(rate).to_be_bytes()[..],
        b"aac \0\0\0\x02",
        &[0, 1024, 1, 0].map(u32::to_be_bytes).concat(),
    ]
    .concat();
    let table = [
        &(frames / 1024).to_be_bytes()[..],
        &frames.to_be_bytes(),
        &[0; 8],
        &sizes,
    ]
    .concat();
    // ISO/IEC 14496-1 section 7.2.6.5: a stream, its decoder, and what the decoder has to know.
    let cookie = [
        &b"\x03\x19\0\0\0\x04\x11\x40\x15"[..],
        &[0; 11],
        b"\x05\x02",
        &config.to_be_bytes(),
        b"\x06\x01\x02",
    ]
    .concat();
    [
        b"caff\0\x01\0\0".to_vec(),
        chunk(b"desc", &description),
        chunk(b"kuki", &cookie),
        chunk(b"pakt", &table),
        chunk(b"data", &sound),
    ]
    .concat()
}

#[test]
fn caf_files_with_their_table_before_the_sound_are_read_to_their_last_whole_packet() {
    let Some(program) = ffmpeg() else { return };
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("cut.caf");
    let mut wrong = Vec::new();
    for row in ROWS
        .iter()
        .filter(|row| matches!(row.found, ("caf", "alac" | "opus")))
    {
        let counted = Row {
            cut: Cut::Counted,
            ..*row
        };
        let content = with_the_table_first(&encoded(row, &program, directory.path()));
        wrong.extend(wrong_when_cut(&counted, &content, &path));
    }
    let adts = ROWS.iter().find(|row| row.found == ("aac", "aac")).unwrap();
    let aac = Row {
        format: "AAC-LC in CAF",
        cut: Cut::Counted,
        ..*adts
    };
    let content = aac_in_caf(&encoded(adts, &program, directory.path()), 48_000);
    wrong.extend(wrong_when_cut(&aac, &content, &path));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn caf_files_that_are_cut_behind_their_sound_are_read_whole() {
    let Some(program) = ffmpeg() else { return };
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("cut.caf");
    for row in ROWS.iter().filter(|row| row.found.0 == "caf") {
        let mut content = encoded(row, &program, directory.path());
        std::fs::write(&path, &content).unwrap();
        let (all, _) = samples(&path).unwrap();
        content.extend_from_slice(b"info\0\0\0\0\0\0\0\x20\0\0\0\x01");
        std::fs::write(&path, &content).unwrap();
        let (found, warnings) = samples(&path).unwrap();
        assert!(found == all, "{}", row.format);
        assert_eq!(
            warnings,
            ["it ends within what follows its sound: it is cut off"],
            "{}",
            row.format
        );
    }
}

/// A recorder that could not come back to its header leaves the size of the sound open.
#[test]
fn caf_files_with_a_sound_left_open_are_read_until_the_end() {
    let Some(program) = ffmpeg() else { return };
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("open.caf");
    for row in ROWS.iter().filter(|row| row.found.0 == "caf") {
        let mut content = encoded(row, &program, directory.path());
        std::fs::write(&path, &content).unwrap();
        let (all, _) = samples(&path).unwrap();
        if content.windows(4).any(|name| name == b"pakt") {
            content = with_the_table_first(&content);
        }
        let sound = content.windows(4).position(|name| name == b"data").unwrap();
        content.get_mut(sound + 4..sound + 12).unwrap().fill(0xff);
        std::fs::write(&path, &content).unwrap();
        let (found, warnings) = samples(&path).unwrap();
        assert!(
            found == all && warnings.is_empty(),
            "{}: {warnings:?}",
            row.format
        );
    }
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
