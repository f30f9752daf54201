//! The dialect of OpenAI's interface that Groq and many servers of one's own speak too: chat completions, lists of
//! models and, in [`transcription`], speech to text.
//!
//! Sources: the request and response types of the openai SDK 3.54.0 and the groq SDK 1.7.0, read 2026-11.

mod languages;
pub(crate) mod transcription;

use super::answer::{self, Finish, Read, ReadAnswer, broke_off, failed, parse, refused};
use super::put;
use crate::http::{Call, Event, Service, health_of};
use audiorag_core::capability::{GenerateRequest, GenerateStream, Health};
use audiorag_core::{Error, Result};
use serde::Deserialize;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// The longest wait for the head of an answer: servers of one's own read the prompt first.
pub(crate) const FIRST_WORD: Duration = Duration::from_mins(2);

/// How a chat completion is asked for.
#[derive(Clone, Debug)]
pub(crate) struct Chat {
    /// The vendor, for messages.
    pub(crate) vendor: &'static str,
    /// The model.
    pub(crate) model: String,
    /// What the limit of tokens is called: `max_completion_tokens`, or `max_tokens` on older servers.
    pub(crate) limit: &'static str,
    /// How much the model thinks, where it can be told.
    pub(crate) effort: Option<String>,
    /// Tokens on top of the answer's own, for thoughts.
    pub(crate) room: u32,
}

impl Chat {
    /// Starts an answer.
    pub(crate) async fn generate(
        &self,
        service: &Service,
        request: &GenerateRequest,
    ) -> Result<GenerateStream> {
        let call = Call::post("chat/completions")
            .json(&self.body(request))
            .timeout(FIRST_WORD);
        let events = service.events(&call).await?;
        Ok(answer::pieces(events, ChatReader::new(self.vendor)))
    }

    fn body(&self, request: &GenerateRequest) -> Value {
        let mut body = json!({
            "model": self.model,
            "messages": [
                {"role": "system", "content": request.system},
                {"role": "user", "content": request.user},
            ],
            "stream": true,
            "stream_options": {"include_usage": true},
        });
        let tokens = request.max_output_tokens.saturating_add(self.room);
        put(&mut body, self.limit, json!(tokens));
        if let Some(effort) = &self.effort {
            put(&mut body, "reasoning_effort", json!(effort));
        }
        body
    }
}

/// Reads the chunks of a chat completion.
struct ChatReader {
    vendor: &'static str,
    reason: Option<String>,
    refusal: String,
    usage: ChatUsage,
}

impl ChatReader {
    fn new(vendor: &'static str) -> Self {
        Self {
            vendor,
            reason: None,
            refusal: String::new(),
            usage: ChatUsage::default(),
        }
    }
}

impl ReadAnswer for ChatReader {
    fn vendor(&self) -> &'static str {
        self.vendor
    }

    fn read(&mut self, event: &Event) -> Result<Read> {
        if event.data.trim() == "[DONE]" {
            return Ok(Read::End);
        }
        let chunk: Chunk = parse(self.vendor, event)?;
        if let Some(error) = chunk.error {
            let (code, message) = error_of(&error);
            return Err(failed(self.vendor, code, message));
        }
        let groq = chunk.x_groq.and_then(|extra| extra.usage);
        if let Some(usage) = chunk.usage.or(groq) {
            self.usage = usage;
        }
        let mut text = String::new();
        for choice in chunk.choices {
            text.push_str(choice.delta.content.as_deref().unwrap_or_default());
            self.refusal
                .push_str(choice.delta.refusal.as_deref().unwrap_or_default());
            self.reason = choice.finish_reason.or(self.reason.take());
        }
        Ok(Read::Text(text))
    }

    fn finish(&mut self) -> Result<Finish> {
        if !self.refusal.is_empty() {
            return Err(refused(self.vendor, &self.refusal));
        }
        match self.reason.as_deref() {
            None => Err(broke_off(self.vendor)),
            Some("content_filter") => Err(refused(self.vendor, "content_filter")),
            Some(reason) => Ok(Finish {
                input_tokens: self.usage.prompt_tokens,
                output_tokens: self.usage.completion_tokens,
                truncated: reason == "length",
            }),
        }
    }
}

/// Code and message of an error inside a stream, which is an object or, on some servers, a sentence.
pub(crate) fn error_of(error: &Value) -> (&str, &str) {
    let field = |name: &str| error.get(name).and_then(Value::as_str);
    let message = field("message").or(error.as_str()).unwrap_or_default();
    (field("code").or(field("type")).unwrap_or_default(), message)
}

