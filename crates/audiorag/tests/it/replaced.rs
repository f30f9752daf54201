//! A question that comes while a recording's revision is replaced.

use super::support::{Place, index, index_with};
use async_trait::async_trait;
use audiorag::index::IndexOptions;
use audiorag::query::QueryOptions;
use audiorag::{AudioRag, Providers};
use audiorag_core::Result;
use audiorag_core::capability::{
    Health, ProviderInfo, Selector, StoreLimits, VectorMatch, VectorRecord, VectorStore,
};
use audiorag_core::model::{EmbeddingSpace, Filter};
use audiorag_testkit::fake::MemoryVectorStore;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

/// A store during whose first search somebody else re-indexes the recording.
struct Overtaken {
    inner: Arc<MemoryVectorStore>,
    somebody: Mutex<Option<(AudioRag, PathBuf)>>,
}

#[async_trait]
impl VectorStore for Overtaken {
    fn info(&self) -> &ProviderInfo {
        self.inner.info()
    }

    fn limits(&self) -> StoreLimits {
        self.inner.limits()
    }

    async fn prepare(&self, space: &EmbeddingSpace) -> Result<()> {
        self.inner.prepare(space).await
    }

    async fn upsert(&self, records: Vec<VectorRecord>) -> Result<()> {
        self.inner.upsert(records).await
    }

    async fn search(&self, vector: &[f32], top_k: usize, filter: &Filter) -> Result<Vec<VectorMatch>> {
        let found = self.inner.search(vector, top_k, filter).await?;
        let somebody = self.somebody.lock().unwrap().take();
        if let Some((audiorag, file)) = somebody {
            let reindex = move || {
                let forced = IndexOptions {
                    force: true,
                    ..IndexOptions::default()
                };
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()
                    .unwrap();
                runtime
                    .block_on(index_with(&audiorag, &[&file], forced))
                    .indexed
                    .len()
            };
            assert_eq!(std::thread::spawn(reindex).join().unwrap(), 1);
        }
        Ok(found)
    }

    async fn delete(&self, selector: &Selector) -> Result<()> {
        self.inner.delete(selector).await
    }

    async fn count(&self, selector: &Selector) -> Result<u64> {
        self.inner.count(selector).await
    }

    async fn health_check(&self) -> Health {
        self.inner.health_check().await
    }
}

#[tokio::test]
async fn a_revision_that_is_replaced_during_a_search_leaves_no_hole_in_the_answer() {
    let mut place = Place::new();
    let store = Arc::new(MemoryVectorStore::new());
    place.store = Some(Arc::clone(&store));
    let file = place.speech("a.wav", 3, 1);
    let indexing = place.open().await;
    let first = index(&indexing, &[&file]).await;

    let overtaken = Overtaken {
        inner: store,
        somebody: Mutex::new(Some((indexing.clone(), file))),
    };
    let providers = Providers {
        store: Some(Arc::new(overtaken)),
        ..place.providers()
    };
    let asking = AudioRag::builder(place.settings())
        .with_providers(providers)
        .open()
        .await
        .unwrap();
    let found = asking
        .search("anything at all", QueryOptions::default())
        .await
        .unwrap();
    assert_eq!(found.hits.len(), first.indexed[0].chunks);
    let live = indexing.state().list_sources().await.unwrap()[0].active_revision;
    assert_ne!(
        live,
        Some(first.indexed[0].revision),
        "it was replaced during the search"
    );
}
