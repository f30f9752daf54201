//! Inputs that cannot be used, or hardly: each ends with its own reason, and the others of the batch are indexed.

use crate::recordings::{fixture, short, variant};
use crate::sandbox::{Run, Sandbox, count};
use audiorag_testkit::synth::Track;
use audiorag_testkit::wav::{self, Format};
use serde_json::Value;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::process::Command;

/// The failure of the only source that failed.
#[track_caller]
fn only_failure(run: &Run) -> Value {
    let summary = run.summary();
    assert_eq!(count(&summary["failed"]), 1, "{run:?}");
    summary["failed"][0].clone()
}

/// Indexes `name` together with a good file: the good one is searchable, the bad one is reported with this kind
/// and these words, and the exit code says that some failed.
#[track_caller]
fn fails_alone(sandbox: &Sandbox, name: &str, kind: &str, words: &[&str]) -> Value {
    sandbox.write("good.wav", short().to_wav());
    let run = sandbox.run(&["index", "--json", name, "good.wav"]).exits(3);
    let failure = only_failure(&run);
    assert_eq!(failure["kind"], kind, "{run:?}");
    let message = failure["message"].as_str().unwrap();
    for word in words {
        assert!(message.contains(word), "'{word}' is missing from '{message}'");
    }
    assert!(
        failure["source"]
            .as_str()
            .unwrap()
            .contains(name.trim_start_matches("./")),
        "{failure}"
    );
    assert!(!message.contains('\n'), "more than a line: {message}");
    assert_eq!(count(&run.summary()["indexed"]), 1, "{run:?}");
    let found = sandbox.run(&["search", "--json", "fail better"]).ok().json();
    assert!(count(&found["hits"]) > 0, "{found}");
    assert_eq!(sandbox.left_behind(), Vec::<std::path::PathBuf>::new());

    // People read the same reason.
    let human = sandbox.run(&["index", name]).exits(3);
    for word in words {
        assert!(human.stdout.contains(word), "'{word}' is missing: {human:?}");
    }
    assert!(!human.stderr.contains("RUST_BACKTRACE"), "{human:?}");
    failure
}

#[test]
fn a_missing_path() {
    let failure = fails_alone(
        &Sandbox::new(),
        "nowhere/talk.mp3",
        "not_found",
        &["does not exist"],
    );
    assert_eq!(failure["stage"], "discover");
}

#[test]
fn a_folder_without_audio() {
    let sandbox = Sandbox::new();
    sandbox.write("papers/thesis.pdf", "%PDF-1.7");
    sandbox.write("papers/notes.txt", "nothing to hear");
    fails_alone(&sandbox, "papers", "input", &["no audio in the folder"]);
}

#[test]
fn a_file_without_permission() {
    use std::os::unix::fs::PermissionsExt as _;
    let sandbox = Sandbox::new();
    let path = sandbox.write("secret.wav", short().to_wav());
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o000)).unwrap();
    sandbox.write("good.wav", short().to_wav());
    let arguments = ["index", "--json", "secret.wav", "good.wav"];
    let run = sandbox.run_without_privileges(&arguments).exits(3);
    let failure = only_failure(&run);
    assert_eq!(failure["kind"], "input", "{run:?}");
    assert_eq!(count(&run.summary()["indexed"]), 1, "{run:?}");
    let told = failure.to_string();
    assert!(
        told.contains("may not be read") || told.contains("ermission denied"),
        "{told}"
    );
}

#[test]
fn an_empty_file() {
    let sandbox = Sandbox::new();
    sandbox.write("empty.mp3", "");
    fails_alone(&sandbox, "empty.mp3", "input", &["empty"]);
}

#[test]
fn a_recording_too_short_for_a_word() {
    let sandbox = Sandbox::new();
    sandbox.write("click.wav", Track::new(16_000).speech(40, 1).to_wav());
    fails_alone(&sandbox, "click.wav", "input", &["short"]);
}

