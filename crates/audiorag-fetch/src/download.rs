//! Downloads of recordings: streamed to disk, going on where an earlier attempt or process ended.

use crate::client::{Arrived, Encoding, WebClient};
use crate::hints;
use crate::partial::{Note, Partial};
use crate::policy::WebPolicy;
use crate::status::{redact, status_error};
use async_trait::async_trait;
use audiorag_core::id::KeyHasher;
use audiorag_core::{Error, ErrorKind, Result, Stage};
use reqwest::header::{
    CONTENT_ENCODING, CONTENT_RANGE, ETAG, HeaderMap, HeaderName, HeaderValue, IF_MODIFIED_SINCE,
    IF_NONE_MATCH, IF_RANGE, LAST_MODIFIED, RANGE,
};
use reqwest::{StatusCode, Url};
use std::future::Future;
use std::path::{Path, PathBuf};
use tokio_util::sync::CancellationToken;

/// Attempts after which a download ends, however far each of them gets.
const MOST_ATTEMPTS: u32 = 100;
/// Characters of a validator that are kept; longer ones are not validators.
const LONGEST_VALIDATOR: usize = 1_000;

/// What a server says about the version of a thing, to ask later whether it has changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Validators {
    /// The entity tag, with its quotation marks, as the server wrote it.
    pub etag: Option<String>,
    /// The date of the last change, as the server wrote it.
    pub last_modified: Option<String>,
}

impl Validators {
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let text = |name: HeaderName| {
            let value = headers.get(name)?.to_str().ok()?.trim();
            (!value.is_empty() && value.len() <= LONGEST_VALIDATOR).then(|| value.to_owned())
        };
        Self {
            etag: text(ETAG),
            last_modified: text(LAST_MODIFIED),
        }
    }

    /// Whether there is nothing to ask with.
    pub fn is_empty(&self) -> bool {
        self.etag.is_none() && self.last_modified.is_none()
    }

    /// What may stand in `If-Range`: a weak tag promises the same meaning, not the same bytes.
    fn for_range(&self) -> Option<&str> {
        match self.etag.as_deref() {
            Some(etag) if !etag.starts_with("W/") => Some(etag),
            // A server that has tags, but weak ones, says that it cannot promise bytes by date either.
            Some(_) => None,
            None => self.last_modified.as_deref(),
        }
    }

    /// Headers that ask for an answer only if something has changed.
    pub(crate) fn ask(&self, headers: &mut HeaderMap) {
        insert(headers, IF_NONE_MATCH, self.etag.as_deref());
        insert(headers, IF_MODIFIED_SINCE, self.last_modified.as_deref());
    }
}

fn insert(headers: &mut HeaderMap, name: HeaderName, value: Option<&str>) {
    if let Some(value) = value.and_then(|value| HeaderValue::from_str(value).ok()) {
        headers.insert(name, value);
    }
}

/// How a download ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fetched {
    /// The server says that the version the caller has is the newest. Nothing was written.
    NotModified,
    /// The bytes are in the file.
    Body(Downloaded),
}

/// A file that was downloaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Downloaded {
    /// Where it is.
    pub path: PathBuf,
    /// Its length.
    pub bytes: u64,
    /// Bytes of it that an earlier attempt of another process had fetched.
    pub resumed_from: u64,
    /// What the server says about its version.
    pub validators: Validators,
    /// Where it came from in the end, after redirects.
    pub final_url: String,
    /// Whether a redirect left HTTPS on the way.
    pub downgraded: bool,
    /// What the server says it is, without parameters: a hint only.
    pub content_type: Option<String>,
    /// A name to show, never a path.
    pub file_name_hint: Option<String>,
}

/// What one attempt came to.
pub(crate) enum Outcome {
    NotModified,
    Complete(Downloaded),
    /// What was there is of no use; the next attempt starts at the beginning.
    Again(Error),
}

/// One download with everything that its attempts share.
struct Job<'a> {
    client: &'a WebClient,
    url: Url,
    key: String,
    into: &'a Path,
    validators: Option<&'a Validators>,
    progress: &'a (dyn Fn(u64, Option<u64>) + Send + Sync),
    encoding: Encoding,
}

