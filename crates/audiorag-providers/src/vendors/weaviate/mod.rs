//! Weaviate, a server of one's own or Weaviate Cloud: REST for schema, writes and deletions, GraphQL for search.
//!
//! <https://docs.weaviate.io/weaviate/api/rest> and <https://docs.weaviate.io/weaviate/api/graphql>. Shapes: the Python
//! package weaviate-client 4.24.1 and the published schema of `BatchDeleteResponse` (2026-11-23). Not tried against a
//! server.
//!
//! - Every field that is filtered or deleted by is declared when the class is made, `source_id` among them.
//! - A batch is answered with success even when objects in it failed; each object's own result is read.
//! - A deletion stops at the server's limit of results (10,000 by default), so it is repeated until nothing matches.
//! - With asynchronous indexing or replicas, reads see writes later.

mod condition;

use super::{Offer, SettingKind, Vendor, VendorContext, VendorSetting};
use crate::http::{Call, Replay, Service, health_of};
use crate::wire::record_id::RecordIds;
use crate::wire::store::{
    Fields, Prepared, Ranges, best_first, check_records, check_vector, cut, json, other_space, plain_name,
};
use async_trait::async_trait;
use audiorag_core::capability::{
    Health, ProviderInfo, Selector, StoreLimits, VectorMatch, VectorRecord, VectorStore,
};
use audiorag_core::id::ChunkId;
use audiorag_core::model::{EmbeddingSpace, Filter};
use audiorag_core::{Error, ErrorKind, Result};
use condition::{PROPERTIES, all, any, compare, conditions, equal, graphql, property};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Instant;

pub(super) const VENDOR: Vendor = Vendor {
    id: "weaviate",
    about: "vectors in a Weaviate server or Weaviate Cloud",
    docs: "https://docs.weaviate.io/weaviate/api/rest",
    settings: &[
        VendorSetting {
            path: "weaviate.base_url",
            aliases: &["WEAVIATE_BASE_URL", "WEAVIATE_URL", "AUDIORAG_WEAVIATE_URL"],
            kind: SettingKind::Url,
            default: Some("http://localhost:8080"),
            doc: "Address of the Weaviate server, without `/v1`.",
        },
        VendorSetting {
            path: "weaviate.api_key",
            aliases: &["WEAVIATE_API_KEY"],
            kind: SettingKind::Secret,
            default: None,
            doc: "Key of the Weaviate server. A server of one's own may need none.",
        },
        VendorSetting {
            path: "weaviate.collection_name",
            aliases: &["WEAVIATE_COLLECTION"],
            kind: SettingKind::Text,
            default: Some("AudioRAG"),
            doc: "Class for the vectors of one embedding model. It is made when it is missing.",
        },
    ],
    store: Some(Offer::new(&[], build)),
    ..Vendor::NONE
};

/// Objects in one request: what the vendor's own client sends at most.
const MAX_BATCH: usize = 1_000;
/// Bytes of one request; the vendor's client stays under the 10 MB that the server announces for gRPC.
const MAX_REQUEST: usize = 10_000_000;
/// Bytes of records as the caller counts them, four for each component, which JSON writes in about three times that.
const MAX_BATCH_BYTES: usize = MAX_REQUEST / 4;
/// Matches in one answer.
const MAX_TOP_K: usize = 1_000;
/// Chunks named in one condition.
const IDS: usize = 100;
/// What the description of a class starts with, before its space.
const MARK: &str = "AudioRAG vectors of ";
fn build(ctx: &VendorContext<'_>) -> Result<Arc<dyn VectorStore>> {
    let path = "weaviate.collection_name";
    let name = plain_name(path, ctx.required(path)?, 1..=230)?;
    if !name.starts_with(|first: char| first.is_ascii_alphabetic()) || name.contains('-') {
        return Err(Error::config(format!(
            "{path} is '{name}'; a class starts with a letter and has no '-'"
        )));
    }
    // The server does the same.
    let class = name.get(..1).unwrap_or_default().to_ascii_uppercase() + name.get(1..).unwrap_or_default();
    let service = ctx
        .http
        .service("weaviate", ctx.required("weaviate.base_url")?)?
        .bearer(&ctx.optional_key("weaviate.api_key"))?
        .key_hint("check WEAVIATE_API_KEY")
        .build();
    Ok(Arc::new(Weaviate {
        info: ProviderInfo {
            vendor: "weaviate".to_owned(),
            model: class.clone(),
            version: 1,
        },
        ids: RecordIds::new(ctx, true)?,
        prepared: Prepared::default(),
        class,
        service,
    }))
}

