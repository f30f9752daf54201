//! `audiorag doctor`.

use crate::context::Context;
use crate::exit::ExitStatus;
use crate::json;
use crate::printer::{Style, table};
use audiorag::core::Result;
use audiorag::doctor::CheckStatus;

/// Runs all checks. The exit code is that of the first one that failed; a provider that was configured and does not
/// work is a matter of configuration, whatever is wrong with it.
pub(super) async fn run(context: &Context, deep: bool) -> Result<ExitStatus> {
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
