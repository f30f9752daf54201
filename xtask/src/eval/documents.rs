//! The figures in `docs/quality.md`, written between two marks.

use super::page;
use anyhow::{Context, Result};
use serde_json::Value;
use std::fmt::Write as _;

const BEGIN: &str = "<!-- figures of cargo xtask eval: begin -->";
const END: &str = "<!-- figures of cargo xtask eval: end -->";

/// Columns of the table of variants: the metric, its title, and whether its difference from the first is shown.
const COLUMNS: &[(&str, &str)] = &[
    ("recall_1", "recall@1"),
    ("recall_5", "recall@5"),
    ("recall_10", "recall@10"),
    ("recall_2min", "recall@2min"),
    ("ndcg_10", "nDCG@10"),
    ("mrr_10", "MRR@10"),
    ("cited", "cited"),
    ("citation_iou", "citation IoU"),
    ("start_error_median", "start error, median (s)"),
    ("start_error_p95", "p95 (s)"),
    ("abstention_precision", "abstention precision"),
    ("abstention_recall", "recall"),
];

/// Rows of the table of differences.
const JUDGED: &[(&str, &str)] = &[
    ("recall_5", "recall@5"),
    ("ndcg_10", "nDCG@10"),
    ("citation_iou", "citation IoU"),
    ("start_error_median", "start error, median (s)"),
    ("start_error_p95", "start error, p95 (s)"),
];

/// Replaces what stands between the marks.
pub(super) fn bless(summary: &Value) -> Result<()> {
    let path = page();
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let text = replaced(&text, &figures(summary))
        .with_context(|| format!("{} has no marks for the figures", path.display()))?;
    std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    println!("wrote the figures into {}", path.display());
    Ok(())
}

fn replaced(text: &str, figures: &str) -> Option<String> {
    let (before, rest) = text.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}\n\n{figures}\n{END}{after}"))
}

/// The tables as Markdown.
fn figures(summary: &Value) -> String {
    let variants = summary
        .get("variants")
        .and_then(Value::as_array)
        .map(Vec::as_slice)
        .unwrap_or_default();
    let mut out = String::new();
    let questions = variants
        .first()
        .and_then(|first| first.get("questions"))
        .and_then(Value::as_u64)
        .unwrap_or_default();
    let commit = summary.get("commit").and_then(Value::as_str).unwrap_or_default();
    let _ = writeln!(
        out,
        "Made by `cargo xtask eval --bless` of commit {commit}, {questions} questions{}.\n",
        variants
            .first()
            .and_then(|first| estimate(first, "metrics", "word_error_rate"))
            .map_or_else(String::new, |(rate, low, high)| format!(
                "; word error rate of the transcripts {rate:.3} [{low:.3}, {high:.3}]"
            ))
    );
    table(&mut out, "variant", COLUMNS, variants, plain);
    let _ = writeln!(
        out,
        "\nWith 95 % intervals, and in brackets the interval of the difference from the first (paired bootstrap); \
         **bold** where it is not chance.\n"
    );
    table(&mut out, "variant", JUDGED, variants, judged);
    let held_out = summary
        .get("held_out_half")
        .and_then(Value::as_array)
        .map(Vec::as_slice)
        .unwrap_or_default();
    let count = held_out
        .first()
        .and_then(|first| first.get("questions"))
        .and_then(Value::as_u64);
    if let Some(count) = count {
        let _ = writeln!(
            out,
            "\nThe held-out half alone, {count} questions by which nothing is chosen:\n"
        );
        table(&mut out, "variant", COLUMNS, held_out, plain);
        let _ = writeln!(out);
        table(&mut out, "variant", JUDGED, held_out, judged);
    }
    if let Some(last) = variants.last() {
        let _ = writeln!(
            out,
            "\nThe last variant, `{}`, by kind of question:\n",
            last.get("label").and_then(Value::as_str).unwrap_or_default()
        );
        let kinds: Vec<Value> = last
            .get("kinds")
            .and_then(Value::as_object)
            .into_iter()
            .flatten()
            .map(|(kind, figures)| {
                let mut row = figures.clone();
                if let Some(row) = row.as_object_mut() {
                    let questions = figures
                        .get("questions")
                        .and_then(Value::as_u64)
                        .unwrap_or_default();
                    row.insert("label".to_owned(), format!("{kind} ({questions})").into());
                }
                row
            })
            .collect();
        table(&mut out, "kind", COLUMNS, &kinds, plain);
    }
    out
}

