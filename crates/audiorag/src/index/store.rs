//! Writing a revision's vectors, checking that they arrived, and removing those of replaced revisions.

use super::stage::Stages;
use crate::guard::Guarded;
use audiorag_core::capability::{Selector, VectorRecord, VectorStore};
use audiorag_core::id::{RevisionId, SourceId};
use audiorag_core::{Error, Result};
use audiorag_state::{NewChunk, State};
use std::time::Duration;

/// What a revision's records say about their source.
#[derive(Clone, Debug)]
pub(crate) struct SourceFacts {
    pub(crate) source_id: SourceId,
    pub(crate) revision: RevisionId,
    pub(crate) title: String,
    pub(crate) language: Option<String>,
    pub(crate) date: Option<String>,
}

/// Writes the vectors of `chunks` in batches the store accepts.
pub(crate) async fn upsert(
    state: &State,
    store: &Guarded<dyn VectorStore>,
    facts: &SourceFacts,
    chunks: &[NewChunk],
) -> Result<()> {
    let limits = store.limits();
    for batch in chunks.chunks(limits.max_batch.clamp(1, 512)) {
        let keys: Vec<_> = batch.iter().map(|new| new.embedding_key.clone()).collect();
        let vectors = state.cached_embeddings(&keys).await?;
        let mut records = Vec::with_capacity(batch.len());
        let mut bytes = 0;
        for new in batch {
            let vector = vectors.get(&new.embedding_key).cloned().ok_or_else(|| {
                Error::state("a vector that was stored a moment ago is missing")
                    .with_hint("run the same command again; if it persists, run `audiorag doctor`")
            })?;
            // What a record takes on the wire, generously: twelve digits a component, and the text.
            let size = vector.len() * 12 + new.chunk.text.len() + 512;
            if limits.max_batch_bytes.is_some_and(|most| bytes + size > most) && !records.is_empty() {
                store.upsert(std::mem::take(&mut records)).await?;
                bytes = 0;
            }
            bytes += size;
            records.push(record(facts, new, vector));
        }
        store.upsert(records).await?;
    }
    Ok(())
}

fn record(facts: &SourceFacts, new: &NewChunk, vector: Vec<f32>) -> VectorRecord {
    VectorRecord {
        id: new.id.clone(),
        source_id: facts.source_id.clone(),
        revision: facts.revision,
        embedding_key: new.embedding_key.clone(),
        vector,
        span: new.chunk.span,
        text: new.chunk.text.clone(),
        title: facts.title.clone(),
        speakers: new.chunk.speakers.clone(),
        language: facts.language.clone(),
        date: facts.date.clone(),
    }
}

/// How much a count that does not match matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verification {
    Off,
    BestEffort,
    Strict,
}

/// Counts a revision's vectors until the number is `expected`.
pub(crate) async fn verify(
    store: &Guarded<dyn VectorStore>,
    facts: &SourceFacts,
    expected: u64,
    mode: Verification,
    attempts: u32,
    wait: Duration,
    stages: Stages<'_>,
) -> Result<()> {
    if mode == Verification::Off {
        return Ok(());
    }
    let selector = Selector::Revision(facts.source_id.clone(), facts.revision);
    let mut found = store.count(&selector).await?;
    for _ in 1..attempts {
        if found == expected {
            break;
        }
        tokio::time::sleep(wait).await;
        found = store.count(&selector).await?;
    }
    if found == expected {
        return Ok(());
    }
    let message = format!("the vector store holds {found} of {expected} vectors that were written");
    if mode == Verification::Strict {
        return Err(Error::unavailable(message).with_hint(
            "run the same command again: nothing is paid for twice; the earlier index stays in use",
        ));
    }
    stages.warn(message);
    Ok(())
}

/// Removes the vectors of replaced and deleted revisions. What fails stays in the outbox for the next run.
pub(crate) async fn retire(state: &State, store: &Guarded<dyn VectorStore>) -> Result<()> {
    for retirement in state.pending_retirements().await? {
        let selector = Selector::Revision(retirement.source_id.clone(), retirement.revision);
        match store.delete(&selector).await {
            Ok(()) => state.finish_retirement(&retirement).await?,
            Err(error) => {
                tracing::warn!(
                    source_id = %retirement.source_id, revision = %retirement.revision,
                    error = %error.report(), "old vectors could not be removed yet; the next run tries again"
                );
            }
        }
    }
    Ok(())
}
