//! cohere
