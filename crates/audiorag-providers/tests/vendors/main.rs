//! Every vendor against a stand-in on the loopback interface that behaves as the vendor documents.

#[cfg(feature = "assemblyai")]
mod assemblyai;
#[cfg(feature = "cohere")]
mod cohere;
#[cfg(feature = "deepgram")]
mod deepgram;
#[cfg(feature = "elevenlabs")]
mod elevenlabs;
#[cfg(feature = "voyage")]
mod voyage;

#[cfg(any(
    feature = "assemblyai",
    feature = "cohere",
    feature = "deepgram",
    feature = "elevenlabs"
))]
mod listening;
#[cfg(any(
    feature = "assemblyai",
    feature = "cohere",
    feature = "deepgram",
    feature = "elevenlabs",
    feature = "voyage"
))]
mod setup;
#[cfg(any(feature = "cohere", feature = "voyage"))]
mod vectors;

use audiorag_providers::vendors::{Capability, VENDORS};

/// The vendors that have a module here, and what of them it covers.
const COVERED: &[(&str, &[Capability])] = &[
    #[cfg(feature = "assemblyai")]
    ("assemblyai", &[Capability::Transcribe]),
    #[cfg(feature = "cohere")]
    (
        "cohere",
        &[Capability::Transcribe, Capability::Embed, Capability::Rerank],
    ),
    #[cfg(feature = "deepgram")]
    ("deepgram", &[Capability::Transcribe]),
    #[cfg(feature = "elevenlabs")]
    ("elevenlabs", &[Capability::Transcribe]),
    #[cfg(feature = "voyage")]
    ("voyage", &[Capability::Embed, Capability::Rerank]),
];

#[test]
fn every_vendor_has_its_fixtures() {
    for vendor in VENDORS.iter().filter(|vendor| vendor.id != "local") {
        let covered = COVERED.iter().find(|(id, _)| *id == vendor.id);
        let offered: Vec<Capability> = vendor.capabilities().collect();
        assert_eq!(
            covered.map(|(_, covered)| covered.to_vec()),
            Some(offered),
            "{}",
            vendor.id
        );
    }
}
