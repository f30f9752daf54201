//! `audiorag summarize`.

use super::{open, query};
use crate::args::Summarize;
use crate::context::Context;
use crate::exit::ExitStatus;
use crate::json;
use crate::printer::{Printer, Style};
use audiorag::core::Result;
use audiorag::core::model::Answer;

/// What wrote where no generator did.
const EXTRACTIVE: &str = "extractive";

pub(super) async fn run(context: &Context, args: &Summarize) -> Result<ExitStatus> {
    let audiorag = open(context).await?;
    let source = context.source(&audiorag, &args.source).await?;
    let summary = audiorag.summarize(&source, args.language.as_deref()).await?;
    let printer = &context.printer;
    if printer.is_json() {
        printer.json(&json::summary_of(&source, &summary))?;
        return Ok(ExitStatus::Success);
    }
    super::degraded(printer, &summary.degraded, "summarized");
    if summary.sections.is_empty() {
        printer.note("nobody speaks in it");
    } else if summary.is_extractive {
        printer.note("no generator wrote this: these are the most central sentences, word for word");
        if args.language.is_some() {
            printer.warning("they are in the language of the recording: only a generator writes in another");
        }
    } else if summary.overview.model == EXTRACTIVE {
        printer.note("no generator wrote the overview: these are the most central sentences, word for word");
    }
    if summary.sections.len() > 1 {
        printer.line(printer.paint(Style::Bold, format!("Overview  {}", source.title)))?;
        write(printer, &summary.overview)?;
    }
    for (number, section) in summary.sections.iter().enumerate() {
        if number > 0 || summary.sections.len() > 1 {
            printer.line("")?;
        }
        let chapter = section.chapter.as_deref().unwrap_or(&source.title);
        let head = format!("{}  {chapter}", section.span);
        printer.line(printer.paint(Style::Bold, head))?;
        write(printer, &section.answer)?;
    }
    Ok(ExitStatus::Success)
}

fn write(printer: &Printer, answer: &Answer) -> Result<()> {
    printer.line(query::marked(answer))?;
    for citation in &answer.citations {
        let link = printer.paint(Style::Link, &citation.link);
        printer.line(format_args!(
            "    [{}] {}  {link}",
            citation.marker, citation.span
        ))?;
    }
    query::doubts(printer, answer);
    Ok(())
}
