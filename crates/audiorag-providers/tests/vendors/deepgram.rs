//! Deepgram.

#![expect(clippy::expect_used, reason = "failing a test is what this is for")]

use crate::listening::{loud, request, wav_in};
use crate::setup::{CANARY, Setup, checked, needs_a_key, refusals, unhealthy};
use audiorag_core::capability::{Health, PromptLimit, TranscribeRequest, TranscribeResponse, Transcriber};
use audiorag_core::{ErrorKind, MediaTime, Result, Span};
use audiorag_providers::vendors::find;
use audiorag_testkit::http::{Reply, Request, Server};
use audiorag_testkit::suite::transcriber::{TranscriberCase, run};
use serde_json::json;
use std::sync::Arc;

const ANSWER: &str = include_str!("fixtures/deepgram/listen.json");

fn transcriber(setup: &Setup) -> Result<Arc<dyn Transcriber>> {
    let offer = find("deepgram")
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

#[tokio::test]
async fn peer_defect_09_a_part_comes_back_with_words_and_speakers() {
    let server = Server::answering(|_, _| Reply::json(200, ANSWER)).await;
    let answer = transcribe(&Setup::new("deepgram", &server)).await.unwrap();
    let sent = &server.requests()[0];
    assert_eq!((sent.method.as_str(), sent.path()), ("POST", "/listen"));
    let query = sent.target.split_once('?').unwrap().1;
    let expected = "model=nova-3&smart_format=true&punctuate=true&utterances=true&diarize_model=latest&detect_language=true";
    assert_eq!(query, expected);
    assert_eq!(
        sent.header("authorization"),
        Some(format!("Token {CANARY}").as_str())
    );
    assert_eq!(sent.header("content-type"), Some("audio/wav"));
    assert_eq!(wav_in(sent).len(), sent.body.len());
    assert_eq!(sent.body.len(), 44 + 80_000);

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
                "Life moves fast.",
                Some("speaker 0"),
                Span::from_millis(500, 1_300),
                3
            ),
            // The vendor's times run past the end of the part.
            ("It does.", Some("speaker 1"), Span::from_millis(1_400, 2_500), 2),
        ]
    );
    let word = &transcript.segments[0].words[2];
    assert_eq!((word.text.as_str(), word.confidence), ("fast.", Some(0.75)));
    assert_eq!(transcript.segments[0].confidence, Some(0.96));
    assert_eq!(
        (answer.usage.requests, answer.usage.audio),
        (1, MediaTime::from_millis(2_500))
    );
}

#[tokio::test]
async fn language_and_terms_are_passed_on() {
    let server = Server::answering(|_, _| Reply::json(200, ANSWER)).await;
    let mut setup = Setup::new("deepgram", &server);
    let asked = TranscribeRequest {
        language: Some("pt-BR".to_owned()),
        prompt: Some("Ada Lovelace, AudioRAG".to_owned()),
        ..request()
    };
    let made = transcriber(&setup).unwrap();
    assert_eq!(made.limits().prompt, PromptLimit::Terms { max_terms: 100 });
    made.transcribe(asked.clone()).await.unwrap();
    setup.model = Some("nova-2");
    let made = transcriber(&setup).unwrap();
    assert_eq!(made.limits().prompt, PromptLimit::NotTaken);
    made.transcribe(asked).await.unwrap();
    let targets: Vec<String> = server.requests().iter().map(|sent| sent.target.clone()).collect();
    assert!(
        targets[0].ends_with("&language=pt-BR&keyterm=Ada+Lovelace&keyterm=AudioRAG"),
        "{targets:?}"
    );
    // Key terms are for the third generation only.
    assert!(
        targets[1].contains("model=nova-2") && targets[1].ends_with("&language=pt-BR"),
        "{targets:?}"
    );
}

#[tokio::test]
async fn refusals_have_their_kinds() {
    let said = |code: &str, message: &str| {
        json!({"err_code": code, "err_msg": message, "request_id": "r"}).to_string()
    };
    refusals(
        "deepgram",
        &[
            (
                Reply::json(
                    401,
                    said("INVALID_AUTH", &format!("Invalid credentials. {CANARY}")),
                ),
                ErrorKind::Auth,
            ),
            (
                Reply::json(402, said("ASR_PAYMENT_REQUIRED", "insufficient funds")),
                ErrorKind::Budget,
            ),
            (
                Reply::json(403, said("INSUFFICIENT_PERMISSIONS", "no access to the model")),
                ErrorKind::Auth,
            ),
            (
                Reply::json(
                    400,
                    said("Bad Request", "No such model/language/tier combination found."),
                ),
                ErrorKind::NotFound,
            ),
            (
                Reply::json(400, said("Bad Request", "corrupt or unsupported data")),
                ErrorKind::Input,
            ),
            (
                Reply::json(
                    429,
                    r#"{"category": "TOO_MANY_REQUESTS", "message": "slow down"}"#,
                )
                .with_header("retry-after", "0.01"),
                ErrorKind::RateLimited,
            ),
            (Reply::status(504), ErrorKind::Unavailable),
            (Reply::json(200, "{}"), ErrorKind::Protocol),
            (
                Reply::json(200, r#"{"results": {"channels": []}}"#),
                ErrorKind::Protocol,
            ),
            (Reply::json(200, ANSWER).cut_after(400), ErrorKind::Unavailable),
        ],
        transcribe,
    )
    .await;
}

#[tokio::test]
async fn an_answer_that_may_have_been_billed_is_asked_for_once_more_only() {
    let server = Server::answering(|_, _| Reply::json(200, "{}")).await;
    let error = transcribe(&Setup::new("deepgram", &server)).await.unwrap_err();
    checked(&error, ErrorKind::Protocol);
    assert_eq!(server.requests().len(), 2);
}

#[tokio::test]
async fn the_key_is_checked_and_missed() {
    needs_a_key("deepgram", "DEEPGRAM_API_KEY", transcriber).await;
    let refused = Reply::json(401, format!(r#"{{"err_msg": "bad {CANARY}"}}"#));
    unhealthy("deepgram", refused, "check DEEPGRAM_API_KEY", health).await;
    unhealthy("deepgram", Reply::json(200, "[]"), "protocol", health).await;
}

/// Hears two words wherever it is loud.
fn stand_in(_: usize, asked: &Request) -> Reply {
    if asked.path() == "/projects" {
        return Reply::json(200, r#"{"projects": [{"project_id": "p", "name": "n"}]}"#);
    }
    let (from, to) = loud(wav_in(asked));
    let middle = f64::midpoint(from, to);
    let word = |text: &str, start: f64, end: f64| json!({"word": text, "start": start, "end": end, "confidence": 0.9, "speaker": 0});
    let words = json!([word("two", from, middle), word("words", middle, to)]);
    let body = json!({"results": {
        "channels": [{"alternatives": [{"transcript": "two words", "words": words}], "detected_language": "en"}],
        "utterances": [{"start": from, "end": to, "transcript": "Two words.", "confidence": 0.9, "words": words}],
    }});
    Reply::json(200, body.to_string())
}

#[tokio::test]
async fn the_contract_holds() {
    let server = Server::answering(stand_in).await;
    let transcriber = transcriber(&Setup::new("deepgram", &server)).unwrap();
    run(&*transcriber, &TranscriberCase::synthetic()).await;
}
