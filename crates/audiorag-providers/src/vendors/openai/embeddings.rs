//! `POST embeddings`: <https://developers.openai.com/api/reference/resources/embeddings>.

use super::super::{Model, Price, Unit, VendorContext};
use crate::http::{Call, Replay, Service};
use crate::wire::openai;
use crate::wire::put;
use async_trait::async_trait;
use audiorag_core::capability::{
    EmbedResponse, Embedder, EmbedderLimits, Health, InputType, ProviderInfo, Usage,
};
use audiorag_core::model::EmbeddingSpace;
use audiorag_core::{Error, Result};
use serde::Deserialize;
use serde_json::{Value, json};
use std::borrow::Cow;
use std::sync::Arc;

pub(in super::super) const MODELS: &[Model] = &[
    Model::new("text-embedding-3-small", "1536 dimensions or fewer, 8192 tokens").priced(price(0.02)),
    Model::new("text-embedding-3-large", "3072 dimensions or fewer, 8192 tokens").priced(price(0.13)),
    Model::new("text-embedding-ada-002", "1536 dimensions, 8192 tokens"),
];

const fn price(usd: f64) -> Price {
    Price {
        usd,
        unit: Unit::MillionTokens,
        checked: "2026-07-03",
        source: "developers.openai.com, quoted in https://tokenprice.fyi/models/text-embedding-3-small and \
                 https://aicost.tools/llm-cost/openai/text-embedding-3-small/",
    }
}

/// Dimensions of known models, and whether they can be fewer.
const DIMENSIONS: &[(&str, usize, bool)] = &[
    ("text-embedding-3-small", 1_536, true),
    ("text-embedding-3-large", 3_072, true),
    ("text-embedding-ada-002", 1_536, false),
];

/// Texts in a request, tokens in a text, and tokens in a request (SDK 3.54.0 `embedding_create_params.py`).
const MAX_BATCH: usize = 2_048;
const MAX_TOKENS: usize = 8_192;
const MAX_BATCH_TOKENS: usize = 300_000;

/// The most bytes of an answer: the largest batch of the largest vectors, as numbers.
const CAP: usize = 128 << 20;

pub(in super::super) fn build(ctx: &VendorContext<'_>) -> Result<Arc<dyn Embedder>> {
    let (service, own) = super::service(ctx)?;
    let model = ctx.model_or("text-embedding-3-small");
    let (dimensions, asked) = dimensions(&model, ctx.dimensions)?;
    Ok(Arc::new(OpenAiEmbedder {
        service,
        own,
        info: super::info(&model),
        space: EmbeddingSpace {
            provider: "openai".to_owned(),
            model,
            dimensions,
        },
        asked,
    }))
}

/// How many dimensions the vectors have, and whether that number must be asked for.
fn dimensions(model: &str, wanted: Option<usize>) -> Result<(usize, bool)> {
    let known = DIMENSIONS.iter().find(|(id, _, _)| *id == model);
    match (known, wanted) {
        (Some((_, full, _)), None) => Ok((*full, false)),
        (Some((_, full, _)), Some(wanted)) if wanted == *full => Ok((wanted, false)),
        (Some((_, full, true)), Some(wanted)) if (1..*full).contains(&wanted) => Ok((wanted, true)),
        (Some((_, full, shortens)), Some(wanted)) => {
            let at_most = if *shortens { "at most" } else { "exactly" };
            Err(Error::config(format!(
                "{model} gives vectors of {at_most} {full} dimensions, not {wanted}"
            ))
            .with_hint("set AUDIORAG_EMBEDDING_DIMENSIONS accordingly, or leave it out"))
        }
        // Servers of one's own refuse the field for models that cannot shorten: it is a statement, not a wish.
        (None, Some(wanted)) if wanted > 0 => Ok((wanted, false)),
        (None, _) => Err(
            Error::config(format!("the number of dimensions of {model} is not known"))
                .with_hint("set AUDIORAG_EMBEDDING_DIMENSIONS to what the model gives"),
        ),
    }
}

struct OpenAiEmbedder {
    service: Service,
    own: bool,
    info: ProviderInfo,
    space: EmbeddingSpace,
    asked: bool,
}

#[async_trait]
impl Embedder for OpenAiEmbedder {
    fn info(&self) -> &ProviderInfo {
        &self.info
    }

    fn space(&self) -> &EmbeddingSpace {
        &self.space
    }

    fn limits(&self) -> EmbedderLimits {
        EmbedderLimits {
            max_batch: MAX_BATCH,
            max_input_tokens: MAX_TOKENS,
            max_batch_tokens: Some(MAX_BATCH_TOKENS),
            concurrency: 4,
        }
    }

