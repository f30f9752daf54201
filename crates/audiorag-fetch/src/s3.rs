//! Buckets: S3, and what speaks like it (MinIO, R2, B2, Ceph), through object_store.
//!
//! The endpoint and the keys come from the configuration, so the rules for addresses that strangers name do not apply to
//! it; it may stand on the local network. Limits, partial files and attempts are those of all downloads.

use crate::download::{
    Attempt, Downloaded, Fetched, Outcome, Validators, bounded, in_attempts, too_large_named,
};
use crate::partial::{Note, Partial};
use crate::policy::WebPolicy;
use async_trait::async_trait;
use audiorag_core::id::KeyHasher;
use audiorag_core::{Error, ErrorKind, Result, Secret, Stage};
use futures_util::StreamExt as _;
use http_body_util::BodyExt as _;
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::client::{
    ClientOptions, HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse,
    HttpResponseBody, HttpService,
};
use object_store::path::Path as Key;
use object_store::{GetOptions, GetRange, ObjectMeta, ObjectStore, ObjectStoreExt as _, RetryConfig};
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use tokio_util::sync::CancellationToken;

/// Objects that are listed.
const MOST_OBJECTS: usize = 100_000;

/// Where a bucket is and how to get in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BucketSettings {
    /// The URL of the service; `None` is Amazon's.
    pub endpoint: Option<String>,
    /// The region; `None` is `us-east-1`, which services other than Amazon's accept.
    pub region: Option<String>,
    /// The name of the key. Without it, requests are not signed, as public buckets want it.
    pub access_key_id: Option<String>,
    /// The key.
    pub secret_access_key: Option<Secret>,
    /// The token of a key that was lent.
    pub session_token: Option<Secret>,
}

/// An object, or a folder of objects: `s3://bucket/key`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BucketUrl {
    bucket: String,
    key: String,
}

impl BucketUrl {
    /// Reads `s3://bucket`, `s3://bucket/folder/` or `s3://bucket/key`. A key is taken as it is written, without percent
    /// encoding, as Amazon's own tools do.
    ///
    /// # Errors
    /// [`Input`](ErrorKind::Input) for anything else.
    pub fn parse(url: &str) -> Result<Self> {
        let wrong = || {
            Error::input("this is not the URL of a bucket")
                .with_hint("write s3://bucket/key or s3://bucket/folder/")
        };
        let rest = url.trim().strip_prefix("s3://").ok_or_else(wrong)?;
        let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-_".contains(&byte);
        if !(3..=63).contains(&bucket.len()) || !bucket.bytes().all(plain) || bucket.contains("..") {
            return Err(wrong());
        }
        Ok(Self {
            bucket: bucket.to_owned(),
            key: key.to_owned(),
        })
    }

    /// The name of the bucket.
    pub fn bucket(&self) -> &str {
        &self.bucket
    }

    /// The key, or the folder with its slash; empty for the whole bucket.
    pub fn key(&self) -> &str {
        &self.key
    }

    fn path(&self) -> Result<Key> {
        Key::parse(self.key.trim_end_matches('/')).map_err(|error| {
            Error::input(format!("{self} has a key that cannot be used"))
                .with_hint("keys with empty parts (//), dots alone or control characters are not supported: copy the object to another key")
                .with_cause(error)
        })
    }
}

impl fmt::Display for BucketUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s3://{}/{}", self.bucket, self.key)
    }
}

/// An object of a bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BucketObject {
    /// Where it is.
    pub url: BucketUrl,
    /// Its length.
    pub bytes: u64,
    /// Its entity tag, with which a change is noticed.
    pub etag: Option<String>,
    /// When it was written, in RFC 3339, UTC.
    pub last_modified: Option<String>,
}

/// Reads buckets. Cheap to clone; connections are shared between clones.
#[derive(Clone)]
pub struct Buckets {
    settings: BucketSettings,
    policy: WebPolicy,
    client: reqwest::Client,
}

impl fmt::Debug for Buckets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Buckets")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

