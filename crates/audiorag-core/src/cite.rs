//! Citations: links that open at the right second, and markers that are checked instead of trusted.

use crate::model::{ChunkLine, Citation, Hit};
use crate::{Locator, Span};
use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;

/// A link that opens `locator` at `span`.
///
/// Files and plain web addresses get a media fragment (`#t=12.5,30`, W3C Media Fragments URI 1.0), YouTube its
/// own `t` parameter in whole seconds.
pub fn link(locator: &Locator, span: Span) -> String {
    let uri = locator.to_uri();
    if let Locator::Url(url) = locator
        && is_youtube(url)
    {
        let base = url.split('#').next().unwrap_or(url);
        let joint = if base.contains('?') { '&' } else { '?' };
        return format!("{base}{joint}t={}s", span.start().as_millis() / 1000);
    }
    let base = uri.split('#').next().unwrap_or(&uri);
    format!(
        "{base}#t={},{}",
        span.start().to_decimal_seconds(),
        span.end().to_decimal_seconds()
    )
}

fn is_youtube(url: &str) -> bool {
    let host = url
        .split("://")
        .nth(1)
        .and_then(|rest| rest.split(['/', '?', '#']).next())
        .unwrap_or_default();
    let host = host.to_lowercase();
    [
        "youtube.com",
        "www.youtube.com",
        "m.youtube.com",
        "music.youtube.com",
        "youtu.be",
    ]
    .contains(&host.as_str())
}

/// The citation of `line` of `hit` under `marker`; of the whole hit without a line.
pub fn citation(marker: u32, hit: &Hit, line: Option<&ChunkLine>, score: f32) -> Citation {
    let quote = line
        .and_then(|line| hit.text.get(line.from..line.to))
        .unwrap_or(&hit.text);
    let span = line.map_or(hit.span, |line| line.span);
    Citation {
        marker,
        source_id: hit.source_id.clone(),
        title: hit.title.clone(),
        locator: hit.locator.clone(),
        span,
        quote: quote.to_owned(),
        link: link(&hit.locator, span),
        speakers: line.map_or_else(
            || hit.speakers.clone(),
            |line| line.speaker.clone().into_iter().collect(),
        ),
        score,
        times: line.map_or(hit.times, |line| line.times),
    }
}

/// What came of binding an answer to the passages it was given.
#[derive(Clone, Debug, PartialEq)]
pub struct Bound {
    /// The text with markers numbered from 1 in order of appearance.
    pub text: String,
    /// One for each number in the text.
    pub citations: Vec<Citation>,
    /// Markers that named no passage and were taken out.
    pub removed: usize,
}

/// Binds the `[n]` markers of a generated text to `hits` (passage `n` is `hits[n - 1]`).
///
/// Numbers that were not given are taken out and counted. Each statement's citation is narrowed to the line of
/// its passage that shares most words with it, so one passage may become several citations.
pub fn bind(text: &str, hits: &[Hit]) -> Bound {
    let mut out = String::with_capacity(text.len());
    let mut citations = Vec::new();
    let mut numbers: HashMap<(usize, usize), u32> = HashMap::new();
    let mut removed = 0;
    let mut rest = text;
    while let Some((before, ids, after)) = next_marker(rest) {
        out.push_str(before);
        let statement = last_statement(&out);
        let mut seen = HashSet::new();
        let mut bound: Vec<u32> = Vec::new();
        for id in ids {
            let Some(hit) = id.checked_sub(1).and_then(|index| hits.get(index)) else {
                removed += 1;
                continue;
            };
            let line = best_line(hit, &statement);
            let key = (id, line.map_or(0, |line| line.from));
            let number = *numbers.entry(key).or_insert_with(|| {
                let number = citations.len() as u32 + 1;
                citations.push(citation(
                    number,
                    hit,
                    line,
                    hit.scores.dense.unwrap_or(hit.scores.fused),
                ));
                number
            });
            if seen.insert(number) {
                bound.push(number);
            }
        }
        if bound.is_empty() {
            // Nothing is left of the marker: neither is the space in front of it.
            out.truncate(out.trim_end_matches(' ').len());
        }
        for number in bound {
            let _ = write!(out, "[{number}]");
        }
        rest = after;
    }
    out.push_str(rest);
    Bound {
        text: out,
        citations,
        removed,
    }
}

