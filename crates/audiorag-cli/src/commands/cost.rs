//! `audiorag cost`.

use super::count;
use crate::args::{Cost, Grouping};
use crate::context::{Context, midnight};
use crate::exit::ExitStatus;
use crate::json;
use crate::printer::{Style, table};
use audiorag::core::capability::Usage;
use audiorag::core::{Money, Result};
use audiorag::prices::{Price, Prices};
use audiorag::state::{CostBy, CostRow, CostWindow};

pub(super) async fn run(context: &Context, args: &Cost) -> Result<ExitStatus> {
    if args.prices {
        return prices(context);
    }
    let window = CostWindow {
        since: args
            .since
            .as_deref()
            .map(|day| midnight("--since", day))
            .transpose()?,
        until: args
            .until
            .as_deref()
            .map(|day| midnight("--until", day))
            .transpose()?,
        ..CostWindow::default()
    };
    let by = match args.by {
        Grouping::Provider => CostBy::Provider,
        Grouping::Source => CostBy::Source,
        Grouping::Day => CostBy::Day,
        Grouping::Operation => CostBy::Operation,
    };
    let rows = context.open_existing().await?.state().costs(by, window).await?;
    let printer = &context.printer;
    if printer.is_json() {
        printer.json(&json::costs(&rows))?;
        return Ok(ExitStatus::Success);
    }
    if rows.is_empty() {
        printer.note("no calls to providers that cost anything");
        return Ok(ExitStatus::Success);
    }
    let head = ["", "COST", "CALLS", "AUDIO", "TOKENS", ""];
    let mut lines = vec![head.map(|name| printer.paint(Style::Bold, name)).to_vec()];
    lines.extend(rows.iter().map(|row| {
        let group = if row.group.is_empty() {
            "questions"
        } else {
            &row.group
        };
        vec![
            group.to_owned(),
            row.amounts
                .cost
                .map_or_else(|| "unknown".to_owned(), |cost| cost.to_string()),
            row.calls.to_string(),
            row.amounts.usage.audio.to_string(),
            tokens(&row.amounts.usage).to_string(),
            remarks(row),
        ]
    }));
    for line in table(&lines) {
        printer.line(line)?;
    }
    let total: Money = rows.iter().filter_map(|row| row.amounts.cost).sum();
    printer.line(format_args!(
        "{total} in all, by list prices: what is billed may differ"
    ))?;
    Ok(ExitStatus::Success)
}

const fn tokens(usage: &Usage) -> u64 {
    usage.input_tokens.saturating_add(usage.output_tokens)
}

/// What a sum leaves out, or may count too much.
fn remarks(row: &CostRow) -> String {
    let remarks = [
        (row.unpriced, "without a known price"),
        (row.failed, "refused"),
        (row.lost, "with an unknown end, counted as expected"),
        (row.open, "under way"),
    ];
    let remarks = remarks
        .into_iter()
        .filter(|(number, _)| *number > 0)
        .map(|(number, what)| format!("{number} {what}"));
    remarks.collect::<Vec<_>>().join(", ")
}

/// The prices that are in force.
fn prices(context: &Context) -> Result<ExitStatus> {
    let prices = Prices::load(context.settings())?;
    let printer = &context.printer;
    if printer.is_json() {
        printer.json(&json::prices(&prices))?;
        return Ok(ExitStatus::Success);
    }
    let head = ["MODEL", "USD", "CHECKED", "SOURCE"];
    let mut lines = vec![head.map(|name| printer.paint(Style::Bold, name)).to_vec()];
    lines.extend(prices.iter().map(|(name, price)| {
        vec![
            name.to_owned(),
            words(price),
            price.checked.clone().unwrap_or_default(),
            price.source.clone().unwrap_or_default(),
        ]
    }));
    for line in table(&lines) {
        printer.line(line)?;
    }
    Ok(ExitStatus::Success)
}

fn words(price: &Price) -> String {
    let parts = [
        (price.audio_minute, "a minute of audio"),
        (price.million_tokens, "a million tokens read"),
        (price.million_tokens_written, "a million tokens written"),
        (price.request, "a request"),
    ];
    let parts = parts
        .into_iter()
        .filter_map(|(usd, unit)| Some(format!("{} {unit}", (usd? * 1e6).round() / 1e6)));
    parts.collect::<Vec<_>>().join(", ")
}

/// `$0.12, 3 of 5 calls without a known price`.
pub(super) fn spent(cost: Money, calls: u64, unpriced: u64) -> String {
    match unpriced {
        0 => cost.to_string(),
        all if all == calls => format!("{} without a known price", count(calls as usize, "call")),
        some => format!(
            "{cost}, {some} of {} without a known price",
            count(calls as usize, "call")
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_of_a_sum_is_said() {
        let cost = Money::from_usd(0.12).unwrap();
        assert_eq!(spent(cost, 5, 0), "$0.12");
        assert_eq!(spent(cost, 5, 3), "$0.12, 3 of 5 calls without a known price");
        assert_eq!(spent(Money::ZERO, 1, 1), "1 call without a known price");
    }
}
