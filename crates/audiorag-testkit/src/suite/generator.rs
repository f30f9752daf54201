//! The contract of [`Generator`].

use super::{check_health, check_info, eventually};
use audiorag_core::capability::{GenerateEvent, GenerateRequest, Generator};
use futures_util::StreamExt as _;
use std::sync::Arc;

/// What to ask, and how to see that a dropped stream has stopped.
#[derive(Clone)]
pub struct GeneratorCase {
    /// The prompt.
    pub request: GenerateRequest,
    /// True once no work is under way: no open stream, no open connection at the server.
    idle: Option<Arc<dyn Fn() -> bool + Send + Sync>>,
}

impl Default for GeneratorCase {
    fn default() -> Self {
        Self {
            request: GenerateRequest {
                system: "Answer from the passages and cite them as [1].".to_owned(),
                user: "[1] It was the best of times.\n\nWhat was it?".to_owned(),
                max_output_tokens: 64,
                ..GenerateRequest::default()
            },
            idle: None,
        }
    }
}

impl GeneratorCase {
    /// Also checks that dropping a stream makes `idle` true before long.
    pub fn watching(mut self, idle: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        self.idle = Some(Arc::new(idle));
        self
    }
}

/// Checks every line of the contract.
pub async fn run(generator: &dyn Generator, case: &GeneratorCase) {
    check_info(generator.info());
    let name = generator.info().fingerprint();
    let limits = generator.limits();
    assert!(
        limits.context_tokens > 0 && limits.max_output_tokens > 0,
        "{name}: {limits:?}"
    );
    check_health(&name, &generator.health_check().await);
    let text = ends_once(&name, generator, case).await;
    assert!(!text.is_empty(), "{name}: an answer without text");
    stops_when_dropped(&name, generator, case).await;
}

/// Reads a whole answer: deltas, then exactly one `Done`.
async fn ends_once(name: &str, generator: &dyn Generator, case: &GeneratorCase) -> String {
    let mut stream = match generator.generate(case.request.clone()).await {
        Ok(stream) => stream,
        Err(error) => panic!("{name}: no answer: {}", error.report()),
    };
    let (mut text, mut done) = (String::new(), 0);
    while let Some(event) = stream.next().await {
        assert_eq!(done, 0, "{name}: something follows the end: {event:?}");
        match event {
            Ok(GenerateEvent::Delta(delta)) => text.push_str(&delta),
            Ok(GenerateEvent::Done { .. }) => done += 1,
            Err(error) => panic!("{name}: the answer broke off: {}", error.report()),
        }
    }
    assert_eq!(done, 1, "{name}: the stream ended without saying so");
    text
}

async fn stops_when_dropped(name: &str, generator: &dyn Generator, case: &GeneratorCase) {
    let Ok(mut stream) = generator.generate(case.request.clone()).await else {
        panic!("{name}: a second answer failed");
    };
    let first = stream.next().await;
    assert!(
        matches!(first, Some(Ok(_))),
        "{name}: a second answer failed: {first:?}"
    );
    drop(stream);
    if let Some(idle) = &case.idle {
        eventually(&format!("{name}: a dropped stream stops its work"), async || {
            idle()
        })
        .await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::FakeGenerator;
    use async_trait::async_trait;
    use audiorag_core::capability::{GenerateStream, GeneratorLimits, Health, ProviderInfo};
    use audiorag_core::{ErrorKind, Result};
    use futures_util::stream;

    /// Streams that end the given number of times.
    struct Ending(FakeGenerator, usize);

    #[async_trait]
    impl Generator for Ending {
        fn info(&self) -> &ProviderInfo {
            self.0.info()
        }
        fn limits(&self) -> GeneratorLimits {
            self.0.limits()
        }
        async fn generate(&self, request: GenerateRequest) -> Result<GenerateStream> {
            let events: Vec<_> = self.0.generate(request).await?.collect().await;
            let mut out: Vec<Result<GenerateEvent>> = Vec::new();
            for event in events.into_iter().flatten() {
                let times = if matches!(event, GenerateEvent::Done { .. }) {
                    self.1
                } else {
                    1
                };
                out.extend(std::iter::repeat_n(event, times).map(Ok));
            }
            Ok(Box::pin(stream::iter(out)))
        }
        async fn health_check(&self) -> Health {
            self.0.health_check().await
        }
    }

    #[tokio::test]
    #[should_panic(expected = "something follows the end")]
    async fn notices_a_second_end() {
        run(
            &Ending(FakeGenerator::saying(["x"]), 2),
            &GeneratorCase::default(),
        )
        .await;
    }

    #[tokio::test]
    #[should_panic(expected = "ended without saying so")]
    async fn notices_a_missing_end() {
        run(
            &Ending(FakeGenerator::saying(["x"]), 0),
            &GeneratorCase::default(),
        )
        .await;
    }

    #[tokio::test]
    #[should_panic(expected = "broke off")]
    async fn notices_an_error() {
        run(
            &FakeGenerator::saying(["x"]).breaking_with(ErrorKind::Timeout),
            &GeneratorCase::default(),
        )
        .await;
    }

    #[tokio::test(start_paused = true)]
    #[should_panic(expected = "a dropped stream stops")]
    async fn notices_work_that_goes_on() {
        run(
            &FakeGenerator::saying(["x"]),
            &GeneratorCase::default().watching(|| false),
        )
        .await;
    }
}
