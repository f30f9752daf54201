//! Index runs: what is done again and what is not, whatever happens in between.

use super::support::{Place, index, index_with};
use audiorag::index::{IndexEvent, IndexObserver, IndexOptions, Input};
use audiorag::query::QueryOptions;
use audiorag::settings::Key;
use audiorag::{CancellationToken, ErrorKind};
use audiorag_core::capability::PromptLimit;
use audiorag_core::model::SourceStatus;
use audiorag_core::{MediaTime, Stage};
use audiorag_testkit::fake::{FakeTranscriber, HashEmbedder, MemoryVectorStore};
use audiorag_testkit::synth::Track;
use std::sync::{Arc, Mutex};
use std::time::Duration;

#[tokio::test]
async fn a_second_run_does_nothing_and_says_so() {
    let place = Place::new();
    let file = place.speech("a.wav", 4, 1);
    let audiorag = place.open().await;
    let first = index(&audiorag, &[&file]).await;
    assert_eq!((first.indexed.len(), first.failed.len()), (1, 0), "{first:?}");
    let calls = place.transcriber.script().calls();
    assert!(calls >= 2, "several parts: {calls}");
    assert_eq!(first.transcribed_parts() as usize, calls);
    let again = index(&audiorag, &[&file]).await;
    assert_eq!(again.skipped[0].reason, "unchanged");
    assert_eq!(place.transcriber.script().calls(), calls);
}

#[tokio::test]
async fn touching_copying_and_moving_cost_no_speech_to_text() {
    let place = Place::new();
    let file = place.speech("a.wav", 3, 1);
    let audiorag = place.open().await;
    let first = index(&audiorag, &[&file]).await;
    let id = first.indexed[0].source_id.clone();
    let calls = place.transcriber.script().calls();
    let batches = place.embedder.script().calls();

    // Touched: the bytes are hashed and found the same.
    let later = std::time::SystemTime::now() + Duration::from_secs(100);
    std::fs::File::options()
        .write(true)
        .open(&file)
        .unwrap()
        .set_modified(later)
        .unwrap();
    assert_eq!(index(&audiorag, &[&file]).await.skipped[0].reason, "unchanged");

    // Copied: a second source, its words and vectors already paid for.
    let copy = place.path("copy.wav");
    std::fs::copy(&file, &copy).unwrap();
    let copied = index(&audiorag, &[&copy]).await;
    assert_eq!(copied.indexed.len(), 1);
    assert_ne!(copied.indexed[0].source_id, id);
    assert_eq!(copied.transcribed_parts(), 0);
    assert!(copied.reused_parts() > 0);

    // Moved: the same source under its new name.
    let moved = place.path("moved.wav");
    std::fs::rename(&file, &moved).unwrap();
    let report = index(&audiorag, &[&moved]).await;
    assert_eq!(report.skipped[0].source_id, id, "{report:?}");
    assert_eq!(report.skipped[0].reason, "moved");
    let sources = audiorag.state().list_sources().await.unwrap();
    assert_eq!(sources.len(), 2);
    assert!(
        sources
            .iter()
            .any(|s| s.id == id && s.locator.as_path().unwrap().ends_with("moved.wav"))
    );

    assert_eq!(place.transcriber.script().calls(), calls);
    assert_eq!(place.embedder.script().calls(), batches);

    // Something else under the old name is a source of its own.
    let other = place.speech("a.wav", 2, 77);
    let report = index(&audiorag, &[&other]).await;
    assert_eq!(report.indexed.len(), 1, "{report:?}");
    assert_ne!(report.indexed[0].source_id, id);
}

#[tokio::test]
async fn peer_defect_08_an_edited_file_is_indexed_again_under_its_own_id() {
    let place = Place::new();
    let file = place.speech("a.wav", 2, 1);
    let audiorag = place.open().await;
    let first = index(&audiorag, &[&file]).await;
    place.speech("a.wav", 3, 500);
    let second = index(&audiorag, &[&file]).await;
    assert_eq!(second.indexed[0].source_id, first.indexed[0].source_id);
    assert_ne!(second.indexed[0].revision, first.indexed[0].revision);
    let sources = audiorag.state().list_sources().await.unwrap();
    assert_eq!(sources.len(), 1);
    assert_eq!(sources[0].active_revision, Some(second.indexed[0].revision));
    assert!(audiorag.state().pending_retirements().await.unwrap().is_empty());
}

