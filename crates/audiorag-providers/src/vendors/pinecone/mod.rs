//! Pinecone, through its control plane and the Vectors interface of an index.
//!
//! <https://docs.pinecone.io/reference/api/2026-04/control-plane/create_index> and
//! <https://docs.pinecone.io/reference/api/2026-07/data-plane/fetch_by_metadata>. Not tried against the service.
//!
//! - Version 2026-04 is asked for: the documentation makes indexes for the Vectors interface with it, while 2026-07
//!   describes indexes by another schema (2026-11-23). A version is supported for at least a year.
//! - Every embedding space has a namespace of its own, whose name holds a hash of it.
//! - Reads see writes later; whoever verifies must poll.
//! - Sources are deleted by a filter on metadata: pages of ids would stop at 1,000.

mod wire;

use super::{Offer, SettingKind, Vendor, VendorContext, VendorSetting};
use crate::http::{Call, HttpClient, Replay, Service, health_of};
use crate::wire::record_id::RecordIds;
use crate::wire::store::{
    Fields, Place, Prepared, Ranges, best_first, check_records, check_vector, cut, json, other_space,
    plain_name,
};
use async_trait::async_trait;
use audiorag_core::capability::{
    Health, ProviderInfo, Selector, StoreLimits, VectorMatch, VectorRecord, VectorStore,
};
use audiorag_core::id::{ChunkId, KeyHasher, SourceId};
use audiorag_core::model::{EmbeddingSpace, Filter};
use audiorag_core::{Error, ErrorKind, Result, Secret};
use serde_json::{Map, Value, json};
use std::sync::Arc;
use std::time::{Duration, Instant};
use wire::{Description, Found, Page, Stats, Upserted, Vector};

pub(super) const VENDOR: Vendor = Vendor {
    id: "pinecone",
    about: "vectors in Pinecone",
    docs: "https://docs.pinecone.io/reference/api/introduction",
    settings: &[
        VendorSetting {
            path: "pinecone.api_key",
            aliases: &["PINECONE_API_KEY"],
            kind: SettingKind::Secret,
            default: None,
            doc: "Key of the Pinecone project.",
        },
        VendorSetting {
            path: "pinecone.base_url",
            aliases: &["PINECONE_BASE_URL"],
            kind: SettingKind::Url,
            default: Some("https://api.pinecone.io"),
            doc: "Address of the control plane, which knows the indexes.",
        },
        VendorSetting {
            path: "pinecone.index_name",
            aliases: &["PINECONE_INDEX_NAME"],
            kind: SettingKind::Text,
            default: Some("audiorag"),
            doc: "Index for the vectors. A serverless one is made when it is missing.",
        },
        VendorSetting {
            path: "pinecone.host",
            aliases: &["PINECONE_INDEX_HOST"],
            kind: SettingKind::Url,
            default: None,
            doc: "Address of the index itself. When it is absent the control plane is asked.",
        },
        VendorSetting {
            path: "pinecone.namespace",
            aliases: &["PINECONE_NAMESPACE"],
            kind: SettingKind::Text,
            default: Some("default"),
            doc: "First part of the namespace; a hash of the embedding space follows.",
        },
        VendorSetting {
            path: "pinecone.cloud",
            aliases: &["PINECONE_CLOUD"],
            kind: SettingKind::Choice(&["aws", "gcp", "azure"]),
            default: Some("aws"),
            doc: "Cloud for an index that is made.",
        },
        VendorSetting {
            path: "pinecone.region",
            aliases: &["PINECONE_REGION"],
            kind: SettingKind::Text,
            default: Some("us-east-1"),
            doc: "Region for an index that is made.",
        },
    ],
    store: Some(Offer::new(&[], build)),
    ..Vendor::NONE
};

const API_VERSION: &str = "2026-04";
/// Records in one upsert (docs.pinecone.io, limits of operations).
const MAX_BATCH: usize = 1_000;
/// Bytes of one upsert: 2 MB (docs.pinecone.io, limits of operations), less what stands around the records.
const MAX_REQUEST: usize = 2_000_000 - 1_000;
/// Bytes of records as the caller counts them, four for each component, which JSON writes in about three times that.
const MAX_BATCH_BYTES: usize = MAX_REQUEST / 3;
/// Matches in one answer. The documented 10,000 hold only while the answer stays under 4 MB.
const MAX_TOP_K: usize = 1_000;
/// Ids in one deletion (docs.pinecone.io, limits of operations).
const DELETED_IDS: usize = 1_000;
/// Ids in the query of one URL, or records in one page with their vectors.
const PAGE: usize = 100;
/// Bytes of text kept with a vector: all metadata together may have 40 KB.
const MAX_TEXT: usize = 20_000;
/// How long a new index may take to become ready.
const CREATION: Duration = Duration::from_mins(3);

