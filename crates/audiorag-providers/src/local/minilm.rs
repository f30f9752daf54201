//! all-MiniLM-L6-v2: sentence embeddings with 384 components.
//!
//! The model gives a vector for each token; the text's vector is their mean over the attention mask, brought
//! to unit length, as the model's own `1_Pooling/config.json` has it. Texts are cut after 256 tokens, which is
//! the length the model was trained for.

use super::runtime::{Runtime, SessionOptions, run_and_release, run_error};
use super::{VENDOR, blocking};
use async_trait::async_trait;
use audiorag_core::capability::{
    EmbedResponse, Embedder, EmbedderLimits, Health, InputType, ProviderInfo, Usage,
};
use audiorag_core::model::EmbeddingSpace;
use audiorag_core::{Error, Result};
use ort::session::{RunOptions, Session, SessionInputValue};
use ort::value::Tensor;
use std::borrow::Cow;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;
use tokenizers::{Tokenizer, TruncationParams};

const NAME: &str = "MiniLM";
/// Rises when pooling or truncation change, because vectors then change too.
const VERSION: u32 = 1;
const DIMENSIONS: usize = 384;
const MAX_TOKENS: usize = 256;
const MAX_BATCH: usize = 256;
/// About as many texts as take as much longer without optimisation as it takes.
const FEW_TEXTS: usize = 3;

/// The files of the embedding model; [`ModelStore::embedding`](super::ModelStore::embedding) finds them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MiniLmFiles {
    /// The id of the model, part of the embedding space: differently quantised files are different models.
    pub model: String,
    /// The network.
    pub network: PathBuf,
    /// `tokenizer.json`.
    pub tokenizer: PathBuf,
}

/// What loading the network is tuned for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MiniLmLoad {
    /// A single question, as a process that ends with its answer has it: ready without being optimised first, and
    /// several times slower for a text. For more than that an optimised network takes its place: with the second
    /// call, or with the first that has more texts than are worth the wait.
    Quick,
    /// Many texts or a long life: optimised while loading.
    Thorough,
}

/// Embeddings with MiniLM. One network, loaded at the first call; calls queue for it.
pub struct MiniLmEmbedder {
    info: ProviderInfo,
    space: EmbeddingSpace,
    shared: Arc<Shared>,
}

struct Shared {
    runtime: Runtime,
    files: MiniLmFiles,
    load: MiniLmLoad,
    threads: usize,
    space: EmbeddingSpace,
    loaded: Mutex<Option<Loaded>>,
}

struct Loaded {
    session: Session,
    optimised: bool,
    tokenizer: Tokenizer,
}

impl MiniLmEmbedder {
    /// An embedder that uses `threads` cores for one run. Nothing is loaded yet.
    pub fn new(files: MiniLmFiles, runtime: Runtime, load: MiniLmLoad, threads: usize) -> Self {
        let space = EmbeddingSpace {
            provider: VENDOR.to_owned(),
            model: files.model.clone(),
            dimensions: DIMENSIONS,
        };
        Self {
            info: ProviderInfo {
                vendor: VENDOR.to_owned(),
                model: files.model.clone(),
                version: VERSION,
            },
            space: space.clone(),
            shared: Arc::new(Shared {
                runtime,
                files,
                load,
                threads,
                space,
                loaded: Mutex::new(None),
            }),
        }
    }

    async fn run(&self, texts: Vec<String>) -> Result<EmbedResponse> {
        let shared = Arc::clone(&self.shared);
        blocking("the local embedder", move || shared.embed(&texts)).await
    }
}

