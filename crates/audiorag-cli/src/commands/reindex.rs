//! `audiorag reindex`.

use super::plan::at_most;
use super::{count, index};
use crate::args::Reindex as Args;
use crate::context::Context;
use crate::exit::ExitStatus;
use crate::json;
use crate::printer::{Printer, Style, table};
use crate::progress::IndexProgress;
use audiorag::core::{Error, Result};
use audiorag::index::{Reindex, ReindexOptions, ReindexPlan, ReindexedSource};

pub(super) async fn run(context: &Context, args: &Args) -> Result<ExitStatus> {
    #[cfg(feature = "local")]
    super::models::ensure(context).await?;
    let audiorag = context.open_to_change().await?;
    let what = match (args.rechunk, args.reembed) {
        (true, _) => Reindex::Rechunk,
        (_, true) => Reindex::Reembed,
        _ => Reindex::Retranscribe,
    };
    let mut sources = Vec::new();
    for name in &args.sources {
        sources.push(context.source(&audiorag, name).await?.id);
    }
    let options = ReindexOptions {
        what,
        sources,
        max_cost: args.max_cost,
    };
    let printer = &context.printer;
    if args.dry_run {
        let plan = audiorag.plan_reindex(&options).await?;
        if printer.is_json() {
            printer.json(&json::reindex_plan(&plan))?;
        } else {
            print(printer, what, &plan)?;
        }
        return Ok(ExitStatus::Success);
    }
    if !context.yes && args.max_cost.is_none() {
        let plan = audiorag.plan_reindex(&options).await?;
        let is_sent = plan.parts() > 0 || plan.vectors() > 0;
        if plan.is_remote && is_sent && !agreed(printer, &plan)? {
            printer.note("nothing was sent");
            return Ok(ExitStatus::Success);
        }
    }
    let progress = IndexProgress::new(printer.clone());
    let report = audiorag
        .reindex(options, &progress, context.interrupt.token())
        .await?;
    if printer.is_json() {
        printer.event(&json::summary(&report))?;
    } else {
        index::print(printer, &report)?;
    }
    if !report.prepared.is_empty() {
        printer.note(
            "the embedding model was not switched, because not every source is ready: \
             the old one stays in use, and the same command goes on from here",
        );
    }
    Ok(index::status(context, &report))
}

/// Asks before anything is paid for that was paid for before.
fn agreed(printer: &Printer, plan: &ReindexPlan) -> Result<bool> {
    let (what, to) = if plan.parts() > 0 {
        (audio(plan.parts(), plan.audio()), "speech-to-text")
    } else {
        (count(plan.vectors(), "text"), "the embedding model")
    };
    let cost = at_most(plan.cost());
    if !printer.can_ask() {
        return Err(Error::input(format!(
            "{what} would be sent to {to} again, {cost}, and nobody can be asked"
        ))
        .with_hint("add --yes, or --max-cost with an amount, or look at it first with --dry-run"));
    }
    printer.confirm(&format!(
        "Send {what} to {to} again, {cost}, although what was paid for is here?"
    ))
}

/// One line for each source, then the totals.
fn print(printer: &Printer, what: Reindex, plan: &ReindexPlan) -> Result<()> {
    let row = |source: &ReindexedSource| {
        let (label, detail) = match (&source.skip, what) {
            (Some(reason), _) => (printer.paint(Style::Dim, "skip"), reason.clone()),
            (None, Reindex::Retranscribe) => {
                let detail = audio(source.parts(), source.transcribe.needed.usage.audio);
                (printer.paint(Style::Careful, "transcribe"), detail)
            }
            (None, _) => {
                let chunks = count(source.chunks, "chunk");
                let detail = format!("{chunks}, {} to embed", source.new_vectors);
                (printer.paint(Style::Good, "make anew"), detail)
            }
        };
        vec![label, source.source.clone(), detail]
    };
    let rows: Vec<Vec<String>> = plan.sources.iter().map(row).collect();
    for line in table(&rows) {
        printer.line(line)?;
    }
    let skipped = plan.sources.iter().filter(|source| source.skip.is_some()).count();
    let made = count(plan.sources.len() - skipped, "source");
    let detail = if what == Reindex::Retranscribe {
        audio(plan.parts(), plan.audio())
    } else {
        format!("{} to embed", count(plan.vectors(), "text"))
    };
    let cost = at_most(plan.cost());
    printer.line(format_args!(
        "{made} to make anew, {skipped} to skip: {detail}, {cost}"
    ))
}

/// As in "3 parts (12.5 seconds of audio)".
fn audio(parts: u32, length: audiorag::core::MediaTime) -> String {
    let parts = count(parts as usize, "part");
    format!("{parts} ({:.1} seconds of audio)", length.as_seconds_f64())
}
