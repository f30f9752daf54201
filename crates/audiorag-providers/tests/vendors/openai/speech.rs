//! Speech to text.

use super::models;
use crate::stand_in::{form, recording, sounds};
use crate::{CANARY, Refusal, Setup, refusals};
use audiorag_core::capability::TranscribeRequest;
use audiorag_core::model::{SAMPLE_RATE, Suspicion, TimeQuality};
use audiorag_core::{ErrorKind, MediaTime, Span};
use audiorag_testkit::http::{Reply, Request, Server};
use audiorag_testkit::suite::transcriber::{self, TranscriberCase};

fn part() -> TranscribeRequest {
    let samples: Vec<f32> = (0..SAMPLE_RATE * 19 / 2)
        .map(|n| ((n % 100) as f32 - 50.0) / 100.0)
        .collect();
    TranscribeRequest {
        samples: samples.into(),
        speech: vec![Span::from_millis(400, 3_400), Span::from_millis(4_000, 9_000)],
        language: Some("en-GB".to_owned()),
        prompt: Some(" Dickens, Tale ".to_owned()),
    }
}

#[tokio::test]
async fn gpt_transcribe_is_asked_for_text_and_its_sentences_are_placed_in_the_speech() {
    let body = r#"{"text":"It was the best of times. It was the worst of times.","languages":[{"code":"en"}],
                   "usage":{"type":"duration","seconds":10}}"#;
    let server = Server::scripted([Reply::json(200, body)]).await;
    let transcriber = Setup::new("openai")
        .at(&server, "/v1")
        .model("gpt-transcribe")
        .transcriber()
        .unwrap();
    let limits = transcriber.limits();
    assert!(!limits.segment_times && !limits.word_times && !limits.speakers);
    assert!(limits.preferred_part <= MediaTime::from_seconds(60));

    let response = transcriber.transcribe(part()).await.unwrap();
    let request = &server.requests()[0];
    assert_eq!(
        (request.method.as_str(), request.target.as_str()),
        ("POST", "/v1/audio/transcriptions")
    );
    assert_eq!(
        request.header("authorization"),
        Some(format!("Bearer {CANARY}").as_str())
    );
    assert_eq!(
        form(request),
        [
            "file=part.wav audio/wav",
            "model=gpt-transcribe",
            "response_format=json",
            "languages[]=en",
            "prompt=Dickens, Tale",
        ]
    );
    let (samples, rate) = recording(request);
    assert_eq!((samples.len(), rate), (part().samples.len(), SAMPLE_RATE));

    let segments = &response.transcript.segments;
    assert_eq!(segments.len(), 2);
    assert_eq!(segments[0].span, Span::from_millis(400, 3_400));
    assert_eq!(segments[1].span, Span::from_millis(4_000, 9_000));
    assert_eq!(segments[0].times, TimeQuality::Estimated);
    assert_eq!(response.transcript.language.as_deref(), Some("en"));
    assert_eq!(
        (response.usage.requests, response.usage.audio.as_millis()),
        (1, 9_500)
    );
}

#[tokio::test]
async fn whisper_is_asked_for_everything_and_nothing_of_it_is_lost() {
    let server = Server::scripted([Reply::json(200, include_str!("../fixtures/openai/verbose.json"))]).await;
    let setup = Setup::new("openai").at(&server, "/v1").model("whisper-1");
    let response = setup.transcriber().unwrap().transcribe(part()).await.unwrap();
    assert_eq!(
        form(&server.requests()[0]),
        [
            "file=part.wav audio/wav",
            "model=whisper-1",
            "response_format=verbose_json",
            "timestamp_granularities[]=word",
            "timestamp_granularities[]=segment",
            "language=en",
            "prompt=Dickens, Tale",
        ]
    );
    let segments = &response.transcript.segments;
    let texts: Vec<&str> = segments.iter().map(|segment| segment.text.as_str()).collect();
    assert_eq!(
        texts,
        [
            "It was the best of times.",
            "Thanks for watching.",
            "No no no no."
        ]
    );
    let doubts: Vec<Option<Suspicion>> = segments.iter().map(|segment| segment.suspicion).collect();
    assert_eq!(
        doubts,
        [None, Some(Suspicion::Improbable), Some(Suspicion::Repetitive)]
    );
    assert!((segments[0].confidence.unwrap() - 0.9).abs() < 0.001);
    assert_eq!(segments[0].span, Span::from_millis(400, 3_400));
    assert_eq!(segments[0].words.len(), 6);
    assert_eq!(segments[0].words[5].span, Span::from_millis(1_800, 3_400));
    assert_eq!(segments[1].words.len(), 3);
    assert_eq!(
        segments[2].span,
        Span::from_millis(7_000, 9_500),
        "kept inside the part"
    );
    assert_eq!(response.transcript.language.as_deref(), Some("en"));
}

