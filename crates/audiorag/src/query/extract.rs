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

/// How much less similar a sentence may be that holds rare words of the question, or stands in a passage with words of
/// their sound: names and numbers hardly count in the vectors of a small model, and nobody says them by chance.
const BACKED: f32 = 0.15;

/// So many rare words of the question have to be in a sentence, or all that it has.
const RARE_WORDS: usize = 2;

/// A word is rare that is in no more than one of so many sentences that were looked at.
const RARE_SHARE: usize = 8;

/// How alike the words of a passage have to sound (see [`Scores::sound`](audiorag_core::model::Scores::sound)).
const SOUNDS_ALIKE: f32 = 0.75;

/// A sentence of a passage.
type Sentence<'a> = (&'a Hit, &'a ChunkLine, &'a str);

/// A sentence that was compared with the question.
struct Scored<'a> {
    score: f32,
    /// Cosine similarity to the question.
    similarity: f32,
    /// Whether its words speak for it, too.
    is_backed: bool,
    sentence: Sentence<'a>,
}

impl Scored<'_> {
    /// Whether it may answer the question.
    fn is_near(&self, abstain_below: f32) -> bool {
        let least = if self.is_backed {
            abstain_below - BACKED
        } else {
            abstain_below
        };
        self.similarity >= least
    }
}

/// The sentences of `passages`, best first.
async fn scored<'a>(
    vectors: &Sentences,
    question: &str,
    vector: &[f32],
    passages: &'a [Hit],
) -> Result<Vec<Scored<'a>>> {
    let sentences: Vec<Sentence<'_>> = passages
        .iter()
        .flat_map(|hit| hit.lines.iter().map(move |line| (hit, line)))
        .filter_map(|(hit, line)| hit.text.get(line.from..line.to).map(|text| (hit, line, text)))
        .take(MAX_SENTENCES)
        .collect();
    let texts: Vec<&str> = sentences.iter().map(|(_, _, text)| *text).collect();
    let vectors = vectors.vectors(&texts).await?;
    let wanted = content_words(question);
    let backed = backed(&wanted, &sentences);
    let mut scored: Vec<Scored<'_>> = vectors
        .iter()
        .zip(sentences)
        .zip(backed)
        .map(|((sentence_vector, sentence), is_backed)| {
            let similarity = dot(sentence_vector, vector);
            let score = (1.0 - LEXICAL_SHARE) * similarity + LEXICAL_SHARE * coverage(&wanted, sentence.2);
            Scored {
                score,
                similarity,
                is_backed,
                sentence,
            }
        })
        .collect();
    scored.sort_by(|a, b| b.score.total_cmp(&a.score));
    Ok(scored)
}

