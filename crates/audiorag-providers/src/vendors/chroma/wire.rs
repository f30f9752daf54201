//! What goes over the wire.

use crate::wire::record_id::RecordIds;
use crate::wire::store::{Fields, json};
use audiorag_core::capability::VectorRecord;
use audiorag_core::id::{ChunkId, KeyHasher};
use audiorag_core::model::EmbeddingSpace;
use audiorag_core::{Error, Result};
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// The answer for the one query that was asked.
pub(super) fn one<T>(mut answers: Vec<Vec<T>>) -> Result<Vec<T>> {
    match (answers.pop(), answers.is_empty()) {
        (Some(answer), true) => Ok(answer),
        _ => Err(Error::protocol("chroma does not return one answer for one query")),
    }
}

/// A column of an answer, as long as the others.
pub(super) fn aligned<T>(column: Option<Vec<T>>, count: usize) -> Result<Vec<T>> {
    column
        .filter(|column| column.len() == count)
        .ok_or_else(|| Error::protocol("chroma returns columns of different lengths"))
}

/// A record as JSON, by column.
pub(super) struct Row {
    pub(super) id: String,
    pub(super) vector: String,
    pub(super) text: String,
    pub(super) fields: String,
}

impl Row {
    pub(super) fn of(record: &VectorRecord, ids: &RecordIds) -> Result<Self> {
        let mut fields = serde_json::to_value(Fields::of(record)).unwrap_or_default();
        if let Some(fields) = fields.as_object_mut() {
            // The text is the record's document.
            fields.remove("text");
            if !record.speakers.is_empty() {
                fields.insert("speakers".to_owned(), json!(record.speakers.join(", ")));
            }
            for speaker in &record.speakers {
                fields.insert(speaker_field(speaker), Value::Bool(true));
            }
        }
        Ok(Self {
            id: ids.of(&record.id),
            vector: json(&record.vector)?,
            text: json(&record.text)?,
            fields: fields.to_string(),
        })
    }

    pub(super) fn size(&self) -> usize {
        // Quotes and commas.
        self.id.len() + self.vector.len() + self.text.len() + self.fields.len() + 8
    }
}

#[derive(Deserialize)]
pub(super) struct Checks {
    pub(super) max_batch_size: usize,
}

#[derive(Deserialize)]
pub(super) struct Collection {
    pub(super) id: String,
    #[serde(default)]
    pub(super) metadata: Option<Map<String, Value>>,
    #[serde(default)]
    pub(super) configuration_json: Value,
}

impl Collection {
    /// The space that the metadata names.
    pub(super) fn held(&self) -> Option<EmbeddingSpace> {
        let metadata = self.metadata.as_ref()?;
        let text = |key: &str| metadata.get(key)?.as_str().map(str::to_owned);
        Some(EmbeddingSpace {
            provider: text("audiorag_provider")?,
            model: text("audiorag_model")?,
            dimensions: metadata.get("audiorag_dimensions")?.as_u64()? as usize,
        })
    }

    /// How it compares, where it says so: a server uses `hnsw`, the cloud `spann`.
    pub(super) fn measure(&self) -> Option<&str> {
        ["/hnsw/space", "/spann/space"]
            .iter()
            .find_map(|path| self.configuration_json.pointer(path)?.as_str())
    }
}

#[derive(Deserialize)]
pub(super) struct Got {
    pub(super) ids: Vec<String>,
    #[serde(default)]
    pub(super) embeddings: Option<Vec<Vec<f32>>>,
    #[serde(default)]
    pub(super) metadatas: Option<Vec<Stored>>,
}

#[derive(Deserialize)]
pub(super) struct Found {
    pub(super) ids: Vec<Vec<String>>,
    #[serde(default)]
    pub(super) distances: Option<Vec<Vec<f32>>>,
    #[serde(default)]
    pub(super) metadatas: Option<Vec<Vec<Stored>>>,
}

/// The one field of a record that answers need.
#[derive(Deserialize)]
pub(super) struct Stored {
    #[serde(default)]
    pub(super) chunk_id: Option<String>,
}

impl Stored {
    pub(super) fn chunk(self) -> Result<ChunkId> {
        self.chunk_id
            .map(ChunkId::from_stored)
            .ok_or_else(|| Error::protocol("chroma returns a record without chunk_id"))
    }
}

/// The field that says that somebody speaks in a record. Names of fields are not free text, so the name is hashed.
pub(super) fn speaker_field(name: &str) -> String {
    let mut key = KeyHasher::new("speaker/1").text(name).finish();
    key.truncate(16);
    format!("speaker_{key}")
}
