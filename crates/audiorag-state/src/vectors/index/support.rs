//! What the tests of the index share.

use crate::{EmbeddedVectorStore, State, StateOptions};
use audiorag_core::capability::{VectorRecord, VectorStore as _};
use audiorag_core::model::EmbeddingSpace;
use tempfile::TempDir;

pub(super) async fn open(directory: &TempDir, space: &EmbeddingSpace) -> (State, EmbeddedVectorStore) {
    let state = State::open(StateOptions::new(directory.path().join("s.db")))
        .await
        .unwrap();
    let store = state.vectors();
    store.prepare(space).await.unwrap();
    (state, store)
}

pub(super) async fn fill(store: &EmbeddedVectorStore, records: impl Iterator<Item = VectorRecord>) {
    let records: Vec<VectorRecord> = records.collect();
    for batch in records.chunks(500) {
        store.upsert(batch.to_vec()).await.unwrap();
    }
}
