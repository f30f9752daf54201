//! Title, artist, album, date, language and chapters from whatever tags a file carries.

use audiorag_core::MediaTime;
use audiorag_core::model::{Chapter, Media};
use std::fmt::Write as _;
use symphonia::core::formats::FormatReader;
use symphonia::core::meta::{ChapterGroup, ChapterGroupItem, MetadataRevision, RawValue, StandardTag, Tag};

/// Longer texts are cut: a title is for reading, and tags are written by strangers.
const MAX_CHARACTERS: usize = 300;
/// No recording has more chapters that mean something.
const MAX_CHAPTERS: usize = 1000;
/// Chapters within chapters are read to this depth.
const MAX_DEPTH: usize = 4;

/// Copies the tags of every revision into `media`; within a field the first one found stays.
pub(crate) fn collect(reader: &mut dyn FormatReader, media: &mut Media) {
    let mut metadata = reader.metadata();
    let mut dates = Dates::default();
    let mut marks = Marks::default();
    loop {
        let popped = metadata.pop();
        let is_last = popped.is_none();
        let revision: Option<&MetadataRevision> = popped.as_ref().or_else(|| metadata.current());
        if let Some(revision) = revision {
            let tracks = revision.per_track.iter().flat_map(|track| &track.metadata.tags);
            for tag in revision.media.tags.iter().chain(tracks) {
                apply(tag, media, &mut dates);
                marks.note(tag);
            }
        }
        if is_last {
            break;
        }
    }
    media.date = dates.recorded.or(dates.released).or(dates.other);
    if let Some(group) = reader.chapters() {
        collect_chapters(group, &mut media.chapters, MAX_DEPTH);
    }
    if media.chapters.is_empty() {
        media.chapters = marks.chapters();
    }
    order_chapters(&mut media.chapters);
}

/// Chapters by start, one for each moment.
pub(crate) fn order_chapters(chapters: &mut Vec<Chapter>) {
    chapters.sort_by_key(|chapter| chapter.start);
    chapters.dedup_by_key(|chapter| chapter.start);
    chapters.truncate(MAX_CHAPTERS);
}

fn collect_chapters(group: &ChapterGroup, chapters: &mut Vec<Chapter>, depth: usize) {
    for item in &group.items {
        if chapters.len() >= MAX_CHAPTERS {
            return;
        }
        match item {
            ChapterGroupItem::Group(inner) if depth > 0 => collect_chapters(inner, chapters, depth - 1),
            ChapterGroupItem::Group(_) => {}
            ChapterGroupItem::Chapter(chapter) => {
                let title = chapter
                    .tags
                    .iter()
                    .find_map(|tag| match (&tag.std, &tag.raw.value) {
                        (Some(StandardTag::ChapterTitle(text) | StandardTag::TrackTitle(text)), _) => {
                            clean(text)
                        }
                        (None, RawValue::String(text)) => clean(text),
                        _ => None,
                    });
                let start = u64::try_from(chapter.start_time.as_nanos() / 1_000_000);
                if let (Some(title), Ok(start)) = (title, start) {
                    chapters.push(Chapter {
                        start: MediaTime::from_millis(start),
                        title,
                    });
                }
            }
        }
    }
}

/// Chapters as comments of Ogg and FLAC files: `CHAPTER001=00:01:02.500` and `CHAPTER001NAME=Second`.
#[derive(Default)]
struct Marks {
    starts: Vec<(u32, MediaTime)>,
    names: Vec<(u32, String)>,
}

impl Marks {
    fn note(&mut self, tag: &Tag) {
        let RawValue::String(text) = &tag.raw.value else {
            return;
        };
        let key = tag.raw.key.to_ascii_uppercase();
        let Some(rest) = key
            .strip_prefix("CHAPTER")
            .filter(|_| self.names.len() < MAX_CHAPTERS)
        else {
            return;
        };
        if let Some(number) = rest.strip_suffix("NAME").and_then(|number| number.parse().ok()) {
            self.names.extend(clean(text).map(|title| (number, title)));
        } else if let Ok(number) = rest.parse()
            && self.starts.len() < MAX_CHAPTERS
        {
            self.starts.extend(clock(text).map(|start| (number, start)));
        }
    }

    fn chapters(self) -> Vec<Chapter> {
        self.starts
            .into_iter()
            .filter_map(|(number, start)| {
                let (_, title) = self.names.iter().find(|(named, _)| *named == number)?;
                Some(Chapter {
                    start,
                    title: title.clone(),
                })
            })
            .collect()
    }
}

/// `HH:MM:SS` with or without a fraction.
fn clock(text: &str) -> Option<MediaTime> {
    let (whole, fraction) = text.trim().split_once('.').unwrap_or((text.trim(), ""));
    let mut seconds = 0_u64;
    for part in whole.split(':') {
        let part: u64 = part.parse().ok()?;
        seconds = seconds.checked_mul(60)?.checked_add(part)?;
    }
    let millis: String = fraction.chars().chain("000".chars()).take(3).collect();
    let millis = seconds.checked_mul(1000)?.checked_add(millis.parse().ok()?)?;
    Some(MediaTime::from_millis(millis))
}

/// One tag by its usual name, unless the field is known already.
pub(crate) fn apply_named(key: &str, text: &str, media: &mut Media) {
    match key.to_ascii_lowercase().as_str() {
        "title" => set(&mut media.title, clean(text)),
        "artist" | "author" => set(&mut media.artist, clean(text)),
        "album" | "show" => set(&mut media.album, clean(text)),
        "language" => set(&mut media.language, language(text)),
        "date" | "year" | "date_recorded" | "date_released" => set(&mut media.date, date(text)),
        _ => {}
    }
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
        "date" | "date_recorded" | "date_released" => set(&mut dates.other, date(text)),
        _ => apply_named(key, text, media),
    }
}

fn set(field: &mut Option<String>, value: Option<String>) {
    if field.is_none() {
        *field = value;
    }
}

/// One line without control characters.
pub(crate) fn clean(text: &str) -> Option<String> {
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
