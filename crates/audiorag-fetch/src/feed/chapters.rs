//! The JSON chapters of Podcasting 2.0 (`application/json+chapters`).

use super::text;
use audiorag_core::model::Chapter;
use audiorag_core::{Error, MediaTime, Result};
use serde::Deserialize;

/// Chapters that are kept.
const MOST: usize = 2_000;

#[derive(Deserialize)]
struct File {
    chapters: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    #[serde(rename = "startTime")]
    start: serde_json::Value,
    #[serde(default)]
    title: Option<String>,
    /// False for a chapter that only changes the picture.
    #[serde(default)]
    toc: Option<bool>,
}

/// Reads a list of chapters, by start. Those without a title, without a usable time, or hidden from the table of
/// contents are left out; of two at the same instant the first stays.
///
/// # Errors
/// [`Input`](audiorag_core::ErrorKind::Input) when it is not such a list.
pub fn parse_chapters(bytes: &[u8]) -> Result<Vec<Chapter>> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let file: File = serde_json::from_slice(bytes)
        .map_err(|error| Error::input("this is not a list of chapters").with_cause(error))?;
    let mut chapters: Vec<Chapter> = file
        .chapters
        .into_iter()
        .filter(|entry| entry.toc != Some(false))
        .filter_map(|entry| {
            // Some generators write numbers as text.
            let seconds = entry
                .start
                .as_f64()
                .or_else(|| entry.start.as_str()?.trim().parse().ok())?;
            Some(Chapter {
                start: MediaTime::from_seconds_f64(seconds)?,
                title: text::line(&entry.title?, super::LONGEST_LINE)?,
            })
        })
        .take(MOST)
        .collect();
    chapters.sort_by_key(|chapter| chapter.start);
    chapters.dedup_by_key(|chapter| chapter.start);
    Ok(chapters)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Table: feeds | a complete feed
    #[test]
    fn chapters_are_read_in_order() {
        let file = r#"{"version": "1.2.0", "chapters": [
            {"startTime": 168.5, "title": "Second &amp; last", "url": "https://h/"},
            {"startTime": 0, "title": "Intro"},
            {"startTime": 90, "title": "Hidden", "toc": false},
            {"startTime": 0, "title": "Twice"},
            {"startTime": -1, "title": "Before"},
            {"startTime": "12.25", "title": "Text"},
            {"startTime": 60, "img": "https://h/i.png"}
        ]}"#;
        let chapters = parse_chapters(file.as_bytes()).unwrap();
        let read: Vec<(u64, &str)> = chapters
            .iter()
            .map(|chapter| (chapter.start.as_millis(), chapter.title.as_str()))
            .collect();
        assert_eq!(read, [(0, "Intro"), (12_250, "Text"), (168_500, "Second & last")]);
        for wrong in ["", "[]", "{}", "{\"chapters\": 1}", "<html>"] {
            assert!(parse_chapters(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }
}
