//! `audiorag __decode`: the child's side of decoding in a process of its own.

use crate::exit::ExitStatus;
use audiorag::core::Result;
use std::ffi::OsString;
use std::io::BufWriter;

/// Decodes to standard output, which is a pipe to the parent.
pub(super) fn run(request: Vec<OsString>) -> Result<ExitStatus> {
    let mut out = BufWriter::new(std::io::stdout().lock());
    audiorag::run_isolated(request, &mut out)?;
    Ok(ExitStatus::Success)
}
