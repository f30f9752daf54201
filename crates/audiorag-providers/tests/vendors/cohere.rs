//! Cohere.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "failing a test is what this is for"
)]

use crate::listening::{loud, request, wav_in};
use crate::setup::{CANARY, Setup, checked, needs_a_key, refusals, unhealthy};
use crate::vectors::{ranking, texts, vector};
use audiorag_core::capability::{
    EmbedResponse, Embedder, Health, HealthStatus, InputType, Ranked, Reranker, TranscribeRequest,
    TranscribeResponse, Transcriber,
};
use audiorag_core::model::TimeQuality;
use audiorag_core::{ErrorKind, Result, Span};
use audiorag_providers::vendors::find;
use audiorag_testkit::http::{Reply, Request, Server};
use audiorag_testkit::suite;
use audiorag_testkit::suite::transcriber::TranscriberCase;
use serde_json::{Value, json};
use std::sync::Arc;

const EMBEDDED: &str = include_str!("fixtures/cohere/embed.json");
const RANKED: &str = include_str!("fixtures/cohere/rerank.json");

fn embedder(setup: &Setup) -> Result<Arc<dyn Embedder>> {
    let offer = find("cohere").and_then(|vendor| vendor.embed).expect("an offer");
    offer.build.expect("built from settings")(&setup.context())
}

fn reranker(setup: &Setup) -> Result<Arc<dyn Reranker>> {
    let offer = find("cohere").and_then(|vendor| vendor.rerank).expect("an offer");
    offer.build.expect("built from settings")(&setup.context())
}

fn transcriber(setup: &Setup) -> Result<Arc<dyn Transcriber>> {
    let offer = find("cohere")
        .and_then(|vendor| vendor.transcribe)
        .expect("an offer");
    offer.build.expect("built from settings")(&setup.context())
}

async fn embed(setup: &Setup) -> Result<EmbedResponse> {
    let offer = find("cohere").and_then(|vendor| vendor.embed).expect("an offer");
    // An unknown model with four dimensions, as short as the fixture's.
    let mut context = setup.context();
    (context.model, context.dimensions) = (Some("embed-x"), Some(4));
    let embedder = offer.build.expect("built from settings")(&context)?;
    embedder
        .embed(&texts(&["first", "second"]), InputType::Document)
        .await
}

async fn rerank(setup: &Setup) -> Result<Vec<Ranked>> {
    reranker(setup)?
        .rerank("q", &texts(&["a", " ", "b", "c"]), 2)
        .await
}

fn spoken() -> TranscribeRequest {
    TranscribeRequest {
        language: Some("de-AT".to_owned()),
        ..request()
    }
}

async fn transcribe(setup: &Setup) -> Result<TranscribeResponse> {
    transcriber(setup)?.transcribe(spoken()).await
}

#[tokio::test]
async fn texts_come_back_as_vectors_in_their_order() {
    let server = Server::answering(|_, _| Reply::json(200, EMBEDDED)).await;
    let setup = Setup::new("cohere", &server);
    let answer = embed(&setup).await.unwrap();
    assert_eq!(answer.vectors, [[1.0, 0.0, 0.0, 0.0], [0.0, 0.6, 0.8, 0.0]]);
    assert_eq!((answer.usage.requests, answer.usage.input_tokens), (1, 10));
    let sent = &server.requests()[0];
    assert_eq!(
        (sent.method.as_str(), sent.target.as_str()),
        ("POST", "/v2/embed")
    );
    assert_eq!(
        sent.header("authorization"),
        Some(format!("Bearer {CANARY}").as_str())
    );
    let body: Value = serde_json::from_slice(&sent.body).unwrap();
    let expected = json!({
        "model": "embed-x",
        "texts": ["first", "second"],
        "input_type": "search_document",
        "embedding_types": ["float"],
        "truncate": "END",
        "output_dimension": 4,
    });
    assert_eq!(body, expected);
}

