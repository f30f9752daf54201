//! Without a generator: the sentences that are nearest to everything that is said.

use crate::query::{Querier, extract};
use audiorag_core::model::{Answer, ChunkLine, Hit};
use audiorag_core::{Result, cite};
use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::Arc;

/// A sentence of fewer words says too little to stand for a section.
const FEWEST_WORDS: usize = 4;

/// A sentence of a section and what it is about.
pub(super) struct Sentence<'a> {
    hit: &'a Hit,
    line: &'a ChunkLine,
    text: &'a str,
    vector: Arc<[f32]>,
}

impl Querier {
    /// The sentences of a section that say something; all of them where none does.
    pub(super) async fn sentences_of<'a>(&self, hit: &'a Hit) -> Result<Vec<Sentence<'a>>> {
        let lines: Vec<(&ChunkLine, &str)> = hit
            .lines
            .iter()
            .filter_map(|line| Some((line, hit.text.get(line.from..line.to)?)))
            .collect();
        let long: Vec<(&ChunkLine, &str)> = lines
            .iter()
            .copied()
            .filter(|(_, text)| text.split_whitespace().count() >= FEWEST_WORDS)
            .collect();
        let lines = if long.is_empty() { lines } else { long };
        let texts: Vec<&str> = lines.iter().map(|(_, text)| *text).collect();
        let vectors = self.sentences.vectors(&texts).await?;
        Ok(lines
            .into_iter()
            .zip(vectors)
            .map(|((line, text), vector)| Sentence {
                hit,
                line,
                text,
                vector,
            })
            .collect())
    }
}

/// The `wanted` sentences nearest to the mean of all, in the order in which they are said: none twice, and of each
/// section not many more than of the others.
pub(super) fn answer(sections: &[&[Sentence<'_>]], wanted: usize) -> Answer {
    let all: Vec<(usize, &Sentence<'_>)> = sections
        .iter()
        .enumerate()
        .flat_map(|(section, sentences)| sentences.iter().map(move |sentence| (section, sentence)))
        .collect();
    let width = all.first().map_or(0, |(_, sentence)| sentence.vector.len());
    let mut middle = vec![0.0; width];
    for (_, sentence) in &all {
        for (sum, value) in middle.iter_mut().zip(sentence.vector.iter()) {
            *sum += value;
        }
    }
    let mut ranked: Vec<(f32, usize, &Sentence<'_>)> = all
        .iter()
        .map(|(section, sentence)| (extract::dot(&sentence.vector, &middle), *section, *sentence))
        .collect();
    ranked.sort_by(|a, b| b.0.total_cmp(&a.0));
    let share = wanted.div_ceil(sections.len().max(1));
    let mut taken: HashMap<usize, usize> = HashMap::new();
    let mut chosen: Vec<(f32, usize, &Sentence<'_>)> = Vec::with_capacity(wanted);
    for (score, section, sentence) in ranked {
        let used = taken.entry(section).or_default();
        let is_new = chosen.iter().all(|(.., other)| other.text != sentence.text);
        if chosen.len() < wanted && *used < share && is_new {
            *used += 1;
            chosen.push((score, section, sentence));
        }
    }
    chosen.sort_by_key(|(_, section, sentence)| (*section, sentence.line.from));
    let mut answer = Answer {
        model: "extractive".to_owned(),
        ..Answer::default()
    };
    for (score, _, Sentence { hit, line, text, .. }) in chosen {
        let marker = answer.citations.len() as u32 + 1;
        let joint = if marker == 1 { "" } else { " " };
        let _ = write!(answer.text, "{joint}{text} [{marker}]");
        let score = score / all.len().max(1) as f32;
        answer
            .citations
            .push(cite::citation(marker, hit, Some(line), score));
    }
    answer
}
