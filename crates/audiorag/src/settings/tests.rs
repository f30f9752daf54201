//! Precedence, the rules of `.env`, everything wrong at once, and nothing secret shown.

use super::*;
use audiorag_core::ErrorKind;
use std::fs;
use std::path::Path;
use tempfile::TempDir;

const CANARY: &str = "hf_canary0123456789";

fn sources(root: &TempDir) -> Sources {
    Sources::isolated(root.path())
}

fn resolved(sources: &Sources) -> Resolution {
    Settings::resolve(sources).unwrap()
}

fn write(root: &TempDir, name: &str, text: &str) {
    let path = root.path().join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn origin(resolution: &Resolution, key: Key) -> Origin {
    resolution
        .entries
        .iter()
        .find(|entry| entry.key == key)
        .unwrap()
        .origin
        .clone()
}

#[test]
fn nothing_set_gives_the_defaults() {
    let root = TempDir::new().unwrap();
    let resolution = resolved(&sources(&root));
    let settings = &resolution.settings;
    assert_eq!(
        settings.database.path,
        root.path().join("data/audiorag/audiorag.db")
    );
    assert_eq!(settings.models.dir, root.path().join("data/audiorag/models"));
    assert_eq!(
        settings.models.hf_home,
        root.path().join("home/.cache/huggingface")
    );
    assert_eq!(settings.work_dir, root.path().join("cache/audiorag/work"));
    assert_eq!(
        (settings.stt.provider.as_str(), settings.stt.concurrency),
        ("local", 2)
    );
    assert_eq!(settings.chunk.target, MediaTime::from_seconds(30));
    assert_eq!(settings.chunk.max, MediaTime::from_seconds(33));
    assert_eq!(settings.retry, RetryPolicy::default());
    assert_eq!(settings.log.level, LogLevel::Warn);
    assert_eq!(resolution.entries.len(), Key::all().count());
    assert!(
        resolution
            .entries
            .iter()
            .all(|entry| entry.origin == Origin::Default)
    );
    assert!(resolution.warnings.is_empty() && resolution.files.is_empty());
}

#[test]
fn each_source_yields_to_the_stronger_ones() {
    let root = TempDir::new().unwrap();
    let mut sources = sources(&root);
    let key = Key::RetrievalTopK;
    write(&root, "config/audiorag/config.toml", "[retrieval]\ntop_k = 1\n");
    let resolution = resolved(&sources);
    assert_eq!(resolution.settings.retrieval.top_k, 1);
    assert_eq!(origin(&resolution, key).as_str(), "user_file");

    write(&root, "audiorag.toml", "[retrieval]\ntop_k = 2\n");
    let resolution = resolved(&sources);
    assert_eq!(resolution.settings.retrieval.top_k, 2);
    assert_eq!(
        origin(&resolution, key),
        Origin::ProjectFile(root.path().join("audiorag.toml"))
    );

    write(&root, ".env", "AUDIORAG_RETRIEVAL_TOP_K=3\n");
    let resolution = resolved(&sources);
    assert_eq!(resolution.settings.retrieval.top_k, 3);
    assert_eq!(origin(&resolution, key).as_str(), "env_file");

    sources = sources.with_env("AUDIORAG_RETRIEVAL_TOP_K", "4");
    let resolution = resolved(&sources);
    assert_eq!(resolution.settings.retrieval.top_k, 4);
    assert_eq!(
        origin(&resolution, key).to_string(),
        "environment AUDIORAG_RETRIEVAL_TOP_K"
    );

    sources = sources.with(key, "5");
    let resolution = resolved(&sources);
    assert_eq!(resolution.settings.retrieval.top_k, 5);
    assert_eq!(origin(&resolution, key), Origin::CommandLine);
    assert_eq!(resolution.files.len(), 3);
}

#[test]
fn a_named_configuration_replaces_the_project_file_only() {
    let root = TempDir::new().unwrap();
    write(&root, "config/audiorag/config.toml", "[index]\nhidden = true\n");
    write(&root, "audiorag.toml", "[retrieval]\ntop_k = 2\n");
    write(&root, "other/mine.toml", "database_url = \"talks.db\"\n");
    let mut sources = sources(&root);
    sources.config_file = Some("other/mine.toml".into());
    let settings = resolved(&sources).settings;
    assert_eq!(settings.retrieval.top_k, 10);
    assert!(settings.index.hidden);
    assert_eq!(settings.database.path, root.path().join("other/talks.db"));

    sources.config_file = Some("missing.toml".into());
    let error = Settings::resolve(&sources).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("missing.toml cannot be read: it does not exist"),
        "{error}"
    );
}

