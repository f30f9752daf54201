//! A vendor as the settings would make it, pointed at a stand-in, and what holds for all of them.

#![expect(clippy::expect_used, reason = "failing a test is what this is for")]

use audiorag_core::capability::{Health, HealthStatus};
use audiorag_core::retry::RetryPolicy;
use audiorag_core::{Error, ErrorKind, Result, Secret};
use audiorag_providers::http::{HttpClient, HttpSettings};
use audiorag_providers::vendors::{SettingKind, Vendor, VendorContext, find};
use audiorag_testkit::http::{Reply, Server};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// A key that must never be shown.
pub(crate) const CANARY: &str = "canary-key-0123456789";

/// What a vendor is made from.
pub(crate) struct Setup {
    pub(crate) values: BTreeMap<&'static str, String>,
    pub(crate) secrets: BTreeMap<&'static str, Secret>,
    pub(crate) model: Option<&'static str>,
    pub(crate) dimensions: Option<usize>,
    pub(crate) notes: Option<PathBuf>,
    http: HttpClient,
}

impl Setup {
    /// The vendor's own defaults, with the canary as its key and the server as its address.
    pub(crate) fn new(id: &str, server: &Server) -> Self {
        Self::with(id, server, client())
    }

    fn with(id: &str, server: &Server, http: HttpClient) -> Self {
        let vendor: &Vendor = find(id).expect("the vendor is compiled in");
        let (mut values, mut secrets) = (BTreeMap::new(), BTreeMap::new());
        for setting in vendor.settings {
            match setting.kind {
                SettingKind::Secret => drop(secrets.insert(setting.path, Secret::new(CANARY))),
                SettingKind::Url => drop(values.insert(setting.path, server.url(""))),
                _ => values.extend(setting.default.map(|value| (setting.path, value.to_owned()))),
            }
        }
        Self {
            values,
            secrets,
            model: None,
            dimensions: None,
            notes: None,
            http,
        }
    }

    pub(crate) fn context(&self) -> VendorContext<'_> {
        VendorContext {
            values: &self.values,
            secrets: &self.secrets,
            model: self.model,
            dimensions: self.dimensions,
            notes: self.notes.as_deref(),
            http: &self.http,
        }
    }
}

/// A client that tries again at once, and does not wait for a stand-in that plays dead.
fn client() -> HttpClient {
    let settings = HttpSettings {
        retry: RetryPolicy {
            first_wait: Duration::from_millis(1),
            ..RetryPolicy::default()
        },
        patient: false,
        ..HttpSettings::default()
    };
    HttpClient::new(&settings).expect("a client")
}

/// An error says what it is about, and never the key.
pub(crate) fn checked(error: &Error, kind: ErrorKind) {
    let all = format!(
        "{error:?} {} {}",
        error.report(),
        error.hint().unwrap_or_default()
    );
    assert_eq!(error.kind(), kind, "{all}");
    assert!(!all.contains("canary"), "{all}");
}

/// Each answer that declines leads to its kind of error, however often it comes.
pub(crate) async fn refusals<T>(
    id: &str,
    cases: &[(Reply, ErrorKind)],
    call: impl AsyncFn(&Setup) -> Result<T>,
) {
    // Reading the system's certificates takes longer than all the rest.
    let client = client();
    for (reply, kind) in cases {
        let reply = reply.clone();
        let server = Server::answering(move |_, _| reply.clone()).await;
        let outcome = call(&Setup::with(id, &server, client.clone())).await;
        let error = outcome
            .err()
            .unwrap_or_else(|| unreachable!("{kind} was expected"));
        checked(&error, *kind);
        if *kind == ErrorKind::RateLimited {
            // The answers of that kind ask for a hundredth of a second.
            assert_eq!(error.retry_after(), Some(Duration::from_millis(10)));
        }
    }
}

/// A health check that fails says why, what to do, and not the key that a service echoes.
pub(crate) async fn unhealthy(
    id: &str,
    reply: Reply,
    expected: &str,
    check: impl AsyncFn(&Setup) -> Result<Health>,
) {
    let server = Server::answering(move |_, _| reply.clone()).await;
    let health = match check(&Setup::new(id, &server)).await {
        Ok(health) => health,
        Err(error) => unreachable!("{}", error.report()),
    };
    assert_eq!(health.status, HealthStatus::Unhealthy);
    let kind = health.kind.map_or("", |kind| kind.as_str());
    let remedy = health.remedy.as_deref().unwrap_or_default();
    let shown = format!("{kind}: {}; {remedy}", health.detail);
    assert!(shown.contains(expected), "{shown}");
    assert!(!shown.contains("canary"), "{shown}");
}

/// Without a key nothing is made, and the error names the variable.
pub(crate) async fn needs_a_key<T>(id: &str, variable: &str, make: impl Fn(&Setup) -> Result<T>) {
    let server = Server::scripted([]).await;
    let mut setup = Setup::new(id, &server);
    setup.secrets.clear();
    let error = make(&setup).err().expect("no key");
    checked(&error, ErrorKind::Auth);
    assert_eq!(error.hint(), Some(format!("set {variable}").as_str()));
    assert!(server.requests().is_empty());
}
