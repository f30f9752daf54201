//! Where the words of a segment stand in its text.
//!
//! Vendors write the text of a segment for readers and its words as they are spoken: "$5" is "five", "dollars". Text and
//! words are therefore aligned as a whole, with the fewest differences, and a word that has no place of its own stands
//! where the one before it does.

use crate::Span;
use crate::model::Segment;
use unicode_segmentation::UnicodeSegmentation as _;

/// How far from its even place in the text a word is looked for, in words.
const BAND: usize = 32;
/// The cost of what lies outside the band.
const FAR: u32 = u32::MAX / 2;

/// When a place in the text is spoken.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Spoken {
    /// Its place among the words of the segment.
    pub(super) number: usize,
    /// The byte of the segment's text at which the word begins.
    pub(super) at: usize,
    /// When it is said: inside the segment, in order, and without overlap.
    pub(super) span: Span,
}

/// How a cell of the alignment is reached.
#[derive(Clone, Copy)]
enum Step {
    /// A word that is not written.
    Unwritten,
    /// A word as it is written, or written in another way.
    Written,
    /// What is written and was not said.
    Unsaid,
}

/// The words of a segment in the order of its text; those that hold no letter or digit are left out.
pub(super) fn places(segment: &Segment) -> Vec<Spoken> {
    let written = tokens(&segment.text);
    let (numbers, said): (Vec<usize>, Vec<String>) = segment
        .words
        .iter()
        .enumerate()
        .flat_map(|(number, word)| {
            let folded = tokens(&word.text).into_iter();
            folded.map(move |(_, folded)| (number, folded))
        })
        .unzip();
    let mut spoken: Vec<Spoken> = Vec::with_capacity(segment.words.len());
    let mut done = None;
    for (number, token) in numbers.into_iter().zip(align(&said, &written)) {
        // A word of several tokens stands where its first one does.
        if done == Some(number) {
            continue;
        }
        done = Some(number);
        let (Some((at, _)), Some(word)) = (written.get(token), segment.words.get(number)) else {
            continue;
        };
        let span = word.span.clamp_to(segment.span);
        let start = spoken
            .last()
            .map_or(span.start(), |last| span.start().max(last.span.start()));
        if let Some(last) = spoken.last_mut() {
            last.span = Span::between(last.span.start(), last.span.end().min(start));
        }
        spoken.push(Spoken {
            number,
            at: *at,
            span: Span::between(start, span.end().max(start)),
        });
    }
    spoken
}

/// The words of a text, each with the byte it begins at. Scripts without spaces give one for each of their characters.
fn tokens(text: &str) -> Vec<(usize, String)> {
    text.unicode_word_indices()
        .map(|(at, word)| (at, word.to_lowercase()))
        .collect()
}

/// For each of `said` the one of `written` at which it stands, in order.
fn align(said: &[String], written: &[(usize, String)]) -> Vec<usize> {
    let (rows, columns) = (said.len(), written.len());
    if rows == 0 || columns == 0 {
        return Vec::new();
    }
    let band = BAND.max(2 * columns.div_ceil(rows));
    let bounds = |row: usize| {
        let middle = row * columns / rows;
        (middle.saturating_sub(band), (middle + band).min(columns))
    };
    let (mut low, high) = bounds(0);
    let mut costs: Vec<u32> = (0..=high as u32).collect();
    let mut steps: Vec<(usize, Vec<Step>)> = Vec::with_capacity(rows);
    for (row, word) in said.iter().enumerate() {
        let cost_above = |column: usize| {
            let place = column.checked_sub(low);
            place.and_then(|place| costs.get(place)).copied().unwrap_or(FAR)
        };
        let (from, to) = bounds(row + 1);
        let mut here: Vec<u32> = Vec::with_capacity(to - from + 1);
        let mut taken: Vec<Step> = Vec::with_capacity(to - from + 1);
        for column in from..=to {
            let differs = column
                .checked_sub(1)
                .and_then(|before| written.get(before))
                .map(|(_, other)| u32::from(other != word));
            let choices = [
                (Step::Unwritten, cost_above(column) + 1),
                (
                    Step::Written,
                    differs.map_or(FAR, |cost| cost_above(column - 1) + cost),
                ),
                (Step::Unsaid, here.last().map_or(FAR, |cost| cost + 1)),
            ];
            // Of equals the first: what is said in more words than it is written in begins where that is written.
            let [first, others @ ..] = choices;
            let (step, cost) = others
                .into_iter()
                .fold(first, |best, other| if other.1 < best.1 { other } else { best });
            here.push(cost.min(FAR));
            taken.push(step);
        }
        costs = here;
        low = from;
        steps.push((from, taken));
    }
    trace(&steps, columns)
}

