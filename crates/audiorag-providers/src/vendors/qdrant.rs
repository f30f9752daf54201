//! Qdrant, a server of one's own or Qdrant Cloud, through its REST interface.
//!
//! <https://api.qdrant.tech/api-reference>. Shapes: the reference for 1.10 to 1.19 and the Python package
//! qdrant-client 1.20.0 (2026-11-23). Not tried against a server.
//!
//! - Ids are unsigned numbers or UUIDs, so chunks are kept under version 5 UUIDs.
//! - Every point names its embedding space, so that a collection filled with another model is found out, whatever
//!   the server's version.
//! - Fields that filters and selectors use are indexed, as strict mode wants it.

use super::{Offer, SettingKind, Vendor, VendorContext, VendorSetting};
use crate::http::{Call, Replay, Service, health_of};
use crate::wire::record_id::RecordIds;
use crate::wire::store::{
    Fields, Place, Prepared, Ranges, best_first, check_records, check_vector, cut, json, other_space,
    plain_name,
};
use async_trait::async_trait;
use audiorag_core::capability::{
    Health, ProviderInfo, Selector, StoreLimits, VectorMatch, VectorRecord, VectorStore,
};
use audiorag_core::id::{ChunkId, SourceId};
use audiorag_core::model::{EmbeddingSpace, Filter};
use audiorag_core::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::sync::Arc;
use std::time::Instant;

pub(super) const VENDOR: Vendor = Vendor {
    id: "qdrant",
    about: "vectors in a Qdrant server or Qdrant Cloud",
    docs: "https://api.qdrant.tech/api-reference",
    settings: &[
        VendorSetting {
            path: "qdrant.base_url",
            aliases: &["QDRANT_BASE_URL", "QDRANT_URL"],
            kind: SettingKind::Url,
            default: Some("http://localhost:6333"),
            doc: "Address of the REST interface of the Qdrant server.",
        },
        VendorSetting {
            path: "qdrant.api_key",
            aliases: &["QDRANT_API_KEY"],
            kind: SettingKind::Secret,
            default: None,
            doc: "Key of the Qdrant server. A server of one's own may need none.",
        },
        VendorSetting {
            path: "qdrant.collection",
            aliases: &["QDRANT_COLLECTION"],
            kind: SettingKind::Text,
            default: Some("audiorag"),
            doc: "Collection for the vectors of one embedding model. It is made when it is missing.",
        },
    ],
    store: Some(Offer::new(&[], build)),
    ..Vendor::NONE
};

/// Points in one request.
const MAX_BATCH: usize = 1_000;
/// Bytes of one request; the server refuses more than 32 MB unless configured otherwise (from memory).
const MAX_REQUEST: usize = 24 << 20;
/// Bytes of records as the caller counts them, four for each component, which JSON writes in about three times that.
const MAX_BATCH_BYTES: usize = MAX_REQUEST / 4;
/// Matches in one answer.
const MAX_TOP_K: usize = 1_000;
/// Point ids in one request.
const IDS: usize = 1_000;
/// The fields that filters and selectors use.
const INDEXED: [(&str, &str); 8] = [
    ("space", "keyword"),
    ("source_id", "keyword"),
    ("revision", "integer"),
    ("speakers", "keyword"),
    ("language", "keyword"),
    ("day", "integer"),
    ("start_ms", "integer"),
    ("end_ms", "integer"),
];

fn build(ctx: &VendorContext<'_>) -> Result<Arc<dyn VectorStore>> {
    let collection = plain_name("qdrant.collection", ctx.required("qdrant.collection")?, 1..=255)?;
    let service = ctx
        .http
        .service("qdrant", ctx.required("qdrant.base_url")?)?
        .secret_header("api-key", "", &ctx.optional_key("qdrant.api_key"))?
        .key_hint("check QDRANT_API_KEY")
        .build();
    Ok(Arc::new(Qdrant {
        info: ProviderInfo {
            vendor: "qdrant".to_owned(),
            model: collection.clone(),
            version: 1,
        },
        ids: RecordIds::new(ctx, true)?,
        path: format!("/collections/{collection}"),
        collection,
        prepared: Prepared::default(),
        service,
    }))
}

