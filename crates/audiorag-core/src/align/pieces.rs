//! The sentences of a segment with their times, and what sentences that never end are cut into.

use super::words::{self, Spoken};
use super::{sentence_ranges, spread, weight};
use crate::model::{Segment, TimeQuality};
use crate::{MediaTime, Span};
use std::ops::Range;
use unicode_segmentation::UnicodeSegmentation as _;

/// No sentence is said in fewer milliseconds.
const SHORTEST: u64 = 200;

/// A stretch of a segment's text, and when it is said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Where it stands in the segment's text, in bytes, without white space around it.
    pub range: Range<usize>,
    /// When it is said.
    pub span: Span,
    /// Whether the span was measured or interpolated.
    pub times: TimeQuality,
}

/// The sentences of a segment, by word times where it has them and by interpolation elsewhere; one that takes longer
/// than `most` is cut further, between words where it has any.
///
/// The pieces hold every character but the white space between them. Their spans are in order, disjoint and inside the
/// segment's. A segment of one sentence keeps its own span.
pub fn pieces(segment: &Segment, most: MediaTime) -> Vec<Piece> {
    let ranges = sentence_ranges(&segment.text);
    if ranges.len() < 2 && segment.span.duration() <= most {
        return vec![whole(segment)];
    }
    let spoken = words::places(segment);
    let sentences = if ranges.len() < 2 {
        vec![whole(segment)]
    } else {
        place(ranges, segment, &spoken)
    };
    sentences
        .into_iter()
        .flat_map(|sentence| cut(segment, sentence, &spoken, most))
        .collect()
}

fn whole(segment: &Segment) -> Piece {
    let start = segment.text.len() - segment.text.trim_start().len();
    Piece {
        range: start..segment.text.trim_end().len().max(start),
        span: segment.span,
        times: segment.times,
    }
}

/// Gives sentences the times of their words. Those without any share the time between their neighbours, and where there
/// is none, that of a neighbour.
fn place(ranges: Vec<Range<usize>>, segment: &Segment, spoken: &[Spoken]) -> Vec<Piece> {
    let mut placed: Vec<Piece> = Vec::with_capacity(ranges.len());
    let mut waiting: Vec<Range<usize>> = Vec::new();
    let mut reached = segment.span.start();
    for range in ranges {
        let words = within(spoken, &range).map(|word| word.span);
        let Some(span) = words.reduce(Span::union) else {
            waiting.push(range);
            continue;
        };
        let gap = Span::between(reached, span.start().max(reached));
        reached = span.end();
        if placed.is_empty() && is_crowded(&waiting, gap) {
            waiting.push(range);
            let shared = gap.union(span);
            placed.extend(estimate(std::mem::take(&mut waiting), &segment.text, shared));
            continue;
        }
        fill(&mut placed, std::mem::take(&mut waiting), &segment.text, gap);
        placed.push(Piece {
            range,
            span,
            times: segment.times,
        });
    }
    let rest = Span::between(reached, segment.span.end().max(reached));
    fill(&mut placed, waiting, &segment.text, rest);
    placed
}

/// Places sentences without words in `gap`, together with the one before it where that is too short.
fn fill(placed: &mut Vec<Piece>, mut waiting: Vec<Range<usize>>, text: &str, mut gap: Span) {
    if is_crowded(&waiting, gap)
        && let Some(before) = placed.pop()
    {
        waiting.insert(0, before.range);
        gap = before.span.union(gap);
    }
    placed.extend(estimate(waiting, text, gap));
}

/// Whether nobody can say so many sentences in so little time.
fn is_crowded(sentences: &[Range<usize>], gap: Span) -> bool {
    gap.duration().as_millis() < sentences.len() as u64 * SHORTEST
}

/// Lays sentences over `span` by their length.
fn estimate(ranges: Vec<Range<usize>>, text: &str, span: Span) -> impl Iterator<Item = Piece> {
    let weights: Vec<u64> = ranges
        .iter()
        .map(|range| weight(text.get(range.clone()).unwrap_or_default()))
        .collect();
    let spans = spread(&weights, &[span]);
    ranges.into_iter().zip(spans).map(|(range, span)| Piece {
        range,
        span,
        times: TimeQuality::Estimated,
    })
}

