//! `audiorag query`.

use super::{open, question};
use crate::args::Question;
use crate::context::Context;
use crate::exit::ExitStatus;
use crate::json;
use crate::printer::{Printer, Style};
use audiorag::core::Result;
use audiorag::core::model::{Citation, TimeQuality};
use audiorag::query::{QueryOptions, QueryReply};

pub(super) async fn run(context: &Context, args: &Question) -> Result<ExitStatus> {
    let text = question(context, args.text.as_deref())?;
    let audiorag = open(context).await?;
    let filter = context.filter(&audiorag, args).await?;
    let reply = audiorag
        .query(&text, QueryOptions { top_k: None, filter })
        .await?;
    let printer = &context.printer;
    if printer.is_json() {
        printer.json(&json::query(&reply))?;
    } else {
        // With nobody to write answers, the passages are the answer.
        let passages_only =
            context.settings().generation.provider == "none" && context.providers.generator.is_none();
        print(
            printer,
            &reply,
            passages_only && !reply.answer.passages.is_empty(),
        )?;
        if args.explain {
            explain(printer, &reply)?;
        }
    }
    Ok(ExitStatus::Success)
}

/// The answer, then each citation.
fn print(printer: &Printer, reply: &QueryReply, passages_only: bool) -> Result<()> {
    let answer = &reply.answer;
    for stage in &answer.degraded {
        printer.warning(format_args!("answered without the stage '{stage}', which failed"));
    }
    if !answer.text.is_empty() {
        printer.line(&answer.text)?;
    }
    if answer.text.is_empty() {
        if passages_only {
            for hit in &answer.passages {
                super::search::print(printer, hit)?;
            }
        } else {
            printer.line("Nothing in the recordings answers this.")?;
        }
        if !answer.passages.is_empty() && !passages_only {
            printer.note("`audiorag search` shows the passages that come nearest");
        }
    }
    for citation in &answer.citations {
        printer.line("")?;
        print_citation(printer, citation)?;
    }
    Ok(())
}

/// What was read for the answer, with the scores, and how long each stage took.
fn explain(printer: &Printer, reply: &QueryReply) -> Result<()> {
    printer.line("")?;
    for passage in &reply.answer.passages {
        printer.line(format_args!("{}  {}", passage.title, passage.span))?;
        super::search::explain(printer, passage)?;
    }
    let timings: Vec<String> = reply
        .timings
        .iter()
        .map(|(stage, took)| format!("{stage} {} ms", took.as_millis()))
        .collect();
    printer.line(printer.paint(Style::Dim, timings.join("  ")))
}

fn print_citation(printer: &Printer, citation: &Citation) -> Result<()> {
    let estimated = if citation.times == TimeQuality::Estimated {
        " (estimated)"
    } else {
        ""
    };
    let marker = printer.paint(Style::Bold, format_args!("[{}]", citation.marker));
    printer.line(format_args!(
        "{marker} {}  {}{estimated}",
        citation.title, citation.span
    ))?;
    let speakers = if citation.speakers.is_empty() {
        String::new()
    } else {
        format!("{}: ", citation.speakers.join(", "))
    };
    printer.line(format_args!("    {speakers}\u{201c}{}\u{201d}", citation.quote))?;
    printer.line(format_args!("    {}", printer.paint(Style::Link, &citation.link)))
}
