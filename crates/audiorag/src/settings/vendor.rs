//! Which providers can be named, and which of them this build holds.

use audiorag_core::{Error, Result};

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

/// A provider that can be named for a role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Offer {
    /// The name in settings.
    pub(super) id: &'static str,
    /// The cargo feature that brings it, and whether this build has it; `None` when it is always there.
    pub(super) feature: Option<(&'static str, bool)>,
    /// The only models it has, the default first; empty when any name may be right.
    pub(super) models: &'static [&'static str],
}

const fn built_in(id: &'static str) -> Offer {
    Offer {
        id,
        feature: None,
        models: &[],
    }
}

const fn local(models: &'static [&'static str]) -> Offer {
    Offer {
        id: "local",
        feature: Some(("local", cfg!(feature = "local"))),
        models,
    }
}

const STT: &[Offer] = &[local(&["moonshine-tiny-en"])];
const EMBEDDING: &[Offer] = &[local(&["all-MiniLM-L6-v2"])];
const VECTOR_STORE: &[Offer] = &[built_in("embedded")];
const GENERATION: &[Offer] = &[built_in("extractive"), built_in("none")];
const RERANKER: &[Offer] = &[built_in("none")];

impl Capability {
    /// Everything that can be named for the role, whether compiled in or not.
    pub(super) const fn offers(self) -> &'static [Offer] {
        match self {
            Self::Stt => STT,
            Self::Embedding => EMBEDDING,
            Self::VectorStore => VECTOR_STORE,
            Self::Generation => GENERATION,
            Self::Reranker => RERANKER,
        }
    }

    /// The names that can be chosen.
    pub fn names(self) -> Vec<&'static str> {
        self.offers().iter().map(|offer| offer.id).collect()
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

    /// The only models that `provider` has, the default first; empty when any name may be right.
    pub(super) fn models(self, provider: &str) -> &'static [&'static str] {
        self.offers()
            .iter()
            .find(|offer| offer.id == provider)
            .map_or(&[], |offer| offer.models)
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
        let names = self.names().join(", ");
        match self.offers().iter().find(|offer| offer.id == provider) {
            None => Some((
                format!("is not known for {}", self.describe()),
                format!("use one of: {names}"),
            )),
            Some(Offer {
                feature: Some((feature, false)),
                ..
            }) => Some((
                "is not part of this build".to_owned(),
                format!("rebuild with --features {feature}"),
            )),
            Some(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_names_list_the_known_ones() {
        let error = Capability::Generation.check("oracle").unwrap_err();
        assert_eq!(error.to_string(), "provider 'oracle' is not known for answers");
        assert_eq!(error.hint(), Some("use one of: extractive, none"));
        assert!(Capability::VectorStore.check("embedded").is_ok());
    }

    #[cfg(not(feature = "local"))]
    #[test]
    fn names_that_are_not_compiled_in_name_the_feature() {
        let error = Capability::Stt.check("local").unwrap_err();
        assert_eq!(error.hint(), Some("rebuild with --features local"));
    }
}
