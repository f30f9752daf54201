//! `query` and `search`.

use crate::world::{SAID, World};
use audiorag_cli::ExitStatus;

#[tokio::test]
async fn an_answer_with_its_citations_for_people() {
    let world = World::library().await;
    let run = world
        .run(&["query", "who objected to the new lighthouse"])
        .await
        .ok();
    insta::assert_snapshot!("query", world.stable(&run.stdout));
    assert_eq!(run.stderr, "");
    let piped = world
        .run_with(&["query", "-"], "who objected to the new lighthouse\n")
        .await
        .ok();
    assert_eq!(piped.stdout, run.stdout);
    let piped = world
        .run_with(&["query"], "who objected to the new lighthouse")
        .await
        .ok();
    assert_eq!(piped.stdout, run.stdout);
}

#[tokio::test]
async fn an_answer_for_programs() {
    let world = World::library().await;
    let run = world
        .run(&["query", "--json", "who objected to the new lighthouse"])
        .await
        .ok();
    let answer = run.json();
    for field in [
        "operation_id",
        "answer",
        "citations",
        "passages",
        "degraded",
        "timings_ms",
        "model",
    ] {
        assert!(answer.get(field).is_some(), "{field}");
    }
    let citation = &answer["citations"][0];
    for field in [
        "marker",
        "source_id",
        "title",
        "locator",
        "start",
        "end",
        "quote",
        "link",
        "speakers",
        "score",
        "estimated_times",
    ] {
        assert!(citation.get(field).is_some(), "{field} in {citation}");
    }
    assert_eq!(citation["quote"], SAID[1]);
    assert!(citation["start"].as_f64().unwrap() < citation["end"].as_f64().unwrap());
    assert!(citation["link"].as_str().unwrap().contains("lighthouse.wav#t="));
    assert!(answer["timings_ms"]["search"].is_number(), "{answer}");
}

#[tokio::test]
async fn passages_for_people_and_programs() {
    let world = World::library().await;
    let run = world
        .run(&["search", "--top-k", "1", "ferry to the islands"])
        .await
        .ok();
    insta::assert_snapshot!("search", world.stable(&run.stdout));
    let hits = world
        .run(&["search", "--json", "ferry to the islands"])
        .await
        .ok()
        .json();
    let hit = &hits["hits"][0];
    for field in ["chunk_id", "source_id", "title", "start", "end", "text", "scores"] {
        assert!(hit.get(field).is_some(), "{field} in {hit}");
    }
    assert_eq!(hit["text"], SAID[2]);
    assert!(hit["scores"]["dense"].is_number(), "{hit}");
}

#[tokio::test]
async fn restrictions_hold() {
    let world = World::library().await;
    let only = world
        .run(&["search", "--json", "--source", "budget.wav", "ferry"])
        .await
        .ok()
        .json();
    for hit in only["hits"].as_array().unwrap() {
        assert_eq!(hit["title"], "budget");
    }
    let none = world
        .run(&["search", "--speaker", "nobody", "ferry"])
        .await
        .ok()
        .says(&["nothing was found"]);
    assert_eq!(none.stdout, "");
    world
        .run(&["search", "--after", "soon", "x"])
        .await
        .exits(ExitStatus::Usage)
        .says(&["--after soon"]);
    world
        .run(&["search", "--source", "zzz", "x"])
        .await
        .exits(ExitStatus::Usage)
        .says(&["zzz"]);
    world
        .run(&["search", "--top-k", "0", "x"])
        .await
        .exits(ExitStatus::Config)
        .says(&["retrieval.top_k"]);
    world
        .run(&["query", "  "])
        .await
        .exits(ExitStatus::Usage)
        .says(&["the question is empty"]);
    world
        .run_with(&["query"], vec![0xFF, 0xFE])
        .await
        .exits(ExitStatus::Usage)
        .says(&["standard input is not UTF-8"]);
}

/// A recording with tags, and beside it what is said in it.
fn tagged(world: &World, name: &str, tags: &[(&[u8; 4], &str)], transcript: (&str, &str)) -> String {
    let path = world.record(&format!("{name}.wav"), name.len() as u64);
    let mut list = b"INFO".to_vec();
    for (tag, text) in tags {
        list.extend(*tag);
        list.extend((text.len() as u32).to_le_bytes());
        list.extend(text.as_bytes());
        list.extend(vec![0; text.len() % 2]);
    }
    let mut content = std::fs::read(&path).unwrap();
    content.extend(b"LIST");
    content.extend((list.len() as u32).to_le_bytes());
    content.extend(list);
    let size = (content.len() as u32 - 8).to_le_bytes();
    content.get_mut(4..8).unwrap().copy_from_slice(&size);
    std::fs::write(&path, content).unwrap();
    let (language, said) = transcript;
    world.write(&format!("{name}.{language}.vtt"), format!("WEBVTT\n\n{said}"));
    path.to_str().unwrap().to_owned()
}

