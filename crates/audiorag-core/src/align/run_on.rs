//! Sentences that a model ran together.
//!
//! Speech-to-text often writes a comma where a speaker ended a sentence. What results is quoted whole and opens at its
//! first word, ten seconds before what was asked for. The pause that the speaker made is still there: such a sentence
//! is cut at it.

use crate::{MediaTime, Span};
use std::ops::Range;

/// A sentence that takes longer than this many milliseconds is cut, if there is a pause in it.
const LONG: u64 = 10_000;
/// A shorter pause is a breath or a closed consonant.
const PAUSE: u64 = 450;
/// No piece is shorter than this.
const LEAST: u64 = 2_000;
/// How far from its place by the pace a cut may be, to come after a comma rather than before a plain word.
const TO_A_COMMA: u64 = 1_500;

/// A stretch of text and when it is said.
pub(super) type Placed = (Range<usize>, Span);

/// Cuts what is too long at the longest of the pauses in it, again and again.
///
/// `speech` is where voice was detected. The pieces hold every character but the white space between them.
pub(super) fn cut(text: &str, sentence: Placed, speech: &[Span]) -> Vec<Placed> {
    let mut done = Vec::new();
    let mut left = vec![sentence];
    while let Some(piece) = left.pop() {
        match halves(text, &piece, speech) {
            Some((before, after)) => left.extend([after, before]),
            None => done.push(piece),
        }
    }
    done
}

fn halves(text: &str, (range, span): &Placed, speech: &[Span]) -> Option<(Placed, Placed)> {
    if span.duration().as_millis() <= LONG {
        return None;
    }
    let (end, start) = longest_pause(*span, speech)?;
    let spoken_before = spoken(Span::between(span.start(), end), speech);
    let spoken_after = spoken(Span::between(start, span.end()), speech);
    let body = text.get(range.clone())?;
    let at = range.start + cut_near(body, spoken_before, spoken_after)?;
    let before = text.get(range.start..at)?.trim_end().len();
    Some((
        (
            range.start..range.start + before,
            Span::between(span.start(), end),
        ),
        (at..range.end, Span::between(start, span.end())),
    ))
}

/// The longest pause that leaves enough on both sides, as its bounds.
fn longest_pause(span: Span, speech: &[Span]) -> Option<(MediaTime, MediaTime)> {
    speech
        .windows(2)
        .filter_map(|pair| match pair {
            [before, after] => Some((before.end(), after.start())),
            _ => None,
        })
        .filter(|(end, start)| start.saturating_sub(*end).as_millis() >= PAUSE)
        .filter(|(end, start)| {
            end.saturating_sub(span.start()).as_millis() >= LEAST
                && span.end().saturating_sub(*start).as_millis() >= LEAST
        })
        .max_by_key(|(end, start)| start.saturating_sub(*end))
}

/// Milliseconds of speech in `span`.
fn spoken(span: Span, speech: &[Span]) -> u64 {
    speech.iter().map(|piece| piece.overlap(span).as_millis()).sum()
}

/// Where in `text` a word starts that may follow the pause: near its place by the pace, and after a comma where one is
/// near. `None` in a text of one word.
fn cut_near(text: &str, before: u64, after: u64) -> Option<usize> {
    let letters = |text: &str| text.chars().filter(|c| c.is_alphanumeric()).count() as u64;
    let all = letters(text).max(1);
    let mut said = 0;
    let mut from = 0;
    let mut best: Option<(u64, usize)> = None;
    for at in word_starts(text).skip(1) {
        let left = text.get(from..at).unwrap_or_default();
        said += letters(left);
        from = at;
        let due = said * (before + after) / all;
        let comma = left
            .trim_end()
            .ends_with([',', ';', ':', '.', '?', '!', '\u{2013}', '\u{2014}', '-']);
        let cost = due.abs_diff(before) + if comma { 0 } else { TO_A_COMMA };
        if best.is_none_or(|(least, _)| cost < least) {
            best = Some((cost, at));
        }
    }
    best.map(|(_, at)| at)
}

/// Where the words of a text start.
fn word_starts(text: &str) -> impl Iterator<Item = usize> {
    let mut after_space = true;
    text.char_indices().filter_map(move |(at, c)| {
        let starts = after_space && !c.is_whitespace();
        after_space = c.is_whitespace();
        starts.then_some(at)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut_text<'a>(text: &'a str, speech: &[(u64, u64)]) -> Vec<(&'a str, u64, u64)> {
        let speech: Vec<Span> = speech
            .iter()
            .map(|(start, end)| Span::from_millis(*start, *end))
            .collect();
        let whole = Span::between(speech[0].start(), speech[speech.len() - 1].end());
        cut(text, (0..text.len(), whole), &speech)
            .into_iter()
            .map(|(range, span)| (&text[range], span.start().as_millis(), span.end().as_millis()))
            .collect()
    }

    #[test]
    fn a_long_sentence_is_cut_at_its_pause_and_after_a_comma() {
        let text = "The mill burned down in March, and nobody knew why, its owner left the country at once.";
        assert_eq!(
            cut_text(text, &[(0, 6_500), (7_200, 11_000)]),
            [
                ("The mill burned down in March, and nobody knew why,", 0, 6_500),
                ("its owner left the country at once.", 7_200, 11_000)
            ]
        );
    }

    #[test]
    fn where_no_comma_is_near_the_pace_decides() {
        let text = "the mill burned down in march and nobody knew why its owner left the country at once";
        let pieces = cut_text(text, &[(0, 6_000), (7_000, 13_000)]);
        assert_eq!(pieces.len(), 2, "{pieces:?}");
        assert_eq!(pieces[0].0, "the mill burned down in march and nobody");
    }

    #[test]
    fn short_sentences_short_pauses_and_edges_stay_whole() {
        let text = "It was cold, and so we went home.";
        assert_eq!(cut_text(text, &[(0, 4_000), (5_000, 9_000)]).len(), 1);
        assert_eq!(cut_text(text, &[(0, 6_000), (6_300, 12_000)]).len(), 1);
        assert_eq!(cut_text(text, &[(0, 1_500), (2_500, 12_000)]).len(), 1);
        assert_eq!(cut_text("Unbelievable.", &[(0, 6_000), (7_000, 13_000)]).len(), 1);
    }
}
