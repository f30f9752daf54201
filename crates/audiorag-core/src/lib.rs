//! The pure domain of AudioRAG.
//!
//! Nothing here performs input or output: no files, no network, no database, no async runtime. Times are
//! integer milliseconds ([`MediaTime`], [`Span`]), identifiers are content addresses ([`id`]), failures are one
//! [`Error`] with a [`ErrorKind`], and everything that can be exchanged for a vendor is one of the five traits
//! in [`capability`].

pub mod align;
pub mod budget;
pub mod capability;
pub mod chunking;
pub mod cite;
pub mod error;
pub mod fusion;
pub mod id;
pub mod language;
pub mod locator;
pub mod model;
pub mod money;
pub mod numbers;
pub mod prompt;
pub mod quality;
pub mod retry;
pub mod samples;
pub mod secret;
pub mod speaker;
pub mod time;
pub mod transcript;

pub use error::{Attempts, Error, ErrorKind, Result, Stage};
pub use locator::Locator;
pub use money::Money;
pub use secret::Secret;
pub use time::{MediaTime, Span};
