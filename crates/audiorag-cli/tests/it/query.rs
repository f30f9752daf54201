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
