//! The only way to call a provider.
//!
//! A [`Guarded`] capability adds to each call, outermost first: a tracing span, a permit, a reservation from the
//! budget, a deadline that does not tick while waiting for the two, and a check of the answer against the
//! capability's contract. Vendors change after release, so the contract that tests check is checked again on every
//! answer.

mod purse;

pub(crate) use purse::{Purse, Spending};

use audiorag_core::budget::Need;
use audiorag_core::capability::{
    EmbedResponse, Embedder, EmbedderLimits, GenerateRequest, GenerateStream, Generator, GeneratorLimits,
    Health, InputType, ProviderInfo, Ranked, Reranker, Selector, StoreLimits, TranscribeRequest,
    TranscribeResponse, Transcriber, TranscriberLimits, VectorMatch, VectorRecord, VectorStore,
};
use audiorag_core::model::{EmbeddingSpace, Filter};
use audiorag_core::{Error, Result};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tracing::Instrument as _;

/// What a call is expected to need, and how its answer tells what it used.
type Cost<T> = (Need, fn(&T) -> Option<Need>);

/// What surrounds every call of one capability.
#[derive(Clone, Debug)]
pub(crate) struct Policy {
    permits: Arc<Semaphore>,
    deadline: Option<Duration>,
    purse: Option<Arc<Purse>>,
}

impl Policy {
    /// At most `concurrency` calls side by side, each given `deadline` once it has its permit.
    pub(crate) fn new(concurrency: usize, deadline: Option<Duration>) -> Self {
        Self {
            permits: Arc::new(Semaphore::new(concurrency.max(1))),
            deadline,
            purse: None,
        }
    }

    /// The same, paid from a purse.
    pub(crate) fn paid_from(mut self, purse: Option<Arc<Purse>>) -> Self {
        self.purse = purse;
        self
    }

    /// A call that costs nothing worth counting.
    async fn run<T>(
        &self,
        call: &'static str,
        info: &ProviderInfo,
        work: impl Future<Output = Result<T>>,
        check: impl FnOnce(&mut T) -> Result<()>,
    ) -> Result<T> {
        self.pay(call, info, None, work, check).await
    }

    /// A call that costs something.
    async fn pay<T>(
        &self,
        call: &'static str,
        info: &ProviderInfo,
        cost: Option<Cost<T>>,
        work: impl Future<Output = Result<T>>,
        check: impl FnOnce(&mut T) -> Result<()>,
    ) -> Result<T> {
        let provider = format!("{}/{}", info.vendor, info.model);
        let span = tracing::info_span!("provider_call", call, provider = %provider);
        async {
            let started = tokio::time::Instant::now();
            let _permit = self
                .permits
                .acquire()
                .await
                .map_err(|_| Error::cancelled("the provider was shut down"))?;
            let reserved = match (&self.purse, cost) {
                (Some(purse), Some((need, used))) => Some((purse.reserve(&need).await?, used)),
                _ => None,
            };
            let waited = started.elapsed();
            let outcome = match self.deadline {
                Some(deadline) => tokio::time::timeout(deadline, work).await.unwrap_or_else(|_| {
                    Err(Error::timeout(format!(
                        "{call} took longer than {} s",
                        deadline.as_secs_f64()
                    )))
                }),
                None => work.await,
            };
            if let (Some((reservation, used)), Ok(answer)) = (reserved, &outcome) {
                // A call that failed gives its reservation back when it is dropped.
                reservation.settle(used(answer));
            }
            let outcome = outcome.and_then(|mut answer| check(&mut answer).map(|()| answer));
            let elapsed_ms = started.elapsed().saturating_sub(waited).as_millis() as u64;
            match &outcome {
                Ok(_) => tracing::debug!(
                    elapsed_ms,
                    waited_ms = waited.as_millis() as u64,
                    "call completed"
                ),
                Err(error) => {
                    tracing::debug!(elapsed_ms, kind = %error.kind(), error = %error.report(), "call failed");
                }
            }
            outcome.map_err(|error| error.with_provider(provider.clone()))
        }
        .instrument(span)
        .await
    }
}

/// A capability behind its [`Policy`].
pub(crate) struct Guarded<T: ?Sized> {
    inner: Arc<T>,
    policy: Policy,
}

impl<T: ?Sized> Clone for Guarded<T> {
    fn clone(&self) -> Self {
        Self {
            inner: Arc::clone(&self.inner),
            policy: self.policy.clone(),
        }
    }
}

