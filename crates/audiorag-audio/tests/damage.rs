//! Broken, hostile and mistaken input.
#![expect(clippy::unwrap_used, reason = "a failing test should panic")]

mod common;

use audiorag_audio::{DecodeOptions, Limits, PartReader, SampleReader, fingerprint, probe, probe_with};
use audiorag_core::{Error, ErrorKind, MediaTime, Stage};
use common::{CUTS, Depth, distance, fixture, parts, rms, samples, settings, wav, wav_header};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

fn file(name: &str, content: &[u8]) -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(name);
    std::fs::write(&path, content).unwrap();
    (directory, path)
}

/// The error of both ways in, which must agree.
fn refusal(path: &Path) -> Error {
    let split = PartReader::open(path, settings(60, 120)).err().unwrap();
    let error = probe(path).unwrap_err();
    assert_eq!((error.kind(), error.message()), (split.kind(), split.message()));
    assert_eq!(
        (error.stage(), split.stage()),
        (Some(Stage::Probe), Some(Stage::Split))
    );
    assert!(
        error.source_name().is_some() && error.hint().is_some(),
        "{error:?}"
    );
    let report = error.report();
    assert!(!report.contains('\n') && report.len() < 300, "{report}");
    error
}

#[test]
fn other_contents_are_named() {
    let random: Vec<u8> = (0..40_000_u32)
        .map(|n| (n.wrapping_mul(2_654_435_761).rotate_left(n % 31) >> 13) as u8)
        .collect();
    let cases: [(&[u8], &str); 8] = [
        (b"", "is an empty file"),
        (b"just some words\n", "plain text"),
        (b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n1 0 obj\n", "a PDF document"),
        (b"<!DOCTYPE html><html>404</html>", "an HTML or XML page"),
        (b"PK\x03\x04\x14\x00\x00\x00", "a ZIP archive"),
        (b"RIFF\x10\x00\x00\x00AVI LIST", "AVI video"),
        (&[0; 5000], "nothing but zero bytes"),
        (&random, "not a recording in any known format"),
    ];
    for (content, expected) in cases {
        let (_directory, path) = file("talk.mp3", content);
        let error = refusal(&path);
        assert!(
            error.message().starts_with("talk.mp3 ") && error.message().contains(expected),
            "{error}"
        );
        let is_unsupported = expected == "AVI video";
        assert_eq!(
            error.kind(),
            if is_unsupported {
                ErrorKind::Unsupported
            } else {
                ErrorKind::Input
            }
        );
    }
}

#[test]
fn missing_files_and_directories_are_told_apart() {
    let directory = tempfile::tempdir().unwrap();
    let error = refusal(&directory.path().join("gone.mp3"));
    assert_eq!(
        (error.kind(), error.message()),
        (ErrorKind::NotFound, "gone.mp3 does not exist")
    );
    let error = refusal(directory.path());
    assert_eq!(error.kind(), ErrorKind::Input);
    assert!(error.message().ends_with("is a directory, not a recording"));
}

#[cfg(unix)]
#[test]
fn pipes_sockets_devices_and_loops_never_hang() {
    let directory = tempfile::tempdir().unwrap();
    let fifo = directory.path().join("fifo.wav");
    assert!(
        std::process::Command::new("mkfifo")
            .arg(&fifo)
            .status()
            .unwrap()
            .success()
    );
    let socket = directory.path().join("socket.wav");
    let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    for path in [
        fifo.as_path(),
        &socket,
        Path::new("/dev/zero"),
        Path::new("/dev/null"),
    ] {
        let error = refusal(path);
        assert_eq!(error.kind(), ErrorKind::Input);
        assert!(error.message().contains("is not a regular file"), "{error}");
        assert_eq!(fingerprint(path).unwrap_err().kind(), ErrorKind::Input);
    }
    let link = directory.path().join("loop.wav");
    std::os::unix::fs::symlink(&link, &link).unwrap();
    assert_eq!(refusal(&link).kind(), ErrorKind::Input);
}

#[cfg(unix)]
#[test]
fn odd_names_work() {
    use std::os::unix::ffi::OsStrExt as _;
    let directory = tempfile::tempdir().unwrap();
    let names: [&[u8]; 4] = [
        b"-x.mp3",
        b"new\nline.mp3",
        b"\xff\xfe.mp3",
        "Grüße 東京.mp3".as_bytes(),
    ];
    for name in names {
        let path = directory.path().join(std::ffi::OsStr::from_bytes(name));
        std::fs::copy(fixture("two_cities-8s.mp3"), &path).unwrap();
        assert_eq!(probe(&path).unwrap().codec, "mp3");
        std::fs::write(&path, "text").unwrap();
        refusal(&path);
    }
}

#[test]
fn codecs_and_tracks_that_cannot_be_used_are_named() {
    let error = refusal(&fixture("video-without-audio.mp4"));
    assert_eq!(
        (error.kind(), error.message()),
        (ErrorKind::Input, "video-without-audio.mp4 has no audio track")
    );
    let error = refusal(&fixture("blip.ac3.mkv"));
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.message().ends_with("not decoded here: ac3") && error.hint().unwrap().contains("ffmpeg"));
}

