//! What is found for a question: by sound, with its neighbours, over several sources.

use super::support::{Place, index};
use audiorag::AudioRag;
use audiorag::core::model::{Filter, Hit};
use audiorag::core::{MediaTime, Span};
use audiorag::query::QueryOptions;
use audiorag::settings::Key;
use std::fmt::Write as _;
use std::path::PathBuf;

/// A recording that says these sentences, each in ten seconds.
fn recording(place: &Place, name: &str, sentences: &[&str]) -> PathBuf {
    let path = place.speech(name, sentences.len() as u64 * 3, 1);
    let mut captions = String::new();
    for (number, sentence) in sentences.iter().enumerate() {
        let (start, end) = (number * 9, number * 9 + 9);
        let _ = write!(
            captions,
            "{}\n00:00:{start:02},000 --> 00:00:{end:02},000\n{sentence}\n\n",
            number + 1
        );
    }
    place.write(&name.replace(".wav", ".srt"), captions.as_bytes());
    path
}

/// A place whose chunks are sentences, and where nobody writes answers.
fn place() -> Place {
    let mut place = Place::new();
    place.set(Key::ChunkDurationSeconds, "9");
    place.set(Key::GenerationProvider, "none");
    place
}

async fn search(audiorag: &AudioRag, question: &str, filter: Filter) -> Vec<Hit> {
    let options = QueryOptions {
        filter,
        ..QueryOptions::default()
    };
    audiorag.search(question, options).await.unwrap().hits
}

const TALK: [&str; 5] = [
    "Good evening and welcome to the programme.",
    "It was then that chancellor brant resigned over a spy.",
    "The garden needs water in the summer.",
    "Trains were late again on the northern line.",
    "In nineteen seventy four the price of oil doubled.",
];

#[tokio::test]
async fn a_misheard_name_is_found_by_its_sound_and_a_year_however_it_is_written() {
    let mut place = place();
    let path = recording(&place, "talk.wav", &TALK);
    {
        let audiorag = place.open().await;
        index(&audiorag, &[&path]).await;
        let hits = search(&audiorag, "Brandt", Filter::default()).await;
        assert!(hits[0].text.contains("brant"), "{hits:?}");
        assert_eq!(hits[0].scores.ranks.sound, Some(1));
        assert!(hits[0].scores.sound.is_some_and(|score| score > 0.8));
        assert_eq!(hits[0].scores.lexical, None, "the word itself is not there");
        let year = search(&audiorag, "1974", Filter::default()).await;
        assert!(year[0].text.contains("seventy four"), "{year:?}");
    }
    place.set(Key::RetrievalSounds, "false");
    let audiorag = place.open().await;
    let hits = search(&audiorag, "Brandt", Filter::default()).await;
    assert!(hits.iter().all(|hit| hit.scores.sound.is_none()), "{hits:?}");
}

#[tokio::test]
async fn a_search_for_words_alone_does_not_miss_the_vectors() {
    let mut place = place();
    let path = recording(&place, "talk.wav", &TALK);
    for mode in ["lexical", "dense", "hybrid"] {
        place.set(Key::RetrievalMode, mode);
        let audiorag = place.open().await;
        index(&audiorag, &[&path]).await;
        let found = audiorag
            .search("garden water", QueryOptions::default())
            .await
            .unwrap();
        assert_eq!(found.hits[0].text, TALK[2], "{mode}");
        assert_eq!(found.degraded, Vec::<String>::new(), "{mode}");
        let nothing = audiorag.search("qwertz", QueryOptions::default()).await.unwrap();
        assert_eq!(nothing.degraded, Vec::<String>::new(), "{mode}");
    }
}

