//! Groq.

use crate::stand_in::{answer, events, form, question, sounds, stream};
use crate::{CANARY, Refusal, Setup, keeps_secrets, refusals, unhealthy};
use audiorag_core::capability::TranscribeRequest;
use audiorag_core::model::SAMPLE_RATE;
use audiorag_core::{ErrorKind, Span};
use audiorag_testkit::http::{Reply, Request, Server};
use audiorag_testkit::suite::generator::{self, GeneratorCase};
use audiorag_testkit::suite::transcriber::{self, TranscriberCase};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

const CHAT: &str = include_str!("fixtures/groq/chat.sse");
const MODELS: &str = r#"{"object":"list","data":[{"id":"whisper-large-v3-turbo","active":true},
    {"id":"openai/gpt-oss-20b","active":true,"context_window":131072}]}"#;

fn part(prompt: &str) -> TranscribeRequest {
    TranscribeRequest {
        samples: vec![0.1; SAMPLE_RATE as usize * 4].into(),
        speech: vec![Span::from_millis(400, 3_400)],
        language: Some("en".to_owned()),
        prompt: Some(prompt.to_owned()),
    }
}

#[test]
fn a_key_is_needed() {
    let error = Setup::new("groq").without_key().transcriber().err().unwrap();
    assert_eq!(
        (error.kind(), error.hint()),
        (ErrorKind::Auth, Some("set GROQ_API_KEY"))
    );
}

#[tokio::test]
async fn whisper_is_asked_for_segments_and_words() {
    let server = Server::scripted([Reply::json(200, include_str!("fixtures/groq/verbose.json"))]).await;
    let setup = Setup::new("groq")
        .at(&server, "/openai/v1")
        .model("whisper-large-v3-turbo");
    let transcriber = setup.transcriber().unwrap();
    assert!(transcriber.limits().word_times && transcriber.limits().segment_times);
    assert!(transcriber.limits().max_bytes.unwrap() < 25_000_000 + 1_000_000);
    // 898 bytes: the last letter does not fit.
    let response = transcriber
        .transcribe(part(&format!("{}éé", "a".repeat(894))))
        .await
        .unwrap();
    let request = &server.requests()[0];
    assert_eq!(
        (request.method.as_str(), request.target.as_str()),
        ("POST", "/openai/v1/audio/transcriptions")
    );
    assert_eq!(
        request.header("authorization"),
        Some(format!("Bearer {CANARY}").as_str())
    );
    assert_eq!(
        form(request),
        [
            "file=part.wav audio/wav",
            "model=whisper-large-v3-turbo",
            "response_format=verbose_json",
            "timestamp_granularities[]=word",
            "timestamp_granularities[]=segment",
            "language=en",
            &format!("prompt={}é", "a".repeat(894)),
        ]
    );
    let segment = &response.transcript.segments[0];
    assert_eq!(
        (segment.text.as_str(), segment.span),
        ("It was the best of times.", Span::from_millis(400, 3_400))
    );
    assert_eq!(segment.words.len(), 6);
    assert_eq!(segment.words[5].text, "times.");
    assert_eq!(response.transcript.language.as_deref(), Some("en"));
}

#[tokio::test]
async fn a_part_beyond_the_limit_is_refused_before_it_is_sent() {
    let server = Server::scripted([]).await;
    let setup = Setup::new("groq").at(&server, "/openai/v1");
    let transcriber = setup.transcriber().unwrap();
    let seconds = transcriber.limits().max_part.as_millis() as usize / 1_000 + 1;
    let long = TranscribeRequest {
        samples: vec![0.0; SAMPLE_RATE as usize * seconds].into(),
        ..part("")
    };
    let error = transcriber.transcribe(long).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Input);
    assert!(server.requests().is_empty());
}

#[tokio::test]
async fn answers_are_chat_completions_with_room_for_thoughts() {
    let server = Server::scripted([stream(CHAT)]).await;
    let setup = Setup::new("groq")
        .at(&server, "/openai/v1")
        .model("openai/gpt-oss-20b");
    let (text, usage, truncated) = answer(&*setup.generator().unwrap()).await.unwrap();
    let request = &server.requests()[0];
    assert_eq!(
        (request.method.as_str(), request.target.as_str()),
        ("POST", "/openai/v1/chat/completions")
    );
    let body: Value = serde_json::from_slice(&request.body).unwrap();
    assert_eq!(
        body,
        json!({"model": "openai/gpt-oss-20b", "stream": true, "stream_options": {"include_usage": true},
               "max_completion_tokens": 64 + 4_096, "reasoning_effort": "low",
               "messages": [{"role": "system", "content": question().system},
                            {"role": "user", "content": question().user}]})
    );
    assert_eq!(
        text, "The best of times [1].",
        "thoughts are not part of the answer"
    );
    assert_eq!(
        (usage.input_tokens, usage.output_tokens, truncated),
        (36, 8, false)
    );
}

