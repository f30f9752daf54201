//! Google Gemini.

use crate::stand_in::{answer, events, json as json_of, list, question, stream, vector};
use crate::{CANARY, Refusal, Setup, keeps_secrets, refusals, unhealthy};
use audiorag_core::ErrorKind;
use audiorag_core::capability::InputType;
use audiorag_testkit::http::{Reply, Request, Server};
use audiorag_testkit::suite::embedder;
use audiorag_testkit::suite::generator::{self, GeneratorCase};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

const ANSWER: &str = include_str!("fixtures/gemini/answer.sse");
const MODEL: &str = r#"{"name":"models/m","version":"001","displayName":"M","inputTokenLimit":1048576,
    "supportedGenerationMethods":["generateContent","countTokens","embedContent"]}"#;

fn setup(server: &Server) -> Setup {
    Setup::new("gemini").at(server, "/v1beta")
}

fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

#[test]
fn a_key_is_needed() {
    let error = Setup::new("gemini").without_key().generator().err().unwrap();
    assert_eq!(
        (error.kind(), error.hint()),
        (ErrorKind::Auth, Some("set GEMINI_API_KEY"))
    );
}

#[tokio::test]
async fn what_is_asked_for_an_answer_and_what_comes_back() {
    let server = Server::scripted([stream(ANSWER)]).await;
    let generator = setup(&server)
        .model("models/gemini-3.8-flash")
        .generator()
        .unwrap();
    let (text, usage, truncated) = answer(&*generator).await.unwrap();
    let request = &server.requests()[0];
    assert_eq!(
        (request.method.as_str(), request.target.as_str()),
        (
            "POST",
            "/v1beta/models/gemini-3.8-flash:streamGenerateContent?alt=sse"
        )
    );
    assert_eq!(request.header("x-goog-api-key"), Some(CANARY));
    assert_eq!(
        json_of(request),
        json!({"systemInstruction": {"parts": [{"text": question().system}]},
               "contents": [{"role": "user", "parts": [{"text": question().user}]}],
               "generationConfig": {"maxOutputTokens": 64 + 4_096, "thinkingConfig": {"thinkingLevel": "low"}}})
    );
    assert_eq!(
        text, "The best of times [1].",
        "thoughts are not part of the answer"
    );
    assert_eq!(
        (usage.requests, usage.input_tokens, usage.output_tokens, truncated),
        (1, 36, 28, false)
    );
}

#[tokio::test]
async fn ends_blocks_and_failures_are_told_apart() {
    let text = r#"{"candidates":[{"content":{"parts":[{"text":"The be"}]}}]}"#;
    let cut = r#"{"candidates":[{"finishReason":"MAX_TOKENS"}],"usageMetadata":{"promptTokenCount":1}}"#;
    let server = Server::scripted([events(&[("", text), ("", cut)])]).await;
    let (_, _, truncated) = answer(&*setup(&server).generator().unwrap()).await.unwrap();
    assert!(truncated);
    let table = [
        (
            r#"{"candidates":[{"finishReason":"SAFETY"}]}"#,
            ErrorKind::Input,
            "said: SAFETY",
        ),
        (
            r#"{"promptFeedback":{"blockReason":"PROHIBITED_CONTENT"}}"#,
            ErrorKind::Input,
            "said: PROHIBITED_CONTENT",
        ),
        (
            r#"{"error":{"code":503,"message":"overloaded","status":"UNAVAILABLE"}}"#,
            ErrorKind::Unavailable,
            "overloaded",
        ),
        (
            r#"{"error":{"code":429,"message":"m","status":"RESOURCE_EXHAUSTED"}}"#,
            ErrorKind::RateLimited,
            "m",
        ),
        (text, ErrorKind::Unavailable, "breaks off"),
        ("[", ErrorKind::Protocol, "documentation"),
    ];
    for (event, kind, part) in table {
        let server = Server::scripted([events(&[("", text), ("", event)])]).await;
        let error = answer(&*setup(&server).generator().unwrap()).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{event}");
        assert!(error.report().contains(part), "{}", error.report());
        keeps_secrets(&error);
    }
}

