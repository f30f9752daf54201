//! Under which id a vector store keeps a chunk.
//!
//! Chunk ids are 64 hexadecimal digits. Some stores take any text, others only UUIDs; the chunk id itself is always
//! kept among the record's fields, so that answers can be traced back whatever the format.

use crate::vendors::VendorContext;
use audiorag_core::id::ChunkId;
use audiorag_core::{Error, Result};
use uuid::Uuid;

/// The namespace of version 5 UUIDs unless another one is set. Drawn once at random, and never to be changed: records
/// written under it could no longer be deleted by id.
const NAMESPACE: &str = "6f1d3c0a-94be-4c57-8a2d-70e5b1c4f9d3";

/// The settings that choose format and namespace. They are the same for every store, so the facade has them.
const FORMAT: &str = "vector_store.id_format";
const NAMESPACE_SETTING: &str = "vector_store.id_namespace";

/// Turns chunk ids into record ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RecordIds {
    /// `None`: chunk ids as they are.
    namespace: Option<Uuid>,
}

impl RecordIds {
    /// What the two settings ask for, as far as a store can that takes any text or `only_uuids`.
    ///
    /// # Errors
    /// [`Config`](audiorag_core::ErrorKind::Config) for a format that the store does not take, or a namespace that is
    /// no UUID.
    pub(crate) fn new(ctx: &VendorContext<'_>, only_uuids: bool) -> Result<Self> {
        let uuids = match (ctx.value(FORMAT).unwrap_or("auto"), only_uuids) {
            ("auto" | "sha256", false) => false,
            ("auto", true) | ("uuid5", _) => true,
            (other, _) => {
                return Err(Error::config(format!(
                    "{FORMAT} is '{other}', but the store takes only UUIDs as ids"
                ))
                .with_hint(format!("set {FORMAT} to auto or uuid5")));
            }
        };
        if !uuids {
            return Ok(Self { namespace: None });
        }
        let text = ctx.value(NAMESPACE_SETTING).unwrap_or(NAMESPACE);
        let namespace = Uuid::parse_str(text).map_err(|_| {
            Error::config(format!("{NAMESPACE_SETTING} is '{text}', which is no UUID"))
                .with_hint("leave it out, or give a UUID such as the output of uuidgen")
        })?;
        Ok(Self {
            namespace: Some(namespace),
        })
    }

    /// The id of a chunk's record.
    pub(crate) fn of(&self, chunk: &ChunkId) -> String {
        match &self.namespace {
            None => chunk.as_str().to_owned(),
            Some(namespace) => Uuid::new_v5(namespace, chunk.as_str().as_bytes()).to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::{HttpClient, HttpSettings};
    use audiorag_core::ErrorKind;
    use std::collections::BTreeMap;

    fn ids(only_uuids: bool, values: &[(&'static str, &str)]) -> Result<RecordIds> {
        let http = HttpClient::new(&HttpSettings::default()).unwrap();
        let values = values
            .iter()
            .map(|(path, value)| (*path, (*value).to_owned()))
            .collect();
        let context = VendorContext {
            values: &values,
            secrets: &BTreeMap::new(),
            model: None,
            dimensions: None,
            notes: None,
            http: &http,
        };
        RecordIds::new(&context, only_uuids)
    }

    #[test]
    fn the_format_follows_the_setting_and_the_store() {
        let chunk = ChunkId::from_stored("c".repeat(64));
        let of = |only_uuids, format: &str| ids(only_uuids, &[(FORMAT, format)]).map(|ids| ids.of(&chunk));
        for plain in ["auto", "sha256"] {
            assert_eq!(of(false, plain).unwrap(), chunk.as_str());
        }
        let uuid = of(true, "auto").unwrap();
        assert_eq!(Uuid::parse_str(&uuid).unwrap().get_version_num(), 5);
        assert_eq!(of(false, "uuid5").unwrap(), uuid);
        let refused = of(true, "sha256").unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Config);
        assert!(refused.hint().unwrap().contains("uuid5"));
    }

    #[test]
    fn ids_never_change_for_the_same_namespace() {
        let chunk = ChunkId::from_stored("abc");
        let default = ids(true, &[]).unwrap();
        assert_eq!(default.of(&chunk), "55ffe50e-520f-5a1f-bffe-ae2d363450da");
        // The namespace for DNS names, and the example that its specification and Python's `uuid5` agree on.
        let dns = ids(
            true,
            &[(NAMESPACE_SETTING, "6ba7b810-9dad-11d1-80b4-00c04fd430c8")],
        );
        assert_eq!(
            dns.unwrap().of(&ChunkId::from_stored("python.org")),
            "886313e1-3b8a-5372-9b90-0c9aee199e5d"
        );
        let error = ids(true, &[(NAMESPACE_SETTING, "audio")]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
    }
}