struct Qdrant {
    info: ProviderInfo,
    service: Service,
    ids: RecordIds,
    collection: String,
    /// Path of the collection.
    path: String,
    /// The name of the space, as points carry it.
    prepared: Prepared<String>,
}

impl Qdrant {
    fn post(&self, route: &str, body: &Value) -> Call {
        Call::post(format!("{}/{route}", self.path))
            .json(body)
            .replay(Replay::Free)
    }

    async fn describe(&self) -> Result<Description> {
        Ok(self
            .service
            .json::<Envelope<Description>>(&Call::get(self.path.as_str()))
            .await?
            .value
            .result)
    }

    /// The collection as it is, or made anew.
    async fn description(&self, space: &EmbeddingSpace) -> Result<Description> {
        match self.describe().await {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            other => return other,
        }
        let create = Call::put(self.path.as_str())
            .json(&json!({"vectors": {"size": space.dimensions, "distance": "Cosine"}}));
        let created = self.service.done(&create).await;
        match (self.describe().await, created) {
            // Somebody else may have been faster.
            (Ok(description), _) => Ok(description),
            (Err(_), Err(error)) | (Err(error), Ok(_)) => Err(error),
        }
    }

    /// The space of a point that belongs to another one than `name`.
    async fn stranger(&self, name: &str) -> Result<Option<String>> {
        let body = json!({
            "filter": {"must_not": [matches("space", name)]},
            "limit": 1,
            "with_payload": ["space"],
            "with_vector": false,
        });
        let scrolled: Envelope<Scrolled> = self.service.json(&self.post("points/scroll", &body)).await?.value;
        Ok(scrolled.result.points.into_iter().next().map(|point| {
            point
                .payload
                .and_then(|payload| payload.space)
                .unwrap_or_else(|| "something that AudioRAG did not make".to_owned())
        }))
    }

    /// What selects points, in pieces: a filter each.
    fn filters(&self, place: &Place<String>, selector: &Selector) -> Vec<Value> {
        match selector {
            Selector::Source(source) => vec![json!({"must": [matches("source_id", source.as_str())]})],
            Selector::Revision(source, revision) => vec![json!({"must": [
                matches("source_id", source.as_str()),
                {"key": "revision", "match": {"value": revision.0}},
            ]})],
            Selector::Chunks(chunks) => {
                let ids: Vec<String> = chunks.iter().map(|chunk| self.ids.of(chunk)).collect();
                ids.chunks(IDS)
                    .map(|ids| json!({"must": [{"has_id": ids}]}))
                    .collect()
            }
            Selector::All => vec![json!({"must": [matches("space", &place.at)]})],
        }
    }
}

#[async_trait]
impl VectorStore for Qdrant {
    fn info(&self) -> &ProviderInfo {
        &self.info
    }

    fn limits(&self) -> StoreLimits {
        StoreLimits {
            max_batch: MAX_BATCH,
            max_batch_bytes: Some(MAX_BATCH_BYTES),
            max_top_k: MAX_TOP_K,
            read_your_writes: true,
        }
    }

    async fn prepare(&self, space: &EmbeddingSpace) -> Result<()> {
        let name = space.fingerprint();
        let place = format!("the Qdrant collection '{}'", self.collection);
        let other = |held: &str| other_space(&place, held, space, "AUDIORAG_QDRANT_COLLECTION");
        let description = self.description(space).await?;
        let Some(vectors) = description.config.params.vectors else {
            return Err(other("named or sparse kinds"));
        };
        if vectors.distance != "Cosine" {
            return Err(Error::config(format!(
                "{place} compares by '{}', not by cosine",
                vectors.distance
            ))
            .with_hint("set AUDIORAG_QDRANT_COLLECTION to a new name and index once more"));
        }
        if vectors.size != space.dimensions {
            return Err(other(&format!("{} dimensions", vectors.size)));
        }
        for (field, kind) in INDEXED {
            if !description.payload_schema.contains_key(field) {
                let call = Call::put(format!("{}/index", self.path))
                    .query("wait", "true")
                    .json(&json!({"field_name": field, "field_schema": kind}));
                self.service.done(&call).await?;
            }
        }
        if let Some(held) = self.stranger(&name).await? {
            return Err(other(&held));
        }
        self.prepared.set(space, name);
        Ok(())
    }

