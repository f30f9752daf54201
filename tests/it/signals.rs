//! Ends and takeovers at a known moment: a vendor that answers when it is told to, and counts what it was asked.

use crate::interrupt::parts;
use crate::recordings::{short, variant};
use crate::sandbox::{Sandbox, count};
use crate::vendors::{Vendor, work};
use audiorag_testkit::http::Reply;
use rustix::process::Signal;
use serde_json::Value;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

const TRANSCRIBE: &str = "/v1/audio/transcriptions";
const EMBED: &str = "/v1/embeddings";
/// How long something may take before it counts as hung.
const PATIENCE: Duration = Duration::from_mins(2);

/// A vendor whose first answer on one path waits until [`Gate::open`] is called.
struct Gate {
    vendor: Vendor,
    arrived: mpsc::Receiver<()>,
    open: mpsc::Sender<()>,
}

impl Gate {
    fn on(path: &'static str) -> Self {
        let (tell, arrived) = mpsc::channel();
        let (open, opened) = mpsc::channel();
        let (first, opened) = (AtomicBool::new(true), Mutex::new(opened));
        let vendor = Vendor::answering(move |_, request| {
            if request.path() == path && first.swap(false, Ordering::SeqCst) {
                let _ = tell.send(());
                // The other connections of this thread go on elsewhere.
                let _ = tokio::task::block_in_place(|| opened.lock().unwrap().recv_timeout(PATIENCE));
            }
            work(request)
        });
        Self {
            vendor,
            arrived,
            open,
        }
    }

    /// Returns once the request that waits is there.
    fn reached(&self) {
        self.arrived.recv_timeout(PATIENCE).unwrap();
    }

    fn open(&self) {
        let _ = self.open.send(());
    }
}

#[track_caller]
fn completes(sandbox: &Sandbox) {
    let last = sandbox.run(&["index", "--json", "talk.wav"]).ok();
    assert_eq!(count(&last.summary()["failed"]), 0, "{last:?}");
    let list = sandbox.run(&["list", "--json"]).ok().json();
    assert_eq!(list["sources"][0]["status"], "completed", "{list}");
    let again = sandbox.run(&["index", "--json", "talk.wav"]).ok();
    assert_eq!(count(&again.summary()["skipped"]), 1, "{again:?}");
}

#[test]
fn a_vendor_that_does_not_answer_does_not_keep_a_run_from_ending() {
    for (path, signal, code) in [
        (TRANSCRIBE, Signal::TERM, 143),
        (TRANSCRIBE, Signal::INT, 130),
        (EMBED, Signal::TERM, 143),
        (EMBED, Signal::INT, 130),
    ] {
        // Only the first request is left without an answer.
        let stalled = Arc::new(AtomicBool::new(true));
        let (tell, arrived) = mpsc::channel();
        let vendor = Vendor::answering({
            let stalled = Arc::clone(&stalled);
            move |_, request| {
                if request.path() == path && stalled.load(Ordering::SeqCst) {
                    let _ = tell.send(());
                    return Reply::never();
                }
                work(request)
            }
        });
        let mut sandbox = vendor.sandbox();
        sandbox.set("AUDIORAG_INDEX_GRACE_SECONDS", "0.1");
        let running = sandbox.start(&["index", "--json", "talk.wav"]);
        arrived.recv_timeout(PATIENCE).unwrap();
        running.signal(signal);
        let run = running.wait().exits(code);
        assert_eq!(run.summary()["cancelled"], true, "{run:?}");
        stalled.store(false, Ordering::SeqCst);
        completes(&sandbox);
        // The one in flight is asked for again, and nothing else.
        let lost = usize::from(path == TRANSCRIBE);
        assert_eq!(vendor.count(TRANSCRIBE), 1 + lost, "{path}");
    }
}

#[test]
fn what_arrives_within_the_grace_period_is_kept() {
    let gate = Gate::on(TRANSCRIBE);
    let mut sandbox = gate.vendor.sandbox();
    sandbox.set("AUDIORAG_INDEX_GRACE_SECONDS", "100");
    let running = sandbox.start(&["index", "--json", "talk.wav"]);
    gate.reached();
    running.signal(Signal::TERM);
    gate.open();
    running.wait().exits(143);
    completes(&sandbox);
    assert_eq!(gate.vendor.count(TRANSCRIBE), 1);
}