#[tokio::test]
async fn peer_defect_05_questions_are_embedded_as_questions_and_old_models_are_not_told_a_size() {
    let server = Server::answering(|_, asked| {
        let body: Value = serde_json::from_slice(&asked.body).expect("JSON");
        let size = body["output_dimension"].as_u64().unwrap_or(1024) as usize;
        Reply::json(
            200,
            json!({"embeddings": {"float": [vector("x", size)]}}).to_string(),
        )
    })
    .await;
    let mut setup = Setup::new("cohere", &server);
    let ask = async |setup: &Setup| {
        let embedder = embedder(setup).unwrap();
        embedder.embed(&texts(&["x"]), InputType::Query).await.unwrap();
        embedder.space().fingerprint()
    };
    assert_eq!(ask(&setup).await, "cohere/embed-v5.0-pro/1024");
    setup.model = Some("embed-english-v3.0");
    assert_eq!(ask(&setup).await, "cohere/embed-english-v3.0/1024");
    let bodies: Vec<Value> = server
        .requests()
        .iter()
        .map(|sent| serde_json::from_slice(&sent.body).unwrap())
        .collect();
    assert_eq!(
        (&bodies[0]["input_type"], &bodies[0]["output_dimension"]),
        (&json!("search_query"), &json!(1024))
    );
    assert_eq!(bodies[1].get("output_dimension"), None);
}

#[tokio::test]
async fn what_cannot_work_is_refused_before_a_call() {
    let server = Server::scripted([]).await;
    let mut setup = Setup::new("cohere", &server);
    let many = vec!["x".to_owned(); 97];
    let error = embedder(&setup)
        .unwrap()
        .embed(&many, InputType::Document)
        .await
        .unwrap_err();
    checked(&error, ErrorKind::Input);
    let many = vec!["x".to_owned(); 1_001];
    checked(
        &reranker(&setup).unwrap().rerank("q", &many, 1).await.unwrap_err(),
        ErrorKind::Input,
    );
    for language in [None, Some("sv".to_owned())] {
        let asked = TranscribeRequest {
            language,
            ..request()
        };
        let error = transcriber(&setup).unwrap().transcribe(asked).await.unwrap_err();
        checked(&error, ErrorKind::Config);
        assert!(error.hint().unwrap().contains("AUDIORAG_STT_LANGUAGE"));
    }
    for (model, dimensions) in [("embed-v4.0", Some(2048)), ("embed-v9", None)] {
        (setup.model, setup.dimensions) = (Some(model), dimensions);
        checked(&embedder(&setup).err().expect("refused"), ErrorKind::Config);
    }
    assert!(server.requests().is_empty());
}

#[tokio::test]
async fn documents_come_back_best_first() {
    let server = Server::answering(|_, _| Reply::json(200, RANKED)).await;
    let ranked = rerank(&Setup::new("cohere", &server)).await.unwrap();
    // The blank document is not sent, so that the fixture's third is the fourth here.
    let found: Vec<(usize, f32)> = ranked.iter().map(|entry| (entry.index, entry.score)).collect();
    assert_eq!(found, [(3, 0.75), (0, 0.5)]);
    let sent = &server.requests()[0];
    assert_eq!(
        (sent.method.as_str(), sent.target.as_str()),
        ("POST", "/v2/rerank")
    );
    let body: Value = serde_json::from_slice(&sent.body).unwrap();
    let expected =
        json!({"model": "rerank-v5.0-pro", "query": "q", "documents": ["a", "b", "c"], "top_n": 2});
    assert_eq!(body, expected);
}

