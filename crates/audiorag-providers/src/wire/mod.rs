//! What several vendors have in common on the wire.

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
