//! Every other command, once as a user runs it and once as it goes wrong.

use crate::recordings::{short, variant};
use crate::sandbox::{Sandbox, count, models_dir};

#[test]
fn mistakes_on_the_command_line_end_with_2() {
    let sandbox = Sandbox::without_models();
    let wrong: [&[&str]; 7] = [
        &[],
        &["fly"],
        &["index"],
        &["export", "x"],
        &["export", "x", "-f", "mp3"],
        &["search", "--top-k"],
        &["--color", "blue", "list"],
    ];
    for arguments in wrong {
        let run = sandbox.run(arguments).exits(2);
        assert_eq!(run.stdout, "", "{run:?}");
        assert!(
            run.stderr.contains("Usage") || run.stderr.contains("error"),
            "{run:?}"
        );
    }
    let help = sandbox.run(&["--help"]).ok();
    for command in [
        "index",
        "query",
        "search",
        "export",
        "doctor",
        "models",
        "completions",
    ] {
        assert!(help.stdout.contains(command), "{help:?}");
    }
    assert!(sandbox.run(&["--version"]).ok().stdout.starts_with("audiorag "));
}

#[test]
fn completions_for_every_shell() {
    let sandbox = Sandbox::without_models();
    for (shell, marks) in [
        ("bash", "complete"),
        ("zsh", "#compdef audiorag"),
        ("fish", "complete -c audiorag"),
        ("powershell", "Register"),
    ] {
        let run = sandbox.run(&["completions", shell]).ok();
        assert!(
            run.stdout.contains(marks) && run.stdout.contains("export"),
            "{shell}"
        );
    }
}

#[test]
fn missing_models_name_the_file_and_the_command() {
    let mut sandbox = Sandbox::new();
    sandbox.write("talk.wav", short().to_wav());
    sandbox.run(&["index", "talk.wav"]).ok();
    sandbox.set("AUDIORAG_MODELS_DIR", sandbox.path("nothing here"));
    sandbox
        .run(&["index", "talk.wav"])
        .exits(4)
        .says(&["audiorag models pull", "nothing here"]);
    sandbox
        .run(&["query", "anything"])
        .exits(4)
        .says(&["audiorag models pull", "nothing here"]);
    let verified = sandbox.run(&["models", "verify"]);
    assert_ne!(verified.code(), 0, "{verified:?}");
    let doctor = sandbox.run(&["doctor"]).exits(4);
    assert!(doctor.stdout.contains("audiorag models pull"), "{doctor:?}");
    // What needs no model works without.
    sandbox.run(&["list"]).ok();
    sandbox.run(&["export", "talk.wav", "-f", "srt"]).ok();
    // Pulling is refused offline, with the reason, and no connection is tried.
    let pulled = sandbox.run(&["models", "pull", "--yes"]);
    assert_ne!(pulled.code(), 0);
    assert!(pulled.stderr.to_lowercase().contains("offline"), "{pulled:?}");
}

#[test]
fn a_damaged_model_is_found() {
    let mut sandbox = Sandbox::without_models();
    let copy = sandbox.path("models");
    copy_folder(&models_dir(), &copy);
    sandbox.set("AUDIORAG_MODELS_DIR", &copy);
    sandbox.run(&["models", "verify"]).ok();
    let file = largest(&copy);
    let mut bytes = std::fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0xFF;
    std::fs::remove_file(&file).unwrap();
    std::fs::write(&file, bytes).unwrap();
    let run = sandbox.run(&["models", "verify"]);
    assert_ne!(run.code(), 0, "{run:?}");
    let told = format!("{}{}", run.stdout, run.stderr);
    assert!(
        told.contains(file.file_name().unwrap().to_str().unwrap()),
        "{run:?}"
    );
}

/// Copies a folder with everything in it.
fn copy_folder(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy_folder(&path, &target);
        } else {
            std::fs::copy(&path, &target).unwrap();
        }
    }
}

fn largest(folder: &std::path::Path) -> std::path::PathBuf {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                files.push((path.metadata().unwrap().len(), path));
            }
        }
    }
    files.into_iter().max().unwrap().1
}

