//! What is said about a service before the first call.

use super::{Inner, Refine, Refinement, Service};
use crate::http::HttpClient;
use crate::http::secrets::Secrets;
use crate::http::transport::redact;
use audiorag_core::{Error, ErrorKind, Result, Secret};
use reqwest::Url;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use std::sync::Arc;

/// Describes a service before the first call.
#[derive(Debug)]
pub struct ServiceBuilder {
    http: HttpClient,
    vendor: &'static str,
    base: Url,
    pub(super) headers: HeaderMap,
    secrets: Vec<Secret>,
    hint: Option<String>,
    refine: Refine,
}

impl ServiceBuilder {
    /// Sends `Authorization: Bearer KEY`. An empty key is no key.
    ///
    /// # Errors
    /// [`Auth`](ErrorKind::Auth) when no header can carry the key.
    pub fn bearer(self, key: &Secret) -> Result<Self> {
        self.secret_header("authorization", "Bearer ", key)
    }

    /// Sends a header that holds `prefix` and a key. An empty key is no key.
    ///
    /// # Errors
    /// [`Auth`](ErrorKind::Auth) when no header can carry the key.
    pub fn secret_header(mut self, name: &'static str, prefix: &str, key: &Secret) -> Result<Self> {
        if key.is_empty() {
            return Ok(self);
        }
        let mut value = HeaderValue::from_str(&format!("{prefix}{}", key.expose())).map_err(|_| {
            Error::new(
                ErrorKind::Auth,
                format!("the key for {} holds characters no header can carry", self.vendor),
            )
        })?;
        value.set_sensitive(true);
        self.headers.insert(HeaderName::from_static(name), value);
        self.secrets.push(key.clone());
        Ok(self)
    }

    /// Sends a header with every call.
    pub fn header(mut self, name: &'static str, value: &str) -> Result<Self> {
        let value = HeaderValue::from_str(value).map_err(|_| {
            Error::config(format!(
                "the header {name} for {} cannot hold such text",
                self.vendor
            ))
        })?;
        self.headers.insert(HeaderName::from_static(name), value);
        Ok(self)
    }

    /// What to do when the credentials are refused, such as `check OPENAI_API_KEY`.
    pub fn key_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// What this vendor's refusals mean beyond the rules for all.
    pub fn refine(mut self, refine: Refine) -> Self {
        self.refine = refine;
        self
    }

    /// The service, behind the gates it shares with everything else that calls the same vendor at this URL.
    pub fn build(self) -> Service {
        let gates = self.http.gates(self.vendor, self.base.as_str());
        Service {
            inner: Arc::new(Inner {
                http: self.http,
                vendor: self.vendor,
                base: self.base,
                headers: self.headers,
                secrets: Secrets::new(self.secrets),
                hint: self.hint,
                refine: self.refine,
                gates,
            }),
        }
    }
}

impl HttpClient {
    /// Starts to describe the service of `vendor` at `base_url`.
    ///
    /// # Errors
    /// [`Config`](ErrorKind::Config) when it is not an HTTP or HTTPS URL.
    pub fn service(&self, vendor: &'static str, base_url: &str) -> Result<ServiceBuilder> {
        let mut base = Url::parse(base_url)
            .ok()
            .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
            .ok_or_else(|| {
                // Not quoted: a malformed URL may hold credentials anywhere.
                Error::config(format!(
                    "the base URL of {vendor} does not start with http:// or https:// and a host"
                ))
            })?;
        if let (Some(reason), "https") = (&self.without_tls, base.scheme()) {
            return Err(Error::config(format!(
                "{} needs TLS, which is not possible here: {reason}",
                redact(&base)
            ))
            .with_hint("install the system's root certificates (package ca-certificates)"));
        }
        base.set_query(None);
        base.set_fragment(None);
        Ok(ServiceBuilder {
            http: self.clone(),
            vendor,
            base,
            headers: HeaderMap::new(),
            secrets: Vec::new(),
            hint: None,
            refine: |_| Refinement::default(),
        })
    }
}
