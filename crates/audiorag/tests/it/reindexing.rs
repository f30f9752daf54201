//! Indexed sources made anew: cut again, embedded for another model, transcribed again; and what is left of them.

use super::support::{Place, index, index_with};
use audiorag::index::{IndexOptions, IndexReport, Reindex, ReindexOptions};
use audiorag::query::QueryOptions;
use audiorag::settings::Key;
use audiorag::{AudioRag, CancellationToken, ErrorKind};
use audiorag_core::id::SourceId;
use audiorag_testkit::fake::{HashEmbedder, MemoryVectorStore};
use audiorag_testkit::synth::Track;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

fn all(what: Reindex) -> ReindexOptions {
    ReindexOptions {
        what,
        sources: Vec::new(),
        max_cost: None,
    }
}

async fn reindex(audiorag: &AudioRag, what: Reindex) -> IndexReport {
    audiorag
        .reindex(all(what), &(), CancellationToken::new())
        .await
        .unwrap()
}

/// Three recordings, one of them silent, and their files.
async fn three(place: &Place) -> (AudioRag, Vec<PathBuf>) {
    let files = vec![
        place.speech("a.wav", 3, 1),
        place.speech("b.wav", 4, 40),
        place.write("quiet.wav", &Track::new(16_000).silence(8_000).to_wav()),
    ];
    let audiorag = place.open().await;
    let paths: Vec<_> = files.iter().map(PathBuf::as_path).collect();
    let report = index(&audiorag, &paths).await;
    assert_eq!((report.indexed.len(), report.empty.len()), (2, 1), "{report:?}");
    (audiorag, files)
}

async fn hits(audiorag: &AudioRag) -> usize {
    audiorag
        .search("anything at all", QueryOptions::default())
        .await
        .unwrap()
        .hits
        .len()
}

#[tokio::test]
async fn chunks_are_cut_again_without_the_file_and_without_speech_to_text() {
    let mut place = Place::new();
    let (_, files) = three(&place).await;
    let calls = place.transcriber.script().calls();
    for file in &files {
        std::fs::remove_file(file).unwrap();
    }
    place.set(Key::ChunkDurationSeconds, "2");
    let audiorag = place.open().await;
    let plan = audiorag.plan_reindex(&all(Reindex::Rechunk)).await.unwrap();
    assert_eq!(plan.sources.len(), 3);
    assert!(
        plan.sources.iter().all(|source| source.skip.is_none()),
        "{plan:?}"
    );
    assert_eq!((plan.parts(), plan.is_remote), (0, true));
    assert!(plan.vectors() > 0 && plan.cost().is_none(), "{plan:?}");

    let report = reindex(&audiorag, Reindex::Rechunk).await;
    assert_eq!((report.indexed.len(), report.empty.len()), (2, 1), "{report:?}");
    assert_eq!(report.transcribed_parts(), 0);
    assert!(report.reused_parts() > 0);
    assert_eq!(place.transcriber.script().calls(), calls);
    for (planned, done) in plan.sources.iter().zip(&report.indexed) {
        assert_eq!(
            (planned.chunks, planned.new_vectors),
            (done.chunks, done.embedded_chunks)
        );
        assert!(done.chunks > 1, "{done:?}");
    }
    let chunks: usize = report.indexed.iter().map(|source| source.chunks).sum();
    assert_eq!(hits(&audiorag).await, chunks.min(10));
    assert!(audiorag.state().pending_retirements().await.unwrap().is_empty());

    // Again there is nothing to do.
    let again = reindex(&audiorag, Reindex::Rechunk).await;
    assert_eq!(again.skipped.len(), 3, "{again:?}");
    assert!(again.skipped.iter().all(|skipped| skipped.reason == "unchanged"));
}

#[tokio::test]
async fn cutting_again_leaves_what_index_would_leave_and_reuses_vectors_of_equal_texts() {
    let mut place = Place::new();
    let (_, files) = three(&place).await;
    let paths: Vec<_> = files.iter().map(PathBuf::as_path).collect();
    place.set(Key::ChunkDurationSeconds, "2");
    let audiorag = place.open().await;
    assert_eq!(reindex(&audiorag, Reindex::Rechunk).await.indexed.len(), 2);
    let after = index(&audiorag, &paths).await;
    assert_eq!(after.skipped.len(), 3, "{after:?}");
    // And back: both sets of vectors are known.
    let batches = place.embedder.script().calls();
    place.settings.clear();
    let report = reindex(&place.open().await, Reindex::Rechunk).await;
    assert_eq!(report.indexed.len(), 2);
    assert!(
        report.indexed.iter().all(|source| source.embedded_chunks == 0),
        "{report:?}"
    );
    assert_eq!(place.embedder.script().calls(), batches);
}

