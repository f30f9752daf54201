//! The client: one GET with its redirects, each hop judged before it is made.

use crate::policy::{WebPolicy, refused};
use crate::resolver::{Failure, FilteringResolver, ForReqwest, Lookup, SystemLookup};
use crate::status::{redact, transport_error};
use audiorag_core::{Error, Result};
use reqwest::header::{ACCEPT, HeaderMap, HeaderValue, LOCATION};
use reqwest::{Response, StatusCode, Url};
use std::fmt;
use std::future::Future;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// Fetches from the web under a [`WebPolicy`]. Cheap to clone; connections are shared between clones.
///
/// It uses no proxy, because a proxy resolves names for us and so decides what is reached, and it sends no
/// credentials and no cookies to anybody.
#[derive(Clone)]
pub struct WebClient {
    inner: Arc<Inner>,
}

struct Inner {
    policy: Arc<WebPolicy>,
    /// For recordings: bytes as they are stored, so that lengths and ranges mean what they say.
    stored: reqwest::Client,
    /// For documents: answers may be compressed.
    decoded: reqwest::Client,
    resolver: Arc<FilteringResolver>,
    /// Why HTTPS cannot work here, if it cannot.
    without_tls: Option<String>,
}

impl fmt::Debug for WebClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebClient")
            .field("policy", &self.inner.policy)
            .finish_non_exhaustive()
    }
}

/// How the bytes of an answer are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    /// As they are stored at the server.
    Stored,
    /// Decompressed.
    Decoded,
}

/// An answer that is no redirect, and where it came from.
pub(crate) struct Arrived {
    pub(crate) response: Response,
    pub(crate) url: Url,
    /// Whether the way there left HTTPS.
    pub(crate) downgraded: bool,
}

impl WebClient {
    /// A client that keeps to `policy`.
    ///
    /// # Errors
    /// [`Config`](audiorag_core::ErrorKind::Config) when the user agent cannot be sent as a header.
    pub fn new(policy: WebPolicy) -> Result<Self> {
        Self::with_lookup(policy, Arc::new(SystemLookup))
    }

    pub(crate) fn with_lookup(policy: WebPolicy, lookup: Arc<dyn Lookup>) -> Result<Self> {
        // reqwest takes the process's provider of cryptography. One that is installed already serves as well.
        if rustls::crypto::CryptoProvider::get_default().is_none() {
            let _ = rustls::crypto::ring::default_provider().install_default();
        }
        let agent = HeaderValue::from_str(&policy.user_agent).map_err(|_| {
            Error::config("the user agent for downloads holds characters that no header can carry")
        })?;
        let policy = Arc::new(policy);
        let resolver = Arc::new(FilteringResolver {
            policy: Arc::clone(&policy),
            lookup,
        });
        let builder = || {
            reqwest::Client::builder()
                .user_agent(agent.clone())
                .connect_timeout(policy.connect_timeout)
                .redirect(reqwest::redirect::Policy::none())
                .retry(reqwest::retry::never())
                .referer(false)
                .no_proxy()
                .dns_resolver(ForReqwest(Arc::clone(&resolver)))
        };
        // A machine without root certificates can still fetch over plain HTTP.
        let without_tls = builder()
            .build()
            .err()
            .map(|error| Error::internal("TLS").with_cause(error).report());
        let finish = |builder: reqwest::ClientBuilder| {
            let builder = match without_tls {
                Some(_) => builder.tls_certs_only([]),
                None => builder,
            };
            builder.build().map_err(|error| {
                Error::internal("the HTTP client cannot be built").with_cause(error.without_url())
            })
        };
        let stored = finish(builder().no_gzip())?;
        let decoded = finish(builder().gzip(true))?;
        Ok(Self {
            inner: Arc::new(Inner {
                policy,
                stored,
                decoded,
                resolver,
                without_tls,
            }),
        })
    }

    /// What the client keeps to.
    pub fn policy(&self) -> &WebPolicy {
        &self.inner.policy
    }

    /// Judges a URL that another program will fetch: its text as [`WebPolicy::check`] does, and the addresses its name
    /// has now.
    ///
    /// Whoever fetches it resolves the name again and follows redirects, which this cannot judge.
    ///
    /// # Errors
    /// [`Input`](audiorag_core::ErrorKind::Input) for a URL that must not be fetched, and
    /// [`Unavailable`](audiorag_core::ErrorKind::Unavailable) when its name does not resolve.
    pub async fn vouch(&self, url: &str) -> Result<Url> {
        let url = self.inner.policy.check(url)?;
        if let Some(url::Host::Domain(name)) = url.host() {
            self.addresses(name, self.inner.policy.connect_timeout).await?;
        }
        Ok(url)
    }

