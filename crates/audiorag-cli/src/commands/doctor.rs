//! `audiorag doctor`.

use super::count;
use crate::args::Doctor;
use crate::context::Context;
use crate::exit::ExitStatus;
use crate::json;
use crate::printer::{Printer, Style, table};
use audiorag::AudioRag;
use audiorag::core::Result;
use audiorag::doctor::{CheckStatus, RepairOptions, RepairReport};
use audiorag::state::{Finding, Invariant};

pub(super) async fn run(context: &Context, args: Doctor) -> Result<ExitStatus> {
    if args.repair {
        repair(context, args).await
    } else {
        check(context, args.deep).await
    }
}

/// Runs all checks. The exit code is that of the first one that failed; a provider that was configured and does not
/// work is a matter of configuration, whatever is wrong with it.
async fn check(context: &Context, deep: bool) -> Result<ExitStatus> {
    let printer = &context.printer;
    let checks = context.open().await?.doctor(deep).await;
    let status = checks
        .iter()
        .find(|check| check.status == CheckStatus::Fail)
        .map_or(ExitStatus::Success, |check| match check.kind {
            Some(_) if check.is_provider => ExitStatus::Config,
            Some(kind) => ExitStatus::from(kind),
            None => ExitStatus::Internal,
        });
    if printer.is_json() {
        printer.json(&json::checks(&checks))?;
        return Ok(status);
    }
    let rows: Vec<Vec<String>> = checks
        .iter()
        .map(|check| {
            let style = match check.status {
                CheckStatus::Ok => Style::Good,
                CheckStatus::Warn => Style::Careful,
                CheckStatus::Fail => Style::Bad,
            };
            vec![
                printer.paint(style, check.status.as_str()),
                check.name.clone(),
                check.detail.clone(),
            ]
        })
        .collect();
    for (line, check) in table(&rows).iter().zip(&checks) {
        printer.line(line)?;
        if let Some(remedy) = &check.remedy {
            printer.line(format_args!("      hint: {remedy}"))?;
        }
    }
    Ok(status)
}

/// Mends what is broken. Ends with 0 when nothing is left, and with the code for an unusable state when something is.
async fn repair(context: &Context, args: Doctor) -> Result<ExitStatus> {
    let (dry_run, max_cost) = (args.dry_run, args.max_cost);
    let printer = &context.printer;
    let audiorag = context.open().await?;
    let pay = !dry_run && (context.yes || max_cost.is_some() || agreed(context, &audiorag).await?);
    let options = RepairOptions {
        dry_run,
        pay,
        max_cost,
    };
    let report = audiorag.repair(options).await?;
    if printer.is_json() {
        printer.json(&json::repair(&report))?;
    } else {
        print(printer, &report)?;
    }
    let clean = report.left.is_empty() && !(dry_run && damaged(&report));
    Ok(if clean {
        ExitStatus::Success
    } else {
        ExitStatus::State
    })
}

/// Whether the user pays for what is in no cache. Nobody is asked when everything is.
async fn agreed(context: &Context, audiorag: &AudioRag) -> Result<bool> {
    let printer = &context.printer;
    if !printer.can_ask() {
        return Ok(false);
    }
    let plan = audiorag
        .repair(RepairOptions {
            dry_run: true,
            ..RepairOptions::default()
        })
        .await?;
    if !plan.costs() {
        return Ok(false);
    }
    for left in plan.left.iter().filter(|left| left.costs) {
        printer.note(format_args!("{}: {}", left.finding.detail(), left.reason));
    }
    printer.confirm("Pay for this?")
}

/// Whether a dry run found damage that a repair would mend.
fn damaged(report: &RepairReport) -> bool {
    use audiorag::state::Severity;
    report
        .mended
        .iter()
        .any(|finding| finding.problem.severity() == Severity::Damage)
}

fn print(printer: &Printer, report: &RepairReport) -> Result<()> {
    let mended = if report.dry_run { "would mend" } else { "mended" };
    for invariant in Invariant::ALL {
        let of = |finding: &&Finding| finding.problem.invariant() == invariant;
        let mut lines = Vec::new();
        for finding in report.mended.iter().filter(of) {
            lines.push((Style::Good, mended, finding.detail(), None));
        }
        for left in report.left.iter().filter(|left| of(&&left.finding)) {
            let reason = if left.costs && !report.dry_run {
                format!(
                    "{}; add --yes, or --max-cost with an amount, to pay for it",
                    left.reason
                )
            } else {
                left.reason.clone()
            };
            lines.push((Style::Bad, "left", left.finding.detail(), Some(reason)));
        }
        for finding in report.notices.iter().filter(of) {
            lines.push((Style::Careful, "notice", finding.detail(), None));
        }
        if lines.is_empty() {
            lines.push((Style::Dim, "ok", invariant.statement().to_owned(), None));
        }
        for (style, label, detail, reason) in lines {
            let label = printer.paint(style, format_args!("{label:10}"));
            printer.line(format_args!("{}  {label}  {detail}", invariant.id()))?;
            if let Some(reason) = reason {
                printer.line(format_args!("      {reason}"))?;
            }
        }
    }
    if !report.dry_run {
        printer.line(format_args!(
            "{} written, {} of them computed, {} built anew",
            count(report.written as usize, "vector"),
            report.computed,
            count(report.rebuilt as usize, "source"),
        ))?;
    }
    Ok(())
}
