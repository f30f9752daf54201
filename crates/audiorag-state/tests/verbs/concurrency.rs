//! Many tasks, two handles, two processes: nothing is lost and nobody hears "database is locked".

use crate::common::{TTL, build, new_source, owner, space};
use audiorag_core::Span;
use audiorag_core::capability::{Selector, VectorRecord, VectorStore as _};
use audiorag_core::id::{ChunkId, EmbeddingKey};
use audiorag_core::model::{Filter, SourceStatus};
use audiorag_state::{Claim, Outcome, State, StateOptions};
use std::path::Path;
use std::process::Command;

const WRITERS: usize = 4;
const READERS: usize = 4;
const ROUNDS: usize = 6;

/// Adds, claims, builds and publishes sources of its own, and stores vectors.
async fn write(state: State, name: String) {
    let vectors = state.vectors();
    vectors.prepare(&space()).await.unwrap();
    for round in 0..ROUNDS {
        let source = state
            .add_source(&new_source(&format!("/{name}/{round}.mp3")))
            .await
            .unwrap();
        let claim = state
            .claim(&source.id, &owner(std::process::id()), TTL, &|_| true)
            .await
            .unwrap();
        let Claim::Granted(lease) = claim else {
            panic!("nobody else works on {name}")
        };
        state
            .set_status(&lease, SourceStatus::Transcribing)
            .await
            .unwrap();
        let revision = build(&state, &lease, "config", &["a whale", "a ship"]).await;
        let key = EmbeddingKey::from_stored(format!("{name}-{round}"));
        state
            .save_embeddings(&lease, &space(), &[(key.clone(), vec![1.0, 0.0, 0.0])], None)
            .await
            .unwrap();
        let record = VectorRecord {
            id: ChunkId::from_stored(format!("{name}-{round}")),
            source_id: source.id.clone(),
            revision,
            embedding_key: key,
            vector: vec![1.0, 0.0, 0.0],
            span: Span::from_millis(0, 900),
            text: "a whale".into(),
            title: "x".into(),
            speakers: vec!["Ada".into()],
            language: None,
            date: None,
        };
        vectors.upsert(vec![record]).await.unwrap();
        state
            .publish_revision(&lease, revision, SourceStatus::Completed)
            .await
            .unwrap();
        state.release(&lease, &Outcome::Done).await.unwrap();
    }
}

async fn read(state: State) {
    let vectors = state.vectors();
    vectors.prepare(&space()).await.unwrap();
    for _ in 0..ROUNDS * 4 {
        for source in state.list_sources().await.unwrap() {
            // Published in one step: a live revision has all its chunks.
            if let Some(revision) = source.active_revision {
                assert_eq!(state.chunks_of(revision).await.unwrap().len(), 2);
            }
        }
        let found = state.search_text("whale", 10, &Filter::default()).await.unwrap();
        let ids: Vec<ChunkId> = found.into_iter().map(|(id, _)| id).collect();
        assert_eq!(state.hits(&ids).await.unwrap().len(), ids.len());
        vectors
            .search(&[1.0, 0.0, 0.0], 10, &Filter::default())
            .await
            .unwrap();
    }
}

/// Four writers and four readers on one handle.
async fn work(path: &Path, name: &str) {
    let state = State::open(StateOptions::new(path)).await.unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    for writer in 0..WRITERS {
        tasks.spawn(write(state.clone(), format!("{name}-{writer}")));
    }
    for _ in 0..READERS {
        tasks.spawn(read(state.clone()));
    }
    tasks.join_all().await;
    state.close().await;
}

