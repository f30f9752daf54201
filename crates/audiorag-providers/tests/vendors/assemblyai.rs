//! AssemblyAI.

#![expect(clippy::expect_used, reason = "failing a test is what this is for")]

use crate::listening::{loud, request, wav_in};
use crate::setup::{CANARY, Setup, checked, needs_a_key, refusals, unhealthy};
use audiorag_core::capability::{
    Health, PromptLimit, TranscribeRequest, TranscribeResponse, Transcriber, Usage,
};
use audiorag_core::{Error, ErrorKind, MediaTime, Result, Span};
use audiorag_providers::vendors::find;
use audiorag_testkit::http::{Reply, Request, Server};
use audiorag_testkit::suite::transcriber::{TranscriberCase, run};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tempfile::TempDir;

const COMPLETED: &str = include_str!("fixtures/assemblyai/completed.json");

fn transcriber(setup: &Setup) -> Result<Arc<dyn Transcriber>> {
    let offer = find("assemblyai")
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

/// A setup that looks at jobs every millisecond and keeps notes, if it is given a place for them.
fn setup(server: &Server, notes: Option<&Path>) -> Setup {
    let mut setup = Setup::new("assemblyai", server);
    setup.values.insert("assemblyai.poll_ms", "1".to_owned());
    setup.notes = notes.map(Path::to_path_buf);
    setup
}

/// The vendor: takes audio, makes jobs, and answers `job` when one is looked at.
async fn vendor(job: impl Fn(&str) -> Reply + Send + Sync + 'static) -> Server {
    let created = Mutex::new(0);
    Server::answering(move |_, asked| match (asked.method.as_str(), asked.path()) {
        ("POST", "/v2/upload") => Reply::json(200, r#"{"upload_url": "https://cdn.example/upload/x"}"#),
        ("POST", "/v2/transcript") => {
            let mut created = created.lock().expect("a count");
            *created += 1;
            Reply::json(
                200,
                json!({"id": format!("job-{created}"), "status": "queued"}).to_string(),
            )
        }
        (_, path) => job(path.trim_start_matches("/v2/transcript/")),
    })
    .await
}

fn working(id: &str) -> Reply {
    Reply::json(200, json!({"id": id, "status": "processing"}).to_string())
}

fn failed(id: &str, error: &str) -> Reply {
    Reply::json(
        200,
        json!({"id": id, "status": "error", "error": error}).to_string(),
    )
}

/// What was asked, such as `POST /v2/upload`.
fn asked(server: &Server) -> Vec<String> {
    server
        .requests()
        .iter()
        .map(|sent| format!("{} {}", sent.method, sent.target))
        .collect()
}

/// The names of the notes, and what they hold.
fn notes(folder: &TempDir) -> Vec<(String, Value)> {
    let Ok(entries) = std::fs::read_dir(folder.path()) else {
        return Vec::new();
    };
    entries
        .map(|entry| {
            let entry = entry.expect("an entry");
            let text = std::fs::read(entry.path()).expect("a readable note");
            let name = entry.file_name().to_string_lossy().into_owned();
            (name, serde_json::from_slice(&text).expect("JSON"))
        })
        .collect()
}

/// The requests that a failed call made, and those that may have been billed.
fn told(error: &Error) -> (u32, u32) {
    let attempts = error.attempts().expect("it was counted");
    (attempts.requests, attempts.unknown)
}

/// Starts a transcription and drops it once the server has been asked `requests` times, as a crash would.
async fn crash(server: &Server, setup: &Setup, requests: usize) {
    let seen = async {
        while server.requests().len() < requests {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::select! {
        outcome = transcribe(setup) => unreachable!("it ended: {outcome:?}"),
        () = seen => {}
    }
}

#[tokio::test]
async fn audio_becomes_a_job_that_is_looked_at_until_it_is_done() {
    let looks = Mutex::new(0);
    let server = vendor(move |id| {
        let mut looks = looks.lock().expect("a count");
        *looks += 1;
        if *looks < 3 {
            working(id)
        } else {
            Reply::json(200, COMPLETED)
        }
    })
    .await;
    let answer = transcribe(&setup(&server, None)).await.unwrap();
    assert_eq!(
        asked(&server),
        [
            "POST /v2/upload",
            "POST /v2/transcript",
            "GET /v2/transcript/job-1",
            "GET /v2/transcript/job-1",
            "GET /v2/transcript/job-1"
        ]
    );
    let sent = server.requests();
    assert!(
        sent.iter()
            .all(|sent| sent.header("authorization") == Some(CANARY))
    );
    assert_eq!(sent[0].header("content-type"), Some("application/octet-stream"));
    assert_eq!(
        (sent[0].body.len(), &sent[0].body[..4]),
        (44 + 80_000, &b"RIFF"[..])
    );
    let body: Value = serde_json::from_slice(&sent[1].body).unwrap();
    let expected = json!({
        "audio_url": "https://cdn.example/upload/x",
        "speech_models": ["universal-3-5-pro", "universal-2"],
        "speaker_labels": true,
        "language_detection": true,
    });
    assert_eq!(body, expected);

    assert_eq!(answer.transcript.language.as_deref(), Some("en"));
    let found: Vec<(&str, Option<&str>, Span, usize)> = answer
        .transcript
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
                Some("speaker A"),
                Span::from_millis(500, 1_300),
                3
            ),
            // The vendor's times run past the end of the part.
            ("It does.", Some("speaker B"), Span::from_millis(1_400, 2_500), 2),
        ]
    );
    assert_eq!(answer.transcript.segments[0].confidence, Some(0.91));
    assert_eq!(
        (answer.usage.requests, answer.usage.audio),
        (2, MediaTime::from_millis(2_500)),
        "looks are not counted"
    );
}

#[tokio::test]
async fn language_and_terms_are_passed_on() {
    let server = vendor(|_| Reply::json(200, COMPLETED)).await;
    let mut setup = setup(&server, None);
    let request = TranscribeRequest {
        language: Some("pt-BR".to_owned()),
        prompt: Some("Ada Lovelace, AudioRAG".to_owned()),
        ..request()
    };
    let made = transcriber(&setup).unwrap();
    assert_eq!(made.limits().prompt, PromptLimit::Terms { max_terms: 1_000 });
    made.transcribe(request.clone()).await.unwrap();
    setup.model = Some("universal-2");
    let made = transcriber(&setup).unwrap();
    assert_eq!(made.limits().prompt, PromptLimit::NotTaken);
    made.transcribe(request).await.unwrap();
    let sent = server.requests();
    let bodies = [1, 4].map(|number: usize| serde_json::from_slice::<Value>(&sent[number].body).unwrap());
    assert_eq!(bodies[0]["language_code"], "pt");
    assert_eq!(bodies[0]["keyterms_prompt"], json!(["Ada Lovelace", "AudioRAG"]));
    assert_eq!(bodies[0].get("language_detection"), None);
    assert_eq!(
        (&bodies[1]["speech_models"], bodies[1].get("keyterms_prompt")),
        (&json!(["universal-2"]), None)
    );
}

#[tokio::test]
async fn a_job_outlives_the_run_that_made_it() {
    let done = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&done);
    let server = vendor(move |id| {
        if seen.load(Ordering::SeqCst) {
            Reply::json(200, COMPLETED)
        } else {
            working(id)
        }
    })
    .await;
    let folder = TempDir::new().unwrap();
    crash(&server, &setup(&server, Some(folder.path())), 4).await;
    let left = notes(&folder);
    assert_eq!(left.len(), 1);
    assert!(
        left[0].0.starts_with("assemblyai-")
            && Path::new(&left[0].0)
                .extension()
                .is_some_and(|kind| kind == "json"),
        "{left:?}"
    );
    assert_eq!(left[0].1, json!({"transcript": "job-1"}));
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let note = std::fs::metadata(folder.path().join(&left[0].0)).unwrap();
        assert_eq!(note.permissions().mode() & 0o777, 0o600);
    }

    // Other audio is another job, and leaves the note alone.
    let asked_before = server.requests().len();
    done.store(true, Ordering::SeqCst);
    let other = TranscribeRequest {
        samples: vec![0.25; 16_000].into(),
        ..request()
    };
    let transcriber = transcriber(&setup(&server, Some(folder.path()))).unwrap();
    transcriber.transcribe(other).await.unwrap();
    assert_eq!(
        asked(&server)[asked_before..][..2],
        ["POST /v2/upload", "POST /v2/transcript"]
    );
    assert_eq!(notes(&folder), left);

    let asked_before = server.requests().len();
    let answer = transcriber.transcribe(request()).await.unwrap();
    assert_eq!(asked(&server)[asked_before..], ["GET /v2/transcript/job-1"]);
    assert_eq!(answer.transcript.segments.len(), 2);
    assert_eq!(
        answer.usage,
        Usage::default(),
        "the run that made the job has it in its books"
    );
    assert!(notes(&folder).is_empty());

    // The result was handed over: the next question is a new one.
    transcriber.transcribe(request()).await.unwrap();
    assert!(asked(&server).ends_with(&["GET /v2/transcript/job-3".to_owned()]));
}

