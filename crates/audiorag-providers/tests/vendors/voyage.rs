//! Voyage AI.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "failing a test is what this is for"
)]

use crate::setup::{CANARY, Setup, checked, needs_a_key, refusals, unhealthy};
use crate::vectors::{ranking, texts, vector};
use audiorag_core::capability::{EmbedResponse, Embedder, Health, InputType, Ranked, Reranker};
use audiorag_core::{ErrorKind, Result};
use audiorag_providers::vendors::find;
use audiorag_testkit::http::{Reply, Request, Server};
use audiorag_testkit::suite;
use serde_json::{Value, json};
use std::sync::Arc;

const EMBEDDED: &str = include_str!("fixtures/voyage/embeddings.json");
const RANKED: &str = include_str!("fixtures/voyage/rerank.json");

fn embedder(setup: &Setup) -> Result<Arc<dyn Embedder>> {
    let offer = find("voyage").and_then(|vendor| vendor.embed).expect("an offer");
    offer.build.expect("built from settings")(&setup.context())
}

fn reranker(setup: &Setup) -> Result<Arc<dyn Reranker>> {
    let offer = find("voyage").and_then(|vendor| vendor.rerank).expect("an offer");
    offer.build.expect("built from settings")(&setup.context())
}

/// An unknown model with four dimensions, as short as the fixture's.
fn small(mut setup: Setup) -> Setup {
    setup.model = Some("voyage-x");
    setup.dimensions = Some(4);
    setup
}

async fn embed(setup: &Setup) -> Result<EmbedResponse> {
    embedder(setup)?
        .embed(&texts(&["first", "second"]), InputType::Document)
        .await
}

async fn rerank(setup: &Setup) -> Result<Vec<Ranked>> {
    reranker(setup)?
        .rerank("q", &texts(&["a", " ", "b", "c"]), 2)
        .await
}

#[tokio::test]
async fn peer_defect_05_questions_and_passages_are_told_apart_and_vectors_keep_their_order() {
    let server = Server::answering(|_, _| Reply::json(200, EMBEDDED)).await;
    let setup = small(Setup::new("voyage", &server));
    let answer = embed(&setup).await.unwrap();
    // The fixture names the second text first, and its vectors are not of unit length.
    assert_eq!(answer.vectors, [[1.0, 0.0, 0.0, 0.0], [0.0, 0.6, 0.8, 0.0]]);
    assert_eq!((answer.usage.requests, answer.usage.input_tokens), (1, 10));
    let query = embedder(&setup).unwrap();
    query
        .embed(&texts(&["first", "second"]), InputType::Query)
        .await
        .unwrap();
    let sent = server.requests();
    assert_eq!(
        (sent[0].method.as_str(), sent[0].target.as_str()),
        ("POST", "/embeddings")
    );
    assert_eq!(
        sent[0].header("authorization"),
        Some(format!("Bearer {CANARY}").as_str())
    );
    let body: Value = serde_json::from_slice(&sent[0].body).unwrap();
    let expected = json!({
        "model": "voyage-x",
        "input": ["first", "second"],
        "input_type": "document",
        "truncation": true,
        "output_dimension": 4,
    });
    assert_eq!(body, expected);
    let body: Value = serde_json::from_slice(&sent[1].body).unwrap();
    assert_eq!(body["input_type"], "query");
    assert_eq!(
        embedder(&setup).unwrap().space().fingerprint(),
        "voyage/voyage-x/4"
    );
}

#[tokio::test]
async fn dimensions_are_known_or_asked_for() {
    let server = Server::scripted([]).await;
    let with = |model, dimensions| {
        let mut setup = Setup::new("voyage", &server);
        (setup.model, setup.dimensions) = (model, dimensions);
        embedder(&setup)
    };
    let plain = with(None, None).unwrap();
    assert_eq!(plain.space().fingerprint(), "voyage/voyage-4/1024");
    assert_eq!(plain.limits().max_batch_tokens, Some(320_000));
    assert_eq!(
        with(Some("voyage-4-lite"), Some(256)).unwrap().space().dimensions,
        256
    );
    for (model, dimensions) in [
        (None, Some(300)),
        (Some("voyage-law-2"), Some(512)),
        (Some("voyage-9"), None),
    ] {
        let error = with(model, dimensions).err().expect("refused");
        checked(&error, ErrorKind::Config);
        assert!(error.hint().unwrap().contains("AUDIORAG_EMBEDDING_DIMENSIONS"));
    }
    let many = vec!["x".to_owned(); plain.limits().max_batch + 1];
    let error = plain.embed(&many, InputType::Document).await.unwrap_err();
    checked(&error, ErrorKind::Input);
    let many = vec!["x".to_owned(); 1_001];
    let reranker = reranker(&Setup::new("voyage", &server)).unwrap();
    checked(
        &reranker.rerank("q", &many, 1).await.unwrap_err(),
        ErrorKind::Input,
    );
    assert!(server.requests().is_empty());
}

#[tokio::test]
async fn documents_come_back_best_first() {
    let server = Server::answering(|_, _| Reply::json(200, RANKED)).await;
    let ranked = rerank(&Setup::new("voyage", &server)).await.unwrap();
    // The blank document is not sent, so that the fixture's third is the fourth here.
    let found: Vec<(usize, f32)> = ranked.iter().map(|entry| (entry.index, entry.score)).collect();
    assert_eq!(found, [(3, 0.75), (0, 0.5)]);
    let sent = &server.requests()[0];
    assert_eq!((sent.method.as_str(), sent.target.as_str()), ("POST", "/rerank"));
    let body: Value = serde_json::from_slice(&sent.body).unwrap();
    let expected = json!({
        "model": "rerank-2.5", "query": "q", "documents": ["a", "b", "c"], "top_k": 2, "truncation": true,
    });
    assert_eq!(body, expected);
}

