//! The other commands.

use crate::world::World;
use audiorag_cli::ExitStatus;
#[cfg(feature = "local")]
use audiorag_testkit::http::{Reply, Server};

#[tokio::test]
async fn sources_are_listed_shown_and_counted() {
    let world = World::library().await;
    world.write("broken.mp3", "this is a letter");
    world
        .run(&["index", "broken.mp3"])
        .await
        .exits(ExitStatus::Partial);
    insta::assert_snapshot!("list", world.stable(&world.run(&["list"]).await.ok().stdout));
    insta::assert_snapshot!(
        "list-json",
        world.stable(&world.run(&["list", "--json"]).await.ok().stdout)
    );
    insta::assert_snapshot!(
        "show",
        world.stable(&world.run(&["show", "budget.wav"]).await.ok().stdout)
    );
    insta::assert_snapshot!(
        "show-json",
        world.stable(&world.run(&["show", "--json", "budget.wav"]).await.ok().stdout)
    );
    insta::assert_snapshot!(
        "show-failed",
        world.stable(&world.run(&["show", "broken.mp3"]).await.ok().stdout)
    );
    insta::assert_snapshot!("status", world.stable(&world.run(&["status"]).await.ok().stdout));
    let one = world.run(&["status", "ferry.wav"]).await.ok();
    assert!(
        one.stdout.contains("completed") && !one.stdout.contains("in all"),
        "{one:?}"
    );
    let status = world.run(&["status", "--json"]).await.ok().json();
    assert_eq!(
        (&status["counts"]["completed"], &status["counts"]["failed"]),
        (&3.into(), &1.into()),
        "{status}"
    );
    world
        .run(&["show", "nosuch.wav"])
        .await
        .exits(ExitStatus::Usage)
        .says(&["nosuch.wav"]);
}

#[tokio::test]
async fn sources_are_named_in_every_way() {
    let world = World::library().await;
    let path = world.path("budget.wav");
    let shown = world.run(&["show", "--json", "budget.wav"]).await.ok().json();
    let id = shown["source_id"].as_str().unwrap();
    let uri = format!("file://{}", path.display());
    for name in [
        id,
        id.get(..8).unwrap(),
        path.to_str().unwrap(),
        uri.as_str(),
        "./budget.wav",
    ] {
        assert_eq!(
            world.run(&["show", "--json", name]).await.ok().json(),
            shown,
            "{name}"
        );
    }
    world
        .run(&["show", "file:///nosuch.wav"])
        .await
        .exits(ExitStatus::Usage);
}

#[tokio::test]
async fn transcripts_are_exported() {
    let world = World::library().await;
    for format in ["srt", "vtt", "txt", "md", "tsv"] {
        let run = world.run(&["export", "budget.wav", "-f", format]).await.ok();
        insta::assert_snapshot!(format!("export-{format}"), run.stdout);
    }
    let json = world
        .run(&["export", "budget.wav", "-f", "json"])
        .await
        .ok()
        .json();
    assert_eq!(json["segments"].as_array().unwrap().len(), 1, "{json}");
    // Two sources of one title do not overwrite each other.
    world.record("other/budget.wav", 9);
    world.run(&["index", "other"]).await.ok();
    let args = [
        "export",
        "budget.wav",
        "other/budget.wav",
        "ferry.wav",
        "-f",
        "srt",
        "-o",
        "out",
    ];
    let run = world.run(&args).await.ok();
    assert_eq!(
        (run.stdout.as_str(), run.stderr.lines().count()),
        ("", 3),
        "{run:?}"
    );
    assert_eq!(std::fs::read_dir(world.path("out")).unwrap().count(), 3);
    world.write("file", "");
    let args = ["export", "budget.wav", "-f", "srt", "-o", "file"];
    world
        .run(&args)
        .await
        .exits(ExitStatus::State)
        .says(&["cannot write"]);
    world.write("broken.mp3", "this is a letter");
    world
        .run(&["index", "broken.mp3"])
        .await
        .exits(ExitStatus::Partial);
    world
        .run(&["export", "broken.mp3", "-f", "srt"])
        .await
        .exits(ExitStatus::Usage)
        .says(&["no transcript yet"]);
}

