//! How good answers are, measured: questions with known answers are asked, and what comes back is compared with what
//! is right.
//!
//! [`questions`] reads what is asked, [`metrics`], [`words`] and [`statistics`] are the pure part, [`report`] keeps the
//! results of a run and compares runs, [`plot`] draws them.

pub mod metrics;
pub mod plot;
pub mod questions;
pub mod report;
pub mod statistics;
pub mod words;

use crate::AudioRag;
use crate::query::{QueryOptions, QueryReply, SearchReply};
use audiorag_core::align::sentence_ranges;
use audiorag_core::id::SourceId;
use audiorag_core::model::{Citation, Transcript};
use audiorag_core::{Error, Locator, Result};
use audiorag_state::SourceRecord;
use metrics::Place;
use questions::Question;
use report::{Cited, Outcome, Passage, Report, Timing, Timings};
use std::collections::{BTreeMap, HashMap};
use std::time::Instant;
use words::WordErrors;

/// Passages that are looked at for one question.
const DEPTH: usize = 10;
/// Without anybody to write answers, so many passages are what is cited.
const PASSAGES_CITED: usize = 3;
/// Milliseconds of passages that a patient listener hears before giving up.
const PATIENCE: u64 = 120_000;

/// What an evaluation is told besides its questions.
#[derive(Clone, Debug, Default)]
pub struct EvalOptions {
    /// What the run is called in tables and plots.
    pub label: String,
    /// What was really said, by the name of the source; word errors are counted for these.
    pub references: BTreeMap<String, String>,
    /// Settings to keep with the results.
    pub settings: BTreeMap<String, String>,
}

impl AudioRag {
    /// Asks every question and measures what is found, cited and left unanswered. `asked` is told after each question
    /// how many there were.
    ///
    /// Questions are asked one after the other, so that the same index gives the same report but for its
    /// [`timings`](Report::timings).
    ///
    /// # Errors
    /// [`Input`](crate::ErrorKind::Input) when a question names a source that is not in the index, and those of
    /// [`query`](Self::query).
    pub async fn evaluate(
        &self,
        questions: &[Question],
        options: EvalOptions,
        asked: &(dyn Fn(usize) + Send + Sync),
    ) -> Result<Report> {
        let sources = self.state().list_sources().await?;
        // All of them before the first is asked: a misspelt name should not cost a run.
        let mut gold = Vec::with_capacity(questions.len());
        for question in questions {
            gold.push(places(&sources, question)?);
        }
        let transcripts = self.word_errors(&sources, &options.references).await?;
        let mut said = Said::default();
        let mut outcomes = Vec::with_capacity(questions.len());
        let (mut searches, mut queries) = (Vec::new(), Vec::new());
        let deep = QueryOptions {
            top_k: Some(self.settings().retrieval.top_k.max(DEPTH)),
            ..QueryOptions::default()
        };
        for (question, gold) in questions.iter().zip(&gold) {
            let started = Instant::now();
            let found = Box::pin(self.search(&question.text, deep.clone())).await?;
            searches.push(started.elapsed());
            let started = Instant::now();
            let reply = Box::pin(self.query(&question.text, QueryOptions::default())).await?;
            queries.push(started.elapsed());
            let mut spoken = Vec::with_capacity(reply.answer.citations.len());
            for citation in &reply.answer.citations {
                spoken.push(said.in_span(self, &sources, citation).await?);
            }
            outcomes.push(self.outcome(question, gold, &found, &reply, &spoken));
            asked(outcomes.len());
        }
        Ok(Report {
            format: report::FORMAT,
            label: options.label,
            settings: options.settings,
            outcomes,
            transcripts,
            timings: Timings {
                search: Timing::of(&searches),
                query: Timing::of(&queries),
            },
        })
    }