#[tokio::test]
async fn the_whole_index_changes_its_embedding_model_at_once() {
    let mut place = Place::new();
    let (old, files) = three(&place).await;
    let calls = place.transcriber.script().calls();
    place.embedder = Arc::new(HashEmbedder::named("another", 32));
    let new = place.open().await;
    let refused = new.query("what?", QueryOptions::default()).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Config);
    assert!(
        refused.hint().unwrap().contains("audiorag reindex --reembed"),
        "{refused:?}"
    );
    let some = ReindexOptions {
        what: Reindex::Reembed,
        sources: vec![old.state().list_sources().await.unwrap()[0].id.clone()],
        max_cost: None,
    };
    let error = new
        .reindex(some, &(), CancellationToken::new())
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Input);

    let before = hits(&old).await;
    let report = reindex(&new, Reindex::Reembed).await;
    assert_eq!(
        (report.indexed.len(), report.empty.len(), report.prepared.len()),
        (2, 1, 0),
        "{report:?}"
    );
    assert_eq!(place.transcriber.script().calls(), calls);
    assert_eq!(hits(&new).await, before);
    assert_eq!(
        old.query("what?", QueryOptions::default())
            .await
            .unwrap_err()
            .kind(),
        ErrorKind::Config
    );
    assert!(new.state().pending_retirements().await.unwrap().is_empty());
    let paths: Vec<_> = files.iter().map(PathBuf::as_path).collect();
    assert_eq!(index(&new, &paths).await.skipped.len(), 3);
    assert_eq!(reindex(&new, Reindex::Reembed).await.skipped.len(), 3);
}

#[tokio::test]
async fn an_embedder_that_fails_half_way_switches_nothing_and_is_not_asked_twice() {
    let mut place = Place::new();
    place.set(Key::IndexSourceConcurrency, "1");
    let (old, _) = three(&place).await;
    place.embedder = Arc::new(HashEmbedder::named("another", 32));
    place.embedder.script().fail_nth(2, ErrorKind::Unavailable);
    let new = place.open().await;
    let report = reindex(&new, Reindex::Reembed).await;
    assert_eq!(
        (report.indexed.len(), report.prepared.len(), report.failed.len()),
        (0, 2, 1),
        "{report:?}"
    );
    assert!(hits(&old).await > 0, "the old model answers as before");
    let calls = place.embedder.script().succeeded();
    let report = reindex(&new, Reindex::Reembed).await;
    assert_eq!((report.indexed.len(), report.empty.len()), (2, 1), "{report:?}");
    assert_eq!(place.embedder.script().succeeded(), calls + 1);
    assert!(hits(&new).await > 0);
}

#[tokio::test]
async fn an_interrupted_change_of_the_model_goes_on_where_it_was() {
    let mut place = Place::new();
    place.set(Key::IndexSourceConcurrency, "1");
    place.set(Key::IndexGraceSeconds, "0.05");
    let (old, _) = three(&place).await;
    place.embedder = Arc::new(HashEmbedder::named("another", 32));
    // The second source waits for an answer that never comes.
    place.embedder.script().delay_nth(2, Duration::from_hours(1));
    let new = place.open().await;
    let cancel = CancellationToken::new();
    let script = place.embedder.script();
    let stop = async {
        while script.calls() < 2 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        cancel.cancel();
    };
    let (report, ()) = tokio::join!(new.reindex(all(Reindex::Reembed), &(), cancel.clone()), stop);
    let report = report.unwrap();
    assert!(report.cancelled);
    assert_eq!((report.prepared.len(), report.not_started), (1, 1), "{report:?}");
    assert_eq!(report.failed[0].kind, ErrorKind::Cancelled, "{report:?}");
    assert!(hits(&old).await > 0);
    let report = reindex(&new, Reindex::Reembed).await;
    assert_eq!((report.indexed.len(), report.empty.len()), (2, 1), "{report:?}");
    assert_eq!(script.calls(), 3, "the finished source was embedded once");
}