#[tokio::test]
async fn deleting_asks_first() {
    let mut world = World::library().await;
    world
        .run(&["delete", "budget.wav"])
        .await
        .exits(ExitStatus::Usage)
        .says(&["add --yes"]);
    world.terminals.stdin = true;
    world.terminals.stderr = true;
    let run = world
        .run_with(&["--color", "never", "delete", "budget.wav", "budget.wav"], "\n")
        .await
        .ok();
    run.says(&[
        "Remove 1 source from the index? The recordings stay. [y/N]",
        "nothing was removed",
    ]);
    world
        .run_with(&["delete", "budget.wav"], "y\n")
        .await
        .ok()
        .says(&["removed "]);
    assert!(world.path("budget.wav").is_file());
    let run = world.run(&["delete", "--yes", "--json", "ferry.wav"]).await.ok();
    assert_eq!(run.json()["deleted"].as_array().unwrap().len(), 1);
    let left = world.run(&["list", "--json"]).await.ok().json();
    assert_eq!(left["sources"].as_array().unwrap().len(), 1);
    world.run(&["delete", "--yes", "lighthouse.wav"]).await.ok();
    world.run(&["list"]).await.ok().says(&["nothing is indexed yet"]);
}

#[tokio::test]
async fn the_cache_is_measured_and_cleared() {
    let world = World::library().await;
    world.run(&["delete", "--yes", "budget.wav"]).await.ok();
    let info = world.run(&["cache", "info", "--json"]).await.ok().json();
    assert_eq!(
        (&info["part_transcripts"], &info["unused_part_transcripts"]),
        (&3.into(), &1.into()),
        "{info}"
    );
    let shown = world.run(&["cache", "info"]).await.ok();
    assert!(
        shown.stdout.contains("transcripts") && shown.stdout.contains("UNUSED"),
        "{shown:?}"
    );
    let cleared = world
        .run(&["cache", "clear", "--embeddings", "--json"])
        .await
        .ok()
        .json();
    assert_eq!(
        (&cleared["part_transcripts"], &cleared["embeddings"]),
        (&0.into(), &1.into()),
        "{cleared}"
    );
    let cleared = world.run(&["cache", "clear", "--transcripts"]).await.ok();
    assert!(
        cleared.stdout.contains("removed 1 transcript and 0 embeddings"),
        "{cleared:?}"
    );
    let nothing = world.run(&["cache", "clear"]).await.ok();
    assert!(nothing.stdout.contains("removed 0 transcripts"), "{nothing:?}");
}

#[tokio::test]
async fn the_schema_goes_up_and_down() {
    let mut world = World::new();
    let fresh = world.run(&["db", "status"]).await.ok();
    insta::assert_snapshot!("db-fresh", world.stable(&fresh.stdout));
    let migrated = world.run(&["db", "migrate", "--json"]).await.ok().json();
    assert_eq!(migrated["pending"].as_array().unwrap().len(), 0, "{migrated}");
    world
        .run(&["db", "rollback"])
        .await
        .exits(ExitStatus::Usage)
        .says(&["add --yes"]);
    world.terminals.stdin = true;
    world.terminals.stderr = true;
    world
        .run_with(&["db", "rollback"], "no\n")
        .await
        .ok()
        .says(&["nothing was changed"]);
    let run = world.run_with(&["db", "rollback", "--json"], "yes\n").await.ok();
    assert_eq!(run.json()["pending"].as_array().unwrap().len(), 1, "{run:?}");
    world.write("letter.db", "dear aunt\n".repeat(1000));
    world
        .run(&["--database-url", "letter.db", "list"])
        .await
        .exits(ExitStatus::State)
        .says(&["letter.db"]);
}

#[tokio::test]
async fn the_doctor_reports_every_check() {
    let world = World::library().await;
    let run = world.run(&["doctor", "--deep"]).await.ok();
    assert!(
        run.stdout.contains("speech-to-text") && run.stdout.contains("embeddings"),
        "{run:?}"
    );
    world
        .transcriber
        .script()
        .go_down(audiorag::ErrorKind::Unavailable);
    let run = world.run(&["doctor", "--json"]).await.exits(ExitStatus::Config);
    let checks = run.json();
    assert!(
        checks["checks"]
            .as_array()
            .unwrap()
            .iter()
            .any(|check| check["status"] == "fail"),
        "{checks}"
    );
}

#[cfg(feature = "local")]
#[tokio::test]
async fn the_doctor_misses_models() {
    let run = World::without_fakes()
        .run(&["doctor"])
        .await
        .exits(ExitStatus::Config);
    assert!(run.stdout.contains("hint: run `audiorag models pull`"), "{run:?}");
}

