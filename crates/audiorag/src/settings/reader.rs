//! The primitives of resolving: one method for each kind of setting. Each takes the written value or the default,
//! checks it, and notes the outcome for `config show` or the report of what is wrong.

use super::key::{Key, Spec};
use super::kind::{self, Kind};
use super::resolve::{Entry, Origin};
use super::sources::{Sources, Violation, Written};
use super::vendor::{VendorKey, VendorSettings};
use super::{
    BudgetPolicy, LogFormat, LogLevel, ModelRoute, PullConsent, TranscriptMode, VectorIdFormat, VerifyMode,
};
use audiorag_core::chunking::ChunkStrategy;
use audiorag_core::{MediaTime, Result, Secret};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Reads settings one by one and collects everything that is wrong.
pub(super) struct Reader<'a> {
    pub(super) sources: &'a Sources,
    pub(super) values: BTreeMap<Key, Written>,
    pub(super) entries: Vec<Entry>,
    pub(super) violations: Vec<Violation>,
    pub(super) warnings: Vec<String>,
}

impl Reader<'_> {
    pub(super) fn data(&self, name: &str) -> Option<PathBuf> {
        self.sources
            .directories
            .data
            .as_ref()
            .map(|data| data.join("audiorag").join(name))
    }

    pub(super) fn cache(&self, name: &str) -> Option<PathBuf> {
        self.sources
            .directories
            .cache
            .as_ref()
            .map(|cache| cache.join("audiorag").join(name))
    }

    pub(super) fn record(&mut self, key: Key, value: Option<String>, origin: Origin) {
        self.entries.push(Entry { key, value, origin });
    }

    /// The written value, checked not to be empty.
    pub(super) fn take(&mut self, key: Key) -> Option<Written> {
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

    pub(super) fn contradiction(&mut self, key: Key, relation: &str, other: Key) {
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
    pub(super) fn parsed<T>(
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

    pub(super) fn flag(&mut self, key: Key, fallback: bool) -> bool {
        self.parsed(key, kind::flag, bool::to_string, fallback)
    }

    pub(super) fn word<T: Word>(&mut self, key: Key, parse: fn(&str) -> Option<T>, fallback: T) -> T {
        self.parsed(key, parse, |word| word.word().to_owned(), fallback)
    }

    pub(super) fn integer(&mut self, key: Key, fallback: u64) -> u64 {
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

    pub(super) fn number(&mut self, key: Key, fallback: f64) -> f64 {
        let (min, max) = match key.spec().kind {
            Kind::Number { min, max } | Kind::Seconds { min, max } => (min, max),
            _ => (f64::MIN, f64::MAX),
        };
        self.parsed(key, |text| kind::number(text, min, max), f64::to_string, fallback)
    }

    pub(super) fn duration(&mut self, key: Key) -> Duration {
        Duration::from_secs_f64(self.number(key, 0.0).max(0.0))
    }

    pub(super) fn age(&mut self, key: Key) -> Duration {
        self.parsed(
            key,
            kind::age,
            |age| kind::show_age(*age),
            Duration::from_hours(30 * 24),
        )
    }

    pub(super) fn media_time(&mut self, key: Key, fallback: f64) -> MediaTime {
        let fallback = (fallback * 1000.0).round() / 1000.0;
        MediaTime::from_seconds_f64(self.number(key, fallback)).unwrap_or_default()
    }

    pub(super) fn url(&mut self, key: Key) -> String {
        self.parsed(key, kind::url, |url| kind::without_password(url), String::new())
    }

    pub(super) fn optional_url(&mut self, key: Key) -> Option<String> {
        if !self.values.contains_key(&key) {
            self.record(key, None, Origin::Default);
            return None;
        }
        Some(self.url(key))
    }

    pub(super) fn optional(&mut self, key: Key) -> Option<String> {
        let text = self
            .text(key)
            .map(|written| (written.text.trim().to_owned(), written.origin));
        let (value, origin) = text.map_or((None, Origin::Default), |(text, origin)| (Some(text), origin));
        self.record(key, value.clone(), origin);
        value
    }

    pub(super) fn secret(&mut self, key: Key) -> Option<Secret> {
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

    pub(super) fn provider(&mut self, key: Key) -> String {
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

    /// The model for a role. One that its vendor will switch off is a warning.
    pub(super) fn model(&mut self, key: Key, provider_key: Key, provider: &str) -> String {
        let (models, closed) = match provider_key.spec().kind {
            Kind::Provider(role) => role.models(provider),
            _ => (&[][..], false),
        };
        let spec = key.spec();
        let model = if let Some(written) = self.text(key) {
            let model = written.text.trim().to_owned();
            if closed && !models.iter().any(|known| known.id == model) {
                let known: Vec<&str> = models.iter().map(|known| known.id).collect();
                let problem = format!("is not a model of provider '{provider}'");
                self.reject(
                    &spec,
                    &written,
                    &problem,
                    format!("expected one of {}", known.join(", ")),
                );
            }
            self.record(key, Some(model.clone()), written.origin);
            model
        } else {
            let model = models.first().map_or("", |model| model.id).to_owned();
            let shown = Some(model.clone()).filter(|model| !model.is_empty());
            self.record(key, shown, Origin::Default);
            model
        };
        let retires = models
            .iter()
            .find(|known| known.id == model)
            .and_then(|known| known.retires);
        if let Some(day) = retires {
            let lasting: Vec<&str> = models
                .iter()
                .filter(|known| known.retires.is_none())
                .map(|known| known.id)
                .collect();
            self.warnings.push(format!(
                "{} = '{model}' is switched off by {provider} on {day}; without an announced end: {}",
                spec.path,
                lasting.join(", ")
            ));
        }
        model
    }

    /// A whole number that may be unset.
    pub(super) fn optional_integer(&mut self, key: Key) -> Option<u64> {
        if !self.values.contains_key(&key) {
            self.record(key, None, Origin::Default);
            return None;
        }
        Some(self.integer(key, 0))
    }

    /// The settings of every vendor in this build.
    pub(super) fn vendors(&mut self) -> VendorSettings {
        let mut vendors = VendorSettings::default();
        for vendor_key in VendorKey::all() {
            let key = Key::Vendor(vendor_key);
            let spec = key.spec();
            let is_unset = !self.values.contains_key(&key) && spec.fallback.text().is_none();
            let value = match spec.kind {
                Kind::Secret => {
                    if let Some(secret) = self.secret(key) {
                        vendors.secrets.insert(vendor_key.path(), secret);
                    }
                    continue;
                }
                _ if is_unset => {
                    self.record(key, None, Origin::Default);
                    continue;
                }
                Kind::Url => self.url(key),
                Kind::Flag => self.flag(key, false).to_string(),
                Kind::Integer { min, .. } => self.integer(key, min).to_string(),
                Kind::Choice(words) => {
                    let find = |text: &str| words.iter().find(|word| word.eq_ignore_ascii_case(text));
                    let first = words.first().copied().unwrap_or_default();
                    self.parsed(
                        key,
                        |text| find(text).map(|word| (*word).to_owned()),
                        String::clone,
                        first.to_owned(),
                    )
                }
                _ => self.optional(key).unwrap_or_default(),
            };
            vendors.values.insert(vendor_key.path(), value);
        }
        vendors
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
    pub(super) fn path(&mut self, key: Key, fallback: Option<PathBuf>) -> PathBuf {
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
    pub(super) fn file(&mut self, key: Key) -> Option<PathBuf> {
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

    pub(super) fn database(&mut self) -> PathBuf {
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
pub(super) trait Word {
    fn word(&self) -> &'static str;
}

macro_rules! word {
    ($($name:ident),+) => { $(impl Word for $name { fn word(&self) -> &'static str { self.as_str() } })+ };
}
word!(
    BudgetPolicy,
    ChunkStrategy,
    ModelRoute,
    PullConsent,
    TranscriptMode,
    VectorIdFormat,
    VerifyMode,
    LogLevel,
    LogFormat
);
