//! A vendor's service: base URL, credentials, and the loop that brings each call to an end.

mod builder;

pub use builder::ServiceBuilder;

use super::call::{Answer, Call, Field, Payload, Replay, Reply};
use super::events::Events;
use super::gates::Gates;
use super::secrets::Secrets;
use super::status::{Declined, decline};
use super::transport::{redact, transport_error};
use super::{Head, HttpClient};
use audiorag_core::{Attempts, Error, ErrorKind, Result};
use bytes::BytesMut;
use reqwest::header::{CONTENT_TYPE, HeaderMap};
use reqwest::{Response, Url};
use serde::de::DeserializeOwned;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, timeout_at};

/// An answer that declines, as a vendor's own hook sees it.
#[derive(Clone, Copy, Debug)]
pub struct Refusal<'a> {
    /// The status.
    pub status: u16,
    /// Status and headers.
    pub head: &'a Head,
    /// The body, `Null` when it is not JSON.
    pub body: &'a serde_json::Value,
}

/// What a vendor knows better than the rules for all.
#[derive(Clone, Debug, Default)]
pub struct Refinement {
    /// What the caller can do.
    pub kind: Option<ErrorKind>,
    /// How long the service asks to wait, where it says so outside the headers.
    pub retry_after: Option<Duration>,
    /// What the user can do.
    pub hint: Option<&'static str>,
}

type Refine = fn(&Refusal<'_>) -> Refinement;

/// A vendor's service. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Service {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    http: HttpClient,
    vendor: &'static str,
    base: Url,
    headers: HeaderMap,
    secrets: Secrets,
    hint: Option<String>,
    refine: Refine,
    gates: Arc<Gates>,
}

/// How far an attempt came before it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reached {
    /// The request never left, or was never accepted.
    No,
    /// The service answered that it did nothing.
    Declined(u16),
    /// It may have been carried out.
    Unknown,
}

/// An attempt that brought nothing.
struct Failure {
    error: Error,
    reached: Reached,
    /// What the service itself says about another attempt.
    advice: Option<bool>,
    /// Whether the attempt counted as a request.
    left: bool,
}

impl Failure {
    /// Nothing was sent.
    fn before(error: Error) -> Self {
        Self {
            error,
            reached: Reached::No,
            advice: Some(false),
            left: false,
        }
    }
}

impl Service {
    /// The base URL, without credentials.
    pub fn base_url(&self) -> String {
        redact(&self.inner.base)
    }

    /// Makes a call and parses its answer; what `parse` refuses counts as a failed attempt.
    pub async fn send<T: Send>(
        &self,
        call: &Call,
        parse: impl Fn(&Reply) -> Result<T> + Sync,
    ) -> Result<Answer<T>> {
        self.persist(call, &Parsed(parse)).await
    }

    /// Makes a call whose answer is JSON of a known shape.
    pub async fn json<T: DeserializeOwned + Send>(&self, call: &Call) -> Result<Answer<T>> {
        self.send(call, Reply::json).await
    }

    /// Makes a call of whose answer only the success counts.
    pub async fn done(&self, call: &Call) -> Result<Answer<()>> {
        self.send(call, |_| Ok(())).await
    }

    /// Makes a call that is answered with server-sent events. What happens before the first byte is retried.
    pub async fn events(&self, call: &Call) -> Result<Answer<Events>> {
        let answer = self.persist(call, &Opened).await?;
        let (response, name, permit) = answer.value;
        // Models may think for a while before the first word.
        let idle = self.inner.http.settings.read_timeout.max(Duration::from_mins(2));
        Ok(Answer {
            value: Events::new(response, name, idle, call.cap, self.inner.secrets.clone(), permit),
            requests: answer.requests,
            unknown: answer.unknown,
        })
    }

    /// The loop around the attempts of one call.
    async fn persist<W: Work>(&self, call: &Call, work: &W) -> Result<Answer<W::Output>> {
        let inner = &*self.inner;
        let settings = &inner.http.settings;
        let deadline = Instant::now() + settings.deadline;
        let url = inner
            .url(call)
            .map_err(|error| error.with_attempts(Attempts::default()))?;
        let mut attempt = 1;
        let mut made = Attempts::default();
        loop {
            let failure = match inner.attempt(call, &url, deadline, work).await {
                Ok(value) => {
                    inner.gates.earn();
                    return Ok(Answer {
                        value,
                        requests: made.requests + 1,
                        unknown: made.unknown,
                    });
                }
                Err(failure) => failure,
            };
            made.requests += u32::from(failure.left);
            made.unknown += u32::from(may_be_billed(call.replay, failure.reached));
            let error = failure.error;
            let wait = may_repeat(call.replay, failure.reached, failure.advice, made.unknown)
                .then(|| {
                    let jitter = fastrand::f64();
                    match failure.advice {
                        Some(true) => settings.retry.wait(attempt, error.retry_after(), jitter),
                        _ => settings.retry.wait_after(attempt, &error, jitter),
                    }
                })
                .flatten()
                .filter(|wait| Instant::now() + *wait < deadline)
                .filter(|_| inner.gates.spend());
            let Some(wait) = wait else {
                let error = if attempt > 1 {
                    error.with_context("attempts", attempt)
                } else {
                    error
                };
                return Err(error.with_attempts(made).into_persistent());
            };
            tracing::debug!(
                vendor = inner.vendor,
                attempt,
                wait_ms = wait.as_millis() as u64,
                error = %error,
                "trying again"
            );
            tokio::time::sleep(wait).await;
            attempt += 1;
        }
    }
}

