//! From a transcript to the chunks that are embedded and retrieved.

mod topics;

pub use topics::topics;

use crate::align;
use crate::model::{Chapter, Chunk, ChunkLine, Segment, TimeQuality, Transcript, Word};
use crate::{Error, MediaTime, Result, Span};
use std::collections::BTreeSet;

/// Rises when the same transcript and settings give other chunks: part of a revision's configuration.
pub const CHUNKING_VERSION: u32 = 1;

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
/// Segments stay whole unless one alone is longer than the maximum, which is then cut at sentence ends or
/// words, or the strategy cuts at sentences. A change of speaker ends a chunk that is at least half full. Without
/// overlap, the texts of all chunks are the texts of all indexable segments, in order. The result depends on nothing but
/// the arguments, and audio appended later changes no chunk but the last.
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

/// The pieces of a transcript that chunks are made of: its segments, or their sentences.
pub fn units(transcript: &Transcript, settings: &ChunkSettings) -> Vec<Segment> {
    let sentences = matches!(
        settings.strategy,
        ChunkStrategy::Sentence | ChunkStrategy::Semantic
    );
    let pieces = transcript.indexable().flat_map(|segment| {
        if sentences {
            align::split_segment(segment)
        } else {
            vec![segment.clone()]
        }
    });
    pieces.flat_map(|piece| cut_to(&piece, settings.max)).collect()
}

/// As [`chunk`], of the [`units`] of a transcript; `changes` are the units with which a new subject begins (see
/// [`topics`]). They end a chunk that has a third of the target length.
pub fn chunk_at(
    units: &[Segment],
    changes: &BTreeSet<usize>,
    settings: &ChunkSettings,
    surroundings: Surroundings<'_>,
) -> Vec<Chunk> {
    let mut chunks: Vec<Chunk> = Vec::new();
    let mut open: Vec<&Segment> = Vec::new();
    // How many of the open segments were in the chunk before.
    let mut repeated = 0;
    for (place, segment) in units.iter().enumerate() {
        let turns_page = open
            .last()
            .is_some_and(|last| surroundings.chapter(last.span) != surroundings.chapter(segment.span));
        if !open.is_empty()
            && (turns_page || closes_before(&open, segment, changes.contains(&place), settings))
        {
            if open.len() > repeated {
                chunks.push(build(chunks.len() as u32, &open, surroundings));
            }
            let keep = if turns_page {
                0
            } else {
                overlap_of(&open, segment, settings)
            };
            open.drain(..open.len() - keep);
            repeated = keep;
        }
        open.push(segment);
    }
    if open.len() > repeated {
        chunks.push(build(chunks.len() as u32, &open, surroundings));
    }
    chunks
}

/// Whether the open chunk ends before `next`, with which the subject may change.
fn closes_before(open: &[&Segment], next: &Segment, changes: bool, settings: &ChunkSettings) -> bool {
    let span = span_of(open);
    let turn = open.last().is_some_and(|last| last.speaker != next.speaker);
    let fill = |parts: u64| span.duration().as_millis() * parts >= settings.target.as_millis();
    span.duration() >= settings.target
        || span.union(next.span).duration() > settings.ceiling()
        || (turn && (settings.strategy == ChunkStrategy::Speaker || fill(2)))
        || (changes && fill(3))
}

/// How many of the closed chunk's last segments are repeated in the chunk that `next` joins.
fn overlap_of(closed: &[&Segment], next: &Segment, settings: &ChunkSettings) -> usize {
    // The first segment is never repeated: a chunk must move on.
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

fn span_of(segments: &[&Segment]) -> Span {
    segments
        .iter()
        .map(|s| s.span)
        .reduce(Span::union)
        .unwrap_or_default()
}

fn build(index: u32, segments: &[&Segment], surroundings: Surroundings<'_>) -> Chunk {
    let mut text = String::new();
    let mut lines: Vec<ChunkLine> = Vec::with_capacity(segments.len());
    let mut speakers: Vec<String> = Vec::new();
    for segment in segments {
        if let Some(last) = lines.last() {
            text.push(if last.speaker == segment.speaker {
                ' '
            } else {
                '\n'
            });
        }
        let from = text.len();
        text.push_str(&segment.text);
        lines.push(ChunkLine {
            from,
            to: text.len(),
            span: segment.span,
            speaker: segment.speaker.clone(),
            times: segment.times,
        });
        if let Some(speaker) = segment.speaker.as_ref().filter(|name| !speakers.contains(name)) {
            speakers.push(speaker.clone());
        }
    }
    let chapter = segments
        .first()
        .and_then(|first| surroundings.chapter(first.span));
    let estimated = [lines.first(), lines.last()]
        .into_iter()
        .flatten()
        .any(|l| l.times == TimeQuality::Estimated);
    Chunk {
        index,
        span: span_of(segments),
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

/// The segment itself, or its pieces when it is longer than `max`.
fn cut_to(segment: &Segment, max: MediaTime) -> Vec<Segment> {
    if segment.span.duration() <= max {
        return vec![segment.clone()];
    }
    let mut pieces = Vec::new();
    for sentence in align::split_segment(segment) {
        if sentence.span.duration() <= max {
            merge_or_push(&mut pieces, sentence, max);
        } else {
            pieces.extend(cut_at_words(&sentence, max));
        }
    }
    pieces
}

/// Joins a sentence to the piece before it where both fit, so that cutting does not leave crumbs.
fn merge_or_push(pieces: &mut Vec<Segment>, sentence: Segment, max: MediaTime) {
    match pieces.last_mut() {
        Some(last) if last.span.union(sentence.span).duration() <= max => {
            last.span = last.span.union(sentence.span);
            last.text.push(' ');
            last.text.push_str(&sentence.text);
            last.words.extend(sentence.words);
            last.times = TimeQuality::Estimated;
        }
        _ => pieces.push(sentence),
    }
}

/// Cuts a sentence that never ends into pieces of even length, between words.
fn cut_at_words(sentence: &Segment, max: MediaTime) -> Vec<Segment> {
    let words: Vec<&str> = sentence.text.split_whitespace().collect();
    let wanted = sentence
        .span
        .duration()
        .as_millis()
        .div_ceil(max.as_millis().max(1)) as usize;
    let count = wanted.clamp(1, words.len().max(1));
    let length = sentence.span.duration().as_millis();
    (0..count)
        .map(|piece| {
            let at = |piece: usize| {
                let offset = length * piece as u64 / count as u64;
                sentence
                    .span
                    .start()
                    .saturating_add(MediaTime::from_millis(offset))
            };
            let span = Span::between(at(piece), at(piece + 1));
            let range = words.len() * piece / count..words.len() * (piece + 1) / count;
            let inside = |word: &&Word| span.start() <= word.span.start() && word.span.start() < span.end();
            Segment {
                span,
                text: words.get(range).unwrap_or_default().join(" "),
                words: sentence.words.iter().filter(inside).cloned().collect(),
                times: TimeQuality::Estimated,
                ..sentence.clone()
            }
        })
        .collect()
}

#[cfg(test)]
mod tests;
