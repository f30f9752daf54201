//! Which providers can be named, and which of them this build holds.

use super::key::{Fallback, Key, Spec};
use super::kind::Kind;
use audiorag_core::{Error, Result, Secret};
use audiorag_providers::vendors::{self, Model, SettingKind, VendorSetting};
use std::collections::BTreeMap;

/// The settings of all vendors in this build, by path.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct VendorSettings {
    /// What is no secret, such as `openai.base_url`.
    pub values: BTreeMap<&'static str, String>,
    /// Credentials, such as `openai.api_key`.
    pub secrets: BTreeMap<&'static str, Secret>,
}

/// A role that a provider can be chosen for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Capability {
    /// Speech to text.
    Stt,
    /// Text to vectors.
    Embedding,
    /// Vectors by nearness.
    VectorStore,
    /// Answers.
    Generation,
    /// Order by relevance.
    Reranker,
}

/// A setting that only one vendor has. Known by its path, which starts with the vendor's id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct VendorKey(&'static str);

impl VendorKey {
    /// The settings of all vendors in this build.
    pub(super) fn all() -> impl Iterator<Item = Self> {
        rows().map(|row| Self(row.path))
    }

    /// The row of the vendor's table.
    fn row(self) -> Option<&'static VendorSetting> {
        rows().find(|row| row.path == self.0)
    }

    /// The setting's row of the table.
    pub(super) fn spec(self) -> Spec {
        let row = self.row();
        Spec {
            key: Key::Vendor(self),
            path: self.0,
            aliases: row.map_or(&[], |row| row.aliases),
            kind: row.map_or(Kind::Text, |row| match row.kind {
                SettingKind::Secret => Kind::Secret,
                SettingKind::Url => Kind::Url,
                SettingKind::Text => Kind::Text,
                SettingKind::Integer(min, max) => Kind::Integer { min, max },
                SettingKind::Flag => Kind::Flag,
                SettingKind::Choice(words) => Kind::Choice(words),
            }),
            fallback: match row.and_then(|row| row.default) {
                Some(text) => Fallback::Value(text),
                None => Fallback::Unset("nothing is assumed"),
            },
            doc: row.map_or("", |row| row.doc),
        }
    }

    /// The dotted name.
    pub(super) const fn path(self) -> &'static str {
        self.0
    }
}

fn rows() -> impl Iterator<Item = &'static VendorSetting> {
    vendors::VENDORS.iter().flat_map(|vendor| vendor.settings)
}

impl Capability {
    /// The same capability in the table of vendors.
    const fn offered(self) -> vendors::Capability {
        match self {
            Self::Stt => vendors::Capability::Transcribe,
            Self::Embedding => vendors::Capability::Embed,
            Self::VectorStore => vendors::Capability::Store,
            Self::Generation => vendors::Capability::Generate,
            Self::Reranker => vendors::Capability::Rerank,
        }
    }

    /// What the facade brings itself.
    const fn built_in(self) -> &'static [&'static str] {
        match self {
            Self::VectorStore => &["embedded"],
            Self::Generation => &["extractive", "none"],
            Self::Reranker => &["none", "sentences"],
            Self::Stt | Self::Embedding => &[],
        }
    }

    /// The names that can be chosen, whether compiled in or not.
    pub fn names(self) -> Vec<&'static str> {
        let built_in = self.built_in().iter().copied();
        built_in.chain(vendors::known_with(self.offered())).collect()
    }

    /// The role in words.
    pub const fn describe(self) -> &'static str {
        match self {
            Self::Stt => "speech-to-text",
            Self::Embedding => "embeddings",
            Self::VectorStore => "a vector store",
            Self::Generation => "answers",
            Self::Reranker => "reranking",
        }
    }

    /// The models that are known of `provider`, the default first, and whether they are all there is.
    pub(super) fn models(self, provider: &str) -> (&'static [Model], bool) {
        vendors::find(provider)
            .and_then(|vendor| vendor.models(self.offered()))
            .unwrap_or_default()
    }

    /// Checks that `provider` exists and is part of this build.
    ///
    /// # Errors
    /// [`Config`](audiorag_core::ErrorKind::Config), listing the known names or naming the feature to enable.
    pub fn check(self, provider: &str) -> Result<()> {
        self.problem(provider).map_or(Ok(()), |(problem, remedy)| {
            Err(Error::config(format!("provider '{provider}' {problem}")).with_hint(remedy))
        })
    }

    /// What is wrong with naming `provider`, and what to do.
    pub(super) fn problem(self, provider: &str) -> Option<(String, String)> {
        let names = self.names();
        if !names.contains(&provider) {
            return Some((
                format!("is not known for {}", self.describe()),
                format!("use one of: {}", names.join(", ")),
            ));
        }
        let compiled = self.built_in().contains(&provider) || vendors::find(provider).is_some();
        (!compiled).then(|| {
            (
                "is not part of this build".to_owned(),
                format!("rebuild with --features {provider}"),
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_names_list_the_known_ones() {
        let error = Capability::Generation.check("oracle").unwrap_err();
        assert_eq!(error.to_string(), "provider 'oracle' is not known for answers");
        assert!(error.hint().unwrap().starts_with("use one of: extractive, none"));
        assert!(Capability::VectorStore.check("embedded").is_ok());
    }

    #[cfg(not(feature = "local"))]
    #[test]
    fn names_that_are_not_compiled_in_name_the_feature() {
        let error = Capability::Stt.check("local").unwrap_err();
        assert_eq!(error.hint(), Some("rebuild with --features local"));
    }
}
