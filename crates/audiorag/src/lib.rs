//! Ask questions of your audio, get answers whose citations play at the right second.
//!
//! [`AudioRag`] indexes recordings (decode, split at pauses, transcribe, chunk, embed, store) and answers
//! questions about them (search densely and lexically, fuse, answer), with every statement cited by source,
//! start and end. With the feature `local` it needs no key and no server.
//!
//! ```no_run
//! use audiorag::index::{IndexOptions, Input};
//! use audiorag::query::QueryOptions;
//! use audiorag::settings::{Settings, Sources};
//! use audiorag::{AudioRag, CancellationToken};
//!
//! # async fn example() -> audiorag::Result<()> {
//! let settings = Settings::resolve(&Sources::from_process()?)?.settings;
//! let audiorag = AudioRag::open(settings).await?;
//! let inputs = vec![Input::Path("talks".into())];
//! let report = audiorag.index(inputs, IndexOptions::default(), &(), CancellationToken::new()).await?;
//! println!("{} new", report.indexed.len());
//! let reply = audiorag.query("what was decided about the budget?", QueryOptions::default()).await?;
//! println!("{}", reply.answer.text);
//! for citation in &reply.answer.citations {
//!     println!("[{}] {} {}", citation.marker, citation.title, citation.link);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! Your own transcriber, embedder, vector store, reranker or generator takes the place of a configured one
//! through [`AudioRag::builder`].

pub mod captions;
pub mod clip;
pub mod doctor;
pub mod eval;
pub mod export;
pub mod gc;
mod guard;
pub mod index;
#[cfg(feature = "local")]
pub mod models;
pub mod operation;
pub mod prices;
pub mod query;
mod registry;
pub mod settings;
pub mod speakers;
pub mod workdir;

pub use audiorag_core as core;
pub use audiorag_core::{Error, ErrorKind, Result};
pub use audiorag_providers::vendors;
pub use audiorag_state as state;
pub use registry::Providers;
#[cfg(feature = "http")]
pub use registry::vendors_markdown;
pub use tokio_util::sync::CancellationToken;

pub use audiorag_audio::run_isolated;

/// The command of the program that decodes one recording for another process of it, see [`run_isolated`]. What follows
/// it on the command line goes to `run_isolated`.
pub const DECODER: &str = "__decode";

use audiorag_core::capability::{PromptLimit, Transcriber};
use audiorag_core::id::{OperationId, SourceId};
use audiorag_core::model::Transcript;
use audiorag_state::{Finding, SourceRecord, State, StateOptions};
use guard::{Guarded, Run};
use index::{
    IndexObserver, IndexOptions, IndexPlan, IndexReport, Indexer, Input, Reindex, ReindexOptions,
    ReindexPlan, Selection,
};
use query::sentences::Sentences;
use query::{AnswerMode, Querier, QueryObserver, QueryOptions, QueryReply, Reranking, SearchReply};
use registry::{Purpose, Registry};
use settings::Settings;
use std::sync::Arc;
use tracing::Instrument as _;

/// An index of recordings. Clones share it.
#[derive(Clone)]
pub struct AudioRag {
    settings: Arc<Settings>,
    state: State,
    registry: Arc<Registry>,
}

impl AudioRag {
    /// Opens the configured database, creating or migrating it. No model is loaded and nothing is connected.
    ///
    /// # Errors
    /// [`State`](ErrorKind::State) when the database cannot be opened.
    pub async fn open(settings: Settings) -> Result<Self> {
        Self::builder(settings).open().await
    }

    /// The same with providers of your own.
    pub fn builder(settings: Settings) -> Builder {
        Builder {
            settings,
            providers: Providers::default(),
            for_reading: false,
        }
    }

