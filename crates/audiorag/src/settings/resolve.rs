//! From layers of text to the struct: parsing, defaults that depend on other settings, and the report of
//! everything that is wrong.

use super::key::{Fallback, Key, Spec};
use super::kind::{self, Kind};
use super::sources::{Layers, Sources, Violation, Written};
use super::{
    ChunkSettings, DatabaseSettings, EmbeddingSettings, GenerationSettings, IndexSettings, LogFormat,
    LogLevel, LogSettings, ModelRoute, ModelSettings, PullConsent, RerankerSettings, RetrievalSettings,
    Settings, SttSettings, VectorStoreSettings, VerifyMode,
};
use audiorag_core::retry::RetryPolicy;
use audiorag_core::{Error, MediaTime, Result, Secret};
use std::fmt::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

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
    };
    let settings = reader.settings();
    reader.entries.sort_by_key(|entry| entry.key);
    if reader.violations.is_empty() {
        return Ok(Resolution {
            settings,
            entries: reader.entries,
            warnings: layers.warnings,
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

struct Reader<'a> {
    sources: &'a Sources,
    values: std::collections::BTreeMap<Key, Written>,
    entries: Vec<Entry>,
    violations: Vec<Violation>,
}

impl Reader<'_> {
    fn settings(&mut self) -> Settings {
        self.env_file();
        let offline = self.flag(Key::Offline, false);
        let stt = self.stt();
        let embedding = self.embedding();
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
                verify_mode: self.word(
                    Key::VectorStoreVerifyMode,
                    VerifyMode::parse,
                    VerifyMode::BestEffort,
                ),
                verify_max_attempts: self.integer(Key::VectorStoreVerifyMaxAttempts, 5) as u32,
                verify_wait: self.duration(Key::VectorStoreVerifyWaitSeconds),
            },
            generation: GenerationSettings {
                provider: self.provider(Key::GenerationProvider),
            },
            reranker: RerankerSettings {
                provider: self.provider(Key::RerankerProvider),
            },
            chunk: self.chunk(),
            retrieval: RetrievalSettings {
                top_k: self.integer(Key::RetrievalTopK, 10) as usize,
                abstain_below: self.number(Key::RetrievalAbstainBelow, 0.3) as f32,
            },
            retry: self.retry(),
            index: IndexSettings {
                source_concurrency: self.integer(Key::IndexSourceConcurrency, 2) as usize,
                follow_links: self.flag(Key::IndexFollowLinks, false),
                hidden: self.flag(Key::IndexHidden, false),
            },
            log: LogSettings {
                level: self.word(Key::LogLevel, LogLevel::parse, LogLevel::Warn),
                format: self.word(Key::LogFormat, LogFormat::parse, LogFormat::Human),
            },
        }
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
            concurrency: self.integer(Key::SttConcurrency, parallel as u64) as usize,
            threads: self.integer(Key::SttThreads, 1) as usize,
            provider,
        }
    }

    fn embedding(&mut self) -> EmbeddingSettings {
        let provider = self.provider(Key::EmbeddingProvider);
        let parallel = if provider == "local" { 1 } else { 16 };
        EmbeddingSettings {
            model: self.model(Key::EmbeddingModel, Key::EmbeddingProvider, &provider),
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

    fn data(&self, name: &str) -> Option<PathBuf> {
        self.sources
            .directories
            .data
            .as_ref()
            .map(|data| data.join("audiorag").join(name))
    }

    fn cache(&self, name: &str) -> Option<PathBuf> {
        self.sources
            .directories
            .cache
            .as_ref()
            .map(|cache| cache.join("audiorag").join(name))
    }

    fn record(&mut self, key: Key, value: Option<String>, origin: Origin) {
        self.entries.push(Entry { key, value, origin });
    }

    /// The written value, checked not to be empty.
    fn take(&mut self, key: Key) -> Option<Written> {
        let written = self.values.remove(&key)?;
        if written.text.trim().is_empty() {
            let spec = key.spec();
            self.violations.push(Violation {
                what: format!("{} is empty ({})", spec.path, written.origin),
                remedy: format!("give {} or remove it", spec.kind.describe()),
            });
            return None;
        }
        Some(written)
    }

    /// The text of a setting: as written, else its plain default.
    fn text(&mut self, key: Key) -> Option<Written> {
        self.take(key).or_else(|| {
            let text = key.spec().fallback.text()?.to_owned();
            Some(Written {
                text,
                origin: Origin::Default,
                base: self.sources.cwd.clone(),
            })
        })
    }

    fn reject(&mut self, spec: &Spec, written: &Written, problem: &str, remedy: String) {
        let shown = shown(spec, &written.text);
        self.violations.push(Violation {
            what: format!("{} = {shown} ({}) {problem}", spec.path, written.origin),
            remedy,
        });
    }

    fn contradiction(&mut self, key: Key, relation: &str, other: Key) {
        let find = |key: Key| {
            let entry = self.entries.iter().find(|entry| entry.key == key);
            entry.map_or_else(String::new, |entry| {
                let value = entry.value.as_deref().unwrap_or_default();
                format!("{} = '{value}' ({})", key.spec().path, entry.origin)
            })
        };
        let what = format!("{} is {relation} {}", find(key), find(other));
        self.violations.push(Violation {
            what,
            remedy: "change one of the two".to_owned(),
        });
    }

    /// Parses a setting; `fallback` stands in for a computed default, and for a value that is rejected.
    fn parsed<T>(
        &mut self,
        key: Key,
        parse: impl Fn(&str) -> Option<T>,
        show: impl Fn(&T) -> String,
        fallback: T,
    ) -> T {
        let spec = key.spec();
        let Some(written) = self.text(key) else {
            self.record(key, Some(show(&fallback)), Origin::Default);
            return fallback;
        };
        if let Some(value) = parse(written.text.trim()) {
            self.record(key, Some(show(&value)), written.origin);
            return value;
        }
        self.reject(
            &spec,
            &written,
            "cannot be used",
            format!("expected {}", spec.kind.describe()),
        );
        fallback
    }

    fn flag(&mut self, key: Key, fallback: bool) -> bool {
        self.parsed(key, kind::flag, bool::to_string, fallback)
    }

    fn word<T: Word>(&mut self, key: Key, parse: fn(&str) -> Option<T>, fallback: T) -> T {
        self.parsed(key, parse, |word| word.word().to_owned(), fallback)
    }

    fn integer(&mut self, key: Key, fallback: u64) -> u64 {
        let (min, max) = match key.spec().kind {
            Kind::Integer { min, max } => (min, max),
            _ => (0, u64::MAX),
        };
        self.parsed(
            key,
            |text| kind::integer(text, min, max),
            u64::to_string,
            fallback,
        )
    }

    fn number(&mut self, key: Key, fallback: f64) -> f64 {
        let (min, max) = match key.spec().kind {
            Kind::Number { min, max } | Kind::Seconds { min, max } => (min, max),
            _ => (f64::MIN, f64::MAX),
        };
        self.parsed(key, |text| kind::number(text, min, max), f64::to_string, fallback)
    }

    fn duration(&mut self, key: Key) -> Duration {
        Duration::from_secs_f64(self.number(key, 0.0).max(0.0))
    }

    fn media_time(&mut self, key: Key, fallback: f64) -> MediaTime {
        let fallback = (fallback * 1000.0).round() / 1000.0;
        MediaTime::from_seconds_f64(self.number(key, fallback)).unwrap_or_default()
    }

    fn url(&mut self, key: Key) -> String {
        self.parsed(key, kind::url, |url| kind::without_password(url), String::new())
    }

    fn optional(&mut self, key: Key) -> Option<String> {
        let text = self
            .text(key)
            .map(|written| (written.text.trim().to_owned(), written.origin));
        let (value, origin) = text.map_or((None, Origin::Default), |(text, origin)| (Some(text), origin));
        self.record(key, value.clone(), origin);
        value
    }

    fn secret(&mut self, key: Key) -> Option<Secret> {
        let spec = key.spec();
        let Some(written) = self.text(key) else {
            self.record(key, None, Origin::Default);
            return None;
        };
        let secret = Secret::new(&written.text);
        // It ends in a request header, where a line break would start another one.
        if secret
            .expose()
            .contains(|c: char| c.is_whitespace() || c.is_control())
        {
            let remedy = "copy it again, without spaces or line breaks".to_owned();
            self.reject(&spec, &written, "holds white space", remedy);
        }
        self.record(key, Some("***".to_owned()), written.origin);
        Some(secret)
    }

    fn provider(&mut self, key: Key) -> String {
        let spec = key.spec();
        let Some(written) = self.text(key) else {
            return String::new();
        };
        let name = written.text.trim().to_ascii_lowercase();
        let problem = match spec.kind {
            Kind::Provider(role) => role.problem(&name),
            _ => None,
        };
        match problem {
            // A build without the default provider can still list, show and export.
            Some((problem, remedy)) if written.origin != Origin::Default => {
                self.reject(&spec, &written, &problem, remedy);
            }
            _ => {}
        }
        self.record(key, Some(name.clone()), written.origin);
        name
    }

    fn model(&mut self, key: Key, provider_key: Key, provider: &str) -> String {
        let models = match provider_key.spec().kind {
            Kind::Provider(role) => role.models(provider),
            _ => &[],
        };
        let spec = key.spec();
        let Some(written) = self.text(key) else {
            let model = models.first().copied().unwrap_or_default().to_owned();
            self.record(
                key,
                Some(model.clone()).filter(|model| !model.is_empty()),
                Origin::Default,
            );
            return model;
        };
        let model = written.text.trim().to_owned();
        if !models.is_empty() && !models.contains(&model.as_str()) {
            let problem = format!("is not a model of provider '{provider}'");
            self.reject(
                &spec,
                &written,
                &problem,
                format!("expected one of {}", models.join(", ")),
            );
        }
        self.record(key, Some(model.clone()), written.origin);
        model
    }

    /// A path, made absolute; `~` is the home directory.
    fn absolute(&self, written: &Written) -> PathBuf {
        let text = written.text.trim();
        let home = self.sources.directories.home.as_deref();
        match (text.strip_prefix('~'), home) {
            (Some(""), Some(home)) => home.to_path_buf(),
            (Some(rest), Some(home)) if rest.starts_with('/') => home.join(rest.trim_start_matches('/')),
            _ => written.base.join(text),
        }
    }

    /// The path of a setting, or `fallback`, whose absence is an error of its own.
    fn path(&mut self, key: Key, fallback: Option<PathBuf>) -> PathBuf {
        let spec = key.spec();
        if let Some(written) = self.take(key) {
            let path = self.absolute(&written);
            if let Some(problem) = unusable_directory(&path) {
                self.reject(&spec, &written, &problem, "give another directory".to_owned());
            }
            self.record(key, Some(path.display().to_string()), written.origin);
            return path;
        }
        self.or_default(key, fallback)
    }

    fn or_default(&mut self, key: Key, fallback: Option<PathBuf>) -> PathBuf {
        let spec = key.spec();
        if fallback.is_none() {
            self.violations.push(Violation {
                what: format!("{} has no default: this account has no home directory", spec.path),
                remedy: format!("set {}", spec.env_name()),
            });
        }
        let path = fallback.unwrap_or_default();
        self.record(key, Some(path.display().to_string()), Origin::Default);
        path
    }

    /// The file of a setting that may be unset; it must exist.
    fn file(&mut self, key: Key) -> Option<PathBuf> {
        let spec = key.spec();
        let Some(written) = self.take(key) else {
            self.record(key, None, Origin::Default);
            return None;
        };
        let path = self.absolute(&written);
        if !path.is_file() {
            let problem = if path.exists() {
                "is not a file"
            } else {
                "does not exist"
            };
            self.reject(&spec, &written, problem, "correct the path".to_owned());
        }
        self.record(key, Some(path.display().to_string()), written.origin);
        Some(path)
    }

    fn database(&mut self) -> PathBuf {
        let key = Key::DatabaseUrl;
        let spec = key.spec();
        let Some(written) = self.take(key) else {
            return self.or_default(key, self.data("audiorag.db"));
        };
        match self.database_path(&written) {
            Ok(path) => {
                self.record(key, Some(path.display().to_string()), written.origin);
                path
            }
            Err((problem, remedy)) => {
                self.reject(&spec, &written, problem, remedy.to_owned());
                PathBuf::new()
            }
        }
    }

    fn database_path(&self, written: &Written) -> Result<PathBuf, (&'static str, &'static str)> {
        let text = written.text.trim();
        let lower = text.to_ascii_lowercase();
        if lower.starts_with("postgres:") || lower.starts_with("postgresql:") {
            return Err((
                "names PostgreSQL, which is not available in this build yet",
                "give a path to a file",
            ));
        }
        let file = match lower.strip_prefix("sqlite:") {
            Some(_) => {
                let rest = text.get("sqlite:".len()..).unwrap_or_default();
                let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
                // What other tools put at the end of such URLs asks for what happens here anyway.
                if !matches!(query, "" | "mode=rwc") {
                    return Err((
                        "has options that are not supported",
                        "remove everything from the '?' on",
                    ));
                }
                path.strip_prefix("//").unwrap_or(path)
            }
            None if text.contains("://") => {
                return Err(("names a database that is not supported", "give a path to a file"));
            }
            None => text,
        };
        if file.is_empty() || file == ":memory:" {
            return Err((
                "names no file",
                "give a path to a file: what is indexed must be kept",
            ));
        }
        let path = self.absolute(&Written {
            text: file.to_owned(),
            ..written.clone()
        });
        if path.is_dir() {
            return Err(("is a directory", "add a file name, such as audiorag.db"));
        }
        match path.parent().and_then(unusable_directory) {
            Some(_) => Err(("lies below a file", "give a path inside a directory")),
            None => Ok(path),
        }
    }
}

/// Why `path` cannot become a directory, judged by its nearest existing ancestor.
fn unusable_directory(path: &Path) -> Option<String> {
    if path.as_os_str().as_encoded_bytes().contains(&0) {
        return Some("holds a zero byte".to_owned());
    }
    let existing = path.ancestors().find(|ancestor| ancestor.exists())?;
    match (existing == path, existing.is_dir()) {
        (_, true) => None,
        (true, false) => Some("is a file, not a directory".to_owned()),
        (false, false) => Some("lies below a file".to_owned()),
    }
}

/// A value as an error may show it.
fn shown(spec: &Spec, text: &str) -> String {
    if spec.is_secret() {
        return "***".to_owned();
    }
    let text: String = kind::without_password(text.trim()).chars().take(200).collect();
    format!("'{}'", text.escape_debug())
}

/// The word of an enumeration's value.
trait Word {
    fn word(&self) -> &'static str;
}

macro_rules! word {
    ($($name:ident),+) => { $(impl Word for $name { fn word(&self) -> &'static str { self.as_str() } })+ };
}
word!(ModelRoute, PullConsent, VerifyMode, LogLevel, LogFormat);

/// The plain default as the reference shows it.
pub(super) fn default_text(fallback: Fallback) -> String {
    match fallback {
        Fallback::Value(text) => format!("`{text}`"),
        Fallback::Computed(how) => how.to_owned(),
        Fallback::Unset(meaning) => format!("unset: {meaning}"),
    }
}
