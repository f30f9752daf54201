//! Failures below HTTP, and what they say about the health of a service.

use audiorag_core::capability::Health;
use audiorag_core::{Error, ErrorKind, Result};
use reqwest::Url;
use std::time::Duration;

/// A failure below HTTP, without its URL. Its context `cause` separates DNS, refusal and TLS.
pub(super) fn transport_error(name: &str, error: reqwest::Error) -> Error {
    let kind = if error.is_timeout() {
        ErrorKind::Timeout
    } else if error.is_connect() || error.is_request() || error.is_body() || error.is_decode() {
        ErrorKind::Unavailable
    } else {
        ErrorKind::Protocol
    };
    let what = match kind {
        ErrorKind::Timeout => "does not answer in time",
        _ if error.is_connect() => "cannot be reached",
        _ => "broke off",
    };
    let cause = cause_of(&error);
    let mut failure = Error::new(kind, format!("{name} {what}"));
    if let Some((cause, hint)) = cause.filter(|_| error.is_connect()) {
        failure = failure.with_context("cause", cause).with_hint(hint);
    }
    failure.with_cause(error.without_url())
}

/// Which layer failed, and what to look at.
fn cause_of(error: &reqwest::Error) -> Option<(&'static str, &'static str)> {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if error.downcast_ref::<rustls::Error>().is_some() {
            return Some((
                "tls",
                "check the system's root certificates, its clock, and any proxy in between",
            ));
        }
        if let Some(io) = error.downcast_ref::<std::io::Error>() {
            if io.kind() == std::io::ErrorKind::ConnectionRefused {
                return Some((
                    "refused",
                    "check that the server runs and that the port in its URL is right",
                ));
            }
            // rustls hands its errors over inside one of these.
            if io
                .get_ref()
                .is_some_and(|inner| inner.downcast_ref::<rustls::Error>().is_some())
            {
                return Some((
                    "tls",
                    "check the system's root certificates, its clock, and any proxy in between",
                ));
            }
        }
        // The resolver's error has no public type.
        if error.to_string().starts_with("dns error") {
            return Some(("dns", "check the host name in its URL, and the network"));
        }
        cause = error.source();
    }
    None
}

/// Scheme, host, port and path: credentials and signatures stay out of messages.
pub(super) fn redact(url: &Url) -> String {
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    format!(
        "{}://{}{port}{}",
        url.scheme(),
        url.host_str().unwrap_or_default(),
        url.path()
    )
}

/// An error and everything under it, on one line.
pub(super) fn full_text(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// The outcome of a health check: what was found, or why not and what to do about it.
pub fn health_of(outcome: Result<String>, latency: Duration) -> Health {
    Health::of(outcome, latency)
}
