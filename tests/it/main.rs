//! The program as a user meets it: real processes, real models, real files.
//!
//! `cargo xtask test` builds the program, fetches the models and names them in `AUDIORAG_TEST_MODELS`.

#![cfg(unix)]
#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "helpers of tests fail the test that calls them"
)]

mod bad_input;
mod commands;
mod crash;
mod database;
mod hostile;
mod inputs;
mod interrupt;
mod logs;
mod main_job;
mod peer;
mod quality;
mod recordings;
mod rerun;
mod sandbox;
mod settings;
mod shared;
mod signals;
mod snapshots;
mod vendors;
