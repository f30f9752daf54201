//! Runs that are told to end while something else does not answer.

use super::support::{Place, index};
use audiorag::index::{IndexEvent, IndexObserver, IndexOptions, IndexReport, Input};
use audiorag::settings::Key;
use audiorag::{AudioRag, CancellationToken, ErrorKind};
use audiorag_core::Stage;
use audiorag_testkit::fake::{MemoryVectorStore, Script};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Indexes, and cancels as soon as a call is under way.
async fn cancelled_during(audiorag: &AudioRag, file: &Path, call: usize, script: &Script) -> IndexReport {
    let cancel = CancellationToken::new();
    let inputs = vec![Input::Path(file.to_owned())];
    let run = audiorag.index(inputs, IndexOptions::default(), &(), cancel.clone());
    let stop = async {
        while script.calls() < call {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        cancel.cancel();
    };
    tokio::join!(run, stop).0.unwrap()
}

#[tokio::test]
async fn an_embedder_that_never_answers_is_not_waited_for() {
    let mut place = Place::new();
    place.set(Key::IndexGraceSeconds, "0.05");
    let file = place.speech("a.wav", 3, 1);
    place.embedder.script().delay_nth(1, Duration::from_hours(1));
    let audiorag = place.open().await;
    let report = cancelled_during(&audiorag, &file, 1, place.embedder.script()).await;
    assert_eq!(report.failed[0].kind, ErrorKind::Cancelled, "{report:?}");
    assert_eq!(report.failed[0].stage, Some(Stage::Embed));
    assert_eq!(place.embedder.script().in_flight(), 0);
    let calls = place.transcriber.script().calls();
    assert_eq!(index(&audiorag, &[&file]).await.indexed.len(), 1);
    assert_eq!(place.transcriber.script().calls(), calls);
}

#[tokio::test]
async fn a_store_that_never_answers_is_not_waited_for() {
    // Prepare is the first call, then comes the write, then the count.
    for (call, stage) in [(2, Stage::Store), (3, Stage::Verify)] {
        let mut place = Place::new();
        let store = Arc::new(MemoryVectorStore::new());
        place.store = Some(Arc::clone(&store));
        place.set(Key::IndexGraceSeconds, "0.05");
        let file = place.speech("a.wav", 3, 1);
        store.script().delay_nth(call, Duration::from_hours(1));
        let audiorag = place.open().await;
        let report = cancelled_during(&audiorag, &file, call, store.script()).await;
        assert_eq!(report.failed[0].kind, ErrorKind::Cancelled, "{report:?}");
        assert_eq!(report.failed[0].stage, Some(stage));
        let batches = place.embedder.script().calls();
        assert_eq!(index(&audiorag, &[&file]).await.indexed.len(), 1);
        assert_eq!(place.embedder.script().calls(), batches);
    }
}

#[tokio::test]
async fn a_store_that_cannot_be_prepared_does_not_keep_a_run_from_ending() {
    let mut place = Place::new();
    let store = Arc::new(MemoryVectorStore::new());
    place.store = Some(Arc::clone(&store));
    place.set(Key::IndexGraceSeconds, "0.05");
    let file = place.speech("a.wav", 3, 1);
    store.script().delay_nth(1, Duration::from_hours(1));
    let audiorag = place.open().await;
    let cancel = CancellationToken::new();
    let inputs = vec![Input::Path(file.clone())];
    let run = audiorag.index(inputs, IndexOptions::default(), &(), cancel.clone());
    let stop = async {
        while store.script().calls() < 1 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        cancel.cancel();
    };
    let error = tokio::join!(run, stop).0.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled, "{error}");
    assert_eq!(store.script().in_flight(), 0);
    assert_eq!(index(&audiorag, &[&file]).await.indexed.len(), 1);
}

#[tokio::test]
async fn old_vectors_that_the_store_does_not_delete_do_not_keep_a_run_from_ending() {
    let mut place = Place::new();
    let store = Arc::new(MemoryVectorStore::new());
    place.store = Some(Arc::clone(&store));
    place.set(Key::IndexGraceSeconds, "0.05");
    let file = place.speech("a.wav", 3, 1);
    let audiorag = place.open().await;
    index(&audiorag, &[&file]).await;
    place.speech("a.wav", 4, 20);
    // Prepare, write, count, delete.
    let delete = store.script().calls() + 4;
    store.script().delay_nth(delete, Duration::from_hours(1));
    let report = cancelled_during(&audiorag, &file, delete, store.script()).await;
    assert_eq!(report.indexed.len(), 1, "{report:?}");
    assert_eq!(audiorag.state().pending_retirements().await.unwrap().len(), 1);
    assert_eq!(index(&audiorag, &[&file]).await.skipped.len(), 1);
    assert_eq!(store.records().len(), report.indexed[0].chunks);
}

/// Cancels as soon as a recording is looked at.
struct AtOnce(CancellationToken);

impl IndexObserver for AtOnce {
    fn event(&self, event: IndexEvent) {
        if matches!(
            event,
            IndexEvent::StageStarted {
                stage: Stage::Probe,
                ..
            }
        ) {
            self.0.cancel();
        }
    }
}

#[tokio::test]
async fn a_recording_that_is_being_read_is_not_waited_for() {
    let place = Place::new();
    let file = place.speech("a.wav", 3, 1);
    let audiorag = place.open().await;
    let observer = AtOnce(CancellationToken::new());
    let inputs = vec![Input::Path(file.clone())];
    let run = audiorag.index(inputs, IndexOptions::default(), &observer, observer.0.clone());
    let report = run.await.unwrap();
    assert!(report.cancelled);
    assert_eq!(report.failed[0].kind, ErrorKind::Cancelled, "{report:?}");
    assert_eq!(report.failed[0].stage, Some(Stage::Probe));
    // What it is was not found out.
    assert!(audiorag.state().list_sources().await.unwrap().is_empty());
    assert_eq!(index(&audiorag, &[&file]).await.indexed.len(), 1);
}