struct Weaviate {
    info: ProviderInfo,
    service: Service,
    ids: RecordIds,
    class: String,
    /// The class that was found to be fit.
    prepared: Prepared<String>,
}

impl Weaviate {
    async fn describe(&self) -> Result<Class> {
        let call = Call::get(format!("/v1/schema/{}", self.class));
        Ok(self.service.json(&call).await?.value)
    }

    /// The class as it is, or made anew.
    async fn described(&self, space: &EmbeddingSpace) -> Result<Class> {
        match self.describe().await {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            other => return other,
        }
        let create = Call::post("/v1/schema")
            .json(&json!({
                "class": self.class,
                "description": format!("{MARK}{}", space.fingerprint()),
                "vectorizer": "none",
                "vectorIndexType": "hnsw",
                "vectorIndexConfig": {"distance": "cosine"},
                // A speaker may be called "The".
                "invertedIndexConfig": {"stopwords": {"preset": "none"}},
                "properties": PROPERTIES.map(|(name, kind, filtered)| property(name, kind, filtered)),
            }))
            .replay(Replay::Free);
        let created = self.service.done(&create).await;
        match (self.describe().await, created) {
            // Somebody else may have been faster.
            (Ok(class), _) => Ok(class),
            (Err(_), Err(error)) | (Err(error), Ok(_)) => Err(error),
        }
    }

    /// Asks in GraphQL, where errors come with a success.
    async fn ask(&self, query: &str) -> Result<Value> {
        let call = Call::post("/v1/graphql")
            .json(&json!({ "query": query }))
            .replay(Replay::Free);
        let answer: Answer = self.service.json(&call).await?.value;
        if let Some(error) = answer.errors.and_then(|errors| errors.into_iter().next()) {
            return Err(
                Error::protocol("weaviate cannot answer the query").with_context("said", error.message)
            );
        }
        Ok(answer.data)
    }

    /// Conditions for a selector, in pieces.
    fn conditions(selector: &Selector) -> Vec<Value> {
        match selector {
            Selector::Source(source) => vec![equal("source_id", source.as_str())],
            Selector::Revision(source, revision) => {
                let revision = compare("revision", "Equal", revision.0);
                all(vec![equal("source_id", source.as_str()), revision])
                    .into_iter()
                    .collect()
            }
            Selector::Chunks(chunks) => chunks
                .chunks(IDS)
                .filter_map(|chunks| {
                    any(chunks
                        .iter()
                        .map(|chunk| equal("chunk_id", chunk.as_str()))
                        .collect())
                })
                .collect(),
            Selector::All => vec![compare("start_ms", "GreaterThanEqual", 0)],
        }
    }

    async fn delete_all(&self, condition: &Value) -> Result<()> {
        loop {
            let call = Call::delete("/v1/batch/objects").json(&json!({
                "match": {"class": self.class, "where": condition},
                "output": "minimal",
            }));
            let deleted: Deleted = self.service.json(&call).await?.value;
            let results = deleted.results;
            if results.matches == 0 {
                return Ok(());
            }
            if results.failed > 0 || results.successful == 0 {
                return Err(Error::unavailable(format!(
                    "weaviate deleted {} of {} objects",
                    results.successful, results.matches
                )));
            }
        }
    }
}

