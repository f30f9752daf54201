//! The pieces that chunks are made of.

use super::{ChunkSettings, ChunkStrategy};
use crate::Span;
use crate::align::{self, Piece};
use crate::model::{Segment, TimeQuality, Transcript};

/// A piece of a transcript that chunks are made of: a segment, or some of its sentences.
#[derive(Clone, Debug, PartialEq)]
pub struct Unit {
    /// When it is said.
    pub span: Span,
    /// What is said, exactly.
    pub text: String,
    /// Whether the span was measured or interpolated.
    pub times: TimeQuality,
    pub(super) speaker: Option<String>,
    /// The white space between it and the unit before, where both are of one segment.
    pub(super) lead: Option<String>,
    /// The sentences it is made of, with their places in its text.
    pub(super) lines: Vec<Piece>,
}

/// The pieces of a transcript that chunks are made of: its segments, or their sentences where the strategy cuts there.
/// A segment that is longer than the maximum is cut, and what fits together is left together.
pub fn units(transcript: &Transcript, settings: &ChunkSettings) -> Vec<Unit> {
    let mut cutting = Cutting::new(settings);
    for segment in &transcript.segments {
        cutting.push(segment);
    }
    cutting.into_units()
}

/// The [`units`] of a transcript that comes segment by segment. Of the words of a segment, which take most of a
/// transcript's memory, nothing is kept.
#[derive(Clone, Debug)]
pub struct Cutting {
    settings: ChunkSettings,
    /// What each segment was cut into, with the segment's span.
    cut: Vec<(Span, Vec<Unit>)>,
    suspicious: usize,
}

impl Cutting {
    /// Nothing yet.
    pub fn new(settings: &ChunkSettings) -> Self {
        Self {
            settings: *settings,
            cut: Vec::new(),
            suspicious: 0,
        }
    }

    /// Takes the next segment, unless it is suspicious: such a one is only counted.
    pub fn push(&mut self, segment: &Segment) {
        if segment.suspicion.is_some() {
            self.suspicious += 1;
        } else {
            self.cut.push((segment.span, of_segment(segment, &self.settings)));
        }
    }

    /// How many segments were left out.
    pub fn suspicious(&self) -> usize {
        self.suspicious
    }

    /// The units of all segments, in the order of the segments' spans.
    pub fn into_units(mut self) -> Vec<Unit> {
        self.cut.sort_by_key(|(span, _)| *span);
        self.cut.into_iter().flat_map(|(_, units)| units).collect()
    }
}

fn of_segment(segment: &Segment, settings: &ChunkSettings) -> Vec<Unit> {
    let by_sentence = matches!(
        settings.strategy,
        ChunkStrategy::Sentence | ChunkStrategy::Semantic
    );
    let pieces = align::pieces(segment, settings.max);
    if !by_sentence && segment.span.duration() <= settings.max {
        return vec![whole(segment, pieces)];
    }
    let mut units = Vec::new();
    let mut from = 0;
    for group in groups(&pieces, settings, by_sentence) {
        if let Some(unit) = unit(segment, group, from) {
            from = group.last().map_or(from, |last| last.range.end);
            units.push(unit);
        }
    }
    units
}

/// A segment with the bounds that it came with.
fn whole(segment: &Segment, lines: Vec<Piece>) -> Unit {
    Unit {
        span: segment.span,
        text: segment.text.clone(),
        times: segment.times,
        speaker: segment.speaker.clone(),
        lead: None,
        lines,
    }
}

/// Neighbouring pieces that are one unit: as many as fit into the maximum, so that cutting leaves no crumbs.
fn groups<'a>(
    pieces: &'a [Piece],
    settings: &ChunkSettings,
    by_sentence: bool,
) -> impl Iterator<Item = &'a [Piece]> {
    let max = settings.max;
    let mut start = None;
    pieces.chunk_by(move |last, next| {
        let first = *start.get_or_insert(last.span.start());
        let joins = !by_sentence && Span::between(first, next.span.end()).duration() <= max;
        if !joins {
            start = None;
        }
        joins
    })
}

/// The unit of some pieces of a segment. What stands before them begins at `from`.
fn unit(segment: &Segment, pieces: &[Piece], from: usize) -> Option<Unit> {
    let (first, last) = (pieces.first()?, pieces.last()?);
    let start = first.range.start;
    let estimated = [first, last]
        .iter()
        .any(|piece| piece.times == TimeQuality::Estimated);
    Some(Unit {
        span: first.span.union(last.span),
        text: segment.text.get(start..last.range.end)?.to_owned(),
        times: if estimated {
            TimeQuality::Estimated
        } else {
            TimeQuality::Measured
        },
        speaker: segment.speaker.clone(),
        lead: (from > 0).then(|| segment.text.get(from..start).unwrap_or_default().to_owned()),
        lines: pieces
            .iter()
            .map(|piece| Piece {
                range: piece.range.start - start..piece.range.end - start,
                ..piece.clone()
            })
            .collect(),
    })
}