#[test]
fn env_files_are_found_walking_up_and_never_win_over_the_environment() {
    let root = TempDir::new().unwrap();
    write(
        &root,
        ".env",
        "# comment\nexport HF_TOKEN=\"from file\"\nAUDIORAG_STT_LANGUAGE=de\nAUDIORAG_DATABASE_PATH=x.db\n",
    );
    fs::create_dir_all(root.path().join("a/b/.env")).unwrap();
    let mut sources = sources(&root).with_env("AUDIORAG_STT_LANGUAGE", "fr");
    sources.cwd = root.path().join("a/b");
    let error = Settings::resolve(&sources).unwrap_err();
    assert!(
        error.to_string().contains("models.hf_token = *** (HF_TOKEN in "),
        "{error}"
    );

    write(
        &root,
        ".env",
        "HF_TOKEN=token\nAUDIORAG_STT_LANGUAGE=de\nAUDIORAG_DATABASE_PATH=x.db\n",
    );
    let settings = resolved(&sources).settings;
    assert_eq!(settings.stt.language.as_deref(), Some("fr"));
    assert_eq!(settings.models.hf_token, Some(Secret::new("token")));
    assert_eq!(settings.database.path, root.path().join("x.db"));

    write(
        &root,
        "named.env",
        "AUDIORAG_STT_LANGUAGE=it\nAUDIORAG_ENV_FILE=/nowhere\n",
    );
    sources.env.clear();
    let sources = sources.with_env("AUDIORAG_ENV_FILE", "../../named.env");
    let settings = resolved(&sources).settings;
    assert_eq!(settings.stt.language.as_deref(), Some("it"));
    assert_eq!(settings.models.hf_token, None);
}

#[test]
fn broken_env_files_are_warnings_unless_they_are_named() {
    let root = TempDir::new().unwrap();
    let text = format!("AUDIORAG_STT_LANGUAGE=de\nHF TOKEN {CANARY}\nAUDIORAG_INDEX_HIDDEN=true\n");
    write(&root, ".env", &text);
    let resolution = resolved(&sources(&root));
    assert!(resolution.settings.index.hidden);
    assert_eq!(resolution.warnings.len(), 1);
    let warning = resolution.warnings.first().unwrap();
    assert!(warning.ends_with(".env line 2 is not NAME=value"), "{warning}");

    let error = Settings::resolve(&sources(&root).with(Key::EnvFile, ".env")).unwrap_err();
    assert!(error.to_string().contains("line 2 is not NAME=value"), "{error}");
    assert!(!format!("{error:?}").contains(CANARY));

    let error = Settings::resolve(&sources(&root).with(Key::EnvFile, "none.env")).unwrap_err();
    assert!(error.to_string().contains("none.env cannot be read"), "{error}");
}

