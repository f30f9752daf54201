//! Which vendors there are, which are compiled in, and which feature adds the rest.

/// Something a vendor can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Capability {
    /// Speech to text.
    Transcribe,
    /// Text to vectors.
    Embed,
    /// Keeping vectors and finding the nearest.
    Store,
    /// Ordering documents by relevance.
    Rerank,
    /// Writing answers.
    Generate,
}

impl Capability {
    /// The stable lower-case name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Transcribe => "transcribe",
            Self::Embed => "embed",
            Self::Store => "store",
            Self::Rerank => "rerank",
            Self::Generate => "generate",
        }
    }
}

/// A vendor whose code exists in this crate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vendor {
    /// The name in settings.
    pub id: &'static str,
    /// The cargo feature that compiles it in.
    pub feature: &'static str,
    /// Whether it is compiled in.
    pub compiled: bool,
    /// What it can do.
    pub capabilities: &'static [Capability],
    /// Environment names it reads besides `AUDIORAG_*`, most telling first.
    pub environment: &'static [&'static str],
    /// One sentence for lists.
    pub about: &'static str,
}

/// Every vendor with code in this crate, compiled in or not.
pub const VENDORS: &[Vendor] = &[Vendor {
    id: "local",
    feature: "local",
    compiled: cfg!(feature = "local"),
    capabilities: &[Capability::Transcribe, Capability::Embed],
    environment: &[
        "HF_HOME",
        "HF_HUB_CACHE",
        "HF_ENDPOINT",
        "HF_TOKEN",
        "HF_HUB_OFFLINE",
    ],
    about: "models in the process: Moonshine tiny-en for English speech, all-MiniLM-L6-v2 for embeddings",
}];

/// The vendor called `id`, compiled in or not.
pub fn find(id: &str) -> Option<&'static Vendor> {
    VENDORS.iter().find(|vendor| vendor.id == id)
}

/// The ids of the vendors that are compiled in and can do `capability`.
pub fn compiled_with(capability: Capability) -> impl Iterator<Item = &'static Vendor> {
    VENDORS
        .iter()
        .filter(move |vendor| vendor.compiled && vendor.capabilities.contains(&capability))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn local_is_listed_as_it_was_compiled() {
        let local = find("local").unwrap();
        assert_eq!(local.compiled, cfg!(feature = "local"));
        assert_eq!(
            compiled_with(Capability::Embed).count(),
            usize::from(cfg!(feature = "local"))
        );
        assert_eq!(compiled_with(Capability::Rerank).count(), 0);
        assert_eq!(find("nobody"), None);
    }

    #[test]
    fn names_are_distinct() {
        let mut ids: Vec<&str> = VENDORS.iter().map(|vendor| vendor.id).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), VENDORS.len());
        let capabilities = [
            Capability::Transcribe,
            Capability::Embed,
            Capability::Store,
            Capability::Rerank,
            Capability::Generate,
        ];
        let mut names: Vec<&str> = capabilities
            .iter()
            .map(|capability| capability.as_str())
            .collect();
        names.dedup();
        assert_eq!(names, ["transcribe", "embed", "store", "rerank", "generate"]);
    }
}
