//! The index path, top to bottom:
//! discover, identify, claim, probe, split and transcribe, chunk, embed, store, verify, publish, retire.
//!
//! Each stage is a function of what it needs, in a file of its own. Between two commit points nothing is
//! visible and nothing is lost: whatever ends a run, the next one goes on from the last commit.

mod discover;
pub(crate) mod embed;
mod event;
mod identify;
mod stage;
pub(crate) mod store;
mod transcribe;

pub use discover::{Input, Selection};
pub use event::{
    FailedSource, IndexEvent, IndexObserver, IndexReport, IndexedSource, SkippedSource, SourceOutcome,
};
pub(crate) use identify::blocking;
pub(crate) use store::{Verification, retire};
pub(crate) use transcribe::SpeechSettings;

use crate::guard::Guarded;
use crate::operation;
use audiorag_core::capability::{Embedder, Transcriber, VectorStore};
use audiorag_core::chunking::{self, ChunkSettings};
use audiorag_core::id::{ChunkId, ConfigHash, ContentHash, EmbeddingKey, KeyHasher, OperationId};
use audiorag_core::model::{Discovered, Media, SourceStatus};
use audiorag_core::{Error, ErrorKind, Result, Stage};
use audiorag_state::{Claim, Failure, Lease, NewChunk, Outcome, RevisionFacts, RevisionPlan, State};
use futures_util::StreamExt as _;
use identify::{Identity, Target};
use stage::Stages;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use store::SourceFacts;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

/// How long a claim lives without renewal.
const LEASE: Duration = Duration::from_mins(1);

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
}

/// Everything that shapes a revision.
#[derive(Clone, Debug)]
pub(crate) struct IndexSettings {
    pub(crate) speech: SpeechSettings,
    pub(crate) chunks: ChunkSettings,
    pub(crate) embedding_batch: usize,
    pub(crate) source_concurrency: usize,
    pub(crate) verification: Verification,
    pub(crate) verify_attempts: u32,
    pub(crate) verify_wait: Duration,
}

