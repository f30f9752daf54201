//! The results of a run: kept for each question, summed up with confidence intervals, compared with other runs.

use super::metrics::share;
use super::statistics::{Estimate, bootstrap, quantile};
use super::words::WordErrors;
use audiorag_core::{Error, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::time::Duration;

/// The version of the files that [`Report::to_json`] writes.
pub const FORMAT: u32 = 1;

/// What one question brought.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Outcome {
    /// The question's id.
    pub id: String,
    /// Its kind.
    pub kind: String,
    /// Its text.
    pub question: String,
    /// Whether the right answer is none.
    pub unanswerable: bool,
    /// [`recall_at`](super::metrics::recall_at) 1.
    pub recall_1: f64,
    /// [`recall_at`](super::metrics::recall_at) 5.
    pub recall_5: f64,
    /// [`recall_at`](super::metrics::recall_at) 10.
    pub recall_10: f64,
    /// [`recall_within`](super::metrics::recall_within) two minutes of passages.
    pub recall_2min: f64,
    /// [`ndcg_at`](super::metrics::ndcg_at) 10.
    pub ndcg_10: f64,
    /// The first of ten passages that is right, counted from 1.
    pub first_rank: Option<usize>,
    /// For each right stretch, intersection over union with the best citation.
    pub overlaps: Vec<f64>,
    /// For each right stretch that is cited, how far the best citation starts from it, in seconds.
    pub start_errors: Vec<f64>,
    /// Citations that overlap a right stretch.
    pub citations_right: usize,
    /// All citations; of an answer that nobody writes, the first three passages.
    pub citations_in_all: usize,
    /// Whether no answer was given.
    pub abstained: bool,
    /// Statements of the answer.
    pub statements: usize,
    /// Those with a citation.
    pub statements_cited: usize,
    /// The answer.
    pub answer: String,
    /// Its citations.
    pub citations: Vec<Cited>,
    /// What was found, best first.
    pub passages: Vec<Passage>,
}

/// A citation of an answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cited {
    /// The source's title.
    pub title: String,
    /// Start in seconds.
    pub start: f64,
    /// End in seconds.
    pub end: f64,
    /// The words it quotes.
    pub quote: String,
    /// Whether the stored transcript has these words within the span.
    pub said: bool,
}

/// A passage that was found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Passage {
    /// The source's title.
    pub title: String,
    /// Start in seconds.
    pub start: f64,
    /// End in seconds.
    pub end: f64,
}

/// How long something took, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Timing {
    /// Half took longer.
    pub median: f64,
    /// One in twenty took longer.
    pub p95: f64,
}

impl Timing {
    /// Of these durations.
    pub fn of(durations: &[Duration]) -> Self {
        let mut millis: Vec<f64> = durations.iter().map(|d| d.as_secs_f64() * 1000.0).collect();
        millis.sort_by(f64::total_cmp);
        let at = |q| quantile(&millis, q).map_or(0.0, |ms| (ms * 10.0).round() / 10.0);
        Self {
            median: at(0.5),
            p95: at(0.95),
        }
    }
}

/// How long questions took: the one part of a report that differs from run to run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Timings {
    /// Finding passages.
    pub search: Timing,
    /// Answering, which finds passages first.
    pub query: Timing,
}

/// The results of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// [`FORMAT`].
    pub format: u32,
    /// What the run is called.
    pub label: String,
    /// Settings it was made with.
    pub settings: BTreeMap<String, String>,
    /// Each question.
    #[serde(rename = "questions")]
    pub outcomes: Vec<Outcome>,
    /// Each source with a reference transcript.
    pub transcripts: Vec<WordErrors>,
    /// How long it took.
    #[serde(rename = "timings_ms")]
    pub timings: Timings,
}

/// A figure of a run. Its value is `None` where it is undefined, as recall is without a question that has an answer.
#[derive(Clone, Copy)]
pub struct Metric {
    /// The name in JSON.
    pub name: &'static str,
    /// The name in tables.
    pub title: &'static str,
    /// Whether less is better.
    pub less_is_better: bool,
    /// The figure of these questions.
    pub of: fn(&[&Outcome]) -> Option<f64>,
}

