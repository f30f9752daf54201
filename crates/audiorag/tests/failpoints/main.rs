//! An index run that fails, panics or is killed at every step it takes, and what the next run makes of it.
//!
//! Needs the feature `failpoints`. Whatever is broken on purpose is broken in a child process, which is this test
//! program again: an armed failpoint is armed for its whole process.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should stop where it is"
)]

mod case;
mod check;
mod persistent;
mod sweep;