#[async_trait]
impl VectorStore for Weaviate {
    fn info(&self) -> &ProviderInfo {
        &self.info
    }

    fn limits(&self) -> StoreLimits {
        StoreLimits {
            max_batch: MAX_BATCH,
            max_batch_bytes: Some(MAX_BATCH_BYTES),
            max_top_k: MAX_TOP_K,
            read_your_writes: false,
        }
    }

    async fn prepare(&self, space: &EmbeddingSpace) -> Result<()> {
        let class = self.described(space).await?;
        let place = format!("the Weaviate class '{}'", self.class);
        let setting = "AUDIORAG_WEAVIATE_COLLECTION_NAME";
        let held = class
            .description
            .as_deref()
            .and_then(|text| text.strip_prefix(MARK));
        if held != Some(space.fingerprint().as_str()) {
            let held = held.unwrap_or("something that AudioRAG did not make");
            return Err(other_space(&place, held, space, setting));
        }
        if class.vector_index_config.distance != "cosine" {
            return Err(Error::config(format!(
                "{place} compares by '{}', not by cosine",
                class.vector_index_config.distance
            ))
            .with_hint(format!("set {setting} to a new name and index once more")));
        }
        for (name, kind, filtered) in PROPERTIES {
            if !class.properties.iter().any(|held| held.name == name) {
                let call = Call::post(format!("/v1/schema/{}/properties", self.class))
                    .json(&property(name, kind, filtered))
                    .replay(Replay::Free);
                self.service.done(&call).await?;
            }
        }
        self.prepared.set(space, self.class.clone());
        Ok(())
    }

