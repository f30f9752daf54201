//! From layers of text to the struct: defaults that depend on other settings, contradictions between settings, and
//! the report of everything that is wrong.

use super::key::{Fallback, Key};
use super::reader::Reader;
use super::sources::{Layers, Sources, Violation};
use super::{
    BucketSettings, ChunkSettings, DatabaseSettings, DecodeSettings, EmbeddingSettings, FEWEST_SOURCES,
    FetchSettings, GcSettings, GenerationSettings, HttpSettings, IndexSettings, LogFormat, LogLevel,
    LogSettings, ModelRoute, ModelSettings, PullConsent, RerankerSettings, RetrievalSettings, SearchMode,
    Settings, SttSettings, TranscriptMode, VectorIdFormat, VectorStoreSettings, VerifyMode,
};
use audiorag_core::chunking::ChunkStrategy;
use audiorag_core::retry::RetryPolicy;
use audiorag_core::{Error, Result};
use std::fmt::{self, Write as _};
use std::num::NonZeroU32;
use std::path::PathBuf;

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Origin {
    /// A flag.
    CommandLine,
    /// This environment variable.
    Environment(String),
    /// This variable of a `.env` file.
    EnvFile(String, PathBuf),
    /// The project file.
    ProjectFile(PathBuf),
    /// The user's own file.
    UserFile(PathBuf),
    /// Nobody set it.
    Default,
}

impl Origin {
    /// One word for programs.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::CommandLine => "flag",
            Self::Environment(_) => "environment",
            Self::EnvFile(..) => "env_file",
            Self::ProjectFile(_) => "project_file",
            Self::UserFile(_) => "user_file",
            Self::Default => "default",
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CommandLine => f.write_str("command line"),
            Self::Environment(name) => write!(f, "environment {name}"),
            Self::EnvFile(name, file) => write!(f, "{name} in {}", file.display()),
            Self::ProjectFile(file) | Self::UserFile(file) => write!(f, "{}", file.display()),
            Self::Default => f.write_str("default"),
        }
    }
}

/// A resolved value, for `config show`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Entry {
    /// The setting.
    pub key: Key,
    /// Its value; `***` for secrets, `None` when it is unset.
    pub value: Option<String>,
    /// Where it came from.
    pub origin: Origin,
}

/// Settings and how they came about.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Resolution {
    /// The settings.
    pub settings: Settings,
    /// Every setting in the order of the reference.
    pub entries: Vec<Entry>,
    /// What looks like a mistake but changes nothing, such as unknown `AUDIORAG_` names.
    pub warnings: Vec<String>,
    /// The files that were read, strongest first.
    pub files: Vec<PathBuf>,
}

pub(super) fn resolve(sources: &Sources) -> Result<Resolution> {
    let layers = Layers::read(sources);
    let mut reader = Reader {
        sources,
        values: layers.values,
        entries: Vec::new(),
        violations: layers.violations,
        warnings: layers.warnings,
    };
    let settings = reader.settings();
    reader.entries.sort_by_key(|entry| entry.key);
    if reader.violations.is_empty() {
        return Ok(Resolution {
            settings,
            entries: reader.entries,
            warnings: reader.warnings,
            files: layers.files,
        });
    }
    Err(report(&reader.violations))
}

/// One error for everything that is wrong.
fn report(violations: &[Violation]) -> Error {
    if let [Violation { what, remedy }] = violations {
        return Error::config(what.as_str()).with_hint(remedy.as_str());
    }
    let mut message = format!("{} settings cannot be used:", violations.len());
    for Violation { what, remedy } in violations {
        let _ = write!(message, "\n  - {what}; {remedy}");
    }
    Error::config(message).with_hint("`audiorag config path` names the files that are read")
}

