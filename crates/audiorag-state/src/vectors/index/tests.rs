//! The file against the rows: the same answers with it, without it, and while it is damaged or replaced.

use super::*;
use crate::{EmbeddedVectorStore, State, StateOptions};
use audiorag_core::Span;
use audiorag_core::capability::{VectorMatch, VectorRecord, VectorStore as _};
use audiorag_core::id::{ChunkId, EmbeddingKey, RevisionId, SourceId};
use audiorag_core::model::EmbeddingSpace;
use proptest::prelude::*;
use std::collections::HashSet;
use tempfile::TempDir;

const DIMENSIONS: usize = 32;

fn space() -> EmbeddingSpace {
    EmbeddingSpace {
        provider: "test".into(),
        model: "m".into(),
        dimensions: DIMENSIONS,
    }
}

/// A small generator: the tests must see the same vectors everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> f32 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 40) as f32 / (1u64 << 23) as f32) - 1.0
    }

    fn direction(&mut self) -> Vec<f32> {
        (0..DIMENSIONS).map(|_| self.next()).collect()
    }
}

/// A unit vector near one of forty centres.
fn clustered(number: u64) -> Vec<f32> {
    let centre = Random(number % 40 + 1).direction();
    let mut noise = Random(number + 1_000);
    let mut vector: Vec<f32> = centre.iter().map(|x| x + 0.35 * noise.next()).collect();
    space().normalize(&mut vector).unwrap();
    vector
}

fn record(number: u64) -> VectorRecord {
    let source_id = SourceId::from_stored(format!("s{}", number % 10));
    VectorRecord {
        id: ChunkId::from_stored(format!("c{number}")),
        revision: RevisionId(1),
        embedding_key: EmbeddingKey::from_stored(format!("e{number}")),
        vector: clustered(number),
        span: Span::from_millis(number * 10, number * 10 + 5),
        text: String::new(),
        title: String::new(),
        speakers: vec![format!("p{}", number % 3)],
        language: number.is_multiple_of(2).then(|| "en".to_owned()),
        date: None,
        source_id,
    }
}

async fn open(directory: &TempDir) -> (State, EmbeddedVectorStore) {
    support::open(directory, &space()).await
}

async fn fill(store: &EmbeddedVectorStore, numbers: std::ops::Range<u64>) {
    support::fill(store, numbers.map(record)).await;
}

fn side_file(directory: &TempDir) -> PathBuf {
    directory.path().join("s.db.vectors-1")
}

fn index(state: &State) -> Arc<Index> {
    state.indexes.of(&state.db, 1, DIMENSIONS)
}

/// The answer by comparing every row.
async fn oracle(state: &State, query: &[f32], wanted: usize, filter: &Filter) -> Vec<VectorMatch> {
    rows::matches(
        index(state)
            .exact(&state.db, query, wanted, filter)
            .await
            .unwrap(),
    )
}

/// The share of the oracle's answers that the store finds, over some queries near the data.
async fn recall(state: &State, store: &EmbeddedVectorStore, filter: &Filter) -> f64 {
    let (mut found, mut expected) = (0, 0);
    for query in (0..25).map(|number| clustered(500_000 + number)) {
        let truth = oracle(state, &query, 10, filter).await;
        let answer = store.search(&query, 10, filter).await.unwrap();
        assert_eq!(answer.len(), truth.len());
        let ids: HashSet<_> = answer.iter().map(|hit| &hit.id).collect();
        found += truth.iter().filter(|hit| ids.contains(&hit.id)).count();
        expected += truth.len();
    }
    found as f64 / f64::from(u32::try_from(expected).unwrap())
}

#[tokio::test]
async fn the_file_finds_what_a_full_comparison_finds() {
    let directory = tempfile::tempdir().unwrap();
    let (state, store) = open(&directory).await;
    fill(&store, 0..3000).await;
    let source = Filter {
        sources: vec![SourceId::from_stored("s3")],
        ..Filter::default()
    };
    let wide = Filter {
        language: Some("en".into()),
        ..Filter::default()
    };
    let speaker = Filter {
        speakers: vec!["p1".into(), "p9".into()],
        ..Filter::default()
    };
    for filter in [Filter::default(), source, wide, speaker] {
        let recall = recall(&state, &store, &filter).await;
        assert!(recall >= 0.99, "{recall} with {filter:?}");
    }
    assert_eq!(index(&state).latest().unwrap().len(), 3000);
}