/// The words that stand in `range`.
pub(super) fn within<'a>(
    spoken: &'a [Spoken],
    range: &Range<usize>,
) -> impl Iterator<Item = &'a Spoken> + use<'a> {
    let range = range.clone();
    spoken.iter().filter(move |word| range.contains(&word.at))
}

/// The sentence itself, or what it is cut into when it takes longer than `most`: at its words where their times are
/// known, and evenly where that is not enough.
fn cut(segment: &Segment, sentence: Piece, spoken: &[Spoken], most: MediaTime) -> Vec<Piece> {
    if sentence.span.duration() <= most {
        return vec![sentence];
    }
    let limit = even_length(sentence.span, most);
    let mut grouped: Vec<Piece> = Vec::new();
    for word in by_words(segment, &sentence, spoken) {
        match grouped.last_mut() {
            Some(last) if last.span.union(word.span).duration() <= limit => {
                last.range.end = word.range.end;
                last.span = last.span.union(word.span);
            }
            _ => grouped.push(word),
        }
    }
    grouped
        .into_iter()
        .flat_map(|piece| evenly(&segment.text, piece, most))
        .collect()
}

/// The length of the fewest pieces of one length that are no longer than `most`.
fn even_length(span: Span, most: MediaTime) -> MediaTime {
    let length = span.duration().as_millis();
    let count = length.div_ceil(most.as_millis().max(1)).max(1);
    MediaTime::from_millis(length.div_ceil(count))
}

/// A sentence cut before each of its words; the whole of it when no word has a time.
fn by_words(segment: &Segment, sentence: &Piece, spoken: &[Spoken]) -> Vec<Piece> {
    let mut words: Vec<Piece> = Vec::new();
    let mut last_at = None;
    // A sentence that shares the time of a neighbour has lost that of its words.
    let inside = within(spoken, &sentence.range).filter(|word| sentence.span.contains(word.span));
    for word in inside {
        match words.last_mut() {
            // Two words where one is written.
            Some(last) if last_at == Some(word.at) => {
                last.span = last.span.union(word.span);
                continue;
            }
            Some(last) => last.range.end = word.at,
            None => {}
        }
        last_at = Some(word.at);
        // What stands before the first word belongs to it.
        let start = if words.is_empty() {
            sentence.range.start
        } else {
            word.at
        };
        words.push(Piece {
            range: start..sentence.range.end,
            span: word.span,
            times: sentence.times,
        });
    }
    if words.is_empty() {
        return vec![sentence.clone()];
    }
    for word in &mut words {
        let text = segment.text.get(word.range.clone()).unwrap_or_default();
        word.range.end = word.range.start + text.trim_end().len();
    }
    words
}

/// Cuts what takes longer than `most` into pieces of even length: between words, in scripts without spaces between
/// characters, and inside a word only where there is nothing else to cut.
fn evenly(text: &str, piece: Piece, most: MediaTime) -> Vec<Piece> {
    if piece.span.duration() <= most {
        return vec![piece];
    }
    let body = text.get(piece.range.clone()).unwrap_or_default();
    let length = piece.span.duration().as_millis();
    let wanted = length.div_ceil(most.as_millis().max(1)) as usize;
    let starts = starts(body, wanted);
    let count = wanted.clamp(1, starts.len().max(1));
    let instant = |number: usize| {
        let passed = MediaTime::from_millis(length * number as u64 / count as u64);
        piece.span.start().saturating_add(passed)
    };
    let at = |number: usize| starts.get(starts.len() * number / count).copied();
    (0..count)
        .map(|number| {
            let from = at(number).unwrap_or_default();
            let to = at(number + 1)
                .filter(|_| number + 1 < count)
                .unwrap_or(body.len());
            let said = body.get(from..to).unwrap_or_default().trim_end();
            Piece {
                range: piece.range.start + from..piece.range.start + from + said.len(),
                span: Span::between(instant(number), instant(number + 1)),
                times: TimeQuality::Estimated,
            }
        })
        .collect()
}

