//! Google Gemini: answers and embeddings.
//!
//! Documentation: <https://ai.google.dev/api>; the wire types are those of the google-genai SDK 3.4.0.
//! - Embeddings: at most 100 texts in a request; longer texts are cut by the model. What a text is for is said in a
//!   field with gemini-embedding-001, and in the text itself with gemini-embedding-2, which ignores the field.
//! - Answers: models think before they answer, and their thoughts count against the same limit of tokens.
//! - Speech to text is not offered: the times it writes are generated text, not measurements.

use super::{Model, Offer, Price, SettingKind, Unit, Vendor, VendorContext, VendorSetting};
use crate::http::{Call, Event, Refinement, Refusal, Replay, Service, health_of};
use crate::wire::answer::{self, Finish, ROOM_TO_THINK, Read, ReadAnswer, broke_off, failed, parse, refused};
use crate::wire::put;
use async_trait::async_trait;
use audiorag_core::capability::{
    EmbedResponse, Embedder, EmbedderLimits, GenerateRequest, GenerateStream, Generator, GeneratorLimits,
    Health, InputType, ProviderInfo, Usage,
};
use audiorag_core::model::EmbeddingSpace;
use audiorag_core::{Error, ErrorKind, Result};
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::{Duration, Instant};

pub(super) const VENDOR: Vendor = Vendor {
    id: "gemini",
    about: "Google Gemini: answers and embeddings",
    docs: "https://ai.google.dev/api",
    settings: SETTINGS,
    embed: Some(Offer::new(EMBEDDING_MODELS, build_embedder)),
    generate: Some(Offer::new(ANSWER_MODELS, build_generator)),
    ..Vendor::NONE
};

const SETTINGS: &[VendorSetting] = &[
    VendorSetting {
        path: "gemini.api_key",
        // In this order, as Google's own SDK asks (google-genai 3.4.0).
        aliases: &["GOOGLE_API_KEY", "GEMINI_API_KEY"],
        kind: SettingKind::Secret,
        default: None,
        doc: "The key for the Gemini API.",
    },
    VendorSetting {
        path: "gemini.base_url",
        aliases: &["GEMINI_BASE_URL"],
        kind: SettingKind::Url,
        default: Some("https://generativelanguage.googleapis.com/v1beta"),
        doc: "Where the Gemini API answers, with its version.",
    },
];

const EMBEDDING_MODELS: &[Model] = &[
    Model::new("gemini-embedding-2", "3072 dimensions or fewer, 8192 tokens").priced(Price {
        usd: 0.2,
        unit: Unit::MillionTokens,
        checked: "2026-11-23",
        source: "https://zilliz.com/ai-models/gemini-embedding-2",
    }),
    Model::new("gemini-embedding-001", "3072 dimensions or fewer, 2048 tokens").priced(Price {
        usd: 0.15,
        unit: Unit::MillionTokens,
        checked: "2026-11-23",
        source: "https://opencode.ai/data/google/gemini-embedding-001",
    }),
];

const ANSWER_MODELS: &[Model] = &[
    Model::new("gemini-3.8-flash", "1,048,576 tokens of context").priced(Price {
        usd: 0.75,
        unit: Unit::MillionTokens,
        checked: "2026-11-23",
        source: "https://vercel.com/ai-gateway/models/gemini-3.8-flash",
    }),
];

/// Dimensions at full length and tokens in a text of known models.
const EMBEDDING_FACTS: &[(&str, usize, usize)] = &[
    ("gemini-embedding-2", 3_072, 8_192),
    ("gemini-embedding-001", 3_072, 2_048),
];

/// More are refused with "at most 100 requests can be in one batch".
const MAX_BATCH: usize = 100;

/// Tokens of context and of answer: <https://docs.apiyi.com/en/live/2026-09/gemini-3-8-flash-official-specs.md>,
/// which quotes Google's page of the model.
const CONTEXT: usize = 1_048_576;
const MAX_ANSWER: u32 = 65_536;

fn service(ctx: &VendorContext<'_>) -> Result<Service> {
    let key = ctx.key("gemini.api_key", "GEMINI_API_KEY")?;
    Ok(ctx
        .http
        .service("gemini", ctx.required("gemini.base_url")?)?
        .secret_header("x-goog-api-key", "", &key)?
        .key_hint("check GEMINI_API_KEY")
        .refine(refine)
        .build())
}