#[tokio::test]
async fn the_model_and_the_options_are_part_of_the_question() {
    let server = vendor(working).await;
    let folder = TempDir::new().unwrap();
    let mut setup = setup(&server, Some(folder.path()));
    crash(&server, &setup, 3).await;
    setup.model = Some("universal-2");
    crash(&server, &setup, server.requests().len() + 3).await;
    assert_eq!(notes(&folder).len(), 2);
}

#[tokio::test]
async fn jobs_that_came_to_nothing_are_made_anew() {
    let gone = |status: u16| {
        Reply::json(
            status,
            r#"{"error": "Transcript lookup error, transcript id not found"}"#,
        )
    };
    for first in [gone(404), gone(400), failed("job-1", "Internal server error")] {
        let lost = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&lost);
        let server = vendor(move |id| match (id, seen.load(Ordering::SeqCst)) {
            ("job-1", true) => first.clone(),
            ("job-1", false) => working(id),
            _ => Reply::json(200, COMPLETED),
        })
        .await;
        let folder = TempDir::new().unwrap();
        let setup = setup(&server, Some(folder.path()));
        crash(&server, &setup, 3).await;
        lost.store(true, Ordering::SeqCst);
        let before = server.requests().len();
        let usage = transcribe(&setup).await.unwrap().usage;
        assert_eq!(
            (usage.requests, usage.audio),
            (2, MediaTime::from_millis(2_500)),
            "a new job is paid"
        );
        assert_eq!(
            asked(&server)[before..],
            [
                "GET /v2/transcript/job-1",
                "POST /v2/upload",
                "POST /v2/transcript",
                "GET /v2/transcript/job-2"
            ]
        );
        assert!(notes(&folder).is_empty());
    }
}

