//! Chroma: requests, answers, failures and the contract.

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
use serde_json::{Map, Value, json};
use std::sync::{Arc, Mutex};

const BASE: &str = "/api/v2/tenants/default_tenant/databases/default_database/collections";

/// A Chroma server with one collection.
#[derive(Default)]
struct StandIn {
    collection: Option<Value>,
    pile: Pile,
}

/// How many records a call takes or returns.
const PREFLIGHT: usize = 400;

impl StandIn {
    fn answer(&mut self, request: &Request) -> Reply {
        let body = body(request);
        let path = request.path();
        if path == "/api/v2/pre-flight-checks" {
            return ok(&json!({"max_batch_size": PREFLIGHT, "supports_base64_encoding": true}));
        }
        if path == "/api/v2/version" {
            return ok(&json!("1.0.0"));
        }
        if path == "/api/v2/auth/identity" {
            return ok(&json!({"user_id": "", "tenant": "default_tenant", "databases": []}));
        }
        if path == BASE {
            let made = self.collection.get_or_insert_with(|| {
                json!({
                    "id": "c77f3e6e",
                    "name": body["name"],
                    "metadata": body["metadata"],
                    "configuration_json": {"hnsw": body["configuration"]["hnsw"], "spann": null},
                })
            });
            return ok(made);
        }
        match path.strip_prefix(BASE).unwrap_or_default() {
            "/c77f3e6e/upsert" => self.upsert(&body),
            "/c77f3e6e/query" => self.query(&body),
            "/c77f3e6e/get" => {
                let limit = body["limit"].as_u64().unwrap() as usize;
                assert!(limit <= 300);
                let page: Vec<(&String, &Kept)> = self
                    .pile
                    .iter()
                    .filter(|(id, kept)| wanted(&body, id, &kept.fields))
                    .skip(body["offset"].as_u64().unwrap() as usize)
                    .take(limit)
                    .collect();
                ok(&json!({
                    "ids": page.iter().map(|(id, _)| id).collect::<Vec<_>>(),
                    "embeddings": page.iter().map(|(_, kept)| &kept.vector).collect::<Vec<_>>(),
                    "metadatas": page.iter().map(|(_, kept)| &kept.fields).collect::<Vec<_>>(),
                }))
            }
            "/c77f3e6e/delete" => {
                // A server may stop at a limit of its own.
                let gone: Vec<String> = self
                    .pile
                    .iter()
                    .filter(|(id, kept)| wanted(&body, id, &kept.fields))
                    .map(|(id, _)| id.clone())
                    .take(500)
                    .collect();
                self.pile.retain(|id, _| !gone.contains(id));
                ok(&json!({"deleted": gone.len()}))
            }
            "/c77f3e6e/count" => ok(&json!(self.pile.len())),
            "/audiorag" => match &self.collection {
                Some(collection) => ok(collection),
                None => Reply::json(404, r#"{"error":"NotFoundError","message":"no"}"#),
            },
            _ => unknown(request),
        }
    }

    fn upsert(&mut self, body: &Value) -> Reply {
        let ids = texts(&body["ids"]);
        if ids.len() > PREFLIGHT {
            return Reply::json(400, r#"{"error":"InvalidArgumentError","message":"too many"}"#);
        }
        for (at, id) in ids.into_iter().enumerate() {
            let fields = body["metadatas"][at].as_object().unwrap().clone();
            assert!(fields.values().all(|value| !value.is_array() && !value.is_null()));
            assert!(body["documents"][at].is_string());
            let vector = numbers(&body["embeddings"][at]);
            self.pile.insert(id, Kept { vector, fields });
        }
        ok(&json!({}))
    }

    fn query(&self, body: &Value) -> Reply {
        let limit = body["n_results"].as_u64().unwrap() as usize;
        let vector = numbers(&body["query_embeddings"][0]);
        let mut found = nearest(&self.pile, &vector, limit, |id, fields| wanted(body, id, fields));
        // An approximate index under a filter misses some.
        if body.get("where").is_some() {
            found.truncate(found.len() / 2);
        }
        ok(&json!({
            "ids": [found.iter().map(|(id, ..)| id).collect::<Vec<_>>()],
            "distances": [found.iter().map(|(.., score)| 1.0 - score).collect::<Vec<_>>()],
            "metadatas": [found.iter().map(|(_, kept, _)| &kept.fields).collect::<Vec<_>>()],
        }))
    }
}

/// Whether a record is meant by `ids` and `where`.
fn wanted(body: &Value, id: &str, fields: &Map<String, Value>) -> bool {
    body.get("ids")
        .is_none_or(|ids| texts(ids).iter().any(|wanted| wanted == id))
        && body.get("where").is_none_or(|condition| mongo(condition, fields))
}

async fn running() -> Server {
    let state = Mutex::new(StandIn::default());
    Server::answering(move |_, request| state.lock().unwrap().answer(request)).await
}

fn at(url: &str) -> Arc<dyn VectorStore> {
    store("chroma", &[("chroma.base_url", url), ("chroma.api_key", CANARY)]).unwrap()
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
    assert_eq!(store.limits().max_batch, 1_000);
    let collection = Collection::new(4, 3);
    store.prepare(&collection.space).await.unwrap();
    assert_eq!(store.limits().max_batch, PREFLIGHT);
    store.upsert(collection.records.clone()).await.unwrap();
    for request in server.requests() {
        assert_eq!(request.header("x-chroma-token"), Some(CANARY));
    }
    assert_eq!(
        sent(&server, "POST", BASE)[0],
        json!({
            "name": "audiorag",
            "get_or_create": true,
            "metadata": {"audiorag_provider": "fake", "audiorag_model": "model-4", "audiorag_dimensions": 4},
            "configuration": {"hnsw": {"space": "cosine", "ef_search": 200}},
        })
    );
    let upsert = &sent(&server, "POST", &format!("{BASE}/c77f3e6e/upsert"))[0];
    let record = &collection.records[2];
    assert_eq!(upsert["ids"][2], record.id.as_str());
    assert_eq!(upsert["documents"][2], record.text.as_str());
    let fields = &upsert["metadatas"][2];
    assert_eq!(fields["source_id"], record.source_id.as_str());
    assert_eq!(
        (
            &fields["start_ms"],
            &fields["end_ms"],
            &fields["revision"],
            &fields["day"]
        ),
        (&json!(2_000), &json!(3_500), &json!(1), &json!(20_260_303))
    );
    assert_eq!(fields["title"], record.title.as_str());
    assert_eq!(fields["speakers"], "Ada, Bo 'x' \"y\", z");
}

#[tokio::test]
async fn large_batches_are_cut_to_what_the_server_takes() {
    let server = running().await;
    let store = at(&server.url(""));
    let collection = Collection::new(4, 1_000);
    store.prepare(&collection.space).await.unwrap();
    store.upsert(collection.records).await.unwrap();
    let sizes: Vec<usize> = sent(&server, "POST", &format!("{BASE}/c77f3e6e/upsert"))
        .iter()
        .map(|body| texts(&body["ids"]).len())
        .collect();
    assert_eq!(sizes, [400, 400, 200]);
    assert_eq!(store.count(&Selector::All).await.unwrap(), 1_000);
}

#[tokio::test]
async fn another_space_is_refused_with_the_way_out() {
    let server = running().await;
    let mut space = Collection::new(4, 0).space;
    at(&server.url("")).prepare(&space).await.unwrap();
    space.model = "another".to_owned();
    let error = at(&server.url("")).prepare(&space).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.message().contains("fake/model-4/4"), "{}", error.message());
    assert!(error.hint().unwrap().contains("embed everything again"));

    for (metadata, measure) in [
        (json!(null), "cosine"),
        (
            json!({"audiorag_provider": "fake", "audiorag_model": "another", "audiorag_dimensions": 4}),
            "l2",
        ),
    ] {
        let foreign =
            json!({"id": "x", "metadata": metadata, "configuration_json": {"hnsw": {"space": measure}}});
        let server = Server::answering(move |_, request| {
            if request.path() == BASE {
                ok(&foreign)
            } else {
                ok(&json!({"max_batch_size": 10}))
            }
        })
        .await;
        let error = at(&server.url("")).prepare(&space).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config, "{}", error.report());
    }
}