    async fn upsert(&self, records: Vec<VectorRecord>) -> Result<()> {
        let place = self.prepared.get()?;
        let points = check_records(&place.space, records)?
            .iter()
            .map(|record| {
                json(&Point {
                    id: self.ids.of(&record.id),
                    vector: &record.vector,
                    payload: Payload {
                        space: &place.at,
                        fields: Fields::of(record),
                    },
                })
            })
            .collect::<Result<Vec<String>>>()?;
        for run in cut(points, MAX_BATCH, MAX_REQUEST, |point| point.len() + 1)? {
            let call = Call::put(format!("{}/points", self.path))
                .query("wait", "true")
                .bytes("application/json", format!(r#"{{"points":[{}]}}"#, run.join(",")));
            let done: Envelope<Update> = self.service.json(&call).await?.value;
            done.result.completed()?;
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
        // A wider search than the default, which finds more of what there is.
        let body = format!(
            r#"{{"query":{},"limit":{top_k},"filter":{},"params":{{"hnsw_ef":{}}},"with_payload":["chunk_id"]}}"#,
            json(vector)?,
            json!({"must": conditions(filter, ranges)}),
            (2 * top_k).max(200),
        );
        let call = Call::post(format!("{}/points/query", self.path))
            .bytes("application/json", body)
            .replay(Replay::Free);
        let found: Envelope<Found> = self.service.json(&call).await?.value;
        let matches = found
            .result
            .points
            .into_iter()
            .map(|point| {
                let id = point.payload.and_then(|payload| payload.chunk_id);
                match (id, point.score) {
                    (Some(id), Some(score)) => Ok(VectorMatch {
                        id: ChunkId::from_stored(id),
                        score,
                    }),
                    _ => Err(Error::protocol(
                        "qdrant returns a point without chunk_id or score",
                    )),
                }
            })
            .collect::<Result<Vec<_>>>()?;
        Ok(best_first(matches, top_k))
    }

    async fn delete(&self, selector: &Selector) -> Result<()> {
        let place = self.prepared.get()?;
        for filter in self.filters(&place, selector) {
            let call = self
                .post("points/delete", &json!({"filter": filter}))
                .query("wait", "true");
            let done: Envelope<Update> = self.service.json(&call).await?.value;
            done.result.completed()?;
        }
        Ok(())
    }

    async fn count(&self, selector: &Selector) -> Result<u64> {
        let place = self.prepared.get()?;
        let mut count = 0;
        for filter in self.filters(&place, selector) {
            let call = self.post("points/count", &json!({"filter": filter, "exact": true}));
            count += self
                .service
                .json::<Envelope<Counted>>(&call)
                .await?
                .value
                .result
                .count;
        }
        Ok(count)
    }

    async fn health_check(&self) -> Health {
        let start = Instant::now();
        let outcome = async {
            // `/healthz` is open to all; this route asks for the key.
            let call = Call::get("/collections");
            let list: Envelope<Collections> = self.service.json(&call).await?.value;
            let made = list
                .result
                .collections
                .iter()
                .any(|collection| collection.name == self.collection);
            let missing = if made { "" } else { " not made yet" };
            Ok(format!("collection '{}'{missing}", self.collection))
        };
        health_of(outcome.await, start.elapsed())
    }
}

fn matches(key: &str, value: &str) -> Value {
    json!({"key": key, "match": {"value": value}})
}

/// The conditions of a filter, all of which must hold.
fn conditions(filter: &Filter, ranges: Ranges) -> Vec<Value> {
    let mut all = Vec::new();
    if !filter.sources.is_empty() {
        let ids: Vec<&str> = filter.sources.iter().map(SourceId::as_str).collect();
        all.push(json!({"key": "source_id", "match": {"any": ids}}));
    }
    if !filter.speakers.is_empty() {
        all.push(json!({"key": "speakers", "match": {"any": filter.speakers}}));
    }
    if let Some(language) = &filter.language {
        all.push(matches("language", language));
    }
    let mut range = |key: &str, bound: &str, value: Option<u64>| {
        if let Some(value) = value {
            all.push(json!({"key": key, "range": {bound: value}}));
        }
    };
    range("day", "gte", ranges.after.map(u64::from));
    range("day", "lte", ranges.before.map(u64::from));
    range("start_ms", "lt", ranges.within.map(|(_, end)| end));
    range("end_ms", "gt", ranges.within.map(|(start, _)| start));
    all
}

#[derive(Serialize)]
struct Point<'a> {
    id: String,
    vector: &'a [f32],
    payload: Payload<'a>,
}

#[derive(Serialize)]
struct Payload<'a> {
    space: &'a str,
    #[serde(flatten)]
    fields: Fields<'a>,
}

#[derive(Deserialize)]
struct Envelope<T> {
    result: T,
}

#[derive(Deserialize)]
struct Description {
    config: Config,
    #[serde(default)]
    payload_schema: Map<String, Value>,
}

#[derive(Deserialize)]
struct Config {
    params: Params,
}

#[derive(Deserialize)]
struct Params {
    /// `None` for a collection whose vectors have names.
    #[serde(default, deserialize_with = "unnamed")]
    vectors: Option<Vectors>,
}

#[derive(Deserialize)]
struct Vectors {
    size: usize,
    distance: String,
}

fn unnamed<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Vectors>, D::Error> {
    let value = Value::deserialize(deserializer)?;
    Ok(serde_json::from_value(value).ok())
}

#[derive(Deserialize)]
struct Scrolled {
    points: Vec<Held>,
}

#[derive(Deserialize)]
struct Found {
    points: Vec<Held>,
}

#[derive(Deserialize)]
struct Held {
    #[serde(default)]
    score: Option<f32>,
    #[serde(default)]
    payload: Option<Kept>,
}

#[derive(Deserialize)]
struct Kept {
    #[serde(default)]
    chunk_id: Option<String>,
    #[serde(default)]
    space: Option<String>,
}

#[derive(Deserialize)]
struct Update {
    status: String,
}

impl Update {
    /// With `wait=true` a write is done when it is answered.
    fn completed(&self) -> Result<()> {
        if self.status == "completed" {
            return Ok(());
        }
        Err(Error::unavailable(format!(
            "qdrant took a write without finishing it in time: {}",
            self.status
        )))
    }
}

#[derive(Deserialize)]
struct Counted {
    count: u64,
}

#[derive(Deserialize)]
struct Collections {
    collections: Vec<Named>,
}

#[derive(Deserialize)]
struct Named {
    name: String,
}

#[cfg(test)]
mod tests {
    use super::*;
    use audiorag_core::Span;

