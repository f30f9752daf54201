//! Inputs and questions from everywhere but the argument list, and what becomes of standard output.

use crate::recordings::{short, variant};
use crate::sandbox::{Sandbox, count};
use audiorag_testkit::wav;
use std::io::Read as _;

#[test]
fn a_list_on_standard_input() {
    let sandbox = Sandbox::new();
    let first = sandbox.write("one.wav", short().to_wav());
    sandbox.write("two three.wav", variant(1).to_wav());
    let list = format!("{}\n\ntwo three.wav\n", first.display());
    let run = sandbox
        .run_with_input(&["index", "--json", "-"], list.as_bytes())
        .ok();
    assert_eq!(count(&run.summary()["indexed"]), 2, "{run:?}");
}

#[test]
fn a_list_in_a_file_beside_arguments_and_uris() {
    let sandbox = Sandbox::new();
    let named = sandbox.write("uri.wav", short().to_wav());
    sandbox.write("listed.wav", variant(1).to_wav());
    sandbox.write("argument.wav", variant(2).to_wav());
    sandbox.write(
        "list.txt",
        format!("listed.wav\r\nfile://{}\nmissing.wav\n", named.display()),
    );
    let run = sandbox
        .run(&["index", "--json", "--files-from", "list.txt", "argument.wav"])
        .exits(3);
    assert_eq!(count(&run.summary()["indexed"]), 3, "{run:?}");
    assert_eq!(count(&run.summary()["failed"]), 1, "{run:?}");
}

#[test]
fn globs_choose_files_of_a_folder() {
    let sandbox = Sandbox::new();
    for (number, name) in ["show/a.wav", "show/b.wav", "show/drafts/c.wav"]
        .iter()
        .enumerate()
    {
        sandbox.write(name, variant(number as u16).to_wav());
    }
    let run = sandbox
        .run(&[
            "index",
            "--json",
            "show",
            "--exclude",
            "drafts/**",
            "--exclude",
            "b.*",
        ])
        .ok();
    assert_eq!(count(&run.summary()["indexed"]), 1, "{run:?}");
    let run = sandbox
        .run(&[
            "index",
            "--json",
            "show",
            "--include",
            "c.wav",
            "--title",
            "A draft",
        ])
        .ok();
    assert_eq!(count(&run.summary()["indexed"]), 1, "{run:?}");
    let sources = sandbox.run(&["list", "--json"]).ok().json();
    let titled = sources["sources"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|source| source["title"] == "A draft")
        .count();
    assert_eq!(titled, 1, "{sources}");
}

#[test]
fn a_question_on_standard_input() {
    let sandbox = Sandbox::new();
    sandbox.write("talk.wav", short().to_wav());
    sandbox.run(&["index", "talk.wav"]).ok();
    for arguments in [vec!["query", "--json"], vec!["query", "--json", "-"]] {
        let answer = sandbox
            .run_with_input(&arguments, b"what age of wisdom was it\n")
            .ok()
            .json();
        assert!(count(&answer["citations"]) > 0, "{answer}");
    }
    let nothing = sandbox.run_with_input(&["query"], b"  \n").exits(2);
    assert!(nothing.stderr.contains("question"), "{nothing:?}");
    let binary = sandbox.run_with_input(&["query"], b"\xFF\xFE\x00").exits(2);
    assert!(binary.stderr.contains("UTF-8"), "{binary:?}");
}

#[test]
fn a_reader_that_leaves_is_no_failure() {
    let sandbox = Sandbox::new();
    sandbox.write("talk.wav", short().to_wav());
    sandbox.run(&["index", "talk.wav"]).ok();
    for arguments in [
        vec!["list", "--json"],
        vec!["completions", "bash"],
        vec!["query", "was it the age of wisdom"],
    ] {
        let mut child = sandbox.command(&arguments).spawn().unwrap();
        drop(child.stdout.take());
        let mut stderr = String::new();
        child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
        let status = child.wait().unwrap();
        assert!(
            matches!(status.code(), Some(0 | 141)) || status.code().is_none(),
            "{arguments:?}: {status}"
        );
        assert_eq!(stderr, "", "{arguments:?}");
    }
}

#[test]
fn work_goes_on_when_nobody_reads_the_events() {
    let sandbox = Sandbox::new();
    sandbox.write("talk.wav", short().to_wav());
    let mut child = sandbox.command(&["index", "--json", "talk.wav"]).spawn().unwrap();
    drop(child.stdout.take());
    let mut stderr = String::new();
    child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
    assert_eq!((child.wait().unwrap().code(), stderr.as_str()), (Some(0), ""));
    let list = sandbox.run(&["list", "--json"]).ok().json();
    assert_eq!(list["sources"][0]["status"], "completed", "{list}");
}