impl Shared {
    fn embed(&self, texts: &[String]) -> Result<EmbedResponse> {
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        let optimise = self.load == MiniLmLoad::Thorough || loaded.is_some() || texts.len() > FEW_TEXTS;
        let loaded = match loaded.as_mut() {
            Some(loaded) => loaded,
            None => loaded.insert(self.load(optimise)?),
        };
        if optimise && !loaded.optimised {
            loaded.session = self.session(true)?;
            loaded.optimised = true;
        }
        let mut input_tokens = 0;
        let mut encodings = Vec::with_capacity(texts.len());
        for (place, text) in texts.iter().enumerate() {
            let encoding = loaded.tokenizer.encode(text.as_str(), true).map_err(|error| {
                Error::input("a text cannot be tokenized")
                    .with_cause(error)
                    .with_provider(VENDOR)
            })?;
            input_tokens += encoding.len() as u64;
            encodings.push((place, encoding));
        }
        // The longest first: what it takes is enough for the others, and is given back once, after the last. Giving
        // memory back after every run makes the system clear the same pages again and again, which takes longer than
        // the model does for a sentence. What one text takes alone, a question as a rule, stays for the next one.
        encodings.sort_by_key(|(_, encoding)| std::cmp::Reverse(encoding.len()));
        let mut vectors = vec![Vec::new(); texts.len()];
        let last = encodings.len().saturating_sub(1);
        for (number, (place, encoding)) in encodings.iter().enumerate() {
            // One text a run: its vector then does not depend on the texts beside it, whose values would share its
            // 8-bit scale. Several at once are no faster on a processor.
            let release = last > 0 && number == last;
            let mut vector = loaded.run(encoding.get_ids(), release)?;
            self.space.normalize(&mut vector)?;
            if let Some(slot) = vectors.get_mut(*place) {
                *slot = vector;
            }
        }
        Ok(EmbedResponse {
            vectors,
            usage: Usage {
                requests: 1,
                input_tokens,
                ..Usage::default()
            },
        })
    }

    fn session(&self, optimise: bool) -> Result<Session> {
        let options = SessionOptions {
            threads: self.threads,
            optimise,
        };
        self.runtime.session(&self.files.network, options)
    }

    fn load(&self, optimise: bool) -> Result<Loaded> {
        let unusable = |cause: Box<dyn std::error::Error + Send + Sync>| {
            Error::config(format!(
                "the tokenizer {} cannot be used",
                self.files.tokenizer.display()
            ))
            .with_cause(cause)
            .with_hint("run `audiorag models pull`")
            .with_provider(VENDOR)
        };
        let bytes = std::fs::read(&self.files.tokenizer).map_err(|error| unusable(error.into()))?;
        let mut tokenizer = Tokenizer::from_bytes(bytes).map_err(unusable)?;
        let truncation = TruncationParams {
            max_length: MAX_TOKENS,
            ..TruncationParams::default()
        };
        tokenizer.with_truncation(Some(truncation)).map_err(unusable)?;
        // The file asks for a fixed 128 tokens; runs are padded to their longest text instead.
        tokenizer.with_padding(None);
        Ok(Loaded {
            session: self.session(optimise)?,
            optimised: optimise,
            tokenizer,
        })
    }
}

impl Loaded {
    /// The mean token vector of a text, not yet of unit length; then `release`s what the model does not use.
    fn run(&mut self, tokens: &[u32], release: bool) -> Result<Vec<f32>> {
        let failed = |error: ort::Error| run_error(NAME, &error);
        let shape = [1, tokens.len()];
        let ids: Vec<i64> = tokens.iter().map(|id| i64::from(*id)).collect();
        let constant = |value: i64| Tensor::from_array((shape, vec![value; tokens.len()])).map_err(failed);
        let mut inputs: Vec<(Cow<'_, str>, SessionInputValue<'_>)> = Vec::with_capacity(3);
        if self
            .session
            .inputs()
            .iter()
            .any(|input| input.name() == "token_type_ids")
        {
            inputs.push((Cow::from("token_type_ids"), constant(0)?.into()));
        }
        inputs.push((
            Cow::from("input_ids"),
            Tensor::from_array((shape, ids)).map_err(failed)?.into(),
        ));
        inputs.push((Cow::from("attention_mask"), constant(1)?.into()));
        let options = if release {
            run_and_release()
        } else {
            RunOptions::new()
        }
        .map_err(failed)?;
        let outputs = self.session.run_with_options(inputs, &options).map_err(failed)?;
        let hidden = outputs.get("last_hidden_state").ok_or_else(|| {
            Error::config("this is not a MiniLM model: it gives no last_hidden_state").with_provider(VENDOR)
        })?;
        let (_, values) = hidden.try_extract_tensor::<f32>().map_err(failed)?;
        mean_pool(values, tokens.len()).ok_or_else(|| {
            Error::config(format!(
                "this is not a MiniLM model: its vectors do not have {DIMENSIONS} components"
            ))
            .with_provider(VENDOR)
        })
    }
}