#[test]
fn a_file_cut_in_half_fails_and_one_cut_at_its_end_is_used() {
    let sandbox = Sandbox::new();
    let whole = short().to_wav();
    sandbox.write("half.wav", &whole[..whole.len() / 2]);
    fails_alone(&sandbox, "half.wav", "input", &["of"]);
    sandbox.write("most.wav", &whole[..whole.len() * 96 / 100]);
    let run = sandbox.run(&["index", "--json", "most.wav"]).ok();
    assert_eq!(count(&run.summary()["indexed"]), 1, "{run:?}");
    let warned =
        run.events().iter().any(|event| event["event"] == "warning") || run.stderr.contains("decoded");
    assert!(warned, "nothing says that the end is missing: {run:?}");
}

#[test]
fn text_and_pdf_under_an_audio_name() {
    let sandbox = Sandbox::new();
    sandbox.write("notes.mp3", "Dear diary,\n".repeat(2_000));
    fails_alone(&sandbox, "notes.mp3", "input", &["text"]);
    let sandbox = Sandbox::new();
    let pdf = [
        b"%PDF-1.7\n%\xE2\xE3\xCF\xD3\n".as_slice(),
        &vec![0x41; 40_000],
        b"\n%%EOF\n",
    ]
    .concat();
    sandbox.write("paper.mp3", pdf);
    fails_alone(&sandbox, "paper.mp3", "input", &["PDF"]);
}

#[test]
fn audio_under_another_name_is_audio() {
    let sandbox = Sandbox::new();
    sandbox.write("talk.txt", short().to_wav());
    let run = sandbox.run(&["index", "--json", "talk.txt"]).ok();
    assert_eq!(count(&run.summary()["indexed"]), 1, "{run:?}");
}

#[test]
fn a_video_without_a_sound_track() {
    let sandbox = Sandbox::new();
    sandbox.write("silent movie.mkv", silent_movie());
    fails_alone(&sandbox, "silent movie.mkv", "input", &["no audio"]);
    let sandbox = Sandbox::new();
    std::fs::copy(
        fixture("video-without-audio.mp4"),
        sandbox.project().join("silent.mp4"),
    )
    .unwrap();
    fails_alone(&sandbox, "silent.mp4", "input", &["no audio"]);
}

#[test]
fn silence_is_indexed_as_empty_and_not_looked_at_again() {
    let sandbox = Sandbox::new();
    sandbox.write("silence.wav", Track::new(16_000).silence(20_000).to_wav());
    sandbox.write("hiss.wav", Track::new(16_000).noise(20_000, 1).to_wav());
    let run = sandbox.run(&["index", "--json", "."]).ok();
    let summary = run.summary();
    assert_eq!(
        (count(&summary["empty"]), count(&summary["indexed"])),
        (2, 0),
        "{run:?}"
    );
    assert_eq!(
        summary["transcribed_parts"], 0,
        "silence was transcribed: {run:?}"
    );
    let sources = sandbox.run(&["list", "--json"]).ok().json();
    assert!(
        sources["sources"]
            .as_array()
            .unwrap()
            .iter()
            .all(|source| source["status"] == "empty"),
        "{sources}"
    );
    let again = sandbox.run(&["index", "--json", "."]).ok().summary();
    assert_eq!(
        (count(&again["skipped"]), count(&again["empty"])),
        (2, 0),
        "{again}"
    );
}

#[test]
fn every_kind_of_wav_is_heard() {
    let sandbox = Sandbox::new();
    let track = short();
    let (mono, rate) = (track.samples(), track.rate());
    assert_eq!(rate, 16_000);
    let slow: Vec<f32> = mono
        .chunks_exact(2)
        .map(|pair| f32::midpoint(pair[0], pair[1]))
        .collect();
    let fast: Vec<f32> = mono
        .windows(2)
        .flat_map(|w| (0..12).map(|i| w[0] + (w[1] - w[0]) * i as f32 / 12.0))
        .collect();
    for format in Format::ALL {
        sandbox.write(format!("{format:?}.wav"), wav::encode(mono, rate, 1, format));
    }
    sandbox.write(
        "eight channels.wav",
        wav::encode(&wav::interleave(mono, 8), rate, 8, Format::Pcm16),
    );
    sandbox.write("telephone.wav", wav::encode_mono(&slow, 8_000));
    sandbox.write("studio.wav", wav::encode(&fast, 192_000, 1, Format::Pcm24));
    let run = sandbox.run(&["index", "--json", "."]).ok();
    assert_eq!(count(&run.summary()["indexed"]), 9, "{run:?}");
    for source in run.summary()["indexed"].as_array().unwrap() {
        let id = source["source_id"].as_str().unwrap();
        let text = sandbox
            .run(&["export", id, "-f", "txt"])
            .ok()
            .stdout
            .to_lowercase();
        assert!(
            text.contains("best of times") && text.contains("age of wisdom"),
            "{source} was heard as '{text}'"
        );
    }
}