#[tokio::test]
async fn two_copies_in_one_run_are_paid_for_once() {
    let place = Place::new();
    let a = place.speech("a.wav", 3, 1);
    let b = place.path("b.wav");
    std::fs::copy(&a, &b).unwrap();
    place.transcriber.script().delay(Duration::from_millis(20));
    let audiorag = place.open().await;
    let report = index(&audiorag, &[&a, &b]).await;
    assert_eq!(report.indexed.len(), 2);
    let parts = report.indexed[0].transcribed_parts + report.indexed[0].reused_parts;
    assert_eq!(place.transcriber.script().calls() as u32, parts);
}

#[tokio::test]
async fn peer_defect_13_force_builds_beside_and_pays_nothing_twice() {
    let place = Place::new();
    let file = place.speech("a.wav", 3, 1);
    let audiorag = place.open().await;
    let first = index(&audiorag, &[&file]).await;
    let calls = place.transcriber.script().calls();
    let forced = index_with(
        &audiorag,
        &[&file],
        IndexOptions {
            force: true,
            ..IndexOptions::default()
        },
    )
    .await;
    assert_eq!(forced.indexed.len(), 1);
    assert_ne!(forced.indexed[0].revision, first.indexed[0].revision);
    assert_eq!(forced.transcribed_parts(), 0);
    assert_eq!(place.transcriber.script().calls(), calls);
    let hits = audiorag
        .search("anything at all", QueryOptions::default())
        .await
        .unwrap()
        .hits;
    assert_eq!(
        hits.len(),
        forced.indexed[0].chunks,
        "each chunk once, none of the old revision"
    );
}

#[tokio::test]
async fn a_failing_part_keeps_what_was_paid_and_the_next_run_resumes() {
    let place = Place::new();
    let file = place.speech("a.wav", 5, 1);
    place.transcriber.script().fail_nth(3, ErrorKind::Unavailable);
    let audiorag = place.open().await;
    let failed = index(&audiorag, &[&file]).await;
    assert_eq!(failed.failed[0].stage, Some(Stage::Transcribe), "{failed:?}");
    assert_eq!(failed.failed[0].kind, ErrorKind::Unavailable);
    let source = &audiorag.state().list_sources().await.unwrap()[0];
    assert_eq!(source.status, SourceStatus::Failed);
    assert!(source.owner.is_none());
    let paid = place.transcriber.script().succeeded();
    let resumed = index(&audiorag, &[&file]).await;
    assert_eq!(resumed.indexed.len(), 1, "{resumed:?}");
    assert_eq!(resumed.reused_parts() as usize, paid);
    let parts = resumed.indexed[0].transcribed_parts as usize + paid;
    assert_eq!(
        place.transcriber.script().calls(),
        parts + 1,
        "each part once, and the failed call"
    );
}

#[tokio::test]
async fn peer_defect_01_an_interrupted_source_is_taken_up_again() {
    let place = Place::new();
    let file = place.speech("a.wav", 6, 1);
    place.transcriber.script().delay(Duration::from_millis(50));
    let audiorag = place.open().await;
    let cancel = CancellationToken::new();
    let stopper = cancel.clone();
    let script = place.transcriber.script();
    let run = audiorag.index(
        vec![Input::Path(file.clone())],
        IndexOptions::default(),
        &(),
        cancel,
    );
    let stop = async {
        while script.succeeded() == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        stopper.cancel();
    };
    let (report, ()) = tokio::join!(run, stop);
    let report = report.unwrap();
    assert!(report.cancelled);
    assert_eq!(report.failed[0].kind, ErrorKind::Cancelled, "{report:?}");
    let paid = script.succeeded();
    let resumed = index(&audiorag, &[&file]).await;
    assert_eq!(resumed.indexed.len(), 1, "{resumed:?}");
    assert_eq!(resumed.reused_parts() as usize, paid);
}

#[tokio::test]
async fn an_interrupted_run_does_not_wait_for_a_vendor_that_never_answers() {
    let mut place = Place::new();
    place.set(Key::IndexGraceSeconds, "0.05");
    let file = place.speech("a.wav", 3, 1);
    place.transcriber.script().delay(Duration::from_hours(1));
    let audiorag = place.open().await;
    let cancel = CancellationToken::new();
    let stopper = cancel.clone();
    let script = place.transcriber.script();
    let run = audiorag.index(vec![Input::Path(file)], IndexOptions::default(), &(), cancel);
    let stop = async {
        while script.in_flight() == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        stopper.cancel();
    };
    let (report, ()) = tokio::join!(run, stop);
    assert_eq!(report.unwrap().failed[0].kind, ErrorKind::Cancelled);
    assert_eq!(script.in_flight(), 0, "nobody waits for the answer any more");
}

