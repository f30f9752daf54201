//! Recordings that ffmpeg decodes for us.
#![expect(clippy::unwrap_used, reason = "a failing test should panic")]

mod common;

use audiorag_audio::{DecodeOptions, Limits, PartReader, SampleReader, probe, probe_with};
use audiorag_core::{Error, ErrorKind, MediaTime};
use common::{distance, encode, ffmpeg, fixture, program, rms, settings};
use std::path::{Path, PathBuf};

fn options(program: PathBuf) -> DecodeOptions {
    DecodeOptions {
        ffmpeg: Some(program),
        ..DecodeOptions::default()
    }
}

fn read(path: &Path, options: &DecodeOptions) -> Result<(Vec<f32>, Vec<String>), Error> {
    let mut reader = SampleReader::open_with(path, options)?;
    let mut all = Vec::new();
    while let Some(block) = reader.next_block()? {
        all.extend_from_slice(block);
    }
    Ok((all, reader.warnings().to_vec()))
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn a_missing_program_fails_a_test_unless_it_is_left_out_on_purpose() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().as_os_str();
    let why = program("ffmpeg", path, "").unwrap_err();
    assert!(why.contains("AUDIORAG_TEST_WITHOUT=ffmpeg"), "{why}");
    assert!(program("ffmpeg", path, "espeak").is_err());
    assert_eq!(program("ffmpeg", path, "espeak, ffmpeg"), Ok(None));
    let place = directory.path().join("ffmpeg");
    std::fs::write(&place, "").unwrap();
    assert_eq!(program("ffmpeg", path, ""), Ok(Some(place)));
}

#[test]
fn what_is_not_decoded_here_is_decoded_by_ffmpeg() {
    let Some(program) = ffmpeg() else { return };
    let directory = tempfile::tempdir().unwrap();
    let reading = fixture("two_cities.flac");
    let reference = read(&reading, &DecodeOptions::default()).unwrap().0;
    let cases: &[(&str, &str, &[&str], f64)] = &[
        (
            "a.wma",
            "wmav2",
            &["-c:a", "wmav2", "-ar", "44100", "-b:a", "96k"],
            0.2,
        ),
        (
            "a.ac3",
            "ac3",
            &["-c:a", "ac3", "-ar", "48000", "-b:a", "96k"],
            0.2,
        ),
        (
            "a.mkv",
            "ac3",
            &["-c:a", "ac3", "-ar", "48000", "-b:a", "96k"],
            0.2,
        ),
        ("a.tta", "tta", &["-c:a", "tta"], 0.001),
        ("a.wv", "wavpack", &["-c:a", "wavpack"], 0.001),
        ("a.au", "pcm_s16be", &["-c:a", "pcm_s16be"], 0.001),
        ("a.spx", "speex", &["-c:a", "libspeex", "-q:a", "10"], 0.8),
        ("a.avi", "mp3", &["-c:a", "libmp3lame", "-ar", "44100"], 0.2),
        // A name that could be taken for an option, a protocol or a pattern.
        (
            "-i http:%03d.ac3",
            "ac3",
            &["-c:a", "ac3", "-ar", "48000", "-b:a", "96k"],
            0.2,
        ),
    ];
    for (name, codec, arguments, most) in cases {
        let path = directory.path().join(name);
        let mut all = vec!["-t", "8", "-i", text(&reading), "-metadata", "title=Two = cities"];
        all.extend_from_slice(arguments);
        // ffmpeg itself takes a percent sign in the name of its output for a pattern.
        let made = directory
            .path()
            .join(format!("made.{}", name.rsplit('.').next().unwrap()));
        encode(&program, &all, &made);
        std::fs::rename(&made, &path).unwrap();

        let error = probe(&path).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{name}: {error}");
        assert!(
            error
                .hint()
                .unwrap()
                .contains("with the program ffmpeg on the PATH"),
            "{name}"
        );

        let options = options(program.clone());
        let media = probe_with(&path, &options).unwrap();
        assert_eq!(media.codec, *codec, "{name}");
        assert!(
            media.channels == 1 && media.sample_rate >= 16_000,
            "{name}: {media:?}"
        );
        if !["ac3", "au"].iter().any(|ending| name.ends_with(ending)) {
            assert_eq!(media.title.as_deref(), Some("Two = cities"), "{name}");
        }
        let (found, warnings) = read(&path, &options).unwrap();
        assert!(warnings.is_empty(), "{name}: {warnings:?}");
        // Encoders pad the last frame; those without a place to say so start with their delay.
        let seconds = found.len() as f64 / 16_000.0;
        assert!((7.99..8.1).contains(&seconds), "{name}: {seconds} s");
        let distance = (0..800)
            .map(|late| distance(reference.get(..120_000).unwrap(), found.get(late..).unwrap()))
            .fold(f64::INFINITY, f64::min);
        assert!(distance < *most, "{name}: {distance}");
        let parts = PartReader::open_with(&path, settings(5, 10), &options).unwrap();
        assert_eq!(parts.fingerprint(), "decoder=ffmpeg");
    }
    // What is decoded here is decoded here, whether ffmpeg is there or not.
    let parts = PartReader::open_with(&reading, settings(5, 10), &options(program)).unwrap();
    assert_eq!(parts.fingerprint(), "");
}

