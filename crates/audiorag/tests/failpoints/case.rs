//! One run in a child process, with at most one failpoint armed.

use crate::check;
use crate::persistent::{CountingEmbedder, CountingTranscriber, FolderStore, Model, counts};
use audiorag::doctor::RepairOptions;
use audiorag::index::{IndexEvent, IndexObserver, IndexOptions, IndexReport, Input, Reindex, ReindexOptions};
use audiorag::query::QueryOptions;
use audiorag::settings::{Key, Settings, Sources};
use audiorag::state::{CacheKind, NewTurn, Retirement, SpeakerName, failpoint};
use audiorag::{AudioRag, CancellationToken, Error, Providers, Result};
use audiorag_core::Stage;
use audiorag_core::capability::{Embedder as _, VectorStore};
use audiorag_core::id::{RevisionId, SourceId};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// In the name of a source that is deleted.
pub(crate) const EXTRA: &str = "extra";
/// Sources that are worked on side by side.
const SOURCES: usize = 2;
/// Calls of each vendor for one source side by side.
const CALLS: usize = 2;
/// Calls of each vendor that may be in flight: sent, and their answers not stored yet.
pub(crate) const IN_FLIGHT: usize = SOURCES * CALLS;
/// Texts in one call of the embedder.
pub(crate) const BATCH: usize = 2;
/// Longer than a claim goes without renewal.
const UNTIL_RENEWAL: Duration = Duration::from_secs(25);

/// Where the vectors go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Store {
    Embedded,
    External,
}

/// What the run is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Task {
    /// Index a folder that changed since it was indexed.
    Index,
    /// Cut all sources into longer chunks, and remove what nobody needs any more.
    Rechunk,
    /// Embed all sources with another model.
    Reembed,
    /// Transcribe all sources again.
    Retranscribe,
    /// Index a recording from the web beside the folder.
    Fetch,
    /// Repair a damaged index, delete a source, clear the cache, and ask a question.
    Mend,
}

impl Task {
    const ALL: [Self; 6] = [
        Self::Index,
        Self::Rechunk,
        Self::Reembed,
        Self::Retranscribe,
        Self::Fetch,
        Self::Mend,
    ];

    fn named(name: &str) -> Self {
        *Self::ALL.iter().find(|task| format!("{task:?}") == name).unwrap()
    }

    /// The embedding model that the run is configured with.
    pub(crate) fn model(self) -> Model {
        if self == Self::Reembed {
            Model::New
        } else {
            Model::Old
        }
    }
}

/// What happens at an armed failpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    Error,
    Panic,
    Kill,
}

/// Where a run goes wrong: at the `nth` time that it comes to a failpoint.
#[derive(Clone, Debug)]
pub(crate) struct Armed {
    pub(crate) point: String,
    pub(crate) nth: usize,
    pub(crate) fault: Fault,
}

/// A database, a vector store and the vendors' counts, in a folder of their own.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) folder: PathBuf,
    pub(crate) audio: PathBuf,
    /// A recording on the web.
    pub(crate) url: String,
    pub(crate) store: Store,
    pub(crate) task: Task,
    /// Whether an earlier run met a fault.
    pub(crate) is_resumed: bool,
}

/// How the child ended.
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) said: String,
    /// What the run returned, unless it was killed.
    pub(crate) outcome: Option<Value>,
    /// How often it came to each failpoint, if none was armed.
    pub(crate) hits: BTreeMap<String, usize>,
}

impl Case {
    pub(crate) fn settings(&self) -> Settings {
        let sources = Sources::isolated(&self.folder)
            .with(Key::SttConcurrency, CALLS.to_string())
            .with(Key::EmbeddingConcurrency, CALLS.to_string())
            .with(Key::EmbeddingBatch, BATCH.to_string())
            .with(Key::IndexSourceConcurrency, SOURCES.to_string())
            .with(Key::GcRetention, "0s")
            .with(Key::FetchAllowHosts, "127.0.0.1")
            .with(
                Key::ChunkDurationSeconds,
                if self.task == Task::Rechunk { "6" } else { "2" },
            );
        Settings::resolve(&sources).unwrap().settings
    }

    pub(crate) fn transcribed(&self) -> PathBuf {
        self.folder.join("transcribed.log")
    }

    pub(crate) fn embedded(&self) -> PathBuf {
        self.folder.join("embedded.log")
    }

    /// The store outside of the process, if that is where the vectors are.
    pub(crate) fn external(&self) -> Option<Arc<dyn VectorStore>> {
        (self.store == Store::External)
            .then(|| Arc::new(FolderStore::new(self.folder.join("store"))) as Arc<dyn VectorStore>)
    }

    pub(crate) async fn open(&self) -> AudioRag {
        self.open_with(self.task.model()).await
    }

    /// Opens it as somebody with this embedding model does.
    pub(crate) async fn open_with(&self, model: Model) -> AudioRag {
        let providers = Providers {
            transcriber: Some(Arc::new(CountingTranscriber::new(self.transcribed()))),
            embedder: Some(Arc::new(CountingEmbedder::new(self.embedded(), model, CALLS))),
            store: self.external(),
            ..Providers::default()
        };
        let builder = AudioRag::builder(self.settings()).with_providers(providers);
        builder.open().await.unwrap()
    }