#[tokio::test]
async fn the_diarizing_model_names_speakers_and_takes_no_prompt() {
    let server = Server::scripted([Reply::json(200, include_str!("../fixtures/openai/diarized.json"))]).await;
    let setup = Setup::new("openai")
        .at(&server, "/v1")
        .model("gpt-4o-transcribe-diarize");
    let transcriber = setup.transcriber().unwrap();
    assert!(transcriber.limits().speakers && transcriber.limits().segment_times);
    let response = transcriber.transcribe(part()).await.unwrap();
    let fields = form(&server.requests()[0]);
    assert!(
        fields.contains(&"response_format=diarized_json".to_owned()),
        "{fields:?}"
    );
    assert!(
        fields.contains(&"chunking_strategy=auto".to_owned()),
        "{fields:?}"
    );
    assert!(
        !fields.iter().any(|field| field.starts_with("prompt")),
        "{fields:?}"
    );
    let said: Vec<(&str, &str)> = response
        .transcript
        .segments
        .iter()
        .map(|segment| (segment.speaker.as_deref().unwrap(), segment.text.as_str()))
        .collect();
    assert_eq!(said, [("A", "How are you?"), ("B", "Fine, thanks.")]);
    assert_eq!(
        (response.usage.input_tokens, response.usage.output_tokens),
        (95, 12)
    );
}

#[tokio::test]
async fn servers_that_compute_no_probabilities_do_not_lose_their_text() {
    let server = Server::scripted([Reply::json(
        200,
        include_str!("../fixtures/openai/vllm_verbose.json"),
    )])
    .await;
    let setup = Setup::new("openai")
        .at(&server, "/v1")
        .model("openai/whisper-large-v3");
    let transcriber = setup.transcriber().unwrap();
    assert!(!transcriber.limits().word_times, "nobody promised them");
    let response = transcriber.transcribe(part()).await.unwrap();
    let segment = &response.transcript.segments[0];
    assert_eq!((segment.confidence, segment.suspicion), (None, None));
}

#[tokio::test]
async fn the_format_can_be_chosen() {
    let server = Server::answering(|_, _| Reply::json(200, r#"{"text":"Hello."}"#)).await;
    for (setting, sent) in [
        ("auto", "json"),
        ("verbose_json", "verbose_json"),
        ("diarized_json", "diarized_json"),
    ] {
        let setup = Setup::new("openai")
            .at(&server, "/v1")
            .model("voxtral")
            .with("openai.stt_format", setting);
        let response = setup.transcriber().unwrap().transcribe(part()).await.unwrap();
        assert_eq!(
            response.transcript.segments.len(),
            1,
            "text without segments is not lost"
        );
        let fields = form(server.requests().last().unwrap());
        assert!(fields.contains(&format!("response_format={sent}")), "{fields:?}");
    }
}

#[tokio::test]
async fn word_times_place_text_that_came_without_segments() {
    let body = r#"{"text":"Go on. Stop now.","segments":null,"words":[
        {"word":"Go","start":0.5,"end":0.7,"probability":0.75},{"word":"on.","start":0.7,"end":1.0},
        {"word":"Stop","start":8.0,"end":8.5},{"word":"now.","start":8.5,"end":9.0}]}"#;
    let server = Server::scripted([Reply::json(200, body)]).await;
    let setup = Setup::new("openai").at(&server, "/v1").model("whisper-1");
    let segments = setup
        .transcriber()
        .unwrap()
        .transcribe(part())
        .await
        .unwrap()
        .transcript
        .segments;
    assert_eq!(segments[0].words[0].confidence, Some(0.75));
    let spans: Vec<Span> = segments.iter().map(|segment| segment.span).collect();
    assert_eq!(
        spans,
        [Span::from_millis(500, 1_000), Span::from_millis(8_000, 9_000)]
    );
}

