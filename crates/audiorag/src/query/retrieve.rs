//! Dense and lexical search, fused.

use super::Timings;
use crate::guard::Guarded;
use audiorag_core::capability::{Embedder, InputType, Reranker, VectorMatch, VectorStore};
use audiorag_core::fusion::{RRF_K, reciprocal_rank_fusion};
use audiorag_core::id::ChunkId;
use audiorag_core::model::{ChunkLine, Filter, Hit, Scores, TimeQuality};
use audiorag_core::{Error, Result, Stage};
use audiorag_state::{State, StoredChunk};
use std::collections::HashMap;
use std::time::Instant;

/// Candidates of each search for one passage wanted.
const CANDIDATES_PER_HIT: usize = 4;
/// How often is searched while revisions take each other's place.
const ATTEMPTS: u32 = 5;

/// Where is searched, and with what.
#[derive(Clone, Copy)]
pub(crate) struct Stores<'a> {
    pub(crate) state: &'a State,
    pub(crate) embedder: &'a Guarded<dyn Embedder>,
    pub(crate) store: &'a Guarded<dyn VectorStore>,
}

/// What retrieval found.
#[derive(Default)]
pub(crate) struct Retrieved {
    /// Best first.
    pub(crate) hits: Vec<Hit>,
    /// The question's vector.
    pub(crate) vector: Vec<f32>,
    /// Stages that were skipped because they failed.
    pub(crate) degraded: Vec<String>,
}

/// Searches both ways at once and fuses by reciprocal rank. Chunks that are not in a live revision are dropped:
/// the state is the truth, the vector store an index of it.
pub(crate) async fn hybrid(
    stores: Stores<'_>,
    question: &str,
    top_k: usize,
    filter: &Filter,
    timings: &mut Timings,
) -> Result<Retrieved> {
    let Stores {
        state,
        embedder,
        store,
    } = stores;
    let depth = (top_k * CANDIDATES_PER_HIT).clamp(20, store.limits().max_top_k.max(20));
    let started = Instant::now();
    let mut mark = state.live_mark().await?;
    // Looked at after the mark: a switch to another model between the two is seen by one of them.
    crate::index::refuse_other_spaces(state, &embedder.space().fingerprint()).await?;
    let texts = [question.to_owned()];
    let (embedded, lexical) = tokio::join!(
        embedder.embed_now(&texts, InputType::Query),
        state.search_text(question, depth, filter)
    );
    let embedded = embedded.map_err(|error| error.with_stage(Stage::Embed))?;
    let vector = embedded
        .into_iter()
        .next()
        .ok_or_else(|| Error::internal("an embedding without a vector"))?;
    timings.add(Stage::Embed, started);

    let started = Instant::now();
    let mut lexical = lexical.map_err(|error| error.with_stage(Stage::Search))?;
    for attempt in 1.. {
        let dense = store
            .search(&vector, depth, filter)
            .await
            .map_err(|error| error.with_stage(Stage::Search))?;
        let hits = live_hits(state, &dense, &lexical).await?;
        // A revision that was live when it was found may have been replaced before it was looked up, by one that
        // was not to be found yet: the source would be missing from the answer. Then there is a new one to find.
        let now = state.live_mark().await?;
        if now == mark || attempt == ATTEMPTS {
            timings.add(Stage::Search, started);
            return Ok(Retrieved {
                hits,
                vector,
                degraded: Vec::new(),
            });
        }
        // All of them may have been replaced, by those of another embedding model.
        crate::index::refuse_other_spaces(state, &embedder.space().fingerprint()).await?;
        mark = now;
        lexical = state
            .search_text(question, depth, filter)
            .await
            .map_err(|error| error.with_stage(Stage::Search))?;
    }
    Ok(Retrieved::default())
}

/// Fuses what both searches found, and drops what is not in a live revision.
async fn live_hits(state: &State, dense: &[VectorMatch], lexical: &[(ChunkId, f32)]) -> Result<Vec<Hit>> {
    let dense_scores: HashMap<&ChunkId, f32> = dense.iter().map(|found| (&found.id, found.score)).collect();
    let lexical_scores: HashMap<&ChunkId, f32> = lexical.iter().map(|(id, score)| (id, *score)).collect();
    let dense_order: Vec<ChunkId> = dense.iter().map(|found| found.id.clone()).collect();
    let lexical_order: Vec<ChunkId> = lexical.iter().map(|(id, _)| id.clone()).collect();
    let fused = reciprocal_rank_fusion(&[(1.0, &dense_order), (1.0, &lexical_order)], RRF_K);
    let ids: Vec<ChunkId> = fused.iter().map(|(id, _)| id.clone()).collect();
    let mut live = state.hits(&ids).await?;
    let hits = fused
        .into_iter()
        .filter_map(|(id, score)| {
            let chunk = live.remove(&id)?;
            let scores = Scores {
                dense: dense_scores.get(&id).copied(),
                lexical: lexical_scores.get(&id).copied(),
                fused: score,
                rerank: None,
            };
            Some(hit(chunk, scores))
        })
        .collect();
    Ok(hits)
}

fn hit(chunk: StoredChunk, scores: Scores) -> Hit {
    Hit {
        chunk_id: chunk.chunk_id,
        source_id: chunk.source_id,
        title: chunk.title,
        locator: chunk.locator,
        span: chunk.span,
        chapter: chunk.chapter,
        text: chunk.text,
        speakers: chunk.speakers,
        lines: chunk.lines,
        times: chunk.times,
        scores,
    }
}

/// Orders hits by the reranker's scores; hits it left out follow in their old order.
pub(crate) async fn rerank(
    reranker: &Guarded<dyn Reranker>,
    question: &str,
    hits: &[Hit],
    top_n: usize,
) -> Result<Vec<Hit>> {
    let documents: Vec<String> = hits.iter().map(|hit| hit.text.clone()).collect();
    let ranked = reranker.rerank(question, &documents, top_n).await?;
    let mut rest: Vec<Option<Hit>> = hits.iter().cloned().map(Some).collect();
    let mut ordered: Vec<Hit> = ranked
        .iter()
        .filter_map(|entry| {
            let mut hit = rest.get_mut(entry.index)?.take()?;
            hit.scores.rerank = Some(entry.score);
            Some(hit)
        })
        .collect();
    ordered.extend(rest.into_iter().flatten());
    Ok(ordered)
}

/// Joins hits that follow each other in a recording into one passage, at the place of the better one, so that a
/// thought that runs over a chunk's end is read whole.
///
/// Chunks of a source touch when nothing is said between them; hits whose texts overlap stay apart.
pub(crate) fn merge_neighbours(hits: Vec<Hit>) -> Vec<Hit> {
    let mut passages: Vec<Hit> = Vec::with_capacity(hits.len());
    for hit in hits {
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
            }
            None => passages.push(hit),
        }
    }
    passages
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
