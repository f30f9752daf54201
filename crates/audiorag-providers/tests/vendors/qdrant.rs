//! Qdrant: requests, answers, failures and the contract.

use crate::context::store;
use crate::stand_in::{
    CANARY, Kept, Pile, Servers, Switch, bad_input_is_not_sent, body, compares, failures_have_their_kind,
    nearest, numbers, ok, sent, texts, unknown,
};
use audiorag_core::ErrorKind;
use audiorag_core::capability::VectorStore;
use audiorag_core::model::Filter;
use audiorag_testkit::http::{Reply, Request, Server};
use audiorag_testkit::suite::vector_store::{self, Collection};
use serde_json::{Map, Value, json};
use std::sync::{Arc, Mutex};

const PATH: &str = "/collections/audiorag";

/// A Qdrant server with one collection.
#[derive(Default)]
struct StandIn {
    vectors: Option<Value>,
    schema: Map<String, Value>,
    pile: Pile,
}

fn envelope(result: &Value) -> Reply {
    ok(&json!({"result": result, "status": "ok", "time": 0.001}))
}

fn completed() -> Reply {
    envelope(&json!({"operation_id": 1, "status": "completed"}))
}

impl StandIn {
    fn answer(&mut self, request: &Request) -> Reply {
        let body = body(request);
        let meant = |id: &str, fields: &Map<String, Value>| passes(&body["filter"], id, fields);
        match (request.method.as_str(), request.path()) {
            ("GET", "/collections") => envelope(&json!({"collections": []})),
            ("GET", PATH) => match &self.vectors {
                Some(vectors) => envelope(&json!({
                    "status": "green",
                    "config": {"params": {"vectors": vectors, "shard_number": 1}},
                    "payload_schema": self.schema,
                })),
                None => Reply::json(404, r#"{"status":{"error":"Not found"},"time":0.0}"#),
            },
            ("PUT", PATH) => {
                self.vectors = Some(body["vectors"].clone());
                envelope(&json!(true))
            }
            ("PUT", "/collections/audiorag/index") => {
                let field = body["field_name"].as_str().unwrap().to_owned();
                self.schema
                    .insert(field, json!({"data_type": body["field_schema"]}));
                completed()
            }
            ("PUT", "/collections/audiorag/points") => {
                assert!(request.target.ends_with("?wait=true"));
                for point in body["points"].as_array().unwrap() {
                    let id = point["id"].as_str().unwrap();
                    assert!(
                        id.len() == 36 && id.as_bytes()[14] == b'5',
                        "{id} is no version 5 UUID"
                    );
                    let kept = Kept {
                        vector: numbers(&point["vector"]),
                        fields: point["payload"].as_object().unwrap().clone(),
                    };
                    self.pile.insert(id.to_owned(), kept);
                }
                completed()
            }
            ("POST", "/collections/audiorag/points/query") => {
                let limit = body["limit"].as_u64().unwrap() as usize;
                let found = nearest(&self.pile, &numbers(&body["query"]), limit, meant);
                let points: Vec<Value> = found
                    .iter()
                    .map(|(id, kept, score)| {
                        json!({"id": id, "version": 1, "score": score, "payload": {"chunk_id": kept.fields["chunk_id"]}})
                    })
                    .collect();
                envelope(&json!({"points": points}))
            }
            ("POST", "/collections/audiorag/points/scroll") => {
                let points: Vec<Value> = self
                    .pile
                    .iter()
                    .filter(|(id, kept)| meant(id, &kept.fields))
                    .map(|(id, kept)| json!({"id": id, "payload": {"space": kept.fields["space"]}}))
                    .take(1)
                    .collect();
                envelope(&json!({"points": points, "next_page_offset": null}))
            }
            ("POST", "/collections/audiorag/points/delete") => {
                self.pile.retain(|id, kept| !meant(id, &kept.fields));
                completed()
            }
            ("POST", "/collections/audiorag/points/count") => {
                let count = self
                    .pile
                    .iter()
                    .filter(|(id, kept)| meant(id, &kept.fields))
                    .count();
                assert_eq!(body["exact"], true);
                envelope(&json!({"count": count}))
            }
            _ => unknown(request),
        }
    }
}

/// Qdrant's filters.
fn passes(filter: &Value, id: &str, fields: &Map<String, Value>) -> bool {
    let holds = |condition: &Value| {
        if condition.get("has_id").is_some() {
            return texts(&condition["has_id"]).iter().any(|wanted| wanted == id);
        }
        let held = fields.get(condition["key"].as_str().unwrap());
        if let Some(range) = condition.get("range") {
            let range = range.as_object().unwrap();
            return range
                .iter()
                .all(|(operator, bound)| compares(held, operator, bound));
        }
        let held = match held {
            Some(Value::Array(items)) => items.clone(),
            Some(value) => vec![value.clone()],
            None => Vec::new(),
        };
        match condition["match"].get("any") {
            Some(any) => any.as_array().unwrap().iter().any(|one| held.contains(one)),
            None => held.contains(&condition["match"]["value"]),
        }
    };
    let all = |key: &str, expected: bool| {
        filter
            .get(key)
            .and_then(Value::as_array)
            .is_none_or(|conditions| conditions.iter().all(|condition| holds(condition) == expected))
    };
    all("must", true) && all("must_not", false)
}

async fn running() -> Server {
    let state = Mutex::new(StandIn::default());
    Server::answering(move |_, request| state.lock().unwrap().answer(request)).await
}

fn at(url: &str) -> Arc<dyn VectorStore> {
    store("qdrant", &[("qdrant.base_url", url), ("qdrant.api_key", CANARY)]).unwrap()
}

#[tokio::test]
async fn honours_the_contract() {
    let servers = Servers::default();
    vector_store::run(async || at(&servers.keep(running().await))).await;
}

#[tokio::test]
async fn sends_what_is_documented() {
    let server = running().await;
    let store = at(&server.url(""));
    let collection = Collection::new(4, 3);
    store.prepare(&collection.space).await.unwrap();
    store.upsert(collection.records.clone()).await.unwrap();
    for request in server.requests() {
        assert_eq!(request.header("api-key"), Some(CANARY));
    }
    assert_eq!(
        sent(&server, "PUT", PATH)[0],
        json!({"vectors": {"size": 4, "distance": "Cosine"}})
    );
    let indexed: Vec<Value> = sent(&server, "PUT", &format!("{PATH}/index"));
    assert!(indexed.contains(&json!({"field_name": "source_id", "field_schema": "keyword"})));
    assert!(indexed.contains(&json!({"field_name": "end_ms", "field_schema": "integer"})));
    let points = &sent(&server, "PUT", &format!("{PATH}/points"))[0]["points"];
    let (record, payload) = (&collection.records[2], &points[2]["payload"]);
    assert_eq!(payload["chunk_id"], record.id.as_str());
    assert_eq!(payload["speakers"], json!(record.speakers));
    assert_eq!(payload["space"], "fake/model-4/4");
    assert_eq!(payload["date"], "2026-03-03");
    // What is declared is not declared again.
    store.prepare(&collection.space).await.unwrap();
    assert_eq!(
        sent(&server, "PUT", &format!("{PATH}/index")).len(),
        indexed.len()
    );
}

#[tokio::test]
async fn other_spaces_are_refused() {
    let server = running().await;
    let store = at(&server.url(""));
    let collection = Collection::new(4, 1);
    store.prepare(&collection.space).await.unwrap();
    store.upsert(collection.records.clone()).await.unwrap();
    let mut space = collection.space.clone();
    space.model = "another".to_owned();
    let error = store.prepare(&space).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.message().contains("fake/model-4/4"), "{}", error.message());
    let hint = error.hint().unwrap();
    assert!(hint.contains("AUDIORAG_QDRANT_COLLECTION"), "{hint}");

