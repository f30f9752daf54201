//! `audiorag status`.

use super::list::{short_id, style};
use crate::context::Context;
use crate::exit::ExitStatus;
use crate::json;
use crate::printer::table;
use audiorag::core::Result;
use audiorag::core::model::SourceStatus;
use audiorag::state::SourceRecord;
use serde_json::{Map, Value, json};

/// How many sources stand where, and what became of those that are not done.
pub(super) async fn run(context: &Context, name: Option<&str>) -> Result<ExitStatus> {
    let audiorag = context.open_existing().await?;
    let sources = match name {
        Some(name) => vec![context.source(&audiorag, name).await?],
        None => audiorag.state().list_sources().await?,
    };
    let printer = &context.printer;
    let counts = counts(&sources);
    if printer.is_json() {
        let counts: Map<String, Value> = counts
            .iter()
            .map(|(status, number)| (status.as_str().to_owned(), (*number).into()))
            .collect();
        let sources: Vec<Value> = sources
            .iter()
            .map(|source| {
                let mut value = json::source(source);
                if let Some(object) = value.as_object_mut() {
                    object.insert(
                        "owner".to_owned(),
                        json!(source.owner.as_ref().map(ToString::to_string)),
                    );
                }
                value
            })
            .collect();
        printer.json(&json!({"counts": counts, "sources": sources}))?;
        return Ok(ExitStatus::Success);
    }
    if name.is_none() {
        let total = counts.iter().map(|(_, number)| number).sum::<usize>();
        let mut rows: Vec<Vec<String>> = counts
            .iter()
            .map(|(status, number)| vec![printer.paint(style(*status), status.as_str()), number.to_string()])
            .collect();
        rows.push(vec!["in all".to_owned(), total.to_string()]);
        for line in table(&rows) {
            printer.line(line)?;
        }
    }
    let done = [SourceStatus::Completed, SourceStatus::Empty];
    let open: Vec<&SourceRecord> = sources
        .iter()
        .filter(|source| name.is_some() || !done.contains(&source.status))
        .collect();
    if open.is_empty() {
        return Ok(ExitStatus::Success);
    }
    if name.is_none() {
        printer.line("")?;
    }
    for source in open {
        let status = printer.paint(style(source.status), source.status.as_str());
        let owner = source
            .owner
            .as_ref()
            .map(|owner| format!(", in progress by {owner}"))
            .unwrap_or_default();
        printer.line(format_args!(
            "{}  {status}{owner}  {}",
            short_id(source),
            source.locator
        ))?;
        if let Some(failure) = &source.failure {
            let stage = failure
                .stage
                .map(|stage| format!(" at {stage}"))
                .unwrap_or_default();
            printer.line(format_args!("    {}{stage}: {}", failure.kind, failure.message))?;
        }
    }
    Ok(ExitStatus::Success)
}

/// Statuses that occur, in the order of the index path.
fn counts(sources: &[SourceRecord]) -> Vec<(SourceStatus, usize)> {
    SourceStatus::ALL
        .into_iter()
        .map(|status| {
            (
                status,
                sources.iter().filter(|source| source.status == status).count(),
            )
        })
        .filter(|(_, number)| *number > 0)
        .collect()
}
