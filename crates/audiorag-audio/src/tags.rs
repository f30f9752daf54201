//! Title, artist, album, date and language from whatever tags a file carries.

use audiorag_core::model::Media;
use std::fmt::Write as _;
use symphonia::core::formats::FormatReader;
use symphonia::core::meta::{MetadataRevision, RawValue, StandardTag, Tag};

/// Longer texts are cut: a title is for reading, and tags are written by strangers.
const MAX_CHARACTERS: usize = 300;

/// Copies the tags of every revision into `media`; within a field the first one found stays.
pub(crate) fn collect(reader: &mut dyn FormatReader, media: &mut Media) {
    let mut metadata = reader.metadata();
    let mut dates = Dates::default();
    loop {
        let popped = metadata.pop();
        let is_last = popped.is_none();
        let revision: Option<&MetadataRevision> = popped.as_ref().or_else(|| metadata.current());
        if let Some(revision) = revision {
            let tracks = revision.per_track.iter().flat_map(|track| &track.metadata.tags);
            for tag in revision.media.tags.iter().chain(tracks) {
                apply(tag, media, &mut dates);
            }
        }
        if is_last {
            break;
        }
    }
    media.date = dates.recorded.or(dates.released).or(dates.other);
}

/// Dates by how close they are to when something was said.
#[derive(Default)]
struct Dates {
    recorded: Option<String>,
    released: Option<String>,
    other: Option<String>,
}

fn apply(tag: &Tag, media: &mut Media, dates: &mut Dates) {
    let Some(standard) = &tag.std else {
        return apply_raw(tag, media, dates);
    };
    match standard {
        StandardTag::TrackTitle(text) => set(&mut media.title, clean(text)),
        StandardTag::Artist(text) => set(&mut media.artist, clean(text)),
        StandardTag::Album(text) => set(&mut media.album, clean(text)),
        StandardTag::Language(text) => set(&mut media.language, language(text)),
        StandardTag::RecordingDate(text) => set(&mut dates.recorded, date(text)),
        StandardTag::RecordingYear(year) => set(&mut dates.recorded, date(&format!("{year:04}"))),
        StandardTag::ReleaseDate(text) => set(&mut dates.released, date(text)),
        StandardTag::ReleaseYear(year) => set(&mut dates.released, date(&format!("{year:04}"))),
        StandardTag::OriginalReleaseDate(text) | StandardTag::OriginalRecordingDate(text) => {
            set(&mut dates.other, date(text));
        }
        _ => {}
    }
}

/// Tags that Symphonia leaves untranslated, such as those that ffmpeg writes into Matroska.
fn apply_raw(tag: &Tag, media: &mut Media, dates: &mut Dates) {
    let RawValue::String(text) = &tag.raw.value else {
        return;
    };
    let key = tag.raw.key.rsplit(['@', ':']).next().unwrap_or_default();
    match key.to_ascii_lowercase().as_str() {
        "title" => set(&mut media.title, clean(text)),
        "artist" | "author" => set(&mut media.artist, clean(text)),
        "album" | "show" => set(&mut media.album, clean(text)),
        "language" => set(&mut media.language, language(text)),
        "date" | "date_recorded" | "date_released" => set(&mut dates.other, date(text)),
        _ => {}
    }
}

fn set(field: &mut Option<String>, value: Option<String>) {
    if field.is_none() {
        *field = value;
    }
}

/// One line without control characters.
fn clean(text: &str) -> Option<String> {
    let printable: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    let words = printable.split_whitespace().collect::<Vec<_>>().join(" ");
    let cut: String = words.chars().take(MAX_CHARACTERS).collect();
    (!cut.is_empty()).then_some(cut)
}

/// A language tag, unless it only says that the language is not known.
pub(crate) fn language(text: &str) -> Option<String> {
    let tag = text.trim().trim_end_matches('\0').to_ascii_lowercase();
    let is_tag = (2..=35).contains(&tag.len()) && tag.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    (is_tag && !matches!(tag.as_str(), "und" | "zxx" | "mis" | "mul" | "xxx")).then_some(tag)
}

/// `YYYY`, `YYYY-MM` or `YYYY-MM-DD` from the start of an ISO 8601 text.
fn date(text: &str) -> Option<String> {
    let day = text.trim().split(['T', ' ']).next()?;
    let mut numbers = day.split('-');
    let year = numbers.next().filter(|year| year.len() == 4)?;
    let mut out = format!("{:04}", year.parse::<u16>().ok().filter(|year| *year > 0)?);
    for (most, number) in [12_u8, 31].into_iter().zip(numbers) {
        match number.parse::<u8>() {
            Ok(value) if (1..=most).contains(&value) => {
                let _ = write!(out, "-{value:02}");
            }
            _ => break,
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_keep_what_is_certain() {
        assert_eq!(date("2024-03-09T10:00:00Z").as_deref(), Some("2024-03-09"));
        assert_eq!(date("2024-3").as_deref(), Some("2024-03"));
        assert_eq!(date("2024-13-01").as_deref(), Some("2024"));
        assert_eq!(date("1859").as_deref(), Some("1859"));
        assert_eq!(date("0000"), None);
        assert_eq!(date("spring"), None);
        assert_eq!(date(""), None);
    }

    #[test]
    fn texts_are_one_clean_line() {
        assert_eq!(clean(" A\u{1b}[31m\ntitle\0 ").as_deref(), Some("A [31m title"));
        assert_eq!(clean("\n"), None);
        assert_eq!(clean(&"x".repeat(5000)).unwrap().len(), MAX_CHARACTERS);
    }

    #[test]
    fn unknown_languages_are_none() {
        assert_eq!(language("ENG").as_deref(), Some("eng"));
        assert_eq!(language("und"), None);
        assert_eq!(language("e\u{0}"), None);
    }
}