    /// What it was opened with.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Sources, transcripts and caches.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Indexes what `inputs` name.
    ///
    /// Failures of single sources are in the report and do not stop the others; failures that concern all of
    /// them (credentials, configuration, a full disk) stop new sources from being started. Firing `cancel` ends
    /// the run at the next commit point; the next run goes on from there.
    ///
    /// # Errors
    /// When nothing could be started: missing models, an unusable database, or one that holds vectors of
    /// another embedding model.
    pub async fn index(
        &self,
        inputs: Vec<Input>,
        options: IndexOptions,
        observer: &dyn IndexObserver,
        cancel: CancellationToken,
    ) -> Result<IndexReport> {
        let cap = options.max_cost.or(self.settings.budget.per_run);
        let run = Run::new(operation::new_operation_id(), cap);
        self.index_for(&run, inputs, options, observer, cancel).await
    }

    /// [`index`](Self::index) as a part of `run`, whose cap its calls share.
    async fn index_for(
        &self,
        run: &Run,
        inputs: Vec<Input>,
        options: IndexOptions,
        observer: &dyn IndexObserver,
        cancel: CancellationToken,
    ) -> Result<IndexReport> {
        let operation_id = run.operation.clone();
        let span = tracing::info_span!("index", operation_id = %operation_id);
        async {
            let selection = self.selection(&options)?;
            let indexer = self.indexer(Some(run))?;
            if run.is_capped() {
                let hears = indexer.transcriber.info();
                self.registry
                    .refuse_unpriced(Some(hears), indexer.embedder.info())?;
            }
            operation::caught(async {
                operation::close_calls_of_the_dead(&self.state).await?;
                indexer
                    .index(operation_id, inputs, selection, &options, observer, &cancel)
                    .await
            })
            .await
        }
        .instrument(span)
        .await
    }

    /// What [`index`](Self::index) would do with the same inputs, and what that would cost. Nothing is written to the
    /// database and nothing is sent.
    ///
    /// # Errors
    /// As for [`index`](Self::index).
    pub async fn plan(&self, inputs: Vec<Input>, options: IndexOptions) -> Result<IndexPlan> {
        let indexer = self.indexer(None)?;
        let selection = self.selection(&options)?;
        indexer
            .plan(inputs, selection, &options, self.registry.prices())
            .await
    }

    /// Makes indexed sources anew: cut again, embedded for another model, or transcribed again.
    ///
    /// Failures of single sources are in the report. A change of the embedding model becomes visible for all sources
    /// at once; when one of them fails or the run is interrupted, the old model stays in use, the report has the
    /// others as `prepared`, and the next run goes on from there.
    ///
    /// # Errors
    /// As for [`index`](Self::index); [`Input`](ErrorKind::Input) when only some sources are to change to another
    /// embedding model, and [`Config`](ErrorKind::Config) when the vector store cannot hold its vectors beside those
    /// of the old one.
    pub async fn reindex(
        &self,
        options: ReindexOptions,
        observer: &dyn IndexObserver,
        cancel: CancellationToken,
    ) -> Result<IndexReport> {
        let operation_id = operation::new_operation_id();
        let span = tracing::info_span!("reindex", operation_id = %operation_id);
        async {
            let cap = options.max_cost.or(self.settings.budget.per_run);
            let run = Run::new(operation_id.clone(), cap);
            let indexer = self.indexer(Some(&run))?;
            if run.is_capped() {
                let hears = (options.what == Reindex::Retranscribe).then(|| indexer.transcriber.info());
                self.registry.refuse_unpriced(hears, indexer.embedder.info())?;
            }
            operation::caught(async {
                operation::close_calls_of_the_dead(&self.state).await?;
                indexer.reindex(operation_id, &options, observer, &cancel).await
            })
            .await
        }
        .instrument(span)
        .await
    }

    /// What [`reindex`](Self::reindex) would do, and what that would cost. Nothing is written and nothing is called.
    ///
    /// # Errors
    /// As for [`reindex`](Self::reindex).
    pub async fn plan_reindex(&self, options: &ReindexOptions) -> Result<ReindexPlan> {
        self.indexer(None)?
            .plan_reindex(options, self.registry.prices())
            .await
    }

