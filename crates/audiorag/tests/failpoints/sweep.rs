//! Every failpoint with every fault over both kinds of store: every time an index run comes to it, and the first and
//! the last time that sources are made anew.

use crate::case::{Armed, BATCH, Case, EXTRA, Fault, IN_FLIGHT, Store, Task, copy};
use crate::check::{self, Answers};
use crate::persistent::{CountingEmbedder, Model, counts};
use audiorag::AudioRag;
use audiorag::state::{Problem, failpoint};
use audiorag_core::capability::{Embedder as _, VectorStore};
use audiorag_core::model::EmbeddingSpace;
use audiorag_testkit::http::{Reply, Server};
use audiorag_testkit::synth::Track;
use sea_orm::{ConnectionTrait as _, Database};
use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use tempfile::TempDir;

/// Recordings and an index of them. For an index run it is one of how they were a while ago: since then one was
/// edited, one moved and one added.
struct World {
    root: TempDir,
    /// What serves the recording on the web, and what runs it.
    web: (tokio::runtime::Runtime, Server),
    /// An undisturbed run's answers, calls and visits to failpoints, for each task over each kind of store.
    references: Vec<Reference>,
}

/// What is swept.
const SWEPT: [(Task, Store); 9] = [
    (Task::Index, Store::Embedded),
    (Task::Index, Store::External),
    (Task::Rechunk, Store::Embedded),
    (Task::Reembed, Store::Embedded),
    (Task::Reembed, Store::External),
    (Task::Retranscribe, Store::Embedded),
    (Task::Fetch, Store::Embedded),
    (Task::Mend, Store::Embedded),
    (Task::Mend, Store::External),
];

/// Texts and recordings that were paid for again after one fault, at most.
static REPEATED: [AtomicUsize; 2] = [AtomicUsize::new(0), AtomicUsize::new(0)];

/// Damage of every kind that is mended at a price or for nothing, and what a process leaves that was killed.
const DAMAGE: &str = "PRAGMA foreign_keys = OFF;
    DELETE FROM part_transcript WHERE part_key = (SELECT min(part_key) FROM part WHERE part_key IS NOT NULL);
    UPDATE embedding SET vector = x'00' WHERE id = (SELECT min(embedding_id) FROM vector);
    DELETE FROM vector WHERE embedding_id = (SELECT max(embedding_id) FROM vector);
    INSERT INTO chunk_fts (chunk_fts) VALUES ('delete-all');
    UPDATE source SET status = 'failed', owner_host = 'nowhere', owner_pid = 1, lease_until = 0
        WHERE id = (SELECT min(id) FROM source);";

/// The same where the store is outside: a vector is not what was computed, and a repair that was killed has left an
/// unfinished revision of each source with words. [`Case::damage_the_store`] does the rest.
const DAMAGE_OUTSIDE: &str = "UPDATE embedding SET vector = x'00' WHERE id = (SELECT min(id) FROM embedding);
    CREATE TEMP TABLE left_over AS SELECT * FROM revision WHERE state = 'live' AND chunk_count > 0;
    UPDATE left_over SET id = id + 1000, state = 'building', verified_at = NULL;
    INSERT INTO revision SELECT * FROM left_over;
    DROP TABLE left_over;";

/// Calls of a store that mending makes, and what it does before one of them.
const OUTSIDE: [&str; 5] = ["prepare", "upsert", "delete", "count", "state.retire_unfinished"];

/// The steps that only mending takes. The rest of it is what other runs do.
const MENDING: [&str; 6] = [
    "state.repair",
    "state.drop_damaged",
    "state.delete_source",
    "state.retire_stray",
    "state.clear_cache",
    "state.settle_call",
];

/// A call that was open when its process was killed.
const OPEN_CALL: &str = "UPDATE call SET state = 'sent', owner_pid = 999999999
    WHERE id = (SELECT max(id) FROM call);";

const FAULTS: [Fault; 3] = [Fault::Error, Fault::Panic, Fault::Kill];

