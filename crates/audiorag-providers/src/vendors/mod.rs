//! Which vendors there are, which are compiled in, what they offer and which settings they read.
//!
//! A vendor is one file with all its capabilities behind one cargo feature. To add one: write `vendors/x.rs` with
//! `pub(super) const VENDOR: Vendor`, add its `mod` line, its line in [`VENDORS`] and its line in [`KNOWN`], and its
//! feature in two `Cargo.toml`. Settings, registry, `doctor` and `docs/providers.md` read this table.

#[cfg(feature = "anthropic")]
mod anthropic;
#[cfg(feature = "assemblyai")]
mod assemblyai;
#[cfg(feature = "chroma")]
mod chroma;
#[cfg(feature = "cohere")]
mod cohere;
mod context;
#[cfg(feature = "deepgram")]
mod deepgram;
#[cfg(feature = "elevenlabs")]
mod elevenlabs;
#[cfg(feature = "gemini")]
mod gemini;
#[cfg(feature = "groq")]
mod groq;
#[cfg(feature = "local")]
mod local;
#[cfg(feature = "openai")]
mod openai;
#[cfg(feature = "pgvector")]
mod pgvector;
#[cfg(feature = "pinecone")]
mod pinecone;
#[cfg(feature = "qdrant")]
mod qdrant;
#[cfg(feature = "voyage")]
mod voyage;
#[cfg(feature = "weaviate")]
mod weaviate;

pub use context::VendorContext;

use audiorag_core::Result;
use audiorag_core::capability::{Embedder, Generator, Reranker, Transcriber, VectorStore};
use std::sync::Arc;

/// Something a vendor can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
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
    /// Every capability, in the order of the index and query paths.
    pub const ALL: [Self; 5] = [
        Self::Transcribe,
        Self::Embed,
        Self::Store,
        Self::Rerank,
        Self::Generate,
    ];

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

/// A model that a vendor offers. Models are configuration: any other name is passed on as it is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Model {
    /// The name the vendor knows it by.
    pub id: &'static str,
    /// What to know about it: what it returns, what it lacks, its limits.
    pub about: &'static str,
    /// The day the vendor announced to switch it off, `YYYY-MM-DD`.
    pub retires: Option<&'static str>,
    /// What it costs.
    pub price: Option<Price>,
    /// US dollars for a million tokens written, from the source of the price. Absent for models that write none, and
    /// where it is unknown.
    pub writing: Option<f64>,
}

impl Model {
    /// A model without an announced end and with an unknown price.
    pub const fn new(id: &'static str, about: &'static str) -> Self {
        Self {
            id,
            about,
            retires: None,
            price: None,
            writing: None,
        }
    }

    /// The same model with an announced end.
    pub const fn retiring(mut self, day: &'static str) -> Self {
        self.retires = Some(day);
        self
    }

    /// The same model with a price.
    pub const fn priced(mut self, price: Price) -> Self {
        self.price = Some(price);
        self
    }

    /// The same model with a price for a million tokens written.
    pub const fn writing(mut self, usd: f64) -> Self {
        self.writing = Some(usd);
        self
    }
}

/// What a model costs, as far as its vendor says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Price {
    /// US dollars for each `unit`.
    pub usd: f64,
    /// What is counted.
    pub unit: Unit,
    /// The day the price was looked up, `YYYY-MM-DD`.
    pub checked: &'static str,
    /// Where.
    pub source: &'static str,
}

/// What prices count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Minutes of audio.
    AudioMinute,
    /// Millions of tokens read.
    MillionTokens,
}

/// Makes a capability from its settings. It does not reach the service.
pub type Build<T> = fn(&VendorContext<'_>) -> Result<Arc<T>>;

/// A capability of a vendor: its models, the default first, and how it is made.
pub struct Offer<T: ?Sized> {
    /// Models whose facts are known, the default first. Empty for stores.
    pub models: &'static [Model],
    /// Whether `models` is all there is.
    pub closed: bool,
    /// Makes the capability; `None` where the facade does, because it needs more than settings.
    pub build: Option<Build<T>>,
}

impl<T: ?Sized> Clone for Offer<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T: ?Sized> Copy for Offer<T> {}

impl<T: ?Sized> std::fmt::Debug for Offer<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let models = self.models.iter().map(|model| model.id);
        f.debug_list().entries(models).finish()
    }
}

