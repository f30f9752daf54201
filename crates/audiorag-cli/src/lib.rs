//! The audiorag program: index audio, ask questions, get cited answers.
//!
//! [`run`] is the whole program on replaceable streams; `main` adds the runtime, the signals and the exit code.
//! One file in `commands` per command, and `printer` alone decides what is shown.

mod args;
mod commands;
mod context;
mod exit;
mod io;
mod json;
mod logging;
mod printer;
mod progress;

pub use exit::ExitStatus;
pub use io::{Captured, Interrupt, Io, Terminals};

use args::Cli;
use audiorag::core::ErrorKind;
use audiorag::settings::Sources;
use clap::error::ErrorKind as ClapErrorKind;
use clap::{CommandFactory as _, FromArgMatches as _};
use context::Program;
use printer::{Look, Printer};
use std::ffi::OsString;

/// Runs the program with these arguments, the program's name included.
///
/// Settings are read from `sources`; flags of the command line win over those in it.
pub async fn run(args: Vec<OsString>, sources: Sources, io: Io) -> ExitStatus {
    let Io {
        stdin,
        stdout,
        stderr,
        terminals,
        interrupt,
        providers,
        owns_process,
    } = io;
    let mut command = Cli::command();
    if !terminals.stdout {
        // The width of some terminal says nothing about a file or a pipe.
        command = command.term_width(100);
    }
    let cli = match command
        .try_get_matches_from(args)
        .and_then(|matches| Cli::from_arg_matches(&matches))
    {
        Ok(cli) => cli,
        Err(error) => {
            let look = Look::default();
            let printer = Printer::new(stdin, stdout, stderr, terminals, look, &sources.env);
            return usage(&error, &printer);
        }
    };
    let look = Look {
        color: cli.global.color,
        json: cli.global.json,
        quiet: cli.global.quiet,
        no_progress: cli.global.no_progress,
    };
    let printer = Printer::new(stdin, stdout, stderr, terminals, look, &sources.env);
    let program = Program::new(
        printer.clone(),
        &cli.global,
        sources,
        interrupt.clone(),
        providers,
        owns_process,
    );
    match commands::dispatch(program, cli.command).await {
        Ok(status) => status,
        Err(error) => {
            printer.error(&error);
            match error.kind() {
                // Which signal it was.
                ErrorKind::Cancelled => interrupt.status().unwrap_or(ExitStatus::Interrupted),
                kind => kind.into(),
            }
        }
    }
}

/// Help and version are data; everything else clap has to say is a mistake on the command line.
fn usage(error: &clap::Error, printer: &Printer) -> ExitStatus {
    let text = error.render();
    match error.kind() {
        ClapErrorKind::DisplayHelp | ClapErrorKind::DisplayVersion => {
            let text = if printer.colors_stdout() {
                text.ansi().to_string()
            } else {
                text.to_string()
            };
            match printer.data(&text) {
                Ok(()) => ExitStatus::Success,
                Err(error) => {
                    printer.error(&error);
                    error.kind().into()
                }
            }
        }
        _ => {
            printer.say(&if printer.colors_stderr() {
                text.ansi().to_string()
            } else {
                text.to_string()
            });
            ExitStatus::Usage
        }
    }
}
