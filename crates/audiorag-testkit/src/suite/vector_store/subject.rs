//! A store under test, with calls that check what every answer must fulfil.

use super::collection::{Collection, similarity};
use crate::fake::passes;
use crate::suite::eventually;
use audiorag_core::capability::{Selector, VectorMatch, VectorRecord, VectorStore};
use audiorag_core::id::ChunkId;
use audiorag_core::model::Filter;
use std::collections::BTreeSet;
use std::sync::Arc;

/// How far a store's scores may be from exact cosine similarity: room for half precision and rounding, none for
/// another measure.
const TOLERANCE: f32 = 5e-3;

/// A store under test.
pub(super) struct Subject {
    pub(super) name: String,
    pub(super) store: Arc<dyn VectorStore>,
}

impl Subject {
    /// Writes within the store's limits and waits until the writes show.
    pub(super) async fn write(&self, records: &[VectorRecord]) {
        let limits = self.store.limits();
        let mut batch: Vec<VectorRecord> = Vec::new();
        let mut bytes = 0;
        for record in records {
            let size = record.vector.len() * 4 + record.text.len() + record.title.len() + 256;
            let full = batch.len() == limits.max_batch
                || limits.max_batch_bytes.is_some_and(|max| bytes + size > max);
            if full && !batch.is_empty() {
                self.upsert(std::mem::take(&mut batch)).await;
                bytes = 0;
            }
            bytes += size;
            batch.push(record.clone());
        }
        self.upsert(batch).await;
        if !limits.read_your_writes {
            let ids: Vec<ChunkId> = records.iter().map(|record| record.id.clone()).collect();
            let distinct = ids.iter().collect::<BTreeSet<_>>().len() as u64;
            self.holds(distinct, &Selector::Chunks(ids)).await;
        }
    }

    pub(super) async fn upsert(&self, records: Vec<VectorRecord>) {
        if let Err(error) = self.store.upsert(records).await {
            panic!("{}: upsert failed: {}", self.name, error.report());
        }
    }

    pub(super) async fn delete(&self, selector: &Selector) {
        if let Err(error) = self.store.delete(selector).await {
            panic!("{}: deleting {selector:?} failed: {}", self.name, error.report());
        }
    }

    pub(super) async fn count(&self, selector: &Selector) -> u64 {
        match self.store.count(selector).await {
            Ok(count) => count,
            Err(error) => panic!("{}: counting {selector:?} failed: {}", self.name, error.report()),
        }
    }

    /// Checks a count, waiting for it where writes show later.
    pub(super) async fn holds(&self, expected: u64, selector: &Selector) {
        if self.store.limits().read_your_writes {
            assert_eq!(
                self.count(selector).await,
                expected,
                "{}: count of {}",
                self.name,
                short(selector)
            );
        } else {
            let what = format!("{}: {expected} records of {}", self.name, short(selector));
            eventually(&what, async || self.count(selector).await == expected).await;
        }
    }

    pub(super) async fn search(&self, vector: &[f32], top_k: usize, filter: &Filter) -> Vec<VectorMatch> {
        let matches = match self.store.search(vector, top_k, filter).await {
            Ok(matches) => matches,
            Err(error) => panic!("{}: search with {filter:?} failed: {}", self.name, error.report()),
        };
        assert!(
            matches.len() <= top_k,
            "{}: {} matches where {top_k} were asked for",
            self.name,
            matches.len()
        );
        assert!(
            matches.is_sorted_by(|a, b| a.score >= b.score),
            "{}: not best first",
            self.name
        );
        let distinct: BTreeSet<&ChunkId> = matches.iter().map(|found| &found.id).collect();
        assert_eq!(
            distinct.len(),
            matches.len(),
            "{}: a record twice in one answer",
            self.name
        );
        matches
    }

    /// Compares an answer with the oracle's: the same scores at the same ranks, each the score of its record.
    pub(super) async fn agrees(&self, oracle: &Collection, vector: &[f32], top_k: usize, filter: &Filter) {
        let expected = oracle.search(vector, top_k, filter);
        let found = self.search(vector, top_k, filter).await;
        let name = &self.name;
        assert_eq!(
            found.len(),
            expected.len(),
            "{name}: number of matches for top {top_k} of {filter:?}"
        );
        for (found, expected) in found.iter().zip(&expected) {
            let Some(record) = oracle.records.iter().find(|record| record.id == found.id) else {
                panic!("{name}: found {} that was never written", found.id);
            };
            assert!(
                passes(filter, record),
                "{name}: {record:?} does not pass {filter:?}"
            );
            let exact = similarity(vector, &record.vector);
            assert!(
                (found.score - exact).abs() < TOLERANCE,
                "{name}: scored {} where the cosine is {exact}",
                found.score
            );
            assert!(
                (found.score - expected.score).abs() < TOLERANCE,
                "{name}: {} at a rank where {} belongs ({filter:?})",
                found.score,
                expected.score
            );
        }
    }
}

/// A selector without hundreds of ids.
fn short(selector: &Selector) -> String {
    match selector {
        Selector::Chunks(ids) => format!("{} chunks", ids.len()),
        other => format!("{other:?}"),
    }
}
