//! From chunks to vectors, computing only what is not known yet.

use crate::guard::{Guarded, Paid};
use crate::operation;
use audiorag_core::capability::{Embedder, EmbedderLimits};
use audiorag_core::id::EmbeddingKey;
use audiorag_core::{Error, Result};
use audiorag_state::{Lease, NewChunk, State};
use futures_util::{FutureExt as _, StreamExt as _};
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
    let known = state.known_embeddings(&keys).await?;
    let mut seen = HashSet::new();
    let missing: Vec<&NewChunk> = chunks
        .iter()
        .filter(|chunk| !known.contains(&chunk.embedding_key) && seen.insert(&chunk.embedding_key))
        .collect();
    let limits = embedder.limits();
    let stop = cancel.child_token();
    let calls: Vec<_> = batches(&missing, batch, limits)
        .into_iter()
        .map(|batch| operation::caught(one_batch(state, embedder, lease, batch)).boxed())
        .collect();
    let batches = futures_util::stream::iter(calls)
        .take_until(stop.clone().cancelled_owned())
        .buffer_unordered(embedder.concurrency());
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

/// Embeds texts in one call and stores the vectors. Returns how many there are.
async fn one_batch(
    state: &State,
    embedder: &Guarded<dyn Embedder>,
    lease: &Lease,
    batch: &[&NewChunk],
) -> Result<usize> {
    let texts: Vec<String> = batch.iter().map(|new| new.chunk.embedded_text()).collect();
    let Paid { answer, bill } = embedder.embed_documents(&lease.source_id, &texts).await?;
    let rows: Vec<(EmbeddingKey, Vec<f32>)> = batch
        .iter()
        .map(|new| new.embedding_key.clone())
        .zip(answer.vectors)
        .collect();
    let paid = bill.as_ref().map(|bill| bill.settlement(&answer.usage));
    state
        .save_embeddings(lease, embedder.space(), &rows, paid)
        .await?;
    if let Some(bill) = bill {
        bill.close(&answer.usage);
    }
    Ok(rows.len())
}

/// Bytes of text to a token. English has four and more; scripts of three bytes a letter have about this many.
const BYTES_PER_TOKEN: usize = 2;

/// Cuts the chunks into batches that hold neither more texts nor, by a careful estimate, more tokens than allowed.
fn batches<'a>(chunks: &'a [&'a NewChunk], batch: usize, limits: EmbedderLimits) -> Vec<&'a [&'a NewChunk]> {
    let tokens = chunks.iter().map(|new| {
        let estimate = new.chunk.embedded_text().len().div_ceil(BYTES_PER_TOKEN);
        // A text that is longer than a text may be is cut by the model.
        estimate.min(limits.max_input_tokens)
    });
    let most = batch.clamp(1, limits.max_batch.max(1));
    let mut rest = chunks;
    sizes(tokens, most, limits.max_batch_tokens.unwrap_or(usize::MAX))
        .into_iter()
        .map(|size| {
            let (now, later) = rest.split_at(size);
            rest = later;
            now
        })
        .collect()
}

/// How many of the texts with these `tokens` go into each batch; one that alone has too many goes alone.
fn sizes(tokens: impl Iterator<Item = usize>, most: usize, room: usize) -> Vec<usize> {
    let mut sizes = Vec::new();
    let (mut count, mut used) = (0, 0_usize);
    for tokens in tokens {
        if count > 0 && (count == most || used.saturating_add(tokens) > room) {
            sizes.push(count);
            (count, used) = (0, 0);
        }
        count += 1;
        used = used.saturating_add(tokens);
    }
    if count > 0 {
        sizes.push(count);
    }
    sizes
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The Python AudioRAG sent all chunks of a source in one request.
    #[test]
    fn peer_defect_07_batches_respect_the_number_of_texts_and_of_tokens() {
        let sizes = |tokens: &[usize], most, room| sizes(tokens.iter().copied(), most, room);
        assert_eq!(sizes(&vec![1; 5_000], 2_048, usize::MAX), [2_048, 2_048, 904]);
        assert_eq!(sizes(&[100; 7], 2_048, 300), [3, 3, 1]);
        assert_eq!(sizes(&[400, 100, 400], 10, 300), [1, 1, 1]);
        assert_eq!(sizes(&[], 10, 300), [0; 0]);
    }
}