/// Whether the service may have carried out, and billed, an attempt that failed. That a call may be repeated freely
/// does not make it free: texts that are embedded are paid each time.
fn may_be_billed(replay: Replay, reached: Reached) -> bool {
    match (replay, reached) {
        (_, Reached::No) => false,
        (_, Reached::Unknown) => true,
        // Something may stand behind even an answer that says it failed; these say that nothing was begun.
        (Replay::Creates, Reached::Declined(status)) => status >= 500 && !matches!(status, 501 | 503 | 505),
        // A gateway that gave up does not know what the service behind it did.
        (_, Reached::Declined(status)) => matches!(status, 502 | 504),
    }
}

/// Whether the rules of `replay` allow another attempt; whether the failure is worth one is the schedule's question.
fn may_repeat(replay: Replay, reached: Reached, advice: Option<bool>, unknown: u32) -> bool {
    // The request is wrong, whatever the service advises.
    let hopeless = matches!(reached, Reached::Declined(400 | 401 | 403 | 404 | 413 | 422));
    if advice == Some(false) || hopeless {
        return false;
    }
    match (replay, reached) {
        (_, Reached::No)
        | (Replay::Free, _)
        | (Replay::Billed, Reached::Declined(400..=501 | 503 | 505..)) => true,
        (Replay::Billed, Reached::Unknown | Reached::Declined(_)) => unknown <= 1,
        (Replay::Creates, Reached::Declined(status)) => matches!(status, 429 | 503),
        (Replay::Creates, Reached::Unknown) => false,
    }
}

/// One attempt, past the gates.
struct Attempt<'a> {
    inner: &'a Inner,
    url: &'a Url,
    /// Held as long as the service is at work on the call.
    permit: OwnedSemaphorePermit,
}

/// What is done in an attempt. A trait rather than a closure, because the futures must be `Send`.
trait Work: Sync {
    type Output: Send;

    fn run(
        &self,
        attempt: Attempt<'_>,
        call: &Call,
    ) -> impl Future<Output = Result<Self::Output, Failure>> + Send;
}

/// Reads the answer to its end and parses it.
struct Parsed<F>(F);

impl<T: Send, F: Fn(&Reply) -> Result<T> + Sync> Work for Parsed<F> {
    type Output = T;

    async fn run(&self, attempt: Attempt<'_>, call: &Call) -> Result<T, Failure> {
        let reply = attempt.reply(call).await?;
        (self.0)(&reply).map_err(|error| Failure {
            error,
            reached: Reached::Unknown,
            advice: None,
            left: true,
        })
    }
}

/// Hands out the answer once its status is known to be good, and the permit with it: the service is still writing.
struct Opened;

impl Work for Opened {
    type Output = (Response, String, OwnedSemaphorePermit);

    async fn run(&self, attempt: Attempt<'_>, call: &Call) -> Result<Self::Output, Failure> {
        let (response, name) = attempt.open(call).await?;
        Ok((response, name, attempt.permit))
    }
}

impl Inner {
    fn url(&self, call: &Call) -> Result<Url> {
        let text = if call.path.starts_with("http://") || call.path.starts_with("https://") {
            call.path.clone()
        } else {
            format!(
                "{}/{}",
                self.base.as_str().trim_end_matches('/'),
                call.path.trim_start_matches('/')
            )
        };
        let mut url = Url::parse(&text)
            .ok()
            .filter(|url| url.origin() == self.base.origin())
            .ok_or_else(|| Error::protocol(format!("{} names an address on another server", self.vendor)))?;
        if !call.query.is_empty() {
            url.query_pairs_mut().extend_pairs(&call.query);
        }
        Ok(url)
    }

