//! Any sequence of what users do to their recordings and to a run, against a map of what must be found afterwards.

use super::support::Place;
use audiorag::index::{IndexEvent, IndexObserver, IndexOptions, Input, Reindex, ReindexOptions};
use audiorag::query::QueryOptions;
use audiorag::settings::Key;
use audiorag::{AudioRag, CancellationToken};
use audiorag_core::capability::{Embedder as _, InputType, Selector, VectorStore as _};
use audiorag_core::model::{SourceStatus, Transcript};
use audiorag_testkit::fake::{FakeTranscriber, HashEmbedder};
use audiorag_testkit::synth::Track;
use proptest::prelude::*;
use proptest::test_runner::Config;
use proptest_state_machine::{ReferenceStateMachine, StateMachineTest, prop_state_machine};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

/// Names of files.
const NAMES: usize = 4;
/// Recordings that a file can hold.
const RECORDINGS: usize = 5;
/// Lengths of chunks, in seconds.
const CHUNKS: [&str; 2] = ["2", "4"];
/// Embedding models.
const MODELS: [(&str, usize); 2] = [("one", 64), ("another", 32)];
/// Texts in one call of the embedder.
const BATCH: usize = 2;

#[derive(Clone, Debug)]
enum Operation {
    /// Makes or overwrites a file.
    Write(usize, usize),
    Copy(usize, usize),
    Move(usize, usize),
    DeleteFile(usize),
    DeleteSource(usize),
    /// Indexes every file there is. With `crash_after`, the run is ended without a word after so many events, and
    /// another process begins a run of its own.
    Index {
        force: bool,
        crash_after: Option<usize>,
    },
    ChunkLength(usize),
    /// Cuts all sources anew, in the length that is set.
    Rechunk,
    /// Switches to an embedding model, with all sources at once.
    Reembed(usize),
    /// Drops everything that nothing needs, however young.
    Gc,
}

/// Files by name, and what can be found by name: the number of the recording.
#[derive(Clone, Debug, Default)]
struct Model {
    files: BTreeMap<usize, usize>,
    found: BTreeMap<usize, usize>,
}

impl ReferenceStateMachine for Model {
    type State = Self;
    type Transition = Operation;

    fn init_state() -> BoxedStrategy<Self> {
        Just(Self::default()).boxed()
    }

    fn transitions(_: &Self) -> BoxedStrategy<Operation> {
        let name = || 0..NAMES;
        prop_oneof![
            3 => (name(), 0..RECORDINGS).prop_map(|(name, content)| Operation::Write(name, content)),
            1 => (name(), name()).prop_map(|(from, to)| Operation::Copy(from, to)),
            2 => (name(), name()).prop_map(|(from, to)| Operation::Move(from, to)),
            1 => name().prop_map(Operation::DeleteFile),
            1 => name().prop_map(Operation::DeleteSource),
            6 => (prop::bool::weighted(0.2), prop::option::of(1..60_usize))
                .prop_map(|(force, crash_after)| Operation::Index { force, crash_after }),
            1 => (0..CHUNKS.len()).prop_map(Operation::ChunkLength),
            1 => Just(Operation::Rechunk),
            1 => (0..MODELS.len()).prop_map(Operation::Reembed),
            1 => Just(Operation::Gc),
        ]
        .boxed()
    }

    fn preconditions(model: &Self, operation: &Operation) -> bool {
        match operation {
            Operation::Copy(from, to) | Operation::Move(from, to) => {
                from != to && model.files.contains_key(from)
            }
            Operation::DeleteFile(name) => model.files.contains_key(name),
            Operation::DeleteSource(name) => model.found.contains_key(name),
            Operation::Index { .. } => !model.files.is_empty(),
            Operation::Rechunk | Operation::Reembed(_) => !model.found.is_empty(),
            Operation::Write(..) | Operation::ChunkLength(_) | Operation::Gc => true,
        }
    }

