//! Sources that are indexed already, made anew: cut again, embedded for another model, or transcribed again.
//!
//! Cutting and embedding start from the stored transcripts and need no file. Vectors of two models cannot be searched
//! together, so that the revisions for another model are built beside the live ones and published in one transaction
//! when the last of them is ready. See docs/adr/0009-switch-models-at-once.md.

mod plan;

pub use plan::{ReindexPlan, ReindexedSource};

use super::build::{Draft, Filled, Recipe, outcome, report};
use super::config::{Config, Shape, read_config, title_of};
use super::discover::{Copy, Remote};
use super::event::{IndexEvent, IndexObserver, IndexReport, SourceOutcome};
use super::generation::{Requests, generation_of};
use super::given::{GIVEN, given_of};
use super::identify::{self, Target, blocking_until};
use super::stage::Stages;
use super::store::retire_everywhere;
use super::transcribe::PartsReport;
use super::{BUSY, Indexer, Job, Task, refuse_other_spaces};
use crate::operation;
use audiorag_core::id::{OperationId, RevisionId, SourceId};
use audiorag_core::model::{Fingerprint, SourceStatus};
use audiorag_core::{Error, ErrorKind, Locator, Money, Result, Stage};
use audiorag_state::{Lease, Outcome, RevisionRecord, SourceRecord, Switch};
use std::collections::HashSet;
use std::path::PathBuf;
use tokio_util::sync::CancellationToken;

/// How often sources that were indexed meanwhile are embedded after the others before the run gives up.
const ROUNDS: usize = 5;
const NOT_INDEXED: &str = "never indexed to the end: run `audiorag index` on it first";

/// What is made anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reindex {
    /// Chunks, from the stored transcripts and with today's chunk settings.
    Rechunk,
    /// Vectors, for an embedding model that replaces the one of the index, all sources at once.
    Reembed,
    /// Transcripts, from the files. The only thing that ignores what was transcribed before.
    Retranscribe,
}

/// What the user asked of one run.
#[derive(Clone, Debug)]
pub struct ReindexOptions {
    /// What is made anew.
    pub what: Reindex,
    /// The sources; empty means all of them.
    pub sources: Vec<SourceId>,
    /// The most that calls of this run may cost; `None` means what the settings say.
    pub max_cost: Option<Money>,
}

impl Indexer {
    /// Makes sources anew. Failures of single sources are in the report; an error means that nothing could be
    /// started.
    pub(crate) async fn reindex(
        &self,
        operation_id: OperationId,
        options: &ReindexOptions,
        observer: &dyn IndexObserver,
        cancel: &CancellationToken,
    ) -> Result<IndexReport> {
        let sources = self.check_and_list(options).await?;
        let space = self.embedder.space();
        // Where the store has no room for another space beside the one it holds, this says so, before any work.
        self.within_grace(cancel, self.store.prepare(space)).await?;
        let job = match options.what {
            Reindex::Rechunk => Job::Rechunk,
            Reindex::Reembed => Job::Reembed,
            Reindex::Retranscribe => Job::Retranscribe(self.mark(&sources).await?),
        };
        observer.event(IndexEvent::Discovered {
            sources: sources.len(),
        });
        let mut report = self
            .run(operation_id, again(sources), &job, observer, cancel)
            .await;
        if options.what == Reindex::Reembed {
            self.switch(&mut report, observer, cancel).await?;
        }
        let retiring = retire_everywhere(&self.state, &self.store, Some(space));
        match self.within_grace(cancel, retiring).await {
            // What is left is deleted by the next run, and what was done is worth a report.
            Err(error) if error.kind() == ErrorKind::Cancelled => {}
            retired => drop(retired?),
        }
        Ok(report)
    }

    /// Refuses what cannot be done, and returns the sources that are meant.
    async fn check_and_list(&self, options: &ReindexOptions) -> Result<Vec<SourceRecord>> {
        let mut sources = self.state.list_sources().await?;
        if !options.sources.is_empty() {
            let wanted: HashSet<&SourceId> = options.sources.iter().collect();
            sources.retain(|source| wanted.contains(&source.id));
        }
        let space = self.embedder.space().fingerprint();
        match options.what {
            Reindex::Rechunk | Reindex::Retranscribe => refuse_other_spaces(&self.state, &space).await?,
            Reindex::Reembed if !options.sources.is_empty() => {
                let other = self
                    .state
                    .live_spaces()
                    .await?
                    .into_iter()
                    .any(|(live, _)| live != space);
                if other {
                    return Err(Error::input(
                        "an index has one embedding model, so that its sources change to another one together",
                    )
                    .with_hint("run `audiorag reindex --all --reembed`"));
                }
            }
            Reindex::Reembed => {}
        }
        Ok(sources)
    }

