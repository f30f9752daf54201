//! Full-text search: questions as people ask them, hostile strings, filters against a plain comparison.

use crate::common::{Scratch, build, chunk, plan};
use audiorag_core::id::{ChunkId, SourceId};
use audiorag_core::model::{Filter, Media, SourceStatus};
use audiorag_core::{MediaTime, Span};
use audiorag_state::{NewChunk, NewSource, Outcome, RevisionFacts, State};
use proptest::prelude::*;
use sea_orm::ConnectionTrait as _;
use std::collections::{BTreeSet, HashMap};

async fn texts(state: &State, query: &str, filter: &Filter) -> Vec<String> {
    let found = state.search_text(query, 50, filter).await.unwrap();
    assert!(found.windows(2).all(|pair| pair[0].1 >= pair[1].1), "best first");
    assert!(found.iter().all(|(_, score)| *score > 0.0));
    let ids: Vec<ChunkId> = found.into_iter().map(|(id, _)| id).collect();
    let hits = state.hits(&ids).await.unwrap();
    ids.iter().map(|id| hits[id].text.clone()).collect()
}

#[tokio::test]
async fn a_question_finds_the_passage_that_answers_it() {
    let scratch = Scratch::new().await;
    scratch
        .publish(
            "/a/tale.mp3",
            &[
                "it was the best of times, it was the worst of times",
                "its noisiest authorities insisted on its being received in the superlative degree of comparison only",
                "there were a king with a large jaw and a queen with a plain face",
            ],
        )
        .await;
    let found = texts(
        &scratch.state,
        "Who had the superlative degree of comparison only?",
        &Filter::default(),
    )
    .await;
    assert!(found[0].contains("superlative"));
    // Stemming, case and accents.
    for query in ["comparisons", "INSISTING authority", "nöisiest"] {
        assert!(
            texts(&scratch.state, query, &Filter::default()).await[0].contains("superlative"),
            "{query}"
        );
    }
    // Only words that say nothing: better than no answer.
    assert!(texts(&scratch.state, "it was the", &Filter::default()).await[0].contains("best of times"));
    for nothing in ["", "  ", "?!", "zebra", "'", "’’"] {
        assert!(
            texts(&scratch.state, nothing, &Filter::default())
                .await
                .is_empty(),
            "{nothing}"
        );
    }
    assert!(
        scratch
            .state
            .search_text("king", 0, &Filter::default())
            .await
            .unwrap()
            .is_empty()
    );
}

#[tokio::test]
async fn words_of_the_header_count_less_than_spoken_ones() {
    let scratch = Scratch::new().await;
    let source = scratch.add("/a/x.mp3").await;
    let lease = scratch.lease(&source.id).await;
    let revision = scratch.state.begin_revision(&lease, &plan("c")).await.unwrap();
    let mut chunks: Vec<NewChunk> = ["nothing here", "the whale sank the ship"]
        .iter()
        .enumerate()
        .map(|(i, text)| chunk(&source.id, revision, i as u32, text))
        .collect();
    chunks[0].chunk.header = Some("Moby Dick or the whale".into());
    let facts = RevisionFacts {
        duration: MediaTime::ZERO,
        language: None,
    };
    scratch
        .state
        .save_chunks(&lease, revision, &facts, &chunks)
        .await
        .unwrap();
    scratch
        .state
        .publish_revision(&lease, revision, SourceStatus::Completed)
        .await
        .unwrap();
    assert_eq!(
        texts(&scratch.state, "whale", &Filter::default()).await,
        ["the whale sank the ship", "nothing here"]
    );
    // The source's id is no word of it.
    assert!(
        texts(&scratch.state, source.id.as_str(), &Filter::default())
            .await
            .is_empty()
    );
}

#[tokio::test]
async fn retired_chunks_do_not_crowd_out_live_ones() {
    let scratch = Scratch::new().await;
    let (source, _) = scratch.publish("/a/x.mp3", &["whale"; 90]).await;
    let lease = scratch.lease(&source.id).await;
    let next = build(
        &scratch.state,
        &lease,
        "next",
        &["a whale of a different kind altogether"],
    )
    .await;
    scratch
        .state
        .publish_revision(&lease, next, SourceStatus::Completed)
        .await
        .unwrap();
    // Ninety better matches are retired and not yet forgotten.
    assert_eq!(
        texts(&scratch.state, "whale", &Filter::default()).await,
        ["a whale of a different kind altogether"]
    );
    let one = scratch
        .state
        .search_text("whale", 1, &Filter::default())
        .await
        .unwrap();
    assert_eq!(one.len(), 1);
}

