//! What stand-ins for vector stores have in common: a pile of records, and the checks that are the same for all.

use audiorag_core::capability::{Selector, VectorStore};
use audiorag_core::model::Filter;
use audiorag_core::{ErrorKind, Result};
use audiorag_testkit::http::{Reply, Request, Server};
use audiorag_testkit::suite::vector_store::Collection;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// The key that must never be shown.
pub(crate) const CANARY: &str = "canary-key-of-the-store";

/// A record as a stand-in keeps it.
#[derive(Clone, Debug)]
pub(crate) struct Kept {
    pub(crate) vector: Vec<f64>,
    pub(crate) fields: Map<String, Value>,
}

/// Records by id, in the order of ids.
pub(crate) type Pile = BTreeMap<String, Kept>;

/// The numbers of a JSON list.
pub(crate) fn numbers(value: &Value) -> Vec<f64> {
    value
        .as_array()
        .map(|items| items.iter().filter_map(Value::as_f64).collect())
        .unwrap_or_default()
}

#[cfg(any(feature = "chroma", feature = "pinecone", feature = "qdrant"))]
pub(crate) fn texts(value: &Value) -> Vec<String> {
    value
        .as_array()
        .map(|items| {
            items
                .iter()
                .filter_map(Value::as_str)
                .map(str::to_owned)
                .collect()
        })
        .unwrap_or_default()
}

pub(crate) fn cosine(a: &[f64], b: &[f64]) -> f64 {
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f64>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

/// The nearest records that pass, best first.
pub(crate) fn nearest<'a>(
    pile: &'a Pile,
    vector: &[f64],
    limit: usize,
    passes: impl Fn(&str, &Map<String, Value>) -> bool,
) -> Vec<(&'a String, &'a Kept, f64)> {
    let mut found: Vec<_> = pile
        .iter()
        .filter(|(id, kept)| passes(id, &kept.fields))
        .map(|(id, kept)| (id, kept, cosine(vector, &kept.vector)))
        .collect();
    found.sort_by(|a, b| b.2.total_cmp(&a.2));
    found.truncate(limit);
    found
}

/// Whether a field compares with a number as asked; absent fields never do.
pub(crate) fn compares(field: Option<&Value>, operator: &str, bound: &Value) -> bool {
    let (Some(field), Some(bound)) = (field.and_then(Value::as_f64), bound.as_f64()) else {
        return false;
    };
    match operator {
        "gt" => field > bound,
        "gte" => field >= bound,
        "lt" => field < bound,
        "lte" => field <= bound,
        other => panic!("no such operator: {other}"),
    }
}

/// The conditions of Chroma and Pinecone, which look like those of MongoDB.
#[cfg(any(feature = "chroma", feature = "pinecone"))]
pub(crate) fn mongo(condition: &Value, fields: &Map<String, Value>) -> bool {
    let condition = condition.as_object().unwrap();
    condition.iter().all(|(key, value)| match key.as_str() {
        "$and" => value.as_array().unwrap().iter().all(|one| mongo(one, fields)),
        "$or" => value.as_array().unwrap().iter().any(|one| mongo(one, fields)),
        field => {
            let held = fields.get(field);
            value
                .as_object()
                .unwrap()
                .iter()
                .all(|(operator, bound)| match operator.as_str() {
                    "$eq" => held == Some(bound),
                    "$in" => held.is_some_and(|held| {
                        let bound = bound.as_array().unwrap();
                        match held.as_array() {
                            Some(items) => items.iter().any(|item| bound.contains(item)),
                            None => bound.contains(held),
                        }
                    }),
                    other => compares(held, other.trim_start_matches('$'), bound),
                })
        }
    })
}

pub(crate) fn body(request: &Request) -> Value {
    serde_json::from_slice(&request.body).unwrap_or_default()
}

pub(crate) fn ok(value: &Value) -> Reply {
    Reply::json(200, value.to_string())
}

/// Servers that live as long as the test, since stores hold only their addresses.
#[derive(Default)]
pub(crate) struct Servers(Mutex<Vec<Server>>);

impl Servers {
    /// Keeps a server and returns its address.
    pub(crate) fn keep(&self, server: Server) -> String {
        let url = server.url("");
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(server);
        url
    }
}

/// A store whose every request is answered with `reply`, after `prepare` succeeded against `working`.
pub(crate) struct Switch {
    pub(crate) server: Server,
    instead: Arc<Mutex<Option<Reply>>>,
}

