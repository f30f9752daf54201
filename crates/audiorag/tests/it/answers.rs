//! Answers: extracted and generated, cited, filtered, exported and degraded.

use super::support::{Place, index};
use audiorag::export::{Format, render};
use audiorag::query::QueryOptions;
use audiorag::{AudioRag, ErrorKind};
use audiorag_core::capability::InputType;
use audiorag_core::model::Filter;
use audiorag_testkit::fake::{FakeGenerator, FakeReranker, FakeTranscriber};
use std::sync::Arc;

const TEXTS: [&str; 4] = [
    "The harvest failed in the northern valley.",
    "Marigold the cat sleeps on the warm windowsill.",
    "The committee postponed the bridge inspection until Thursday.",
    "Copper prices doubled during the winter.",
];

/// One recording whose four stretches of speech say [`TEXTS`].
async fn talk(place: &Place) -> AudioRag {
    let file = place.speech("talk.wav", 4, 1);
    let audiorag = place.open().await;
    let report = index(&audiorag, &[&file]).await;
    assert_eq!(report.indexed.len(), 1, "{report:?}");
    audiorag
}

fn place() -> Place {
    let mut place = Place::with(FakeTranscriber::saying(TEXTS));
    place.set(audiorag::settings::Key::ChunkDurationSeconds, "3");
    place.set(audiorag::settings::Key::SttConcurrency, "1");
    place
}

#[tokio::test]
async fn an_extracted_answer_is_the_sentence_with_its_time() {
    let place = place();
    let audiorag = talk(&place).await;
    let reply = audiorag
        .query("when is the bridge inspection?", QueryOptions::default())
        .await
        .unwrap();
    let citation = &reply.answer.citations[0];
    // The fake may lay one text over two stretches of speech.
    assert!(TEXTS[2].contains(&citation.quote), "{}", citation.quote);
    assert!(
        reply.answer.text.starts_with(&citation.quote),
        "{}",
        reply.answer.text
    );
    assert!(
        citation.link.starts_with("file:///") && citation.link.contains("#t="),
        "{}",
        citation.link
    );

    // The citation, the transcript and the subtitles agree to the millisecond.
    let source = audiorag
        .state()
        .source(&citation.source_id)
        .await
        .unwrap()
        .unwrap();
    let transcript = audiorag.transcript(&source).await.unwrap();
    let segment = transcript
        .segments
        .iter()
        .find(|s| s.text == citation.quote)
        .unwrap();
    assert_eq!(segment.span, citation.span);
    let srt = render(Format::Srt, &source, &transcript);
    let start = citation.span.start().to_subtitle(',');
    assert!(
        srt.contains(&format!(
            "{start} --> {}\n{}",
            citation.span.end().to_subtitle(','),
            citation.quote
        )),
        "{srt}"
    );
}

#[tokio::test]
async fn what_nobody_said_is_not_answered() {
    let place = place();
    let audiorag = talk(&place).await;
    let reply = audiorag
        .query("zebra quantum xylophone?", QueryOptions::default())
        .await
        .unwrap();
    assert!(!reply.answer.is_found(), "{:?}", reply.answer);
    assert!(reply.answer.text.is_empty());
}

#[tokio::test]
async fn a_generated_answer_keeps_only_citations_it_was_given() {
    let mut place = place();
    let audiorag = talk(&place).await;
    drop(audiorag);
    let generator = Arc::new(FakeGenerator::saying([
        "On Thursday [1]",
        ", says the moon [42].",
    ]));
    let mut providers = place.providers();
    providers.generator = Some(generator.clone());
    place.set(audiorag::settings::Key::RetrievalTopK, "2");
    let audiorag = AudioRag::builder(place.settings())
        .with_providers(providers)
        .open()
        .await
        .unwrap();
    let reply = audiorag
        .query("when is the bridge inspection?", QueryOptions::default())
        .await
        .unwrap();
    assert_eq!(reply.answer.text, "On Thursday [1], says the moon.");
    assert_eq!(reply.answer.citations.len(), 1);
    let prompt = &generator.requests()[0];
    assert!(
        prompt.user.starts_with("[1]\n<")
            && prompt.user.contains("\ntalk, ")
            && prompt.user.contains("bridge"),
        "{}",
        prompt.user
    );
    assert!(reply.answer.degraded.is_empty());
}

#[tokio::test]
async fn a_failing_generator_or_reranker_degrades_and_says_so() {
    let place = place();
    drop(talk(&place).await);
    let reranker = Arc::new(FakeReranker::new());
    reranker.script().go_down(ErrorKind::Unavailable);
    let mut providers = place.providers();
    providers.generator = Some(Arc::new(
        FakeGenerator::saying(["x"]).breaking_with(ErrorKind::Unavailable),
    ));
    providers.reranker = Some(reranker);
    let audiorag = AudioRag::builder(place.settings())
        .with_providers(providers)
        .open()
        .await
        .unwrap();
    let reply = audiorag
        .query("when is the bridge inspection?", QueryOptions::default())
        .await
        .unwrap();
    assert_eq!(reply.answer.degraded, ["rerank", "generate"]);
    assert!(TEXTS[2].contains(&reply.answer.citations[0].quote));
}

