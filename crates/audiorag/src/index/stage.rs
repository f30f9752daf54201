//! What every stage has in common: a span, a start, an end, a duration, and an error that knows where it is.

use super::event::{IndexEvent, IndexObserver, SkippedSource, SourceOutcome};
use audiorag_core::id::SourceId;
use audiorag_core::{Result, Stage};
use std::future::Future;
use std::time::Instant;
use tracing::Instrument as _;

/// Runs the stages of one source.
#[derive(Clone, Copy)]
pub(crate) struct Stages<'a> {
    source: &'a str,
    observer: &'a dyn IndexObserver,
}

impl<'a> Stages<'a> {
    pub(crate) fn new(source: &'a str, observer: &'a dyn IndexObserver) -> Self {
        Self { source, observer }
    }

    /// The source's display locator.
    pub(crate) fn source(self) -> &'a str {
        self.source
    }

    /// Passes an event on.
    pub(crate) fn event(self, event: IndexEvent) {
        self.observer.event(event);
    }

    /// The outcome of a source for which nothing is done.
    pub(crate) fn skipped(self, source_id: &SourceId, reason: impl Into<String>) -> SourceOutcome {
        SourceOutcome::Skipped(SkippedSource {
            source: self.source.to_owned(),
            source_id: source_id.clone(),
            reason: reason.into(),
        })
    }

    /// Tells of something that is no failure.
    pub(crate) fn warn(self, message: impl Into<String>) {
        let message = message.into();
        tracing::warn!(source = self.source, "{message}");
        self.event(IndexEvent::Warning {
            source: self.source.to_owned(),
            message,
        });
    }

    /// Runs `work` as `stage`.
    pub(crate) async fn run<T>(self, stage: Stage, work: impl Future<Output = Result<T>>) -> Result<T> {
        let span = tracing::info_span!("stage", stage = %stage);
        // On the heap, as each layer around a large future would copy it on the stack.
        let work = Box::pin(work);
        async {
            let started = Instant::now();
            tracing::info!("stage started");
            self.event(IndexEvent::StageStarted {
                source: self.source.to_owned(),
                stage,
            });
            let outcome = work.await;
            let elapsed = started.elapsed();
            let elapsed_ms = elapsed.as_millis() as u64;
            match &outcome {
                Ok(_) => {
                    tracing::info!(elapsed_ms, "stage completed");
                    self.event(IndexEvent::StageCompleted {
                        source: self.source.to_owned(),
                        stage,
                        elapsed,
                    });
                }
                Err(error) => {
                    tracing::info!(elapsed_ms, kind = %error.kind(), error = %error.report(), "stage failed");
                }
            }
            outcome.map_err(|error| error.with_stage(stage))
        }
        .instrument(span)
        .await
    }
}
