//! Chroma, a server of one's own or Chroma Cloud, through version 2 of its REST interface.
//!
//! <https://docs.trychroma.com/reference/overview>. Routes and shapes: the HTTP client in the Python package chromadb
//! 1.5.9, checked against the server of that package (2026-11-23).
//!
//! - A collection belongs to one embedding space, which its metadata names; it compares by cosine.
//! - The server says how many records it takes at once (`pre-flight-checks`), and that is obeyed.
//! - Metadata of servers before 1.5 holds single values only, so each speaker is a field of its own.
//! - The index is approximate: it can return fewer matches than there are. Then the matching records are compared
//!   one by one, as far as that is bearable.

mod wire;

use super::{Offer, SettingKind, Vendor, VendorContext, VendorSetting};
use crate::http::{Call, Replay, Service, health_of};
use crate::wire::record_id::RecordIds;
use crate::wire::store::{
    Place, Prepared, Ranges, best_first, check_records, check_vector, cut, json, other_space, plain_name,
};
use async_trait::async_trait;
use audiorag_core::capability::{
    Health, ProviderInfo, Selector, StoreLimits, VectorMatch, VectorRecord, VectorStore,
};
use audiorag_core::id::SourceId;
use audiorag_core::model::{EmbeddingSpace, Filter};
use audiorag_core::{Error, ErrorKind, Result};
use serde_json::{Map, Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;
use wire::{Checks, Collection, Found, Got, Row, aligned, one, speaker_field};

pub(super) const VENDOR: Vendor = Vendor {
    id: "chroma",
    about: "vectors in a Chroma server or Chroma Cloud",
    docs: "https://docs.trychroma.com/reference/overview",
    settings: &[
        VendorSetting {
            path: "chroma.base_url",
            aliases: &["CHROMA_BASE_URL", "CHROMA_URL"],
            kind: SettingKind::Url,
            default: Some("http://localhost:8000"),
            doc: "Address of the Chroma server, without a path.",
        },
        VendorSetting {
            path: "chroma.api_key",
            aliases: &["CHROMA_API_KEY"],
            kind: SettingKind::Secret,
            default: None,
            doc: "Key of the Chroma server, sent as `x-chroma-token`. A server of one's own may need none.",
        },
        VendorSetting {
            path: "chroma.tenant",
            aliases: &["CHROMA_TENANT"],
            kind: SettingKind::Text,
            default: Some("default_tenant"),
            doc: "Tenant that holds the database.",
        },
        VendorSetting {
            path: "chroma.database",
            aliases: &["CHROMA_DATABASE"],
            kind: SettingKind::Text,
            default: Some("default_database"),
            doc: "Database that holds the collection.",
        },
        VendorSetting {
            path: "chroma.collection",
            aliases: &["CHROMA_COLLECTION", "AUDIORAG_CHROMADB_COLLECTION_NAME"],
            kind: SettingKind::Text,
            default: Some("audiorag"),
            doc: "Collection for the vectors of one embedding model. It is made when it is missing.",
        },
    ],
    store: Some(Offer::new(&[], build)),
    ..Vendor::NONE
};

/// Records in one upsert, unless the server takes fewer: more would make a request of many megabytes.
const MAX_BATCH: usize = 1_000;
/// Bytes of one request. The server's own limit is 40 MiB unless configured otherwise (chromadb 1.5.9).
const MAX_REQUEST: usize = 24 << 20;
/// Bytes of records as the caller counts them, four for each component, which JSON writes in about three times that.
const MAX_BATCH_BYTES: usize = MAX_REQUEST / 4;
/// Records in one answer: what Chroma Cloud returns at most, from memory of its quotas.
const PAGE: usize = 300;
/// Records that are compared one by one when the index returns too few.
const MAX_SCAN: usize = 30_000;
/// Record ids in one request.
const IDS: usize = 300;

fn build(ctx: &VendorContext<'_>) -> Result<Arc<dyn VectorStore>> {
    let collection = plain_name("chroma.collection", ctx.required("chroma.collection")?, 3..=512)?;
    let tenant = plain_name("chroma.tenant", ctx.required("chroma.tenant")?, 1..=512)?;
    let database = plain_name("chroma.database", ctx.required("chroma.database")?, 1..=512)?;
    let service = ctx
        .http
        .service("chroma", ctx.required("chroma.base_url")?)?
        .secret_header("x-chroma-token", "", &ctx.optional_key("chroma.api_key"))?
        .key_hint("check CHROMA_API_KEY")
        .build();
    Ok(Arc::new(Chroma {
        info: ProviderInfo {
            vendor: "chroma".to_owned(),
            model: collection.clone(),
            version: 1,
        },
        ids: RecordIds::new(ctx, false)?,
        collections: format!("/api/v2/tenants/{tenant}/databases/{database}/collections"),
        collection,
        max_batch: AtomicUsize::new(MAX_BATCH),
        prepared: Prepared::default(),
        service,
    }))
}

struct Chroma {
    info: ProviderInfo,
    service: Service,
    ids: RecordIds,
    /// Path of the collections of the database.
    collections: String,
    collection: String,
    max_batch: AtomicUsize,
    /// The id of the collection, which routes want instead of its name.
    prepared: Prepared<String>,
}

impl Chroma {
    fn call(&self, place: &Place<String>, verb: &str, body: &Value) -> Call {
        Call::post(format!("{}/{}/{verb}", self.collections, place.at))
            .json(body)
            .replay(Replay::Free)
    }

    /// One page of the records that pass `wanted`, which holds `where` or `ids`.
    async fn page(
        &self,
        place: &Place<String>,
        wanted: &Map<String, Value>,
        offset: usize,
        limit: usize,
        include: &[&str],
    ) -> Result<Got> {
        let mut body = wanted.clone();
        body.insert("offset".to_owned(), json!(offset));
        body.insert("limit".to_owned(), json!(limit));
        body.insert("include".to_owned(), json!(include));
        let call = self.call(place, "get", &Value::Object(body)).cap(256 << 20);
        let got: Got = self.service.json(&call).await?.value;
        if got.ids.len() > limit {
            return Err(Error::protocol(format!(
                "chroma returns {} records where {limit} were asked for",
                got.ids.len()
            )));
        }
        Ok(got)
    }

    /// How many records pass `wanted`.
    async fn counted(&self, place: &Place<String>, wanted: &Map<String, Value>) -> Result<u64> {
        let mut count = 0;
        loop {
            let page = self.page(place, wanted, count, PAGE, &[]).await?;
            count += page.ids.len();
            if page.ids.len() < PAGE {
                return Ok(count as u64);
            }
        }
    }

    /// Compares the records that pass, one by one: the oracle of the approximate index. `None` when there are too
    /// many.
    async fn scan(
        &self,
        place: &Place<String>,
        vector: &[f32],
        wanted: &Map<String, Value>,
    ) -> Result<Option<Vec<VectorMatch>>> {
        let mut matches = Vec::new();
        while matches.len() < MAX_SCAN {
            let include = ["embeddings", "metadatas"];
            let page = self.page(place, wanted, matches.len(), PAGE, &include).await?;
            let count = page.ids.len();
            let vectors = aligned(page.embeddings, count)?;
            let fields = aligned(page.metadatas, count)?;
            for (stored, fields) in vectors.into_iter().zip(fields) {
                check_vector(&place.space, &stored)
                    .map_err(|error| Error::protocol("chroma returns a broken vector").with_cause(error))?;
                matches.push(VectorMatch {
                    id: fields.chunk()?,
                    score: cosine(vector, &stored),
                });
            }
            if count < PAGE {
                return Ok(Some(matches));
            }
        }
        Ok(None)
    }

    async fn nearest(
        &self,
        place: &Place<String>,
        vector: &[f32],
        top_k: usize,
        wanted: &Map<String, Value>,
    ) -> Result<Vec<VectorMatch>> {
        let condition = wanted
            .get("where")
            .map(|condition| format!(",\"where\":{condition}"))
            .unwrap_or_default();
        let body = format!(
            r#"{{"query_embeddings":[{}],"n_results":{top_k},"include":["distances","metadatas"]{condition}}}"#,
            json(vector)?
        );
        let call = Call::post(format!("{}/{}/query", self.collections, place.at))
            .bytes("application/json", body)
            .replay(Replay::Free);
        let found: Found = self.service.json(&call).await?.value;
        let ids = one(found.ids)?;
        let distances = aligned(Some(one(found.distances.unwrap_or_default())?), ids.len())?;
        let fields = aligned(Some(one(found.metadatas.unwrap_or_default())?), ids.len())?;
        fields
            .into_iter()
            .zip(distances)
            .map(|(fields, distance)| {
                Ok(VectorMatch {
                    id: fields.chunk()?,
                    score: 1.0 - distance,
                })
            })
            .collect()
    }

    async fn delete_where(&self, place: &Place<String>, wanted: &Map<String, Value>) -> Result<()> {
        // A server may delete a part at a time. Each round must get further.
        let mut left = u64::MAX;
        loop {
            let call = self.call(place, "delete", &Value::Object(wanted.clone()));
            self.service.done(&call).await?;
            let rest = self.counted(place, wanted).await?;
            if rest == 0 {
                return Ok(());
            }
            if rest >= left {
                return Err(Error::protocol(format!(
                    "chroma acknowledges a deletion, but {rest} records stay"
                )));
            }
            left = rest;
        }
    }

    /// What `get` and `delete` take for a selector: conditions or ids, in pieces.
    fn wanted(&self, selector: &Selector) -> Vec<Map<String, Value>> {
        let with = |key: &str, value: Value| Map::from_iter([(key.to_owned(), value)]);
        match selector {
            Selector::Source(source) => {
                vec![with("where", json!({"source_id": {"$eq": source.as_str()}}))]
            }
            Selector::Revision(source, revision) => vec![with(
                "where",
                json!({"$and": [
                    {"source_id": {"$eq": source.as_str()}},
                    {"revision": {"$eq": revision.0}},
                ]}),
            )],
            Selector::Chunks(chunks) => {
                let ids: Vec<String> = chunks.iter().map(|chunk| self.ids.of(chunk)).collect();
                ids.chunks(IDS).map(|ids| with("ids", json!(ids))).collect()
            }
            // Every record has a start.
            Selector::All => vec![with("where", json!({"start_ms": {"$gte": 0}}))],
        }
    }

    /// The body of an upsert: columns.
    fn columns(run: &[Row]) -> Result<String> {
        let column = |of: fn(&Row) -> &str| run.iter().map(of).collect::<Vec<_>>().join(",");
        let ids: Vec<&str> = run.iter().map(|row| row.id.as_str()).collect();
        Ok(format!(
            r#"{{"ids":{},"embeddings":[{}],"documents":[{}],"metadatas":[{}]}}"#,
            json(&ids)?,
            column(|row| &row.vector),
            column(|row| &row.text),
            column(|row| &row.fields),
        ))
    }
}

#[async_trait]
impl VectorStore for Chroma {
    fn info(&self) -> &ProviderInfo {
        &self.info
    }

    fn limits(&self) -> StoreLimits {
        StoreLimits {
            max_batch: self.max_batch.load(Ordering::Relaxed),
            max_batch_bytes: Some(MAX_BATCH_BYTES),
            max_top_k: PAGE,
            read_your_writes: true,
        }
    }

    async fn prepare(&self, space: &EmbeddingSpace) -> Result<()> {
        let checks: Checks = self
            .service
            .json(&Call::get("/api/v2/pre-flight-checks"))
            .await?
            .value;
        self.max_batch
            .store(checks.max_batch_size.clamp(1, MAX_BATCH), Ordering::Relaxed);
        let create = Call::post(self.collections.as_str())
            .json(&json!({
                "name": self.collection,
                "get_or_create": true,
                "metadata": {
                    "audiorag_provider": space.provider,
                    "audiorag_model": space.model,
                    "audiorag_dimensions": space.dimensions,
                },
                // A wider search than the default of 100 costs little and misses less.
                "configuration": {"hnsw": {"space": "cosine", "ef_search": 200}},
            }))
            .replay(Replay::Free);
        let collection: Collection = self.service.json(&create).await?.value;
        let place = format!("the Chroma collection '{}'", self.collection);
        let held = collection.held();
        if held.as_ref() != Some(space) {
            let held = held.map_or_else(
                || "something that AudioRAG did not make".to_owned(),
                |held| held.fingerprint(),
            );
            return Err(other_space(&place, &held, space, "AUDIORAG_CHROMA_COLLECTION"));
        }
        if let Some(measure) = collection.measure()
            && measure != "cosine"
        {
            return Err(
                Error::config(format!("{place} compares by '{measure}', not by cosine"))
                    .with_hint("set AUDIORAG_CHROMA_COLLECTION to a new name and index once more"),
            );
        }
        self.prepared.set(space, collection.id);
        Ok(())
    }

    async fn upsert(&self, records: Vec<VectorRecord>) -> Result<()> {
        let place = self.prepared.get()?;
        let rows = check_records(&place.space, records)?
            .iter()
            .map(|record| Row::of(record, &self.ids))
            .collect::<Result<Vec<_>>>()?;
        for run in cut(rows, self.limits().max_batch, MAX_REQUEST, Row::size)? {
            let call = Call::post(format!("{}/{}/upsert", self.collections, place.at))
                .bytes("application/json", Self::columns(&run)?)
                .replay(Replay::Free);
            self.service.done(&call).await?;
        }
        Ok(())
    }

    async fn search(&self, vector: &[f32], top_k: usize, filter: &Filter) -> Result<Vec<VectorMatch>> {
        let place = self.prepared.get()?;
        check_vector(&place.space, vector)?;
        let top_k = top_k.min(PAGE);
        let Some(ranges) = Ranges::of(filter)?.filter(|_| top_k > 0) else {
            return Ok(Vec::new());
        };
        let wanted: Map<String, Value> = condition(filter, ranges)
            .map(|condition| ("where".to_owned(), condition))
            .into_iter()
            .collect();
        let mut matches = self.nearest(&place, vector, top_k, &wanted).await?;
        if matches.len() < top_k
            && let Some(exact) = self.scan(&place, vector, &wanted).await?
        {
            matches = exact;
        }
        Ok(best_first(matches, top_k))
    }

    async fn delete(&self, selector: &Selector) -> Result<()> {
        let place = self.prepared.get()?;
        for wanted in self.wanted(selector) {
            self.delete_where(&place, &wanted).await?;
        }
        Ok(())
    }

    async fn count(&self, selector: &Selector) -> Result<u64> {
        let place = self.prepared.get()?;
        if matches!(selector, Selector::All) {
            let path = format!("{}/{}/count", self.collections, place.at);
            return Ok(self.service.json(&Call::get(path)).await?.value);
        }
        let mut count = 0;
        for wanted in self.wanted(selector) {
            count += self.counted(&place, &wanted).await?;
        }
        Ok(count)
    }

    async fn health_check(&self) -> Health {
        let start = Instant::now();
        let outcome = async {
            let version: String = self.service.json(&Call::get("/api/v2/version")).await?.value;
            // The version is open to all; this route asks for the key.
            let _: Value = self
                .service
                .json(&Call::get("/api/v2/auth/identity"))
                .await?
                .value;
            // A database that does not exist shows only here.
            let name = &self.collection;
            match self
                .service
                .json::<Collection>(&Call::get(format!("{}/{name}", self.collections)))
                .await
            {
                Ok(_) => Ok(format!("interface {version}, collection '{name}'")),
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    Ok(format!("interface {version}, collection '{name}' not made yet"))
                }
                Err(error) => Err(error),
            }
        };
        health_of(outcome.await, start.elapsed())
    }
}

