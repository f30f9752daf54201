//! `audiorag search`.

use super::{open, question};
use crate::args::Question;
use crate::context::Context;
use crate::exit::ExitStatus;
use crate::json;
use crate::printer::{Printer, Style};
use audiorag::core::Result;
use audiorag::core::model::{Hit, TimeQuality};
use audiorag::query::QueryOptions;

pub(super) async fn run(context: &Context, args: &Question) -> Result<ExitStatus> {
    let text = question(context, args.text.as_deref())?;
    let audiorag = open(context).await?;
    let filter = context.filter(&audiorag, args).await?;
    let reply = audiorag
        .search(
            &text,
            QueryOptions {
                filter,
                ..QueryOptions::default()
            },
        )
        .await?;
    let printer = &context.printer;
    if printer.is_json() {
        printer.json(&json::search(&reply))?;
        return Ok(ExitStatus::Success);
    }
    super::degraded(printer, &reply.degraded, "searched");
    if reply.hits.is_empty() {
        printer.note("nothing was found");
    }
    for hit in &reply.hits {
        print(printer, hit)?;
        if args.explain {
            explain(printer, hit)?;
        }
    }
    Ok(ExitStatus::Success)
}

/// Where each search found a passage, and how well.
pub(super) fn explain(printer: &Printer, hit: &Hit) -> Result<()> {
    let scores = &hit.scores;
    let searches = [
        ("meaning", scores.ranks.dense, scores.dense),
        ("words", scores.ranks.lexical, scores.lexical),
        ("sound", scores.ranks.sound, scores.sound),
    ];
    let mut parts: Vec<String> = searches
        .into_iter()
        .map(|(name, rank, score)| match rank.zip(score) {
            Some((rank, score)) => format!("{name} #{rank} ({score:.3})"),
            None => format!("{name} -"),
        })
        .collect();
    parts.push(format!("fused {:.4}", scores.fused));
    parts.extend(scores.rerank.map(|score| format!("reranked {score:.3}")));
    printer.line(format_args!(
        "    {}",
        printer.paint(Style::Dim, parts.join("  "))
    ))
}

/// A passage: where, how well it fits, and the words.
pub(super) fn print(printer: &Printer, hit: &Hit) -> Result<()> {
    let estimated = if hit.times == TimeQuality::Estimated {
        " (estimated)"
    } else {
        ""
    };
    let title = printer.paint(Style::Bold, &hit.title);
    let score = hit
        .scores
        .dense
        .map(|score| format!("  {score:.2}"))
        .unwrap_or_default();
    printer.line(format_args!(
        "{title}  {}{estimated}{}",
        hit.span,
        printer.paint(Style::Dim, score)
    ))?;
    let speakers = if hit.speakers.is_empty() {
        String::new()
    } else {
        format!("{}: ", hit.speakers.join(", "))
    };
    printer.line(format_args!("    {speakers}{}", hit.text))
}
