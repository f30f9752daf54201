//! Models that run inside the process, on ONNX Runtime: Moonshine for speech-to-text, MiniLM for embeddings.
//!
//! Nothing is loaded when a provider is built: the library and the models are read at the first call, so that
//! a command that needs neither pays for neither. [`models`] fetches and checks the files.

pub mod minilm;
pub mod models;
pub mod moonshine;
pub mod runtime;
mod weights;

pub use minilm::{MiniLmEmbedder, MiniLmFiles, MiniLmLoad};
pub use models::ModelStore;
pub use moonshine::{MoonshineFiles, MoonshineTranscriber};
pub use runtime::Runtime;

use audiorag_core::{Error, Result};

/// The vendor id of everything in this module.
pub const VENDOR: &str = "local";

/// Runs `work` on a thread that may block, and reports a panic in it as a defect.
async fn blocking<T: Send + 'static>(
    what: &'static str,
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(outcome) => outcome,
        Err(_) => Err(Error::internal(format!("{what} panicked or was stopped")).with_provider(VENDOR)),
    }
}