#[tokio::test]
async fn silence_is_empty_costs_nothing_and_stays_so() {
    let place = Place::new();
    let file = place.write("quiet.wav", &Track::new(16_000).silence(15_000).to_wav());
    let audiorag = place.open().await;
    let report = index(&audiorag, &[&file]).await;
    assert_eq!(report.empty.len(), 1, "{report:?}");
    assert_eq!(report.empty[0].duration, MediaTime::from_seconds(15));
    assert_eq!(
        place.transcriber.script().calls() + place.embedder.script().calls(),
        0
    );
    assert_eq!(
        audiorag.state().list_sources().await.unwrap()[0].status,
        SourceStatus::Empty
    );
    assert_eq!(
        index(&audiorag, &[&file]).await.skipped[0].reason,
        "unchanged, no speech in it"
    );
    assert!(
        audiorag
            .query("anything?", QueryOptions::default())
            .await
            .unwrap()
            .answer
            .text
            .is_empty()
    );
}

#[tokio::test]
async fn one_bad_file_does_not_stop_the_others() {
    let place = Place::new();
    let good = place.speech("good.wav", 2, 1);
    let bad = place.write(
        "bad.mp3",
        b"%PDF-1.7 this is not a recording, whatever its name says",
    );
    let audiorag = place.open().await;
    let report = index(&audiorag, &[&bad, &good, &place.path("missing.wav")]).await;
    assert_eq!(report.indexed.len(), 1, "{report:?}");
    let kinds: Vec<ErrorKind> = report.failed.iter().map(|failure| failure.kind).collect();
    assert_eq!(kinds, [ErrorKind::Input, ErrorKind::NotFound]);
}

#[tokio::test]
async fn refused_credentials_stop_new_sources() {
    let mut place = Place::new();
    place.set(Key::IndexSourceConcurrency, "1");
    let files: Vec<_> = (0..4)
        .map(|n| place.speech(&format!("{n}.wav"), 2, n * 10))
        .collect();
    place.transcriber.script().go_down(ErrorKind::Auth);
    let audiorag = place.open().await;
    let paths: Vec<_> = files.iter().map(std::path::PathBuf::as_path).collect();
    let report = index(&audiorag, &paths).await;
    assert_eq!((report.failed.len(), report.not_started), (1, 3), "{report:?}");
}

#[tokio::test]
async fn another_embedding_model_is_refused_by_index_and_query() {
    let mut place = Place::new();
    let file = place.speech("a.wav", 2, 1);
    index(&place.open().await, &[&file]).await;
    place.embedder = Arc::new(HashEmbedder::named("another", 32));
    let audiorag = place.open().await;
    let inputs = vec![Input::Path(file)];
    let error = audiorag
        .index(inputs, IndexOptions::default(), &(), CancellationToken::new())
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.message().contains("another/32"), "{error}");
    let error = audiorag
        .query("what?", QueryOptions::default())
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
}

/// `mv a b; cp b c`: both find that `a` has gone, and one of them is it.
#[tokio::test]
async fn of_two_copies_of_a_moved_recording_one_is_it_and_the_other_one_is_new() {
    let mut place = Place::new();
    place.set(Key::IndexSourceConcurrency, "2");
    let before = place.speech("a.wav", 3, 1);
    let audiorag = place.open().await;
    index(&audiorag, &[&before]).await;
    let id = audiorag.state().list_sources().await.unwrap()[0].id.clone();
    let calls = place.transcriber.script().calls();
    let after = [place.path("b.wav"), place.path("c.wav")];
    std::fs::rename(&before, &after[0]).unwrap();
    std::fs::copy(&after[0], &after[1]).unwrap();
    let report = index(&audiorag, &[&after[0], &after[1]]).await;
    assert_eq!(
        (report.skipped.len(), report.indexed.len(), report.failed.len()),
        (1, 1, 0),
        "{report:?}"
    );
    let sources = audiorag.state().list_sources().await.unwrap();
    let places: Vec<_> = sources
        .iter()
        .map(|source| source.locator.as_path().unwrap())
        .collect();
    assert_eq!(places, [&after[0], &after[1]]);
    assert_eq!(sources.iter().filter(|source| source.id == id).count(), 1);
    assert_eq!(place.transcriber.script().calls(), calls);
    assert_eq!(audiorag.check().await.unwrap(), []);
}