    async fn upsert(&self, records: Vec<VectorRecord>) -> Result<()> {
        let place = self.prepared.get()?;
        let objects = check_records(&place.space, records)?
            .iter()
            .map(|record| {
                json(&Object {
                    class: &place.at,
                    id: self.ids.of(&record.id),
                    vector: &record.vector,
                    properties: Fields::of(record),
                })
            })
            .collect::<Result<Vec<String>>>()?;
        for run in cut(objects, MAX_BATCH, MAX_REQUEST, |object| object.len() + 1)? {
            let call = Call::post("/v1/batch/objects")
                .bytes(
                    "application/json",
                    format!(r#"{{"objects":[{}]}}"#, run.join(",")),
                )
                .replay(Replay::Free)
                .cap(64 << 20);
            let written: Vec<Written> = self.service.json(&call).await?.value;
            if written.len() != run.len() {
                return Err(Error::protocol(format!(
                    "weaviate answers for {} of {} objects",
                    written.len(),
                    run.len()
                )));
            }
            let said: Vec<String> = written.into_iter().filter_map(Written::failure).collect();
            if let Some(first) = said.first() {
                // What is wrong with a record was refused before: this is the server's trouble.
                return Err(Error::unavailable(format!(
                    "weaviate did not store {} of {} objects",
                    said.len(),
                    run.len()
                ))
                .with_context("said", first));
            }
        }
        Ok(())
    }

    async fn search(&self, vector: &[f32], top_k: usize, filter: &Filter) -> Result<Vec<VectorMatch>> {
        let place = self.prepared.get()?;
        check_vector(&place.space, vector)?;
        let top_k = top_k.min(MAX_TOP_K);
        let Some(ranges) = Ranges::of(filter)?.filter(|_| top_k > 0) else {
            return Ok(Vec::new());
        };
        let condition = all(conditions(filter, ranges))
            .map(|condition| format!(" where: {}", graphql(&condition)))
            .unwrap_or_default();
        let query = format!(
            "{{ Get {{ {}(nearVector: {{vector: {}}} limit: {top_k}{condition}) \
             {{ chunk_id _additional {{ distance }} }} }} }}",
            self.class,
            json(vector)?
        );
        let mut data = self.ask(&query).await?;
        let found = data
            .pointer_mut(&format!("/Get/{}", self.class))
            .map(Value::take)
            .unwrap_or_default();
        let found: Vec<Found> = serde_json::from_value(found).map_err(|error| {
            Error::protocol("weaviate returns matches of another shape").with_cause(error)
        })?;
        let matches = found
            .into_iter()
            .map(|found| VectorMatch {
                id: ChunkId::from_stored(found.chunk_id),
                score: 1.0 - found.additional.distance,
            })
            .collect();
        Ok(best_first(matches, top_k))
    }

    async fn delete(&self, selector: &Selector) -> Result<()> {
        self.prepared.get()?;
        for condition in Self::conditions(selector) {
            self.delete_all(&condition).await?;
        }
        Ok(())
    }

    async fn count(&self, selector: &Selector) -> Result<u64> {
        self.prepared.get()?;
        let mut count = 0;
        for condition in Self::conditions(selector) {
            let query = format!(
                "{{ Aggregate {{ {}(where: {}) {{ meta {{ count }} }} }} }}",
                self.class,
                graphql(&condition)
            );
            let data = self.ask(&query).await?;
            count += data
                .pointer(&format!("/Aggregate/{}/0/meta/count", self.class))
                .and_then(Value::as_u64)
                .ok_or_else(|| Error::protocol("weaviate returns no count"))?;
        }
        Ok(count)
    }

    async fn health_check(&self) -> Health {
        let start = Instant::now();
        let outcome = async {
            // `/v1/.well-known/ready` is open to all; this route asks for the key.
            let meta: Meta = self.service.json(&Call::get("/v1/meta")).await?.value;
            match self.describe().await {
                Ok(_) => Ok(format!("version {}, class '{}'", meta.version, self.class)),
                Err(error) if error.kind() == ErrorKind::NotFound => Ok(format!(
                    "version {}, class '{}' not made yet",
                    meta.version, self.class
                )),
                Err(error) => Err(error),
            }
        };
        health_of(outcome.await, start.elapsed())
    }
}

#[derive(Serialize)]
struct Object<'a> {
    class: &'a str,
    id: String,
    vector: &'a [f32],
    properties: Fields<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Class {
    #[serde(default)]
    description: Option<String>,
    #[serde(default)]
    vector_index_config: IndexConfig,
    #[serde(default)]
    properties: Vec<Property>,
}

#[derive(Default, Deserialize)]
struct IndexConfig {
    #[serde(default)]
    distance: String,
}

#[derive(Deserialize)]
struct Property {
    name: String,
}

#[derive(Deserialize)]
struct Written {
    #[serde(default)]
    result: Option<Outcome>,
}

#[derive(Deserialize)]
struct Outcome {
    #[serde(default)]
    status: Option<String>,
    #[serde(default)]
    errors: Option<Value>,
}

impl Written {
    /// What went wrong with an object, if anything did.
    fn failure(self) -> Option<String> {
        let outcome = self.result?;
        let errors = outcome.errors.filter(|errors| !errors.is_null());
        if errors.is_none() && outcome.status.is_none_or(|status| status != "FAILED") {
            return None;
        }
        let errors = errors.unwrap_or_default();
        let said = errors.pointer("/error/0/message").and_then(Value::as_str);
        Some(said.map_or_else(|| "no reason given".to_owned(), str::to_owned))
    }
}

#[derive(Deserialize)]
struct Deleted {
    results: Deletion,
}

#[derive(Deserialize)]
struct Deletion {
    matches: u64,
    #[serde(default)]
    successful: u64,
    #[serde(default)]
    failed: u64,
}

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    data: Value,
    #[serde(default)]
    errors: Option<Vec<Said>>,
}

#[derive(Deserialize)]
struct Said {
    message: String,
}

#[derive(Deserialize)]
struct Found {
    chunk_id: String,
    #[serde(rename = "_additional")]
    additional: Additional,
}

#[derive(Deserialize)]
struct Additional {
    distance: f32,
}

#[derive(Deserialize)]
struct Meta {
    version: String,
}
