//! `index`: inputs, events, summary, exit codes.

use crate::world::World;
use audiorag::ErrorKind;
use audiorag_cli::ExitStatus;
use serde_json::Value;
use std::time::Duration;

#[tokio::test]
async fn a_mixed_batch_for_people() {
    let world = World::new();
    world.record("talks/a budget.wav", 1);
    world.write("talks/broken.mp3", "this is a letter");
    world.write(
        "talks/silent.wav",
        audiorag_testkit::synth::Track::new(16_000)
            .silence(3_000)
            .to_wav(),
    );
    let first = world.run(&["index", "talks"]).await.exits(ExitStatus::Partial);
    insta::assert_snapshot!("index-first", world.stable(&first.stdout));
    assert_eq!(first.stderr, "");
    let again = world.run(&["index", "talks"]).await.exits(ExitStatus::Partial);
    insta::assert_snapshot!("index-again", world.stable(&again.stdout));
    let forced = world.run(&["index", "--force", "talks/a budget.wav"]).await.ok();
    insta::assert_snapshot!("index-forced", world.stable(&forced.stdout));
    assert_eq!(world.transcriber.script().calls(), 1);
}

#[tokio::test]
async fn events_are_one_json_object_a_line() {
    let world = World::new();
    world.record("talk.wav", 1);
    world.write("broken.mp3", "this is a letter");
    let run = world
        .run(&["index", "--json", "talk.wav", "broken.mp3", "missing.wav"])
        .await
        .exits(ExitStatus::Partial);
    let events = run.events();
    let names: Vec<&str> = events
        .iter()
        .map(|event| event["event"].as_str().unwrap())
        .collect();
    assert_eq!(names.first(), Some(&"discovered"), "{names:?}");
    for name in ["source_started", "stage", "part", "source_finished"] {
        assert!(names.contains(&name), "{name} is not in {names:?}");
    }
    let finished: Vec<&Value> = events
        .iter()
        .filter(|event| event["event"] == "source_finished")
        .collect();
    assert_eq!(finished.len(), 3);
    let summary = events.last().unwrap();
    assert_eq!(summary["event"], "summary");
    assert_eq!(summary["indexed"][0]["chunks"], 1, "{summary}");
    assert_eq!(summary["failed"].as_array().unwrap().len(), 2, "{summary}");
    for failed in summary["failed"].as_array().unwrap() {
        for field in ["source", "stage", "kind", "message"] {
            assert!(failed[field].is_string(), "{field} of {failed}");
        }
    }
    assert_eq!(
        (&summary["transcribed_parts"], &summary["reused_parts"]),
        (&1.into(), &0.into())
    );
    assert!(summary["operation_id"].is_string() && summary["cost"] == 0.0);
    assert_eq!(summary["cancelled"], false);
}

#[tokio::test]
async fn lists_come_from_standard_input_and_from_files() {
    let world = World::new();
    let one = world.record("one.wav", 1);
    world.record("two.wav", 2);
    world.record("three.wav", 3);
    world.write("list.txt", "three.wav\r\n\n");
    let uri = format!("file://{}\n", one.display());
    let run = world
        .run_with(
            &["index", "--json", "-", "two.wav", "--files-from", "list.txt"],
            uri,
        )
        .await
        .ok();
    assert_eq!(
        run.events().last().unwrap()["indexed"].as_array().unwrap().len(),
        3
    );
    let run = world
        .run_with(&["index", "--json", "--files-from", "-"], "one.wav\0two.wav\0")
        .await
        .ok();
    assert_eq!(
        run.events().last().unwrap()["skipped"].as_array().unwrap().len(),
        2
    );
    world
        .run(&["index", "-"])
        .await
        .exits(ExitStatus::Usage)
        .says(&["nothing to index"]);
    world
        .run(&["index", "--files-from", "none.txt"])
        .await
        .exits(ExitStatus::Usage)
        .says(&["the list none.txt cannot be read"]);
    world
        .run(&["index", "--include", "[", "."])
        .await
        .exits(ExitStatus::Usage);
}