#[test]
fn too_short_is_said() {
    let (_directory, path) = file("blip.wav", &wav(Depth::S16, 16_000, 1, 0.07, |_, _| 0.1));
    let error = parts(&path, settings(60, 120)).unwrap_err();
    assert_eq!(
        (error.kind(), error.message()),
        (ErrorKind::Input, "blip.wav is too short: 70 ms of audio")
    );
    let (_directory, path) = file("none.wav", &wav_header(Depth::S16, 16_000, 1, 0));
    assert_eq!(
        parts(&path, settings(60, 120)).unwrap_err().kind(),
        ErrorKind::Input
    );
    let (_directory, path) = file("word.wav", &wav(Depth::S16, 16_000, 1, 0.08, |_, _| 0.1));
    assert_eq!(parts(&path, settings(60, 120)).unwrap().len(), 1);
}

#[test]
fn limits_are_kept() {
    let directory = tempfile::tempdir().unwrap();
    let huge = directory.path().join("huge.wav");
    std::fs::File::create(&huge).unwrap().set_len(20 << 30).unwrap();
    assert!(refusal(&huge).message().contains("is too large"));
    assert!(fingerprint(&huge).unwrap_err().message().contains("is too large"));

    let limits = Limits {
        max_duration: MediaTime::from_seconds(5),
        ..Limits::default()
    };
    let options = DecodeOptions {
        limits,
        ..DecodeOptions::default()
    };
    let error = probe_with(&fixture("two_cities-8s.mp3"), &options).unwrap_err();
    assert_eq!(
        error.message(),
        "two_cities-8s.mp3 is too long: 00:08, at most 00:05 are allowed"
    );
    // A stream that does not announce its length is stopped on the way.
    let mut endless = wav_header(Depth::S16, 16_000, 1, u32::MAX);
    endless.extend(vec![0; 400_000]);
    let (_directory, path) = file("endless.wav", &endless);
    assert_eq!(probe(&path).unwrap().duration, None);
    let mut reader = SampleReader::open_with(&path, &options).unwrap();
    let mut read = || -> Result<(), Error> {
        while reader.next_block()?.is_some() {}
        Ok(())
    };
    assert!(read().unwrap_err().message().contains("is too long"));
    read().unwrap();

    let (_directory, path) = file("wide.wav", &wav(Depth::U8, 8000, 80, 0.2, |_, _| 0.0));
    // Symphonia's own limit comes before ours.
    assert_eq!(
        refusal(&path).message(),
        "wide.wav has headers that cannot be read: malformed stream: riff: invalid channel count"
    );
    let narrow = DecodeOptions {
        limits: Limits {
            max_channels: 4,
            ..Limits::default()
        },
        ..DecodeOptions::default()
    };
    let (_directory, path) = file("six.wav", &wav(Depth::U8, 8000, 6, 0.2, |_, _| 0.0));
    assert_eq!(
        probe_with(&path, &narrow).unwrap_err().message(),
        "six.wav has 6 channels, at most 4 are allowed"
    );
}

