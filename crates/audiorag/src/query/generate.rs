//! Answers by a language model, bound to the passages they were made from.

use super::Written;
use crate::guard::Guarded;
use crate::operation;
use audiorag_core::capability::{GenerateEvent, Generator};
use audiorag_core::model::Hit;
use audiorag_core::{Error, Result, Stage, cite, prompt};
use futures_util::StreamExt as _;

/// The most tokens of an answer.
const MAX_ANSWER_TOKENS: u32 = 800;

/// Characters a token stands for, at least, in any language the models know well.
const CHARS_PER_TOKEN: usize = 3;

/// Asks the generator and keeps only the citations that name a passage it was given.
pub(crate) async fn answer(
    generator: &Guarded<dyn Generator>,
    question: &str,
    passages: &[Hit],
) -> Result<Written> {
    let limits = generator.limits();
    let tokens = MAX_ANSWER_TOKENS.min(limits.max_output_tokens);
    let room = limits
        .context_tokens
        .saturating_sub(tokens as usize + 500)
        .saturating_mul(CHARS_PER_TOKEN);
    let passages = fitting(passages, room.saturating_sub(question.len()));
    let request = prompt::build(question, passages, &operation::random_delimiter(), tokens);
    let mut stream = generator
        .generate(request)
        .await
        .map_err(|error| error.with_stage(Stage::Generate))?;
    let mut text = String::new();
    let mut finished = false;
    while let Some(event) = stream.next().await {
        match event.map_err(|error| error.with_stage(Stage::Generate))? {
            GenerateEvent::Delta(delta) => text.push_str(&delta),
            GenerateEvent::Done { truncated, .. } => {
                finished = true;
                if truncated {
                    tracing::warn!("the answer was cut at its token limit");
                }
                break;
            }
        }
    }
    if !finished {
        return Err(Error::protocol("the answer broke off").with_stage(Stage::Generate));
    }
    let bound = cite::bind(text.trim(), passages);
    if bound.removed > 0 {
        tracing::warn!(
            removed = bound.removed,
            "citations of passages that were not given were taken out"
        );
    }
    let info = generator.info();
    Ok(Written {
        text: bound.text,
        citations: bound.citations,
        model: format!("{}/{}", info.vendor, info.model),
    })
}

/// The best passages that fit into `room` characters; always at least one.
fn fitting(passages: &[Hit], room: usize) -> &[Hit] {
    let mut used = 0;
    let count = passages
        .iter()
        .take_while(|hit| {
            used += hit.text.len() + hit.title.len() + 100;
            used <= room
        })
        .count();
    passages.get(..count.max(1)).unwrap_or(passages)
}
