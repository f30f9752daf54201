//! Searches of many vectors, which are chosen by their codes first.

use super::*;
use crate::{EmbeddedVectorStore, State};
use audiorag_core::Span;
use audiorag_core::capability::{VectorRecord, VectorStore as _};
use audiorag_core::id::{ChunkId, EmbeddingKey, RevisionId, SourceId};
use audiorag_core::model::EmbeddingSpace;
use tempfile::TempDir;

const DIMENSIONS: usize = LEAST_DIMENSIONS;
/// Enough for a choice to pay.
const MANY: usize = 9 * WORTH_CODES;

fn space() -> EmbeddingSpace {
    EmbeddingSpace {
        provider: "test".into(),
        model: "wide".into(),
        dimensions: DIMENSIONS,
    }
}

/// A unit vector near one of forty directions, all of them in one half of space, as those of many models are.
fn clustered(number: usize) -> Vec<f32> {
    let wave = |seed: usize, place: usize| ((seed * 7919 + place * 104_729) as f32 * 0.618).sin();
    let mut vector: Vec<f32> = (0..DIMENSIONS)
        .map(|place| 1.0 + wave(number % 40, place) + 0.4 * wave(number + 1_000, place))
        .collect();
    space().normalize(&mut vector).unwrap();
    vector
}

fn record(number: usize) -> VectorRecord {
    VectorRecord {
        id: ChunkId::from_stored(format!("c{number}")),
        source_id: SourceId::from_stored(format!("s{}", number % 4)),
        revision: RevisionId(1),
        embedding_key: EmbeddingKey::from_stored(format!("e{number}")),
        vector: clustered(number),
        span: Span::from_millis(number as u64 * 10, number as u64 * 10 + 5),
        text: String::new(),
        title: String::new(),
        speakers: Vec::new(),
        language: None,
        date: None,
    }
}

async fn open(directory: &TempDir) -> (State, EmbeddedVectorStore) {
    support::open(directory, &space()).await
}

async fn fill(store: &EmbeddedVectorStore, numbers: std::ops::Range<usize>) {
    support::fill(store, numbers.map(record)).await;
}

fn index(state: &State) -> Arc<Index> {
    state.indexes.of(&state.db, 1, DIMENSIONS)
}

/// How many records have codes, in the eyes of this process.
fn coded(state: &State) -> usize {
    let snapshot = index(state).latest().unwrap();
    snapshot.codes().map_or(0, |codes| codes.len())
}

/// Asserts that nearly all of the true ten are found for some queries near the data.
async fn assert_finds(state: &State, store: &EmbeddedVectorStore) {
    let (mut found, mut expected) = (0, 0);
    for query in (0..10).map(|number| clustered(500_000 + number)) {
        let everything = Filter::default();
        let truth = index(state)
            .exact(&state.db, &query, 10, &everything)
            .await
            .unwrap();
        let truth = rows::matches(truth);
        let answer = store.search(&query, 10, &everything).await.unwrap();
        assert_eq!(answer.len(), 10);
        found += truth.iter().filter(|hit| answer.contains(hit)).count();
        expected += truth.len();
    }
    assert!(found * 100 >= expected * 99, "{found} of {expected}");
}

#[tokio::test]
async fn what_is_chosen_by_codes_holds_the_nearest() {
    let directory = tempfile::tempdir().unwrap();
    let (state, store) = open(&directory).await;
    fill(&store, 0..MANY).await;
    assert_finds(&state, &store).await;
    let many = coded(&state);
    assert!(many + WORTH_CODES > MANY, "{many}");
    // What comes later is found although it has no codes yet, as is what has the place of something deleted.
    fill(&store, MANY..MANY + 10).await;
    for number in [3, MANY - 1, MANY + 7] {
        let found = store
            .search(&clustered(number), 1, &Filter::default())
            .await
            .unwrap();
        assert_eq!(found[0].id.as_str(), format!("c{number}"));
    }
    let gone = Selector::Chunks(vec![ChunkId::from_stored("c3")]);
    store.delete(&gone).await.unwrap();
    let found = store.search(&clustered(3), 10, &Filter::default()).await.unwrap();
    assert!(found.len() == 10 && found.iter().all(|hit| hit.id.as_str() != "c3"));
    assert_finds(&state, &store).await;
    // Others read along.
    let (other, others_store) = open(&directory).await;
    assert_finds(&other, &others_store).await;
    assert_eq!(coded(&other), many);
}

#[tokio::test]
async fn codes_follow_the_file_that_they_belong_to() {
    let directory = tempfile::tempdir().unwrap();
    let (state, store) = open(&directory).await;
    fill(&store, 0..MANY + 2 * WORTH_COMPACTING).await;
    assert_finds(&state, &store).await;
    let before = coded(&state);
    // More than a quarter goes: the file is written anew, with its records in other places.
    for source in [0, 2] {
        let source = SourceId::from_stored(format!("s{source}"));
        store.delete(&Selector::Source(source)).await.unwrap();
    }
    let after = coded(&state);
    assert!(after > 0 && after < before, "{after} of {before}");
    assert_finds(&state, &store).await;
    state.close().await;
    // Without the file, or with what is no such file, it is made again.
    let path = directory.path().join("s.db.vectors-1.codes");
    for damage in [None, Some(&b"something else"[..])] {
        match damage {
            None => std::fs::remove_file(&path).unwrap(),
            Some(bytes) => std::fs::write(&path, bytes).unwrap(),
        }
        let (state, store) = open(&directory).await;
        assert_finds(&state, &store).await;
        assert!(coded(&state) > 0);
        state.close().await;
    }
    // Where it cannot be made, searches compare every record.
    std::fs::remove_file(&path).unwrap();
    std::fs::create_dir(&path).unwrap();
    let (state, store) = open(&directory).await;
    assert_finds(&state, &store).await;
    assert_eq!(coded(&state), 0);
}