/// Two recordings in different languages, of different days, one of them with two speakers.
async fn filtered() -> World {
    let mut world = World::new();
    world
        .sources
        .env
        .insert("AUDIORAG_CHUNK_DURATION_SECONDS".to_owned(), "2".to_owned());
    let harbour = tagged(
        &world,
        "harbour",
        &[(b"INAM", "Harbour News"), (b"ICRD", "2024-03-05")],
        (
            "en-US",
            "00:00.500 --> 00:02.500\n<v Ann>The ferry leaves at seven.\n\n\
             00:02.500 --> 00:04.500\n<v Ben>The ferry was late again.\n",
        ),
    );
    let nachrichten = tagged(
        &world,
        "nachrichten",
        &[(b"INAM", "Nachrichten"), (b"ICRD", "2026-01-02")],
        (
            "de",
            "00:00.500 --> 00:02.500\n<v Cem>Die Ferry, sagt man, ging unter.\n",
        ),
    );
    world.run(&["index", &harbour, &nachrichten]).await.ok();
    world
}

#[tokio::test]
async fn every_filter_leaves_what_it_names() {
    let mut world = filtered().await;
    let ann = "The ferry leaves at seven.";
    let ben = "The ferry was late again.";
    let cem = "Die Ferry, sagt man, ging unter.";
    for (filter, left) in [
        (vec![], vec![ann, ben, cem]),
        (vec!["--title", "harbour"], vec![ann, ben]),
        (vec!["--title", "NACHRICHT"], vec![cem]),
        (vec!["--within", "0:00-0:02"], vec![ann, cem]),
        (vec!["--within", "0:03-0:04"], vec![ben]),
        (vec!["--after", "2025-01-01"], vec![cem]),
        (vec!["--before", "2025-01-01"], vec![ann, ben]),
        (
            vec!["--after", "2024-03-05", "--before", "2024-03-05"],
            vec![ann, ben],
        ),
        (vec!["--after", "2027-01-01"], vec![]),
        (vec!["--language", "en"], vec![ann, ben]),
        (vec!["--language", "eng"], vec![ann, ben]),
        (vec!["--language", "en-GB"], vec![ann, ben]),
        (vec!["--language", "deu"], vec![cem]),
        (vec!["--language", "fr"], vec![]),
        (vec!["--speaker", "Ben"], vec![ben]),
        (vec!["--speaker", "Ben", "--speaker", "Cem"], vec![ben, cem]),
        (vec!["--speaker", "Ben", "--language", "de"], vec![]),
    ] {
        for mode in ["hybrid", "dense", "lexical"] {
            world
                .sources
                .env
                .insert("AUDIORAG_RETRIEVAL_MODE".to_owned(), mode.to_owned());
            let args = [&["search", "--json"][..], &filter, &["ferry"]].concat();
            let found = world.run(&args).await.ok().json();
            let mut texts: Vec<&str> = found["hits"]
                .as_array()
                .unwrap()
                .iter()
                .map(|hit| hit["text"].as_str().unwrap())
                .collect();
            texts.sort_unstable();
            let mut left = left.clone();
            left.sort_unstable();
            assert_eq!(texts, left, "{filter:?} {mode}");
        }
    }
}

#[tokio::test]
async fn a_search_explains_where_each_hit_comes_from() {
    let world = filtered().await;
    let explained = world
        .run(&["search", "--explain", "--speaker", "Ben", "late ferry"])
        .await
        .ok();
    let line = explained.stdout.lines().last().unwrap();
    for part in ["meaning #1 (", "words #1 (", "sound -", "fused 0."] {
        assert!(line.contains(part), "{part} in {line}");
    }
    let plain = world
        .run(&["search", "--speaker", "Ben", "late ferry"])
        .await
        .ok();
    assert!(!plain.stdout.contains("fused"), "{}", plain.stdout);
}

#[tokio::test]
async fn without_a_generator_the_passages_are_the_answer() {
    let mut world = World::library().await;
    world
        .sources
        .env
        .insert("AUDIORAG_GENERATION_PROVIDER".to_owned(), "none".to_owned());
    let run = world.run(&["query", "ferry to the islands"]).await.ok();
    assert!(run.stdout.contains(SAID[2]), "{run:?}");
}

#[tokio::test]
async fn what_is_not_there_is_not_answered() {
    let world = World::library().await;
    let run = world.run(&["query", "boiling point of tungsten"]).await.ok();
    assert!(run.stdout.to_lowercase().contains("nothing"), "{run:?}");
}

#[tokio::test]
async fn an_empty_index_says_so() {
    let world = World::new();
    for args in [
        &["query", "x"][..],
        &["search", "x"],
        &["list"],
        &["status"],
        &["show", "x"],
        &["cache", "info"],
    ] {
        world
            .run(args)
            .await
            .exits(ExitStatus::Usage)
            .says(&["nothing is indexed yet", "audiorag index PATH"]);
    }
}
