//! Cohere: embeddings, reranking, and speech to text without times.
//!
//! - <https://docs.cohere.com/reference/embed>, <https://docs.cohere.com/reference/rerank>
//! - <https://docs.cohere.com/reference/create-audio-transcription>, <https://docs.cohere.com/docs/transcribe>
//! - <https://docs.cohere.com/docs/rate-limits>
//!
//! The wire format is that of cohere 7.3.1 and of these pages, read in November 2026. Limits: 96 texts in a call, a
//! recommended 1,000 documents (10,000 at most), 25 MB of audio. Trial keys get 1,000 calls a month.

use super::{Model, Offer, Price, SettingKind, Unit, Vendor, VendorContext, VendorSetting};
use crate::http::{Call, Field, Refinement, Refusal, Replay, Reply, Service, health_of};
use crate::wire::audio::{encoded, primary};
use crate::wire::vectors::{Sizes, check_count, dimensions, placed, ranked, worth_ranking};
use async_trait::async_trait;
use audiorag_core::capability::{
    EmbedResponse, Embedder, EmbedderLimits, Health, InputType, PromptLimit, ProviderInfo, Ranked, Reranker,
    TranscribeRequest, TranscribeResponse, Transcriber, TranscriberLimits, Usage,
};
use audiorag_core::model::{EmbeddingSpace, PartTranscript};
use audiorag_core::{Error, ErrorKind, MediaTime, Result, align};
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Instant;

pub(super) const VENDOR: Vendor = Vendor {
    id: ID,
    about: "embeddings, reranking, and speech to text without times",
    docs: "https://docs.cohere.com/reference/about",
    settings: &[
        VendorSetting {
            path: "cohere.api_key",
            // In this order, as the vendor's own SDK asks (cohere 7.3.1).
            aliases: &["CO_API_KEY", "COHERE_API_KEY"],
            kind: SettingKind::Secret,
            default: None,
            doc: "Key for Cohere.",
        },
        VendorSetting {
            path: "cohere.base_url",
            aliases: &["COHERE_BASE_URL", "CO_API_URL"],
            kind: SettingKind::Url,
            default: Some(BASE_URL),
            doc: "Where Cohere is reached.",
        },
    ],
    transcribe: Some(Offer::new(TRANSCRIBERS, |ctx| {
        Ok(Arc::new(CohereTranscriber::new(ctx)?))
    })),
    embed: Some(Offer::new(EMBEDDERS, |ctx| {
        Ok(Arc::new(CohereEmbedder::new(ctx)?))
    })),
    rerank: Some(Offer::new(RERANKERS, |ctx| {
        Ok(Arc::new(CohereReranker::new(ctx)?))
    })),
    ..Vendor::NONE
};

const ID: &str = "cohere";
const BASE_URL: &str = "https://api.cohere.com";
/// Rises when the mapping of answers changes.
const VERSION: u32 = 1;
const TRANSCRIBER: &str = "cohere-transcribe-03-2026";
const EMBEDDER: &str = "embed-v5.0-pro";
const RERANKER: &str = "rerank-v5.0-pro";

/// Prices as third parties listed them.
const fn price(usd: f64, source: &'static str) -> Price {
    Price {
        usd,
        unit: Unit::MillionTokens,
        checked: "2026-11-23",
        source,
    }
}

const TRANSCRIBERS: &[Model] = &[Model::new(
    TRANSCRIBER,
    "14 languages, one of which must be named; text only, sentence times estimated",
)];

/// Names from <https://docs.cohere.com/docs/cohere-on-openrouter> and the release notes of Embed 5 (September 2026).
const EMBEDDERS: &[Model] = &[
    Model::new(EMBEDDER, "1024 dimensions, or 256 to 2048; 128,000 tokens")
        .priced(price(0.12, "vercel.com/ai-gateway/models/embed-v5.0-pro")),
    Model::new(
        "embed-v5.0-fast",
        "1024 dimensions, or 256 to 2048; 128,000 tokens",
    )
    .priced(price(0.08, "vercel.com/ai-gateway/models/embed-v5.0-fast")),
    Model::new("embed-v4.0", "1536 dimensions, or 256, 512, 1024; 128,000 tokens")
        .priced(price(0.12, "getmaxim.ai cost calculator")),
    Model::new("embed-multilingual-v3.0", "1024 dimensions, 512 tokens"),
    Model::new("embed-english-v3.0", "English; 1024 dimensions, 512 tokens"),
];

