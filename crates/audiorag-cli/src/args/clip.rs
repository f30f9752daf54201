//! Pieces of recordings.

use clap::Args;
use std::path::PathBuf;

#[derive(Args, Debug)]
#[command(
    override_usage = "audiorag clip [OPTIONS] -o <FILE> <SOURCE@START-END | SOURCE START END | --thread <NAME> MARKER>"
)]
pub(crate) struct Clip {
    /// SOURCE@START-END, or a source with a start and an end such as 1:02.5, or with --thread the number of a citation
    #[arg(required = true, num_args = 1..=3, value_name = "WHAT")]
    pub(crate) what: Vec<String>,
    /// The file: .wav (mono, 16 kHz), or .mp3 or .m4a by ffmpeg
    #[arg(long, short, value_name = "FILE")]
    pub(crate) output: PathBuf,
    /// Take a citation of the last answer of this conversation
    #[arg(long, value_name = "NAME")]
    pub(crate) thread: Option<String>,
    /// Replace the file if it exists
    #[arg(long)]
    pub(crate) force: bool,
}
