//! Defects found in the Python AudioRAG, each shown not to exist here.

use crate::interrupt::{index_until, parts, resumes, slow_sandbox};
use crate::recordings::{READING_MILLIS, long, reading, short, variant};
use crate::sandbox::{Sandbox, count, millis};
use audiorag_testkit::synth::Track;
use rustix::process::Signal;
use serde_json::Value;

/// Killed in the middle, the source was "in progress" for ever and skipped.
#[test]
fn peer_defect_01_a_killed_run_is_resumed_and_not_paid_again() {
    let sandbox = slow_sandbox();
    let running = index_until(&sandbox, 2);
    running.signal(Signal::KILL);
    running.wait().exits(137);
    resumes(&sandbox, 2);
}

/// Start and end of each segment of a source, in milliseconds.
fn spans(sandbox: &Sandbox, source: &str) -> Vec<(u64, u64)> {
    let exported = sandbox.run(&["export", source, "-f", "json"]).ok().json();
    let document = if exported.is_array() {
        exported[0].clone()
    } else {
        exported
    };
    let segments = document["segments"].as_array().unwrap();
    segments
        .iter()
        .map(|segment| (millis(&segment["start"]), millis(&segment["end"])))
        .collect()
}

/// Silence between the readings of [`pauses`]: long enough for cuts in it and for parts without any speech.
const PAUSE_MILLIS: u64 = 60_000;

/// Times drifted: the offset of a part was the end of the last segment of the part before it.
#[test]
fn peer_defect_02_silence_at_the_cuts_does_not_move_later_times() {
    let sandbox = Sandbox::new();
    let (samples, rate) = reading();
    let track = (0..5).fold(Track::new(rate).silence(480), |track, _| {
        track.recording(&samples).silence(PAUSE_MILLIS)
    });
    sandbox.write("pauses.wav", track.to_wav());
    sandbox.run(&["index", "pauses.wav"]).ok();
    let spans = spans(&sandbox, "pauses.wav");
    let mut found = Vec::new();
    for truth in track.speech_spans() {
        let (start, end) = (truth.start().as_millis(), truth.end().as_millis());
        let inside: Vec<_> = spans
            .iter()
            .filter(|span| span.1 > start && span.0 < end)
            .collect();
        let (first, last) = (inside.first().unwrap().0, inside.last().unwrap().1);
        // Detection pads speech by 96 ms and sees onsets a few frames late.
        assert!(
            first.abs_diff(start) <= 250 && last.abs_diff(end) <= 250,
            "{start} to {end}: {spans:?}"
        );
        found.push((first, last));
    }
    // Each repetition lies one period after the one before, to the frame.
    for pair in found.windows(2) {
        let period = READING_MILLIS + PAUSE_MILLIS;
        assert!(pair[1].0.abs_diff(pair[0].0 + period) <= 16, "{found:?}");
        assert!(pair[1].1.abs_diff(pair[0].1 + period) <= 16, "{found:?}");
    }
}

/// The same, with an interruption in the middle.
#[test]
fn peer_defect_02_a_resumed_run_gives_the_times_of_an_uninterrupted_one() {
    let interrupted = slow_sandbox();
    let running = index_until(&interrupted, 3);
    running.signal(Signal::KILL);
    running.wait().exits(137);
    resumes(&interrupted, 3);
    let whole = Sandbox::new();
    whole.write("long.wav", long(6).to_wav());
    let run = whole.run(&["index", "--json", "long.wav"]).ok();
    assert!(parts(&run).0 > 4, "{run:?}");
    assert_eq!(spans(&interrupted, "long.wav"), spans(&whole, "long.wav"));
    let text = |sandbox: &Sandbox| sandbox.run(&["export", "long.wav", "-f", "txt"]).ok().stdout;
    assert_eq!(text(&interrupted), text(&whole));
}

/// Every citation had an empty source.
#[test]
fn peer_defect_03_citations_name_their_source() {
    let sandbox = Sandbox::new();
    let path = sandbox.write("a talk.wav", short().to_wav());
    sandbox.run(&["index", "a talk.wav"]).ok();
    let answer = sandbox
        .run(&["query", "--json", "was it the age of wisdom"])
        .ok()
        .json();
    assert!(count(&answer["citations"]) > 0, "{answer}");
    for citation in answer["citations"].as_array().unwrap() {
        let locator = citation["locator"].as_str().unwrap();
        assert!(
            locator.ends_with("/a%20talk.wav") || locator == path.to_str().unwrap(),
            "{citation}"
        );
        assert!(
            citation["link"].as_str().unwrap().contains("/a%20talk.wav#t="),
            "{citation}"
        );
        assert!(!citation["title"].as_str().unwrap().is_empty(), "{citation}");
        assert!(!citation["source_id"].as_str().unwrap().is_empty(), "{citation}");
    }
}

