//! Every vendor against a stand-in on the loopback interface: what is asked, what is made of the answers, and every
//! line of the contracts.
//!
//! The stand-ins answer as the vendors' documentation says (`fixtures/`): these tests prove our reading of it.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "failing a test is what helpers of tests are for"
)]

#[cfg(feature = "anthropic")]
mod anthropic;
#[cfg(feature = "gemini")]
mod gemini;
#[cfg(feature = "groq")]
mod groq;
#[cfg(feature = "openai")]
mod openai;
mod stand_in;

#[cfg(feature = "chroma")]
mod chroma;
#[cfg(feature = "pgvector")]
mod pgvector;
#[cfg(feature = "pinecone")]
mod pinecone;
#[cfg(feature = "qdrant")]
mod qdrant;
#[cfg(any(
    feature = "chroma",
    feature = "pgvector",
    feature = "pinecone",
    feature = "qdrant",
    feature = "weaviate"
))]
mod store;
#[cfg(any(
    feature = "chroma",
    feature = "pinecone",
    feature = "qdrant",
    feature = "weaviate"
))]
mod store_stand_in;
#[cfg(feature = "weaviate")]
mod weaviate;

#[cfg(feature = "assemblyai")]
mod assemblyai;
#[cfg(feature = "cohere")]
mod cohere;
#[cfg(feature = "deepgram")]
mod deepgram;
#[cfg(feature = "elevenlabs")]
mod elevenlabs;
#[cfg(feature = "voyage")]
mod voyage;

#[cfg(any(
    feature = "assemblyai",
    feature = "cohere",
    feature = "deepgram",
    feature = "elevenlabs"
))]
mod listening;
#[cfg(any(
    feature = "assemblyai",
    feature = "cohere",
    feature = "deepgram",
    feature = "elevenlabs",
    feature = "voyage"
))]
mod setup;
#[cfg(any(feature = "cohere", feature = "voyage"))]
mod vectors;

use audiorag_core::capability::{Embedder, Generator, Health, Transcriber};
use audiorag_core::retry::RetryPolicy;
use audiorag_core::{Error, ErrorKind, Result, Secret};
use audiorag_providers::http::{HttpClient, HttpSettings};
use audiorag_providers::vendors::{Capability, VENDORS, VendorContext, find};
use audiorag_testkit::http::{Reply, Server};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// The vendors tested here, with the capabilities that are.
const COVERED: &[(&str, &[Capability])] = &[
    ("anthropic", &[Capability::Generate]),
    ("gemini", &[Capability::Embed, Capability::Generate]),
    ("groq", &[Capability::Transcribe, Capability::Generate]),
    (
        "openai",
        &[Capability::Transcribe, Capability::Embed, Capability::Generate],
    ),
    #[cfg(feature = "assemblyai")]
    ("assemblyai", &[Capability::Transcribe]),
    #[cfg(feature = "cohere")]
    (
        "cohere",
        &[Capability::Transcribe, Capability::Embed, Capability::Rerank],
    ),
    #[cfg(feature = "deepgram")]
    ("deepgram", &[Capability::Transcribe]),
    #[cfg(feature = "elevenlabs")]
    ("elevenlabs", &[Capability::Transcribe]),
    #[cfg(feature = "voyage")]
    ("voyage", &[Capability::Embed, Capability::Rerank]),
    #[cfg(feature = "chroma")]
    ("chroma", &[Capability::Store]),
    #[cfg(feature = "pgvector")]
    ("pgvector", &[Capability::Store]),
    #[cfg(feature = "pinecone")]
    ("pinecone", &[Capability::Store]),
    #[cfg(feature = "qdrant")]
    ("qdrant", &[Capability::Store]),
    #[cfg(feature = "weaviate")]
    ("weaviate", &[Capability::Store]),
];

/// Every vendor uses its part of the helpers; all of them are meant to be here whatever is compiled in.
const _: () = {
    let _ = (
        Setup::new,
        Setup::at,
        Setup::with,
        Setup::without_key,
        Setup::model,
    );
    let _ = (
        Setup::dimensions,
        Setup::retrying,
        Setup::transcriber,
        Setup::embedder,
        Setup::generator,
    );
    let _ = (
        keeps_secrets,
        unhealthy,
        stand_in::form,
        stand_in::json,
        stand_in::list,
        stand_in::sounds,
    );
    let _ = (
        stand_in::vector,
        stand_in::events,
        stand_in::stream::<&str>,
        stand_in::question,
    );
    let _ = async |generator: &dyn Generator| stand_in::answer(generator).await;
    let _ = async |table: &[Refusal]| refusals(table, async |_| Error::input("")).await;
};

/// The key that no message may show.
pub(crate) const CANARY: &str = "canary-51d9f0";

#[test]
fn every_vendor_has_its_fixtures() {
    for vendor in VENDORS.iter().filter(|vendor| vendor.id != "local") {
        let covered = COVERED.iter().find(|(id, _)| *id == vendor.id);
        let offered: Vec<Capability> = vendor.capabilities().collect();
        assert_eq!(
            covered.map(|(_, capabilities)| capabilities.to_vec()),
            Some(offered),
            "{} needs tests here, and a line in COVERED",
            vendor.id
        );
    }
}

