//! Rows of the fault table in `docs/reliability.md` that concern the disk, the store and the models.

use super::support::{Place, index};
use audiorag::index::{IndexEvent, IndexObserver, IndexOptions, Input};
use audiorag::query::QueryOptions;
use audiorag::settings::Key;
use audiorag::state::Problem;
use audiorag::{CancellationToken, ErrorKind, Providers};
use audiorag_core::capability::{EmbedResponse, Embedder, EmbedderLimits, Health, InputType, ProviderInfo};
use audiorag_core::model::EmbeddingSpace;
use audiorag_core::{Result, Stage};
use audiorag_testkit::fake::{HashEmbedder, MemoryVectorStore};
use std::process::Command;
use std::sync::Arc;

/// Runs the named test of this program in a mount namespace of its own, where it may mount a small disk.
#[cfg(target_os = "linux")]
fn with_disks_of_its_own(test: &str) {
    let output = Command::new("unshare")
        .args(["--user", "--map-root-user", "--mount"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "--ignored", "--nocapture", test])
        .output()
        .unwrap();
    let told = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(output.status.success() && told.contains("1 passed"), "{told}");
}

#[cfg(target_os = "linux")]
fn mount(options: &str, place: &std::path::Path) {
    let status = Command::new("mount")
        .args(["-t", "tmpfs", "-o", options, "tmpfs"])
        .arg(place)
        .status();
    assert!(status.unwrap().success(), "cannot mount with {options}");
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_stops_the_run_at_once_and_loses_nothing() {
    with_disks_of_its_own("faults::on_a_small_disk");
}

#[cfg(target_os = "linux")]
#[tokio::test]
#[ignore = "run by a_full_disk_stops_the_run_at_once_and_loses_nothing"]
async fn on_a_small_disk() {
    const FILES: u64 = 80;
    let mut place = Place::new();
    let disk = place.dir.path().join("disk");
    std::fs::create_dir(&disk).unwrap();
    mount("size=2500k", &disk);
    place.set(Key::DatabaseUrl, disk.join("audiorag.db").to_str().unwrap());
    place.set(Key::ChunkDurationSeconds, "2");
    let files: Vec<_> = (0..FILES)
        .map(|number| place.speech(&format!("{number:02}.wav"), 3, number * 10))
        .collect();
    let paths: Vec<&std::path::Path> = files.iter().map(std::path::PathBuf::as_path).collect();
    let audiorag = place.open().await;
    let report = index(&audiorag, &paths).await;
    assert!(
        !report.indexed.is_empty() && report.not_started > 0,
        "{} indexed, {} not started, {:?}",
        report.indexed.len(),
        report.not_started,
        report.failed
    );
    assert!(
        report
            .failed
            .iter()
            .all(|failed| failed.kind == ErrorKind::State && failed.message.contains("no space left")),
        "{:?}",
        report.failed
    );
    assert!(
        report.failed[0]
            .hint
            .as_ref()
            .unwrap()
            .contains("free some space")
    );
    // What is there is whole and answers.
    let damage = audiorag.check().await.unwrap();
    assert!(
        damage.iter().all(
            |finding| finding.problem.severity() == audiorag::state::Severity::Notice
                || finding.problem == Problem::NobodyWorks
        ),
        "{damage:?}"
    );
    let found = audiorag
        .search("anything at all", QueryOptions::default())
        .await
        .unwrap();
    assert!(!found.hits.is_empty());
    let script = place.transcriber.script();
    // A call is in flight until its answer is stored, which is longer than the vendor knows of it.
    let settings = place.settings();
    let in_flight = settings.index.source_concurrency * settings.stt.concurrency;
    // After some space was made, the next run goes on.
    mount("remount,size=64m", &disk);
    let resumed = index(&audiorag, &paths).await;
    assert_eq!(
        resumed.failed.len() + resumed.not_started,
        0,
        "{:?}",
        resumed.failed
    );
    assert_eq!((resumed.indexed.len() + resumed.skipped.len()) as u64, FILES);
    // Paid twice are at most the calls that were in flight when nothing could be stored any more.
    let parts = report.transcribed_parts() + resumed.transcribed_parts() + resumed.reused_parts();
    let bound = parts as usize + in_flight;
    assert!(
        script.calls() <= bound,
        "{} calls for {parts} parts",
        script.calls()
    );
    // It is really in the file: a handle of its own sees the same.
    let count = audiorag.state().list_sources().await.unwrap().len();
    let other = place.open().await;
    assert_eq!(other.state().list_sources().await.unwrap().len(), count);
    assert_eq!(index(&other, &paths).await.skipped.len(), paths.len());
    assert_eq!(audiorag.check().await.unwrap(), []);
}

#[tokio::test]
async fn a_store_that_loses_every_third_vector_is_noticed_and_mended() {
    struct Warnings(std::sync::Mutex<Vec<String>>);
    impl IndexObserver for Warnings {
        fn event(&self, event: IndexEvent) {
            if let IndexEvent::Warning { message, .. } = event {
                self.0.lock().unwrap().push(message);
            }
        }
    }
    let mut place = Place::new();
    let store = Arc::new(MemoryVectorStore::new());
    place.store = Some(Arc::clone(&store));
    place.set(Key::ChunkDurationSeconds, "2");
    place.set(Key::VectorStoreVerifyWaitSeconds, "0.01");
    let file = place.speech("a.wav", 6, 1);
    let audiorag = place.open().await;
    store.drop_every(Some(3));
    // Nothing that is not whole is published, and the next run goes on from the cache.
    let report = index(&audiorag, &[&file]).await;
    assert_eq!(report.failed[0].stage, Some(Stage::Verify), "{report:?}");
    assert_eq!(report.failed[0].kind, ErrorKind::Unavailable);
    assert_eq!(
        audiorag.state().list_sources().await.unwrap()[0].active_revision,
        None
    );
    let paid = (
        place.transcriber.script().calls(),
        place.embedder.script().calls(),
    );
    store.drop_every(None);
    let whole = index(&audiorag, &[&file]).await;
    assert_eq!(store.records().len(), whole.indexed[0].chunks, "{whole:?}");
    assert_eq!(audiorag.check().await.unwrap(), []);
    audiorag
        .delete(&audiorag.state().list_sources().await.unwrap()[0].id)
        .await
        .unwrap();

    // Whoever wants it published all the same is warned, and may repair it.
    place.set(Key::VectorStoreVerifyMode, "best_effort");
    let audiorag = place.open().await;
    store.drop_every(Some(3));
    let warnings = Warnings(std::sync::Mutex::default());
    let inputs = vec![Input::Path(file)];
    let report = audiorag
        .index(
            inputs,
            IndexOptions::default(),
            &warnings,
            CancellationToken::new(),
        )
        .await
        .unwrap();
    let warned = warnings.0.into_inner().unwrap();
    assert!(
        warned
            .iter()
            .any(|warning| warning.contains("the vector store holds")),
        "{warned:?}"
    );
    let chunks = report.indexed[0].chunks;
    let missing = audiorag.check().await.unwrap();
    assert_eq!((missing.len(), missing[0].problem), (1, Problem::VectorsMissing));
    assert_eq!(missing[0].count as usize, chunks - store.records().len());
    store.drop_every(None);
    audiorag
        .repair(audiorag::doctor::RepairOptions::default())
        .await
        .unwrap();
    assert_eq!(store.records().len(), chunks);
    assert_eq!(
        (
            place.transcriber.script().calls(),
            place.embedder.script().calls()
        ),
        paid
    );
}

#[tokio::test]
async fn a_store_that_goes_down_in_the_middle_of_a_run_costs_nothing() {
    let mut place = Place::new();
    place.set(Key::IndexSourceConcurrency, "1");
    let store = Arc::new(MemoryVectorStore::new());
    place.store = Some(Arc::clone(&store));
    let files: Vec<_> = (0..4)
        .map(|n| place.speech(&format!("{n}.wav"), 2, n * 10))
        .collect();
    let paths: Vec<_> = files.iter().map(std::path::PathBuf::as_path).collect();
    let audiorag = place.open().await;
    // Up for the first source.
    let first = index(&audiorag, &paths[..1]).await;
    assert_eq!(first.indexed.len(), 1, "{first:?}");
    store
        .script()
        .fail_from(store.script().calls() + 2, ErrorKind::Unavailable);
    let report = index(&audiorag, &paths).await;
    assert_eq!((report.skipped.len(), report.failed.len()), (1, 3), "{report:?}");
    assert!(
        report
            .failed
            .iter()
            .all(|failed| failed.stage == Some(Stage::Store))
    );
    // A question is not answered from the words alone as if that were all there is.
    let found = audiorag.search("anything at all", QueryOptions::default()).await;
    let paid = (
        place.transcriber.script().calls(),
        place.embedder.script().calls(),
    );
    assert!(
        found.is_err_and(|error| error.kind() == ErrorKind::Unavailable),
        "a search fails fast"
    );
    store.script().recover();
    let report = index(&audiorag, &paths).await;
    assert_eq!((report.skipped.len(), report.indexed.len()), (1, 3), "{report:?}");
    assert_eq!(
        (
            place.transcriber.script().calls(),
            place.embedder.script().calls()
        ),
        paid
    );
    assert_eq!(audiorag.check().await.unwrap(), []);
}

/// An embedder that does not keep its promise about dimensions.
struct Short(HashEmbedder);

#[async_trait::async_trait]
impl Embedder for Short {
    fn info(&self) -> &ProviderInfo {
        self.0.info()
    }

    fn space(&self) -> &EmbeddingSpace {
        self.0.space()
    }

    fn limits(&self) -> EmbedderLimits {
        self.0.limits()
    }

    async fn embed(&self, texts: &[String], input: InputType) -> Result<EmbedResponse> {
        let mut response = self.0.embed(texts, input).await?;
        for vector in &mut response.vectors {
            vector.pop();
        }
        Ok(response)
    }

    async fn health_check(&self) -> Health {
        self.0.health_check().await
    }
}

#[tokio::test]
async fn vectors_of_a_wrong_length_are_refused_and_nothing_of_them_is_stored() {
    let mut place = Place::new();
    let store = Arc::new(MemoryVectorStore::new());
    place.store = Some(Arc::clone(&store));
    let file = place.speech("a.wav", 2, 1);
    let audiorag = audiorag::AudioRag::builder(place.settings())
        .with_providers(Providers {
            embedder: Some(Arc::new(Short(HashEmbedder::new(64)))),
            ..place.providers()
        })
        .open()
        .await
        .unwrap();
    let report = index(&audiorag, &[&file]).await;
    assert_eq!(
        (report.failed[0].stage, report.failed[0].kind),
        (Some(Stage::Embed), ErrorKind::Protocol),
        "{report:?}"
    );
    assert!(store.records().is_empty());
    assert_eq!(audiorag.state().cache_stats().await.unwrap().embeddings, 0);
    audiorag.state().clone().close().await;
    // The transcripts were paid for once.
    let calls = place.transcriber.script().calls();
    let audiorag = place.open().await;
    assert_eq!(index(&audiorag, &[&file]).await.indexed.len(), 1);
    assert_eq!(place.transcriber.script().calls(), calls);
}

#[tokio::test]
async fn a_recording_that_changes_while_it_is_read_is_not_stored_under_its_old_bytes() {
    struct Writer(std::path::PathBuf, Vec<u8>);
    impl IndexObserver for Writer {
        fn event(&self, event: IndexEvent) {
            // The bytes are hashed, and not yet decoded.
            if let IndexEvent::StageStarted {
                stage: Stage::Transcribe,
                ..
            } = event
            {
                std::fs::write(&self.0, &self.1).unwrap();
            }
        }
    }
    let place = Place::new();
    let file = place.speech("a.wav", 3, 1);
    let other = place.speech("b.wav", 5, 70);
    let audiorag = place.open().await;
    let writer = Writer(file.clone(), std::fs::read(&other).unwrap());
    let inputs = vec![Input::Path(file.clone())];
    let report = audiorag
        .index(inputs, IndexOptions::default(), &writer, CancellationToken::new())
        .await
        .unwrap();
    assert_eq!(report.failed[0].kind, ErrorKind::Input, "{report:?}");
    assert!(
        report.failed[0].message.contains("changed while it was read"),
        "{report:?}"
    );
    assert_eq!(place.transcriber.script().calls(), 0);
    let report = index(&audiorag, &[&file]).await;
    assert_eq!(
        report.indexed[0].transcribed_parts as usize,
        place.transcriber.script().calls()
    );
}