#[tokio::test]
async fn text_is_placed_where_speech_is() {
    let server =
        Server::answering(|_, _| Reply::json(200, r#"{"text": " Erster Satz. Zweiter Satz. "}"#)).await;
    let answer = transcribe(&Setup::new("cohere", &server)).await.unwrap();
    let sent = &server.requests()[0];
    assert_eq!(
        (sent.method.as_str(), sent.target.as_str()),
        ("POST", "/v2/audio/transcriptions")
    );
    assert_eq!(
        sent.header("authorization"),
        Some(format!("Bearer {CANARY}").as_str())
    );
    assert_eq!(wav_in(sent).len(), 44 + 80_000);
    let text = sent.text();
    let at = |needle: &str| {
        text.find(needle)
            .unwrap_or_else(|| unreachable!("{needle} is missing"))
    };
    // The file comes last: what follows it is not read.
    assert!(at("\"model\"\r\n\r\ncohere-transcribe-03-2026") < at("filename="));
    assert!(at("\"language\"\r\n\r\nde\r\n") < at("filename="));

    assert_eq!(answer.transcript.language.as_deref(), Some("de"));
    let segments = &answer.transcript.segments;
    assert_eq!(
        (segments[0].text.as_str(), segments[1].text.as_str()),
        ("Erster Satz.", "Zweiter Satz.")
    );
    assert!(
        segments
            .iter()
            .all(|segment| segment.times == TimeQuality::Estimated)
    );
    assert_eq!(
        segments[0].span.union(segments[1].span),
        Span::from_millis(500, 2_500)
    );
}

fn refused() -> Vec<(Reply, ErrorKind)> {
    let said = |message: &str| json!({"id": "x", "message": message}).to_string();
    let month = "You are using a Trial key, which is limited to 1000 API calls / month.";
    vec![
        (
            Reply::json(401, said(&format!("invalid api token {CANARY}"))),
            ErrorKind::Auth,
        ),
        (Reply::json(402, said("billing limit reached")), ErrorKind::Budget),
        (Reply::json(404, said("model 'x' not found")), ErrorKind::NotFound),
        (Reply::json(422, said("invalid request")), ErrorKind::Input),
        (Reply::json(429, said(month)), ErrorKind::Budget),
        (
            Reply::json(429, said("trial keys are limited to 10 calls per minute"))
                .with_header("retry-after", "0.01"),
            ErrorKind::RateLimited,
        ),
        (Reply::json(498, said("blocked")), ErrorKind::Input),
        (Reply::json(499, said("cancelled")), ErrorKind::Unavailable),
        (Reply::status(503), ErrorKind::Unavailable),
        (Reply::json(200, "{}"), ErrorKind::Protocol),
    ]
}

#[tokio::test]
async fn refusals_have_their_kinds() {
    let vectors = |vectors: &[&[f32]]| {
        let body = json!({"embeddings": {"float": vectors}});
        (Reply::json(200, body.to_string()), ErrorKind::Protocol)
    };
    let good: &[f32] = &[1.0, 0.0, 0.0, 0.0];
    let mut cases = refused();
    cases.extend([
        vectors(&[good]),
        vectors(&[good, good, good]),
        vectors(&[good, &[1.0, 0.0, 0.0]]),
        vectors(&[good, &[0.0; 4]]),
        (Reply::json(200, EMBEDDED).cut_after(300), ErrorKind::Unavailable),
    ]);
    refusals("cohere", &cases, embed).await;

    let scores = |scores: &[(usize, f64)]| {
        let results: Vec<Value> = scores
            .iter()
            .map(|(index, score)| json!({"index": index, "relevance_score": score}))
            .collect();
        (
            Reply::json(200, json!({"results": results}).to_string()),
            ErrorKind::Protocol,
        )
    };
    let mut cases = refused();
    cases.extend([
        scores(&[(0, 0.5)]),
        scores(&[(0, 0.5), (0, 0.4)]),
        scores(&[(0, 0.5), (3, 0.4)]),
    ]);
    refusals("cohere", &cases, rerank).await;

    refusals("cohere", &refused(), transcribe).await;
}

#[tokio::test]
async fn the_key_and_the_model_are_checked() {
    needs_a_key("cohere", "COHERE_API_KEY", embedder).await;
    needs_a_key("cohere", "COHERE_API_KEY", reranker).await;
    needs_a_key("cohere", "COHERE_API_KEY", transcriber).await;
    let refused = || Reply::json(401, json!({"message": format!("bad {CANARY}")}).to_string());
    let embedding = async |setup: &Setup| -> Result<Health> { Ok(embedder(setup)?.health_check().await) };
    let ranking = async |setup: &Setup| -> Result<Health> { Ok(reranker(setup)?.health_check().await) };
    let hearing = async |setup: &Setup| -> Result<Health> { Ok(transcriber(setup)?.health_check().await) };
    unhealthy("cohere", refused(), "check COHERE_API_KEY", embedding).await;
    unhealthy("cohere", refused(), "check COHERE_API_KEY", ranking).await;
    unhealthy("cohere", refused(), "check COHERE_API_KEY", hearing).await;
    let chat = || Reply::json(200, r#"{"name": "command", "endpoints": ["chat"]}"#);
    unhealthy("cohere", chat(), "cannot embed", embedding).await;
    unhealthy("cohere", chat(), "cannot rerank", ranking).await;
    unhealthy(
        "cohere",
        Reply::json(404, r#"{"message": "model not found"}"#),
        "not_found",
        hearing,
    )
    .await;

    let old = r#"{"name": "x", "endpoints": ["embed"], "is_deprecated": true}"#;
    let server = Server::answering(move |_, _| Reply::json(200, old)).await;
    let found = embedding(&Setup::new("cohere", &server)).await.unwrap();
    assert_eq!(found.status, HealthStatus::Healthy);
    assert!(found.detail.contains("deprecated"), "{}", found.detail);
    assert_eq!(server.requests()[0].target, "/v1/models/embed-v5.0-pro");
}

/// Embeds by spelling, ranks by shared words, and hears two words wherever it is loud.
fn stand_in(_: usize, asked: &Request) -> Reply {
    let answer = match asked.path() {
        "/v2/embed" => {
            let body: Value = serde_json::from_slice(&asked.body).expect("JSON");
            let dimensions = body["output_dimension"].as_u64().expect("a number") as usize;
            let texts = body["texts"].as_array().expect("texts").iter();
            let vectors: Vec<Vec<f32>> = texts
                .map(|text| vector(text.as_str().expect("text"), dimensions))
                .collect();
            json!({"embeddings": {"float": vectors}, "meta": {"billed_units": {"input_tokens": 7}}})
        }
        "/v2/rerank" => {
            let body: Value = serde_json::from_slice(&asked.body).expect("JSON");
            let documents = body["documents"].as_array().expect("texts");
            let top = body["top_n"].as_u64().expect("a number") as usize;
            let results: Vec<Value> = ranking(body["query"].as_str().expect("text"), documents, top)
                .into_iter()
                .map(|(index, score)| json!({"index": index, "relevance_score": score}))
                .collect();
            json!({"results": results})
        }
        "/v2/audio/transcriptions" => {
            let (from, to) = loud(wav_in(asked));
            json!({"text": if from < to { "Two words." } else { "" }})
        }
        _ => json!({"name": "x", "endpoints": ["embed", "rerank"]}),
    };
    Reply::json(200, answer.to_string())
}

#[tokio::test]
async fn the_contracts_hold() {
    let server = Server::answering(stand_in).await;
    let setup = Setup::new("cohere", &server);
    suite::embedder::run(&*embedder(&setup).unwrap()).await;
    let reranker = reranker(&setup).unwrap();
    suite::reranker::run(&*reranker).await;
    suite::reranker::finds_the_relevant(&*reranker).await;
    let mut case = TranscriberCase::synthetic();
    for request in [&mut case.speech, &mut case.silence] {
        request.language = Some("en".to_owned());
    }
    suite::transcriber::run(&*transcriber(&setup).unwrap(), &case).await;
}
