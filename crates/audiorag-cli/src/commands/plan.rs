//! `audiorag index --plan`.

use super::count;
use crate::exit::ExitStatus;
use crate::json;
use crate::printer::{Printer, Style, table};
use audiorag::core::{Money, Result};
use audiorag::index::{IndexPlan, PlannedCalls, PlannedSource};

/// Shows what a run would do. A source that would fail makes the exit status that of a run in which some failed.
pub(super) fn show(printer: &Printer, plan: &IndexPlan) -> Result<ExitStatus> {
    let status = if plan.failed.is_empty() {
        ExitStatus::Success
    } else {
        ExitStatus::Partial
    };
    if printer.is_json() {
        printer.json(&json::plan(plan))?;
        return Ok(status);
    }
    let rows: Vec<Vec<String>> = plan
        .sources
        .iter()
        .map(|source| match &source.skipped {
            Some(reason) => vec![
                printer.paint(Style::Dim, "skip"),
                source.source.clone(),
                String::new(),
                reason.clone(),
            ],
            None => vec![
                printer.paint(Style::Good, "index"),
                source.source.clone(),
                cost(&source.transcribe, &source.embed),
                work(source),
            ],
        })
        .collect();
    for line in table(&rows) {
        printer.line(line)?;
    }
    for failed in &plan.failed {
        let label = printer.paint(Style::Bad, "fail ");
        printer.line(format_args!(
            "{label}  {}: {}: {}",
            failed.source, failed.kind, failed.message
        ))?;
    }
    let total = at_most(plan.cost());
    let saved = match plan.saved() {
        Money::ZERO => String::new(),
        saved => format!("; what is stored saves {saved}"),
    };
    let working = plan
        .sources
        .iter()
        .filter(|source| source.skipped.is_none())
        .count();
    printer.line(format_args!(
        "{} to index with {} and {}: {} to transcribe, {total}{saved}",
        count(working, "source"),
        plan.transcriber,
        plan.embedder,
        plan.audio(),
    ))?;
    Ok(status)
}

/// `for $1.20 at most`.
pub(super) fn at_most(cost: Option<Money>) -> String {
    match cost {
        None => "at a cost that is not known".to_owned(),
        Some(Money::ZERO) => "at no cost".to_owned(),
        Some(cost) => format!("for {cost} at most"),
    }
}

fn cost(transcribe: &PlannedCalls, embed: &PlannedCalls) -> String {
    match (transcribe.needed.cost, embed.needed.cost) {
        (Some(one), Some(other)) => one.saturating_add(other).to_string(),
        _ => "unknown".to_owned(),
    }
}

/// `12:00 in 3 calls, 4:00 stored; about 2,100 tokens to embed`.
fn work(source: &PlannedSource) -> String {
    let (transcribe, embed) = (&source.transcribe, &source.embed);
    let about = |calls: &PlannedCalls| if calls.exact { "" } else { "up to " };
    let mut words = Vec::new();
    if let Some(name) = &source.transcript {
        words.push(format!("transcript given: {name}"));
    }
    let needed = &transcribe.needed.usage;
    if needed.requests > 0 {
        words.push(format!(
            "{}{} to transcribe in {}",
            about(transcribe),
            needed.audio,
            count(needed.requests as usize, "call")
        ));
    }
    let saved = &transcribe.saved.usage;
    if saved.requests > 0 {
        words.push(format!("{} of transcripts stored", saved.audio));
    }
    if embed.needed.usage.requests > 0 {
        let about = if embed.exact { "" } else { "about " };
        words.push(format!(
            "{about}{} tokens to embed",
            embed.needed.usage.input_tokens
        ));
    }
    if words.is_empty() {
        words.push("nothing to send".to_owned());
    }
    words.join(", ")
}
