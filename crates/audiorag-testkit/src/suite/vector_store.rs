//! The contract of [`VectorStore`], compared with a plain scan in memory.

mod collection;
mod subject;
#[cfg(test)]
mod tests;

pub use collection::Collection;

use super::{check_health, check_info, eventually};
use audiorag_core::capability::{Selector, VectorRecord, VectorStore};
use audiorag_core::id::{ChunkId, EmbeddingKey, RevisionId};
use audiorag_core::model::Filter;
use audiorag_core::{ErrorKind, Span};
use collection::{source, vector};
use std::sync::Arc;
use subject::Subject;

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
