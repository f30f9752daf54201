//! What a second run does: as little as possible. Speech-to-text calls are counted by the program itself.

use crate::recordings::{short, variant};
use crate::sandbox::{Run, Sandbox, count};
use serde_json::Value;
use std::time::{Duration, SystemTime};

/// Parts sent to speech-to-text and parts whose transcript was there already.
fn parts(run: &Run) -> (u64, u64) {
    let summary = run.summary();
    (
        summary["transcribed_parts"].as_u64().unwrap(),
        summary["reused_parts"].as_u64().unwrap(),
    )
}

/// A sandbox with one indexed source.
fn indexed() -> (Sandbox, Value) {
    let sandbox = Sandbox::new();
    sandbox.write("talk.wav", short().to_wav());
    let run = sandbox.run(&["index", "--json", "talk.wav"]).ok();
    assert_eq!(parts(&run), (1, 0), "{run:?}");
    assert_eq!(count(&run.summary()["indexed"]), 1);
    let source = only_source(&sandbox);
    (sandbox, source)
}

fn sources(sandbox: &Sandbox) -> Vec<Value> {
    sandbox.run(&["list", "--json"]).ok().json()["sources"]
        .as_array()
        .unwrap()
        .clone()
}

fn only_source(sandbox: &Sandbox) -> Value {
    let mut sources = sources(sandbox);
    assert_eq!(sources.len(), 1, "{sources:?}");
    sources.remove(0)
}

#[test]
fn an_unchanged_file_is_skipped_and_the_program_says_so() {
    let (sandbox, before) = indexed();
    let again = sandbox.run(&["index", "--json", "talk.wav"]).ok();
    assert_eq!(parts(&again), (0, 0), "{again:?}");
    assert_eq!(count(&again.summary()["skipped"]), 1);
    assert_eq!(count(&again.summary()["indexed"]), 0);
    assert_eq!(only_source(&sandbox), before);
    let human = sandbox.run(&["index", "talk.wav"]).ok();
    let told = format!("{}{}", human.stdout, human.stderr);
    assert!(
        told.contains("unchanged") && told.contains("1 skipped"),
        "{human:?}"
    );
}

#[test]
fn a_touched_file_costs_nothing() {
    let (sandbox, before) = indexed();
    let later = SystemTime::now() + Duration::from_mins(1);
    let file = std::fs::File::options()
        .append(true)
        .open(sandbox.project().join("talk.wav"))
        .unwrap();
    file.set_modified(later).unwrap();
    let again = sandbox.run(&["index", "--json", "talk.wav"]).ok();
    assert_eq!(parts(&again), (0, 0), "{again:?}");
    assert_eq!(count(&again.summary()["skipped"]), 1, "{again:?}");
    assert_eq!(only_source(&sandbox)["revision"], before["revision"]);
}

#[test]
fn a_copy_is_a_source_of_its_own_and_costs_nothing() {
    let (sandbox, before) = indexed();
    std::fs::copy(
        sandbox.project().join("talk.wav"),
        sandbox.project().join("copy.wav"),
    )
    .unwrap();
    let run = sandbox.run(&["index", "--json", "talk.wav", "copy.wav"]).ok();
    assert_eq!(parts(&run), (0, 1), "{run:?}");
    let all = sources(&sandbox);
    assert_eq!(all.len(), 2);
    assert!(
        all.iter()
            .any(|source| source["source_id"] == before["source_id"])
    );
    assert!(
        all.iter()
            .all(|source| source["status"] == "completed" && source["chunks"] == before["chunks"])
    );
}

#[test]
fn a_moved_file_keeps_its_identity_and_costs_nothing() {
    let (sandbox, before) = indexed();
    std::fs::create_dir(sandbox.project().join("archive")).unwrap();
    std::fs::rename(
        sandbox.project().join("talk.wav"),
        sandbox.project().join("archive/talk 2024.wav"),
    )
    .unwrap();
    let run = sandbox.run(&["index", "--json", "archive"]).ok();
    assert_eq!(parts(&run).0, 0, "{run:?}");
    let after = only_source(&sandbox);
    assert_eq!(after["source_id"], before["source_id"]);
    assert!(
        after["locator"]
            .as_str()
            .unwrap()
            .ends_with("/archive/talk%202024.wav"),
        "{after}"
    );
    let answer = sandbox
        .run(&["query", "--json", "what was the best of times"])
        .ok()
        .json();
    assert_eq!(answer["citations"][0]["locator"], after["locator"], "{answer}");
}

#[test]
fn an_edited_file_is_indexed_anew_under_its_identity() {
    let (sandbox, before) = indexed();
    let longer = short().silence(3_000).recording(variant(3).samples());
    sandbox.write("talk.wav", longer.to_wav());
    let run = sandbox.run(&["index", "--json", "talk.wav"]).ok();
    assert!(parts(&run).0 > 0, "{run:?}");
    let after = only_source(&sandbox);
    assert_eq!(after["source_id"], before["source_id"]);
    assert_ne!(after["revision"], before["revision"]);
    assert!(after["duration"].as_f64() > before["duration"].as_f64());
    // Nothing of the old revision is left in the answers.
    let hits = sandbox
        .run(&["search", "--json", "--top-k", "50", "age of wisdom"])
        .ok()
        .json();
    let chunks = after["chunks"].as_u64().unwrap() as usize;
    assert!(count(&hits["hits"]) <= chunks, "{hits}");
}

#[test]
fn another_chunk_length_costs_no_speech_to_text() {
    let (sandbox, before) = indexed();
    let mut command = sandbox.command(&["index", "--json", "talk.wav"]);
    command
        .env("AUDIORAG_CHUNK_DURATION_SECONDS", "2")
        .env("AUDIORAG_CHUNK_MAX_SECONDS", "4");
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let last = String::from_utf8(output.stdout).unwrap();
    let summary: Value = serde_json::from_str(last.lines().last().unwrap()).unwrap();
    assert_eq!(
        (&summary["transcribed_parts"], &summary["reused_parts"]),
        (&0.into(), &1.into()),
        "{summary}"
    );
    assert_ne!(only_source(&sandbox)["revision"], before["revision"]);
}

#[test]
fn force_builds_anew_from_what_was_paid_for() {
    let (sandbox, before) = indexed();
    let run = sandbox.run(&["index", "--json", "--force", "talk.wav"]).ok();
    assert_eq!(parts(&run), (0, 1), "{run:?}");
    let after = only_source(&sandbox);
    assert_ne!(after["revision"], before["revision"]);
    assert_eq!(after["chunks"], before["chunks"]);
}

#[test]
fn identical_files_of_one_batch_are_transcribed_once() {
    let sandbox = Sandbox::new();
    for name in ["a.wav", "b.wav", "deep/er/c.wav"] {
        sandbox.write(name, short().to_wav());
    }
    let run = sandbox.run(&["index", "--json", "."]).ok();
    assert_eq!(parts(&run), (1, 2), "{run:?}");
    assert_eq!(count(&run.summary()["indexed"]), 3);
}
