//! The contract of [`VectorStore`], compared with a plain scan in memory.

use super::{check_health, check_info, eventually};
use crate::fake::passes;
use crate::synth::Random;
use audiorag_core::capability::{Selector, VectorMatch, VectorRecord, VectorStore};
use audiorag_core::id::{ChunkId, EmbeddingKey, RevisionId, SourceId};
use audiorag_core::model::{EmbeddingSpace, Filter};
use audiorag_core::{ErrorKind, Span};
use std::collections::BTreeSet;
use std::sync::Arc;

/// How far a store's scores may be from exact cosine similarity: room for half precision and rounding, none for
/// another measure.
const TOLERANCE: f32 = 5e-3;

/// A space and records in it that differ in everything a filter can ask for.
#[derive(Clone, Debug)]
pub struct Collection {
    /// What the vectors belong to.
    pub space: EmbeddingSpace,
    /// The records. Sources, speakers, languages, dates and times take turns at coprime periods.
    pub records: Vec<VectorRecord>,
}

impl Collection {
    /// `count` records of `dimensions` components, the same on every call.
    pub fn new(dimensions: usize, count: usize) -> Self {
        let space = EmbeddingSpace {
            provider: "fake".to_owned(),
            model: format!("model-{dimensions}"),
            dimensions,
        };
        let records = (0..count).map(|number| record(&space, number)).collect();
        Self { space, records }
    }

    /// The matches that an exact search gives.
    pub fn search(&self, vector: &[f32], top_k: usize, filter: &Filter) -> Vec<VectorMatch> {
        let mut matches: Vec<VectorMatch> = self
            .records
            .iter()
            .filter(|record| passes(filter, record))
            .map(|record| VectorMatch {
                id: record.id.clone(),
                score: similarity(vector, &record.vector),
            })
            .collect();
        matches.sort_by(|a, b| b.score.total_cmp(&a.score));
        matches.truncate(top_k);
        matches
    }
}