/// Where a text may be cut into `wanted` pieces: before what stands between spaces if there is enough of it, before its
/// words by the rules of Unicode, or before its characters. The first is its beginning.
fn starts(text: &str, wanted: usize) -> Vec<usize> {
    let mut after_space = true;
    let spaced: Vec<usize> = text
        .char_indices()
        .filter_map(|(at, c)| {
            let starts = after_space && !c.is_whitespace();
            after_space = c.is_whitespace();
            starts.then_some(at)
        })
        .collect();
    if spaced.len() >= wanted {
        return spaced;
    }
    let mut words: Vec<usize> = text.unicode_word_indices().map(|(at, _)| at).collect();
    // Quotation marks and brackets before the first word are its own.
    if let Some(first) = words.first_mut() {
        *first = 0;
    }
    if words.len() >= wanted {
        return words;
    }
    text.grapheme_indices(true)
        .filter(|(_, character)| !character.trim().is_empty())
        .map(|(at, _)| at)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Word;

    fn said(start: u64, end: u64, text: &str, words: &[(&str, u64, u64)]) -> Segment {
        let words = words.iter().map(|(text, start, end)| Word {
            span: Span::from_millis(*start, *end),
            text: (*text).to_owned(),
            confidence: None,
        });
        Segment {
            span: Span::from_millis(start, end),
            text: text.to_owned(),
            words: words.collect(),
            ..Segment::default()
        }
    }

    fn found(segment: &Segment, most: u64) -> Vec<(&str, u64, u64, TimeQuality)> {
        pieces(segment, MediaTime::from_millis(most))
            .into_iter()
            .map(|piece| {
                let (start, end) = (piece.span.start().as_millis(), piece.span.end().as_millis());
                (&segment.text[piece.range], start, end, piece.times)
            })
            .collect()
    }

    #[test]
    fn sentences_have_the_times_of_their_words_and_those_without_share_what_is_left() {
        let segment = said(
            0,
            10_000,
            "Go on. (Applause.) Stop  now!",
            &[
                ("go", 100, 300),
                ("on", 400, 700),
                ("stop", 5_000, 5_500),
                ("now", 5_600, 6_000),
            ],
        );
        let [first, second, third] = found(&segment, 60_000)[..] else {
            panic!("{segment:?}")
        };
        assert_eq!(first, ("Go on.", 100, 700, TimeQuality::Measured));
        assert_eq!(second, ("(Applause.)", 700, 5_000, TimeQuality::Estimated));
        assert_eq!(third, ("Stop  now!", 5_000, 6_000, TimeQuality::Measured));
    }

    #[test]
    fn a_sentence_without_words_and_without_room_shares_its_neighbours_time() {
        let segment = said(0, 1_000, "Ah. Go on. Oh.", &[("go", 0, 500), ("on", 500, 1_000)]);
        let spans: Vec<(u64, u64)> = found(&segment, 60_000)
            .into_iter()
            .map(|(_, start, end, _)| (start, end))
            .collect();
        assert!(spans.iter().all(|(start, end)| start + 100 < *end), "{spans:?}");
    }

    #[test]
    fn a_sentence_that_is_too_long_is_cut_where_its_words_are_said() {
        let segment = said(
            0,
            20_000,
            "\u{201c}one two, three four",
            &[
                ("one", 0, 1_000),
                ("two", 8_000, 9_000),
                ("three", 9_500, 10_500),
                ("four", 19_000, 20_000),
            ],
        );
        let measured = TimeQuality::Measured;
        assert_eq!(
            found(&segment, 10_000),
            [
                ("\u{201c}one two,", 0, 9_000, measured),
                ("three", 9_500, 10_500, measured),
                ("four", 19_000, 20_000, measured)
            ]
        );
    }

    #[test]
    fn scripts_without_spaces_respect_the_maximum() {
        let segment = said(0, 40_000, "\u{4eca}\u{5929}\u{5929}\u{6c14}\u{597d}", &[]);
        let estimated = TimeQuality::Estimated;
        assert_eq!(
            found(&segment, 20_000),
            [
                ("\u{4eca}\u{5929}", 0, 20_000, estimated),
                ("\u{5929}\u{6c14}\u{597d}", 20_000, 40_000, estimated)
            ]
        );
        let endless = said(0, 30_000, "aaaah", &[]);
        assert_eq!(found(&endless, 10_000).len(), 3);
    }
}