    /// What one question brought. `spoken` tells of each citation whether its quote is in the transcript.
    fn outcome(
        &self,
        question: &Question,
        gold: &[Place],
        found: &SearchReply,
        reply: &QueryReply,
        spoken: &[bool],
    ) -> Outcome {
        let ranked: Vec<Place> = found
            .hits
            .iter()
            .map(|hit| Place {
                source: hit.source_id.clone(),
                span: hit.span,
            })
            .collect();
        let answer = &reply.answer;
        let passages_only = answer.text.is_empty() && self.settings().generation.provider == "none";
        let cited: Vec<Place> = if passages_only {
            ranked.iter().take(PASSAGES_CITED).cloned().collect()
        } else {
            answer
                .citations
                .iter()
                .map(|citation| Place {
                    source: citation.source_id.clone(),
                    span: citation.span,
                })
                .collect()
        };
        let best: Vec<Option<metrics::Best>> = gold
            .iter()
            .map(|gold| metrics::best_citation(&cited, gold))
            .collect();
        let right = |place: &Place| {
            gold.iter()
                .any(|gold| gold.source == place.source && gold.span.overlap(place.span).as_millis() > 0)
        };
        let (statements, statements_cited) = statements(&answer.text);
        Outcome {
            id: question.id.clone(),
            kind: question.kind.clone(),
            question: question.text.clone(),
            unanswerable: question.is_unanswerable(),
            recall_1: metrics::recall_at(1, &ranked, gold),
            recall_5: metrics::recall_at(5, &ranked, gold),
            recall_10: metrics::recall_at(10, &ranked, gold),
            recall_2min: metrics::recall_within(PATIENCE, &ranked, gold),
            ndcg_10: metrics::ndcg_at(10, &ranked, gold),
            first_rank: metrics::first_rank(&ranked, gold).filter(|rank| *rank <= DEPTH),
            citations_right: cited.iter().filter(|place| right(place)).count(),
            citations_in_all: cited.len(),
            overlaps: best
                .iter()
                .map(|best| best.map_or(0.0, |best| best.overlap))
                .collect(),
            start_errors: best.iter().flatten().map(|best| best.start_error).collect(),
            abstained: if passages_only {
                answer.passages.is_empty()
            } else {
                !answer.is_found()
            },
            statements,
            statements_cited,
            answer: answer.text.clone(),
            citations: answer
                .citations
                .iter()
                .zip(spoken)
                .map(|(citation, said)| Cited {
                    title: citation.title.clone(),
                    start: citation.span.start().as_seconds_f64(),
                    end: citation.span.end().as_seconds_f64(),
                    quote: citation.quote.clone(),
                    said: *said,
                })
                .collect(),
            passages: found
                .hits
                .iter()
                .map(|hit| Passage {
                    title: hit.title.clone(),
                    start: hit.span.start().as_seconds_f64(),
                    end: hit.span.end().as_seconds_f64(),
                })
                .collect(),
        }
    }

    /// How many words of the sources with a reference were transcribed wrongly.
    async fn word_errors(
        &self,
        sources: &[SourceRecord],
        references: &BTreeMap<String, String>,
    ) -> Result<Vec<WordErrors>> {
        let mut errors = Vec::with_capacity(references.len());
        for (name, text) in references {
            let source = named(sources, name)
                .map_err(|error| error.with_hint("`audiorag list` shows every source"))?;
            let transcript = self.transcript(source).await?;
            let heard: Vec<&str> = transcript
                .indexable()
                .map(|segment| segment.text.as_str())
                .collect();
            errors.push(WordErrors::between(&source.title, text, &heard.join(" ")));
        }
        Ok(errors)
    }
}

/// The transcripts that citations were compared with so far.
#[derive(Default)]
struct Said(HashMap<SourceId, Transcript>);

impl Said {
    /// Whether the words of a citation are in the stored transcript within its span.
    async fn in_span(
        &mut self,
        audiorag: &AudioRag,
        sources: &[SourceRecord],
        citation: &Citation,
    ) -> Result<bool> {
        let id = &citation.source_id;
        if !self.0.contains_key(id) {
            let Some(source) = sources.iter().find(|source| source.id == *id) else {
                return Ok(false);
            };
            let transcript = audiorag.transcript(source).await?;
            self.0.insert(id.clone(), transcript);
        }
        let Some(transcript) = self.0.get(id) else {
            return Ok(false);
        };
        let there: Vec<&str> = transcript
            .indexable()
            .filter(|segment| segment.span.overlap(citation.span).as_millis() > 0)
            .map(|segment| segment.text.as_str())
            .collect();
        Ok(words::says(&there.join(" "), &citation.quote))
    }
}