#[tokio::test]
async fn a_store_that_loses_vectors_fails_a_run_and_not_the_old_index() {
    let mut place = Place::new();
    let store = Arc::new(MemoryVectorStore::new());
    place.store = Some(Arc::clone(&store));
    place.set(Key::VectorStoreVerifyWaitSeconds, "0.01");
    place.set(Key::ChunkDurationSeconds, "2");
    let file = place.speech("a.wav", 4, 1);
    let audiorag = place.open().await;
    let first = index(&audiorag, &[&file]).await;
    assert!(first.indexed[0].chunks > 1, "{first:?}");
    store.drop_every(Some(2));
    let forced = IndexOptions {
        force: true,
        ..IndexOptions::default()
    };
    let report = index_with(&audiorag, &[&file], forced.clone()).await;
    assert_eq!(report.failed[0].stage, Some(Stage::Verify), "{report:?}");
    let live = audiorag.state().list_sources().await.unwrap()[0].active_revision;
    assert_eq!(live, Some(first.indexed[0].revision));
    store.drop_every(None);
    assert_eq!(index_with(&audiorag, &[&file], forced).await.indexed.len(), 1);
}

#[tokio::test]
async fn a_store_that_is_down_keeps_the_transcripts() {
    let mut place = Place::new();
    let store = Arc::new(MemoryVectorStore::new());
    place.store = Some(Arc::clone(&store));
    let file = place.speech("a.wav", 3, 1);
    let audiorag = place.open().await;
    // Prepared, then down.
    store
        .script()
        .fail_from(store.script().calls() + 2, ErrorKind::Unavailable);
    let report = index(&audiorag, &[&file]).await;
    assert_eq!(report.failed[0].kind, ErrorKind::Unavailable, "{report:?}");
    let calls = place.transcriber.script().calls();
    store.script().recover();
    let report = index(&audiorag, &[&file]).await;
    assert_eq!(report.indexed.len(), 1, "{report:?}");
    assert_eq!(place.transcriber.script().calls(), calls);
}

struct Recorder(Mutex<Vec<IndexEvent>>);

impl IndexObserver for Recorder {
    fn event(&self, event: IndexEvent) {
        self.0.lock().unwrap().push(event);
    }
}

#[tokio::test]
async fn every_stage_is_told_in_order() {
    let place = Place::new();
    let file = place.speech("a.wav", 3, 1);
    let recorder = Recorder(Mutex::default());
    let inputs = vec![Input::Path(file)];
    let audiorag = place.open().await;
    audiorag
        .index(
            inputs,
            IndexOptions::default(),
            &recorder,
            CancellationToken::new(),
        )
        .await
        .unwrap();
    let events = recorder.0.into_inner().unwrap();
    let completed: Vec<Stage> = events
        .iter()
        .filter_map(|event| match event {
            IndexEvent::StageCompleted { stage, .. } => Some(*stage),
            _ => None,
        })
        .collect();
    use Stage::{Chunk, Embed, Probe, Publish, Retire, Store, Transcribe, Verify};
    assert_eq!(
        completed,
        [
            Probe, Probe, Transcribe, Chunk, Embed, Store, Verify, Publish, Retire
        ]
    );
    assert!(
        events
            .iter()
            .any(|event| matches!(event, IndexEvent::Part { reused: false, .. }))
    );
    assert!(matches!(events.last(), Some(IndexEvent::SourceFinished { .. })));
}

#[tokio::test]
async fn times_do_not_depend_on_the_order_of_replies_or_on_a_resume() {
    let whole = Place::new();
    let file = whole.speech("a.wav", 8, 3);
    let audiorag = whole.open().await;
    let report = index(&audiorag, &[&file]).await;
    let source = audiorag
        .state()
        .source(&report.indexed[0].source_id)
        .await
        .unwrap()
        .unwrap();
    let expected = audiorag.transcript(&source).await.unwrap();

    let broken = Place::new();
    let copy = broken.write("a.wav", &std::fs::read(&file).unwrap());
    let script = broken.transcriber.script();
    // The first reply comes last, and the third call fails.
    script
        .delay_nth(1, Duration::from_millis(150))
        .fail_nth(3, ErrorKind::Unavailable);
    let audiorag = broken.open().await;
    assert_eq!(index(&audiorag, &[&copy]).await.failed.len(), 1);
    let report = index(&audiorag, &[&copy]).await;
    let source = audiorag
        .state()
        .source(&report.indexed[0].source_id)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(audiorag.transcript(&source).await.unwrap(), expected);
}

