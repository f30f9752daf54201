//! Dense and lexical search, fused.

use super::Timings;
use crate::guard::Guarded;
use crate::settings::SearchMode;
use audiorag_core::capability::{Embedder, InputType, Reranker, VectorMatch, VectorStore};
use audiorag_core::fusion::{RRF_K, reciprocal_rank_fusion};
use audiorag_core::id::{ChunkId, SourceId};
use audiorag_core::model::{Filter, Hit, Ranks, Scores};
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

/// What is searched for.
#[derive(Clone, Copy)]
pub(crate) struct Wanted<'a> {
    pub(crate) question: &'a str,
    /// Candidates of each search.
    pub(crate) depth: usize,
    pub(crate) filter: &'a Filter,
    /// Which of the searches are made.
    pub(crate) mode: SearchMode,
    /// Whether words that no recording has are looked for by their sound.
    pub(crate) sounds: bool,
}

/// Candidates of each search when `top_k` passages are wanted of a store that gives at most `most`.
pub(crate) fn depth(top_k: usize, most: usize) -> usize {
    (top_k * CANDIDATES_PER_HIT).clamp(20, most.max(20))
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

/// What the searches of the database found, best first.
struct Lexical {
    words: Vec<(ChunkId, f32)>,
    sounds: Vec<(ChunkId, f32)>,
}

impl Lexical {
    async fn search(state: &State, wanted: Wanted<'_>) -> Result<Self> {
        let Wanted {
            question,
            depth,
            filter,
            mode,
            sounds,
        } = wanted;
        if mode == SearchMode::Dense {
            return Ok(Self {
                words: Vec::new(),
                sounds: Vec::new(),
            });
        }
        let by_sound = async {
            if sounds {
                state.search_sounds(question, depth, filter).await
            } else {
                Ok(Vec::new())
            }
        };
        let (words, sounds) = tokio::try_join!(state.search_text(question, depth, filter), by_sound)
            .map_err(|error| error.with_stage(Stage::Search))?;
        Ok(Self { words, sounds })
    }
}

/// Searches every way at once and fuses by reciprocal rank. Chunks that are not in a live revision are dropped:
/// the state is the truth, the vector store an index of it.
pub(crate) async fn hybrid(
    stores: Stores<'_>,
    wanted: Wanted<'_>,
    timings: &mut Timings,
) -> Result<Retrieved> {
    let Stores {
        state,
        embedder,
        store,
    } = stores;
    let started = Instant::now();
    let mut mark = state.live_mark().await?;
    // Looked at after the mark: a switch to another model between the two is seen by one of them.
    crate::index::refuse_other_spaces(state, &embedder.space().fingerprint()).await?;
    let texts = [wanted.question.to_owned()];
    let (embedded, lexical) = tokio::join!(
        embedder.embed_now(&texts, InputType::Query),
        Lexical::search(state, wanted)
    );
    let embedded = embedded.map_err(|error| error.with_stage(Stage::Embed))?;
    let vector = embedded
        .into_iter()
        .next()
        .ok_or_else(|| Error::internal("an embedding without a vector"))?;
    timings.add(Stage::Embed, started);

    let started = Instant::now();
    let mut lexical = lexical?;
    for attempt in 1.. {
        let dense = if wanted.mode == SearchMode::Lexical {
            Vec::new()
        } else {
            store
                .search(&vector, wanted.depth, wanted.filter)
                .await
                .map_err(|error| error.with_stage(Stage::Search))?
        };
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
        lexical = Lexical::search(state, wanted).await?;
    }
    Ok(Retrieved::default())
}

/// Fuses what the searches found, and drops what is not in a live revision.
async fn live_hits(state: &State, dense: &[VectorMatch], lexical: &Lexical) -> Result<Vec<Hit>> {
    let dense: Vec<(ChunkId, f32)> = dense
        .iter()
        .map(|found| (found.id.clone(), found.score))
        .collect();
    let order =
        |ranking: &[(ChunkId, f32)]| -> Vec<ChunkId> { ranking.iter().map(|(id, _)| id.clone()).collect() };
    let orders = [&dense, &lexical.words, &lexical.sounds].map(|ranking| order(ranking));
    let rankings = orders.each_ref().map(|order| (1.0, order.as_slice()));
    let fused = reciprocal_rank_fusion(&rankings, RRF_K);
    let [by_vector, by_words, by_sound] =
        [&dense, &lexical.words, &lexical.sounds].map(|found| places(found));
    let ids: Vec<ChunkId> = fused.iter().map(|(id, _)| id.clone()).collect();
    let mut live = state.hits(&ids).await?;
    let hits = fused
        .into_iter()
        .filter_map(|(id, score)| {
            let chunk = live.remove(&id)?;
            let (dense, lexical, sound) = (by_vector.get(&id), by_words.get(&id), by_sound.get(&id));
            let scores = Scores {
                dense: dense.map(|(_, score)| *score),
                lexical: lexical.map(|(_, score)| *score),
                sound: sound.map(|(_, score)| *score),
                fused: score,
                rerank: None,
                ranks: Ranks {
                    dense: dense.map(|(rank, _)| *rank),
                    lexical: lexical.map(|(rank, _)| *rank),
                    sound: sound.map(|(rank, _)| *rank),
                },
            };
            Some(hit(chunk, scores))
        })
        .collect();
    Ok(hits)
}

/// The place in a ranking, from 1, and the score of each chunk.
fn places(ranking: &[(ChunkId, f32)]) -> HashMap<&ChunkId, (u32, f32)> {
    let mut places = HashMap::with_capacity(ranking.len());
    for (rank, (id, score)) in (1..).zip(ranking) {
        places.entry(id).or_insert((rank, *score));
    }
    places
}

/// Puts hits of a source that has `most` better ones behind those of the others.
pub(crate) fn spread(hits: Vec<Hit>, most: usize) -> Vec<Hit> {
    let mut of_source: HashMap<SourceId, usize> = HashMap::new();
    let (mut first, rest): (Vec<Hit>, Vec<Hit>) = hits.into_iter().partition(|hit| {
        let count = of_source.entry(hit.source_id.clone()).or_default();
        *count += 1;
        *count <= most
    });
    first.extend(rest);
    first
}

pub(super) fn hit(chunk: StoredChunk, scores: Scores) -> Hit {
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
