//! Runs side by side as an SVG picture: a panel a figure, a line a run, with its confidence interval.

use super::report::{METRICS, Report};
use super::statistics::Estimate;
use std::fmt::Write as _;

const PANEL_WIDTH: f64 = 330.0;
const LABEL_WIDTH: f64 = 190.0;
const ROW: f64 = 20.0;
const HEAD: f64 = 44.0;
const COLUMNS: usize = 3;

/// Draws the figures that all of `runs` together have. Less is left; a panel's title says when less is better.
pub fn svg(runs: &[&Report]) -> String {
    let figures: Vec<_> = runs.iter().map(|run| run.figures()).collect();
    let panels: Vec<(String, Vec<Option<Estimate>>)> = METRICS
        .iter()
        .map(|metric| {
            let values = figures
                .iter()
                .map(|figures| {
                    figures
                        .iter()
                        .find(|(m, _)| m.name == metric.name)
                        .map(|(_, e)| *e)
                })
                .collect();
            let remark = if metric.less_is_better {
                " (less is better)"
            } else {
                ""
            };
            (format!("{}{remark}", metric.title), values)
        })
        .filter(|(_, values): &(_, Vec<Option<Estimate>>)| values.iter().any(Option::is_some))
        .collect();
    let panel_height = HEAD + ROW * runs.len() as f64 + 16.0;
    let rows = panels.len().div_ceil(COLUMNS);
    let width = (LABEL_WIDTH + PANEL_WIDTH) * COLUMNS as f64;
    let height = panel_height * rows as f64 + 10.0;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" font-family=\"sans-serif\" \
         font-size=\"12\">\n<rect width=\"{width}\" height=\"{height}\" fill=\"white\"/>\n"
    );
    for (index, (title, values)) in panels.iter().enumerate() {
        let x = (index % COLUMNS) as f64 * (LABEL_WIDTH + PANEL_WIDTH);
        let y = (index / COLUMNS) as f64 * panel_height;
        panel(&mut out, (x, y), title, runs, values);
    }
    out.push_str("</svg>\n");
    out
}

fn panel(out: &mut String, (x, y): (f64, f64), title: &str, runs: &[&Report], values: &[Option<Estimate>]) {
    let (left, right) = (x + LABEL_WIDTH, x + LABEL_WIDTH + PANEL_WIDTH - 70.0);
    let most = values.iter().flatten().map(|e| e.high).fold(0.0, f64::max);
    // Shares are drawn from 0 to 1; seconds as far as they go.
    let most = if most <= 1.0 { 1.0 } else { most };
    let at = |value: f64| left + (value / most).clamp(0.0, 1.0) * (right - left);
    let _ = writeln!(
        out,
        "<text x=\"{left:.1}\" y=\"{:.1}\" font-weight=\"bold\">{}</text>",
        y + 20.0,
        escape(title)
    );
    let bottom = y + HEAD + ROW * runs.len() as f64 - 8.0;
    for tick in 0..=4 {
        let value = most * f64::from(tick) / 4.0;
        let _ = writeln!(
            out,
            "<line x1=\"{0:.1}\" y1=\"{1:.1}\" x2=\"{0:.1}\" y2=\"{bottom:.1}\" stroke=\"#ddd\"/>\
             <text x=\"{0:.1}\" y=\"{2:.1}\" font-size=\"9\" fill=\"#666\" text-anchor=\"middle\">{value:.2}</text>",
            at(value),
            y + 28.0,
            bottom + 10.0
        );
    }
    for (row, (run, estimate)) in runs.iter().zip(values).enumerate() {
        let middle = y + HEAD + ROW * row as f64;
        let _ = writeln!(
            out,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            left - 8.0,
            middle + 4.0,
            escape(&shortened(&run.label))
        );
        let Some(estimate) = estimate else { continue };
        let _ = writeln!(
            out,
            "<line x1=\"{:.1}\" y1=\"{middle:.1}\" x2=\"{:.1}\" y2=\"{middle:.1}\" stroke=\"#36c\" stroke-width=\"2\"/>\
             <circle cx=\"{:.1}\" cy=\"{middle:.1}\" r=\"4\" fill=\"#36c\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\" font-size=\"11\">{:.3}</text>",
            at(estimate.low),
            at(estimate.high),
            at(estimate.value),
            right + 10.0,
            middle + 4.0,
            estimate.value
        );
    }
}

fn shortened(label: &str) -> String {
    const MOST: usize = 28;
    if label.chars().count() <= MOST {
        return label.to_owned();
    }
    label.chars().take(MOST - 1).chain(['\u{2026}']).collect()
}

fn escape(text: &str) -> String {
    text.chars()
        // XML knows no other control characters, not even escaped.
        .filter(|c| !c.is_control())
        .map(|c| match c {
            '&' => "&amp;".to_owned(),
            '<' => "&lt;".to_owned(),
            '>' => "&gt;".to_owned(),
            '"' => "&quot;".to_owned(),
            c => c.to_string(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eval::report::{FORMAT, Outcome, Timings};
    use std::collections::BTreeMap;

    #[test]
    fn a_run_is_drawn_with_its_name_and_figures_whatever_it_is_called() {
        let run = |label: &str, recall: f64| Report {
            format: FORMAT,
            label: label.to_owned(),
            settings: BTreeMap::new(),
            outcomes: vec![Outcome {
                recall_5: recall,
                start_errors: vec![3.5],
                overlaps: vec![0.4],
                ..Outcome::default()
            }],
            transcripts: vec![],
            timings: Timings::default(),
        };
        let (a, b) = (run("<peer> & \u{1b}co", 0.25), run("ours", 0.75));
        let picture = svg(&[&a, &b]);
        assert!(picture.starts_with("<svg ") && picture.ends_with("</svg>\n"));
        assert!(picture.contains("&lt;peer&gt; &amp; co") && !picture.contains("<peer>"));
        for text in [
            "recall@5",
            ">0.250<",
            ">0.750<",
            "start error (s) (less is better)",
            ">3.500<",
        ] {
            assert!(picture.contains(text), "{text}");
        }
        assert_eq!(
            picture.matches("<text").count(),
            picture.matches("</text>").count()
        );
        assert!(!picture.contains("NaN") && !picture.contains("inf"));
    }
}
