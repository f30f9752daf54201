//! Recordings that ffmpeg decodes for us.
#![expect(clippy::unwrap_used, reason = "a failing test should panic")]

mod common;

use audiorag_audio::{DecodeOptions, Limits, PartReader, SampleReader, probe, probe_with};
use audiorag_core::{Error, ErrorKind, MediaTime};
use common::{distance, encode, ffmpeg, fixture, rms, settings};
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
        assert!(error.hint().unwrap().contains("ffmpeg"));

        let options = options(program.clone());
        let media = probe_with(&path, &options).unwrap();
        assert_eq!(media.codec, *codec, "{name}");
        assert!(
            media.channels == 1 && media.sample_rate >= 16_000,
            "{name}: {media:?}"
        );
        if !name.ends_with(".ac3") && !name.ends_with(".au") {
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
    // ffmpeg goes by what it finds of a WMA file, and by what the header of other files says.
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
    let (samples, warnings) = halved("half.wma", "wmav2").unwrap();
    assert!((50_000..70_000).contains(&samples.len()));
    assert_eq!(warnings, ["ffmpeg found damage"]);
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
