//! Summaries of single recordings.

use crate::world::{SAID, World};
use audiorag::core::ErrorKind;
use audiorag_testkit::fake::FakeGenerator;
use std::fmt::Write as _;
use std::sync::Arc;

/// A recording of eleven minutes about two things, with the transcript that came with it.
async fn long_talk() -> World {
    talk(66).await
}

/// A recording in which something is said every ten seconds, so many times.
async fn talk(sentences: u32) -> World {
    let world = World::new();
    let audio = audiorag_testkit::synth::Track::new(16_000)
        .speech(2_000, 1)
        .silence(u64::from(sentences) * 10_000 - 2_000);
    let path = world.write("talk.wav", audio.to_wav());
    let mut srt = String::new();
    for number in 0..sentences {
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
    // The overview takes from every section, in the order of the recording.
    let overview = &summary["overview"];
    assert_eq!(overview["model"], "extractive");
    let starts: Vec<f64> = overview["citations"]
        .as_array()
        .unwrap()
        .iter()
        .map(|citation| citation["start"].as_f64().unwrap())
        .collect();
    assert_eq!(starts.len(), 5, "{overview}");
    assert!(
        starts.is_sorted() && starts[0] < 300.0 && starts[4] > 500.0,
        "{starts:?}"
    );
    assert!(overview["text"].as_str().unwrap().contains("Bees"));
    let shown = world.run(&["summarize", "talk.wav"]).await.ok();
    assert!(shown.stdout.starts_with("Overview  "), "{shown:?}");
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
    // One for each section, and one for all of them.
    let shown: Vec<usize> = generator
        .requests()
        .iter()
        .map(|request| request.documents.len())
        .collect();
    assert_eq!(shown, [1, 1, 1, 3]);
    let last = generator.requests().pop().unwrap();
    assert!(
        last.user.contains("Ships carry copper. Pirates came.\n"),
        "{}",
        last.user
    );
    assert!(
        last.question.contains("in the language of the passages"),
        "{}",
        last.question
    );
    let overview = &summary["overview"];
    assert_eq!(overview["removed_citations"], 1);
    // The first section is about bees: what it says of ships is bound to what was heard in it, and doubted.
    let cited = &overview["citations"][0];
    assert!(cited["quote"].as_str().unwrap().starts_with("Bees"), "{overview}");
    assert!(cited["start"].as_f64().unwrap() < 300.0, "{overview}");
    assert_eq!(overview["unsupported"].as_array().unwrap().len(), 2, "{overview}");
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
    // One that fails in the end leaves its sections, and the overview is made of what was said.
    let tired = Arc::new(FakeGenerator::saying(["Ships carry copper [1]."]));
    tired.script().fail_from(4, ErrorKind::Unavailable);
    world.generator = Some(tired);
    let run = world.run(&["summarize", "talk.wav"]).await.ok();
    assert!(run.stderr.contains("no generator wrote the overview"), "{run:?}");
    assert!(run.stdout.contains("Ships carry copper"), "{run:?}");
    let (overview, _) = run.stdout.split_once("\n\n").unwrap();
    assert!(overview.contains("Bees in the garden") && overview.contains("Ships in the harbour"));
}

#[tokio::test]
async fn what_a_generator_cannot_read_at_once_is_summarized_in_steps() {
    let mut world = talk(260).await;
    let context = 2_000;
    let generator = Arc::new(
        FakeGenerator::saying(["Ships carry copper [1]. Bees make honey [2]."]).with_context(context),
    );
    world.generator = Some(generator.clone());
    let summary = world
        .run(&["summarize", "--json", "--language", "de", "talk.wav"])
        .await
        .ok()
        .json();
    let sections = summary["sections"].as_array().unwrap().len();
    let requests = generator.requests();
    let shown: Vec<usize> = requests.iter().map(|request| request.documents.len()).collect();
    assert!(sections >= 9, "{sections}");
    assert!(shown[..sections].iter().all(|count| *count == 1), "{shown:?}");
    // Groups of neighbours, and at last what came of them: every section once.
    let groups = &shown[sections..shown.len() - 1];
    assert!(groups.len() >= 2, "{shown:?}");
    assert_eq!(groups.iter().sum::<usize>(), sections, "{shown:?}");
    assert_eq!(*shown.last().unwrap(), groups.len(), "{shown:?}");
    for request in &requests {
        let prompt = (request.system.len() + request.user.len()).div_ceil(3);
        assert!(
            prompt + request.max_output_tokens as usize <= context,
            "{request:?}"
        );
        assert!(
            request.question.ends_with("the language with the code 'de'."),
            "{request:?}"
        );
    }
    // After two steps each citation is still what was said, when it was said.
    let citations = summary["overview"]["citations"].as_array().unwrap();
    assert_eq!(citations.len(), 2, "{summary}");
    for citation in citations {
        let quote = citation["quote"].as_str().unwrap();
        let cases: Vec<i64> = quote
            .split([' ', '.'])
            .filter_map(|word| word.parse().ok())
            .collect();
        let (first, last) = (cases.first().unwrap(), cases.last().unwrap());
        let seconds = |name: &str| citation[name].as_f64().map(|seconds| seconds.round() as i64);
        assert_eq!(seconds("start"), Some(first * 10), "{citation}");
        assert_eq!(seconds("end"), Some(last * 10 + 9), "{citation}");
    }
    world
        .run(&["summarize", "--language", "no [tag]", "talk.wav"])
        .await
        .exits(audiorag_cli::ExitStatus::Usage)
        .says(&["no language tag"]);
}

#[tokio::test]
async fn a_short_recording_is_one_section() {
    let world = World::library().await;
    let run = world.run(&["summarize", "ferry.wav"]).await.ok();
    assert!(
        run.stdout.contains(SAID[2]) && !run.stdout.contains("Overview"),
        "{run:?}"
    );
    let run = world.run(&["summarize", "--json", "ferry.wav"]).await.ok();
    assert_eq!(run.json()["overview"]["text"], run.json()["sections"][0]["text"]);
    world
        .run(&["summarize", "nowhere.wav"])
        .await
        .exits(audiorag_cli::ExitStatus::Usage)
        .says(&["nowhere.wav"]);
}