    async fn addresses(&self, name: &str, longest: Duration) -> Result<Vec<IpAddr>> {
        let found = tokio::time::timeout(longest, self.inner.resolver.addresses(name))
            .await
            .map_err(|_| Error::timeout(format!("the name {name} does not resolve in time")))?;
        found.map_err(|failure| match failure {
            Failure::Refused(refusal) => refused(&refusal.to_string()),
            Failure::Unknown(error) => Error::unavailable(format!("the name {name} does not resolve"))
                .with_hint("check the host name and the network")
                .with_cause(error),
        })
    }

    /// Makes a GET request and follows its redirects, judging each hop.
    pub(crate) async fn get(&self, url: &Url, encoding: Encoding, headers: &HeaderMap) -> Result<Arrived> {
        let policy = &self.inner.policy;
        let mut url = url.clone();
        let mut downgraded = false;
        for _ in 0..=policy.max_redirects {
            policy.judge(&url)?;
            let response = self.hop(&url, encoding, headers).await?;
            if !is_redirect(response.status()) {
                return Ok(Arrived {
                    response,
                    url,
                    downgraded,
                });
            }
            let next = target(&url, &response)?;
            // Podcasts pass through chains of counters, some of which never learnt TLS, and end at a public file: the
            // fall from HTTPS is followed and told, because nothing secret travels in either direction.
            if url.scheme() == "https" && next.scheme() == "http" {
                tracing::warn!(from = redact(&url), to = redact(&next), "a redirect leaves HTTPS");
                downgraded = true;
            }
            url = next;
        }
        Err(Error::protocol(format!(
            "{} redirects more than {} times",
            redact(&url),
            policy.max_redirects
        ))
        .with_hint("the address runs in circles: open it in a browser and give the one it ends at")
        // The next attempt would run in the same circle.
        .into_persistent())
    }

    async fn hop(&self, url: &Url, encoding: Encoding, headers: &HeaderMap) -> Result<Response> {
        let inner = &self.inner;
        if let (Some(reason), "https") = (&inner.without_tls, url.scheme()) {
            return Err(Error::config(format!(
                "{} needs TLS, which is not possible here: {reason}",
                redact(url)
            ))
            .with_hint("install the system's root certificates (package ca-certificates)"));
        }
        let client = match encoding {
            Encoding::Stored => &inner.stored,
            Encoding::Decoded => &inner.decoded,
        };
        let mut request = client
            .get(url.clone())
            .header(ACCEPT, "*/*")
            .headers(headers.clone());
        if encoding == Encoding::Stored {
            request = request.header(reqwest::header::ACCEPT_ENCODING, "identity");
        }
        silence(
            url,
            inner.policy.connect_timeout + inner.policy.idle_timeout,
            request.send(),
        )
        .await?
        .map_err(|error| transport_error(url, error))
    }

    /// The next bytes of an answer, or `None` at its end; no longer a silence than the policy allows.
    pub(crate) async fn next_bytes(&self, arrived: &mut Arrived) -> Result<Option<bytes::Bytes>> {
        let Arrived { response, url, .. } = arrived;
        silence(url, self.inner.policy.idle_timeout, response.chunk())
            .await?
            .map_err(|error| transport_error(url, error))
    }
}

/// Waits for `work`, but not longer than `longest`.
async fn silence<T>(url: &Url, longest: Duration, work: impl Future<Output = T>) -> Result<T> {
    tokio::time::timeout(longest, work).await.map_err(|_| {
        Error::timeout(format!(
            "{} has been silent for {} s",
            redact(url),
            longest.as_secs()
        ))
    })
}

fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

fn target(url: &Url, response: &Response) -> Result<Url> {
    let location = response.headers().get(LOCATION).map(HeaderValue::as_bytes);
    location
        // Servers send raw UTF-8 here, which browsers accept.
        .and_then(|location| url.join(std::str::from_utf8(location).ok()?.trim()).ok())
        .ok_or_else(|| Error::protocol(format!("{} redirects to nowhere", redact(url))).into_persistent())
}
