//! From hits to the passages that are read: neighbours joined, and chunks around a hit read with it.

use super::retrieve::hit;
use audiorag_core::Result;
use audiorag_core::id::ChunkId;
use audiorag_core::model::{ChunkLine, Hit, Scores, TimeQuality};
use audiorag_state::State;
use std::collections::HashSet;

/// The passages of `hits`, each with up to `neighbours` chunks before and after it. A neighbour that is in another
/// chapter, or that a pause of more than two seconds divides from the hit, is left out.
pub(crate) async fn passages(state: &State, hits: Vec<Hit>, neighbours: u32) -> Result<Vec<Hit>> {
    if neighbours == 0 {
        return Ok(merge_neighbours(hits));
    }
    let ids: Vec<ChunkId> = hits.iter().map(|hit| hit.chunk_id.clone()).collect();
    let places = state.hits(&ids).await?;
    let mut seen: HashSet<ChunkId> = HashSet::new();
    let mut passages: Vec<Hit> = Vec::with_capacity(hits.len());
    for found in hits {
        let place = places
            .get(&found.chunk_id)
            .map(|chunk| (chunk.revision, chunk.index));
        let chapter = found.chapter.clone();
        if seen.insert(found.chunk_id.clone()) {
            add(&mut passages, found, true);
        }
        // Not live any more: it was read a moment ago, and has no neighbours now.
        let Some((revision, index)) = place else { continue };
        let mut around = state.neighbours(revision, index, neighbours, neighbours).await?;
        around.sort_by_key(|chunk| chunk.index.abs_diff(index));
        for chunk in around {
            if chunk.chapter == chapter && !seen.contains(&chunk.chunk_id) {
                let id = chunk.chunk_id.clone();
                if add(&mut passages, hit(chunk, Scores::default()), false) {
                    seen.insert(id);
                }
            }
        }
    }
    Ok(passages)
}

/// Joins hits that follow each other in a recording into one passage, at the place of the better one, so that a
/// thought that runs over a chunk's end is read whole.
///
/// Chunks of a source touch when nothing is said between them, or share the sentences that the later one repeats.
fn merge_neighbours(hits: Vec<Hit>) -> Vec<Hit> {
    let mut passages: Vec<Hit> = Vec::with_capacity(hits.len());
    for hit in hits {
        add(&mut passages, hit, true);
    }
    passages
}

/// Joins a hit to the passages that it continues or begins; one that touches none becomes a passage where `alone` allows
/// it. Whether it is in a passage now.
fn add(passages: &mut Vec<Hit>, hit: Hit, alone: bool) -> bool {
    if !alone && touching(passages, &hit).is_none() {
        return false;
    }
    // It comes after those that are better, until it joins one of them.
    let (mut at, mut hit) = (passages.len(), hit);
    while let Some(place) = touching(passages, &hit) {
        let other = passages.remove(place);
        let merged = if holds(&other, &hit) {
            other.clone()
        } else if holds(&hit, &other) {
            hit.clone()
        } else if follows(&other, &hit) {
            join(&other, &hit)
        } else {
            join(&hit, &other)
        };
        let better = if place < at { &other } else { &hit };
        hit = Hit {
            chunk_id: better.chunk_id.clone(),
            scores: better.scores,
            ..merged
        };
        // What stood behind the one that was taken out moved up.
        at = at.min(place);
    }
    passages.insert(at.min(passages.len()), hit);
    true
}

/// The first passage that a hit continues, begins, or is part of.
fn touching(passages: &[Hit], hit: &Hit) -> Option<usize> {
    let touches = |a: &Hit, b: &Hit| follows(a, b) || holds(a, b);
    passages.iter().position(|passage| {
        passage.source_id == hit.source_id && (touches(passage, hit) || touches(hit, passage))
    })
}

/// Whether all that `inner` says is in `outer`.
fn holds(outer: &Hit, inner: &Hit) -> bool {
    let same = |lines: &[ChunkLine]| {
        let mut pairs = lines.iter().zip(&inner.lines);
        pairs.all(|(a, b)| is_same(outer, a, inner, b))
    };
    !inner.lines.is_empty() && outer.lines.windows(inner.lines.len()).any(same)
}

/// Whether two lines are one sentence of the recording.
fn is_same(of: &Hit, line: &ChunkLine, of_other: &Hit, other: &ChunkLine) -> bool {
    line.span == other.span && of.text.get(line.from..line.to) == of_other.text.get(other.from..other.to)
}

/// Whether `after` begins where `before` ends, with at most a short pause between, or with the last sentences of it.
fn follows(before: &Hit, after: &Hit) -> bool {
    if before.span.end() > after.span.start() {
        return before.span.start() < after.span.start() && repeated(before, after) > 0;
    }
    let gap = after.span.start().saturating_sub(before.span.end()).as_millis();
    gap <= 2_000
}

/// How many of the last lines of `before` are the first ones of `after`.
fn repeated(before: &Hit, after: &Hit) -> usize {
    let most = before.lines.len().min(after.lines.len());
    (1..=most)
        .rev()
        .find(|count| {
            let ending = before.lines.iter().skip(before.lines.len() - count);
            ending
                .zip(&after.lines)
                .all(|(a, b)| is_same(before, a, after, b))
        })
        .unwrap_or_default()
}

