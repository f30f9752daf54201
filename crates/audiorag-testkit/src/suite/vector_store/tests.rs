//! The suite notices stores that break the contract.

use super::*;
use crate::fake::MemoryVectorStore;
use async_trait::async_trait;
use audiorag_core::Result;
use audiorag_core::capability::{Health, ProviderInfo, StoreLimits, VectorMatch};
use audiorag_core::model::EmbeddingSpace;

/// Breaks one line of the contract.
#[derive(Clone, Copy)]
enum Fault {
    IgnoresFilters,
    WorstFirst,
    DeletesPages,
    StoresBadBatches,
    WrongMeasure,
}

struct Broken(MemoryVectorStore, Fault);

#[async_trait]
impl VectorStore for Broken {
    fn info(&self) -> &ProviderInfo {
        self.0.info()
    }
    fn limits(&self) -> StoreLimits {
        self.0.limits()
    }
    async fn prepare(&self, space: &EmbeddingSpace) -> Result<()> {
        self.0.prepare(space).await
    }
    async fn upsert(&self, records: Vec<VectorRecord>) -> Result<()> {
        if matches!(self.1, Fault::StoresBadBatches) {
            for record in records {
                self.0.upsert(vec![record]).await?;
            }
            return Ok(());
        }
        self.0.upsert(records).await
    }
    async fn search(&self, vector: &[f32], top_k: usize, filter: &Filter) -> Result<Vec<VectorMatch>> {
        let all = Filter::default();
        let filter = if matches!(self.1, Fault::IgnoresFilters) {
            &all
        } else {
            filter
        };
        let mut matches = self.0.search(vector, top_k, filter).await?;
        match self.1 {
            Fault::WorstFirst => matches.reverse(),
            Fault::WrongMeasure => matches
                .iter_mut()
                .for_each(|found| found.score = found.score / 2.0 + 0.5),
            _ => {}
        }
        Ok(matches)
    }
    async fn delete(&self, selector: &Selector) -> Result<()> {
        if let (Fault::DeletesPages, Selector::Source(source)) = (self.1, selector) {
            let page = self
                .0
                .records()
                .into_iter()
                .filter(|record| record.source_id == *source);
            let ids = page.take(1_000).map(|record| record.id).collect();
            return self.0.delete(&Selector::Chunks(ids)).await;
        }
        self.0.delete(selector).await
    }
    async fn count(&self, selector: &Selector) -> Result<u64> {
        self.0.count(selector).await
    }
    async fn health_check(&self) -> Health {
        self.0.health_check().await
    }
}

async fn broken(fault: Fault) {
    run(|| async move { Arc::new(Broken(MemoryVectorStore::new(), fault)) as Arc<dyn VectorStore> }).await;
}

#[tokio::test]
#[should_panic(expected = "number of matches")]
async fn notices_ignored_filters() {
    broken(Fault::IgnoresFilters).await;
}

#[tokio::test]
#[should_panic(expected = "not best first")]
async fn notices_disorder() {
    broken(Fault::WorstFirst).await;
}

#[tokio::test]
#[should_panic(expected = "left: 100")]
async fn peer_defect_04_notices_deletes_that_stop_at_a_page() {
    broken(Fault::DeletesPages).await;
}

#[tokio::test]
#[should_panic(expected = "count of All")]
async fn notices_half_stored_batches() {
    broken(Fault::StoresBadBatches).await;
}

#[tokio::test]
#[should_panic(expected = "where the cosine is")]
async fn notices_another_measure() {
    broken(Fault::WrongMeasure).await;
}

#[tokio::test]
async fn the_memory_store_survives_reopening() {
    let store: Arc<dyn VectorStore> = Arc::new(MemoryVectorStore::new());
    survives_reopening(|| std::future::ready(Arc::clone(&store))).await;
}
