//! What is said in one source, section by section: by chapter, and every five minutes or so.

use super::event::QueryObserver;
use super::{AnswerMode, Querier, extract, generate};
use audiorag_core::cite;
use audiorag_core::id::{ChunkId, OperationId};
use audiorag_core::model::{Answer, Chapter, ChunkLine, Hit, Scores, Segment, TimeQuality, Transcript};
use audiorag_core::{MediaTime, Result, Span};
use audiorag_state::SourceRecord;
use std::fmt::Write as _;

/// A section is not much longer than this, in milliseconds.
const SECTION: u64 = 5 * 60_000;
/// The most characters of a section: a few thousand tokens, which every generator reads at once.
const SECTION_CHARS: usize = 8_000;
/// What a generator is asked about each section.
const ORDER: &str = "Summarize the passage in one to three sentences, in the language of the passage.";
/// Sentences of an extracted section.
const SENTENCES: usize = 2;
/// A sentence of fewer words says too little to stand for a section.
const FEWEST_WORDS: usize = 4;

/// What is said in a source.
#[derive(Clone, Debug)]
pub struct Summary {
    /// The operation, as in its log lines.
    pub operation_id: OperationId,
    /// In the order of the recording.
    pub sections: Vec<SummarySection>,
    /// Whether no generator wrote it: then it is made of sentences that are said.
    pub is_extractive: bool,
    /// Stages that were skipped in some section because they failed.
    pub degraded: Vec<String>,
}

/// What is said in a piece of a source.
#[derive(Clone, Debug)]
pub struct SummarySection {
    /// The chapter, in sources that have chapters.
    pub chapter: Option<String>,
    /// From its first word to its last.
    pub span: Span,
    /// The text with its citations, whose numbers begin at 1 in each section.
    pub answer: Answer,
}

impl Querier {
    /// Summarizes `source`, which says `transcript`.
    pub(crate) async fn summarize(
        &self,
        operation_id: OperationId,
        source: &SourceRecord,
        transcript: &Transcript,
    ) -> Result<Summary> {
        let mut sections = Vec::new();
        let mut degraded = Vec::new();
        let mut is_extractive = true;
        for hit in cut(source, transcript) {
            let mut written = None;
            if let AnswerMode::Generator(generator) = &self.mode
                && degraded.is_empty()
            {
                let silent: &dyn QueryObserver = &();
                match generate::answer(generator, ORDER, std::slice::from_ref(&hit), silent).await {
                    Ok(answer) => {
                        is_extractive = false;
                        written = Some(answer.into_answer(Vec::new(), Vec::new()));
                    }
                    // The other sections would fail as well, or be paid for in vain.
                    Err(error) => {
                        tracing::warn!(error = %error.report(), "the generator failed; summarizing by extraction");
                        degraded.push("generate".to_owned());
                    }
                }
            }
            let answer = match written {
                Some(answer) if !answer.text.is_empty() => answer,
                _ => self.central(&hit).await?,
            };
            sections.push(SummarySection {
                chapter: hit.chapter.clone(),
                span: hit.span,
                answer,
            });
        }
        Ok(Summary {
            operation_id,
            sections,
            is_extractive,
            degraded,
        })
    }

    /// The sentences that are nearest to everything that is said in a section, in the order in which they are said.
    async fn central(&self, hit: &Hit) -> Result<Answer> {
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
        let width = vectors.first().map_or(0, |vector| vector.len());
        let mut middle = vec![0.0; width];
        for vector in &vectors {
            for (sum, value) in middle.iter_mut().zip(vector.iter()) {
                *sum += value;
            }
        }
        let mut ranked: Vec<(f32, &ChunkLine, &str)> = vectors
            .iter()
            .zip(lines)
            .map(|(vector, (line, text))| (extract::dot(vector, &middle), line, text))
            .collect();
        ranked.sort_by(|a, b| b.0.total_cmp(&a.0));
        ranked.truncate(SENTENCES);
        ranked.sort_by_key(|(_, line, _)| line.from);
        let mut answer = Answer {
            model: "extractive".to_owned(),
            ..Answer::default()
        };
        for (score, line, text) in ranked {
            let marker = answer.citations.len() as u32 + 1;
            let joint = if marker == 1 { "" } else { " " };
            let _ = write!(answer.text, "{joint}{text} [{marker}]");
            answer.citations.push(cite::citation(
                marker,
                hit,
                Some(line),
                score / vectors.len().max(1) as f32,
            ));
        }
        Ok(answer)
    }
}

/// Cuts a transcript into sections: at chapters, and between segments wherever one would grow too long.
fn cut(source: &SourceRecord, transcript: &Transcript) -> Vec<Hit> {
    let chapters: &[Chapter] = source.media.as_ref().map_or(&[], |media| &media.chapters);
    let mut sections: Vec<Hit> = Vec::new();
    let mut open: Option<usize> = None;
    for segment in transcript.indexable() {
        // As chunks have it: a segment belongs to the chapter in which its middle lies.
        let chapter = chapters
            .iter()
            .rposition(|chapter| chapter.start <= segment.span.middle());
        let goes_on = sections.last().is_some_and(|section| {
            let length = section.span.union(segment.span).duration();
            open == chapter
                && length <= MediaTime::from_millis(SECTION)
                && section.text.len() + segment.text.len() <= SECTION_CHARS
        });
        if !goes_on {
            let title = chapter.and_then(|index| chapters.get(index));
            sections.push(begin(source, segment, title, sections.len()));
        }
        open = chapter;
        if let Some(section) = sections.last_mut() {
            add(section, segment);
        }
    }
    sections
}

fn begin(source: &SourceRecord, segment: &Segment, chapter: Option<&Chapter>, number: usize) -> Hit {
    Hit {
        chunk_id: ChunkId::from_stored(format!("section-{number}")),
        source_id: source.id.clone(),
        title: source.title.clone(),
        locator: source.locator.clone(),
        span: segment.span,
        text: String::new(),
        chapter: chapter.map(|chapter| chapter.title.clone()),
        speakers: Vec::new(),
        lines: Vec::new(),
        times: TimeQuality::Measured,
        scores: Scores::default(),
    }
}

fn add(section: &mut Hit, segment: &Segment) {
    if !section.text.is_empty() {
        section.text.push(' ');
    }
    let from = section.text.len();
    section.text.push_str(&segment.text);
    section.span = section.span.union(segment.span);
    section.lines.push(ChunkLine {
        from,
        to: section.text.len(),
        span: segment.span,
        speaker: segment.speaker.clone(),
        times: segment.times,
    });
    if let Some(name) = segment
        .speaker
        .as_ref()
        .filter(|name| !section.speakers.contains(name))
    {
        section.speakers.push(name.clone());
    }
}
