//! Recordings to index: the readings in `tests/fixtures`, cut and joined so that the truth is known.

use audiorag_testkit::synth::Track;
use audiorag_testkit::wav;
use std::path::PathBuf;

/// A file of `tests/fixtures`.
pub(crate) fn fixture(name: &str) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("fixtures")
        .join(name);
    assert!(path.is_file(), "{} is missing", path.display());
    path
}

/// The length of [`reading`] in milliseconds: a whole number of the voice detector's 16 ms frames, so that
/// repetitions at such a period are cut into the same frames.
pub(crate) const READING_MILLIS: u64 = 428 * 16;

/// "It was the best of times, it was the worst of times, it was the age of wisdom, it was the age of
/// foolishness", from its first sound to its last.
pub(crate) fn reading() -> (Vec<f32>, u32) {
    let (samples, rate, channels) = wav::decode_pcm16(&std::fs::read(fixture("two_cities-8s.wav")).unwrap());
    assert_eq!((rate, channels, samples.len()), (16_000, 1, 128_000));
    // The fixture begins with 1.2 s of room noise.
    (samples[128_000 - READING_MILLIS as usize * 16..].to_vec(), rate)
}

/// The reading with half a second of silence around it.
pub(crate) fn short() -> Track {
    variant(0)
}

/// The reading, quieter the higher `number` is: other bytes, another recording, the same words.
pub(crate) fn variant(number: u16) -> Track {
    let (samples, rate) = reading();
    let quieter: Vec<f32> = samples
        .iter()
        .map(|sample| sample * (1.0 - 0.04 * f32::from(number)))
        .collect();
    Track::new(rate).silence(500).recording(&quieter).silence(500)
}

/// `minutes` times six readings with two seconds between, nearly nine seconds each: enough parts to be interrupted in the middle.
pub(crate) fn long(minutes: usize) -> Track {
    let (samples, rate) = reading();
    (0..minutes * 6).fold(Track::new(rate), |track, _| {
        track.recording(&samples).silence(2_000)
    })
}