fn build(ctx: &VendorContext<'_>) -> Result<Arc<dyn VectorStore>> {
    let index = plain_name(
        "pinecone.index_name",
        ctx.required("pinecone.index_name")?,
        1..=45,
    )?;
    let key = ctx.key("pinecone.api_key", "PINECONE_API_KEY")?;
    let control_url = ctx.required("pinecone.base_url")?;
    Ok(Arc::new(Pinecone {
        info: ProviderInfo {
            vendor: "pinecone".to_owned(),
            model: index.clone(),
            version: 1,
        },
        ids: RecordIds::new(ctx, false)?,
        control: service(ctx.http, control_url, &key)?,
        scheme: if control_url.starts_with("http://") {
            "http"
        } else {
            "https"
        },
        host: ctx.value("pinecone.host").map(str::to_owned),
        namespace: plain_name("pinecone.namespace", ctx.required("pinecone.namespace")?, 1..=200)?,
        cloud: ctx.required("pinecone.cloud")?.to_owned(),
        region: ctx.required("pinecone.region")?.to_owned(),
        http: ctx.http.clone(),
        prepared: Prepared::default(),
        index,
        key,
    }))
}

fn service(http: &HttpClient, base: &str, key: &Secret) -> Result<Service> {
    Ok(http
        .service("pinecone", base)?
        .secret_header("api-key", "", key)?
        .header("x-pinecone-api-version", API_VERSION)?
        .key_hint("check PINECONE_API_KEY")
        .build())
}

struct Pinecone {
    info: ProviderInfo,
    ids: RecordIds,
    http: HttpClient,
    key: Secret,
    control: Service,
    /// What the hosts of indexes are reached by: as the control plane, for the emulator has no TLS.
    scheme: &'static str,
    host: Option<String>,
    index: String,
    namespace: String,
    cloud: String,
    region: String,
    prepared: Prepared<Index>,
}

/// An index, and the namespace of the prepared space in it.
struct Index {
    service: Service,
    namespace: String,
}

impl Index {
    fn call(route: &str, body: &Value) -> Call {
        Call::post(route).json(body).replay(Replay::Free)
    }

    async fn stats(&self) -> Result<Stats> {
        let call = Self::call("/describe_index_stats", &json!({}));
        Ok(self.service.json(&call).await?.value)
    }

    async fn delete(&self, mut what: Map<String, Value>) -> Result<()> {
        what.insert("namespace".to_owned(), json!(self.namespace));
        let call = Self::call("/vectors/delete", &Value::Object(what));
        // A namespace comes into being with its first record.
        absent_is(self.service.done(&call).await.map(|_| ()), ())
    }

    /// Counts the records that pass, page by page.
    async fn counted(&self, filter: &Value) -> Result<u64> {
        let mut count = 0;
        let mut token: Option<String> = None;
        loop {
            let mut body = json!({"namespace": self.namespace, "filter": filter, "limit": PAGE});
            if let (Some(token), Some(body)) = (&token, body.as_object_mut()) {
                body.insert("paginationToken".to_owned(), json!(token));
            }
            let call = Self::call("/vectors/fetch_by_metadata", &body).cap(64 << 20);
            let page: Page = absent_is(
                self.service.json(&call).await.map(|answer| answer.value),
                Page::default(),
            )?;
            count += page.vectors;
            let next = page
                .pagination
                .and_then(|pagination| pagination.next)
                .filter(|next| !next.is_empty());
            match next {
                None => return Ok(count),
                Some(next) if token.as_ref() == Some(&next) => {
                    return Err(Error::protocol("pinecone returns the same page again and again"));
                }
                next => token = next,
            }
        }
    }
}

/// `otherwise`, where the answer is that there is no such namespace.
fn absent_is<T>(outcome: Result<T>, otherwise: T) -> Result<T> {
    match outcome {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(otherwise),
        outcome => outcome,
    }
}

impl Pinecone {
    async fn describe(&self) -> Result<Description> {
        let call = Call::get(format!("/indexes/{}", self.index));
        Ok(self.control.json(&call).await?.value)
    }

