//! Podcast feeds: RSS, Atom and JSON Feed.
//!
//! feed-rs reads the formats, with their many ways to write a date; a reader of ours (`strain`) stands before it, because a feed of ten
//! thousand episodes must not fail as a whole for one odd element, and reads what feed-rs leaves out.

mod chapters;
mod strain;
mod text;

pub use chapters::parse_chapters;

use audiorag_core::{Error, MediaTime, Result};
use feed_rs::model;
use std::collections::HashMap;
use strain::{Extra, Strained};
use url::Url;

/// Characters of a description that are kept.
const LONGEST_DESCRIPTION: usize = 4_000;
/// Characters of a title or a name that are kept.
const LONGEST_LINE: usize = 300;

/// A feed and its episodes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Feed {
    /// The name of the show.
    pub title: Option<String>,
    /// What the show is about, as plain text.
    pub description: Option<String>,
    /// Who makes it.
    pub author: Option<String>,
    /// A language tag such as `en-us`, as the feed writes it.
    pub language: Option<String>,
    /// The identity of the show across hosts (`podcast:guid`).
    pub guid: Option<String>,
    /// Episodes, newest first; those without a date last, in the order of the feed.
    pub episodes: Vec<Episode>,
    /// Items without a recording, such as announcements.
    pub without_recording: usize,
    /// Items that repeat an earlier one: the same identity and the same recording.
    pub repeated: usize,
    /// Why items at the end of the feed may be missing, if the feed is broken or longer than is read.
    pub incomplete: Option<String>,
}

/// One episode.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Episode {
    /// What stays the same when anything else about the episode changes: its GUID, or, where it has none or shares it
    /// with another recording, the URL of the recording.
    pub guid: String,
    /// Where the recording is, absolute.
    pub enclosure_url: String,
    /// The media type that the feed gives.
    pub media_type: Option<String>,
    /// The length in bytes that the feed gives; often wrong.
    pub length: Option<u64>,
    /// The title, one line.
    pub title: Option<String>,
    /// When it was published, in RFC 3339, UTC.
    pub published: Option<String>,
    /// The notes, as plain text.
    pub description: Option<String>,
    /// How long it is, as the feed says.
    pub duration: Option<MediaTime>,
    /// Who made it, where that differs from the show.
    pub author: Option<String>,
    /// Transcripts (`podcast:transcript`), in the order of the feed.
    pub transcripts: Vec<TranscriptLink>,
    /// Where its chapters are (`podcast:chapters`), absolute; for [`parse_chapters`].
    pub chapters_url: Option<String>,
    /// Its page.
    pub link: Option<String>,
}

/// A transcript that a feed offers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TranscriptLink {
    /// Where it is, absolute.
    pub url: String,
    /// Its media type, such as `text/vtt`, in lower case.
    pub media_type: Option<String>,
    /// Its language.
    pub language: Option<String>,
}

impl Feed {
    /// Reads a feed that was fetched from `url`, against which its relative URLs are resolved.
    ///
    /// # Errors
    /// [`Input`](audiorag_core::ErrorKind::Input) when it is not a feed, or is broken before its first episode.
    pub fn parse(bytes: &[u8], url: &str) -> Result<Self> {
        let base = Url::parse(url)
            .map_err(|error| Error::input("the URL of a feed cannot be read").with_cause(error))?;
        let strained = if bytes.iter().find(|byte| b"<{".contains(byte)) == Some(&b'{') {
            strain::json(bytes, &base)?
        } else {
            strain::xml(bytes, &base)?
        };
        let parser = feed_rs::parser::Builder::new()
            .base_uri(Some(base.as_str()))
            .sanitize_content(false)
            .build();
        // The bytes are anybody's, and the parser cuts text at byte offsets in places.
        let parsed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            parser.parse(strained.document.as_slice())
        }))
        .map_err(|_| Error::input("this feed makes its parser fail"))?
        .map_err(|error| {
            Error::input("this is not a feed that can be read")
                .with_hint("give the URL of an RSS, Atom or JSON feed; its page often links to it")
                .with_cause(error)
        })?;
        Ok(assemble(parsed, strained, &base))
    }

    /// Episodes that were published on or after `since` (`2026-01-31`, or a full RFC 3339 time in UTC), at most the
    /// `latest` newest. With `since`, episodes without a date are left out.
    ///
    /// # Errors
    /// [`Input`](audiorag_core::ErrorKind::Input) when `since` is neither a day nor a time.
    pub fn select(&self, since: Option<&str>, latest: Option<usize>) -> Result<Vec<&Episode>> {
        let since = since.map(comparable).transpose()?;
        Ok(self
            .episodes
            .iter()
            .filter(|episode| {
                since
                    .as_deref()
                    .is_none_or(|since| episode.published.as_deref().is_some_and(|time| time >= since))
            })
            .take(latest.unwrap_or(usize::MAX))
            .collect())
    }
}