#[tokio::test]
async fn a_missing_cut_or_foreign_file_is_made_good() {
    let directory = tempfile::tempdir().unwrap();
    let (state, store) = open(&directory).await;
    fill(&store, 0..300).await;
    let query = clustered(7_777);
    let truth = oracle(&state, &query, 10, &Filter::default()).await;
    store.search(&query, 1, &Filter::default()).await.unwrap();
    state.close().await;
    let whole = std::fs::read(side_file(&directory)).unwrap();
    let mut flipped = whole.clone();
    flipped[5_000] ^= 0xff;
    for damage in [
        None,
        Some(&whole[..whole.len() - 7]),
        Some(&flipped[..]),
        Some(&b"something else"[..]),
        Some(&[]),
    ] {
        match damage {
            None => std::fs::remove_file(side_file(&directory)).unwrap(),
            Some(bytes) => std::fs::write(side_file(&directory), bytes).unwrap(),
        }
        let (state, store) = open(&directory).await;
        assert_eq!(store.search(&query, 10, &Filter::default()).await.unwrap(), truth);
        assert_eq!(index(&state).latest().unwrap().len(), 300);
        state.close().await;
        let mended = std::fs::read(side_file(&directory)).unwrap();
        assert_eq!(mended[128..], whole[128..]);
    }
}

#[tokio::test]
async fn a_file_of_another_database_is_replaced() {
    let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for (directory, numbers) in [(&first, 0..50), (&second, 100..150)] {
        let (state, store) = open(directory).await;
        fill(&store, numbers).await;
        store.search(&clustered(1), 1, &Filter::default()).await.unwrap();
        state.close().await;
    }
    std::fs::copy(side_file(&first), side_file(&second)).unwrap();
    let (state, store) = open(&second).await;
    let found = store
        .search(&clustered(120), 1, &Filter::default())
        .await
        .unwrap();
    assert_eq!(found[0].id.as_str(), "c120");
    assert!(recall(&state, &store, &Filter::default()).await >= 0.99);
}

#[tokio::test]
async fn a_database_restored_from_a_copy_gets_a_new_file() {
    let directory = tempfile::tempdir().unwrap();
    let database = directory.path().join("s.db");
    let (state, store) = open(&directory).await;
    fill(&store, 0..20).await;
    state.close().await;
    let copy = std::fs::read(&database).unwrap();
    for (later, searched_between) in [(20..40, false), (20..600, false), (20..40, true)] {
        // More vectors, known to the file; then back to the copy, and others take their numbers.
        std::fs::write(&database, &copy).unwrap();
        let (state, store) = open(&directory).await;
        fill(&store, 1_000..1_300).await;
        store.search(&clustered(1), 1, &Filter::default()).await.unwrap();
        state.close().await;
        std::fs::write(&database, &copy).unwrap();
        let (state, store) = open(&directory).await;
        if searched_between {
            store.search(&clustered(1), 1, &Filter::default()).await.unwrap();
        }
        fill(&store, later.clone()).await;
        let count = later.end as usize;
        store.search(&clustered(1), 1, &Filter::default()).await.unwrap();
        let snapshot = index(&state).latest().unwrap();
        assert_eq!(snapshot.len(), count);
        let all = rows::page(&state.db, 1, 0).await.unwrap();
        assert!(all.iter().all(|(id, vector)| snapshot.holds(*id, vector)));
        state.close().await;
    }
}