    async fn attempt<W: Work>(
        &self,
        call: &Call,
        url: &Url,
        deadline: Instant,
        work: &W,
    ) -> Result<W::Output, Failure> {
        // The breaker is asked twice: it may open while this call queues for its permit.
        let (permit, passage) = loop {
            self.until_closed(deadline).await?;
            let permit = self.gates.pass(deadline).await.map_err(Failure::before)?;
            if let Ok(passage) = self.gates.breaker.enter() {
                break (permit, passage);
            }
        };
        let usual = self.http.settings.attempt_timeout + call.extra;
        let timeout = call.timeout.unwrap_or(usual);
        let attempt = Attempt {
            inner: self,
            url,
            permit,
        };
        let outcome = timeout_at(deadline.min(Instant::now() + timeout), work.run(attempt, call))
            .await
            .unwrap_or_else(|_| {
                Err(Failure {
                    error: Error::timeout(format!("{} does not answer in time", redact(url)))
                        .with_context("limit", format!("{:.0} s", timeout.as_secs_f64())),
                    reached: Reached::Unknown,
                    advice: None,
                    left: true,
                })
            });
        match &outcome {
            Err(failure) if is_sick(failure) => passage.sick(),
            _ => passage.alive(),
        }
        if let Err(failure) = &outcome
            && failure.error.kind() == ErrorKind::RateLimited
            && let Some(wait) = failure.error.retry_after()
        {
            self.gates
                .hold(wait.min(self.http.settings.retry.max_retry_after));
        }
        outcome
    }

    /// Waits until the breaker lets somebody through, as far as patience and deadline go.
    async fn until_closed(&self, deadline: Instant) -> Result<(), Failure> {
        loop {
            let Some(wait) = self.gates.breaker.peek() else {
                return Ok(());
            };
            if !self.http.settings.patient || Instant::now() + wait > deadline {
                return Err(Failure::before(
                    Error::unavailable(format!(
                        "{} failed several times in a row and is left alone for now",
                        redact(&self.base)
                    ))
                    .with_retry_after(wait),
                ));
            }
            tokio::time::sleep(wait).await;
        }
    }
}

/// Whether a failure speaks of the service's health: 4xx answers come from a healthy one.
fn is_sick(failure: &Failure) -> bool {
    match failure.reached {
        Reached::Declined(status) => status >= 500,
        Reached::No | Reached::Unknown => failure.left,
    }
}

impl Attempt<'_> {
    /// Sends the call and returns the answer once its status says success.
    async fn open(&self, call: &Call) -> Result<(Response, String), Failure> {
        let inner = self.inner;
        let name = redact(self.url);
        let mut request = inner
            .http
            .client
            .request(call.method.clone(), self.url.clone())
            .headers(inner.headers.clone());
        for (key, value) in &call.headers {
            request = request.header(*key, value);
        }
        request = match &call.payload {
            Payload::Empty => request,
            Payload::Json(body) => request
                .header(CONTENT_TYPE, "application/json")
                .body(body.clone()),
            Payload::Bytes(kind, body) => request.header(CONTENT_TYPE, kind).body(body.clone()),
            Payload::Form(fields) => request.multipart(form(fields).map_err(Failure::before)?),
        };
        let response = request.send().await.map_err(|error| {
            // Whatever failed before the connection stood never reached the service.
            let reached = if error.is_connect() {
                Reached::No
            } else {
                Reached::Unknown
            };
            Failure {
                error: transport_error(&name, error),
                reached,
                advice: None,
                left: true,
            }
        })?;
        if response.status().is_success() {
            return Ok((response, name));
        }
        let status = response.status().as_u16();
        let Declined { error, advice } =
            decline(&name, response, inner.refine, |text| inner.secrets.scrub(text)).await;
        let error = match (error.kind(), error.hint(), &inner.hint) {
            (ErrorKind::Auth, None, Some(hint)) => error.with_hint(hint.as_str()),
            _ => error,
        };
        Err(Failure {
            error,
            reached: Reached::Declined(status),
            advice,
            left: true,
        })
    }

    /// Sends the call and reads the answer to its end.
    async fn reply(&self, call: &Call) -> Result<Reply, Failure> {
        let (mut response, name) = self.open(call).await?;
        let head = Head::of(&response);
        let unknown = |error: Error| Failure {
            error,
            reached: Reached::Unknown,
            advice: None,
            left: true,
        };
        let mut body = BytesMut::new();
        loop {
            let chunk = response
                .chunk()
                .await
                .map_err(|error| unknown(transport_error(&name, error)))?;
            let Some(chunk) = chunk else { break };
            if body.len() + chunk.len() > call.cap {
                let error = Error::protocol(format!("{name} answers with more than {} bytes", call.cap));
                return Err(Failure {
                    advice: Some(false),
                    ..unknown(error)
                });
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Reply {
            head,
            // A success may hold an error that quotes the request.
            body: self.inner.secrets.scrub_body(body.freeze()),
            name,
        })
    }
}

fn form(fields: &[Field]) -> Result<reqwest::multipart::Form> {
    let mut form = reqwest::multipart::Form::new();
    for field in fields {
        form = match field {
            Field::Text(name, value) => form.text(*name, value.clone()),
            Field::File(name, file, kind, bytes) => {
                let length = bytes.len() as u64;
                let part = reqwest::multipart::Part::stream_with_length(bytes.clone(), length)
                    .file_name(*file)
                    .mime_str(kind)
                    .map_err(|_| Error::internal(format!("'{kind}' is no content type")))?;
                form.part(*name, part)
            }
        };
    }
    Ok(form)
}

#[cfg(test)]
mod tests;