/// The fifth generation gives 2048 components unless asked. 1024 are asked for: half the room, and below the 2,000
/// that an index of pgvector takes.
const SIZES: &[Sizes] = &[
    (EMBEDDER, 1024, &[256, 512, 768, 1024, 1536, 2048]),
    ("embed-v5.0-fast", 1024, &[256, 512, 768, 1024, 1536, 2048]),
    ("embed-v4.0", 1536, &[256, 512, 1024, 1536]),
    ("embed-multilingual-v3.0", 1024, &[1024]),
    ("embed-english-v3.0", 1024, &[1024]),
];

const RERANKERS: &[Model] = &[
    Model::new(RERANKER, "32,768 tokens").priced(price(0.05, "getmaxim.ai model library")),
    Model::new("rerank-v5.0-fast", "32,768 tokens; faster"),
    Model::new("rerank-v4.0-pro", "32,768 tokens"),
    Model::new("rerank-v3.5", "4,096 tokens"),
];

const MAX_TEXTS: usize = 96;
/// What one call may hold is documented for one text only; Oracle, who runs the same model, gives it for all of them.
const MAX_BATCH_TOKENS: usize = 128_000;
const MAX_DOCUMENTS: usize = 1_000;
const CONCURRENCY: usize = 4;

/// Sentences are placed by the pauses in a part, so that short parts mean better times.
const PREFERRED_PART: MediaTime = MediaTime::from_seconds(60);
/// 19 MB of WAV, of the 25 MB that a file may have.
const MAX_PART: MediaTime = MediaTime::from_seconds(600);
const MAX_BYTES: u64 = 25_000_000;
/// From <https://docs.cohere.com/docs/transcribe>.
const LANGUAGES: [&str; 14] = [
    "ar", "de", "el", "en", "es", "fr", "it", "ja", "ko", "nl", "pl", "pt", "vi", "zh",
];

fn service(ctx: &VendorContext<'_>) -> Result<Service> {
    let key = ctx.key("cohere.api_key", "COHERE_API_KEY")?;
    let service = ctx
        .http
        .service(ID, ctx.required("cohere.base_url")?)?
        .bearer(&key)?
        .key_hint("check COHERE_API_KEY")
        .refine(refine)
        .build();
    Ok(service)
}

fn refine(refusal: &Refusal<'_>) -> Refinement {
    let said = refusal
        .body
        .get("message")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let (kind, hint) = match refusal.status {
        // Trial keys are limited by the minute, which passes, and by the month, which does not.
        429 if said.contains("/ month") || said.contains("per month") => (Some(ErrorKind::Budget), None),
        429 if said.to_lowercase().contains("trial") => (
            None,
            Some("a trial key allows few calls a minute: use a production key, or set a request limit"),
        ),
        // Cohere's own: a text was blocked.
        498 => (
            Some(ErrorKind::Input),
            Some("Cohere blocked the text under its usage guidelines"),
        ),
        // Cohere's own: the request was cancelled.
        499 => (Some(ErrorKind::Unavailable), None),
        _ => (None, None),
    };
    Refinement {
        kind,
        hint,
        ..Refinement::default()
    }
}

fn info(model: String) -> ProviderInfo {
    ProviderInfo {
        vendor: ID.to_owned(),
        model,
        version: VERSION,
    }
}

/// Asks for the model, which checks the key as well. `endpoint` is what it must be good for, where Cohere lists that.
async fn health(service: &Service, model: &str, endpoint: Option<&str>) -> Health {
    let started = Instant::now();
    let found = service
        .json::<KnownModel>(&Call::get(format!("v1/models/{model}")))
        .await;
    let outcome = found.and_then(|answer| {
        let found = answer.value;
        let listed = found.endpoints.unwrap_or_default();
        match endpoint {
            Some(endpoint) if !listed.is_empty() && !listed.iter().any(|name| name == endpoint) => {
                Err(Error::config(format!("{model} cannot {endpoint}")).with_hint("choose another model"))
            }
            _ if found.is_deprecated == Some(true) => Ok(format!("{model} is offered, but deprecated")),
            _ => Ok(format!("{model} is offered")),
        }
    });
    health_of(outcome, started.elapsed())
}

