//! Answers without a language model: the sentences that say it, with their times, or an honest nothing.

use super::sentences::Sentences;
use super::write::Written;
use audiorag_core::Result;
use audiorag_core::cite;
use audiorag_core::model::{Abstention, ChunkLine, Hit};
use std::collections::HashSet;
use std::fmt::Write as _;

/// The most sentences looked at for one question; passages are taken best first.
const MAX_SENTENCES: usize = 64;

/// The most sentences in an answer.
const MAX_QUOTED: usize = 3;

/// A sentence is quoted beside the best one when it scores at least this share of it.
const NEAR_BEST: f32 = 0.85;

/// How much of a sentence's score comes from the question's own words appearing in it. Names and numbers weigh
/// little in a small embedding model, and are what people ask for.
const LEXICAL_SHARE: f32 = 0.25;

/// The most passages that are ordered by their sentences; the others stay behind them. A sentence takes a few
/// milliseconds to embed, and what stands further down is rarely moved to the top.
const MAX_RERANKED: usize = 10;

/// What a passage loses for each place it stood further down, so that a good place counts beside a good sentence. Chosen
/// on the evaluation set (docs/quality.md); half and double of it are as good within its error.
const LOSS_PER_PLACE: f32 = 0.01;

/// A sentence of a passage.
type Sentence<'a> = (&'a Hit, &'a ChunkLine, &'a str);

/// The sentences of `passages`, best first, each with its score and its cosine similarity to the question.
async fn scored<'a>(
    vectors: &Sentences,
    question: &str,
    vector: &[f32],
    passages: &'a [Hit],
) -> Result<Vec<(f32, f32, Sentence<'a>)>> {
    let sentences: Vec<Sentence<'_>> = passages
        .iter()
        .flat_map(|hit| hit.lines.iter().map(move |line| (hit, line)))
        .filter_map(|(hit, line)| hit.text.get(line.from..line.to).map(|text| (hit, line, text)))
        .take(MAX_SENTENCES)
        .collect();
    let texts: Vec<&str> = sentences.iter().map(|(_, _, text)| *text).collect();
    let vectors = vectors.vectors(&texts).await?;
    let similarities = vectors.iter().map(|sentence| dot(sentence, vector));
    let wanted = content_words(question);
    let mut scored: Vec<(f32, f32, Sentence<'_>)> = similarities
        .zip(sentences)
        .map(|(similarity, sentence)| {
            let score = (1.0 - LEXICAL_SHARE) * similarity + LEXICAL_SHARE * coverage(&wanted, sentence.2);
            (score, similarity, sentence)
        })
        .collect();
    scored.sort_by(|a, b| b.0.total_cmp(&a.0));
    Ok(scored)
}

/// Whether the passages are near enough to the question that a generator may find an answer in them: a passage or one
/// of its sentences reaches `abstain_below` (cosine similarity to the question). At zero everything does.
pub(crate) async fn is_evidence(
    vectors: &Sentences,
    question: &str,
    vector: &[f32],
    passages: &[Hit],
    abstain_below: f32,
) -> Result<bool> {
    let near = |similarity: f32| similarity >= abstain_below;
    if abstain_below <= 0.0 || passages.iter().any(|hit| hit.scores.dense.is_some_and(near)) {
        return Ok(true);
    }
    let scored = scored(vectors, question, vector, passages).await?;
    Ok(scored.iter().any(|(_, similarity, _)| near(*similarity)))
}

/// Orders hits by their sentence that is nearest to the question: a passage of half a minute is about several things,
/// and its own vector is near to none of them. Hits beyond the first ten follow in their old order.
///
/// Late interaction of whole sentences, as `ColBERT` (arXiv 2004.12832) has it of tokens.
pub(crate) async fn rerank(
    vectors: &Sentences,
    question: &str,
    vector: &[f32],
    hits: &[Hit],
) -> Result<Vec<Hit>> {
    let (first, rest) = hits.split_at(hits.len().min(MAX_RERANKED));
    let scored = scored(vectors, question, vector, first).await?;
    let mut ordered: Vec<Hit> = first
        .iter()
        .enumerate()
        .map(|(place, hit)| {
            let mut hit = hit.clone();
            // The best of a passage's sentences is its first here; a passage none of whose sentences was looked at
            // keeps its place behind the others.
            let best = scored
                .iter()
                .find(|(_, _, (of, _, _))| of.chunk_id == hit.chunk_id);
            hit.scores.rerank = best.map(|(score, _, _)| score - LOSS_PER_PLACE * place as f32);
            hit
        })
        .collect();
    let score = |hit: &Hit| hit.scores.rerank.unwrap_or(f32::NEG_INFINITY);
    ordered.sort_by(|a, b| score(b).total_cmp(&score(a)));
    ordered.extend_from_slice(rest);
    Ok(ordered)
}

/// Quotes the sentences of `passages` that are nearest to the question.
///
/// When no sentence reaches `abstain_below` (cosine similarity to the question), nothing is quoted.
pub(crate) async fn answer(
    vectors: &Sentences,
    question: &str,
    vector: &[f32],
    passages: &[Hit],
    abstain_below: f32,
) -> Result<Written> {
    let scored = scored(vectors, question, vector, passages).await?;
    let best = scored.first().map(|(best, _, _)| *best).unwrap_or_default();
    if !scored
        .iter()
        .any(|(_, similarity, _)| *similarity >= abstain_below)
    {
        tracing::info!(best, abstain_below, "no sentence is near enough to the question");
        return Ok(Written::nothing(Abstention::WeakEvidence));
    }
    let mut said = HashSet::new();
    let mut text = String::new();
    let mut citations = Vec::new();
    let near = scored
        .iter()
        .filter(|(score, similarity, _)| *score >= best * NEAR_BEST && *similarity >= abstain_below)
        .filter(|(_, _, (_, _, sentence))| said.insert(sentence.to_lowercase()))
        .take(MAX_QUOTED);
    for (_, similarity, (hit, line, sentence)) in near {
        let marker = citations.len() as u32 + 1;
        if marker > 1 {
            text.push('\n');
        }
        text.push_str(sentence);
        let _ = write!(text, " [{marker}]");
        citations.push(cite::citation(marker, hit, Some(line), *similarity));
    }
    Ok(Written::quoted(text, citations))
}

pub(super) fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

/// The share of the question's content words that a sentence holds, by their first five letters, so that
/// "decided" meets "decision".
fn coverage(wanted: &HashSet<String>, sentence: &str) -> f32 {
    if wanted.is_empty() {
        return 0.0;
    }
    let there = content_words(sentence);
    wanted.intersection(&there).count() as f32 / wanted.len() as f32
}

/// The beginnings of words that say what a text is about.
pub(super) fn content_words(text: &str) -> HashSet<String> {
    text.split(|c: char| !c.is_alphanumeric())
        .filter(|word| word.chars().count() > 3 || word.chars().any(|c| c.is_ascii_digit()))
        .map(|word| word.to_lowercase().chars().take(5).collect())
        .filter(|stem: &String| !QUESTION_WORDS.contains(&stem.as_str()))
        .collect()
}

/// First letters of words that questions are made of rather than about.
const QUESTION_WORDS: [&str; 24] = [
    "what", "when", "where", "which", "whom", "whose", "does", "that", "this", "these", "those", "with",
    "from", "about", "have", "were", "been", "they", "them", "there", "their", "would", "could", "shoul",
];