/// Works through sources.
pub(crate) struct Indexer {
    pub(crate) state: State,
    pub(crate) transcriber: Guarded<dyn Transcriber>,
    pub(crate) embedder: Guarded<dyn Embedder>,
    pub(crate) store: Guarded<dyn VectorStore>,
    pub(crate) settings: IndexSettings,
    /// One lock for each recording's bytes, so that two copies of it are not paid for at the same time.
    in_work: Mutex<HashMap<ContentHash, Arc<tokio::sync::Mutex<()>>>>,
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
    ) -> Self {
        Self {
            state,
            transcriber,
            embedder,
            store,
            settings,
            in_work: Mutex::default(),
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
        let started = Instant::now();
        self.refuse_other_spaces().await?;
        self.store.prepare(self.embedder.space()).await?;
        retire(&self.state, &self.store).await?;
        let found = blocking(move || Ok(discover::discover(&inputs, &selection))).await?;
        observer.event(IndexEvent::Discovered { sources: found.len() });
        let halt = CancellationToken::new();
        let total = found.len();
        let outcomes: Vec<Option<SourceOutcome>> = futures_util::stream::iter(found)
            .map(|item| {
                let halt = &halt;
                async move {
                    if halt.is_cancelled() || cancel.is_cancelled() {
                        return None;
                    }
                    let outcome = match item {
                        Ok(found) => self.one_source(&found, options, observer, halt, cancel).await,
                        Err(error) => {
                            let name = error.source_name().unwrap_or_default().to_owned();
                            SourceOutcome::Failed(FailedSource::new(name, &error))
                        }
                    };
                    observer.event(IndexEvent::SourceFinished {
                        source: source_of(&outcome).to_owned(),
                        outcome: outcome.clone(),
                    });
                    Some(outcome)
                }
            })
            // In order, so that reports do not depend on who is faster.
            .buffered(self.settings.source_concurrency.max(1))
            .collect()
            .await;
        let mut report = IndexReport {
            operation_id,
            indexed: Vec::new(),
            skipped: Vec::new(),
            empty: Vec::new(),
            failed: Vec::new(),
            not_started: total - outcomes.iter().flatten().count(),
            cancelled: cancel.is_cancelled(),
            elapsed: started.elapsed(),
        };
        for outcome in outcomes.into_iter().flatten() {
            match outcome {
                SourceOutcome::Indexed(source) => report.indexed.push(source),
                SourceOutcome::Skipped(source) => report.skipped.push(source),
                SourceOutcome::Empty(source) => report.empty.push(source),
                SourceOutcome::Failed(source) => report.failed.push(source),
            }
        }
        Ok(report)
    }

    /// Vectors of two models cannot be searched together: a database holds one space.
    async fn refuse_other_spaces(&self) -> Result<()> {
        refuse_other_spaces(&self.state, &self.embedder.space().fingerprint()).await
    }

    async fn one_source(
        &self,
        found: &Discovered,
        options: &IndexOptions,
        observer: &dyn IndexObserver,
        halt: &CancellationToken,
        cancel: &CancellationToken,
    ) -> SourceOutcome {
        let name = found.locator.to_string();
        let span = tracing::info_span!("source", source = %name);
        async {
            observer.event(IndexEvent::SourceStarted { source: name.clone() });
            let stages = Stages::new(&name, observer);
            match self.work_through(found, options, stages, cancel).await {
                Ok(outcome) => outcome,
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
        found: &Discovered,
        options: &IndexOptions,
        stages: Stages<'_>,
        cancel: &CancellationToken,
    ) -> Result<SourceOutcome> {
        let config = self.config_hash(options);
        let identity = stages
            .run(
                Stage::Probe,
                identify::identify(&self.state, found, &config, options.force),
            )
            .await?;
        let target = match identity {
            Identity::Work(target) => *target,
            Identity::Unchanged(source_id, reason) => {
                return Ok(SourceOutcome::Skipped(SkippedSource {
                    source: stages.source().to_owned(),
                    source_id,
                    reason,
                }));
            }
        };
        let same_bytes = self.lock_of(&target.fingerprint.content);
        let _alone = same_bytes.lock().await;
        let me = operation::this_process();
        let claim = self
            .state
            .claim(&target.source.id, &me, LEASE, &operation::may_be_alive)
            .await?;
        let lease = match claim {
            Claim::Granted(lease) => lease,
            Claim::Busy(owner) => {
                return Ok(SourceOutcome::Skipped(SkippedSource {
                    source: stages.source().to_owned(),
                    source_id: target.source.id,
                    reason: format!("in progress by pid {} on {}", owner.pid, owner.host),
                }));
            }
        };
        let outcome = self.keeping(&lease, cancel, |cancel| {
            self.build(&lease, &target, &config, options, stages, cancel)
        });
        let outcome = outcome.await;
        let released = match &outcome {
            Ok(_) => Outcome::Done,
            Err(error) if error.kind() == ErrorKind::Cancelled => Outcome::Cancelled,
            Err(error) => Outcome::Failed(Failure {
                stage: error.stage(),
                kind: error.kind(),
                message: error.report(),
            }),
        };
        match self.state.release(&lease, &released).await {
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
            let outcome = work(lost.clone()).await;
            done.cancel();
            outcome
        };
        let renewing = async {
            while done
                .run_until_cancelled(tokio::time::sleep(LEASE / 3))
                .await
                .is_some()
            {
                if let Err(error) = self.state.renew(lease, LEASE).await {
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

    async fn build(
        &self,
        lease: &Lease,
        target: &Target,
        config: &ConfigHash,
        options: &IndexOptions,
        stages: Stages<'_>,
        cancel: CancellationToken,
    ) -> Result<SourceOutcome> {
        let (state, source_id) = (&self.state, &target.source.id);
        let name = || stages.source().to_owned();
        if !options.force
            && identify::is_current(state, &target.source, &target.fingerprint.content, config).await?
        {
            // Somebody else finished it while we waited.
            let reason = "unchanged".to_owned();
            return Ok(SourceOutcome::Skipped(SkippedSource {
                source: name(),
                source_id: source_id.clone(),
                reason,
            }));
        }
        let media = stages.run(Stage::Probe, probe(target)).await?;
        let title = options.title.clone().or_else(|| media.title.clone());
        let shown_title = title
            .clone()
            .unwrap_or_else(|| target.source.locator.default_title());
        state
            .update_media(lease, &target.fingerprint, &media, Some(&shown_title))
            .await?;
        let plan = RevisionPlan {
            content: target.fingerprint.content.clone(),
            config: config.clone(),
            config_json: self.config_json(options).to_string(),
            space: self.embedder.space().clone(),
        };
        let revision = state.begin_revision(lease, &plan).await?;

        // Loading takes more memory for a moment than the loaded model: better now than beside the transcriber.
        self.warm.get_or_init(|| self.embedder.warm_up()).await;
        state.set_status(lease, SourceStatus::Transcribing).await?;
        let parts = stages
            .run(
                Stage::Transcribe,
                transcribe::Transcription {
                    state,
                    transcriber: &self.transcriber,
                    settings: &self.settings.speech,
                    lease,
                    revision,
                    target,
                }
                .run(media.duration, stages, &cancel),
            )
            .await?;
        state.set_status(lease, SourceStatus::Transcribed).await?;

        let (facts, chunks, suspicious) = stages
            .run(Stage::Chunk, async {
                let mut transcript = state.transcript(revision).await?;
                transcript.duration = parts.duration;
                let language = transcript.language.clone().or_else(|| media.language.clone());
                let pieces = chunking::chunk(
                    &transcript,
                    &self.settings.chunks,
                    title.as_deref(),
                    media.date.as_deref(),
                );
                let chunks: Vec<NewChunk> = pieces
                    .into_iter()
                    .map(|chunk| NewChunk {
                        id: ChunkId::of(source_id, revision, chunk.index, chunk.span, &chunk.text),
                        embedding_key: EmbeddingKey::of(&chunk.embedded_text(), self.embedder.space()),
                        chunk,
                    })
                    .collect();
                let facts = RevisionFacts {
                    duration: parts.duration,
                    language,
                };
                state.save_chunks(lease, revision, &facts, &chunks).await?;
                let suspicious = transcript
                    .segments
                    .iter()
                    .filter(|s| s.suspicion.is_some())
                    .count();
                Ok((facts, chunks, suspicious))
            })
            .await?;

        let mut embedded = 0;
        if !chunks.is_empty() {
            state.set_status(lease, SourceStatus::Embedding).await?;
            let batch = self.settings.embedding_batch;
            embedded = stages
                .run(
                    Stage::Embed,
                    embed::embed(state, &self.embedder, batch, lease, &chunks, &cancel),
                )
                .await?;
            state.set_status(lease, SourceStatus::Embedded).await?;
            let facts = SourceFacts {
                source_id: source_id.clone(),
                revision,
                title: shown_title,
                language: facts.language.clone(),
                date: media.day(),
            };
            stages
                .run(Stage::Store, store::upsert(state, &self.store, &facts, &chunks))
                .await?;
            let IndexSettings {
                verification,
                verify_attempts,
                verify_wait,
                ..
            } = self.settings;
            let expected = chunks.len() as u64;
            let verify = store::verify(
                &self.store,
                &facts,
                expected,
                verification,
                verify_attempts,
                verify_wait,
                stages,
            );
            stages.run(Stage::Verify, verify).await?;
        }
        let status = if chunks.is_empty() {
            SourceStatus::Empty
        } else {
            SourceStatus::Completed
        };
        stages
            .run(Stage::Publish, state.publish_revision(lease, revision, status))
            .await?;
        stages.run(Stage::Retire, retire(state, &self.store)).await?;

        let report = IndexedSource {
            source: name(),
            source_id: source_id.clone(),
            revision,
            duration: parts.duration,
            chunks: chunks.len(),
            transcribed_parts: parts.transcribed,
            reused_parts: parts.reused,
            silent_parts: parts.silent,
            embedded_chunks: embedded,
            reused_embeddings: chunks.len() - embedded,
            suspicious_segments: suspicious,
        };
        Ok(if chunks.is_empty() {
            SourceOutcome::Empty(report)
        } else {
            SourceOutcome::Indexed(report)
        })
    }

    /// The settings that shape a revision, as data.
    pub(crate) fn config_json(&self, options: &IndexOptions) -> serde_json::Value {
        serde_json::json!({
            "audio": self.settings.speech.split.fingerprint(),
            "transcriber": self.transcriber.info().fingerprint(),
            "language": self.settings.speech.language,
            "prompt": self.settings.speech.prompt,
            "chunking": self.settings.chunks.fingerprint(),
            "embedder": self.embedder.info().fingerprint(),
            "space": self.embedder.space().fingerprint(),
            "title": options.title,
        })
    }

    fn config_hash(&self, options: &IndexOptions) -> ConfigHash {
        // serde_json keeps object keys sorted, so equal settings give equal text.
        ConfigHash::from_stored(
            KeyHasher::new("config/1")
                .text(&self.config_json(options).to_string())
                .finish(),
        )
    }

    fn lock_of(&self, content: &ContentHash) -> Arc<tokio::sync::Mutex<()>> {
        let mut locks = self.in_work.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(locks.entry(content.clone()).or_default())
    }
}

async fn probe(target: &Target) -> Result<Media> {
    let path = target.path.clone();
    blocking(move || audiorag_audio::probe(&path)).await
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
            "set AUDIORAG_EMBEDDING_PROVIDER and AUDIORAG_EMBEDDING_MODEL back, or index into another database \
             with AUDIORAG_DATABASE_URL",
        )),
    }
}

fn source_of(outcome: &SourceOutcome) -> &str {
    match outcome {
        SourceOutcome::Indexed(source) | SourceOutcome::Empty(source) => &source.source,
        SourceOutcome::Skipped(source) => &source.source,
        SourceOutcome::Failed(source) => &source.source,
    }
}
