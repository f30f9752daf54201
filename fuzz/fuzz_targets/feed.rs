//! Any bytes as a podcast feed, and as a list of chapters.
#![no_main]

use audiorag_fetch::feed::{Feed, parse_chapters};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = parse_chapters(bytes);
    if let Ok(feed) = Feed::parse(bytes, "https://example.org/feed.xml") {
        for episode in feed.select(Some("2026-01-01"), Some(3)) {
            assert!(!episode.enclosure_url.is_empty());
        }
    }
});
