//! ElevenLabs.

#![expect(clippy::expect_used, reason = "failing a test is what this is for")]

use crate::listening::{loud, request, wav_in};
use crate::setup::{CANARY, Setup, needs_a_key, refusals, unhealthy};
use audiorag_core::capability::{Health, HealthStatus, TranscribeRequest, TranscribeResponse, Transcriber};
use audiorag_core::{ErrorKind, Result, Span};
use audiorag_providers::vendors::find;
use audiorag_testkit::http::{Reply, Request, Server};
use audiorag_testkit::suite::transcriber::{TranscriberCase, run};
use serde_json::json;
use std::sync::Arc;

const ANSWER: &str = include_str!("fixtures/elevenlabs/transcript.json");

fn transcriber(setup: &Setup) -> Result<Arc<dyn Transcriber>> {
    let offer = find("elevenlabs")
        .and_then(|vendor| vendor.transcribe)
        .expect("an offer");
    offer.build.expect("built from settings")(&setup.context())
}

async fn transcribe(setup: &Setup) -> Result<TranscribeResponse> {
    transcriber(setup)?.transcribe(request()).await
}

async fn health(setup: &Setup) -> Result<Health> {
    Ok(transcriber(setup)?.health_check().await)
}

/// `name=value` of every field of a form, in order, without the file's bytes.
fn fields(sent: &Request) -> Vec<String> {
    let text = sent.text();
    let fields = text.split("form-data; name=\"").skip(1).map(|field| {
        let name = field.split('"').next().unwrap_or_default();
        let value = field.split("\r\n\r\n").nth(1).unwrap_or_default();
        let value = value.split("\r\n").next().unwrap_or_default();
        if value.starts_with("RIFF") {
            format!("{name}=...")
        } else {
            format!("{name}={value}")
        }
    });
    fields.collect()
}

#[tokio::test]
async fn a_part_is_sent_as_a_form_and_comes_back_with_words_and_speakers() {
    let server = Server::answering(|_, _| Reply::json(200, ANSWER)).await;
    let answer = transcribe(&Setup::new("elevenlabs", &server)).await.unwrap();
    let sent = &server.requests()[0];
    assert_eq!(
        (sent.method.as_str(), sent.target.as_str()),
        ("POST", "/v1/speech-to-text")
    );
    assert_eq!(sent.header("xi-api-key"), Some(CANARY));
    assert_eq!(sent.header("authorization"), None);
    assert!(
        sent.header("content-type")
            .unwrap()
            .starts_with("multipart/form-data")
    );
    assert_eq!(
        fields(sent),
        [
            "model_id=scribe_v2",
            "diarize=true",
            "timestamps_granularity=word",
            "tag_audio_events=false",
            "file=..."
        ]
    );
    assert_eq!(wav_in(sent).len(), 44 + 80_000);

    let transcript = answer.transcript;
    assert_eq!(transcript.language.as_deref(), Some("en"));
    let found: Vec<(&str, Option<&str>, Span, usize)> = transcript
        .segments
        .iter()
        .map(|segment| {
            (
                segment.text.as_str(),
                segment.speaker.as_deref(),
                segment.span,
                segment.words.len(),
            )
        })
        .collect();
    assert_eq!(
        found,
        [
            (
                "With a soft accent.",
                Some("speaker 0"),
                Span::from_millis(519, 1_700),
                4
            ),
            ("Really?", Some("speaker 1"), Span::from_millis(1_800, 2_200), 1),
        ]
    );
    assert_eq!(transcript.segments[0].words[2].confidence, Some(0.5));
    assert_eq!(answer.usage.requests, 1);
}

#[tokio::test]
async fn language_and_allowed_terms_are_passed_on() {
    let server = Server::answering(|_, _| Reply::json(200, ANSWER)).await;
    let mut setup = Setup::new("elevenlabs", &server);
    setup.model = Some("scribe_v1");
    let asked = TranscribeRequest {
        language: Some("pt-BR".to_owned()),
        prompt: Some("Ada Lovelace, <b>, one two three four five six, AudioRAG".to_owned()),
        ..request()
    };
    transcriber(&setup).unwrap().transcribe(asked).await.unwrap();
    let sent = fields(&server.requests()[0]);
    assert_eq!(sent[0], "model_id=scribe_v1");
    assert_eq!(
        sent[4..],
        [
            "language_code=pt",
            "keyterms=Ada Lovelace",
            "keyterms=AudioRAG",
            "file=..."
        ]
    );
}

