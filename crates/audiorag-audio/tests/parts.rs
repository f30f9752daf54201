//! Parts and speech on real recordings.

mod common;

use audiorag_audio::{PartReader, probe};
use audiorag_core::{MediaTime, Span};
use common::{CUTS, Depth, fixture, parts, samples, settings, wav_header};
use std::io::Write as _;

#[test]
fn parts_are_the_recording_whatever_the_lengths() {
    for name in CUTS.into_iter().chain([
        "spoken-alice.ogg",
        "spoken-gettysburg.mp3",
        "spoken-lighthouse.m4a",
    ]) {
        let (all, _) = samples(&fixture(name)).unwrap();
        for (preferred, max) in [(60, 120), (10, 20), (3, 3)] {
            let parts = parts(&fixture(name), settings(preferred, max)).unwrap();
            let joined: Vec<f32> = parts
                .iter()
                .flat_map(|part| part.samples.iter().copied())
                .collect();
            assert!(joined == all, "{name} at {preferred}/{max}");
            assert_eq!(
                parts.last().unwrap().span.end().as_millis(),
                (all.len() as u64).div_ceil(16)
            );
        }
    }
}

#[test]
fn the_same_file_gives_the_same_parts() {
    let once = parts(&fixture("two_cities.flac"), settings(10, 20)).unwrap();
    assert_eq!(
        once,
        parts(&fixture("two_cities.flac"), settings(10, 20)).unwrap()
    );
}

#[test]
fn a_reading_is_cut_in_its_pauses() {
    // Pauses of at least 0.37 s, as ffmpeg's silencedetect at -38 dB finds them.
    let pauses = [
        (4.528, 5.046),
        (6.145, 6.691),
        (8.169, 8.824),
        (10.269, 10.776),
        (12.717, 13.492),
        (14.736, 15.158),
        (16.645, 17.576),
        (20.434, 21.267),
        (23.985, 24.663),
        (25.949, 26.585),
        (28.198, 29.117),
        (29.568, 29.945),
        (32.209, 32.809),
        (36.457, 36.986),
        (38.312, 38.718),
        (41.579, 42.913),
    ];
    for preferred in [6, 10, 20] {
        let parts = parts(&fixture("two_cities.flac"), settings(preferred, preferred * 2)).unwrap();
        assert!(parts.len() > 1);
        for part in parts.iter().rev().skip(1) {
            let cut = part.span.end().as_seconds_f64();
            assert!(
                pauses.iter().any(|(start, end)| (*start..*end).contains(&cut)),
                "{preferred}: {cut}"
            );
        }
    }
}

#[test]
fn spoken_sentences_are_found() {
    for (name, format) in [("alice", "ogg"), ("gettysburg", "mp3"), ("lighthouse", "m4a")] {
        let text = std::fs::read_to_string(fixture(&format!("spoken-{name}.json"))).unwrap();
        let sentences: Vec<serde_json::Value> = serde_json::from_str(&text).unwrap();
        let parts = parts(&fixture(&format!("spoken-{name}.{format}")), settings(60, 120)).unwrap();
        let speech: Vec<Span> = parts
            .iter()
            .flat_map(|part| part.speech.iter().copied())
            .collect();
        assert_eq!(speech.len(), sentences.len(), "{name}: {speech:?}");
        for (sentence, span) in sentences.iter().zip(&speech) {
            let [start, end] = ["start", "end"].map(|key| sentence.get(key).unwrap().as_f64().unwrap());
            // Padding of 96 ms, and the detector's delay at the end.
            assert!(
                (-0.25..0.1).contains(&(span.start().as_seconds_f64() - start)),
                "{name}: {span} for {sentence}"
            );
            assert!(
                (-0.1..0.4).contains(&(span.end().as_seconds_f64() - end)),
                "{name}: {span} for {sentence}"
            );
        }
    }
}

#[test]
fn an_hour_of_silence_comes_in_bounded_parts() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    let bytes = 3600 * 8000;
    file.write_all(&wav_header(Depth::S16, 8000, 1, bytes * 2))
        .unwrap();
    file.as_file().set_len(u64::from(bytes) * 2 + 44).unwrap();
    let mut reader = PartReader::open(file.path(), settings(60, 120)).unwrap();
    let mut count = 0;
    for part in reader.by_ref() {
        let part = part.unwrap();
        assert!(!part.has_speech() && part.samples.len() == 120 * 16_000);
        count += 1;
    }
    assert_eq!(
        (count, reader.duration()),
        (30, Some(MediaTime::from_seconds(3600)))
    );
}

#[test]
fn half_a_day_is_probed_by_its_header() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    let bytes = 12 * 3600 * 16_000 * 2_u32;
    file.write_all(&wav_header(Depth::S16, 16_000, 1, bytes)).unwrap();
    file.as_file().set_len(u64::from(bytes) + 44).unwrap();
    assert_eq!(
        probe(file.path()).unwrap().duration,
        Some(MediaTime::from_seconds(12 * 3600))
    );
}
