//! Transcripts that come with recordings.

use audiorag::settings::{Key, TranscriptMode};
use clap::Args;
use std::path::PathBuf;

#[derive(Args, Debug)]
pub(crate) struct Given {
    /// Use transcripts beside recordings, as talk.srt beside talk.mp3: where there are any, never, or nothing else
    #[arg(long, value_name = "MODE", value_parser = clap::builder::PossibleValuesParser::new(TranscriptMode::NAMES))]
    pub(crate) transcript: Option<String>,
    /// The transcript of the recording, when there is only one: SRT, WebVTT, JSON or TSV
    #[arg(long, value_name = "FILE")]
    pub(crate) transcript_file: Option<PathBuf>,
}

impl Given {
    /// The settings that flags give.
    pub(crate) fn settings(&self) -> impl Iterator<Item = (Key, String)> + use<> {
        self.transcript
            .clone()
            .into_iter()
            .map(|mode| (Key::IndexTranscript, mode))
    }
}