fn refused() -> Vec<(Reply, ErrorKind)> {
    let said = |message: &str| json!({"detail": message}).to_string();
    vec![
        (
            Reply::json(401, said(&format!("Provided API key {CANARY} is invalid."))),
            ErrorKind::Auth,
        ),
        (Reply::json(403, said("Forbidden")), ErrorKind::Auth),
        (
            Reply::json(
                400,
                said("Model voyage-9 is not supported. Supported models are ..."),
            ),
            ErrorKind::NotFound,
        ),
        (
            Reply::json(400, said("Input cannot contain empty strings or empty lists")),
            ErrorKind::Input,
        ),
        (
            Reply::json(422, r#"{"detail": [{"msg": "field required"}]}"#),
            ErrorKind::Input,
        ),
        (
            Reply::json(429, said("You have exceeded your rate limit")).with_header("retry-after", "0.01"),
            ErrorKind::RateLimited,
        ),
        (Reply::status(502), ErrorKind::Unavailable),
        (Reply::json(200, "{}"), ErrorKind::Protocol),
    ]
}

#[tokio::test]
async fn refusals_have_their_kinds() {
    let vectors = |vectors: &[(usize, &[f32])]| {
        let data: Vec<Value> = vectors
            .iter()
            .map(|(index, vector)| json!({"index": index, "embedding": vector}))
            .collect();
        let body = json!({"object": "list", "data": data, "model": "m", "usage": {"total_tokens": 1}});
        (Reply::json(200, body.to_string()), ErrorKind::Protocol)
    };
    let good: &[f32] = &[1.0, 0.0, 0.0, 0.0];
    let mut cases = refused();
    cases.extend([
        vectors(&[(0, good)]),
        vectors(&[(0, good), (0, good)]),
        vectors(&[(1, good), (2, good)]),
        vectors(&[(0, good), (1, good), (2, good)]),
        vectors(&[(0, good), (1, &[1.0, 0.0, 0.0])]),
        vectors(&[(0, good), (1, &[0.0; 4])]),
        (Reply::json(200, EMBEDDED).cut_after(300), ErrorKind::Unavailable),
    ]);
    refusals("voyage", &cases, async |setup: &Setup| {
        let offer = find("voyage").and_then(|vendor| vendor.embed).expect("an offer");
        let mut context = setup.context();
        (context.model, context.dimensions) = (Some("voyage-x"), Some(4));
        let embedder = offer.build.expect("built from settings")(&context)?;
        embedder
            .embed(&texts(&["first", "second"]), InputType::Document)
            .await
    })
    .await;

    let scores = |scores: &[(usize, f64)]| {
        let data: Vec<Value> = scores
            .iter()
            .map(|(index, score)| json!({"index": index, "relevance_score": score}))
            .collect();
        (
            Reply::json(200, json!({"data": data}).to_string()),
            ErrorKind::Protocol,
        )
    };
    let mut cases = refused();
    cases.extend([
        scores(&[(0, 0.5)]),
        scores(&[(0, 0.5), (0, 0.4)]),
        scores(&[(0, 0.5), (3, 0.4)]),
        scores(&[(0, 0.5), (1, 1e300)]),
    ]);
    refusals("voyage", &cases, rerank).await;
}

#[tokio::test]
async fn the_key_is_checked_and_missed() {
    needs_a_key("voyage", "VOYAGE_API_KEY", embedder).await;
    needs_a_key("voyage", "VOYAGE_API_KEY", reranker).await;
    let refused = || Reply::json(401, json!({"detail": format!("bad {CANARY}")}).to_string());
    let embedding = async |setup: &Setup| -> Result<Health> { Ok(embedder(setup)?.health_check().await) };
    let ranking = async |setup: &Setup| -> Result<Health> { Ok(reranker(setup)?.health_check().await) };
    unhealthy("voyage", refused(), "check VOYAGE_API_KEY", embedding).await;
    unhealthy("voyage", refused(), "check VOYAGE_API_KEY", ranking).await;
}

/// Embeds by spelling, in reverse order, and ranks by shared words.
fn stand_in(_: usize, asked: &Request) -> Reply {
    let body: Value = serde_json::from_slice(&asked.body).expect("JSON");
    if asked.path() == "/rerank" {
        let (query, documents) = (
            body["query"].as_str().expect("text"),
            body["documents"].as_array().expect("texts"),
        );
        let top = body["top_k"].as_u64().expect("a number") as usize;
        let data: Vec<Value> = ranking(query, documents, top)
            .into_iter()
            .map(|(index, score)| json!({"index": index, "relevance_score": score}))
            .collect();
        return Reply::json(200, json!({"object": "list", "data": data}).to_string());
    }
    let dimensions = body["output_dimension"].as_u64().expect("a number") as usize;
    let inputs = body["input"].as_array().expect("texts");
    let data: Vec<Value> = inputs
        .iter()
        .enumerate()
        .map(|(index, text)| json!({"index": index, "embedding": vector(text.as_str().expect("text"), dimensions)}))
        .rev()
        .collect();
    Reply::json(
        200,
        json!({"data": data, "usage": {"total_tokens": 7}}).to_string(),
    )
}

#[tokio::test]
async fn the_contracts_hold() {
    let server = Server::answering(stand_in).await;
    let setup = Setup::new("voyage", &server);
    suite::embedder::run(&*embedder(&setup).unwrap()).await;
    let reranker = reranker(&setup).unwrap();
    suite::reranker::run(&*reranker).await;
    suite::reranker::finds_the_relevant(&*reranker).await;
}