#[tokio::test]
async fn silence_costs_nothing() {
    let server = Server::scripted([]).await;
    let setup = Setup::new("openai").at(&server, "/v1").model("gpt-transcribe");
    let request = TranscribeRequest {
        speech: Vec::new(),
        ..part()
    };
    let response = setup.transcriber().unwrap().transcribe(request).await.unwrap();
    assert!(response.transcript.segments.is_empty());
    assert_eq!(response.usage.requests, 0);
    assert!(server.requests().is_empty());
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
        r#"{"error":{"message":"The model does not exist","code":"model_not_found"}}"#,
        ErrorKind::NotFound,
    ),
    (
        413,
        None,
        r#"{"error":{"message":"Maximum content size limit exceeded","type":"server_error"}}"#,
        ErrorKind::Input,
    ),
    (
        429,
        Some(("retry-after", "7")),
        r#"{"error":{"message":"slow down","code":"rate_limit_exceeded"}}"#,
        ErrorKind::RateLimited,
    ),
    (
        429,
        None,
        r#"{"error":{"message":"You exceeded your current quota","code":"insufficient_quota"}}"#,
        ErrorKind::Budget,
    ),
    (
        500,
        None,
        r#"{"error":{"message":"The server had an error","type":"server_error"}}"#,
        ErrorKind::Unavailable,
    ),
    (200, None, r#"{"language":"english"}"#, ErrorKind::Protocol),
    (
        200,
        None,
        r#"{"text":"a","segments":[{"start":0,"text":"a"}]}"#,
        ErrorKind::Protocol,
    ),
    (
        200,
        None,
        r#"{"text":"a","segments":[{"start":0,"end":1e300,"text":"a"}]}"#,
        ErrorKind::Protocol,
    ),
    (200, None, r#"{"text":"It was the be"#, ErrorKind::Protocol),
];

#[tokio::test]
async fn refusals_and_broken_answers_are_told_apart() {
    refusals(REFUSALS, async |server| {
        let setup = Setup::new("openai").at(server, "/v1").model("whisper-1");
        setup.transcriber().unwrap().transcribe(part()).await.unwrap_err()
    })
    .await;
}

#[tokio::test]
async fn an_answer_that_is_cut_is_asked_for_again() {
    let whole = Reply::json(200, r#"{"text":"Hello."}"#);
    let cut = whole.to_bytes(false).len() - 3;
    let server = Server::scripted([whole.clone().cut_after(cut), whole]).await;
    let setup = Setup::new("openai")
        .at(&server, "/v1")
        .model("gpt-transcribe")
        .retrying();
    let response = setup.transcriber().unwrap().transcribe(part()).await.unwrap();
    let usage = response.usage;
    assert_eq!((usage.requests, usage.unknown), (2, 1), "both may be billed");
}

/// Hears where the sound is, and says something there.
fn hear(request: &Request) -> Reply {
    if request.method == "GET" {
        return models();
    }
    let fields = form(request);
    let Some((start, end)) = sounds(request) else {
        return Reply::json(200, r#"{"text":"","segments":[],"words":[]}"#);
    };
    if fields.contains(&"response_format=json".to_owned()) {
        return Reply::json(
            200,
            r#"{"text":" It was the best of times. Was it? ","languages":[]}"#,
        );
    }
    let body = serde_json::json!({
        "text": "It was.", "language": "english",
        "segments": [{"id": 0, "start": start, "end": end, "text": " It was.", "avg_logprob": -0.1,
                      "compression_ratio": 1.0, "no_speech_prob": 0.0}],
        "words": [{"word": "It", "start": start, "end": start + 0.5}, {"word": "was", "start": start + 0.5, "end": end}],
    });
    Reply::json(200, body.to_string())
}

#[tokio::test]
async fn the_contract_holds() {
    for model in ["gpt-transcribe", "whisper-1"] {
        let server = Server::answering(|_, request| hear(request)).await;
        let setup = Setup::new("openai").at(&server, "/v1").model(model);
        transcriber::run(&*setup.transcriber().unwrap(), &TranscriberCase::synthetic()).await;
    }
}