#[tokio::test]
async fn a_reranker_has_the_last_word_on_the_order() {
    let place = place();
    drop(talk(&place).await);
    let mut providers = place.providers();
    providers.reranker = Some(Arc::new(FakeReranker::new()));
    let audiorag = AudioRag::builder(place.settings())
        .with_providers(providers)
        .open()
        .await
        .unwrap();
    let hits = audiorag
        .search("copper prices", QueryOptions::default())
        .await
        .unwrap()
        .hits;
    assert!(hits[0].scores.rerank.is_some());
    assert!(TEXTS[3].contains(&hits[0].text), "{}", hits[0].text);
}

#[tokio::test]
async fn a_sentence_is_embedded_once_however_often_it_is_looked_at() {
    let place = place();
    let audiorag = talk(&place).await;
    let embedded = || {
        let batches = place.embedder.batches();
        let sentences = batches.iter().filter(|(input, _)| *input == InputType::Document);
        sentences.map(|(_, texts)| texts.len()).sum::<usize>()
    };
    let before = embedded();
    let first = audiorag
        .query("copper prices", QueryOptions::default())
        .await
        .unwrap();
    let after_first = embedded();
    assert!(after_first > before);
    let again = audiorag
        .query("copper prices", QueryOptions::default())
        .await
        .unwrap();
    assert_eq!(again.answer.text, first.answer.text);
    assert_eq!(embedded(), after_first);
}

#[tokio::test]
async fn search_honours_top_k_and_filters() {
    let place = place();
    let audiorag = talk(&place).await;
    let options = QueryOptions {
        top_k: Some(2),
        ..QueryOptions::default()
    };
    assert_eq!(audiorag.search("harvest", options).await.unwrap().hits.len(), 2);
    let filter = Filter {
        sources: vec![audiorag_core::id::SourceId::from_stored("nobody")],
        ..Filter::default()
    };
    let options = QueryOptions {
        filter,
        ..QueryOptions::default()
    };
    assert!(audiorag.search("harvest", options).await.unwrap().hits.is_empty());
}

#[tokio::test]
async fn questions_that_are_none_are_refused() {
    let place = place();
    let audiorag = place.open().await;
    for question in ["", "  \n", &"x".repeat(100_000)] {
        let error = audiorag
            .query(question, QueryOptions::default())
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Input);
    }
    // Nothing is indexed: found nothing, and no model was asked.
    assert!(
        audiorag
            .search("anything", QueryOptions::default())
            .await
            .unwrap()
            .hits
            .is_empty()
    );
    assert_eq!(place.embedder.script().calls(), 0);
}

#[tokio::test]
async fn every_export_format_holds_every_sentence() {
    let place = place();
    let audiorag = talk(&place).await;
    let source = audiorag.state().list_sources().await.unwrap().remove(0);
    let transcript = audiorag.transcript(&source).await.unwrap();
    for format in Format::ALL {
        let text = render(format, &source, &transcript);
        for sentence in TEXTS {
            assert!(text.contains(sentence), "{format:?} lacks {sentence}: {text}");
        }
        assert_eq!(Format::parse(format.extension()).unwrap(), format);
    }
    let json: serde_json::Value = serde_json::from_str(&render(Format::Json, &source, &transcript)).unwrap();
    assert_eq!(json["segments"].as_array().unwrap().len(), 4);
    assert_eq!(Format::parse("docx").unwrap_err().kind(), ErrorKind::Input);
}

#[tokio::test]
async fn the_doctor_finds_a_store_that_was_emptied_behind_our_back() {
    let mut place = place();
    let store = Arc::new(audiorag_testkit::fake::MemoryVectorStore::new());
    place.store = Some(Arc::clone(&store));
    let audiorag = talk(&place).await;
    let status = |checks: &[audiorag::doctor::Check], name: &str| {
        checks
            .iter()
            .find(|check| check.name == name)
            .unwrap()
            .status
            .as_str()
    };
    let checks = audiorag.doctor(true).await;
    assert!(
        checks.iter().all(|check| check.status.as_str() == "ok"),
        "{checks:?}"
    );
    use audiorag_core::capability::{Selector, VectorStore as _};
    store.delete(&Selector::All).await.unwrap();
    let checks = audiorag.doctor(true).await;
    assert_eq!(status(&checks, "I1"), "fail");
    place.transcriber.script().go_down(ErrorKind::Auth);
    assert_eq!(status(&audiorag.doctor(false).await, "speech-to-text"), "fail");
}
