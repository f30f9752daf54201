//! From a transcript to the chunks that are embedded and retrieved.

mod topics;
mod units;

pub use topics::{UNSETTLED, topics};
pub use units::{Cutting, Unit, units};

use crate::model::{Chapter, Chunk, ChunkLine, TimeQuality, Transcript};
use crate::{Error, MediaTime, Result, Span};
use std::collections::BTreeSet;

/// Rises when the same transcript and settings give other chunks: part of a revision's configuration.
pub const CHUNKING_VERSION: u32 = 2;

/// Where chunks end, as far as their length allows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ChunkStrategy {
    /// At the pause, as speech-to-text or voice detection has it, that is next to the target length.
    #[default]
    Time,
    /// At each change of speaker.
    Speaker,
    /// At the sentence end that is next to the target length.
    Sentence,
    /// Where the subject changes: where the similarity of neighbouring sentences dips.
    Semantic,
}

impl ChunkStrategy {
    /// The names of all of them.
    pub const NAMES: &'static [&'static str] = &["time", "speaker", "sentence", "semantic"];

    /// Reads a name.
    pub fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "time" => Self::Time,
            "speaker" => Self::Speaker,
            "sentence" => Self::Sentence,
            "semantic" => Self::Semantic,
            _ => return None,
        })
    }

    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Time => "time",
            Self::Speaker => "speaker",
            Self::Sentence => "sentence",
            Self::Semantic => "semantic",
        }
    }
}

/// How long chunks are, and where they end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkSettings {
    strategy: ChunkStrategy,
    target: MediaTime,
    max: MediaTime,
    overlap: MediaTime,
}

impl ChunkSettings {
    /// Chunks of about `target`, where a single segment above `max` is cut, and each chunk repeats the last
    /// segments of the one before, up to `overlap`.
    ///
    /// # Errors
    /// [`Config`](crate::ErrorKind::Config) when `target` is zero, above `max`, or not above twice the overlap.
    pub fn new(target: MediaTime, max: MediaTime, overlap: MediaTime) -> Result<Self> {
        if target == MediaTime::ZERO {
            return Err(Error::config("the target length of a chunk is zero"));
        }
        if target > max {
            return Err(Error::config(format!(
                "the target length of a chunk ({} s) is above its maximum ({} s)",
                target.as_seconds_f64(),
                max.as_seconds_f64()
            )));
        }
        if overlap.as_millis() * 2 >= target.as_millis() {
            return Err(Error::config(format!(
                "an overlap of {} s is not less than half of the target length of {} s",
                overlap.as_seconds_f64(),
                target.as_seconds_f64()
            )));
        }
        Ok(Self {
            strategy: ChunkStrategy::Time,
            target,
            max,
            overlap,
        })
    }

    /// The same lengths with another strategy.
    #[must_use]
    pub const fn with_strategy(self, strategy: ChunkStrategy) -> Self {
        Self { strategy, ..self }
    }

    /// Where chunks end.
    pub const fn strategy(&self) -> ChunkStrategy {
        self.strategy
    }

    /// The length that chunks are aimed at.
    pub fn target(&self) -> MediaTime {
        self.target
    }

    /// Stable text of the settings, for configuration hashes.
    pub fn fingerprint(&self) -> String {
        format!(
            "{}@{CHUNKING_VERSION}/{}/{}/{}",
            self.strategy.as_str(),
            self.target.as_millis(),
            self.max.as_millis(),
            self.overlap.as_millis()
        )
    }

    /// The longest a chunk of several segments gets: a tenth above the target, but never above the maximum.
    fn ceiling(&self) -> MediaTime {
        MediaTime::from_millis(self.target.as_millis() + self.target.as_millis() / 10).min(self.max)
    }
}

impl Default for ChunkSettings {
    fn default() -> Self {
        Self {
            strategy: ChunkStrategy::Time,
            target: MediaTime::from_seconds(30),
            max: MediaTime::from_seconds(60),
            overlap: MediaTime::ZERO,
        }
    }
}

/// What a transcript is part of: the header of its chunks, and bounds that they keep to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Surroundings<'a> {
    /// The source's title.
    pub title: Option<&'a str>,
    /// The source's date, as it is tagged.
    pub date: Option<&'a str>,
    /// The source's chapters, by start.
    pub chapters: &'a [Chapter],
}

impl<'a> Surroundings<'a> {
    /// The chapter in which the middle of a span lies; none before the first one begins.
    fn chapter(&self, span: Span) -> Option<&'a Chapter> {
        chapter_at(self.chapters, span.middle())
    }
}

/// The chapter that is under way at an instant.
pub fn chapter_at(chapters: &[Chapter], time: MediaTime) -> Option<&Chapter> {
    chapters.iter().rev().find(|chapter| chapter.start <= time)
}

/// Cuts a transcript into chunks.
///
/// Segments stay whole unless one alone is longer than the maximum, which is then cut at sentence ends, words or, in
/// scripts without spaces, characters, or the strategy cuts at sentences. A change of speaker ends a chunk that is at
/// least half full. Whatever the strategy, each sentence is a line of its own, so that it can be cited by itself.
///
/// Without overlap, the texts of all chunks are the texts of all indexable segments, in order and exactly; with it, each
/// chunk may begin with the last units of the one before. No chunk is longer than the maximum, unless it is a single
/// character. The result depends on nothing but the arguments, and audio appended later changes no chunk but the last,
/// with and without overlap. (Where subjects change is one of the arguments of [`chunk_at`]; what is appended may move
/// the last of these changes, see [`topics`], and so the chunks that end among the last [`UNSETTLED`] sentences.)
///
/// No chunk spans two chapters: a segment belongs to the one in which its middle lies. The surroundings become a header
/// that is embedded with each chunk.
///
/// Where subjects change is not known here: see [`chunk_at`].
pub fn chunk(
    transcript: &Transcript,
    settings: &ChunkSettings,
    surroundings: Surroundings<'_>,
) -> Vec<Chunk> {
    chunk_at(
        &units(transcript, settings),
        &BTreeSet::new(),
        settings,
        surroundings,
    )
}