/// Reaches the service and looks for the model in its list. `strict` services list every model they serve; servers
/// of one's own may list none, or under other names, which is only worth a remark.
pub(crate) async fn health(service: &Service, model: &str, strict: bool) -> Health {
    let start = Instant::now();
    let outcome = service
        .json::<Models>(&Call::get("models"))
        .await
        .and_then(|answer| {
            let count = answer.value.data.len();
            let named = |listed: &Listed| {
                let rest = listed.id.strip_prefix(model);
                // Ollama lists `llama3:latest` for `llama3`.
                rest.is_some_and(|rest| rest.is_empty() || !strict && rest.starts_with(':'))
            };
            if answer.value.data.iter().any(named) {
                Ok(format!("{count} models, {model} among them"))
            } else if strict {
                Err(
                    Error::not_found(format!("{} does not list the model {model}", service.base_url()))
                        .with_hint("check the model's name, and whether the key may use it"),
                )
            } else {
                Ok(format!("answers, but its {count} models do not include {model}"))
            }
        });
    health_of(outcome, start.elapsed())
}

#[derive(Deserialize)]
struct Models {
    data: Vec<Listed>,
}

#[derive(Deserialize)]
struct Listed {
    id: String,
}

#[derive(Deserialize)]
struct Chunk {
    #[serde(default)]
    choices: Vec<Choice>,
    usage: Option<ChatUsage>,
    error: Option<Value>,
    x_groq: Option<GroqExtra>,
}

#[derive(Deserialize)]
struct Choice {
    #[serde(default)]
    delta: Delta,
    finish_reason: Option<String>,
}

#[derive(Default, Deserialize)]
struct Delta {
    content: Option<String>,
    refusal: Option<String>,
}

/// Groq's own field; its documentation shows the usage of a stream only here.
#[derive(Deserialize)]
struct GroqExtra {
    usage: Option<ChatUsage>,
}

#[derive(Clone, Copy, Default, Deserialize)]
struct ChatUsage {
    #[serde(default)]
    prompt_tokens: u64,
    #[serde(default)]
    completion_tokens: u64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use audiorag_core::ErrorKind;

    fn chunks(data: &[&str]) -> (String, Result<Finish>) {
        let mut reader = ChatReader::new("x");
        let mut text = String::new();
        for data in data {
            let event = Event {
                name: String::new(),
                data: (*data).to_owned(),
            };
            match reader.read(&event) {
                Ok(Read::Text(more)) => text.push_str(&more),
                Ok(Read::End) => break,
                Err(error) => return (text, Err(error)),
            }
        }
        (text, reader.finish())
    }

    #[test]
    fn text_reason_and_usage_are_found() {
        let (text, finish) = chunks(&[
            r#"{"choices":[{"delta":{"role":"assistant","content":""},"finish_reason":null}]}"#,
            r#"{"choices":[{"delta":{"reasoning":"hm"}}]}"#,
            r#"{"choices":[{"delta":{"content":"Hel"}}]}"#,
            r#"{"choices":[{"delta":{"content":"lo"},"finish_reason":"length"}],"x_groq":{"id":"r"}}"#,
            r#"{"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":2}}"#,
            "[DONE]",
            "not read",
        ]);
        let finish = finish.unwrap();
        assert_eq!(text, "Hello");
        assert_eq!((finish.input_tokens, finish.output_tokens), (7, 2));
        assert!(finish.truncated);
    }

    #[test]
    fn errors_refusals_and_early_ends_are_told_apart() {
        let kind = |data: &[&str]| chunks(data).1.map(|_| ()).map_err(|error| error.kind());
        let table: [(&[&str], ErrorKind); 6] = [
            (
                &[r#"{"error":{"message":"slow","code":"rate_limit_exceeded"}}"#],
                ErrorKind::RateLimited,
            ),
            (
                &[r#"{"error":{"message":"m","type":"server_error","code":null}}"#],
                ErrorKind::Unavailable,
            ),
            (&[r#"{"error":"out of memory"}"#], ErrorKind::Unavailable),
            (
                &[r#"{"choices":[{"delta":{"content":"a"}}]}"#],
                ErrorKind::Unavailable,
            ),
            (
                &[r#"{"choices":[{"delta":{},"finish_reason":"content_filter"}]}"#],
                ErrorKind::Input,
            ),
            (&["<html>"], ErrorKind::Protocol),
        ];
        for (data, expected) in table {
            assert_eq!(kind(data), Err(expected), "{data:?}");
        }
        let refusal = r#"{"choices":[{"delta":{"refusal":"I will not"},"finish_reason":"stop"}]}"#;
        assert_eq!(kind(&[refusal, "[DONE]"]), Err(ErrorKind::Input));
    }
}