    /// Publishes all that is prepared, as soon as nothing is missing.
    async fn switch(
        &self,
        report: &mut IndexReport,
        observer: &dyn IndexObserver,
        cancel: &CancellationToken,
    ) -> Result<()> {
        let space = self.embedder.space();
        for _ in 0..ROUNDS {
            if cancel.is_cancelled() {
                break;
            }
            let waiting = match self.state.switch_space(space).await? {
                Switch::Done(switched) => {
                    let switched: HashSet<RevisionId> =
                        switched.into_iter().map(|(_, revision)| revision).collect();
                    for source in std::mem::take(&mut report.prepared) {
                        // What another process switched, or somebody deleted, is not ours to report.
                        let live = self.state.live_revision(&source.source_id).await?;
                        if !switched.contains(&source.revision)
                            && live.is_none_or(|live| live.id != source.revision)
                        {
                            continue;
                        }
                        report.add(if source.chunks == 0 {
                            SourceOutcome::Empty(source)
                        } else {
                            SourceOutcome::Indexed(source)
                        });
                    }
                    return Ok(());
                }
                Switch::Waiting(waiting) => waiting,
            };
            // Sources that came, or were indexed anew, while the others were embedded. Those that another process has
            // in its hands have to wait for the next run.
            let busy: HashSet<SourceId> = report
                .skipped
                .iter()
                .filter(|skipped| skipped.reason.starts_with(BUSY))
                .map(|skipped| skipped.source_id.clone())
                .collect();
            let mut rest = Vec::new();
            for id in waiting.iter().filter(|id| !busy.contains(*id)) {
                rest.extend(self.state.source(id).await?);
            }
            let failed = !report.failed.is_empty() || report.not_started > 0;
            if failed || rest.len() < waiting.len() {
                break;
            }
            let again = self
                .run(
                    report.operation_id.clone(),
                    again(rest),
                    &Job::Reembed,
                    observer,
                    cancel,
                )
                .await;
            report
                .prepared
                .retain(|source| !waiting.contains(&source.source_id));
            report.merge(again);
        }
        Ok(())
    }

    /// Works on a source that is known already.
    pub(super) async fn again(
        &self,
        source: &SourceRecord,
        job: &Job<'_>,
        stages: Stages<'_>,
        cancel: &CancellationToken,
    ) -> Result<SourceOutcome> {
        let Some(live) = self.state.live_revision(&source.id).await? else {
            return Ok(stages.skipped(&source.id, NOT_INDEXED));
        };
        let outcome = match job {
            Job::Retranscribe(_) if given_of(&live).is_some() => Ok(stages.skipped(&source.id, GIVEN)),
            Job::Retranscribe(requests) => {
                self.retranscribe(source, &live, requests.of(&source.id), stages, cancel)
                    .await
            }
            _ => self.remake(source, &live, job, stages, cancel).await,
        };
        match outcome {
            Err(error)
                if error.kind() == ErrorKind::NotFound && self.state.source(&source.id).await?.is_none() =>
            {
                Ok(stages.skipped(&source.id, "deleted meanwhile"))
            }
            outcome => outcome,
        }
    }

    /// Makes a revision from the parts of the live one.
    async fn remake(
        &self,
        source: &SourceRecord,
        live: &RevisionRecord,
        job: &Job<'_>,
        stages: Stages<'_>,
        cancel: &CancellationToken,
    ) -> Result<SourceOutcome> {
        let is_reembed = matches!(job, Job::Reembed);
        if identify::is_settled(source) && self.is_made(live, source, is_reembed).await? {
            return Ok(stages.skipped(&source.id, "unchanged"));
        }
        let same_bytes = self.lock_of(&live.content);
        let _alone = same_bytes.lock().await;
        let lease = match self.claim(&source.id, stages).await? {
            Ok(lease) => lease,
            Err(busy) => return Ok(busy),
        };
        let (held, publish) = (&lease, matches!(job, Job::Rechunk));
        let outcome = self
            .keeping(held, cancel, |cancel| async move {
                // As it is now that nobody else can change it.
                let Some(live) = self.state.live_revision(&source.id).await? else {
                    return Ok(stages.skipped(&source.id, NOT_INDEXED));
                };
                if self.is_made(&live, source, is_reembed).await? {
                    // An earlier run ended between the commit that counts and saying so.
                    identify::settle(&self.state, held).await?;
                    return Ok(stages.skipped(&source.id, "unchanged"));
                }
                self.remake_claimed(held, source, &live, publish, stages, &cancel)
                    .await
            })
            .await;
        self.release(&lease, outcome).await
    }

