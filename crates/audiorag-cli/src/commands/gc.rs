//! `audiorag gc`.

use super::{count, size};
use crate::context::Context;
use crate::exit::ExitStatus;
use crate::json;
use crate::printer::table;
use audiorag::core::Result;

pub(super) async fn run(context: &Context, dry_run: bool) -> Result<ExitStatus> {
    let report = context.open_to_change().await?.gc(dry_run).await?;
    let printer = &context.printer;
    if printer.is_json() {
        printer.json(&json::garbage(&report))?;
        return Ok(ExitStatus::Success);
    }
    let cache = report.cache;
    let rows: Vec<Vec<String>> = [
        (
            "replaced revisions",
            report.revisions.saturating_sub(report.abandoned),
            None,
        ),
        ("unfinished revisions", report.abandoned, None),
        ("transcripts", cache.part_transcripts, Some(cache.part_bytes)),
        ("embeddings", cache.embeddings, Some(cache.embedding_bytes)),
        ("work directories", report.work_dirs, Some(report.work_dir_bytes)),
        ("notes of jobs", report.notes, Some(report.note_bytes)),
    ]
    .into_iter()
    .map(|(name, number, bytes)| {
        let bytes = bytes.map(size).unwrap_or_default();
        vec![name.to_owned(), number.to_string(), bytes]
    })
    .collect();
    let verb = if dry_run { "would be removed" } else { "removed" };
    printer.line(format_args!("{verb}:"))?;
    for line in table(&rows) {
        printer.line(line)?;
    }
    if report.revisions_left > 0 {
        let left = count(report.revisions_left as usize, "revision");
        printer.warning(format_args!(
            "the vectors of {left} could not be removed from the vector store; the next run tries again"
        ));
    }
    Ok(ExitStatus::Success)
}