#[tokio::test]
async fn sources_that_come_change_or_go_meanwhile_come_out_right() {
    let mut place = Place::new();
    place.set(Key::IndexSourceConcurrency, "1");
    let (old, _) = three(&place).await;
    let old_embedder = Arc::clone(&place.embedder);
    place.embedder = Arc::new(HashEmbedder::named("another", 32));
    let new = place.open().await;
    place.embedder.script().hold_nth(2);
    let script = place.embedder.script();
    let sources = old.state().list_sources().await.unwrap();
    let id = |name: &str| -> SourceId {
        sources
            .iter()
            .find(|source| source.locator.to_string().contains(name))
            .unwrap()
            .id
            .clone()
    };
    let meanwhile = async {
        while script.calls() < 2 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        // The first source is prepared, the second under way.
        let edited = place.speech("a.wav", 5, 900);
        let added = place.speech("late.wav", 2, 700);
        assert_eq!(index(&old, &[&edited, &added]).await.indexed.len(), 2);
        old.delete(&id("quiet")).await.unwrap();
        script.release();
    };
    let (report, ()) = tokio::join!(
        new.reindex(all(Reindex::Reembed), &(), CancellationToken::new()),
        meanwhile
    );
    let report = report.unwrap();
    assert_eq!((report.indexed.len(), report.failed.len()), (3, 0), "{report:?}");
    assert!(old_embedder.script().calls() > 2);
    let spaces = new.state().live_spaces().await.unwrap();
    assert_eq!(spaces.len(), 1, "{spaces:?}");
    assert!(spaces[0].0.contains("another"));
    let live = new.state().list_sources().await.unwrap();
    let names: Vec<String> = live.iter().map(|source| source.locator.to_string()).collect();
    assert_eq!(live.len(), 3, "{names:?}");
    let chunks: u64 = live.iter().map(|source| source.chunk_count).sum();
    assert_eq!(hits(&new).await as u64, chunks.min(10));
}

#[tokio::test]
async fn readers_see_the_old_or_the_new_index_and_never_nothing() {
    let mut place = Place::new();
    let (old, _) = three(&place).await;
    let expected = hits(&old).await;
    place.embedder = Arc::new(HashEmbedder::named("another", 32));
    place.embedder.script().delay(Duration::from_millis(20));
    let new = place.open().await;
    let done = CancellationToken::new();
    let reading = async {
        let (mut of_old, mut of_new) = (0, 0);
        loop {
            let ended = done.is_cancelled();
            let [before, after] =
                [&old, &new].map(|reader| reader.search("anything at all", QueryOptions::default()));
            match before.await {
                Ok(reply) => {
                    assert_eq!(reply.hits.len(), expected);
                    of_old += 1;
                }
                Err(error) => assert_eq!(error.kind(), ErrorKind::Config, "{error}"),
            }
            match after.await {
                Ok(reply) => {
                    assert_eq!(reply.hits.len(), expected);
                    of_new += 1;
                }
                Err(error) => assert_eq!(error.kind(), ErrorKind::Config, "{error}"),
            }
            if ended {
                return (of_old, of_new);
            }
        }
    };
    let switching = async {
        let report = reindex(&new, Reindex::Reembed).await;
        done.cancel();
        report
    };
    let (report, (of_old, of_new)) = tokio::join!(switching, reading);
    assert_eq!(report.indexed.len(), 2, "{report:?}");
    assert!(of_old > 0 && of_new > 0, "{of_old} and {of_new}");
}

#[tokio::test]
async fn a_store_of_its_own_holds_both_models_until_the_old_one_is_retired() {
    let mut place = Place::new();
    let store = Arc::new(MemoryVectorStore::new());
    place.store = Some(Arc::clone(&store));
    three(&place).await;
    let vectors = store.records().len();
    place.embedder = Arc::new(HashEmbedder::named("another", 32));
    let new = place.open().await;
    let report = reindex(&new, Reindex::Reembed).await;
    assert_eq!(report.indexed.len(), 2);
    assert_eq!(store.records().len(), vectors);
    assert!(store.records().iter().all(|record| record.vector.len() == 32));
    assert!(new.state().pending_retirements().await.unwrap().is_empty());
    use audiorag_core::capability::{Embedder as _, VectorStore as _};
    store.prepare(HashEmbedder::new(64).space()).await.unwrap();
    assert!(store.records().is_empty(), "the old model's vectors are gone");
}

#[tokio::test]
async fn transcribing_again_replaces_the_words_and_is_paid_for_once() {
    let place = Place::new();
    let (audiorag, _) = three(&place).await;
    let calls = place.transcriber.script().calls();
    let plan = audiorag.plan_reindex(&all(Reindex::Retranscribe)).await.unwrap();
    assert!(plan.is_remote);
    assert_eq!(plan.parts() as usize, calls);
    assert!(plan.audio() > audiorag_core::MediaTime::ZERO);
    let report = reindex(&audiorag, Reindex::Retranscribe).await;
    assert_eq!(report.indexed.len(), 2, "{report:?}");
    assert_eq!(report.transcribed_parts() as usize, calls);
    assert_eq!(place.transcriber.script().calls(), 2 * calls);
    assert!(audiorag.state().unfinished_revisions().await.unwrap().is_empty());
    // What is left is what `index` would have made.
    let paths = [place.path("a.wav"), place.path("b.wav"), place.path("quiet.wav")];
    let paths: Vec<_> = paths.iter().map(PathBuf::as_path).collect();
    assert_eq!(index(&audiorag, &paths).await.skipped.len(), 3);
    // Another request is another request.
    let again = reindex(&audiorag, Reindex::Retranscribe).await;
    assert_eq!(again.transcribed_parts() as usize, calls);
}