#[tokio::test]
async fn failures_inside_the_stream_are_failures() {
    let table = [
        (
            r#"{"error":{"message":"m","type":"server_error","code":"over_capacity"}}"#,
            ErrorKind::Unavailable,
        ),
        (
            r#"{"choices":[{"index":0,"delta":{},"finish_reason":"content_filter"}]}"#,
            ErrorKind::Input,
        ),
        (
            r#"{"choices":[{"index":0,"delta":{"content":"The"}}]}"#,
            ErrorKind::Unavailable,
        ),
    ];
    for (event, kind) in table {
        let server = Server::scripted([events(&[("", event)])]).await;
        let generator = Setup::new("groq").at(&server, "/openai/v1").generator().unwrap();
        let error = answer(&*generator).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{event}");
        keeps_secrets(&error);
    }
    // One that quotes the key.
    let echo = json!({"error": {"message": format!("bad {CANARY}"), "code": "invalid_api_key"}}).to_string();
    let server = Server::scripted([events(&[("", &echo)])]).await;
    let generator = Setup::new("groq").at(&server, "/openai/v1").generator().unwrap();
    let error = answer(&*generator).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Auth);
    assert!(error.report().contains("bad ***"), "{}", error.report());
    keeps_secrets(&error);
}

const REFUSALS: &[Refusal] = &[
    (
        401,
        None,
        r#"{"error":{"message":"Invalid API Key $KEY","type":"invalid_request_error","code":"invalid_api_key"}}"#,
        ErrorKind::Auth,
    ),
    (
        400,
        None,
        r#"{"error":{"message":"decommissioned","code":"model_decommissioned"}}"#,
        ErrorKind::NotFound,
    ),
    (
        404,
        None,
        r#"{"error":{"message":"no such model","code":"model_not_found"}}"#,
        ErrorKind::NotFound,
    ),
    (
        413,
        None,
        r#"{"error":{"message":"Request Entity Too Large","code":"request_too_large"}}"#,
        ErrorKind::Input,
    ),
    (
        429,
        Some(("retry-after", "7")),
        r#"{"error":{"message":"Rate limit reached","code":"rate_limit_exceeded"}}"#,
        ErrorKind::RateLimited,
    ),
    (
        498,
        None,
        r#"{"error":{"message":"capacity exceeded"}}"#,
        ErrorKind::Unavailable,
    ),
    (503, None, "{}", ErrorKind::Unavailable),
];

#[tokio::test]
async fn refusals_are_told_apart() {
    refusals(REFUSALS, async |server| {
        let setup = Setup::new("groq").at(server, "/openai/v1");
        setup
            .transcriber()
            .unwrap()
            .transcribe(part(""))
            .await
            .unwrap_err()
    })
    .await;
    refusals(REFUSALS, async |server| {
        let setup = Setup::new("groq").at(server, "/openai/v1");
        answer(&*setup.generator().unwrap()).await.unwrap_err()
    })
    .await;
    let broken: &[Refusal] = &[
        (200, None, "<html>", ErrorKind::Protocol),
        (
            200,
            None,
            r#"{"text":"a","words":[{"word":"a"}]}"#,
            ErrorKind::Protocol,
        ),
    ];
    refusals(broken, async |server| {
        let setup = Setup::new("groq").at(server, "/openai/v1");
        setup
            .transcriber()
            .unwrap()
            .transcribe(part(""))
            .await
            .unwrap_err()
    })
    .await;
}

#[tokio::test]
async fn a_model_that_is_gone_is_found_out_by_the_health_check() {
    let server = Server::answering(|_, _| Reply::json(200, MODELS)).await;
    let setup = Setup::new("groq")
        .at(&server, "/openai/v1")
        .model("llama-3.3-70b-versatile");
    let health = setup.generator().unwrap().health_check().await;
    unhealthy(&health, "does not list the model llama-3.3-70b-versatile");
    let refused = Server::answering(|_, _| {
        Reply::json(
            401,
            format!(r#"{{"error":{{"message":"Invalid API Key {CANARY}"}}}}"#),
        )
    })
    .await;
    let setup = Setup::new("groq").at(&refused, "/openai/v1");
    unhealthy(
        &setup.transcriber().unwrap().health_check().await,
        "check GROQ_API_KEY",
    );
}

fn hear(request: &Request) -> Reply {
    if request.method == "GET" {
        return Reply::json(200, MODELS);
    }
    let (start, end) = sounds(request).expect("no request without speech");
    let body = json!({
        "text": "It was.", "language": "English",
        "segments": [{"start": start, "end": end, "text": " It was.", "avg_logprob": -0.1,
                      "compression_ratio": 1.0, "no_speech_prob": 0.0}],
        "words": [{"word": "It", "start": start, "end": start + 0.5}, {"word": "was.", "start": start + 0.5, "end": end}],
    });
    Reply::json(200, body.to_string())
}

#[tokio::test]
async fn the_contracts_hold() {
    let server = Server::answering(|_, request| hear(request)).await;
    let setup = Setup::new("groq").at(&server, "/openai/v1");
    transcriber::run(&*setup.transcriber().unwrap(), &TranscriberCase::synthetic()).await;

    let server = Arc::new(
        Server::answering(|_, request| match request.method.as_str() {
            "GET" => Reply::json(200, MODELS).with_header("connection", "close"),
            _ => stream(CHAT).trickling(200, Duration::from_millis(2)),
        })
        .await,
    );
    let setup = Setup::new("groq").at(&server, "/openai/v1");
    let watched = Arc::clone(&server);
    let case = GeneratorCase::default().watching(move || watched.open_connections() == 0);
    generator::run(&*setup.generator().unwrap(), &case).await;
}
