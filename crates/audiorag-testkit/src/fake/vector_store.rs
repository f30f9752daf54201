//! A vector store in memory: the oracle that others are compared with.

use super::{Script, health, info, lock};
use async_trait::async_trait;
use audiorag_core::capability::{
    Health, ProviderInfo, Selector, StoreLimits, VectorMatch, VectorRecord, VectorStore,
};
use audiorag_core::id::ChunkId;
use audiorag_core::model::{EmbeddingSpace, Filter};
use audiorag_core::{Error, MediaTime, Result};
use std::collections::BTreeMap;
use std::sync::Mutex;

/// Whether a record passes a filter: every field that is set must hold.
///
/// A record without a language or date fails a filter that asks for one; a chunk is `within` a span when they
/// share at least an instant.
pub fn passes(filter: &Filter, record: &VectorRecord) -> bool {
    let day = record.date.as_deref();
    let later = |after: &String| day.is_some_and(|day| day >= after.as_str());
    let earlier = |before: &String| day.is_some_and(|day| day <= before.as_str());
    (filter.sources.is_empty() || filter.sources.contains(&record.source_id))
        && (filter.speakers.is_empty() || filter.speakers.iter().any(|name| record.speakers.contains(name)))
        && (filter.language.is_none() || filter.language == record.language)
        && filter.after.as_ref().is_none_or(later)
        && filter.before.as_ref().is_none_or(earlier)
        && filter
            .within
            .is_none_or(|span| span.overlap(record.span) > MediaTime::ZERO)
}

/// Whether a selector means a record.
fn selects(selector: &Selector, record: &VectorRecord) -> bool {
    match selector {
        Selector::Source(source) => record.source_id == *source,
        Selector::Revision(source, revision) => record.source_id == *source && record.revision == *revision,
        Selector::Chunks(ids) => ids.contains(&record.id),
        Selector::All => true,
    }
}

type Records = BTreeMap<ChunkId, VectorRecord>;

/// A store that compares every vector, exactly. Spaces are kept apart.
///
/// It can lose records ([`drop_every`](Self::drop_every)) and go down (through [`script`](Self::script)); reads
/// and writes share the script's numbering.
pub struct MemoryVectorStore {
    info: ProviderInfo,
    limits: StoreLimits,
    script: Script,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    spaces: BTreeMap<String, Records>,
    current: Option<EmbeddingSpace>,
    drop_every: Option<usize>,
    offered: usize,
}

impl State {
    fn current(&mut self) -> Result<(EmbeddingSpace, &mut Records)> {
        let space = self
            .current
            .clone()
            .ok_or_else(|| Error::internal("the store was not prepared"))?;
        let records = self.spaces.entry(space.fingerprint()).or_default();
        Ok((space, records))
    }
}

impl Default for MemoryVectorStore {
    fn default() -> Self {
        Self {
            info: info("memory-store"),
            limits: StoreLimits {
                max_batch: 256,
                max_batch_bytes: None,
                max_top_k: 10_000,
                read_your_writes: true,
            },
            script: Script::default(),
            state: Mutex::default(),
        }
    }
}

impl MemoryVectorStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// Changes the declared limits.
    pub fn with_limits(mut self, change: impl FnOnce(&mut StoreLimits)) -> Self {
        change(&mut self.limits);
        self
    }

    /// Failures, delays and counts.
    pub fn script(&self) -> &Script {
        &self.script
    }

    /// From now on silently loses every `nth` record written, as a store that acknowledges too early does;
    /// `None` stops it.
    pub fn drop_every(&self, nth: Option<usize>) {
        let mut state = lock(&self.state);
        state.drop_every = nth;
        state.offered = 0;
    }

    /// Everything stored in the prepared space, by id.
    pub fn records(&self) -> Vec<VectorRecord> {
        lock(&self.state)
            .current()
            .map(|(_, records)| records.values().cloned().collect())
            .unwrap_or_default()
    }
}

#[async_trait]
impl VectorStore for MemoryVectorStore {
    fn info(&self) -> &ProviderInfo {
        &self.info
    }

