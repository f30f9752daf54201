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
/// Chunks of a source touch when nothing is said between them; hits whose texts overlap stay apart.
fn merge_neighbours(hits: Vec<Hit>) -> Vec<Hit> {
    let mut passages: Vec<Hit> = Vec::with_capacity(hits.len());
    for hit in hits {
        add(&mut passages, hit, true);
    }
    passages
}

/// Joins a hit to the passage that it continues or begins; one that touches none becomes a passage where `alone` allows
/// it. Whether it is in a passage now.
fn add(passages: &mut Vec<Hit>, hit: Hit, alone: bool) -> bool {
    let place = passages.iter().position(|passage| {
        passage.source_id == hit.source_id && (follows(passage, &hit) || follows(&hit, passage))
    });
    match place.and_then(|place| passages.get_mut(place)) {
        Some(passage) => {
            let merged = if follows(passage, &hit) {
                join(passage, &hit)
            } else {
                join(&hit, passage)
            };
            *passage = Hit {
                chunk_id: passage.chunk_id.clone(),
                scores: passage.scores,
                ..merged
            };
            true
        }
        None if alone => {
            passages.push(hit);
            true
        }
        None => false,
    }
}

/// Whether `after` begins where `before` ends, with at most a short pause between.
fn follows(before: &Hit, after: &Hit) -> bool {
    let gap = after.span.start().saturating_sub(before.span.end()).as_millis();
    before.span.end() <= after.span.start() && gap <= 2_000
}

fn join(before: &Hit, after: &Hit) -> Hit {
    let mut text = before.text.clone();
    text.push(' ');
    let offset = text.len();
    text.push_str(&after.text);
    let moved = after.lines.iter().map(|line| ChunkLine {
        from: line.from + offset,
        to: line.to + offset,
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
}
