//! `audiorag watch`.

use super::index;
use crate::args::Watch;
use crate::context::Context;
use crate::exit::ExitStatus;
use crate::json;
use crate::progress::IndexProgress;
use audiorag::core::{Error, Result};
use audiorag::index::{IndexOptions, IndexReport};
use std::collections::BTreeSet;
use std::time::Duration;

/// A file that was changed within this time may still be written.
const SETTLED: Duration = Duration::from_secs(5);

/// Looks at the same inputs again and again, until it is interrupted. What fails is told once and tried again at the
/// next look; what concerns every source, such as refused credentials, ends it.
pub(super) async fn run(context: &Context, args: &Watch) -> Result<ExitStatus> {
    if args.index.plan || args.index.force {
        return Err(Error::input("a watcher neither plans nor makes anything anew")
            .with_hint("use --plan and --force with `audiorag index`"));
    }
    let inputs = index::inputs(context, &args.index)?;
    #[cfg(feature = "local")]
    super::models::ensure(context).await?;
    let audiorag = context.open().await?;
    let options = IndexOptions {
        min_age: Some(SETTLED),
        ..index::options(&args.index)?
    };
    let printer = &context.printer;
    let every = context
        .settings()
        .index
        .watch_interval
        .max(Duration::from_secs(1));
    let mut told = BTreeSet::new();
    let mut status = ExitStatus::Success;
    let mut look = 0;
    loop {
        let progress = IndexProgress::new(printer.clone());
        let mut report = audiorag
            .index(
                inputs.clone(),
                options.clone(),
                &progress,
                context.interrupt.token(),
            )
            .await?;
        drop(progress);
        status = match index::status(context, &report) {
            ExitStatus::Success => status,
            other => other,
        };
        if printer.is_json() {
            printer.event(&json::summary(&report))?;
        } else {
            only_news(&mut report, &mut told);
            if !(report.indexed.is_empty() && report.empty.is_empty() && report.failed.is_empty()) {
                index::print(printer, &report)?;
            }
        }
        look += 1;
        let is_last = args.looks.is_some_and(|looks| look >= looks);
        let goes_on = matches!(status, ExitStatus::Success | ExitStatus::Partial);
        if is_last || !goes_on {
            return Ok(status);
        }
        let token = context.interrupt.token();
        if token
            .run_until_cancelled(tokio::time::sleep(every))
            .await
            .is_none()
        {
            return Ok(context.interrupt.status().unwrap_or(ExitStatus::Interrupted));
        }
    }
}

/// Takes out what was told at an earlier look: skipped sources, and the same failure of the same source.
fn only_news(report: &mut IndexReport, told: &mut BTreeSet<(String, String)>) {
    report.skipped.clear();
    let failures: BTreeSet<(String, String)> = report
        .failed
        .iter()
        .map(|failed| (failed.source.clone(), failed.message.clone()))
        .collect();
    report
        .failed
        .retain(|failed| !told.contains(&(failed.source.clone(), failed.message.clone())));
    *told = failures;
}
