//! Sentences, and when they are spoken.
//!
//! A model that returns plain text for a stretch of audio says nothing about the times inside it. The speech
//! that voice activity detection found there does: text is laid over it at an even pace, and a boundary between
//! two sentences moves to a pause near by. Such times are marked as estimated.

mod pieces;
mod run_on;
mod words;

pub use pieces::{Piece, pieces};

use crate::model::{Segment, TimeQuality};
use crate::{MediaTime, Span};
use unicode_segmentation::UnicodeSegmentation as _;

/// How far a sentence boundary may move to meet a pause.
const SNAP: u64 = 1500;

/// Abbreviations after which Unicode's rules see the end of a sentence.
const ABBREVIATIONS: [&str; 13] = [
    "mr.", "mrs.", "ms.", "dr.", "prof.", "st.", "jr.", "sr.", "vs.", "e.g.", "i.e.", "gen.", "rev.",
];

/// The byte ranges of the sentences of `text`, without surrounding white space, in order.
///
/// Every character that is not white space lies in exactly one range.
pub fn sentence_ranges(text: &str) -> Vec<std::ops::Range<usize>> {
    let mut ranges: Vec<std::ops::Range<usize>> = Vec::new();
    for (start, sentence) in text.split_sentence_bound_indices() {
        let body = sentence.trim();
        if body.is_empty() {
            continue;
        }
        let from = start + (sentence.len() - sentence.trim_start().len());
        let range = from..from + body.len();
        match ranges.last_mut() {
            Some(last) if continues(text.get(last.clone()).unwrap_or_default(), body) => last.end = range.end,
            _ => ranges.push(range),
        }
    }
    ranges
}

/// Whether a sentence that reads like this goes on after its last mark, with `next`.
fn continues(sentence: &str, next: &str) -> bool {
    let word = sentence
        .rsplit(char::is_whitespace)
        .next()
        .unwrap_or_default()
        .to_lowercase();
    let word = word.trim_start_matches(['(', '"', '\u{201c}', '\'']);
    let initial = word.chars().count() == 2 && word.ends_with('.') && word.starts_with(char::is_alphabetic);
    // "No. 7", but not "The answer is no."
    let number = word == "no." && next.starts_with(|c: char| c.is_ascii_digit());
    number || ABBREVIATIONS.contains(&word) || (initial && word != "i.")
}

/// Cuts `text`, spoken within `window`, into one segment a sentence; what takes longer than ten seconds is cut at the
/// pauses in it as well.
///
/// `speech` is where voice was detected (sorted, disjoint, on the same clock as `window`). The first segment
/// starts and the last one ends with the speech; the bounds between are estimated. What is not cut keeps the
/// measured bounds.
pub fn sentences(text: &str, window: Span, speech: &[Span]) -> Vec<Segment> {
    let ranges = sentence_ranges(text);
    let speech = clip(window, speech);
    let weights: Vec<u64> = ranges
        .iter()
        .map(|range| weight(text.get(range.clone()).unwrap_or_default()))
        .collect();
    let spans = spread(&weights, &speech);
    let placed: Vec<run_on::Placed> = ranges
        .into_iter()
        .zip(spans)
        .flat_map(|sentence| run_on::cut(text, sentence, &speech))
        .collect();
    let times = if placed.len() == 1 {
        TimeQuality::Measured
    } else {
        TimeQuality::Estimated
    };
    placed
        .into_iter()
        .map(|(range, span)| Segment {
            span,
            text: text.get(range).unwrap_or_default().to_owned(),
            times,
            ..Segment::default()
        })
        .collect()
}

