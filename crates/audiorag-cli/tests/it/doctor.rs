//! `audiorag doctor --deep` and `--repair`.

use crate::world::World;
use audiorag_cli::ExitStatus;
use sea_orm::{ConnectionTrait as _, Database};

/// Changes the database behind the program's back.
async fn run(world: &World, statements: &str) {
    let listed = world.run(&["db", "status", "--json"]).await.ok().json();
    let path = listed
        .get("database")
        .and_then(serde_json::Value::as_str)
        .unwrap();
    let connection = Database::connect(format!("sqlite://{path}")).await.unwrap();
    connection
        .execute_unprepared(&format!("PRAGMA foreign_keys = OFF; {statements}"))
        .await
        .unwrap();
    connection.close().await.unwrap();
}

#[tokio::test]
async fn damage_is_told_shown_and_mended() {
    let world = World::library().await;
    let healthy = world.run(&["doctor", "--repair"]).await.ok();
    insta::assert_snapshot!("repair-healthy", world.stable(&healthy.stdout));
    run(
        &world,
        "DELETE FROM vector WHERE id = 1; UPDATE source SET status = 'chunking' WHERE title = 'ferry'",
    )
    .await;
    let before = world.embedder.script().calls();
    let deep = world.run(&["doctor", "--deep"]).await.exits(ExitStatus::State);
    assert!(
        deep.stdout.contains("1 chunk is missing from the vector store")
            && deep.stdout.contains("doctor --repair"),
        "{deep:#?}"
    );
    let dry = world
        .run(&["doctor", "--repair", "--dry-run"])
        .await
        .exits(ExitStatus::State);
    insta::assert_snapshot!("repair-dry-run", world.stable(&dry.stdout));
    let mended = world.run(&["doctor", "--repair"]).await.ok();
    insta::assert_snapshot!("repair-mended", world.stable(&mended.stdout));
    assert_eq!(world.embedder.script().calls(), before, "everything is cached");
    let report = world.run(&["doctor", "--deep", "--json"]).await.ok().json();
    let checks = report["checks"].as_array().unwrap();
    for name in ["file", "I1", "I2", "I3", "I4", "I5", "I6"] {
        let check = checks.iter().find(|check| check["name"] == name).unwrap();
        assert_eq!(check["status"], "ok", "{check}");
    }
}

#[tokio::test]
async fn what_costs_is_asked_for() {
    let mut world = World::library().await;
    run(&world, "DELETE FROM vector; DELETE FROM embedding WHERE id = 1").await;
    let before = world.embedder.script().calls();
    // Nobody can be asked: all but that is mended.
    let partly = world
        .run(&["doctor", "--repair", "--json"])
        .await
        .exits(ExitStatus::State);
    let report = partly.json();
    let left = report["left"].as_array().unwrap();
    assert!(
        left.iter()
            .any(|left| left["problem"] == "embeddings_missing" && left["costs"] == true),
        "{report}"
    );
    assert_eq!(
        (&report["vectors_written"], &report["vectors_computed"]),
        (&2.into(), &0.into()),
        "{report}"
    );
    world.terminals.stdin = true;
    world.terminals.stderr = true;
    let refused = world
        .run_with(&["doctor", "--repair"], "n\n")
        .await
        .exits(ExitStatus::State);
    assert!(
        refused
            .stdout
            .contains("add --yes, or --max-cost with an amount, to pay for it"),
        "{refused:#?}"
    );
    refused.says(&["1 chunk has no usable cached vector", "Pay for this? [y/N]"]);
    assert_eq!(world.embedder.script().calls(), before);
    world.run_with(&["doctor", "--repair"], "y\n").await.ok();
    assert_eq!(world.embedder.script().calls(), before + 1);
    // Nothing is broken now, and nothing is asked.
    world.run(&["doctor", "--repair", "--yes"]).await.ok();
    assert_eq!(world.embedder.script().calls(), before + 1);
}

#[tokio::test]
async fn a_dry_run_is_one_of_a_repair() {
    let world = World::new();
    world
        .run(&["doctor", "--dry-run"])
        .await
        .exits(ExitStatus::Usage)
        .says(&["--repair"]);
}
