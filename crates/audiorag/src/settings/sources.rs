//! Where values come from: flags, the environment, `.env`, and the two files.

use super::Origin;
use super::key::{Fallback, Key};
use audiorag_core::{Error, Result};
use audiorag_providers::vendors;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::io::ErrorKind as IoErrorKind;
use std::path::{Path, PathBuf};

/// The project file's name.
pub const PROJECT_FILE: &str = "audiorag.toml";

/// The `.env` file's name.
const ENV_FILE: &str = ".env";

/// The platform's directories. Absent ones have no default, and settings that need them must be given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Directories {
    /// The user's home, for `~`.
    pub home: Option<PathBuf>,
    /// Settings, such as `~/.config`.
    pub config: Option<PathBuf>,
    /// What must be kept, such as `~/.local/share`.
    pub data: Option<PathBuf>,
    /// What can be made again, such as `~/.cache`.
    pub cache: Option<PathBuf>,
}

/// Everything that settings are resolved from. Resolving reads the files named here and nothing else of the
/// process.
#[derive(Clone, Default)]
pub struct Sources {
    /// Values from the command line, which win over all others.
    pub flags: BTreeMap<Key, String>,
    /// The environment.
    pub env: BTreeMap<String, String>,
    /// Names of environment variables whose values are not Unicode.
    pub undecodable: BTreeSet<String>,
    /// Stands in for the project file found by walking up.
    pub config_file: Option<PathBuf>,
    /// Where walking up starts, and what relative paths of flags and the environment are relative to.
    pub cwd: PathBuf,
    /// The last directory looked into when walking up; without it, the root.
    pub ceiling: Option<PathBuf>,
    /// The platform's directories.
    pub directories: Directories,
    /// Processor cores that may be used.
    pub cores: usize,
}

impl Sources {
    /// The environment, current directory and platform directories of this process.
    ///
    /// # Errors
    /// [`State`](audiorag_core::ErrorKind::State) when the current directory does not exist any more.
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that reads the environment"
    )]
    pub fn from_process() -> Result<Self> {
        let mut env = BTreeMap::new();
        let mut undecodable = BTreeSet::new();
        for (name, value) in std::env::vars_os() {
            let Ok(name) = name.into_string() else { continue };
            match value.into_string() {
                Ok(value) => _ = env.insert(name, value),
                Err(_) => _ = undecodable.insert(name),
            }
        }
        let cwd = std::env::current_dir().map_err(|error| {
            Error::state("the current directory cannot be used")
                .with_cause(error)
                .with_hint("change to a directory that exists")
        })?;
        Ok(Self {
            env,
            undecodable,
            cwd,
            directories: Directories {
                home: dirs::home_dir(),
                config: dirs::config_dir(),
                data: dirs::data_local_dir(),
                cache: dirs::cache_dir(),
            },
            cores: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            ..Self::default()
        })
    }

    /// Sources that know nothing of this machine: no flags, an empty environment, and every directory inside
    /// `root`. For programs that set everything themselves, and for tests.
    pub fn isolated(root: &Path) -> Self {
        Self {
            cwd: root.to_path_buf(),
            ceiling: Some(root.to_path_buf()),
            directories: Directories {
                home: Some(root.join("home")),
                config: Some(root.join("config")),
                data: Some(root.join("data")),
                cache: Some(root.join("cache")),
            },
            cores: 2,
            ..Self::default()
        }
    }

    /// Sets `key` as the command line would.
    pub fn with(mut self, key: Key, value: impl Into<String>) -> Self {
        self.flags.insert(key, value.into());
        self
    }

    /// Sets an environment variable.
    pub fn with_env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.env.insert(name.into(), value.into());
        self
    }

    /// The user's own settings file, whether it exists or not.
    pub fn user_file(&self) -> Option<PathBuf> {
        self.directories
            .config
            .as_ref()
            .map(|config| config.join("audiorag").join("config.toml"))
    }

    /// The project's settings file: the one named, else the nearest one walking up.
    pub fn project_file(&self) -> Option<PathBuf> {
        match &self.config_file {
            Some(file) => Some(self.cwd.join(file)),
            None => self.nearest(PROJECT_FILE),
        }
    }

    /// The nearest regular file of this name, walking up. A directory of that name does not count: Python
    /// environments are often called `.env`.
    fn nearest(&self, name: &str) -> Option<PathBuf> {
        for directory in self.cwd.ancestors() {
            let file = directory.join(name);
            if file.is_file() {
                return Some(file);
            }
            if self.ceiling.as_deref() == Some(directory) {
                break;
            }
        }
        None
    }
}

