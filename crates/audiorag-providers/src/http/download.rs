//! Downloads: GET and HEAD with redirects, ranges and a bearer token, as model hubs and audio hosts want them.

use super::status::check;
use super::transport::{redact, transport_error};
use super::{HttpClient, with_retries};
use audiorag_core::{Error, ErrorKind, Result, Secret};
use bytes::Bytes;
use reqwest::header::{AUTHORIZATION, CONTENT_LENGTH, HeaderMap, HeaderValue, LOCATION, RANGE};
use reqwest::{Method, Response, StatusCode, Url};

/// Hops after which a chain of redirects is a loop.
const MAX_REDIRECTS: usize = 5;

/// A GET (or HEAD) request.
#[derive(Clone, Debug)]
pub struct Get {
    url: Url,
    bearer: Option<Secret>,
    from: u64,
}

impl Get {
    /// A request for `url`.
    ///
    /// # Errors
    /// [`Config`](ErrorKind::Config) when it is not an HTTP or HTTPS URL.
    pub fn new(url: &str) -> Result<Self> {
        let parsed = Url::parse(url)
            .ok()
            .filter(|url| matches!(url.scheme(), "http" | "https"));
        match parsed {
            Some(url) if url.has_host() => Ok(Self {
                url,
                bearer: None,
                from: 0,
            }),
            // Not quoted: a malformed URL may hold credentials anywhere.
            _ => Err(Error::config(
                "a URL does not start with http:// or https:// and a host",
            )),
        }
    }

    /// Authenticates with a bearer token, which is sent to the URL's own origin only.
    pub fn with_bearer(mut self, token: Option<&Secret>) -> Self {
        self.bearer = token.filter(|token| !token.is_empty()).cloned();
        self
    }

    /// Asks for the bytes from `from` on.
    pub fn with_range_from(mut self, from: u64) -> Self {
        self.from = from;
        self
    }

    /// The URL without credentials and query.
    pub fn display_url(&self) -> String {
        redact(&self.url)
    }
}

/// Status and headers of an answer.
#[derive(Clone, Debug)]
pub struct Head {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
}

impl Head {
    /// Status and headers of `response`.
    pub(super) fn of(response: &Response) -> Self {
        Self {
            status: response.status(),
            headers: response.headers().clone(),
        }
    }

    /// The status code.
    pub fn status(&self) -> u16 {
        self.status.as_u16()
    }

    /// The value of a header, where it is there and is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .map(str::trim)
    }
}

/// An answer whose bytes are still arriving.
#[derive(Debug)]
pub struct Body {
    head: Head,
    response: Response,
    name: String,
}

impl Body {
    /// Status and headers.
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// The announced number of bytes.
    pub fn length(&self) -> Option<u64> {
        self.head
            .header(CONTENT_LENGTH.as_str())
            .and_then(|length| length.parse().ok())
    }

    /// Where the bytes start: above zero only when the server honoured the range.
    ///
    /// # Errors
    /// [`Protocol`](ErrorKind::Protocol) for a partial answer that does not say where it starts.
    pub fn start(&self) -> Result<u64> {
        if self.head.status != StatusCode::PARTIAL_CONTENT {
            return Ok(0);
        }
        self.head
            .header("content-range")
            .and_then(|range| {
                range
                    .strip_prefix("bytes ")?
                    .split('-')
                    .next()?
                    .trim()
                    .parse()
                    .ok()
            })
            .ok_or_else(|| Error::protocol(format!("{} answers with a part it does not name", self.name)))
    }

    /// The next bytes, or `None` at the end.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>> {
        self.response
            .chunk()
            .await
            .map_err(|error| transport_error(&self.name, error))
    }

    /// All bytes, at most `cap` of them.
    pub async fn bytes(mut self, cap: usize) -> Result<Vec<u8>> {
        let too_long = |name: &str| Error::protocol(format!("{name} answers with more than {cap} bytes"));
        if self.length().is_some_and(|length| length > cap as u64) {
            return Err(too_long(&self.name));
        }
        let mut all = Vec::new();
        while let Some(bytes) = self.chunk().await? {
            if all.len() + bytes.len() > cap {
                return Err(too_long(&self.name));
            }
            all.extend_from_slice(&bytes);
        }
        Ok(all)
    }
}

