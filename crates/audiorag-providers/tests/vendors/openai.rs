//! OpenAI, and servers of one's own that speak its dialect.

mod answers;
mod embeddings;
mod speech;

use crate::{CANARY, Setup, keeps_secrets};
use audiorag_core::ErrorKind;
use audiorag_testkit::http::{Reply, Server};

/// The list of models as OpenAI gives it.
const MODELS: &str = r#"{"object":"list","data":[
    {"id":"gpt-transcribe","object":"model","created":1,"owned_by":"openai"},
    {"id":"whisper-1","object":"model","created":1,"owned_by":"openai-internal"},
    {"id":"text-embedding-3-small","object":"model","created":1,"owned_by":"system"},
    {"id":"gpt-6-luna","object":"model","created":1,"owned_by":"system"}]}"#;

fn models() -> Reply {
    Reply::json(200, MODELS).with_header("connection", "close")
}

#[test]
fn openai_needs_a_key_and_other_servers_do_not() {
    let error = Setup::new("openai").without_key().generator().err().unwrap();
    assert_eq!(
        (error.kind(), error.hint()),
        (ErrorKind::Auth, Some("set OPENAI_API_KEY"))
    );
    let own = Setup::new("openai")
        .without_key()
        .with("openai.base_url", "http://localhost:11434/v1")
        .model("llama3.2");
    assert!(own.generator().is_ok() && own.transcriber().is_ok());
}

#[tokio::test]
async fn a_server_without_a_key_is_sent_none() {
    let server = Server::answering(|_, _| Reply::json(200, r#"{"data":[{"id":"llama3.2:latest"}]}"#)).await;
    let setup = Setup::new("openai")
        .at(&server, "/v1")
        .without_key()
        .model("llama3.2");
    let health = setup.generator().unwrap().health_check().await;
    assert!(health.detail.contains("llama3.2 among them"), "{}", health.detail);
    let request = &server.requests()[0];
    assert_eq!(
        (request.method.as_str(), request.target.as_str()),
        ("GET", "/v1/models")
    );
    assert_eq!(request.header("authorization"), None);
}

#[tokio::test]
async fn a_server_that_does_not_list_the_model_is_remarked_upon() {
    let server = Server::answering(|_, _| Reply::json(200, r#"{"data":[{"id":"other"}]}"#)).await;
    let setup = Setup::new("openai").at(&server, "/v1").model("llama3.2");
    let health = setup.generator().unwrap().health_check().await;
    assert!(
        health.detail.contains("do not include llama3.2"),
        "{}",
        health.detail
    );
    assert_eq!(
        server.requests()[0].header("authorization"),
        Some(format!("Bearer {CANARY}").as_str())
    );
}

#[tokio::test]
async fn a_wrong_key_and_a_wrong_address_are_named() {
    let body = format!(
        r#"{{"error":{{"message":"Incorrect API key provided: {CANARY}","type":"invalid_request_error","param":null,"code":"invalid_api_key"}}}}"#
    );
    let server = Server::scripted([Reply::json(401, body), Reply::status(404).with_body("not found")]).await;
    let generator = Setup::new("openai")
        .at(&server, "/v1")
        .model("m")
        .generator()
        .unwrap();
    crate::unhealthy(&generator.health_check().await, "check OPENAI_API_KEY");
    crate::unhealthy(&generator.health_check().await, "usually ends in /v1");
}

#[test]
fn a_base_url_that_is_none_is_refused() {
    let setup = Setup::new("openai")
        .with("openai.base_url", "localhost:11434/v1")
        .without_key();
    let error = setup.embedder().err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Config);
    keeps_secrets(&error);
}
