//! The index path, top to bottom:
//! discover, identify, claim, probe, split and transcribe, chunk, embed, store, verify, publish, retire.
//!
//! Each stage is a function of what it needs, in a file of its own. Between two commit points nothing is
//! visible and nothing is lost: whatever ends a run, the next one goes on from the last commit.

mod build;
mod config;
mod cut;
mod discover;
pub(crate) mod embed;
mod event;
mod generation;
pub(crate) mod given;
mod identify;
mod lanes;
mod plan;
mod reindex;
mod stage;
pub(crate) mod store;
mod transcribe;
mod voices;
mod watch;
#[cfg_attr(not(feature = "web"), path = "index/no_web.rs")]
pub(crate) mod web;

pub(crate) use config::is_same_but_for_its_source;
pub use discover::{Input, Selection};
pub use event::{
    FailedSource, IndexEvent, IndexObserver, IndexReport, IndexedSource, SkippedSource, SourceOutcome,
};
pub(crate) use identify::{blocking, blocking_until};
pub use plan::{IndexPlan, PlannedCalls, PlannedSource};
pub use reindex::{Reindex, ReindexOptions, ReindexPlan, ReindexedSource};
pub(crate) use store::{Verification, retire_everywhere};
pub(crate) use transcribe::SpeechSettings;

use crate::guard::Guarded;
use crate::operation;
use crate::settings::TranscriptMode;
use audiorag_core::capability::{Embedder, Transcriber, VectorStore};
use audiorag_core::chunking::ChunkSettings;
use audiorag_core::id::{ContentHash, OperationId, SourceId};
use audiorag_core::{Error, ErrorKind, Locator, Money, Result, Stage};
use audiorag_state::{Claim, CostBy, CostWindow, Failure, Lease, Outcome, SourceRecord, State};
use build::Recipe;
use config::Config;
use discover::{Copy, Episodes, Found, Remote};
use futures_util::StreamExt as _;
use generation::Requests;
use given::Sidecars;
use identify::Identity;
use lanes::Lanes;
use stage::Stages;
use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;
use web::Web;

/// How long a claim lives without renewal.
const LEASE: Duration = Duration::from_mins(1);
/// How the reason begins for which a source is left to another process.
const BUSY: &str = "in progress";

/// What the user asked of one run.
#[derive(Clone, Debug, Default)]
pub struct IndexOptions {
    /// Build a new revision even where nothing changed. Stored transcripts and vectors are used again.
    pub force: bool,
    /// Files of folders that are taken; empty means known audio extensions.
    pub include: Vec<String>,
    /// Files of folders that are left out.
    pub exclude: Vec<String>,
    /// The title of the sources, instead of the one in their tags or names.
    pub title: Option<String>,
    /// The most that calls of this run may cost; `None` means what the settings say.
    pub max_cost: Option<Money>,
    /// The transcript of the source, when there is only one. It stays the source's own until another one is named, the
    /// recording changes, or transcripts are never to be used.
    pub transcript_file: Option<PathBuf>,
    /// Leave out files of folders that were changed within this time: they may still be written.
    pub min_age: Option<Duration>,
    /// Of feeds, only episodes that were published on or after this day, `YYYY-MM-DD`.
    pub since: Option<String>,
    /// Of feeds, at most so many episodes, the newest first.
    pub latest: Option<usize>,
}

/// Everything that shapes a revision.
#[derive(Clone, Debug)]
pub(crate) struct IndexSettings {
    pub(crate) speech: SpeechSettings,
    pub(crate) chunks: ChunkSettings,
    pub(crate) embedding_batch: usize,
    pub(crate) transcript: TranscriptMode,
    pub(crate) source_concurrency: usize,
    pub(crate) verification: Verification,
    pub(crate) verify_attempts: u32,
    pub(crate) verify_wait: Duration,
}

/// A source to be worked on.
enum Task {
    /// Found by its file, or not found.
    Found(Result<Found>),
    /// Known already.
    Again(Box<SourceRecord>),
}

/// What is done to sources.
enum Job<'a> {
    /// Whatever is needed for what was found.
    Index(&'a IndexOptions),
    /// Cut anew.
    Rechunk,
    /// Embedded for another space, and not yet published.
    Reembed,
    /// Transcribed again, unless that was done for the same request.
    Retranscribe(Requests),
}

