//! `index --plan`, `index --max-cost` and `cost`: money before, while and after it is spent.

use crate::world::World;
use audiorag_cli::ExitStatus;

/// A dollar for ten seconds of speech; embedding has no known price.
fn world() -> World {
    let world = World::new();
    world.write(
        "prices.toml",
        "[price.\"fake/transcriber\"]\naudio_minute = 6\nchecked = \"2026-11-01\"\n",
    );
    world.write("audiorag.toml", "[prices]\nfile = \"prices.toml\"\n");
    world
}

#[tokio::test]
async fn a_plan_for_people_and_for_programs() {
    let world = world();
    world.record("talks/a.wav", 1);
    world.write("talks/broken.mp3", "this is a letter");
    let plan = world
        .run(&["index", "--plan", "talks"])
        .await
        .exits(ExitStatus::Partial);
    insta::assert_snapshot!("plan", world.stable(&plan.stdout));
    let plan = world
        .run(&["index", "--plan", "--json", "talks"])
        .await
        .exits(ExitStatus::Partial)
        .json();
    let source = &plan["sources"][0];
    assert!(
        source["transcribe"]["needed"]["cost"].as_f64().unwrap() > 0.1,
        "{plan}"
    );
    assert!(
        source["embed"]["needed"]["cost"].is_null() && plan["cost"].is_null(),
        "{plan}"
    );
    assert_eq!(plan["failed"][0]["kind"], "input");
    assert_eq!(world.transcriber.script().calls(), 0);
    world.run(&["index", "talks/a.wav"]).await.ok();
    let plan = world
        .run(&["index", "--plan", "--force", "talks/a.wav"])
        .await
        .ok();
    insta::assert_snapshot!("plan-stored", world.stable(&plan.stdout));
}

#[tokio::test]
async fn what_was_spent_for_people_and_for_programs() {
    let world = world();
    world
        .run(&["cost"])
        .await
        .exits(ExitStatus::Usage)
        .says(&["nothing is indexed yet"]);
    world.record("a.wav", 1);
    world.run(&["index", "a.wav"]).await.ok();
    let cost = world.run(&["cost"]).await.ok();
    insta::assert_snapshot!("cost", world.stable(&cost.stdout));
    let cost = world.run(&["cost", "--by", "source", "--json"]).await.ok().json();
    let group = &cost["groups"][0];
    assert!(group["group"].as_str().unwrap().ends_with("a.wav"), "{cost}");
    assert_eq!(
        (&group["calls"], &group["unpriced"], &group["open"]),
        (&2.into(), &1.into(), &0.into())
    );
    assert_eq!(group["used"]["cost"], cost["cost"]);
    let later = world.run(&["cost", "--since", "2999-01-01"]).await.ok();
    assert_eq!(later.stdout, "");
    world
        .run(&["cost", "--since", "yesterday"])
        .await
        .exits(ExitStatus::Usage)
        .says(&["--since yesterday is not a day", "2026-03-31"]);
    let prices = world.run(&["cost", "--prices", "--json"]).await.ok().json();
    assert_eq!(prices["prices"]["fake/transcriber"]["audio_minute"], 6.0);
}

#[tokio::test]
async fn a_cap_needs_prices_and_an_amount() {
    let world = world();
    world.record("a.wav", 1);
    world
        .run(&["index", "--max-cost", "5", "a.wav"])
        .await
        .exits(ExitStatus::Config)
        .says(&["no price is known of fake/", "AUDIORAG_PRICES_FILE"]);
    world
        .run(&["index", "--max-cost", "much", "a.wav"])
        .await
        .exits(ExitStatus::Usage)
        .says(&["expected US dollars"]);
    world.write(
        "prices.toml",
        "[price.\"fake/transcriber\"]\naudio_minute = 6\n[price.\"fake/hash-embedder\"]\nmillion_tokens = 1\n",
    );
    let capped = world.run(&["index", "--max-cost", "$0.01", "a.wav"]).await;
    let capped = capped.exits(ExitStatus::Budget);
    for words in ["may cost $0.01 at most", "a higher --max-cost"] {
        assert!(capped.stdout.contains(words), "{}", capped.stdout);
    }
    assert_eq!(world.transcriber.script().calls(), 0);
    world.write("prices.toml", "[price.nonsense]\n");
    world
        .run(&["index", "a.wav"])
        .await
        .exits(ExitStatus::Config)
        .says(&["prices.toml", "wrong entry 'nonsense'"]);
}
