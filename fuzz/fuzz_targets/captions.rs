//! Any bytes as a transcript: read or refused, and what is read lies in order. Needs no corpus to start with.
#![no_main]

use audiorag::captions;
use audiorag_core::MediaTime;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(given) = captions::parse(bytes, "talk.srt") else {
        return;
    };
    let segments = &given.transcript.segments;
    assert!(!segments.is_empty() && segments.iter().all(|segment| !segment.text.is_empty()));
    assert!(segments.is_sorted_by_key(|segment| segment.span));
    let end = MediaTime::from_seconds(60);
    let within = given.within(end).transcript;
    assert!(within.segments.iter().all(|segment| segment.span.end() <= end));
});
