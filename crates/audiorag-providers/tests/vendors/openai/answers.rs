//! Answers: the Responses API and chat completions.

use super::models;
use crate::stand_in::{answer, events, question, stream};
use crate::{Refusal, Setup, keeps_secrets, refusals};
use audiorag_core::ErrorKind;
use audiorag_testkit::http::{Reply, Server};
use audiorag_testkit::suite::generator::{self, GeneratorCase};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

const RESPONSES: &str = include_str!("../fixtures/openai/responses.sse");
const CHAT: &str = include_str!("../fixtures/openai/chat.sse");

fn responses(server: &Server) -> Setup {
    Setup::new("openai")
        .at(server, "/v1")
        .model("gpt-6-luna")
        .with("openai.dialect", "responses")
}

#[tokio::test]
async fn the_responses_api_is_asked_without_leaving_a_copy_behind() {
    let server = Server::scripted([stream(RESPONSES)]).await;
    let setup = responses(&server).with("openai.reasoning_effort", "none");
    let (text, usage, truncated) = answer(&*setup.generator().unwrap()).await.unwrap();
    let request = &server.requests()[0];
    assert_eq!(
        (request.method.as_str(), request.target.as_str()),
        ("POST", "/v1/responses")
    );
    let body: Value = serde_json::from_slice(&request.body).unwrap();
    assert_eq!(
        body,
        json!({"model": "gpt-6-luna", "instructions": question().system, "input": question().user,
               "max_output_tokens": 64, "stream": true, "store": false, "reasoning": {"effort": "none"}})
    );
    assert_eq!(text, "The best of times [1].");
    assert_eq!(
        (usage.requests, usage.input_tokens, usage.output_tokens, truncated),
        (1, 36, 8, false)
    );
}

#[tokio::test]
async fn models_that_think_get_room_for_it() {
    let server = Server::answering(|_, _| stream(RESPONSES)).await;
    for (model, tokens) in [("gpt-4.1", 64), ("gpt-5-mini", 64 + 4_096)] {
        answer(&*responses(&server).model(model).generator().unwrap())
            .await
            .unwrap();
        let body: Value = serde_json::from_slice(&server.requests().last().unwrap().body).unwrap();
        assert_eq!(body["max_output_tokens"], tokens, "{model}");
        assert_eq!(body.get("temperature"), None);
    }
}

#[tokio::test]
async fn other_servers_are_asked_for_chat_completions() {
    let server = Server::scripted([stream(CHAT)]).await;
    let setup = Setup::new("openai")
        .at(&server, "/v1")
        .without_key()
        .model("gpt-4-like");
    let generator = setup.generator().unwrap();
    let (text, usage, truncated) = answer(&*generator).await.unwrap();
    let request = &server.requests()[0];
    assert_eq!(
        (request.method.as_str(), request.target.as_str()),
        ("POST", "/v1/chat/completions")
    );
    let body: Value = serde_json::from_slice(&request.body).unwrap();
    assert_eq!(
        body,
        json!({"model": "gpt-4-like", "stream": true, "stream_options": {"include_usage": true}, "max_tokens": 64,
               "messages": [{"role": "system", "content": question().system},
                            {"role": "user", "content": question().user}]})
    );
    assert_eq!(text, "The best of times [1].");
    assert_eq!(
        (usage.input_tokens, usage.output_tokens, truncated),
        (36, 8, false)
    );
    assert_eq!(
        generator.limits().context_tokens,
        8_192,
        "what nobody configured is small"
    );
    let larger = setup.with("openai.context_tokens", "32768").generator().unwrap();
    assert_eq!(larger.limits().context_tokens, 32_768);
}

#[tokio::test]
async fn an_answer_that_is_cut_says_so() {
    let delta = ("", r#"{"type":"response.output_text.delta","delta":"The be"}"#);
    let end = (
        "",
        r#"{"type":"response.incomplete","response":{"incomplete_details":{"reason":"max_output_tokens"},
        "usage":{"input_tokens":5,"output_tokens":64}}}"#
            .trim(),
    );
    let end = (end.0, &*end.1.replace('\n', " "));
    let server = Server::scripted([events(&[delta, end]), events(&[end])]).await;
    let generator = responses(&server).generator().unwrap();
    let (text, usage, truncated) = answer(&*generator).await.unwrap();
    assert_eq!(
        (text.as_str(), usage.output_tokens, truncated),
        ("The be", 64, true)
    );
    let error = answer(&*generator).await.unwrap_err();
    assert!(error.message().contains("before it wrote a word"), "{error}");
}

