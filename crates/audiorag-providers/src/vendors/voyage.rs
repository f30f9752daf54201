//! Voyage AI: embeddings and reranking.
//!
//! - <https://docs.voyageai.com/reference/embeddings-api>
//! - <https://docs.voyageai.com/docs/reranker>
//! - <https://www.mongodb.com/docs/voyageai/api-and-clients>
//!
//! The wire format is that of voyageai 0.5.0, read in November 2026. Keys that MongoDB issues start with `al-` and
//! work at MongoDB's address only, all others at Voyage's own; each refuses the other's.

use super::{Model, Offer, Price, SettingKind, Unit, Vendor, VendorContext, VendorSetting};
use crate::http::{Call, Refinement, Refusal, Replay, Reply, Service, health_of};
use crate::wire::vectors::{Sizes, check_count, dimensions, placed, ranked, worth_ranking};
use async_trait::async_trait;
use audiorag_core::capability::{
    EmbedResponse, Embedder, EmbedderLimits, Health, InputType, ProviderInfo, Ranked, Reranker, Usage,
};
use audiorag_core::model::EmbeddingSpace;
use audiorag_core::{ErrorKind, Result};
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Instant;

pub(super) const VENDOR: Vendor = Vendor {
    id: ID,
    about: "embeddings and reranking",
    docs: "https://docs.voyageai.com/reference/embeddings-api",
    settings: &[
        VendorSetting {
            path: "voyage.api_key",
            aliases: &["VOYAGE_API_KEY"],
            kind: SettingKind::Secret,
            default: None,
            doc: "Key for Voyage AI, from Voyage or from MongoDB Atlas.",
        },
        VendorSetting {
            path: "voyage.base_url",
            aliases: &["VOYAGE_BASE_URL"],
            kind: SettingKind::Url,
            default: None,
            doc: "Where Voyage AI is reached. Without it the key decides: MongoDB's address for keys that start \
                  with al-, Voyage's own for all others.",
        },
    ],
    embed: Some(Offer::new(EMBEDDERS, |ctx| {
        Ok(Arc::new(VoyageEmbedder::new(ctx)?))
    })),
    rerank: Some(Offer::new(RERANKERS, |ctx| {
        Ok(Arc::new(VoyageReranker::new(ctx)?))
    })),
    ..Vendor::NONE
};

const ID: &str = "voyage";
const BASE_URL: &str = "https://api.voyageai.com/v1";
/// Where keys from MongoDB Atlas work.
const MONGODB_URL: &str = "https://ai.mongodb.com/v1";
const MONGODB_KEY: &str = "al-";
/// Rises when the mapping of answers changes.
const VERSION: u32 = 1;
const EMBEDDER: &str = "voyage-4";
const RERANKER: &str = "rerank-2.5";

/// Prices as third parties listed them; Voyage's own page could not be read.
const fn price(usd: f64, source: &'static str) -> Price {
    Price {
        usd,
        unit: Unit::MillionTokens,
        checked: "2026-11-23",
        source,
    }
}

const LISTED: &str = "clawhub.ai voyageai-skill references/models.md";

/// From the reference of the embeddings API, November 2026.
const EMBEDDERS: &[Model] = &[
    Model::new(EMBEDDER, "1024 dimensions, or 256, 512, 2048; 32,000 tokens").priced(price(0.06, LISTED)),
    Model::new(
        "voyage-4-large",
        "1024 dimensions, or 256, 512, 2048; 32,000 tokens",
    )
    .priced(price(0.12, LISTED)),
    Model::new(
        "voyage-4-lite",
        "1024 dimensions, or 256, 512, 2048; 32,000 tokens",
    )
    .priced(price(0.02, LISTED)),
    Model::new(
        "voyage-3-large",
        "1024 dimensions, or 256, 512, 2048; 32,000 tokens",
    ),
    Model::new("voyage-3.5", "1024 dimensions, or 256, 512, 2048; 32,000 tokens"),
    Model::new(
        "voyage-3.5-lite",
        "1024 dimensions, or 256, 512, 2048; 32,000 tokens",
    ),
    Model::new(
        "voyage-code-3",
        "for code; 1024 dimensions, or 256, 512, 2048; 32,000 tokens",
    )
    .priced(price(0.18, LISTED)),
    Model::new("voyage-finance-2", "for finance; 1024 dimensions, 32,000 tokens").priced(price(0.12, LISTED)),
    Model::new("voyage-law-2", "for law; 1024 dimensions, 16,000 tokens").priced(price(0.12, LISTED)),
];

