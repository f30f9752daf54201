//! Answers by a language model, bound to the passages they were made from.

use super::event::{QueryEvent, QueryObserver};
use super::write::Written;
use crate::guard::Guarded;
use crate::operation;
use audiorag_core::capability::{GenerateEvent, GenerateRequest, Generator};
use audiorag_core::cite::Binder;
use audiorag_core::model::Hit;
use audiorag_core::{Error, Result, Stage, prompt};
use futures_util::StreamExt as _;

/// The most tokens of an answer.
const MAX_ANSWER_TOKENS: u32 = 800;

/// Characters a token stands for, at least, in any language the models know well.
const CHARS_PER_TOKEN: usize = 3;

/// Asks the generator and keeps only the citations that name a passage it was given. What it writes is told to
/// `observer` as it comes.
pub(crate) async fn answer(
    generator: &Guarded<dyn Generator>,
    question: &str,
    passages: &[Hit],
    observer: &dyn QueryObserver,
) -> Result<Written> {
    let passages = fitting(passages, room(generator).saturating_sub(question.len()));
    over(generator, question, passages, passages, observer).await
}

/// Bytes of question and passages that a request to the generator may hold, beside instructions and answer.
pub(crate) fn room(generator: &Guarded<dyn Generator>) -> usize {
    generator
        .limits()
        .context_tokens
        .saturating_sub(answer_tokens(generator) as usize + 500)
        .saturating_mul(CHARS_PER_TOKEN)
}

fn answer_tokens(generator: &Guarded<dyn Generator>) -> u32 {
    MAX_ANSWER_TOKENS.min(generator.limits().max_output_tokens)
}

/// Asks the generator over all of the passages it is `shown`, and binds what it writes to those that were `heard`: as
/// many, in the same order.
pub(crate) async fn over(
    generator: &Guarded<dyn Generator>,
    question: &str,
    shown: &[Hit],
    heard: &[Hit],
    observer: &dyn QueryObserver,
) -> Result<Written> {
    let tokens = answer_tokens(generator);
    let request = prompt::build(question, shown, &operation::random_delimiter(), tokens);
    let mut binder = Binder::new(heard);
    write(generator, request, |delta| {
        tell(observer, binder.push(delta));
    })
    .await?;
    let (bound, tail) = binder.finish();
    tell(observer, tail);
    if bound.removed > 0 {
        tracing::info!(
            removed = bound.removed,
            "citations of passages that were not given were taken out"
        );
    }
    let info = generator.info();
    Ok(Written::generated(
        bound,
        format!("{}/{}", info.vendor, info.model),
    ))
}

fn tell(observer: &dyn QueryObserver, text: String) {
    if !text.is_empty() {
        observer.event(&QueryEvent::Text(text));
    }
}

/// Hands what the generator writes to `take`, piece by piece. Returns whether the text was cut at its token limit.
pub(crate) async fn write(
    generator: &Guarded<dyn Generator>,
    request: GenerateRequest,
    mut take: impl FnMut(&str),
) -> Result<bool> {
    let mut stream = generator
        .generate(request)
        .await
        .map_err(|error| error.with_stage(Stage::Generate))?;
    while let Some(event) = stream.next().await {
        match event.map_err(|error| error.with_stage(Stage::Generate))? {
            GenerateEvent::Delta(delta) => take(&delta),
            GenerateEvent::Done { truncated, .. } => {
                if truncated {
                    tracing::warn!("what the generator wrote was cut at its token limit");
                }
                return Ok(truncated);
            }
        }
    }
    Err(Error::protocol("the answer broke off").with_stage(Stage::Generate))
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
