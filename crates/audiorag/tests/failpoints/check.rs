//! What must hold of an index, whatever happened to the runs that made it.

use audiorag::AudioRag;
use audiorag::doctor::CheckStatus;
use audiorag::query::QueryOptions;
use audiorag_core::capability::{Selector, VectorStore};
use audiorag_core::model::{EmbeddingSpace, Filter, SourceStatus, Transcript};
use audiorag_core::{MediaTime, Span};
use std::collections::BTreeMap;

/// What a user gets out of an index. Ids and revisions are left out: they tell how often something was begun.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Answers {
    transcripts: BTreeMap<String, Transcript>,
    chunks: BTreeMap<String, Vec<(Span, String)>>,
    hits: Vec<(String, Span, String)>,
}

impl Answers {
    pub(crate) async fn of(audiorag: &AudioRag) -> Self {
        let mut answers = Self::default();
        for source in audiorag.state().list_sources().await.unwrap() {
            let Some(live) = source.active_revision else {
                continue;
            };
            let name = source.locator.to_string();
            let transcript = audiorag.transcript(&source).await.unwrap();
            answers.transcripts.insert(name.clone(), transcript);
            let chunks = audiorag.state().chunks_of(live).await.unwrap();
            let chunks = chunks.into_iter().map(|chunk| (chunk.span, chunk.text)).collect();
            answers.chunks.insert(name, chunks);
        }
        answers.hits = hits(audiorag).await;
        answers
    }

    /// Whether each source is either as it was before a run or as it is after it, and none is missing.
    pub(crate) fn is_old_or_new(&self, before: &Self, after: &Self) -> bool {
        self.chunks.keys().eq(before.chunks.keys())
            && self.chunks.iter().all(|(name, chunks)| {
                let could = [before, after].map(|answers| answers.chunks.get(name));
                could.contains(&Some(chunks))
            })
    }
}

/// Everything that a search finds, by place.
pub(crate) async fn hits(audiorag: &AudioRag) -> Vec<(String, Span, String)> {
    let options = QueryOptions {
        top_k: Some(100),
        ..QueryOptions::default()
    };
    let found = audiorag.search("harbour lantern violet", options).await.unwrap();
    assert!(found.degraded.is_empty(), "{found:?}");
    let mut hits: Vec<_> = found
        .hits
        .into_iter()
        .map(|hit| (hit.locator.to_string(), hit.span, hit.text))
        .collect();
    hits.sort();
    hits
}

/// What is wrong with the embedding spaces that can be found: one model answers, and never two or none.
pub(crate) async fn one_space(audiorag: &AudioRag) -> Option<String> {
    let spaces = audiorag.state().live_spaces().await.unwrap();
    (spaces.len() != 1).then(|| format!("the live revisions are in {spaces:?}"))
}

/// What holds at every moment, also right after a run was killed: whatever is visible is whole.
pub(crate) async fn always(audiorag: &AudioRag, store: &dyn VectorStore) -> Vec<String> {
    let state = audiorag.state();
    let mut wrong: Vec<String> = one_space(audiorag).await.into_iter().collect();
    for source in state.list_sources().await.unwrap() {
        let name = source.locator.to_string();
        let Some(live) = state.live_revision(&source.id).await.unwrap() else {
            continue;
        };
        if source.active_revision != Some(live.id) {
            wrong.push(format!(
                "{name}: {:?} is not the live {:?}",
                source.active_revision, live.id
            ));
        }
        store.prepare(&live.space).await.unwrap();
        let chunks = state.chunks_of(live.id).await.unwrap();
        let stored = store
            .count(&Selector::Revision(source.id.clone(), live.id))
            .await
            .unwrap();
        if (chunks.len() as u64, stored) != (live.chunk_count, live.chunk_count) {
            let (rows, said) = (chunks.len(), live.chunk_count);
            wrong.push(format!(
                "{name}: {said} chunks announced, {rows} kept, {stored} in the store"
            ));
        }
        let mut reached = MediaTime::ZERO;
        for part in state.parts_of(live.id).await.unwrap() {
            if part.span.start() != reached {
                wrong.push(format!(
                    "{name}: part {} begins at {}, not {reached}",
                    part.index,
                    part.span.start()
                ));
            }
            reached = part.span.end();
        }
        if reached != live.duration {
            wrong.push(format!(
                "{name}: the parts end at {reached}, the source at {}",
                live.duration
            ));
        }
        let in_order = chunks.is_sorted_by_key(|chunk| (chunk.span.start(), chunk.index));
        if !in_order || chunks.iter().any(|chunk| chunk.span.end() > live.duration) {
            wrong.push(format!(
                "{name}: chunks are out of order or outside of the source"
            ));
        }
        for chunk in &chunks {
            let found = state
                .search_text(&chunk.text, 1_000, &Filter::default())
                .await
                .unwrap();
            let times = found.iter().filter(|(id, _)| *id == chunk.chunk_id).count();
            if times != 1 {
                wrong.push(format!(
                    "{name}: chunk {} is {times} times in the lexical index",
                    chunk.index
                ));
            }
        }
    }
    wrong
}

/// What holds once a run has come to its end: nothing is left over, claimed or half done.
pub(crate) async fn at_rest(
    audiorag: &AudioRag,
    store: &dyn VectorStore,
    spaces: &[EmbeddingSpace],
) -> Vec<String> {
    let mut wrong = always(audiorag, store).await;
    let state = audiorag.state();
    let mut chunks = 0;
    for source in state.list_sources().await.unwrap() {
        chunks += source.chunk_count;
        let (name, status) = (source.locator.to_string(), source.status);
        if !matches!(status, SourceStatus::Completed | SourceStatus::Empty) || source.failure.is_some() {
            wrong.push(format!(
                "{name} is left {}, {:?}",
                status.as_str(),
                source.failure
            ));
        }
        if let Some(owner) = source.owner {
            wrong.push(format!("{name} is left claimed by {owner}"));
        }
    }
    let mut stored = 0;
    for space in spaces {
        store.prepare(space).await.unwrap();
        stored += store.count(&Selector::All).await.unwrap();
    }
    if stored != chunks {
        wrong.push(format!("{stored} vectors for {chunks} live chunks"));
    }
    let open = state.owners_of_open_calls().await.unwrap();
    if !open.is_empty() {
        wrong.push(format!("calls of {open:?} are still open"));
    }
    let unfinished = state.unfinished_revisions().await.unwrap();
    if !unfinished.is_empty() {
        wrong.push(format!("{} revisions are left unfinished", unfinished.len()));
    }
    let retirements = state.pending_retirements().await.unwrap();
    if !retirements.is_empty() {
        wrong.push(format!("{} revisions are still to be retired", retirements.len()));
    }
    if let Ok(left) = std::fs::read_dir(&audiorag.settings().work_dir)
        && left.count() > 0
    {
        wrong.push("temporary files are left".to_owned());
    }
    let checks = audiorag.doctor(true).await;
    for check in checks.iter().filter(|check| check.status != CheckStatus::Ok) {
        wrong.push(format!("doctor: {}: {}", check.name, check.detail));
    }
    wrong
}
