//! Every failpoint, every time a run comes to it, with every fault, over both kinds of store.

use crate::case::{Armed, BATCH, Case, Fault, IN_FLIGHT, Store, copy};
use crate::check::{self, Answers};
use crate::persistent::{CountingEmbedder, counts};
use audiorag::AudioRag;
use audiorag::state::failpoint;
use audiorag_core::capability::{Embedder as _, VectorStore};
use audiorag_testkit::synth::Track;
use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use tempfile::TempDir;

/// Recordings, and an index of how they were a while ago: since then one was edited, one moved and one added.
struct World {
    root: TempDir,
    /// An undisturbed run's answers, calls and visits to failpoints, for each kind of store.
    references: Vec<Reference>,
}

const FAULTS: [Fault; 3] = [Fault::Error, Fault::Panic, Fault::Kill];

struct Reference {
    store: Store,
    answers: Answers,
    transcribed: BTreeMap<String, usize>,
    embedded: BTreeMap<String, usize>,
    hits: BTreeMap<String, usize>,
}

fn speech(bursts: u64, seed: u64) -> Vec<u8> {
    let mut track = Track::new(16_000).silence(300);
    for burst in 0..bursts {
        track = track.speech(2000, seed + burst).silence(1000);
    }
    track.to_wav()
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}

async fn store_of(case: &Case, audiorag: &AudioRag) -> Arc<dyn VectorStore> {
    let store = case
        .external()
        .unwrap_or_else(|| Arc::new(audiorag.state().vectors()));
    let embedder = CountingEmbedder::new(case.embedded(), 1);
    store.prepare(embedder.space()).await.unwrap();
    store
}

impl World {
    fn new() -> Self {
        let world = Self {
            root: tempfile::tempdir().unwrap(),
            references: Vec::new(),
        };
        let audio = world.audio();
        std::fs::create_dir_all(&audio).unwrap();
        std::fs::write(audio.join("edited.wav"), speech(2, 1)).unwrap();
        std::fs::write(audio.join("moved from.wav"), speech(1, 20)).unwrap();
        for store in [Store::Embedded, Store::External] {
            let base = world.base(store);
            std::fs::create_dir_all(&base.folder).unwrap();
            let report = runtime().block_on(base.index(&())).unwrap();
            assert_eq!(report.indexed.len(), 2, "{report:?}");
            // What was paid for earlier is not counted.
            std::fs::remove_file(base.transcribed()).unwrap();
            std::fs::remove_file(base.embedded()).unwrap();
        }
        std::fs::write(audio.join("edited.wav"), speech(4, 40)).unwrap();
        std::fs::rename(audio.join("moved from.wav"), audio.join("moved to.wav")).unwrap();
        std::fs::write(audio.join("new.wav"), speech(2, 60)).unwrap();
        let references = [Store::Embedded, Store::External].map(|store| world.reference(store));
        Self {
            references: references.into(),
            ..world
        }
    }

    fn audio(&self) -> PathBuf {
        self.root.path().join("audio")
    }

    fn base(&self, store: Store) -> Case {
        Case {
            folder: self.root.path().join(format!("base-{store:?}")),
            audio: self.audio(),
            store,
        }
    }

    /// The earlier index in a folder of its own.
    fn case(&self, store: Store, name: &str) -> Case {
        let base = self.base(store);
        let folder = self.root.path().join(name);
        copy(&base.folder, &folder);
        Case { folder, ..base }
    }

    /// What happens when nothing goes wrong.
    fn reference(&self, store: Store) -> Reference {
        let case = self.case(store, &format!("reference-{store:?}"));
        let ended = case.index_in_child(None);
        assert!(ended.status.success(), "{}", ended.said);
        let outcome = ended.outcome.unwrap();
        assert_eq!(
            (&outcome["indexed"], &outcome["skipped"]),
            (&2.into(), &1.into()),
            "{outcome}"
        );
        let answers = runtime().block_on(async {
            let audiorag = case.open().await;
            let wrong = check::at_rest(&audiorag, &*store_of(&case, &audiorag).await).await;
            assert!(wrong.is_empty(), "{wrong:?}");
            let answers = Answers::of(&audiorag).await;
            audiorag.state().clone().close().await;
            answers
        });
        let (transcribed, embedded) = (counts(&case.transcribed()), counts(&case.embedded()));
        assert!(transcribed.len() >= 3, "several parts: {transcribed:?}");
        assert!(
            transcribed
                .values()
                .chain(embedded.values())
                .all(|calls| *calls == 1)
        );
        Reference {
            store,
            answers,
            transcribed,
            embedded,
            hits: ended.hits,
        }
    }
}