fn join(before: &Hit, after: &Hit) -> Hit {
    let shared = repeated(before, after);
    let fresh = after.lines.get(shared..).unwrap_or_default();
    let begin = match (shared, fresh.first()) {
        (0, _) => 0,
        (_, Some(line)) => line.from,
        (_, None) => after.text.len(),
    };
    let mut text = before.text.clone();
    let more = after.text.get(begin..).unwrap_or_default();
    if !more.is_empty() {
        text.push(' ');
    }
    let offset = text.len();
    text.push_str(more);
    let moved = fresh.iter().map(|line| ChunkLine {
        from: line.from - begin + offset,
        to: line.to - begin + offset,
        ..line.clone()
    });
    let mut speakers = before.speakers.clone();
    speakers.extend(
        after
            .speakers
            .iter()
            .filter(|name| !before.speakers.contains(name))
            .cloned(),
    );
    let estimated = before.times == TimeQuality::Estimated || after.times == TimeQuality::Estimated;
    Hit {
        span: before.span.union(after.span),
        chapter: before
            .chapter
            .clone()
            .filter(|name| after.chapter.as_ref() == Some(name)),
        text,
        lines: before.lines.iter().cloned().chain(moved).collect(),
        speakers,
        times: if estimated {
            TimeQuality::Estimated
        } else {
            TimeQuality::Measured
        },
        ..before.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use audiorag_core::id::SourceId;
    use audiorag_core::{Locator, Span};
    use std::fmt::Write as _;

    fn at(id: &str, source: &str, start: u64, end: u64) -> Hit {
        let text = format!("text of {id}.");
        Hit {
            chunk_id: ChunkId::from_stored(id),
            source_id: SourceId::from_stored(source),
            title: source.to_owned(),
            locator: Locator::Url(format!("https://h/{source}.mp3")),
            span: Span::from_millis(start, end),
            lines: vec![ChunkLine {
                from: 0,
                to: text.len(),
                span: Span::from_millis(start, end),
                speaker: None,
                times: TimeQuality::Measured,
            }],
            chapter: None,
            text,
            speakers: vec![],
            times: TimeQuality::Measured,
            scores: Scores::default(),
        }
    }

    #[test]
    fn neighbours_become_one_passage_in_the_order_of_the_recording() {
        let hits = vec![
            at("b", "s", 30_000, 60_000),
            at("x", "t", 60_000, 90_000),
            at("a", "s", 0, 29_000),
            at("far", "s", 300_000, 330_000),
        ];
        let passages = merge_neighbours(hits);
        let ids: Vec<&str> = passages.iter().map(|p| p.chunk_id.as_str()).collect();
        assert_eq!(ids, ["b", "x", "far"]);
        assert_eq!(passages[0].text, "text of a. text of b.");
        assert_eq!(passages[0].span, Span::from_millis(0, 60_000));
        let quotes: Vec<&str> = passages[0]
            .lines
            .iter()
            .map(|l| &passages[0].text[l.from..l.to])
            .collect();
        assert_eq!(quotes, ["text of a.", "text of b."]);
    }

    #[test]
    fn a_hit_between_two_passages_makes_them_one() {
        let hits = vec![
            at("a", "s", 0, 30_000),
            at("x", "t", 0, 30_000),
            at("c", "s", 60_000, 90_000),
            at("y", "u", 0, 30_000),
            at("b", "s", 30_000, 60_000),
        ];
        let passages = merge_neighbours(hits.clone());
        let ids: Vec<&str> = passages.iter().map(|p| p.chunk_id.as_str()).collect();
        assert_eq!(ids, ["a", "x", "y"]);
        assert_eq!(passages[0].text, "text of a. text of b. text of c.");
        assert_eq!(passages[0].span, Span::from_millis(0, 90_000));
        let reversed: Vec<Hit> = hits.into_iter().rev().collect();
        let passages = merge_neighbours(reversed);
        let ids: Vec<&str> = passages.iter().map(|p| p.chunk_id.as_str()).collect();
        assert_eq!(ids, ["b", "y", "x"]);
        assert_eq!(passages[0].text, "text of a. text of b. text of c.");
    }

    #[test]
    fn what_a_chunk_repeats_of_the_one_before_is_read_once() {
        let chunk = |id: &str, numbers: std::ops::Range<u64>| {
            let mut hit = at(id, "s", numbers.start * 1_000, numbers.end * 1_000);
            hit.text.clear();
            hit.lines.clear();
            for number in numbers {
                if !hit.text.is_empty() {
                    hit.text.push(' ');
                }
                let from = hit.text.len();
                let _ = write!(hit.text, "Number {number}.");
                hit.lines.push(ChunkLine {
                    from,
                    to: hit.text.len(),
                    span: Span::from_millis(number * 1_000, number * 1_000 + 1_000),
                    speaker: None,
                    times: TimeQuality::Measured,
                });
            }
            hit
        };
        for order in [[0, 1, 2], [2, 1, 0], [0, 2, 1], [1, 2, 0]] {
            let chunks = [chunk("a", 0..3), chunk("b", 2..5), chunk("c", 3..7)];
            let hits = order.map(|place| chunks[place].clone()).to_vec();
            let passages = merge_neighbours(hits);
            let [only] = passages.as_slice() else {
                panic!("{passages:?}")
            };
            assert_eq!(
                only.text,
                "Number 0. Number 1. Number 2. Number 3. Number 4. Number 5. Number 6."
            );
            assert_eq!(only.lines.len(), 7);
            for (number, line) in only.lines.iter().enumerate() {
                assert_eq!(only.text[line.from..line.to], format!("Number {number}."));
                assert_eq!(line.span.start().as_millis(), number as u64 * 1_000);
            }
        }
    }
}