macro_rules! metrics {
    ($($name:literal, $title:literal, $less:literal, $of:expr;)+) => {
        /// Every figure, in the order of tables.
        pub const METRICS: &[Metric] = &[$(Metric { name: $name, title: $title, less_is_better: $less, of: $of }),+];
    };
}

metrics! {
    "recall_1", "recall@1", false, |all| mean(all, |o| o.recall_1);
    "recall_5", "recall@5", false, |all| mean(all, |o| o.recall_5);
    "recall_10", "recall@10", false, |all| mean(all, |o| o.recall_10);
    "recall_2min", "recall@2min", false, |all| mean(all, |o| o.recall_2min);
    "ndcg_10", "nDCG@10", false, |all| mean(all, |o| o.ndcg_10);
    "mrr_10", "MRR@10", false, |all| mean(all, |o| o.first_rank.map_or(0.0, |rank| 1.0 / rank as f64));
    "cited", "cited", false, |all| pooled(all, |o| o.start_errors.len(), |o| o.overlaps.len());
    "citation_iou", "citation IoU", false, |all| average(all.iter().flat_map(|o| o.overlaps.iter().copied()));
    "citation_precision", "right citations", false, |all| pooled(all, |o| if o.unanswerable { 0 } else { o.citations_right }, |o| if o.unanswerable { 0 } else { o.citations_in_all });
    "start_error_median", "start error (s)", true, |all| start_error(all, 0.5);
    "start_error_p95", "start error p95", true, |all| start_error(all, 0.95);
    "quotes_said", "quotes said", false, |all| pooled(all, |o| o.citations.iter().filter(|c| c.said).count(), |o| o.citations.len());
    "statements_cited", "statements cited", false, |all| pooled(all, |o| o.statements_cited, |o| o.statements);
    "answered", "answered", false, |all| mean(all, |o| if o.abstained { 0.0 } else { 1.0 });
    "abstention_precision", "abstention precision", false, |all| pooled(all, |o| usize::from(o.abstained && o.unanswerable), |o| usize::from(o.abstained));
    "abstention_recall", "abstention recall", false, |all| pooled(all, |o| usize::from(o.abstained && o.unanswerable), |o| usize::from(o.unanswerable));
}

/// The mean over the questions that have an answer.
fn mean(all: &[&Outcome], value: impl Fn(&Outcome) -> f64) -> Option<f64> {
    average(all.iter().filter(|o| !o.unanswerable).map(|o| value(o)))
}

fn average(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (sum, count) = values.fold((0.0, 0), |(sum, count), value| (sum + value, count + 1));
    (count > 0).then(|| sum / f64::from(count))
}

fn pooled(
    all: &[&Outcome],
    part: impl Fn(&Outcome) -> usize,
    whole: impl Fn(&Outcome) -> usize,
) -> Option<f64> {
    let sum = |count: &dyn Fn(&Outcome) -> usize| all.iter().map(|o| count(o)).sum::<usize>();
    let whole = sum(&whole);
    (whole > 0).then(|| share(sum(&part), whole))
}

fn start_error(all: &[&Outcome], q: f64) -> Option<f64> {
    let mut errors: Vec<f64> = all.iter().flat_map(|o| o.start_errors.iter().copied()).collect();
    errors.sort_by(f64::total_cmp);
    quantile(&errors, q)
}