#[test]
fn models_are_listed_verified_and_found() {
    let sandbox = Sandbox::new();
    let path = sandbox.run(&["models", "path"]).ok();
    assert_eq!(path.stdout.trim_end(), models_dir().to_str().unwrap());
    let list = sandbox.run(&["models", "list"]).ok();
    assert!(
        list.stdout.contains("moonshine") && list.stdout.contains("MiniLM"),
        "{list:?}"
    );
    let json = sandbox.run(&["models", "list", "--json"]).ok().json();
    assert!(count(&json["models"]) >= 2, "{json}");
    sandbox.run(&["models", "verify"]).ok();
    // Everything is there: nothing to fetch, so being offline is no obstacle.
    sandbox.run(&["models", "pull", "--yes"]).ok();
}

#[test]
fn the_doctor_finds_a_healthy_installation_healthy() {
    let sandbox = Sandbox::new();
    let run = sandbox.run(&["doctor"]).ok();
    assert!(!run.stdout.is_empty(), "{run:?}");
    let report = sandbox.run(&["doctor", "--json"]).ok().json();
    assert!(count(&report["checks"]) >= 3, "{report}");
    sandbox.run(&["doctor", "--deep"]).ok();
}

#[test]
fn the_schema_goes_up_and_down() {
    let sandbox = Sandbox::without_models();
    let pending = sandbox.run(&["db", "status", "--json"]).ok().json();
    assert!(pending.is_object(), "{pending}");
    sandbox.run(&["db", "migrate"]).ok();
    let migrated = sandbox.run(&["db", "status", "--json"]).ok().json();
    sandbox.run(&["db", "rollback", "--yes"]).ok();
    let back = sandbox.run(&["db", "status", "--json"]).ok().json();
    assert_ne!(back, migrated);
    sandbox.run(&["db", "migrate"]).ok();
    assert_eq!(sandbox.run(&["db", "status", "--json"]).ok().json(), migrated);
    sandbox.run(&["list"]).ok();
}

#[test]
fn a_database_of_a_newer_version_is_refused() {
    let sandbox = Sandbox::without_models();
    sandbox
        .run(&["--database-url", "audiorag.db", "db", "migrate"])
        .ok();
    let url = format!("sqlite://{}", sandbox.project().join("audiorag.db").display());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        use sea_orm::ConnectionTrait as _;
        let database = sea_orm::Database::connect(url).await.unwrap();
        let newer = "INSERT INTO seaql_migrations (version, applied_at) VALUES ('m20990101_000001_dream', 0)";
        database.execute_unprepared(newer).await.unwrap();
        database.close().await.unwrap();
    });
    for command in [vec!["list"], vec!["db", "migrate"], vec!["index", "x.wav"]] {
        let run = sandbox.run(&[vec!["--database-url", "audiorag.db"], command].concat());
        assert_ne!(run.code(), 0, "{run:?}");
    }
    sandbox
        .run(&["--database-url", "audiorag.db", "list"])
        .exits(6)
        .says(&["audiorag.db", "newer"]);
}

#[test]
fn a_database_that_cannot_be_used_ends_with_6() {
    let sandbox = Sandbox::new();
    sandbox.write("talk.wav", short().to_wav());
    sandbox.write("not-a-database.db", "This is a letter to my aunt.\n".repeat(500));
    let run = sandbox
        .run(&["--database-url", "not-a-database.db", "list"])
        .exits(6);
    assert!(run.stderr.contains("not-a-database.db"), "{run:?}");
    // A place where no database can be is a wrong setting.
    sandbox.write("file", "in the way");
    let arguments = ["--database-url", "file/below/audiorag.db", "index", "talk.wav"];
    sandbox
        .run(&arguments)
        .exits(4)
        .says(&["file/below/audiorag.db", "lies below a file"]);
}

#[test]
fn a_folder_that_cannot_be_written_ends_with_6_and_still_answers() {
    use std::os::unix::fs::PermissionsExt as _;
    let sandbox = Sandbox::new();
    sandbox.write("talk.wav", short().to_wav());
    let data = sandbox.project().join("data");
    let lock = |mode| std::fs::set_permissions(&data, std::fs::Permissions::from_mode(mode)).unwrap();
    std::fs::create_dir(&data).unwrap();
    lock(0o555);
    let run = sandbox
        .run_without_privileges(&["--database-url", "data/a.db", "index", "talk.wav"])
        .exits(6);
    assert!(run.stderr.contains("data"), "{run:?}");
    lock(0o755);
    sandbox
        .run(&["--database-url", "data/a.db", "index", "talk.wav"])
        .ok();
    lock(0o555);
    let run =
        sandbox.run_without_privileges(&["--database-url", "data/a.db", "search", "--json", "best of times"]);
    assert!(count(&run.ok().json()["hits"]) > 0);
}