#[tokio::test]
async fn failures_are_told_apart() {
    let state = Mutex::new(StandIn::default());
    let switch = Switch::new(move |request| state.lock().unwrap().answer(request)).await;
    let store = at(&switch.server.url(""));
    failures_have_their_kind(
        || at(&switch.server.url("")),
        &switch,
        r#"{"error":"ChromaError","message":"MESSAGE"}"#,
    )
    .await;
    let server = running().await;
    bad_input_is_not_sent(&*at(&server.url("")), &server).await;
    assert!(
        store
            .health_check()
            .await
            .detail
            .contains("collection 'audiorag'")
    );
}

#[tokio::test]
async fn contradictory_answers_are_protocol_errors() {
    let state = Mutex::new(StandIn::default());
    let switch = Switch::new(move |request| state.lock().unwrap().answer(request)).await;
    let store = at(&switch.server.url(""));
    let collection = Collection::new(4, 2);
    store.prepare(&collection.space).await.unwrap();
    for broken in [
        json!({"ids": [["a", "b"]], "distances": [[0.1]], "metadatas": [[{"chunk_id": "a"}, {"chunk_id": "b"}]]}),
        json!({"ids": [["a"]], "distances": [[0.1]], "metadatas": [[{}]]}),
        json!({"ids": [[], []], "distances": [[], []], "metadatas": [[], []]}),
        json!({"ids": [["a"]], "distances": null, "metadatas": null}),
    ] {
        switch.answer(Some(ok(&broken)));
        let vector = &collection.records[0].vector;
        let error = store.search(vector, 2, &Filter::default()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Protocol, "{broken}");
    }
    // A deletion that gets nowhere ends.
    switch.answer(Some(ok(&json!({"ids": ["a"]}))));
    let source = Selector::Source(collection.records[0].source_id.clone());
    assert_eq!(
        store.delete(&source).await.unwrap_err().kind(),
        ErrorKind::Protocol
    );
}

#[test]
fn settings_are_checked_without_a_call() {
    for (path, value) in [
        ("chroma.collection", "a/../b"),
        ("chroma.collection", "ab"),
        ("chroma.tenant", "x y"),
        ("chroma.base_url", "ftp://x"),
        ("chroma.id_format", "uuid5"),
    ] {
        let made = store("chroma", &[(path, value)]);
        assert_eq!(made.is_ok(), path == "chroma.id_format", "{path}");
        if let Err(error) = made {
            assert_eq!(error.kind(), ErrorKind::Config, "{path}");
        }
    }
}
