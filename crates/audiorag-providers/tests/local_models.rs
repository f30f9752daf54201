//! The real models on real speech: what they hear, when, and what their vectors mean.
//!
//! `cargo xtask test` fetches the models and names their folder in `AUDIORAG_TEST_MODELS`. Without it these
//! tests fail rather than pass unseen.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "helpers of tests stop at the first surprise, as tests do"
)]

use audiorag_audio::{PartReader, SplitSettings};
use audiorag_core::capability::{Embedder, InputType, TranscribeRequest, Transcriber};
use audiorag_core::model::{SAMPLE_RATE, Segment, TimeQuality};
use audiorag_core::{ErrorKind, MediaTime, Span};
use audiorag_providers::local::models::FileState;
use audiorag_providers::local::{MiniLmEmbedder, MiniLmLoad, ModelStore, MoonshineTranscriber, Runtime};
use audiorag_testkit::suite;
use audiorag_testkit::synth::Track;
use std::path::{Path, PathBuf};
use std::sync::Arc;

fn store() -> ModelStore {
    #[expect(
        clippy::disallowed_methods,
        reason = "the test runner names the folder, not a user"
    )]
    let Some(folder) = std::env::var_os("AUDIORAG_TEST_MODELS") else {
        panic!(
            "AUDIORAG_TEST_MODELS is not set: run these tests with `cargo xtask test`, which fetches the models"
        );
    };
    let store = ModelStore::new(folder);
    if let Some(error) = store.missing() {
        panic!(
            "{}: run these tests with `cargo xtask test`, which fetches the models",
            error.report()
        );
    }
    store
}

fn transcriber(concurrency: usize) -> MoonshineTranscriber {
    let store = store();
    MoonshineTranscriber::new(
        store.speech().unwrap(),
        Runtime::new(store.runtime().unwrap()),
        concurrency,
    )
}

fn embedder(load: MiniLmLoad) -> MiniLmEmbedder {
    let store = store();
    MiniLmEmbedder::new(
        store.embedding().unwrap(),
        Runtime::new(store.runtime().unwrap()),
        load,
        2,
    )
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../tests/fixtures")
        .join(name)
}

/// The parts of a fixture, each with its place in the recording.
fn parts(name: &str, transcriber: &MoonshineTranscriber) -> Vec<(Span, TranscribeRequest)> {
    let limits = transcriber.limits();
    let reader = PartReader::open(
        &fixture(name),
        SplitSettings::new(limits.preferred_part, limits.max_part),
    );
    reader
        .unwrap()
        .map(|part| {
            let part = part.unwrap();
            let start = part.span.start();
            let speech = part
                .speech
                .iter()
                .map(|span| {
                    Span::between(
                        span.start().saturating_sub(start),
                        span.end().saturating_sub(start),
                    )
                })
                .collect();
            (
                part.span,
                TranscribeRequest {
                    samples: part.samples.into(),
                    speech,
                    language: None,
                    prompt: None,
                },
            )
        })
        .collect()
}

/// What is heard in a fixture, in the recording's time.
async fn hear(name: &str, transcriber: &MoonshineTranscriber) -> Vec<Segment> {
    let mut heard = Vec::new();
    for (span, request) in parts(name, transcriber) {
        let response = transcriber.transcribe(request).await.unwrap();
        heard.extend(response.transcript.segments.into_iter().map(|mut segment| {
            segment.span = segment.span.shift(span.start());
            segment
        }));
    }
    heard
}

fn text(segments: &[Segment]) -> String {
    segments
        .iter()
        .map(|segment| segment.text.as_str())
        .collect::<Vec<_>>()
        .join(" ")
}

fn words(text: &str) -> Vec<String> {
    let folded: String = text
        .to_lowercase()
        .chars()
        .map(|letter| match letter {
            '\u{2019}' => '\'',
            letter if letter.is_alphanumeric() || letter == '\'' => letter,
            _ => ' ',
        })
        .collect();
    folded.split_whitespace().map(str::to_owned).collect()
}

