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
        let io = error.downcast_ref::<std::io::Error>();
        if io.is_some_and(|io| io.kind() == std::io::ErrorKind::ConnectionRefused) {
            return Some((
                "refused",
                "check that the server runs and that the port in its URL is right",
            ));
        }
        // The resolver's error has no public type.
        if error.to_string().starts_with("dns error") {
            return Some(("dns", "check the host name in its URL, and the network"));
        }
        // rustls hands its errors over inside these, sometimes one in another. Their `source` is that of what they
        // hold, and passes it by.
        cause = match io.and_then(std::io::Error::get_ref) {
            Some(inner) => Some(inner),
            None => error.source(),
        };
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

#[cfg(test)]
mod tests {
    use super::super::{HttpClient, HttpSettings};
    use super::*;
    use reqwest::dns::{Name, Resolve, Resolving};
    use std::sync::Arc;
    use tokio::io::AsyncWriteExt as _;

    /// Knows nobody.
    struct NoNames;

    impl Resolve for NoNames {
        fn resolve(&self, _: Name) -> Resolving {
            Box::pin(async { Err("no such host".into()) })
        }
    }

    /// What a GET of `url` fails with, from a client that needs neither root certificates nor a resolver.
    async fn failure(url: &str) -> Error {
        // Installs the provider of cryptography.
        HttpClient::new(&HttpSettings::default()).unwrap();
        let client = reqwest::Client::builder()
            .no_proxy()
            .tls_certs_only([])
            .dns_resolver(Arc::new(NoNames))
            .build()
            .unwrap();
        transport_error("a service", client.get(url).send().await.unwrap_err())
    }

    #[track_caller]
    fn says(error: &Error, cause: &str, hint: &str) {
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert_eq!(
            error.context(),
            [("cause", cause.to_owned())],
            "{}",
            error.report()
        );
        assert!(error.hint().unwrap().contains(hint), "{:?}", error.hint());
        assert!(!error.report().contains("canary"), "{}", error.report());
    }

    #[tokio::test]
    async fn a_name_that_nobody_knows_is_a_matter_of_dns() {
        let error = failure("http://nobody.invalid/?key=canary").await;
        says(&error, "dns", "check the host name");
    }

    #[tokio::test]
    async fn a_server_that_does_not_speak_tls_is_a_matter_of_tls() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let plain = async {
            let (mut connection, _) = listener.accept().await.unwrap();
            connection
                .write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                .await
                .unwrap();
            connection
        };
        let url = format!("https://{address}/?key=canary");
        let (error, _connection) = tokio::join!(failure(&url), plain);
        says(&error, "tls", "root certificates");
    }

    #[tokio::test]
    async fn a_port_where_nobody_listens_is_refused() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        says(
            &failure(&format!("http://{address}/?key=canary")).await,
            "refused",
            "port",
        );
    }
}
