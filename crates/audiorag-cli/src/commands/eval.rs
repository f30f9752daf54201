//! `audiorag eval`.

use super::{count, open};
use crate::args::Eval;
use crate::context::Context;
use crate::exit::ExitStatus;
use crate::printer::{Printer, Style, table};
use audiorag::core::{Error, Result};
use audiorag::eval::EvalOptions;
use audiorag::eval::plot;
use audiorag::eval::questions;
use audiorag::eval::report::{Figures, METRICS, Report, figures_json};
use audiorag::eval::statistics::Estimate;
use audiorag::eval::words;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;

/// Settings that change what is found and answered.
const TELLING: [&str; 6] = [
    "stt.",
    "embedding.",
    "chunk.",
    "retrieval.",
    "reranker.",
    "generation.",
];

pub(super) async fn run(context: &Context, args: &Eval) -> Result<ExitStatus> {
    let others = args
        .compare
        .iter()
        .map(|path| Report::read(path))
        .collect::<Result<Vec<_>>>()?;
    let own = match &args.questions {
        Some(path) => Some(evaluate(context, args, path).await?),
        None => None,
    };
    // The first of them is what the others are held against.
    let runs: Vec<&Report> = others.iter().chain(&own).collect();
    if let Some(path) = &args.svg {
        std::fs::write(path, plot::svg(&runs)).map_err(|error| {
            Error::state(format!("cannot write {}", path.display()))
                .with_cause(error)
                .with_hint("give --svg a file in a folder that can be written to")
        })?;
    }
    let printer = &context.printer;
    let differences = differences(&runs)?;
    if printer.is_json() {
        printer.json(&document(own.as_ref(), &runs, &differences)?)?;
        return Ok(ExitStatus::Success);
    }
    if let ([only], true) = (runs.as_slice(), own.is_some()) {
        one(printer, only)?;
    } else {
        several(printer, &runs, &differences)?;
    }
    Ok(ExitStatus::Success)
}

/// Asks the questions.
async fn evaluate(context: &Context, args: &Eval, path: &Path) -> Result<Report> {
    let asked = questions::read(path)?;
    let references = match &args.references {
        Some(path) => words::references(path)?,
        None => BTreeMap::new(),
    };
    let name = || path.file_stem().map(|name| name.to_string_lossy().into_owned());
    let settings = context
        .resolution
        .entries
        .iter()
        .filter(|entry| {
            TELLING
                .iter()
                .any(|group| entry.key.spec().path.starts_with(group))
        })
        .filter_map(|entry| Some((entry.key.spec().path.to_owned(), entry.value.clone()?)))
        .collect();
    let options = EvalOptions {
        label: args.label.clone().or_else(name).unwrap_or_default(),
        references,
        settings,
    };
    let audiorag = open(context).await?;
    let bar = context
        .printer
        .bars()
        .add(ProgressBar::new(asked.len() as u64).with_style(style()));
    let report = audiorag
        .evaluate(&asked, options, &|done| bar.set_position(done as u64))
        .await;
    bar.finish_and_clear();
    report
}

fn style() -> ProgressStyle {
    ProgressStyle::with_template("{bar:30} {pos} of {len} questions")
        .unwrap_or_else(|_| ProgressStyle::default_bar())
}

/// How each run differs from the first one.
fn differences(runs: &[&Report]) -> Result<Vec<Figures>> {
    let Some((first, rest)) = runs.split_first() else {
        return Ok(Vec::new());
    };
    rest.iter().map(|run| run.differences(first)).collect()
}

/// This run's results, with those of the others in short; without a run of its own, only these.
fn document(own: Option<&Report>, runs: &[&Report], differences: &[Figures]) -> Result<Value> {
    let mut value = match own {
        Some(report) => report.to_json()?,
        None => json!({}),
    };
    if let (Some(object), Some((first, rest))) = (value.as_object_mut(), runs.split_first())
        && !rest.is_empty()
    {
        let compared: Vec<Value> = rest
            .iter()
            .zip(differences)
            .map(|(run, difference)| {
                json!({"label": run.label, "against": first.label, "differences": figures_json(difference)})
            })
            .collect();
        object.insert("compared".to_owned(), Value::Array(compared));
        let figures = |run: &&Report| {
            json!({
                "label": run.label,
                "questions": run.outcomes.len(),
                "metrics": figures_json(&run.figures()),
            })
        };
        object.insert("runs".to_owned(), runs.iter().map(figures).collect());
    }
    Ok(value)
}