/// One lock for each recording's bytes, so that neither two copies of it nor two runs of this process pay for it at
/// the same time. Clones share the locks.
#[derive(Clone, Default)]
pub(crate) struct InWork(Arc<Mutex<HashMap<ContentHash, Weak<tokio::sync::Mutex<()>>>>>);

impl InWork {
    pub(crate) fn lock_of(&self, content: &ContentHash) -> Arc<tokio::sync::Mutex<()>> {
        let mut locks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lock) = locks.get(content).and_then(Weak::upgrade) {
            return lock;
        }
        // What nobody holds any more would pile up in a process that runs for months.
        locks.retain(|_, lock| lock.strong_count() > 0);
        let lock = Arc::default();
        locks.insert(content.clone(), Arc::downgrade(&lock));
        lock
    }
}

/// Works through sources.
pub(crate) struct Indexer {
    pub(crate) state: State,
    pub(crate) transcriber: Guarded<dyn Transcriber>,
    pub(crate) embedder: Guarded<dyn Embedder>,
    pub(crate) store: Guarded<dyn VectorStore>,
    pub(crate) settings: IndexSettings,
    in_work: InWork,
    lanes: Lanes,
    sidecars: Sidecars,
    web: Arc<Web>,
    /// Whether the embedder was loaded.
    warm: tokio::sync::OnceCell<()>,
}

impl Indexer {
    pub(crate) fn new(
        state: State,
        transcriber: Guarded<dyn Transcriber>,
        embedder: Guarded<dyn Embedder>,
        store: Guarded<dyn VectorStore>,
        settings: IndexSettings,
        in_work: InWork,
        web: Arc<Web>,
    ) -> Self {
        Self {
            lanes: Lanes::new(settings.speech.concurrency),
            state,
            transcriber,
            embedder,
            store,
            settings,
            in_work,
            sidecars: Sidecars::default(),
            web,
            warm: tokio::sync::OnceCell::new(),
        }
    }

    /// Indexes what `inputs` name. Failures of single sources are in the report; an error means that nothing
    /// could be started.
    pub(crate) async fn index(
        &self,
        operation_id: OperationId,
        inputs: Vec<Input>,
        selection: Selection,
        options: &IndexOptions,
        observer: &dyn IndexObserver,
        cancel: &CancellationToken,
    ) -> Result<IndexReport> {
        let space = self.embedder.space();
        refuse_other_spaces(&self.state, &space.fingerprint()).await?;
        self.within_grace(cancel, self.store.prepare(space)).await?;
        let retiring = retire_everywhere(&self.state, &self.store, Some(space));
        self.within_grace(cancel, retiring).await?;
        let found = self.discover(inputs, selection, options, cancel).await?;
        given::refuse_several(options, found.len())?;
        observer.event(IndexEvent::Discovered { sources: found.len() });
        let tasks = found.into_iter().map(Task::Found).collect();
        Ok(self
            .run(operation_id, tasks, &Job::Index(options), observer, cancel)
            .await)
    }

    /// Expands inputs into sources, each once, in their order.
    async fn discover(
        &self,
        inputs: Vec<Input>,
        selection: Selection,
        options: &IndexOptions,
        cancel: &CancellationToken,
    ) -> Result<Vec<Result<Found>>> {
        let episodes = Episodes {
            since: options.since.clone(),
            latest: options.latest,
        };
        let of_folders = selection.clone();
        let named = blocking_until(cancel, move || Ok(discover::discover(&inputs, &of_folders))).await?;
        let mut found = Vec::with_capacity(named.len());
        for item in named {
            let url = item.as_ref().ok().and_then(Found::url).map(str::to_owned);
            let Some(url) = url else {
                found.push(item);
                continue;
            };
            match self
                .web
                .expand(&self.state, &url, &episodes, &selection, cancel)
                .await
            {
                Ok(items) => found.extend(items.into_iter().map(Ok)),
                Err(error) if error.kind() == ErrorKind::Cancelled => return Err(error),
                Err(error) => found.push(Err(error
                    .with_source(Web::shown(&url))
                    .with_stage(Stage::Discover))),
            }
        }
        let mut seen = HashSet::new();
        found.retain(|item| match item {
            Ok(found) => seen.insert(found.locator.clone()),
            Err(_) => true,
        });
        Ok(found)
    }