/// Values of the environment stay out: some of them are secrets.
impl fmt::Debug for Sources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sources")
            .field("flags", &self.flags.keys())
            .field("env", &self.env.keys())
            .field("config_file", &self.config_file)
            .field("cwd", &self.cwd)
            .field("directories", &self.directories)
            .field("cores", &self.cores)
            .finish_non_exhaustive()
    }
}

/// A value as it was written.
#[derive(Clone, Debug)]
pub(super) struct Written {
    pub(super) text: String,
    pub(super) origin: Origin,
    /// What a relative path is relative to.
    pub(super) base: PathBuf,
}

/// One problem with what was written, without any value that could be a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Violation {
    pub(super) what: String,
    pub(super) remedy: String,
}

/// The values of all sources, strongest first wins, and what is wrong with the sources themselves.
#[derive(Debug, Default)]
pub(super) struct Layers {
    pub(super) values: BTreeMap<Key, Written>,
    pub(super) violations: Vec<Violation>,
    pub(super) warnings: Vec<String>,
    pub(super) files: Vec<PathBuf>,
}

impl Layers {
    /// Reads every source.
    pub(super) fn read(sources: &Sources) -> Self {
        let mut layers = Self::default();
        for (key, value) in &sources.flags {
            layers.offer(*key, value.clone(), Origin::CommandLine, &sources.cwd);
        }
        layers.read_env(&sources.env, &sources.cwd, Origin::Environment);
        layers.report_undecodable(&sources.undecodable);
        layers.read_env_file(sources);
        if let Some(file) = sources.project_file() {
            layers.read_file(&file, sources.config_file.is_some(), Origin::ProjectFile);
        }
        if let Some(file) = sources.user_file() {
            layers.read_file(&file, false, Origin::UserFile);
        }
        layers
    }

    /// Takes a value unless a stronger source gave one.
    fn offer(&mut self, key: Key, text: String, origin: Origin, base: &Path) {
        self.values.entry(key).or_insert_with(|| Written {
            text,
            origin,
            base: base.to_path_buf(),
        });
    }

    fn read_env(&mut self, env: &BTreeMap<String, String>, base: &Path, origin: impl Fn(String) -> Origin) {
        for key in Key::all() {
            let spec = key.spec();
            for name in spec.env_names() {
                match env.get(&name) {
                    None => {}
                    // Other programs' names are often exported empty; an empty name of ours is a mistake that
                    // is reported with the value.
                    Some(value) if value.trim().is_empty() && spec.aliases.contains(&name.as_str()) => {}
                    Some(value) => {
                        self.offer(key, value.clone(), origin(name), base);
                        break;
                    }
                }
            }
        }
        self.warn_of_unknown(env.keys());
    }

    fn report_undecodable(&mut self, names: &BTreeSet<String>) {
        let known = known_names();
        for name in names.iter().filter(|name| known.contains(*name)) {
            self.violations.push(Violation {
                what: format!("the value of {name} is not Unicode text"),
                remedy: format!("correct or unset {name}"),
            });
        }
    }

