//! Moonshine tiny-en: English speech-to-text that runs on one core at about fifty times real time.
//!
//! The model gives text without times. Voice detection gives the times of each window of up to 20 s; inside a
//! window, sentences are placed by [`audiorag_core::align::sentences`] and marked as estimated.

mod model;
mod vocabulary;
mod windows;

use self::model::Model;
use super::runtime::Runtime;
use super::{VENDOR, blocking};
use async_trait::async_trait;
use audiorag_core::capability::{
    Health, PromptLimit, ProviderInfo, TranscribeRequest, TranscribeResponse, Transcriber, TranscriberLimits,
    Usage,
};
use audiorag_core::model::{PartTranscript, SAMPLE_RATE, Segment};
use audiorag_core::{Error, MediaTime, Result, align};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;
use tokio::sync::Semaphore;

/// Rises when the windows or the decoding change, because transcripts then change too.
const VERSION: u32 = 2;

/// The files of a Moonshine model; [`ModelStore::speech`](super::ModelStore::speech) finds them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MoonshineFiles {
    /// The id of the model, part of every cache key.
    pub model: String,
    /// The encoder, `.ort` or `.onnx`.
    pub encoder: PathBuf,
    /// The merged decoder, `.ort` or `.onnx`.
    pub decoder: PathBuf,
    /// `tokenizer.bin`.
    pub tokenizer: PathBuf,
}

/// Speech-to-text with Moonshine.
///
/// Each part that runs at the same time has its own copy of the model (about 70 MB beside the weights, which the
/// copies share), loaded when it is first needed and kept. Dropping a call stops its work before the next token.
pub struct MoonshineTranscriber {
    info: ProviderInfo,
    concurrency: usize,
    permits: Arc<Semaphore>,
    pool: Arc<Pool>,
}

/// Copies of the model that are not at work.
struct Pool {
    runtime: Runtime,
    files: MoonshineFiles,
    idle: Mutex<Vec<Model>>,
}

impl Pool {
    fn take(&self) -> Result<Model> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        match idle {
            Some(model) => Ok(model),
            None => Model::load(&self.runtime, &self.files),
        }
    }

    fn give_back(&self, model: Model) {
        self.idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(model);
    }
}

/// Tells the working thread to stop when the call is dropped.
struct CancelOnDrop(Arc<AtomicBool>);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl MoonshineTranscriber {
    /// A transcriber that runs up to `concurrency` parts side by side. Nothing is loaded yet.
    pub fn new(files: MoonshineFiles, runtime: Runtime, concurrency: usize) -> Self {
        let concurrency = concurrency.max(1);
        Self {
            info: ProviderInfo {
                vendor: VENDOR.to_owned(),
                model: files.model.clone(),
                version: VERSION,
            },
            concurrency,
            permits: Arc::new(Semaphore::new(concurrency)),
            pool: Arc::new(Pool {
                runtime,
                files,
                idle: Mutex::new(Vec::new()),
            }),
        }
    }

    /// Runs `work` with a copy of the model, on a thread of its own.
    async fn with_model<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Model, &AtomicBool) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let permit = Arc::clone(&self.permits)
            .acquire_owned()
            .await
            .map_err(|_| Error::internal("the local transcriber is closed"))?;
        let cancelled = Arc::new(AtomicBool::new(false));
        let guard = CancelOnDrop(Arc::clone(&cancelled));
        let pool = Arc::clone(&self.pool);
        let outcome = blocking("the local transcriber", move || {
            // Held by the thread, not by the caller: a cancelled call still occupies its core until it stops.
            let _permit = permit;
            let mut model = pool.take()?;
            let outcome = work(&mut model, &cancelled);
            pool.give_back(model);
            outcome
        })
        .await;
        drop(guard);
        outcome
    }
}

#[async_trait]
impl Transcriber for MoonshineTranscriber {
    fn info(&self) -> &ProviderInfo {
        &self.info
    }

    fn limits(&self) -> TranscriberLimits {
        TranscriberLimits {
            preferred_part: MediaTime::from_seconds(60),
            max_part: MediaTime::from_seconds(120),
            max_bytes: None,
            concurrency: self.concurrency,
            prompt: PromptLimit::NotTaken,
            segment_times: true,
            word_times: false,
            speakers: false,
            languages: vec!["en".to_owned()],
        }
    }