struct Reference {
    task: Task,
    store: Store,
    before: Answers,
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

fn space(model: Model) -> EmbeddingSpace {
    CountingEmbedder::new(PathBuf::new(), model, 1).space().clone()
}

async fn store_of(case: &Case, audiorag: &AudioRag) -> Arc<dyn VectorStore> {
    let store = case
        .external()
        .unwrap_or_else(|| Arc::new(audiorag.state().vectors()));
    store.prepare(&space(case.task.model())).await.unwrap();
    store
}

/// Changes a database behind everybody's back.
async fn execute(case: &Case, statements: &str) {
    let audiorag = case.open().await;
    let url = format!("sqlite://{}", audiorag.state().path().display());
    audiorag.state().clone().close().await;
    let connection = Database::connect(url).await.unwrap();
    connection.execute_unprepared(statements).await.unwrap();
    connection.close().await.unwrap();
}

/// What holds when nothing is left to do: of two models, the store keeps the vectors of one.
async fn at_rest(case: &Case, audiorag: &AudioRag) -> Vec<String> {
    let store = store_of(case, audiorag).await;
    let spaces = [Model::Old, Model::New].map(space);
    check::at_rest(audiorag, &*store, &spaces).await
}

/// The index as somebody finds it whose model is the one that answers.
async fn open_as_a_reader(case: &Case) -> AudioRag {
    let audiorag = case.open_with(Model::Old).await;
    let spaces = audiorag.state().live_spaces().await.unwrap();
    let of_old = space(Model::Old).fingerprint();
    if spaces.iter().any(|(live, _)| *live == of_old) {
        return audiorag;
    }
    audiorag.state().clone().close().await;
    case.open_with(Model::New).await
}

impl World {
    fn new() -> Self {
        let runtime_of_web = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let served = speech(2, 90);
        let server = runtime_of_web.block_on(Server::answering(move |_, _| {
            Reply::json(200, "")
                .with_header("ETag", "\"one\"")
                .with_body(served.clone())
        }));
        let world = Self {
            root: tempfile::tempdir().unwrap(),
            web: (runtime_of_web, server),
            references: Vec::new(),
        };
        let changing = world.audio(Task::Index);
        std::fs::create_dir_all(&changing).unwrap();
        std::fs::write(changing.join("edited.wav"), speech(2, 1)).unwrap();
        std::fs::write(changing.join("moved from.wav"), speech(1, 20)).unwrap();
        let settled = world.audio(Task::Reembed);
        std::fs::create_dir_all(&settled).unwrap();
        std::fs::write(settled.join("one.wav"), speech(4, 40)).unwrap();
        std::fs::write(settled.join("two.wav"), speech(3, 60)).unwrap();
        let silence = Track::new(16_000).silence(3_000).to_wav();
        std::fs::write(settled.join("quiet.wav"), silence).unwrap();
        for (task, store) in SWEPT {
            let base = Case {
                task: Task::Index,
                ..world.base(task, store)
            };
            std::fs::create_dir_all(&base.folder).unwrap();
            let report = runtime().block_on(base.run(&())).unwrap();
            assert_eq!(report.indexed.len(), 2, "{report:?}");
            if task == Task::Mend {
                runtime().block_on(world.add_extra(&base));
                runtime().block_on(execute(&base, DAMAGE));
                if store == Store::External {
                    runtime().block_on(execute(&base, DAMAGE_OUTSIDE));
                    base.damage_the_store();
                }
            }
            runtime().block_on(execute(&base, OPEN_CALL));
            // What was paid for earlier is not counted.
            std::fs::remove_file(base.transcribed()).unwrap();
            std::fs::remove_file(base.embedded()).unwrap();
        }
        std::fs::write(changing.join("edited.wav"), speech(4, 40)).unwrap();
        std::fs::rename(changing.join("moved from.wav"), changing.join("moved to.wav")).unwrap();
        std::fs::write(changing.join("new.wav"), speech(2, 60)).unwrap();
        let references = SWEPT.map(|(task, store)| world.reference(task, store));
        Self {
            references: references.into(),
            ..world
        }
    }

    /// Adds a source that is to be deleted.
    async fn add_extra(&self, base: &Case) {
        let audio = self.root.path().join(format!("{EXTRA}.wav"));
        std::fs::write(&audio, speech(2, 80)).unwrap();
        let extra = Case {
            audio,
            ..base.clone()
        };
        assert_eq!(extra.run(&()).await.unwrap().indexed.len(), 1);
    }

