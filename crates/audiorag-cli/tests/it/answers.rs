//! Answers by a generator: streamed, checked, and chosen on the command line.

use crate::world::{SAID, World};
use audiorag::core::ErrorKind;
use audiorag_testkit::fake::FakeGenerator;
use serde_json::Value;
use std::sync::Arc;

const QUESTION: &str = "who objected to the new lighthouse";

async fn library(generator: FakeGenerator) -> World {
    let mut world = World::library().await;
    world.generator = Some(Arc::new(generator));
    world
}

#[tokio::test]
async fn statements_that_nothing_carries_are_marked() {
    let world = library(FakeGenerator::saying([
        "Nobody objected to the new light",
        "house [1]. The mayor was furious about it [7].",
    ]))
    .await;
    let run = world.run(&["query", QUESTION]).await.ok();
    insta::assert_snapshot!("generated", world.stable(&run.stdout));
    assert_eq!(
        run.stderr,
        "warning: [?] cites no passage: The mayor was furious about it.\n\
         warning: 1 citation named a passage that fake/generator was not given, and is removed\n"
    );
    let answer = world.run(&["query", "--json", QUESTION]).await.ok().json();
    assert_eq!(answer["removed_citations"], 1);
    assert_eq!(
        answer["unsupported"][0]["statement"],
        "The mayor was furious about it."
    );
    assert_eq!(answer["unsupported"][0]["reason"], "uncited");
    assert_eq!(answer["abstained"], Value::Null);
    assert_eq!(answer["citations"][0]["quote"], SAID[1]);
}

#[tokio::test]
async fn a_streamed_answer_ends_as_the_whole_one() {
    let world = library(FakeGenerator::saying([
        "Nobody objec",
        "ted to it [",
        "1] [9",
        "].",
    ]))
    .await;
    let whole = world.run(&["query", QUESTION]).await.ok();
    let streamed = world.run(&["query", "--stream", QUESTION]).await.ok();
    assert_eq!(streamed.stdout, whole.stdout);

    let run = world.run(&["query", "--stream", "--json", QUESTION]).await.ok();
    let events: Vec<Value> = run
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(events[0]["event"], "passages");
    let reply = events.last().unwrap();
    assert_eq!(reply["event"], "reply");
    let pieces: Vec<&str> = events
        .iter()
        .filter(|event| event["event"] == "text")
        .map(|event| event["text"].as_str().unwrap())
        .collect();
    assert!(pieces.len() > 1, "{pieces:?}");
    assert_eq!(pieces.concat(), reply["answer"]);
    assert_eq!(reply["answer"], "Nobody objected to it [1].");
    assert_eq!(reply["citations"][0]["marker"], 1);
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_replaced() {
    let broken = FakeGenerator::saying(["Nobody kn"]).breaking_with(ErrorKind::Unavailable);
    let world = library(broken).await;
    let run = world.run(&["query", "--stream", QUESTION]).await.ok();
    assert!(run.stdout.starts_with("Nobody kn\n"), "{run:?}");
    assert!(run.stdout.contains(&format!("{} [1]\n", SAID[1])), "{run:?}");
    assert!(run.stderr.contains("the answer broke off"), "{run:?}");
}

#[tokio::test]
async fn a_generator_that_finds_nothing_is_believed_and_one_without_evidence_is_not_asked() {
    let generator = Arc::new(FakeGenerator::saying(["[nothing]"]));
    let mut world = World::library().await;
    world.generator = Some(generator.clone());
    let run = world.run(&["query", "--stream", QUESTION]).await.ok();
    assert_eq!(run.stdout, "Nothing in the recordings answers this.\n");
    let answer = world.run(&["query", "--json", QUESTION]).await.ok().json();
    assert_eq!(
        (&answer["abstained"], &answer["answer"]),
        (&"generator".into(), &"".into())
    );
    let asked = generator.requests().len();
    let answer = world
        .run(&["query", "--json", "boiling point of tungsten"])
        .await
        .ok()
        .json();
    assert_eq!(answer["abstained"], "weak_evidence");
    assert_eq!(answer["citations"], serde_json::json!([]));
    assert_eq!(generator.requests().len(), asked, "nothing is sent");
}

#[tokio::test]
async fn who_answers_is_chosen_on_the_command_line() {
    let generator = Arc::new(FakeGenerator::saying(["Nobody [1]."]));
    let mut world = World::library().await;
    world.generator = Some(generator.clone());
    let passages = world.run(&["query", "--generator", "none", QUESTION]).await.ok();
    assert!(
        passages.stdout.contains(SAID[1]) && !passages.stdout.contains("[1]"),
        "{passages:?}"
    );
    let extracted = world
        .run(&["query", "--json", "--generator", "extractive", QUESTION])
        .await
        .ok()
        .json();
    assert_eq!(extracted["model"], "extractive");
    assert_eq!(generator.requests().len(), 0);
    world
        .run(&["query", "--generator", "nobody", QUESTION])
        .await
        .exits(audiorag_cli::ExitStatus::Config)
        .says(&["generation.provider", "nobody"]);
}