    /// Does the task in this process.
    pub(crate) async fn run(&self, observer: &dyn IndexObserver) -> Result<IndexReport> {
        let audiorag = self.open().await;
        let report = self.run_in(&audiorag, observer).await;
        audiorag.state().clone().close().await;
        report
    }

    async fn run_in(&self, audiorag: &AudioRag, observer: &dyn IndexObserver) -> Result<IndexReport> {
        let cancel = CancellationToken::new();
        let what = match self.task {
            Task::Index | Task::Fetch => return self.index(audiorag, observer).await,
            Task::Mend => {
                self.mend(audiorag).await?;
                return self.index(audiorag, observer).await;
            }
            // A request that is done to the end is followed by another one, which would pay again.
            Task::Retranscribe
                if self.is_resumed
                    && !counts(&self.transcribed()).is_empty()
                    && audiorag.state().unfinished_revisions().await?.is_empty() =>
            {
                return self.index(audiorag, observer).await;
            }
            Task::Retranscribe => Reindex::Retranscribe,
            Task::Rechunk => Reindex::Rechunk,
            Task::Reembed => Reindex::Reembed,
        };
        let options = ReindexOptions {
            what,
            sources: Vec::new(),
            max_cost: None,
        };
        let report = audiorag.reindex(options, observer, cancel).await;
        if self.task == Task::Rechunk {
            // Also after a failure: what the next run goes on with is not to be removed.
            let collected = audiorag.gc(false).await;
            return report.and_then(|report| collected.map(|_| report));
        }
        report
    }

    /// Takes one record out of the store, and puts one into it for each source that nobody knows of.
    pub(crate) fn damage_the_store(&self) {
        let mut records = Vec::new();
        for space in std::fs::read_dir(self.folder.join("store")).unwrap() {
            for entry in std::fs::read_dir(space.unwrap().path()).unwrap() {
                records.push(entry.unwrap().path());
            }
        }
        records.sort();
        let mut sources = BTreeSet::new();
        for record in &records {
            let mut orphan: Value = serde_json::from_slice(&std::fs::read(record).unwrap()).unwrap();
            if sources.insert(orphan["source"].to_string()) {
                let name = format!("orphan{}", sources.len());
                orphan["id"] = name.as_str().into();
                orphan["revision"] = 1_000_000.into();
                std::fs::write(record.with_file_name(format!("{name}.json")), orphan.to_string()).unwrap();
            }
        }
        std::fs::remove_file(&records[0]).unwrap();
    }

    async fn index(&self, audiorag: &AudioRag, observer: &dyn IndexObserver) -> Result<IndexReport> {
        let mut inputs = vec![Input::Path(self.audio.clone())];
        if self.task == Task::Fetch {
            inputs.push(Input::Uri(self.url.clone()));
        }
        let options = IndexOptions::default();
        audiorag
            .index(inputs, options, observer, CancellationToken::new())
            .await
    }

    async fn mend(&self, audiorag: &AudioRag) -> Result<()> {
        let repaired = audiorag
            .repair(RepairOptions {
                pay: true,
                ..RepairOptions::default()
            })
            .await?;
        if let Some(left) = repaired.left.first() {
            return Err(Error::unavailable(left.reason.clone()));
        }
        for source in audiorag.state().list_sources().await? {
            if source.locator.to_string().contains(EXTRA) {
                audiorag.delete(&source.id).await?;
            }
        }
        audiorag.state().clear_cache(CacheKind::All).await?;
        // As a run does whose source was deleted while it wrote its vectors.
        let space = CountingEmbedder::new(PathBuf::new(), self.task.model(), 1)
            .space()
            .clone();
        let stray = Retirement {
            source_id: SourceId::from_stored("gone"),
            revision: RevisionId(1_000_000),
            space,
        };
        audiorag.state().retire_stray(&stray).await?;
        let name = SpeakerName {
            source: None,
            label: "speaker 1".to_owned(),
            name: Some("Ada".to_owned()),
        };
        audiorag.state().name_speakers(&[name]).await?;
        audiorag.state().save_turn("talk", &NewTurn::default()).await?;
        audiorag.state().delete_thread("talk").await?;
        let found = audiorag.search("harbour", QueryOptions::default()).await?;
        match found.degraded.first() {
            Some(degraded) => Err(Error::unavailable(degraded.clone())),
            None => Ok(()),
        }
    }

    /// Does the task while somebody looks again and again which model answers. Returns the report and what was wrong.
    async fn run_watched(&self, observer: &dyn IndexObserver) -> (Result<IndexReport>, Vec<String>) {
        let audiorag = self.open().await;
        let mut wrong = Vec::new();
        let report = {
            let run = self.run_in(&audiorag, observer);
            let watch = async {
                // Only a change of the model could show two of them.
                while wrong.is_empty() && self.task == Task::Reembed {
                    wrong.extend(check::one_space(&audiorag).await);
                }
                std::future::pending().await
            };
            tokio::select! {
                report = run => report,
                report = watch => report,
            }
        };
        audiorag.state().clone().close().await;
        (report, wrong)
    }