impl<T: ?Sized> std::fmt::Debug for Guarded<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Guarded")
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
}

impl<T: ?Sized> Guarded<T> {
    /// Puts a capability behind a policy. Only the registry does.
    pub(crate) fn new(inner: Arc<T>, policy: Policy) -> Self {
        Self { inner, policy }
    }
}

impl Guarded<dyn Transcriber> {
    /// Which model this is.
    pub(crate) fn info(&self) -> &ProviderInfo {
        self.inner.info()
    }

    /// What it accepts and returns.
    pub(crate) fn limits(&self) -> TranscriberLimits {
        self.inner.limits()
    }

    /// Transcribes one part.
    pub(crate) async fn transcribe(&self, request: TranscribeRequest) -> Result<TranscribeResponse> {
        let bounds = request.span();
        let need = Need {
            requests: 1,
            audio: bounds.duration(),
            ..Need::default()
        };
        self.policy
            .pay(
                "transcribe",
                self.inner.info(),
                Some((need, |response: &TranscribeResponse| Some(response.usage.into()))),
                self.inner.transcribe(request),
                move |response| {
                    // Vendors round up: half a second past the end is their clock, not a broken contract.
                    let latest = bounds.end().as_millis() + 500;
                    let mut previous = audiorag_core::MediaTime::ZERO;
                    for segment in &response.transcript.segments {
                        if segment.span.start() < previous {
                            return Err(Error::protocol("segments are not in the order of their times"));
                        }
                        previous = segment.span.start();
                        if segment.span.end().as_millis() > latest {
                            return Err(Error::protocol("a segment lies outside the audio that was sent")
                                .with_context("segment", segment.span)
                                .with_context("audio", bounds));
                        }
                    }
                    response
                        .transcript
                        .segments
                        .retain(|segment| !segment.text.trim().is_empty());
                    Ok(())
                },
            )
            .await
    }

    /// Reaches the model or service.
    pub(crate) async fn health_check(&self) -> Health {
        self.inner.health_check().await
    }
}

impl Guarded<dyn Embedder> {
    /// Which model this is.
    pub(crate) fn info(&self) -> &ProviderInfo {
        self.inner.info()
    }

    /// What its vectors can be compared with.
    pub(crate) fn space(&self) -> &EmbeddingSpace {
        self.inner.space()
    }

    /// What it accepts.
    pub(crate) fn limits(&self) -> EmbedderLimits {
        self.inner.limits()
    }

    /// Loads a model of this process. A vendor has nothing to load, and is not asked.
    pub(crate) async fn warm_up(&self) {
        if self.inner.info().vendor == "local" {
            // What is wrong shows, with its remedy, when the first text is embedded.
            let _ = self.inner.health_check().await;
        }
    }

    /// Embeds a batch; the vectors come back with unit length.
    pub(crate) async fn embed(&self, texts: &[String], input: InputType) -> Result<EmbedResponse> {
        if texts.is_empty() {
            return Ok(EmbedResponse::default());
        }
        let wanted = texts.len();
        let space = self.inner.space().clone();
        let need = Need {
            requests: 1,
            tokens: texts.iter().map(|text| tokens(text)).sum(),
            ..Need::default()
        };
        self.policy
            .pay(
                "embed",
                self.inner.info(),
                Some((need, |response: &EmbedResponse| Some(response.usage.into()))),
                self.inner.embed(texts, input),
                move |response| {
                    let got = response.vectors.len();
                    if got != wanted {
                        return Err(Error::protocol(format!("{got} vectors for {wanted} texts")));
                    }
                    response
                        .vectors
                        .iter_mut()
                        .try_for_each(|vector| space.normalize(vector))
                },
            )
            .await
    }

    /// Reaches the model or service.
    pub(crate) async fn health_check(&self) -> Health {
        self.inner.health_check().await
    }
}

impl Guarded<dyn VectorStore> {
    /// Which store this is.
    pub(crate) fn info(&self) -> &ProviderInfo {
        self.inner.info()
    }

    /// What it accepts.
    pub(crate) fn limits(&self) -> StoreLimits {
        self.inner.limits()
    }

    /// Makes the store ready for vectors of `space`.
    pub(crate) async fn prepare(&self, space: &EmbeddingSpace) -> Result<()> {
        self.policy
            .run("prepare", self.inner.info(), self.inner.prepare(space), |()| {
                Ok(())
            })
            .await
    }