    /// What the configured speech-to-text does not return or heed, in sentences for the user: better known before a
    /// long run than found in its results.
    ///
    /// # Errors
    /// When the provider cannot be made, as in [`index`](Self::index).
    pub fn shortcomings(&self) -> Result<Vec<String>> {
        let transcriber = self.registry.transcriber()?;
        let info = transcriber.info();
        let mut missing = Vec::new();
        let limits = transcriber.limits();
        let name = format!("{}/{}", info.vendor, info.model);
        if !limits.segment_times {
            missing.push(format!(
                "{name} returns text without times: times inside a part are estimated"
            ));
        }
        if self.settings.stt.prompt.is_some() && limits.prompt == PromptLimit::NotTaken {
            missing.push(format!("{name} takes no prompt: stt.prompt is not sent"));
        }
        if limits.speakers {
            missing.push(format!(
                "{name} tells speakers apart within a part of about {} only: longer recordings have speakers such as \
                 'speaker 0 (part 2)', and `audiorag speakers merge` makes one of those who are the same",
                limits.preferred_part
            ));
        }
        Ok(missing)
    }

    /// Answers a question from the recordings.
    ///
    /// # Errors
    /// [`Input`](ErrorKind::Input) for an empty or endless question, [`Config`](ErrorKind::Config) when the
    /// index was built with another embedding model, and failures of the embedder and the stores.
    pub async fn query(&self, question: &str, options: QueryOptions) -> Result<QueryReply> {
        self.query_observed(question, options, &()).await
    }

    /// The same, told as it happens: the passages, then the text as it is written.
    ///
    /// # Errors
    /// As for [`query`](Self::query).
    pub async fn query_observed(
        &self,
        question: &str,
        options: QueryOptions,
        observer: &dyn QueryObserver,
    ) -> Result<QueryReply> {
        let operation_id = operation::new_operation_id();
        let span = tracing::info_span!("query", operation_id = %operation_id);
        async {
            let querier = self.querier(&operation_id, Purpose::Answer)?;
            querier.query(operation_id, question, &options, observer).await
        }
        .instrument(span)
        .await
    }

    /// Finds passages without writing an answer.
    ///
    /// # Errors
    /// As for [`query`](Self::query).
    pub async fn search(&self, text: &str, options: QueryOptions) -> Result<SearchReply> {
        let operation_id = operation::new_operation_id();
        let span = tracing::info_span!("search", operation_id = %operation_id);
        async {
            let querier = self.querier(&operation_id, Purpose::Query)?;
            querier.search(operation_id, text, &options).await
        }
        .instrument(span)
        .await
    }

    /// Summarizes what is said in a source, by chapter and every five minutes or so, and in all. A generator writes in
    /// `language`, a tag such as `de`, or else in the language of the recording. Without a generator it is made of the
    /// sentences that are nearest to everything that is said around them.
    ///
    /// # Errors
    /// As for [`transcript`](Self::transcript), [`Input`](ErrorKind::Input) when `language` is no tag, and failures of
    /// the embedder.
    pub async fn summarize(&self, source: &SourceRecord, language: Option<&str>) -> Result<query::Summary> {
        let operation_id = operation::new_operation_id();
        let span = tracing::info_span!("summarize", operation_id = %operation_id);
        async {
            let transcript = self.transcript(source).await?;
            let querier = self.querier(&operation_id, Purpose::Answer)?;
            querier
                .summarize(operation_id, source, &transcript, language)
                .await
        }
        .instrument(span)
        .await
    }

    /// What is said in a source, from its live revision.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) when the source was never indexed to the end.
    pub async fn transcript(&self, source: &SourceRecord) -> Result<Transcript> {
        let live = self.state.live_revision(&source.id).await?.ok_or_else(|| {
            Error::not_found(format!(
                "'{}' has no transcript yet: its status is {}",
                source.title,
                source.status.as_str()
            ))
            .with_hint("index it first")
        })?;
        let mut transcript = self.state.transcript(live.id).await?;
        transcript.duration = live.duration;
        Ok(transcript)
    }

    /// Removes a source from the index, and what is left here of its download. Its transcripts stay cached, so that
    /// indexing it again costs nothing.
    ///
    /// # Errors
    /// [`State`](ErrorKind::State) when the database cannot be written.
    pub async fn delete(&self, id: &SourceId) -> Result<()> {
        let source = self.state.source(id).await?;
        self.state.delete_source(id).await?;
        if let Some(audiorag_core::Locator::Url(url)) = source.map(|source| source.locator) {
            self.registry.web().forget(&url);
        }
        let store = self.registry.store(&self.state, Purpose::Bulk)?;
        index::retire_everywhere(&self.state, &store, None).await?;
        Ok(())
    }