impl Reader<'_> {
    fn settings(&mut self) -> Settings {
        self.env_file();
        let offline = self.flag(Key::Offline, false);
        let stt = self.stt();
        // A source that waits for its last answer, or is embedded, must not keep the next one from being sent.
        let sources = if stt.provider == "local" {
            FEWEST_SOURCES
        } else {
            stt.concurrency.clamp(FEWEST_SOURCES, 64)
        };
        let embedding = self.embedding();
        let provider = self.provider(Key::GenerationProvider);
        let generation = GenerationSettings {
            model: self.model(Key::GenerationModel, Key::GenerationProvider, &provider),
            provider,
        };
        let provider = self.provider(Key::RerankerProvider);
        let reranker = RerankerSettings {
            model: self.model(Key::RerankerModel, Key::RerankerProvider, &provider),
            top_n: Some(self.integer(Key::RerankerTopN, 0) as usize).filter(|most| *most > 0),
            provider,
        };
        Settings {
            database: DatabaseSettings {
                path: self.database(),
            },
            work_dir: self.path(Key::WorkDir, self.cache("work")),
            offline,
            models: self.models(offline),
            stt,
            embedding,
            vector_store: VectorStoreSettings {
                provider: self.provider(Key::VectorStoreProvider),
                id_format: self.word(
                    Key::VectorStoreIdFormat,
                    VectorIdFormat::parse,
                    VectorIdFormat::Auto,
                ),
                id_namespace: self.optional(Key::VectorStoreIdNamespace),
                verify_mode: self.word(
                    Key::VectorStoreVerifyMode,
                    VerifyMode::parse,
                    VerifyMode::BestEffort,
                ),
                verify_max_attempts: self.integer(Key::VectorStoreVerifyMaxAttempts, 5) as u32,
                verify_wait: self.duration(Key::VectorStoreVerifyWaitSeconds),
            },
            generation,
            reranker,
            chunk: self.chunk(),
            retrieval: RetrievalSettings {
                top_k: self.integer(Key::RetrievalTopK, 10) as usize,
                mode: self.word(Key::RetrievalMode, SearchMode::parse, SearchMode::Hybrid),
                abstain_below: self.number(Key::RetrievalAbstainBelow, 0.3) as f32,
                sounds: self.flag(Key::RetrievalSounds, true),
                neighbours: self.integer(Key::RetrievalNeighbours, 0) as u32,
                per_source: Some(self.integer(Key::RetrievalPerSource, 0) as usize).filter(|most| *most > 0),
            },
            retry: self.retry(),
            budget: self.budget(),
            prices: self.prices(),
            http: HttpSettings {
                timeout: self.duration(Key::HttpTimeoutSeconds),
                deadline: self.duration(Key::HttpDeadlineSeconds),
                max_in_flight: self.integer(Key::HttpMaxInFlight, 32) as usize,
                requests_per_minute: self
                    .optional_integer(Key::HttpRequestsPerMinute)
                    .and_then(|rate| NonZeroU32::new(rate as u32)),
            },
            vendors: self.vendors(),
            index: IndexSettings {
                source_concurrency: self.integer(Key::IndexSourceConcurrency, sources as u64) as usize,
                source_concurrency_chosen: self.values.contains_key(&Key::IndexSourceConcurrency),
                follow_links: self.flag(Key::IndexFollowLinks, false),
                hidden: self.flag(Key::IndexHidden, false),
                grace: self.duration(Key::IndexGraceSeconds),
                transcript: self.word(Key::IndexTranscript, TranscriptMode::parse, TranscriptMode::Auto),
                watch_interval: self.age(Key::WatchInterval),
            },
            decode: DecodeSettings {
                track: self.optional_integer(Key::DecodeTrack).map(|track| track as u32),
                channel: self
                    .optional_integer(Key::DecodeChannel)
                    .map(|channel| channel as u16),
                channels_as_speakers: self.flag(Key::DecodeChannelsAsSpeakers, false),
                ffmpeg: match self.optional(Key::DecodeFfmpeg) {
                    Some(off) if off == "off" => None,
                    Some(program) => Some(PathBuf::from(program)),
                    None => self.on_the_path("ffmpeg"),
                },
                isolate: self.flag(Key::DecodeIsolate, false),
                program: self.file(Key::DecodeProgram),
            },
            fetch: FetchSettings {
                dir: self.path(Key::FetchDir, self.cache("downloads")),
                keep: self.flag(Key::FetchKeep, false),
                max_bytes: self.integer(Key::FetchMaxBytes, 8 << 30),
                timeout: self.duration(Key::FetchTimeoutSeconds),
                allow_hosts: self
                    .optional(Key::FetchAllowHosts)
                    .map(|hosts| {
                        let hosts = hosts.split(',').map(str::trim);
                        hosts.filter(|host| !host.is_empty()).map(str::to_owned).collect()
                    })
                    .unwrap_or_default(),
                yt_dlp: self.optional(Key::FetchYtDlp).map(PathBuf::from),
                cookies: self.file(Key::FetchCookies),
                environment: self.harmless_environment(),
                buckets: BucketSettings {
                    endpoint: self.optional_url(Key::FetchS3Endpoint),
                    region: self.optional(Key::FetchS3Region),
                    access_key_id: self.optional(Key::FetchS3AccessKeyId),
                    secret_access_key: self.secret(Key::FetchS3SecretAccessKey),
                    session_token: self.secret(Key::FetchS3SessionToken),
                },
            },
            gc: GcSettings {
                retention: self.age(Key::GcRetention),
            },
            log: LogSettings {
                level: self.word(Key::LogLevel, LogLevel::parse, LogLevel::Warn),
                format: self.word(Key::LogFormat, LogFormat::parse, LogFormat::Human),
            },
        }
    }

    /// What other programs are started with. Keys of vendors are none of their business, and neither is a password in
    /// a proxy's address.
    fn harmless_environment(&self) -> Vec<(String, String)> {
        const NAMES: &[&str] = &[
            "PATH",
            "HOME",
            "LANG",
            "LC_ALL",
            "TMPDIR",
            "XDG_CACHE_HOME",
            "SSL_CERT_FILE",
            "SSL_CERT_DIR",
            "HTTP_PROXY",
            "HTTPS_PROXY",
            "NO_PROXY",
            "http_proxy",
            "https_proxy",
            "no_proxy",
        ];
        NAMES
            .iter()
            .filter_map(|name| Some(((*name).to_owned(), self.sources.env.get(*name)?.clone())))
            .filter(|(_, value)| !value.contains('@'))
            .collect()
    }

    /// A program on the PATH.
    fn on_the_path(&self, name: &str) -> Option<PathBuf> {
        let path = self.sources.env.get("PATH")?;
        std::env::split_paths(path)
            .map(|folder| folder.join(name))
            .find(|program| program.is_file())
    }

    fn models(&mut self, offline: bool) -> ModelSettings {
        let hub_cache = self
            .sources
            .env
            .get("XDG_CACHE_HOME")
            .filter(|directory| !directory.is_empty())
            .map(PathBuf::from)
            .or_else(|| {
                self.sources
                    .directories
                    .home
                    .as_ref()
                    .map(|home| home.join(".cache"))
            })
            .map(|cache| cache.join("huggingface"));
        let hf_home = self.path(Key::ModelsHfHome, hub_cache);
        let hf_configured = [Key::ModelsHfEndpoint, Key::ModelsHfToken]
            .iter()
            .any(|key| self.values.contains_key(key));
        ModelSettings {
            dir: self.path(Key::ModelsDir, self.data("models")),
            route: self.word(Key::ModelsRoute, ModelRoute::parse, ModelRoute::Auto),
            auto_pull: self.word(Key::ModelsAutoPull, PullConsent::parse, PullConsent::Ask),
            offline: self.flag(Key::ModelsOffline, offline) || offline,
            onnxruntime_library: self.file(Key::ModelsOnnxruntimeLibrary),
            hf_hub_cache: self.path(Key::ModelsHfHubCache, Some(hf_home.join("hub"))),
            hf_home,
            hf_configured,
            hf_endpoint: self.url(Key::ModelsHfEndpoint),
            hf_token: self.secret(Key::ModelsHfToken),
        }
    }

    fn stt(&mut self) -> SttSettings {
        let provider = self.provider(Key::SttProvider);
        let parallel = if provider == "local" {
            self.sources.cores.max(1)
        } else {
            16
        };
        SttSettings {
            model: self.model(Key::SttModel, Key::SttProvider, &provider),
            language: self.optional(Key::SttLanguage),
            prompt: self.optional(Key::SttPrompt),
            concurrency_chosen: self.values.contains_key(&Key::SttConcurrency),
            concurrency: self.integer(Key::SttConcurrency, parallel as u64) as usize,
            provider,
        }
    }

    fn embedding(&mut self) -> EmbeddingSettings {
        let provider = self.provider(Key::EmbeddingProvider);
        let parallel = if provider == "local" { 1 } else { 16 };
        EmbeddingSettings {
            model: self.model(Key::EmbeddingModel, Key::EmbeddingProvider, &provider),
            dimensions: self
                .optional_integer(Key::EmbeddingDimensions)
                .map(|dimensions| dimensions as usize),
            concurrency_chosen: self.values.contains_key(&Key::EmbeddingConcurrency),
            concurrency: self.integer(Key::EmbeddingConcurrency, parallel) as usize,
            batch: self.integer(Key::EmbeddingBatch, 32) as usize,
            provider,
        }
    }

    fn chunk(&mut self) -> ChunkSettings {
        let before = self.violations.len();
        let target = self.media_time(Key::ChunkDurationSeconds, 30.0);
        let chunk = ChunkSettings {
            target,
            max: self.media_time(Key::ChunkMaxSeconds, target.as_seconds_f64() * 1.1),
            overlap: self.media_time(Key::ChunkOverlapSeconds, 0.0),
            strategy: self.word(Key::ChunkStrategy, ChunkStrategy::parse, ChunkStrategy::Time),
        };
        if self.violations.len() == before {
            if chunk.max < chunk.target {
                self.contradiction(Key::ChunkMaxSeconds, "below", Key::ChunkDurationSeconds);
            }
            if chunk.overlap >= chunk.target {
                self.contradiction(Key::ChunkOverlapSeconds, "not below", Key::ChunkDurationSeconds);
            }
        }
        chunk
    }

    fn retry(&mut self) -> RetryPolicy {
        let before = self.violations.len();
        let retry = RetryPolicy {
            max_attempts: self.integer(Key::RetryMaxAttempts, 3) as u32,
            first_wait: self.duration(Key::RetryFirstWaitSeconds),
            max_wait: self.duration(Key::RetryMaxWaitSeconds),
            ..RetryPolicy::default()
        };
        if self.violations.len() == before && retry.max_wait < retry.first_wait {
            self.contradiction(Key::RetryMaxWaitSeconds, "below", Key::RetryFirstWaitSeconds);
        }
        retry
    }

    /// The name of the file read in place of `.env`; it was used while reading the layers.
    fn env_file(&mut self) {
        if let Some(written) = self.take(Key::EnvFile) {
            let path = written.base.join(written.text.trim());
            self.record(Key::EnvFile, Some(path.display().to_string()), written.origin);
        } else {
            self.record(Key::EnvFile, None, Origin::Default);
        }
    }
}

/// The plain default as the reference shows it.
pub(super) fn default_text(fallback: Fallback) -> String {
    match fallback {
        Fallback::Value(text) => format!("`{text}`"),
        Fallback::Computed(how) => how.to_owned(),
        Fallback::Unset(meaning) => format!("unset: {meaning}"),
    }
}
