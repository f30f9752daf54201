//! One file per command.

mod cache;
mod clip;
mod completions;
mod config;
mod cost;
mod db;
mod decode;
mod delete;
mod doctor;
mod eval;
mod export;
mod gc;
mod index;
mod list;
#[cfg(feature = "local")]
mod models;
mod piece;
mod plan;
mod play;
mod query;
mod reindex;
mod search;
mod setup;
mod show;
mod speakers;
mod status;
mod summarize;
mod threads;
mod watch;

use crate::args::{Command, Config};
use crate::context::{Context, Program};
use crate::exit::ExitStatus;
use crate::printer::Printer;
use audiorag::AudioRag;
use audiorag::core::{Error, Result};
#[cfg(feature = "local")]
use audiorag::models::Role;
use audiorag::query::EMPTY_STORE;
use std::collections::BTreeMap;

/// Runs a command.
pub(crate) async fn dispatch(program: Program, command: Command) -> Result<ExitStatus> {
    match command {
        // These work with settings that cannot be used, and help to repair them.
        Command::Completions { shell } => completions::run(&program, shell),
        Command::Decode { request } => decode::run(request),
        Command::Setup(args) => setup::run(&program, &args),
        Command::Config(Config::Path) => config::path(&program),
        Command::Config(Config::Docs) => config::docs(&program),
        Command::Config(Config::Providers) => config::providers(&program),
        Command::Config(Config::Show) => config::show(&program.resolve(BTreeMap::new())?),
        Command::Index(args) => {
            let context = program.resolve(args.settings())?;
            // Ends by itself, at a commit point. The work of a command is boxed: a chain of futures inside each other
            // takes more stack than some threads have.
            context.logged(Box::pin(index::run(&context, &args))).await
        }
        Command::Watch(args) => {
            let context = program.resolve(args.settings())?;
            context.logged(Box::pin(watch::run(&context, &args))).await
        }
        Command::Reindex(args) => {
            let context = program.resolve(BTreeMap::new())?;
            context.logged(Box::pin(reindex::run(&context, &args))).await
        }
        Command::Speakers(action) => {
            let context = program.resolve(BTreeMap::new())?;
            context.logged(Box::pin(speakers::run(&context, &action))).await
        }
        command => {
            let flags = match &command {
                Command::Query(query) => query.settings(),
                Command::Search(question) => question.settings(),
                Command::Summarize(args) => args.settings(),
                Command::Models(action) => action.settings(),
                Command::Gc(gc) => gc.settings(),
                Command::Eval(eval) => eval.settings(),
                _ => BTreeMap::new(),
            };
            let context = program.resolve(flags)?;
            let interrupted = context.interrupt.token();
            let work = context.logged(Box::pin(with_settings(&context, command)));
            tokio::select! {
                outcome = work => outcome,
                () = interrupted.cancelled() => Ok(context.interrupt.status().unwrap_or(ExitStatus::Interrupted)),
            }
        }
    }
}

async fn with_settings(context: &Context, command: Command) -> Result<ExitStatus> {
    match command {
        Command::Query(args) => query::run(context, &args).await,
        Command::Search(args) => search::run(context, &args).await,
        Command::Summarize(args) => summarize::run(context, &args).await,
        Command::Threads(action) => threads::run(context, &action).await,
        Command::List => list::run(context).await,
        Command::Show { source } => show::run(context, &source).await,
        Command::Status { source } => status::run(context, source.as_deref()).await,
        Command::Clip(args) => clip::run(context, &args).await,
        Command::Play(args) => play::run(context, &args).await,
        Command::Export(args) => export::run(context, &args).await,
        Command::Delete { sources } => delete::run(context, &sources).await,
        Command::Doctor(args) => doctor::run(context, args).await,
        Command::Cache(action) => cache::run(context, action).await,
        Command::Cost(args) => cost::run(context, &args).await,
        Command::Eval(args) => eval::run(context, &args).await,
        Command::Gc(args) => gc::run(context, args.dry_run).await,
        Command::Db(action) => db::run(context, action).await,
        #[cfg(feature = "local")]
        Command::Models(action) => models::run(context, action).await,
        #[cfg(not(feature = "local"))]
        Command::Models(_) => Err(Error::unsupported("local models are not part of this build")
            .with_hint("rebuild with --features local")),
        Command::Index(_)
        | Command::Watch(_)
        | Command::Reindex(_)
        | Command::Speakers(_)
        | Command::Setup(_)
        | Command::Config(_)
        | Command::Decode { .. }
        | Command::Completions { .. } => Err(Error::internal("a command was started the wrong way")),
    }
}

/// The index, for a question: the model that embeds it has to be there as well.
async fn open(context: &Context) -> Result<AudioRag> {
    #[cfg(feature = "local")]
    if let Some(error) = models::missing(context, &[Role::Runtime, Role::Embed]) {
        return Err(error);
    }
    context.open_existing().await
}

/// As [`open`], for what is kept as well.
async fn open_to_keep(context: &Context) -> Result<AudioRag> {
    #[cfg(feature = "local")]
    if let Some(error) = models::missing(context, &[Role::Runtime, Role::Embed]) {
        return Err(error);
    }
    context.open_to_change().await
}

/// The text of a question: the argument, or standard input.
fn question(context: &Context, text: Option<&str>) -> Result<String> {
    match text {
        Some(text) if text != "-" => Ok(text.to_owned()),
        _ => String::from_utf8(context.printer.read_stdin()?)
            .map_err(|error| Error::input("standard input is not UTF-8 text").with_cause(error)),
    }
}

/// Says what was left out because it failed. `done` is what was done all the same.
fn degraded(printer: &Printer, stages: &[String], done: &str) {
    for stage in stages {
        if stage == EMPTY_STORE {
            printer.warning(
                "the vector store holds nothing of what is indexed, so that only words were searched for: \
                 `audiorag doctor --repair` fills it again",
            );
        } else {
            printer.warning(format_args!("{done} without the stage '{stage}', which failed"));
        }
    }
}

/// `bytes` for people.
fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["kB", "MB", "GB", "TB"];
    let mut value = bytes as f64;
    let mut unit = "B";
    for next in UNITS {
        if value < 1000.0 {
            break;
        }
        value /= 1000.0;
        unit = next;
    }
    if unit == "B" {
        format!("{bytes} B")
    } else {
        format!("{value:.1} {unit}")
    }
}

/// `1 source`, `2 sources`.
fn count(number: usize, what: &str) -> String {
    if number == 1 {
        format!("1 {what}")
    } else {
        format!("{number} {what}s")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_counts_read_well() {
        assert_eq!(
            [size(0), size(999), size(1000), size(22_928_619)],
            ["0 B", "999 B", "1.0 kB", "22.9 MB"]
        );
        assert_eq!(
            [count(0, "source"), count(1, "source"), count(2, "part")],
            ["0 sources", "1 source", "2 parts"]
        );
    }
}