/// A day or a time as text that sorts among the times of episodes, which are in UTC.
fn comparable(text: &str) -> Result<String> {
    let day = text.parse::<jiff::civil::Date>().map(|day| day.to_string());
    let time = text.parse::<jiff::Timestamp>().map(|time| time.to_string());
    // A time of day without a zone would be read as a day.
    if text.contains('T') { time } else { day }.map_err(|error| {
        Error::input(format!("'{text}' is not a day"))
            .with_hint("write it as year, month and day: 2026-01-31")
            .with_cause(error)
    })
}

fn assemble(parsed: model::Feed, strained: Strained, base: &Url) -> Feed {
    let mut feed = Feed {
        title: parsed
            .title
            .and_then(|title| text::line(&title.content, LONGEST_LINE)),
        description: parsed
            .description
            .and_then(|text| text::plain(&text.content, LONGEST_DESCRIPTION)),
        author: strained.show.author,
        language: parsed.language.and_then(|language| text::line(&language, 40)),
        guid: strained.show.guid,
        incomplete: strained.incomplete,
        ..Feed::default()
    };
    let mut extras: Vec<Option<Extra>> = strained.items.into_iter().map(Some).collect();
    let mut seen: HashMap<String, Vec<String>> = HashMap::new();
    for (position, entry) in parsed.entries.into_iter().enumerate() {
        // Items carry their number as their identity where the format has one, see `strain`.
        let number = entry
            .id
            .strip_prefix(strain::NUMBERED)
            .and_then(|number| number.parse().ok());
        let extra = extras
            .get_mut(number.unwrap_or(position))
            .and_then(Option::take)
            .unwrap_or_default();
        let Some(mut episode) = episode(entry, extra, base) else {
            feed.without_recording += 1;
            continue;
        };
        let enclosures = seen.entry(episode.guid.clone()).or_default();
        if enclosures.contains(&episode.enclosure_url) {
            feed.repeated += 1;
            continue;
        }
        enclosures.push(episode.enclosure_url.clone());
        if enclosures.len() > 1 {
            episode.guid.clone_from(&episode.enclosure_url);
        }
        feed.episodes.push(episode);
    }
    // Stable, so that what has no date keeps its order, after everything that has one.
    feed.episodes.sort_by(|a, b| b.published.cmp(&a.published));
    feed
}

fn episode(entry: model::Entry, extra: Extra, base: &Url) -> Option<Episode> {
    let absolute = |url: &str| strain::absolute(base, url);
    let attachment = || {
        entry.links.iter().find_map(|link| {
            let kind = link.media_type.as_deref().unwrap_or_default();
            let is_recording = kind.starts_with("audio/") || kind.starts_with("video/");
            Some(strain::Enclosure {
                url: absolute(&link.href).filter(|_| is_recording)?,
                media_type: link.media_type.clone(),
                length: link.length,
            })
        })
    };
    let enclosure = strain::best(extra.enclosures).or_else(attachment)?;
    let published = entry.published.or(entry.updated);
    let description = entry
        .summary
        .map(|summary| summary.content)
        .or_else(|| entry.content.and_then(|content| content.body))
        .and_then(|notes| text::plain(&notes, LONGEST_DESCRIPTION))
        .or(extra.summary);
    let given = extra.guid.filter(|guid| !guid.is_empty());
    Some(Episode {
        guid: given.unwrap_or_else(|| enclosure.url.clone()),
        title: entry
            .title
            .and_then(|title| text::line(&title.content, LONGEST_LINE)),
        published: published
            .and_then(|time| jiff::Timestamp::from_second(time.timestamp()).ok())
            .map(|time| time.to_string()),
        description,
        duration: extra.duration,
        author: extra.author,
        transcripts: extra.transcripts,
        chapters_url: extra.chapters_url,
        link: entry
            .links
            .iter()
            .find(|link| link.rel.as_deref().is_none_or(|rel| rel == "alternate"))
            .and_then(|link| absolute(&link.href)),
        enclosure_url: enclosure.url,
        media_type: enclosure.media_type,
        length: enclosure.length.filter(|length| *length > 0),
    })
}
