//! Vendors against loopback stand-ins: what is sent, how answers are read, and the contracts.

#![cfg_attr(
    any(
        feature = "chroma",
        feature = "pinecone",
        feature = "qdrant",
        feature = "weaviate"
    ),
    expect(
        clippy::indexing_slicing,
        clippy::panic,
        clippy::unwrap_used,
        reason = "what these modules do outside test functions is testing as well"
    )
)]

#[cfg(feature = "chroma")]
mod chroma;
#[cfg(any(
    feature = "chroma",
    feature = "pgvector",
    feature = "pinecone",
    feature = "qdrant",
    feature = "weaviate"
))]
mod context;
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

use audiorag_providers::vendors::{Capability, VENDORS};

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