    /// Writes records, replacing those with equal ids.
    pub(crate) async fn upsert(&self, records: Vec<VectorRecord>) -> Result<()> {
        self.policy
            .run("upsert", self.inner.info(), self.inner.upsert(records), |()| {
                Ok(())
            })
            .await
    }

    /// The `top_k` nearest records to `vector` that pass `filter`.
    pub(crate) async fn search(
        &self,
        vector: &[f32],
        top_k: usize,
        filter: &Filter,
    ) -> Result<Vec<VectorMatch>> {
        let work = self.inner.search(vector, top_k, filter);
        self.policy
            .run("vector_search", self.inner.info(), work, move |matches| {
                if matches.iter().any(|found| !found.score.is_finite()) {
                    return Err(Error::protocol("a search score is not a number"));
                }
                matches.truncate(top_k);
                Ok(())
            })
            .await
    }

    /// Removes records.
    pub(crate) async fn delete(&self, selector: &Selector) -> Result<()> {
        self.policy
            .run("delete", self.inner.info(), self.inner.delete(selector), |()| {
                Ok(())
            })
            .await
    }

    /// Counts records.
    pub(crate) async fn count(&self, selector: &Selector) -> Result<u64> {
        self.policy
            .run("count", self.inner.info(), self.inner.count(selector), |_| Ok(()))
            .await
    }

    /// Reaches the store.
    pub(crate) async fn health_check(&self) -> Health {
        self.inner.health_check().await
    }
}

impl Guarded<dyn Reranker> {
    /// Orders `documents` by relevance to `query`, best first.
    pub(crate) async fn rerank(
        &self,
        query: &str,
        documents: &[String],
        top_n: usize,
    ) -> Result<Vec<Ranked>> {
        let count = documents.len().min(self.inner.max_documents());
        let documents = documents.get(..count).unwrap_or(documents);
        let work = self.inner.rerank(query, documents, top_n);
        let need = Need {
            requests: 1,
            tokens: documents.iter().map(|text| tokens(text) + tokens(query)).sum(),
            ..Need::default()
        };
        let cost = Some((need, (|_| None) as fn(&Vec<Ranked>) -> Option<Need>));
        self.policy
            .pay("rerank", self.inner.info(), cost, work, move |ranked| {
                let mut seen = std::collections::HashSet::new();
                let sound = ranked
                    .iter()
                    .all(|entry| entry.index < count && entry.score.is_finite() && seen.insert(entry.index));
                if !sound {
                    return Err(Error::protocol(
                        "the ranking names documents that were not given, or twice",
                    ));
                }
                ranked.truncate(top_n);
                Ok(())
            })
            .await
    }

    /// Reaches the model or service.
    pub(crate) async fn health_check(&self) -> Health {
        self.inner.health_check().await
    }
}

impl Guarded<dyn Generator> {
    /// Which model this is.
    pub(crate) fn info(&self) -> &ProviderInfo {
        self.inner.info()
    }

    /// What it accepts.
    pub(crate) fn limits(&self) -> GeneratorLimits {
        self.inner.limits()
    }

    /// Starts an answer.
    pub(crate) async fn generate(&self, request: GenerateRequest) -> Result<GenerateStream> {
        let need = Need {
            requests: 1,
            tokens: tokens(&request.system) + tokens(&request.user) + u64::from(request.max_output_tokens),
            ..Need::default()
        };
        self.policy
            .pay(
                "generate",
                self.inner.info(),
                // What it used is known when the stream ends, and never more than this.
                Some((need, |_| None)),
                self.inner.generate(request),
                |_| Ok(()),
            )
            .await
    }

    /// Reaches the model or service.
    pub(crate) async fn health_check(&self) -> Health {
        self.inner.health_check().await
    }
}