    /// Works through `tasks`, some of them side by side.
    async fn run(
        &self,
        operation_id: OperationId,
        tasks: Vec<Task>,
        job: &Job<'_>,
        observer: &dyn IndexObserver,
        cancel: &CancellationToken,
    ) -> IndexReport {
        let started = Instant::now();
        let halt = CancellationToken::new();
        let total = tasks.len();
        let mut outcomes: Vec<(usize, Option<SourceOutcome>)> = futures_util::stream::iter(tasks)
            .enumerate()
            .map(|(place, task)| {
                let halt = &halt;
                async move {
                    if halt.is_cancelled() || cancel.is_cancelled() {
                        return (place, None);
                    }
                    let outcome = self.one_source(task, job, observer, halt, cancel).await;
                    observer.event(IndexEvent::SourceFinished {
                        source: source_of(&outcome).to_owned(),
                        outcome: outcome.clone(),
                    });
                    (place, Some(outcome))
                }
            })
            .buffer_unordered(self.settings.source_concurrency.max(1))
            .collect()
            .await;
        // In the order of the sources, so that reports do not depend on who is faster.
        outcomes.sort_unstable_by_key(|(place, _)| *place);
        let outcomes: Vec<Option<SourceOutcome>> = outcomes.into_iter().map(|(_, outcome)| outcome).collect();
        let window = CostWindow::of(&operation_id);
        let costs = self
            .state
            .costs(CostBy::Provider, window)
            .await
            .unwrap_or_else(|error| {
                // The report is worth more than its sum.
                tracing::warn!(error = %error.report(), "what the run cost cannot be read");
                Vec::new()
            });
        let mut report = IndexReport {
            operation_id,
            calls: costs.iter().map(|row| row.calls).sum(),
            unpriced_calls: costs.iter().map(|row| row.unpriced).sum(),
            cost: costs.iter().filter_map(|row| row.amounts.cost).sum(),
            indexed: Vec::new(),
            skipped: Vec::new(),
            empty: Vec::new(),
            prepared: Vec::new(),
            failed: Vec::new(),
            not_started: total - outcomes.iter().flatten().count(),
            cancelled: cancel.is_cancelled(),
            elapsed: started.elapsed(),
        };
        for outcome in outcomes.into_iter().flatten() {
            report.add(outcome);
        }
        if !report.indexed.is_empty() {
            // Searches do without.
            if let Err(error) = self.state.merge_segments(&|| cancel.is_cancelled()).await {
                tracing::warn!(error = %error.report(), "the lexical index was not merged");
            }
        }
        report
    }

    async fn one_source(
        &self,
        task: Task,
        job: &Job<'_>,
        observer: &dyn IndexObserver,
        halt: &CancellationToken,
        cancel: &CancellationToken,
    ) -> SourceOutcome {
        let locator = match &task {
            Task::Found(Ok(found)) => &found.locator,
            Task::Found(Err(error)) => {
                let name = error.source_name().unwrap_or_default().to_owned();
                return SourceOutcome::Failed(FailedSource::new(name, error));
            }
            Task::Again(source) => &source.locator,
        };
        let name = locator.to_string();
        let span = tracing::info_span!("source", source = %name);
        async {
            observer.event(IndexEvent::SourceStarted { source: name.clone() });
            let stages = Stages::new(&name, observer);
            let work = async {
                match (&task, job) {
                (Task::Found(Ok(found)), Job::Index(options)) => {
                    Box::pin(self.work_through(found, options, stages, cancel)).await
                }
                (Task::Again(source), job) => self.again(source, job, stages, cancel).await,
                _ => Err(Error::internal("a source was given to the wrong kind of work")),
                }
            };
            match operation::caught(work).await {
                Ok(outcome) => {
                    if let Locator::Url(url) = locator {
                        self.web.done_with(url);
                    }
                    outcome
                }
                // Another process took the source over, or deleted it: the others go on.
                Err(error) if error.kind() == ErrorKind::Cancelled && !cancel.is_cancelled() => {
                    let known = self.state.find_source(locator).await.ok().flatten();
                    let id = known.map_or_else(|| SourceId::of(locator), |source| source.id);
                    stages.skipped(&id, error.message())
                }
                Err(error) => {
                    if error.stops_batch() {
                        halt.cancel();
                    }
                    tracing::error!(kind = %error.kind(), stage = error.stage().map(Stage::as_str), "{}", error.report());
                    SourceOutcome::Failed(FailedSource::new(name.clone(), &error))
                }
            }
        }
        .instrument(span)
        .await
    }

