//! `audiorag threads`.

use super::{count, query};
use crate::args::Threads;
use crate::context::Context;
use crate::exit::ExitStatus;
use crate::json;
use crate::printer::{Style, table};
use audiorag::core::{Error, Result};
use serde_json::json;

pub(super) async fn run(context: &Context, command: &Threads) -> Result<ExitStatus> {
    match command {
        Threads::List => list(context).await,
        Threads::Show { name } => show(context, name).await,
        Threads::Delete { names } => delete(context, names).await,
    }
}

async fn list(context: &Context) -> Result<ExitStatus> {
    let threads = context.open_existing().await?.state().threads().await?;
    let printer = &context.printer;
    if printer.is_json() {
        printer.json(&json!({"threads": threads.iter().map(json::thread).collect::<Vec<_>>()}))?;
        return Ok(ExitStatus::Success);
    }
    if threads.is_empty() {
        printer.note("no conversation is kept: `audiorag query --thread NAME` begins one");
    }
    let rows: Vec<Vec<String>> = threads
        .iter()
        .map(|thread| {
            vec![
                thread.name.clone(),
                count(thread.turns as usize, "question"),
                json::instant(thread.updated_at).unwrap_or_default(),
                thread.question.clone(),
            ]
        })
        .collect();
    for line in table(&rows) {
        printer.line(line)?;
    }
    Ok(ExitStatus::Success)
}

async fn show(context: &Context, name: &str) -> Result<ExitStatus> {
    let turns = context.open_existing().await?.state().turns(name).await?;
    if turns.is_empty() {
        return Err(unknown(name));
    }
    let printer = &context.printer;
    if printer.is_json() {
        printer.json(&json!({"name": name, "turns": turns.iter().map(json::turn).collect::<Vec<_>>()}))?;
        return Ok(ExitStatus::Success);
    }
    for turn in &turns {
        if turn.number > 1 {
            printer.line("")?;
        }
        let question = format!("{}. {}", turn.number, turn.question);
        printer.line(printer.paint(Style::Bold, question))?;
        if turn.searched != turn.question {
            printer.line(printer.paint(Style::Dim, format_args!("   searched for: {}", turn.searched)))?;
        }
        if turn.answer.is_empty() {
            printer.line("Nothing in the recordings answered this.")?;
        } else {
            printer.line(&turn.answer)?;
        }
        for cited in &turn.citations {
            query::print_citation(printer, &cited.citation)?;
            if cited.is_deleted {
                printer.line("    (the source is not indexed any more)")?;
            }
        }
    }
    Ok(ExitStatus::Success)
}

async fn delete(context: &Context, names: &[String]) -> Result<ExitStatus> {
    let audiorag = context.open_to_change().await?;
    for name in names {
        if !audiorag.state().delete_thread(name).await? {
            return Err(unknown(name));
        }
        context.printer.note(format_args!("forgot {name}"));
    }
    Ok(ExitStatus::Success)
}

/// There is no conversation of this name.
pub(super) fn unknown(name: &str) -> Error {
    Error::not_found(format!("there is no thread '{name}'")).with_hint("`audiorag threads list` names them")
}