/// As [`chunk`], of the [`units`] of a transcript; `changes` are the units with which a new subject begins (see
/// [`topics`]). They end a chunk that has a third of the target length.
pub fn chunk_at(
    units: &[Unit],
    changes: &BTreeSet<usize>,
    settings: &ChunkSettings,
    surroundings: Surroundings<'_>,
) -> Vec<Chunk> {
    let mut chunks: Vec<Chunk> = Vec::new();
    let mut open: Vec<&Unit> = Vec::new();
    // How many of the open units were in the chunk before.
    let mut repeated = 0;
    for (place, unit) in units.iter().enumerate() {
        let turns_page = open
            .last()
            .is_some_and(|last| surroundings.chapter(last.span) != surroundings.chapter(unit.span));
        if !open.is_empty() && (turns_page || closes_before(&open, unit, changes.contains(&place), settings))
        {
            if open.len() > repeated {
                chunks.push(build(chunks.len() as u32, &open, surroundings));
            }
            let keep = if turns_page {
                0
            } else {
                overlap_of(&open, unit, settings)
            };
            open.drain(..open.len() - keep);
            repeated = keep;
        }
        open.push(unit);
    }
    if open.len() > repeated {
        chunks.push(build(chunks.len() as u32, &open, surroundings));
    }
    chunks
}

/// Whether the open chunk ends before `next`, with which the subject may change.
fn closes_before(open: &[&Unit], next: &Unit, changes: bool, settings: &ChunkSettings) -> bool {
    let span = span_of(open);
    let turn = open.last().is_some_and(|last| last.speaker != next.speaker);
    let fill = |parts: u64| span.duration().as_millis() * parts >= settings.target.as_millis();
    span.duration() >= settings.target
        || span.union(next.span).duration() > settings.ceiling()
        || (turn && (settings.strategy == ChunkStrategy::Speaker || fill(2)))
        || (changes && fill(3))
}

/// How many of the closed chunk's last units are repeated in the chunk that `next` joins.
fn overlap_of(closed: &[&Unit], next: &Unit, settings: &ChunkSettings) -> usize {
    // What takes no time at all fits into no overlap as well.
    if settings.overlap == MediaTime::ZERO {
        return 0;
    }
    // The first unit is never repeated: a chunk must move on.
    let candidates = closed.len().saturating_sub(1);
    (0..=candidates)
        .rev()
        .find(|keep| {
            let kept = closed.get(closed.len() - keep..).unwrap_or_default();
            kept.is_empty()
                || (span_of(kept).duration() <= settings.overlap
                    && span_of(kept).union(next.span).duration() <= settings.ceiling())
        })
        .unwrap_or(0)
}

fn span_of(units: &[&Unit]) -> Span {
    units
        .iter()
        .map(|s| s.span)
        .reduce(Span::union)
        .unwrap_or_default()
}

fn build(index: u32, units: &[&Unit], surroundings: Surroundings<'_>) -> Chunk {
    let mut text = String::new();
    let mut lines: Vec<ChunkLine> = Vec::with_capacity(units.len());
    let mut speakers: Vec<String> = Vec::new();
    for unit in units {
        if let Some(last) = lines.last() {
            text.push_str(match &unit.lead {
                Some(lead) => lead,
                None if last.speaker == unit.speaker => " ",
                None => "\n",
            });
        }
        let from = text.len();
        text.push_str(&unit.text);
        lines.extend(unit.lines.iter().map(|line| ChunkLine {
            from: from + line.range.start,
            to: from + line.range.end,
            span: line.span,
            speaker: unit.speaker.clone(),
            times: line.times,
        }));
        if let Some(speaker) = unit.speaker.as_ref().filter(|name| !speakers.contains(name)) {
            speakers.push(speaker.clone());
        }
    }
    let chapter = units.first().and_then(|first| surroundings.chapter(first.span));
    let estimated = [units.first(), units.last()]
        .into_iter()
        .flatten()
        .any(|unit| unit.times == TimeQuality::Estimated);
    Chunk {
        index,
        span: span_of(units),
        text,
        header: header(surroundings, chapter, &speakers),
        speakers,
        lines,
        times: if estimated {
            TimeQuality::Estimated
        } else {
            TimeQuality::Measured
        },
    }
}

fn header(surroundings: Surroundings<'_>, chapter: Option<&Chapter>, speakers: &[String]) -> Option<String> {
    let chapter = chapter.map(|chapter| chapter.title.as_str());
    let named = [surroundings.title, surroundings.date, chapter];
    let mut parts: Vec<String> = named.into_iter().flatten().map(str::to_owned).collect();
    if !speakers.is_empty() {
        parts.push(speakers.join(", "));
    }
    (!parts.is_empty()).then(|| parts.join(" - "))
}

#[cfg(test)]
mod tests;