    for vectors in [
        json!({"size": 4, "distance": "Euclid"}),
        json!({"size": 5, "distance": "Cosine"}),
        json!({"text": {"size": 4, "distance": "Cosine"}}),
    ] {
        let state = Mutex::new(StandIn {
            vectors: Some(vectors.clone()),
            ..StandIn::default()
        });
        let server = Server::answering(move |_, request| state.lock().unwrap().answer(request)).await;
        let error = at(&server.url("")).prepare(&collection.space).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config, "{vectors}");
    }
}

#[tokio::test]
async fn failures_are_told_apart() {
    let state = Mutex::new(StandIn::default());
    let switch = Switch::new(move |request| state.lock().unwrap().answer(request)).await;
    failures_have_their_kind(
        || at(&switch.server.url("")),
        &switch,
        r#"{"status":{"error":"MESSAGE"},"time":0.0}"#,
    )
    .await;
    let server = running().await;
    bad_input_is_not_sent(&*at(&server.url("")), &server).await;
}

#[tokio::test]
async fn unfinished_writes_and_strange_points_are_failures() {
    let state = Mutex::new(StandIn::default());
    let switch = Switch::new(move |request| state.lock().unwrap().answer(request)).await;
    let store = at(&switch.server.url(""));
    let collection = Collection::new(4, 1);
    store.prepare(&collection.space).await.unwrap();
    switch.answer(Some(envelope(
        &json!({"operation_id": 1, "status": "acknowledged"}),
    )));
    let error = store.upsert(collection.records.clone()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    let vector = &collection.records[0].vector;
    for point in [
        json!({"id": "x", "score": 0.5, "payload": null}),
        json!({"id": "x", "payload": {"chunk_id": "c"}}),
    ] {
        switch.answer(Some(envelope(&json!({"points": [point]}))));
        let error = store.search(vector, 1, &Filter::default()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Protocol);
    }
}

#[test]
fn only_uuids_are_ids() {
    let error = store("qdrant", &[("qdrant.id_format", "sha256")]).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(store("qdrant", &[("qdrant.collection", "../x")]).is_err());
}