impl<T: ?Sized> Offer<T> {
    /// An offer whose first model is the default.
    pub const fn new(models: &'static [Model], build: Build<T>) -> Self {
        Self {
            models,
            closed: false,
            build: Some(build),
        }
    }
}

/// The values a vendor's setting takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SettingKind {
    /// A credential, never shown.
    Secret,
    /// An `http:` or `https:` address.
    Url,
    /// Any text.
    Text,
    /// A whole number in a range.
    Integer(u64, u64),
    /// Yes or no.
    Flag,
    /// One of these words.
    Choice(&'static [&'static str]),
}

/// A setting that only one vendor has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VendorSetting {
    /// Its dotted name: the vendor's id, a dot, a name. `AUDIORAG_` and the name in capitals is read first.
    pub path: &'static str,
    /// Further environment names, those of the Python AudioRAG and of the vendor.
    pub aliases: &'static [&'static str],
    /// Which values it takes.
    pub kind: SettingKind,
    /// What it is when nobody sets it.
    pub default: Option<&'static str>,
    /// What it means, and what its absence means. Ends with a period.
    pub doc: &'static str,
}

/// A vendor and what it offers.
#[derive(Clone, Copy, Debug)]
pub struct Vendor {
    /// The name in settings; also the cargo feature.
    pub id: &'static str,
    /// One sentence for lists.
    pub about: &'static str,
    /// Where its interface is described.
    pub docs: &'static str,
    /// Its own settings.
    pub settings: &'static [VendorSetting],
    /// Speech to text.
    pub transcribe: Option<Offer<dyn Transcriber>>,
    /// Text to vectors.
    pub embed: Option<Offer<dyn Embedder>>,
    /// Vectors by nearness.
    pub store: Option<Offer<dyn VectorStore>>,
    /// Order by relevance.
    pub rerank: Option<Offer<dyn Reranker>>,
    /// Answers.
    pub generate: Option<Offer<dyn Generator>>,
}

impl Vendor {
    /// A vendor that offers nothing yet: the base for struct updates in vendor files.
    pub const NONE: Self = Self {
        id: "",
        about: "",
        docs: "",
        settings: &[],
        transcribe: None,
        embed: None,
        store: None,
        rerank: None,
        generate: None,
    };

    /// The models for a capability and whether they are all there is; `None` when the vendor does not offer it.
    pub fn models(&self, capability: Capability) -> Option<(&'static [Model], bool)> {
        match capability {
            Capability::Transcribe => self.transcribe.map(|offer| (offer.models, offer.closed)),
            Capability::Embed => self.embed.map(|offer| (offer.models, offer.closed)),
            Capability::Store => self.store.map(|offer| (offer.models, offer.closed)),
            Capability::Rerank => self.rerank.map(|offer| (offer.models, offer.closed)),
            Capability::Generate => self.generate.map(|offer| (offer.models, offer.closed)),
        }
    }

    /// What it can do.
    pub fn capabilities(&self) -> impl Iterator<Item = Capability> {
        Capability::ALL
            .into_iter()
            .filter(|capability| self.models(*capability).is_some())
    }
}

/// The vendors that are compiled in.
pub const VENDORS: &[Vendor] = &[
    #[cfg(feature = "anthropic")]
    anthropic::VENDOR,
    #[cfg(feature = "assemblyai")]
    assemblyai::VENDOR,
    #[cfg(feature = "chroma")]
    chroma::VENDOR,
    #[cfg(feature = "cohere")]
    cohere::VENDOR,
    #[cfg(feature = "deepgram")]
    deepgram::VENDOR,
    #[cfg(feature = "elevenlabs")]
    elevenlabs::VENDOR,
    #[cfg(feature = "gemini")]
    gemini::VENDOR,
    #[cfg(feature = "groq")]
    groq::VENDOR,
    #[cfg(feature = "local")]
    local::VENDOR,
    #[cfg(feature = "openai")]
    openai::VENDOR,
    #[cfg(feature = "pgvector")]
    pgvector::VENDOR,
    #[cfg(feature = "pinecone")]
    pinecone::VENDOR,
    #[cfg(feature = "qdrant")]
    qdrant::VENDOR,
    #[cfg(feature = "voyage")]
    voyage::VENDOR,
    #[cfg(feature = "weaviate")]
    weaviate::VENDOR,
];

