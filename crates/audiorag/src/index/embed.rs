//! From chunks to vectors, computing only what is not known yet.

use crate::guard::Guarded;
use audiorag_core::capability::{Embedder, InputType};
use audiorag_core::id::EmbeddingKey;
use audiorag_core::{Error, Result};
use audiorag_state::{Lease, NewChunk, State};
use futures_util::StreamExt as _;
use std::collections::HashSet;
use std::pin::pin;
use tokio_util::sync::CancellationToken;

/// Embeds the chunks whose vectors are not stored yet, batch by batch, each stored as it arrives. Returns how
/// many vectors were computed.
pub(crate) async fn embed(
    state: &State,
    embedder: &Guarded<dyn Embedder>,
    batch: usize,
    lease: &Lease,
    chunks: &[NewChunk],
    cancel: &CancellationToken,
) -> Result<usize> {
    let keys: Vec<EmbeddingKey> = chunks.iter().map(|chunk| chunk.embedding_key.clone()).collect();
    let known = state.cached_embeddings(&keys).await?;
    let mut seen = HashSet::new();
    let missing: Vec<&NewChunk> = chunks
        .iter()
        .filter(|chunk| !known.contains_key(&chunk.embedding_key) && seen.insert(&chunk.embedding_key))
        .collect();
    let limits = embedder.limits();
    let stop = cancel.child_token();
    let batches = futures_util::stream::iter(missing.chunks(batch.clamp(1, limits.max_batch.max(1))))
        .take_until(stop.clone().cancelled_owned())
        .map(|batch| async move {
            let texts: Vec<String> = batch.iter().map(|new| new.chunk.embedded_text()).collect();
            let response = embedder.embed(&texts, InputType::Document).await?;
            let rows: Vec<(EmbeddingKey, Vec<f32>)> = batch
                .iter()
                .map(|new| new.embedding_key.clone())
                .zip(response.vectors)
                .collect();
            state.save_embeddings(lease, embedder.space(), &rows).await?;
            Ok(rows.len())
        })
        .buffer_unordered(limits.concurrency.max(1));
    let mut batches = pin!(batches);
    let mut computed = 0;
    let mut failure: Option<Error> = None;
    // The batches in flight are finished whatever happens to one: they are paid for.
    while let Some(result) = batches.next().await {
        match result {
            Ok(count) => computed += count,
            Err(error) => {
                stop.cancel();
                failure.get_or_insert(error);
            }
        }
    }
    match failure {
        Some(error) => Err(error),
        None if cancel.is_cancelled() => Err(Error::cancelled(
            "interrupted; the vectors that are done are kept",
        )),
        None => Ok(computed),
    }
}