    fn audio(&self, task: Task) -> PathBuf {
        let name = if task == Task::Index {
            "changing"
        } else {
            "settled"
        };
        self.root.path().join(name)
    }

    fn base(&self, task: Task, store: Store) -> Case {
        Case {
            folder: self.root.path().join(format!("base-{task:?}-{store:?}")),
            audio: self.audio(task),
            url: self.web.1.url("/talk.wav"),
            store,
            task,
            is_resumed: false,
        }
    }

    /// The earlier index in a folder of its own.
    fn case(&self, task: Task, store: Store, name: &str) -> Case {
        let base = self.base(task, store);
        let folder = self.root.path().join(name);
        copy(&base.folder, &folder);
        Case { folder, ..base }
    }

    /// What happens when nothing goes wrong.
    fn reference(&self, task: Task, store: Store) -> Reference {
        let case = self.case(task, store, &format!("reference-{task:?}-{store:?}"));
        let before = runtime().block_on(async {
            if task == Task::Mend {
                // Not to be had in full from a damaged index.
                return Answers::default();
            }
            let audiorag = open_as_a_reader(&case).await;
            let before = Answers::of(&audiorag).await;
            audiorag.state().clone().close().await;
            before
        });
        let ended = case.run_in_child(None);
        assert!(ended.status.success(), "{}", ended.said);
        let outcome = ended.outcome.unwrap();
        let (indexed, all) = match task {
            Task::Mend => (0, 3),
            Task::Fetch => (1, 4),
            _ => (2, 3),
        };
        assert_eq!(
            (&outcome["indexed"], &outcome["went_on"], &outcome["wrong"]),
            (&indexed.into(), &all.into(), &serde_json::json!([])),
            "{outcome}"
        );
        let answers = runtime().block_on(async {
            let audiorag = case.open().await;
            let wrong = at_rest(&case, &audiorag).await;
            assert!(wrong.is_empty(), "{wrong:?}");
            let answers = Answers::of(&audiorag).await;
            audiorag.state().clone().close().await;
            answers
        });
        let (transcribed, embedded) = (counts(&case.transcribed()), counts(&case.embedded()));
        match task {
            Task::Index => assert!(transcribed.len() >= 3, "several parts: {transcribed:?}"),
            Task::Rechunk => assert_ne!(before, answers, "nothing was cut anew"),
            Task::Reembed => assert_eq!(before, answers, "another model, the same chunks"),
            Task::Retranscribe => assert_eq!(before, answers, "the same words"),
            Task::Fetch => assert_ne!(before, answers, "nothing came from the web"),
            Task::Mend => assert_ne!(before, answers, "nothing was broken"),
        }
        let hears = [Task::Index, Task::Retranscribe, Task::Fetch, Task::Mend].contains(&task);
        assert_eq!(transcribed.is_empty(), !hears, "{transcribed:?}");
        let embeds = [Task::Index, Task::Rechunk, Task::Reembed, Task::Fetch].contains(&task);
        assert_eq!(embedded.len() > BATCH, embeds, "several calls: {embedded:?}");
        assert!(
            transcribed
                .values()
                .chain(embedded.values())
                .all(|calls| *calls == 1)
        );
        Reference {
            task,
            store,
            before,
            answers,
            transcribed,
            embedded,
            hits: ended.hits,
        }
    }
}

/// What is wrong with a run that met a fault, and with the one after it.
fn examine(case: &Case, reference: &Reference, armed: &Armed) -> Vec<String> {
    let ended = case.run_in_child(Some(armed));
    let case = &Case {
        is_resumed: true,
        ..case.clone()
    };
    let mut wrong = Vec::new();
    // What a store failed to do may have been done a moment later.
    let mut untold = false;
    match armed.fault {
        Fault::Kill if ended.status.signal() == Some(9) => {}
        Fault::Error | Fault::Panic if ended.status.success() => {
            let outcome = ended.outcome.unwrap();
            let failed = outcome["failed"]
                .as_array()
                .is_some_and(|failed| !failed.is_empty());
            untold = !failed && outcome["error"] == serde_json::Value::Null;
            let complaint = complaint((reference.task, reference.store), armed, &outcome);
            wrong.extend(complaint.map(|complaint| format!("{complaint}: {outcome}")));
            if outcome["wrong"] != serde_json::json!([]) {
                wrong.push(format!("seen during the run: {}", outcome["wrong"]));
            }
        }
        _ => wrong.push(format!("the process ended with {}: {}", ended.status, ended.said)),
    }
    runtime().block_on(async {
        let audiorag = open_as_a_reader(case).await;
        let store = store_of(case, &audiorag).await;
        // A damaged index is not whole before it is mended.
        if reference.task != Task::Mend {
            wrong.extend(check::always(&audiorag, &*store).await);
        }
        // What could be found before still can.
        if [Task::Mend, Task::Fetch].contains(&reference.task) {
            let found = check::hits(&audiorag).await;
            if found.is_empty() {
                wrong.push("nothing can be found after the fault".to_owned());
            }
        } else if reference.task == Task::Index {
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
        } else {
            let found = Answers::of(&audiorag).await;
            if !found.is_old_or_new(&reference.before, &reference.answers) {
                wrong.push(format!("after the fault {found:?} can be found"));
            }
        }
        if untold && (reference.task, reference.store) == (Task::Mend, Store::External) {
            let mut left = Box::pin(audiorag.check()).await.unwrap();
            // What could not be deleted from the store is deleted by the next run.
            left.retain(|finding| finding.problem != Problem::Retiring);
            wrong.extend(left.iter().map(|left| format!("nobody was told of {left:?}")));
        }
        if armed.fault != Fault::Kill && !keeps_its_claim(armed) && reference.task != Task::Mend {
            for source in audiorag.state().list_sources().await.unwrap() {
                if let Some(owner) = source.owner {
                    wrong.push(format!("{} is left claimed by {owner}", source.locator));
                }
            }
        }
        audiorag.state().clone().close().await;

        let resumed = Box::pin(case.run(&())).await.unwrap();
        if !resumed.failed.is_empty() || resumed.not_started > 0 {
            wrong.push(format!("the next run failed: {:?}", resumed.failed));
        }
        let audiorag = case.open().await;
        wrong.extend(Box::pin(at_rest(case, &audiorag)).await);
        if Answers::of(&audiorag).await != reference.answers {
            wrong.push("the answers differ from those of an undisturbed run".to_owned());
        }
        audiorag.state().clone().close().await;
        let paid = (counts(&case.transcribed()), counts(&case.embedded()));
        let speech = IN_FLIGHT * usize::from(loses(armed, "transcri"));
        let texts = IN_FLIGHT * BATCH * usize::from(loses(armed, "embed"));
        wrong.extend(overpaid("transcribed", &paid.0, &reference.transcribed, speech));
        wrong.extend(overpaid("embedded", &paid.1, &reference.embedded, texts));

        let all = if case.task == Task::Fetch { 4 } else { 3 };
        let third = Box::pin(case.run(&())).await.unwrap();
        if third.skipped.len() != all || paid != (counts(&case.transcribed()), counts(&case.embedded())) {
            wrong.push(format!("a third run found something to do: {third:?}"));
        }
    });
    wrong
}

/// What is wrong with the report of a run that met an error or a panic.
fn complaint((task, store): (Task, Store), armed: &Armed, outcome: &serde_json::Value) -> Option<String> {
    let step = armed.point.rsplit_once('.').map_or("", |(step, _)| step);
    let kind = match armed.fault {
        Fault::Panic => "internal",
        _ if step.starts_with("state.") => "state",
        _ => "unavailable",
    };
    // Where it is not about one source, the run as a whole fails: before there are sources, and after all of them.
    let whole = [
        "prepare",
        "state.lose_calls",
        "state.prepare_space",
        "state.switch_space",
        "state.retire_abandoned",
        "state.collect_garbage",
    ]
    .contains(&step);
    // Several things are done one after the other: what matters is that somebody is told.
    if task == Task::Mend {
        // An answer is worth more than the record of it, which the next run completes.
        let harmless = step == "state.settle_call";
        let told = !outcome["error"].is_null();
        // Where it is not, nothing may be left but what the next run deletes, which is looked at.
        let is_looked_at = store == Store::External && !told;
        return (told == harmless && !is_looked_at).then(|| "told, or not told, of a failure".to_owned());
    }
    if whole || (task == Task::Reembed && !outcome["error"].is_null()) {
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
    let others = if task == Task::Fetch { 3 } else { 2 };
    (kind != "state" && (failed.len(), outcome["went_on"].as_u64()?) != (1, others))
        .then(|| "the other sources did not go on".to_owned())
}

/// Whether a step is another one over another store. The rest is swept in full over one store, and once over the
/// other.
fn concerns_the_store(point: &str) -> bool {
    !point.starts_with("state.")
        || ["publish", "switch_space", "finish_retirement"]
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
    REPEATED[usize::from(what == "embedded")].fetch_max(repeated, Ordering::SeqCst);
    (repeated > allowed).then(|| format!("{what}: {repeated} again, where {allowed} may be"))
}

#[test]
fn ordinary_runs_come_to_every_failpoint() {
    let world = World::new();
    let visited: BTreeSet<&str> = world
        .references
        .iter()
        .flat_map(|reference| reference.hits.keys().map(String::as_str))
        .collect();
    assert_eq!(visited, failpoint::names().collect::<BTreeSet<_>>());
}

/// What alone is swept, as in `AUDIORAG_SWEEP=Mend-External`, for whoever works on it.
fn only() -> Option<String> {
    #[expect(clippy::disallowed_methods, reason = "it says how a test is run")]
    std::env::var("AUDIORAG_SWEEP").ok()
}

#[test]
fn whatever_goes_wrong_wherever_the_next_run_goes_on_and_pays_for_nothing_twice() {
    let world = World::new();
    let mut cases = Vec::new();
    for reference in &world.references {
        for (point, hits) in &reference.hits {
            let there = reference.store == Store::Embedded || concerns_the_store(point);
            for (nth, fault) in (1..=*hits).flat_map(|nth| FAULTS.map(|fault| (nth, fault))) {
                let swept = match reference.task {
                    Task::Index => there || nth == 1,
                    // The last time is after the first source was done.
                    // What a panic does to a source is the same in all runs.
                    Task::Retranscribe => nth == 1 && fault != Fault::Panic,
                    Task::Fetch => point.contains("save_download"),
                    Task::Mend if reference.store == Store::External => {
                        let is_call = OUTSIDE.iter().any(|call| point.starts_with(call));
                        let each = !point.starts_with("count") && !point.starts_with("prepare");
                        fault != Fault::Panic && is_call && (each || nth == 1 || nth == *hits)
                    }
                    Task::Mend => fault != Fault::Panic && MENDING.iter().any(|step| point.contains(step)),
                    Task::Rechunk | Task::Reembed => {
                        let last = nth == *hits && reference.store == Store::Embedded;
                        there && (nth == 1 || (last && fault == Fault::Kill))
                    }
                };
                if swept {
                    let point = point.clone();
                    cases.push((reference, Armed { point, nth, fault }));
                }
            }
        }
    }
    if let Some(only) = only() {
        cases.retain(|(reference, _)| format!("{:?}-{:?}", reference.task, reference.store) == only);
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
                    let case = world.case(reference.task, reference.store, &format!("case-{number}"));
                    for complaint in examine(&case, reference, armed) {
                        let line = format!(
                            "{:?}, {armed:?} over the {:?} store: {complaint}",
                            reference.task, reference.store
                        );
                        wrong.lock().unwrap().push(line);
                    }
                    std::fs::remove_dir_all(&case.folder).unwrap();
                }
            });
        }
    });
    let points: BTreeSet<&str> = cases.iter().map(|(_, armed)| armed.point.as_str()).collect();
    for reference in &world.references {
        let runs = cases
            .iter()
            .filter(|(of, _)| std::ptr::eq(*of, reference))
            .count();
        println!(
            "{:?} over the {:?} store: {runs} runs",
            reference.task, reference.store
        );
    }
    println!(
        "swept {} failpoints: {} runs with an error, a panic or a kill; paid for again at most {} recordings' parts, \
         where {IN_FLIGHT} may be in flight, and {} texts, where {} may be",
        points.len(),
        cases.len(),
        REPEATED[0].load(Ordering::SeqCst),
        REPEATED[1].load(Ordering::SeqCst),
        IN_FLIGHT * BATCH,
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
