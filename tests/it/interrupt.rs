//! Ending the program in the middle of its work: nothing is lost, nothing is paid twice.

use crate::recordings::{long, short};
use crate::sandbox::{Run, Running, Sandbox, count};
use rustix::process::Signal;
use serde_json::Value;

/// A sandbox with a recording of several parts, transcribed one after the other.
pub(crate) fn slow_sandbox() -> Sandbox {
    let mut sandbox = Sandbox::new();
    sandbox.set("AUDIORAG_STT_CONCURRENCY", "1");
    sandbox.write("long.wav", long(6).to_wav());
    sandbox
}

/// Starts indexing and returns once `parts` parts are transcribed.
pub(crate) fn index_until(sandbox: &Sandbox, parts: usize) -> Running {
    let running = sandbox.start(&["index", "--json", "long.wav"]);
    for _ in 0..parts {
        running.wait_for_line(|line| {
            let event: Value = serde_json::from_str(line).unwrap();
            assert_ne!(
                event["event"], "summary",
                "the run ended before it could be interrupted: {event}"
            );
            event["event"] == "part"
        });
    }
    running
}

/// Parts sent to speech-to-text and parts that were there already.
pub(crate) fn parts(run: &Run) -> (u64, u64) {
    let summary = run.summary();
    (
        summary["transcribed_parts"].as_u64().unwrap(),
        summary["reused_parts"].as_u64().unwrap(),
    )
}

/// Runs again and checks that the finished parts were not transcribed again.
#[track_caller]
pub(crate) fn resumes(sandbox: &Sandbox, finished: usize) {
    let run = sandbox.run(&["index", "--json", "long.wav"]).ok();
    assert_eq!(count(&run.summary()["indexed"]), 1, "{run:?}");
    let (transcribed, reused) = parts(&run);
    assert!(
        reused >= finished as u64,
        "{finished} parts were finished, {reused} used again: {run:?}"
    );
    assert!(
        transcribed > 0,
        "nothing was left to do: the interruption came too late"
    );
    let again = sandbox.run(&["index", "--json", "long.wav"]).ok();
    assert_eq!(parts(&again), (0, 0), "{again:?}");
    let status = sandbox.run(&["list", "--json"]).ok().json();
    assert_eq!(status["sources"][0]["status"], "completed", "{status}");
    assert_eq!(sandbox.left_behind(), Vec::<std::path::PathBuf>::new());
}

#[test]
fn ctrl_c_ends_with_130_and_the_next_run_goes_on() {
    let sandbox = slow_sandbox();
    let running = index_until(&sandbox, 2);
    running.signal(Signal::INT);
    let run = running.wait().exits(130);
    assert_eq!(run.summary()["cancelled"], true, "{run:?}");
    assert_eq!(sandbox.left_behind(), Vec::<std::path::PathBuf>::new());
    let status = sandbox.run(&["list", "--json"]).ok().json();
    let status = status["sources"][0]["status"].as_str().unwrap();
    assert!(["cancelled", "pending"].contains(&status), "left as {status}");
    resumes(&sandbox, 2);
}

#[test]
fn a_request_to_terminate_ends_with_143_and_the_next_run_goes_on() {
    let sandbox = slow_sandbox();
    let running = index_until(&sandbox, 1);
    running.signal(Signal::TERM);
    running.wait().exits(143);
    resumes(&sandbox, 1);
}

#[test]
fn a_second_ctrl_c_ends_at_once_and_loses_nothing_either() {
    let sandbox = slow_sandbox();
    let running = index_until(&sandbox, 1);
    running.signal(Signal::INT);
    running.signal(Signal::INT);
    running.wait().exits(130);
    resumes(&sandbox, 1);
}

#[test]
fn an_interrupted_batch_starts_nothing_more_and_keeps_what_is_done() {
    let sandbox = slow_sandbox();
    sandbox.write("a first.wav", short().to_wav());
    let running = sandbox.start(&["index", "--json", "a first.wav", "long.wav"]);
    running.wait_for_line(|line| line.contains("source_finished") && line.contains("a first.wav"));
    running.signal(Signal::INT);
    let run = running.wait().exits(130);
    let summary = run.summary();
    assert_eq!(count(&summary["indexed"]), 1, "{run:?}");
    let found = sandbox.run(&["search", "--json", "best of times"]).ok().json();
    assert!(count(&found["hits"]) > 0, "{found}");
}

#[test]
fn while_one_process_works_another_says_so_and_steps_aside() {
    let sandbox = slow_sandbox();
    let running = index_until(&sandbox, 1);
    let pid = running.id();
    let other = sandbox.run(&["index", "--json", "long.wav"]).ok();
    let summary = other.summary();
    assert_eq!(count(&summary["skipped"]), 1, "{other:?}");
    let reason = summary["skipped"][0]["reason"].as_str().unwrap();
    assert!(reason.contains(&format!("in progress by pid {pid}")), "{reason}");
    let first = running.wait().ok();
    assert_eq!(count(&first.summary()["indexed"]), 1, "{first:?}");
}
