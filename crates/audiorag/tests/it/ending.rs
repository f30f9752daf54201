//! Runs that are told to end while something else does not answer.

use super::support::{Place, index};
use audiorag::index::{IndexOptions, IndexReport, Input};
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