#[test]
fn odd_names_are_names() {
    let sandbox = Sandbox::new();
    let names: [&[u8]; 8] = [
        b"not \xFF\xFE text.wav",
        b"two\nlines.wav",
        b"-x.wav",
        b"  spaces  .wav",
        "caf\u{e9}.wav".as_bytes(),
        "cafe\u{301}.wav".as_bytes(),
        "\u{1F399} \u{202E}gnilaever.wav".as_bytes(),
        b"100%25 #1?.wav",
    ];
    for name in names {
        std::fs::write(sandbox.project().join(OsStr::from_bytes(name)), short().to_wav()).unwrap();
    }
    let run = sandbox.run(&["index", "--json", "."]).ok();
    assert_eq!(count(&run.summary()["indexed"]), 8, "{run:?}");
    assert_eq!(
        run.summary()["transcribed_parts"],
        1,
        "the same bytes were transcribed twice: {run:?}"
    );
    let sources = sandbox.run(&["list", "--json"]).ok().json();
    let locators: std::collections::BTreeSet<&str> = sources["sources"]
        .as_array()
        .unwrap()
        .iter()
        .map(|source| source["locator"].as_str().unwrap())
        .collect();
    assert_eq!(locators.len(), 8, "{sources}");
    // A listing keeps a line for each source, whatever the name.
    let listing = sandbox.run(&["list"]).ok().stdout;
    assert!(
        !listing.contains('\u{FFFD}') || listing.contains("not "),
        "{listing}"
    );
    assert!(listing.contains("two\\nlines"), "{listing}");
    // Named on the command line.
    let mut command = sandbox.command(&["index", "--json", "--", "-x.wav"]);
    command.arg(OsStr::from_bytes(b"not \xFF\xFE text.wav"));
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    // Every locator of the listing finds its source again.
    for locator in locators {
        let shown = sandbox.run(&["show", "--json", locator]).ok().json();
        assert_eq!(shown["locator"], locator, "{shown}");
    }
}