impl Switch {
    /// A server that works until told otherwise.
    pub(crate) async fn new(working: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        let instead = Arc::new(Mutex::new(None::<Reply>));
        let shared = Arc::clone(&instead);
        let server = Server::answering(move |_, request| {
            let instead = shared.lock().unwrap_or_else(PoisonError::into_inner).clone();
            instead.unwrap_or_else(|| working(request))
        })
        .await;
        Self { server, instead }
    }

    /// From now on answers everything with this; `None` goes back to work.
    pub(crate) fn answer(&self, reply: Option<Reply>) {
        *self.instead.lock().unwrap_or_else(PoisonError::into_inner) = reply;
    }
}

/// Every failure has its kind in every operation, and shows no credentials. Each operation has a store of its own,
/// because several failures in a row would open the breaker.
pub(crate) async fn failures_have_their_kind(
    fresh: impl Fn() -> Arc<dyn VectorStore>,
    switch: &Switch,
    message: &str,
) {
    let collection = Collection::new(4, 2);
    let said = message.replace("MESSAGE", &format!("no: {CANARY}"));
    let table = [
        (Reply::json(401, said.clone()), ErrorKind::Auth),
        (Reply::json(403, said.clone()), ErrorKind::Auth),
        (
            Reply::json(429, said.clone()).with_header("retry-after", "0"),
            ErrorKind::RateLimited,
        ),
        (Reply::json(400, said.clone()), ErrorKind::Input),
        (Reply::json(500, said.clone()), ErrorKind::Unavailable),
        (Reply::json(200, "{\"unexpected\":"), ErrorKind::Protocol),
        (Reply::json(200, "[]").cut_after(20), ErrorKind::Unavailable),
    ];
    let source = Selector::Source(collection.records[0].source_id.clone());
    let vector = &collection.records[0].vector;
    for (reply, kind) in table {
        for what in ["prepare", "search", "count", "health"] {
            let store = fresh();
            switch.answer(None);
            store.prepare(&collection.space).await.unwrap();
            switch.answer(Some(reply.clone()));
            let outcome: Result<()> = match what {
                "prepare" => store.prepare(&collection.space).await,
                "search" => store.search(vector, 1, &Filter::default()).await.map(drop),
                "count" => store.count(&source).await.map(drop),
                _ => {
                    let health = store.health_check().await;
                    assert_eq!(health.status.as_str(), "unhealthy", "{reply:?}");
                    assert!(!health.detail.contains("canary"), "{}", health.detail);
                    continue;
                }
            };
            let Err(error) = outcome else {
                panic!("{what} succeeds although the server answers {reply:?}");
            };
            assert_eq!(error.kind(), kind, "{what}: {}", error.report());
            let shown = format!("{} {error:?} {:?}", error.report(), error.hint());
            assert!(!shown.contains("canary"), "{shown}");
            if kind == ErrorKind::Auth {
                assert!(error.hint().unwrap().contains("API_KEY"), "{shown}");
            }
        }
    }
    switch.answer(None);
}

/// Bad vectors and days are refused before anything is sent.
pub(crate) async fn bad_input_is_not_sent(store: &dyn VectorStore, server: &Server) {
    let collection = Collection::new(4, 3);
    let unprepared = store.upsert(collection.records.clone()).await.unwrap_err();
    assert_eq!(unprepared.kind(), ErrorKind::Internal);
    store.prepare(&collection.space).await.unwrap();
    let before = server.requests().len();
    let mut records = collection.records.clone();
    records[1].vector[2] = f32::NAN;
    let refused = [
        store.upsert(records).await.map(drop),
        store.search(&[0.0; 4], 1, &Filter::default()).await.map(drop),
        store.search(&[1.0; 5], 1, &Filter::default()).await.map(drop),
        store
            .search(
                &[1.0; 4],
                1,
                &Filter {
                    after: Some("31.3.2026".to_owned()),
                    ..Filter::default()
                },
            )
            .await
            .map(drop),
    ];
    for outcome in refused {
        assert_eq!(outcome.unwrap_err().kind(), ErrorKind::Input);
    }
    store.upsert(Vec::new()).await.unwrap();
    assert!(
        store
            .search(&[1.0; 4], 0, &Filter::default())
            .await
            .unwrap()
            .is_empty()
    );
    assert_eq!(server.requests().len(), before);
}

/// The JSON of the requests to a path, in order.
pub(crate) fn sent(server: &Server, method: &str, path: &str) -> Vec<Value> {
    let requests = server.requests().into_iter();
    requests
        .filter(|request| request.method == method && request.path() == path)
        .map(|request| body(&request))
        .collect()
}

/// The reply for what a stand-in does not know: a defect of the test.
pub(crate) fn unknown(request: &Request) -> Reply {
    Reply::json(
        418,
        json!({"error": format!("{} {}", request.method, request.target)}).to_string(),
    )
}
