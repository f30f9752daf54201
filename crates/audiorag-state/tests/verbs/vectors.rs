//! The embedded vector store against the contract that every store passes, and what is its own.

use crate::common::Scratch;
use audiorag_core::ErrorKind;
use audiorag_core::capability::{HealthStatus, Selector, VectorStore};
use audiorag_core::id::EmbeddingKey;
use audiorag_core::model::{EmbeddingSpace, Filter};
use audiorag_state::{State, StateOptions};
use audiorag_testkit::suite::vector_store::{self, Collection};
use std::sync::{Arc, Mutex};
use tempfile::TempDir;

async fn store(directory: &TempDir) -> Arc<dyn VectorStore> {
    let state = State::open(StateOptions::new(directory.path().join("state.db")))
        .await
        .unwrap();
    Arc::new(state.vectors())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn passes_the_contract() {
    let kept = Mutex::new(Vec::new());
    vector_store::run(|| async {
        let directory = tempfile::tempdir().unwrap();
        let store = store(&directory).await;
        kept.lock().unwrap().push(directory);
        store
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn passes_the_contract_for_stores_that_last() {
    let directory = tempfile::tempdir().unwrap();
    vector_store::survives_reopening(|| store(&directory)).await;
}

#[tokio::test]
async fn using_it_before_preparing_it_is_a_defect() {
    let scratch = Scratch::new().await;
    let collection = Collection::new(4, 3);
    let store = scratch.state.vectors();
    let query = collection.records[0].vector.clone();
    assert_eq!(
        store
            .search(&query, 1, &Filter::default())
            .await
            .unwrap_err()
            .kind(),
        ErrorKind::Internal
    );
    assert_eq!(
        store.upsert(collection.records.clone()).await.unwrap_err().kind(),
        ErrorKind::Internal
    );
    // Deleting what a source left behind needs no space.
    store
        .delete(&Selector::Source(collection.records[0].source_id.clone()))
        .await
        .unwrap();
    assert_eq!(store.count(&Selector::All).await.unwrap(), 0);
    let flat = EmbeddingSpace {
        dimensions: 0,
        ..collection.space.clone()
    };
    assert_eq!(store.prepare(&flat).await.unwrap_err().kind(), ErrorKind::Config);
    store.prepare(&collection.space).await.unwrap();
    let error = store
        .search(&query[..3], 1, &Filter::default())
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Protocol);
}

#[tokio::test]
async fn a_source_goes_from_every_space() {
    let scratch = Scratch::new().await;
    let (small, large) = (Collection::new(4, 10), Collection::new(8, 10));
    let store = scratch.state.vectors();
    for collection in [&small, &large] {
        store.prepare(&collection.space).await.unwrap();
        store.upsert(collection.records.clone()).await.unwrap();
    }
    assert_eq!(store.count(&Selector::All).await.unwrap(), 10);
    let source = small.records[0].source_id.clone();
    assert_eq!(store.count(&Selector::Source(source.clone())).await.unwrap(), 4);
    store.delete(&Selector::Source(source)).await.unwrap();
    assert_eq!(store.count(&Selector::All).await.unwrap(), 8);
    store.prepare(&small.space).await.unwrap();
    assert_eq!(store.count(&Selector::All).await.unwrap(), 8);
}

#[tokio::test]
async fn vectors_are_shared_with_the_cache_and_outlive_their_records() {
    let scratch = Scratch::new().await;
    let collection = Collection::new(4, 3);
    let store = scratch.state.vectors();
    store.prepare(&collection.space).await.unwrap();
    store.upsert(collection.records.clone()).await.unwrap();
    store.upsert(collection.records.clone()).await.unwrap();
    let stats = scratch.state.cache_stats().await.unwrap();
    assert_eq!((stats.embeddings, stats.unused_embeddings), (3, 0));
    let keys: Vec<EmbeddingKey> = collection
        .records
        .iter()
        .map(|record| record.embedding_key.clone())
        .collect();
    let cached = scratch.state.cached_embeddings(&keys).await.unwrap();
    assert!(
        collection
            .records
            .iter()
            .all(|record| cached[&record.embedding_key] == record.vector)
    );
    store.delete(&Selector::All).await.unwrap();
    assert_eq!(scratch.state.cache_stats().await.unwrap().unused_embeddings, 3);
}

#[tokio::test]
async fn health_reaches_the_database() {
    let scratch = Scratch::new().await;
    let store = scratch.state.vectors();
    let health = store.health_check().await;
    assert_eq!(health.status, HealthStatus::Healthy);
    assert!(health.detail.contains("0 vectors"));
    scratch.state.clone().close().await;
    assert_eq!(store.health_check().await.status, HealthStatus::Unhealthy);
}

#[tokio::test]
async fn a_change_of_one_field_replaces_the_record() {
    let scratch = Scratch::new().await;
    let collection = Collection::new(4, 3);
    let store = scratch.state.vectors();
    store.prepare(&collection.space).await.unwrap();
    store.upsert(collection.records.clone()).await.unwrap();
    let mut record = collection.records[1].clone();
    let opposite: Vec<f32> = record.vector.iter().map(|value| -value).collect();
    record.vector.clone_from(&opposite);
    record.embedding_key = EmbeddingKey::from_stored("opposite");
    store.upsert(vec![record.clone()]).await.unwrap();
    let nearest = store.search(&opposite, 1, &Filter::default()).await.unwrap();
    assert_eq!(nearest[0].id, record.id);
    assert!(nearest[0].score > 0.999);
    let spoken_by = |name: &str| Filter {
        speakers: vec![name.to_owned()],
        ..Filter::default()
    };
    record.speakers = vec!["Cy".into(), "Cy".into()];
    store.upsert(vec![record.clone()]).await.unwrap();
    assert_eq!(
        store.search(&opposite, 5, &spoken_by("Cy")).await.unwrap().len(),
        1
    );
    assert!(
        !store
            .search(&opposite, 5, &spoken_by("Ada"))
            .await
            .unwrap()
            .iter()
            .any(|hit| hit.id == record.id)
    );
    record.language = Some("it".into());
    store.upsert(vec![record.clone()]).await.unwrap();
    let italian = Filter {
        language: Some("it".into()),
        ..Filter::default()
    };
    assert_eq!(store.search(&opposite, 5, &italian).await.unwrap().len(), 1);
    assert_eq!(store.count(&Selector::All).await.unwrap(), 3);
}

/// More than one statement takes, in one call: new records, replaced ones, unchanged ones, and one that comes twice.
#[tokio::test]
async fn a_batch_of_hundreds_is_what_it_would_be_one_by_one() {
    let scratch = Scratch::new().await;
    let collection = Collection::new(4, 700);
    let store = scratch.state.vectors();
    store.prepare(&collection.space).await.unwrap();
    let mut first = collection.records.clone();
    let later = first.split_off(400);
    store.upsert(first).await.unwrap();
    let mut batch = collection.records.clone();
    for record in batch.iter_mut().take(300) {
        record.speakers = vec!["Cy".into(), record.id.as_str().into()];
        record.language = Some("it".into());
    }
    // It was somebody's first, and is Dora's in the end.
    let mut twice = later[0].clone();
    twice.speakers = vec!["Dora".into()];
    batch.push(twice.clone());
    store.upsert(batch).await.unwrap();
    assert_eq!(store.count(&Selector::All).await.unwrap(), 700);
    let found = async |filter: Filter| {
        let query = &collection.records[0].vector;
        let hits = store.search(query, 1000, &filter).await.unwrap();
        let mut ids: Vec<String> = hits.into_iter().map(|hit| hit.id.as_str().to_owned()).collect();
        ids.sort();
        ids
    };
    let spoken_by = |name: &str| Filter {
        speakers: vec![name.to_owned()],
        ..Filter::default()
    };
    let mut replaced: Vec<String> = collection.records[..300]
        .iter()
        .map(|record| record.id.as_str().to_owned())
        .collect();
    replaced.sort();
    assert_eq!(found(spoken_by("Cy")).await, replaced);
    let italian = Filter {
        language: Some("it".into()),
        ..Filter::default()
    };
    for id in &replaced {
        assert_eq!(found(spoken_by(id)).await, [id.as_str()]);
    }
    assert!(found(italian).await.len() >= 300);
    assert_eq!(found(spoken_by("Dora")).await, [twice.id.as_str()]);
    for speaker in &later[0].speakers {
        assert!(
            !found(spoken_by(speaker))
                .await
                .contains(&twice.id.as_str().to_owned())
        );
    }
}

#[tokio::test]
async fn a_damaged_vector_does_not_hide_those_behind_it() {
    use sea_orm::ConnectionTrait as _;
    let scratch = Scratch::new().await;
    let collection = Collection::new(4, 3);
    let store = scratch.state.vectors();
    store.prepare(&collection.space).await.unwrap();
    store.upsert(collection.records.clone()).await.unwrap();
    let url = format!("sqlite://{}", scratch.path().display());
    let connection = sea_orm::Database::connect(url).await.unwrap();
    // Before the first search, which writes the side file.
    connection
        .execute_unprepared("UPDATE embedding SET vector = x'00' WHERE id = (SELECT min(id) FROM embedding)")
        .await
        .unwrap();
    connection.close().await.unwrap();
    let damaged = &collection.records[0].embedding_key;
    for store in [store, scratch.state.vectors()] {
        store.prepare(&collection.space).await.unwrap();
        let all = collection.records.len();
        let whole = collection
            .records
            .iter()
            .filter(|record| record.embedding_key != *damaged);
        for record in whole {
            let found = store
                .search(&record.vector, all, &Filter::default())
                .await
                .unwrap();
            assert_eq!(found.len(), all);
            assert_eq!(found[0].id, record.id);
        }
    }
}