/// Words to insert, remove or replace to turn one text into the other.
fn word_errors(heard: &str, said: &str) -> usize {
    let (heard, said) = (words(heard), words(said));
    let mut row: Vec<usize> = (0..=said.len()).collect();
    for (above, word) in heard.iter().enumerate() {
        let mut diagonal = above;
        row[0] = above + 1;
        for (index, expected) in said.iter().enumerate() {
            let replaced = diagonal + usize::from(word != expected);
            diagonal = row[index + 1];
            row[index + 1] = replaced.min(diagonal + 1).min(row[index] + 1);
        }
    }
    row[said.len()]
}

fn cosine(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[test]
fn word_errors_are_counted() {
    assert_eq!(word_errors("It was, the best!", "it was the best"), 0);
    assert_eq!(word_errors("it is the best of", "it was the best"), 2);
    assert_eq!(word_errors("", "it was"), 2);
}

/// Quantised arithmetic differs between processors: where the figures were not measured, two words more may be
/// wrong.
fn room() -> usize {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx512vnni") {
        return 0;
    }
    2
}

#[tokio::test]
async fn readings_are_heard_as_well_as_measured() {
    let transcriber = transcriber(1);
    // Of 119 words of the first, the vendor's own runtime gets seven wrong.
    for (reading, measured) in [("two_cities", 2), ("sensibility", 1)] {
        let said = std::fs::read_to_string(fixture(&format!("texts/{reading}.txt"))).unwrap();
        let heard = text(&hear(&format!("{reading}.flac"), &transcriber).await);
        let errors = word_errors(&heard, &said);
        assert!(
            errors <= measured + room(),
            "{reading}: {errors} errors in {} words: {heard}",
            words(&said).len()
        );
    }
}

#[tokio::test]
async fn segments_lie_where_their_sentences_are_spoken() {
    let transcriber = transcriber(1);
    let times: serde_json::Value =
        serde_json::from_slice(&std::fs::read(fixture("spoken-gettysburg.json")).unwrap()).unwrap();
    let segments = hear("spoken-gettysburg.mp3", &transcriber).await;
    let mut found = 0;
    let sentences = times.as_array().unwrap();
    for sentence in sentences {
        let said = sentence["text"].as_str().unwrap();
        let start = MediaTime::from_seconds_f64(sentence["start"].as_f64().unwrap()).unwrap();
        let end = MediaTime::from_seconds_f64(sentence["end"].as_f64().unwrap()).unwrap();
        let spoken = Span::between(start, end);
        // The segments under a sentence hold most of its words.
        let under: Vec<Segment> = segments
            .iter()
            .filter(|segment| segment.span.overlap(spoken).as_millis() > 300)
            .cloned()
            .collect();
        let heard = words(&text(&under));
        let hits = words(said).iter().filter(|word| heard.contains(word)).count();
        found += usize::from(hits * 2 >= words(said).len());
    }
    assert!(
        found * 10 >= sentences.len() * 8,
        "{found} of {}: {segments:#?}",
        sentences.len()
    );
    assert!(
        segments
            .iter()
            .any(|segment| segment.times == TimeQuality::Measured)
    );
}