impl Buckets {
    /// Buckets of the service that `settings` name. Of `policy`, limits, times and attempts count.
    ///
    /// # Errors
    /// [`Config`](ErrorKind::Config) for an endpoint that is no HTTP URL, or half a key.
    pub fn new(settings: BucketSettings, policy: WebPolicy) -> Result<Self> {
        if let Some(endpoint) = &settings.endpoint {
            let sound = url::Url::parse(endpoint).is_ok_and(|url| {
                matches!(url.scheme(), "http" | "https") && url.has_host() && url.username().is_empty()
            });
            if !sound {
                return Err(Error::config(
                    "the endpoint for buckets is not a URL that starts with https:// or http://",
                ));
            }
        }
        if settings.access_key_id.is_some() != settings.secret_access_key.is_some() {
            return Err(
                Error::config("of the key for buckets, the name and the secret belong together").with_hint(
                    "set both the access key id and the secret access key, or neither for public buckets",
                ),
            );
        }
        let client = crate::client::for_endpoints(&policy)?;
        Ok(Self {
            settings,
            policy,
            client,
        })
    }

    /// The objects in a folder or a bucket, in the order of their keys; or the one object, if `url` names one. Empty
    /// objects, which stand for folders in some tools, are left out.
    ///
    /// # Errors
    /// [`Auth`](ErrorKind::Auth) when the service does not let us in, [`NotFound`](ErrorKind::NotFound) when there is no
    /// such bucket or nothing under that name, [`Unavailable`](ErrorKind::Unavailable), and
    /// [`Cancelled`](ErrorKind::Cancelled).
    pub async fn list(&self, url: &BucketUrl, cancel: &CancellationToken) -> Result<Vec<BucketObject>> {
        let work = async {
            let mut attempt = 1;
            loop {
                let error = match self.list_once(url).await {
                    Ok(objects) => return Ok(objects),
                    Err(error) => error,
                };
                let Some(wait) = self.policy.retry.wait_after(attempt, &error, fastrand::f64()) else {
                    return Err(error);
                };
                tokio::time::sleep(wait).await;
                attempt += 1;
            }
        };
        let outcome = tokio::select! {
            outcome = Box::pin(work) => outcome,
            () = cancel.cancelled() => Err(Error::cancelled("the listing was stopped")),
        };
        outcome.map_err(|error: Error| error.with_stage(Stage::Discover))
    }

    async fn list_once(&self, url: &BucketUrl) -> Result<Vec<BucketObject>> {
        let answered = Arc::default();
        let store = self.store(url, &answered)?;
        let path = url.path()?;
        let is_folder = url.key.is_empty() || url.key.ends_with('/');
        if !is_folder && let Ok(found) = store.head(&path).await {
            return Ok(vec![described(url, found)]);
        }
        let mut listing = store.list((!url.key.is_empty()).then_some(&path));
        let mut objects = Vec::new();
        while let Some(found) = listing.next().await {
            let found = found.map_err(|error| match answered.load(Ordering::Relaxed) {
                // Of the whole bucket: the key is wrong for everything that is asked of it.
                401 | 403 => denied(url, ErrorKind::Auth),
                404 => nothing(url),
                _ => explain(url, error),
            })?;
            if found.size > 0 {
                objects.push(described(url, found));
            }
            if objects.len() > MOST_OBJECTS {
                return Err(
                    Error::input(format!("{url} holds more than {MOST_OBJECTS} objects"))
                        .with_hint("name a folder of the bucket"),
                );
            }
        }
        if objects.is_empty() && !is_folder {
            return Err(nothing(url));
        }
        objects.sort_by(|a, b| a.url.key.cmp(&b.url.key));
        Ok(objects)
    }

    /// Fetches an object into the file `into`, as [`WebClient::download`](crate::WebClient::download) does.
    ///
    /// # Errors
    /// As there.
    pub async fn download(
        &self,
        url: &BucketUrl,
        into: &Path,
        validators: Option<&Validators>,
        progress: &(dyn Fn(u64, Option<u64>) + Send + Sync),
        cancel: &CancellationToken,
    ) -> Result<Fetched> {
        let work = async {
            let store = self.store(url, &Arc::default())?;
            let path = url.path()?;
            let key = KeyHasher::new("audiorag.bucket")
                .optional(self.settings.endpoint.as_deref())
                .text(&url.to_string())
                .finish();
            let mut fetch = Fetch {
                store: &store,
                url,
                path: &path,
                key: &key,
                into,
                validators,
                progress,
                policy: &self.policy,
            };
            in_attempts(&self.policy, into, &key, &mut fetch).await
        };
        bounded(&self.policy, cancel, work).await
    }