impl WebClient {
    /// Fetches `url` into the file `into`, which appears there whole or not at all.
    ///
    /// The bytes so far stand beside it (`.part` and `.part.json`, mode 0600) and are kept when the download fails or
    /// is cancelled, so that a later call, in this process or another, goes on from there if the server still has the
    /// same version. With `validators` of an earlier download, an unchanged recording is
    /// [`NotModified`](Fetched::NotModified). `progress` gets the bytes so far and the length of the whole, where the
    /// server gives one.
    ///
    /// # Errors
    /// [`Input`](ErrorKind::Input) for a URL that must not be fetched, a recording over the limit, an empty one, or one
    /// that the server does not give to everybody; [`NotFound`](ErrorKind::NotFound);
    /// [`Unavailable`](ErrorKind::Unavailable), [`Timeout`](ErrorKind::Timeout), [`RateLimited`](ErrorKind::RateLimited)
    /// and [`Protocol`](ErrorKind::Protocol) after the attempts that the policy allows;
    /// [`State`](ErrorKind::State) when the disk is full or must not be written to; [`Cancelled`](ErrorKind::Cancelled).
    pub async fn download(
        &self,
        url: &str,
        into: &Path,
        validators: Option<&Validators>,
        progress: &(dyn Fn(u64, Option<u64>) + Send + Sync),
        cancel: &CancellationToken,
    ) -> Result<Fetched> {
        let work = async {
            let url = self.policy().check(url)?;
            let mut job = Job {
                client: self,
                key: KeyHasher::new("audiorag.download").text(url.as_str()).finish(),
                url,
                into,
                validators,
                progress,
                encoding: Encoding::Stored,
            };
            job.run().await
        };
        bounded(self.policy(), cancel, work).await
    }
}

/// Something that can be attempted again and goes on from what is there.
#[async_trait]
pub(crate) trait Attempt: Send {
    /// One attempt.
    async fn attempt(&mut self, partial: &mut Partial) -> Result<Outcome>;
}

/// Makes attempts at a download to `into` until one succeeds or nothing helps. `key` stands for what is downloaded.
pub(crate) async fn in_attempts(
    policy: &WebPolicy,
    into: &Path,
    key: &str,
    job: &mut dyn Attempt,
) -> Result<Fetched> {
    let mut partial = Partial::open(into, key).await?;
    let resumed_from = if resumable(&partial) { partial.length() } else { 0 };
    let mut farthest = partial.length();
    let (mut in_vain, mut attempts) = (1, 1);
    loop {
        let error = match job.attempt(&mut partial).await {
            Ok(Outcome::NotModified) => {
                partial.discard()?;
                return Ok(Fetched::NotModified);
            }
            Ok(Outcome::Complete(mut downloaded)) => {
                // What an earlier attempt of this download fetched does not count.
                downloaded.resumed_from = resumed_from.min(downloaded.resumed_from);
                partial.finish().await?;
                return Ok(Fetched::Body(downloaded));
            }
            Ok(Outcome::Again(error)) => {
                partial.restart().await?;
                error
            }
            Err(error) => {
                partial.settle().await?;
                error
            }
        };
        if useless(&error) {
            partial.discard()?;
            return Err(error);
        }
        if partial.length() > farthest {
            farthest = partial.length();
            in_vain = 1;
        }
        let wait = policy.retry.wait_after(in_vain, &error, fastrand::f64());
        let Some(wait) = wait.filter(|_| attempts < MOST_ATTEMPTS) else {
            if partial.length() == 0 {
                partial.discard()?;
            }
            if attempts == 1 {
                return Err(error);
            }
            return Err(error.with_context("attempts", attempts).into_persistent());
        };
        tracing::debug!(attempts, wait_ms = wait.as_millis() as u64, error = %error, "downloading again");
        tokio::time::sleep(wait).await;
        in_vain += 1;
        attempts += 1;
    }
}