    fn warn_of_unknown<'a>(&mut self, names: impl Iterator<Item = &'a String>) {
        let known = known_names();
        for name in names {
            if !name.starts_with("AUDIORAG_") || known.contains(name) || RESERVED.contains(&name.as_str()) {
                continue;
            }
            if is_of_absent_vendor(name) {
                continue;
            }
            // The Python AudioRAG had a second spelling of most names.
            let plain = name.replacen("AUDIORAG_ADVANCED_", "AUDIORAG_", 1);
            let suggestion = nearest(&plain, known.iter().map(String::as_str))
                .map(|near| format!(", did you mean {near}?"))
                .unwrap_or_default();
            let warning = format!("{name} is not a setting and is ignored{suggestion}");
            if !self.warnings.contains(&warning) {
                self.warnings.push(warning);
            }
        }
    }

    fn read_env_file(&mut self, sources: &Sources) {
        let named = self
            .values
            .get(&Key::EnvFile)
            .filter(|written| !written.text.trim().is_empty());
        let (file, is_named) = match named {
            Some(written) => (written.base.join(written.text.trim()), true),
            None => match sources.nearest(ENV_FILE) {
                Some(file) => (file, false),
                None => return,
            },
        };
        let text = match fs::read_to_string(&file) {
            Ok(text) => text,
            Err(error) => {
                let what = format!("{} cannot be read: {}", file.display(), reason(&error));
                if is_named {
                    let remedy = "correct or unset AUDIORAG_ENV_FILE".to_owned();
                    self.violations.push(Violation { what, remedy });
                } else {
                    self.warnings.push(what);
                }
                return;
            }
        };
        let mut env = BTreeMap::new();
        for entry in dotenvy::from_read_iter(text.trim_start_matches('\u{feff}').as_bytes()) {
            match entry {
                Ok((name, value)) => _ = env.entry(name).or_insert(value),
                Err(error) => {
                    let line = bad_line(&text, &error);
                    let what = format!("{}{line} is not NAME=value", file.display());
                    if is_named {
                        let remedy = "put values with spaces or special characters in quotes".to_owned();
                        self.violations.push(Violation { what, remedy });
                    } else {
                        self.warnings.push(what);
                    }
                }
            }
        }
        // A file cannot name the file that is read in its place.
        env.remove(&Key::EnvFile.spec().env_name());
        let base = file.parent().unwrap_or(&sources.cwd).to_path_buf();
        self.files.push(file.clone());
        self.read_env(&env, &base, |name| Origin::EnvFile(name, file.clone()));
    }

    fn read_file(&mut self, file: &Path, is_named: bool, origin: impl Fn(PathBuf) -> Origin) {
        let text = match fs::read_to_string(file) {
            Ok(text) => text,
            Err(error) if error.kind() == IoErrorKind::NotFound && !is_named => return,
            Err(error) => {
                self.violations.push(Violation {
                    what: format!("{} cannot be read: {}", file.display(), reason(&error)),
                    remedy: "correct the path or the file's permissions".to_owned(),
                });
                return;
            }
        };
        self.files.push(file.to_path_buf());
        let table: toml::Table = match text.parse() {
            Ok(table) => table,
            Err(error) => {
                // The parser's own report quotes the line, which can hold a secret.
                let line = error.span().map_or(0, |span| line_of(&text, span.start));
                self.violations.push(Violation {
                    what: format!("{} line {line} is not TOML", file.display()),
                    remedy: "write name = \"value\", with tables as [name]".to_owned(),
                });
                return;
            }
        };
        let base = file.parent().unwrap_or(Path::new("/")).to_path_buf();
        self.read_table(&table, "", file, &base, &origin);
    }

    fn read_table(
        &mut self,
        table: &toml::Table,
        prefix: &str,
        file: &Path,
        base: &Path,
        origin: &impl Fn(PathBuf) -> Origin,
    ) {
        for (name, value) in table {
            let path = if prefix.is_empty() {
                name.clone()
            } else {
                format!("{prefix}.{name}")
            };
            let inside = format!("{path}.");
            let is_group = Key::all().any(|key| key.spec().path.starts_with(&inside));
            match (Key::from_path(&path), value) {
                (None, toml::Value::Table(_)) if prefix.is_empty() && is_absent_vendor(name) => {}
                (None, toml::Value::Table(table)) if is_group => {
                    self.read_table(table, &path, file, base, origin);
                }
                (None, _) => {
                    let remedy = if is_group {
                        format!("make it a table: [{path}]")
                    } else {
                        nearest(&path, Key::all().map(|key| key.spec().path))
                            .map_or_else(|| "remove it".to_owned(), |near| format!("did you mean {near}?"))
                    };
                    let what = if is_group {
                        format!(
                            "{path} in {} is not a value but a group of settings",
                            file.display()
                        )
                    } else {
                        format!("{path} in {} is not a setting", file.display())
                    };
                    self.violations.push(Violation { what, remedy });
                }
                (Some(Key::EnvFile), _) => self.violations.push(Violation {
                    what: format!("env_file cannot be set in {}", file.display()),
                    remedy: "set AUDIORAG_ENV_FILE in the environment".to_owned(),
                }),
                (Some(key), value) => match scalar(value) {
                    Some(text) => self.offer(key, text, origin(file.to_path_buf()), base),
                    None => self.violations.push(Violation {
                        what: format!("{path} in {} is not a single value", file.display()),
                        remedy: format!("expected {}", key.spec().kind.describe()),
                    }),
                },
            }
        }
    }
}

