//! Weaviate: requests, answers, failures and the contract.

use crate::store::store;
use crate::store_stand_in::{
    CANARY, Kept, Pile, Servers, Switch, bad_input_is_not_sent, body, compares, failures_have_their_kind,
    nearest, numbers, ok, sent, unknown,
};
use audiorag_core::ErrorKind;
use audiorag_core::capability::{Selector, VectorStore};
use audiorag_core::model::Filter;
use audiorag_testkit::http::{Reply, Request, Server};
use audiorag_testkit::suite::vector_store::{self, Collection};
use serde_json::{Map, Value, json};
use std::sync::{Arc, Mutex};

/// The most objects that one deletion removes.
const RESULTS: usize = 400;

/// A Weaviate server with one class.
#[derive(Default)]
struct StandIn {
    class: Option<Value>,
    pile: Pile,
}

impl StandIn {
    fn answer(&mut self, request: &Request) -> Reply {
        let body = body(request);
        match (request.method.as_str(), request.path()) {
            ("GET", "/v1/meta") => ok(&json!({"version": "1.34.0"})),
            ("GET", "/v1/schema/AudioRAG") => match &self.class {
                Some(class) => ok(class),
                None => Reply::status(404),
            },
            ("POST", "/v1/schema") => {
                self.class = Some(body.clone());
                ok(&body)
            }
            ("POST", "/v1/schema/AudioRAG/properties") => {
                let class = self.class.as_mut().unwrap();
                class["properties"].as_array_mut().unwrap().push(body.clone());
                ok(&body)
            }
            ("POST", "/v1/batch/objects") => self.write(&body),
            ("DELETE", "/v1/batch/objects") => {
                let condition = &body["match"]["where"];
                let ids: Vec<String> = self
                    .pile
                    .iter()
                    .filter(|(_, kept)| self.passes(condition, &kept.fields))
                    .map(|(id, _)| id.clone())
                    .collect();
                let gone = ids.len().min(RESULTS);
                for id in &ids[..gone] {
                    self.pile.remove(id);
                }
                ok(&json!({
                    "match": body["match"], "output": "minimal", "dryRun": false,
                    "results": {"matches": ids.len(), "limit": RESULTS, "successful": gone, "failed": 0, "objects": null},
                }))
            }
            ("POST", "/v1/graphql") => self.ask(body["query"].as_str().unwrap()),
            _ => unknown(request),
        }
    }

    fn write(&mut self, body: &Value) -> Reply {
        let mut answers = Vec::new();
        for object in body["objects"].as_array().unwrap() {
            assert_eq!(object["class"], "AudioRAG");
            let id = object["id"].as_str().unwrap();
            assert_eq!(id.len(), 36);
            let kept = Kept {
                vector: numbers(&object["vector"]),
                fields: object["properties"].as_object().unwrap().clone(),
            };
            self.pile.insert(id.to_owned(), kept);
            answers.push(json!({"id": id, "result": {"status": "SUCCESS"}}));
        }
        ok(&json!(answers))
    }

    /// Whether a field is declared and indexed for filters: one that is not is an error on a real server.
    fn passes(&self, condition: &Value, fields: &Map<String, Value>) -> bool {
        let operator = condition["operator"].as_str().unwrap();
        if let Some(operands) = condition.get("operands") {
            let mut operands = operands.as_array().unwrap().iter();
            return match operator {
                "And" => operands.all(|operand| self.passes(operand, fields)),
                "Or" => operands.any(|operand| self.passes(operand, fields)),
                other => panic!("no such operator: {other}"),
            };
        }
        let path = condition["path"][0].as_str().unwrap();
        let declared = self.class.as_ref().unwrap()["properties"].as_array().unwrap();
        assert!(
            declared
                .iter()
                .any(|property| property["name"] == path && property["indexFilterable"] == true),
            "{path} is not declared"
        );
        let held = fields.get(path);
        if let Some(text) = condition.get("valueText") {
            assert_eq!(operator, "Equal");
            return match held {
                Some(Value::Array(items)) => items.contains(text),
                held => held == Some(text),
            };
        }
        let bound = &condition["valueInt"];
        match operator {
            "Equal" => held == Some(bound),
            "GreaterThan" => compares(held, "gt", bound),
            "GreaterThanEqual" => compares(held, "gte", bound),
            "LessThan" => compares(held, "lt", bound),
            "LessThanEqual" => compares(held, "lte", bound),
            other => panic!("no such operator: {other}"),
        }
    }

    fn ask(&self, query: &str) -> Reply {
        let mut words = Words(query);
        let verb = words.enter(&["Get", "Aggregate"]);
        words.enter(&["AudioRAG"]);
        let arguments = words.object('(', ')');
        let condition = arguments.get("where").cloned();
        let meant = |fields: &Map<String, Value>| {
            condition
                .as_ref()
                .is_none_or(|condition| self.passes(condition, fields))
        };
        if verb == "Aggregate" {
            let count = self.pile.values().filter(|kept| meant(&kept.fields)).count();
            return ok(&json!({"data": {"Aggregate": {"AudioRAG": [{"meta": {"count": count}}]}}}));
        }
        let limit = arguments["limit"].as_u64().unwrap() as usize;
        let vector = numbers(&arguments["nearVector"]["vector"]);
        let found: Vec<Value> = nearest(&self.pile, &vector, limit, |_, fields| meant(fields))
            .iter()
            .map(|(_, kept, score)| {
                json!({"chunk_id": kept.fields["chunk_id"], "_additional": {"distance": 1.0 - score}})
            })
            .collect();
        ok(&json!({"data": {"Get": {"AudioRAG": found}}}))
    }
}