const FLEXIBLE: &[usize] = &[256, 512, 1024, 2048];

const SIZES: &[Sizes] = &[
    (EMBEDDER, 1024, FLEXIBLE),
    ("voyage-4-large", 1024, FLEXIBLE),
    ("voyage-4-lite", 1024, FLEXIBLE),
    ("voyage-3-large", 1024, FLEXIBLE),
    ("voyage-3.5", 1024, FLEXIBLE),
    ("voyage-3.5-lite", 1024, FLEXIBLE),
    ("voyage-code-3", 1024, FLEXIBLE),
    ("voyage-finance-2", 1024, &[1024]),
    ("voyage-law-2", 1024, &[1024]),
];

const RERANKERS: &[Model] = &[
    Model::new(RERANKER, "32,000 tokens").priced(price(0.05, "vercel.com/ai-gateway/models/rerank-2.5")),
    Model::new("rerank-2.5-lite", "32,000 tokens").priced(price(0.02, LISTED)),
];

/// Voyage takes 1,000 texts; its own package sends 128, which keeps answers within a few megabytes.
const MAX_BATCH: usize = 128;
const MAX_DOCUMENTS: usize = 1_000;
/// Requests at once, which no page limits; tokens and requests a minute are limited by tier.
const CONCURRENCY: usize = 4;

/// The most tokens in a request, by model. Unknown models get the smallest.
fn max_batch_tokens(model: &str) -> usize {
    match model {
        "voyage-4-lite" | "voyage-3.5-lite" => 1_000_000,
        "voyage-4" | "voyage-3.5" => 320_000,
        _ => 120_000,
    }
}

fn service(ctx: &VendorContext<'_>) -> Result<Service> {
    let key = ctx.key("voyage.api_key", "VOYAGE_API_KEY")?;
    let by_key = if key.expose().starts_with(MONGODB_KEY) {
        MONGODB_URL
    } else {
        BASE_URL
    };
    let service = ctx
        .http
        .service(ID, ctx.value("voyage.base_url").unwrap_or(by_key))?
        .bearer(&key)?
        .key_hint("check VOYAGE_API_KEY, and that VOYAGE_BASE_URL, if set, is where this key was issued")
        .refine(refine)
        .build();
    Ok(service)
}

fn refine(refusal: &Refusal<'_>) -> Refinement {
    let said = refusal
        .body
        .get("detail")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let about_the_model = said.contains("Model ") || said.contains("model name");
    if refusal.status == 400 && about_the_model && said.contains("not supported") {
        return Refinement {
            kind: Some(ErrorKind::NotFound),
            hint: Some("choose a model that Voyage AI lists, such as voyage-4 or rerank-2.5"),
            ..Refinement::default()
        };
    }
    Refinement::default()
}

fn info(model: String) -> ProviderInfo {
    ProviderInfo {
        vendor: ID.to_owned(),
        model,
        version: VERSION,
    }
}

/// Embeddings with Voyage AI.
struct VoyageEmbedder {
    info: ProviderInfo,
    space: EmbeddingSpace,
    service: Service,
    /// Whether the model can be told how long its vectors shall be.
    flexible: bool,
}

impl VoyageEmbedder {
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
impl Embedder for VoyageEmbedder {
    fn info(&self) -> &ProviderInfo {
        &self.info
    }

    fn space(&self) -> &EmbeddingSpace {
        &self.space
    }

    fn limits(&self) -> EmbedderLimits {
        EmbedderLimits {
            max_batch: MAX_BATCH,
            max_input_tokens: if self.info.model == "voyage-law-2" {
                16_000
            } else {
                32_000
            },
            max_batch_tokens: Some(max_batch_tokens(&self.info.model)),
            concurrency: CONCURRENCY,
        }
    }

