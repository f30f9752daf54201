//! From the words of a model to an answer whose every number stands for a passage.

use super::marker::{Marker, Place, next_marker, open_marker};
use super::support::{self, Unsupported};
use super::{best_line, best_of, citation};
use crate::model::{ChunkLine, Citation, Hit};
use crate::prompt;
use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;

/// What a model is asked to write when the passages do not answer the question.
pub const NOTHING: &str = "[nothing]";

/// What came of binding an answer to the passages it was given.
#[derive(Clone, Debug, PartialEq)]
pub struct Bound {
    /// The text with markers numbered from 1 in order of appearance.
    pub text: String,
    /// One for each number in the text.
    pub citations: Vec<Citation>,
    /// Markers that named no passage and were taken out.
    pub removed: usize,
    /// Statements that what they cite does not carry.
    pub unsupported: Vec<Unsupported>,
    /// Whether the model said that the passages do not answer the question, and cited nothing.
    pub abstained: bool,
}

/// Binds the `[n]` markers of a generated text to `hits` (passage `n` is `hits[n - 1]`).
///
/// Numbers that were not given are taken out and counted. Each statement's citation is narrowed to the line that its
/// marker names (see [`marker`](super::marker)), or else to the line of its passage that shares most words with it, so
/// one passage may become several citations. Where no line shares any, the whole passage is cited.
pub fn bind(text: &str, hits: &[Hit]) -> Bound {
    let mut binder = Binder::new(hits);
    binder.push(text);
    binder.finish().0
}

/// Binds a text while it is written: what was let through once does not change any more.
pub struct Binder<'a> {
    hits: &'a [Hit],
    out: String,
    /// What was written and may still become a marker.
    rest: String,
    /// How much of `out` was let through.
    shown: usize,
    citations: Vec<Citation>,
    /// The passage of each citation.
    cited: Vec<&'a Hit>,
    numbers: HashMap<(usize, Option<usize>), u32>,
    removed: usize,
    says_nothing: bool,
}

impl<'a> Binder<'a> {
    /// A binder for a text that was made from `hits`.
    pub fn new(hits: &'a [Hit]) -> Self {
        Self {
            hits,
            out: String::new(),
            rest: String::new(),
            shown: 0,
            citations: Vec::new(),
            cited: Vec::new(),
            numbers: HashMap::new(),
            removed: 0,
            says_nothing: false,
        }
    }

    /// Takes more of the text and returns what can be shown of it by now, with its final numbers.
    pub fn push(&mut self, delta: &str) -> String {
        // What is shown on a terminal must not steer it.
        self.rest.extend(
            delta
                .chars()
                .filter(|c| !c.is_control() || matches!(c, '\n' | '\t')),
        );
        let rest = std::mem::take(&mut self.rest);
        let mut rest = rest.as_str();
        while let Some((before, marker, after)) = next_marker(rest) {
            self.text(before);
            self.marker(marker);
            rest = after;
        }
        let (before, open) = rest.split_at(open_marker(rest));
        self.text(before);
        open.clone_into(&mut self.rest);
        // White space may turn out to stand before a marker that is taken out, or at the end.
        self.show(self.out.trim_end().len())
    }

    /// The whole answer, and what was not shown of it yet.
    pub fn finish(mut self) -> (Bound, String) {
        let rest = std::mem::take(&mut self.rest);
        self.text(&rest);
        self.out.truncate(self.out.trim_end().len());
        let tail = self.show(self.out.len());
        let abstained = self.says_nothing && self.citations.is_empty();
        let unsupported = if abstained {
            Vec::new()
        } else {
            support::unsupported(&self.out, &self.cited, self.hits)
        };
        let bound = Bound {
            text: self.out,
            citations: self.citations,
            removed: self.removed,
            unsupported,
            abstained,
        };
        (bound, tail)
    }

    fn text(&mut self, text: &str) {
        let text = if self.out.is_empty() {
            text.trim_start()
        } else {
            text
        };
        self.out.push_str(text);
    }

    fn show(&mut self, end: usize) -> String {
        let more = self.out.get(self.shown..end).unwrap_or_default().to_owned();
        self.shown = self.shown.max(end);
        more
    }