#[tokio::test]
async fn very_common_words_are_left_out_of_large_collections() {
    let scratch = Scratch::new().await;
    let all: Vec<String> = (0..21_000)
        .map(|number| {
            let rare = if number == 20_500 { "narwhal" } else { "minnow" };
            format!("fish number {number} is a {rare}")
        })
        .collect();
    let ids = published(&scratch, &all).await;
    let found = scratch
        .state
        .search_text("which fish is a narwhal", 10, &Filter::default())
        .await
        .unwrap();
    assert_eq!(found.len(), 1, "the common word would have brought ten");
    assert_eq!(found[0].0, ids[20_500]);
    // Alone, a common word is still answered.
    assert_eq!(
        scratch
            .state
            .search_text("fish", 10, &Filter::default())
            .await
            .unwrap()
            .len(),
        10
    );
}

/// Publishes one source with these texts, and returns their ids.
async fn published(scratch: &Scratch, texts: &[String]) -> Vec<ChunkId> {
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let (_, revision) = scratch.publish("/a/many.mp3", &texts).await;
    let chunks = scratch.state.chunks_of(revision).await.unwrap();
    chunks.into_iter().map(|chunk| chunk.chunk_id).collect()
}

#[tokio::test]
async fn common_words_decide_between_rows_of_rarer_ones() {
    let scratch = Scratch::new().await;
    // Beyond what is scored for one word alone: "river" and "boat" in 1,560 rows each, "water" in 6,240.
    let mut all: Vec<String> = (0..15_600)
        .map(|number| match number % 10 {
            0 => format!("the river has water number {number}"),
            1 => format!("the boat is on water number {number}"),
            2 | 3 => format!("there is nothing but water number {number}"),
            _ => format!("there is nothing but land number {number}"),
        })
        .collect();
    // Of one length, so that nothing but the words decides.
    all[100] = "a heron stood still for some hours over there".into();
    all[200] = "a heron in the water stood still for hours".into();
    all[300] = "a heron by a river in water for hours".into();
    all[400] = "the boat came down the river very very early".into();
    let ids = published(&scratch, &all).await;
    let found = |question: &'static str, filter: Filter| {
        let state = &scratch.state;
        let ids = &ids;
        async move {
            let found = state.search_text(question, 5, &filter).await.unwrap();
            let place = |(id, _): &(ChunkId, f32)| ids.iter().position(|known| known == id).unwrap();
            found.iter().map(place).collect::<Vec<_>>()
        }
    };
    let anywhere = Filter::default;
    assert_eq!(
        found("was the heron in water?", anywhere()).await,
        [200, 300, 100]
    );
    assert_eq!(
        found("a heron, in the river or the water?", anywhere()).await[..3],
        [300, 200, 100]
    );
    // Two words that are not rare, in one row.
    assert_eq!(found("which boat was on the river?", anywhere()).await[0], 400);
    let early = Filter {
        within: Some(Span::from_millis(0, u64::from(u32::MAX))),
        ..Filter::default()
    };
    assert_eq!(
        found("a heron, in the river or the water?", early).await[..3],
        [300, 200, 100]
    );
}

#[test]
fn no_query_is_an_error() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let scratch = runtime.block_on(Scratch::new());
    runtime.block_on(scratch.publish("/a/x.mp3", &["AND OR NOT NEAR text src x"]));
    let queries = prop_oneof![
        any::<String>(),
        "[\"'*():^{}+\\- ]{0,20}",
        "(AND|OR|NOT|NEAR|src|text)( |:|\\(|\\*|\")(AND|NOT|\"|x|\\)){0,4}",
    ];
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(1500));
    runner
        .run(&queries, |query| {
            runtime.block_on(async {
                scratch
                    .state
                    .search_text(&query, 5, &Filter::default())
                    .await
                    .unwrap();
                let hostile = Filter {
                    sources: vec![SourceId::from_stored(query.clone())],
                    speakers: vec![query.clone()],
                    language: Some(query.clone()),
                    after: Some(query.clone()),
                    before: Some(query.clone()),
                    within: None,
                };
                let found = scratch.state.search_text("x", 5, &hostile).await.unwrap();
                assert!(found.is_empty(), "nobody is called {query:?}");
            });
            Ok(())
        })
        .unwrap();
}