/// Cuts a segment at sentence ends, by word times where it has them and by interpolation elsewhere.
pub fn split_segment(segment: &Segment) -> Vec<Segment> {
    let cut = pieces(segment, segment.span.duration());
    if cut.len() < 2 {
        return vec![segment.clone()];
    }
    let places = words::places(segment);
    cut.into_iter()
        .map(|piece| Segment {
            text: segment
                .text
                .get(piece.range.clone())
                .unwrap_or_default()
                .to_owned(),
            words: pieces::within(&places, &piece.range)
                .filter_map(|place| segment.words.get(place.number).cloned())
                .collect(),
            span: piece.span,
            times: piece.times,
            ..segment.clone()
        })
        .collect()
}

/// How long a sentence takes to say, in arbitrary units: its letters and digits, plus a breath.
fn weight(sentence: &str) -> u64 {
    sentence.chars().filter(|c| c.is_alphanumeric()).count() as u64 + 2
}

/// The speech inside `window`; the window itself where there is none.
fn clip(window: Span, speech: &[Span]) -> Vec<Span> {
    let inside: Vec<Span> = speech
        .iter()
        .filter(|span| span.overlap(window) > MediaTime::ZERO)
        .map(|span| span.clamp_to(window))
        .collect();
    if inside.is_empty() { vec![window] } else { inside }
}

/// Lays consecutive pieces of the given weights over the speech, without overlap.
///
/// Each piece takes its share of the speech that is left, so that a boundary which moved to a pause does not
/// leave the next piece without any.
fn spread(weights: &[u64], speech: &[Span]) -> Vec<Span> {
    let (Some(first), Some(last)) = (speech.first(), speech.last()) else {
        return Vec::new();
    };
    let mut weight_left = weights.iter().sum::<u64>().max(1);
    let mut spans = Vec::with_capacity(weights.len());
    let mut start = first.start();
    for (index, weight) in weights.iter().enumerate() {
        if index + 1 == weights.len() {
            spans.push(Span::between(start.min(last.end()), last.end()));
            break;
        }
        let left = after(speech, start);
        let spoken_left: u64 = left.iter().map(|span| span.duration().as_millis()).sum();
        let (end, next) = snap(&left, at_spoken(&left, spoken_left * weight / weight_left));
        let end = end.max(start);
        spans.push(Span::between(start, end));
        start = next.max(end);
        weight_left = weight_left.saturating_sub(*weight).max(1);
    }
    spans
}

/// The speech from `start` on.
fn after(speech: &[Span], start: MediaTime) -> Vec<Span> {
    speech
        .iter()
        .filter(|span| span.end() > start)
        .map(|span| Span::between(span.start().max(start), span.end()))
        .collect()
}

/// The instant at which `spoken` milliseconds of speech have passed.
fn at_spoken(speech: &[Span], mut spoken: u64) -> MediaTime {
    for span in speech {
        let length = span.duration().as_millis();
        if spoken <= length {
            return span.start().saturating_add(MediaTime::from_millis(spoken));
        }
        spoken -= length;
    }
    speech.last().map_or(MediaTime::ZERO, |span| span.end())
}