#[tokio::test]
async fn embedding_2_is_told_in_words_what_a_text_is_for() {
    let server = Server::answering(|_, _| Reply::json(200, r#"{"embeddings":[{"values":[3.0,4.0]}]}"#)).await;
    let embedder = setup(&server)
        .model("gemini-embedding-2")
        .dimensions(2)
        .embedder()
        .unwrap();
    assert_eq!(embedder.space().fingerprint(), "gemini/gemini-embedding-2/2");
    let response = embedder
        .embed(&texts(&["one"]), InputType::Document)
        .await
        .unwrap();
    assert_eq!(
        response.vectors,
        [[0.6, 0.8]],
        "shortened vectors have to be brought to unit length"
    );
    embedder.embed(&texts(&["one"]), InputType::Query).await.unwrap();
    let requests = server.requests();
    assert_eq!(
        (requests[0].method.as_str(), requests[0].target.as_str()),
        ("POST", "/v1beta/models/gemini-embedding-2:batchEmbedContents")
    );
    assert_eq!(requests[0].header("x-goog-api-key"), Some(CANARY));
    let asked = |text: &str| {
        json!({"requests": [{"model": "models/gemini-embedding-2", "outputDimensionality": 2,
                             "content": {"parts": [{"text": text}]}}]})
    };
    assert_eq!(json_of(&requests[0]), asked("title: none | text: one"));
    assert_eq!(json_of(&requests[1]), asked("task: search result | query: one"));
}

#[tokio::test]
async fn embedding_001_is_told_in_a_field_what_a_text_is_for() {
    let answer =
        json!({"embeddings": [{"values": vector("one", 3_072)}], "usageMetadata": {"promptTokenCount": 4}});
    let answer = answer.to_string();
    let server = Server::answering(move |_, _| Reply::json(200, answer.clone())).await;
    let embedder = setup(&server).model("gemini-embedding-001").embedder().unwrap();
    for (input, task) in [
        (InputType::Document, "RETRIEVAL_DOCUMENT"),
        (InputType::Query, "RETRIEVAL_QUERY"),
    ] {
        let response = embedder.embed(&texts(&["one"]), input).await.unwrap();
        assert_eq!(response.usage.input_tokens, 4);
        assert_eq!(
            json_of(server.requests().last().unwrap()),
            json!({"requests": [{"model": "models/gemini-embedding-001", "taskType": task,
                                 "content": {"parts": [{"text": "one"}]}}]})
        );
    }
}

#[test]
fn dimensions_that_cannot_be_are_a_matter_of_configuration() {
    for setup in [
        Setup::new("gemini").dimensions(4_096),
        Setup::new("gemini").dimensions(0),
        Setup::new("gemini").model("gemini-embedding-9"),
    ] {
        let error = setup.embedder().err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.hint().unwrap().contains("AUDIORAG_EMBEDDING_DIMENSIONS"));
    }
}

const REFUSALS: &[Refusal] = &[
    (
        400,
        None,
        r#"{"error":{"code":400,"message":"API key not valid: $KEY","status":"INVALID_ARGUMENT","details":[
        {"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"API_KEY_INVALID","domain":"googleapis.com"}]}}"#,
        ErrorKind::Auth,
    ),
    (
        400,
        None,
        r#"{"error":{"code":400,"message":"too long","status":"INVALID_ARGUMENT"}}"#,
        ErrorKind::Input,
    ),
    (
        403,
        None,
        r#"{"error":{"code":403,"message":"m","status":"PERMISSION_DENIED"}}"#,
        ErrorKind::Auth,
    ),
    (
        404,
        None,
        r#"[{"error":{"code":404,"message":"no such model","status":"NOT_FOUND"}}]"#,
        ErrorKind::NotFound,
    ),
    (
        429,
        Some(("retry-after", "9")),
        r#"{"error":{"code":429,"message":"m","status":"RESOURCE_EXHAUSTED"}}"#,
        ErrorKind::RateLimited,
    ),
    (
        429,
        None,
        r#"{"error":{"code":429,"message":"m","status":"RESOURCE_EXHAUSTED","details":[
        {"@type":"type.googleapis.com/google.rpc.QuotaFailure","violations":[{"quotaId":"GenerateRequestsPerDayPerProjectPerModel-FreeTier"}]},
        {"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"34s"}]}}"#,
        ErrorKind::Budget,
    ),
    (
        500,
        None,
        r#"{"error":{"code":500,"message":"m","status":"INTERNAL"}}"#,
        ErrorKind::Unavailable,
    ),
];

#[tokio::test]
async fn refusals_and_broken_answers_are_told_apart() {
    refusals(REFUSALS, async |server| {
        answer(&*setup(server).generator().unwrap()).await.unwrap_err()
    })
    .await;
    let broken: &[Refusal] = &[
        (
            200,
            None,
            r#"{"embeddings":[{"values":[1,0]}]}"#,
            ErrorKind::Protocol,
        ),
        (
            200,
            None,
            r#"{"embeddings":[{"values":[1,0]},{"values":[1]}]}"#,
            ErrorKind::Protocol,
        ),
        (
            200,
            None,
            r#"{"embeddings":[{"values":[1,0]},{"values":[0,0]}]}"#,
            ErrorKind::Protocol,
        ),
        (
            200,
            None,
            r#"{"embeddings":[{"values":[1,0]},{"val"#,
            ErrorKind::Protocol,
        ),
        (200, None, "{}", ErrorKind::Protocol),
    ];
    let all: Vec<Refusal> = REFUSALS.iter().chain(broken).copied().collect();
    refusals(&all, async |server| {
        let embedder = setup(server).dimensions(2).embedder().unwrap();
        embedder
            .embed(&texts(&["one", "two"]), InputType::Document)
            .await
            .unwrap_err()
    })
    .await;
}

#[tokio::test]
async fn the_wait_that_google_names_in_the_body_is_known() {
    let reply = r#"{"error":{"code":429,"message":"m","status":"RESOURCE_EXHAUSTED","details":[
        {"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"34.5s"}]}}"#;
    let server = Server::scripted([Reply::json(429, reply)]).await;
    let error = answer(&*setup(&server).generator().unwrap()).await.unwrap_err();
    assert_eq!(error.retry_after(), Some(Duration::from_millis(34_500)));
}

#[tokio::test]
async fn health_asks_for_the_model_and_what_it_can_do() {
    let other = r#"{"name":"models/x","supportedGenerationMethods":["predict"]}"#;
    let server = Server::scripted([
        Reply::json(200, MODEL),
        Reply::json(200, other),
        Reply::json(400, REFUSALS[0].2.replace("$KEY", CANARY)),
    ])
    .await;
    let embedder = setup(&server).model("gemini-embedding-001").embedder().unwrap();
    assert_eq!(embedder.health_check().await.detail, "models/m");
    let request = &server.requests()[0];
    assert_eq!(
        (request.method.as_str(), request.target.as_str()),
        ("GET", "/v1beta/models/gemini-embedding-001")
    );
    unhealthy(&embedder.health_check().await, "does not offer embedContent");
    unhealthy(&embedder.health_check().await, "check GEMINI_API_KEY");
}

fn embed(request: &Request) -> Reply {
    if request.method == "GET" {
        return Reply::json(200, MODEL);
    }
    let requests = list(request, "requests");
    if requests.len() > 100 {
        return Reply::json(
            400,
            r#"{"error":{"message":"at most 100 requests can be in one batch"}}"#,
        );
    }
    let embeddings: Vec<Value> = requests
        .iter()
        .map(
            |request| json!({"values": vector(request["content"]["parts"][0]["text"].as_str().unwrap_or_default(), 64)}),
        )
        .collect();
    Reply::json(200, json!({ "embeddings": embeddings }).to_string())
}

#[tokio::test]
async fn the_contracts_hold() {
    for model in ["gemini-embedding-2", "gemini-embedding-001"] {
        let server = Server::answering(|_, request| embed(request)).await;
        embedder::run(&*setup(&server).model(model).dimensions(64).embedder().unwrap()).await;
    }
    let server = Arc::new(
        Server::answering(|_, request| match request.method.as_str() {
            "GET" => Reply::json(200, MODEL).with_header("connection", "close"),
            _ => stream(ANSWER).trickling(200, Duration::from_millis(2)),
        })
        .await,
    );
    let watched = Arc::clone(&server);
    let case = GeneratorCase::default().watching(move || watched.open_connections() == 0);
    generator::run(&*setup(&server).generator().unwrap(), &case).await;
}