/// Follows the steps back from the end.
fn trace(steps: &[(usize, Vec<Step>)], columns: usize) -> Vec<usize> {
    let mut column = columns;
    let mut places = Vec::with_capacity(steps.len());
    for (from, taken) in steps.iter().rev() {
        loop {
            let step = column.checked_sub(*from).and_then(|place| taken.get(place));
            match step {
                Some(Step::Unsaid) if column > 0 => column -= 1,
                Some(Step::Written) if column > 0 => {
                    column -= 1;
                    places.push(column);
                    break;
                }
                _ => {
                    places.push(column.saturating_sub(1));
                    break;
                }
            }
        }
    }
    places.reverse();
    places
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Word;
    use proptest::prelude::*;

    fn segment(text: &str, words: &[&str]) -> Segment {
        let word = |(at, text): (u64, &&str)| Word {
            span: Span::from_millis(at * 100, at * 100 + 90),
            text: (*text).to_owned(),
            confidence: None,
        };
        Segment {
            span: Span::from_millis(0, words.len() as u64 * 100),
            text: text.to_owned(),
            words: (0..).zip(words).map(word).collect(),
            ..Segment::default()
        }
    }

    /// What stands where each word was placed.
    fn found(text: &str, words: &[&str]) -> Vec<String> {
        places(&segment(text, words))
            .into_iter()
            .map(|spoken| text[spoken.at..].chars().take(5).collect())
            .collect()
    }

    #[test]
    fn a_word_that_is_written_otherwise_does_not_take_a_later_ones_place() {
        assert_eq!(
            found(
                "It cost $5. Later, five people came.",
                &["It", "cost", "five", "dollars", "later", "five", "people", "came"]
            ),
            [
                "It co", "cost ", "5. La", "5. La", "Later", "five ", "peopl", "came."
            ]
        );
    }

    #[test]
    fn a_word_is_not_found_inside_another_one() {
        assert_eq!(
            found("The other cat. He sat.", &["the", "cat", "he", "sat"]),
            ["The o", "cat. ", "He sa", "sat."]
        );
    }

    #[test]
    fn scripts_without_spaces_are_placed_as_well() {
        assert_eq!(
            found(
                "\u{4f60}\u{597d}\u{3002}\u{518d}\u{89c1}\u{3002}",
                &["\u{4f60}\u{597d}", "\u{518d}\u{89c1}"]
            ),
            [
                "\u{4f60}\u{597d}\u{3002}\u{518d}\u{89c1}",
                "\u{518d}\u{89c1}\u{3002}"
            ]
        );
    }

    proptest! {
        #[test]
        fn whatever_a_vendor_says_places_are_in_order_and_inside(
            text in "([a-dé]{1,3}|[你好]{1,3}|[ ,.]{1,2}){0,60}",
            words in prop::collection::vec(("[a-dé你好.]{0,3}", 0u64..9_000, 0u64..2_000), 0..80),
        ) {
            let words = words.into_iter().map(|(text, start, length)| Word {
                span: Span::from_millis(start, start + length),
                text,
                confidence: None,
            });
            let segment = Segment {
                span: Span::from_millis(500, 8_000),
                text,
                words: words.collect(),
                ..Segment::default()
            };
            let spoken = places(&segment);
            for one in &spoken {
                prop_assert!(segment.span.contains(one.span));
                prop_assert!(segment.text.is_char_boundary(one.at) && one.at < segment.text.len());
            }
            for pair in spoken.windows(2) {
                prop_assert!(pair[0].at <= pair[1].at);
                prop_assert!(pair[0].span.end() <= pair[1].span.start());
            }
        }

        #[test]
        fn words_that_are_written_as_they_are_spoken_all_stand_where_they_are_written(
            words in prop::collection::vec("[a-c]{1,2}", 1..200),
        ) {
            let text = words.join(" ");
            let spoken = places(&segment(&text, &words.iter().map(String::as_str).collect::<Vec<_>>()));
            let mut at = 0;
            for (word, spoken) in words.iter().zip(&spoken) {
                prop_assert_eq!(spoken.at, at);
                at += word.len() + 1;
            }
        }
    }
}
