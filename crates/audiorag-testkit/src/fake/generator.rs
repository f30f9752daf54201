//! Answers without a model.

use super::{Script, health, info, lock};
use async_trait::async_trait;
use audiorag_core::capability::{
    GenerateEvent, GenerateRequest, GenerateStream, Generator, GeneratorLimits, Health, ProviderInfo, Usage,
};
use audiorag_core::{Error, ErrorKind, Result};
use futures_util::stream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A generator that says what it is told, whatever the prompt asks: with citations that exist, that do not,
/// or with the words of an attacker.
pub struct FakeGenerator {
    info: ProviderInfo,
    limits: GeneratorLimits,
    deltas: Vec<String>,
    truncated: bool,
    pause: Duration,
    breaks_with: Option<ErrorKind>,
    script: Script,
    requests: Mutex<Vec<GenerateRequest>>,
    open: Arc<AtomicUsize>,
}

impl FakeGenerator {
    /// Streams `deltas`, then ends.
    pub fn saying<T: Into<String>>(deltas: impl IntoIterator<Item = T>) -> Self {
        Self {
            info: info("generator"),
            limits: GeneratorLimits {
                context_tokens: 8_192,
                max_output_tokens: 1_024,
            },
            deltas: deltas.into_iter().map(Into::into).collect(),
            truncated: false,
            pause: Duration::ZERO,
            breaks_with: None,
            script: Script::default(),
            requests: Mutex::default(),
            open: Arc::default(),
        }
    }

    /// Reads and writes so many tokens together.
    pub fn with_context(mut self, tokens: usize) -> Self {
        self.limits.context_tokens = tokens;
        self
    }

    /// Waits before each delta.
    pub fn with_pause(mut self, pause: Duration) -> Self {
        self.pause = pause;
        self
    }

    /// Claims to have been cut at the token limit.
    pub fn truncated(mut self) -> Self {
        self.truncated = true;
        self
    }

    /// Ends the stream with an error instead of `Done`.
    pub fn breaking_with(mut self, kind: ErrorKind) -> Self {
        self.breaks_with = Some(kind);
        self
    }

    /// Failures, delays and counts.
    pub fn script(&self) -> &Script {
        &self.script
    }

    /// Every prompt so far.
    pub fn requests(&self) -> Vec<GenerateRequest> {
        lock(&self.requests).clone()
    }

    /// Streams that were started and neither ended nor dropped.
    pub fn open_streams(&self) -> usize {
        self.open.load(Ordering::SeqCst)
    }

    fn end(&self, request: &GenerateRequest) -> Result<GenerateEvent> {
        let count = |text: &str| text.split_whitespace().count() as u64;
        match self.breaks_with {
            Some(kind) => Err(Error::new(kind, "the stream is scripted to break")),
            None => Ok(GenerateEvent::Done {
                usage: Usage {
                    requests: 1,
                    input_tokens: count(&request.system) + count(&request.user),
                    output_tokens: self.deltas.len() as u64,
                    ..Usage::default()
                },
                truncated: self.truncated,
            }),
        }
    }
}

/// Counts a stream as open until it is dropped.
struct OpenStream(Arc<AtomicUsize>);

impl OpenStream {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(count))
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[async_trait]
impl Generator for FakeGenerator {
    fn info(&self) -> &ProviderInfo {
        &self.info
    }

    fn limits(&self) -> GeneratorLimits {
        self.limits
    }

    async fn generate(&self, request: GenerateRequest) -> Result<GenerateStream> {
        lock(&self.requests).push(request.clone());
        let (_, ticket) = self.script.enter().await?;
        let end = self.end(&request);
        let events: Vec<Result<GenerateEvent>> = self
            .deltas
            .iter()
            .cloned()
            .map(|text| Ok(GenerateEvent::Delta(text)))
            .chain([end])
            .collect();
        ticket.succeed();
        let (pause, open) = (self.pause, OpenStream::new(&self.open));
        Ok(Box::pin(stream::unfold(
            (events.into_iter(), open),
            move |(mut events, open)| async move {
                let event = events.next()?;
                if !pause.is_zero() {
                    tokio::time::sleep(pause).await;
                }
                Some((event, (events, open)))
            },
        )))
    }

    async fn health_check(&self) -> Health {
        health(&self.script)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::suite::generator::{GeneratorCase, run};
    use futures_util::StreamExt as _;

    #[tokio::test]
    async fn honours_the_contract() {
        let fake = Arc::new(FakeGenerator::saying(["It ", "was ", "the best [1]."]));
        let watched = Arc::clone(&fake);
        let case = GeneratorCase::default().watching(move || watched.open_streams() == 0);
        run(fake.as_ref(), &case).await;
    }

    #[tokio::test(start_paused = true)]
    async fn breaks_and_is_cut_when_told() {
        let request = GenerateRequest {
            system: "be brief".into(),
            user: "why?".into(),
            max_output_tokens: 9,
            ..GenerateRequest::default()
        };
        let fake = FakeGenerator::saying(["a"])
            .breaking_with(ErrorKind::Unavailable)
            .with_pause(Duration::from_secs(1));
        let events: Vec<_> = fake.generate(request.clone()).await.unwrap().collect().await;
        assert_eq!(events.len(), 2);
        assert_eq!(events[1].as_ref().unwrap_err().kind(), ErrorKind::Unavailable);
        assert_eq!(fake.requests(), std::slice::from_ref(&request));

        let fake = FakeGenerator::saying(["a"]).truncated();
        let events: Vec<_> = fake.generate(request.clone()).await.unwrap().collect().await;
        assert!(matches!(
            events[1],
            Ok(GenerateEvent::Done { truncated: true, .. })
        ));
        fake.script().fail_nth(2, ErrorKind::Auth);
        assert_eq!(
            fake.generate(request).await.err().unwrap().kind(),
            ErrorKind::Auth
        );
    }
}
