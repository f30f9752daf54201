//! What several vendors speak alike.

#[cfg(any(
    feature = "assemblyai",
    feature = "cohere",
    feature = "deepgram",
    feature = "elevenlabs"
))]
pub(crate) mod audio;
#[cfg(any(feature = "cohere", feature = "voyage"))]
pub(crate) mod vectors;
#[cfg(any(
    feature = "assemblyai",
    feature = "cohere",
    feature = "deepgram",
    feature = "elevenlabs"
))]
pub(crate) mod wav;
#[cfg(any(feature = "assemblyai", feature = "deepgram", feature = "elevenlabs"))]
pub(crate) mod words;
