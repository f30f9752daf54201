//! The facade against scripted providers: what is called how often, and what is left behind.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on should stop where it is"
)]

mod answers;
mod faults;
mod indexing;
mod repair;
mod support;
