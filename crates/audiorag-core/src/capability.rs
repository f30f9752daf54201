//! The five things a vendor can do, as dyn-safe traits.
//!
//! Each trait lists its **contract**; `audiorag-testkit` holds a suite that checks every line of it, and
//! every implementation passes that suite. Limits are data, so that work is planned within them instead of
//! failing against them.

use crate::id::{ChunkId, EmbeddingKey, RevisionId, SourceId};
use crate::model::{EmbeddingSpace, Filter, PartTranscript};
use crate::samples::Samples;
use crate::{ErrorKind, MediaTime, Result, Span};
use async_trait::async_trait;
use futures_core::Stream;
use std::pin::Pin;
use std::time::Duration;

/// What was used up by a call, for accounting.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Requests that reached the vendor.
    pub requests: u32,
    /// Those among them that came to no end: an attempt that timed out before the next one was answered, say. Each
    /// may have been billed as a whole call, and the other fields do not tell of it.
    pub unknown: u32,
    /// Audio sent to speech-to-text.
    pub audio: MediaTime,
    /// Tokens read.
    pub input_tokens: u64,
    /// Tokens written.
    pub output_tokens: u64,
}

/// Which model of which vendor stands behind a capability.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ProviderInfo {
    /// Vendor id, such as `local` or `openai`; equal to the cargo feature.
    pub vendor: String,
    /// Model name.
    pub model: String,
    /// Rises when the code that drives the model changes what it returns: part of every cache key.
    pub version: u32,
}

impl ProviderInfo {
    /// `vendor/model@version`, the form that enters cache keys.
    pub fn fingerprint(&self) -> String {
        format!("{}/{}@{}", self.vendor, self.model, self.version)
    }
}

/// The outcome of really reaching a provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// What was found.
    pub status: HealthStatus,
    /// How long it took.
    pub latency: Duration,
    /// A version, a model list, or why it is unhealthy.
    pub detail: String,
    /// What the caller can do, when it is unhealthy.
    pub kind: Option<ErrorKind>,
    /// What to do, in one sentence or command, when it is unhealthy.
    pub remedy: Option<String>,
}

impl Health {
    /// Healthy, with what was found after `latency`, or unhealthy, with the reason and the remedy.
    pub fn of(outcome: Result<String>, latency: Duration) -> Self {
        match outcome {
            Ok(detail) => Self {
                status: HealthStatus::Healthy,
                latency,
                detail,
                kind: None,
                remedy: None,
            },
            Err(error) => Self {
                status: HealthStatus::Unhealthy,
                latency,
                detail: error.report(),
                kind: Some(error.kind()),
                remedy: error.hint().map(str::to_owned),
            },
        }
    }
}

/// Whether a provider can be used now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HealthStatus {
    /// It answered as it should.
    Healthy,
    /// It did not.
    Unhealthy,
}

impl HealthStatus {
    /// `healthy` or `unhealthy`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Unhealthy => "unhealthy",
        }
    }
}

/// One part to transcribe.
#[derive(Clone, Debug)]
pub struct TranscribeRequest {
    /// Mono samples at [`SAMPLE_RATE`](crate::model::SAMPLE_RATE): a file for those who take encoded audio, which is
    /// what [`TranscriberLimits::max_bytes`] says of them, and numbers for the others.
    pub samples: Samples,
    /// Where speech was detected, relative to the part, sorted and disjoint.
    pub speech: Vec<Span>,
    /// The language to assume (BCP 47); `None` lets the model decide.
    pub language: Option<String>,
    /// Words and names to expect.
    pub prompt: Option<String>,
}

impl TranscribeRequest {
    /// The whole part, from zero to its length.
    pub fn span(&self) -> Span {
        let end = (self.samples.len() as u64 * 1000).div_ceil(u64::from(crate::model::SAMPLE_RATE));
        Span::from_millis(0, end)
    }
}

/// What speech-to-text returned.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TranscribeResponse {
    /// The words.
    pub transcript: PartTranscript,
    /// What it cost.
    pub usage: Usage,
}

/// What a transcriber makes of [`TranscribeRequest::prompt`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PromptLimit {
    /// Nothing: it is not sent.
    NotTaken,
    /// It is sent as text, of which the rest is cut off.
    Text {
        /// The most bytes, where limited.
        max_bytes: Option<usize>,
    },
    /// It is sent as a list of terms, which commas, semicolons and line breaks separate.
    Terms {
        /// The most terms; further ones are left out.
        max_terms: usize,
    },
}

