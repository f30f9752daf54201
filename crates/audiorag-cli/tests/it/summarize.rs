//! Summaries of single recordings.

use crate::world::{SAID, World};
use audiorag::core::ErrorKind;
use audiorag_testkit::fake::FakeGenerator;
use std::fmt::Write as _;
use std::sync::Arc;

/// A recording of eleven minutes about two things, with the transcript that came with it.
async fn long_talk() -> World {
    let world = World::new();
    let audio = audiorag_testkit::synth::Track::new(16_000)
        .speech(2_000, 1)
        .silence(658_000);
    let path = world.write("talk.wav", audio.to_wav());
    let mut srt = String::new();
    for number in 0..66 {
        let (from, to) = (number * 10, number * 10 + 9);
        let said = match number {
            0..30 => format!("Bees in the garden make honey, case {number}."),
            _ => format!("Ships in the harbour carry copper, case {number}."),
        };
        let clock = |seconds: u32| format!("00:{:02}:{:02},000", seconds / 60, seconds % 60);
        let _ = write!(
            srt,
            "{}\n{} --> {}\n{said}\n\n",
            number + 1,
            clock(from),
            clock(to)
        );
    }
    world.write("talk.srt", srt);
    world.run(&["index", path.to_str().unwrap()]).await.ok();
    world
}

#[tokio::test]
async fn every_five_minutes_get_their_own_sentences_with_times() {
    let world = long_talk().await;
    let summary = world.run(&["summarize", "--json", "talk.wav"]).await.ok().json();
    assert_eq!(summary["extractive"], true);
    let sections = summary["sections"].as_array().unwrap();
    assert_eq!(sections.len(), 3, "{summary}");
    for (section, about) in sections.iter().zip(["Bees", "Ships", "Ships"]) {
        let (start, end) = (
            section["start"].as_f64().unwrap(),
            section["end"].as_f64().unwrap(),
        );
        assert!(start < end && end - start <= 300.0, "{section}");
        let citations = section["citations"].as_array().unwrap();
        assert_eq!(citations.len(), 2);
        for citation in citations {
            assert!(
                citation["quote"].as_str().unwrap().starts_with(about),
                "{section}"
            );
            assert!(
                section["text"]
                    .as_str()
                    .unwrap()
                    .contains(citation["quote"].as_str().unwrap())
            );
            let at = citation["start"].as_f64().unwrap();
            assert!((start..end).contains(&at), "{section}");
        }
    }
    let shown = world.run(&["summarize", "talk.wav"]).await.ok();
    assert!(shown.stderr.contains("no generator wrote this"), "{shown:?}");
    assert!(shown.stdout.contains("talk.wav#t="), "{shown:?}");
}

#[tokio::test]
async fn a_generator_sees_one_section_at_a_time_and_is_bound_to_it() {
    let mut world = long_talk().await;
    let generator = Arc::new(FakeGenerator::saying([
        "Ships carry copper [1]. Pirates came [4].",
    ]));
    world.generator = Some(generator.clone());
    let summary = world.run(&["summarize", "--json", "talk.wav"]).await.ok().json();
    assert_eq!(summary["extractive"], false);
    assert_eq!(generator.requests().len(), 3);
    assert!(
        generator
            .requests()
            .iter()
            .all(|request| request.documents.len() == 1)
    );
    let last = &summary["sections"][2];
    assert_eq!(last["removed_citations"], 1);
    assert_eq!(last["unsupported"][0]["statement"], "Pirates came.");
    assert!(
        last["citations"][0]["quote"]
            .as_str()
            .unwrap()
            .starts_with("Ships")
    );
    // One that fails is asked once, and the sentences of the recording stand in.
    let broken = Arc::new(FakeGenerator::saying(["x"]).breaking_with(ErrorKind::Unavailable));
    world.generator = Some(broken.clone());
    let run = world.run(&["summarize", "talk.wav"]).await.ok();
    assert!(run.stdout.contains("Bees in the garden"), "{run:?}");
    assert!(run.stderr.contains("'generate', which failed"), "{run:?}");
    assert_eq!(broken.requests().len(), 1);
}

#[tokio::test]
async fn a_short_recording_is_one_section() {
    let world = World::library().await;
    let run = world.run(&["summarize", "ferry.wav"]).await.ok();
    assert!(run.stdout.contains(SAID[2]), "{run:?}");
    world
        .run(&["summarize", "nowhere.wav"])
        .await
        .exits(audiorag_cli::ExitStatus::Usage)
        .says(&["nowhere.wav"]);
}
