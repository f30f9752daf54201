//! Files that released versions wrote are opened by today's code, with everything that is in them.

use audiorag_core::ErrorKind;
use audiorag_core::capability::{Selector, VectorStore as _};
use audiorag_core::model::{Filter, SourceStatus};
use audiorag_state::{Problem, State, StateOptions, migrate, rollback, schema_status};
use std::path::{Path, PathBuf};

/// A word that is said in each of the files.
const WORD: &str = "worst";

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/databases")
}

/// The released versions, oldest first.
async fn versions() -> Vec<String> {
    let nowhere = StateOptions::new(folder().join("none.db"));
    schema_status(&nowhere).await.unwrap().pending
}

/// A copy to work on: the original stays what it is.
fn copy(version: &str, directory: &Path) -> StateOptions {
    let path = directory.join("audiorag.db");
    std::fs::copy(folder().join(format!("{version}.db")), &path).unwrap();
    StateOptions::new(path)
}

/// Lists, finds, reads and searches what the file holds.
async fn holds_everything(options: &StateOptions) {
    let state = State::open(options.clone()).await.unwrap();
    let sources = state.list_sources().await.unwrap();
    assert!(!sources.is_empty());
    for source in sources {
        assert_eq!(source.status, SourceStatus::Completed);
        let live = state.live_revision(&source.id).await.unwrap().unwrap();
        let chunks = state.chunks_of(live.id).await.unwrap();
        assert_eq!(chunks.len() as u64, live.chunk_count);
        let transcript = state.transcript(live.id).await.unwrap();
        assert!(
            transcript
                .segments
                .iter()
                .any(|segment| segment.text.contains(WORD)),
            "{transcript:?}"
        );
        let found = state.search_text(WORD, 10, &Filter::default()).await.unwrap();
        assert!(chunks.iter().any(|chunk| chunk.chunk_id == found[0].0));
        let vectors = state.vectors();
        vectors.prepare(&live.space).await.unwrap();
        assert_eq!(vectors.count(&Selector::All).await.unwrap(), live.chunk_count);
        let keys: Vec<_> = chunks.iter().map(|chunk| chunk.embedding_key.clone()).collect();
        let cached = state.cached_embeddings(&keys).await.unwrap();
        for chunk in &chunks {
            let nearest = vectors
                .search(&cached[&chunk.embedding_key], 1, &Filter::default())
                .await
                .unwrap();
            assert_eq!(nearest[0].id, chunk.chunk_id);
            assert!(nearest[0].score > 0.99, "{nearest:?}");
        }
    }
    let found = state.check(true, &|_| false).await.unwrap();
    assert!(
        found
            .iter()
            .all(|finding| finding.problem == Problem::RecordingMissing),
        "{found:?}"
    );
    assert_eq!(state.file_damage().await.unwrap(), Vec::<String>::new());
    state.close().await;
}

#[tokio::test]
async fn every_released_version_but_the_newest_has_its_file() {
    let mut versions = versions().await;
    versions.pop();
    let mut files: Vec<String> = std::fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    files.sort();
    let expected: Vec<String> = versions.iter().map(|version| format!("{version}.db")).collect();
    assert!(!expected.is_empty());
    for name in &expected {
        assert!(
            files.contains(name),
            "keep a database that {name} wrote: tests/fixtures/README.md says how"
        );
    }
}

#[tokio::test]
async fn each_is_brought_up_to_date_taken_back_and_brought_up_again() {
    let versions = versions().await;
    let (newest, older) = versions.split_last().unwrap();
    for (number, version) in older.iter().enumerate() {
        let directory = tempfile::tempdir().unwrap();
        let options = copy(version, directory.path());
        assert_eq!(
            schema_status(&options).await.unwrap().current(),
            Some(version.as_str())
        );
        holds_everything(&options).await;
        assert_eq!(
            schema_status(&options).await.unwrap().current(),
            Some(newest.as_str())
        );
        let steps = (versions.len() - number - 1) as u32;
        let status = rollback(&options, steps).await.unwrap();
        assert_eq!(status.current(), Some(version.as_str()));
        let status = migrate(&options).await.unwrap();
        assert_eq!(
            (status.current(), status.pending.len()),
            (Some(newest.as_str()), 0)
        );
        holds_everything(&options).await;
    }
}

#[tokio::test]
async fn a_file_of_an_older_version_is_not_changed_by_a_reader_who_is_told_why() {
    let mut versions = versions().await;
    versions.pop();
    for version in versions {
        let directory = tempfile::tempdir().unwrap();
        let options = StateOptions {
            read_only: true,
            ..copy(&version, directory.path())
        };
        let before = std::fs::read(&options.path).unwrap();
        let error = State::open(options.clone()).await.err().unwrap();
        assert_eq!(error.kind(), ErrorKind::State);
        assert!(
            error.message().contains("older schema") && error.message().contains("read-only"),
            "{error}"
        );
        assert!(error.hint().unwrap().contains("audiorag db migrate"));
        assert!(std::fs::read(&options.path).unwrap() == before);
    }
}