#[tokio::test]
async fn deleted_vectors_vanish_and_the_file_is_compacted() {
    let directory = tempfile::tempdir().unwrap();
    let (state, store) = open(&directory).await;
    let count = WORTH_COMPACTING as u64 * 2;
    fill(&store, 0..count).await;
    let before = clustered(3);
    assert_eq!(
        store.search(&before, 1, &Filter::default()).await.unwrap()[0]
            .id
            .as_str(),
        "c3"
    );
    // The nearest go first: the search has to look further than its candidates.
    let near: Vec<ChunkId> = oracle(&state, &before, 300, &Filter::default())
        .await
        .into_iter()
        .map(|hit| hit.id)
        .collect();
    store.delete(&Selector::Chunks(near.clone())).await.unwrap();
    assert_eq!(
        store.search(&before, 10, &Filter::default()).await.unwrap(),
        oracle(&state, &before, 10, &Filter::default()).await
    );
    assert_eq!(index(&state).latest().unwrap().len() as u64, count);
    let reader = state.vectors();
    for source in 0..6 {
        store
            .delete(&Selector::Source(SourceId::from_stored(format!("s{source}"))))
            .await
            .unwrap();
    }
    let live = rows::count(&state.db, &Selector::All, Some(1)).await.unwrap();
    let records = index(&state).latest().unwrap().len() as u64;
    assert!(
        records >= live && (records - live) * 4 < count,
        "{records} records for {live} rows"
    );
    assert!(recall(&state, &store, &Filter::default()).await >= 0.99);
    drop(reader);
    // New vectors go behind the compacted ones.
    fill(&store, count..count + 10).await;
    assert!(recall(&state, &store, &Filter::default()).await >= 0.99);
}

#[tokio::test]
async fn one_appends_and_the_other_reads_along() {
    let directory = tempfile::tempdir().unwrap();
    let (first, first_store) = open(&directory).await;
    let (second, second_store) = open(&directory).await;
    fill(&first_store, 0..100).await;
    let query = clustered(150);
    // Whoever comes first makes the file; the other takes it over.
    first_store.search(&query, 1, &Filter::default()).await.unwrap();
    second_store.search(&query, 1, &Filter::default()).await.unwrap();
    assert_eq!(index(&second).latest().unwrap().len(), 100);
    fill(&second_store, 100..200).await;
    let found = second_store.search(&query, 1, &Filter::default()).await.unwrap();
    assert_eq!(found[0].id.as_str(), "c150");
    assert_eq!(
        first_store.search(&query, 1, &Filter::default()).await.unwrap(),
        found
    );
    assert_eq!(index(&first).latest().unwrap().len(), 200);
    // A replaced file is taken over as well.
    fill(&first_store, 200..210).await;
    index(&first)
        .rewrite(&first.db)
        .await
        .map_err(|_| "rewrite")
        .unwrap()
        .unwrap();
    fill(&second_store, 210..220).await;
    assert!(recall(&second, &second_store, &Filter::default()).await >= 0.99);
    // What it appends is in the file at the path, not in the one that was replaced.
    let identity = index(&second).identity(&second.db).await.unwrap();
    assert_eq!(
        SideFile::open(&side_file(&directory), &identity, false)
            .unwrap()
            .unwrap()
            .count(),
        220
    );
    assert!(recall(&first, &first_store, &Filter::default()).await >= 0.99);
}

#[tokio::test]
async fn without_the_lock_the_missing_rows_are_compared_one_by_one() {
    let directory = tempfile::tempdir().unwrap();
    let (state, store) = open(&directory).await;
    fill(&store, 0..100).await;
    store.search(&clustered(1), 1, &Filter::default()).await.unwrap();
    let lock = open_lock(&directory.path().join("s.db.vectors-1.lock")).unwrap();
    lock.lock().unwrap();
    fill(&store, 100..200).await;
    let query = clustered(150);
    let filter = Filter {
        sources: vec![SourceId::from_stored("s0")],
        ..Filter::default()
    };
    for filter in [Filter::default(), filter] {
        assert_eq!(
            store.search(&query, 5, &filter).await.unwrap(),
            oracle(&state, &query, 5, &filter).await
        );
    }
    assert_eq!(index(&state).latest().unwrap().len(), 100);
    drop(lock);
    store.search(&query, 5, &Filter::default()).await.unwrap();
    assert_eq!(index(&state).latest().unwrap().len(), 200);
}

