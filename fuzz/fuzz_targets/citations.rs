//! Any text as the answer of a language model, bound to no passages and to one.
#![no_main]

use audiorag_core::cite;
use audiorag_core::numbers::spoken_numbers;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let bound = cite::bind(text, &[]);
    assert!(bound.citations.is_empty());
    let _ = spoken_numbers(text);
});
