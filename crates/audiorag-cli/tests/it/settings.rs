//! `config`, and what wrong settings do to the other commands.

use crate::world::World;
use audiorag_cli::ExitStatus;
use serde_json::Value;

const CANARY: &str = "hf_canary0123456789";

#[tokio::test]
async fn settings_are_shown_with_their_origin_and_without_secrets() {
    let mut world = World::new();
    world.sources.env.insert("HF_TOKEN".to_owned(), CANARY.to_owned());
    world.write("audiorag.toml", "[retrieval]\ntop_k = 4\n");
    let run = world.run(&["config", "show"]).await.ok();
    insta::assert_snapshot!("config-show", world.stable(&run.stdout));
    let json = world.run(&["config", "show", "--json"]).await.ok();
    let settings = json.json();
    let find = |name: &str| {
        let all = settings["settings"].as_array().unwrap();
        all.iter().find(|entry| entry["setting"] == name).unwrap().clone()
    };
    assert_eq!(
        (
            &find("retrieval.top_k")["value"],
            &find("retrieval.top_k")["origin"]
        ),
        (&"4".into(), &"project_file".into())
    );
    assert_eq!(find("models.hf_token")["value"], "***");
    assert!(!run.stdout.contains(CANARY) && !json.stdout.contains(CANARY));
    let docs = world.run(&["config", "docs"]).await.ok();
    assert_eq!(docs.stdout, audiorag::settings::reference_markdown());
}

#[tokio::test]
async fn paths_are_printed_even_when_the_files_are_broken() {
    let world = World::new();
    world.write("audiorag.toml", "this is not TOML");
    let run = world.run(&["config", "path"]).await.ok();
    insta::assert_snapshot!("config-path", world.stable(&run.stdout));
    let files = world.run(&["config", "path", "--json"]).await.ok().json();
    assert_eq!(
        (&files["files"][0]["exists"], &files["files"][1]["exists"]),
        (&true.into(), &false.into())
    );
    world
        .run(&["list"])
        .await
        .exits(ExitStatus::Config)
        .says(&["audiorag.toml line 1 is not TOML"]);
}

#[tokio::test]
async fn everything_wrong_is_told_at_once() {
    let mut world = World::new();
    world
        .sources
        .env
        .insert("AUDIORAG_STT_CONCURRENCY".to_owned(), "many".to_owned());
    world
        .sources
        .env
        .insert("AUDIORAG_STT_MODLE".to_owned(), "x".to_owned());
    world.write("audiorag.toml", "[log]\nvolume = 11\n");
    let run = world.run(&["index", "a.wav"]).await.exits(ExitStatus::Config);
    run.says(&[
        "2 settings cannot be used",
        "AUDIORAG_STT_CONCURRENCY",
        "log.volume",
    ]);
    let run = world
        .run(&["--log-format", "json", "index", "a.wav"])
        .await
        .exits(ExitStatus::Config);
    let line: Value = serde_json::from_str(&run.stderr).unwrap();
    assert_eq!(
        (&line["level"], &line["error"]["kind"]),
        (&"error".into(), &"config".into())
    );
    assert!(!world.root.path().join("data").exists());
    let named = world.write("named.toml", "");
    world.sources.env.remove("AUDIORAG_STT_CONCURRENCY");
    let run = world
        .run(&["--config", named.to_str().unwrap(), "config", "show"])
        .await
        .ok();
    run.says(&["warning: AUDIORAG_STT_MODLE is not a setting"]);
    let quiet = world
        .run(&["-q", "--config", named.to_str().unwrap(), "config", "show"])
        .await
        .ok();
    assert_eq!(quiet.stderr, "");
}