#[test]
fn deleted_sources_are_gone_and_recordings_stay() {
    let sandbox = Sandbox::new();
    let talk = sandbox.write("talk.wav", short().to_wav());
    sandbox.write("other.wav", variant(4).to_wav());
    sandbox.run(&["index", "."]).ok();
    sandbox.run(&["delete", "--yes", "talk.wav"]).ok();
    assert!(talk.is_file(), "the recording was deleted");
    let list = sandbox.run(&["list", "--json"]).ok().json();
    assert_eq!(count(&list["sources"]), 1, "{list}");
    let hits = sandbox
        .run(&["search", "--json", "--top-k", "50", "best of times"])
        .ok()
        .json();
    let left = list["sources"][0]["source_id"].as_str().unwrap();
    assert!(count(&hits["hits"]) > 0, "{hits}");
    assert!(
        hits["hits"]
            .as_array()
            .unwrap()
            .iter()
            .all(|hit| hit["source_id"] == left),
        "{hits}"
    );
    sandbox
        .run(&["delete", "--yes", "talk.wav"])
        .exits(2)
        .says(&["talk.wav"]);
    // What was transcribed is still known: indexing again is free.
    let again = sandbox.run(&["index", "--json", "talk.wav"]).ok().summary();
    assert_eq!(again["transcribed_parts"], 0, "{again}");
    assert_eq!(count(&again["indexed"]), 1, "{again}");
}

#[test]
fn the_cache_is_counted_and_cleared() {
    let sandbox = Sandbox::new();
    sandbox.write("talk.wav", short().to_wav());
    sandbox.run(&["index", "talk.wav"]).ok();
    let info = sandbox.run(&["cache", "info", "--json"]).ok().json();
    assert!(info.is_object(), "{info}");
    sandbox.run(&["cache", "info"]).ok();
    // What a live source needs survives.
    sandbox.run(&["cache", "clear"]).ok();
    let forced = sandbox
        .run(&["index", "--json", "--force", "talk.wav"])
        .ok()
        .summary();
    assert_eq!(forced["transcribed_parts"], 0, "{forced}");
    // What no source needs goes: the next time it is computed again.
    sandbox.run(&["delete", "--yes", "talk.wav"]).ok();
    let cleared = sandbox.run(&["cache", "clear", "--json"]).ok().json();
    assert_eq!(cleared["part_transcripts"], 1, "{cleared}");
    let anew = sandbox.run(&["index", "--json", "talk.wav"]).ok().summary();
    assert_eq!(anew["transcribed_parts"], 1, "{anew}");
}

#[test]
fn status_and_show_tell_where_a_source_stands() {
    let sandbox = Sandbox::new();
    sandbox.write("talk.wav", short().to_wav());
    sandbox.write("broken.wav", "RIFF....WAVE and then nothing of use");
    sandbox.run(&["index", "."]).exits(3);
    let status = sandbox.run(&["status", "--json"]).ok();
    assert!(
        status.stdout.contains("completed") && status.stdout.contains("failed"),
        "{status:?}"
    );
    let human = sandbox.run(&["status"]).ok();
    assert!(
        human.stdout.contains("completed") && human.stdout.contains("failed"),
        "{human:?}"
    );
    let broken = sandbox.run(&["show", "--json", "broken.wav"]).ok().json();
    assert_eq!(broken["status"], "failed", "{broken}");
    assert!(!broken["error"].is_null(), "{broken}");
    let list = sandbox.run(&["list"]).ok();
    assert!(list.stdout.contains("talk"), "{list:?}");
    sandbox.run(&["show", "nobody"]).exits(2).says(&["nobody"]);
}

#[test]
fn setup_writes_a_file_that_is_read() {
    let sandbox = Sandbox::new();
    let run = sandbox.run_with_input(&["setup", "--yes"], b"").ok();
    let file = sandbox.project().join("audiorag.toml");
    assert!(file.is_file(), "{run:?}");
    let shown = sandbox.run(&["config", "path"]).ok();
    assert!(shown.stdout.contains(file.to_str().unwrap()), "{shown:?}");
    sandbox.run(&["config", "show"]).ok();
    let again = sandbox.run_with_input(&["setup", "--yes"], b"");
    assert_ne!(again.code(), 0, "an existing file was replaced: {again:?}");
    sandbox.run_with_input(&["setup", "--yes", "--force"], b"").ok();
}