/// Every vendor with code in this crate, compiled in or not, and what it offers: enough to name the feature that is
/// missing.
pub const KNOWN: &[(&str, &[Capability])] = {
    use Capability::{Embed, Generate, Rerank, Store, Transcribe};
    &[
        ("anthropic", &[Generate]),
        ("assemblyai", &[Transcribe]),
        ("chroma", &[Store]),
        ("cohere", &[Transcribe, Embed, Rerank]),
        ("deepgram", &[Transcribe]),
        ("elevenlabs", &[Transcribe]),
        ("gemini", &[Embed, Generate]),
        ("groq", &[Transcribe, Generate]),
        ("local", &[Transcribe, Embed]),
        ("openai", &[Transcribe, Embed, Generate]),
        ("pgvector", &[Store]),
        ("pinecone", &[Store]),
        ("qdrant", &[Store]),
        ("voyage", &[Embed, Rerank]),
        ("weaviate", &[Store]),
    ]
};

/// The vendor called `id`, if it is compiled in.
pub fn find(id: &str) -> Option<&'static Vendor> {
    VENDORS.iter().find(|vendor| vendor.id == id)
}

/// The compiled-in vendors that can do `capability`.
pub fn compiled_with(capability: Capability) -> impl Iterator<Item = &'static Vendor> {
    VENDORS
        .iter()
        .filter(move |vendor| vendor.models(capability).is_some())
}

/// The ids of all vendors that can do `capability`, compiled in or not.
pub fn known_with(capability: Capability) -> impl Iterator<Item = &'static str> {
    KNOWN
        .iter()
        .filter(move |(_, capabilities)| capabilities.contains(&capability))
        .map(|(id, _)| *id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_compiled_vendor_is_known_for_what_it_offers() {
        for vendor in VENDORS {
            let known = KNOWN.iter().find(|(id, _)| *id == vendor.id);
            let offered: Vec<Capability> = vendor.capabilities().collect();
            assert_eq!(
                known.map(|(_, offers)| offers.to_vec()),
                Some(offered),
                "{}",
                vendor.id
            );
            assert!(vendor.about.ends_with(|last: char| last != '.'), "{}", vendor.id);
            assert!(
                vendor.docs.starts_with("https://") || vendor.id == "local",
                "{}",
                vendor.id
            );
        }
        let ids: BTreeSet<&str> = KNOWN.iter().map(|(id, _)| *id).collect();
        assert_eq!(ids.len(), KNOWN.len());
        assert!(find("nobody").is_none());
        assert_eq!(find("local").is_some(), cfg!(feature = "local"));
    }

    #[test]
    fn settings_belong_to_their_vendor_and_are_described() {
        let mut names = BTreeSet::new();
        for vendor in VENDORS {
            for setting in vendor.settings {
                assert!(
                    setting.path.starts_with(&format!("{}.", vendor.id)),
                    "{}",
                    setting.path
                );
                assert!(setting.doc.ends_with('.'), "{}", setting.path);
                let own = format!("AUDIORAG_{}", setting.path.replace('.', "_").to_uppercase());
                for name in setting.aliases.iter().map(|name| (*name).to_owned()).chain([own]) {
                    assert!(names.insert(name.clone()), "{name} twice");
                }
            }
        }
    }

    #[test]
    fn dates_are_dates() {
        for vendor in VENDORS {
            for (models, _) in Capability::ALL.into_iter().filter_map(|role| vendor.models(role)) {
                for model in models {
                    let days = [model.retires, model.price.map(|price| price.checked)];
                    for day in days.into_iter().flatten() {
                        assert!(day.parse::<jiff::civil::Date>().is_ok(), "{}: {day}", model.id);
                    }
                }
            }
        }
    }
}
