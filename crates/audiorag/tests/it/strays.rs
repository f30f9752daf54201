//! Vectors that reach a store outside the database when their source is gone.

use super::support::{Place, index};
use audiorag::index::{IndexOptions, Input};
use audiorag::settings::Key;
use audiorag::{CancellationToken, ErrorKind};
use audiorag_testkit::fake::MemoryVectorStore;
use std::sync::Arc;
use std::time::Duration;

#[tokio::test]
async fn vectors_that_arrive_after_the_deletion_of_their_source_are_deleted_too() {
    for fails in [false, true] {
        let mut place = Place::new();
        let store = Arc::new(MemoryVectorStore::new().with_limits(|limits| limits.max_batch = 1));
        place.store = Some(Arc::clone(&store));
        place.set(Key::ChunkDurationSeconds, "2");
        let file = place.speech("a.wav", 6, 1);
        let audiorag = place.open().await;
        // Prepare, the first batch, and the second one on its way.
        store.script().hold_nth(3);
        if fails {
            store.script().fail_nth(3, ErrorKind::Unavailable);
        }
        let inputs = vec![Input::Path(file.clone())];
        let run = audiorag.index(inputs, IndexOptions::default(), &(), CancellationToken::new());
        let delete = async {
            while store.script().calls() < 3 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            let source = audiorag.state().list_sources().await.unwrap().remove(0);
            audiorag.delete(&source.id).await.unwrap();
            assert_eq!(store.records(), []);
            assert_eq!(audiorag.state().pending_retirements().await.unwrap(), []);
            store.script().release();
        };
        let report = tokio::join!(run, delete).0.unwrap();
        assert_eq!((report.skipped.len(), report.failed.len()), (1, 0), "{report:?}");
        assert!(
            report.skipped[0].reason.contains("deleted or taken over"),
            "{report:?}"
        );
        // Nothing but what was under way, and the next run deletes that.
        assert_eq!(store.records().len(), usize::from(!fails));
        assert_eq!(audiorag.state().pending_retirements().await.unwrap().len(), 1);
        let other = place.speech("b.wav", 1, 50);
        let report = index(&audiorag, &[&other]).await;
        assert_eq!(store.records().len(), report.indexed[0].chunks, "{report:?}");
        assert_eq!(audiorag.check().await.unwrap(), []);
    }
}
