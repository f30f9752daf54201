//! What several vendors say alike: dialects, audio encodings, and streams of answers.
//!
//! Nothing here knows a vendor; vendor files pass in what differs between them.

#[cfg(any(
    feature = "anthropic",
    feature = "gemini",
    feature = "groq",
    feature = "openai"
))]
pub(crate) mod answer;
#[cfg(any(
    feature = "assemblyai",
    feature = "cohere",
    feature = "deepgram",
    feature = "elevenlabs",
    feature = "groq",
    feature = "openai"
))]
pub(crate) mod audio;
#[cfg(any(feature = "groq", feature = "openai"))]
pub(crate) mod openai;
#[cfg(any(
    feature = "chroma",
    feature = "pgvector",
    feature = "pinecone",
    feature = "qdrant",
    feature = "weaviate"
))]
pub(crate) mod record_id;
#[cfg(any(
    feature = "chroma",
    feature = "pgvector",
    feature = "pinecone",
    feature = "qdrant",
    feature = "weaviate"
))]
pub(crate) mod store;
#[cfg(any(feature = "cohere", feature = "voyage"))]
pub(crate) mod vectors;
#[cfg(any(feature = "assemblyai", feature = "deepgram", feature = "elevenlabs"))]
pub(crate) mod words;

/// Adds a field to an object.
#[cfg(any(
    feature = "anthropic",
    feature = "gemini",
    feature = "groq",
    feature = "openai"
))]
pub(crate) fn put(body: &mut serde_json::Value, name: &str, value: serde_json::Value) {
    if let Some(fields) = body.as_object_mut() {
        fields.insert(name.to_owned(), value);
    }
}