/// Runs a download until it ends, takes longer than the policy allows, or is cancelled. Dropping the work at any of its
/// waits leaves a partial file that the next download can go on from.
pub(crate) async fn bounded(
    policy: &WebPolicy,
    cancel: &CancellationToken,
    work: impl Future<Output = Result<Fetched>>,
) -> Result<Fetched> {
    let longest = policy.total_timeout;
    let outcome = tokio::select! {
        outcome = tokio::time::timeout(longest, Box::pin(work)) => outcome.unwrap_or_else(|_| {
            Err(Error::timeout(format!("the download took longer than {} s", longest.as_secs()))
                .with_hint("run it again to go on from here, or raise the limit")
                .into_persistent())
        }),
        () = cancel.cancelled() => Err(Error::cancelled("the download was stopped")),
    };
    outcome.map_err(|error| error.with_stage(Stage::Download))
}

/// Whether the server can be asked for the rest of what is there.
fn resumable(partial: &Partial) -> bool {
    partial
        .note()
        .is_some_and(|note| note.validators().for_range().is_some())
}

#[async_trait]
impl Attempt for Job<'_> {
    async fn attempt(&mut self, partial: &mut Partial) -> Result<Outcome> {
        let mut headers = HeaderMap::new();
        let offset = if self.may_resume(partial) {
            partial.length()
        } else {
            0
        };
        let note = partial.note().cloned().filter(|_| offset > 0);
        // All bytes are there, and only the end of the work is missing: ask whether they are still right.
        let whole = note.as_ref().is_some_and(|note| note.total == Some(offset));
        match &note {
            Some(note) if whole => note.validators().ask(&mut headers),
            Some(note) => {
                insert(&mut headers, RANGE, Some(&format!("bytes={offset}-")));
                insert(&mut headers, IF_RANGE, note.validators().for_range());
            }
            None => {
                if let Some(validators) = self.validators {
                    validators.ask(&mut headers);
                }
            }
        }
        let arrived = self.client.get(&self.url, self.encoding, &headers).await?;
        let status = arrived.response.status();
        match status {
            StatusCode::NOT_MODIFIED if whole => {
                Ok(Outcome::Complete(self.describe(&arrived, partial, offset)))
            }
            StatusCode::NOT_MODIFIED if self.validators.is_some() => Ok(Outcome::NotModified),
            StatusCode::PARTIAL_CONTENT => match note {
                Some(note) if !whole => self.go_on(arrived, partial, &note).await,
                _ => Err(Error::protocol(format!(
                    "{} answers with a part of it",
                    redact(&arrived.url)
                ))),
            },
            StatusCode::OK => self.take_anew(arrived, partial).await,
            StatusCode::RANGE_NOT_SATISFIABLE => Ok(Outcome::Again(Error::protocol(format!(
                "{} no longer has the part that is missing",
                redact(&arrived.url)
            )))),
            _ => Err(status_error(
                &arrived.url,
                status,
                arrived.response.headers(),
                jiff::Timestamp::now(),
            )),
        }
    }
}