fn similarity(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

fn source(number: usize) -> SourceId {
    SourceId::from_stored(format!("{number:032x}"))
}

fn vector(space: &EmbeddingSpace, seed: u64) -> Vec<f32> {
    let mut random = Random::new(seed);
    let mut vector: Vec<f32> = (0..space.dimensions).map(|_| random.between(-1.0, 1.0)).collect();
    space
        .normalize(&mut vector)
        .expect("a random vector has a direction");
    vector
}

fn record(space: &EmbeddingSpace, number: usize) -> VectorRecord {
    let source_id = source(number % 5);
    let revision = RevisionId(1 + (number % 2) as i64);
    let start = number as u64 * 1_000;
    let span = Span::from_millis(start, start + 1_500);
    let text = format!("passage {number} says \"ünïcode\" and; --quotes'");
    VectorRecord {
        id: ChunkId::of(&source_id, revision, number as u32, span, &text),
        source_id,
        revision,
        embedding_key: EmbeddingKey::of(&text, space),
        vector: vector(space, number as u64),
        span,
        text,
        title: format!("Title {}", number % 5),
        speakers: match number % 3 {
            0 => Vec::new(),
            1 => vec!["Ada".to_owned()],
            _ => vec!["Ada".to_owned(), "Bo 'x' \"y\", z".to_owned()],
        },
        language: [None, Some("en"), Some("de"), Some("fr")][number % 4].map(str::to_owned),
        date: (!number.is_multiple_of(7))
            .then(|| format!("2026-{:02}-{:02}", number % 12 + 1, number % 28 + 1)),
    }
}

/// Checks every line of the contract. `fresh` gives a new empty store at each call.
pub async fn run<F, Fut>(fresh: F)
where
    F: Fn() -> Fut,
    Fut: Future<Output = Arc<dyn VectorStore>>,
{
    let collection = Collection::new(32, 120);
    let prepared = async || {
        let store = fresh().await;
        store
            .prepare(&collection.space)
            .await
            .expect("prepare on a fresh store");
        Subject {
            name: store.info().fingerprint(),
            store,
        }
    };
    let first = prepared().await;
    check_info(first.store.info());
    let limits = first.store.limits();
    assert!(
        limits.max_batch > 0 && limits.max_top_k > 0,
        "{}: {limits:?}",
        first.name
    );
    check_health(&first.name, &first.store.health_check().await);

    an_empty_store_answers(&first).await;
    upsert_is_idempotent_and_replaces(&prepared().await, &collection).await;
    bad_vectors_are_refused_whole(&prepared().await, &collection).await;
    search_agrees_with_a_scan(&prepared().await, &collection).await;
    every_filter_is_honoured(&prepared().await, &collection).await;
    deletes_by_every_selector(&prepared().await, &collection).await;
    equal_keys_are_independent(&prepared().await, &collection).await;
    large_sources_are_deleted_whole(&prepared().await).await;
    writers_run_side_by_side(&prepared().await, &collection).await;
    spaces_do_not_mix(&prepared().await, &collection).await;
}

/// For stores that outlive the process: what was written is there when `open` opens the same place again.
pub async fn survives_reopening<F, Fut>(open: F)
where
    F: Fn() -> Fut,
    Fut: Future<Output = Arc<dyn VectorStore>>,
{
    let collection = Collection::new(32, 60);
    let reopened = async || {
        let store = open().await;
        store
            .prepare(&collection.space)
            .await
            .expect("prepare on an existing store");
        Subject {
            name: store.info().fingerprint(),
            store,
        }
    };
    let first = reopened().await;
    first.write(&collection.records).await;
    drop(first);
    let second = reopened().await;
    second.holds(60, &Selector::All).await;
    second
        .agrees(&collection, &vector(&collection.space, 3), 10, &Filter::default())
        .await;
    second.delete(&Selector::Source(source(1))).await;
    drop(second);
    let third = reopened().await;
    third.holds(48, &Selector::All).await;
    third.holds(0, &Selector::Source(source(1))).await;
}

/// A store under test.
struct Subject {
    name: String,
    store: Arc<dyn VectorStore>,
}

impl Subject {
    /// Writes within the store's limits and waits until the writes show.
    async fn write(&self, records: &[VectorRecord]) {
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

    async fn upsert(&self, records: Vec<VectorRecord>) {
        if let Err(error) = self.store.upsert(records).await {
            panic!("{}: upsert failed: {}", self.name, error.report());
        }
    }

    async fn delete(&self, selector: &Selector) {
        if let Err(error) = self.store.delete(selector).await {
            panic!("{}: deleting {selector:?} failed: {}", self.name, error.report());
        }
    }

    async fn count(&self, selector: &Selector) -> u64 {
        match self.store.count(selector).await {
            Ok(count) => count,
            Err(error) => panic!("{}: counting {selector:?} failed: {}", self.name, error.report()),
        }
    }

    /// Checks a count, waiting for it where writes show later.
    async fn holds(&self, expected: u64, selector: &Selector) {
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

    async fn search(&self, vector: &[f32], top_k: usize, filter: &Filter) -> Vec<VectorMatch> {
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
    async fn agrees(&self, oracle: &Collection, vector: &[f32], top_k: usize, filter: &Filter) {
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

async fn an_empty_store_answers(subject: &Subject) {
    let space = Collection::new(32, 0).space;
    for selector in selectors_of_nothing() {
        subject.delete(&selector).await;
        subject.holds(0, &selector).await;
    }
    subject.upsert(Vec::new()).await;
    assert!(
        subject
            .search(&vector(&space, 1), 5, &Filter::default())
            .await
            .is_empty()
    );
    subject.store.prepare(&space).await.expect("preparing twice");
}

fn selectors_of_nothing() -> Vec<Selector> {
    let absent = ChunkId::from_stored("f".repeat(64));
    vec![
        Selector::Source(source(99)),
        Selector::Revision(source(0), RevisionId(99)),
        Selector::Chunks(vec![absent]),
        Selector::Chunks(Vec::new()),
    ]
}

async fn upsert_is_idempotent_and_replaces(subject: &Subject, collection: &Collection) {
    let records = &collection.records;
    subject.write(records).await;
    subject.write(&records[10..40]).await;
    subject.holds(records.len() as u64, &Selector::All).await;
    subject
        .store
        .prepare(&collection.space)
        .await
        .expect("preparing a store with records");
    subject.holds(records.len() as u64, &Selector::All).await;

    // The same id with other content: the old content is gone from search, filters and selectors.
    let mut replaced = collection.clone();
    let target = &mut replaced.records[17];
    let old = target.clone();
    target.vector = vector(&collection.space, 999);
    target.embedding_key = EmbeddingKey::of("another text", &collection.space);
    target.source_id = source(77);
    target.speakers = vec!["Cy".to_owned()];
    target.span = Span::from_millis(9_000_000, 9_001_000);
    let new = target.clone();
    subject.write(std::slice::from_ref(&new)).await;
    subject.holds(records.len() as u64, &Selector::All).await;
    subject.holds(1, &Selector::Source(source(77))).await;
    let by_source = Filter {
        sources: vec![source(77)],
        ..Filter::default()
    };
    for (query, filter) in [
        (&new.vector, Filter::default()),
        (&old.vector, Filter::default()),
        (&new.vector, by_source),
        (
            &old.vector,
            Filter {
                sources: vec![old.source_id.clone()],
                ..Filter::default()
            },
        ),
    ] {
        let collection = &replaced;
        if subject.store.limits().read_your_writes {
            subject.agrees(collection, query, 5, &filter).await;
        } else {
            let expected = collection.search(query, 1, &filter);
            eventually("the replacement shows", async || {
                subject.search(query, 1, &filter).await.first().map(|m| &m.id)
                    == expected.first().map(|m| &m.id)
            })
            .await;
        }
    }
}

async fn bad_vectors_are_refused_whole(subject: &Subject, collection: &Collection) {
    let good = &collection.records[..5];
    subject.write(&good[..1]).await;
    let spoilers: [fn(&mut Vec<f32>); 5] = [
        |vector| vector.truncate(31),
        |vector| vector.push(0.1),
        Vec::clear,
        |vector| vector[7] = f32::NAN,
        |vector| vector[0] = f32::INFINITY,
    ];
    for (number, spoil) in spoilers.into_iter().enumerate() {
        let mut batch = good.to_vec();
        spoil(&mut batch[3].vector);
        let refused = subject.store.upsert(batch).await;
        assert!(
            refused.is_err(),
            "{}: bad vector {number} was accepted",
            subject.name
        );
        subject.holds(1, &Selector::All).await;
    }
    // The refusals left nothing behind that disturbs a good batch.
    subject.write(good).await;
    subject.holds(5, &Selector::All).await;
}

async fn search_agrees_with_a_scan(subject: &Subject, collection: &Collection) {
    subject.write(&collection.records).await;
    let most = collection.records.len() + 5;
    for top_k in [0, 1, 3, 10, most] {
        let top_k = top_k.min(subject.store.limits().max_top_k);
        for seed in [3, 50, 1_000, 1_001] {
            subject
                .agrees(
                    collection,
                    &vector(&collection.space, seed),
                    top_k,
                    &Filter::default(),
                )
                .await;
        }
    }
    let opposite: Vec<f32> = collection.records[3].vector.iter().map(|value| -value).collect();
    subject.agrees(collection, &opposite, 5, &Filter::default()).await;
    let itself = subject
        .search(&collection.records[3].vector, 1, &Filter::default())
        .await;
    assert_eq!(
        itself.first().map(|found| &found.id),
        Some(&collection.records[3].id),
        "{}",
        subject.name
    );
}

async fn every_filter_is_honoured(subject: &Subject, collection: &Collection) {
    subject.write(&collection.records).await;
    let any = Filter::default;
    let text = |value: &str| Some(value.to_owned());
    let bo = "Bo 'x' \"y\", z".to_owned();
    let filters = [
        Filter {
            sources: vec![source(2)],
            ..any()
        },
        Filter {
            sources: vec![source(2), source(4), source(99)],
            ..any()
        },
        Filter {
            sources: vec![source(99)],
            ..any()
        },
        Filter {
            speakers: vec!["Ada".into()],
            ..any()
        },
        Filter {
            speakers: vec![bo.clone()],
            ..any()
        },
        Filter {
            speakers: vec!["Nobody".into(), bo.clone()],
            ..any()
        },
        Filter {
            speakers: vec!["ad".into(), "%".into(), "' OR 1=1 --".into()],
            ..any()
        },
        Filter {
            language: text("de"),
            ..any()
        },
        Filter {
            language: text("xx"),
            ..any()
        },
        Filter {
            after: text("2026-06-15"),
            ..any()
        },
        Filter {
            before: text("2026-06-15"),
            ..any()
        },
        Filter {
            after: text("2026-03-01"),
            before: text("2026-09-30"),
            ..any()
        },
        Filter {
            after: collection.records[8].date.clone(),
            before: collection.records[8].date.clone(),
            ..any()
        },
        Filter {
            within: Some(Span::from_millis(10_000, 20_000)),
            ..any()
        },
        Filter {
            within: Some(Span::from_millis(10_200, 10_300)),
            ..any()
        },
        Filter {
            within: Some(Span::from_millis(9_000_000, 9_100_000)),
            ..any()
        },
        Filter {
            sources: vec![source(1)],
            speakers: vec!["Ada".into()],
            language: text("en"),
            ..any()
        },
        Filter {
            sources: vec![source(0), source(1), source(2), source(3)],
            speakers: vec![bo],
            language: text("fr"),
            after: text("2026-01-01"),
            before: text("2026-12-31"),
            within: Some(Span::from_millis(0, 60_000)),
        },
    ];
    let top_k = collection.records.len().min(subject.store.limits().max_top_k);
    for filter in &filters {
        subject
            .agrees(collection, &vector(&collection.space, 42), top_k, filter)
            .await;
        subject
            .agrees(collection, &vector(&collection.space, 43), 2, filter)
            .await;
    }
}

async fn deletes_by_every_selector(subject: &Subject, collection: &Collection) {
    let selectors = [
        Selector::Chunks(
            collection.records[..3]
                .iter()
                .map(|record| record.id.clone())
                .collect(),
        ),
        Selector::Revision(source(1), RevisionId(1)),
        Selector::Source(source(2)),
        Selector::All,
    ];
    subject.write(&collection.records).await;
    let mut left = collection.clone();
    for selector in selectors_of_nothing().into_iter().chain(selectors) {
        let selected = |record: &VectorRecord| match &selector {
            Selector::Source(source) => record.source_id == *source,
            Selector::Revision(source, revision) => {
                record.source_id == *source && record.revision == *revision
            }
            Selector::Chunks(ids) => ids.contains(&record.id),
            Selector::All => true,
        };
        let count = left.records.iter().filter(|record| selected(record)).count();
        subject.holds(count as u64, &selector).await;
        subject.delete(&selector).await;
        left.records.retain(|record| !selected(record));
        subject.holds(0, &selector).await;
        subject.holds(left.records.len() as u64, &Selector::All).await;
        subject
            .agrees(&left, &vector(&left.space, 5), 20, &Filter::default())
            .await;
        // Gone already.
        subject.delete(&selector).await;
    }
    subject.write(&collection.records).await;
    subject
        .holds(collection.records.len() as u64, &Selector::All)
        .await;
}

/// Two chunks may share one embedding key; each lives as long as its own record.
async fn equal_keys_are_independent(subject: &Subject, collection: &Collection) {
    let first = collection.records[0].clone();
    let mut second = collection.records[1].clone();
    second.embedding_key = first.embedding_key.clone();
    second.vector.clone_from(&first.vector);
    let mut both = Collection {
        space: collection.space.clone(),
        records: vec![first.clone(), second.clone()],
    };
    subject.write(&both.records).await;
    subject.holds(2, &Selector::All).await;
    subject.agrees(&both, &first.vector, 5, &Filter::default()).await;
    subject.delete(&Selector::Chunks(vec![first.id.clone()])).await;
    both.records.remove(0);
    subject.holds(1, &Selector::All).await;
    subject.agrees(&both, &first.vector, 5, &Filter::default()).await;
}

/// More records of one source than a page of any vendor's listing holds.
async fn large_sources_are_deleted_whole(subject: &Subject) {
    let mut collection = Collection::new(32, 1_130);
    for record in collection.records.iter_mut().skip(30) {
        record.source_id = source(50);
    }
    subject.write(&collection.records).await;
    subject.holds(1_100, &Selector::Source(source(50))).await;
    subject.holds(1_130, &Selector::All).await;
    subject.delete(&Selector::Source(source(50))).await;
    subject.holds(0, &Selector::Source(source(50))).await;
    subject.holds(30, &Selector::All).await;
    collection.records.truncate(30);
    subject
        .agrees(&collection, &vector(&collection.space, 9), 30, &Filter::default())
        .await;
}

async fn writers_run_side_by_side(subject: &Subject, collection: &Collection) {
    let (left, right) = collection.records.split_at(60);
    let query = vector(&collection.space, 11);
    tokio::join!(
        subject.write(left),
        subject.write(right),
        subject.write(left),
        async {
            for _ in 0..5 {
                subject.search(&query, 3, &Filter::default()).await;
                tokio::task::yield_now().await;
            }
        }
    );
    subject.holds(120, &Selector::All).await;
    subject.agrees(collection, &query, 10, &Filter::default()).await;
}

/// A second space is either kept apart or refused; the first is never touched.
async fn spaces_do_not_mix(subject: &Subject, collection: &Collection) {
    subject.write(&collection.records).await;
    let wide = Collection::new(48, 3);
    let mut renamed = Collection::new(32, 3);
    "another-model".clone_into(&mut renamed.space.model);
    for other in [wide, renamed] {
        match subject.store.prepare(&other.space).await {
            Ok(()) => {
                subject.holds(0, &Selector::All).await;
                subject.write(&other.records).await;
                subject.holds(3, &Selector::All).await;
                subject
                    .agrees(&other, &other.records[0].vector, 10, &Filter::default())
                    .await;
                let foreign = if other.space.dimensions == 32 {
                    None
                } else {
                    Some(&collection.records[0])
                };
                if let Some(record) = foreign {
                    let mixed = subject.store.upsert(vec![record.clone()]).await;
                    assert!(mixed.is_err(), "{}: took a vector of another space", subject.name);
                }
            }
            Err(error) => {
                assert_eq!(
                    error.kind(),
                    ErrorKind::Config,
                    "{}: {}",
                    subject.name,
                    error.report()
                );
            }
        }
        subject
            .store
            .prepare(&collection.space)
            .await
            .expect("returning to the first space");
        subject.holds(120, &Selector::All).await;
        subject
            .agrees(collection, &collection.records[0].vector, 10, &Filter::default())
            .await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::MemoryVectorStore;
    use async_trait::async_trait;
    use audiorag_core::Result;
    use audiorag_core::capability::{Health, ProviderInfo, StoreLimits};

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
        run(|| async move { Arc::new(Broken(MemoryVectorStore::new(), fault)) as Arc<dyn VectorStore> })
            .await;
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
}