/// What stands in `details`: a wrong key is a wrong request to Google, waits are named there, and so is the quota.
fn refine(refusal: &Refusal<'_>) -> Refinement {
    let mut refinement = Refinement::default();
    let details = refusal.body.pointer("/error/details").and_then(Value::as_array);
    for detail in details.into_iter().flatten() {
        if let Some("API_KEY_INVALID") = detail.get("reason").and_then(Value::as_str) {
            refinement.kind = Some(ErrorKind::Auth);
            refinement.hint = Some("check GEMINI_API_KEY");
        }
        if let Some(delay) = detail.get("retryDelay").and_then(Value::as_str) {
            refinement.retry_after = seconds(delay);
        }
        let violations = detail.get("violations").and_then(Value::as_array);
        let daily = violations.into_iter().flatten().any(|violation| {
            let quota = violation.get("quotaId").and_then(Value::as_str);
            quota.is_some_and(|quota| quota.contains("PerDay"))
        });
        if daily {
            // Waiting a minute does not help.
            refinement.kind = Some(ErrorKind::Budget);
        }
    }
    if refusal.status == 404 {
        refinement.hint = Some("check the model's name");
    }
    refinement
}

/// A duration as Google writes it: `34.5s`.
fn seconds(text: &str) -> Option<Duration> {
    let number = text.strip_suffix('s')?.parse::<f64>().ok()?;
    Duration::try_from_secs_f64(number).ok()
}

fn info(model: &str) -> ProviderInfo {
    ProviderInfo {
        vendor: "gemini".to_owned(),
        model: model.to_owned(),
        version: 1,
    }
}

/// The model without the prefix under which Google lists it.
fn model(ctx: &VendorContext<'_>, default: &str) -> String {
    let model = ctx.model_or(default);
    model.strip_prefix("models/").map(str::to_owned).unwrap_or(model)
}

/// Asks for the model: checks the key as well.
async fn health(service: &Service, model: &str, method: &str) -> Health {
    let start = Instant::now();
    let call = Call::get(format!("models/{model}")).timeout(Duration::from_secs(20));
    let outcome = service.json::<Listed>(&call).await.and_then(|answer| {
        let Listed { name, methods } = answer.value;
        match methods {
            Some(methods) if !methods.iter().any(|listed| listed == method) => {
                Err(Error::unsupported(format!("{name} does not offer {method}"))
                    .with_hint("choose another model"))
            }
            _ => Ok(name),
        }
    });
    health_of(outcome, start.elapsed())
}

fn build_embedder(ctx: &VendorContext<'_>) -> Result<Arc<dyn Embedder>> {
    let model = model(ctx, "gemini-embedding-2");
    let known = EMBEDDING_FACTS.iter().find(|(id, _, _)| *id == model);
    let (dimensions, asked) = match (known, ctx.dimensions) {
        (Some((_, full, _)), None) => (*full, false),
        (Some((_, full, _)), Some(wanted)) if (1..=*full).contains(&wanted) => (wanted, wanted != *full),
        (Some((_, full, _)), Some(wanted)) => {
            return Err(Error::config(format!(
                "{model} gives vectors of at most {full} dimensions, not {wanted}"
            ))
            .with_hint("set AUDIORAG_EMBEDDING_DIMENSIONS accordingly, or leave it out"));
        }
        (None, Some(wanted)) if wanted > 0 => (wanted, true),
        (None, _) => {
            return Err(
                Error::config(format!("the number of dimensions of {model} is not known"))
                    .with_hint("set AUDIORAG_EMBEDDING_DIMENSIONS to what the model gives"),
            );
        }
    };
    Ok(Arc::new(GeminiEmbedder {
        service: service(ctx)?,
        info: info(&model),
        max_input_tokens: known.map_or(2_048, |(_, _, tokens)| *tokens),
        space: EmbeddingSpace {
            provider: "gemini".to_owned(),
            model,
            dimensions,
        },
        asked,
    }))
}

struct GeminiEmbedder {
    service: Service,
    info: ProviderInfo,
    space: EmbeddingSpace,
    max_input_tokens: usize,
    asked: bool,
}

