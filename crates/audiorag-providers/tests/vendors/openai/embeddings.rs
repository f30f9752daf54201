//! Embeddings.

use super::models;
use crate::stand_in::{list, vector};
use crate::{Refusal, Setup, refusals, stand_in};
use audiorag_core::ErrorKind;
use audiorag_core::capability::InputType;
use audiorag_testkit::http::{Reply, Request, Server};
use audiorag_testkit::suite::embedder;
use serde_json::{Value, json};

fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

/// Little-endian floats as OpenAI encodes them.
fn base64(vector: &[f32]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let bytes: Vec<u8> = vector.iter().flat_map(|value| value.to_le_bytes()).collect();
    let mut out = String::new();
    for chunk in bytes.chunks(3) {
        let mut triple = [0; 3];
        triple[..chunk.len()].copy_from_slice(chunk);
        let bits = u32::from(triple[0]) << 16 | u32::from(triple[1]) << 8 | u32::from(triple[2]);
        for place in 0..4 {
            let six = bits >> (18 - 6 * place) & 63;
            out.push(if place > chunk.len() {
                '='
            } else {
                LETTERS[six as usize].into()
            });
        }
    }
    out
}

#[tokio::test]
async fn what_is_asked_and_what_comes_back() {
    let answer = json!({"object": "list", "model": "text-embedding-3-small", "data": [
        {"object": "embedding", "index": 1, "embedding": base64(&[0.0, 0.0, 2.0])},
        {"object": "embedding", "index": 0, "embedding": [3.0, 4.0, 0.0]},
    ], "usage": {"prompt_tokens": 9, "total_tokens": 9}});
    let server = Server::scripted([Reply::json(200, answer.to_string())]).await;
    let setup = Setup::new("openai")
        .at(&server, "/v1")
        .model("text-embedding-3-small")
        .dimensions(3);
    let embedder = setup.embedder().unwrap();
    assert_eq!(embedder.space().fingerprint(), "openai/text-embedding-3-small/3");
    let limits = embedder.limits();
    assert_eq!(
        (limits.max_batch, limits.max_batch_tokens),
        (2_048, Some(300_000))
    );

    let response = embedder
        .embed(&texts(&["one", ""]), InputType::Document)
        .await
        .unwrap();
    let request = &server.requests()[0];
    assert_eq!(
        (request.method.as_str(), request.target.as_str()),
        ("POST", "/v1/embeddings")
    );
    let body: Value = stand_in::json(request);
    assert_eq!(
        body,
        json!({"model": "text-embedding-3-small", "input": ["one", " "], "encoding_format": "float", "dimensions": 3})
    );
    assert_eq!(
        response.vectors,
        [vec![0.6, 0.8, 0.0], vec![0.0, 0.0, 1.0]],
        "in the order of the texts"
    );
    assert_eq!(response.usage.input_tokens, 9);
}

#[tokio::test]
async fn dimensions_are_stated_not_asked_for_where_the_model_is_unknown() {
    let answer = r#"{"data":[{"index":0,"embedding":[1.0,0.0]}]}"#;
    let server = Server::scripted([Reply::json(200, answer)]).await;
    let setup = Setup::new("openai")
        .at(&server, "/v1")
        .without_key()
        .model("nomic-embed-text");
    let error = setup.embedder().err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.hint().unwrap().contains("AUDIORAG_EMBEDDING_DIMENSIONS"));
    let embedder = setup.dimensions(2).embedder().unwrap();
    embedder.embed(&texts(&["one"]), InputType::Query).await.unwrap();
    let body: Value = stand_in::json(&server.requests()[0]);
    assert_eq!(body.get("dimensions"), None, "vLLM refuses it: {body}");
}

const REFUSALS: &[Refusal] = &[
    (
        401,
        None,
        r#"{"error":{"message":"Incorrect API key provided: $KEY","code":"invalid_api_key"}}"#,
        ErrorKind::Auth,
    ),
    (
        404,
        None,
        r#"{"error":{"message":"no such model","code":"model_not_found"}}"#,
        ErrorKind::NotFound,
    ),
    (
        429,
        Some(("retry-after", "20")),
        r#"{"error":{"message":"TPM","code":"rate_limit_exceeded"}}"#,
        ErrorKind::RateLimited,
    ),
    (
        429,
        None,
        r#"{"error":{"message":"quota","type":"insufficient_quota"}}"#,
        ErrorKind::Budget,
    ),
    (503, None, "overloaded", ErrorKind::Unavailable),
    (
        200,
        None,
        r#"{"data":[{"index":0,"embedding":[1.0,0.0]}]}"#,
        ErrorKind::Protocol,
    ),
    (
        200,
        None,
        r#"{"data":[{"index":0,"embedding":[1,0]},{"index":0,"embedding":[1,0]}]}"#,
        ErrorKind::Protocol,
    ),
    (
        200,
        None,
        r#"{"data":[{"index":1,"embedding":[1,0]},{"index":2,"embedding":[1,0]}]}"#,
        ErrorKind::Protocol,
    ),
    (
        200,
        None,
        r#"{"data":[{"index":0,"embedding":[1,0]},{"index":1,"embedding":[1,0,0]}]}"#,
        ErrorKind::Protocol,
    ),
    (
        200,
        None,
        r#"{"data":[{"index":0,"embedding":[1,0]},{"index":1,"embedding":[0,0]}]}"#,
        ErrorKind::Protocol,
    ),
    (
        200,
        None,
        r#"{"data":[{"index":0,"embedding":[1,0]},{"index":1,"embedding":"?"}]}"#,
        ErrorKind::Protocol,
    ),
    (
        200,
        None,
        r#"{"data":[{"index":0,"embedding":[1,0]},{"ind"#,
        ErrorKind::Protocol,
    ),
];

#[tokio::test]
async fn refusals_and_broken_answers_are_told_apart() {
    refusals(REFUSALS, async |server| {
        let setup = Setup::new("openai").at(server, "/v1").model("m").dimensions(2);
        let embedder = setup.embedder().unwrap();
        embedder
            .embed(&texts(&["one", "two"]), InputType::Document)
            .await
            .unwrap_err()
    })
    .await;
}

/// Embeds like OpenAI, which refuses what its models cannot read.
fn embed(request: &Request) -> Reply {
    if request.method == "GET" {
        return models();
    }
    let input = list(request, "input");
    if input.len() > 2_048
        || input
            .iter()
            .any(|text| text.as_str().unwrap_or_default().len() / 4 > 8_192)
    {
        return Reply::json(
            400,
            r#"{"error":{"message":"maximum context length is 8192 tokens"}}"#,
        );
    }
    // Answers may come in any order.
    let data: Vec<Value> = input
        .iter()
        .enumerate()
        .rev()
        .map(|(index, text)| json!({"index": index, "embedding": base64(&vector(text.as_str().unwrap_or_default(), 256))}))
        .collect();
    Reply::json(
        200,
        json!({"data": data, "usage": {"prompt_tokens": 1}}).to_string(),
    )
}

#[tokio::test]
async fn the_contract_holds() {
    let server = Server::answering(|_, request| embed(request)).await;
    let setup = Setup::new("openai")
        .at(&server, "/v1")
        .model("text-embedding-3-small")
        .dimensions(256);
    embedder::run(&*setup.embedder().unwrap()).await;
}