/// Reads as much of GraphQL as queries use: strings with escapes, numbers, lists, objects and bare words.
struct Words<'a>(&'a str);

impl Words<'_> {
    fn skip(&mut self) {
        self.0 = self
            .0
            .trim_start_matches(|letter: char| letter.is_whitespace() || letter == ',');
    }

    fn take(&mut self, letter: char) {
        self.skip();
        self.0 = self
            .0
            .strip_prefix(letter)
            .unwrap_or_else(|| panic!("no '{letter}' at {}", self.0));
    }

    fn name(&mut self) -> String {
        self.skip();
        let end = self
            .0
            .find(|letter: char| !letter.is_alphanumeric() && letter != '_')
            .unwrap_or(self.0.len());
        let (name, rest) = self.0.split_at(end);
        self.0 = rest;
        name.to_owned()
    }

    /// Opens a selection and reads its name.
    fn enter(&mut self, names: &[&str]) -> String {
        self.take('{');
        let name = self.name();
        assert!(names.contains(&name.as_str()), "{name}");
        name
    }

    fn object(&mut self, open: char, close: char) -> Map<String, Value> {
        self.take(open);
        let mut fields = Map::new();
        loop {
            self.skip();
            if let Some(rest) = self.0.strip_prefix(close) {
                self.0 = rest;
                return fields;
            }
            let name = self.name();
            self.take(':');
            let value = self.value();
            fields.insert(name, value);
        }
    }

    fn value(&mut self) -> Value {
        self.skip();
        match self.0.chars().next().unwrap() {
            '{' => Value::Object(self.object('{', '}')),
            '[' => {
                self.take('[');
                let mut items = Vec::new();
                loop {
                    self.skip();
                    if let Some(rest) = self.0.strip_prefix(']') {
                        self.0 = rest;
                        return Value::Array(items);
                    }
                    items.push(self.value());
                }
            }
            first if first.is_alphabetic() => Value::String(self.name()),
            '0'..='9' | '-' => {
                let end = self.0.find([',', ' ', ']', '}', ')']).unwrap_or(self.0.len());
                let (number, rest) = self.0.split_at(end);
                self.0 = rest;
                serde_json::from_str(number).unwrap()
            }
            _ => {
                let mut stream = serde_json::Deserializer::from_str(self.0).into_iter::<Value>();
                let value = stream.next().unwrap().unwrap();
                self.0 = &self.0[stream.byte_offset()..];
                value
            }
        }
    }
}

async fn running() -> Server {
    let state = Mutex::new(StandIn::default());
    Server::answering(move |_, request| state.lock().unwrap().answer(request)).await
}

fn at(url: &str) -> Arc<dyn VectorStore> {
    let settings = [("weaviate.base_url", url), ("weaviate.api_key", CANARY)];
    store("weaviate", &settings).unwrap()
}

#[tokio::test]
async fn honours_the_contract() {
    let servers = Servers::default();
    vector_store::run(async || at(&servers.keep(running().await))).await;
}

#[tokio::test]
async fn peer_defect_04_source_ids_are_declared_and_stored() {
    let server = running().await;
    let store = at(&server.url(""));
    let collection = Collection::new(4, 3);
    store.prepare(&collection.space).await.unwrap();
    store.upsert(collection.records.clone()).await.unwrap();
    for request in server.requests() {
        let expected = format!("Bearer {CANARY}");
        assert_eq!(request.header("authorization"), Some(expected.as_str()));
    }
    let class = &sent(&server, "POST", "/v1/schema")[0];
    assert_eq!(class["class"], "AudioRAG");
    assert_eq!(class["vectorizer"], "none");
    assert_eq!(class["vectorIndexConfig"], json!({"distance": "cosine"}));
    assert!(class["properties"].as_array().unwrap().contains(&json!({
        "name": "source_id", "dataType": ["text"], "tokenization": "field",
        "indexFilterable": true, "indexSearchable": false,
    })));
    let object = &sent(&server, "POST", "/v1/batch/objects")[0]["objects"][2];
    let record = &collection.records[2];
    assert_eq!(object["properties"]["source_id"], record.source_id.as_str());
    assert_eq!(object["properties"]["chunk_id"], record.id.as_str());
    assert_eq!(object["properties"]["speakers"], json!(record.speakers));
    store
        .delete(&Selector::Source(record.source_id.clone()))
        .await
        .unwrap();
    assert_eq!(store.count(&Selector::All).await.unwrap(), 2);
}

