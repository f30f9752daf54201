//! The verbs of the state, through its public interface. One program, so that the database is linked once.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failure in a helper is a failed test"
)]

mod check;
mod common;
mod concurrency;
mod journal;
mod lexical;
mod opening;
mod ownership;
mod rebuild;
mod released;
mod revisions;
mod sources;
mod vectors;