/// Runs a command line under a terminal made by `script`, and returns everything the terminal showed.
fn on_a_terminal(sandbox: &Sandbox, arguments: &[&str]) -> String {
    let plain = sandbox.command(arguments);
    let quoted: Vec<String> = std::iter::once(plain.get_program())
        .chain(plain.get_args())
        .map(|word| format!("'{}'", word.to_str().unwrap()))
        .collect();
    let mut command = std::process::Command::new("script");
    command
        .args(["-qec", &quoted.join(" "), "/dev/null"])
        .current_dir(sandbox.project())
        .env_clear();
    command.envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.env("TERM", "xterm-256color");
    let output = command.stdin(std::process::Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn progress_and_colour_are_drawn_on_a_terminal_only() {
    let mut sandbox = Sandbox::new();
    sandbox.write("talk.wav", short().to_wav());
    let drawn = on_a_terminal(&sandbox, &["index", "talk.wav"]);
    assert!(
        drawn.contains("\u{1b}[") && drawn.contains("1 indexed"),
        "{drawn:?}"
    );
    let plain = on_a_terminal(
        &sandbox,
        &[
            "--color",
            "never",
            "--no-progress",
            "index",
            "--force",
            "talk.wav",
        ],
    );
    assert!(
        !plain.contains("\u{1b}[") && plain.contains("1 indexed"),
        "{plain:?}"
    );
    sandbox.set("NO_COLOR", "1");
    let list = on_a_terminal(&sandbox, &["list"]);
    assert!(!list.contains("\u{1b}["), "{list:?}");
}

#[test]
fn a_full_disk_under_standard_output_is_told() {
    let sandbox = Sandbox::without_models();
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let mut command = sandbox.command(&["completions", "bash"]);
    let output = command.stdout(full).output().unwrap();
    assert_eq!(output.status.code(), Some(6), "{output:?}");
    assert!(
        String::from_utf8_lossy(&output.stderr).contains("standard output"),
        "{output:?}"
    );
}

#[test]
fn colour_is_for_terminals_and_on_request() {
    let mut sandbox = Sandbox::without_models();
    let colored = |sandbox: &Sandbox, arguments: &[&str]| sandbox.run(arguments).stderr.contains('\u{1b}');
    let wrong = ["show", "nobody"];
    assert!(!colored(&sandbox, &wrong));
    assert!(colored(&sandbox, &["--color", "always", "show", "nobody"]));
    sandbox.set("CLICOLOR_FORCE", "1");
    assert!(colored(&sandbox, &wrong));
    assert!(!colored(&sandbox, &["--color", "never", "show", "nobody"]));
    sandbox.set("NO_COLOR", "1");
    assert!(!colored(&sandbox, &wrong));
}

/// A call with the reading on the left and nobody on the right.
fn call() -> Vec<u8> {
    let mono = short();
    let stereo: Vec<f32> = mono.samples().iter().flat_map(|sample| [*sample, 0.0]).collect();
    wav::encode(&stereo, 16_000, 2, wav::Format::Pcm16)
}

#[test]
fn the_channel_and_the_track_that_are_asked_for_are_heard() {
    let sandbox = Sandbox::new();
    sandbox.write("call.wav", call());
    let summary = |flags: &[&str]| {
        let arguments = [&["index", "--json", "call.wav", "--force"], flags].concat();
        sandbox.run(&arguments).ok().summary()
    };
    assert_eq!(count(&summary(&["--channel", "2"])["empty"]), 1);
    let nobody = sandbox.run(&["search", "best of times", "--json"]).ok().json();
    assert_eq!(count(&nobody["hits"]), 0, "{nobody}");
    assert_eq!(count(&summary(&["--channel", "1"])["indexed"]), 1);
    let said = sandbox.run(&["search", "best of times", "--json"]).ok().json();
    assert!(
        said["hits"][0]["text"]
            .as_str()
            .unwrap()
            .contains("best of times"),
        "{said}"
    );
    let run = sandbox
        .run(&["index", "call.wav", "--force", "--track", "2"])
        .exits(3);
    assert!(run.stdout.contains("no audio track 2 of 1"), "{run:?}");
    // What was indexed before stays.
    let still = sandbox.run(&["search", "best of times", "--json"]).ok().json();
    assert_eq!(still["hits"], said["hits"]);
}

#[test]
fn a_child_process_decodes_where_it_is_asked_for() {
    use std::os::unix::fs::PermissionsExt as _;
    let mut sandbox = Sandbox::new();
    sandbox.write("a.wav", short().to_wav());
    let program = |name: &str, last: &str| {
        let used = sandbox.path(format!("{name}-was-used"));
        let path = sandbox.write(name, format!("#!/bin/sh\ntouch '{}'\n{last}\n", used.display()));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        (path, used)
    };
    let (good, good_used) = program(
        "good",
        &format!("exec '{}' \"$@\"", crate::sandbox::program().display()),
    );
    let (bad, bad_used) = program("bad", "kill -9 $$");
    sandbox.run(&["index", "a.wav"]).ok();
    let plain = sandbox.run(&["export", "a.wav", "-f", "srt"]).ok().stdout;

    sandbox.set("AUDIORAG_DECODE_PROGRAM", &good);
    sandbox.run(&["delete", "a.wav", "--yes"]).ok();
    sandbox.run(&["index", "a.wav", "--isolate-decode"]).ok();
    assert!(good_used.exists(), "the child was not asked");
    assert_eq!(sandbox.run(&["export", "a.wav", "-f", "srt"]).ok().stdout, plain);

    sandbox.set("AUDIORAG_DECODE_PROGRAM", &bad);
    sandbox.write("b.wav", variant(1).to_wav());
    let run = sandbox
        .run(&["index", "--json", "b.wav", "--isolate-decode"])
        .exits(3);
    assert!(bad_used.exists(), "the child was not asked");
    assert_eq!(count(&run.summary()["failed"]), 1, "{run:?}");
}
