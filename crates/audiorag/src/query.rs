//! The query path, top to bottom:
//! embed the question, search densely and lexically, fuse, keep what is live, rerank, merge neighbours, answer.

mod event;
mod expand;
mod extract;
mod generate;
mod retrieve;
pub(crate) mod sentences;
mod summary;
mod thread;
mod write;

pub use event::{QueryEvent, QueryObserver};
pub use summary::{Summary, SummarySection};
pub use thread::{ThreadTurn, Wording};

use crate::guard::Guarded;
use crate::settings::{RetrievalSettings, SearchMode};
use audiorag_core::capability::{Embedder, Generator, Reranker, Selector, VectorStore};
use audiorag_core::id::OperationId;
use audiorag_core::model::{Answer, Filter, Hit};
use audiorag_core::{Error, Result, Stage};
use audiorag_state::State;
use sentences::Sentences;
use std::time::{Duration, Instant};

/// Questions longer than this are refused: nobody asks them, and models cut them off anyway.
const MAX_QUESTION_CHARS: usize = 8_000;

/// What [`Answer::degraded`] and [`SearchReply::degraded`] name when the vector store has lost what is indexed, so that
/// nothing but words was searched for. `audiorag doctor --repair` fills it again.
pub const EMPTY_STORE: &str = "vector_store";

/// What the user asked of one query.
#[derive(Clone, Debug, Default)]
pub struct QueryOptions {
    /// Passages to retrieve, instead of the configured number.
    pub top_k: Option<usize>,
    /// Restricts what is searched.
    pub filter: Filter,
    /// The conversation that the question belongs to, by its name; it begins with the first question. Searches have none.
    pub thread: Option<String>,
}

/// An answer and how it came about.
#[derive(Clone, Debug)]
pub struct QueryReply {
    /// The operation, as in its log lines.
    pub operation_id: OperationId,
    /// The answer.
    pub answer: Answer,
    /// The place in the conversation, for a question that belongs to one.
    pub thread: Option<ThreadTurn>,
    /// How long each stage took.
    pub timings: Vec<(Stage, Duration)>,
}

/// Hits and how they came about.
#[derive(Clone, Debug)]
pub struct SearchReply {
    /// The operation, as in its log lines.
    pub operation_id: OperationId,
    /// Best first.
    pub hits: Vec<Hit>,
    /// Stages that were skipped because they failed.
    pub degraded: Vec<String>,
    /// How long each stage took.
    pub timings: Vec<(Stage, Duration)>,
}

/// Who writes answers.
#[derive(Clone)]
pub(crate) enum AnswerMode {
    /// Nobody: passages only.
    None,
    /// The best sentences of the passages.
    Extractive,
    /// A language model.
    Generator(Guarded<dyn Generator>),
}

/// Who orders passages by relevance.
#[derive(Clone)]
pub(crate) enum Reranking {
    /// Nobody: they stay as they were found.
    None,
    /// Their sentences.
    Sentences,
    /// A model.
    Model(Guarded<dyn Reranker>),
}

/// What answers questions.
pub(crate) struct Querier {
    pub(crate) state: State,
    pub(crate) embedder: Guarded<dyn Embedder>,
    pub(crate) sentences: Sentences,
    pub(crate) store: Guarded<dyn VectorStore>,
    pub(crate) reranking: Reranking,
    /// Passages that are left when they were ordered, where the question asks for no number.
    pub(crate) top_n: Option<usize>,
    pub(crate) mode: AnswerMode,
    pub(crate) settings: RetrievalSettings,
}

impl Querier {
    pub(crate) async fn search(
        &self,
        operation_id: OperationId,
        text: &str,
        options: &QueryOptions,
    ) -> Result<SearchReply> {
        let question = checked(text)?;
        let mut timings = Timings::default();
        let found = self.retrieve(question, options, &mut timings).await?;
        Ok(SearchReply {
            operation_id,
            hits: found.hits,
            degraded: found.degraded,
            timings: timings.0,
        })
    }

    pub(crate) async fn query(
        &self,
        operation_id: OperationId,
        text: &str,
        options: &QueryOptions,
        observer: &dyn QueryObserver,
    ) -> Result<QueryReply> {
        let asked = checked(text)?;
        let mut timings = Timings::default();
        let mut degraded = Vec::new();
        let mut thread = None;
        if let Some(name) = &options.thread {
            let started = Instant::now();
            let turn = self.in_thread(name, asked, &mut degraded).await?;
            if turn.wording == Wording::Rewritten {
                timings.add(Stage::Rewrite, started);
            }
            thread = Some(turn);
        }
        let question = thread.as_ref().map_or(asked, |turn| turn.searched.as_str());
        let found = self.retrieve(question, options, &mut timings).await?;
        degraded.extend(found.degraded);
        let passages = expand::passages(&self.state, found.hits, self.settings.neighbours).await?;
        observer.event(&QueryEvent::Passages(&passages));
        let started = Instant::now();
        let written = self
            .write(question, &found.vector, &passages, &mut degraded, observer)
            .await?;
        timings.add(Stage::Generate, started);
        let mut answer = written.into_answer(passages, degraded);
        if let Some(turn) = &mut thread {
            self.keep(turn, asked, &mut answer).await;
        }
        Ok(QueryReply {
            operation_id,
            answer,
            thread,
            timings: timings.0,
        })
    }