    fn apply(mut model: Self, operation: &Operation) -> Self {
        match operation {
            Operation::Write(name, recording) => {
                model.files.insert(*name, *recording);
            }
            Operation::Copy(from, to) => {
                model.files.insert(*to, model.files[from]);
            }
            Operation::Move(from, to) => {
                let recording = model.files.remove(from).unwrap();
                model.files.insert(*to, recording);
            }
            Operation::DeleteFile(name) => {
                model.files.remove(name);
            }
            Operation::DeleteSource(name) => {
                model.found.remove(name);
            }
            Operation::Index { .. } => {
                for (name, recording) in &model.files {
                    // A new name of a recording whose file is gone is a move.
                    let moved = (!model.found.contains_key(name))
                        .then(|| {
                            let mut found = model.found.iter();
                            found.find(|(old, known)| *known == recording && !model.files.contains_key(old))
                        })
                        .flatten()
                        .map(|(old, _)| *old);
                    if let Some(old) = moved {
                        model.found.remove(&old);
                    }
                    model.found.insert(*name, *recording);
                }
            }
            Operation::ChunkLength(_) | Operation::Rechunk | Operation::Reembed(_) | Operation::Gc => {}
        }
        model
    }
}

/// The recordings, no two of the same length, and what is said in them.
fn recordings() -> &'static [(Vec<u8>, String)] {
    static RECORDED: OnceLock<Vec<(Vec<u8>, String)>> = OnceLock::new();
    RECORDED.get_or_init(|| {
        let runtime = runtime();
        (0..RECORDINGS)
            .map(|number| {
                let mut track = Track::new(16_000).silence(300);
                for burst in 0..=number % 3 {
                    let seed = (number * 10 + burst) as u64;
                    track = track.speech(1_500 + 100 * number as u64, seed).silence(1_000);
                }
                let place = place();
                let file = place.write("only.wav", &track.to_wav());
                let said = runtime.block_on(async {
                    let audiorag = place.open().await;
                    super::support::index(&audiorag, &[&file]).await;
                    let source = audiorag.state().list_sources().await.unwrap().remove(0);
                    words(&audiorag.transcript(&source).await.unwrap())
                });
                (track.to_wav(), said)
            })
            .collect()
    })
}

fn words(transcript: &Transcript) -> String {
    let texts: Vec<&str> = transcript
        .segments
        .iter()
        .map(|segment| segment.text.as_str())
        .collect();
    texts.join(" ")
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}

/// One call and one source at a time: what a crash can lose is one answer of each vendor.
fn place() -> Place {
    let mut place = Place::with(FakeTranscriber::new());
    place.embedder = embedder(0);
    place.set(Key::GcRetention, "0s");
    place.set(Key::SttConcurrency, "1");
    place.set(Key::EmbeddingBatch, &BATCH.to_string());
    place.set(Key::IndexSourceConcurrency, "1");
    place.set(Key::ChunkDurationSeconds, CHUNKS[0]);
    place
}

fn embedder(model: usize) -> Arc<HashEmbedder> {
    let (name, dimensions) = MODELS[model];
    Arc::new(HashEmbedder::named(name, dimensions).with_limits(|limits| limits.concurrency = 1))
}

/// Ends a run after a number of events.
struct Countdown {
    left: AtomicUsize,
    over: CancellationToken,
}

impl IndexObserver for Countdown {
    fn event(&self, _: IndexEvent) {
        if self.left.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.over.cancel();
        }
    }
}

/// The real thing.
struct System {
    runtime: tokio::runtime::Runtime,
    place: Place,
    audiorag: Option<AudioRag>,
    files: BTreeMap<usize, usize>,
    found: BTreeMap<usize, usize>,
    crashes: usize,
    embedders: [Arc<HashEmbedder>; MODELS.len()],
    /// Calls of the transcriber, and batches of each embedder, at the last cleaning: what nothing needed then may be
    /// paid for again.
    forgotten: (usize, [usize; MODELS.len()]),
}

fn name(number: usize) -> String {
    format!("{number}.wav")
}

impl System {
    fn path(&self, number: usize) -> PathBuf {
        self.place.path(&name(number))
    }

    fn audiorag(&self) -> &AudioRag {
        self.audiorag.as_ref().unwrap()
    }

    /// Closes the database and opens it again, as another process would.
    fn reopen(&mut self) {
        let before = self.audiorag.take();
        let after = self.runtime.block_on(async {
            if let Some(before) = before {
                before.state().clone().close().await;
            }
            self.place.open().await
        });
        self.audiorag = Some(after);
    }