/// A run alone: a row a figure, a column a kind of question.
fn one(printer: &Printer, run: &Report) -> Result<()> {
    let kinds = run.figures_by_kind();
    let all = run.figures();
    let mut head = vec![
        String::new(),
        format!("all ({})", run.outcomes.len()),
        "95 % interval".to_owned(),
    ];
    if kinds.len() > 1 {
        head.extend(
            kinds
                .iter()
                .map(|(kind, questions, _)| format!("{kind} ({questions})")),
        );
    }
    let mut lines = vec![bold(printer, head)];
    for (metric, estimate) in &all {
        let mut line = vec![
            metric.title.to_owned(),
            figure(estimate.value),
            interval(*estimate),
        ];
        if kinds.len() > 1 {
            line.extend(kinds.iter().map(|(_, _, figures)| {
                value(figures, metric.name).map_or_else(|| "-".to_owned(), |e| figure(e.value))
            }));
        }
        lines.push(line);
    }
    if let Some(rate) = run.word_error_rate() {
        lines.push(vec![
            "word error rate".to_owned(),
            figure(rate.value),
            interval(rate),
        ]);
    }
    show(printer, &lines)?;
    let timings = run.timings;
    printer.note(format_args!(
        "{}: a search took {} ms, an answer {} ms (medians)",
        count(run.outcomes.len(), "question"),
        timings.search.median,
        timings.query.median
    ));
    Ok(())
}

/// Short names of the figures that a table of several runs has room for.
const COLUMNS: [(&str, &str); 14] = [
    ("recall_1", "R@1"),
    ("recall_5", "R@5"),
    ("recall_10", "R@10"),
    ("recall_2min", "R@2min"),
    ("ndcg_10", "nDCG"),
    ("mrr_10", "MRR"),
    ("cited", "CITED"),
    ("citation_iou", "IoU"),
    ("start_error_median", "START"),
    ("start_error_p95", "P95"),
    ("quotes_said", "SAID"),
    ("answered", "ANSW"),
    ("abstention_precision", "ABST-P"),
    ("abstention_recall", "ABST-R"),
];

/// The figures whose differences are shown with their intervals.
const JUDGED: [&str; 5] = [
    "recall_5",
    "ndcg_10",
    "citation_iou",
    "start_error_median",
    "start_error_p95",
];

/// Runs side by side: a row a run, a column a figure; then how each differs from the first.
fn several(printer: &Printer, runs: &[&Report], differences: &[Figures]) -> Result<()> {
    let figures: Vec<Figures> = runs.iter().map(|run| run.figures()).collect();
    let rates: Vec<Option<Estimate>> = runs.iter().map(|run| run.word_error_rate()).collect();
    let mut head = vec![String::new()];
    head.extend(COLUMNS.iter().map(|(_, title)| (*title).to_owned()));
    head.push("WER".to_owned());
    let mut lines = vec![bold(printer, head)];
    for ((run, figures), rate) in runs.iter().zip(&figures).zip(&rates) {
        let shown = |estimate: Option<Estimate>| estimate.map_or_else(|| "-".to_owned(), |e| figure(e.value));
        let mut line = vec![run.label.clone()];
        line.extend(COLUMNS.iter().map(|(name, _)| shown(value(figures, name))));
        line.push(shown(*rate));
        lines.push(line);
    }
    show(printer, &lines)?;
    let judged = METRICS.iter().filter(|metric| JUDGED.contains(&metric.name));
    for metric in judged {
        let mut lines = vec![bold(
            printer,
            vec![
                metric.title.to_owned(),
                String::new(),
                "95 % interval".to_owned(),
                "difference from the first".to_owned(),
            ],
        )];
        for (index, (run, figures)) in runs.iter().zip(&figures).enumerate() {
            let Some(estimate) = value(figures, metric.name) else {
                continue;
            };
            let difference = index
                .checked_sub(1)
                .and_then(|index| differences.get(index))
                .and_then(|figures| value(figures, metric.name))
                .map_or_else(String::new, |difference| {
                    changed(printer, difference, metric.less_is_better)
                });
            lines.push(vec![
                run.label.clone(),
                figure(estimate.value),
                interval(estimate),
                difference,
            ]);
        }
        printer.line("")?;
        show(printer, &lines)?;
    }
    printer.note("differences by paired bootstrap: better or worse where the 95 % interval is clear of 0");
    Ok(())
}

fn bold(printer: &Printer, cells: Vec<String>) -> Vec<String> {
    cells
        .into_iter()
        .map(|cell| printer.paint(Style::Bold, cell))
        .collect()
}

fn show(printer: &Printer, lines: &[Vec<String>]) -> Result<()> {
    for line in table(lines) {
        printer.line(line)?;
    }
    Ok(())
}

fn value(figures: &Figures, name: &str) -> Option<Estimate> {
    figures
        .iter()
        .find(|(metric, _)| metric.name == name)
        .map(|(_, estimate)| *estimate)
}

fn figure(value: f64) -> String {
    format!("{value:.3}")
}

fn interval(estimate: Estimate) -> String {
    format!("[{:.3}, {:.3}]", estimate.low, estimate.high)
}

/// A difference, in words as well as in colour.
fn changed(printer: &Printer, difference: Estimate, less_is_better: bool) -> String {
    let (verdict, style) = match (difference.low > 0.0, difference.high < 0.0) {
        (false, false) => ("may be chance", Style::Dim),
        (more, _) if more != less_is_better => ("better", Style::Good),
        _ => ("worse", Style::Bad),
    };
    let text = format!(
        "{:+.3} [{:+.3}, {:+.3}] {verdict}",
        difference.value, difference.low, difference.high
    );
    printer.paint(style, text)
}
