//! The only way to call a provider.
//!
//! A [`Guarded`] capability adds to each call, outermost first: a tracing span, a reservation from the
//! budget, a deadline that does not tick while waiting for the two, and a check of the answer against the
//! capability's contract. Vendors change after release, so the contract that tests check is checked again on every
//! answer.

mod purse;
mod run;
mod stream;

pub(crate) use purse::{Bill, Purse, Spending};
pub(crate) use run::Run;

use audiorag_core::budget::Purpose;
use audiorag_core::capability::{
    EmbedResponse, Embedder, EmbedderLimits, GenerateRequest, GenerateStream, Generator, GeneratorLimits,
    Health, InputType, ProviderInfo, Ranked, Reranker, Selector, StoreLimits, TranscribeRequest,
    TranscribeResponse, Transcriber, TranscriberLimits, Usage, VectorMatch, VectorRecord, VectorStore,
};
use audiorag_core::id::SourceId;
use audiorag_core::model::{EmbeddingSpace, Filter};
use audiorag_core::{Error, Result};
use audiorag_state::failpoint;
use purse::Order;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tracing::Instrument as _;

/// An answer, and the bill that is still to be closed.
#[derive(Debug)]
pub(crate) struct Paid<T> {
    pub(crate) answer: T,
    /// Absent where the call costs nothing.
    pub(crate) bill: Option<Bill>,
}

impl<T> Paid<T> {
    /// Closes the bill with what the answer says was used, or else with what was expected.
    async fn settled(self, used: impl FnOnce(&T) -> Option<Usage>) -> T {
        if let Some(bill) = self.bill {
            bill.done(used(&self.answer).as_ref()).await;
        }
        self.answer
    }
}

/// What surrounds every call of one capability.
#[derive(Clone, Debug)]
pub(crate) struct Policy {
    concurrency: usize,
    permits: Arc<Semaphore>,
    deadline: Option<Duration>,
    purse: Option<Arc<Purse>>,
    run: Option<Run>,
}

