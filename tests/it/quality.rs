//! `audiorag eval` on real speech with real models.

use crate::recordings::fixture;
use crate::sandbox::Sandbox;
use serde_json::{Value, json};

/// Three questions about a harbour meeting, one about a novel, and one that nobody answers. The spans are those of the
/// files beside the recordings.
fn questions() -> String {
    [
        json!({"id": "repair", "kind": "plain", "question": "When will the lighthouse be repaired?",
               "source": "spoken-lighthouse.m4a", "spans": [[4.177, 7.477]]}),
        json!({"id": "lamp", "kind": "plain", "question": "What is the price of the new lamp?",
               "source": "spoken-lighthouse.m4a", "spans": [[8.377, 13.624]]}),
        json!({"id": "ferry", "kind": "plain", "question": "At what hour does the ferry go to the island?",
               "source": "spoken-lighthouse", "spans": [[23.885, 28.706]]}),
        json!({"id": "times", "kind": "plain", "question": "Were those times good or bad?",
               "source": "two_cities-8s.wav", "spans": [[0.0, 6.0]]}),
        json!({"id": "whale", "kind": "unanswerable", "question": "Which whales swim around Antarctica?",
               "unanswerable": true}),
    ]
    .map(|question| format!("{question}\n"))
    .concat()
}

fn indexed() -> Sandbox {
    let sandbox = Sandbox::new();
    for name in ["spoken-lighthouse.m4a", "two_cities-8s.wav"] {
        sandbox.write(name, std::fs::read(fixture(name)).unwrap());
    }
    sandbox.run(&["index", "."]).ok();
    sandbox.write("questions.jsonl", questions());
    sandbox
}

fn figure(report: &Value, name: &str) -> f64 {
    report["metrics"][name]["value"].as_f64().unwrap()
}

/// A report without what differs from run to run.
fn lasting(mut report: Value) -> Value {
    report.as_object_mut().unwrap().remove("timings_ms");
    report
}

#[test]
fn answers_are_measured_against_known_times_and_the_same_each_time() {
    let sandbox = indexed();
    let said = std::fs::read_to_string(fixture("texts/lighthouse.txt")).unwrap();
    let reference = json!({"source": "spoken-lighthouse.m4a", "text": said});
    sandbox.write("said.jsonl", format!("{reference}\n"));
    let arguments = ["eval", "questions.jsonl", "--references", "said.jsonl", "--json"];
    let report = sandbox.run(&arguments).ok().json();

    assert_eq!(report["questions"].as_array().unwrap().len(), 5);
    assert!(figure(&report, "recall_5") > 0.99, "{report:#}");
    assert!(figure(&report, "recall_1") >= 0.75, "{report:#}");
    // Quotes are the transcript's own words, and sentences are cited near where they are said.
    assert!((figure(&report, "quotes_said") - 1.0).abs() < 1e-9, "{report:#}");
    assert!(
        (figure(&report, "statements_cited") - 1.0).abs() < 1e-9,
        "{report:#}"
    );
    assert!(figure(&report, "start_error_median") < 3.0, "{report:#}");
    assert!(
        (figure(&report, "abstention_recall") - 1.0).abs() < 1e-9,
        "{report:#}"
    );
    assert!(figure(&report, "word_error_rate") < 0.4, "{report:#}");
    assert_eq!(report["kinds"]["plain"]["questions"], 4);

    let again = sandbox.run(&arguments).ok().json();
    assert_eq!(lasting(report), lasting(again));
}

#[test]
fn runs_are_compared_and_drawn() {
    let sandbox = indexed();
    let arguments = [
        "eval",
        "questions.jsonl",
        "--json",
        "--baseline",
        "--label",
        "peer",
    ];
    let peer = sandbox.run(&arguments).ok();
    assert_eq!(peer.json()["settings"]["retrieval.mode"], "dense");
    // Whole passages are cited, so nobody abstains.
    assert!(figure(&peer.json(), "abstention_recall") < 1e-9, "{peer:?}");
    sandbox.write("peer.json", &peer.stdout);
    let arguments = [
        "eval",
        "questions.jsonl",
        "--compare",
        "peer.json",
        "--svg",
        "runs.svg",
        "--label",
        "ours",
    ];
    let run = sandbox.run(&arguments).ok();
    for text in ["peer", "ours", "R@5", "start error", "95 % interval"] {
        assert!(run.stdout.contains(text), "{text}: {run:?}");
    }
    let picture = std::fs::read_to_string(sandbox.project().join("runs.svg")).unwrap();
    assert!(
        picture.starts_with("<svg ") && picture.contains("ours"),
        "{picture}"
    );
    let again = ["--json", "eval", "--compare", "peer.json", "peer.json"];
    let both = sandbox.run(&again).ok().json();
    assert_eq!(both["compared"].as_array().unwrap().len(), 1, "{both}");
    for run in both["runs"].as_array().unwrap() {
        assert_eq!(
            (&run["label"], run["questions"].as_u64()),
            (
                &"peer".into(),
                Some(peer.json()["questions"].as_array().unwrap().len() as u64)
            )
        );
        assert!(run["metrics"]["recall_5"]["value"].is_number(), "{both}");
    }
}

#[test]
fn a_wrong_line_or_an_unknown_recording_ends_with_2_before_anything_is_asked() {
    let sandbox = indexed();
    sandbox.write("typo.jsonl", questions() + "{\"id\": \"x\"}\n");
    let run = sandbox.run(&["eval", "typo.jsonl"]).exits(2);
    assert!(
        run.stderr.contains("typo.jsonl, line 6: missing field"),
        "{run:?}"
    );
    sandbox.write("gone.jsonl", questions().replace("two_cities-8s", "three_cities"));
    let run = sandbox.run(&["eval", "gone.jsonl"]).exits(2);
    assert!(
        run.stderr.contains("'times' (line 4)") && run.stderr.contains("three_cities.wav"),
        "{run:?}"
    );
    let run = sandbox.run(&["eval", "--compare", "gone.jsonl"]).exits(2);
    assert!(run.stderr.contains("holds no results"), "{run:?}");
}