    /// Removes what nobody needs any more: vectors of replaced revisions at once, transcripts, vectors and notes of
    /// jobs when their last use is longer ago than the setting `gc.retention`. With `dry_run` nothing is changed.
    ///
    /// # Errors
    /// [`State`](ErrorKind::State) when the database cannot be written, and when the vector store cannot be made.
    pub async fn gc(&self, dry_run: bool) -> Result<gc::GcReport> {
        let store = self.registry.store(&self.state, Purpose::Bulk)?;
        let retention = self.settings.gc.retention;
        let run = gc::run(&self.state, &store, &self.settings.work_dir, retention, dry_run);
        operation::caught(run).await
    }

    /// Checks everything that is configured. `deep` also reads everything that is stored: one check for the file,
    /// and one for each [`Invariant`](audiorag_state::Invariant).
    pub async fn doctor(&self, deep: bool) -> Vec<doctor::Check> {
        doctor::run(&self.settings, &self.state, &self.registry, deep).await
    }

    /// Everything that contradicts the invariants of the state and the vector store.
    ///
    /// # Errors
    /// [`State`](ErrorKind::State) when the database cannot be read, and failures of the vector store.
    pub async fn check(&self) -> Result<Vec<Finding>> {
        let found = doctor::invariants::examine(&self.state, &self.registry).await?;
        found.store.map(|()| found.findings)
    }

    /// Mends what [`check`](Self::check) finds, from what is stored: the lexical index from the chunks, the vector
    /// store from the cached vectors, claims and calls of processes that are gone. Without
    /// [`pay`](doctor::RepairOptions::pay) no vendor that costs money is called.
    ///
    /// # Errors
    /// [`State`](ErrorKind::State) when the database cannot be written, [`Config`](ErrorKind::Config) when it may pay
    /// up to a cap and no price is known of a model, and failures of the vector store.
    pub async fn repair(&self, options: doctor::RepairOptions) -> Result<doctor::RepairReport> {
        let operation_id = operation::new_operation_id();
        let span = tracing::info_span!("repair", operation_id = %operation_id);
        let cap = options.max_cost.or(self.settings.budget.per_run);
        let run = Run::new(operation_id, cap);
        let pays = options.pay && !options.dry_run && run.is_capped();
        // A provider that cannot be made is not called either.
        if pays && let Ok(embedder) = self.registry.embedder(Purpose::Bulk) {
            let transcriber = self.registry.transcriber().ok();
            let hears = transcriber.as_ref().map(Guarded::<dyn Transcriber>::info);
            self.registry.refuse_unpriced(hears, embedder.info())?;
        }
        operation::caught(doctor::repair::run(self, run, options))
            .instrument(span)
            .await
    }

    fn selection(&self, options: &IndexOptions) -> Result<Selection> {
        let index = &self.settings.index;
        Selection::new(
            &options.include,
            &options.exclude,
            index.follow_links,
            index.hidden,
        )
        .map(|selection| selection.older_than(options.min_age))
    }

    /// What works through sources: for `run`, or, without one, only to look.
    fn indexer(&self, run: Option<&Run>) -> Result<Indexer> {
        let mut transcriber = self.registry.transcriber()?;
        let mut embedder = self.registry.embedder(Purpose::Bulk)?;
        let settings = registry::index_settings(&self.settings, &transcriber)?;
        if let Some(run) = run {
            (transcriber, embedder) = (transcriber.during(run), embedder.during(run));
        }
        let store = self.registry.store(&self.state, Purpose::Bulk)?;
        Ok(Indexer::new(
            self.state.clone(),
            transcriber,
            embedder,
            store,
            settings,
            self.registry.in_work().clone(),
            Arc::clone(self.registry.web()),
        ))
    }