    async fn work_through(
        &self,
        found: &Found,
        options: &IndexOptions,
        stages: Stages<'_>,
        cancel: &CancellationToken,
    ) -> Result<SourceOutcome> {
        let mut given = self.given(found, options).await?;
        let mut config = self.config(options.title.as_deref(), given.ready.as_ref());
        let fetched = match found.url() {
            Some(url) => match self
                .fetch(found, url, &config, options.force, stages, cancel)
                .await?
            {
                Ok(fetched) => fetched,
                Err(unchanged) => return Ok(unchanged),
            },
            None => found.clone(),
        };
        let found = &fetched;
        let identity = stages
            .run(
                Stage::Probe,
                identify::identify(&self.state, found, &config, options.force, cancel),
            )
            .await?;
        let target = match identity {
            Identity::Work(target) => *target,
            Identity::Unchanged(source_id, reason) => return Ok(stages.skipped(&source_id, reason)),
        };
        if given.ready.is_none() && found.url().is_some() {
            given = self.given_by_feed(found, &target, options, cancel).await?;
            config = self.config(options.title.as_deref(), given.ready.as_ref());
        }
        let same_bytes = self.lock_of(&target.fingerprint.content);
        let _alone = same_bytes.lock().await;
        let lease = match self.claim(&target.source.id, stages).await? {
            Ok(lease) => lease,
            Err(busy) => return Ok(busy),
        };
        let recipe = Recipe {
            config: &config,
            title: options.title.as_deref(),
            given: given.ready.as_ref(),
            again: None,
        };
        for complaint in &given.complaints {
            stages.warn(complaint.as_str());
        }
        let (target, lease, recipe) = (&target, &lease, &recipe);
        let work = self.keeping(lease, cancel, |cancel| async move {
            let content = &target.fingerprint.content;
            if !options.force
                && identify::is_current(&self.state, &target.source, content, recipe.config).await?
            {
                // Somebody else finished it while we waited, or an earlier run ended between the last commit that
                // counts and saying so.
                identify::settle(&self.state, lease).await?;
                return Ok(stages.skipped(&target.source.id, "unchanged"));
            }
            Box::pin(self.build(lease, target, recipe, stages, &cancel)).await
        });
        let outcome = work.await;
        self.release(lease, outcome).await
    }

    /// Brings the bytes of a recording on the web here, unless nothing has to be done for it.
    async fn fetch(
        &self,
        found: &Found,
        url: &str,
        config: &Config,
        force: bool,
        stages: Stages<'_>,
        cancel: &CancellationToken,
    ) -> Result<std::result::Result<Found, SourceOutcome>> {
        let remote = found.remote.as_deref().cloned().unwrap_or_default();
        let known = self.state.find_source(&found.locator).await?;
        let current = match &known {
            Some(source) if !force && identify::is_settled(source) => match &source.fingerprint {
                Some(last) => identify::is_current(&self.state, source, &last.content, config).await?,
                None => false,
            },
            _ => false,
        };
        let unchanged = |source: &SourceRecord| stages.skipped(&source.id, identify::unchanged(source));
        // An episode keeps its recording: a feed that replaces it gives it another GUID or another URL. Of a page
        // nobody can ask whether it changed.
        let keeps = remote.item.is_some() || remote.is_page;
        if let Some(source) = known.as_ref().filter(|_| current && keeps) {
            return Ok(Err(unchanged(source)));
        }
        let fetching = self
            .web
            .fetch(&self.state, url, &remote, !current, stages, cancel);
        match (stages.run(Stage::Download, fetching).await?, &known) {
            (Copy::Here { path, fingerprint }, _) => {
                // With its chapters, which are fetched together with it.
                let said = self.state.download(url).await?.and_then(|known| known.said);
                Ok(Ok(Found {
                    bytes: fingerprint.bytes,
                    copy: Some(path),
                    remote: Some(Box::new(Remote { said, ..remote })),
                    ..found.clone()
                }))
            }
            (Copy::Unchanged, Some(source)) => Ok(Err(unchanged(source))),
            (Copy::Unchanged, None) => Err(Error::internal("what was never fetched cannot be unchanged")),
        }
    }