/// The id was a hash of the path: a moved file was a duplicate, an edited one "already indexed". Nothing recorded
/// the embedding model.
#[test]
fn peer_defect_08_moves_are_followed_edits_are_seen_and_the_model_is_recorded() {
    let sandbox = Sandbox::new();
    let first = sandbox.write("first.wav", short().to_wav());
    sandbox.run(&["index", "first.wav"]).ok();
    std::fs::rename(&first, sandbox.project().join("moved.wav")).unwrap();
    sandbox.run(&["index", "moved.wav"]).ok();
    let list = sandbox.run(&["list", "--json"]).ok().json();
    assert_eq!(count(&list["sources"]), 1, "a moved file is a duplicate: {list}");
    let shown = sandbox.run(&["show", "--json", "moved.wav"]).ok().json();
    let space = shown["embedding"].as_str().unwrap();
    assert!(space.starts_with("local/") && space.ends_with("/384"), "{shown}");
    sandbox.write("moved.wav", variant(5).to_wav());
    let edited = sandbox.run(&["index", "--json", "moved.wav"]).ok().summary();
    assert_eq!(
        count(&edited["indexed"]),
        1,
        "an edited file was not indexed again: {edited}"
    );
    let hits = sandbox
        .run(&["search", "--json", "--top-k", "50", "times"])
        .ok()
        .json();
    let ids: Vec<&Value> = hits["hits"]
        .as_array()
        .unwrap()
        .iter()
        .map(|hit| &hit["chunk_id"])
        .collect();
    let distinct: std::collections::BTreeSet<String> = ids.iter().map(ToString::to_string).collect();
    assert_eq!(ids.len(), distinct.len(), "a chunk twice: {hits}");
}

/// Parts were cut by bytes into files named by stem, which collided and were never removed.
#[test]
fn peer_defect_10_recordings_with_one_name_do_not_collide_and_leave_no_files() {
    let sandbox = Sandbox::new();
    sandbox.write("monday/talk.wav", short().to_wav());
    sandbox.write(
        "tuesday/talk.wav",
        Track::new(16_000)
            .silence(4_000)
            .recording(short().samples())
            .to_wav(),
    );
    let run = sandbox.run(&["index", "--json", "."]).ok();
    assert_eq!(count(&run.summary()["indexed"]), 2, "{run:?}");
    let (monday, tuesday) = (
        spans(&sandbox, "monday/talk.wav"),
        spans(&sandbox, "tuesday/talk.wav"),
    );
    assert_eq!(monday.len(), tuesday.len());
    assert!(
        tuesday[0].0.abs_diff(monday[0].0 + 4_000) <= 32,
        "{monday:?} and {tuesday:?}"
    );
    assert_eq!(sandbox.left_behind(), Vec::<std::path::PathBuf>::new());
    // Words at cuts are whole: every part of a long recording reads the same sentence.
    sandbox.write("long.wav", long(3).to_wav());
    sandbox.run(&["index", "long.wav"]).ok();
    let text = sandbox
        .run(&["export", "long.wav", "-f", "txt"])
        .ok()
        .stdout
        .to_lowercase();
    let heard = text.matches("best of times").count();
    assert!(heard >= 17, "{heard} of 18 readings were heard whole: {text}");
}

/// `index` ended with 0 when sources had failed, and with 0 on SIGINT; nothing could be listed, deleted or exported.
#[test]
fn peer_defect_11_failures_show_in_the_exit_code_and_answers_cite() {
    let sandbox = Sandbox::new();
    sandbox.write("good.wav", short().to_wav());
    sandbox.write("bad.wav", "nothing");
    sandbox.run(&["index", "."]).exits(3);
    let answer = sandbox
        .run(&["query", "--json", "was it the age of wisdom"])
        .ok()
        .json();
    let (start, end) = (
        millis(&answer["citations"][0]["start"]),
        millis(&answer["citations"][0]["end"]),
    );
    assert!(start < end && end <= 9_500, "{answer}");
    sandbox.run(&["list", "--json"]).ok().json();
    sandbox.run(&["export", "good.wav", "-f", "vtt"]).ok();
    sandbox.run(&["delete", "--yes", "good.wav"]).ok();
}

/// `--force` deleted first: a failure on the way left nothing.
#[test]
fn peer_defect_13_the_old_revision_answers_until_the_new_one_is_complete() {
    let mut sandbox = Sandbox::new();
    sandbox.set("AUDIORAG_STT_CONCURRENCY", "1");
    sandbox.write("long.wav", short().to_wav());
    sandbox.run(&["index", "long.wav"]).ok();
    let ask = |sandbox: &Sandbox| {
        let found = sandbox.run(&["search", "--json", "best of times"]).ok().json();
        found["hits"]
            .as_array()
            .unwrap()
            .iter()
            .map(|hit| hit["chunk_id"].clone())
            .collect::<Vec<_>>()
    };
    let before = ask(&sandbox);
    assert!(!before.is_empty());
    // The new revision fails.
    sandbox.write("long.wav", "this is no recording any more");
    sandbox.run(&["index", "--force", "long.wav"]).exits(3);
    assert_eq!(ask(&sandbox), before);
    // The new revision is killed.
    sandbox.write("long.wav", long(6).to_wav());
    let running = index_until(&sandbox, 1);
    running.signal(Signal::KILL);
    running.wait().exits(137);
    assert_eq!(ask(&sandbox), before);
    // The new revision is complete.
    sandbox.run(&["index", "long.wav"]).ok();
    let after = ask(&sandbox);
    assert!(
        !after.is_empty() && after.iter().all(|id| !before.contains(id)),
        "{after:?}"
    );
}