    async fn retrieve(
        &self,
        question: &str,
        options: &QueryOptions,
        timings: &mut Timings,
    ) -> Result<retrieve::Retrieved> {
        let spaces = self.state.live_spaces().await?;
        if spaces.is_empty() {
            // Nothing is indexed, or nobody speaks in it: no model has to be loaded to find nothing.
            return Ok(retrieve::Retrieved::default());
        }
        crate::index::refuse_other_spaces(&self.state, &self.embedder.space().fingerprint()).await?;
        self.store.prepare(self.embedder.space()).await?;
        let top_k = options.top_k.unwrap_or(self.settings.top_k).clamp(1, 1000);
        let stores = retrieve::Stores {
            state: &self.state,
            embedder: &self.embedder,
            store: &self.store,
        };
        let filter = options.filter.clone().normalised();
        let wanted = retrieve::Wanted {
            question,
            depth: retrieve::depth(top_k, self.store.limits().max_top_k),
            filter: &filter,
            mode: self.settings.mode,
            sounds: self.settings.sounds,
        };
        let mut found = retrieve::hybrid(stores, wanted, timings).await?;
        // Where only words are searched for, no hit comes from the store, however full it is.
        if self.settings.mode != SearchMode::Lexical && self.is_store_empty(&found.hits, &filter).await? {
            tracing::warn!(
                "the vector store holds nothing of what is indexed; `audiorag doctor --repair` fills it"
            );
            found.degraded.push(EMPTY_STORE.to_owned());
        }
        let started = Instant::now();
        let mut left = top_k;
        let ranked = match &self.reranking {
            Reranking::None => None,
            Reranking::Model(reranker) => {
                Some(retrieve::rerank(reranker, question, &found.hits, top_k).await)
            }
            Reranking::Sentences => {
                Some(extract::rerank(&self.sentences, question, &found.vector, &found.hits).await)
            }
        };
        if let Some(ranked) = ranked {
            match ranked {
                Ok(hits) => {
                    found.hits = hits;
                    if let (None, Some(most)) = (options.top_k, self.top_n) {
                        left = left.min(most);
                    }
                }
                Err(error) => {
                    tracing::warn!(error = %error.report(), "the reranker failed; keeping the fused order");
                    found.degraded.push("rerank".to_owned());
                }
            }
            timings.add(Stage::Rerank, started);
        }
        if let (Some(most), true) = (self.settings.per_source, filter.sources.is_empty()) {
            found.hits = retrieve::spread(found.hits, most);
        }
        found.hits.truncate(left);
        Ok(found)
    }

    /// Whether no hit comes from the vector store, although there is something indexed that it should have found.
    async fn is_store_empty(&self, hits: &[Hit], filter: &Filter) -> Result<bool> {
        if hits.iter().any(|hit| hit.scores.dense.is_some()) {
            return Ok(false);
        }
        if !hits.is_empty() || !filter.is_empty() {
            // What the words find, the vectors would have found as well. What a filter leaves may be nothing.
            return Ok(!hits.is_empty());
        }
        // A recording in which nobody speaks is indexed, too.
        let sources = self.state.list_sources().await?;
        let says_something = sources
            .iter()
            .any(|source| source.active_revision.is_some() && source.chunk_count > 0);
        Ok(says_something && self.store.count(&Selector::All).await? == 0)
    }
}

/// Durations of stages, in the order they ended.
#[derive(Default)]
pub(crate) struct Timings(Vec<(Stage, Duration)>);

impl Timings {
    pub(crate) fn add(&mut self, stage: Stage, started: Instant) {
        let elapsed = started.elapsed();
        tracing::info!(stage = %stage, elapsed_ms = elapsed.as_millis() as u64, "stage completed");
        self.0.push((stage, elapsed));
    }
}

fn checked(text: &str) -> Result<&str> {
    let question = text.trim();
    if question.is_empty() {
        return Err(Error::input("the question is empty").with_hint("audiorag query \"what was decided?\""));
    }
    let length = question.chars().count();
    if length > MAX_QUESTION_CHARS {
        return Err(Error::input(format!(
            "the question has {length} characters, and {MAX_QUESTION_CHARS} is the most"
        ))
        .with_hint("ask about one thing at a time"));
    }
    Ok(question)
}