/// Where a question is answered.
fn places(sources: &[SourceRecord], question: &Question) -> Result<Vec<Place>> {
    question
        .evidence
        .iter()
        .map(|evidence| {
            let source = named(sources, &evidence.source).map_err(|error| {
                Error::input(format!(
                    "question '{}' (line {}): {error}",
                    question.id, question.line
                ))
                .with_hint("`audiorag list` shows every source; index the recording, or mend its name")
            })?;
            Ok(Place {
                source: source.id.clone(),
                span: evidence.span,
            })
        })
        .collect()
}

/// The searchable source that a file of questions means: by id, path, URL, title, or the name of its file with or
/// without its ending, the first of these that fits.
fn named<'a>(sources: &'a [SourceRecord], name: &str) -> Result<&'a SourceRecord> {
    let name = name.trim();
    let by: [&dyn Fn(&SourceRecord) -> bool; 4] = [
        &|source| source.id.as_str() == name || source.locator.to_uri() == name,
        &|source| matches!(&source.locator, Locator::File(path) if path.to_str() == Some(name)),
        &|source| source.title == name,
        &|source| {
            let uri = source.locator.to_uri();
            let file = uri.rsplit('/').next().unwrap_or_default();
            file == name || file.rsplit_once('.').is_some_and(|(stem, _)| stem == name)
        },
    ];
    let mut fitting = by
        .into_iter()
        .map(|fits| sources.iter().filter(|source| fits(source)).collect::<Vec<_>>())
        .filter(|fitting| !fitting.is_empty());
    match fitting.next().as_deref() {
        None => Err(Error::input(format!("no source is called '{name}'"))),
        Some([source]) if source.active_revision.is_some() => Ok(source),
        Some([source]) => Err(Error::input(format!(
            "'{name}' is not searchable: its status is {}",
            source.status.as_str()
        ))),
        Some(several) => Err(Error::input(format!(
            "{} sources are called '{name}': name one by its id",
            several.len()
        ))),
    }
}

/// How many statements an answer makes, and how many of them carry a citation.
fn statements(text: &str) -> (usize, usize) {
    let mut cited: Vec<bool> = Vec::new();
    for line in text.lines() {
        for range in sentence_ranges(line) {
            let sentence = line.get(range).unwrap_or_default();
            // A marker behind the full stop opens what Unicode's rules take for the next sentence, and belongs to the
            // one before.
            let (leading, rest) = leading_markers(sentence);
            if let Some(last) = cited.last_mut() {
                *last |= leading;
            }
            let (words, marked) = without_markers(rest);
            if !words.is_empty() {
                cited.push(marked);
            }
        }
    }
    let marked = cited.iter().filter(|marked| **marked).count();
    (cited.len(), marked)
}

/// Whether a sentence opens with `[n]`, and what follows.
fn leading_markers(sentence: &str) -> (bool, &str) {
    let mut rest = sentence.trim_start();
    let mut found = false;
    while let Some((inner, after)) = rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        if !is_marker(inner) {
            break;
        }
        found = true;
        rest = after.trim_start();
    }
    (found, rest)
}

/// The words of a sentence outside its `[n]`, and whether it had any.
fn without_markers(sentence: &str) -> (Vec<String>, bool) {
    let mut kept = String::new();
    let mut marked = false;
    let mut rest = sentence;
    while let Some((before, after)) = rest.split_once('[') {
        kept.push_str(before);
        match after.split_once(']') {
            Some((inner, after)) if is_marker(inner) => {
                marked = true;
                rest = after;
            }
            _ => {
                kept.push(' ');
                rest = after;
            }
        }
    }
    kept.push_str(rest);
    (words::words(&kept), marked)
}

fn is_marker(inner: &str) -> bool {
    inner.contains(|c: char| c.is_ascii_digit())
        && inner
            .chars()
            .all(|c| c.is_ascii_digit() || matches!(c, ',' | ';' | ' '))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_are_counted_with_their_markers() {
        assert_eq!(
            statements("It rained [1]. It snowed. [2] Nobody knows why."),
            (3, 2)
        );
        assert_eq!(statements("It rained. It snowed. [2]"), (2, 1));
        assert_eq!(statements("One line [1]\nAnother line [2, 3]"), (2, 2));
        assert_eq!(statements("Nothing to cite [sic]."), (1, 0));
        assert_eq!(statements(""), (0, 0));
    }
}