/// What is wrong with a run that met a fault, and with the one after it.
fn examine(case: &Case, reference: &Reference, armed: &Armed) -> Vec<String> {
    let ended = case.index_in_child(Some(armed));
    let mut wrong = Vec::new();
    match armed.fault {
        Fault::Kill if ended.status.signal() == Some(9) => {}
        Fault::Error | Fault::Panic if ended.status.success() => {
            let outcome = ended.outcome.unwrap();
            if let Some(complaint) = complaint(armed, &outcome) {
                wrong.push(format!("{complaint}: {outcome}"));
            }
        }
        _ => wrong.push(format!("the process ended with {}: {}", ended.status, ended.said)),
    }
    runtime().block_on(async {
        let audiorag = case.open().await;
        let store = store_of(case, &audiorag).await;
        wrong.extend(check::always(&audiorag, &*store).await);
        // The edited and the moved recording could be found before, and still can.
        let found: BTreeSet<String> = check::hits(&audiorag)
            .await
            .into_iter()
            .map(|hit| hit.0)
            .collect();
        if !["edited", "moved"]
            .iter()
            .all(|name| found.iter().any(|hit| hit.contains(name)))
        {
            wrong.push(format!("only {found:?} can be found after the fault"));
        }
        if armed.fault != Fault::Kill && !keeps_its_claim(armed) {
            for source in audiorag.state().list_sources().await.unwrap() {
                if let Some(owner) = source.owner {
                    wrong.push(format!("{} is left claimed by {owner}", source.locator));
                }
            }
        }
        audiorag.state().clone().close().await;

        let resumed = case.index(&()).await.unwrap();
        if !resumed.failed.is_empty() || resumed.not_started > 0 {
            wrong.push(format!("the next run failed: {:?}", resumed.failed));
        }
        let audiorag = case.open().await;
        let store = store_of(case, &audiorag).await;
        wrong.extend(check::at_rest(&audiorag, &*store).await);
        if Answers::of(&audiorag).await != reference.answers {
            wrong.push("the answers differ from those of an undisturbed run".to_owned());
        }
        audiorag.state().clone().close().await;
        let paid = (counts(&case.transcribed()), counts(&case.embedded()));
        let speech = IN_FLIGHT * usize::from(loses(armed, "transcri"));
        let texts = IN_FLIGHT * BATCH * usize::from(loses(armed, "embed"));
        wrong.extend(overpaid("transcribed", &paid.0, &reference.transcribed, speech));
        wrong.extend(overpaid("embedded", &paid.1, &reference.embedded, texts));

        let third = case.index(&()).await.unwrap();
        if third.skipped.len() != 3 || paid != (counts(&case.transcribed()), counts(&case.embedded())) {
            wrong.push(format!("a third run found something to do: {third:?}"));
        }
    });
    wrong
}

/// What is wrong with the report of a run that met an error or a panic.
fn complaint(armed: &Armed, outcome: &serde_json::Value) -> Option<String> {
    let step = armed.point.rsplit_once('.').map_or("", |(step, _)| step);
    let kind = match armed.fault {
        Fault::Panic => "internal",
        _ if step.starts_with("state.") => "state",
        _ => "unavailable",
    };
    // Before there are sources, the run as a whole fails.
    if step == "prepare" {
        return (outcome["error"] != kind).then(|| format!("not {kind}"));
    }
    let failed = outcome["failed"].as_array()?;
    let deletes = ["delete", "state.delete_vectors"].contains(&step);
    // A claim is renewed again later, and what could not be deleted is deleted by the next run.
    if step == "state.renew" || (armed.fault == Fault::Error && deletes) {
        return (!failed.is_empty()).then(|| "it should not have mattered".to_owned());
    }
    if failed.first().is_none_or(|first| first != kind) {
        return Some(format!("no source failed with {kind}"));
    }
    // A panic is one source's; so is what is not the matter of all sources.
    let others = outcome["indexed"].as_u64()? + outcome["skipped"].as_u64()?;
    (kind != "state" && (failed.len(), others) != (1, 2))
        .then(|| "the other sources did not go on".to_owned())
}