    async fn remake_claimed(
        &self,
        lease: &Lease,
        source: &SourceRecord,
        live: &RevisionRecord,
        publish: bool,
        stages: Stages<'_>,
        cancel: &CancellationToken,
    ) -> Result<SourceOutcome> {
        let state = &self.state;
        let config = self.config_like(live, source).await?;
        let plan = config.plan(&live.content, self.embedder.space());
        let open = self
            .open_request(&source.id, &live.content, generation_of(live))
            .await?;
        let revision = state.begin_revision_beside(lease, &plan, open).await?;
        let media = source.media.clone().unwrap_or_default();
        let header = title_of(&config).or_else(|| media.title.clone());
        let draft = Draft {
            lease,
            source_id: &source.id,
            revision,
            media: &media,
            header: header.as_deref(),
            title: &source.title,
            stages,
            cancel,
        };
        let ready = state
            .unfinished_revisions()
            .await?
            .into_iter()
            .find(|unfinished| unfinished.id == revision && unfinished.verified_at.is_some());
        let filled = if let Some(ready) = ready {
            // An earlier run prepared it and could not switch.
            Filled {
                duration: ready.duration,
                chunks: ready.chunk_count as usize,
                embedded: 0,
                suspicious: 0,
            }
        } else {
            state.copy_parts(lease, live.id, revision).await?;
            self.start_on_bytes(lease, &live.content, SourceStatus::Transcribed, stages, cancel)
                .await?;
            let filled = self.fill(draft, live.duration).await?;
            if !publish {
                state.mark_verified(lease, revision).await?;
                // Until the switch, what answers queries is what answered them before.
                state.set_status(lease, status_of(live)).await?;
            }
            filled
        };
        let mut parts = PartsReport {
            duration: live.duration,
            ..PartsReport::default()
        };
        for part in state.parts_of(revision).await? {
            match part.key {
                Some(_) => parts.reused += 1,
                None => parts.silent += 1,
            }
        }
        if !publish {
            return Ok(SourceOutcome::Prepared(report(draft, filled, parts)));
        }
        stages
            .run(
                Stage::Publish,
                state.publish_revision(lease, revision, filled.status()),
            )
            .await?;
        self.retire_replaced(stages, cancel).await?;
        Ok(outcome(draft, filled, parts))
    }

    /// Transcribes a source again, except for the parts for which this was done for the same request.
    async fn retranscribe(
        &self,
        source: &SourceRecord,
        live: &RevisionRecord,
        request: u64,
        stages: Stages<'_>,
        cancel: &CancellationToken,
    ) -> Result<SourceOutcome> {
        let (path, fingerprint) = match self.bytes_of(&source.locator, stages, cancel).await {
            Ok(here) => here,
            // Noted, so that the source does not hold the request open for the others.
            Err(error) => {
                return match self.claim(&source.id, stages).await? {
                    Ok(lease) => self.release(&lease, Err(error)).await,
                    Err(busy) => Ok(busy),
                };
            }
        };
        let title = title_of(&Config::new(read_config(live)?));
        let config = Config::new(self.config_json(title.as_deref()));
        let said = match &source.locator {
            Locator::Url(url) => self.state.download(url).await?.and_then(|known| known.said),
            Locator::File(_) => None,
        };
        let target = Target {
            source: source.clone(),
            path,
            fingerprint,
            said,
        };
        let same_bytes = self.lock_of(&target.fingerprint.content);
        let _alone = same_bytes.lock().await;
        let lease = match self.claim(&source.id, stages).await? {
            Ok(lease) => lease,
            Err(busy) => return Ok(busy),
        };
        let recipe = Recipe {
            config: &config,
            title: title.as_deref(),
            given: None,
            again: Some(request),
        };
        let (held, target, recipe) = (&lease, &target, &recipe);
        let outcome = self
            .keeping(held, cancel, |cancel| async move {
                let live = self.state.live_revision(&source.id).await?;
                if let Some(live) = live
                    && live.content == target.fingerprint.content
                    && live.config
                        == recipe
                            .config
                            .as_of(&live, &Shape::of(&self.state, source).await?)
                            .hash
                    && self.is_done(&live, request).await?
                {
                    identify::settle(&self.state, held).await?;
                    return Ok(stages.skipped(&source.id, "transcribed again already"));
                }
                self.build(held, target, recipe, stages, &cancel).await
            })
            .await;
        self.release(&lease, outcome).await
    }

