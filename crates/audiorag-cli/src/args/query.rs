//! What is asked of the recordings.

use super::Question;
use audiorag::settings::Key;
use clap::{Args, Subcommand};
use std::collections::BTreeMap;

#[derive(Args, Debug)]
pub(crate) struct Query {
    #[command(flatten)]
    pub(crate) question: Question,
    /// Show the answer while it is written; with --json, one object a line, the last one the whole reply
    #[arg(long)]
    pub(crate) stream: bool,
    /// Who writes the answer: none, extractive, or a vendor, also as VENDOR/MODEL
    #[arg(long, value_name = "WHO")]
    pub(crate) generator: Option<String>,
    /// Ask within this conversation, which is kept: a follow-up may refer to what was asked before
    #[arg(long, value_name = "NAME")]
    pub(crate) thread: Option<String>,
}

#[derive(Args, Debug)]
pub(crate) struct Summarize {
    /// An id, the start of one, a path or a URL
    pub(crate) source: String,
    /// Who writes: extractive, or a vendor, also as VENDOR/MODEL
    #[arg(long, value_name = "WHO")]
    pub(crate) generator: Option<String>,
    /// Let the generator write in this language, such as de; left out, in that of the recording
    #[arg(long, value_name = "TAG")]
    pub(crate) language: Option<String>,
}

impl Summarize {
    /// The settings that flags give.
    pub(crate) fn settings(&self) -> BTreeMap<Key, String> {
        self.generator
            .as_deref()
            .into_iter()
            .flat_map(generator)
            .collect()
    }
}

impl Query {
    /// The settings that flags give.
    pub(crate) fn settings(&self) -> BTreeMap<Key, String> {
        let mut flags = self.question.settings();
        flags.extend(self.generator.as_deref().into_iter().flat_map(generator));
        flags
    }
}

/// The settings that `--generator` stands for.
fn generator(who: &str) -> Vec<(Key, String)> {
    let (vendor, model) = match who.split_once('/') {
        Some((vendor, model)) => (vendor, Some(model)),
        None => (who, None),
    };
    let model = model.map(|model| (Key::GenerationModel, model.to_owned()));
    let vendor = (Key::GenerationProvider, vendor.to_owned());
    std::iter::once(vendor).chain(model).collect()
}

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum Threads {
    /// List the conversations
    List,
    /// Show what was asked and answered in one
    Show {
        /// The name
        name: String,
    },
    /// Forget conversations
    Delete {
        /// The names
        #[arg(required = true, value_name = "NAME")]
        names: Vec<String>,
    },
}