#[tokio::test]
async fn a_reranker_leaves_as_many_passages_as_it_is_told_to() {
    let mut place = place();
    let path = recording(&place, "talk.wav", &TALK);
    place.set(Key::RerankerTopN, "2");
    let count = async |audiorag: &AudioRag, top_k| {
        let options = QueryOptions {
            top_k,
            ..QueryOptions::default()
        };
        audiorag.search("garden water", options).await.unwrap().hits.len()
    };
    {
        let audiorag = place.open().await;
        index(&audiorag, &[&path]).await;
        assert_eq!(count(&audiorag, None).await, 5, "nothing is ordered");
    }
    place.set(Key::RerankerProvider, "sentences");
    let audiorag = place.open().await;
    assert_eq!(count(&audiorag, None).await, 2);
    assert_eq!(
        count(&audiorag, Some(4)).await,
        4,
        "what a question asks for goes before"
    );
}

#[tokio::test]
async fn neighbours_are_read_with_a_hit_when_asked_for() {
    let mut place = place();
    let path = recording(&place, "talk.wav", &TALK);
    let options = || QueryOptions {
        top_k: Some(1),
        ..QueryOptions::default()
    };
    let question = "garden water summer";
    {
        let audiorag = place.open().await;
        index(&audiorag, &[&path]).await;
        let alone = audiorag.query(question, options()).await.unwrap().answer.passages;
        assert_eq!(alone.len(), 1);
        assert_eq!(alone[0].text, TALK[2]);
    }
    place.set(Key::RetrievalNeighbours, "1");
    let audiorag = place.open().await;
    let read = audiorag.query(question, options()).await.unwrap().answer.passages;
    assert_eq!(read.len(), 1);
    assert_eq!(read[0].text, TALK[1..4].join(" "));
    assert_eq!(
        read[0].span,
        Span::between(MediaTime::from_seconds(9), MediaTime::from_seconds(36))
    );
    assert!(read[0].scores.fused > 0.0, "those of the hit");
}

#[tokio::test]
async fn neighbours_are_read_with_a_hit_where_chunks_overlap_as_well() {
    let mut place = place();
    place.set(Key::ChunkDurationSeconds, "19");
    place.set(Key::ChunkOverlapSeconds, "9");
    let path = recording(&place, "talk.wav", &TALK);
    let options = || QueryOptions {
        top_k: Some(1),
        ..QueryOptions::default()
    };
    let question = "chancellor garden water summer";
    let alone = {
        let audiorag = place.open().await;
        index(&audiorag, &[&path]).await;
        let alone = audiorag.query(question, options()).await.unwrap().answer.passages;
        assert_eq!(alone[0].text, TALK[1..3].join(" "));
        alone[0].scores
    };
    place.set(Key::RetrievalNeighbours, "1");
    let audiorag = place.open().await;
    let read = audiorag.query(question, options()).await.unwrap().answer.passages;
    assert_eq!(read.len(), 1);
    assert_eq!(read[0].text, TALK[..4].join(" "));
    assert_eq!(read[0].scores, alone);
}

#[tokio::test]
async fn one_source_does_not_take_all_the_places_when_asked_not_to() {
    let mut place = place();
    let many = recording(
        &place,
        "many.wav",
        &[
            "The whale was seen.",
            "The whale was heard.",
            "The whale was gone.",
        ],
    );
    let one = recording(
        &place,
        "one.wav",
        &["Nobody had expected that any whale at all would ever come here."],
    );
    let options = |filter| QueryOptions {
        top_k: Some(2),
        filter,
        ..QueryOptions::default()
    };
    let sources = |hits: &[Hit]| -> Vec<String> { hits.iter().map(|hit| hit.title.clone()).collect() };
    {
        let audiorag = place.open().await;
        index(&audiorag, &[&many, &one]).await;
        let hits = audiorag
            .search("the whale was", options(Filter::default()))
            .await
            .unwrap()
            .hits;
        assert_eq!(sources(&hits), ["many", "many"]);
    }
    place.set(Key::RetrievalPerSource, "1");
    let audiorag = place.open().await;
    let hits = audiorag
        .search("the whale was", options(Filter::default()))
        .await
        .unwrap()
        .hits;
    assert_eq!(sources(&hits), ["many", "one"]);
    // Whoever asks about one source gets what it has.
    let within = Filter {
        sources: vec![hits[0].source_id.clone()],
        ..Filter::default()
    };
    let hits = audiorag
        .search("the whale was", options(within))
        .await
        .unwrap()
        .hits;
    assert_eq!(sources(&hits), ["many", "many"]);
}

