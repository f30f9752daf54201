//! ONNX Runtime: one shared library and one environment for the whole process.
//!
//! The library is opened at run time from an explicit path (`ort` with `load-dynamic`, C API version 23, that
//! is ONNX Runtime 1.23 or newer). Both the library and the environment are process-wide in ONNX Runtime
//! itself, so the first path that loads is the one that counts.

use super::{VENDOR, weights};
use audiorag_core::{Error, Result};
use ort::environment::Environment;
use ort::session::builder::{GraphOptimizationLevel, SessionBuilder};
use ort::session::{
    InMemorySession, NoSelectedOutputs, RunOptions, Session, SessionInputValue, SessionOutputs,
};
use std::borrow::Cow;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// The library that was loaded, and the environment made from it. Never dropped: ONNX Runtime does not
/// support a second environment after the first.
static LOADED: Mutex<Option<Loaded>> = Mutex::new(None);

struct Loaded {
    library: PathBuf,
    environment: Environment,
}

/// How a session is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SessionOptions {
    /// Threads inside one operation.
    pub(crate) threads: usize,
    /// Whether the graph is optimised while it loads: slower to load, faster to run.
    pub(crate) optimise: bool,
}

/// A session that may share its weights with other copies of the model.
pub(crate) enum ModelCopy {
    /// With weights of its own.
    Own(Session),
    /// With weights in bytes that other copies use as well.
    Sharing(InMemorySession<'static>),
}

impl ModelCopy {
    /// Runs the model once.
    pub(crate) fn run<'run>(
        &'run mut self,
        inputs: Vec<(Cow<'_, str>, SessionInputValue<'_>)>,
        options: &'run RunOptions<NoSelectedOutputs>,
    ) -> Result<SessionOutputs<'run>, ort::Error> {
        match self {
            Self::Own(session) => session.run_with_options(inputs, options),
            Self::Sharing(session) => session.run_with_options(inputs, options),
        }
    }
}

impl Deref for ModelCopy {
    type Target = Session;

    fn deref(&self) -> &Session {
        match self {
            Self::Own(session) => session,
            Self::Sharing(session) => session,
        }
    }
}

/// A handle on ONNX Runtime, which is loaded at the first use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Runtime {
    library: PathBuf,
}

impl Runtime {
    /// The runtime in the shared library at `library`. Nothing is opened yet.
    pub fn new(library: impl Into<PathBuf>) -> Self {
        Self {
            library: library.into(),
        }
    }

    /// Where the library is.
    pub fn library(&self) -> &Path {
        &self.library
    }

    /// Opens the library, unless it is open already.
    ///
    /// # Errors
    /// [`Config`](audiorag_core::ErrorKind::Config) when the file is missing, is no ONNX Runtime library, is
    /// older than 1.23, or when another library was loaded before.
    pub fn load(&self) -> Result<()> {
        self.environment().map(|_| ())
    }

    /// Version and build of the loaded library.
    pub fn describe(&self) -> Result<String> {
        self.load()?;
        Ok(ort::info().to_owned())
    }

    fn environment(&self) -> Result<Environment> {
        let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(loaded) = loaded.as_ref() {
            if loaded.library == self.library {
                return Ok(loaded.environment.clone());
            }
            return Err(Error::config(format!(
                "ONNX Runtime is already loaded from {}, so it cannot be loaded from {}",
                loaded.library.display(),
                self.library.display()
            ))
            .with_hint("use one ONNX Runtime library in a process")
            .with_provider(VENDOR));
        }
        let unusable = |reason: String| {
            Error::config(format!(
                "the ONNX Runtime library {} cannot be used: {reason}",
                self.library.display()
            ))
            .with_hint(
                "run `audiorag models pull`, or name the library of an ONNX Runtime 1.23 or newer for this \
                     machine",
            )
            .with_provider(VENDOR)
        };
        if !self.library.is_file() {
            return Err(unusable("there is no such file".to_owned()));
        }
        let environment = ort::init_from(&self.library)
            .map_err(|error| unusable(error.to_string()))?
            .with_name("audiorag")
            .with_telemetry(false)
            .build()
            .map_err(|error| unusable(error.to_string()))?;
        *loaded = Some(Loaded {
            library: self.library.clone(),
            environment: environment.clone(),
        });
        Ok(environment)
    }