/// The pause nearest to `at` as (end of what was said, start of what follows), or `at` twice.
fn snap(speech: &[Span], at: MediaTime) -> (MediaTime, MediaTime) {
    speech
        .windows(2)
        .filter_map(|pair| match pair {
            [before, after] => Some((before.end(), after.start())),
            _ => None,
        })
        .map(|(end, start)| {
            let distance = end.saturating_sub(at).max(at.saturating_sub(start)).as_millis();
            (distance, end, start)
        })
        .filter(|(distance, _, _)| *distance <= SNAP)
        .min_by_key(|(distance, _, _)| *distance)
        .map_or((at, at), |(_, end, start)| (end, start))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Word;
    use proptest::prelude::*;

    fn texts(segments: &[Segment]) -> Vec<&str> {
        segments.iter().map(|s| s.text.as_str()).collect()
    }

    #[test]
    fn abbreviations_and_initials_do_not_end_sentences() {
        let found = |text: &'static str| -> Vec<&str> {
            sentence_ranges(text)
                .into_iter()
                .map(|range| &text[range])
                .collect()
        };
        assert_eq!(
            found("Mr. Smith met J. R. Jones at 3.5 km.  He left."),
            ["Mr. Smith met J. R. Jones at 3.5 km.", "He left."]
        );
        assert_eq!(
            found("Take no. 7. The answer is no. They left."),
            ["Take no. 7.", "The answer is no.", "They left."]
        );
    }

    #[test]
    fn two_boundaries_do_not_move_to_one_pause() {
        // "Two." and "Three." are both nearest to the only pause.
        let speech = [Span::from_millis(0, 2000), Span::from_millis(2600, 5000)];
        let segments = sentences(
            "One. Two is it. Three is it.",
            Span::from_millis(0, 5000),
            &speech,
        );
        for segment in &segments {
            assert!(
                segment.span.duration() > MediaTime::from_millis(300),
                "{segments:?}"
            );
        }
    }

    #[test]
    fn a_boundary_moves_to_the_pause() {
        let speech = [Span::from_millis(1000, 4000), Span::from_millis(5000, 9000)];
        let segments = sentences(
            "One two three four. Five six seven eight.",
            Span::from_millis(0, 10_000),
            &speech,
        );
        assert_eq!(texts(&segments), ["One two three four.", "Five six seven eight."]);
        assert_eq!(segments[0].span, Span::from_millis(1000, 4000));
        assert_eq!(segments[1].span, Span::from_millis(5000, 9000));
        assert_eq!(segments[0].times, TimeQuality::Estimated);
    }

    #[test]
    fn one_sentence_keeps_the_measured_bounds() {
        let segments = sentences(
            " Hello there. ",
            Span::from_millis(0, 5000),
            &[Span::from_millis(700, 2100)],
        );
        assert_eq!(segments.len(), 1);
        assert_eq!(segments[0].span, Span::from_millis(700, 2100));
        assert_eq!(segments[0].times, TimeQuality::Measured);
    }

    #[test]
    fn word_times_decide_where_they_exist() {
        let word = |text: &str, a, b| Word {
            span: Span::from_millis(a, b),
            text: text.into(),
            confidence: None,
        };
        let segment = Segment {
            span: Span::from_millis(0, 10_000),
            text: "Go on. Stop now.".into(),
            words: vec![
                word("Go", 0, 100),
                word("on.", 100, 200),
                word("Stop", 9000, 9500),
                word("now.", 9500, 9900),
            ],
            ..Segment::default()
        };
        let parts = split_segment(&segment);
        assert_eq!(texts(&parts), ["Go on.", "Stop now."]);
        assert_eq!(parts[0].span, Span::from_millis(0, 200));
        assert_eq!(parts[1].span, Span::from_millis(9000, 9900));
        assert_eq!(parts[1].times, TimeQuality::Measured);
    }

    proptest! {
        #[test]
        fn sentences_are_ordered_inside_the_window_and_lose_nothing(
            text in "([A-Za-z]{1,9}[ ,.!?]{1,2}){1,40}",
            window in (0u64..5000, 1u64..60_000),
            gaps in prop::collection::vec((1u64..3000, 1u64..5000), 0..8),
        ) {
            let window = Span::from_millis(window.0, window.0 + window.1);
            let mut speech = Vec::new();
            let mut at = 0;
            for (pause, length) in gaps {
                at += pause;
                speech.push(Span::from_millis(at, at + length));
                at += length;
            }
            let segments = sentences(&text, window, &speech);
            let strip = |s: &str| s.chars().filter(|c| !c.is_whitespace()).collect::<String>();
            prop_assert_eq!(strip(&segments.iter().map(|s| s.text.as_str()).collect::<String>()), strip(&text));
            for segment in &segments {
                prop_assert!(window.contains(segment.span));
                prop_assert!(!segment.text.is_empty());
            }
            for pair in segments.windows(2) {
                prop_assert!(pair[0].span.end() <= pair[1].span.start());
            }
        }
    }
}
