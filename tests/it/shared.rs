//! Several processes on one index, and many sudden ends.

use crate::recordings::variant;
use crate::sandbox::{Sandbox, count};
use audiorag_testkit::synth::Random;
use rustix::process::Signal;
use std::collections::BTreeSet;
use std::time::Duration;

const SOURCES: u16 = 6;

fn sandbox() -> Sandbox {
    let mut sandbox = Sandbox::new();
    sandbox.set("AUDIORAG_STT_CONCURRENCY", "1");
    for number in 0..SOURCES {
        sandbox.write(format!("talk {number}.wav"), variant(number).to_wav());
    }
    sandbox
}

/// Every source is complete, found once, and the store holds what the state says.
#[track_caller]
fn is_whole(sandbox: &Sandbox) {
    let list = sandbox.run(&["list", "--json"]).ok().json();
    let sources = list["sources"].as_array().unwrap();
    assert_eq!(sources.len(), usize::from(SOURCES), "{list}");
    assert!(
        sources.iter().all(|source| source["status"] == "completed"),
        "{list}"
    );
    let found = sandbox
        .run(&["search", "--json", "--top-k", "100", "best of times"])
        .ok()
        .json();
    let hits = found["hits"].as_array().unwrap();
    let chunks: BTreeSet<String> = hits.iter().map(|hit| hit["chunk_id"].to_string()).collect();
    let of: BTreeSet<String> = hits.iter().map(|hit| hit["source_id"].to_string()).collect();
    assert_eq!(
        (chunks.len(), of.len()),
        (hits.len(), usize::from(SOURCES)),
        "{found}"
    );
    let report = sandbox.run(&["doctor", "--deep", "--json"]).ok().json();
    assert!(count(&report["checks"]) > 0);
    assert_eq!(sandbox.left_behind(), Vec::<std::path::PathBuf>::new());
}

#[test]
fn two_processes_share_a_folder_and_nothing_is_done_twice() {
    let sandbox = sandbox();
    let (first, second) = (
        sandbox.start(&["index", "--json", "."]),
        sandbox.start(&["index", "--json", "."]),
    );
    let (first, second) = (first.wait().ok().summary(), second.wait().ok().summary());
    let transcribed: u64 = [&first, &second]
        .iter()
        .map(|summary| summary["transcribed_parts"].as_u64().unwrap())
        .sum();
    assert_eq!(transcribed, u64::from(SOURCES), "{first}\n{second}");
    assert_eq!(
        count(&first["failed"]) + count(&second["failed"]),
        0,
        "{first}\n{second}"
    );
    is_whole(&sandbox);
}

#[test]
fn whatever_kills_it_whenever_the_last_run_completes() {
    let sandbox = sandbox();
    let mut random = Random::new(2);
    let mut interrupted = 0;
    for round in 0..8 {
        let running = sandbox.start(&["index", "--json", "."]);
        // Ever later, from before the models are loaded on: the first rounds end early on any machine.
        std::thread::sleep(Duration::from_millis(20 + 80 * round + random.below(60) as u64));
        running.signal(if random.below(4) == 0 {
            Signal::INT
        } else {
            Signal::KILL
        });
        let code = running.wait().code();
        assert!([0, 130, 137].contains(&code), "ended with {code}");
        interrupted += u32::from(code != 0);
    }
    assert!(
        interrupted > 2,
        "too fast a machine: only {interrupted} of 8 runs were interrupted"
    );
    let last = sandbox.run(&["index", "--json", "."]).ok().summary();
    assert_eq!(count(&last["failed"]), 0, "{last}");
    is_whole(&sandbox);
    // Answers are there, and another run has nothing to do.
    let again = sandbox.run(&["index", "--json", "."]).ok().summary();
    assert_eq!(
        (count(&again["skipped"]), &again["transcribed_parts"]),
        (usize::from(SOURCES), &0.into()),
        "{again}"
    );
}
