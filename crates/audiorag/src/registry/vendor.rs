//! Capabilities of vendors, made from the vendors' own table.

use super::{Purpose, Registry};
use audiorag_core::capability::{Embedder, Generator, Reranker, Transcriber, VectorStore};
use audiorag_core::{Error, Result, Secret};
#[cfg(feature = "http")]
use audiorag_providers::http::{HttpClient, HttpSettings};
use audiorag_providers::vendors::{self, Offer, Vendor, VendorContext};
use std::collections::BTreeMap;
use std::sync::Arc;

impl Registry {
    pub(super) fn vendor_transcriber(&self, id: &str) -> Result<Option<Arc<dyn Transcriber>>> {
        let model = self.settings.stt.model.as_str();
        self.make(id, |vendor| vendor.transcribe, model, None, Purpose::Bulk)
    }

    pub(super) fn vendor_embedder(&self, id: &str, purpose: Purpose) -> Result<Option<Arc<dyn Embedder>>> {
        let embedding = &self.settings.embedding;
        self.make(
            id,
            |vendor| vendor.embed,
            &embedding.model,
            embedding.dimensions,
            purpose,
        )
    }

    pub(super) fn vendor_store(&self, id: &str, purpose: Purpose) -> Result<Option<Arc<dyn VectorStore>>> {
        self.make(id, |vendor| vendor.store, "", None, purpose)
    }

    pub(super) fn vendor_reranker(&self, id: &str) -> Result<Option<Arc<dyn Reranker>>> {
        let model = self.settings.reranker.model.as_str();
        self.make(id, |vendor| vendor.rerank, model, None, Purpose::Query)
    }

    pub(super) fn vendor_generator(&self, id: &str) -> Result<Option<Arc<dyn Generator>>> {
        let model = self.settings.generation.model.as_str();
        self.make(id, |vendor| vendor.generate, model, None, Purpose::Answer)
    }

    /// A vendor's capability, or `None` when `id` is not a vendor's.
    fn make<T: ?Sized>(
        &self,
        id: &str,
        offer: fn(&Vendor) -> Option<Offer<T>>,
        model: &str,
        dimensions: Option<usize>,
        purpose: Purpose,
    ) -> Result<Option<Arc<T>>> {
        let found = vendors::find(id).and_then(|vendor| Some((vendor, offer(vendor)?.build?)));
        let Some((vendor, build)) = found else {
            return Ok(None);
        };
        let mut values = self.settings.vendors.values.clone();
        self.refuse_offline(vendor, &values)?;
        let store = &self.settings.vector_store;
        values.insert("vector_store.id_format", store.id_format.as_str().to_owned());
        if let Some(namespace) = &store.id_namespace {
            values.insert("vector_store.id_namespace", namespace.clone());
        }
        // Without the HTTP seam there are no vendors, and nothing comes this far.
        #[cfg(not(feature = "http"))]
        let _ = purpose;
        #[cfg(feature = "http")]
        let http = match purpose.patience() {
            Some(patience) => self.http()?.interactive(patience),
            None => self.http()?.clone(),
        };
        let context = VendorContext {
            values: &values,
            secrets: &self.settings.vendors.secrets,
            model: Some(model).filter(|model| !model.is_empty()),
            dimensions,
            notes: Some(&self.settings.work_dir.join(crate::gc::NOTES)),
            #[cfg(feature = "http")]
            http: &http,
        };
        build(&context)
            .map(Some)
            .map_err(|error| error.with_provider(vendor.id))
    }

    /// One client for the process, so that all capabilities of a vendor share its limits and its breaker.
    #[cfg(feature = "http")]
    fn http(&self) -> Result<&HttpClient> {
        if let Some(client) = self.http.get() {
            return Ok(client);
        }
        let settings = &self.settings.http;
        let client = HttpClient::new(&HttpSettings {
            attempt_timeout: settings.timeout,
            deadline: settings.deadline,
            retry: self.settings.retry,
            max_in_flight: settings.max_in_flight,
            requests_per_minute: settings.requests_per_minute,
            ..HttpSettings::default()
        })?;
        Ok(self.http.get_or_init(|| client))
    }

    /// Offline means: no connection to anything but this machine.
    fn refuse_offline(&self, vendor: &Vendor, values: &BTreeMap<&'static str, String>) -> Result<()> {
        let base = values
            .get(format!("{}.base_url", vendor.id).as_str())
            .map(String::as_str);
        // The address of a database holds its password, and so is a secret.
        let database = self
            .settings
            .vendors
            .secrets
            .get(format!("{}.url", vendor.id).as_str());
        let address = base.or(database.map(Secret::expose));
        if !self.settings.offline || address.is_some_and(is_on_this_machine) {
            return Ok(());
        }
        Err(Error::config(format!(
            "provider '{}' is reached over the network, and `offline` is set",
            vendor.id
        ))
        .with_hint("choose a provider that runs here, such as `local`, or unset AUDIORAG_OFFLINE"))
    }
}

/// Whether an address is on the loopback interface.
fn is_on_this_machine(url: &str) -> bool {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let host = match host.strip_prefix('[') {
        Some(v6) => v6.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    host.eq_ignore_ascii_case("localhost")
        || host
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_addresses_are_known() {
        for url in [
            "http://localhost:8000/x",
            "http://127.0.0.1",
            "http://[::1]:6333/",
            "https://me@LocalHost",
        ] {
            assert!(is_on_this_machine(url), "{url}");
        }
        for url in [
            "https://api.openai.com/v1",
            "http://127.0.0.1.evil.example",
            "http://localhost@evil.example",
            "http://10.0.0.1",
        ] {
            assert!(!is_on_this_machine(url), "{url}");
        }
    }
}