impl Job<'_> {
    async fn run(&mut self) -> Result<Fetched> {
        let (policy, into, key) = (self.client.policy(), self.into, self.key.clone());
        in_attempts(policy, into, &key, self).await
    }

    fn may_resume(&self, partial: &Partial) -> bool {
        self.encoding == Encoding::Stored && resumable(partial)
    }

    /// Takes the rest of what is there, if that is what the server sends.
    async fn go_on(&self, arrived: Arrived, partial: &mut Partial, note: &Note) -> Result<Outcome> {
        let name = redact(&arrived.url);
        let headers = arrived.response.headers();
        let Some((start, total)) = headers
            .get(CONTENT_RANGE)
            .and_then(|range| content_range(range.to_str().ok()?))
        else {
            return Ok(Outcome::Again(Error::protocol(format!(
                "{name} answers with a part it does not name"
            ))));
        };
        let now = Validators::of(headers);
        let same_tag = now.etag.is_none() || now.etag == note.etag;
        let same_total = total.is_none() || note.total.is_none() || total == note.total;
        if start != partial.length() || !same_tag || !same_total || encoded(headers).is_some() {
            return Ok(Outcome::Again(Error::protocol(format!(
                "{name} answers with another part than the one that is missing"
            ))));
        }
        let total = total.or(note.total);
        self.within_limits(total)?;
        let offset = partial.length();
        self.take(arrived, partial, total, offset).await
    }

    /// Takes the whole, in the place of anything that is there.
    async fn take_anew(&mut self, arrived: Arrived, partial: &mut Partial) -> Result<Outcome> {
        let headers = arrived.response.headers();
        if let Some(coding) = encoded(headers).filter(|_| self.encoding == Encoding::Stored) {
            let error = Error::protocol(format!("{} compresses what should not be", redact(&arrived.url)));
            if !matches!(coding.as_str(), "gzip" | "x-gzip") {
                return Err(error.with_context("coding", coding).into_persistent());
            }
            // Asked for again, by the client that undoes it.
            self.encoding = Encoding::Decoded;
            return Ok(Outcome::Again(error));
        }
        let total = match self.encoding {
            Encoding::Stored => arrived.response.content_length(),
            // The length of the compressed bytes.
            Encoding::Decoded => None,
        };
        self.within_limits(total)?;
        let validators = Validators::of(headers);
        partial
            .begin(Note {
                url: self.key.clone(),
                etag: validators.etag,
                last_modified: validators.last_modified,
                total,
            })
            .await?;
        self.take(arrived, partial, total, 0).await
    }

    async fn take(
        &self,
        mut arrived: Arrived,
        partial: &mut Partial,
        total: Option<u64>,
        offset: u64,
    ) -> Result<Outcome> {
        (self.progress)(partial.length(), total);
        while let Some(bytes) = self.client.next_bytes(&mut arrived).await? {
            self.within_limits(Some(partial.length() + bytes.len() as u64))?;
            partial.append(&bytes).await?;
            (self.progress)(partial.length(), total);
        }
        partial.settle().await?;
        let length = partial.length();
        let name = redact(&arrived.url);
        match total {
            Some(total) if length < total => Err(Error::unavailable(format!(
                "{name} ended after {length} of {total} bytes"
            ))),
            Some(total) if length > total => Ok(Outcome::Again(Error::protocol(format!(
                "{name} sent {length} bytes where it announced {total}"
            )))),
            _ if length == 0 => Err(Error::input(format!("{name} is empty"))),
            _ => Ok(Outcome::Complete(self.describe(&arrived, partial, offset))),
        }
    }

    fn describe(&self, arrived: &Arrived, partial: &Partial, resumed_from: u64) -> Downloaded {
        let headers = arrived.response.headers();
        Downloaded {
            path: self.into.to_owned(),
            bytes: partial.length(),
            resumed_from,
            validators: partial.note().map(Note::validators).unwrap_or_default(),
            final_url: arrived.url.to_string(),
            downgraded: arrived.downgraded,
            content_type: hints::content_type(headers),
            file_name_hint: hints::file_name(headers, &arrived.url),
        }
    }

    fn within_limits(&self, bytes: Option<u64>) -> Result<()> {
        let most = self.client.policy().max_bytes;
        if bytes.is_none_or(|bytes| bytes <= most) {
            return Ok(());
        }
        Err(too_large(&self.url, most))
    }
}

/// The error for more bytes than are taken.
pub(crate) fn too_large(url: &Url, most: u64) -> Error {
    too_large_named(&redact(url), most)
}

/// [`too_large`] for something with another kind of name.
pub(crate) fn too_large_named(name: &str, most: u64) -> Error {
    Error::input(format!("{name} is larger than the limit of {most} bytes"))
        .with_hint("raise the limit on downloads if this is what you want")
}

/// Whether no later attempt can use what is there.
fn useless(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Input | ErrorKind::NotFound)
}

/// The coding of a body, if there is any.
pub(crate) fn encoded(headers: &HeaderMap) -> Option<String> {
    let coding = headers
        .get(CONTENT_ENCODING)?
        .to_str()
        .ok()?
        .trim()
        .to_ascii_lowercase();
    (!coding.is_empty() && coding != "identity").then_some(coding)
}

/// The start and the length of the whole in `bytes 5-9/10`.
fn content_range(value: &str) -> Option<(u64, Option<u64>)> {
    let (range, total) = value.trim().strip_prefix("bytes ")?.split_once('/')?;
    let (start, _) = range.split_once('-')?;
    let total = match total.trim() {
        "*" => None,
        total => Some(total.parse().ok()?),
    };
    Some((start.trim().parse().ok()?, total))
}