impl HttpClient {
    /// Headers of a HEAD request. A redirect is an answer; only one that stays on the origin and for which
    /// `is_final` says no is followed.
    pub async fn head(&self, request: &Get, is_final: impl Fn(&Head) -> bool) -> Result<Head> {
        with_retries(&self.settings.retry, fastrand::f64, async || {
            let mut url = request.url.clone();
            for _ in 0..=MAX_REDIRECTS {
                let response = self.send(Method::HEAD, &url, request).await?;
                let head = Head::of(&response);
                if head.status.is_redirection() {
                    let next = redirect_target(&url, &head)?;
                    if is_final(&head) || next.origin() != request.url.origin() {
                        return Ok(head);
                    }
                    url = next;
                    continue;
                }
                check(&redact(&url), response).await?;
                return Ok(head);
            }
            Err(too_many_redirects(request))
        })
        .await
    }

    /// Starts an answer, following redirects. Only what happens before the first byte is retried.
    pub async fn stream(&self, request: &Get) -> Result<Body> {
        with_retries(&self.settings.retry, fastrand::f64, async || {
            let mut url = request.url.clone();
            for _ in 0..=MAX_REDIRECTS {
                let response = self.send(Method::GET, &url, request).await?;
                let head = Head::of(&response);
                if head.status.is_redirection() {
                    let next = redirect_target(&url, &head)?;
                    if url.scheme() == "https" && next.scheme() != "https" {
                        return Err(Error::protocol(format!(
                            "{} redirects to plain HTTP",
                            redact(&url)
                        )));
                    }
                    url = next;
                    continue;
                }
                let name = redact(&url);
                let response = check(&name, response).await?;
                return Ok(Body { head, response, name });
            }
            Err(too_many_redirects(request))
        })
        .await
    }

    /// The whole answer, at most `cap` bytes, retried as a whole.
    pub async fn bytes(&self, request: &Get, cap: usize) -> Result<Vec<u8>> {
        let once = self.without_retries();
        with_retries(&self.settings.retry, fastrand::f64, async || {
            match once.stream(request).await {
                Ok(body) => body.bytes(cap).await,
                Err(error) => Err(error),
            }
        })
        .await
    }

    /// The whole answer as JSON, at most `cap` bytes.
    pub async fn json(&self, request: &Get, cap: usize) -> Result<serde_json::Value> {
        let bytes = self.bytes(request, cap).await?;
        serde_json::from_slice(&bytes).map_err(|error| {
            Error::protocol(format!("{} does not answer with JSON", request.display_url())).with_cause(error)
        })
    }

    async fn send(&self, method: Method, url: &Url, request: &Get) -> Result<Response> {
        if let (Some(reason), "https") = (&self.without_tls, url.scheme()) {
            return Err(Error::config(format!(
                "{} needs TLS, which is not possible here: {reason}",
                redact(url)
            ))
            .with_hint("install the system's root certificates (package ca-certificates)"));
        }
        let mut builder = self.downloads.request(method, url.clone());
        if let Some(token) = &request.bearer
            && url.origin() == request.url.origin()
        {
            let mut value = HeaderValue::from_str(&format!("Bearer {}", token.expose()))
                .map_err(|_| Error::new(ErrorKind::Auth, "the token holds characters no header can carry"))?;
            value.set_sensitive(true);
            builder = builder.header(AUTHORIZATION, value);
        }
        if request.from > 0 {
            builder = builder.header(RANGE, format!("bytes={}-", request.from));
        }
        builder
            .send()
            .await
            .map_err(|error| transport_error(&redact(url), error))
    }
}

fn redirect_target(url: &Url, head: &Head) -> Result<Url> {
    head.header(LOCATION.as_str())
        .and_then(|location| url.join(location).ok())
        .filter(|next| matches!(next.scheme(), "http" | "https"))
        .ok_or_else(|| Error::protocol(format!("{} redirects to nowhere", redact(url))))
}

fn too_many_redirects(request: &Get) -> Error {
    // Persistent, because the next attempt runs in the same circle.
    Error::protocol(format!("{} redirects in circles", request.display_url())).into_persistent()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_shown_without_credentials_and_signatures() {
        let request = Get::new("https://user:canary@host:8443/a/b?sig=canary#canary").unwrap();
        assert_eq!(request.display_url(), "https://host:8443/a/b");
        for bad in ["ftp://host/x", "canary", "http://", "file:///etc/passwd"] {
            let error = Get::new(bad).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config);
            assert!(!error.message().contains("canary"));
        }
        let token = Secret::new("canary");
        let request = Get::new("https://host/").unwrap().with_bearer(Some(&token));
        assert!(!format!("{request:?}").contains("canary"));
    }
}