    /// Where the bytes of a recording are on this machine, and what they are.
    async fn bytes_of(
        &self,
        locator: &Locator,
        stages: Stages<'_>,
        cancel: &CancellationToken,
    ) -> Result<(PathBuf, Fingerprint)> {
        match locator {
            Locator::File(path) => {
                let path = path.clone();
                let hash = move || audiorag_audio::fingerprint(&path).map(|fingerprint| (path, fingerprint));
                blocking_until(cancel, hash).await
            }
            Locator::Url(url) => {
                let remote = Remote::default();
                let fetching = self.web.fetch(&self.state, url, &remote, true, stages, cancel);
                match stages.run(Stage::Download, fetching).await? {
                    Copy::Here { path, fingerprint } => Ok((path, fingerprint)),
                    Copy::Unchanged => Err(Error::internal("bytes that are needed were not fetched")),
                }
            }
        }
    }

    /// Leaves, for every source that is newly to be transcribed again, an unfinished revision that names the request.
    async fn mark(&self, sources: &[SourceRecord]) -> Result<Requests> {
        let requests = self.requests(sources).await?;
        for source in sources {
            let request = requests.of(&source.id);
            let Some(live) = self.state.live_revision(&source.id).await? else {
                continue;
            };
            if request != requests.new || self.is_done(&live, request).await? {
                continue;
            }
            let title = title_of(&Config::new(read_config(&live)?));
            let config = Config::new(self.config_json(title.as_deref()))
                .of_generation(Some(request))
                .shaped(&Shape::of(&self.state, source).await?);
            let stages = Stages::new("", &());
            let Ok(lease) = self.claim(&source.id, stages).await? else {
                continue;
            };
            let plan = config.plan(&live.content, self.embedder.space());
            let begun = operation::caught(self.state.begin_revision(&lease, &plan)).await;
            // Whatever came of it, others need not wait for the end of the lease.
            let released = operation::caught(self.state.release(&lease, &Outcome::Done)).await;
            begun?;
            released?;
        }
        Ok(requests)
    }

    /// Whether a request to transcribe again has nothing to do for a live revision.
    async fn is_done(&self, live: &RevisionRecord, request: u64) -> Result<bool> {
        if generation_of(live) >= Some(request) || given_of(live).is_some() {
            return Ok(true);
        }
        let parts = self.state.parts_of(live.id).await?;
        Ok(parts.iter().all(|part| part.key.is_none()))
    }

    /// Whether a revision is what would be made of its parts today. A switch of models is about the model alone.
    async fn is_made(&self, live: &RevisionRecord, source: &SourceRecord, is_reembed: bool) -> Result<bool> {
        let same_space = live.space == *self.embedder.space();
        Ok(same_space && (is_reembed || live.config == self.config_like(live, source).await?.hash))
    }
}

impl IndexReport {
    /// Adds what a later round of the same run did.
    fn merge(&mut self, later: Self) {
        self.indexed.extend(later.indexed);
        self.skipped.extend(later.skipped);
        self.empty.extend(later.empty);
        self.prepared.extend(later.prepared);
        self.failed.extend(later.failed);
        self.not_started += later.not_started;
        // Sums over the whole run already.
        self.calls = later.calls;
        self.unpriced_calls = later.unpriced_calls;
        self.cost = later.cost;
        self.cancelled |= later.cancelled;
        self.elapsed += later.elapsed;
    }
}

fn again(sources: Vec<SourceRecord>) -> Vec<Task> {
    sources
        .into_iter()
        .map(|source| Task::Again(Box::new(source)))
        .collect()
}

fn status_of(live: &RevisionRecord) -> SourceStatus {
    if live.chunk_count == 0 {
        SourceStatus::Empty
    } else {
        SourceStatus::Completed
    }
}