#[tokio::test]
async fn failures_inside_the_stream_are_failures() {
    let delta = r#"{"type":"response.output_text.delta","delta":"The be"}"#;
    let table = [
        (
            r#"{"type":"response.failed","response":{"error":{"code":"server_error","message":"m"}}}"#,
            ErrorKind::Unavailable,
        ),
        (
            r#"{"type":"error","code":"rate_limit_exceeded","message":"m","param":null}"#,
            ErrorKind::RateLimited,
        ),
        (
            r#"{"type":"error","error":{"type":"invalid_request_error","message":"m"}}"#,
            ErrorKind::Input,
        ),
        (
            r#"{"type":"response.incomplete","response":{"incomplete_details":{"reason":"content_filter"}}}"#,
            ErrorKind::Input,
        ),
        ("{\"type\":\"resp", ErrorKind::Protocol),
        (r#"{"type":"response.output_text.done"}"#, ErrorKind::Unavailable),
    ];
    for (event, kind) in table {
        let server = Server::scripted([events(&[("", delta), ("", event)])]).await;
        let error = answer(&*responses(&server).generator().unwrap())
            .await
            .unwrap_err();
        assert_eq!(error.kind(), kind, "{event}: {}", error.report());
        keeps_secrets(&error);
    }
}

#[tokio::test]
async fn a_refusal_is_not_an_answer() {
    let refusal = (
        "",
        r#"{"type":"response.refusal.delta","delta":"I cannot help."}"#,
    );
    let end = ("", r#"{"type":"response.completed","response":{}}"#);
    let server = Server::scripted([events(&[refusal, end])]).await;
    let error = answer(&*responses(&server).generator().unwrap())
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Input);
    assert!(
        error
            .report()
            .contains("declines to answer (said: I cannot help.)"),
        "{}",
        error.report()
    );
}

#[tokio::test]
async fn a_connection_that_breaks_is_an_error_wherever_it_breaks() {
    let whole = stream(RESPONSES);
    let length = whole.to_bytes(false).len();
    for cut in [length / 3, length / 2, length - 40] {
        let reply = whole.clone().cut_after(cut);
        let server = Server::answering(move |_, _| reply.clone()).await;
        let error = answer(&*responses(&server).generator().unwrap())
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{cut}: {}", error.report());
        // What was written until then may be on the invoice.
        let attempts = error.attempts().unwrap();
        assert_eq!((attempts.requests, attempts.unknown), (1, 1), "{cut}");
    }
}

const REFUSALS: &[Refusal] = &[
    (
        400,
        None,
        r#"{"error":{"message":"too long","code":"context_length_exceeded"}}"#,
        ErrorKind::Input,
    ),
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
        Some(("retry-after", "3")),
        r#"{"error":{"message":"slow down","code":"rate_limit_exceeded"}}"#,
        ErrorKind::RateLimited,
    ),
    (
        429,
        None,
        r#"{"error":{"message":"quota","code":"insufficient_quota"}}"#,
        ErrorKind::Budget,
    ),
    (502, None, "<html>bad gateway</html>", ErrorKind::Unavailable),
];

#[tokio::test]
async fn refusals_are_told_apart() {
    refusals(REFUSALS, async |server| {
        answer(&*responses(server).generator().unwrap())
            .await
            .unwrap_err()
    })
    .await;
}

#[tokio::test]
async fn the_contract_holds_in_both_dialects() {
    for (dialect, body) in [("responses", RESPONSES), ("chat", CHAT)] {
        let server = Arc::new(
            Server::answering(move |_, request| match request.method.as_str() {
                "GET" => models(),
                _ => stream(body).trickling(200, Duration::from_millis(2)),
            })
            .await,
        );
        let setup = Setup::new("openai")
            .at(&server, "/v1")
            .model("gpt-6-luna")
            .with("openai.dialect", dialect);
        let watched = Arc::clone(&server);
        let case = GeneratorCase::default().watching(move || watched.open_connections() == 0);
        generator::run(&*setup.generator().unwrap(), &case).await;
    }
}

#[tokio::test]
async fn a_refused_start_is_tried_again() {
    for (status, unknown) in [(503, 0), (504, 1)] {
        let server = Server::scripted([Reply::status(status), stream(CHAT)]).await;
        let setup = Setup::new("openai").at(&server, "/v1").model("m").retrying();
        let (_, usage, _) = answer(&*setup.generator().unwrap()).await.unwrap();
        assert_eq!((usage.requests, usage.unknown), (2, unknown), "{status}");
    }
}
