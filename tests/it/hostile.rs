//! Questions, names, tags and surroundings that are meant to confuse, or that confuse by accident.

use crate::recordings::{fixture, short};
use crate::sandbox::{Running, Sandbox, count};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;

fn indexed() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write("talk.wav", short().to_wav());
    sandbox.run(&["index", "talk.wav"]).ok();
    sandbox
}

#[test]
fn questions_are_text_and_never_syntax() {
    let sandbox = indexed();
    for question in [
        "\"times",
        "wisdom AND NOT (foolishness OR",
        "NEAR(best times, 1) -- ; DROP TABLE source",
        "src:\"*\" OR text:*",
        "'); DELETE FROM chunk; --",
        "^best + times*",
        "{text} : best",
        "d\u{e9}j\u{e0} vu \u{1F600} \u{202E}emit",
        "???",
        "the the the of of and",
    ] {
        let run = sandbox.run(&["search", "--json", "--", question]).ok();
        assert!(run.json()["hits"].is_array(), "{run:?}");
        sandbox.run(&["query", "--json", "--", question]).ok();
    }
    let list = sandbox.run(&["list", "--json"]).ok().json();
    assert_eq!(count(&list["sources"]), 1, "{list}");
    for nothing in ["", "   ", "\n"] {
        sandbox.run(&["query", nothing]).exits(2);
    }
    let endless = "wisdom ".repeat(10_000);
    let run = sandbox.run(&["query", &endless]);
    assert!([0, 2].contains(&run.code()), "{run:?}");
}

#[test]
fn numbers_out_of_range_are_refused() {
    let sandbox = indexed();
    for number in ["0", "-1", "1001", "99999999999999999999", "ten", "1.5"] {
        let run = sandbox.run(&["search", "--top-k", number, "times"]);
        assert!([2, 4].contains(&run.code()), "{run:?}");
        assert!(run.stderr.contains(number), "{run:?}");
    }
    sandbox.run(&["search", "--top-k", "1000", "times"]).ok();
    for day in ["2024-13-01", "2024-02-30", "24-01-01", "yesterday", ""] {
        sandbox.run(&["search", "--after", day, "times"]).exits(2);
    }
}

/// Seven bits a byte, as ID3v2 writes sizes (id3v2.4.0-structure, section 6.2).
fn syncsafe(number: usize) -> [u8; 4] {
    [21, 14, 7, 0].map(|shift| (number >> shift & 0x7F) as u8)
}

/// The MP3 fixture with this title, in Latin-1, as its only tag.
fn titled(title: &[u8]) -> Vec<u8> {
    let fixture = std::fs::read(fixture("two_cities-8s.mp3")).unwrap();
    assert_eq!(&fixture[..3], b"ID3");
    let old = fixture[6..10]
        .iter()
        .fold(0, |size, byte| size << 7 | usize::from(*byte));
    let mut frame = b"TIT2".to_vec();
    frame.extend((title.len() as u32 + 1).to_be_bytes());
    frame.extend([0, 0, 0]);
    frame.extend(title);
    [
        b"ID3\x03\x00\x00".as_slice(),
        &syncsafe(frame.len()),
        &frame,
        &fixture[10 + old..],
    ]
    .concat()
}

#[test]
fn names_and_titles_cannot_command_the_terminal() {
    let sandbox = Sandbox::new();
    // Clears the screen, renames the window, rings, and begins a line of its own.
    let hostile = b"\x1b[2J\x1b]0;owned\x07\x08\r\nNice \x9b31m talk";
    sandbox.write("titled.mp3", titled(hostile));
    let name = OsStr::from_bytes(b"\x1b[31mred\x07\r.wav");
    std::fs::write(sandbox.project().join(name), short().to_wav()).unwrap();
    std::fs::write(sandbox.project().join(OsStr::from_bytes(b"\x1b[2Jempty.wav")), "").unwrap();
    let run = sandbox.run(&["index", "."]).exits(3);
    // The title is read, so what follows shows how it is printed.
    let shown = sandbox.run(&["show", "--json", "titled.mp3"]).ok().json();
    assert!(shown["title"].as_str().unwrap().contains("talk"), "{shown}");
    assert!(shown["title"].as_str().unwrap().contains("Nice"), "{shown}");
    let question = "was it the age of wisdom";
    let mut runs = vec![run, sandbox.run(&["-vvv", "index", "--force", "."]).exits(3)];
    for arguments in [
        vec!["list"],
        vec!["status"],
        vec!["query", question],
        vec!["search", question],
        vec!["show", "titled.mp3"],
        vec!["export", "titled.mp3", "-f", "srt"],
        vec!["export", "titled.mp3", "-f", "md"],
        vec!["delete", "--yes", "titled.mp3"],
    ] {
        runs.push(sandbox.run(&arguments).ok());
    }
    for run in runs {
        for output in [&run.stdout, &run.stderr] {
            let foreign = output
                .chars()
                .find(|c| c.is_control() && *c != '\n' && *c != '\t');
            assert_eq!(foreign, None, "{run:?}");
        }
    }
}

#[test]
fn surroundings_that_are_missing_or_odd_are_told() {
    let sandbox = Sandbox::without_models();
    // A value that is no text.
    let mut command = sandbox.command(&["list"]);
    command.env("AUDIORAG_LOG_LEVEL", OsStr::from_bytes(b"\xFF\xFE"));
    Running::start(command)
        .wait()
        .exits(4)
        .says(&["AUDIORAG_LOG_LEVEL"]);
    // A current directory that was removed.
    let mut command = std::process::Command::new("sh");
    command.args(["-c", "mkdir gone && cd gone && rmdir ../gone && exec \"$0\" list"]);
    let plain = sandbox.command(&[]);
    command.arg(plain.get_program()).current_dir(sandbox.project());
    let output = command.output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.code() == Some(6) && told.contains("current directory"),
        "{output:?}"
    );
    // No home directory at all: everything can be named instead.
    let mut command = sandbox.command(&["--database-url", "here.db", "db", "migrate"]);
    command.env_remove("HOME");
    Running::start(command).wait().ok();
    assert!(sandbox.project().join("here.db").is_file());
}

#[test]
fn a_link_and_its_file_are_one_source() {
    let sandbox = indexed();
    std::os::unix::fs::symlink("talk.wav", sandbox.project().join("link.wav")).unwrap();
    let run = sandbox
        .run(&["index", "--json", "link.wav", "./talk.wav", "../project/talk.wav"])
        .ok();
    assert_eq!(count(&run.summary()["skipped"]), 1, "{run:?}");
    assert_eq!(count(&sandbox.run(&["list", "--json"]).ok().json()["sources"]), 1);
}
