//! Which track and which channel of a recording is decoded.
#![expect(clippy::unwrap_used, reason = "a failing test should panic")]

mod common;

use audiorag_audio::{DecodeOptions, PartReader, SampleReader, probe_with};
use audiorag_core::ErrorKind;
use common::{Depth, fixture, rms, settings, wav};
use std::path::Path;

fn channel(number: u16) -> DecodeOptions {
    DecodeOptions {
        channel: Some(number),
        ..DecodeOptions::default()
    }
}

fn track(number: u32) -> DecodeOptions {
    DecodeOptions {
        track: Some(number),
        ..DecodeOptions::default()
    }
}

fn samples(path: &Path, options: &DecodeOptions) -> Vec<f32> {
    let mut reader = SampleReader::open_with(path, options).unwrap();
    let mut all = Vec::new();
    while let Some(block) = reader.next_block().unwrap() {
        all.extend_from_slice(block);
    }
    all
}

#[test]
fn a_channel_is_heard_alone() {
    let directory = tempfile::tempdir().unwrap();
    for depth in [Depth::S16, Depth::F32] {
        for rate in [16_000, 44_100] {
            let path = directory.path().join("call.wav");
            // Each channel has a level of its own.
            let content = wav(depth, rate, 3, 0.5, |_, channel| 0.1 * f64::from(channel + 1));
            std::fs::write(&path, content).unwrap();
            let level = |options: &DecodeOptions| {
                let all = samples(&path, options);
                rms(all.get(2000..6000).unwrap().iter().copied())
            };
            for number in 1..=3 {
                let found = level(&channel(number));
                assert!(
                    (found - 0.1 * f64::from(number)).abs() < 1e-3,
                    "{number}: {found}"
                );
            }
            let mixed = level(&DecodeOptions::default());
            assert!((mixed - 0.2).abs() < 1e-3, "{mixed}");
            assert_eq!(probe_with(&path, &channel(2)).unwrap().channels, 3);
        }
    }
}

#[test]
fn a_channel_that_is_not_there_is_named() {
    let path = fixture("two_cities-8s.ogg");
    let channels = probe_with(&path, &DecodeOptions::default()).unwrap().channels;
    for number in [0, channels + 1] {
        let error = probe_with(&path, &channel(number)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Input);
        assert_eq!(
            error.message(),
            format!("two_cities-8s.ogg has no channel {number} of {channels}")
        );
        assert!(error.hint().unwrap().contains(&format!("from 1 to {channels}")));
        let opened = PartReader::open_with(&path, settings(60, 120), &channel(number));
        assert_eq!(opened.map(drop).unwrap_err().message(), error.message());
    }
}

#[test]
fn a_track_is_counted_among_the_audio_tracks() {
    // The picture comes first in these files and is not counted.
    for name in ["video.mkv", "video.mp4"] {
        let path = fixture(name);
        assert_eq!(
            samples(&path, &track(1)),
            samples(&path, &DecodeOptions::default())
        );
        for number in [0, 2] {
            let error = probe_with(&path, &track(number)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Input);
            assert_eq!(
                error.message(),
                format!("{name} has no audio track {number} of 1")
            );
            assert!(error.hint().is_some());
        }
    }
}