    #[test]
    fn every_field_of_a_filter_becomes_a_condition() {
        let filter = Filter {
            speakers: vec!["Bo 'x'".to_owned()],
            language: Some("de".to_owned()),
            after: Some("2026-01-02".to_owned()),
            before: Some("2026-01-03".to_owned()),
            within: Some(Span::from_millis(5, 9)),
            ..Filter::default()
        };
        let ranges = Ranges::of(&filter).unwrap().unwrap();
        assert_eq!(
            json!(conditions(&filter, ranges)),
            json!([
                {"key": "speakers", "match": {"any": ["Bo 'x'"]}},
                {"key": "language", "match": {"value": "de"}},
                {"key": "day", "range": {"gte": 20_260_102}},
                {"key": "day", "range": {"lte": 20_260_103}},
                {"key": "start_ms", "range": {"lt": 9}},
                {"key": "end_ms", "range": {"gt": 5}},
            ])
        );
        assert!(conditions(&Filter::default(), Ranges::default()).is_empty());
    }

    #[test]
    fn collections_with_named_vectors_are_told_apart() {
        let of = |vectors: Value| {
            serde_json::from_value::<Params>(json!({"vectors": vectors}))
                .unwrap()
                .vectors
                .map(|vectors| vectors.size)
        };
        assert_eq!(of(json!({"size": 3, "distance": "Cosine"})), Some(3));
        assert_eq!(of(json!({"text": {"size": 3, "distance": "Cosine"}})), None);
    }
}