#[test]
fn a_second_signal_ends_at_once_whatever_the_grace_period() {
    for path in [TRANSCRIBE, EMBED] {
        let gate = Gate::on(path);
        let mut sandbox = gate.vendor.sandbox();
        // Longer than the patience of the test.
        sandbox.set("AUDIORAG_INDEX_GRACE_SECONDS", "3600");
        let running = sandbox.start(&["index", "--json", "talk.wav"]);
        gate.reached();
        // Two different ones: two of a kind may arrive as one.
        running.signal(Signal::TERM);
        running.signal(Signal::INT);
        let code = running.wait().code();
        assert!([130, 143].contains(&code), "ended with {code}");
        gate.open();
        completes(&sandbox);
    }
}

#[test]
fn a_signal_in_any_stage_ends_the_run_and_the_next_one_goes_on() {
    for stage in [
        "probe",
        "transcribe",
        "chunk",
        "embed",
        "store",
        "verify",
        "publish",
        "retire",
    ] {
        let vendor = Vendor::answering(|_, request| work(request));
        let sandbox = vendor.sandbox();
        let running = sandbox.start(&["index", "--json", "talk.wav"]);
        running.wait_for_line(|line| {
            let event: Value = serde_json::from_str(line).unwrap();
            event["event"] == "stage" && event["stage"] == stage && event["state"] == "started"
        });
        running.signal(Signal::TERM);
        let code = running.wait().code();
        assert!([0, 143].contains(&code), "{stage}: ended with {code}");
        completes(&sandbox);
        // Parts in flight are waited for, so that nothing is asked twice.
        assert_eq!(vendor.count(TRANSCRIBE), 1, "{stage}");
        assert_eq!(vendor.count(EMBED), 1, "{stage}");
        let report = sandbox.run(&["doctor", "--deep", "--json"]).ok().json();
        assert!(count(&report["checks"]) > 0);
    }
}

#[test]
fn a_killed_owner_is_taken_over_at_once() {
    let gate = Gate::on(TRANSCRIBE);
    let sandbox = gate.vendor.sandbox();
    let running = sandbox.start(&["index", "--json", "talk.wav"]);
    gate.reached();
    let beside = sandbox.run(&["index", "--json", "talk.wav"]).ok().summary();
    let reason = beside["skipped"][0]["reason"].as_str().unwrap();
    assert!(
        reason.starts_with(&format!("in progress by pid {} on ", running.id())),
        "{reason}"
    );
    running.signal(Signal::KILL);
    running.wait().exits(137);
    let next = sandbox.run(&["index", "--json", "talk.wav"]).ok();
    assert_eq!(count(&next.summary()["indexed"]), 1, "{next:?}");
    assert_eq!(parts(&next), (1, 0));
    gate.open();
    assert_eq!(
        gate.vendor.count(TRANSCRIBE),
        2,
        "the call in flight, and its repetition"
    );
}

#[test]
fn three_processes_share_a_folder_and_every_file_is_transcribed_once() {
    const FILES: u16 = 6;
    let vendor = Vendor::answering(|_, request| work(request));
    let sandbox = vendor.sandbox();
    for number in 1..FILES {
        sandbox.write(format!("talk {number}.wav"), variant(number).to_wav());
    }
    let running: Vec<_> = (0..3).map(|_| sandbox.start(&["index", "--json", "."])).collect();
    let mut transcribed = 0;
    for run in running {
        let run = run.wait().ok();
        let summary = run.summary();
        assert_eq!(count(&summary["failed"]), 0, "{run:?}");
        assert_eq!(
            count(&summary["indexed"]) + count(&summary["skipped"]),
            usize::from(FILES),
            "{run:?}"
        );
        transcribed += parts(&run).0;
    }
    assert_eq!(transcribed, u64::from(FILES));
    assert_eq!(vendor.count(TRANSCRIBE), usize::from(FILES));
    let list = sandbox.run(&["list", "--json"]).ok().json();
    let sources = list["sources"].as_array().unwrap();
    assert_eq!(sources.len(), usize::from(FILES));
    assert!(
        sources.iter().all(|source| source["status"] == "completed"),
        "{list}"
    );
}

