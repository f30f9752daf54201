//! What stand-ins have in common: forms and recordings are read, vectors made up, streams written.

use audiorag_core::Result;
use audiorag_core::capability::{GenerateEvent, GenerateRequest, Generator, Usage};
use audiorag_testkit::http::{Reply, Request};
use audiorag_testkit::wav::decode_pcm16;
use futures_util::StreamExt as _;
use serde_json::Value;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

/// The text fields of a multipart body in order, each as `name=value`; files as `name=filename type`.
pub(crate) fn form(request: &Request) -> Vec<String> {
    let kind = request.header("content-type").unwrap_or_default();
    let boundary = kind
        .split("boundary=")
        .nth(1)
        .expect("a boundary")
        .trim_matches('"');
    let text = request.text();
    let fence = format!("--{boundary}");
    text.split(&fence)
        .skip(1)
        .filter_map(|part| part.split_once("\r\n\r\n"))
        .map(|(head, body)| {
            let attribute = |name: &str| {
                let from = head.split(&format!(" {name}=\"")).nth(1)?;
                from.split('"').next().map(str::to_owned)
            };
            let name = attribute("name").expect("a name");
            match attribute("filename") {
                Some(file) => {
                    let kind = head.to_lowercase();
                    let kind = kind.split("content-type: ").nth(1).unwrap_or_default();
                    let kind = kind.lines().next().unwrap_or_default();
                    format!("{name}={file} {kind}")
                }
                None => format!("{name}={}", body.trim_end_matches("\r\n")),
            }
        })
        .collect()
}

/// A body that is JSON.
pub(crate) fn json(request: &Request) -> Value {
    serde_json::from_slice(&request.body).expect("a body of JSON")
}

/// The list of that name in a body.
pub(crate) fn list(request: &Request, name: &str) -> Vec<Value> {
    json(request)[name].as_array().cloned().expect("a list")
}

/// The WAV file inside a multipart body, as samples and their rate.
pub(crate) fn recording(request: &Request) -> (Vec<f32>, u32) {
    let start = request
        .body
        .windows(4)
        .position(|bytes| bytes == b"RIFF")
        .expect("a WAV file");
    let length = &request.body[start + 4..start + 8];
    let length = u32::from_le_bytes(length.try_into().expect("four bytes")) as usize;
    let (samples, rate, channels) = decode_pcm16(&request.body[start..start + 8 + length]);
    assert_eq!(channels, 1);
    (samples, rate)
}

/// From the first to the last sound, in seconds.
pub(crate) fn sounds(request: &Request) -> Option<(f64, f64)> {
    let (samples, rate) = recording(request);
    let loud = |sample: &f32| sample.abs() > 0.01;
    let first = samples.iter().position(loud)?;
    let last = samples.iter().rposition(loud)?;
    Some((first as f64 / f64::from(rate), last as f64 / f64::from(rate)))
}

/// A vector that depends on the whole text.
pub(crate) fn vector(text: &str, dimensions: usize) -> Vec<f32> {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    let mut random = audiorag_testkit::synth::Random::new(hasher.finish());
    (0..dimensions).map(|_| random.between(-1.0, 1.0)).collect()
}

/// A stream of events, some of them named.
pub(crate) fn events(events: &[(&str, &str)]) -> Reply {
    let body: String = events
        .iter()
        .map(|(name, data)| match *name {
            "" => format!("data: {data}\n\n"),
            name => format!("event: {name}\ndata: {data}\n\n"),
        })
        .collect();
    stream(body)
}

/// A body of events as it stands in a fixture.
pub(crate) fn stream<B: Into<Vec<u8>>>(body: B) -> Reply {
    Reply::status(200)
        .with_header("content-type", "text/event-stream")
        // So that an open connection means an answer under way.
        .with_header("connection", "close")
        .with_body(body)
        .chunked()
}

pub(crate) fn question() -> GenerateRequest {
    GenerateRequest {
        system: "Answer from the passages.".to_owned(),
        user: "[1] It was the best of times.\n\nWhat was it?".to_owned(),
        max_output_tokens: 64,
        ..GenerateRequest::default()
    }
}

/// The whole answer: its text, what it cost, and whether it was cut.
pub(crate) async fn answer(generator: &dyn Generator) -> Result<(String, Usage, bool)> {
    let mut stream = generator.generate(question()).await?;
    let mut text = String::new();
    while let Some(event) = stream.next().await {
        match event? {
            GenerateEvent::Delta(delta) => text.push_str(&delta),
            GenerateEvent::Done { usage, truncated } => {
                assert!(stream.next().await.is_none(), "nothing follows the end");
                return Ok((text, usage, truncated));
            }
        }
    }
    panic!("the answer '{text}' ended without an end");
}
