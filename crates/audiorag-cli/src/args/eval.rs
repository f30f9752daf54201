//! Measuring the quality of answers.

use audiorag::settings::Key;
use clap::Args;
use std::collections::BTreeMap;
use std::path::PathBuf;

#[derive(Args, Clone, Debug)]
pub(crate) struct Eval {
    /// Questions with the spans that answer them, one JSON object a line
    #[arg(value_name = "FILE", required_unless_present = "compare")]
    pub(crate) questions: Option<PathBuf>,
    /// Also show these results of earlier runs, as --json wrote them
    #[arg(long, value_name = "FILE", num_args = 1..)]
    pub(crate) compare: Vec<PathBuf>,
    /// Count the words that were transcribed wrongly: a folder of text files named for their sources, or JSON lines
    #[arg(long, value_name = "PATH", requires = "questions")]
    pub(crate) references: Option<PathBuf>,
    /// Draw the runs side by side
    #[arg(long, value_name = "FILE")]
    pub(crate) svg: Option<PathBuf>,
    /// What this run is called; by default the name of the file
    #[arg(long, value_name = "NAME", requires = "questions")]
    pub(crate) label: Option<String>,
    /// Search by meaning only and cite whole passages, as the Python AudioRAG does
    #[arg(long, requires = "questions")]
    pub(crate) baseline: bool,
}

impl Eval {
    /// The settings that flags give.
    pub(crate) fn settings(&self) -> BTreeMap<Key, String> {
        if !self.baseline {
            return BTreeMap::new();
        }
        [
            (Key::RetrievalMode, "dense"),
            (Key::RetrievalNeighbours, "0"),
            (Key::RetrievalPerSource, "0"),
            (Key::RerankerProvider, "none"),
            (Key::GenerationProvider, "none"),
        ]
        .into_iter()
        .map(|(key, value)| (key, value.to_owned()))
        .collect()
    }
}
