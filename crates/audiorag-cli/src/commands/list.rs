//! `audiorag list`.

use crate::context::Context;
use crate::exit::ExitStatus;
use crate::json;
use crate::printer::{Printer, Style, table};
use audiorag::core::Result;
use audiorag::core::model::SourceStatus;
use audiorag::state::SourceRecord;
use serde_json::json;

pub(super) async fn run(context: &Context) -> Result<ExitStatus> {
    let sources = context.open_existing().await?.state().list_sources().await?;
    let printer = &context.printer;
    if printer.is_json() {
        printer.json(&json!({"sources": sources.iter().map(json::source).collect::<Vec<_>>()}))?;
        return Ok(ExitStatus::Success);
    }
    if sources.is_empty() {
        printer.note("nothing is indexed yet");
    }
    for line in table(&rows(printer, &sources)) {
        printer.line(line)?;
    }
    Ok(ExitStatus::Success)
}

/// Sources as a table with a head.
pub(super) fn rows(printer: &Printer, sources: &[SourceRecord]) -> Vec<Vec<String>> {
    if sources.is_empty() {
        return Vec::new();
    }
    let head = ["ID", "STATUS", "LENGTH", "CHUNKS", "TITLE", "LOCATION"];
    let mut rows = vec![head.map(|name| printer.paint(Style::Bold, name)).to_vec()];
    rows.extend(sources.iter().map(|source| {
        vec![
            short_id(source),
            printer.paint(style(source.status), source.status.as_str()),
            source
                .duration
                .map_or_else(|| "-".to_owned(), |duration| duration.to_string()),
            source.chunk_count.to_string(),
            source.title.clone(),
            source.locator.to_string(),
        ]
    }));
    rows
}

/// Enough of the id to be typed.
pub(super) fn short_id(source: &SourceRecord) -> String {
    source.id.as_str().chars().take(12).collect()
}

pub(super) const fn style(status: SourceStatus) -> Style {
    match status {
        SourceStatus::Completed => Style::Good,
        SourceStatus::Failed => Style::Bad,
        SourceStatus::Empty | SourceStatus::Cancelled => Style::Careful,
        _ => Style::Link,
    }
}