    async fn embed(&self, texts: &[String], input: InputType) -> Result<EmbedResponse> {
        check_count("texts", texts.len(), MAX_BATCH)?;
        if texts.is_empty() {
            return Ok(EmbedResponse::default());
        }
        let mut body = json!({
            "model": self.info.model,
            "input": texts,
            "input_type": match input {
                InputType::Document => "document",
                InputType::Query => "query",
            },
            "truncation": true,
        });
        if let (true, Some(fields)) = (self.flexible, body.as_object_mut()) {
            fields.insert("output_dimension".to_owned(), json!(self.space.dimensions));
        }
        let call = Call::post("embeddings").json(&body).replay(Replay::Free);
        let parse = |reply: &Reply| {
            let embedded: Embedded = reply.json()?;
            let vectors = embedded.data.into_iter().map(|item| (item.index, item.embedding));
            let vectors = placed(vectors.collect(), texts.len(), &self.space)?;
            Ok((vectors, embedded.usage.total_tokens))
        };
        let answer = self.service.send(&call, parse).await?;
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
        let started = Instant::now();
        // Voyage has no route that only checks a key. A word costs next to nothing, and checks the model as well.
        let outcome = self.embed(&["hello".to_owned()], InputType::Query).await;
        let outcome = outcome.map(|_| {
            format!(
                "{} answers with {} dimensions",
                self.info.model, self.space.dimensions
            )
        });
        health_of(outcome, started.elapsed())
    }
}

/// Reranking with Voyage AI.
struct VoyageReranker {
    info: ProviderInfo,
    service: Service,
}

impl VoyageReranker {
    fn new(ctx: &VendorContext<'_>) -> Result<Self> {
        Ok(Self {
            info: info(ctx.model_or(RERANKER)),
            service: service(ctx)?,
        })
    }
}

#[async_trait]
impl Reranker for VoyageReranker {
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
            "top_k": top_n.min(sent.len()),
            "truncation": true,
        });
        let call = Call::post("rerank").json(&body).replay(Replay::Free);
        let parse = |reply: &Reply| {
            let scored: Scored = reply.json()?;
            let scores: Vec<(usize, f32)> = scored
                .data
                .iter()
                .map(|item| (item.index, item.relevance_score))
                .collect();
            ranked(&scores, &sent, top_n)
        };
        Ok(self.service.send(&call, parse).await?.value)
    }

    async fn health_check(&self) -> Health {
        let started = Instant::now();
        let outcome = self.rerank("hello", &["hello".to_owned()], 1).await;
        let outcome = outcome.map(|_| format!("{} answers", self.info.model));
        health_of(outcome, started.elapsed())
    }
}

#[derive(Deserialize)]
struct Embedded {
    data: Vec<EmbeddedText>,
    usage: Tokens,
}

#[derive(Deserialize)]
struct EmbeddedText {
    index: usize,
    embedding: Vec<f32>,
}

#[derive(Deserialize)]
struct Tokens {
    total_tokens: u64,
}

#[derive(Deserialize)]
struct Scored {
    data: Vec<ScoredText>,
}

#[derive(Deserialize)]
struct ScoredText {
    index: usize,
    relevance_score: f32,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::{HttpClient, HttpSettings};
    use audiorag_core::Secret;
    use std::collections::BTreeMap;

    #[test]
    fn the_key_decides_where_voyage_is() {
        let http = HttpClient::new(&HttpSettings::default()).unwrap();
        let address = |key: &str, base: Option<&str>| {
            let values = base
                .map(|base| ("voyage.base_url", base.to_owned()))
                .into_iter()
                .collect();
            let secrets = BTreeMap::from([("voyage.api_key", Secret::new(key))]);
            let ctx = VendorContext {
                values: &values,
                secrets: &secrets,
                model: None,
                dimensions: None,
                notes: None,
                http: &http,
            };
            service(&ctx).unwrap().base_url()
        };
        assert_eq!(address("pa-canary", None), BASE_URL);
        assert_eq!(address("al-canary", None), MONGODB_URL);
        assert_eq!(
            address("al-canary", Some("http://127.0.0.1:1/v1")),
            "http://127.0.0.1:1/v1"
        );
    }

    #[test]
    fn every_model_has_a_size() {
        let sized: Vec<&str> = SIZES.iter().map(|(model, _, _)| *model).collect();
        let offered: Vec<&str> = EMBEDDERS.iter().map(|model| model.id).collect();
        assert_eq!(sized, offered);
    }
}
