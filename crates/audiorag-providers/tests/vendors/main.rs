//! Vendors against loopback stand-ins: what is sent, how answers are read, and the contracts.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "what these modules do outside test functions is testing as well"
)]

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
    feature = "pinecone",
    feature = "qdrant",
    feature = "weaviate"
))]
mod stand_in;
#[cfg(feature = "weaviate")]
mod weaviate;

use audiorag_core::Secret;
use audiorag_core::capability::VectorStore;
use audiorag_core::retry::RetryPolicy;
use audiorag_providers::http::{HttpClient, HttpSettings};
use audiorag_providers::vendors::{Capability, VENDORS, VendorContext, find};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// What the modules here cover, by vendor.
const COVERED: &[(&str, &[Capability])] = &[
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

/// Makes something of a vendor with its defaults and these settings; values under `.api_key` and `.url` are secrets.
fn with_context<T>(
    vendor: &str,
    settings: &[(&'static str, &str)],
    make: impl FnOnce(&VendorContext<'_>) -> T,
) -> T {
    let vendor = find(vendor).expect("the vendor is compiled in");
    let is_secret = |path: &str| path.ends_with(".api_key") || path.ends_with(".url");
    let mut values: BTreeMap<&'static str, String> = vendor
        .settings
        .iter()
        .filter_map(|setting| Some((setting.path, setting.default?.to_owned())))
        .collect();
    let mut secrets = BTreeMap::new();
    for (path, value) in settings {
        if is_secret(path) {
            secrets.insert(*path, Secret::new(value));
        } else {
            values.insert(*path, (*value).to_owned());
        }
    }
    let http = HttpClient::new(&HttpSettings {
        connect_timeout: Duration::from_secs(1),
        retry: RetryPolicy {
            first_wait: Duration::from_millis(1),
            ..RetryPolicy::default()
        },
        ..HttpSettings::default()
    })
    .expect("an HTTP client");
    make(&VendorContext {
        values: &values,
        secrets: &secrets,
        model: None,
        dimensions: None,
        notes: None,
        http: &http,
    })
}

/// A vendor's store.
fn store(vendor: &str, settings: &[(&'static str, &str)]) -> audiorag_core::Result<Arc<dyn VectorStore>> {
    let offer = find(vendor).and_then(|vendor| vendor.store).expect("a store");
    with_context(vendor, settings, offer.build.expect("a constructor"))
}

#[test]
fn every_vendor_has_its_fixtures() {
    for vendor in VENDORS.iter().filter(|vendor| vendor.id != "local") {
        let covered = COVERED.iter().find(|(id, _)| *id == vendor.id);
        let offered: Vec<Capability> = vendor.capabilities().collect();
        assert_eq!(
            covered.map(|(_, capabilities)| capabilities.to_vec()),
            Some(offered),
            "{} is registered without tests here",
            vendor.id
        );
    }
}