/// Where two processes meet is a matter of luck, so they meet often.
#[test]
fn two_processes_share_a_folder_again_and_again_and_nothing_is_done_twice() {
    const ROUNDS: usize = 20;
    const FILES: usize = 4;
    let vendor = Vendor::answering(|_, request| work(request));
    for round in 1..=ROUNDS {
        let sandbox = vendor.sandbox();
        for number in 1..FILES {
            sandbox.write(format!("talk {number}.wav"), variant(number as u16).to_wav());
        }
        let running = [(); 2].map(|()| sandbox.start(&["index", "--json", "."]));
        let mut transcribed = 0;
        for run in running {
            let run = run.wait().ok();
            assert_eq!(count(&run.summary()["failed"]), 0, "round {round}: {run:?}");
            transcribed += parts(&run).0;
        }
        assert_eq!(transcribed, FILES as u64, "round {round}");
        assert_eq!(vendor.count(TRANSCRIBE), round * FILES, "round {round}");
        let list = sandbox.run(&["list", "--json"]).ok().json();
        let sources = list["sources"].as_array().unwrap();
        assert_eq!(sources.len(), FILES, "round {round}");
        assert!(
            sources.iter().all(|source| source["status"] == "completed"),
            "round {round}: {list}"
        );
        sandbox.run(&["doctor", "--deep"]).ok();
    }
}

#[test]
fn copies_in_two_processes_are_transcribed_and_embedded_once() {
    for path in [TRANSCRIBE, EMBED] {
        let gate = Gate::on(path);
        let sandbox = gate.vendor.sandbox();
        sandbox.write("copy.wav", short().to_wav());
        let first = sandbox.start(&["index", "--json", "talk.wav"]);
        gate.reached();
        let second = sandbox.start(&["index", "--json", "copy.wav"]);
        let told = second.wait_for_line(|line| line.contains("waiting for") || line.contains("\"summary\""));
        assert!(
            told.contains(&format!("waiting for pid {}", first.id())),
            "{told}"
        );
        gate.open();
        assert_eq!(parts(&first.wait().ok()), (1, 0));
        assert_eq!(parts(&second.wait().ok()), (0, 1));
        assert_eq!(gate.vendor.count(TRANSCRIBE), 1, "{path}");
        assert_eq!(gate.vendor.count(EMBED), 1, "{path}");
    }
}

#[test]
fn copies_that_two_processes_embed_anew_are_embedded_once() {
    let gated = Arc::new(AtomicBool::new(false));
    let (tell, arrived) = mpsc::channel();
    let (open, opened) = mpsc::channel::<()>();
    let opened = Mutex::new(opened);
    let vendor = Vendor::answering({
        let gated = Arc::clone(&gated);
        move |_, request| {
            if request.path() == EMBED && gated.swap(false, Ordering::SeqCst) {
                let _ = tell.send(());
                let _ = tokio::task::block_in_place(|| opened.lock().unwrap().recv_timeout(PATIENCE));
            }
            work(request)
        }
    });
    let mut sandbox = vendor.sandbox();
    sandbox.write("copy.wav", short().to_wav());
    sandbox.set("AUDIORAG_INDEX_SOURCE_CONCURRENCY", "1");
    sandbox.run(&["index", "--json", "."]).ok();
    let before = vendor.count(EMBED);
    sandbox.set("AUDIORAG_EMBEDDING_DIMENSIONS", "1024");
    gated.store(true, Ordering::SeqCst);
    let first = sandbox.start(&["reindex", "--all", "--reembed", "--json", "--yes"]);
    arrived.recv_timeout(PATIENCE).unwrap();
    let second = sandbox.start(&["reindex", "--all", "--reembed", "--json", "--yes"]);
    second.wait_for_line(|line| line.contains("waiting for") || line.contains("\"summary\""));
    let _ = open.send(());
    first.wait();
    second.wait();
    assert_eq!(vendor.count(EMBED), before + 1);
}

#[test]
fn of_two_copies_the_one_that_waits_goes_on_when_the_other_is_killed() {
    let gate = Gate::on(TRANSCRIBE);
    let sandbox = gate.vendor.sandbox();
    sandbox.write("copy.wav", short().to_wav());
    let first = sandbox.start(&["index", "--json", "talk.wav"]);
    gate.reached();
    let second = sandbox.start(&["index", "--json", "copy.wav"]);
    second.wait_for_line(|line| line.contains("\"warning\""));
    first.signal(Signal::KILL);
    first.wait().exits(137);
    assert_eq!(parts(&second.wait().ok()), (1, 0));
    gate.open();
}
