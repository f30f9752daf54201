//! What a vendor is made from.

use audiorag_core::{Error, ErrorKind, Result, Secret};
use std::collections::BTreeMap;
use std::path::Path;

#[cfg(feature = "http")]
use crate::http::HttpClient;

/// What a vendor is made from: its settings, the model somebody chose, and the HTTP seam.
///
/// Settings hold what was written or the default of the table, checked against its kind.
#[derive(Clone, Copy, Debug)]
pub struct VendorContext<'a> {
    /// Values by path, such as `openai.base_url`.
    pub values: &'a BTreeMap<&'static str, String>,
    /// Credentials by path, such as `openai.api_key`.
    pub secrets: &'a BTreeMap<&'static str, Secret>,
    /// The model that was asked for; `None` means the vendor's default.
    pub model: Option<&'a str>,
    /// The number of dimensions that was asked for, for embedders that can shorten their vectors.
    pub dimensions: Option<usize>,
    /// Where a long job may leave a note of itself for the next run; `None` when notes are not wanted.
    pub notes: Option<&'a Path>,
    /// Requests.
    #[cfg(feature = "http")]
    pub http: &'a HttpClient,
}

impl VendorContext<'_> {
    /// A setting's value, if it has one.
    pub fn value(&self, path: &str) -> Option<&str> {
        self.values.get(path).map(String::as_str)
    }

    /// A setting that has a default or must be given.
    ///
    /// # Errors
    /// [`Config`](ErrorKind::Config) that names the setting.
    pub fn required(&self, path: &'static str) -> Result<&str> {
        self.value(path).ok_or_else(|| {
            Error::config(format!("{path} is not set"))
                .with_hint(format!("set {} or give it in audiorag.toml", environment(path)))
        })
    }

    /// A credential that must be given. `variable` is the vendor's own environment name, for the hint.
    ///
    /// # Errors
    /// [`Auth`](ErrorKind::Auth) that names the variable.
    pub fn key(&self, path: &'static str, variable: &str) -> Result<Secret> {
        self.secrets
            .get(path)
            .filter(|key| !key.is_empty())
            .cloned()
            .ok_or_else(|| {
                Error::new(ErrorKind::Auth, format!("{path} is not set")).with_hint(format!("set {variable}"))
            })
    }

    /// A credential that may be left out, such as that of a server of one's own.
    pub fn optional_key(&self, path: &str) -> Secret {
        self.secrets.get(path).cloned().unwrap_or_else(|| Secret::new(""))
    }

    /// The model that was asked for, else `default`.
    pub fn model_or(&self, default: &str) -> String {
        self.model.unwrap_or(default).to_owned()
    }
}

/// The environment name of a setting.
fn environment(path: &str) -> String {
    format!("AUDIORAG_{}", path.replace('.', "_").to_ascii_uppercase())
}

#[cfg(all(test, feature = "http"))]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named() {
        let http = HttpClient::new(&crate::http::HttpSettings::default()).unwrap();
        let (values, secrets) = (BTreeMap::new(), BTreeMap::from([("x.api_key", Secret::new(" "))]));
        let context = VendorContext {
            values: &values,
            secrets: &secrets,
            model: None,
            dimensions: None,
            notes: None,
            http: &http,
        };
        let error = context.required("x.index_name").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert_eq!(
            error.hint(),
            Some("set AUDIORAG_X_INDEX_NAME or give it in audiorag.toml")
        );
        let error = context.key("x.api_key", "X_API_KEY").unwrap_err();
        assert_eq!(
            (error.kind(), error.hint()),
            (ErrorKind::Auth, Some("set X_API_KEY"))
        );
        assert!(context.optional_key("x.api_key").is_empty());
        assert_eq!(context.model_or("m"), "m");
    }
}
