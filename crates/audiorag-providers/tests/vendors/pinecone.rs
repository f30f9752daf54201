//! Pinecone: requests, answers, failures and the contract.

use crate::context::store;
use crate::stand_in::{
    CANARY, Kept, Pile, Servers, Switch, bad_input_is_not_sent, body, failures_have_their_kind, mongo,
    nearest, numbers, ok, sent, texts, unknown,
};
use audiorag_core::ErrorKind;
use audiorag_core::capability::{Selector, VectorStore};
use audiorag_core::model::Filter;
use audiorag_testkit::http::{Reply, Request, Server};
use audiorag_testkit::suite::vector_store::{self, Collection};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

/// A Pinecone project with one index, control plane and data plane in one.
#[derive(Default)]
struct StandIn {
    /// Where the index says it is.
    host: String,
    made: Option<Value>,
    /// How often the index is described before it is ready.
    warming: u32,
    namespaces: BTreeMap<String, Pile>,
}

impl StandIn {
    fn answer(&mut self, request: &Request) -> Reply {
        let body = body(request);
        match (request.method.as_str(), request.path()) {
            ("GET", "/indexes") => ok(&json!({"indexes": []})),
            ("GET", "/indexes/audiorag") => match &self.made {
                None => Reply::json(
                    404,
                    r#"{"error":{"code":"NOT_FOUND","message":"no index"},"status":404}"#,
                ),
                Some(made) => {
                    self.warming = self.warming.saturating_sub(1);
                    ok(&json!({
                        "name": made["name"], "dimension": made["dimension"], "metric": made["metric"],
                        "host": self.host, "spec": made["spec"],
                        "status": {"ready": self.warming == 0, "state": "Ready"},
                    }))
                }
            },
            ("POST", "/indexes") => {
                self.made = Some(body);
                Reply::json(201, "{}")
            }
            ("POST", "/describe_index_stats") => {
                let namespaces = self.namespaces.iter();
                let namespaces: BTreeMap<&String, Value> = namespaces
                    .map(|(name, pile)| (name, json!({"vectorCount": pile.len()})))
                    .collect();
                let made = self
                    .made
                    .clone()
                    .unwrap_or_else(|| json!({"dimension": 4, "metric": "cosine"}));
                ok(&json!({
                    "namespaces": namespaces, "dimension": made["dimension"], "metric": made["metric"],
                    "totalVectorCount": 0, "indexFullness": 0,
                }))
            }
            ("GET", "/vectors/fetch") => {
                let query = request.target.split('?').nth(1).unwrap_or_default();
                let values = |key: &str| -> Vec<String> {
                    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
                    pairs
                        .filter(|(name, _)| *name == key)
                        .map(|(_, value)| value.to_owned())
                        .collect()
                };
                assert!(values("ids").len() <= 100);
                let pile = self.namespaces.entry(values("namespace").remove(0)).or_default();
                let found = values("ids").into_iter().filter(|id| pile.contains_key(id));
                let found: BTreeMap<String, Value> =
                    found.map(|id| (id.clone(), json!({"id": id}))).collect();
                ok(&json!({"vectors": found, "namespace": "n"}))
            }
            _ => self.data(request, &body),
        }
    }