/// How many tokens a text may have: English has about four letters to a token.
fn tokens(text: &str) -> u64 {
    text.len().div_ceil(4) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use audiorag_core::ErrorKind;
    use audiorag_core::Span;
    use audiorag_core::model::{PartTranscript, Segment};

    mockall::mock! {
        Speech {}
        #[async_trait::async_trait]
        impl Transcriber for Speech {
            fn info(&self) -> &ProviderInfo;
            fn limits(&self) -> TranscriberLimits;
            async fn transcribe(&self, request: TranscribeRequest) -> Result<TranscribeResponse>;
            async fn health_check(&self) -> Health;
        }
    }

    mockall::mock! {
        Vectors {}
        #[async_trait::async_trait]
        impl Embedder for Vectors {
            fn info(&self) -> &ProviderInfo;
            fn space(&self) -> &EmbeddingSpace;
            fn limits(&self) -> EmbedderLimits;
            async fn embed(&self, texts: &[String], input: InputType) -> Result<EmbedResponse>;
            async fn health_check(&self) -> Health;
        }
    }

    fn info() -> ProviderInfo {
        ProviderInfo {
            vendor: "fake".into(),
            model: "m".into(),
            version: 1,
        }
    }

    fn request() -> TranscribeRequest {
        TranscribeRequest {
            samples: vec![0.0; 16_000].into(),
            speech: vec![],
            language: None,
            prompt: None,
        }
    }

    fn answering(segments: Vec<Segment>) -> Guarded<dyn Transcriber> {
        let mut mock = MockSpeech::new();
        mock.expect_info().return_const(info());
        mock.expect_transcribe().times(1).returning(move |_| {
            Ok(TranscribeResponse {
                transcript: PartTranscript {
                    segments: segments.clone(),
                    language: None,
                },
                ..TranscribeResponse::default()
            })
        });
        Guarded::new(Arc::new(mock) as Arc<dyn Transcriber>, Policy::new(1, None))
    }

    fn said(start: u64, end: u64) -> Segment {
        Segment {
            span: Span::from_millis(start, end),
            text: "x".into(),
            ..Segment::default()
        }
    }

    #[tokio::test]
    async fn segments_out_of_order_or_outside_the_audio_are_refused() {
        let disordered = answering(vec![said(500, 600), said(0, 100)])
            .transcribe(request())
            .await;
        assert_eq!(disordered.unwrap_err().kind(), ErrorKind::Protocol);
        let outside = answering(vec![said(0, 2000)])
            .transcribe(request())
            .await
            .unwrap_err();
        assert_eq!(outside.kind(), ErrorKind::Protocol);
        assert_eq!(outside.provider(), Some("fake/m"));
        assert!(answering(vec![said(0, 1200)]).transcribe(request()).await.is_ok());
    }

    fn embedding(vectors: Vec<Vec<f32>>) -> Guarded<dyn Embedder> {
        let mut mock = MockVectors::new();
        mock.expect_info().return_const(info());
        mock.expect_space().return_const(EmbeddingSpace {
            provider: "fake".into(),
            model: "m".into(),
            dimensions: 2,
        });
        mock.expect_embed().returning(move |_, _| {
            Ok(EmbedResponse {
                vectors: vectors.clone(),
                ..EmbedResponse::default()
            })
        });
        Guarded::new(Arc::new(mock) as Arc<dyn Embedder>, Policy::new(1, None))
    }

    #[tokio::test]
    async fn a_short_or_broken_embedding_answer_is_refused() {
        let texts = ["a".to_owned(), "b".to_owned()];
        for bad in [
            vec![vec![1.0, 0.0]],
            vec![vec![1.0, 0.0], vec![1.0]],
            vec![vec![f32::NAN, 0.0]; 2],
        ] {
            let error = embedding(bad)
                .embed(&texts, InputType::Document)
                .await
                .unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Protocol);
        }
        let good = embedding(vec![vec![0.0, 2.0]; 2])
            .embed(&texts, InputType::Document)
            .await
            .unwrap();
        assert_eq!(good.vectors, vec![vec![0.0, 1.0]; 2]);
        // Nothing to embed is nothing to pay for: this mock allows no call with a wrong count.
        assert!(
            embedding(vec![])
                .embed(&[], InputType::Document)
                .await
                .unwrap()
                .vectors
                .is_empty()
        );
    }

    #[tokio::test(start_paused = true)]
    async fn the_deadline_does_not_tick_while_waiting_for_a_permit() {
        let policy = Policy::new(1, Some(Duration::from_secs(10)));
        let info = info();
        let call = |seconds| {
            policy.run(
                "nap",
                &info,
                async move {
                    tokio::time::sleep(Duration::from_secs(seconds)).await;
                    Ok(seconds)
                },
                |_| Ok(()),
            )
        };
        let (a, b, c) = tokio::join!(call(8), call(9), call(11));
        assert_eq!(a.unwrap(), 8);
        assert_eq!(b.unwrap(), 9, "it waited 8 s for the permit and then ran for 9");
        assert_eq!(c.unwrap_err().kind(), ErrorKind::Timeout);
    }
}
