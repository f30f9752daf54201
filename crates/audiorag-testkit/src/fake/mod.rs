//! Implementations of the capability traits that behave, count and fail on request.
//!
//! Each passes its own contract suite. Failures, delays and counts come from a [`Script`] that every fake
//! exposes as `script()`.

mod embedder;
mod generator;
mod reranker;
mod script;
mod transcriber;
mod vector_store;

pub use embedder::HashEmbedder;
pub use generator::FakeGenerator;
pub use reranker::FakeReranker;
pub use script::Script;
pub use transcriber::FakeTranscriber;
pub use vector_store::{MemoryVectorStore, passes};

use audiorag_core::Error;
use audiorag_core::capability::{Health, ProviderInfo};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The identity of a fake: vendor `fake`.
fn info(model: &str) -> ProviderInfo {
    ProviderInfo {
        vendor: "fake".to_owned(),
        model: model.to_owned(),
        version: 1,
    }
}

/// Healthy unless the script says that calls fail now.
fn health(script: &Script) -> Health {
    let outcome = match script.outage() {
        None => Ok("a fake in this process".to_owned()),
        Some(kind) => Err(Error::new(kind, format!("scripted to fail: {kind}"))),
    };
    Health::of(outcome, Duration::ZERO)
}

/// The lock's content, also after a panic elsewhere: a failed test must not hide behind a poisoned lock.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
