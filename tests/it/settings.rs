//! Where settings come from, what is said about wrong ones, and that secrets stay secret.

use crate::recordings::short;
use crate::sandbox::{Run, Sandbox};
use serde_json::Value;

const CANARY: &str = "hf_canary0123456789";

/// A setting as `config show --json` prints it.
#[track_caller]
fn setting(run: &Run, name: &str) -> Value {
    let shown = run.json();
    let list = shown["settings"]
        .as_array()
        .unwrap_or_else(|| panic!("no settings: {run:?}"));
    list.iter()
        .find(|entry| entry["setting"] == name)
        .unwrap_or_else(|| panic!("no {name}: {run:?}"))
        .clone()
}

fn show(sandbox: &Sandbox, arguments: &[&str]) -> Run {
    sandbox
        .run(&[arguments, &["config", "show", "--json"]].concat())
        .ok()
}

#[test]
fn flags_beat_environment_beats_env_file_beats_project_beats_user_beats_default() {
    let mut sandbox = Sandbox::without_models();
    let level = |sandbox: &Sandbox, arguments: &[&str]| {
        let entry = setting(&show(sandbox, arguments), "log.level");
        (
            entry["value"].as_str().unwrap().to_owned(),
            entry["origin"].as_str().unwrap().to_owned(),
        )
    };
    let is = |found: (String, String), value: &str, origin: &str| {
        assert_eq!((found.0.as_str(), found.1.as_str()), (value, origin));
    };
    is(level(&sandbox, &[]), "warn", "default");
    std::fs::create_dir_all(sandbox.path("home/.config/audiorag")).unwrap();
    std::fs::write(
        sandbox.path("home/.config/audiorag/config.toml"),
        "[log]\nlevel = \"error\"\n",
    )
    .unwrap();
    is(level(&sandbox, &[]), "error", "user_file");
    sandbox.write("audiorag.toml", "[log]\nlevel = \"info\"\n");
    is(level(&sandbox, &[]), "info", "project_file");
    sandbox.write(".env", "AUDIORAG_LOG_LEVEL=debug\n");
    is(level(&sandbox, &[]), "debug", "env_file");
    sandbox.set("AUDIORAG_LOG_LEVEL", "warn");
    is(level(&sandbox, &[]), "warn", "environment");
    is(level(&sandbox, &["--log-level", "off"]), "off", "flag");
    sandbox.unset("AUDIORAG_LOG_LEVEL");
    // A file named by the environment stands in for the one found by walking up.
    let other = sandbox.write("elsewhere/other.env", "AUDIORAG_LOG_LEVEL=trace\n");
    sandbox.set("AUDIORAG_ENV_FILE", other);
    is(level(&sandbox, &[]), "trace", "env_file");
    let named = sandbox.write("elsewhere/named.toml", "[retrieval]\ntop_k = 3\n");
    let shown = show(&sandbox, &["--config", named.to_str().unwrap()]);
    assert_eq!(setting(&shown, "retrieval.top_k")["value"], "3");
}

#[test]
fn everything_wrong_is_reported_together_before_any_work() {
    let mut sandbox = Sandbox::without_models();
    sandbox.write(
        "audiorag.toml",
        "[retrieval]\ntop_k = 0\n\n[log]\nlevel = \"shout\"\nvolume = 11\n",
    );
    sandbox.set("AUDIORAG_STT_CONCURRENCY", "many");
    let run = sandbox.run(&["index", "talk.wav"]).exits(4);
    let run = run.says(&[
        "retrieval.top_k",
        "log.level",
        "volume",
        "AUDIORAG_STT_CONCURRENCY",
    ]);
    assert_eq!(run.stdout, "");
    assert!(
        !sandbox.path("home/.local/share/audiorag").exists(),
        "work was done"
    );
}

#[test]
fn a_provider_that_does_not_exist_or_is_not_built_in_says_so() {
    let mut sandbox = Sandbox::without_models();
    sandbox.set("AUDIORAG_STT_PROVIDER", "telepathy");
    sandbox
        .run(&["index", "x.wav"])
        .exits(4)
        .says(&["telepathy", "local"]);
}

#[test]
fn secrets_are_shown_nowhere() {
    let mut sandbox = Sandbox::new();
    sandbox.set("HF_TOKEN", CANARY);
    sandbox.set("OPENAI_API_KEY", CANARY);
    sandbox.set("RUST_BACKTRACE", "1");
    sandbox.write("talk.wav", short().to_wav());
    sandbox.write(".env", format!("AUDIORAG_MODELS_HF_TOKEN={CANARY}\n"));
    let commands: [&[&str]; 10] = [
        &["config", "show"],
        &["config", "show", "--json"],
        &["config", "path"],
        &["-vvv", "index", "talk.wav"],
        &["-vvv", "query", "what age was it"],
        &["-vvv", "--log-format", "json", "doctor", "--json"],
        &["-vvv", "models", "list"],
        &["-vvv", "db", "status"],
        &["-vvv", "list"],
        &["-vvv", "show", "nobody"],
    ];
    for arguments in commands {
        let run = sandbox.run(arguments);
        assert!(
            !run.stdout.contains(CANARY) && !run.stderr.contains(CANARY),
            "{run:?}"
        );
    }
    let shown = setting(&show(&sandbox, &[]), "models.hf_token");
    assert_eq!(shown["value"], "***", "{shown}");
    // Nor is it written anywhere but where the user put it.
    for file in walk(&sandbox.path("home"))
        .into_iter()
        .chain(walk(&sandbox.path("tmp")))
    {
        let bytes = std::fs::read(&file).unwrap();
        assert!(
            !bytes
                .windows(CANARY.len())
                .any(|window| window == CANARY.as_bytes()),
            "{}",
            file.display()
        );
    }
}

fn walk(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    let Ok(entries) = std::fs::read_dir(folder) else {
        return files;
    };
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(walk(&path));
        } else {
            files.push(path);
        }
    }
    files
}

#[test]
fn an_unknown_name_in_the_environment_is_a_warning() {
    let mut sandbox = Sandbox::without_models();
    sandbox.set("AUDIORAG_STT_MODLE", "x");
    let run = sandbox.run(&["config", "show"]).ok();
    assert!(run.stderr.contains("AUDIORAG_STT_MODLE"), "{run:?}");
}

#[test]
fn paths_of_settings_files_are_printed() {
    let sandbox = Sandbox::without_models();
    let file = sandbox.write("audiorag.toml", "");
    let run = sandbox.run(&["config", "path"]).ok();
    assert!(run.stdout.contains(file.to_str().unwrap()), "{run:?}");
    assert!(run.stdout.contains(".config/audiorag/config.toml"), "{run:?}");
}