    async fn transcribe(&self, request: TranscribeRequest) -> Result<TranscribeResponse> {
        let part = request.span();
        let longest = self.limits().max_part;
        if part.duration() > longest {
            return Err(Error::input(format!(
                "a part of {} is longer than the {longest} that {} takes",
                part.duration(),
                self.info.model
            ))
            .with_provider(VENDOR));
        }
        if let Some(language) = request
            .language
            .as_deref()
            .filter(|language| !is_english(language))
        {
            return Err(
                Error::unsupported(format!("{} does not understand `{language}`", self.info.model))
                    .with_hint("choose another speech-to-text provider, or leave the language open")
                    .with_provider(VENDOR),
            );
        }
        let samples = request.samples.into_float();
        let windows = windows::pack(part, &request.speech, |span| {
            windows::quietest(&samples, SAMPLE_RATE, span)
        });
        let segments = if windows.is_empty() {
            Vec::new()
        } else {
            self.with_model(move |model, cancelled| {
                let mut segments: Vec<Segment> = Vec::new();
                for window in &windows {
                    let from = window.span.start().to_samples(SAMPLE_RATE) as usize;
                    let to = (window.span.end().to_samples(SAMPLE_RATE) as usize).min(samples.len());
                    let text = model.transcribe(samples.get(from..to).unwrap_or_default(), cancelled)?;
                    segments.extend(align::sentences(&text, window.span, &window.speech));
                }
                Ok(segments)
            })
            .await?
        };
        Ok(TranscribeResponse {
            transcript: PartTranscript {
                segments,
                language: Some("en".to_owned()),
            },
            usage: Usage {
                requests: 1,
                audio: part.duration(),
                ..Usage::default()
            },
        })
    }

    async fn health_check(&self) -> Health {
        let started = Instant::now();
        let model = self.info.model.clone();
        let outcome = self
            .with_model(move |loaded, cancelled| {
                // Half a second of silence goes through every layer and is quick.
                loaded.transcribe(&vec![0.0; SAMPLE_RATE as usize / 2], cancelled)?;
                Ok(format!("{model} is loaded"))
            })
            .await;
        Health::of(outcome, started.elapsed())
    }
}

/// Whether a BCP 47 tag means English.
fn is_english(tag: &str) -> bool {
    let primary = tag.split(['-', '_']).next().unwrap_or_default();
    primary.eq_ignore_ascii_case("en") || primary.eq_ignore_ascii_case("eng")
}

#[cfg(test)]
mod tests {
    use super::*;
    use audiorag_core::capability::HealthStatus;
    use audiorag_core::{ErrorKind, Span};

    fn without_files() -> MoonshineTranscriber {
        let files = MoonshineFiles {
            model: "moonshine-tiny-en".to_owned(),
            encoder: "/nowhere/encoder.ort".into(),
            decoder: "/nowhere/decoder.ort".into(),
            tokenizer: "/nowhere/tokenizer.bin".into(),
        };
        MoonshineTranscriber::new(files, Runtime::new("/nowhere/libonnxruntime.so"), 0)
    }

    fn request(seconds: usize, speech: Vec<Span>, language: Option<&str>) -> TranscribeRequest {
        TranscribeRequest {
            samples: vec![0.0; seconds * SAMPLE_RATE as usize].into(),
            speech,
            language: language.map(str::to_owned),
            prompt: None,
        }
    }

    #[tokio::test]
    async fn audio_without_speech_needs_no_model() {
        let transcriber = without_files();
        assert_eq!(transcriber.limits().concurrency, 1);
        let response = transcriber
            .transcribe(request(3, Vec::new(), Some("en-GB")))
            .await
            .unwrap();
        assert!(response.transcript.segments.is_empty());
        assert_eq!(response.usage.audio, MediaTime::from_seconds(3));
    }

    #[tokio::test]
    async fn what_it_cannot_do_is_refused_before_loading() {
        let transcriber = without_files();
        let error = transcriber
            .transcribe(request(121, Vec::new(), None))
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Input);
        let error = transcriber
            .transcribe(request(1, Vec::new(), Some("de")))
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
    }

    #[tokio::test]
    async fn a_missing_library_is_an_error_and_an_unhealthy_report() {
        let transcriber = without_files();
        let speech = vec![Span::from_millis(0, 1_000)];
        let error = transcriber
            .transcribe(request(1, speech, None))
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        let health = transcriber.health_check().await;
        assert_eq!(health.status, HealthStatus::Unhealthy);
        assert!(
            health
                .remedy
                .as_deref()
                .is_some_and(|remedy| remedy.contains("audiorag models pull")),
            "{health:?}"
        );
    }
}
