//! Anthropic.

use crate::stand_in::{answer, events, question, stream};
use crate::{CANARY, Refusal, Setup, keeps_secrets, refusals, unhealthy};
use audiorag_core::ErrorKind;
use audiorag_core::capability::{Document, GenerateEvent};
use audiorag_testkit::http::{Reply, Server};
use audiorag_testkit::suite::generator::{self, GeneratorCase};
use futures_util::StreamExt as _;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

const MESSAGE: &str = include_str!("fixtures/anthropic/message.sse");
const CITED: &str = include_str!("fixtures/anthropic/cited.sse");
const MODEL: &str = r#"{"type":"model","id":"claude-haiku-5-5","display_name":"Claude Haiku 5.5","created_at":"2026-10-07T00:00:00Z"}"#;
const DELTA: (&str, &str) = (
    "content_block_delta",
    r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"The be"}}"#,
);
const STOP: (&str, &str) = ("message_stop", r#"{"type":"message_stop"}"#);

fn setup(server: &Server) -> Setup {
    Setup::new("anthropic").at(server, "").model("claude-haiku-5-5")
}

/// The event that says why the message ended.
fn reason(reason: &str) -> String {
    format!(
        r#"{{"type":"message_delta","delta":{{"stop_reason":"{reason}"}},"usage":{{"output_tokens":64}}}}"#
    )
}

#[test]
fn a_key_is_needed() {
    let error = Setup::new("anthropic").without_key().generator().err().unwrap();
    assert_eq!(
        (error.kind(), error.hint()),
        (ErrorKind::Auth, Some("set ANTHROPIC_API_KEY"))
    );
}

#[tokio::test]
async fn what_is_asked_and_what_comes_back() {
    let server = Server::scripted([stream(MESSAGE)]).await;
    let (text, usage, truncated) = answer(&*setup(&server).generator().unwrap()).await.unwrap();
    let request = &server.requests()[0];
    assert_eq!(
        (request.method.as_str(), request.target.as_str()),
        ("POST", "/v1/messages")
    );
    assert_eq!(request.header("x-api-key"), Some(CANARY));
    assert_eq!(request.header("anthropic-version"), Some("2026-10-21"));
    assert_eq!(request.header("authorization"), None);
    let body: Value = serde_json::from_slice(&request.body).unwrap();
    assert_eq!(
        body,
        json!({"model": "claude-haiku-5-5", "max_tokens": 64, "system": question().system, "stream": true,
               "messages": [{"role": "user", "content": [{"type": "text", "text": question().user}]}],
               "thinking": {"type": "disabled"}}),
        "sampling parameters would be refused"
    );
    assert_eq!(
        text, "The best of times [1].",
        "thoughts are not part of the answer"
    );
    assert_eq!(
        (usage.requests, usage.input_tokens, usage.output_tokens, truncated),
        (1, 36, 8, false)
    );
}

#[tokio::test]
async fn documents_are_cited_by_the_model_and_numbered_here() {
    let server = Server::scripted([stream(CITED)]).await;
    let mut request = question();
    request.question = "What was it?".to_owned();
    request.documents = ["It was the best of times.", "It was the worst of times."]
        .map(|line| Document {
            title: "A Tale, 00:01-00:04".to_owned(),
            source: "file:///tale.flac#t=1,4".to_owned(),
            lines: vec![line.to_owned(), "So it was.".to_owned()],
        })
        .to_vec();
    let generator = setup(&server).generator().unwrap();
    let mut pieces = generator.generate(request).await.unwrap();
    let mut text = String::new();
    while let Some(event) = pieces.next().await {
        if let GenerateEvent::Delta(delta) = event.unwrap() {
            text.push_str(&delta);
        }
    }
    assert_eq!(
        text,
        "It was the best [1#1] and the worst of times [1#1] [2#1-2]."
    );
    let body: Value = serde_json::from_slice(&server.requests()[0].body).unwrap();
    let content = &body["messages"][0]["content"];
    assert_eq!(
        content[1],
        json!({"type": "search_result", "title": "A Tale, 00:01-00:04", "source": "file:///tale.flac#t=1,4",
               "content": [{"type": "text", "text": "It was the worst of times."}, {"type": "text", "text": "So it was."}],
               "citations": {"enabled": true}})
    );
    assert_eq!(content[2], json!({"type": "text", "text": "What was it?"}));
    assert_eq!(content.as_array().unwrap().len(), 3);
    assert!(
        !body["system"].as_str().unwrap().contains("[1]"),
        "{}",
        body["system"]
    );
}

#[tokio::test]
async fn each_model_is_kept_from_thinking_in_its_own_way_or_gets_room_for_it() {
    let server = Server::answering(|_, _| stream(MESSAGE)).await;
    for (model, tokens, thinking) in [
        ("claude-sonnet-5-5", 64, Some(json!({"type": "between_tools"}))),
        ("claude-opus-5-5", 64 + 4_096, None),
    ] {
        answer(&*setup(&server).model(model).generator().unwrap())
            .await
            .unwrap();
        let body: Value = serde_json::from_slice(&server.requests().last().unwrap().body).unwrap();
        assert_eq!(
            (&body["max_tokens"], body.get("thinking")),
            (&json!(tokens), thinking.as_ref())
        );
    }
}

#[tokio::test]
async fn every_reason_to_stop_has_its_meaning() {
    for (why, cut) in [
        ("end_turn", false),
        ("stop_sequence", false),
        ("max_tokens", true),
        ("model_context_window_exceeded", true),
    ] {
        let end = reason(why);
        let server = Server::scripted([events(&[DELTA, ("message_delta", &end), STOP])]).await;
        let (text, usage, truncated) = answer(&*setup(&server).generator().unwrap()).await.unwrap();
        assert_eq!(
            (text.as_str(), usage.output_tokens, truncated),
            ("The be", 64, cut),
            "{why}"
        );
    }
    let end = reason("refusal");
    let server = Server::scripted([events(&[DELTA, ("message_delta", &end), STOP])]).await;
    let error = answer(&*setup(&server).generator().unwrap()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Input);
    assert!(error.message().contains("declines to answer"), "{error}");
}

#[tokio::test]
async fn failures_inside_the_stream_are_failures() {
    let table = [
        (
            "error",
            r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#,
            ErrorKind::Unavailable,
        ),
        (
            "error",
            r#"{"type":"error","error":{"type":"rate_limit_error","message":"m"}}"#,
            ErrorKind::RateLimited,
        ),
        (
            "error",
            r#"{"type":"error","error":{"type":"billing_error","message":"m"}}"#,
            ErrorKind::Budget,
        ),
        ("content_block_delta", "{\"type\":", ErrorKind::Protocol),
        ("ping", r#"{"type":"ping"}"#, ErrorKind::Unavailable),
    ];
    for (name, data, kind) in table {
        let server = Server::scripted([events(&[DELTA, (name, data)])]).await;
        let error = answer(&*setup(&server).generator().unwrap()).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{data}: {}", error.report());
        keeps_secrets(&error);
    }
    // A reason without an end is no end.
    let end = reason("end_turn");
    let server = Server::scripted([events(&[DELTA, ("message_delta", &end)])]).await;
    let error = answer(&*setup(&server).generator().unwrap()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
}

const REFUSALS: &[Refusal] = &[
    (
        400,
        None,
        r#"{"type":"error","error":{"type":"invalid_request_error","message":"prompt is too long"}}"#,
        ErrorKind::Input,
    ),
    (
        400,
        None,
        r#"{"type":"error","error":{"type":"invalid_request_error","message":"Your credit balance is too low to access the Anthropic API."}}"#,
        ErrorKind::Budget,
    ),
    (
        401,
        None,
        r#"{"type":"error","error":{"type":"authentication_error","message":"invalid x-api-key $KEY"}}"#,
        ErrorKind::Auth,
    ),
    (
        402,
        None,
        r#"{"type":"error","error":{"type":"billing_error","message":"m"}}"#,
        ErrorKind::Budget,
    ),
    (
        404,
        None,
        r#"{"type":"error","error":{"type":"not_found_error","message":"model: x"}}"#,
        ErrorKind::NotFound,
    ),
    (
        429,
        Some(("retry-after", "11")),
        r#"{"type":"error","error":{"type":"rate_limit_error","message":"m"}}"#,
        ErrorKind::RateLimited,
    ),
    (
        500,
        None,
        r#"{"type":"error","error":{"type":"api_error","message":"m"}}"#,
        ErrorKind::Unavailable,
    ),
    (
        529,
        None,
        r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#,
        ErrorKind::Unavailable,
    ),
];

#[tokio::test]
async fn refusals_are_told_apart() {
    refusals(REFUSALS, async |server| {
        answer(&*setup(server).generator().unwrap()).await.unwrap_err()
    })
    .await;
}

#[tokio::test]
async fn an_overloaded_start_is_tried_again() {
    let server = Server::scripted([Reply::json(529, REFUSALS[7].2), stream(MESSAGE)]).await;
    let (_, usage, _) = answer(&*setup(&server).retrying().generator().unwrap())
        .await
        .unwrap();
    assert_eq!(usage.requests, 2);
}

#[tokio::test]
async fn health_asks_for_the_model() {
    let server = Server::scripted([
        Reply::json(200, MODEL),
        Reply::json(401, REFUSALS[2].2.replace("$KEY", CANARY)),
        Reply::json(404, REFUSALS[4].2),
        Reply::json(200, "{}"),
    ])
    .await;
    let generator = setup(&server).generator().unwrap();
    assert_eq!(generator.health_check().await.detail, "Claude Haiku 5.5");
    let request = &server.requests()[0];
    assert_eq!(
        (request.method.as_str(), request.target.as_str()),
        ("GET", "/v1/models/claude-haiku-5-5")
    );
    assert_eq!(request.header("x-api-key"), Some(CANARY));
    unhealthy(&generator.health_check().await, "check ANTHROPIC_API_KEY");
    unhealthy(&generator.health_check().await, "check the model's name");
    unhealthy(&generator.health_check().await, "Protocol");
}

#[tokio::test]
async fn the_contract_holds() {
    let server = Arc::new(
        Server::answering(|_, request| match request.method.as_str() {
            "GET" => Reply::json(200, MODEL).with_header("connection", "close"),
            _ => stream(MESSAGE).trickling(200, Duration::from_millis(2)),
        })
        .await,
    );
    let watched = Arc::clone(&server);
    let case = GeneratorCase::default().watching(move || watched.open_connections() == 0);
    generator::run(&*setup(&server).generator().unwrap(), &case).await;
}