    async fn embed(&self, texts: &[String], _input: InputType) -> Result<EmbedResponse> {
        if texts.is_empty() {
            return Ok(EmbedResponse::default());
        }
        if texts.len() > MAX_BATCH {
            return Err(Error::input(format!(
                "{} texts in one call, where openai takes {MAX_BATCH}",
                texts.len()
            )));
        }
        let call = Call::post("embeddings")
            .json(&self.body(texts))
            .replay(Replay::Free)
            .cap(CAP);
        let answer = self
            .service
            .send(&call, |reply| {
                let wire: Wire = reply.json()?;
                let tokens = wire.usage.as_ref().map_or(0, |usage| usage.prompt_tokens);
                Ok((self.vectors(wire, texts.len())?, tokens))
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
        openai::health(&self.service, &self.info.model, self.own).await
    }
}

impl OpenAiEmbedder {
    fn body(&self, texts: &[String]) -> Value {
        let input: Vec<Cow<'_, str>> = texts.iter().map(|text| shortened(text)).collect();
        let mut body = json!({
            "model": self.space.model,
            "input": input,
            // Half the size of numbers; other servers do not all know it.
            "encoding_format": if self.own { "base64" } else { "float" },
        });
        if self.asked {
            put(&mut body, "dimensions", json!(self.space.dimensions));
        }
        body
    }

    /// One vector for each text, in the order of the texts.
    fn vectors(&self, wire: Wire, count: usize) -> Result<Vec<Vec<f32>>> {
        if wire.data.len() != count {
            return Err(Error::protocol(format!(
                "openai answers {count} texts with {} vectors",
                wire.data.len()
            )));
        }
        let mut data = wire.data;
        data.sort_by_key(|item| item.index);
        let mut vectors = Vec::with_capacity(count);
        for (place, item) in data.into_iter().enumerate() {
            if item.index != place {
                return Err(Error::protocol(format!(
                    "openai answers without a vector for text {place}"
                )));
            }
            let mut vector = match item.embedding {
                Encoded::Numbers(vector) => vector,
                Encoded::Base64(text) => floats(&text)
                    .ok_or_else(|| Error::protocol("openai answers with a vector that is no base64"))?,
            };
            self.space.normalize(&mut vector)?;
            vectors.push(vector);
        }
        Ok(vectors)
    }
}

/// The text as far as the model reads. The service refuses longer ones, and counting tokens exactly would need the
/// model's own vocabulary: this estimate errs towards cutting early.
fn shortened(text: &str) -> Cow<'_, str> {
    // Thirds of a token: an ASCII character is at most about one, any other at most about four.
    let mut left = MAX_TOKENS * 3;
    for (at, letter) in text.char_indices() {
        let cost = if letter.is_ascii() { 1 } else { 4 };
        match left.checked_sub(cost) {
            Some(rest) => left = rest,
            None => return Cow::Borrowed(text.get(..at).unwrap_or_default()),
        }
    }
    if text.is_empty() {
        // An empty text is refused.
        return Cow::Borrowed(" ");
    }
    Cow::Borrowed(text)
}

/// Little-endian 32-bit floats in base64; `None` for anything else.
fn floats(text: &str) -> Option<Vec<f32>> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut held) = (0u32, 0);
    for letter in text.trim_end_matches('=').bytes() {
        let six = match letter {
            b'A'..=b'Z' => letter - b'A',
            b'a'..=b'z' => letter - b'a' + 26,
            b'0'..=b'9' => letter - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(six);
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push((bits >> held) as u8);
        }
    }
    let (words, rest) = bytes.as_chunks::<4>();
    rest.is_empty()
        .then(|| words.iter().map(|word| f32::from_le_bytes(*word)).collect())
}

#[derive(Deserialize)]
struct Wire {
    data: Vec<Item>,
    usage: Option<Tokens>,
}

#[derive(Deserialize)]
struct Item {
    index: usize,
    embedding: Encoded,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Encoded {
    Numbers(Vec<f32>),
    Base64(String),
}

#[derive(Deserialize)]
struct Tokens {
    #[serde(default)]
    prompt_tokens: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dimensions_are_those_of_the_model_or_fewer() {
        let of = |model, wanted| dimensions(model, wanted).ok();
        assert_eq!(of("text-embedding-3-small", None), Some((1_536, false)));
        assert_eq!(of("text-embedding-3-large", Some(256)), Some((256, true)));
        assert_eq!(of("text-embedding-3-large", Some(3_072)), Some((3_072, false)));
        assert_eq!(of("text-embedding-3-small", Some(3_072)), None);
        assert_eq!(of("text-embedding-ada-002", Some(256)), None);
        assert_eq!(of("nomic-embed-text", Some(768)), Some((768, false)));
        let error = dimensions("nomic-embed-text", None).unwrap_err();
        assert!(error.hint().unwrap().contains("AUDIORAG_EMBEDDING_DIMENSIONS"));
    }

    #[test]
    fn base64_holds_floats() {
        assert_eq!(floats("AACAPwAAAMA="), Some(vec![1.0, -2.0]));
        assert_eq!(floats(""), Some(vec![]));
        assert_eq!(floats("AACAPwA="), None);
        assert_eq!(floats("AA!A"), None);
    }

    #[test]
    fn long_texts_are_cut_and_others_left_alone() {
        assert_eq!(shortened("zwölf"), "zwölf");
        assert_eq!(shortened(""), " ");
        assert_eq!(shortened(&"a".repeat(100_000)).len(), MAX_TOKENS * 3);
        assert_eq!(
            shortened(&"東".repeat(100_000)).chars().count(),
            MAX_TOKENS * 3 / 4
        );
    }

    #[test]
    fn openai_itself_is_asked_for_base64() {
        let http = crate::http::HttpClient::new(&crate::http::HttpSettings::default()).unwrap();
        let mut embedder = OpenAiEmbedder {
            service: http.service("openai", "http://localhost/v1").unwrap().build(),
            own: true,
            info: super::super::info("text-embedding-3-large"),
            space: EmbeddingSpace {
                provider: "openai".to_owned(),
                model: "text-embedding-3-large".to_owned(),
                dimensions: 2,
            },
            asked: true,
        };
        let body = embedder.body(&["one".to_owned()]);
        assert_eq!(
            body,
            json!({"model": "text-embedding-3-large", "input": ["one"], "encoding_format": "base64", "dimensions": 2})
        );
        embedder.own = false;
        assert_eq!(embedder.body(&[])["encoding_format"], "float");
    }
}