impl GeminiEmbedder {
    fn request(&self, text: &str, input: InputType) -> Value {
        let model = &self.space.model;
        // gemini-embedding-2 ignores taskType and wants these words instead (embeddings-benchmark/mteb#4851,
        // maragudk/gai#248; <https://ai.google.dev/gemini-api/docs/embeddings>).
        let in_text = model.starts_with("gemini-embedding-2");
        let text = match input {
            _ if !in_text => text.to_owned(),
            InputType::Document => format!("title: none | text: {text}"),
            InputType::Query => format!("task: search result | query: {text}"),
        };
        let mut request = json!({
            "model": format!("models/{model}"),
            "content": {"parts": [{"text": text}]},
        });
        if !in_text {
            let task = match input {
                InputType::Document => "RETRIEVAL_DOCUMENT",
                InputType::Query => "RETRIEVAL_QUERY",
            };
            put(&mut request, "taskType", json!(task));
        }
        if self.asked {
            put(&mut request, "outputDimensionality", json!(self.space.dimensions));
        }
        request
    }
}

#[async_trait]
impl Embedder for GeminiEmbedder {
    fn info(&self) -> &ProviderInfo {
        &self.info
    }

    fn space(&self) -> &EmbeddingSpace {
        &self.space
    }

    fn limits(&self) -> EmbedderLimits {
        EmbedderLimits {
            max_batch: MAX_BATCH,
            max_input_tokens: self.max_input_tokens,
            max_batch_tokens: None,
            concurrency: 2,
        }
    }

    async fn embed(&self, texts: &[String], input: InputType) -> Result<EmbedResponse> {
        if texts.is_empty() {
            return Ok(EmbedResponse::default());
        }
        if texts.len() > MAX_BATCH {
            return Err(Error::input(format!(
                "{} texts in one call, where gemini takes {MAX_BATCH}",
                texts.len()
            )));
        }
        let requests: Vec<Value> = texts.iter().map(|text| self.request(text, input)).collect();
        let call = Call::post(format!("models/{}:batchEmbedContents", self.space.model))
            .json(&json!({ "requests": requests }))
            .replay(Replay::Free);
        let answer = self
            .service
            .send(&call, |reply| {
                let wire: Embedded = reply.json()?;
                if wire.embeddings.len() != texts.len() {
                    return Err(Error::protocol(format!(
                        "gemini answers {} texts with {} vectors",
                        texts.len(),
                        wire.embeddings.len()
                    )));
                }
                let mut vectors = Vec::with_capacity(texts.len());
                for mut embedding in wire.embeddings {
                    // Shortened vectors do not come at unit length.
                    self.space.normalize(&mut embedding.values)?;
                    vectors.push(embedding.values);
                }
                Ok((vectors, wire.usage.map_or(0, |usage| usage.prompt)))
            })
            .await?;
        let (vectors, input_tokens) = answer.value;
        Ok(EmbedResponse {
            vectors,
            usage: Usage {
                requests: answer.requests,
                unknown: answer.unknown,
                input_tokens,
                ..Usage::default()
            },
        })
    }

    async fn health_check(&self) -> Health {
        // Lists name only the single form of the method, whatever the batch form is called with.
        health(&self.service, &self.info.model, "embedContent").await
    }
}

fn build_generator(ctx: &VendorContext<'_>) -> Result<Arc<dyn Generator>> {
    Ok(Arc::new(GeminiGenerator {
        service: service(ctx)?,
        info: info(&model(ctx, "gemini-3.8-flash")),
    }))
}

struct GeminiGenerator {
    service: Service,
    info: ProviderInfo,
}

#[async_trait]
impl Generator for GeminiGenerator {
    fn info(&self) -> &ProviderInfo {
        &self.info
    }

    fn limits(&self) -> GeneratorLimits {
        GeneratorLimits {
            context_tokens: CONTEXT - ROOM_TO_THINK as usize,
            max_output_tokens: MAX_ANSWER - ROOM_TO_THINK,
        }
    }