    /// What a namespace answers. One that was never written to is not there.
    fn data(&mut self, request: &Request, body: &Value) -> Reply {
        let name = body["namespace"].as_str().unwrap_or_default().to_owned();
        if request.path() == "/vectors/upsert" {
            return self.upsert(&name, request, body);
        }
        let Some(pile) = self.namespaces.get_mut(&name) else {
            return Reply::json(404, r#"{"code":5,"message":"Namespace not found","details":[]}"#);
        };
        let filter = body.get("filter").cloned();
        let meant = |kept: &Kept| filter.as_ref().is_none_or(|filter| mongo(filter, &kept.fields));
        match request.path() {
            "/query" => {
                let limit = body["topK"].as_u64().unwrap() as usize;
                let found = nearest(pile, &numbers(&body["vector"]), limit, |_, fields| {
                    filter.as_ref().is_none_or(|filter| mongo(filter, fields))
                });
                let matches: Vec<Value> = found
                    .iter()
                    .map(|(id, kept, score)| json!({"id": id, "score": score, "values": [], "metadata": kept.fields}))
                    .collect();
                ok(&json!({"matches": matches, "namespace": name, "usage": {"readUnits": 1}}))
            }
            "/vectors/fetch_by_metadata" => {
                let limit = body["limit"].as_u64().unwrap() as usize;
                let from: usize = body["paginationToken"]
                    .as_str()
                    .map_or(0, |token| token.parse().unwrap());
                let found: Vec<&String> = pile
                    .iter()
                    .filter(|(_, kept)| meant(kept))
                    .map(|(id, _)| id)
                    .skip(from)
                    .collect();
                let next = (found.len() > limit).then(|| (from + limit).to_string());
                let page: BTreeMap<&String, Value> = found
                    .into_iter()
                    .take(limit)
                    .map(|id| (id, json!({"id": id, "values": [1.0]})))
                    .collect();
                let mut answer = json!({"vectors": page, "namespace": name});
                if let Some(next) = next {
                    answer["pagination"] = json!({"next": next});
                }
                ok(&answer)
            }
            "/vectors/delete" => {
                if body["deleteAll"] == true {
                    pile.clear();
                } else if body.get("ids").is_some() {
                    let ids = texts(&body["ids"]);
                    assert!(!ids.is_empty() && ids.len() <= 1_000);
                    pile.retain(|id, _| !ids.contains(id));
                } else {
                    assert!(filter.is_some());
                    pile.retain(|_, kept| !meant(kept));
                }
                ok(&json!({}))
            }
            _ => unknown(request),
        }
    }

    fn upsert(&mut self, name: &str, request: &Request, body: &Value) -> Reply {
        let vectors = body["vectors"].as_array().unwrap();
        if vectors.len() > 1_000 || request.body.len() > 2_000_000 {
            return Reply::json(400, r#"{"code":11,"message":"too large","details":[]}"#);
        }
        let pile = self.namespaces.entry(name.to_owned()).or_default();
        for vector in vectors {
            let fields = vector["metadata"].as_object().unwrap().clone();
            assert!(fields.values().all(|value| !value.is_null()));
            assert!(vector["metadata"].to_string().len() <= 40_000);
            let id = vector["id"].as_str().unwrap().to_owned();
            let vector = numbers(&vector["values"]);
            pile.insert(id, Kept { vector, fields });
        }
        ok(&json!({"upsertedCount": vectors.len()}))
    }
}

async fn running(warming: u32) -> Server {
    let state = Arc::new(Mutex::new(StandIn {
        warming,
        ..StandIn::default()
    }));
    let shared = Arc::clone(&state);
    let server = Server::answering(move |_, request| shared.lock().unwrap().answer(request)).await;
    state.lock().unwrap().host = server.address().to_string();
    server
}

fn at(url: &str) -> Arc<dyn VectorStore> {
    store(
        "pinecone",
        &[("pinecone.base_url", url), ("pinecone.api_key", CANARY)],
    )
    .unwrap()
}

#[tokio::test]
async fn honours_the_contract() {
    let servers = Servers::default();
    vector_store::run(async || at(&servers.keep(running(0).await))).await;
}

#[tokio::test]
async fn makes_the_index_and_sends_what_is_documented() {
    let server = running(2).await;
    let store = at(&server.url(""));
    let collection = Collection::new(4, 3);
    store.prepare(&collection.space).await.unwrap();
    store.upsert(collection.records.clone()).await.unwrap();
    for request in server.requests() {
        assert_eq!(request.header("api-key"), Some(CANARY));
        assert_eq!(request.header("x-pinecone-api-version"), Some("2026-04"));
    }
    assert_eq!(
        sent(&server, "POST", "/indexes")[0],
        json!({
            "name": "audiorag", "vector_type": "dense", "dimension": 4, "metric": "cosine",
            "spec": {"serverless": {"cloud": "aws", "region": "us-east-1"}},
            "deletion_protection": "disabled",
        })
    );
    let upsert = &sent(&server, "POST", "/vectors/upsert")[0];
    assert!(upsert["namespace"].as_str().unwrap().starts_with("default-"));
    let (record, sent) = (&collection.records[2], &upsert["vectors"][2]);
    assert_eq!(sent["id"], record.id.as_str());
    assert_eq!(sent["metadata"]["source_id"], record.source_id.as_str());
    assert_eq!(sent["metadata"]["speakers"], json!(record.speakers));
    assert_eq!(sent["metadata"]["language"], "de");
    assert_eq!(sent["metadata"]["day"], 20_260_303);
    assert!(!store.limits().read_your_writes);
}

#[tokio::test]
async fn large_records_and_batches_stay_within_two_megabytes() {
    let server = running(0).await;
    let store = at(&server.url(""));
    let mut collection = Collection::new(1_536, 200);
    collection.records[0].text = "ä".repeat(30_000);
    store.prepare(&collection.space).await.unwrap();
    store.upsert(collection.records.clone()).await.unwrap();
    let sizes: Vec<usize> = sent(&server, "POST", "/vectors/upsert")
        .iter()
        .map(|body| body["vectors"].as_array().unwrap().len())
        .collect();
    assert!(sizes.len() > 1 && sizes.iter().sum::<usize>() == 200, "{sizes:?}");
    assert_eq!(store.count(&Selector::All).await.unwrap(), 200);
}

#[tokio::test]
async fn peer_defect_04_a_source_is_deleted_beyond_a_thousand_chunks() {
    let server = running(0).await;
    let store = at(&server.url(""));
    let mut collection = Collection::new(4, 2_500);
    for record in &mut collection.records {
        record.source_id = collection_source();
    }
    store.prepare(&collection.space).await.unwrap();
    for batch in collection.records.chunks(1_000) {
        store.upsert(batch.to_vec()).await.unwrap();
    }
    let source = Selector::Source(collection_source());
    assert_eq!(store.count(&source).await.unwrap(), 2_500);
    store.delete(&source).await.unwrap();
    assert_eq!(store.count(&source).await.unwrap(), 0);
    let chunks = collection
        .records
        .iter()
        .map(|record| record.id.clone())
        .collect();
    store.delete(&Selector::Chunks(chunks)).await.unwrap();
}

fn collection_source() -> audiorag_core::id::SourceId {
    audiorag_core::id::SourceId::from_stored("5".repeat(32))
}

#[tokio::test]
async fn an_index_of_another_kind_is_refused() {
    for (stats, part) in [
        (json!({"dimension": 5, "metric": "cosine"}), "5 dimensions"),
        (json!({"metric": "dotproduct"}), "sparse"),
        (json!({"dimension": 4, "metric": "euclidean"}), "euclidean"),
    ] {
        let server = Server::answering(move |_, _| ok(&stats)).await;
        let settings = [
            ("pinecone.host", server.url("")),
            ("pinecone.api_key", CANARY.to_owned()),
        ];
        let settings = settings.each_ref().map(|(path, value)| (*path, value.as_str()));
        let store = store("pinecone", &settings).unwrap();
        let error = store.prepare(&Collection::new(4, 0).space).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.message().contains(part), "{}", error.message());
        assert!(server.requests().iter().all(|request| request.method == "POST"));
    }
}

#[tokio::test]
async fn failures_are_told_apart() {
    let state = Arc::new(Mutex::new(StandIn::default()));
    let shared = Arc::clone(&state);
    let switch = Switch::new(move |request| shared.lock().unwrap().answer(request)).await;
    state.lock().unwrap().host = switch.server.address().to_string();
    let store = at(&switch.server.url(""));
    failures_have_their_kind(
        || at(&switch.server.url("")),
        &switch,
        r#"{"code":16,"message":"MESSAGE","details":[]}"#,
    )
    .await;
    let server = running(0).await;
    bad_input_is_not_sent(&*at(&server.url("")), &server).await;

    let collection = Collection::new(4, 2);
    store.prepare(&collection.space).await.unwrap();
    switch.answer(Some(ok(&json!({"upsertedCount": 1}))));
    let error = store.upsert(collection.records.clone()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Protocol);
    switch.answer(Some(ok(&json!({"matches": [{"id": "a", "score": 0.3}]}))));
    let vector = &collection.records[0].vector;
    let error = store.search(vector, 1, &Filter::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Protocol);
    // A page that points at itself ends.
    switch.answer(Some(ok(
        &json!({"vectors": {"a": {}}, "pagination": {"next": "x"}}),
    )));
    let error = store
        .count(&Selector::Source(collection_source()))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Protocol);
    let missing = crate::context::store("pinecone", &[]).err().unwrap();
    assert_eq!(missing.kind(), ErrorKind::Auth);
}

#[tokio::test]
async fn uuids_are_ids_where_they_are_asked_for() {
    let server = running(0).await;
    let url = server.url("");
    let settings = [
        ("pinecone.base_url", url.as_str()),
        ("pinecone.api_key", CANARY),
        ("pinecone.id_format", "uuid5"),
    ];
    let store = store("pinecone", &settings).unwrap();
    let collection = Collection::new(4, 3);
    store.prepare(&collection.space).await.unwrap();
    store.upsert(collection.records.clone()).await.unwrap();
    let id = &sent(&server, "POST", "/vectors/upsert")[0]["vectors"][0]["id"];
    assert_eq!(id.as_str().unwrap().len(), 36);
    let record = &collection.records[0];
    let found = store.search(&record.vector, 1, &Filter::default()).await.unwrap();
    assert_eq!(found[0].id, record.id);
    store
        .delete(&Selector::Chunks(vec![record.id.clone()]))
        .await
        .unwrap();
    assert_eq!(store.count(&Selector::All).await.unwrap(), 2);
}