    fn querier(&self, operation_id: &OperationId, purpose: Purpose) -> Result<Querier> {
        let run = Run::new(operation_id.clone(), None);
        let (reranking, purpose) = match self.registry.reranking()? {
            Reranking::Model(reranker) => (Reranking::Model(reranker.during(&run)), purpose),
            // As many texts as for an answer.
            Reranking::Sentences => (Reranking::Sentences, Purpose::Answer),
            Reranking::None => (Reranking::None, purpose),
        };
        let embedder = self.registry.embedder(purpose)?.during(&run);
        Ok(Querier {
            state: self.state.clone(),
            reranking,
            top_n: self.settings.reranker.top_n,
            sentences: Sentences {
                embedder: embedder.clone(),
                memory: Arc::clone(self.registry.sentences()),
            },
            embedder,
            store: self.registry.store(&self.state, Purpose::Query)?,
            mode: match self.registry.answer_mode()? {
                AnswerMode::Generator(generator) => AnswerMode::Generator(generator.during(&run)),
                other => other,
            },
            settings: self.settings.retrieval.clone(),
        })
    }
}

/// Opens an [`AudioRag`] with providers of your own.
pub struct Builder {
    settings: Settings,
    providers: Providers,
    for_reading: bool,
}

impl Builder {
    /// Uses these providers in place of the configured ones.
    ///
    /// ```
    /// use async_trait::async_trait;
    /// use audiorag::core::capability::{Health, ProviderInfo, Ranked, Reranker};
    /// use audiorag::settings::{Settings, Sources};
    /// use audiorag::{AudioRag, Providers, Result};
    /// use std::{sync::Arc, time::Duration};
    ///
    /// /// Long passages first.
    /// struct ByLength(ProviderInfo);
    ///
    /// #[async_trait]
    /// impl Reranker for ByLength {
    ///     fn info(&self) -> &ProviderInfo { &self.0 }
    ///     fn max_documents(&self) -> usize { 1_000 }
    ///     async fn rerank(&self, _: &str, documents: &[String], top_n: usize) -> Result<Vec<Ranked>> {
    ///         let mut ranked: Vec<Ranked> = (0..).zip(documents)
    ///             .map(|(index, text)| Ranked { index, score: text.len() as f32 })
    ///             .collect();
    ///         ranked.sort_by(|a, b| b.score.total_cmp(&a.score));
    ///         ranked.truncate(top_n);
    ///         Ok(ranked)
    ///     }
    ///     async fn health_check(&self) -> Health { Health::of(Ok("always there".into()), Duration::ZERO) }
    /// }
    ///
    /// let info = ProviderInfo { vendor: "mine".into(), model: "by-length".into(), version: 1 };
    /// let reranker: Option<Arc<dyn Reranker>> = Some(Arc::new(ByLength(info)));
    /// let settings = Settings::resolve(&Sources::isolated(&std::env::temp_dir()))?.settings;
    /// let builder = AudioRag::builder(settings).with_providers(Providers { reranker, ..Providers::default() });
    /// # let _ = builder;
    /// # Ok::<(), audiorag::Error>(())
    /// ```
    pub fn with_providers(mut self, providers: Providers) -> Self {
        self.providers = providers;
        self
    }

    /// For questions alone: where the database or its directory cannot be written, it is opened for reading.
    pub fn for_reading(mut self) -> Self {
        self.for_reading = true;
        self
    }

    /// Opens the database.
    ///
    /// # Errors
    /// [`State`](ErrorKind::State) when it cannot be opened.
    pub async fn open(self) -> Result<AudioRag> {
        let mut options = StateOptions::new(&self.settings.database.path);
        let state = match State::open(options.clone()).await {
            Err(error) if self.for_reading && error.kind() == ErrorKind::State => {
                options.read_only = true;
                // What is wrong with the database itself is said by the first attempt.
                State::open(options).await.map_err(|_| error)?
            }
            opened => opened?,
        };
        let settings = Arc::new(self.settings);
        let registry = Arc::new(Registry::new(Arc::clone(&settings), self.providers).paying(&state)?);
        Ok(AudioRag {
            settings,
            state,
            registry,
        })
    }
}
