//! Writing a revision's vectors, checking that they arrived, and removing those of replaced revisions.

use super::stage::Stages;
use crate::guard::Guarded;
use audiorag_core::capability::{Selector, VectorRecord, VectorStore};
use audiorag_core::id::{RevisionId, SourceId};
use audiorag_core::model::EmbeddingSpace;
use audiorag_core::{Error, ErrorKind, Result};
use audiorag_state::{Lease, NewChunk, Retirement, State};
use std::time::Duration;

/// Why a source is left to others in the middle of its vectors.
const LOST: &str = "the source was deleted or taken over while its vectors were written";
/// Chunks whose vectors are written at once, as long as these take no more than so many bytes: on their way into the store
/// there are several copies of them.
const AT_ONCE: usize = 512;
const BYTES_AT_ONCE: usize = 1 << 20;
/// The longest wait before a store is asked for its count again, unless the settings say a longer one.
const LONGEST_NAP: Duration = Duration::from_secs(30);

/// What a revision's records say about their source.
#[derive(Clone, Debug)]
pub(crate) struct SourceFacts {
    pub(crate) source_id: SourceId,
    pub(crate) revision: RevisionId,
    pub(crate) title: String,
    pub(crate) language: Option<String>,
    pub(crate) date: Option<String>,
}

/// Writes the vectors of `chunks`, of the space that the store is prepared for, in batches the store accepts.
///
/// A store knows of no claims. So the claim is looked at after each batch, and once it is lost, word is left that what
/// was written has to go: whoever deleted the source, or took it over, did not find what arrived later.
///
/// # Errors
/// [`Cancelled`](ErrorKind::Cancelled) when the lease was lost, and failures of the store and the database.
pub(crate) async fn upsert(
    state: &State,
    store: &Guarded<dyn VectorStore>,
    space: &EmbeddingSpace,
    lease: &Lease,
    facts: &SourceFacts,
    chunks: &[NewChunk],
) -> Result<()> {
    let outcome = write(state, store, space, lease, facts, chunks).await;
    // A batch that failed may have arrived all the same.
    if state.holds(lease).await? {
        return outcome;
    }
    let stray = Retirement {
        source_id: facts.source_id.clone(),
        revision: facts.revision,
        space: space.clone(),
    };
    state.retire_stray(&stray).await?;
    Err(Error::cancelled(LOST))
}

async fn write(
    state: &State,
    store: &Guarded<dyn VectorStore>,
    space: &EmbeddingSpace,
    lease: &Lease,
    facts: &SourceFacts,
    chunks: &[NewChunk],
) -> Result<()> {
    let limits = store.limits();
    let room = BYTES_AT_ONCE / (space.dimensions.max(1) * size_of::<f32>());
    let most = limits.max_batch.min(AT_ONCE).min(room).max(1);
    for batch in chunks.chunks(most) {
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
                still_ours(state, lease).await?;
                bytes = 0;
            }
            bytes += size;
            records.push(record(facts, new, vector));
        }
        store.upsert(records).await?;
        still_ours(state, lease).await?;
    }
    Ok(())
}

async fn still_ours(state: &State, lease: &Lease) -> Result<()> {
    if state.holds(lease).await? {
        return Ok(());
    }
    Err(Error::cancelled(LOST))
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
    let mut nap = wait;
    for _ in 1..attempts {
        if found == expected {
            break;
        }
        tokio::time::sleep(nap).await;
        nap = nap.saturating_mul(2).min(wait.max(LONGEST_NAP));
        found = store.count(&selector).await?;
    }
    if found == expected {
        return Ok(());
    }
    let message = format!("the vector store holds {found} of {expected} vectors that were written");
    if mode == Verification::Strict {
        return Err(Error::unavailable(message).with_hint(
            "run the same command again: nothing is paid for twice, and the earlier index stays in use; where the store \
             counts wrongly, set vector_store.verify_mode to best_effort",
        ));
    }
    stages.warn(message);
    Ok(())
}

/// What became of the vectors of replaced and deleted revisions.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Retired {
    /// Revisions whose vectors are gone.
    pub(crate) done: u64,
    /// Revisions whose vectors could not be removed; they stay in the outbox for the next run.
    pub(crate) left: u64,
}

/// Removes the vectors of replaced and deleted revisions of `space`, for which the store is prepared. What fails
/// stays in the outbox for the next run.
pub(crate) async fn retire(
    state: &State,
    store: &Guarded<dyn VectorStore>,
    space: &EmbeddingSpace,
) -> Result<()> {
    let mut retired = Retired::default();
    for retirement in state.pending_retirements().await? {
        if retirement.space == *space {
            retire_one(state, store, &retirement, &mut retired).await?;
        }
    }
    Ok(())
}

/// Removes the vectors of all replaced and deleted revisions, whatever their space. The store has to be used by
/// nobody else meanwhile, because it is prepared for each space in turn and for `space` in the end.
pub(crate) async fn retire_everywhere(
    state: &State,
    store: &Guarded<dyn VectorStore>,
    space: Option<&EmbeddingSpace>,
) -> Result<Retired> {
    let mut pending = state.pending_retirements().await?;
    pending.sort_by_key(|retirement| retirement.space.fingerprint());
    let (mut retired, mut prepared) = (Retired::default(), space.cloned());
    for retirement in pending {
        if prepared.as_ref() != Some(&retirement.space) {
            prepared = None;
            match store.prepare(&retirement.space).await {
                Ok(()) => prepared = Some(retirement.space.clone()),
                // The store holds another space in this place: the old vectors are elsewhere, in a collection that
                // nobody names any more.
                Err(error) if error.kind() == ErrorKind::Config => {
                    tracing::info!(
                        space = retirement.space.fingerprint(),
                        "old vectors are not in this store"
                    );
                    state.finish_retirement(&retirement).await?;
                    retired.done += 1;
                    continue;
                }
                Err(error) => {
                    put_off(&retirement, &error);
                    retired.left += 1;
                    continue;
                }
            }
        }
        retire_one(state, store, &retirement, &mut retired).await?;
    }
    if let Some(space) = space
        && prepared.as_ref() != Some(space)
    {
        store.prepare(space).await?;
    }
    Ok(retired)
}

async fn retire_one(
    state: &State,
    store: &Guarded<dyn VectorStore>,
    retirement: &Retirement,
    retired: &mut Retired,
) -> Result<()> {
    let selector = Selector::Revision(retirement.source_id.clone(), retirement.revision);
    match store.delete(&selector).await {
        Ok(()) => {
            state.finish_retirement(retirement).await?;
            retired.done += 1;
        }
        Err(error) => {
            put_off(retirement, &error);
            retired.left += 1;
        }
    }
    Ok(())
}

fn put_off(retirement: &Retirement, error: &Error) {
    tracing::warn!(
        source_id = %retirement.source_id, revision = %retirement.revision,
        error = %error.report(), "old vectors could not be removed yet; the next run tries again"
    );
}