    /// Loads the model at `path`.
    pub(crate) fn session(&self, path: &Path, options: SessionOptions) -> Result<Session> {
        let mut builder = self.builder(path, options)?;
        builder
            .commit_from_file(path)
            .map_err(|error| not_loaded(path, &error.to_string()))
    }

    /// Loads the model at `path` as one of several copies, which share their weights where the format allows it.
    pub(crate) fn copy(&self, path: &Path, options: SessionOptions) -> Result<ModelCopy> {
        if path.extension().is_none_or(|extension| extension != "ort") {
            return self.session(path, options).map(ModelCopy::Own);
        }
        let mut builder = self.builder(path, options)?;
        let bytes = weights::of(path).map_err(|error| not_loaded(path, &error.to_string()))?;
        builder
            .commit_from_memory_directly(bytes)
            .map(ModelCopy::Sharing)
            .map_err(|error| not_loaded(path, &error.to_string()))
    }

    fn builder(&self, path: &Path, options: SessionOptions) -> Result<SessionBuilder> {
        let environment = self.environment()?;
        if !path.is_file() {
            return Err(not_loaded(path, "there is no such file"));
        }
        let level = if options.optimise {
            GraphOptimizationLevel::All
        } else {
            GraphOptimizationLevel::Disable
        };
        // The errors of the builder carry the builder, which is not `Send`: only their text goes on.
        let builder = Session::builder(&environment).map_err(|error| not_loaded(path, &error.to_string()))?;
        // Idle threads that spin cost more than they gain where several sessions share the cores.
        let builder = builder
            .with_intra_threads(options.threads.max(1))
            .map_err(|error| not_loaded(path, &error.to_string()))?;
        let builder = builder
            .with_intra_op_spinning(false)
            .map_err(|error| not_loaded(path, &error.to_string()))?;
        builder
            .with_optimization_level(level)
            .map_err(|error| not_loaded(path, &error.to_string()))
    }
}

fn not_loaded(path: &Path, reason: &str) -> Error {
    Error::config(format!("the model {} cannot be loaded: {reason}", path.display()))
        .with_hint("run `audiorag models verify`, then `audiorag models pull`")
        .with_provider(VENDOR)
}

/// Options for runs whose inputs come in many lengths.
///
/// ONNX Runtime's arena keeps what it ever took, and each new length fits badly into what is there, so that memory
/// would grow with the number of lengths seen: with the length of a recording. These options give back what a run
/// leaves unused. They cost a few allocations in each run, so they suit long runs, not the steps of a decoder.
pub(crate) fn run_and_release() -> Result<RunOptions<NoSelectedOutputs>, ort::Error> {
    let mut options = RunOptions::new()?;
    options.set("memory.enable_memory_arena_shrinkage", "cpu:0")?;
    Ok(options)
}

/// The text of an error of ONNX Runtime during a run.
pub(crate) fn run_error(model: &str, error: &ort::Error) -> Error {
    Error::internal(format!("{model} failed to run: {error}")).with_provider(VENDOR)
}

#[cfg(test)]
mod tests {
    use super::*;
    use audiorag_core::ErrorKind;

    #[test]
    fn a_missing_library_names_the_file_and_the_command() {
        let runtime = Runtime::new("/nowhere/libonnxruntime.so");
        let error = runtime.load().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.message().contains("/nowhere/libonnxruntime.so"), "{error}");
        assert!(error.hint().unwrap().contains("audiorag models pull"));
    }

    #[test]
    fn a_file_that_is_no_library_is_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), b"not a library").unwrap();
        let error = Runtime::new(file.path()).load().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.message().contains("cannot be used"), "{error}");
    }
}