    /// Claims a source, or says who has it.
    async fn claim(
        &self,
        source_id: &SourceId,
        stages: Stages<'_>,
    ) -> Result<std::result::Result<Lease, SourceOutcome>> {
        let me = operation::this_process();
        let claim = self
            .state
            .claim(source_id, &me, LEASE, &operation::may_be_alive)
            .await?;
        Ok(match claim {
            Claim::Granted(lease) => Ok(lease),
            Claim::Busy(owner) => Err(stages.skipped(source_id, format!("{BUSY} by {owner}"))),
        })
    }

    /// Gives a source back and records how the work ended.
    async fn release(&self, lease: &Lease, outcome: Result<SourceOutcome>) -> Result<SourceOutcome> {
        let released = match &outcome {
            Ok(_) => Outcome::Done,
            Err(error) if error.kind() == ErrorKind::Cancelled => Outcome::Cancelled,
            Err(error) => Outcome::Failed(Failure {
                stage: error.stage(),
                kind: error.kind(),
                message: error.report(),
            }),
        };
        match operation::caught(self.state.release(lease, &released)).await {
            // Whoever took over has the last word.
            Err(error) if error.kind() != ErrorKind::Cancelled => outcome.and(Err(error)),
            _ => outcome,
        }
    }

    /// Runs `work` while the lease is renewed. Losing the lease cancels the work.
    ///
    /// The renewal is never dropped in the middle of a database call: it is told to end and waited for.
    async fn keeping<'a, T, F>(
        &'a self,
        lease: &'a Lease,
        cancel: &CancellationToken,
        work: impl FnOnce(CancellationToken) -> F,
    ) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        let done = CancellationToken::new();
        let lost = cancel.child_token();
        let working = async {
            let outcome = operation::caught(work(lost.clone())).await;
            done.cancel();
            outcome
        };
        let renewing = async {
            while done
                .run_until_cancelled(tokio::time::sleep(LEASE / 3))
                .await
                .is_some()
            {
                if let Err(error) = operation::caught(self.state.renew(lease, LEASE)).await {
                    tracing::warn!(error = %error.report(), "the claim on this source was lost");
                    if error.kind() == ErrorKind::Cancelled {
                        lost.cancel();
                        break;
                    }
                }
            }
        };
        tokio::join!(working, renewing).0
    }

    fn lock_of(&self, content: &ContentHash) -> Arc<tokio::sync::Mutex<()>> {
        self.in_work.lock_of(content)
    }
}

/// Refuses a database whose live vectors belong to another model than the configured one.
pub(crate) async fn refuse_other_spaces(state: &State, configured: &str) -> Result<()> {
    let other = state
        .live_spaces()
        .await?
        .into_iter()
        .find(|(space, _)| space != configured);
    match other {
        None => Ok(()),
        Some((space, sources)) => Err(Error::config(format!(
            "the index was built with the embedding model {space} ({sources} sources), and the configuration says \
             {configured}"
        ))
        .with_hint(
            "run `audiorag reindex --reembed` to switch the whole index to that model, or set \
             AUDIORAG_EMBEDDING_PROVIDER and AUDIORAG_EMBEDDING_MODEL back",
        )),
    }
}

fn source_of(outcome: &SourceOutcome) -> &str {
    match outcome {
        SourceOutcome::Indexed(source) | SourceOutcome::Empty(source) | SourceOutcome::Prepared(source) => {
            &source.source
        }
        SourceOutcome::Skipped(source) => &source.source,
        SourceOutcome::Failed(source) => &source.source,
    }
}