impl Policy {
    /// At most `concurrency` calls side by side, each given `deadline` once it has its permit.
    pub(crate) fn new(concurrency: usize, deadline: Option<Duration>) -> Self {
        let concurrency = concurrency.max(1);
        Self {
            concurrency,
            permits: Arc::new(Semaphore::new(concurrency)),
            deadline,
            purse: None,
            run: None,
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
        let paid = self.call(call, info, None, work, check).await?;
        Ok(paid.answer)
    }

    /// A call that costs something. Its bill is open: whoever stores the answer closes it.
    async fn pay<T>(
        &self,
        order: Order<'_>,
        info: &ProviderInfo,
        work: impl Future<Output = Result<T>>,
        check: impl FnOnce(&mut T) -> Result<()>,
    ) -> Result<Paid<T>> {
        self.call(order.capability, info, Some(order), work, check).await
    }

    async fn call<T>(
        &self,
        call: &'static str,
        info: &ProviderInfo,
        order: Option<Order<'_>>,
        work: impl Future<Output = Result<T>>,
        check: impl FnOnce(&mut T) -> Result<()>,
    ) -> Result<Paid<T>> {
        let provider = format!("{}/{}", info.vendor, info.model);
        let span = tracing::info_span!("provider_call", call, provider = %provider);
        // On the heap, as each layer around a large future would copy it on the stack.
        let work = Box::pin(failpoint::call(call, work));
        async {
            let started = tokio::time::Instant::now();
            // The budget first: a call that has to wait for it must not keep others from theirs.
            let mut bill = match (&self.purse, &self.run, order) {
                (Some(purse), Some(run), Some(order)) => purse.open(run, info, order).await?,
                _ => None,
            };
            let _permit = self
                .permits
                .acquire()
                .await
                .map_err(|_| Error::cancelled("the provider was shut down"))?;
            if let Some(bill) = &mut bill {
                bill.send();
            }
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
            let outcome = outcome.and_then(|mut answer| check(&mut answer).map(|()| answer));
            let elapsed_ms = started.elapsed().saturating_sub(waited).as_millis() as u64;
            match outcome {
                Ok(answer) => {
                    tracing::debug!(
                        elapsed_ms,
                        waited_ms = waited.as_millis() as u64,
                        "call completed"
                    );
                    Ok(Paid { answer, bill })
                }
                Err(error) => {
                    tracing::debug!(elapsed_ms, kind = %error.kind(), error = %error.report(), "call failed");
                    if let Some(bill) = bill {
                        bill.failed(&error).await;
                    }
                    Err(error)
                }
            }
        }
        .instrument(span)
        .await
        .map_err(|error: Error| error.with_provider(provider))
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

    /// The same capability, whose calls belong to `run`.
    pub(crate) fn during(&self, run: &Run) -> Self {
        let mut guarded = self.clone();
        guarded.policy.run = Some(run.clone());
        guarded
    }

    /// How many calls may run side by side: starting more only makes them wait.
    pub(crate) fn concurrency(&self) -> usize {
        self.policy.concurrency
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

    /// Transcribes one part of a source.
    pub(crate) async fn transcribe(
        &self,
        source: &SourceId,
        request: TranscribeRequest,
    ) -> Result<Paid<TranscribeResponse>> {
        let bounds = request.span();
        let order = Order {
            capability: "transcribe",
            purpose: Purpose::Index,
            source: Some(source),
            expected: Usage {
                requests: 1,
                audio: bounds.duration(),
                ..Usage::default()
            },
        };
        self.policy
            .pay(
                order,
                self.inner.info(),
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

    /// Embeds texts for somebody who waits for an answer; the vectors come back with unit length.
    pub(crate) async fn embed_now(&self, texts: &[String], input: InputType) -> Result<Vec<Vec<f32>>> {
        if texts.is_empty() {
            return Ok(Vec::new());
        }
        let paid = self.embed(texts, input, Purpose::Query, None).await?;
        let response = paid.settled(|response| Some(response.usage)).await;
        Ok(response.vectors)
    }

    /// Embeds a batch of a source's texts; the vectors come back with unit length.
    pub(crate) async fn embed_documents(
        &self,
        source: &SourceId,
        texts: &[String],
    ) -> Result<Paid<EmbedResponse>> {
        if texts.is_empty() {
            return Ok(Paid {
                answer: EmbedResponse::default(),
                bill: None,
            });
        }
        self.embed(texts, InputType::Document, Purpose::Index, Some(source))
            .await
    }

    async fn embed(
        &self,
        texts: &[String],
        input: InputType,
        purpose: Purpose,
        source: Option<&SourceId>,
    ) -> Result<Paid<EmbedResponse>> {
        let wanted = texts.len();
        let space = self.inner.space().clone();
        let order = Order {
            capability: "embed",
            purpose,
            source,
            expected: Usage {
                requests: 1,
                input_tokens: texts.iter().map(|text| tokens(text)).sum(),
                ..Usage::default()
            },
        };
        self.policy
            .pay(
                order,
                self.inner.info(),
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
        let order = Order {
            capability: "rerank",
            purpose: Purpose::Query,
            source: None,
            expected: Usage {
                requests: 1,
                input_tokens: documents.iter().map(|text| tokens(text) + tokens(query)).sum(),
                ..Usage::default()
            },
        };
        let paid = self
            .policy
            .pay(order, self.inner.info(), work, move |ranked| {
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
            .await?;
        Ok(paid.settled(|_| None).await)
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
        let order = Order {
            capability: "generate",
            purpose: Purpose::Query,
            source: None,
            expected: Usage {
                requests: 1,
                input_tokens: tokens(&request.system) + tokens(&request.user),
                output_tokens: u64::from(request.max_output_tokens),
                ..Usage::default()
            },
        };
        let paid = self
            .policy
            .pay(order, self.inner.info(), self.inner.generate(request), |_| Ok(()))
            .await?;
        // What it used is known when the stream ends.
        Ok(stream::settling(paid))
    }

    /// Reaches the model or service.
    pub(crate) async fn health_check(&self) -> Health {
        self.inner.health_check().await
    }
}

/// How many tokens a text may have: English has about four letters to a token, and scripts of three bytes a letter
/// about one letter.
pub(crate) fn tokens(text: &str) -> u64 {
    text.len().div_ceil(3) as u64
}

#[cfg(test)]
mod tests;
