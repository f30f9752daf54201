//! Log lines: each one parses, and each one says when, how important, where from and which operation.

use crate::recordings::short;
use crate::sandbox::{Run, Sandbox};
use serde_json::Value;
use std::collections::BTreeSet;

/// Checks every line of standard error and returns them.
#[track_caller]
fn log_lines(run: &Run) -> Vec<Value> {
    let lines: Vec<Value> = run
        .stderr
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: '{line}' in {run:?}")))
        .collect();
    for line in &lines {
        let timestamp = line["timestamp"]
            .as_str()
            .unwrap_or_else(|| panic!("no timestamp: {line}"));
        assert!(
            timestamp.len() >= 20 && timestamp.as_bytes()[10] == b'T',
            "{timestamp}"
        );
        let level = line["level"]
            .as_str()
            .unwrap_or_else(|| panic!("no level: {line}"));
        assert!(
            ["TRACE", "DEBUG", "INFO", "WARN", "ERROR"].contains(&level.to_uppercase().as_str()),
            "{line}"
        );
        assert!(
            line["target"].as_str().is_some_and(|target| !target.is_empty()),
            "no target: {line}"
        );
        assert!(
            line["operation_id"].as_str().is_some_and(|id| !id.is_empty()),
            "no operation id: {line}"
        );
    }
    lines
}

#[test]
fn every_line_of_a_run_is_json_with_its_operation() {
    let sandbox = Sandbox::new();
    sandbox.write("talk.wav", short().to_wav());
    sandbox.write("broken.mp3", "not audio at all\n".repeat(100));
    let arguments = [
        "--log-format",
        "json",
        "--log-level",
        "debug",
        "--json",
        "index",
        ".",
    ];
    let run = sandbox.run(&arguments).exits(3);
    let lines = log_lines(&run);
    assert!(lines.len() >= 10, "{run:?}");
    let operations: BTreeSet<&str> = lines
        .iter()
        .filter_map(|line| line["operation_id"].as_str())
        .collect();
    assert_eq!(operations.len(), 1, "one run, several operations: {operations:?}");
    assert_eq!(
        run.summary()["operation_id"].as_str(),
        operations.first().copied(),
        "{run:?}"
    );
    let everything = run.stderr.as_str();
    for stage in [
        "probe",
        "transcribe",
        "chunk",
        "embed",
        "store",
        "verify",
        "publish",
    ] {
        assert!(
            everything.contains(&format!("\"{stage}\"")),
            "stage {stage} is not logged: {run:?}"
        );
    }
    // What people said stays out of the logs.
    assert!(!everything.to_lowercase().contains("best of times"), "{run:?}");

    let arguments = [
        "--log-format",
        "json",
        "--log-level",
        "debug",
        "--json",
        "query",
        "what were the times like",
    ];
    let run = sandbox.run(&arguments).ok();
    let lines = log_lines(&run);
    assert!(!lines.is_empty());
    assert_eq!(run.json()["operation_id"], lines[0]["operation_id"], "{run:?}");
}

#[test]
fn errors_before_any_work_are_json_as_well() {
    let sandbox = Sandbox::without_models();
    for (arguments, code) in [
        (vec!["--log-format", "json", "search", "x", "--top-k", "none"], 4),
        (vec!["--log-format", "json", "show", "nobody"], 2),
        (
            vec!["--log-format", "json", "index", "--files-from", "missing.txt"],
            2,
        ),
    ] {
        let run = sandbox.run(&arguments).exits(code);
        assert!(!run.stderr.is_empty(), "{run:?}");
        for line in run.stderr.lines() {
            let line: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {run:?}"));
            for field in ["timestamp", "level", "target", "message"] {
                assert!(line[field].is_string(), "no {field}: {run:?}");
            }
        }
    }
}

#[test]
fn the_default_level_says_little_and_more_on_request() {
    let sandbox = Sandbox::new();
    sandbox.write("talk.wav", short().to_wav());
    let quiet = sandbox.run(&["-q", "index", "talk.wav"]).ok();
    assert_eq!(quiet.stderr, "");
    let loud = sandbox.run(&["-vv", "index", "--force", "talk.wav"]).ok();
    assert!(
        loud.stderr.contains("DEBUG") && loud.stderr.contains("transcribe"),
        "{loud:?}"
    );
    let plain = sandbox.run(&["index", "--force", "talk.wav"]).ok();
    assert!(
        !plain.stderr.contains("DEBUG") && !plain.stderr.contains("INFO"),
        "{plain:?}"
    );
}