/// Whether a step is another one over another store. The rest is swept in full over one store, and once over the
/// other.
fn concerns_the_store(point: &str) -> bool {
    !point.starts_with("state.")
        || ["publish", "finish_retirement"]
            .iter()
            .any(|step| point.contains(step))
}

/// Whether the fault keeps the process from giving a claim back. It is the next run's, or anybody's once the
/// process has ended.
fn keeps_its_claim(armed: &Armed) -> bool {
    ["state.claim.after", "state.release.before"].contains(&armed.point.as_str())
}

/// Whether a fault can lose answers of a vendor: those in flight when the process is killed, and the one that it
/// strikes between the vendor's answer and the commit that keeps it.
fn loses(armed: &Armed, vendor: &str) -> bool {
    let between = [
        "transcribe.after",
        "state.save_part_transcript.before",
        "embed.after",
        "state.save_embeddings.before",
    ];
    armed.fault == Fault::Kill || (between.contains(&armed.point.as_str()) && armed.point.contains(vendor))
}

/// Calls beyond those of an undisturbed run and `allowed` repetitions of them.
fn overpaid(
    what: &str,
    paid: &BTreeMap<String, usize>,
    needed: &BTreeMap<String, usize>,
    allowed: usize,
) -> Option<String> {
    if !paid.keys().eq(needed.keys()) {
        return Some(format!("{what}: other things than in an undisturbed run"));
    }
    let repeated = paid.values().sum::<usize>() - paid.len();
    (repeated > allowed).then(|| format!("{what}: {repeated} again, where {allowed} may be"))
}

#[test]
fn an_ordinary_run_comes_to_every_failpoint() {
    let world = World::new();
    let visited: BTreeSet<&str> = world
        .references
        .iter()
        .flat_map(|reference| reference.hits.keys().map(String::as_str))
        .collect();
    assert_eq!(visited, failpoint::names().collect::<BTreeSet<_>>());
}

#[test]
fn whatever_goes_wrong_wherever_the_next_run_goes_on_and_pays_for_nothing_twice() {
    let world = World::new();
    let mut cases = Vec::new();
    for reference in &world.references {
        for (point, hits) in &reference.hits {
            let last = if reference.store == Store::Embedded || concerns_the_store(point) {
                *hits
            } else {
                1
            };
            for (nth, fault) in (1..=last).flat_map(|nth| FAULTS.map(|fault| (nth, fault))) {
                let point = point.clone();
                cases.push((reference, Armed { point, nth, fault }));
            }
        }
    }
    let next = AtomicUsize::new(0);
    let wrong: Mutex<Vec<String>> = Mutex::default();
    let workers = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::SeqCst);
                    let Some((reference, armed)) = cases.get(number) else {
                        break;
                    };
                    let case = world.case(reference.store, &format!("case-{number}"));
                    for complaint in examine(&case, reference, armed) {
                        let line = format!("{armed:?} over the {:?} store: {complaint}", reference.store);
                        wrong.lock().unwrap().push(line);
                    }
                    std::fs::remove_dir_all(&case.folder).unwrap();
                }
            });
        }
    });
    let points: BTreeSet<&str> = cases.iter().map(|(_, armed)| armed.point.as_str()).collect();
    println!(
        "swept {} failpoints: {} runs with an error, a panic or a kill",
        points.len(),
        cases.len()
    );
    let wrong = wrong.into_inner().unwrap();
    assert!(
        wrong.is_empty(),
        "{} of {}:\n{}",
        wrong.len(),
        cases.len(),
        wrong.join("\n")
    );
}