/// What a transcriber accepts and returns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TranscriberLimits {
    /// The length of part that suits it best: long enough for context, short enough to run side by side.
    pub preferred_part: MediaTime,
    /// The longest part it accepts.
    pub max_part: MediaTime,
    /// The most bytes of encoded audio it accepts in a request, if it takes encoded audio: then it is given
    /// [`Samples::Wav`].
    pub max_bytes: Option<u64>,
    /// Calls side by side that suit it; of a vendor, whose plans differ, the user may ask for more.
    pub concurrency: usize,
    /// What it makes of a prompt.
    pub prompt: PromptLimit,
    /// Whether segments carry measured times.
    pub segment_times: bool,
    /// Whether words carry measured times.
    pub word_times: bool,
    /// Whether speakers are told apart.
    pub speakers: bool,
    /// The languages it knows (BCP 47 primary tags); empty when it does not say.
    pub languages: Vec<String>,
}

/// Speech to text.
///
/// **Contract**
/// - Segments are sorted by start, lie inside the part and hold trimmed, non-empty text.
/// - Times are relative to the part.
/// - Audio without speech is `Ok` with no segments.
/// - The same request gives the same segments from a local model, and is safe to repeat with a vendor.
#[async_trait]
pub trait Transcriber: Send + Sync {
    /// Which model this is.
    fn info(&self) -> &ProviderInfo;

    /// What it accepts and returns.
    fn limits(&self) -> TranscriberLimits;

    /// Transcribes one part.
    async fn transcribe(&self, request: TranscribeRequest) -> Result<TranscribeResponse>;

    /// Reaches the model or service.
    async fn health_check(&self) -> Health;
}

/// What a text is embedded for. Several vendors embed questions and passages differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum InputType {
    /// A passage to be found.
    Document,
    /// A question to find passages with.
    Query,
}

/// What an embedder accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EmbedderLimits {
    /// The most texts in one call.
    pub max_batch: usize,
    /// The most tokens in one text; longer ones are cut by the model.
    pub max_input_tokens: usize,
    /// The most tokens in one call, where limited.
    pub max_batch_tokens: Option<usize>,
    /// Calls side by side that suit it; of a vendor, whose plans differ, the user may ask for more.
    pub concurrency: usize,
}

/// What an embedder returned.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EmbedResponse {
    /// One vector for each text.
    pub vectors: Vec<Vec<f32>>,
    /// What it cost.
    pub usage: Usage,
}

/// Text to vectors.
///
/// **Contract**
/// - One vector for each text, in the order of the texts.
/// - Every vector has [`EmbeddingSpace::dimensions`] finite components and is not zero.
/// - No texts give no vectors, without a call.
/// - More texts than [`EmbedderLimits::max_batch`] are the caller's mistake and an `Input` error.
#[async_trait]
pub trait Embedder: Send + Sync {
    /// Which model this is.
    fn info(&self) -> &ProviderInfo;

    /// What its vectors can be compared with.
    fn space(&self) -> &EmbeddingSpace;

    /// What it accepts.
    fn limits(&self) -> EmbedderLimits;

    /// Embeds a batch.
    async fn embed(&self, texts: &[String], input: InputType) -> Result<EmbedResponse>;

    /// Reaches the model or service.
    async fn health_check(&self) -> Health;
}

/// A chunk's vector and what it can be filtered by.
#[derive(Clone, Debug, PartialEq)]
pub struct VectorRecord {
    /// The chunk.
    pub id: ChunkId,
    /// Its source.
    pub source_id: SourceId,
    /// The revision it belongs to.
    pub revision: RevisionId,
    /// Names the vector: equal keys mean equal vectors, so a store may keep one copy.
    pub embedding_key: EmbeddingKey,
    /// Unit length, in the space given to [`VectorStore::prepare`].
    pub vector: Vec<f32>,
    /// When it is said.
    pub span: Span,
    /// What is said.
    pub text: String,
    /// The source's title.
    pub title: String,
    /// Who says it.
    pub speakers: Vec<String>,
    /// The source's language.
    pub language: Option<String>,
    /// The source's date, `YYYY-MM-DD`.
    pub date: Option<String>,
}

/// A nearest neighbour.
#[derive(Clone, Debug, PartialEq)]
pub struct VectorMatch {
    /// The chunk.
    pub id: ChunkId,
    /// Cosine similarity, −1 to 1, higher is nearer.
    pub score: f32,
}

/// Which records to delete or count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selector {
    /// All of a source.
    Source(SourceId),
    /// All of one revision of a source.
    Revision(SourceId, RevisionId),
    /// These records.
    Chunks(Vec<ChunkId>),
    /// Everything in the store's space.
    All,
}

/// What a store accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreLimits {
    /// The most records in one upsert.
    pub max_batch: usize,
    /// The most bytes in one upsert, where limited.
    pub max_batch_bytes: Option<usize>,
    /// The most neighbours in one answer.
    pub max_top_k: usize,
    /// Whether a write is visible to the next read. Where it is not, verification polls.
    pub read_your_writes: bool,
}

