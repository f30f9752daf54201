//! Anthropic: answers by Claude.
//!
//! Documentation: <https://platform.claude.com/docs/en/api/messages>; the wire types are those of the anthropic SDK
//! 2.12.0.
//! - Version 2026-10-21 refuses `temperature`, `top_p` and `top_k`, so none is sent.
//! - Models think before they answer, and their thoughts count against `max_tokens`. They are told not to where they
//!   can be, and get room for it where they cannot.
//! - Passages are sent as `search_result` blocks, a text block for each sentence, and the citations that come back
//!   become the numbers of passages and their lines behind each statement (the SDK's `search_result_block_param.py` and
//!   `citations_search_result_location.py`).

use super::{Model, Offer, Price, SettingKind, Unit, Vendor, VendorContext, VendorSetting};
use crate::http::{Call, Event, Refinement, Refusal, Service, health_of};
use crate::wire::answer::{self, Finish, ROOM_TO_THINK, Read, ReadAnswer, broke_off, failed, parse, refused};
use crate::wire::put;
use async_trait::async_trait;
use audiorag_core::capability::{
    GenerateRequest, GenerateStream, Generator, GeneratorLimits, Health, ProviderInfo,
};
use audiorag_core::cite;
use audiorag_core::prompt::DOCUMENT_INSTRUCTIONS;
use audiorag_core::{Error, ErrorKind, Result};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub(super) const VENDOR: Vendor = Vendor {
    id: "anthropic",
    about: "answers by Claude",
    docs: "https://platform.claude.com/docs/en/api/messages",
    settings: SETTINGS,
    generate: Some(Offer::new(MODELS, build)),
    ..Vendor::NONE
};

const SETTINGS: &[VendorSetting] = &[
    VendorSetting {
        path: "anthropic.api_key",
        aliases: &["ANTHROPIC_API_KEY"],
        kind: SettingKind::Secret,
        default: None,
        doc: "The key for Anthropic.",
    },
    VendorSetting {
        path: "anthropic.base_url",
        aliases: &["ANTHROPIC_BASE_URL"],
        kind: SettingKind::Url,
        default: Some("https://api.anthropic.com"),
        doc: "Where Anthropic answers, without /v1.",
    },
];

/// Names from SDK 2.12.0 `model.py`; prices and limits from the page below.
const MODELS: &[Model] = &[
    priced(
        "claude-haiku-5-5",
        "small and fast; dearer beyond 100,000 tokens of prompt",
        (0.1, 0.5),
    ),
    priced("claude-sonnet-5-5", "larger", (2.0, 10.0)),
    priced("claude-opus-5-5", "largest, and always thinks", (4.0, 20.0)),
];

/// `usd` are dollars for a million tokens read, and written.
const fn priced(id: &'static str, about: &'static str, usd: (f64, f64)) -> Model {
    Model::new(id, about)
        .priced(Price {
            usd: usd.0,
            unit: Unit::MillionTokens,
            checked: "2026-11-23",
            source: "https://platform.claude.com/docs/en/models/haiku-5-5/overview",
        })
        .writing(usd.1)
}

/// The version of the interface (<https://platform.claude.com/docs/en/api/versioning>; SDK 2.12.0 sends it).
const VERSION: &str = "2026-10-21";

/// How to switch thinking off in models that think unless told otherwise. The others always think, such as
/// claude-opus-5-5, or only when told to
/// (<https://platform.claude.com/docs/en/models/sonnet-5-5/whats-new-sonnet-5-5>, and
/// <https://docs.apiyi.com/en/live/2026-11/claude-thinking-guide-refresh>, 2026-11-23).
const WITHOUT_THINKING: &[(&str, &str)] = &[
    ("claude-haiku-5-5", "disabled"),
    ("claude-sonnet-5-5", "between_tools"),
];

/// Tokens of context and of answer of the models above.
const CONTEXT: usize = 1_000_000;
const MAX_ANSWER: u32 = 128_000;
/// Tokens of context and of answer that every model still offered has.
const CONTEXT_OTHERS: usize = 200_000;
const MAX_ANSWER_OTHERS: u32 = 32_000;

fn build(ctx: &VendorContext<'_>) -> Result<Arc<dyn Generator>> {
    let key = ctx.key("anthropic.api_key", "ANTHROPIC_API_KEY")?;
    let service = ctx
        .http
        .service("anthropic", ctx.required("anthropic.base_url")?)?
        .secret_header("x-api-key", "", &key)?
        .header("anthropic-version", VERSION)?
        .key_hint("check ANTHROPIC_API_KEY")
        .refine(refine)
        .build();
    Ok(Arc::new(AnthropicGenerator {
        service,
        info: ProviderInfo {
            vendor: "anthropic".to_owned(),
            model: ctx.model_or("claude-haiku-5-5"),
            version: 1,
        },
    }))
}