#[test]
fn aliases_are_read_after_our_own_names() {
    let root = TempDir::new().unwrap();
    let sources = sources(&root)
        .with_env("HF_HUB_OFFLINE", "1")
        .with_env("HF_ENDPOINT", "http://127.0.0.1:9/")
        .with_env("HF_TOKEN", "vendor")
        .with_env("AUDIORAG_MODELS_HF_TOKEN", "ours")
        .with_env("AUDIORAG_RETRY_MIN_WAIT_SECONDS", "4")
        .with_env("XDG_CACHE_HOME", "/caches")
        .with_env("AUDIORAG_LOG_LEVEL", "WARNING");
    let settings = resolved(&sources).settings;
    assert!(settings.models.offline && !settings.offline);
    assert!(settings.models.hf_configured);
    assert_eq!(settings.models.hf_hub_cache, Path::new("/caches/huggingface/hub"));
    assert_eq!(settings.models.hf_endpoint, "http://127.0.0.1:9");
    assert_eq!(settings.models.hf_token, Some(Secret::new("ours")));
    assert_eq!(settings.models.hf_home, Path::new("/caches/huggingface"));
    assert_eq!(settings.retry.first_wait, Duration::from_secs(4));
    assert_eq!(settings.log.level, LogLevel::Warn);
}

#[test]
fn a_number_that_somebody_chose_is_told_from_a_default() {
    let root = TempDir::new().unwrap();
    let settings = resolved(&sources(&root)).settings;
    assert!(!settings.stt.concurrency_chosen && !settings.embedding.concurrency_chosen);
    let settings = resolved(&sources(&root).with_env("AUDIORAG_STT_CONCURRENCY", "16")).settings;
    assert!(settings.stt.concurrency_chosen && !settings.embedding.concurrency_chosen);
    write(&root, "audiorag.toml", "[embedding]\nconcurrency = 3\n");
    let settings = resolved(&sources(&root)).settings;
    assert_eq!(
        (
            settings.embedding.concurrency,
            settings.embedding.concurrency_chosen
        ),
        (3, true)
    );
}

#[test]
fn offline_covers_the_model_hub() {
    let root = TempDir::new().unwrap();
    assert!(
        resolved(&sources(&root).with(Key::Offline, "yes"))
            .settings
            .models
            .offline
    );
    let contradicting = sources(&root)
        .with(Key::Offline, "yes")
        .with_env("HF_HUB_OFFLINE", "0");
    assert!(resolved(&contradicting).settings.models.offline);
}

/// A value that no setting of its kind accepts.
fn bad_value(root: &TempDir, kind: Kind) -> Option<String> {
    Some(match kind {
        Kind::Text => return None,
        Kind::Secret => format!("{CANARY} {CANARY}"),
        Kind::Flag => "perhaps".to_owned(),
        Kind::Integer { max, .. } => (max + 1).to_string(),
        Kind::Number { .. } | Kind::Seconds { .. } => "-1".to_owned(),
        Kind::Choice(_) | Kind::Provider(_) | Kind::Age => "nonesuch".to_owned(),
        Kind::File => root.path().join("missing").display().to_string(),
        Kind::Directory => root.path().join("file").display().to_string(),
        Kind::Database => format!("postgres://me:{CANARY}@db/audio"),
        Kind::Url => format!("ftp://{CANARY}@host"),
        Kind::Limits => "openai: speed=1".to_owned(),
    })
}

#[test]
fn everything_wrong_is_reported_together_without_secrets() {
    let root = TempDir::new().unwrap();
    write(&root, "file", "");
    let mut sources = sources(&root);
    for key in Key::all() {
        let spec = key.spec();
        if let Some(value) = bad_value(&root, spec.kind) {
            sources.env.insert(spec.env_name(), value);
        }
    }
    let error = Settings::resolve(&sources).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    let message = error.to_string();
    for key in Key::all() {
        let spec = key.spec();
        if bad_value(&root, spec.kind).is_none() {
            continue;
        }
        let line = message.lines().find(|line| line.contains(&spec.env_name()));
        let line = line.unwrap_or_else(|| panic!("{} is not reported in {message}", spec.path));
        assert!(line.contains("; "), "no remedy: {line}");
    }
    assert!(!message.contains(CANARY), "{message}");
    assert!(!format!("{error:?} {sources:?}").contains(CANARY));
    assert!(message.contains("not available in this build yet"), "{message}");
}