#[tokio::test]
async fn refusals_have_their_kinds() {
    let said =
        |status: &str, message: &str| json!({"detail": {"status": status, "message": message}}).to_string();
    refusals(
        "elevenlabs",
        &[
            (
                Reply::json(401, said("invalid_api_key", &format!("Invalid API key {CANARY}"))),
                ErrorKind::Auth,
            ),
            (
                Reply::json(401, said("quota_exceeded", "no credits left")),
                ErrorKind::Budget,
            ),
            (
                Reply::json(401, said("missing_permissions", "missing the permission x")),
                ErrorKind::Auth,
            ),
            (
                Reply::json(
                    400,
                    r#"{"detail": {"code": "model_not_found", "message": "no such model"}}"#,
                ),
                ErrorKind::NotFound,
            ),
            (
                Reply::json(422, r#"{"detail": [{"loc": ["body"], "msg": "field required"}]}"#),
                ErrorKind::Input,
            ),
            (
                Reply::json(429, said("too_many_concurrent_requests", "slow down"))
                    .with_header("retry-after", "0.01"),
                ErrorKind::RateLimited,
            ),
            (Reply::status(500), ErrorKind::Unavailable),
            (Reply::json(200, r#"{"text": "no words"}"#), ErrorKind::Protocol),
            (
                Reply::json(
                    200,
                    r#"{"text": "x", "words": [{"text": "x", "start": null, "end": 1, "type": "word"}]}"#,
                ),
                ErrorKind::Protocol,
            ),
            (Reply::json(200, ANSWER).cut_after(400), ErrorKind::Unavailable),
        ],
        transcribe,
    )
    .await;
}

#[tokio::test]
async fn the_key_is_checked_and_missed() {
    needs_a_key("elevenlabs", "ELEVENLABS_API_KEY", transcriber).await;
    let refused = json!({"detail": {"status": "invalid_api_key", "message": format!("bad {CANARY}")}});
    let refused = Reply::json(401, refused.to_string());
    unhealthy("elevenlabs", refused, "check ELEVENLABS_API_KEY", health).await;

    let message = "The API key you used is missing the permission models_read to execute this operation.";
    let restricted = json!({"detail": {"status": "missing_permissions", "message": message}}).to_string();
    let server = Server::answering(move |_, _| Reply::json(401, restricted.clone())).await;
    let found = health(&Setup::new("elevenlabs", &server)).await.unwrap();
    assert_eq!(found.status, HealthStatus::Healthy, "{}", found.detail);
    assert_eq!(server.requests()[0].target, "/v1/models");
}

/// Hears two words wherever it is loud.
fn stand_in(_: usize, asked: &Request) -> Reply {
    if asked.path() == "/v1/models" {
        return Reply::json(200, r#"[{"model_id": "eleven_multilingual_v2"}]"#);
    }
    let (from, to) = loud(wav_in(asked));
    let middle = f64::midpoint(from, to);
    let word = |text: &str, kind: &str, start: f64, end: f64| json!({"text": text, "type": kind, "start": start, "end": end, "logprob": -0.1, "speaker_id": "speaker_0"});
    let words = [
        word("two", "word", from, middle),
        word(" ", "spacing", middle, middle),
        word("words", "word", middle, to),
    ];
    Reply::json(
        200,
        json!({"language_code": "eng", "text": "two words", "words": words}).to_string(),
    )
}

#[tokio::test]
async fn the_contract_holds() {
    let server = Server::answering(stand_in).await;
    let transcriber = transcriber(&Setup::new("elevenlabs", &server)).unwrap();
    run(&*transcriber, &TranscriberCase::synthetic()).await;
}
