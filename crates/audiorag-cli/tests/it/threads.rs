//! Conversations.

use crate::world::{SAID, World};
use audiorag::core::ErrorKind;
use audiorag_cli::ExitStatus;
use audiorag_testkit::fake::FakeGenerator;
use std::sync::Arc;

const FIRST: &str = "who objected to the new lighthouse?";

#[tokio::test]
async fn a_follow_up_is_searched_for_with_the_question_before_it() {
    let world = World::library().await;
    let first = world
        .run(&["query", "--json", "--thread", "pier", FIRST])
        .await
        .ok();
    assert_eq!(first.json()["thread"]["wording"], "as_asked");
    let alone = world.run(&["query", "--json", "and where?"]).await.ok().json();
    assert_eq!(alone["abstained"], "weak_evidence");
    assert_eq!(alone["thread"], serde_json::Value::Null);
    let reply = world
        .run(&["query", "--json", "--thread", "pier", "and where?"])
        .await
        .ok()
        .json();
    assert_eq!(reply["thread"]["wording"], "joined");
    assert_eq!(reply["thread"]["turn"], 2);
    assert_eq!(reply["citations"][0]["quote"], SAID[1]);
    // A question that stands alone is not mixed with another one.
    let ferry = "when does the ferry to the islands leave?";
    let reply = world
        .run(&["query", "--json", "--thread", "pier", ferry])
        .await
        .ok()
        .json();
    assert_eq!(reply["citations"][0]["quote"], SAID[2]);
    let explained = world
        .run(&["query", "--explain", "--thread", "pier", "and where?"])
        .await
        .ok();
    assert!(
        explained.stdout.contains("together with the question before it"),
        "{explained:?}"
    );
}

#[tokio::test]
async fn a_generator_makes_a_follow_up_understandable() {
    let mut world = World::library().await;
    world.run(&["query", "--thread", "pier", FIRST]).await.ok();
    let generator = Arc::new(FakeGenerator::saying([
        "who objected to the new lighthouse on the pier [1]?",
    ]));
    world.generator = Some(generator.clone());
    let reply = world
        .run(&["query", "--json", "--thread", "pier", "and where?"])
        .await
        .ok()
        .json();
    assert_eq!(reply["thread"]["wording"], "rewritten");
    assert!(reply["timings_ms"]["rewrite"].is_number(), "{reply}");
    let requests = generator.requests();
    assert!(requests[0].user.contains(FIRST) && requests[0].user.ends_with("and where?"));
    assert!(
        requests[1].question.starts_with("who objected"),
        "{:?}",
        requests[1]
    );
    // One that fails costs the rewriting and nothing else.
    let broken = FakeGenerator::saying(["x"]).breaking_with(ErrorKind::Unavailable);
    world.generator = Some(Arc::new(broken));
    let reply = world
        .run(&["query", "--json", "--thread", "pier", "and where?"])
        .await
        .ok()
        .json();
    assert_eq!(reply["thread"]["wording"], "joined");
    assert_eq!(reply["degraded"], serde_json::json!(["rewrite", "generate"]));
}

#[tokio::test]
async fn conversations_outlive_their_sources_and_can_be_forgotten() {
    let world = World::library().await;
    world
        .run(&["threads", "list"])
        .await
        .ok()
        .says(&["no conversation is kept"]);
    world.run(&["query", "--thread", "pier", FIRST]).await.ok();
    world.run(&["query", "--thread", "pier", "and where?"]).await.ok();
    let listed = world.run(&["threads", "list", "--json"]).await.ok().json();
    assert_eq!(listed["threads"][0]["turns"], 2);
    assert_eq!(listed["threads"][0]["question"], "and where?");
    world.run(&["delete", "--yes", "lighthouse.wav"]).await.ok();
    let shown = world.run(&["threads", "show", "pier"]).await.ok();
    insta::assert_snapshot!("thread", world.stable(&shown.stdout));
    let shown = world
        .run(&["threads", "show", "--json", "pier"])
        .await
        .ok()
        .json();
    let cited = &shown["turns"][0]["citations"][0];
    assert_eq!(
        (&cited["quote"], &cited["source_deleted"]),
        (&SAID[1].into(), &true.into())
    );
    world.run(&["threads", "delete", "pier"]).await.ok();
    for action in ["show", "delete"] {
        world
            .run(&["threads", action, "pier"])
            .await
            .exits(ExitStatus::Usage)
            .says(&["there is no thread 'pier'"]);
    }
    world
        .run(&["query", "--thread", " ", FIRST])
        .await
        .exits(ExitStatus::Usage)
        .says(&["the name of a thread"]);
}