fn refine(refusal: &Refusal<'_>) -> Refinement {
    let text = |path: &str| refusal.body.pointer(path).and_then(|value| value.as_str());
    if refusal.status == 404 {
        return Refinement {
            hint: Some("check the model's name"),
            ..Refinement::default()
        };
    }
    // An empty account is reported as a request that is wrong (anthropics/claude-code#66314).
    let broke = text("/error/message").is_some_and(|message| message.contains("credit balance"));
    Refinement {
        kind: (refusal.status == 400 && broke).then_some(ErrorKind::Budget),
        ..Refinement::default()
    }
}

struct AnthropicGenerator {
    service: Service,
    info: ProviderInfo,
}

impl AnthropicGenerator {
    /// The value of `thinking.type` that switches it off, where there is one.
    fn without_thinking(&self) -> Option<&'static str> {
        WITHOUT_THINKING
            .iter()
            .find(|(model, _)| self.info.model.starts_with(model))
            .map(|(_, value)| *value)
    }

    fn room(&self) -> u32 {
        match self.without_thinking() {
            Some(_) => 0,
            None => ROOM_TO_THINK,
        }
    }
}

#[async_trait]
impl Generator for AnthropicGenerator {
    fn info(&self) -> &ProviderInfo {
        &self.info
    }

    fn limits(&self) -> GeneratorLimits {
        let known = MODELS.iter().any(|model| model.id == self.info.model);
        let (context, answer) = if known {
            (CONTEXT, MAX_ANSWER)
        } else {
            (CONTEXT_OTHERS, MAX_ANSWER_OTHERS)
        };
        GeneratorLimits {
            context_tokens: context - self.room() as usize,
            max_output_tokens: answer - self.room(),
        }
    }

    async fn generate(&self, request: GenerateRequest) -> Result<GenerateStream> {
        let (system, content) = content(&request);
        let mut body = json!({
            "model": self.info.model,
            "max_tokens": request.max_output_tokens.saturating_add(self.room()),
            "system": system,
            "messages": [{"role": "user", "content": content}],
            "stream": true,
        });
        if let Some(value) = self.without_thinking() {
            put(&mut body, "thinking", json!({ "type": value }));
        }
        let call = Call::post("v1/messages").json(&body);
        let events = self.service.events(&call).await?;
        Ok(answer::pieces(events, Reader::default()))
    }

    async fn health_check(&self) -> Health {
        let start = Instant::now();
        // Checks the key and the model at once (<https://platform.claude.com/docs/en/api/models/retrieve>).
        let call = Call::get(format!("v1/models/{}", self.info.model)).timeout(Duration::from_secs(20));
        let outcome = self.service.json::<Listed>(&call).await.and_then(|answer| {
            let listed = answer.value;
            if listed.id.is_empty() {
                return Err(Error::protocol("anthropic describes a model without a name"));
            }
            Ok(listed.display_name.unwrap_or(listed.id))
        });
        health_of(outcome, start.elapsed())
    }
}

/// Instructions and blocks of the message: documents and the question, or plain text where there are none.
fn content(request: &GenerateRequest) -> (&str, Vec<Value>) {
    if request.documents.is_empty() {
        return (
            &request.system,
            vec![json!({"type": "text", "text": request.user})],
        );
    }
    let mut blocks: Vec<Value> = request
        .documents
        .iter()
        .map(|document| {
            let lines: Vec<Value> = document
                .lines
                .iter()
                .map(|line| json!({"type": "text", "text": line}))
                .collect();
            json!({
                "type": "search_result",
                "title": document.title,
                "source": document.source,
                "content": lines,
                "citations": {"enabled": true},
            })
        })
        .collect();
    blocks.push(json!({"type": "text", "text": request.question}));
    (DOCUMENT_INSTRUCTIONS, blocks)
}

/// Reads the events of a message.
#[derive(Debug, Default)]
struct Reader {
    /// The documents that the block under way cites, with the first and the last of the cited lines.
    cited: BTreeSet<(usize, Option<(usize, usize)>)>,
    input_tokens: u64,
    output_tokens: u64,
    reason: Option<String>,
    ended: bool,
}

