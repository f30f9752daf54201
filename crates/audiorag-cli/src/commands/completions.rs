//! `audiorag completions`.

use crate::args::Cli;
use crate::context::Program;
use crate::exit::ExitStatus;
use audiorag::core::Result;
use clap::CommandFactory as _;
use clap_complete::Shell;

pub(super) fn run(program: &Program, shell: Shell) -> Result<ExitStatus> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "audiorag", &mut script);
    program.printer.data(&String::from_utf8_lossy(&script))?;
    Ok(ExitStatus::Success)
}
