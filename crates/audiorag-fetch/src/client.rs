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
        with_cryptography();
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
        let mut without_tls = None;
        let mut finish = |gzip: bool| {
            let build = |builder: reqwest::ClientBuilder| builder.gzip(gzip).build();
            if without_tls.is_none() {
                match build(builder()) {
                    Ok(client) => return Ok(client),
                    Err(error) => without_tls = Some(Error::internal("TLS").with_cause(error).report()),
                }
            }
            // A machine without root certificates can still fetch over plain HTTP.
            build(builder().tls_certs_only([])).map_err(|error| {
                Error::internal("the HTTP client cannot be built").with_cause(error.without_url())
            })
        };
        let stored = finish(false)?;
        let decoded = finish(true)?;
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

/// A client for endpoints that the configuration names, which may stand anywhere.
#[cfg(feature = "s3")]
pub(crate) fn for_endpoints(policy: &WebPolicy) -> Result<reqwest::Client> {
    with_cryptography();
    let builder = || {
        reqwest::Client::builder()
            .user_agent(policy.user_agent.clone())
            .connect_timeout(policy.connect_timeout)
            .read_timeout(policy.idle_timeout)
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .no_gzip()
    };
    // As for the web: without root certificates, an endpoint over plain HTTP still works.
    builder()
        .build()
        .or_else(|_| builder().tls_certs_only([]).build())
        .map_err(|error| Error::internal("the HTTP client cannot be built").with_cause(error.without_url()))
}

/// Makes sure that there is a provider of cryptography for reqwest to take. One that is installed already serves as
/// well.
fn with_cryptography() {
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        let _ = rustls::crypto::ring::default_provider().install_default();
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resolver::Addresses;
    use audiorag_core::ErrorKind;
    use audiorag_core::retry::RetryPolicy;
    use audiorag_testkit::http::{Reply, Server};
    use std::sync::atomic::{AtomicUsize, Ordering};
    use tokio_util::sync::CancellationToken;

    /// Answers with one list after the other, and with the last for ever.
    struct Script {
        answers: Vec<&'static [&'static str]>,
        asked: AtomicUsize,
    }

    impl Script {
        fn new(answers: &[&'static [&'static str]]) -> Arc<Self> {
            Arc::new(Self {
                answers: answers.to_vec(),
                asked: AtomicUsize::new(0),
            })
        }
    }

    impl Lookup for Script {
        fn lookup<'a>(&'a self, _: &'a str) -> Addresses<'a> {
            let number = self
                .asked
                .fetch_add(1, Ordering::SeqCst)
                .min(self.answers.len() - 1);
            let found = self.answers[number]
                .iter()
                .map(|address| address.parse().unwrap())
                .collect();
            Box::pin(async move { Ok(found) })
        }
    }

    /// A client to which 127.0.0.1 stands for the public internet, and every other inner address is what it is.
    fn client(lookup: &Arc<Script>) -> WebClient {
        let policy = WebPolicy {
            allow_private: vec!["127.0.0.1".parse().unwrap()],
            retry: RetryPolicy {
                max_attempts: 1,
                ..RetryPolicy::default()
            },
            ..WebPolicy::default()
        };
        WebClient::with_lookup(policy, Arc::<Script>::clone(lookup)).unwrap()
    }

    fn url(server: &Server) -> String {
        format!("http://name.test:{}/?token=canary", server.address().port())
    }

    /// Table: judged | a name that is public first and private then (rebinding) | what was judged is what is
    /// connected to
    #[tokio::test]
    async fn a_name_that_is_public_first_and_private_then_is_refused_then() {
        let server = Server::answering(|_, _| {
            Reply::status(200)
                .with_header("connection", "close")
                .with_body("<p>")
        })
        .await;
        let lookup = Script::new(&[&["127.0.0.1"], &["127.0.0.2"]]);
        let client = client(&lookup);
        let cancel = CancellationToken::new();
        client.peek(&url(&server), &cancel).await.unwrap();
        // The address that was judged is the one that was connected to: nobody asked again in between.
        assert_eq!(lookup.asked.load(Ordering::SeqCst), 1);
        let error = client.peek(&url(&server), &cancel).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Input, "{}", error.report());
        assert!(
            error
                .message()
                .contains("name.test is at 127.0.0.2, which is this machine"),
            "{error}"
        );
        assert!(error.hint().unwrap().contains("private hosts"));
        assert!(!error.report().contains("canary"));
        assert_eq!(server.requests().len(), 1);
    }

    /// Table: judged | a name at an inner address | refused; of several addresses only the public ones are used
    #[tokio::test]
    async fn of_several_addresses_only_the_good_ones_are_used() {
        let server = Server::answering(|_, _| Reply::status(200).with_body("<p>")).await;
        let cancel = CancellationToken::new();
        let mixed = Script::new(&[&["127.0.0.2", "10.0.0.1", "::1", "127.0.0.1", "169.254.169.254"]]);
        client(&mixed).peek(&url(&server), &cancel).await.unwrap();
        for bad in [
            &["10.0.0.1", "192.168.0.1"] as &[&str],
            &["::1"],
            &["::ffff:127.0.0.2"],
            &["fd00::1"],
            &["64:ff9b::a00:1"],
            &["169.254.169.254"],
            &["0.0.0.0"],
        ] {
            let error = client(&Script::new(&[bad]))
                .peek(&url(&server), &cancel)
                .await
                .unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Input, "{bad:?}");
            let error = client(&Script::new(&[bad]))
                .vouch(&url(&server))
                .await
                .unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Input, "{bad:?}");
        }
        assert_eq!(server.requests().len(), 1);
        let nowhere = Script::new(&[&[]]);
        let error = client(&nowhere).peek(&url(&server), &cancel).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
    }

    /// Table: judged | a redirect inside, to another scheme, to a name inside
    #[tokio::test]
    async fn a_redirect_to_a_name_is_judged_like_any_other() {
        let server =
            Server::answering(|_, _| Reply::status(302).with_header("location", "http://other.test/")).await;
        let lookup = Script::new(&[&["127.0.0.1"], &["192.168.1.1"]]);
        let error = client(&lookup)
            .peek(&url(&server), &CancellationToken::new())
            .await
            .unwrap_err();
        assert!(
            error.message().starts_with("other.test is at 192.168.1.1"),
            "{error}"
        );
    }

    /// Table: judged | a name at an inner address
    #[tokio::test]
    async fn the_systems_own_names_for_this_machine_are_refused() {
        let client = WebClient::new(WebPolicy::default()).unwrap();
        let server = Server::answering(|_, _| Reply::status(200).with_body("<p>")).await;
        for name in ["localhost", "LOCALHOST", "localhost."] {
            let url = format!("http://{name}:{}/", server.address().port());
            let error = client.peek(&url, &CancellationToken::new()).await.unwrap_err();
            // A resolver may know nothing by that name, which is as good.
            assert!(
                matches!(error.kind(), ErrorKind::Input | ErrorKind::Unavailable),
                "{}",
                error.report()
            );
        }
        assert!(server.requests().is_empty());
        let open = WebClient::new(WebPolicy {
            allow_private: vec!["localhost".parse().unwrap()],
            ..WebPolicy::default()
        })
        .unwrap();
        // The name is allowed, the address is not.
        assert!(open.vouch(&server.url("/")).await.is_err());
        assert!(open.vouch("http://localhost/").await.is_ok());
    }
}