    fn index(&mut self, force: bool, crash_after: Option<usize>) {
        let options = IndexOptions {
            force,
            ..IndexOptions::default()
        };
        let inputs: Vec<Input> = self
            .files
            .keys()
            .map(|name| Input::Path(self.path(*name)))
            .collect();
        if let Some(events) = crash_after {
            let over = CancellationToken::new();
            let countdown = Countdown {
                left: AtomicUsize::new(events),
                over: over.clone(),
            };
            let cancel = CancellationToken::new();
            let run = self
                .audiorag()
                .index(inputs.clone(), options.clone(), &countdown, cancel);
            let crashed = self.runtime.block_on(async {
                tokio::select! {
                    biased;
                    () = over.cancelled() => true,
                    report = run => {
                        assert!(report.unwrap().failed.is_empty());
                        false
                    }
                }
            });
            self.crashes += usize::from(crashed);
            self.reopen();
            let found = self.runtime.block_on(found(self.audiorag()));
            self.is_old_or_new(&found);
        }
        let done = AtomicUsize::new(0);
        let run = async {
            let cancel = CancellationToken::new();
            let report = self.audiorag().index(inputs, options, &(), cancel).await.unwrap();
            done.store(1, Ordering::SeqCst);
            report
        };
        // Somebody asks all the time while the run is under way.
        let asking = async {
            while done.load(Ordering::SeqCst) == 0 {
                self.is_old_or_new(&found(self.audiorag()).await);
            }
        };
        let (report, ()) = self.runtime.block_on(async { tokio::join!(run, asking) });
        assert!(report.failed.is_empty() && report.not_started == 0, "{report:?}");
    }

    fn reindex(&mut self, what: Reindex) {
        let options = ReindexOptions {
            what,
            sources: Vec::new(),
            max_cost: None,
        };
        let run = self.audiorag().reindex(options, &(), CancellationToken::new());
        let report = self.runtime.block_on(run).unwrap();
        assert!(
            report.failed.is_empty() && report.prepared.is_empty(),
            "{report:?}"
        );
        assert_eq!(report.transcribed_parts(), 0, "{report:?}");
    }

    /// Nothing that could be found before a run is missing during it or after its end, and each source says what
    /// it said before or what its file says now.
    fn is_old_or_new(&self, found: &BTreeMap<String, String>) {
        assert!(
            found.len() >= self.found.len(),
            "{} sources were found, now {}",
            self.found.len(),
            found.len()
        );
        for (file, said) in found {
            let number = (0..NAMES).find(|number| name(*number) == *file).unwrap();
            let could = [self.found.get(&number), self.files.get(&number)];
            let mut could = could
                .into_iter()
                .flatten()
                .map(|recording| &recordings()[*recording].1);
            assert!(
                could.any(|could| said.split('|').all(|text| could.contains(text))),
                "{file} says {said}"
            );
        }
    }
}

/// What can be found, by the name of its file.
async fn found(audiorag: &AudioRag) -> BTreeMap<String, String> {
    let options = QueryOptions {
        top_k: Some(500),
        ..QueryOptions::default()
    };
    let reply = audiorag.search("harbour lantern", options).await.unwrap();
    let mut found: BTreeMap<String, Vec<(audiorag_core::Span, String)>> = BTreeMap::new();
    for hit in reply.hits {
        let file = hit.locator.as_path().unwrap().file_name().unwrap();
        let file = file.to_str().unwrap().to_owned();
        found.entry(file).or_default().push((hit.span, hit.text));
    }
    let said = |mut hits: Vec<(audiorag_core::Span, String)>| {
        hits.sort();
        let texts: Vec<String> = hits.into_iter().map(|(_, text)| text).collect();
        texts.join("|")
    };
    found.into_iter().map(|(file, hits)| (file, said(hits))).collect()
}

impl StateMachineTest for System {
    type SystemUnderTest = Self;
    type Reference = Model;

    fn init_test(_: &Model) -> Self {
        recordings();
        let place = place();
        let mut system = Self {
            runtime: runtime(),
            embedders: [Arc::clone(&place.embedder), embedder(1)],
            forgotten: (0, [0; MODELS.len()]),
            place,
            audiorag: None,
            files: BTreeMap::new(),
            found: BTreeMap::new(),
            crashes: 0,
        };
        system.reopen();
        system
    }