#[cfg(feature = "local")]
#[tokio::test]
async fn models_that_are_not_there() {
    let world = World::without_fakes();
    let dir = world.root.path().join("data/audiorag/models");
    let run = world.run(&["models", "path"]).await.ok();
    assert_eq!(run.stdout.trim_end(), dir.to_str().unwrap());
    assert_eq!(
        world.run(&["models", "path", "--json"]).await.ok().json()["dir"],
        dir.to_str().unwrap()
    );
    let list = world.run(&["models", "list"]).await.ok();
    assert!(
        list.stdout.contains("moonshine-tiny-en") && list.stdout.contains("absent"),
        "{list:?}"
    );
    let json = world.run(&["models", "list", "--json"]).await.ok().json();
    assert_eq!(json["models"][0]["installed"], false, "{json}");
    let run = world
        .run(&["models", "verify"])
        .await
        .exits(ExitStatus::Config)
        .says(&["audiorag models pull"]);
    assert!(run.stdout.contains("missing"), "{run:?}");
    let run = world
        .run(&["models", "verify", "--json"])
        .await
        .exits(ExitStatus::Config);
    assert_eq!(run.json()["files"][0]["state"], "missing", "{run:?}");
    let error: serde_json::Value = serde_json::from_str(&run.stderr).unwrap();
    assert_eq!(error["error"]["kind"], "config");
    world
        .run(&["models", "pull", "--offline"])
        .await
        .exits(ExitStatus::Config);
}

/// A machine that gets its models from a hub on the loopback interface, where every file is `a network`.
#[cfg(feature = "local")]
async fn with_hub() -> (World, Server) {
    const SHA256: &str = "2f782beca6c497e09ee1b67bd6a1202048f19e97f7e1364a58d415ce7b3ecd9e";
    let server = Server::answering(|_, _| {
        Reply::status(200)
            .with_header("etag", format!("\"{SHA256}\""))
            .with_header("x-repo-commit", "c0ffee")
            .with_body("a network")
    })
    .await;
    let mut world = World::without_fakes();
    let library = world.write("libonnxruntime.so", "a library");
    for (name, value) in [
        ("HF_ENDPOINT", server.url("")),
        ("AUDIORAG_MODELS_ROUTE", "hub".to_owned()),
        ("ORT_DYLIB_PATH", library.display().to_string()),
    ] {
        world.sources.env.insert(name.to_owned(), value);
    }
    (world, server)
}

#[cfg(feature = "local")]
#[tokio::test]
async fn models_are_fetched_checked_and_kept() {
    let (world, server) = with_hub().await;
    let run = world.run(&["models", "pull"]).await.ok();
    assert!(run.stdout.contains("fetched  moonshine-tiny-en-hub"), "{run:?}");
    let requests = server.requests().len();
    let again = world.run(&["models", "pull", "--json"]).await.ok().json();
    assert_eq!(
        (
            again["fetched"].as_array().unwrap().len(),
            again["present"].as_array().unwrap().len()
        ),
        (0, 2)
    );
    assert_eq!(server.requests().len(), requests);
    let run = world.run(&["models", "verify"]).await.ok();
    assert!(run.stdout.contains("verified"), "{run:?}");
    let run = world.run(&["models", "list"]).await.ok();
    assert!(run.stdout.contains("in use"), "{run:?}");
    let damaged = world
        .root
        .path()
        .join("data/audiorag/models/all-MiniLM-L6-v2/model.onnx");
    std::fs::write(damaged, "a netwerk").unwrap();
    let run = world.run(&["models", "verify"]).await.exits(ExitStatus::Config);
    assert!(
        run.stdout.contains("damaged") && run.stdout.contains("model.onnx"),
        "{run:?}"
    );
}

#[cfg(feature = "local")]
#[tokio::test]
async fn the_first_index_fetches_when_it_may() {
    let (mut world, server) = with_hub().await;
    world.record("a.wav", 1);
    // What is fetched here is no model: the run fails where it would be used, after everything was fetched.
    let run = world.run(&["index", "--yes", "a.wav"]).await;
    assert_ne!(run.status, ExitStatus::Success, "{run:?}");
    run.says(&["checked model.onnx"]);
    let (other, _server) = with_hub().await;
    other.record("a.wav", 1);
    world = other;
    world.terminals.stdin = true;
    world.terminals.stderr = true;
    let run = world
        .run_with(&["--no-progress", "index", "a.wav"], "yes\n")
        .await;
    run.says(&["Fetch them now, once (", "checked model.onnx"]);
    assert!(!server.requests().is_empty());
}

#[cfg(feature = "local")]
#[tokio::test]
async fn the_hub_is_asked_as_often_as_the_settings_say() {
    let mut asked = Vec::new();
    for attempts in ["1", "3"] {
        let (mut world, _) = with_hub().await;
        let down = Server::answering(|_, _| Reply::status(503)).await;
        world.sources.env.insert("HF_ENDPOINT".to_owned(), down.url(""));
        for (name, value) in [
            ("AUDIORAG_RETRY_MAX_ATTEMPTS", attempts),
            ("AUDIORAG_RETRY_FIRST_WAIT_SECONDS", "0"),
        ] {
            world.sources.env.insert(name.to_owned(), value.to_owned());
        }
        world.run(&["models", "pull"]).await.exits(ExitStatus::State);
        asked.push(down.requests().len());
    }
    assert!(asked[0] > 0);
    assert_eq!(asked[1], 3 * asked[0]);
}
