//! `audiorag speakers`, and the transcripts that most of them come from.

use crate::world::World;
use audiorag_cli::ExitStatus;

const SUBTITLES: &str = "1\n00:00:00,600 --> 00:00:02,000\nAda: The harbour is closed.\n\n\
                         2\n00:00:02,500 --> 00:00:04,000\nspeaker 2: Since when?\n";

/// A machine with a recording and its subtitles, indexed.
async fn indexed() -> World {
    let world = World::new();
    world.record("talk.wav", 1);
    world.write("talk.srt", SUBTITLES);
    let plan = world.run(&["index", "talk.wav", "--plan"]).await.ok();
    assert!(plan.stdout.contains("transcript given: talk.srt"), "{plan:?}");
    assert!(plan.stdout.contains("00:00 to transcribe"), "{plan:?}");
    let run = world.run(&["index", "talk.wav"]).await.ok();
    assert!(run.stdout.contains("transcript given: talk.srt"), "{run:?}");
    assert_eq!(world.transcriber.script().calls(), 0);
    world
}

#[tokio::test]
async fn transcripts_are_used_as_the_flags_say() {
    let world = indexed().await;
    let run = world.run(&["index", "talk.wav", "--json", "--force"]).await.ok();
    assert_eq!(
        run.events().last().unwrap()["indexed"][0]["transcript"],
        "talk.srt"
    );
    world.write(
        "words.vtt",
        "WEBVTT\n\n00:01.000 --> 00:02.000\nFrom elsewhere.\n",
    );
    let named = ["index", "talk.wav", "--transcript-file", "words.vtt"];
    world.run(&named).await.ok();
    let text = world.run(&["export", "talk.wav", "-f", "txt"]).await.ok();
    assert_eq!(text.stdout, "From elsewhere.\n");
    world.record("bare.wav", 2);
    world
        .run(&["index", "bare.wav", "--transcript", "only"])
        .await
        .exits(ExitStatus::Partial);
    assert_eq!(world.transcriber.script().calls(), 0);
    world
        .run(&["index", "talk.wav", "--transcript", "never"])
        .await
        .ok();
    assert!(world.transcriber.script().calls() > 0);
    for wrong in [
        &["index", "talk.wav", "--transcript", "maybe"][..],
        &["index", "talk.wav", "bare.wav", "--transcript-file", "words.vtt"],
    ] {
        world.run(wrong).await.exits(ExitStatus::Usage);
    }
}

#[tokio::test]
async fn speakers_are_listed_renamed_and_merged() {
    let world = indexed().await;
    let list = world.run(&["speakers", "list"]).await.ok();
    assert!(
        list.stdout.starts_with("Ada  ") && list.stdout.contains("\nspeaker 2  "),
        "{list:?}"
    );
    assert!(list.stdout.contains("00:01 in 1 segment"), "{list:?}");
    world
        .run(&["speakers", "rename", "talk.wav", "speaker 2", "Grace"])
        .await
        .ok();
    let speakers = world
        .run(&["speakers", "list", "talk.wav", "--json"])
        .await
        .ok()
        .json();
    assert_eq!(speakers["speakers"][1]["name"], "Grace");
    assert_eq!(speakers["speakers"][1]["labels"][0], "speaker 2");
    let found = world
        .run(&["search", "since when", "--speaker", "Grace", "--json"])
        .await
        .ok()
        .json();
    assert!(
        found["hits"][0]["speakers"].to_string().contains("Grace"),
        "{found}"
    );
    world
        .run(&["speakers", "rename", "--all", "Grace", "Grace H."])
        .await
        .ok();
    let text = world.run(&["export", "talk.wav", "-f", "srt"]).await.ok().stdout;
    assert!(text.contains("Grace H.: Since when?"), "{text}");
    let merge = [
        "speakers", "merge", "talk.wav", "Ada", "Grace H.", "--into", "Both",
    ];
    let merged = world.run(&merge).await.ok();
    assert!(merged.stdout.contains("1 indexed"), "{merged:?}");
    let list = world.run(&["speakers", "list"]).await.ok().stdout;
    assert!(list.contains("was Ada, speaker 2"), "{list}");
    for wrong in [
        &["speakers", "rename", "talk.wav", "nobody", "x"][..],
        &["speakers", "rename", "talk.wav", "Both"],
        &["speakers", "rename", "--all", "a", "b", "c"],
        &["speakers", "rename", "--all", "speaker 1", "x"],
        &["speakers", "merge", "talk.wav", "--into", "x"],
        &["speakers", "list", "nonesuch"],
    ] {
        let run = world.run(wrong).await.exits(ExitStatus::Usage);
        assert!(run.stderr.contains("hint"), "{run:?}");
    }
    assert_eq!(world.transcriber.script().calls(), 0);
}