#[tokio::test]
async fn a_service_that_is_down_keeps_the_note() {
    let server = vendor(|_| Reply::status(503)).await;
    let folder = TempDir::new().unwrap();
    let setup = setup(&server, Some(folder.path()));
    for attempts in [(2, 1), (0, 0)] {
        let error = transcribe(&setup).await.unwrap_err();
        checked(&error, ErrorKind::Unavailable);
        assert_eq!(
            told(&error),
            attempts,
            "the job is paid once, whoever waits for it"
        );
        assert_eq!(notes(&folder).len(), 1);
    }
    let created = asked(&server)
        .iter()
        .filter(|asked| *asked == "POST /v2/transcript")
        .count();
    assert_eq!(created, 1);
}

#[tokio::test]
async fn an_upload_that_breaks_off_is_not_billed() {
    let server = Server::answering(|_, _| Reply::json(200, "{}").reset_after(3)).await;
    let error = transcribe(&setup(&server, None)).await.unwrap_err();
    assert_eq!(told(&error), (server.requests().len() as u32, 0));
}

#[tokio::test]
async fn a_job_that_takes_too_long_is_left_for_the_next_run() {
    let server = vendor(working).await;
    let folder = TempDir::new().unwrap();
    for (place, advice) in [
        (Some(folder.path()), "run it again later"),
        (None, "MAX_WAIT_MINUTES"),
    ] {
        let mut setup = setup(&server, place);
        setup.values.insert("assemblyai.max_wait_minutes", "0".to_owned());
        let error = transcribe(&setup).await.unwrap_err();
        checked(&error, ErrorKind::Timeout);
        assert!(
            !error.is_retryable() && error.hint().unwrap().contains(advice),
            "{error:?}"
        );
        assert_eq!(told(&error), (2, 1));
    }
    assert_eq!(notes(&folder).len(), 1);
    let mut broken = setup(&server, None);
    broken.values.insert("assemblyai.poll_ms", "often".to_owned());
    checked(&transcriber(&broken).err().expect("refused"), ErrorKind::Config);
}