    fn marker(&mut self, marker: Marker) {
        let Marker::Passages(places) = marker else {
            self.says_nothing = true;
            self.drop_space();
            return;
        };
        let statement = last_statement(&self.out);
        let mut seen = HashSet::new();
        let mut bound: Vec<u32> = Vec::new();
        for place in places {
            let id = place.passage;
            let Some(hit) = id.checked_sub(1).and_then(|index| self.hits.get(index)) else {
                self.removed += 1;
                continue;
            };
            let line = cited_line(hit, &place, &statement);
            let key = (id, line.map(|line| line.from));
            let number = *self.numbers.entry(key).or_insert_with(|| {
                let number = self.citations.len() as u32 + 1;
                let score = hit.scores.dense.unwrap_or(hit.scores.fused);
                self.citations.push(citation(number, hit, line, score));
                self.cited.push(hit);
                number
            });
            if seen.insert(number) {
                bound.push(number);
            }
        }
        if bound.is_empty() {
            self.drop_space();
        }
        for number in bound {
            let _ = write!(self.out, "[{number}]");
        }
    }

    /// Nothing is left of a marker: neither is the space in front of it.
    fn drop_space(&mut self) {
        self.out.truncate(self.out.trim_end_matches(' ').len());
    }
}

/// The line that a marker means.
fn cited_line<'a>(hit: &'a Hit, place: &Place, statement: &str) -> Option<&'a ChunkLine> {
    let Some((first, last)) = place.lines else {
        return best_line(hit, statement);
    };
    let named: Vec<&ChunkLine> = (1..)
        .zip(prompt::shown_lines(hit))
        .filter(|(number, _)| (first..=last).contains(number))
        .map(|(_, line)| line)
        .collect();
    best_of(hit, named.iter().copied(), statement).or_else(|| named.first().copied())
}