/// Embeddings with Cohere.
struct CohereEmbedder {
    info: ProviderInfo,
    space: EmbeddingSpace,
    service: Service,
    /// Whether the model can be told how long its vectors shall be.
    flexible: bool,
}

impl CohereEmbedder {
    fn new(ctx: &VendorContext<'_>) -> Result<Self> {
        let model = ctx.model_or(EMBEDDER);
        let (dimensions, flexible) = dimensions(&model, ctx.dimensions, SIZES)?;
        Ok(Self {
            space: EmbeddingSpace {
                provider: ID.to_owned(),
                model: model.clone(),
                dimensions,
            },
            info: info(model),
            service: service(ctx)?,
            flexible,
        })
    }
}

#[async_trait]
impl Embedder for CohereEmbedder {
    fn info(&self) -> &ProviderInfo {
        &self.info
    }

    fn space(&self) -> &EmbeddingSpace {
        &self.space
    }

    fn limits(&self) -> EmbedderLimits {
        let third = self.info.model.contains("-v3.0");
        EmbedderLimits {
            max_batch: MAX_TEXTS,
            max_input_tokens: if third { 512 } else { 128_000 },
            max_batch_tokens: Some(MAX_BATCH_TOKENS),
            concurrency: CONCURRENCY,
        }
    }

    async fn embed(&self, texts: &[String], input: InputType) -> Result<EmbedResponse> {
        check_count("texts", texts.len(), MAX_TEXTS)?;
        if texts.is_empty() {
            return Ok(EmbedResponse::default());
        }
        let mut body = json!({
            "model": self.info.model,
            "texts": texts,
            "input_type": match input {
                InputType::Document => "search_document",
                InputType::Query => "search_query",
            },
            "embedding_types": ["float"],
            "truncate": "END",
        });
        if let (true, Some(fields)) = (self.flexible, body.as_object_mut()) {
            fields.insert("output_dimension".to_owned(), json!(self.space.dimensions));
        }
        let call = Call::post("v2/embed").json(&body).replay(Replay::Free);
        let parse = |reply: &Reply| {
            let embedded: Embedded = reply.json()?;
            let vectors = embedded.embeddings.float.into_iter().enumerate().collect();
            let tokens = embedded.meta.and_then(|meta| meta.billed_units?.input_tokens);
            Ok((
                placed(vectors, texts.len(), &self.space)?,
                tokens.unwrap_or_default(),
            ))
        };
        let answer = self.service.send(&call, parse).await?;
        let (vectors, input_tokens) = answer.value;
        Ok(EmbedResponse {
            vectors,
            usage: Usage {
                requests: answer.requests,
                unknown: answer.unknown,
                input_tokens: input_tokens as u64,
                ..Usage::default()
            },
        })
    }

    async fn health_check(&self) -> Health {
        health(&self.service, &self.info.model, Some("embed")).await
    }
}

/// Reranking with Cohere.
struct CohereReranker {
    info: ProviderInfo,
    service: Service,
}

impl CohereReranker {
    fn new(ctx: &VendorContext<'_>) -> Result<Self> {
        Ok(Self {
            info: info(ctx.model_or(RERANKER)),
            service: service(ctx)?,
        })
    }
}

#[async_trait]
impl Reranker for CohereReranker {
    fn info(&self) -> &ProviderInfo {
        &self.info
    }

    fn max_documents(&self) -> usize {
        MAX_DOCUMENTS
    }

    async fn rerank(&self, query: &str, documents: &[String], top_n: usize) -> Result<Vec<Ranked>> {
        check_count("documents", documents.len(), MAX_DOCUMENTS)?;
        let sent = worth_ranking(documents);
        if sent.is_empty() || top_n == 0 {
            return Ok(Vec::new());
        }
        let texts: Vec<&String> = sent.iter().filter_map(|index| documents.get(*index)).collect();
        let body = json!({
            "model": self.info.model,
            "query": query,
            "documents": texts,
            "top_n": top_n.min(sent.len()),
        });
        let call = Call::post("v2/rerank").json(&body).replay(Replay::Free);
        let parse = |reply: &Reply| {
            let scored: Scored = reply.json()?;
            let scores: Vec<(usize, f32)> = scored
                .results
                .iter()
                .map(|item| (item.index, item.relevance_score))
                .collect();
            ranked(&scores, &sent, top_n)
        };
        Ok(self.service.send(&call, parse).await?.value)
    }

