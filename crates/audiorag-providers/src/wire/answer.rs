//! From a vendor's stream of events to the pieces of an answer.

use crate::http::{Answer, Event, Events};
use audiorag_core::capability::{GenerateEvent, GenerateStream, Usage};
use audiorag_core::{Attempts, Error, ErrorKind, Result};
use futures_util::stream::unfold;
use serde::de::DeserializeOwned;

/// Tokens that models which think before they answer get on top of the answer's own: thoughts count against the
/// same limit, and a limit meant for the answer alone would be used up before its first word.
pub(crate) const ROOM_TO_THINK: u32 = 4_096;

/// Characters of a vendor's message that are shown.
const SHOWN: usize = 300;

/// What an event brought.
#[derive(Debug)]
pub(crate) enum Read {
    /// More text; empty when the event holds none.
    Text(String),
    /// The end: whatever follows does not belong to the answer.
    End,
}

/// How an answer ended.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Finish {
    /// Tokens read.
    pub(crate) input_tokens: u64,
    /// Tokens written.
    pub(crate) output_tokens: u64,
    /// Whether the text was cut at a limit.
    pub(crate) truncated: bool,
}

/// Understands the events of one vendor.
pub(crate) trait ReadAnswer: Send + 'static {
    /// The vendor, for messages.
    fn vendor(&self) -> &'static str;

    /// Takes the next event.
    fn read(&mut self, event: &Event) -> Result<Read>;

    /// How the answer ended; an error when it did not come to its end.
    fn finish(&mut self) -> Result<Finish>;
}

struct State<R> {
    events: Events,
    reader: R,
    requests: u32,
    unknown: u32,
    wrote: bool,
}

impl<R: ReadAnswer> State<R> {
    async fn next(&mut self) -> Result<Read> {
        match self.events.next().await? {
            Some(event) => self.reader.read(&event),
            None => Ok(Read::End),
        }
    }

    /// The answer had begun: whatever went wrong then, the vendor may charge for it.
    fn broken(&self, error: Error) -> Error {
        error.with_attempts(Attempts {
            requests: self.requests,
            unknown: self.unknown.saturating_add(1),
        })
    }

    fn done(&mut self) -> Result<GenerateEvent> {
        let finish = self.reader.finish()?;
        if finish.truncated && !self.wrote {
            return Err(Error::input(format!(
                "{} used up its {} tokens before it wrote a word",
                self.reader.vendor(),
                finish.output_tokens
            ))
            .with_hint("choose a model that thinks less, or ask for fewer passages"));
        }
        Ok(GenerateEvent::Done {
            usage: Usage {
                requests: self.requests,
                unknown: self.unknown,
                input_tokens: finish.input_tokens,
                output_tokens: finish.output_tokens,
                ..Usage::default()
            },
            truncated: finish.truncated,
        })
    }
}

/// The pieces of the answer that `reader` finds in the events. Dropping the stream closes the connection.
pub(crate) fn pieces(answer: Answer<Events>, reader: impl ReadAnswer) -> GenerateStream {
    let state = State {
        events: answer.value,
        reader,
        requests: answer.requests,
        unknown: answer.unknown,
        wrote: false,
    };
    Box::pin(unfold(Some(state), |state| async move {
        let mut state = state?;
        loop {
            match state.next().await {
                Ok(Read::Text(text)) if text.is_empty() => {}
                Ok(Read::Text(text)) => {
                    state.wrote = true;
                    return Some((Ok(GenerateEvent::Delta(text)), Some(state)));
                }
                Ok(Read::End) => return Some((state.done().map_err(|error| state.broken(error)), None)),
                Err(error) => return Some((Err(state.broken(error)), None)),
            }
        }
    }))
}

/// The data of an event as JSON of a known shape.
pub(crate) fn parse<T: DeserializeOwned>(vendor: &str, event: &Event) -> Result<T> {
    serde_json::from_str(&event.data).map_err(|error| {
        Error::protocol(format!(
            "{vendor} streams something else than its documentation says"
        ))
        .with_cause(error)
    })
}

/// The stream ended without saying that the answer did.
pub(crate) fn broke_off(vendor: &str) -> Error {
    Error::unavailable(format!("{vendor} breaks off in the middle of its answer"))
}

/// The vendor reports a failure inside a stream that began well. `code` is its own word for it.
pub(crate) fn failed(vendor: &str, code: &str, message: &str) -> Error {
    let kind = match code {
        "rate_limit_exceeded" | "rate_limit_error" | "RESOURCE_EXHAUSTED" => ErrorKind::RateLimited,
        "insufficient_quota" | "billing_error" => ErrorKind::Budget,
        "authentication_error" | "permission_error" | "invalid_api_key" => ErrorKind::Auth,
        "model_not_found" | "not_found_error" => ErrorKind::NotFound,
        "context_length_exceeded" | "invalid_prompt" | "invalid_request_error" | "INVALID_ARGUMENT" => {
            ErrorKind::Input
        }
        "timeout_error" => ErrorKind::Timeout,
        _ => ErrorKind::Unavailable,
    };
    let mut error = Error::new(kind, format!("{vendor} fails in the middle of its answer"));
    if !code.is_empty() {
        error = error.with_context("code", shown(code));
    }
    error.with_context("said", shown(message))
}

/// The vendor declines to answer. `why` is its own word or sentence for it.
pub(crate) fn refused(vendor: &str, why: &str) -> Error {
    Error::input(format!("{vendor} declines to answer"))
        .with_context("said", shown(why))
        .with_hint("ask in other words, or choose another generator")
}

/// Text on one line, cut to what is worth showing.
fn shown(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    line.chars()
        .filter(|letter| !letter.is_control())
        .take(SHOWN)
        .collect()
}