/// Cuts a fixture off after a share of its bytes.
fn cut(name: &str, percent: usize) -> (TempDir, PathBuf) {
    let content = std::fs::read(fixture(name)).unwrap();
    file(name, content.get(..content.len() * percent / 100).unwrap())
}

#[test]
fn cut_off_files_are_refused_or_reported() {
    for name in CUTS.iter().filter(|name| **name != "two_cities.flac") {
        // Streams that nowhere say how long they are: they just end.
        let is_open = [".aac", ".ogg", ".opus"].iter().any(|kind| name.ends_with(kind));
        for percent in [10, 50, 90, 95] {
            let (_directory, path) = cut(name, percent);
            let case = format!("{name} at {percent} %");
            match samples(&path) {
                Ok((found, warnings)) => {
                    let seconds = found.len() as f64 / 16_000.0;
                    let there = 8.0 * percent as f64 / 100.0;
                    // Headers take their share of the bytes, and the last page or frame is lost.
                    let least = if is_open { there - 1.1 } else { 7.19 };
                    assert!((least..there + 0.9).contains(&seconds), "{case}: {seconds}");
                    assert!(
                        !warnings.is_empty() && seconds < 7.99,
                        "{case}: {seconds}, {warnings:?}"
                    );
                }
                Err(error) => {
                    // An index at the end is lost.
                    let needs_end = [".m4a", ".mp4"].iter().any(|kind| name.ends_with(kind));
                    // The headers of Vorbis alone are more than a tenth of so short a file.
                    let in_headers = is_open && percent == 10;
                    assert!(
                        needs_end || in_headers || !is_open && percent <= 90,
                        "{case}: {error}"
                    );
                    assert_eq!(error.kind(), ErrorKind::Input, "{case}: {error}");
                    assert!(error.message().contains("cut off"), "{case}: {error}");
                    assert!(error.hint().is_some());
                }
            }
        }
    }
}

#[test]
fn losses_are_counted_in_seconds() {
    for name in ["two_cities-8s.wav", "two_cities-8s.mp3", "two_cities-8s.m4a"] {
        let (_directory, path) = cut(name, 50);
        let error = parts(&path, settings(60, 120)).unwrap_err();
        assert!(
            error.message().contains("is cut off or damaged: only") && error.message().contains("of 8.0 s"),
            "{name}: {error}"
        );
        let (_directory, path) = cut(name, 94);
        let (found, warnings) = samples(&path).unwrap();
        assert!((7.2..7.8).contains(&(found.len() as f64 / 16_000.0)), "{name}");
        assert!(
            warnings
                .iter()
                .any(|text| text.starts_with("decoded 7.") && text.ends_with("of 8.0 s")),
            "{warnings:?}"
        );
    }
    let (_directory, path) = cut("two_cities.flac", 96);
    assert_eq!(samples(&path).unwrap().1, ["decoded 42 of 44 s"]);
}

#[test]
fn sound_after_damage_stays_where_it_is() {
    let (reference, _) = samples(&fixture("two_cities.flac")).unwrap();
    let mut content = std::fs::read(fixture("two_cities.flac")).unwrap();
    let (start, length) = (content.len() / 2, content.len() / 50);
    content.get_mut(start..start + length).unwrap().fill(0x55);
    let (_directory, path) = file("hurt.flac", &content);
    let (found, warnings) = samples(&path).unwrap();
    assert!(!warnings.is_empty());
    let late = 30 * 16_000..44 * 16_000;
    assert_eq!(found.get(late.clone()), reference.get(late));
    assert_eq!(found.get(..15 * 16_000), reference.get(..15 * 16_000));

    // Lossy frames depend on their neighbours, so these are only compared far behind the damage.
    // AAC fills bands with noise that is another one after a lost packet.
    for (name, most) in [
        ("two_cities-8s.m4a", 0.2),
        ("spoken-alice.ogg", 0.01),
        ("two_cities-8s.webm", 0.01),
    ] {
        let (reference, _) = samples(&fixture(name)).unwrap();
        let mut content = std::fs::read(fixture(name)).unwrap();
        let middle = content.len() / 2;
        content.get_mut(middle..middle + 40).unwrap().fill(0x55);
        let (_directory, path) = file(name, &content);
        let (found, _) = samples(&path).unwrap();
        let late = reference.len() - 16_000..reference.len() - 800;
        let distance = distance(reference.get(late.clone()).unwrap(), found.get(late).unwrap());
        assert!(distance < most, "{name}: {distance}");
    }
}

