//! What vendors are made from in tests.

#![expect(clippy::expect_used, reason = "a vendor that cannot be made fails its test")]

use audiorag_core::Secret;
use audiorag_core::capability::VectorStore;
use audiorag_core::retry::RetryPolicy;
use audiorag_providers::http::{HttpClient, HttpSettings};
use audiorag_providers::vendors::{SettingKind, VendorContext, find};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Makes something of a vendor with its defaults and these settings, some of which are secrets.
pub(crate) fn with_context<T>(
    vendor: &str,
    settings: &[(&'static str, &str)],
    make: impl FnOnce(&VendorContext<'_>) -> T,
) -> T {
    let vendor = find(vendor).expect("the vendor is compiled in");
    let is_secret = |path: &str| {
        let mut settings = vendor.settings.iter();
        settings.any(|setting| setting.path == path && setting.kind == SettingKind::Secret)
    };
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
pub(crate) fn store(
    vendor: &str,
    settings: &[(&'static str, &str)],
) -> audiorag_core::Result<Arc<dyn VectorStore>> {
    let offer = find(vendor).and_then(|vendor| vendor.store).expect("a store");
    with_context(vendor, settings, offer.build.expect("a constructor"))
}