/// The sentence that the text ends with, without earlier markers.
fn last_statement(text: &str) -> String {
    let ranges = crate::align::sentence_ranges(text);
    let from = ranges.last().map_or(0, |range| range.start);
    text.get(from..).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::super::tests::hit;
    use super::*;
    use crate::Span;
    use proptest::prelude::*;

    #[test]
    fn foreign_markers_are_removed_and_the_rest_renumbered() {
        let hits = [
            hit("a", &[("alpha beta", 0, 10)]),
            hit("b", &[("gamma delta", 20, 30)]),
        ];
        let bound = bind(
            "Gamma is late [2]. Alpha came first [1, 7]. Nothing [9] here.",
            &hits,
        );
        assert_eq!(
            bound.text,
            "Gamma is late [1]. Alpha came first [2]. Nothing here."
        );
        assert_eq!(bound.removed, 2);
        assert_eq!(bound.citations[0].quote, "gamma delta");
        assert_eq!(bound.citations[1].span, Span::from_millis(0, 10));
    }

    #[test]
    fn each_statement_is_narrowed_to_its_own_line() {
        let hits = [hit(
            "a",
            &[
                ("The invoice failed twice.", 0, 10),
                ("The train was late.", 10, 20),
            ],
        )];
        let bound = bind("A train came late [1]. An invoice failed [1].", &hits);
        assert_eq!(bound.text, "A train came late [1]. An invoice failed [2].");
        assert_eq!(bound.citations[0].quote, "The train was late.");
        assert_eq!(bound.citations[1].quote, "The invoice failed twice.");
    }

    #[test]
    fn an_answer_in_another_language_cites_the_whole_passage() {
        let hits = [hit(
            "a",
            &[
                ("They will die of laughter.", 0, 10),
                ("The invoice failed twice in 1974.", 10, 20),
            ],
        )];
        let bound = bind("Die Rechnung ist schon wieder geplatzt [1].", &hits);
        assert_eq!(bound.citations[0].quote, hits[0].text);
        assert_eq!(bound.citations[0].span, hits[0].span);
        assert_eq!(bound.text, "Die Rechnung ist schon wieder geplatzt [1].");
        // A number is the same in every language.
        let bound = bind("Das war 1974 [1]. Niemand weiß warum [1].", &hits);
        assert_eq!(bound.text, "Das war 1974 [1]. Niemand weiß warum [2].");
        assert_eq!(bound.citations[0].span, Span::from_millis(10, 20));
        assert_eq!(bound.citations[1].span, hits[0].span);
    }

    #[test]
    fn a_line_is_found_in_a_script_without_spaces() {
        let hits = [hit("a", &[("今天天气很好。", 0, 10), ("火车晚点了。", 10, 20)])];
        let bound = bind("那趟火车晚点[1]。", &hits);
        assert_eq!(bound.citations[0].quote, "火车晚点了。");
    }

    #[test]
    fn a_line_that_is_named_is_cited_whatever_its_words() {
        // The second line holds nothing that a model is shown.
        let hits = [hit(
            "a",
            &[
                ("The invoice failed.", 0, 10),
                ("\u{200b}", 10, 20),
                ("The train was late.", 20, 30),
                ("Nobody came.", 30, 40),
            ],
        )];
        let bound = bind(
            "Der Zug kam [1#2]. Der Invoice failed [1#2-3]. Wie [1#9], so [7#1].",
            &hits,
        );
        assert_eq!(
            bound.text,
            "Der Zug kam [1]. Der Invoice failed [1]. Wie [2], so."
        );
        assert_eq!(bound.citations[0].quote, "The train was late.");
        assert_eq!(bound.citations[1].quote, hits[0].text);
        assert_eq!(bound.removed, 1);
    }

    #[test]
    fn brackets_that_are_not_markers_stay() {
        let text = "See [a] and [] and [1 2] and [12:30] and [#1] and [1#] and [1#2-] and [";
        let bound = bind(text, &[]);
        assert_eq!(bound.text, text);
        assert_eq!(bound.removed, 0);
    }

    #[test]
    fn an_answer_cannot_steer_a_terminal() {
        let bound = bind("red \u{1b}[31m and \u{7}bell\u{9b}2J", &[]);
        assert_eq!(bound.text, "red [31m and bell2J");
    }

    #[test]
    fn a_model_that_finds_nothing_says_so_in_one_word() {
        let hits = [hit("a", &[("alpha beta", 0, 10)])];
        let bound = bind(" [Nothing]\n", &hits);
        assert!(bound.abstained);
        assert_eq!((bound.text.as_str(), bound.unsupported.len()), ("", 0));
        let bound = bind("Davon ist keine Rede. [nothing]", &hits);
        assert!(bound.abstained);
        assert_eq!(bound.text, "Davon ist keine Rede.");
        // Whoever cites has found something.
        let bound = bind("Alpha beta [1]. The rest is not said [nothing].", &hits);
        assert!(!bound.abstained);
        assert_eq!(bound.text, "Alpha beta [1]. The rest is not said.");
    }

    proptest! {
        #[test]
        fn however_a_text_arrives_it_is_bound_the_same(
            text in "([a-z. \n]{0,9}|\\[[0-9]{0,3}(#[0-9](-[0-9])?)?(, ?[0-9])?\\]?|\\[noth(ing\\])?){0,12}",
            cut in 1..9usize,
        ) {
            let hits = [hit("a", &[("one two", 0, 10)]), hit("b", &[("three four", 20, 30)])];
            let mut binder = Binder::new(&hits);
            let mut shown = String::new();
            for piece in text.chars().collect::<Vec<_>>().chunks(cut) {
                shown.push_str(&binder.push(&piece.iter().collect::<String>()));
            }
            let (bound, tail) = binder.finish();
            shown.push_str(&tail);
            prop_assert_eq!(&shown, &bound.text);
            prop_assert_eq!(bound, bind(&text, &hits));
        }

        #[test]
        fn every_marker_left_has_a_citation(text in "([a-z ]{0,9}|\\[[0-9]{1,3}(, ?[0-9])?\\]){0,12}") {
            let hits = [hit("a", &[("one two", 0, 10)]), hit("b", &[("three four", 20, 30)])];
            let bound = bind(&text, &hits);
            let mut rest = bound.text.as_str();
            let mut highest = 0;
            while let Some((_, ids, after)) = next_marker(rest) {
                let Marker::Passages(ids) = ids else { continue };
                for id in ids.into_iter().map(|place| place.passage) {
                    prop_assert!(id >= 1 && id <= bound.citations.len());
                    prop_assert!(id <= highest + 1, "numbers appear in order");
                    highest = highest.max(id);
                }
                rest = after;
            }
            prop_assert_eq!(highest, bound.citations.len());
        }
    }
}
