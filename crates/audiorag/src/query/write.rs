//! Who writes the answer, and what stands in when nobody can.

use super::event::{QueryEvent, QueryObserver};
use super::{AnswerMode, Querier, extract, generate};
use audiorag_core::Result;
use audiorag_core::cite::{Bound, Unsupported};
use audiorag_core::model::{Abstention, Answer, Citation, Hit};

/// Who writes when no generator does.
const EXTRACTIVE: &str = "extractive";

/// What was written as an answer.
#[derive(Default)]
pub(crate) struct Written {
    text: String,
    citations: Vec<Citation>,
    model: String,
    abstained: Option<Abstention>,
    removed: usize,
    unsupported: Vec<Unsupported>,
}

impl Written {
    /// The answer that there is none.
    pub(super) fn nothing(why: Abstention) -> Self {
        Self {
            abstained: Some(why),
            ..Self::quoted(String::new(), Vec::new())
        }
    }

    /// An answer in the words of the recordings.
    pub(super) fn quoted(text: String, citations: Vec<Citation>) -> Self {
        Self {
            text,
            citations,
            model: EXTRACTIVE.to_owned(),
            ..Self::default()
        }
    }

    /// An answer in the words of a model.
    pub(super) fn generated(bound: Bound, model: String) -> Self {
        Self {
            text: bound.text,
            citations: bound.citations,
            model,
            abstained: bound.abstained.then_some(Abstention::Generator),
            removed: bound.removed,
            unsupported: bound.unsupported,
        }
    }

    pub(super) fn into_answer(self, passages: Vec<Hit>, degraded: Vec<String>) -> Answer {
        Answer {
            text: self.text,
            citations: self.citations,
            passages,
            degraded,
            model: self.model,
            abstained: self.abstained,
            removed_citations: self.removed,
            unsupported: self.unsupported,
        }
    }
}

impl Querier {
    /// Writes the answer to `question`, whose vector is `vector`, from `passages`.
    pub(super) async fn write(
        &self,
        question: &str,
        vector: &[f32],
        passages: &[Hit],
        degraded: &mut Vec<String>,
        observer: &dyn QueryObserver,
    ) -> Result<Written> {
        if passages.is_empty() {
            return Ok(Written::nothing(Abstention::NoPassages));
        }
        let written = match &self.mode {
            // The passages are the answer.
            AnswerMode::None => return Ok(Written::quoted(String::new(), Vec::new())),
            AnswerMode::Extractive => self.extract(question, vector, passages).await?,
            AnswerMode::Generator(generator) => {
                if !self.is_evidence(question, vector, passages).await {
                    tracing::info!("the passages are too far from the question for a generator");
                    return Ok(Written::nothing(Abstention::WeakEvidence));
                }
                match generate::answer(generator, question, passages, observer).await {
                    Ok(written) => return Ok(written),
                    // The passages are still worth having.
                    Err(error) => {
                        tracing::warn!(error = %error.report(), "the generator failed; answering by extraction");
                        degraded.push("generate".to_owned());
                        observer.event(&QueryEvent::Restarted);
                        self.extract(question, vector, passages).await?
                    }
                }
            }
        };
        if !written.text.is_empty() {
            observer.event(&QueryEvent::Text(written.text.clone()));
        }
        Ok(written)
    }

    async fn extract(&self, question: &str, vector: &[f32], passages: &[Hit]) -> Result<Written> {
        extract::answer(
            &self.sentences,
            question,
            vector,
            passages,
            self.settings.abstain_below,
        )
        .await
    }

    /// Whether it is worth asking, and paying, a generator. When that cannot be told, it is.
    async fn is_evidence(&self, question: &str, vector: &[f32], passages: &[Hit]) -> bool {
        let cut = self.settings.abstain_below;
        extract::is_evidence(&self.sentences, question, vector, passages, cut)
            .await
            .unwrap_or_else(|error| {
                tracing::warn!(error = %error.report(), "cannot compare sentences with the question");
                true
            })
    }
}
