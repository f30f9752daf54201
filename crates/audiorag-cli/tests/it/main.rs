//! The program on streams in memory and with providers that need no model.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod answers;
mod clip;
mod commands;
mod cost;
mod doctor;
mod help;
mod index;
mod query;
mod reindex;
mod settings;
mod setup;
mod speakers;
mod summarize;
mod threads;
mod watch;
mod world;