    /// The bucket of `url`; `answered` gets the status of the last answer, which failures of listing do not tell.
    fn store(&self, url: &BucketUrl, answered: &Arc<AtomicU16>) -> Result<AmazonS3> {
        let settings = &self.settings;
        let mut builder = AmazonS3Builder::new()
            .with_bucket_name(&url.bucket)
            .with_region(settings.region.as_deref().unwrap_or("us-east-1"))
            .with_http_connector(Requests {
                client: self.client.clone(),
                answered: Arc::clone(answered),
            })
            // Attempts are made here, once.
            .with_retry(RetryConfig {
                max_retries: 0,
                ..RetryConfig::default()
            });
        if let Some(endpoint) = &settings.endpoint {
            builder = builder
                .with_endpoint(endpoint.trim_end_matches('/'))
                .with_allow_http(endpoint.starts_with("http://"));
        }
        builder = match (&settings.access_key_id, &settings.secret_access_key) {
            (Some(id), Some(secret)) => builder
                .with_access_key_id(id)
                .with_secret_access_key(secret.expose()),
            // Not signing also keeps it from asking a cloud's metadata service for keys.
            _ => builder.with_skip_signature(true),
        };
        if let Some(token) = &settings.session_token {
            builder = builder.with_token(token.expose());
        }
        builder.build().map_err(|error| {
            Error::config("the settings for buckets do not fit together")
                .with_hint("check endpoint and region")
                .with_cause(error)
        })
    }
}

/// One download of an object.
struct Fetch<'a> {
    store: &'a AmazonS3,
    url: &'a BucketUrl,
    path: &'a Key,
    key: &'a str,
    into: &'a Path,
    validators: Option<&'a Validators>,
    progress: &'a (dyn Fn(u64, Option<u64>) + Send + Sync),
    policy: &'a WebPolicy,
}

#[async_trait]
impl Attempt for Fetch<'_> {
    async fn attempt(&mut self, partial: &mut Partial) -> Result<Outcome> {
        let offset = partial.length();
        let note = partial.note().filter(|note| note.etag.is_some()).cloned();
        let whole = note.as_ref().is_some_and(|note| note.total == Some(offset));
        let options = match &note {
            Some(note) if whole => GetOptions {
                if_none_match: note.etag.clone(),
                ..GetOptions::default()
            },
            Some(note) => GetOptions {
                if_match: note.etag.clone(),
                range: Some(GetRange::Offset(offset)),
                ..GetOptions::default()
            },
            None => GetOptions {
                if_none_match: self.validators.and_then(|validators| validators.etag.clone()),
                ..GetOptions::default()
            },
        };
        let found = match self.store.get_opts(self.path, options).await {
            Ok(found) => found,
            Err(object_store::Error::NotModified { .. }) if whole => {
                return Ok(Outcome::Complete(self.describe(partial, offset)));
            }
            Err(object_store::Error::NotModified { .. }) => return Ok(Outcome::NotModified),
            Err(object_store::Error::Precondition { .. }) => {
                return Ok(Outcome::Again(Error::protocol(format!(
                    "{} has changed meanwhile",
                    self.url
                ))));
            }
            Err(error) => return Err(explain(self.url, error)),
        };
        let total = found.meta.size;
        let too_large = || too_large_named(&self.url.to_string(), self.policy.max_bytes);
        if total > self.policy.max_bytes {
            return Err(too_large());
        }
        let going_on = note.filter(|_| !whole);
        if let Some(note) = &going_on
            && (found.range.start != offset || note.total != Some(total))
        {
            return Ok(Outcome::Again(Error::protocol(format!(
                "{} answers with another part",
                self.url
            ))));
        }
        let resumed_from = if going_on.is_some() { offset } else { 0 };
        if going_on.is_none() {
            let note = Note {
                url: self.key.to_owned(),
                etag: found.meta.e_tag.clone(),
                last_modified: None,
                total: Some(total),
            };
            partial.begin(note).await?;
        }
        (self.progress)(partial.length(), Some(total));
        let mut stream = found.into_stream();
        loop {
            let next = tokio::time::timeout(self.policy.idle_timeout, stream.next()).await;
            let Some(bytes) = next.map_err(|_| Error::timeout(format!("{} is silent", self.url)))? else {
                break;
            };
            let bytes = bytes.map_err(|error| explain(self.url, error))?;
            if partial.length() + bytes.len() as u64 > self.policy.max_bytes {
                return Err(too_large());
            }
            partial.append(&bytes).await?;
            (self.progress)(partial.length(), Some(total));
        }
        partial.settle().await?;
        match partial.length() {
            0 => Err(Error::input(format!("{} is empty", self.url))),
            length if length < total => Err(Error::unavailable(format!(
                "{} ended after {length} of {total} bytes",
                self.url
            ))),
            length if length > total => Ok(Outcome::Again(Error::protocol(format!(
                "{} sent {length} bytes where it announced {total}",
                self.url
            )))),
            _ => Ok(Outcome::Complete(self.describe(partial, resumed_from))),
        }
    }
}