#[tokio::test]
async fn a_failed_job_is_an_error_and_forgotten() {
    for (said, kind) in [
        (
            "Transcoding failed. File does not appear to contain audio",
            ErrorKind::Input,
        ),
        ("Internal server error", ErrorKind::Unavailable),
    ] {
        let server = vendor(move |id| failed(id, said)).await;
        let folder = TempDir::new().unwrap();
        let error = transcribe(&setup(&server, Some(folder.path())))
            .await
            .unwrap_err();
        checked(&error, kind);
        assert!(error.to_string().contains(said), "{error}");
        assert_eq!(told(&error), (2, 0), "a job that failed is not billed");
        assert!(notes(&folder).is_empty());
        // Neither the job nor the look at it is repeated.
        assert_eq!(server.requests().len(), 3);
    }
    let server = vendor(move |id| failed(id, &format!("no such key: {CANARY}"))).await;
    let error = transcribe(&setup(&server, None)).await.unwrap_err();
    checked(&error, ErrorKind::Input);
    assert!(error.to_string().contains("no such key: ***"), "{error}");
    let silence = "language_detection cannot be performed on files with no spoken audio.";
    let server = vendor(move |id| failed(id, silence)).await;
    let answer = transcribe(&setup(&server, None)).await.unwrap();
    assert!(answer.transcript.segments.is_empty());
    assert_eq!((answer.usage.requests, answer.usage.audio), (2, MediaTime::ZERO));
}

