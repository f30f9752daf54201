//! The events of the Responses API: <https://developers.openai.com/api/reference/resources/responses>.

use crate::http::Event;
use crate::wire::answer::{Finish, Read, ReadAnswer, broke_off, failed, parse, refused};
use crate::wire::openai::error_of;
use audiorag_core::Result;
use serde::Deserialize;
use serde_json::Value;

/// Reads the events of a response.
#[derive(Debug, Default)]
pub(super) struct Reader {
    refusal: String,
    finish: Option<Finish>,
}

impl ReadAnswer for Reader {
    fn vendor(&self) -> &'static str {
        "openai"
    }

    fn read(&mut self, event: &Event) -> Result<Read> {
        if event.data.trim() == "[DONE]" {
            return Ok(Read::End);
        }
        let told: Told = parse("openai", event)?;
        match told.kind.as_str() {
            "response.output_text.delta" => Ok(Read::Text(told.delta.unwrap_or_default())),
            "response.refusal.delta" => {
                self.refusal.push_str(told.delta.as_deref().unwrap_or_default());
                Ok(Read::Text(String::new()))
            }
            "response.completed" | "response.incomplete" => {
                let response = told.response.unwrap_or_default();
                let usage = response.usage.unwrap_or_default();
                let reason = response.incomplete_details.and_then(|details| details.reason);
                if reason.as_deref() == Some("content_filter") {
                    return Err(refused("openai", "content_filter"));
                }
                self.finish = Some(Finish {
                    input_tokens: usage.input_tokens,
                    output_tokens: usage.output_tokens,
                    truncated: told.kind == "response.incomplete",
                });
                Ok(Read::End)
            }
            "response.failed" => {
                let error = told
                    .response
                    .and_then(|response| response.error)
                    .unwrap_or_default();
                let (code, message) = error_of(&error);
                Err(failed("openai", code, message))
            }
            "error" => {
                // Documented flat; some answers nest it.
                let nested = told.error.unwrap_or_default();
                let (code, message) = error_of(&nested);
                let code = told.code.as_deref().unwrap_or(code);
                Err(failed("openai", code, told.message.as_deref().unwrap_or(message)))
            }
            // Progress of parts that hold no text, and kinds that are yet to come.
            _ => Ok(Read::Text(String::new())),
        }
    }

    fn finish(&mut self) -> Result<Finish> {
        if !self.refusal.is_empty() {
            return Err(refused("openai", &self.refusal));
        }
        self.finish.ok_or_else(|| broke_off("openai"))
    }
}

#[derive(Deserialize)]
struct Told {
    #[serde(rename = "type")]
    kind: String,
    delta: Option<String>,
    response: Option<Response>,
    error: Option<Value>,
    code: Option<String>,
    message: Option<String>,
}

#[derive(Default, Deserialize)]
struct Response {
    usage: Option<Tokens>,
    incomplete_details: Option<Details>,
    error: Option<Value>,
}

#[derive(Default, Deserialize)]
struct Tokens {
    #[serde(default)]
    input_tokens: u64,
    #[serde(default)]
    output_tokens: u64,
}

#[derive(Deserialize)]
struct Details {
    reason: Option<String>,
}