/// Names that start with `AUDIORAG_` and are read elsewhere.
const RESERVED: &[&str] = &["AUDIORAG_LIVE"];

/// Whether a name belongs to a vendor that this build leaves out: it is right, only not here.
fn is_of_absent_vendor(name: &str) -> bool {
    vendors::KNOWN.iter().any(|(id, _)| {
        is_absent_vendor(id) && name.starts_with(&format!("AUDIORAG_{}_", id.to_ascii_uppercase()))
    })
}

/// Whether a vendor exists that this build leaves out.
fn is_absent_vendor(id: &str) -> bool {
    vendors::find(id).is_none() && vendors::KNOWN.iter().any(|(known, _)| *known == id)
}

fn known_names() -> BTreeSet<String> {
    Key::all().flat_map(|key| key.spec().env_names()).collect()
}

/// The most similar of `candidates`, if it is similar at all.
fn nearest<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    // The prefix that all environment names share says nothing about similarity.
    let bare = |name: &'a str| name.strip_prefix("AUDIORAG_").unwrap_or(name);
    let name = name.strip_prefix("AUDIORAG_").unwrap_or(name);
    candidates
        .map(|candidate| {
            (
                strsim::normalized_damerau_levenshtein(name, bare(candidate)),
                candidate,
            )
        })
        .filter(|(similarity, _)| *similarity >= 0.6)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}

fn scalar(value: &toml::Value) -> Option<String> {
    match value {
        toml::Value::String(text) => Some(text.clone()),
        toml::Value::Integer(number) => Some(number.to_string()),
        toml::Value::Float(number) => Some(number.to_string()),
        toml::Value::Boolean(flag) => Some(flag.to_string()),
        toml::Value::Datetime(_) | toml::Value::Array(_) | toml::Value::Table(_) => None,
    }
}

fn line_of(text: &str, offset: usize) -> usize {
    text.as_bytes()
        .iter()
        .take(offset)
        .filter(|byte| **byte == b'\n')
        .count()
        + 1
}

/// ` line N` of the line that cannot be read. The line itself can hold a secret.
fn bad_line(text: &str, error: &dotenvy::Error) -> String {
    match error {
        dotenvy::Error::LineParse(line, _) => text
            .find(line.as_str())
            .map(|at| format!(" line {}", line_of(text, at)))
            .unwrap_or_default(),
        _ => String::new(),
    }
}

/// Why a file cannot be read, without its name.
fn reason(error: &std::io::Error) -> String {
    match error.kind() {
        IoErrorKind::NotFound => "it does not exist".to_owned(),
        IoErrorKind::PermissionDenied => "permission denied".to_owned(),
        IoErrorKind::InvalidData => "it is not UTF-8 text".to_owned(),
        IoErrorKind::IsADirectory => "it is a directory".to_owned(),
        _ => error.to_string(),
    }
}

impl Fallback {
    /// The text of a plain default.
    pub(super) const fn text(self) -> Option<&'static str> {
        match self {
            Self::Value(text) => Some(text),
            Self::Computed(_) | Self::Unset(_) => None,
        }
    }
}
