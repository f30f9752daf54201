//! The one place where requests leave the process: the only user of reqwest.
//!
//! It owns timeouts, retries, rate limits, the circuit breaker, the translation of a status into an
//! [`ErrorKind`](audiorag_core::ErrorKind), size caps and redaction, so that no vendor file does. Two kinds of
//! caller use it: vendors make [`Call`]s through a [`Service`], and whoever fetches files asks [`HttpClient`] for a
//! [`Get`].
//!
//! The order inside a [`Service`], outermost first, and why:
//!
//! 1. the total deadline, which every wait below counts against;
//! 2. the retry loop: full jitter, or what the server asks for; each retry takes from the service's retry budget;
//! 3. the circuit breaker, before anything scarce is taken, so that a dead service costs nothing;
//! 4. a permit, before the limiter, so that a slot of the rate is used when the request really leaves; a stream of
//!    events keeps it until it is dropped;
//! 5. the rate limiter, inside the retry loop, because retries count against a vendor's limits as well, and the
//!    pause that a 429 imposes on everybody;
//! 6. the timeout of one attempt, around sending, reading and parsing: a truncated body is a failed attempt.
//!
//! TLS is rustls with ring: aws-lc, rustls' default, is a large C build. Certificates are checked against the
//! platform's roots, so that a company's own authority works and nothing goes stale inside the binary; reqwest
//! brings that verifier along in any case.

mod breaker;
mod call;
mod download;
mod events;
mod gates;
mod retry;
mod secrets;
mod service;
mod status;
mod transport;

pub use call::{Answer, Call, Field, Replay, Reply};
pub use download::{Body, Get, Head};
pub use events::{Event, EventReader, Events};
pub use retry::with_retries;
pub use service::{Refinement, Refusal, Service, ServiceBuilder};
pub use status::{kind_of_status, retry_after};
pub use transport::health_of;

use audiorag_core::retry::RetryPolicy;
use audiorag_core::{Error, Result};
use gates::{GateSettings, Gates};
use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How requests are made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpSettings {
    /// The longest wait for a connection.
    pub connect_timeout: Duration,
    /// The longest silence while a download or a stream of events arrives.
    pub read_timeout: Duration,
    /// The longest one attempt of a call may take, unless the call knows better.
    pub attempt_timeout: Duration,
    /// The longest a call may take with all its attempts and waits.
    pub deadline: Duration,
    /// When to try again.
    pub retry: RetryPolicy,
    /// Requests to one service at the same time.
    pub max_in_flight: usize,
    /// Requests to one service in a minute; `None` means as many as come.
    pub requests_per_minute: Option<NonZeroU32>,
    /// Whether a call waits for a service that is down, as far as its deadline allows, or fails at once.
    pub patient: bool,
}

impl Default for HttpSettings {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(10),
            read_timeout: Duration::from_secs(30),
            attempt_timeout: Duration::from_mins(1),
            deadline: Duration::from_mins(10),
            retry: RetryPolicy::default(),
            max_in_flight: 32,
            requests_per_minute: None,
            patient: true,
        }
    }
}

/// Vendor and base URL.
type ServiceName = (String, String);

/// Makes requests. Cheap to clone; connections, limits and breakers are shared between clones.
#[derive(Clone, Debug)]
pub struct HttpClient {
    /// For calls: answers may be compressed, and attempts have timeouts of their own.
    client: reqwest::Client,
    /// For downloads: bytes as they are stored, and no longer a silence than the settings allow.
    downloads: reqwest::Client,
    settings: HttpSettings,
    /// Why HTTPS cannot work here, if it cannot.
    without_tls: Option<String>,
    /// What protects each service, by vendor and base URL.
    gates: Arc<Mutex<HashMap<ServiceName, Arc<Gates>>>>,
}

impl HttpClient {
    /// A client with these settings. Proxies are taken from the usual environment variables.
    pub fn new(settings: &HttpSettings) -> Result<Self> {
        // reqwest takes the process's provider. One that is installed already serves as well.
        if rustls::crypto::CryptoProvider::get_default().is_none() {
            let _ = rustls::crypto::ring::default_provider().install_default();
        }
        let builder = || {
            reqwest::Client::builder()
                .user_agent(concat!("audiorag/", env!("CARGO_PKG_VERSION")))
                .connect_timeout(settings.connect_timeout)
                .redirect(reqwest::redirect::Policy::none())
                .retry(reqwest::retry::never())
        };
        // A machine without root certificates can still talk to servers of its own.
        let without_tls = builder().build().err().map(|error| transport::full_text(&error));
        let finish = |builder: reqwest::ClientBuilder| {
            let builder = match without_tls {
                Some(_) => builder.tls_certs_only([]),
                None => builder,
            };
            builder.build().map_err(|error| {
                Error::internal("the HTTP client cannot be built").with_cause(error.without_url())
            })
        };
        let client = finish(builder())?;
        let downloads = finish(builder().no_gzip().read_timeout(settings.read_timeout))?;
        Ok(Self {
            client,
            downloads,
            settings: settings.clone(),
            without_tls,
            gates: Arc::default(),
        })
    }

    /// The same client for a caller that retries by itself: attempts must not multiply.
    pub fn without_retries(&self) -> Self {
        self.with(|settings| settings.retry.max_attempts = 1)
    }

    /// The same client for somebody who waits for the answer: two attempts at most, `longest` in all, and no
    /// waiting for a service that is down. Limits and breakers are shared.
    pub fn interactive(&self, longest: Duration) -> Self {
        self.with(|settings| {
            settings.retry.max_attempts = settings.retry.max_attempts.min(2);
            settings.retry.max_wait = settings.retry.max_wait.min(Duration::from_secs(2));
            settings.deadline = settings.deadline.min(longest);
            settings.patient = false;
        })
    }

    /// The policy that requests of this client follow.
    pub fn retry(&self) -> &RetryPolicy {
        &self.settings.retry
    }

    /// How requests of this client are made.
    pub fn settings(&self) -> &HttpSettings {
        &self.settings
    }

    fn with(&self, change: impl FnOnce(&mut HttpSettings)) -> Self {
        let mut client = self.clone();
        change(&mut client.settings);
        client
    }

    /// What protects a service: one for all clones and capabilities.
    fn gates(&self, vendor: &str, base: &str) -> Arc<Gates> {
        let mut gates = self.gates.lock().unwrap_or_else(PoisonError::into_inner);
        let shared = gates
            .entry((vendor.to_owned(), base.to_owned()))
            .or_insert_with(|| {
                Arc::new(Gates::new(GateSettings {
                    max_in_flight: self.settings.max_in_flight,
                    requests_per_minute: self.settings.requests_per_minute,
                }))
            });
        Arc::clone(shared)
    }
}
