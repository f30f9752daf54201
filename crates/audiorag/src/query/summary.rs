//! What is said in one source: section by section (by chapter, and every five minutes or so), and in all.
//!
//! Map and reduce: the sections are summarized one by one, and the overview is made of what came of them, in as many
//! steps as the generator's limit wants. Whatever is written at whatever step, its citations are lines of the recording.

mod central;
mod cut;
mod overview;

use super::event::QueryObserver;
use super::{AnswerMode, Querier, generate};
use crate::guard::Guarded;
use audiorag_core::capability::Generator;
use audiorag_core::id::OperationId;
use audiorag_core::model::{Answer, Hit, Transcript};
use audiorag_core::{Error, Result, Span};
use audiorag_state::SourceRecord;

/// What a generator is asked about each section.
const SECTION_ORDER: &str = "Summarize the passage in one to three sentences.";
/// What it is asked about all of them.
const OVERVIEW_ORDER: &str = "The passages are summaries of consecutive pieces of one recording. Summarize the whole \
    recording in three to six sentences, in the order of the recording, and give after each sentence the number of \
    the passage that it is from.";
/// Bytes of a passage that are not its text: heading, number and delimiters.
const FRAME: usize = 300;
/// A generator with less room than this, in bytes, is asked all the same, and answers or fails.
const LEAST_ROOM: usize = 600;
/// Sentences of an extracted section.
const SENTENCES: usize = 2;
/// Sentences of an extracted overview.
const OVERVIEW_SENTENCES: usize = 5;

/// What is said in a source.
#[derive(Clone, Debug)]
pub struct Summary {
    /// The operation, as in its log lines.
    pub operation_id: OperationId,
    /// What the whole recording says; of a recording with one section, that section. Its citations are lines of the
    /// recording. Its model is `extractive` where no generator wrote it.
    pub overview: Answer,
    /// In the order of the recording.
    pub sections: Vec<SummarySection>,
    /// Whether no generator wrote any section: then they are made of sentences that are said.
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

/// A generator and what it is told to write.
struct Writer<'a> {
    generator: &'a Guarded<dyn Generator>,
    language: String,
    /// Bytes that a request may hold beside its instructions.
    room: usize,
}

impl Writer<'_> {
    fn order(&self, order: &str) -> String {
        format!("{order} {}", self.language)
    }

    /// Bytes of text that one passage may have.
    fn longest_passage(&self, source: &SourceRecord) -> usize {
        let used = self.order(SECTION_ORDER).len() + source.title.len() + FRAME;
        self.room.saturating_sub(used).max(LEAST_ROOM)
    }

    async fn section(&self, hit: &Hit) -> Result<Answer> {
        let silent: &dyn QueryObserver = &();
        let order = self.order(SECTION_ORDER);
        let hits = std::slice::from_ref(hit);
        let written = generate::over(self.generator, &order, hits, hits, silent).await?;
        Ok(written.into_answer(Vec::new(), Vec::new()))
    }
}

impl Querier {
    /// Summarizes `source`, which says `transcript`, in `language` or else in its own.
    pub(crate) async fn summarize(
        &self,
        operation_id: OperationId,
        source: &SourceRecord,
        transcript: &Transcript,
        language: Option<&str>,
    ) -> Result<Summary> {
        let language = in_language(language.or(transcript.language.as_deref()))?;
        let mut writer = match &self.mode {
            AnswerMode::Generator(generator) => Some(Writer {
                generator,
                language,
                room: generate::room(generator),
            }),
            _ => None,
        };
        let longest = writer.as_ref().map(|writer| writer.longest_passage(source));
        let hits = cut::sections(source, transcript, longest);
        let mut degraded = Vec::new();
        let mut failed = |error: &Error| {
            tracing::warn!(error = %error.report(), "the generator failed; summarizing by extraction");
            degraded.push("generate".to_owned());
        };
        let mut is_extractive = true;
        let mut sections = Vec::with_capacity(hits.len());
        let mut sentences = Vec::with_capacity(hits.len());
        for hit in &hits {
            let mut answer = None;
            if let Some(asked) = &writer {
                match asked.section(hit).await {
                    Ok(written) => answer = Some(written),
                    // The other sections would fail as well, or be paid for in vain.
                    Err(error) => {
                        failed(&error);
                        writer = None;
                    }
                }
            }
            let answer = if let Some(answer) = answer.filter(|answer| !answer.text.is_empty()) {
                is_extractive = false;
                sentences.push(None);
                answer
            } else {
                let said = self.sentences_of(hit).await?;
                let answer = central::answer(&[said.as_slice()], SENTENCES);
                sentences.push(Some(said));
                answer
            };
            sections.push(SummarySection {
                chapter: hit.chapter.clone(),
                span: hit.span,
                answer,
            });
        }
        let mut overview = match sections.as_slice() {
            [] => Some(Answer::default()),
            [only] => Some(only.answer.clone()),
            _ => None,
        };
        if let (None, Some(writer)) = (&overview, &writer) {
            match writer.overview(&hits, &sections).await {
                Ok(written) => overview = Some(written).filter(|answer| !answer.text.is_empty()),
                Err(error) => failed(&error),
            }
        }
        let overview = if let Some(overview) = overview {
            overview
        } else {
            let mut all = Vec::with_capacity(hits.len());
            for (hit, said) in hits.iter().zip(sentences) {
                all.push(match said {
                    Some(said) => said,
                    None => self.sentences_of(hit).await?,
                });
            }
            let all: Vec<_> = all.iter().map(Vec::as_slice).collect();
            central::answer(&all, OVERVIEW_SENTENCES)
        };
        Ok(Summary {
            operation_id,
            overview,
            sections,
            is_extractive,
            degraded,
        })
    }
}

/// The sentence that says in which language to write: that of the recording, unless another is asked for. A tag comes
/// from a file or a command line, and goes into a prompt.
fn in_language(tag: Option<&str>) -> Result<String> {
    let Some(tag) = tag else {
        return Ok("Write in the language of the passages.".to_owned());
    };
    let is_tag = (2..=35).contains(&tag.len())
        && tag
            .chars()
            .all(|letter| letter.is_ascii_alphanumeric() || letter == '-' || letter == '_');
    if is_tag {
        Ok(format!("Write in the language with the code '{tag}'."))
    } else {
        Err(Error::input("the language of the summary is no language tag")
            .with_hint("give one such as en or pt-BR"))
    }
}
