//! A transcriber of your own in the place of a configured one.
//!
//! `cargo run -p audiorag --features local --example custom_transcriber -- RECORDING`
#![expect(clippy::print_stdout, reason = "an example that shows what it found")]

use async_trait::async_trait;
use audiorag::core::capability::{
    Health, PromptLimit, ProviderInfo, TranscribeRequest, TranscribeResponse, Transcriber, TranscriberLimits,
};
use audiorag::core::model::Segment;
use audiorag::core::{MediaTime, Span};
use audiorag::index::{IndexOptions, Input};
use audiorag::settings::{Settings, Sources};
use audiorag::{AudioRag, CancellationToken, Providers, Result};
use std::sync::Arc;
use std::time::Duration;

/// Writes how loud each stretch of speech is, instead of what is said.
struct Loudness(ProviderInfo);

#[async_trait]
impl Transcriber for Loudness {
    fn info(&self) -> &ProviderInfo {
        &self.0
    }

    fn limits(&self) -> TranscriberLimits {
        TranscriberLimits {
            preferred_part: MediaTime::from_seconds(60),
            max_part: MediaTime::from_seconds(120),
            max_bytes: None,
            concurrency: 2,
            prompt: PromptLimit::NotTaken,
            segment_times: true,
            word_times: false,
            speakers: false,
            languages: vec![],
        }
    }

    async fn transcribe(&self, request: TranscribeRequest) -> Result<TranscribeResponse> {
        // Numbers, because `max_bytes` says that no encoded audio is taken.
        let samples = request.samples.to_float();
        let loudness = |span: &Span| {
            let range = span.start().to_samples(16_000) as usize..span.end().to_samples(16_000) as usize;
            let samples = samples.get(range).unwrap_or_default();
            (samples.iter().map(|x| x * x).sum::<f32>() / samples.len().max(1) as f32).sqrt()
        };
        let segments = request.speech.iter().map(|span| Segment {
            span: *span,
            text: format!("Somebody speaks at a level of {:.2}.", loudness(span)),
            ..Segment::default()
        });
        let mut response = TranscribeResponse::default();
        response.transcript.segments = segments.collect();
        Ok(response)
    }

    async fn health_check(&self) -> Health {
        Health::of(Ok("always there".into()), Duration::ZERO)
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let mut settings = Settings::resolve(&Sources::from_process()?)?.settings;
    let dir = tempfile::tempdir()
        .map_err(|error| audiorag::Error::state("no temporary directory").with_cause(error))?;
    settings.database.path = dir.path().join("example.db");
    let info = ProviderInfo {
        vendor: "mine".into(),
        model: "loudness".into(),
        version: 1,
    };
    let providers = Providers {
        transcriber: Some(Arc::new(Loudness(info))),
        ..Providers::default()
    };
    let audiorag = AudioRag::builder(settings)
        .with_providers(providers)
        .open()
        .await?;
    let inputs = std::env::args_os()
        .skip(1)
        .map(|argument| Input::parse(&argument))
        .collect();
    let report = audiorag
        .index(inputs, IndexOptions::default(), &(), CancellationToken::new())
        .await?;
    for failure in &report.failed {
        println!("{}: {}", failure.source, failure.message);
    }
    for source in audiorag.state().list_sources().await? {
        println!(
            "{}",
            audiorag::export::render(
                audiorag::export::Format::Srt,
                &source,
                &audiorag.transcript(&source).await?
            )
        );
    }
    Ok(())
}