impl ReadAnswer for Reader {
    fn vendor(&self) -> &'static str {
        "anthropic"
    }

    fn read(&mut self, event: &Event) -> Result<Read> {
        let told: Told = parse("anthropic", event)?;
        match told.kind.as_str() {
            "message_start" => {
                self.count(told.message.and_then(|message| message.usage));
                Ok(Read::Text(String::new()))
            }
            "content_block_start" => Ok(Read::Text(
                told.content_block.and_then(|b| b.text).unwrap_or_default(),
            )),
            // Thoughts and signatures come without `text`, citations between the text and the end of its block.
            "content_block_delta" => {
                let delta = told.delta.unwrap_or_default();
                let cited = delta.citation.and_then(|citation| citation.place());
                self.cited.extend(cited);
                Ok(Read::Text(delta.text.unwrap_or_default()))
            }
            "content_block_stop" => {
                let mut markers = String::new();
                for (document, lines) in std::mem::take(&mut self.cited) {
                    let _ = write!(markers, " {}", cite::marker(document, lines));
                }
                Ok(Read::Text(markers))
            }
            "message_delta" => {
                self.count(told.usage);
                self.reason = told
                    .delta
                    .and_then(|delta| delta.stop_reason)
                    .or(self.reason.take());
                Ok(Read::Text(String::new()))
            }
            "message_stop" => {
                self.ended = true;
                Ok(Read::End)
            }
            "error" => {
                let error = told.error.unwrap_or_default();
                Err(failed("anthropic", &error.kind, &error.message))
            }
            // Pings, and kinds that are yet to come.
            _ => Ok(Read::Text(String::new())),
        }
    }

    fn finish(&mut self) -> Result<Finish> {
        let reason = self.reason.as_deref().unwrap_or_default();
        match reason {
            "refusal" => Err(refused("anthropic", reason)),
            _ if !self.ended => Err(broke_off("anthropic")),
            _ => Ok(Finish {
                input_tokens: self.input_tokens,
                output_tokens: self.output_tokens,
                truncated: matches!(reason, "max_tokens" | "model_context_window_exceeded"),
            }),
        }
    }
}

impl Reader {
    /// Counts are totals so far, not additions.
    fn count(&mut self, usage: Option<Tokens>) {
        let Some(usage) = usage else { return };
        let read = usage.input.unwrap_or_default()
            + usage.cache_written.unwrap_or_default()
            + usage.cache_read.unwrap_or_default();
        self.input_tokens = self.input_tokens.max(read);
        self.output_tokens = self.output_tokens.max(usage.output.unwrap_or_default());
    }
}

#[derive(Deserialize)]
struct Listed {
    id: String,
    display_name: Option<String>,
}

#[derive(Deserialize)]
struct Told {
    #[serde(rename = "type")]
    kind: String,
    message: Option<Message>,
    content_block: Option<Block>,
    delta: Option<Delta>,
    usage: Option<Tokens>,
    error: Option<Failure>,
}

#[derive(Deserialize)]
struct Message {
    usage: Option<Tokens>,
}

#[derive(Deserialize)]
struct Block {
    text: Option<String>,
}

#[derive(Default, Deserialize)]
struct Delta {
    text: Option<String>,
    citation: Option<Cited>,
    stop_reason: Option<String>,
}

/// A `search_result_location`: which of the request's documents, and which blocks of its content, counted from zero.
/// The end is that of a range, which does not hold it.
#[derive(Deserialize)]
struct Cited {
    #[serde(rename = "search_result_index")]
    document: Option<usize>,
    #[serde(rename = "start_block_index")]
    first: Option<usize>,
    #[serde(rename = "end_block_index")]
    end: Option<usize>,
}

impl Cited {
    /// The document and its lines, as the numbers in the prompt count: from one.
    fn place(&self) -> Option<(usize, Option<(usize, usize)>)> {
        let document = self.document?.saturating_add(1);
        let lines = self
            .first
            .zip(self.end)
            .filter(|(first, end)| first < end)
            .map(|(first, end)| (first.saturating_add(1), end));
        Some((document, lines))
    }
}

#[derive(Deserialize)]
struct Tokens {
    #[serde(rename = "input_tokens")]
    input: Option<u64>,
    #[serde(rename = "cache_creation_input_tokens")]
    cache_written: Option<u64>,
    #[serde(rename = "cache_read_input_tokens")]
    cache_read: Option<u64>,
    #[serde(rename = "output_tokens")]
    output: Option<u64>,
}

#[derive(Default, Deserialize)]
struct Failure {
    #[serde(rename = "type", default)]
    kind: String,
    #[serde(default)]
    message: String,
}