#[tokio::test]
async fn a_job_is_never_created_twice_by_one_call() {
    for reply in [
        Reply::status(500),
        Reply::json(200, "{}"),
        Reply::json(200, "").cut_after(20),
    ] {
        let server = Server::answering(move |_, asked| match asked.path() {
            "/v2/upload" => Reply::json(200, r#"{"upload_url": "https://cdn.example/x"}"#),
            _ => reply.clone(),
        })
        .await;
        let folder = TempDir::new().unwrap();
        let error = transcribe(&setup(&server, Some(folder.path())))
            .await
            .unwrap_err();
        assert_eq!(told(&error), (2, 1), "there may be a job");
        assert_eq!(asked(&server), ["POST /v2/upload", "POST /v2/transcript"]);
        assert!(notes(&folder).is_empty());
    }
}

#[tokio::test]
async fn refusals_have_their_kinds() {
    let said = |message: &str| json!({"error": message}).to_string();
    refusals(
        "assemblyai",
        &[
            (
                Reply::json(401, said(&format!("Authentication error, {CANARY}"))),
                ErrorKind::Auth,
            ),
            (
                Reply::json(
                    400,
                    said("Your current account balance is negative. Please top up."),
                ),
                ErrorKind::Budget,
            ),
            (
                Reply::json(400, said("\"speech_models\" must hold known models")),
                ErrorKind::NotFound,
            ),
            (
                Reply::json(400, said("\"language_code\" is not supported")),
                ErrorKind::Input,
            ),
            (
                Reply::json(429, said("Too many requests")).with_header("retry-after", "0.01"),
                ErrorKind::RateLimited,
            ),
            (Reply::status(503), ErrorKind::Unavailable),
            (Reply::json(200, "{}"), ErrorKind::Protocol),
        ],
        transcribe,
    )
    .await;
    for broken in [
        r#"{"id": "job-1", "status": "completed", "text": "lost", "words": [], "utterances": null}"#,
        r#"{"id": "job-1", "status": "completed", "text": "x", "words": [{"text": "x", "start": -1, "end": 2}]}"#,
        r#"{"id": "job-1", "text": "no status"}"#,
    ] {
        let server = vendor(move |_| Reply::json(200, broken)).await;
        checked(
            &transcribe(&setup(&server, None)).await.unwrap_err(),
            ErrorKind::Protocol,
        );
    }
    // An id that would lead elsewhere is not followed.
    let server = Server::answering(|_, asked| match asked.path() {
        "/v2/upload" => Reply::json(200, r#"{"upload_url": "https://cdn.example/x"}"#),
        _ => Reply::json(200, r#"{"id": "../../x", "status": "queued"}"#),
    })
    .await;
    checked(
        &transcribe(&setup(&server, None)).await.unwrap_err(),
        ErrorKind::Protocol,
    );
}

#[tokio::test]
async fn the_key_is_checked_and_missed() {
    needs_a_key("assemblyai", "ASSEMBLYAI_API_KEY", transcriber).await;
    let refused = Reply::json(401, json!({"error": format!("bad {CANARY}")}).to_string());
    unhealthy("assemblyai", refused, "check ASSEMBLYAI_API_KEY", health).await;
    unhealthy("assemblyai", Reply::json(200, "{}"), "protocol", health).await;
}

#[tokio::test]
async fn the_contract_holds() {
    // What each upload sounds like, by its address; jobs remember the address they were made for.
    type Heard = (Vec<(f64, f64)>, HashMap<String, usize>);
    let heard: Mutex<Heard> = Mutex::default();
    let server = Server::answering(move |number, asked: &Request| {
        let mut heard = heard.lock().expect("what was heard");
        let answer = match (asked.method.as_str(), asked.path()) {
            ("POST", "/v2/upload") => {
                heard.0.push(loud(wav_in(asked)));
                json!({"upload_url": format!("https://cdn.example/{}", heard.0.len() - 1)})
            }
            ("POST", _) => {
                let body: Value = serde_json::from_slice(&asked.body).expect("JSON");
                let address = body["audio_url"].as_str().and_then(|url| url.rsplit('/').next());
                let id = format!("job-{number}");
                heard.1.insert(id.clone(), address.and_then(|place| place.parse().ok()).expect("a place"));
                json!({"id": id, "status": "queued"})
            }
            (_, "/v2/transcript") => json!({"page_details": {"limit": 1}, "transcripts": []}),
            (_, path) => {
                let id = path.trim_start_matches("/v2/transcript/");
                let (from, to) = heard.0[heard.1[id]];
                let (from, to) = ((from * 1000.0) as u64, (to * 1000.0) as u64);
                let word = json!({"text": "Words.", "start": from, "end": to, "confidence": 0.9, "speaker": "A"});
                let turn = json!({"text": "Words.", "start": from, "end": to, "speaker": "A", "words": [word]});
                json!({"id": id, "status": "completed", "text": "Words.", "words": [word], "utterances": [turn]})
            }
        };
        Reply::json(200, answer.to_string())
    })
    .await;
    let folder = TempDir::new().unwrap();
    let transcriber = transcriber(&setup(&server, Some(folder.path()))).unwrap();
    run(&*transcriber, &TranscriberCase::synthetic()).await;
    assert!(notes(&folder).is_empty());
}
