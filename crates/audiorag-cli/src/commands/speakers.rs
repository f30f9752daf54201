//! `audiorag speakers`.

use super::{count, index};
use crate::args::{Merge, Rename, Speakers};
use crate::context::Context;
use crate::exit::ExitStatus;
use crate::json;
use crate::printer::table;
use crate::progress::IndexProgress;
use audiorag::AudioRag;
use audiorag::core::{Error, Result};
use audiorag::speakers::{NamingScope, Speaker};
use serde_json::json;

pub(super) async fn run(context: &Context, command: &Speakers) -> Result<ExitStatus> {
    match command {
        Speakers::List { source } => list(context, source.as_deref()).await,
        Speakers::Rename(Rename { names, all }) => match (names.as_slice(), all) {
            ([old, new], true) => name(context, None, std::slice::from_ref(old), new).await,
            ([source, old, new], false) => name(context, Some(source), std::slice::from_ref(old), new).await,
            _ => Err(usage(
                "speakers rename SOURCE OLD NEW",
                "speakers rename --all OLD NEW",
            )),
        },
        Speakers::Merge(Merge { names, into, all }) => match (names.as_slice(), all) {
            (old, true) => name(context, None, old, into).await,
            ([source, old @ ..], false) if !old.is_empty() => name(context, Some(source), old, into).await,
            _ => Err(usage(
                "speakers merge SOURCE OLD... --into NEW",
                "speakers merge --all OLD... --into NEW",
            )),
        },
    }
}

fn usage(one: &str, all: &str) -> Error {
    Error::input("the source or a name is missing, or there is one too many")
        .with_hint(format!("audiorag {one}, or audiorag {all}"))
}

async fn list(context: &Context, source: Option<&str>) -> Result<ExitStatus> {
    let audiorag = context.open_existing().await?;
    let source = match source {
        Some(name) => Some(context.source(&audiorag, name).await?.id),
        None => None,
    };
    let speakers = audiorag.speakers(source.as_ref()).await?;
    let printer = &context.printer;
    if printer.is_json() {
        let speakers: Vec<_> = speakers.iter().map(json::speaker).collect();
        printer.json(&json!({ "speakers": speakers }))?;
        return Ok(ExitStatus::Success);
    }
    if speakers.is_empty() {
        printer.note(
            "nobody is told apart: speakers come from transcripts with names and from speech-to-text that knows them",
        );
    }
    for line in table(&speakers.iter().map(row).collect::<Vec<_>>()) {
        printer.line(line)?;
    }
    Ok(ExitStatus::Success)
}

fn row(speaker: &Speaker) -> Vec<String> {
    let id: String = speaker.source_id.as_str().chars().take(8).collect();
    let others: Vec<&str> = speaker
        .labels
        .iter()
        .map(String::as_str)
        .filter(|label| *label != speaker.name)
        .collect();
    let heard = if others.is_empty() {
        String::new()
    } else {
        format!("was {}", others.join(", "))
    };
    vec![
        speaker.name.clone(),
        format!("{} in {}", speaker.time, count(speaker.segments, "segment")),
        format!("{id} {}", speaker.title),
        heard,
    ]
}

/// Gives a name and makes what it stands in anew.
async fn name(context: &Context, source: Option<&str>, old: &[String], new: &str) -> Result<ExitStatus> {
    let known = context.open_existing().await?;
    let scope = match source {
        Some(name) => NamingScope::Source(context.source(&known, name).await?.id),
        None => NamingScope::All,
    };
    drop::<AudioRag>(known);
    #[cfg(feature = "local")]
    super::models::ensure(context).await?;
    let audiorag = context.open().await?;
    let progress = IndexProgress::new(context.printer.clone());
    let token = context.interrupt.token();
    let report = audiorag
        .merge_speakers(&scope, old, new, &progress, token)
        .await?;
    if context.printer.is_json() {
        context.printer.event(&json::summary(&report))?;
    } else {
        index::print(&context.printer, &report)?;
    }
    let status = index::status(context, &report);
    if status != ExitStatus::Success {
        context
            .printer
            .note("the names are kept; `audiorag reindex --rechunk --all` goes on with what they stand in");
    }
    Ok(status)
}