/// Figures by the names of their metrics; those that are undefined are left out.
pub type Figures = Vec<(&'static Metric, Estimate)>;

impl Report {
    /// Reads a report that [`to_json`](Self::to_json) wrote.
    ///
    /// # Errors
    /// [`Input`](audiorag_core::ErrorKind::Input) when the file cannot be read or is none.
    pub fn read(path: &Path) -> Result<Self> {
        let hint = "give a file that `audiorag eval QUESTIONS --json` wrote";
        let text = std::fs::read_to_string(path).map_err(|error| {
            Error::input(format!("cannot read the results in {}", path.display()))
                .with_cause(error)
                .with_hint(hint)
        })?;
        let report: Self = serde_json::from_str(&text).map_err(|error| {
            Error::input(format!("{} holds no results of an evaluation", path.display()))
                .with_cause(error)
                .with_hint(hint)
        })?;
        if report.format == FORMAT {
            Ok(report)
        } else {
            Err(Error::input(format!(
                "{} has format {}, and this program reads {FORMAT}",
                path.display(),
                report.format
            ))
            .with_hint("run that evaluation again"))
        }
    }

    /// The figures of all questions.
    pub fn figures(&self) -> Figures {
        figures(&self.outcomes.iter().collect::<Vec<_>>())
    }

    /// The figures of each kind of question, by name.
    pub fn figures_by_kind(&self) -> Vec<(&str, usize, Figures)> {
        let kinds: BTreeSet<&str> = self.outcomes.iter().map(|o| o.kind.as_str()).collect();
        kinds
            .into_iter()
            .map(|kind| {
                let of_kind: Vec<&Outcome> = self.outcomes.iter().filter(|o| o.kind == kind).collect();
                (kind, of_kind.len(), figures(&of_kind))
            })
            .collect()
    }

    /// The share of words that speech-to-text got wrong, over all sources with a reference.
    pub fn word_error_rate(&self) -> Option<Estimate> {
        bootstrap(&self.transcripts, |all| {
            let words: usize = all.iter().map(|t| t.words).sum();
            let errors: usize = all.iter().map(|t| t.errors()).sum();
            (words > 0).then(|| share(errors, words))
        })
    }

    /// Everything, the figures included.
    pub fn to_json(&self) -> Result<Value> {
        let mut value =
            serde_json::to_value(self).map_err(|error| Error::internal("a report").with_cause(error))?;
        let kinds: serde_json::Map<String, Value> = self
            .figures_by_kind()
            .into_iter()
            .map(|(kind, questions, figures)| {
                (
                    kind.to_owned(),
                    json!({"questions": questions, "metrics": figures_json(&figures)}),
                )
            })
            .collect();
        if let Some(object) = value.as_object_mut() {
            let mut metrics = figures_json(&self.figures());
            if let (Some(rate), Some(metrics)) = (self.word_error_rate(), metrics.as_object_mut()) {
                metrics.insert("word_error_rate".to_owned(), estimate_json(rate));
            }
            object.insert("metrics".to_owned(), metrics);
            object.insert("kinds".to_owned(), Value::Object(kinds));
        }
        Ok(value)
    }

    /// How the figures of this run differ from those of `other` on the questions that both asked, by paired bootstrap:
    /// the same questions are drawn for both. An interval without 0 is a difference that is not chance.
    ///
    /// # Errors
    /// [`Input`](audiorag_core::ErrorKind::Input) when they have no question in common.
    pub fn differences(&self, other: &Self) -> Result<Figures> {
        let others: HashMap<&str, &Outcome> = other.outcomes.iter().map(|o| (o.id.as_str(), o)).collect();
        let pairs: Vec<(&Outcome, &Outcome)> = self
            .outcomes
            .iter()
            .filter_map(|o| others.get(o.id.as_str()).map(|other| (o, *other)))
            .collect();
        if pairs.is_empty() {
            return Err(Error::input(format!(
                "'{}' and '{}' have no question in common",
                self.label, other.label
            ))
            .with_hint("compare runs of the same question file"));
        }
        Ok(METRICS
            .iter()
            .filter_map(|metric| {
                let difference = bootstrap(&pairs, |drawn| {
                    let mine: Vec<&Outcome> = drawn.iter().map(|(mine, _)| *mine).collect();
                    let theirs: Vec<&Outcome> = drawn.iter().map(|(_, theirs)| *theirs).collect();
                    Some((metric.of)(&mine)? - (metric.of)(&theirs)?)
                });
                difference.map(|difference| (metric, difference))
            })
            .collect())
    }
}

fn figures(outcomes: &[&Outcome]) -> Figures {
    METRICS
        .iter()
        .filter_map(|metric| {
            let estimate = bootstrap(outcomes, |drawn| {
                (metric.of)(&drawn.iter().map(|outcome| **outcome).collect::<Vec<_>>())
            })?;
            Some((metric, estimate))
        })
        .collect()
}

/// Figures as they are written to JSON.
pub fn figures_json(figures: &Figures) -> Value {
    let entries = figures
        .iter()
        .map(|(metric, estimate)| (metric.name.to_owned(), estimate_json(*estimate)));
    Value::Object(entries.collect())
}

fn estimate_json(estimate: Estimate) -> Value {
    json!({"value": estimate.value, "low": estimate.low, "high": estimate.high})
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(id: usize, good: bool) -> Outcome {
        Outcome {
            id: id.to_string(),
            kind: if id.is_multiple_of(2) { "even" } else { "odd" }.to_owned(),
            recall_5: f64::from(u8::from(good)),
            first_rank: good.then_some(2),
            overlaps: vec![if good { 0.5 } else { 0.0 }],
            start_errors: if good { vec![id as f64] } else { vec![] },
            ..Outcome::default()
        }
    }

    fn report(label: &str, good: impl Fn(usize) -> bool) -> Report {
        Report {
            format: FORMAT,
            label: label.to_owned(),
            settings: BTreeMap::new(),
            outcomes: (0..40)
                .map(|id| outcome(id, good(id)))
                .chain((40..50).map(|id| Outcome {
                    unanswerable: true,
                    abstained: id < 44,
                    ..outcome(id, false)
                }))
                .collect(),
            transcripts: vec![],
            timings: Timings::default(),
        }
    }

    fn value(figures: &Figures, name: &str) -> Estimate {
        figures.iter().find(|(metric, _)| metric.name == name).unwrap().1
    }

    #[test]
    fn figures_count_the_questions_they_are_about() {
        let figures = report("r", |id| id < 10).figures();
        // Ten of the forty that have an answer.
        assert!((value(&figures, "recall_5").value - 0.25).abs() < 1e-12);
        assert!((value(&figures, "mrr_10").value - 0.125).abs() < 1e-12);
        assert!((value(&figures, "start_error_median").value - 4.5).abs() < 1e-12);
        assert!((value(&figures, "abstention_recall").value - 0.4).abs() < 1e-12);
        assert!((value(&figures, "abstention_precision").value - 1.0).abs() < 1e-12);
        // Nobody cites anything.
        assert!(figures.iter().all(|(metric, _)| metric.name != "quotes_said"));
    }

    #[test]
    fn a_report_is_the_same_after_it_was_written_and_read() {
        let report = report("r", |id| id % 3 == 0);
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), report.to_json().unwrap().to_string()).unwrap();
        assert_eq!(Report::read(file.path()).unwrap(), report);
        std::fs::write(file.path(), "{}").unwrap();
        assert!(
            Report::read(file.path())
                .unwrap_err()
                .to_string()
                .contains("no results")
        );
    }

    #[test]
    fn a_clear_difference_is_told_from_none() {
        let (good, bad) = (report("good", |id| id < 30), report("bad", |id| id < 10));
        let difference = value(&good.differences(&bad).unwrap(), "recall_5");
        assert!(
            (difference.value - 0.5).abs() < 1e-12 && difference.low > 0.0,
            "{difference:?}"
        );
        let same = value(&good.differences(&good).unwrap(), "recall_5");
        assert!(same.low.abs() < 1e-12 && same.high.abs() < 1e-12, "{same:?}");
        let mut other = bad;
        other.outcomes.iter_mut().for_each(|o| o.id.push('x'));
        assert!(good.differences(&other).is_err());
    }
}
