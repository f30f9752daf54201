//! What an index run tells while it works, and what it reports at its end.

use audiorag_core::id::{OperationId, RevisionId, SourceId};
use audiorag_core::{Error, ErrorKind, MediaTime, Money, Stage};
use std::time::Duration;

/// Something that happened during an index run.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum IndexEvent {
    /// Inputs were expanded into sources.
    Discovered {
        /// How many will be looked at.
        sources: usize,
    },
    /// Work on a source began.
    SourceStarted {
        /// Its display locator.
        source: String,
    },
    /// A stage of a source began.
    StageStarted {
        /// The source's display locator.
        source: String,
        /// The stage.
        stage: Stage,
    },
    /// A stage of a source ended well.
    StageCompleted {
        /// The source's display locator.
        source: String,
        /// The stage.
        stage: Stage,
        /// How long it took.
        elapsed: Duration,
    },
    /// More of a recording was fetched.
    Download {
        /// The source's display locator.
        source: String,
        /// Bytes that are here.
        bytes: u64,
        /// How many there will be, where the server says so.
        total: Option<u64>,
    },
    /// A part has its transcript.
    Part {
        /// The source's display locator.
        source: String,
        /// Position among the parts.
        index: u32,
        /// Where the part ends in the source.
        end: MediaTime,
        /// Length of the source as announced by its container.
        duration: Option<MediaTime>,
        /// Whether the transcript was there already.
        reused: bool,
    },
    /// Something to know that is no failure.
    Warning {
        /// The source's display locator.
        source: String,
        /// What it is.
        message: String,
    },
    /// Work on a source ended.
    SourceFinished {
        /// The source's display locator.
        source: String,
        /// How it ended.
        outcome: SourceOutcome,
    },
}

/// Receives events. Called from several tasks; must not block.
pub trait IndexObserver: Send + Sync {
    /// Takes one event.
    fn event(&self, event: IndexEvent);
}

/// Ignores everything.
impl IndexObserver for () {
    fn event(&self, _event: IndexEvent) {}
}

/// How work on a source ended.
#[derive(Clone, Debug, PartialEq)]
pub enum SourceOutcome {
    /// It is searchable in a new revision.
    Indexed(IndexedSource),
    /// Nothing had to be done.
    Skipped(SkippedSource),
    /// Nobody speaks in it.
    Empty(IndexedSource),
    /// Its new revision is whole and becomes visible together with those of all other sources.
    Prepared(IndexedSource),
    /// It failed; an earlier revision stays searchable.
    Failed(FailedSource),
}

impl SourceOutcome {
    /// The same, with where the transcript came from when it was given.
    pub(crate) fn with_transcript(mut self, name: Option<&str>) -> Self {
        if let Self::Indexed(source) | Self::Empty(source) | Self::Prepared(source) = &mut self {
            source.transcript = name.map(str::to_owned);
        }
        self
    }
}

/// A source that was worked through.
#[derive(Clone, Debug, PartialEq)]
pub struct IndexedSource {
    /// Its display locator.
    pub source: String,
    /// Its id.
    pub source_id: SourceId,
    /// The revision that is now live.
    pub revision: RevisionId,
    /// Its length.
    pub duration: MediaTime,
    /// Chunks in the index.
    pub chunks: usize,
    /// Parts sent to speech-to-text.
    pub transcribed_parts: u32,
    /// Parts whose transcript was there already.
    pub reused_parts: u32,
    /// Parts without speech, which cost nothing.
    pub silent_parts: u32,
    /// Vectors computed.
    pub embedded_chunks: usize,
    /// Vectors that were there already.
    pub reused_embeddings: usize,
    /// Segments kept in the transcript but left out of the index, because they look invented.
    pub suspicious_segments: usize,
    /// Where the transcript came from, when it was given and not made.
    pub transcript: Option<String>,
}

/// A source that needed nothing.
#[derive(Clone, Debug, PartialEq)]
pub struct SkippedSource {
    /// Its display locator.
    pub source: String,
    /// Its id.
    pub source_id: SourceId,
    /// Why.
    pub reason: String,
}

/// A source that failed.
#[derive(Clone, Debug, PartialEq)]
pub struct FailedSource {
    /// Its display locator.
    pub source: String,
    /// Where it failed.
    pub stage: Option<Stage>,
    /// What can be done about it.
    pub kind: ErrorKind,
    /// What happened.
    pub message: String,
    /// The remedy.
    pub hint: Option<String>,
}

impl FailedSource {
    /// The report of `error` for `source`.
    pub fn new(source: impl Into<String>, error: &Error) -> Self {
        Self {
            source: source.into(),
            stage: error.stage(),
            kind: error.kind(),
            message: error.report(),
            hint: error.hint().map(str::to_owned),
        }
    }
}

/// What an index run did.
#[derive(Clone, Debug, PartialEq)]
pub struct IndexReport {
    /// The run, as in its log lines.
    pub operation_id: OperationId,
    /// Searchable in a new revision.
    pub indexed: Vec<IndexedSource>,
    /// Nothing had to be done.
    pub skipped: Vec<SkippedSource>,
    /// Nobody speaks in them.
    pub empty: Vec<IndexedSource>,
    /// Ready in a new revision that is not visible yet, because not every source is: only when a switch to another
    /// embedding model could not be finished.
    pub prepared: Vec<IndexedSource>,
    /// Failed, each with its cause.
    pub failed: Vec<FailedSource>,
    /// Sources that were not started, because a failure concerned all of them or the run was cancelled.
    pub not_started: usize,
    /// Calls to providers that may cost something.
    pub calls: u64,
    /// Of these, without a known price.
    pub unpriced_calls: u64,
    /// What the calls cost, as far as prices are known.
    pub cost: Money,
    /// Whether the run was cancelled.
    pub cancelled: bool,
    /// How long it took.
    pub elapsed: Duration,
}

impl IndexReport {
    /// Puts an outcome where it belongs.
    pub(crate) fn add(&mut self, outcome: SourceOutcome) {
        match outcome {
            SourceOutcome::Indexed(source) => self.indexed.push(source),
            SourceOutcome::Skipped(source) => self.skipped.push(source),
            SourceOutcome::Empty(source) => self.empty.push(source),
            SourceOutcome::Prepared(source) => self.prepared.push(source),
            SourceOutcome::Failed(source) => self.failed.push(source),
        }
    }

    /// Every source that something was done for.
    fn worked(&self) -> impl Iterator<Item = &IndexedSource> {
        self.indexed.iter().chain(&self.empty).chain(&self.prepared)
    }

    /// Parts sent to speech-to-text in all.
    pub fn transcribed_parts(&self) -> u32 {
        self.worked().map(|source| source.transcribed_parts).sum()
    }

    /// Parts whose transcript was there already in all.
    pub fn reused_parts(&self) -> u32 {
        self.worked().map(|source| source.reused_parts).sum()
    }
}
