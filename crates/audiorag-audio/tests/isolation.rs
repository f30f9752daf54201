//! Decoders in a child process: what comes out is the same, and what a child can do wrong is an error of one file.
//!
//! The child is this program itself, so it has a harness of its own: the first argument says what to be.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::panic,
    reason = "a failing test should panic, and a harness prints"
)]

use audiorag_audio::{
    DecodeOptions, Isolation, PartReader, SampleReader, SplitSettings, probe_with, run_isolated,
};
use audiorag_core::{Error, ErrorKind, MediaTime};
use std::ffi::OsString;
use std::io::Write as _;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};
use std::time::Duration;

const TESTS: &[(&str, fn())] = &[
    (
        "isolated_recordings_are_the_same",
        isolated_recordings_are_the_same,
    ),
    ("isolated_errors_are_the_same", isolated_errors_are_the_same),
    ("a_crash_is_an_error_of_the_file", a_crash_is_an_error_of_the_file),
    ("a_child_that_hangs_is_ended", a_child_that_hangs_is_ended),
    (
        "a_child_has_only_its_processor_time",
        a_child_has_only_its_processor_time,
    ),
    ("a_child_has_only_its_memory", a_child_has_only_its_memory),
    (
        "a_child_without_sense_is_not_believed",
        a_child_without_sense_is_not_believed,
    ),
    (
        "a_program_that_is_missing_is_named",
        a_program_that_is_missing_is_named,
    ),
    ("the_child_refuses_other_callers", the_child_refuses_other_callers),
];

fn main() {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    if let [role, rest @ ..] = arguments.as_slice()
        && let Some(role) = role.to_str().and_then(|role| role.strip_prefix("child-"))
    {
        return child(role, rest);
    }
    let filters: Vec<&str> = arguments
        .iter()
        .filter_map(|argument| argument.to_str())
        .filter(|argument| !argument.starts_with('-'))
        .collect();
    let (mut passed, mut failed) = (0, 0);
    for (name, test) in TESTS {
        if !filters.is_empty() && !filters.iter().any(|filter| name.contains(filter)) {
            continue;
        }
        let is_passed = catch_unwind(test).is_ok();
        println!("test {name} ... {}", if is_passed { "ok" } else { "FAILED" });
        *if is_passed { &mut passed } else { &mut failed } += 1;
    }
    let verdict = if failed == 0 { "ok" } else { "FAILED" };
    println!(
        "\ntest result: {verdict}. {passed} passed; {failed} failed; 0 ignored; 0 measured; {} filtered out; finished in 0.00s\n",
        TESTS.len() - passed - failed
    );
    std::process::exit(i32::from(failed > 0) * 101);
}

fn child(role: &str, arguments: &[OsString]) {
    let mut out = std::io::stdout();
    match role {
        "sound" => run_isolated(arguments.iter().cloned(), &mut out).unwrap(),
        "crashing" => std::process::abort(),
        "babbling" => out.write_all(b"hello, here are your samples").unwrap(),
        "silent" => {}
        // Says everything right, but not that it is done.
        "unfinished" => {
            let mut all = Vec::new();
            run_isolated(arguments.iter().cloned(), &mut all).unwrap();
            out.write_all(all.get(..all.len() / 2).unwrap()).unwrap();
        }
        "busy" => {
            run_isolated(arguments.iter().cloned(), &mut std::io::sink()).unwrap();
            loop {
                std::hint::spin_loop();
            }
        }
        "hungry" => {
            run_isolated(arguments.iter().cloned(), &mut std::io::sink()).unwrap();
            let all = vec![1_u8; 512 << 20];
            out.write_all(std::hint::black_box(&all)).unwrap();
        }
        "hanging" => loop {
            std::thread::park();
        },
        other => panic!("no role {other}"),
    }
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../tests/fixtures")
        .join(name)
}

fn isolation(role: &str) -> Isolation {
    let program = std::env::current_exe().unwrap();
    Isolation::new(program, vec![format!("child-{role}").into()])
}

fn options(isolation: Isolation) -> DecodeOptions {
    DecodeOptions {
        isolation: Some(isolation),
        ..DecodeOptions::default()
    }
}

fn read(path: &Path, options: &DecodeOptions) -> Result<(Vec<f32>, Vec<String>), Error> {
    let mut reader = SampleReader::open_with(path, options)?;
    let mut all = Vec::new();
    while let Some(block) = reader.next_block()? {
        all.extend_from_slice(block);
    }
    assert_eq!(reader.position(), all.len() as u64);
    Ok((all, reader.warnings().to_vec()))
}

