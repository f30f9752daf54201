//! The facade against scripted providers: what is called how often, and what is left behind.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should stop where it is"
)]

mod answers;
mod bad_questions;
mod drift;
mod ending;
mod faults;
mod generations;
mod given;
mod indexing;
mod model;
mod reindexing;
mod repair;
mod replaced;
mod retrieval;
mod speakers;
mod spending;
mod strays;
mod support;
mod voices;
#[cfg(feature = "web")]
mod web;