#[tokio::test]
async fn fields_that_an_older_class_lacks_are_added() {
    let server = running().await;
    let store = at(&server.url(""));
    let space = Collection::new(4, 0).space;
    let class = json!({
        "class": "AudioRAG",
        "description": "AudioRAG vectors of fake/model-4/4",
        "vectorIndexConfig": {"distance": "cosine"},
        "properties": [{"name": "chunk_id"}],
    });
    let http = Server::answering({
        let state = Mutex::new(StandIn {
            class: Some(class),
            ..StandIn::default()
        });
        move |_, request| state.lock().unwrap().answer(request)
    })
    .await;
    at(&http.url("")).prepare(&space).await.unwrap();
    let added = sent(&http, "POST", "/v1/schema/AudioRAG/properties");
    assert_eq!(added.len(), 10);
    assert!(added.iter().any(|property| property["name"] == "source_id"));
    store.prepare(&space).await.unwrap();
    assert!(sent(&server, "POST", "/v1/schema/AudioRAG/properties").is_empty());
}

#[tokio::test]
async fn other_spaces_and_classes_are_refused() {
    let server = running().await;
    let store = at(&server.url(""));
    let mut space = Collection::new(4, 0).space;
    store.prepare(&space).await.unwrap();
    space.model = "another".to_owned();
    let error = store.prepare(&space).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.message().contains("fake/model-4/4"), "{}", error.message());
    for class in [
        json!({"class": "AudioRAG", "vectorIndexConfig": {"distance": "cosine"}}),
        json!({"class": "AudioRAG", "description": "AudioRAG vectors of fake/another/4", "vectorIndexConfig": {"distance": "l2-squared"}}),
    ] {
        let server = Server::answering(move |_, _| ok(&class)).await;
        let error = at(&server.url("")).prepare(&space).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config, "{}", error.report());
    }
    for name in ["a-b", "1a", "Ä", ""] {
        assert!(
            crate::store::store("weaviate", &[("weaviate.collection_name", name)]).is_err(),
            "{name}"
        );
    }
}

#[tokio::test]
async fn a_success_with_failed_objects_is_a_failure() {
    let state = Mutex::new(StandIn::default());
    let switch = Switch::new(move |request| state.lock().unwrap().answer(request)).await;
    let store = at(&switch.server.url(""));
    let collection = Collection::new(4, 2);
    store.prepare(&collection.space).await.unwrap();
    let table = [
        (
            json!([
                {"result": {"status": "SUCCESS"}},
                {"result": {"status": "FAILED", "errors": {"error": [{"message": "shard is read-only"}]}}},
            ]),
            ErrorKind::Unavailable,
            "shard is read-only",
        ),
        (
            json!([{"result": {"errors": {"error": []}}}, {"result": {}}]),
            ErrorKind::Unavailable,
            "1 of 2",
        ),
        (
            json!([{"result": {"status": "SUCCESS"}}]),
            ErrorKind::Protocol,
            "1 of 2",
        ),
    ];
    for (answer, kind, part) in table {
        switch.answer(Some(ok(&answer)));
        let error = store.upsert(collection.records.clone()).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{}", error.report());
        assert!(error.report().contains(part), "{}", error.report());
    }
    switch.answer(Some(ok(
        &json!({"data": {"Get": null}, "errors": [{"message": "explored too far"}]}),
    )));
    let vector = &collection.records[0].vector;
    let error = store.search(vector, 1, &Filter::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Protocol);
    assert!(error.report().contains("explored too far"));
    switch.answer(Some(ok(&json!({"data": {"Aggregate": {"AudioRAG": []}}}))));
    let error = store.count(&Selector::All).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Protocol);
    switch.answer(Some(ok(
        &json!({"results": {"matches": 5, "limit": 10, "successful": 3, "failed": 2}}),
    )));
    let error = store.delete(&Selector::All).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
}

#[tokio::test]
async fn failures_are_told_apart() {
    let state = Mutex::new(StandIn::default());
    let switch = Switch::new(move |request| state.lock().unwrap().answer(request)).await;
    failures_have_their_kind(
        || at(&switch.server.url("")),
        &switch,
        r#"{"error":[{"message":"MESSAGE"}]}"#,
    )
    .await;
    let echo = json!({"errors": [{"message": format!("bad key {CANARY}")}]});
    let state = Mutex::new(StandIn::default());
    let server = Server::answering(move |_, request| match request.path() {
        "/v1/graphql" => ok(&echo),
        _ => state.lock().unwrap().answer(request),
    })
    .await;
    let store = at(&server.url(""));
    store.prepare(&Collection::new(4, 0).space).await.unwrap();
    let error = store.count(&Selector::All).await.unwrap_err();
    let shown = format!("{error:?} {}", error.report());
    assert!(
        shown.contains("bad key ***") && !shown.contains(CANARY),
        "{shown}"
    );
    let server = running().await;
    bad_input_is_not_sent(&*at(&server.url("")), &server).await;
    let health = at(&server.url("")).health_check().await;
    assert!(health.detail.contains("1.34.0"), "{}", health.detail);
}