#[tokio::test]
async fn a_file_that_cannot_be_made_costs_time_only() {
    let directory = tempfile::tempdir().unwrap();
    // A directory in its place: neither to be opened as a file nor to be removed as one.
    std::fs::create_dir(side_file(&directory)).unwrap();
    let (state, store) = open(&directory).await;
    fill(&store, 0..50).await;
    let query = clustered(42);
    let found = store.search(&query, 3, &Filter::default()).await.unwrap();
    assert_eq!(found, oracle(&state, &query, 3, &Filter::default()).await);
    assert_eq!(found[0].id.as_str(), "c42");
    assert!(index(&state).broken.load(Ordering::Relaxed));
    store
        .delete(&Selector::Source(SourceId::from_stored("s2")))
        .await
        .unwrap();
    assert_ne!(
        store.search(&query, 1, &Filter::default()).await.unwrap()[0]
            .id
            .as_str(),
        "c42"
    );
}

#[tokio::test]
async fn a_read_only_state_searches_with_and_without_the_file() {
    let directory = tempfile::tempdir().unwrap();
    let (state, store) = open(&directory).await;
    fill(&store, 0..120).await;
    store.search(&clustered(1), 1, &Filter::default()).await.unwrap();
    fill(&store, 120..140).await;
    state.close().await;
    let options = StateOptions {
        read_only: true,
        ..StateOptions::new(directory.path().join("s.db"))
    };
    for with_file in [true, false] {
        let state = State::open(options.clone()).await.unwrap();
        let store = state.vectors();
        store.prepare(&space()).await.unwrap();
        let query = clustered(130);
        assert_eq!(
            store.search(&query, 5, &Filter::default()).await.unwrap(),
            oracle(&state, &query, 5, &Filter::default()).await
        );
        assert_eq!(
            index(&state).latest().map(|snapshot| snapshot.len()),
            with_file.then_some(120)
        );
        assert!(store.upsert(vec![record(1)]).await.is_err());
        let unknown = EmbeddingSpace {
            model: "other".into(),
            ..space()
        };
        store.prepare(&unknown).await.unwrap();
        assert!(
            store
                .search(&query, 5, &Filter::default())
                .await
                .unwrap()
                .is_empty()
        );
        state.close().await;
        if with_file {
            std::fs::remove_file(side_file(&directory)).unwrap();
        } else {
            assert!(!side_file(&directory).exists());
        }
    }
}

proptest! {
    #[test]
    fn what_is_enough_holds_the_nearest(
        // Approximate scores in steps, how far each is off, and whether it is gone.
        vectors in prop::collection::vec((0f32..60.0, -0.5f32..0.5, any::<bool>(), any::<bool>()), 1..80),
        wanted in 1usize..12,
        spare in 0usize..6,
    ) {
        let mut vectors: Vec<(f32, f32, bool)> = vectors
            .into_iter()
            // One in four is gone.
            .map(|(score, off, one, other)| (score, score + off * REACH, one && other))
            .collect();
        vectors.sort_by(|a, b| b.0.total_cmp(&a.0));
        let numbered = || (0..).zip(&vectors);
        let candidates: Vec<Candidate> = numbered().map(|(id, (score, ..))| Candidate { score: *score, id }).collect();
        let live = |places: usize| -> Vec<Scored> {
            let there = numbered().take(places).filter(|(_, (.., gone))| !gone);
            there.map(|(id, (_, score, _))| Scored { record: id.to_string(), score: *score }).collect()
        };
        let asked = near(&candidates, wanted + spare);
        let mut scored = live(asked.len());
        let (mut all, enough) = (live(candidates.len()), are_enough(&scored, asked, &candidates, wanted));
        rows::keep_best(&mut scored, wanted);
        rows::keep_best(&mut all, wanted);
        prop_assert!(!enough || scored == all, "{:?} for {:?}", scored, all);
        // Nothing is gone: then it is always enough.
        prop_assert!(enough || vectors.iter().any(|(.., gone)| *gone));
    }
}