    /// Does the task in a child process.
    pub(crate) fn run_in_child(&self, armed: Option<&Armed>) -> Ended {
        let task = json!({
            "audio": self.audio.to_str().unwrap(),
            "url": self.url,
            "external": self.store == Store::External,
            "task": format!("{:?}", self.task),
            "point": armed.map(|armed| armed.point.as_str()),
            "nth": armed.map(|armed| armed.nth),
            "fault": armed.map(|armed| format!("{:?}", armed.fault)),
        });
        std::fs::write(self.folder.join("task.json"), task.to_string()).unwrap();
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "--ignored", "--nocapture", "case::child"])
            .current_dir(&self.folder)
            // Hundreds of profiles of hundreds of short runs would say nothing new about what was run.
            .env_remove("LLVM_PROFILE_FILE")
            .output()
            .unwrap();
        let left = |name: &str| -> Option<Value> {
            let text = std::fs::read_to_string(self.folder.join(name)).ok()?;
            Some(serde_json::from_str(&text).unwrap())
        };
        let hits = left("hits.json").unwrap_or_default();
        Ended {
            status: output.status,
            said: String::from_utf8_lossy(&output.stderr).into_owned(),
            outcome: left("outcome.json"),
            hits: hits
                .as_object()
                .into_iter()
                .flatten()
                .map(|(point, count)| (point.clone(), count.as_u64().unwrap() as usize))
                .collect(),
        }
    }
}

/// Lets a minute's worth of a long run pass in the middle of the first source, so that its claim is renewed.
#[derive(Default)]
struct LongRun {
    probed: Mutex<Vec<String>>,
    passed: AtomicUsize,
}

impl IndexObserver for LongRun {
    fn event(&self, event: IndexEvent) {
        let IndexEvent::StageStarted {
            source,
            stage: Stage::Probe,
        } = event
        else {
            return;
        };
        let mut probed = self.probed.lock().unwrap();
        // A source is probed once before it is claimed and once after.
        if probed.contains(&source) && self.passed.fetch_add(1, Ordering::SeqCst) == 0 {
            tokio::spawn(async {
                tokio::time::pause();
                tokio::time::advance(UNTIL_RENEWAL).await;
                tokio::time::resume();
            });
        }
        probed.push(source);
    }
}

/// The child process. It finds its task in its working directory.
#[test]
#[ignore = "a child process of the sweep"]
fn child() {
    let Ok(task) = std::fs::read_to_string("task.json") else {
        return;
    };
    let task: Value = serde_json::from_str(&task).unwrap();
    let case = Case {
        folder: std::env::current_dir().unwrap(),
        audio: task["audio"].as_str().unwrap().into(),
        url: task["url"].as_str().unwrap().into(),
        store: if task["external"] == true {
            Store::External
        } else {
            Store::Embedded
        },
        task: Task::named(task["task"].as_str().unwrap()),
        is_resumed: false,
    };
    let hits: Arc<Mutex<BTreeMap<&str, usize>>> = Arc::default();
    if let Some(point) = task["point"].as_str() {
        arm(
            point,
            task["nth"].as_u64().unwrap(),
            task["fault"].as_str().unwrap(),
        );
    } else {
        for name in failpoint::names() {
            let hits = Arc::clone(&hits);
            fail::cfg_callback(name, move || *hits.lock().unwrap().entry(name).or_default() += 1).unwrap();
        }
    }
    // One thread, whose clock can be moved.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let (report, wrong) = runtime.block_on(case.run_watched(&LongRun::default()));
    let outcome = match report {
        Ok(report) => json!({
            "indexed": report.indexed.len(),
            "skipped": report.skipped.len(),
            "went_on": report.indexed.len() + report.skipped.len() + report.empty.len() + report.prepared.len(),
            "failed": report.failed.iter().map(|failed| failed.kind.as_str()).collect::<Vec<_>>(),
            "not_started": report.not_started,
            "wrong": wrong,
        }),
        Err(error) => json!({ "error": error.kind().as_str(), "wrong": wrong }),
    };
    std::fs::write("hits.json", json!(*hits.lock().unwrap()).to_string()).unwrap();
    std::fs::write("outcome.json", outcome.to_string()).unwrap();
}

fn arm(point: &str, nth: u64, fault: &str) {
    let reached = match nth - 1 {
        0 => String::new(),
        before => format!("{before}*off->"),
    };
    match fault {
        "Error" => fail::cfg(point, &format!("{reached}1*return->off")).unwrap(),
        "Panic" => fail::cfg(point, &format!("{reached}1*panic->off")).unwrap(),
        "Kill" => {
            let count = AtomicUsize::new(0);
            fail::cfg_callback(point, move || {
                if count.fetch_add(1, Ordering::SeqCst) as u64 == nth - 1 {
                    let me = rustix::process::getpid();
                    rustix::process::kill_process(me, rustix::process::Signal::KILL).unwrap();
                }
            })
            .unwrap();
        }
        other => panic!("unknown fault {other}"),
    }
}

/// Copies a folder with everything in it.
pub(crate) fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}
