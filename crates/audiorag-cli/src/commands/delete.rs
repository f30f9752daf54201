//! `audiorag delete`.

use super::count;
use crate::context::Context;
use crate::exit::ExitStatus;
use audiorag::core::{Error, Result};
use serde_json::json;

pub(super) async fn run(context: &Context, names: &[String]) -> Result<ExitStatus> {
    let audiorag = context.open_existing().await?;
    let printer = &context.printer;
    let mut sources = Vec::new();
    for name in names {
        let source = context.source(&audiorag, name).await?;
        if !sources
            .iter()
            .any(|known: &audiorag::state::SourceRecord| known.id == source.id)
        {
            sources.push(source);
        }
    }
    if !context.yes {
        if !printer.can_ask() {
            return Err(Error::input("nobody can be asked whether to delete").with_hint("add --yes"));
        }
        for source in &sources {
            printer.note(format_args!("{}  {}", source.title, source.locator));
        }
        let question = format!(
            "Remove {} from the index? The recordings stay.",
            count(sources.len(), "source")
        );
        if !printer.confirm(&question)? {
            printer.note("nothing was removed");
            return Ok(ExitStatus::Success);
        }
    }
    for source in &sources {
        audiorag.delete(&source.id).await?;
        if !printer.is_json() {
            printer.note(format_args!("removed {}", source.locator));
        }
    }
    if printer.is_json() {
        let deleted: Vec<&str> = sources.iter().map(|source| source.id.as_str()).collect();
        printer.json(&json!({"deleted": deleted}))?;
    }
    Ok(ExitStatus::Success)
}