    fn limits(&self) -> StoreLimits {
        self.limits
    }

    async fn prepare(&self, space: &EmbeddingSpace) -> Result<()> {
        let (_, ticket) = self.script.enter().await?;
        let mut state = lock(&self.state);
        state.spaces.entry(space.fingerprint()).or_default();
        state.current = Some(space.clone());
        drop(state);
        ticket.succeed();
        Ok(())
    }

    async fn upsert(&self, records: Vec<VectorRecord>) -> Result<()> {
        let (_, ticket) = self.script.enter().await?;
        let mut state = lock(&self.state);
        let drop_every = state.drop_every;
        let mut offered = state.offered;
        let (space, stored) = state.current()?;
        for record in &records {
            space.normalize(&mut record.vector.clone())?;
        }
        for record in records {
            offered += 1;
            if drop_every.is_none_or(|nth| !offered.is_multiple_of(nth)) {
                stored.insert(record.id.clone(), record);
            }
        }
        state.offered = offered;
        drop(state);
        ticket.succeed();
        Ok(())
    }

    async fn search(&self, vector: &[f32], top_k: usize, filter: &Filter) -> Result<Vec<VectorMatch>> {
        let (_, ticket) = self.script.enter().await?;
        let mut query = vector.to_vec();
        let mut state = lock(&self.state);
        let (space, records) = state.current()?;
        space.normalize(&mut query)?;
        let mut matches: Vec<VectorMatch> = records
            .values()
            .filter(|record| passes(filter, record))
            .map(|record| VectorMatch {
                id: record.id.clone(),
                score: cosine(&query, &record.vector),
            })
            .collect();
        drop(state);
        matches.sort_by(|a, b| b.score.total_cmp(&a.score).then_with(|| a.id.cmp(&b.id)));
        matches.truncate(top_k);
        ticket.succeed();
        Ok(matches)
    }

    async fn delete(&self, selector: &Selector) -> Result<()> {
        let (_, ticket) = self.script.enter().await?;
        let mut state = lock(&self.state);
        state.current()?.1.retain(|_, record| !selects(selector, record));
        drop(state);
        ticket.succeed();
        Ok(())
    }

    async fn count(&self, selector: &Selector) -> Result<u64> {
        let (_, ticket) = self.script.enter().await?;
        let mut state = lock(&self.state);
        let count = state
            .current()?
            .1
            .values()
            .filter(|record| selects(selector, record))
            .count();
        drop(state);
        ticket.succeed();
        Ok(count as u64)
    }

    async fn health_check(&self) -> Health {
        health(&self.script)
    }
}

/// Cosine similarity of vectors of unit length.
pub(crate) fn cosine(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(x, y)| x * y).sum::<f32>().clamp(-1.0, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::suite::vector_store::{Collection, run};
    use audiorag_core::ErrorKind;
    use std::sync::Arc;

    #[tokio::test]
    async fn honours_the_contract() {
        run(|| async { Arc::new(MemoryVectorStore::new()) as Arc<dyn VectorStore> }).await;
        run(|| async {
            let store = MemoryVectorStore::new().with_limits(|limits| {
                limits.max_batch = 7;
                limits.max_batch_bytes = Some(1_500);
                limits.max_top_k = 50;
            });
            Arc::new(store) as Arc<dyn VectorStore>
        })
        .await;
    }

    #[tokio::test]
    async fn loses_records_and_goes_down_on_request() {
        let store = MemoryVectorStore::new();
        let collection = Collection::new(8, 9);
        store.prepare(&collection.space).await.unwrap();
        store.drop_every(Some(3));
        store.upsert(collection.records.clone()).await.unwrap();
        assert_eq!(store.count(&Selector::All).await.unwrap(), 6);
        store.drop_every(None);
        store.upsert(collection.records.clone()).await.unwrap();
        assert_eq!(store.records().len(), 9);
        store.script().go_down(ErrorKind::Unavailable);
        let error = store.count(&Selector::All).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert_eq!(store.health_check().await.status.as_str(), "unhealthy");
    }
}