async fn assert_complete(path: &Path, workers: usize) {
    let state = State::open(StateOptions::new(path)).await.unwrap();
    let sources = state.list_sources().await.unwrap();
    let expected = workers * WRITERS * ROUNDS;
    assert_eq!(sources.len(), expected);
    assert!(
        sources
            .iter()
            .all(|s| s.status == SourceStatus::Completed && s.owner.is_none() && s.epoch == 1)
    );
    let vectors = state.vectors();
    vectors.prepare(&space()).await.unwrap();
    assert_eq!(vectors.count(&Selector::All).await.unwrap(), expected as u64);
    let found = vectors
        .search(&[1.0, 0.0, 0.0], 1000, &Filter::default())
        .await
        .unwrap();
    assert_eq!(found.len(), expected);
    assert_eq!(
        state
            .search_text("whale", 1000, &Filter::default())
            .await
            .unwrap()
            .len(),
        expected
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_handles_with_eight_tasks_each() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state.db");
    tokio::join!(work(&path, "first"), work(&path, "second"));
    assert_complete(&path, 2).await;
}

/// One of the two processes below. It finds the database in its working directory.
#[test]
#[ignore = "run by two_processes_with_eight_tasks_each"]
fn one_process() {
    let path = Path::new("state.db");
    if Path::new("go").exists() {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(work(path, &std::process::id().to_string()));
    }
}

#[tokio::test]
async fn two_processes_with_eight_tasks_each() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("go"), b"").unwrap();
    let spawn = || {
        Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "--ignored", "concurrency::one_process"])
            .current_dir(directory.path())
            .spawn()
            .unwrap()
    };
    let children = [spawn(), spawn()];
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    assert_complete(&directory.path().join("state.db"), 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn work_that_is_dropped_half_way_gives_its_connection_back() {
    let directory = tempfile::tempdir().unwrap();
    let state = State::open(StateOptions::new(directory.path().join("state.db")))
        .await
        .unwrap();
    for number in 0..60 {
        let (state, path) = (state.clone(), format!("/a/{number}.mp3"));
        let task = tokio::spawn(async move { state.add_source(&new_source(&path)).await });
        tokio::time::sleep(std::time::Duration::from_micros(number * 40)).await;
        task.abort();
        let _ = task.await;
    }
    // Whatever was cut off, nothing is left locked or half written.
    state.add_source(&new_source("/b/last.mp3")).await.unwrap();
    for source in state.list_sources().await.unwrap() {
        assert!(state.source(&source.id).await.unwrap().is_some());
    }
    assert!(
        state
            .live_revision(&state.list_sources().await.unwrap()[0].id)
            .await
            .unwrap()
            .is_none()
    );
}

/// Drops a future after it was polled `most` times, wherever it is then.
async fn cut_off<T>(work: impl Future<Output = T>, most: usize) -> Option<T> {
    let mut work = std::pin::pin!(work);
    let mut polls = 0;
    std::future::poll_fn(|context| {
        if polls == most {
            return std::task::Poll::Ready(None);
        }
        polls += 1;
        let polled = work.as_mut().poll(context).map(Some);
        if polled.is_pending() && polls == most {
            return std::task::Poll::Ready(None);
        }
        polled
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_of_dropped_futures_leave_no_connection_and_no_transaction_behind() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state.db");
    let state = State::open(StateOptions::new(&path)).await.unwrap();
    let vectors = state.vectors();
    vectors.prepare(&space()).await.unwrap();
    let source = state.add_source(&new_source("/a/x.mp3")).await.unwrap();
    let me = owner(1);
    let key = EmbeddingKey::from_stored("key");
    let mut random = audiorag_testkit::synth::Random::new(7);
    let (mut cut, mut done) = (0, 0);
    for round in 0..3000 {
        let most = 1 + random.below(12);
        let new = new_source(&format!("/a/{round}.mp3"));
        let finished = match round % 6 {
            0 => cut_off(state.add_source(&new), most).await.map(drop),
            1 => cut_off(state.claim(&source.id, &me, TTL, &|_| true), most)
                .await
                .map(drop),
            2 => cut_off(state.list_sources(), most).await.map(drop),
            3 => cut_off(state.search_text("whale", 5, &Filter::default()), most)
                .await
                .map(drop),
            4 => cut_off(state.check(true, &|_| true), most).await.map(drop),
            _ => {
                let rows = [(key.clone(), vec![1.0, 0.0, 0.0])];
                let lease = audiorag_state::Lease {
                    source_id: source.id.clone(),
                    epoch: 0,
                };
                cut_off(state.save_embeddings(&lease, &space(), &rows, None), most)
                    .await
                    .map(drop)
            }
        };
        if finished.is_some() {
            done += 1;
        } else {
            cut += 1;
        }
    }
    assert!(cut > 300 && done > 300, "{cut} cut off, {done} done");
    // Every connection is free: four readers at once, and a writer whose commits others see.
    let reads = tokio::join!(
        state.list_sources(),
        state.list_sources(),
        state.list_sources(),
        state.list_sources()
    );
    let before = reads.0.unwrap().len();
    state.add_source(&new_source("/b/last.mp3")).await.unwrap();
    let other = State::open(StateOptions::new(&path)).await.unwrap();
    assert_eq!(other.list_sources().await.unwrap().len(), before + 1);
    other.add_source(&new_source("/b/after.mp3")).await.unwrap();
    assert_eq!(state.list_sources().await.unwrap().len(), before + 2);
}