    fn apply(mut system: Self, model: &Model, operation: Operation) -> Self {
        match operation {
            Operation::Write(to, recording) => {
                system.place.write(&name(to), &recordings()[recording].0);
            }
            Operation::Copy(from, to) => {
                std::fs::copy(system.path(from), system.path(to)).unwrap();
            }
            Operation::Move(from, to) => std::fs::rename(system.path(from), system.path(to)).unwrap(),
            Operation::DeleteFile(name) => std::fs::remove_file(system.path(name)).unwrap(),
            Operation::DeleteSource(name) => {
                let path = system.path(name);
                system.runtime.block_on(async {
                    let state = system.audiorag().state();
                    let source = state.resolve_source(path.to_str().unwrap()).await.unwrap();
                    system.audiorag().delete(&source.id).await.unwrap();
                });
            }
            Operation::Index { force, crash_after } => system.index(force, crash_after),
            Operation::ChunkLength(length) => {
                system.place.set(Key::ChunkDurationSeconds, CHUNKS[length]);
                system.reopen();
            }
            Operation::Rechunk => system.reindex(Reindex::Rechunk),
            Operation::Reembed(model) => {
                system.place.embedder = Arc::clone(&system.embedders[model]);
                system.reopen();
                system.reindex(Reindex::Reembed);
            }
            Operation::Gc => {
                system.runtime.block_on(system.audiorag().gc(false)).unwrap();
                let batches = [0, 1].map(|model| system.embedders[model].batches().len());
                system.forgotten = (system.place.transcriber.requests().len(), batches);
            }
        }
        system.files.clone_from(&model.files);
        system.found.clone_from(&model.found);
        system
    }

    fn check_invariants(system: &Self, model: &Model) {
        let audiorag = system.audiorag();
        let found: BTreeMap<String, String> = system.runtime.block_on(found(audiorag));
        let expected: BTreeSet<String> = model.found.keys().map(|number| name(*number)).collect();
        assert_eq!(found.keys().cloned().collect::<BTreeSet<_>>(), expected);
        system.runtime.block_on(async {
            let state = audiorag.state();
            let mut chunks = 0;
            for source in state.list_sources().await.unwrap() {
                let file = source
                    .locator
                    .as_path()
                    .unwrap()
                    .file_name()
                    .unwrap()
                    .to_str()
                    .unwrap();
                let number = (0..NAMES).find(|number| name(*number) == file).unwrap();
                let said = words(&audiorag.transcript(&source).await.unwrap());
                assert_eq!(said, recordings()[model.found[&number]].1, "{file}");
                assert_eq!(
                    (source.status, &source.owner),
                    (SourceStatus::Completed, &None),
                    "{file}"
                );
                chunks += source.chunk_count;
            }
            let store = state.vectors();
            store.prepare(system.place.embedder.space()).await.unwrap();
            assert_eq!(
                store.count(&Selector::All).await.unwrap(),
                chunks,
                "each chunk once, and no other"
            );
            assert!(state.pending_retirements().await.unwrap().is_empty());
        });
        // Paid once for the same audio and the same text, but for what a crash lost on the way.
        let mut heard: HashMap<Vec<u32>, usize> = HashMap::new();
        let (requests, batches) = system.forgotten;
        for request in system.place.transcriber.requests().into_iter().skip(requests) {
            let samples = request
                .samples
                .to_float()
                .iter()
                .map(|sample| sample.to_bits())
                .collect();
            *heard.entry(samples).or_default() += 1;
        }
        let mut embedded: HashMap<(usize, String), usize> = HashMap::new();
        for (model, embedder) in system.embedders.iter().enumerate() {
            for (input, texts) in embedder.batches().into_iter().skip(batches[model]) {
                for text in texts.into_iter().filter(|_| input == InputType::Document) {
                    *embedded.entry((model, text)).or_default() += 1;
                }
            }
        }
        let again = |calls: Vec<usize>| calls.iter().map(|calls| calls - 1).sum::<usize>();
        let (heard, embedded) = (
            again(heard.into_values().collect()),
            again(embedded.into_values().collect()),
        );
        assert!(
            heard <= system.crashes,
            "{heard} parts again after {} crashes",
            system.crashes
        );
        let most = system.crashes * BATCH;
        assert!(
            embedded <= most,
            "{embedded} texts again after {} crashes",
            system.crashes
        );
    }
}

prop_state_machine! {
    #![proptest_config(Config {
        cases: 12,
        max_shrink_iters: 60,
        failure_persistence: None,
        ..Config::default()
    })]

    #[test]
    fn whatever_users_do_in_whatever_order_what_is_found_is_what_was_indexed_last(
        sequential 4..14 => System
    );
}