#[tokio::test]
async fn the_transcriber_keeps_its_contract() {
    let transcriber = transcriber(2);
    let (_, speech) = parts("two_cities-8s.wav", &transcriber)
        .into_iter()
        .next()
        .unwrap();
    let silence = suite::transcriber::request(&Track::new(SAMPLE_RATE).silence(3_000));
    let case = suite::transcriber::TranscriberCase {
        speech,
        silence,
        words: ["best", "times"].map(str::to_owned).to_vec(),
        repeatable: true,
    };
    suite::transcriber::run(&transcriber, &case).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_run_side_by_side_and_agree() {
    let transcriber = Arc::new(transcriber(2));
    let (_, request) = parts("two_cities-8s.wav", &transcriber)
        .into_iter()
        .next()
        .unwrap();
    let alone = transcriber.transcribe(request.clone()).await.unwrap();
    let together: Vec<_> = (0..4)
        .map(|_| {
            let (transcriber, request) = (Arc::clone(&transcriber), request.clone());
            tokio::spawn(async move { transcriber.transcribe(request).await })
        })
        .collect();
    for response in together {
        assert_eq!(response.await.unwrap().unwrap(), alone);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_call_frees_its_copy() {
    let transcriber = transcriber(1);
    let (_, request) = parts("two_cities.flac", &transcriber).into_iter().next().unwrap();
    let call = transcriber.transcribe(request.clone());
    // Long enough to start, not to finish.
    let timeout = tokio::time::timeout(std::time::Duration::from_millis(30), call).await;
    assert!(timeout.is_err(), "44 seconds of speech in 30 ms");
    // The only permit comes back, and the copy still works.
    let (_, short) = parts("two_cities-8s.wav", &transcriber)
        .into_iter()
        .next()
        .unwrap();
    assert!(
        !transcriber
            .transcribe(short)
            .await
            .unwrap()
            .transcript
            .segments
            .is_empty()
    );
}

#[tokio::test]
async fn the_embedder_keeps_its_contract() {
    suite::embedder::run(&embedder(MiniLmLoad::Thorough)).await;
}

#[tokio::test]
async fn vectors_follow_meaning_and_not_company() {
    let embedder = embedder(MiniLmLoad::Quick);
    let texts: Vec<String> = [
        "The king with a large jaw sat on the throne of England.",
        "A monarch ruled the English realm.",
        "Install the package with the package manager.",
        "a",
    ]
    .map(str::to_owned)
    .to_vec();
    let all = embedder.embed(&texts, InputType::Document).await.unwrap().vectors;
    assert!(cosine(&all[0], &all[1]) > cosine(&all[0], &all[2]) + 0.2);
    let again = embedder.embed(&texts, InputType::Query).await.unwrap().vectors;
    assert_eq!(all, again);
    for (text, vector) in texts.iter().zip(&all) {
        let alone = embedder
            .embed(std::slice::from_ref(text), InputType::Document)
            .await
            .unwrap()
            .vectors;
        assert!(cosine(&alone[0], vector) > 0.9999, "{text}");
    }
    let mut turned = texts.clone();
    turned.reverse();
    let mut back = embedder
        .embed(&turned, InputType::Document)
        .await
        .unwrap()
        .vectors;
    back.reverse();
    for (a, b) in all.iter().zip(&back) {
        assert!(cosine(a, b) > 0.9999);
    }
}

#[tokio::test]
async fn quick_and_thorough_loading_give_the_same_vectors() {
    let text = ["it was the best of times".to_owned()];
    let embedder_of_one = embedder(MiniLmLoad::Quick);
    let quick = embedder_of_one.embed(&text, InputType::Query).await.unwrap();
    let thorough = embedder(MiniLmLoad::Thorough)
        .embed(&text, InputType::Query)
        .await
        .unwrap();
    assert!(cosine(&quick.vectors[0], &thorough.vectors[0]) > 0.9999);
    assert_eq!(quick.usage.input_tokens, 8);
    // Whoever asks again is answered by the network that takes its time to load.
    let again = embedder_of_one.embed(&text, InputType::Query).await.unwrap();
    assert_eq!(again.vectors, thorough.vectors);
}

#[tokio::test]
async fn only_one_library_serves_a_process() {
    let store = store();
    let runtime = Runtime::new(store.runtime().unwrap());
    assert!(runtime.describe().unwrap().contains("ORT"));
    let error = Runtime::new("/elsewhere/libonnxruntime.so").load().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.message().contains("already loaded"), "{error}");
}

#[test]
fn the_store_verifies() {
    let checked = store().verify().unwrap();
    assert!(
        checked.iter().all(|(_, file)| file.state == FileState::Verified),
        "{checked:#?}"
    );
    assert!(checked.len() >= 5);
}