#[tokio::test]
async fn a_span_of_time_restricts_what_is_found_in_every_search() {
    let place = place();
    let path = recording(&place, "talk.wav", &TALK);
    let audiorag = place.open().await;
    index(&audiorag, &[&path]).await;
    let filter = Filter {
        within: Some(Span::between(
            MediaTime::from_seconds(20),
            MediaTime::from_seconds(30),
        )),
        ..Filter::default()
    };
    for question in ["Brandt", "garden", "1974"] {
        let hits = search(&audiorag, question, filter.clone()).await;
        for hit in &hits {
            assert!(
                hit.span.start() < MediaTime::from_seconds(30),
                "{question}: {hit:?}"
            );
            assert!(
                hit.span.end() > MediaTime::from_seconds(20),
                "{question}: {hit:?}"
            );
        }
    }
}

#[tokio::test]
async fn chunks_end_where_the_subject_changes_when_asked_to_and_nothing_is_embedded_twice() {
    let mut place = place();
    place.set(Key::ChunkDurationSeconds, "45");
    place.set(Key::ChunkStrategy, "semantic");
    let path = recording(
        &place,
        "talk.wav",
        &[
            "The whale swam in the sea.",
            "The whale and the sea were calm.",
            "In the sea the whale swam.",
            "Bread needs flour and yeast.",
            "Flour, yeast and water make bread.",
            "Bread of flour and yeast.",
        ],
    );
    let audiorag = place.open().await;
    let report = index(&audiorag, &[&path]).await;
    assert_eq!(report.indexed.len(), 1, "{report:?}");
    let hits = search(&audiorag, "whale bread", Filter::default()).await;
    let mut texts: Vec<&str> = hits.iter().map(|hit| hit.text.as_str()).collect();
    texts.sort_unstable();
    assert_eq!(texts.len(), 2, "{texts:?}");
    assert!(
        texts[0].starts_with("Bread needs") && texts[1].ends_with("the whale swam."),
        "{texts:?}"
    );

    let texts = place.embedder.script().calls();
    let again = super::support::index_with(
        &audiorag,
        &[&path],
        audiorag::index::IndexOptions {
            force: true,
            ..audiorag::index::IndexOptions::default()
        },
    )
    .await;
    assert_eq!(again.indexed.len(), 1, "{again:?}");
    assert_eq!(place.embedder.script().calls(), texts, "every vector was stored");
}

#[tokio::test]
async fn the_sentence_that_says_it_lifts_the_passage_it_stands_in() {
    let mut place = Place::new();
    place.set(Key::ChunkDurationSeconds, "60");
    place.set(Key::GenerationProvider, "none");
    let said = recording(&place, "said.wav", &TALK);
    // The question's words as well, in fewer others, and nothing that is about them together.
    let scattered = recording(
        &place,
        "scattered.wav",
        &["The garden is shut.", "Nobody needs tickets.", "Drink water."],
    );
    let question = "garden needs water";
    {
        let audiorag = place.open().await;
        index(&audiorag, &[&said, &scattered]).await;
        let hits = search(&audiorag, question, Filter::default()).await;
        assert_eq!(hits[0].title, "scattered", "{hits:?}");
        assert_eq!(hits[0].scores.rerank, None);
    }
    place.set(Key::RerankerProvider, "sentences");
    let audiorag = place.open().await;
    let hits = search(&audiorag, question, Filter::default()).await;
    assert_eq!(hits[0].title, "said", "{hits:?}");
    assert!(hits[0].scores.rerank > hits[1].scores.rerank, "{hits:?}");
}