/// A chunk and what it can be filtered by.
struct Known {
    chunk: NewChunk,
    source: SourceId,
    language: Option<String>,
    day: String,
}

async fn collection() -> (Scratch, Vec<Known>) {
    let scratch = Scratch::new().await;
    let mut known = Vec::new();
    for (number, (language, date)) in [
        (Some("en"), "2024-05-06"),
        (None, "2025"),
        (Some("de"), "2025-07"),
    ]
    .into_iter()
    .enumerate()
    {
        let new = NewSource {
            media: Some(Media {
                date: Some(date.into()),
                ..Media::default()
            }),
            ..crate::common::new_source(&format!("/a/{number}.mp3"))
        };
        let source = scratch.state.add_source(&new).await.unwrap();
        let lease = scratch.lease(&source.id).await;
        let revision = scratch.state.begin_revision(&lease, &plan("c")).await.unwrap();
        let mut chunks = Vec::new();
        for index in 0..12 {
            let mut new = chunk(&source.id, revision, index, &format!("whale number {index}"));
            new.chunk.speakers = match index % 3 {
                0 => vec![],
                1 => vec!["Ada".into()],
                _ => vec!["Ada".into(), "Bo \"x\"".into()],
            };
            known.push(Known {
                chunk: new.clone(),
                source: source.id.clone(),
                language: language.map(str::to_owned),
                day: ["2024-05-06", "2025-01-01", "2025-07-01"][number].into(),
            });
            chunks.push(new);
        }
        let facts = RevisionFacts {
            duration: MediaTime::from_millis(12_000),
            language: language.map(str::to_owned),
        };
        scratch
            .state
            .save_chunks(&lease, revision, &facts, &chunks)
            .await
            .unwrap();
        scratch
            .state
            .publish_revision(&lease, revision, SourceStatus::Completed)
            .await
            .unwrap();
        scratch.state.release(&lease, &Outcome::Done).await.unwrap();
    }
    (scratch, known)
}

fn passes(filter: &Filter, known: &Known) -> bool {
    let chunk = &known.chunk.chunk;
    (filter.sources.is_empty() || filter.sources.contains(&known.source))
        && (filter.speakers.is_empty() || filter.speakers.iter().any(|name| chunk.speakers.contains(name)))
        && (filter.language.is_none() || filter.language == known.language)
        && filter.after.as_ref().is_none_or(|day| known.day >= *day)
        && filter.before.as_ref().is_none_or(|day| known.day <= *day)
        && filter
            .within
            .is_none_or(|span| span.overlap(chunk.span) > MediaTime::ZERO)
}

#[test]
fn filters_agree_with_a_plain_comparison() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let (scratch, known) = runtime.block_on(collection());
    let sources: Vec<SourceId> = known
        .iter()
        .map(|one| one.source.clone())
        .collect::<BTreeSet<_>>()
        .into_iter()
        .collect();
    let by_id: HashMap<&ChunkId, &Known> = known.iter().map(|one| (&one.chunk.id, one)).collect();
    let days = || {
        prop::option::of(prop::sample::select(vec![
            "2024-05-06",
            "2024-12-31",
            "2025-01-01",
            "2025-07-01",
        ]))
    };
    let filters = (
        prop::collection::vec(prop::sample::select(sources), 0..3),
        prop::collection::vec(prop::sample::select(vec!["Ada", "Bo \"x\"", "Cy"]), 0..3),
        prop::option::of(prop::sample::select(vec!["en", "de", "fr"])),
        days(),
        days(),
        prop::option::of((0u64..13_000, 0u64..13_000)),
    )
        .prop_map(|(sources, speakers, language, after, before, within)| Filter {
            sources,
            speakers: speakers.into_iter().map(str::to_owned).collect(),
            language: language.map(str::to_owned),
            after: after.map(str::to_owned),
            before: before.map(str::to_owned),
            within: within.map(|(a, b)| Span::from_millis(a, b)),
        });
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(150));
    runner
        .run(&filters, |filter| {
            let found = runtime
                .block_on(scratch.state.search_text("whale", 100, &filter))
                .unwrap();
            let found: BTreeSet<&ChunkId> = found
                .iter()
                .map(|(id, _)| by_id.get_key_value(id).map(|(key, _)| *key).unwrap())
                .collect();
            let expected: BTreeSet<&ChunkId> = known
                .iter()
                .filter(|one| passes(&filter, one))
                .map(|one| &one.chunk.id)
                .collect();
            prop_assert_eq!(found, expected);
            Ok(())
        })
        .unwrap();
}