/// For each sentence whether it holds rare words of the question, or its passage words that sound like them.
fn backed(wanted: &HashSet<String>, sentences: &[Sentence<'_>]) -> Vec<bool> {
    let shared: Vec<HashSet<String>> = sentences
        .iter()
        .map(|(_, _, text)| content_words(text).intersection(wanted).cloned().collect())
        .collect();
    let is_rare = |word: &String| {
        let count = shared.iter().filter(|words| words.contains(word)).count();
        count * RARE_SHARE <= sentences.len().max(RARE_SHARE)
    };
    let rare: HashSet<&String> = wanted.iter().filter(|word| is_rare(word)).collect();
    let enough = RARE_WORDS.min(wanted.len()).max(1);
    sentences
        .iter()
        .zip(&shared)
        .map(|((hit, _, _), words)| {
            let sounds = hit.scores.sound.is_some_and(|score| score >= SOUNDS_ALIKE);
            sounds || words.iter().filter(|word| rare.contains(word)).count() >= enough
        })
        .collect()
}

/// Whether the passages are near enough to the question that a generator may find an answer in them: a passage or one
/// of its sentences reaches `abstain_below` (cosine similarity to the question), or nearly so with rare words of the
/// question in it. At zero everything does.
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
    Ok(scored.iter().any(|sentence| sentence.is_near(abstain_below)))
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
                .find(|scored| scored.sentence.0.chunk_id == hit.chunk_id);
            hit.scores.rerank = best.map(|best| best.score - LOSS_PER_PLACE * place as f32);
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
/// When no sentence reaches `abstain_below` (cosine similarity to the question), or nearly so with rare words of the
/// question in it, nothing is quoted.
pub(crate) async fn answer(
    vectors: &Sentences,
    question: &str,
    vector: &[f32],
    passages: &[Hit],
    abstain_below: f32,
) -> Result<Written> {
    let scored = scored(vectors, question, vector, passages).await?;
    let best = scored.first().map(|best| best.score).unwrap_or_default();
    if !scored.iter().any(|sentence| sentence.is_near(abstain_below)) {
        tracing::info!(best, abstain_below, "no sentence is near enough to the question");
        return Ok(Written::nothing(Abstention::WeakEvidence));
    }
    let mut said = HashSet::new();
    let mut text = String::new();
    let mut citations = Vec::new();
    let near = scored
        .iter()
        .filter(|sentence| sentence.score >= best * NEAR_BEST && sentence.is_near(abstain_below))
        .filter(|scored| said.insert(scored.sentence.2.to_lowercase()))
        .take(MAX_QUOTED);
    for Scored {
        similarity,
        sentence: (hit, line, sentence),
        ..
    } in near
    {
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

#[cfg(test)]
mod tests {
    use super::*;
    use audiorag_core::id::{ChunkId, SourceId};
    use audiorag_core::model::{Scores, TimeQuality};
    use audiorag_core::{Locator, Span};

    fn passage(text: &str, sound: Option<f32>) -> Hit {
        let span = Span::from_millis(0, 1000);
        Hit {
            chunk_id: ChunkId::from_stored(text),
            source_id: SourceId::from_stored("s"),
            title: "T".to_owned(),
            locator: Locator::Url("https://h/a.mp3".to_owned()),
            span,
            chapter: None,
            text: text.to_owned(),
            speakers: vec![],
            lines: vec![ChunkLine {
                from: 0,
                to: text.len(),
                span,
                speaker: None,
                times: TimeQuality::Measured,
            }],
            times: TimeQuality::Measured,
            scores: Scores {
                sound,
                ..Scores::default()
            },
        }
    }

    fn backed_of(question: &str, passages: &[Hit]) -> Vec<bool> {
        let sentences: Vec<Sentence<'_>> = passages
            .iter()
            .map(|hit| (hit, &hit.lines[0], hit.text.as_str()))
            .collect();
        backed(&content_words(question), &sentences)
    }

    #[test]
    fn rare_words_and_sounds_of_the_question_speak_for_a_sentence() {
        let question = "When did Tereshkova inspect the lighthouse?";
        let mut passages = vec![
            passage("Well, Tereshkova came and had the lighthouse inspected.", None),
            passage("Then chef chank oh went there.", Some(0.9)),
            passage("The lighthouse is white.", None),
            passage("Nothing of the kind.", Some(0.4)),
        ];
        assert_eq!(backed_of(question, &passages), [true, true, false, false]);
        passages.extend((0..14).map(|_| passage("Something else.", None)));
        let backed = backed_of(question, &passages);
        assert_eq!(backed[..4], [true, true, false, false]);
        assert!(!backed[4..].contains(&true));
        // A question of one word has no second one.
        assert_eq!(backed_of("Tereshkova?", &passages)[..2], [true, true]);
        assert_eq!(backed_of("What is it?", &passages)[..3], [false, true, false]);
    }

    #[test]
    fn what_speaks_for_a_sentence_makes_up_for_a_little_similarity_and_no_more() {
        let hit = passage("x", None);
        let near = |similarity, is_backed, abstain_below| {
            Scored {
                score: 0.0,
                similarity,
                is_backed,
                sentence: (&hit, &hit.lines[0], "x"),
            }
            .is_near(abstain_below)
        };
        assert!(near(0.3, false, 0.3) && near(0.2, true, 0.3));
        assert!(!near(0.29, false, 0.3) && !near(0.1, true, 0.3));
        assert!(!near(0.8, true, 1.0));
    }
}