/// Samples of `found` by which it is later than the reading, and how far it is from it there.
fn held_against_the_reading(found: &[f32]) -> (usize, f64) {
    let reference = read(&fixture("two_cities.flac"), &DecodeOptions::default())
        .unwrap()
        .0;
    let reference = reference.get(..120_000).unwrap();
    (0..2000)
        .map(|late| (late, distance(reference, found.get(late..).unwrap())))
        .min_by(|a, b| a.1.total_cmp(&b.1))
        .unwrap()
}

#[test]
fn amr_is_decoded_by_ffmpeg() {
    let Some(program) = ffmpeg() else { return };
    let path = fixture("two_cities-8s.amr");
    let error = probe(&path).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.message().contains("AMR"), "{error}");
    let options = options(program);
    let media = probe_with(&path, &options).unwrap();
    assert_eq!((media.codec.as_str(), media.sample_rate), ("amr_nb", 8000));
    let (found, warnings) = read(&path, &options).unwrap();
    assert!(warnings.is_empty(), "{warnings:?}");
    let seconds = found.len() as f64 / 16_000.0;
    assert!((7.9..8.1).contains(&seconds), "{seconds} s");
    let (late, distance) = held_against_the_reading(&found);
    assert!(late < 160 && distance < 0.8, "{distance}, {late} samples late");
}

/// Without ffmpeg the lower half of the spectrum is read, and that is enough to know the reading by.
#[test]
fn high_efficiency_aac_is_read_with_ffmpeg_and_without() {
    let Some(program) = ffmpeg() else { return };
    for name in ["two_cities-8s.he.m4a", "two_cities-8s.he.aac"] {
        let path = fixture(name);
        let with = options(program.clone());
        for (options, decoder) in [(with, "decoder=ffmpeg"), (DecodeOptions::default(), "")] {
            let parts = PartReader::open_with(&path, settings(5, 10), &options).unwrap();
            assert_eq!(parts.fingerprint(), decoder, "{name}");
            let (found, warnings) = read(&path, &options).unwrap();
            assert!(warnings.is_empty(), "{name}: {warnings:?}");
            let seconds = found.len() as f64 / 16_000.0;
            let (late, distance) = held_against_the_reading(&found);
            assert!((7.9..8.2).contains(&seconds), "{name}: {seconds} s");
            assert!(
                distance < 0.5,
                "{name}, {decoder}: {distance}, {late} samples late"
            );
        }
    }
}