/// A figure alone.
fn plain(row: &Value, name: &str) -> String {
    match estimate(row, "metrics", name) {
        Some((value, ..)) => format!("{value:.3}"),
        None => "-".to_owned(),
    }
}

/// A figure with its interval and that of its difference from the first.
fn judged(row: &Value, name: &str) -> String {
    let own = estimate(row, "metrics", name).map_or_else(
        || "-".to_owned(),
        |(value, low, high)| format!("{value:.3} ({low:.3} to {high:.3})"),
    );
    match estimate(row, "differences_from_the_first", name) {
        Some((_, low, high)) if low > 0.0 || high < 0.0 => format!("{own} **[{low:+.3}, {high:+.3}]**"),
        Some((_, low, high)) => format!("{own} [{low:+.3}, {high:+.3}]"),
        None => own,
    }
}

/// A figure with the bounds of its interval.
fn estimate(variant: &Value, group: &str, name: &str) -> Option<(f64, f64, f64)> {
    let figure = variant.get(group)?.get(name)?;
    let number = |field: &str| figure.get(field)?.as_f64();
    Some((number("value")?, number("low")?, number("high")?))
}

fn table(
    out: &mut String,
    first: &str,
    columns: &[(&str, &str)],
    rows: &[Value],
    cell: impl Fn(&Value, &str) -> String,
) {
    let titles: Vec<&str> = columns.iter().map(|(_, title)| *title).collect();
    let _ = writeln!(out, "| {first} | {} |", titles.join(" | "));
    let _ = writeln!(out, "|---|{}", "---:|".repeat(columns.len()));
    for row in rows {
        let label = row.get("label").and_then(Value::as_str).unwrap_or_default();
        let cells: Vec<String> = columns.iter().map(|(name, _)| cell(row, name)).collect();
        let _ = writeln!(out, "| {label} | {} |", cells.join(" | "));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn figures_take_the_place_between_the_marks() {
        let summary = json!({"commit": "abc", "variants": [
            {"label": "peer", "questions": 9, "metrics": {"recall_5": {"value": 0.5, "low": 0.4, "high": 0.6}}},
            {
                "label": "ours",
                "metrics": {"recall_5": {"value": 0.75, "low": 0.6, "high": 0.8}},
                "differences_from_the_first": {"recall_5": {"value": 0.25, "low": 0.1, "high": 0.4}},
                "kinds": {"plain": {"questions": 7, "metrics": {"recall_5": {"value": 0.9, "low": 0.8, "high": 1.0}}}},
            },
        ], "held_out_half": [
            {"label": "peer", "questions": 4, "metrics": {"recall_5": {"value": 0.25, "low": 0.1, "high": 0.4}}},
        ]});
        let page = format!("before\n{BEGIN}\nlast week\n{END}\nafter\n");
        let new = replaced(&page, &figures(&summary)).unwrap();
        assert!(new.starts_with("before\n") && new.ends_with(&format!("{END}\nafter\n")));
        assert!(!new.contains("last week") && new.contains("commit abc, 9 questions"));
        assert!(
            new.contains("| ours | 0.750 (0.600 to 0.800) **[+0.100, +0.400]** |"),
            "{new}"
        );
        assert!(new.contains("| plain (7) | - | 0.900 |"), "{new}");
        assert!(new.contains("The held-out half alone, 4 questions") && new.contains("| peer | - | 0.250 |"));
        assert_eq!(replaced("no marks", ""), None);
    }
}