    async fn health_check(&self) -> Health {
        health(&self.service, &self.info.model, Some("rerank")).await
    }
}

/// Speech to text with Cohere.
struct CohereTranscriber {
    info: ProviderInfo,
    service: Service,
}

impl CohereTranscriber {
    fn new(ctx: &VendorContext<'_>) -> Result<Self> {
        Ok(Self {
            info: info(ctx.model_or(TRANSCRIBER)),
            service: service(ctx)?,
        })
    }
}

/// The language to name, which Cohere does not find out by itself.
fn language(asked: Option<&str>) -> Result<String> {
    let known = || format!("set AUDIORAG_STT_LANGUAGE to one of {}", LANGUAGES.join(", "));
    let asked = asked
        .ok_or_else(|| Error::config("Cohere has to be told which language is spoken").with_hint(known()))?;
    let language = primary(asked);
    if LANGUAGES.contains(&language.as_str()) {
        Ok(language)
    } else {
        Err(Error::config(format!("Cohere does not transcribe '{asked}'")).with_hint(known()))
    }
}

#[async_trait]
impl Transcriber for CohereTranscriber {
    fn info(&self) -> &ProviderInfo {
        &self.info
    }

    fn limits(&self) -> TranscriberLimits {
        TranscriberLimits {
            preferred_part: PREFERRED_PART,
            max_part: MAX_PART,
            max_bytes: Some(MAX_BYTES),
            concurrency: CONCURRENCY,
            prompt: PromptLimit::NotTaken,
            segment_times: false,
            word_times: false,
            speakers: false,
            languages: LANGUAGES.map(str::to_owned).to_vec(),
        }
    }

    async fn transcribe(&self, request: TranscribeRequest) -> Result<TranscribeResponse> {
        if request.speech.is_empty() {
            return Ok(TranscribeResponse::default());
        }
        let language = language(request.language.as_deref())?;
        let part = request.span();
        let wav = encoded(&request, MAX_PART).await?;
        // The body is read as it arrives: fields behind the file come too late (noted in RubyLLM's code for Cohere).
        let call = Call::post("v2/audio/transcriptions")
            .form(vec![
                Field::Text("model", self.info.model.clone()),
                Field::Text("language", language.clone()),
                Field::File("file", "part.wav", "audio/wav", wav),
            ])
            .audio(part.duration());
        let answer = self.service.json::<Transcribed>(&call).await?;
        let segments = align::sentences(&answer.value.text, part, &request.speech);
        Ok(TranscribeResponse {
            transcript: PartTranscript {
                segments,
                language: Some(language),
            },
            usage: Usage {
                requests: answer.requests,
                unknown: answer.unknown,
                audio: part.duration(),
                ..Usage::default()
            },
        })
    }

    async fn health_check(&self) -> Health {
        // Cohere has no name yet for what this model is good for.
        health(&self.service, &self.info.model, None).await
    }
}

#[derive(Deserialize)]
struct KnownModel {
    is_deprecated: Option<bool>,
    endpoints: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct Embedded {
    embeddings: Embeddings,
    meta: Option<Meta>,
}

#[derive(Deserialize)]
struct Embeddings {
    float: Vec<Vec<f32>>,
}

#[derive(Deserialize)]
struct Meta {
    billed_units: Option<BilledUnits>,
}

#[derive(Deserialize)]
struct BilledUnits {
    input_tokens: Option<f64>,
}

#[derive(Deserialize)]
struct Scored {
    results: Vec<ScoredText>,
}

#[derive(Deserialize)]
struct ScoredText {
    index: usize,
    relevance_score: f32,
}

#[derive(Deserialize)]
struct Transcribed {
    text: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_language_must_be_named_and_known() {
        assert_eq!(language(Some("pt-BR")).unwrap(), "pt");
        for asked in [None, Some("sv")] {
            let error = language(asked).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config);
            assert!(error.hint().unwrap().contains("AUDIORAG_STT_LANGUAGE"));
        }
    }

    #[test]
    fn every_model_has_a_size() {
        let sized: Vec<&str> = SIZES.iter().map(|(model, _, _)| *model).collect();
        let offered: Vec<&str> = EMBEDDERS.iter().map(|model| model.id).collect();
        assert_eq!(sized, offered);
    }
}