/// Settings of a vendor as the facade would hand them over.
pub(crate) struct Setup {
    id: &'static str,
    values: BTreeMap<&'static str, String>,
    secrets: BTreeMap<&'static str, Secret>,
    model: Option<&'static str>,
    dimensions: Option<usize>,
    http: HttpClient,
}

impl Setup {
    /// The defaults of the vendor, a canary for its key, and one attempt a call.
    pub(crate) fn new(id: &'static str) -> Self {
        let mut values = BTreeMap::new();
        let mut secrets = BTreeMap::new();
        for setting in vendor(id).settings {
            if let Some(default) = setting.default {
                values.insert(setting.path, default.to_owned());
            }
            if setting.kind == audiorag_providers::vendors::SettingKind::Secret {
                secrets.insert(setting.path, Secret::new(CANARY));
            }
        }
        Self {
            id,
            values,
            secrets,
            model: None,
            dimensions: None,
            http: client(1),
        }
    }

    /// Talks to `server`, below `path`.
    pub(crate) fn at(self, server: &Server, path: &str) -> Self {
        let setting = vendor(self.id)
            .settings
            .iter()
            .find(|s| s.path.ends_with(".base_url"));
        let name = setting.expect("a base URL among the settings").path;
        let url = server.url(path);
        self.with(name, &url)
    }

    pub(crate) fn with(mut self, path: &'static str, value: &str) -> Self {
        self.values.insert(path, value.to_owned());
        self
    }

    pub(crate) fn without_key(mut self) -> Self {
        self.secrets.clear();
        self
    }

    pub(crate) const fn model(mut self, model: &'static str) -> Self {
        self.model = Some(model);
        self
    }

    pub(crate) const fn dimensions(mut self, dimensions: usize) -> Self {
        self.dimensions = Some(dimensions);
        self
    }

    /// Tries three times, with next to no wait.
    pub(crate) fn retrying(mut self) -> Self {
        self.http = client(3);
        self
    }

    fn context(&self) -> VendorContext<'_> {
        VendorContext {
            values: &self.values,
            secrets: &self.secrets,
            model: self.model,
            dimensions: self.dimensions,
            notes: None,
            http: &self.http,
        }
    }

    pub(crate) fn transcriber(&self) -> Result<Arc<dyn Transcriber>> {
        let offer = vendor(self.id).transcribe.expect("an offer of speech to text");
        offer.build.expect("a way to make it")(&self.context())
    }

    pub(crate) fn embedder(&self) -> Result<Arc<dyn Embedder>> {
        let offer = vendor(self.id).embed.expect("an offer of embeddings");
        offer.build.expect("a way to make it")(&self.context())
    }

    pub(crate) fn generator(&self) -> Result<Arc<dyn Generator>> {
        let offer = vendor(self.id).generate.expect("an offer of answers");
        offer.build.expect("a way to make it")(&self.context())
    }
}

fn vendor(id: &str) -> &'static audiorag_providers::vendors::Vendor {
    find(id).expect("a vendor that is compiled in")
}

/// A client that tries so often, with next to no wait.
fn client(max_attempts: u32) -> HttpClient {
    let settings = HttpSettings {
        retry: RetryPolicy {
            first_wait: Duration::from_millis(1),
            max_attempts,
            ..RetryPolicy::default()
        },
        ..HttpSettings::default()
    };
    HttpClient::new(&settings).expect("a client")
}

/// A failure as a vendor answers it: status, header, body, and what the caller is to be told.
pub(crate) type Refusal = (u16, Option<(&'static str, &'static str)>, &'static str, ErrorKind);

/// Makes a call that is answered with each of the refusals, and checks what the caller is told.
pub(crate) async fn refusals(table: &[Refusal], run: impl AsyncFn(&Server) -> Error) {
    for (status, header, body, kind) in table {
        let mut reply = Reply::json(*status, (*body).replace("$KEY", CANARY));
        if let Some((name, value)) = header {
            reply = reply.with_header(name, *value);
        }
        let server = Server::answering(move |_, _| reply.clone()).await;
        let error = run(&server).await;
        assert_eq!(error.kind(), *kind, "{status} {body}: {}", error.report());
        assert_eq!(server.requests().len(), 1, "{status} {body}");
        assert!(
            error.hint().is_some() || *kind != ErrorKind::Auth,
            "{status} {body}"
        );
        if let Some(("retry-after", seconds)) = header {
            assert_eq!(
                error.retry_after().map(|wait| wait.as_secs()),
                seconds.parse().ok()
            );
        }
        keeps_secrets(&error);
    }
}

/// No way to print the error shows the key.
pub(crate) fn keeps_secrets(error: &Error) {
    let shown = format!("{error} {error:?} {} {:?}", error.report(), error.hint());
    assert!(!shown.contains(CANARY), "{shown}");
}

/// A health check that fails says so, and keeps the key to itself.
pub(crate) fn unhealthy(health: &Health, part: &str) {
    let text = format!("{health:?}");
    assert!(text.contains("Unhealthy") && text.contains(part), "{text}");
    assert!(!text.contains(CANARY), "{text}");
}
