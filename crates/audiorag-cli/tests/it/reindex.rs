//! `audiorag reindex` and `audiorag gc`.

use crate::world::World;
use audiorag::core::ErrorKind;
use audiorag_cli::ExitStatus;
use audiorag_testkit::fake::HashEmbedder;
use serde_json::Value;
use std::sync::Arc;

/// A machine with two indexed recordings.
async fn indexed() -> World {
    let world = World::new();
    world.record("a.wav", 1);
    world.record("b.wav", 2);
    world.run(&["index", "."]).await.ok();
    world
}

#[tokio::test]
async fn what_and_which_have_to_be_said() {
    let world = indexed().await;
    for wrong in [
        &["reindex", "--rechunk"][..],
        &["reindex", "--all"],
        &["reindex", "a.wav"],
        &["reindex", "--all", "a.wav", "--rechunk"],
        &["reindex", "--all", "--rechunk", "--reembed"],
        &["reindex", "nonesuch", "--rechunk"],
    ] {
        world.run(wrong).await.exits(ExitStatus::Usage);
    }
    let nothing = World::new();
    for command in [&["reindex", "--all", "--rechunk"][..], &["gc"]] {
        nothing
            .run(command)
            .await
            .exits(ExitStatus::Usage)
            .says(&["nothing is indexed yet"]);
    }
}

#[tokio::test]
async fn chunks_are_cut_again_and_a_dry_run_says_how() {
    let mut world = indexed().await;
    let same = world.run(&["reindex", "--all", "--rechunk"]).await.ok();
    assert!(same.stdout.contains("2 skipped"), "{same:?}");
    world
        .sources
        .env
        .insert("AUDIORAG_CHUNK_DURATION_SECONDS".into(), "2".into());
    let before = world.run(&["list", "--json"]).await.ok().stdout;
    let plan = world
        .run(&["reindex", "a.wav", "--rechunk", "--dry-run"])
        .await
        .ok();
    assert!(
        plan.stdout.contains("1 source to make anew, 0 to skip"),
        "{plan:?}"
    );
    assert_eq!(world.run(&["list", "--json"]).await.ok().stdout, before);
    let run = world
        .run(&["reindex", "a.wav", "--rechunk", "--json", "--yes"])
        .await
        .ok();
    let summary = run.events().pop().unwrap();
    assert_eq!(summary["transcribed_parts"], 0, "{summary}");
    assert_eq!(summary["indexed"].as_array().unwrap().len(), 1, "{summary}");
}

#[tokio::test]
async fn transcribing_again_asks_before_it_pays() {
    let mut world = indexed().await;
    let calls = world.transcriber.script().calls();
    world
        .run(&["reindex", "--all", "--retranscribe"])
        .await
        .exits(ExitStatus::Usage)
        .says(&["parts (", "seconds of audio", "nobody can be asked", "--yes"]);
    let plan = world
        .run(&["reindex", "--all", "--retranscribe", "--dry-run", "--json"])
        .await
        .ok();
    let plan: Value = serde_json::from_str(&plan.stdout).unwrap();
    assert_eq!(plan["parts"], calls, "{plan}");
    assert_eq!(plan["is_remote"], true);
    world.terminals.stdin = true;
    world.terminals.stderr = true;
    let refused = world
        .run_with(&["reindex", "--all", "--retranscribe"], "n\n")
        .await
        .ok();
    assert!(refused.stderr.contains("nothing was sent"), "{refused:?}");
    assert_eq!(world.transcriber.script().calls(), calls);
    world
        .run_with(&["reindex", "a.wav", "--retranscribe"], "y\n")
        .await
        .ok();
    let of_one = world.transcriber.script().calls() - calls;
    assert!(of_one > 0 && of_one < calls, "{of_one} of {calls}");
    world.terminals.stdin = false;
    world
        .run(&["reindex", "--all", "--retranscribe", "--yes"])
        .await
        .ok();
    assert_eq!(world.transcriber.script().calls(), 2 * calls + of_one);
}

#[tokio::test]
async fn a_model_is_switched_when_the_last_source_is_ready() {
    let mut world = indexed().await;
    world.embedder = Arc::new(HashEmbedder::named("another", 64));
    world
        .run(&["query", "what?"])
        .await
        .exits(ExitStatus::Config)
        .says(&["audiorag reindex --reembed"]);
    world.embedder.script().fail_nth(2, ErrorKind::Unavailable);
    let run = world
        .run(&["reindex", "--reembed", "--json", "--yes"])
        .await
        .exits(ExitStatus::Partial)
        .says(&["was not switched"]);
    let summary = run.events().pop().unwrap();
    assert_eq!(summary["prepared"].as_array().unwrap().len(), 1, "{summary}");
    assert_eq!(summary["failed"].as_array().unwrap().len(), 1, "{summary}");
    let human = world.run(&["reindex", "--reembed", "--yes"]).await.ok();
    assert!(human.stdout.contains("2 indexed"), "{human:?}");
    world.run(&["query", "what?"]).await.ok();
}

#[tokio::test]
async fn embedding_again_says_what_it_costs_and_asks() {
    let mut world = indexed().await;
    world.write(
        "prices.toml",
        "[price.\"fake/another\"]\nmillion_tokens = 1000\nchecked = \"2026-11-01\"\n",
    );
    world.write("audiorag.toml", "[prices]\nfile = \"prices.toml\"\n");
    world.embedder = Arc::new(HashEmbedder::named("another", 64));
    let plan = world
        .run(&["reindex", "--reembed", "--dry-run", "--json"])
        .await
        .ok()
        .json();
    let cost = plan["cost"].as_f64().unwrap();
    assert!(cost > 0.01 && plan["is_remote"] == true, "{plan}");
    world
        .run(&["reindex", "--reembed"])
        .await
        .exits(ExitStatus::Usage)
        .says(&["to the embedding model again", "at most", "--max-cost"]);
    // A price that is too low stops it before it is exceeded; what was embedded stays for the next run.
    let cap = format!("{:.6}", cost / 2.0);
    let stopped = world
        .run(&["reindex", "--reembed", "--max-cost", &cap])
        .await
        .exits(ExitStatus::Budget);
    assert!(stopped.stdout.contains("this run may cost"), "{stopped:?}");
    // A call's share is set aside before its exact cost is known.
    let cap = format!("{:.6}", cost * 2.0);
    world
        .run(&["reindex", "--reembed", "--max-cost", &cap])
        .await
        .ok();
    world.run(&["query", "what?"]).await.ok();
}

#[tokio::test]
async fn gc_counts_first_and_then_removes() {
    let world = indexed().await;
    world.run(&["delete", "a.wav", "--yes"]).await.ok();
    let kept = world.run(&["gc", "--json"]).await.ok();
    let kept: Value = serde_json::from_str(&kept.stdout).unwrap();
    assert_eq!(
        (&kept["part_transcripts"], &kept["dry_run"]),
        (&0.into(), &false.into())
    );
    let planned = world.run(&["gc", "--older-than", "0s", "--dry-run"]).await.ok();
    assert!(planned.stdout.starts_with("would be removed:"), "{planned:?}");
    let done = world.run(&["gc", "--older-than", "0s"]).await.ok();
    assert_eq!(
        done.stdout,
        planned.stdout.replace("would be removed:", "removed:")
    );
    assert_ne!(
        done.stdout,
        world.run(&["gc", "--older-than", "0s"]).await.ok().stdout
    );
    world
        .run(&["gc", "--older-than", "a while"])
        .await
        .exits(ExitStatus::Config)
        .says(&["30d"]);
}