#[cfg(feature = "local")]
#[test]
fn models_of_a_closed_list_are_checked() {
    let root = TempDir::new().unwrap();
    let error = Settings::resolve(&sources(&root).with(Key::SttModel, "whisper")).unwrap_err();
    assert_eq!(
        error.to_string(),
        "stt.model = 'whisper' (command line) is not a model of provider 'local'"
    );
    assert_eq!(error.hint(), Some("expected one of moonshine-tiny-en"));
    assert!(Settings::resolve(&sources(&root).with(Key::EmbeddingModel, "all-MiniLM-L6-v2")).is_ok());
}

#[test]
fn secrets_are_shown_as_stars() {
    let root = TempDir::new().unwrap();
    let resolution = resolved(&sources(&root).with_env("HF_TOKEN", CANARY));
    let shown = format!("{resolution:?}");
    assert!(!shown.contains(CANARY), "{shown}");
    let entry = resolution
        .entries
        .iter()
        .find(|entry| entry.key == Key::ModelsHfToken)
        .unwrap();
    assert_eq!(entry.value.as_deref(), Some("***"));
}

#[test]
fn empty_values_are_refused_unless_the_name_is_somebody_elses() {
    let root = TempDir::new().unwrap();
    let settings = resolved(&sources(&root).with_env("HF_TOKEN", "").with_env("HF_HOME", " ")).settings;
    assert_eq!(settings.models.hf_token, None);
    let error = Settings::resolve(&sources(&root).with_env("AUDIORAG_STT_MODEL", "")).unwrap_err();
    assert_eq!(
        error.to_string(),
        "stt.model is empty (environment AUDIORAG_STT_MODEL)"
    );
    assert_eq!(error.hint(), Some("give text or remove it"));
}

#[test]
fn unknown_names_are_errors_in_files_and_warnings_in_the_environment() {
    let root = TempDir::new().unwrap();
    let text = format!(
        "stt = \"local\"\nhf_token = \"{CANARY}\"\nenv_file = \"x\"\n[retrieval]\ntopk = 3\ntop_k = [1]\n[strange]\nx = 1\n"
    );
    write(&root, "audiorag.toml", &text);
    let error = Settings::resolve(&sources(&root)).unwrap_err();
    let message = error.to_string();
    for expected in [
        "stt in ",
        "make it a table: [stt]",
        "hf_token in ",
        "env_file cannot be set in ",
        "did you mean retrieval.top_k?",
        "retrieval.top_k in ",
        "strange in ",
        "remove it",
    ] {
        assert!(message.contains(expected), "{expected} is not in {message}");
    }
    assert!(!message.contains(CANARY));

    fs::remove_file(root.path().join("audiorag.toml")).unwrap();
    let sources = sources(&root)
        .with_env("AUDIORAG_STT_PROVDER", CANARY)
        .with_env("AUDIORAG_ADVANCED_STT_MODEL", CANARY)
        .with_env("AUDIORAG_QUITE_ANOTHER_THING", CANARY)
        .with_env("AUDIORAG_LIVE", "1");
    assert_eq!(
        resolved(&sources).warnings,
        [
            "AUDIORAG_ADVANCED_STT_MODEL is not a setting and is ignored, did you mean AUDIORAG_STT_MODEL?",
            "AUDIORAG_QUITE_ANOTHER_THING is not a setting and is ignored",
            "AUDIORAG_STT_PROVDER is not a setting and is ignored, did you mean AUDIORAG_STT_PROVIDER?",
        ]
    );
}