/// Splits at the next `[1]`, `[1, 2]` or `[1][2]`: text before, passage numbers, text after.
fn next_marker(text: &str) -> Option<(&str, Vec<usize>, &str)> {
    let mut search = 0;
    while let Some(at) = text.get(search..)?.find('[').map(|at| at + search) {
        let inner = text.get(at + 1..)?;
        if let Some(end) = inner.find(']')
            && let Some(ids) = inner.get(..end).and_then(parse_ids)
        {
            return Some((text.get(..at)?, ids, inner.get(end + 1..)?));
        }
        search = at + 1;
    }
    None
}

fn parse_ids(inner: &str) -> Option<Vec<usize>> {
    inner
        .split([',', ';'])
        .map(|id| {
            let id = id.trim();
            // A number too large for a passage is still a marker, and a foreign one.
            (!id.is_empty() && id.bytes().all(|b| b.is_ascii_digit()))
                .then(|| id.parse().unwrap_or(usize::MAX))
        })
        .collect()
}

/// The sentence that the text ends with, without earlier markers.
fn last_statement(text: &str) -> String {
    let ranges = crate::align::sentence_ranges(text);
    let from = ranges.last().map_or(0, |range| range.start);
    text.get(from..).unwrap_or_default().to_owned()
}

/// The line of `hit` that shares most words with `statement`; the earliest of equals. `None` without lines.
pub fn best_line<'a>(hit: &'a Hit, statement: &str) -> Option<&'a ChunkLine> {
    let wanted = content_words(statement);
    hit.lines.iter().rev().max_by_key(|line| {
        let text = hit.text.get(line.from..line.to).unwrap_or_default();
        content_words(text)
            .intersection(&wanted)
            .map(String::len)
            .sum::<usize>()
    })
}

/// Lower-case words of three letters or more.
fn content_words(text: &str) -> HashSet<String> {
    text.split(|c: char| !c.is_alphanumeric())
        .filter(|word| word.chars().count() > 2)
        .map(str::to_lowercase)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{ChunkId, SourceId};
    use crate::model::{Scores, TimeQuality};
    use proptest::prelude::*;
    use std::path::PathBuf;

    pub(crate) fn hit(id: &str, lines: &[(&str, u64, u64)]) -> Hit {
        let mut text = String::new();
        let mut placed = Vec::new();
        for (said, start, end) in lines {
            if !text.is_empty() {
                text.push(' ');
            }
            let from = text.len();
            text.push_str(said);
            placed.push(ChunkLine {
                from,
                to: text.len(),
                span: Span::from_millis(*start, *end),
                speaker: None,
                times: TimeQuality::Estimated,
            });
        }
        Hit {
            chunk_id: ChunkId::from_stored(id),
            source_id: SourceId::from_stored("s"),
            title: "T".into(),
            locator: Locator::File(PathBuf::from("/a/talk.mp3")),
            span: Span::from_millis(lines[0].1, lines[lines.len() - 1].2),
            text,
            chapter: None,
            speakers: vec![],
            lines: placed,
            times: TimeQuality::Measured,
            scores: Scores::default(),
        }
    }

    #[test]
    fn peer_defect_03_links_are_never_empty_and_open_at_the_second() {
        let span = Span::from_millis(12_500, 30_000);
        assert_eq!(
            link(&Locator::File(PathBuf::from("/a b.mp3")), span),
            "file:///a%20b.mp3#t=12.5,30"
        );
        assert_eq!(
            link(&Locator::Url("https://h/x.mp3#old".into()), span),
            "https://h/x.mp3#t=12.5,30"
        );
        let youtube = Locator::Url("https://www.youtube.com/watch?v=abc".into());
        assert_eq!(link(&youtube, span), "https://www.youtube.com/watch?v=abc&t=12s");
        assert_eq!(
            link(&Locator::Url("https://youtu.be/abc".into()), span),
            "https://youtu.be/abc?t=12s"
        );
        let impostor = Locator::Url("https://youtube.com.evil.test/a".into());
        assert_eq!(link(&impostor, span), "https://youtube.com.evil.test/a#t=12.5,30");
    }

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
    fn brackets_that_are_not_markers_stay() {
        let bound = bind("See [a] and [] and [1 2] and [", &[]);
        assert_eq!(bound.text, "See [a] and [] and [1 2] and [");
        assert_eq!(bound.removed, 0);
    }

    proptest! {
        #[test]
        fn every_marker_left_has_a_citation(text in "([a-z ]{0,9}|\\[[0-9]{1,3}(, ?[0-9])?\\]){0,12}") {
            let hits = [hit("a", &[("one two", 0, 10)]), hit("b", &[("three four", 20, 30)])];
            let bound = bind(&text, &hits);
            let mut rest = bound.text.as_str();
            let mut highest = 0;
            while let Some((_, ids, after)) = next_marker(rest) {
                for id in ids {
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