#[test]
fn links_that_loop_and_pipes_hang_nothing() {
    use std::os::unix::fs::symlink;
    let sandbox = Sandbox::new();
    sandbox.write("tree/good.wav", short().to_wav());
    sandbox.write("tree/other.wav", variant(2).to_wav());
    let tree = sandbox.project().join("tree");
    symlink(&tree, tree.join("loop")).unwrap();
    symlink(tree.join("nowhere.wav"), tree.join("dangling.wav")).unwrap();
    symlink("self.wav", tree.join("self.wav")).unwrap();
    assert!(
        Command::new("mkfifo")
            .arg(tree.join("pipe.wav"))
            .status()
            .unwrap()
            .success()
    );
    let socket = std::os::unix::net::UnixListener::bind(tree.join("socket.wav")).unwrap();
    let run = sandbox.run(&["index", "--json", "tree"]).exits(3);
    let summary = run.summary();
    assert_eq!(count(&summary["indexed"]), 2, "{run:?}");
    let failed = summary["failed"].as_array().unwrap();
    let reason = |name: &str| {
        let entry = failed
            .iter()
            .find(|entry| entry["source"].as_str().unwrap().ends_with(name));
        entry.unwrap_or_else(|| panic!("{name} is not reported: {run:?}"))["message"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    assert!(reason("pipe.wav").contains("a named pipe"));
    assert!(reason("socket.wav").contains("a socket"));
    drop(socket);
    let named = sandbox.run(&[
        "index",
        "--json",
        "tree/pipe.wav",
        "tree/self.wav",
        "tree/dangling.wav",
        "/dev/null",
    ]);
    let named = named.exits(3).summary();
    assert_eq!(count(&named["failed"]), 4, "{named}");
    // Following links on request ends as well.
    let mut command = sandbox.command(&["index", "--json", "tree"]);
    command.env("AUDIORAG_INDEX_FOLLOW_LINKS", "true");
    let followed = crate::sandbox::Running::start(command).wait().exits(3).summary();
    assert_eq!(count(&followed["skipped"]), 2, "{followed}");
}

#[test]
fn one_batch_of_everything_bad_still_indexes_the_good() {
    let sandbox = Sandbox::new();
    sandbox.write("all/a empty.mp3", "");
    sandbox.write("all/b text.mp3", "only words\n".repeat(500));
    sandbox.write("all/c cut.wav", &short().to_wav()[..40_000]);
    sandbox.write("all/d movie.mkv", silent_movie());
    sandbox.write(
        "all/e garbage.flac",
        [b"fLaC".as_slice(), &[0x5A; 5_000]].concat(),
    );
    sandbox.write("all/f silence.wav", Track::new(16_000).silence(3_000).to_wav());
    sandbox.write("all/g good.wav", short().to_wav());
    let run = sandbox.run(&["index", "--json", "all", "missing.wav"]).exits(3);
    let summary = run.summary();
    assert_eq!(count(&summary["indexed"]), 1, "{run:?}");
    assert_eq!(count(&summary["empty"]), 1, "{run:?}");
    assert_eq!(count(&summary["failed"]), 6, "{run:?}");
    for failure in summary["failed"].as_array().unwrap() {
        assert!(
            matches!(failure["kind"].as_str(), Some("input" | "not_found")),
            "{failure}"
        );
    }
    let human = sandbox.run(&["index", "all", "missing.wav"]).exits(3);
    let told = format!("{}{}", human.stdout, human.stderr);
    assert!(told.contains("6 failed"), "{human:?}");
}

/// A Matroska file with one video track and no other.
fn silent_movie() -> Vec<u8> {
    fn element(id: &[u8], content: &[u8]) -> Vec<u8> {
        // Sizes in eight bytes: valid for every length.
        let size = (0x0100_0000_0000_0000u64 | content.len() as u64).to_be_bytes();
        [id, &size, content].concat()
    }
    let uint = |id: &[u8], value: u8| element(id, &[value]);
    let header = [
        uint(&[0x42, 0x86], 1),
        uint(&[0x42, 0xF7], 1),
        uint(&[0x42, 0xF2], 4),
        uint(&[0x42, 0xF3], 8),
        element(&[0x42, 0x82], b"matroska"),
        uint(&[0x42, 0x87], 4),
        uint(&[0x42, 0x85], 2),
    ]
    .concat();
    let info = [
        element(&[0x2A, 0xD7, 0xB1], &1_000_000u32.to_be_bytes()),
        element(&[0x4D, 0x80], b"test"),
        element(&[0x57, 0x41], b"test"),
    ]
    .concat();
    let video = [uint(&[0xB0], 16), uint(&[0xBA], 16)].concat();
    let track = [
        uint(&[0xD7], 1),
        uint(&[0x73, 0xC5], 1),
        uint(&[0x83], 1),
        element(&[0x86], b"V_VP8"),
        element(&[0xE0], &video),
    ]
    .concat();
    let frames: Vec<u8> = (0..40u8)
        .flat_map(|frame| element(&[0xA3], &[&[0x81, 0, frame, 0x80][..], &[0x55; 600]].concat()))
        .collect();
    let cluster = [uint(&[0xE7], 0), frames].concat();
    let segment = [
        element(&[0x15, 0x49, 0xA9, 0x66], &info),
        element(&[0x16, 0x54, 0xAE, 0x6B], &element(&[0xAE], &track)),
        element(&[0x1F, 0x43, 0xB6, 0x75], &cluster),
    ]
    .concat();
    [
        element(&[0x1A, 0x45, 0xDF, 0xA3], &header),
        element(&[0x18, 0x53, 0x80, 0x67], &segment),
    ]
    .concat()
}
