//! What yt-dlp says about a page, in its JSON.

use crate::policy::WebPolicy;
use audiorag_core::model::Chapter;
use audiorag_core::{Error, MediaTime, Result};
use serde::Deserialize;
use serde_json::Value;

/// Characters of a title or a name that are kept.
const LONGEST_LINE: usize = 300;
/// Characters of a description that are kept.
const LONGEST_TEXT: usize = 4_000;
/// Chapters that are kept.
const MOST_CHAPTERS: usize = 2_000;

/// What a page holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resolved {
    /// One recording.
    One(PageMedia),
    /// A playlist, a channel or a page with several recordings.
    Many {
        /// What the list is called.
        title: Option<String>,
        /// Its entries, in its order. An entry may be a list itself.
        entries: Vec<Listed>,
    },
}

/// An entry of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The page of the entry.
    pub url: String,
    /// Its title.
    pub title: Option<String>,
}

/// What a page says about its recording.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PageMedia {
    /// What identifies it at its site: the name of the site's extractor, a space, and the site's own identifier.
    pub id: Option<String>,
    /// The address of its page, as the site writes it.
    pub page: Option<String>,
    /// Its title, one line.
    pub title: Option<String>,
    /// Who uploaded it.
    pub uploader: Option<String>,
    /// The day of the upload, `YYYY-MM-DD`.
    pub date: Option<String>,
    /// How long it is.
    pub duration: Option<MediaTime>,
    /// The description.
    pub description: Option<String>,
    /// The language of its speech, as a tag.
    pub language: Option<String>,
    /// Its chapters, by start.
    pub chapters: Vec<Chapter>,
}

/// Fields that are used. Sites leave out any of them, or put `null`.
#[derive(Deserialize)]
#[serde(default)]
#[derive(Default)]
struct Info {
    #[serde(rename = "_type")]
    kind: Option<String>,
    id: Option<String>,
    extractor_key: Option<String>,
    webpage_url: Option<String>,
    url: Option<String>,
    title: Option<String>,
    uploader: Option<String>,
    channel: Option<String>,
    upload_date: Option<String>,
    duration: Option<f64>,
    description: Option<String>,
    language: Option<String>,
    chapters: Option<Vec<ChapterInfo>>,
    entries: Option<Vec<Option<Self>>>,
}

#[derive(Deserialize)]
struct ChapterInfo {
    start_time: Option<f64>,
    title: Option<String>,
}

/// What `--dump-single-json` printed.
pub(super) fn resolved(output: &[u8], policy: &WebPolicy) -> Result<Resolved> {
    let info = parse(output)?;
    let is_list = matches!(info.kind.as_deref(), Some("playlist" | "multi_video"));
    let Some(entries) = info.entries.filter(|_| is_list) else {
        return Ok(Resolved::One(media(Info {
            entries: None,
            ..info
        })));
    };
    let entries = entries
        .into_iter()
        .flatten()
        .filter_map(|entry| {
            let url = entry.webpage_url.or(entry.url)?;
            // Entries that lead inside, or to no page at all, are no entries.
            policy.check(&url).ok()?;
            Some(Listed {
                url,
                title: line(entry.title, LONGEST_LINE),
            })
        })
        .collect();
    Ok(Resolved::Many {
        title: line(info.title, LONGEST_LINE),
        entries,
    })
}

/// What `--dump-json` printed for the one recording it downloaded.
pub(super) fn one(output: &[u8]) -> Result<PageMedia> {
    let first = output
        .split(|byte| *byte == b'\n')
        .find(|line| !line.trim_ascii().is_empty());
    Ok(media(parse(first.unwrap_or_default())?))
}

fn parse(json: &[u8]) -> Result<Info> {
    let wrong = |error| {
        Error::protocol("yt-dlp says something that cannot be read")
            .with_hint("update yt-dlp")
            .with_cause(error)
            .into_persistent()
    };
    let value: Value = serde_json::from_slice(json).map_err(wrong)?;
    serde_json::from_value(value).map_err(wrong)
}

fn media(info: Info) -> PageMedia {
    let id = match (info.extractor_key, line(info.id, LONGEST_LINE)) {
        (Some(site), Some(id)) => line(Some(format!("{site} {id}")), LONGEST_LINE),
        (None, id) => id,
        (_, None) => None,
    };
    let mut chapters: Vec<Chapter> = info
        .chapters
        .unwrap_or_default()
        .into_iter()
        .take(MOST_CHAPTERS)
        .filter_map(|chapter| {
            Some(Chapter {
                start: MediaTime::from_seconds_f64(chapter.start_time?)?,
                title: line(chapter.title, LONGEST_LINE)?,
            })
        })
        .collect();
    chapters.sort_by_key(|chapter| chapter.start);
    chapters.dedup_by_key(|chapter| chapter.start);
    PageMedia {
        id,
        page: info.webpage_url,
        title: line(info.title, LONGEST_LINE),
        uploader: line(info.uploader.or(info.channel), LONGEST_LINE),
        date: info.upload_date.and_then(|date| day(&date)),
        duration: info
            .duration
            .and_then(MediaTime::from_seconds_f64)
            .filter(|length| *length > MediaTime::ZERO),
        description: info
            .description
            .and_then(|text| bounded(text.trim(), LONGEST_TEXT)),
        language: line(info.language, 40),
        chapters,
    }
}

fn line(text: Option<String>, most: usize) -> Option<String> {
    let text = text?.split_whitespace().collect::<Vec<_>>().join(" ");
    bounded(&text, most)
}

fn bounded(text: &str, most: usize) -> Option<String> {
    let kept: String = text
        .chars()
        .filter(|character| !character.is_control() || *character == '\n')
        .take(most)
        .collect();
    (!kept.is_empty()).then_some(kept)
}

/// `20260107` as `2026-01-07`.
fn day(date: &str) -> Option<String> {
    let date = jiff::civil::Date::strptime("%Y%m%d", date).ok()?;
    Some(date.to_string())
}