/// The mean of `tokens` token vectors; `None` where the values do not fit.
fn mean_pool(values: &[f32], tokens: usize) -> Option<Vec<f32>> {
    if tokens == 0 || values.len() != tokens * DIMENSIONS {
        return None;
    }
    let mut mean = vec![0.0_f32; DIMENSIONS];
    for token in values.chunks_exact(DIMENSIONS) {
        for (sum, value) in mean.iter_mut().zip(token) {
            *sum += value;
        }
    }
    for sum in &mut mean {
        *sum /= tokens as f32;
    }
    Some(mean)
}

#[async_trait]
impl Embedder for MiniLmEmbedder {
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
            max_batch_tokens: None,
            concurrency: 1,
        }
    }

    async fn embed(&self, texts: &[String], _input: InputType) -> Result<EmbedResponse> {
        if texts.is_empty() {
            return Ok(EmbedResponse::default());
        }
        if texts.len() > MAX_BATCH {
            return Err(
                Error::input(format!("{} texts in a batch of at most {MAX_BATCH}", texts.len()))
                    .with_provider(VENDOR),
            );
        }
        self.run(texts.to_vec()).await
    }

    async fn health_check(&self) -> Health {
        let started = Instant::now();
        let outcome = self
            .run(vec!["hello".to_owned()])
            .await
            .map(|_| format!("{} is loaded", self.info.model));
        Health::of(outcome, started.elapsed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use audiorag_core::ErrorKind;
    use audiorag_core::capability::HealthStatus;

    fn without_files() -> MiniLmEmbedder {
        let files = MiniLmFiles {
            model: "all-MiniLM-L6-v2-int8".to_owned(),
            network: "/nowhere/model.onnx".into(),
            tokenizer: "/nowhere/tokenizer.json".into(),
        };
        MiniLmEmbedder::new(files, Runtime::new("/nowhere/lib.so"), MiniLmLoad::Quick, 1)
    }

    #[test]
    fn the_vector_of_a_text_is_the_mean_of_its_tokens() {
        let mut values = Vec::new();
        for token in [1.0_f32, 3.0] {
            values.extend(std::iter::repeat_n(token, DIMENSIONS));
        }
        assert_eq!(mean_pool(&values, 2), Some(vec![2.0; DIMENSIONS]));
        assert_eq!(mean_pool(&values, 3), None);
        assert_eq!(mean_pool(&[], 0), None);
    }

    #[tokio::test]
    async fn no_texts_need_no_model_and_too_many_are_refused() {
        let embedder = without_files();
        assert_eq!(
            embedder.embed(&[], InputType::Query).await.unwrap(),
            EmbedResponse::default()
        );
        let texts = vec![String::new(); MAX_BATCH + 1];
        let error = embedder.embed(&texts, InputType::Document).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Input);
    }

    #[tokio::test]
    async fn missing_files_are_named() {
        let embedder = without_files();
        assert_eq!(embedder.space().fingerprint(), "local/all-MiniLM-L6-v2-int8/384");
        let error = embedder
            .embed(&["x".to_owned()], InputType::Query)
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.message().contains("/nowhere/tokenizer.json"), "{error}");
        assert_eq!(embedder.health_check().await.status, HealthStatus::Unhealthy);
    }
}