#[test]
fn broken_files_name_the_line_and_not_its_text() {
    let root = TempDir::new().unwrap();
    write(
        &root,
        "audiorag.toml",
        &format!("[models]\n\nhf_token = {CANARY}\n"),
    );
    let error = Settings::resolve(&sources(&root)).unwrap_err();
    assert!(
        error.to_string().ends_with("audiorag.toml line 3 is not TOML"),
        "{error}"
    );
    assert!(!format!("{error:?}").contains(CANARY));
    fs::remove_file(root.path().join("audiorag.toml")).unwrap();
    fs::create_dir_all(root.path().join("config/audiorag/config.toml")).unwrap();
    let error = Settings::resolve(&sources(&root)).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("config.toml cannot be read: it is a directory"),
        "{error}"
    );
}

#[test]
fn contradictions_name_both_settings() {
    let root = TempDir::new().unwrap();
    let sources = sources(&root)
        .with(Key::ChunkMaxSeconds, "10")
        .with(Key::ChunkOverlapSeconds, "30")
        .with(Key::RetryFirstWaitSeconds, "60");
    let message = Settings::resolve(&sources).unwrap_err().to_string();
    for expected in [
        "chunk.max_seconds = '10' (command line) is below chunk.duration_seconds = '30' (default)",
        "chunk.overlap_seconds = '30' (command line) is not below chunk.duration_seconds = '30' (default)",
        "retry.max_wait_seconds = '30' (default) is below retry.first_wait_seconds = '60' (command line)",
    ] {
        assert!(message.contains(expected), "{message}");
    }
}

#[test]
fn databases_are_paths_or_sqlite_urls() {
    let root = TempDir::new().unwrap();
    write(&root, "file", "");
    let path = |value: &str| {
        Settings::resolve(&sources(&root).with(Key::DatabaseUrl, value)).map(|r| r.settings.database.path)
    };
    assert_eq!(path("a.db").unwrap(), root.path().join("a.db"));
    assert_eq!(path("~/a.db").unwrap(), root.path().join("home/a.db"));
    assert_eq!(path("sqlite:a.db").unwrap(), root.path().join("a.db"));
    assert_eq!(path("sqlite://a.db?mode=rwc").unwrap(), root.path().join("a.db"));
    assert_eq!(path("sqlite:///x/a.db").unwrap(), Path::new("/x/a.db"));
    for bad in [
        "sqlite::memory:",
        "sqlite:",
        ":memory:",
        "mysql://x",
        "a://b",
        "sqlite:x?mode=ro",
        "file/a.db",
        ".",
    ] {
        assert_eq!(path(bad).unwrap_err().kind(), ErrorKind::Config, "{bad}");
    }
}

#[test]
fn without_a_home_the_settings_that_need_one_must_be_given() {
    let root = TempDir::new().unwrap();
    let mut sources = sources(&root);
    sources.directories = Directories::default();
    let message = Settings::resolve(&sources).unwrap_err().to_string();
    for name in [
        "AUDIORAG_DATABASE_URL",
        "AUDIORAG_WORK_DIR",
        "AUDIORAG_FETCH_DIR",
        "AUDIORAG_MODELS_DIR",
        "AUDIORAG_MODELS_HF_HOME",
    ] {
        assert!(message.contains(name), "{message}");
        sources = sources.with_env(name, root.path().join(name).display().to_string());
    }
    assert!(Settings::resolve(&sources).is_ok());
}

#[test]
fn values_that_are_not_text_are_errors_for_our_names_only() {
    let root = TempDir::new().unwrap();
    let mut sources = sources(&root);
    sources.undecodable.insert("SOMETHING_ELSE".to_owned());
    assert!(Settings::resolve(&sources).is_ok());
    sources.undecodable.insert("AUDIORAG_MODELS_DIR".to_owned());
    let error = Settings::resolve(&sources).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the value of AUDIORAG_MODELS_DIR is not Unicode text"
    );
}

#[test]
fn the_process_is_read_once() {
    let sources = Sources::from_process().unwrap();
    assert!(sources.cores >= 1);
    assert!(sources.cwd.is_absolute());
    // Cargo tells every test where its package is.
    assert!(sources.env.contains_key("CARGO_MANIFEST_DIR"));
}