    /// The address of the index, which is made when it is missing.
    async fn address(&self, space: &EmbeddingSpace) -> Result<String> {
        if let Some(host) = &self.host {
            return Ok(host.clone());
        }
        let started = Instant::now();
        let mut wait = Duration::from_millis(20);
        let mut asked = false;
        loop {
            match self.describe().await {
                Ok(description) if description.status.ready => {
                    return Ok(if description.host.contains("://") {
                        description.host
                    } else {
                        format!("{}://{}", self.scheme, description.host)
                    });
                }
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::NotFound && !asked => {
                    asked = true;
                    self.create(space).await?;
                    continue;
                }
                Err(error) => return Err(error),
            }
            if started.elapsed() > CREATION {
                return Err(Error::timeout(format!(
                    "the Pinecone index '{}' does not become ready",
                    self.index
                )));
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(Duration::from_secs(2));
        }
    }

    async fn create(&self, space: &EmbeddingSpace) -> Result<()> {
        let call = Call::post("/indexes")
            .json(&json!({
                "name": self.index,
                "vector_type": "dense",
                "dimension": space.dimensions,
                "metric": "cosine",
                "spec": {"serverless": {"cloud": self.cloud, "region": self.region}},
                "deletion_protection": "disabled",
            }))
            .replay(Replay::Creates);
        match self.control.done(&call).await {
            Ok(_) => Ok(()),
            // Somebody else was faster.
            Err(_) if self.describe().await.is_ok() => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn record(&self, record: &VectorRecord) -> Result<String> {
        let mut fields = Fields::of(record);
        fields.text = fields
            .text
            .get(..fields.text.floor_char_boundary(MAX_TEXT))
            .unwrap_or_default();
        json(&Vector {
            id: self.ids.of(&record.id),
            values: &record.vector,
            metadata: fields,
        })
    }
}

#[async_trait]
impl VectorStore for Pinecone {
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
        let index = Index {
            service: service(&self.http, &self.address(space).await?, &self.key)?,
            namespace: namespace_of(&self.namespace, space),
        };
        let stats = index.stats().await?;
        let place = format!("the Pinecone index '{}'", self.index);
        if stats
            .dimension
            .is_none_or(|dimension| dimension != space.dimensions)
        {
            let held = match stats.dimension {
                Some(dimension) => format!("{dimension} dimensions"),
                None => "a sparse kind".to_owned(),
            };
            return Err(other_space(&place, &held, space, "AUDIORAG_PINECONE_INDEX_NAME"));
        }
        if let Some(metric) = stats.metric.filter(|metric| metric != "cosine") {
            return Err(
                Error::config(format!("{place} compares by '{metric}', not by cosine"))
                    .with_hint("set AUDIORAG_PINECONE_INDEX_NAME to a new name and index once more"),
            );
        }
        self.prepared.set(space, index);
        Ok(())
    }

    async fn upsert(&self, records: Vec<VectorRecord>) -> Result<()> {
        let place = self.prepared.get()?;
        let Place { space, at: index } = &*place;
        let records = check_records(space, records)?
            .iter()
            .map(|record| self.record(record))
            .collect::<Result<Vec<String>>>()?;
        for run in cut(records, MAX_BATCH, MAX_REQUEST, |record| record.len() + 1)? {
            let body = format!(
                r#"{{"namespace":{},"vectors":[{}]}}"#,
                json(&index.namespace)?,
                run.join(",")
            );
            let call = Call::post("/vectors/upsert")
                .bytes("application/json", body)
                .replay(Replay::Free);
            let done: Upserted = index.service.json(&call).await?.value;
            if done.count.is_some_and(|count| count != run.len()) {
                return Err(Error::protocol(format!(
                    "pinecone took {} of {} records",
                    done.count.unwrap_or_default(),
                    run.len()
                )));
            }
        }
        Ok(())
    }

    async fn search(&self, vector: &[f32], top_k: usize, filter: &Filter) -> Result<Vec<VectorMatch>> {
        let place = self.prepared.get()?;
        let Place { space, at: index } = &*place;
        check_vector(space, vector)?;
        let top_k = top_k.min(MAX_TOP_K);
        let Some(ranges) = Ranges::of(filter)?.filter(|_| top_k > 0) else {
            return Ok(Vec::new());
        };
        let condition = condition(filter, ranges)
            .map(|condition| format!(",\"filter\":{condition}"))
            .unwrap_or_default();
        let body = format!(
            r#"{{"namespace":{},"vector":{},"topK":{top_k},"includeValues":false,"includeMetadata":true{condition}}}"#,
            json(&index.namespace)?,
            json(vector)?,
        );
        let call = Call::post("/query")
            .bytes("application/json", body)
            .replay(Replay::Free);
        let found = index.service.json(&call).await.map(|answer| answer.value);
        let found: Found = absent_is(found, Found::default())?;
        let matches = found
            .matches
            .into_iter()
            .map(|found| {
                let id = found.metadata.and_then(|metadata| metadata.chunk_id);
                match id {
                    Some(id) => Ok(VectorMatch {
                        id: ChunkId::from_stored(id),
                        score: found.score,
                    }),
                    None => Err(Error::protocol("pinecone returns a match without chunk_id")),
                }
            })
            .collect::<Result<Vec<_>>>()?;
        Ok(best_first(matches, top_k))
    }

    async fn delete(&self, selector: &Selector) -> Result<()> {
        let place = self.prepared.get()?;
        let index = &place.at;
        let with = |key: &str, value: Value| Map::from_iter([(key.to_owned(), value)]);
        match selector {
            Selector::Chunks(chunks) => {
                let ids: Vec<String> = chunks.iter().map(|chunk| self.ids.of(chunk)).collect();
                for ids in ids.chunks(DELETED_IDS) {
                    index.delete(with("ids", json!(ids))).await?;
                }
                Ok(())
            }
            Selector::All => index.delete(with("deleteAll", json!(true))).await,
            Selector::Source(_) | Selector::Revision(..) => {
                index.delete(with("filter", selected(selector))).await
            }
        }
    }

    async fn count(&self, selector: &Selector) -> Result<u64> {
        let place = self.prepared.get()?;
        let index = &place.at;
        match selector {
            Selector::All => {
                let stats = index.stats().await?;
                Ok(stats
                    .namespaces
                    .get(&index.namespace)
                    .map_or(0, |namespace| namespace.count))
            }
            Selector::Chunks(chunks) => {
                let mut ids: Vec<String> = chunks.iter().map(|chunk| self.ids.of(chunk)).collect();
                ids.sort_unstable();
                ids.dedup();
                let mut count = 0;
                for ids in ids.chunks(PAGE) {
                    let mut call = Call::get("/vectors/fetch")
                        .query("namespace", index.namespace.as_str())
                        .cap(64 << 20);
                    for id in ids {
                        call = call.query("ids", id.as_str());
                    }
                    let page = index.service.json(&call).await.map(|answer| answer.value);
                    count += absent_is::<Page>(page, Page::default())?.vectors;
                }
                Ok(count)
            }
            Selector::Source(_) | Selector::Revision(..) => index.counted(&selected(selector)).await,
        }
    }

    async fn health_check(&self) -> Health {
        let start = Instant::now();
        let outcome = async {
            if let Some(host) = &self.host {
                let index = Index {
                    service: service(&self.http, host, &self.key)?,
                    namespace: String::new(),
                };
                let stats = index.stats().await?;
                return Ok(format!("{} vectors in the index", stats.total));
            }
            match self.describe().await {
                Ok(description) if description.status.ready => Ok(format!("index '{}'", self.index)),
                Ok(_) => Err(Error::unavailable(format!(
                    "the index '{}' is not ready",
                    self.index
                ))),
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    // The list proves that the key is good.
                    self.control.done(&Call::get("/indexes")).await?;
                    Ok(format!("index '{}' not made yet", self.index))
                }
                Err(error) => Err(error),
            }
        };
        health_of(outcome.await, start.elapsed())
    }
}

/// The namespace of a space.
fn namespace_of(first: &str, space: &EmbeddingSpace) -> String {
    let mut key = KeyHasher::new("space/1").text(&space.fingerprint()).finish();
    key.truncate(12);
    format!("{first}-{key}")
}

/// The filter for a source or a revision.
fn selected(selector: &Selector) -> Value {
    match selector {
        Selector::Source(source) => json!({"source_id": {"$eq": source.as_str()}}),
        Selector::Revision(source, revision) => json!({"$and": [
            {"source_id": {"$eq": source.as_str()}},
            {"revision": {"$eq": revision.0}},
        ]}),
        Selector::Chunks(_) | Selector::All => Value::Null,
    }
}

/// The filter for a search; `None` when it restricts nothing.
fn condition(filter: &Filter, ranges: Ranges) -> Option<Value> {
    let mut all = Vec::new();
    let mut and = |field: &str, operator: &str, value: Value| all.push(json!({field: {operator: value}}));
    if !filter.sources.is_empty() {
        let ids: Vec<&str> = filter.sources.iter().map(SourceId::as_str).collect();
        and("source_id", "$in", json!(ids));
    }
    if !filter.speakers.is_empty() {
        and("speakers", "$in", json!(filter.speakers));
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
    (!all.is_empty()).then(|| json!({"$and": all}))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spaces_have_namespaces_of_their_own() {
        let space = |model: &str| EmbeddingSpace {
            provider: "p".to_owned(),
            model: model.to_owned(),
            dimensions: 3,
        };
        let first = namespace_of("default", &space("a"));
        assert!(first.starts_with("default-") && first.len() == 20, "{first}");
        assert_ne!(first, namespace_of("default", &space("b")));
    }
}
