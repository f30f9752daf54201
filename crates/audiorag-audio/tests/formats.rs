//! Every container and sample format against a reference signal.
#![expect(clippy::unwrap_used, reason = "a failing test should panic")]

mod common;

use audiorag_audio::probe;
use audiorag_core::MediaTime;
use common::{CUTS, Depth, distance, fixture, rms, samples, wav};
use std::f64::consts::TAU;

#[test]
fn wav_of_every_depth_rate_and_channel_count_is_the_signal() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.wav");
    let tone = |time: f64| 0.4 * (440.0 * TAU * time).sin() + 0.2 * (1000.0 * TAU * time).cos();
    for depth in Depth::ALL {
        for rate in [8000, 11_025, 16_000, 22_050, 44_100, 48_000, 96_000, 192_000] {
            for channels in [1, 2, 3, 6, 8] {
                // Channels differ, and their average is the tone.
                let offset = |channel: u16| (f64::from(channel) - f64::from(channels - 1) / 2.0) * 0.02;
                let file = wav(depth, rate, channels, 0.3, |time, channel| {
                    tone(time) + offset(channel)
                });
                std::fs::write(&path, file).unwrap();
                let case = format!("{depth:?}, {rate} Hz, {channels} channels");
                let media = probe(&path).unwrap();
                assert_eq!((media.sample_rate, media.channels), (rate, channels), "{case}");
                assert_eq!(media.container, "wav");
                let (found, warnings) = samples(&path).unwrap();
                let frames = (0.3 * f64::from(rate)).round() as u64;
                let length = MediaTime::from_millis((frames * 1000).div_ceil(u64::from(rate)));
                assert_eq!(media.duration, Some(length), "{case}");
                assert_eq!(
                    found.len() as u64,
                    (frames * 16_000).div_ceil(u64::from(rate)),
                    "{case}"
                );
                assert!(warnings.is_empty(), "{case}: {warnings:?}");
                // Away from the ends, where the resampler sees the signal begin and stop.
                let error =
                    rms((800..4000).map(|n| found.get(n).unwrap() - tone(n as f64 / 16_000.0) as f32));
                assert!(error < depth.tolerance(), "{case}: {error}");
            }
        }
    }
}

#[test]
fn values_that_are_no_numbers_are_silence() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.wav");
    let signal = |time: f64, _| match (time * 44_100.0).round() as u64 {
        100 => f64::NAN,
        200 => f64::INFINITY,
        300 => 40.0,
        _ => 0.1,
    };
    std::fs::write(&path, wav(Depth::F32, 44_100, 2, 0.2, signal)).unwrap();
    let (found, _) = samples(&path).unwrap();
    assert!(found.iter().all(|sample| sample.is_finite()));
    assert!((rms(found.iter().skip(1600).copied()) - 0.1).abs() < 0.01);
}

#[test]
fn every_container_holds_the_same_reading() {
    let (reference, _) = samples(&fixture("two_cities.flac")).unwrap();
    assert_eq!(reference.len(), 709_986);
    for name in CUTS {
        let (found, warnings) = samples(&fixture(name)).unwrap();
        assert!(warnings.is_empty(), "{name}: {warnings:?}");
        let found_seconds = found.len() as f64 / 16_000.0;
        if name != "two_cities.flac" {
            assert!((found_seconds - 8.0).abs() < 0.04, "{name}: {found_seconds} s");
        }
        // What is at 8 kHz, or coarsely quantised, is compared in time only, below.
        let is_faithful = !["aiff", "caf", "adpcm.wav", "aac", "webm", "mkv"]
            .iter()
            .any(|kind| name.ends_with(kind));
        if is_faithful {
            let distance = distance(&reference, found.get(..127_000).unwrap());
            assert!(distance < 0.35, "{name}: {distance}");
        }
        let shift = best_shift(&reference, &found, 500);
        let expected = match name.rsplit('.').next().unwrap() {
            // ADTS has no place to say that it starts with 1024 samples of delay (23 ms at 44.1 kHz).
            "aac" => 372..=373,
            // Matroska rounds its delay to milliseconds.
            "webm" | "mkv" => -8..=8,
            _ => -1..=1,
        };
        assert!(expected.contains(&shift), "{name}: shifted by {shift} samples");
    }
}

/// By how many samples `found` is late, from the correlation of one second of speech.
fn best_shift(reference: &[f32], found: &[f32], most: i32) -> i32 {
    let window = 32_000_i32..48_000;
    let at = |samples: &[f32], index: i32| f64::from(*samples.get(usize::try_from(index).unwrap()).unwrap());
    (-most..=most)
        .max_by(|a, b| {
            let score = |shift: i32| -> f64 {
                window
                    .clone()
                    .step_by(3)
                    .map(|n| at(reference, n) * at(found, n + shift))
                    .sum()
            };
            score(*a).total_cmp(&score(*b))
        })
        .unwrap()
}

#[test]
fn probing_names_container_codec_and_length() {
    let expected = [
        ("two_cities-8s.wav", "wav", "pcm_s16le", 16_000),
        ("two_cities-8s.adpcm.wav", "wav", "adpcm_ima_wav", 16_000),
        ("two_cities-8s.aiff", "aiff", "pcm_alaw", 8000),
        ("two_cities-8s.caf", "caf", "pcm_mulaw", 8000),
        ("two_cities-8s.mp3", "mp3", "mp3", 44_100),
        ("two_cities-8s.m4a", "mp4", "aac", 44_100),
        ("two_cities-8s.alac.m4a", "mp4", "alac", 16_000),
        ("two_cities-8s.aac", "aac", "aac", 44_100),
        ("two_cities-8s.ogg", "ogg", "vorbis", 48_000),
        ("two_cities-8s.webm", "mkv", "vorbis", 48_000),
        ("video.mp4", "mp4", "aac", 44_100),
        ("video.mkv", "mkv", "vorbis", 48_000),
    ];
    for (name, container, codec, rate) in expected {
        let media = probe(&fixture(name)).unwrap();
        assert_eq!(
            (
                media.container.as_str(),
                media.codec.as_str(),
                media.sample_rate,
                media.channels
            ),
            (container, codec, rate, 1),
            "{name}"
        );
        let length = media.duration.unwrap().as_seconds_f64();
        assert!((length - 8.0).abs() < 0.04, "{name}: {length}");
    }
}

