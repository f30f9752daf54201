//! Text to vectors without a model.

use super::{Script, health, info, lock};
use crate::synth::Random;
use async_trait::async_trait;
use audiorag_core::capability::{
    EmbedResponse, Embedder, EmbedderLimits, Health, InputType, ProviderInfo, Usage,
};
use audiorag_core::model::EmbeddingSpace;
use audiorag_core::{Error, Result};
use std::sync::Mutex;

/// An embedder that adds up one random direction for each distinct word, so that texts which share words are
/// near and others nearly perpendicular.
pub struct HashEmbedder {
    info: ProviderInfo,
    space: EmbeddingSpace,
    limits: EmbedderLimits,
    script: Script,
    batches: Mutex<Vec<(InputType, Vec<String>)>>,
}

impl HashEmbedder {
    /// Vectors of `dimensions` components; at least 64 keep unrelated texts apart.
    pub fn new(dimensions: usize) -> Self {
        Self::named("hash-embedder", dimensions)
    }

    /// The same under another model name: a space whose vectors cannot be compared with the others.
    pub fn named(model: &str, dimensions: usize) -> Self {
        Self {
            info: info(model),
            space: EmbeddingSpace {
                provider: "fake".to_owned(),
                model: model.to_owned(),
                dimensions,
            },
            limits: EmbedderLimits {
                max_batch: 32,
                max_input_tokens: 512,
                max_batch_tokens: None,
                concurrency: 4,
            },
            script: Script::default(),
            batches: Mutex::default(),
        }
    }

    /// Changes the declared limits.
    pub fn with_limits(mut self, change: impl FnOnce(&mut EmbedderLimits)) -> Self {
        change(&mut self.limits);
        self
    }

    /// Failures, delays and counts.
    pub fn script(&self) -> &Script {
        &self.script
    }

    /// Every batch so far, in order of arrival, failed ones included.
    pub fn batches(&self) -> Vec<(InputType, Vec<String>)> {
        lock(&self.batches).clone()
    }

    /// The vector of one text, of unit length.
    pub fn vector(&self, text: &str) -> Vec<f32> {
        let mut words: Vec<String> = text
            .split(|c: char| !c.is_alphanumeric())
            .filter(|word| !word.is_empty())
            .map(str::to_lowercase)
            .collect();
        words.sort_unstable();
        words.dedup();
        // Even a text without words has a direction.
        let mut sum = direction("", self.space.dimensions);
        for value in &mut sum {
            *value *= 0.1;
        }
        for word in &words {
            let weight = if word.chars().count() < 4 { 0.3 } else { 1.0 };
            for (total, value) in sum.iter_mut().zip(direction(word, self.space.dimensions)) {
                *total += weight * value;
            }
        }
        self.space
            .normalize(&mut sum)
            .expect("a sum of random directions is not zero");
        sum
    }
}

/// The random direction of a word.
fn direction(word: &str, dimensions: usize) -> Vec<f32> {
    let seed = word.bytes().fold(0xCBF2_9CE4_8422_2325u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3)
    });
    let mut random = Random::new(seed);
    (0..dimensions).map(|_| random.between(-1.0, 1.0)).collect()
}

#[async_trait]
impl Embedder for HashEmbedder {
    fn info(&self) -> &ProviderInfo {
        &self.info
    }

    fn space(&self) -> &EmbeddingSpace {
        &self.space
    }

    fn limits(&self) -> EmbedderLimits {
        self.limits
    }

    async fn embed(&self, texts: &[String], input: InputType) -> Result<EmbedResponse> {
        if texts.is_empty() {
            return Ok(EmbedResponse::default());
        }
        if texts.len() > self.limits.max_batch {
            return Err(Error::input(format!(
                "{} texts where {} fit",
                texts.len(),
                self.limits.max_batch
            )));
        }
        lock(&self.batches).push((input, texts.to_vec()));
        let (_, ticket) = self.script.enter().await?;
        let vectors = texts.iter().map(|text| self.vector(text)).collect();
        let input_tokens = texts
            .iter()
            .map(|text| text.split_whitespace().count() as u64)
            .sum();
        ticket.succeed();
        Ok(EmbedResponse {
            vectors,
            usage: Usage {
                requests: 1,
                input_tokens,
                ..Usage::default()
            },
        })
    }

    async fn health_check(&self) -> Health {
        health(&self.script)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use audiorag_core::ErrorKind;

    fn cosine(a: &[f32], b: &[f32]) -> f32 {
        a.iter().zip(b).map(|(x, y)| x * y).sum()
    }

    #[tokio::test]
    async fn honours_the_contract() {
        crate::suite::embedder::run(&HashEmbedder::new(64)).await;
        crate::suite::embedder::run(&HashEmbedder::new(384).with_limits(|limits| limits.max_batch = 3)).await;
    }

    #[tokio::test]
    async fn related_texts_are_near() {
        let fake = HashEmbedder::new(256);
        let question = fake.vector("Where is the glacier?");
        let near = cosine(&question, &fake.vector("The glacier lies in the north."));
        let far = cosine(&question, &fake.vector("Biscuits need butter and sugar."));
        assert!(near > 0.4 && far < 0.2, "{near} and {far}");
        assert_eq!(
            HashEmbedder::new(256).vector("same"),
            HashEmbedder::named("other", 256).vector("same")
        );
    }

    #[tokio::test]
    async fn batches_are_recorded_and_outages_shown() {
        let fake = HashEmbedder::new(64);
        fake.script().go_down(ErrorKind::Unavailable);
        assert!(fake.embed(&["a".to_owned()], InputType::Query).await.is_err());
        assert_eq!(fake.health_check().await.status.as_str(), "unhealthy");
        assert_eq!(fake.batches(), [(InputType::Query, vec!["a".to_owned()])]);
    }
}