#[test]
fn tracks_channels_and_chapters_reach_ffmpeg() {
    let Some(program) = ffmpeg() else { return };
    let directory = tempfile::tempdir().unwrap();
    let notes = directory.path().join("notes.txt");
    std::fs::write(
        &notes,
        ";FFMETADATA1\nartist=A; B\n[CHAPTER]\nTIMEBASE=1/1000\nSTART=0\nEND=1000\ntitle=One\n\
         [CHAPTER]\nTIMEBASE=1/1000\nSTART=1000\nEND=2000\ntitle=Two\n",
    )
    .unwrap();
    let path = directory.path().join("two.mkv");
    let tones = "aevalsrc=0.1|0.2:s=48000:d=2[a];aevalsrc=0.3|0.4:s=48000:d=2[b]";
    encode(
        &program,
        &[
            "-i",
            text(&notes),
            "-filter_complex",
            tones,
            "-map",
            "[a]",
            "-map",
            "[b]",
            "-map_metadata",
            "0",
            "-c:a",
            "wavpack",
        ],
        &path,
    );
    let base = options(program);
    let media = probe_with(&path, &base).unwrap();
    assert_eq!((media.channels, media.artist.as_deref()), (2, Some("A; B")));
    let chapters: Vec<_> = media
        .chapters
        .iter()
        .map(|c| (c.start.as_millis(), c.title.as_str()))
        .collect();
    assert_eq!(chapters, [(0, "One"), (1000, "Two")]);
    let level = |track, channel| {
        let chosen = DecodeOptions {
            track,
            channel,
            ..base.clone()
        };
        let (all, _) = read(&path, &chosen).unwrap();
        rms(all.get(8000..24_000).unwrap().iter().copied())
    };
    for (track, channel, expected) in [
        (None, None, 0.15),
        (Some(1), Some(2), 0.2),
        (Some(2), None, 0.35),
        (Some(2), Some(1), 0.3),
    ] {
        let found = level(track, channel);
        assert!((found - expected).abs() < 0.002, "{track:?} {channel:?}: {found}");
    }
    let refusal = |track, channel| {
        let chosen = DecodeOptions {
            track,
            channel,
            ..base.clone()
        };
        probe_with(&path, &chosen).unwrap_err().message().to_owned()
    };
    assert_eq!(refusal(Some(3), None), "two.mkv has no audio track 3 of 2");
    assert_eq!(refusal(Some(1), Some(9)), "two.mkv has no channel 9 of 2");
}

#[test]
fn limits_and_damage_hold_for_ffmpeg_too() {
    let Some(program) = ffmpeg() else { return };
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.wma");
    encode(
        &program,
        &[
            "-t",
            "8",
            "-i",
            text(&fixture("two_cities.flac")),
            "-c:a",
            "wmav2",
        ],
        &path,
    );
    let long = DecodeOptions {
        limits: Limits {
            max_duration: MediaTime::from_seconds(5),
            ..Limits::default()
        },
        ..options(program.clone())
    };
    assert_eq!(
        read(&path, &long).unwrap_err().message(),
        "a.wma is too long: 00:08, at most 00:05 are allowed"
    );
    let halved = |name: &str, codec: &str| {
        let path = directory.path().join(name);
        encode(
            &program,
            &["-t", "8", "-i", text(&fixture("two_cities.flac")), "-c:a", codec],
            &path,
        );
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, whole.get(..whole.len() / 2).unwrap()).unwrap();
        read(&path, &options(program.clone()))
    };
    // The header of a WMA file says how long it was meant to be, and ffmpeg does not look.
    let error = halved("half.wma", "wmav2").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Input);
    assert!(
        error
            .message()
            .starts_with("half.wma is cut off or damaged: only 4.")
            && error.message().ends_with("of 8.0 s could be decoded"),
        "{error}"
    );
    let error = halved("half.mkv", "tta").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Input);
    assert!(
        error
            .message()
            .starts_with("half.mkv is cut off or damaged: only"),
        "{error}"
    );
    let whole = std::fs::read(&path).unwrap();
    let cut = directory.path().join("cut.wma");
    std::fs::write(&cut, whole.get(..40).unwrap()).unwrap();
    let error = read(&cut, &options(program)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Input);
    assert!(error.hint().is_some());
}