#[test]
fn tags_are_read_from_every_kind() {
    for name in [
        "two_cities.flac",
        "two_cities-8s.mp3",
        "two_cities-8s.ogg",
        "two_cities-8s.m4a",
        "two_cities-8s.aiff",
    ] {
        let media = probe(&fixture(name)).unwrap();
        assert_eq!(media.title.as_deref(), Some("A Tale of Two Cities"), "{name}");
        assert_eq!(media.artist.as_deref(), Some("Pete Warden"), "{name}");
        assert_eq!(media.album.as_deref(), Some("Fixtures"), "{name}");
        assert_eq!(media.date.as_deref(), Some("2024-05-06"), "{name}");
    }
    assert_eq!(
        probe(&fixture("two_cities-8s.mp3")).unwrap().language.as_deref(),
        Some("eng")
    );
    let matroska = probe(&fixture("video.mkv")).unwrap();
    assert_eq!(matroska.artist.as_deref(), Some("Pete Warden"));
    assert_eq!(matroska.date.as_deref(), Some("2024-05-06"));
}

#[test]
fn the_info_list_of_a_wav_file_is_read_before_and_after_the_sound() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.wav");
    let mut list = b"INFO".to_vec();
    for (name, text) in [
        (b"INAM", "The talk\0"),
        (b"IART", "Ada"),
        (b"ICRD", "2024-05-06\0"),
        (b"ISFT", "Lavf"),
    ] {
        list.extend(name);
        list.extend(u32::try_from(text.len()).unwrap().to_le_bytes());
        list.extend(text.as_bytes());
        list.extend(vec![0; text.len() % 2]);
    }
    let list = [
        b"LIST",
        u32::try_from(list.len()).unwrap().to_le_bytes().as_slice(),
        &list,
    ]
    .concat();
    let sound = wav(Depth::S16, 16_000, 1, 0.5, |time, _| {
        0.2 * (440.0 * TAU * time).sin()
    });
    let (head, data) = sound.split_at(36);
    for mut content in [[head, &list, data].concat(), [sound.as_slice(), &list].concat()] {
        let size = u32::try_from(content.len() - 8).unwrap();
        content
            .get_mut(4..8)
            .unwrap()
            .copy_from_slice(&size.to_le_bytes());
        std::fs::write(&path, &content).unwrap();
        let media = probe(&path).unwrap();
        assert_eq!(media.title.as_deref(), Some("The talk"));
        assert_eq!(media.artist.as_deref(), Some("Ada"));
        assert_eq!(media.date.as_deref(), Some("2024-05-06"));
        assert_eq!(samples(&path).unwrap().0.len(), 8000);
        // A list that is cut off, or says that it is longer than it is, does no harm.
        for length in [content.len() - 10, content.len() - list.len() + 9] {
            std::fs::write(&path, content.get(..length).unwrap()).unwrap();
            let _ = probe(&path);
        }
    }
}

#[test]
fn the_name_plays_no_part() {
    let directory = tempfile::tempdir().unwrap();
    for (name, disguise) in [
        ("two_cities-8s.mp3", "notes.txt"),
        ("two_cities-8s.ogg", "a.mp3"),
        ("video.mp4", "noextension"),
    ] {
        let path = directory.path().join(disguise);
        std::fs::copy(fixture(name), &path).unwrap();
        assert_eq!(probe(&path).unwrap().codec, probe(&fixture(name)).unwrap().codec);
    }
}

#[test]
fn concatenated_mp3_is_heard_to_its_end() {
    // The header of the first file announces only its own length.
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("twice.mp3");
    let once = std::fs::read(fixture("two_cities-8s.mp3")).unwrap();
    std::fs::write(&path, [once.clone(), once].concat()).unwrap();
    let (found, _) = samples(&path).unwrap();
    assert!(
        (found.len() as f64 / 16_000.0 - 16.0).abs() < 0.15,
        "{}",
        found.len()
    );
    assert!(rms(found.iter().skip(9 * 16_000).copied()) > 0.01);
}

#[test]
fn chained_ogg_is_heard_to_its_end() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("chain.ogg");
    let first = std::fs::read(fixture("two_cities-8s.ogg")).unwrap();
    let second = std::fs::read(fixture("spoken-alice.ogg")).unwrap();
    std::fs::write(&path, [first, second].concat()).unwrap();
    let (found, _) = samples(&path).unwrap();
    let (alice, _) = samples(&fixture("spoken-alice.ogg")).unwrap();
    // Two rates in one stream, 48 and 22.05 kHz. The start of a later link is not trimmed by Symphonia: up to
    // 50 ms of the encoder's delay remain.
    let late = best_shift(&alice, found.get(128_000..).unwrap(), 1000);
    assert!((0..800).contains(&late), "{late}");
    assert!((found.len() as f64 / 16_000.0 - 8.0 - alice.len() as f64 / 16_000.0).abs() < 0.1);
}