/// The condition for a filter; `None` when it restricts nothing.
fn condition(filter: &Filter, ranges: Ranges) -> Option<Value> {
    let mut all = Vec::new();
    let mut and = |field: &str, operator: &str, value: Value| all.push(json!({field: {operator: value}}));
    if !filter.sources.is_empty() {
        let ids: Vec<&str> = filter.sources.iter().map(SourceId::as_str).collect();
        and("source_id", "$in", json!(ids));
    }
    if let Some(language) = &filter.language {
        and("language", "$eq", json!(language));
    }
    if let Some(day) = ranges.after {
        and("day", "$gte", json!(day));
    }
    if let Some(day) = ranges.before {
        and("day", "$lte", json!(day));
    }
    if let Some((start, end)) = ranges.within {
        and("start_ms", "$lt", json!(end));
        and("end_ms", "$gt", json!(start));
    }
    let mut speakers: Vec<Value> = filter
        .speakers
        .iter()
        .map(|name| json!({speaker_field(name): {"$eq": true}}))
        .collect();
    // A list of one is refused.
    match speakers.len() {
        0 => {}
        1 => all.append(&mut speakers),
        _ => all.push(json!({"$or": speakers})),
    }
    match all.len() {
        0 | 1 => all.pop(),
        _ => Some(json!({"$and": all})),
    }
}

/// Cosine similarity, summed in double precision.
fn cosine(a: &[f32], b: &[f32]) -> f32 {
    let (mut dot, mut left, mut right) = (0.0, 0.0, 0.0);
    for (x, y) in a.iter().zip(b) {
        let (x, y) = (f64::from(*x), f64::from(*y));
        dot += x * y;
        left += x * x;
        right += y * y;
    }
    (dot / (left * right).sqrt()) as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_are_lists_only_where_there_are_several() {
        let of = |filter: &Filter| condition(filter, Ranges::of(filter).unwrap().unwrap());
        assert_eq!(of(&Filter::default()), None);
        let ada = Filter {
            speakers: vec!["Ada".to_owned()],
            ..Filter::default()
        };
        let field = speaker_field("Ada");
        assert_eq!(of(&ada), Some(json!({field: {"$eq": true}})));
        let both = Filter {
            before: Some("2026-01-02".to_owned()),
            ..ada
        };
        let Some(Value::Object(both)) = of(&both) else {
            panic!("no condition")
        };
        assert_eq!(both["$and"].as_array().unwrap().len(), 2);
        assert_ne!(speaker_field("Ada"), speaker_field("ada"));
    }
}