fn isolated_recordings_are_the_same() {
    let (inside, outside) = (DecodeOptions::default(), options(isolation("sound")));
    for name in [
        "two_cities-8s.m4a",
        "two_cities-8s.mp3",
        "video.mkv",
        "spoken-alice.ogg",
    ] {
        let path = fixture(name);
        assert_eq!(
            probe_with(&path, &inside).unwrap(),
            probe_with(&path, &outside).unwrap()
        );
        assert_eq!(
            read(&path, &inside).unwrap(),
            read(&path, &outside).unwrap(),
            "{name}"
        );
    }
    // Damage is reported all the same.
    let directory = tempfile::tempdir().unwrap();
    let cut = directory.path().join("-cut: it.flac");
    let whole = std::fs::read(fixture("two_cities.flac")).unwrap();
    std::fs::write(&cut, whole.get(..whole.len() * 96 / 100).unwrap()).unwrap();
    let (samples, warnings) = read(&cut, &outside).unwrap();
    assert_eq!(warnings, ["decoded 42 of 44 s"]);
    assert!(samples == read(&cut, &inside).unwrap().0);
    // A reader that is not read to its end leaves no process behind: dropping it ends and awaits the child.
    let settings = SplitSettings::new(MediaTime::from_seconds(5), MediaTime::from_seconds(10));
    let mut parts = PartReader::open_with(&fixture("two_cities.flac"), settings, &outside).unwrap();
    assert!(parts.next().unwrap().unwrap().has_speech());
}

fn isolated_errors_are_the_same() {
    let directory = tempfile::tempdir().unwrap();
    let text = directory.path().join("notes.mp3");
    std::fs::write(&text, "dear diary").unwrap();
    let half = directory.path().join("half.m4a");
    let whole = std::fs::read(fixture("two_cities-8s.m4a")).unwrap();
    std::fs::write(&half, whole.get(..whole.len() / 2).unwrap()).unwrap();
    let nowhere = directory.path().join("nowhere.wav");
    for path in [&text, &half, &nowhere] {
        let inside = read(path, &DecodeOptions::default()).unwrap_err();
        let outside = read(path, &options(isolation("sound"))).unwrap_err();
        assert_eq!(inside.to_string(), outside.to_string());
        assert_eq!(
            (inside.kind(), inside.hint(), inside.stage(), inside.source_name()),
            (
                outside.kind(),
                outside.hint(),
                outside.stage(),
                outside.source_name()
            )
        );
    }
}

fn failure(isolation: Isolation) -> Error {
    let path = fixture("two_cities-8s.wav");
    let error = read(&path, &options(isolation)).map(drop).unwrap_err();
    assert_eq!(error.source_name(), path.to_str());
    error
}

fn a_crash_is_an_error_of_the_file() {
    let error = failure(isolation("crashing"));
    assert_eq!(error.kind(), ErrorKind::Input);
    assert_eq!(
        error.message(),
        "two_cities-8s.wav crashed its decoder (signal 6)"
    );
    assert!(error.hint().unwrap().contains("ffmpeg"));
    let error = probe_with(&fixture("video.mkv"), &options(isolation("crashing"))).unwrap_err();
    assert_eq!(error.message(), "video.mkv crashed its decoder (signal 6)");
}

fn a_child_that_hangs_is_ended() {
    let impatient = |stall, wall| Isolation {
        stall: Duration::from_millis(stall),
        wall: Duration::from_millis(wall),
        ..isolation("hanging")
    };
    for isolation in [impatient(1000, 60_000), impatient(60_000, 1000)] {
        let error = failure(isolation);
        assert_eq!(error.kind(), ErrorKind::Input);
        assert_eq!(
            error.message(),
            "two_cities-8s.wav could not be decoded: the decoder was stopped after 1 s"
        );
    }
}

fn a_child_has_only_its_processor_time() {
    let error = failure(Isolation {
        processor: Duration::from_secs(1),
        ..isolation("busy")
    });
    assert_eq!(
        error.message(),
        "two_cities-8s.wav could not be decoded: the decoder was stopped after 1 s"
    );
}

fn a_child_has_only_its_memory() {
    if cfg!(not(target_os = "linux")) {
        return;
    }
    let error = failure(Isolation {
        memory: 256 << 20,
        ..isolation("hungry")
    });
    assert_eq!(
        error.message(),
        "two_cities-8s.wav crashed its decoder (signal 6)"
    );
}

fn a_child_without_sense_is_not_believed() {
    for role in ["babbling", "silent", "unfinished"] {
        let error = failure(isolation(role));
        assert_eq!(error.kind(), ErrorKind::Input);
        assert_eq!(
            error.message(),
            "two_cities-8s.wav crashed its decoder (exit code 0)"
        );
    }
}

fn a_program_that_is_missing_is_named() {
    let error = failure_of_start();
    assert_eq!(error.kind(), ErrorKind::Internal);
    assert!(error.message().contains("/no/such/program"), "{error}");
}

fn failure_of_start() -> Error {
    let path = fixture("two_cities-8s.wav");
    read(&path, &options(Isolation::new("/no/such/program", Vec::new())))
        .map(drop)
        .unwrap_err()
}

fn the_child_refuses_other_callers() {
    for arguments in [vec![], vec!["{}".into(), "a.wav".into()], vec!["a".into(); 3]] {
        let error = run_isolated(arguments, &mut std::io::sink()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
    }
}
