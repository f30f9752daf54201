//! What failures mean when they come from a server that anybody may run.
//!
//! A status that would stop a whole run when a vendor sends it (401, 402, 403) concerns one recording here.

use crate::policy::refused;
use crate::resolver::Refused;
use audiorag_core::{Error, ErrorKind};
use reqwest::header::{HeaderMap, RETRY_AFTER};
use reqwest::{StatusCode, Url};
use std::time::Duration;

/// Scheme, host, port and path: what a query holds (tokens, signatures) stays out of messages.
pub(crate) fn redact(url: &Url) -> String {
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    format!(
        "{}://{}{port}{}",
        url.scheme(),
        url.host_str().unwrap_or_default(),
        url.path()
    )
}

/// A failure below HTTP, without its URL.
pub(crate) fn transport_error(url: &Url, error: reqwest::Error) -> Error {
    let name = redact(url);
    if let Some(refusal) = find::<Refused>(&error) {
        return refused(&refusal.to_string());
    }
    if find::<rustls::Error>(&error).is_some() {
        return Error::unavailable(format!("{name} cannot be reached over TLS"))
            .with_hint("check the address, the system's root certificates and its clock")
            .with_cause(error.without_url());
    }
    if error.is_builder() {
        return Error::input(format!("{name} cannot be asked for")).with_cause(error.without_url());
    }
    if error.is_timeout() {
        return Error::timeout(format!("{name} does not answer in time")).with_cause(error.without_url());
    }
    if error.is_connect() {
        return Error::unavailable(format!("{name} cannot be reached"))
            .with_hint("check the host name and the network; downloads do not go through a proxy")
            .with_cause(error.without_url());
    }
    Error::unavailable(format!("{name} broke off")).with_cause(error.without_url())
}

/// The first error of type `E` among the causes of `error`.
fn find<'a, E: std::error::Error + 'static>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a E> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(found) = error.downcast_ref::<E>() {
            return Some(found);
        }
        // rustls hands its errors over inside those of input and output, whose `source` passes them by.
        let inner = error
            .downcast_ref::<std::io::Error>()
            .and_then(std::io::Error::get_ref);
        cause = match inner {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    None
}

/// The error for a status that is no success.
pub(crate) fn status_error(
    url: &Url,
    status: StatusCode,
    headers: &HeaderMap,
    now: jiff::Timestamp,
) -> Error {
    let (kind, hint) = match status.as_u16() {
        401 | 402 | 403 | 407 | 451 => (
            ErrorKind::Input,
            Some("the server does not give it to everybody: download it yourself and index the file"),
        ),
        404 | 410 => (
            ErrorKind::NotFound,
            Some("check the URL; it may have moved or ended"),
        ),
        408 => (ErrorKind::Timeout, None),
        425 | 429 => (
            ErrorKind::RateLimited,
            Some("the server asks for fewer requests: try again later"),
        ),
        400..=499 => (ErrorKind::Input, None),
        501 | 505 => (ErrorKind::Unsupported, None),
        500..=599 => (
            ErrorKind::Unavailable,
            Some("the server has trouble of its own: try again later"),
        ),
        _ => (ErrorKind::Protocol, None),
    };
    let mut error = Error::new(kind, format!("{} answers {status}", redact(url)));
    if let Some(hint) = hint {
        error = error.with_hint(hint);
    }
    if let Some(wait) = retry_after(headers, now) {
        error = error.with_retry_after(wait);
    }
    error
}

/// How long the server asks to wait, in seconds or as a date; a date that has passed means now.
fn retry_after(headers: &HeaderMap, now: jiff::Timestamp) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = value.parse::<f64>() {
        return Duration::try_from_secs_f64(seconds).ok();
    }
    let date = jiff::fmt::rfc2822::parse(value).ok()?.timestamp();
    Some(Duration::try_from(date.duration_since(now)).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use reqwest::header::HeaderValue;

    fn declined(status: u16, retry: Option<&'static str>) -> Error {
        let mut headers = HeaderMap::new();
        if let Some(retry) = retry {
            headers.insert(RETRY_AFTER, HeaderValue::from_static(retry));
        }
        let url = Url::parse("https://host.example/a.mp3?token=canary").unwrap();
        let now = "1994-11-06T08:49:27Z".parse().unwrap();
        status_error(&url, StatusCode::from_u16(status).unwrap(), &headers, now)
    }

    /// Table: downloads | 401, 403, 404, 410, an empty body
    #[test]
    fn no_status_of_one_server_stops_the_others() {
        for status in 300..600 {
            let error = declined(status, None);
            assert!(!error.stops_batch(), "{status}: {error}");
            assert!(!error.report().contains("canary"), "{error}");
        }
        assert_eq!(declined(403, None).kind(), ErrorKind::Input);
        assert_eq!(declined(410, None).kind(), ErrorKind::NotFound);
        assert!(declined(503, None).is_retryable());
    }

    #[test]
    fn what_the_server_asks_for_is_understood() {
        let wait = |value| declined(429, Some(value)).retry_after();
        assert_eq!(wait("2"), Some(Duration::from_secs(2)));
        assert_eq!(
            wait("Sun, 06 Nov 1994 08:49:37 GMT"),
            Some(Duration::from_secs(10))
        );
        assert_eq!(wait("Sun, 06 Nov 1994 08:49:07 GMT"), Some(Duration::ZERO));
        assert_eq!(wait("-1"), None);
        assert_eq!(wait("soon"), None);
    }
}