/// A program that says of every file what ffmpeg would, and puts out a second of silence of the four it announces; then
/// it does what it is told.
#[cfg(unix)]
fn stand_in(directory: &Path, announced: &str, last: &str) -> PathBuf {
    use std::os::unix::fs::PermissionsExt as _;
    let program = directory.join("ffmpeg.sh");
    let script = format!(
        "#!/bin/sh\n\
         case \"$*\" in *ffmetadata*)\n\
         echo 'Input #0, ac3, from x:' >&2\n{announced}\n\
         echo '  Stream #0:0: Audio: ac3, 48000 Hz, mono, fltp' >&2\nexit 0;; esac\n\
         head -c 64000 /dev/zero\n{last}\n"
    );
    std::fs::write(&program, script).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o700)).unwrap();
    program
}

#[cfg(unix)]
#[test]
fn an_ffmpeg_that_fails_on_the_way_is_not_believed() {
    let directory = tempfile::tempdir().unwrap();
    let file = fixture("blip.ac3.mkv");
    // Nobody knows how much is missing.
    let program = stand_in(directory.path(), ":", "exit 3");
    let (samples, warnings) = read(&file, &options(program)).unwrap();
    assert_eq!(samples.len(), 16_000);
    assert_eq!(warnings, ["ffmpeg stopped before the end (exit code 3)"]);
    // Three quarters are missing.
    let length = "echo '  Duration: 00:00:04.00, start: 0.0, bitrate: 70 kb/s' >&2";
    let program = stand_in(directory.path(), length, "exit 3");
    let error = read(&file, &options(program)).unwrap_err();
    assert!(
        error.message().ends_with("only 1.0 of 4.0 s could be decoded"),
        "{error}"
    );
    let program = stand_in(directory.path(), ":", "exit 0");
    assert_eq!(read(&file, &options(program)).unwrap().1, Vec::<String>::new());
}

#[cfg(target_os = "linux")]
#[test]
fn ffmpeg_has_only_its_memory_and_its_processor_time() {
    let directory = tempfile::tempdir().unwrap();
    let told = directory.path().join("limits");
    // Limits are set from outside, just after the start.
    let last = format!("sleep 0.3; cat /proc/self/limits > {}", told.display());
    let program = stand_in(directory.path(), ":", &last);
    read(&fixture("blip.ac3.mkv"), &options(program)).unwrap();
    let told = std::fs::read_to_string(told).unwrap();
    let limit = |name: &str| {
        let line = told.lines().find(|line| line.starts_with(name)).unwrap();
        line.trim_start_matches(name)
            .split_whitespace()
            .next()
            .unwrap()
            .to_owned()
    };
    assert_eq!(limit("Max address space"), (2_u64 << 30).to_string());
    assert_ne!(limit("Max cpu time"), "unlimited");
    assert_eq!(limit("Max core file size"), "0");
}

#[test]
fn a_missing_ffmpeg_is_named() {
    let error = read(&fixture("blip.ac3.mkv"), &options("/no/such/ffmpeg".into())).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert_eq!(
        error.message(),
        "blip.ac3.mkv needs ffmpeg, which could not be started: /no/such/ffmpeg"
    );
    assert!(error.hint().unwrap().contains("install ffmpeg"));
}

#[test]
fn surround_that_is_decoded_wrongly_or_not_at_all_here_is_decoded_by_ffmpeg() {
    let Some(program) = ffmpeg() else { return };
    let directory = tempfile::tempdir().unwrap();
    for (name, arguments) in [
        ("a.ogg", ["-ac", "8", "-c:a", "libvorbis"]),
        ("b.ogg", ["-ac", "3", "-c:a", "libvorbis"]),
        ("a.m4a", ["-ac", "6", "-c:a", "aac"]),
        ("b.m4a", ["-ac", "8", "-c:a", "alac"]),
    ] {
        let path = directory.path().join(name);
        let reading = fixture("two_cities.flac");
        let mut all = vec!["-t", "3", "-i", text(&reading)];
        all.extend(arguments);
        encode(&program, &all, &path);
        let error = probe(&path).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{name}: {error}");
        let (found, _) = read(&path, &options(program.clone())).unwrap();
        assert!(
            (found.len() as f64 / 16_000.0 - 3.0).abs() < 0.05,
            "{name}: {}",
            found.len()
        );
    }
}
