//! Stand-ins that embed by spelling and rank by shared words.

#![expect(clippy::expect_used, reason = "failing a test is what this is for")]

use serde_json::Value;

/// A vector that depends on every letter of the text and on nothing else.
pub(crate) fn vector(text: &str, dimensions: usize) -> Vec<f32> {
    let mut state = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let next = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % 2_000) as f32 / 1_000.0 - 1.0
    };
    (0..dimensions).map(next).collect()
}

/// Documents by the words they share with the query: places and scores, best first, at most `top`.
pub(crate) fn ranking(query: &str, documents: &[Value], top: usize) -> Vec<(usize, f64)> {
    let words = |text: &str| -> Vec<String> {
        text.to_lowercase()
            .split_whitespace()
            .map(str::to_owned)
            .collect()
    };
    let query = words(query);
    let mut scores: Vec<(usize, f64)> = documents
        .iter()
        .enumerate()
        .map(|(place, text)| {
            let shared = words(text.as_str().expect("text"))
                .iter()
                .filter(|word| query.contains(word))
                .count();
            (place, shared as f64 / 10.0)
        })
        .collect();
    scores.sort_by(|a, b| b.1.total_cmp(&a.1));
    scores.truncate(top);
    scores
}

pub(crate) fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}
