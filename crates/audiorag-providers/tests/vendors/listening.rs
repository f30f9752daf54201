//! Stand-ins that hear where the audio they are sent is loud, and requests to send.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "failing a test is what this is for"
)]

use audiorag_core::Span;
use audiorag_core::capability::TranscribeRequest;
use audiorag_testkit::http::Request;

/// Two seconds of a tone, half a second of silence before it.
pub(crate) fn request() -> TranscribeRequest {
    let samples: Vec<f32> = (0..40_000)
        .map(|n| {
            if n < 8_000 {
                0.0
            } else {
                (n as f32 * 0.1).sin() * 0.5
            }
        })
        .collect();
    TranscribeRequest {
        samples: samples.into(),
        speech: vec![Span::from_millis(500, 2_500)],
        language: None,
        prompt: None,
    }
}

/// The WAV file in a body, whatever stands around it.
pub(crate) fn wav_in(request: &Request) -> &[u8] {
    let start = request
        .body
        .windows(4)
        .position(|window| window == b"RIFF")
        .expect("a WAV file");
    let wav = &request.body[start..];
    let size = u32::from_le_bytes(wav[4..8].try_into().expect("four bytes")) as usize;
    &wav[..size + 8]
}

/// From when to when the audio is loud, in seconds.
pub(crate) fn loud(wav: &[u8]) -> (f64, f64) {
    let loud: Vec<usize> = wav[44..]
        .chunks(2)
        .enumerate()
        .filter(|(_, pair)| i16::from_le_bytes([pair[0], pair[1]]).unsigned_abs() > 500)
        .map(|(index, _)| index)
        .collect();
    let seconds = |index: Option<&usize>| index.map_or(0.0, |index| *index as f64 / 16_000.0);
    (seconds(loud.first()), seconds(loud.last()))
}