#[tokio::test]
async fn what_stops_a_batch_decides_the_exit_code() {
    for (kind, status) in [
        (ErrorKind::Auth, ExitStatus::Config),
        (ErrorKind::Budget, ExitStatus::Budget),
        (ErrorKind::State, ExitStatus::State),
        (ErrorKind::Input, ExitStatus::Partial),
    ] {
        let world = World::new();
        world.record("a.wav", 1);
        world.record("b.wav", 2);
        world.record("c.wav", 3);
        world.record("d.wav", 4);
        world.transcriber.script().go_down(kind);
        let run = world.run(&["index", "."]).await.exits(status);
        assert!(run.stdout.contains("hint: this is a fake"), "{run:?}");
        assert_eq!(
            run.stdout.contains("not started"),
            status != ExitStatus::Partial,
            "{run:?}"
        );
    }
}

#[tokio::test]
async fn an_interrupted_run_ends_with_the_signals_code() {
    let world = World::new();
    world.record("a.wav", 1);
    world.transcriber.script().delay(Duration::from_millis(500));
    let interrupt = world.interrupt.clone();
    let watcher = async {
        while world.transcriber.script().in_flight() == 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        interrupt.request(ExitStatus::Terminated);
    };
    let (run, ()) = tokio::join!(world.run(&["index", "a.wav"]), watcher);
    let run = run.exits(ExitStatus::Terminated);
    assert!(
        run.stdout.contains("0 failed, 1 stopped")
            && run.stdout.contains("interrupted, the next run goes on from here"),
        "{run:?}"
    );
}

#[tokio::test]
async fn questions_are_dropped_when_interrupted() {
    let world = World::library().await;
    world.embedder.script().delay(Duration::from_mins(1));
    let interrupt = world.interrupt.clone();
    let watcher = async {
        while world.embedder.script().in_flight() == 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        interrupt.request(ExitStatus::Interrupted);
    };
    let (run, ()) = tokio::join!(world.run(&["query", "budget"]), watcher);
    run.exits(ExitStatus::Interrupted);
}

#[tokio::test]
async fn progress_on_a_terminal_leaves_the_output_alone() {
    let mut world = World::new();
    world.terminals.stderr = true;
    world.record("a.wav", 1);
    let run = world.run(&["--color", "never", "index", "a.wav"]).await.ok();
    assert!(run.stdout.contains("1 indexed"), "{run:?}");
}

#[tokio::test]
async fn logs_carry_the_operation() {
    let world = World::new();
    world.record("a.wav", 1);
    let run = world
        .run(&["--log-format", "json", "-vv", "--json", "index", "a.wav"])
        .await
        .ok();
    let operation = run.events().last().unwrap()["operation_id"].clone();
    let lines: Vec<Value> = run
        .stderr
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert!(lines.len() > 5, "{run:?}");
    for line in &lines {
        assert_eq!(line["operation_id"], operation, "{line}");
        assert!(
            line["timestamp"].is_string() && line["target"].is_string(),
            "{line}"
        );
    }
}

#[cfg(feature = "local")]
#[tokio::test]
async fn missing_models_are_named_with_the_command() {
    let mut world = World::without_fakes();
    world.record("a.wav", 1);
    let run = world.run(&["index", "a.wav"]).await.exits(ExitStatus::Config);
    run.says(&[
        "the model file ",
        "is missing in ",
        "run `audiorag models pull`, or add --yes",
    ]);
    world
        .run(&["--offline", "--yes", "index", "a.wav"])
        .await
        .exits(ExitStatus::Config)
        .says(&["while online"]);
    world
        .run(&["query", "x"])
        .await
        .exits(ExitStatus::Config)
        .says(&["run `audiorag models pull`"]);
    // On a terminal it asks; no is no.
    world.terminals.stdin = true;
    world.terminals.stderr = true;
    let run = world
        .run_with(&["--no-progress", "index", "a.wav"], "n\n")
        .await
        .exits(ExitStatus::Config);
    run.says(&["Fetch them now, once (", "is missing"]);
    world
        .sources
        .env
        .insert("AUDIORAG_MODELS_AUTO_PULL".to_owned(), "no".to_owned());
    let run = world
        .run(&["--no-progress", "index", "a.wav"])
        .await
        .exits(ExitStatus::Config);
    assert!(!run.stderr.contains("Fetch them now"), "{run:?}");
}