async fn sounds(state: &State, query: &str, filter: &Filter) -> Vec<String> {
    let found = state.search_sounds(query, 50, filter).await.unwrap();
    assert!(found.windows(2).all(|pair| pair[0].1 >= pair[1].1), "best first");
    let ids: Vec<ChunkId> = found.into_iter().map(|(id, _)| id).collect();
    let hits = state.hits(&ids).await.unwrap();
    ids.iter().map(|id| hits[id].text.clone()).collect()
}

#[tokio::test]
async fn misheard_names_and_numbers_are_found_by_their_sound() {
    let scratch = Scratch::new().await;
    let (talk, _) = scratch
        .publish(
            "/a/talk.mp3",
            &[
                "and then chancellor brant resigned in nineteen seventy four",
                "the poet chef chenko wrote about the steppe",
                "nothing of the kind was ever said about the weather",
            ],
        )
        .await;
    let (other, _) = scratch.publish("/a/other.mp3", &["mister brant was late"]).await;
    let all = Filter::default();
    let state = &scratch.state;
    assert_eq!(sounds(state, "When did Brandt resign?", &all).await.len(), 2);
    assert!(sounds(state, "what did Shevchenko write about?", &all).await[0].contains("chenko"));
    assert!(sounds(state, "what happened in 1974?", &all).await[0].contains("seventy four"));
    let within = Filter {
        sources: vec![other.id.clone()],
        ..Filter::default()
    };
    assert_eq!(sounds(state, "Brandt", &within).await, ["mister brant was late"]);
    for nothing in ["", "?", "zebra", "it was the", "\u{0}", "\" OR *", "two"] {
        assert!(sounds(state, nothing, &all).await.is_empty(), "{nothing}");
    }
    assert!(state.search_sounds("Brandt", 0, &all).await.unwrap().is_empty());
    state.delete_source(&talk.id).await.unwrap();
    assert_eq!(sounds(state, "Brandt", &all).await, ["mister brant was late"]);
}

#[tokio::test]
async fn a_question_of_nothing_but_numbers_is_answered() {
    let scratch = Scratch::new().await;
    scratch
        .publish("/a/x.mp3", &["it was in nineteen seventy four"])
        .await;
    // More than a statement may have columns.
    let numbers: Vec<String> = (1974..5000).map(|number| number.to_string()).collect();
    let found = scratch
        .state
        .search_sounds(&numbers.join(" "), 5, &Filter::default())
        .await
        .unwrap();
    assert_eq!(found.len(), 1);
}

#[tokio::test]
async fn merging_leaves_fewer_segments_and_the_same_answers() {
    let scratch = Scratch::new().await;
    for number in 0..11 {
        let text = format!("whale number {number} swims in ocean {}", number % 3);
        scratch.publish(&format!("/a/{number}.mp3"), &[&text]).await;
    }
    let url = format!("sqlite://{}", scratch.path().display());
    let connection = sea_orm::Database::connect(url).await.unwrap();
    let segments = async || {
        let text = "SELECT count(DISTINCT segid) FROM chunk_fts_idx";
        let statement = sea_orm::Statement::from_string(sea_orm::DbBackend::Sqlite, text);
        let row = connection.query_one_raw(statement).await.unwrap().unwrap();
        row.try_get_by_index::<i64>(0).unwrap()
    };
    let (before, found) = (
        segments().await,
        texts(&scratch.state, "ocean whales", &Filter::default()).await,
    );
    assert!(before > 2 && found.len() == 11, "{before} segments");
    scratch.state.merge_segments(&|| true).await.unwrap();
    assert_eq!(segments().await, before, "stopped before it began");
    for _ in 0..2 {
        // Two runs of one process at once: neither takes the other's work for its own and goes on for ever.
        let state = scratch.state.clone();
        let (one, other) = tokio::join!(
            scratch.state.merge_segments(&|| false),
            state.merge_segments(&|| false)
        );
        one.and(other).unwrap();
        assert!(
            segments().await < before.min(4),
            "{} of {before}",
            segments().await
        );
        assert_eq!(
            texts(&scratch.state, "ocean whales", &Filter::default()).await,
            found
        );
    }
    connection.close().await.unwrap();
    let options = audiorag_state::StateOptions {
        read_only: true,
        ..audiorag_state::StateOptions::new(scratch.path())
    };
    let reader = State::open(options).await.unwrap();
    assert!(reader.merge_segments(&|| false).await.is_err());
}