#[test]
fn fingerprints_are_those_of_the_bytes() {
    let (_directory, path) = file("a.bin", b"abc");
    let print = fingerprint(&path).unwrap();
    assert_eq!(
        print.content.as_str(),
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    );
    assert_eq!(print.bytes, 3);
    assert!(print.modified.unwrap() > 1_600_000_000_000_000_000);
    assert_eq!(
        fingerprint(&path.with_extension("gone")).unwrap_err().kind(),
        ErrorKind::NotFound
    );
}

#[test]
fn silence_is_a_recording() {
    let parts = parts(&fixture("silence.flac"), settings(5, 10)).unwrap();
    assert!(parts.iter().all(|part| !part.has_speech()));
    assert!(rms(parts.iter().flat_map(|part| part.samples.iter().copied())) < 1e-6);
    let total: usize = parts.iter().map(|part| part.samples.len()).sum();
    assert_eq!((parts.len(), total), (2, 20 * 16_000));
}

/// Finds of the run over mutated files.
#[test]
fn numbers_that_ask_for_memory_are_refused_before_it_is_given() {
    let seed = std::fs::read(fixture("seeds/alaw.caf")).unwrap();
    let with = |at: usize, bytes: &[u8]| {
        let mut content = seed.clone();
        content
            .get_mut(at..at + bytes.len())
            .unwrap()
            .copy_from_slice(bytes);
        content
    };
    // The size of a packet, the frames of one, and the size of the chunk after the description.
    for content in [
        with(36, &[0x10, 0, 0, 1]),
        with(40, &[0x7f, 0, 0, 1]),
        with(52, b"kuki\x00\x00\x00\x00\x7f\xff\xff\xff"),
        with(56, &[0xff; 8]),
    ] {
        let (_directory, path) = file("talk.caf", &content);
        let error = refusal(&path);
        assert!(error.message().contains("impossible size"), "{error}");
    }
}

/// Sizes of the sound that nobody has written, and sound that is not there.
#[test]
fn hostile_sizes_of_the_sound_of_caf_files_are_refused() {
    let seed = std::fs::read(fixture("seeds/alaw.caf")).unwrap();
    let sound = seed.windows(4).position(|name| name == b"data").unwrap();
    for size in [-2, i64::MIN, 0, 3, 1 << 40, i64::MAX] {
        for left in [sound + 12, sound + 15, sound + 16, sound + 20, seed.len()] {
            let mut content = seed.get(..left).unwrap().to_vec();
            content
                .get_mut(sound + 4..sound + 12)
                .unwrap()
                .copy_from_slice(&i64::to_be_bytes(size));
            let (_directory, path) = file("talk.caf", &content);
            let error = samples(&path).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Input, "{size}, {left}: {error}");
            assert!(error.hint().is_some(), "{error}");
        }
    }
}

#[test]
fn sounds_louder_than_any_recording_do_not_break_the_resampler() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("loud.wav");
    let huge = |time: f64, _| if time > 0.1 { f64::from(f32::MAX) } else { 0.1 };
    std::fs::write(&path, wav(Depth::F32, 44_100, 2, 0.4, huge)).unwrap();
    let (found, _) = samples(&path).unwrap();
    assert!(found.iter().all(|sample| sample.abs() <= 1.0));
}
