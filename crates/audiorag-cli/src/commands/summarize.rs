//! `audiorag summarize`.

use super::{open, query};
use crate::args::Summarize;
use crate::context::Context;
use crate::exit::ExitStatus;
use crate::json;
use crate::printer::Style;
use audiorag::core::Result;

pub(super) async fn run(context: &Context, args: &Summarize) -> Result<ExitStatus> {
    let audiorag = open(context).await?;
    let source = context.source(&audiorag, &args.source).await?;
    let summary = audiorag.summarize(&source).await?;
    let printer = &context.printer;
    if printer.is_json() {
        printer.json(&json::summary_of(&source, &summary))?;
        return Ok(ExitStatus::Success);
    }
    super::degraded(printer, &summary.degraded, "summarized");
    if summary.sections.is_empty() {
        printer.note("nobody speaks in it");
    } else if summary.is_extractive {
        printer.note(
            "no generator wrote this: these are the most central sentences of each section, word for word",
        );
    }
    for (number, section) in summary.sections.iter().enumerate() {
        if number > 0 {
            printer.line("")?;
        }
        let chapter = section.chapter.as_deref().unwrap_or(&source.title);
        let head = format!("{}  {chapter}", section.span);
        printer.line(printer.paint(Style::Bold, head))?;
        printer.line(query::marked(&section.answer))?;
        for citation in &section.answer.citations {
            let link = printer.paint(Style::Link, &citation.link);
            printer.line(format_args!(
                "    [{}] {}  {link}",
                citation.marker, citation.span
            ))?;
        }
        query::doubts(printer, &section.answer);
    }
    Ok(ExitStatus::Success)
}