#[tokio::test]
async fn a_request_to_transcribe_again_that_failed_goes_on_where_it_was() {
    let mut place = Place::new();
    place.set(Key::IndexSourceConcurrency, "1");
    place.set(Key::SttConcurrency, "1");
    let (audiorag, _) = three(&place).await;
    let calls = place.transcriber.script().calls();
    let before = place.transcriber.script().succeeded();
    // The last part of the second source.
    place
        .transcriber
        .script()
        .fail_nth(2 * calls, ErrorKind::Unavailable);
    let failed = reindex(&audiorag, Reindex::Retranscribe).await;
    assert_eq!((failed.indexed.len(), failed.failed.len()), (1, 1), "{failed:?}");
    let plan = audiorag.plan_reindex(&all(Reindex::Retranscribe)).await.unwrap();
    assert_eq!(plan.parts(), 1, "{plan:?}");
    let resumed = reindex(&audiorag, Reindex::Retranscribe).await;
    assert_eq!(
        (resumed.indexed.len(), resumed.transcribed_parts()),
        (1, 1),
        "{resumed:?}"
    );
    assert_eq!(place.transcriber.script().succeeded() - before, calls);
}

#[tokio::test]
async fn a_source_whose_file_is_gone_keeps_its_transcript() {
    let place = Place::new();
    let (audiorag, files) = three(&place).await;
    std::fs::remove_file(&files[0]).unwrap();
    let before = hits(&audiorag).await;
    let report = reindex(&audiorag, Reindex::Retranscribe).await;
    assert_eq!((report.indexed.len(), report.failed.len()), (1, 1), "{report:?}");
    assert_eq!(report.failed[0].kind, ErrorKind::NotFound, "{report:?}");
    assert_eq!(hits(&audiorag).await, before);
}

#[tokio::test]
async fn gc_removes_what_is_out_of_use_for_long_enough_and_nothing_else() {
    let mut place = Place::new();
    let (audiorag, files) = three(&place).await;
    let calls = place.transcriber.script().calls();
    let report = index_with(
        &audiorag,
        &[&files[0]],
        IndexOptions {
            force: true,
            ..IndexOptions::default()
        },
    )
    .await;
    audiorag.delete(&report.indexed[0].source_id).await.unwrap();
    let kept = audiorag.gc(false).await.unwrap();
    assert_eq!(
        kept,
        audiorag::gc::GcReport::default(),
        "it was used a moment ago"
    );
    // Notes of jobs, and the work directory of a process that was killed.
    let work = place.settings().work_dir;
    std::fs::create_dir_all(work.join("jobs")).unwrap();
    std::fs::write(work.join("jobs/assemblyai-1.json"), "{}").unwrap();
    std::fs::create_dir_all(work.join("run-elsewhere-1-1-x")).unwrap();
    std::fs::write(work.join("run-elsewhere-1-1-x/part.wav"), "12345").unwrap();

    place.set(Key::GcRetention, "0s");
    let audiorag = place.open().await;
    let planned = audiorag.gc(true).await.unwrap();
    let done = audiorag.gc(false).await.unwrap();
    assert_eq!(
        audiorag::gc::GcReport {
            dry_run: false,
            ..planned
        },
        done
    );
    assert!(
        done.cache.part_transcripts > 0 && done.cache.part_bytes > 0,
        "{done:?}"
    );
    assert!(
        done.cache.embeddings > 0 && done.cache.embedding_bytes > 0,
        "{done:?}"
    );
    assert_eq!((done.notes, done.note_bytes), (1, 2));
    assert_eq!((done.work_dirs, done.work_dir_bytes), (1, 5));
    assert!(hits(&audiorag).await > 0, "the other source is whole");
    let paths: Vec<_> = files.iter().map(PathBuf::as_path).collect();
    let again = index(&audiorag, &paths).await;
    assert_eq!((again.indexed.len(), again.skipped.len()), (1, 2), "{again:?}");
    assert_eq!(
        place.transcriber.script().calls(),
        calls + done.cache.part_transcripts as usize
    );
}