    async fn generate(&self, request: GenerateRequest) -> Result<GenerateStream> {
        let mut config = json!({
            "maxOutputTokens": request.max_output_tokens.saturating_add(ROOM_TO_THINK),
        });
        if self.info.model.starts_with("gemini-3") {
            // The least there is: `minimal` is refused by 3.8.
            put(&mut config, "thinkingConfig", json!({"thinkingLevel": "low"}));
        }
        let body = json!({
            "systemInstruction": {"parts": [{"text": request.system}]},
            "contents": [{"role": "user", "parts": [{"text": request.user}]}],
            "generationConfig": config,
        });
        let call = Call::post(format!("models/{}:streamGenerateContent", self.info.model))
            .query("alt", "sse")
            .json(&body);
        let events = self.service.events(&call).await?;
        Ok(answer::pieces(events, Reader::default()))
    }

    async fn health_check(&self) -> Health {
        health(&self.service, &self.info.model, "generateContent").await
    }
}

/// Reads the chunks of an answer. Nothing marks the last one but its finish reason.
#[derive(Debug, Default)]
struct Reader {
    reason: Option<String>,
    usage: Tokens,
}

impl ReadAnswer for Reader {
    fn vendor(&self) -> &'static str {
        "gemini"
    }

    fn read(&mut self, event: &Event) -> Result<Read> {
        let chunk: Chunk = parse("gemini", event)?;
        if let Some(error) = chunk.error {
            return Err(failed("gemini", &error.status, &error.message));
        }
        if let Some(why) = chunk.prompt_feedback.and_then(|feedback| feedback.block_reason) {
            return Err(refused("gemini", &why));
        }
        if let Some(usage) = chunk.usage {
            self.usage = usage;
        }
        let mut text = String::new();
        if let Some(candidate) = chunk.candidates.into_iter().next() {
            let parts = candidate.content.map(|content| content.parts).unwrap_or_default();
            for part in parts.into_iter().filter(|part| !part.thought) {
                text.push_str(&part.text);
            }
            self.reason = candidate.finish_reason.or(self.reason.take());
        }
        Ok(Read::Text(text))
    }

    fn finish(&mut self) -> Result<Finish> {
        match self.reason.as_deref() {
            None => Err(broke_off("gemini")),
            Some(reason @ ("STOP" | "MAX_TOKENS")) => Ok(Finish {
                input_tokens: self.usage.prompt,
                output_tokens: self.usage.candidates + self.usage.thoughts,
                truncated: reason == "MAX_TOKENS",
            }),
            // SAFETY, RECITATION, BLOCKLIST, PROHIBITED_CONTENT, SPII, LANGUAGE, OTHER.
            Some(reason) => Err(refused("gemini", reason)),
        }
    }
}

#[derive(Deserialize)]
struct Listed {
    name: String,
    #[serde(rename = "supportedGenerationMethods")]
    methods: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct Embedded {
    embeddings: Vec<Embedding>,
    #[serde(rename = "usageMetadata")]
    usage: Option<Tokens>,
}

#[derive(Deserialize)]
struct Embedding {
    values: Vec<f32>,
}

#[derive(Deserialize)]
struct Chunk {
    #[serde(default)]
    candidates: Vec<Candidate>,
    #[serde(rename = "promptFeedback")]
    prompt_feedback: Option<Feedback>,
    #[serde(rename = "usageMetadata")]
    usage: Option<Tokens>,
    error: Option<Failure>,
}

#[derive(Deserialize)]
struct Candidate {
    content: Option<Content>,
    #[serde(rename = "finishReason")]
    finish_reason: Option<String>,
}

#[derive(Deserialize)]
struct Content {
    #[serde(default)]
    parts: Vec<Part>,
}

#[derive(Deserialize)]
struct Part {
    #[serde(default)]
    text: String,
    #[serde(default)]
    thought: bool,
}

#[derive(Deserialize)]
struct Feedback {
    #[serde(rename = "blockReason")]
    block_reason: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
struct Tokens {
    #[serde(rename = "promptTokenCount", default)]
    prompt: u64,
    #[serde(rename = "candidatesTokenCount", default)]
    candidates: u64,
    #[serde(rename = "thoughtsTokenCount", default)]
    thoughts: u64,
}

#[derive(Deserialize)]
struct Failure {
    #[serde(default)]
    message: String,
    #[serde(default)]
    status: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn googles_durations_are_read() {
        assert_eq!(seconds("34.5s"), Some(Duration::from_millis(34_500)));
        assert_eq!(seconds("34"), None);
        assert_eq!(seconds("-1s"), None);
    }
}