/// Vectors by nearness.
///
/// **Contract**
/// - [`prepare`](Self::prepare) comes first and names the space that all later calls mean. It creates what is
///   missing, and refuses with a `Config` error where the store holds other vectors in the space's place.
/// - [`upsert`](Self::upsert) is idempotent by id; a vector of wrong length or with components that are not
///   finite is refused and nothing of the batch is stored.
/// - [`search`](Self::search) is best first, at most `top_k`, and honours every field of the filter.
/// - Deleting what is absent is `Ok`.
/// - [`count`](Self::count) is exact.
#[async_trait]
pub trait VectorStore: Send + Sync {
    /// Which store this is.
    fn info(&self) -> &ProviderInfo;

    /// What it accepts.
    fn limits(&self) -> StoreLimits;

    /// Makes the store ready for vectors of `space`.
    async fn prepare(&self, space: &EmbeddingSpace) -> Result<()>;

    /// Writes records, replacing those with equal ids.
    async fn upsert(&self, records: Vec<VectorRecord>) -> Result<()>;

    /// The `top_k` nearest records to `vector` that pass `filter`.
    async fn search(&self, vector: &[f32], top_k: usize, filter: &Filter) -> Result<Vec<VectorMatch>>;

    /// Removes records.
    async fn delete(&self, selector: &Selector) -> Result<()>;

    /// Counts records.
    async fn count(&self, selector: &Selector) -> Result<u64>;

    /// Reaches the store.
    async fn health_check(&self) -> Health;
}

/// One document's relevance to a query.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ranked {
    /// Position of the document in the request.
    pub index: usize,
    /// Higher is more relevant; no promised range.
    pub score: f32,
}

/// Orders documents by relevance to a query.
///
/// **Contract**
/// - Returns at most `top_n` entries, best first, whose indices are distinct and inside the request.
/// - No documents give no entries.
#[async_trait]
pub trait Reranker: Send + Sync {
    /// Which model this is.
    fn info(&self) -> &ProviderInfo;

    /// The most documents in one call.
    fn max_documents(&self) -> usize;

    /// Scores `documents` against `query`.
    async fn rerank(&self, query: &str, documents: &[String], top_n: usize) -> Result<Vec<Ranked>>;

    /// Reaches the model or service.
    async fn health_check(&self) -> Health;
}

/// A passage as a document of its own, for vendors whose models cite documents by themselves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// The recording's title, the time and the speakers.
    pub title: String,
    /// A link to the passage.
    pub source: String,
    /// What is said, sentence by sentence; never empty.
    pub lines: Vec<String>,
}

/// A prompt in the two roles every vendor knows, and the same as documents and a question.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GenerateRequest {
    /// Instructions, which ask for the numbers of passages as citations.
    pub system: String,
    /// Numbered passages and the question.
    pub user: String,
    /// The most tokens to write.
    pub max_output_tokens: u32,
    /// The passages in the order of their numbers. A generator that cites by itself may send these and
    /// [`question`](Self::question) in place of [`user`](Self::user), with
    /// [`DOCUMENT_INSTRUCTIONS`](crate::prompt::DOCUMENT_INSTRUCTIONS) in place of [`system`](Self::system), and writes
    /// behind each statement the [`marker`](crate::cite::marker) of the document that it cites, with the lines if it
    /// knows them. Empty where there is nothing but text.
    pub documents: Vec<Document>,
    /// The question alone.
    pub question: String,
}

/// A piece of a generated answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GenerateEvent {
    /// More text.
    Delta(String),
    /// The end, with what it cost. Nothing follows.
    Done {
        /// Tokens read and written.
        usage: Usage,
        /// Whether the text was cut at the token limit.
        truncated: bool,
    },
}

/// The pieces of an answer as they arrive.
pub type GenerateStream = Pin<Box<dyn Stream<Item = Result<GenerateEvent>> + Send>>;

/// What a generator accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GeneratorLimits {
    /// Tokens of prompt and answer together.
    pub context_tokens: usize,
    /// The most tokens of answer.
    pub max_output_tokens: u32,
}

/// Prompt to text.
///
/// **Contract**
/// - The stream is deltas followed by exactly one `Done`, or ends with an error.
/// - Dropping the stream stops the work.
#[async_trait]
pub trait Generator: Send + Sync {
    /// Which model this is.
    fn info(&self) -> &ProviderInfo;

    /// What it accepts.
    fn limits(&self) -> GeneratorLimits;

    /// Starts an answer.
    async fn generate(&self, request: GenerateRequest) -> Result<GenerateStream>;

    /// Reaches the model or service.
    async fn health_check(&self) -> Health;
}