impl Fetch<'_> {
    fn describe(&self, partial: &Partial, resumed_from: u64) -> Downloaded {
        Downloaded {
            path: self.into.to_owned(),
            bytes: partial.length(),
            resumed_from,
            validators: partial.note().map(Note::validators).unwrap_or_default(),
            final_url: self.url.to_string(),
            downgraded: false,
            content_type: None,
            file_name_hint: self.url.key.rsplit('/').next().and_then(crate::hints::clean),
        }
    }
}

fn described(url: &BucketUrl, found: ObjectMeta) -> BucketObject {
    BucketObject {
        url: BucketUrl {
            bucket: url.bucket.clone(),
            key: found.location.to_string(),
        },
        bytes: found.size,
        etag: found.e_tag,
        last_modified: jiff::Timestamp::from_second(found.last_modified.timestamp())
            .ok()
            .map(|time| time.to_string()),
    }
}

/// What a failure of the service means for one object.
fn explain(url: &BucketUrl, error: object_store::Error) -> Error {
    use object_store::Error as Failure;
    match error {
        Failure::NotFound { .. } => nothing(url),
        // Of one object: that of another may be open.
        Failure::PermissionDenied { .. } | Failure::Unauthenticated { .. } => denied(url, ErrorKind::Input),
        Failure::InvalidPath { source } => Error::input(format!("{url} holds a key that cannot be used"))
            .with_hint("keys with empty parts (//) are not supported: name a folder without them")
            .with_cause(source),
        error => Error::unavailable(format!("the service of {url} fails"))
            .with_hint("check endpoint, region and network")
            .with_cause(error),
    }
}

fn nothing(url: &BucketUrl) -> Error {
    Error::not_found(format!("there is nothing at {url}"))
        .with_hint("check the bucket, the key, the region and the endpoint")
}

fn denied(url: &BucketUrl, kind: ErrorKind) -> Error {
    Error::new(kind, format!("the service does not let us read {url}")).with_hint(
        "check the access key, its secret, and what it may read; leave both out for a public bucket",
    )
}

/// Makes object_store's requests with the client that is there.
#[derive(Clone, Debug)]
struct Requests {
    client: reqwest::Client,
    answered: Arc<AtomicU16>,
}

impl HttpConnector for Requests {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(self.clone()))
    }
}

#[async_trait::async_trait]
impl HttpService for Requests {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let (parts, body) = request.into_parts();
        let url = reqwest::Url::parse(&parts.uri.to_string())
            .map_err(|error| HttpError::new(HttpErrorKind::Request, error))?;
        let mut request = reqwest::Request::new(parts.method, url);
        *request.headers_mut() = parts.headers;
        // Reading needs no more than what fits into one piece.
        *request.body_mut() = body.as_bytes().cloned().map(reqwest::Body::from);
        let response = self.client.execute(request).await.map_err(failure)?;
        self.answered.store(response.status().as_u16(), Ordering::Relaxed);
        let mut answer = HttpResponse::new(Vec::new().into());
        *answer.status_mut() = response.status();
        *answer.headers_mut() = response.headers().clone();
        let body = reqwest::Body::from(response).map_err(failure);
        *answer.body_mut() = HttpResponseBody::new(body);
        Ok(answer)
    }
}

fn failure(error: reqwest::Error) -> HttpError {
    let kind = match () {
        () if error.is_timeout() => HttpErrorKind::Timeout,
        () if error.is_connect() => HttpErrorKind::Connect,
        () if error.is_decode() => HttpErrorKind::Decode,
        () => HttpErrorKind::Interrupted,
    };
    HttpError::new(kind, error.without_url())
}