#[tokio::test]
async fn a_deleted_source_is_gone_and_comes_back_for_nothing() {
    let place = Place::new();
    let file = place.speech("a.wav", 3, 1);
    let audiorag = place.open().await;
    let report = index(&audiorag, &[&file]).await;
    let calls = place.transcriber.script().calls();
    audiorag.delete(&report.indexed[0].source_id).await.unwrap();
    assert!(
        audiorag
            .search("anything", QueryOptions::default())
            .await
            .unwrap()
            .hits
            .is_empty()
    );
    assert!(audiorag.state().list_sources().await.unwrap().is_empty());
    assert_eq!(index(&audiorag, &[&file]).await.indexed.len(), 1);
    assert_eq!(place.transcriber.script().calls(), calls);
}

#[tokio::test]
async fn a_language_the_model_does_not_know_is_refused_before_any_work() {
    let mut place = Place::with(FakeTranscriber::new().with_limits(|l| l.languages = vec!["en".into()]));
    place.set(Key::SttLanguage, "de-CH");
    let file = place.speech("a.wav", 1, 1);
    let audiorag = place.open().await;
    let inputs = vec![Input::Path(file)];
    let error = audiorag
        .index(inputs, IndexOptions::default(), &(), CancellationToken::new())
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.message().contains("de-CH"), "{error}");
}

#[tokio::test]
async fn what_the_transcriber_does_not_do_is_said_before_the_run() {
    let told = async |prompt: PromptLimit, speakers, times| {
        let transcriber = FakeTranscriber::new().with_limits(|limits| {
            limits.prompt = prompt;
            limits.speakers = speakers;
            limits.segment_times = times;
        });
        let mut place = Place::with(transcriber);
        place.set(Key::SttPrompt, "Ada Lovelace");
        place.open().await.shortcomings().unwrap().join("\n")
    };
    assert_eq!(told(PromptLimit::Text { max_bytes: None }, false, true).await, "");
    assert_eq!(told(PromptLimit::Terms { max_terms: 9 }, false, true).await, "");
    let prompt = told(PromptLimit::NotTaken, false, true).await;
    assert!(prompt.contains("takes no prompt"), "{prompt}");
    let all = told(PromptLimit::NotTaken, true, false).await;
    assert!(
        all.contains("without times") && all.contains("speakers apart within a part of about 00:04"),
        "{all}"
    );

    // Who gave no prompt is told nothing about prompts.
    let place = Place::new();
    assert!(place.open().await.shortcomings().unwrap().is_empty());
}

/// Losing one source to somebody else is nobody's interruption.
#[tokio::test]
async fn a_source_that_is_deleted_in_the_middle_of_a_run_does_not_end_the_run() {
    let mut place = Place::new();
    place.set(Key::IndexSourceConcurrency, "1");
    let first = place.speech("a.wav", 3, 1);
    let second = place.speech("b.wav", 2, 30);
    let audiorag = place.open().await;
    let script = place.transcriber.script();
    script.delay_nth(2, Duration::from_millis(300));
    let deleting = async {
        while script.calls() < 2 {
            tokio::task::yield_now().await;
        }
        let sources = audiorag.state().list_sources().await.unwrap();
        audiorag.delete(&sources[0].id).await.unwrap();
    };
    let paths: [&std::path::Path; 2] = [&first, &second];
    let (report, ()) = tokio::join!(index(&audiorag, &paths), deleting);
    assert_eq!((report.indexed.len(), report.skipped.len()), (1, 1), "{report:?}");
    assert!(
        report.skipped[0].reason.contains("deletion of the source"),
        "{report:?}"
    );
    assert!(!report.cancelled && report.not_started == 0);
}

#[tokio::test]
async fn two_runs_of_one_process_pay_once() {
    let place = Place::new();
    let folder = place.speech("a.wav", 4, 1).parent().unwrap().to_owned();
    place.speech("b.wav", 4, 30);
    let audiorag = place.open().await;
    place.transcriber.script().delay(Duration::from_millis(20));
    let clone = audiorag.clone();
    let paths: [&std::path::Path; 1] = [&folder];
    let (one, other) = tokio::join!(index(&audiorag, &paths), index(&clone, &paths));
    assert_eq!(one.failed.len() + other.failed.len(), 0, "{one:?} {other:?}");
    assert_eq!(one.indexed.len() + other.indexed.len(), 2, "{one:?} {other:?}");
    let paid = one.transcribed_parts() + other.transcribed_parts();
    assert_eq!(place.transcriber.script().calls(), paid as usize);
    let before = place.transcriber.script().calls();
    assert_eq!(index(&audiorag, &[&folder]).await.skipped.len(), 2);
    assert_eq!(place.transcriber.script().calls(), before);
}
