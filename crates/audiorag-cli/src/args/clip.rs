//! Pieces of recordings.

use clap::Args;
use std::path::PathBuf;

/// Which piece.
#[derive(Args, Debug)]
pub(crate) struct Piece {
    /// SOURCE@START-END, or a source with a start and an end such as 1:02.5, or with --thread the number of a citation
    #[arg(required = true, num_args = 1..=3, value_name = "WHAT")]
    pub(crate) what: Vec<String>,
    /// Take a citation of the last answer of this conversation
    #[arg(long, value_name = "NAME")]
    pub(crate) thread: Option<String>,
}

#[derive(Args, Debug)]
#[command(
    override_usage = "audiorag clip [OPTIONS] -o <FILE> <SOURCE@START-END | SOURCE START END | --thread <NAME> MARKER>"
)]
pub(crate) struct Clip {
    #[command(flatten)]
    pub(crate) piece: Piece,
    /// The file: .wav, or .mp3 or .m4a by ffmpeg; mono, 16 kHz
    #[arg(long, short, value_name = "FILE")]
    pub(crate) output: PathBuf,
    /// Replace the file if it exists
    #[arg(long)]
    pub(crate) force: bool,
}

#[derive(Args, Debug)]
#[command(
    override_usage = "audiorag play [OPTIONS] <SOURCE@START-END | SOURCE START END | --thread <NAME> MARKER>"
)]
pub(crate) struct Play {
    #[command(flatten)]
    pub(crate) piece: Piece,
    /// Play with this program, which is given a WAV file
    #[arg(long, value_name = "PROGRAM")]
    pub(crate) player: Option<PathBuf>,
}
