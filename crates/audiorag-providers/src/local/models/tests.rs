//! Pulls against a hub on the loopback interface, a hub cache on disk and a pip made of shell script.

use super::*;
use crate::http::HttpSettings;
use audiorag_core::retry::RetryPolicy;
use audiorag_core::{ErrorKind, Secret};
use audiorag_testkit::http::{Reply, Request, Server};
use sha2::{Digest as _, Sha256};
use std::io::Write as _;
use std::sync::Mutex;
use std::time::Duration;
use tempfile::TempDir;

const REPO: &str = "org/name";

/// A file that is long enough to be cut in the middle.
fn contents() -> Vec<u8> {
    (0..200_000_u32).flat_map(u32::to_le_bytes).collect()
}

fn sha256(bytes: &[u8]) -> String {
    format!("{:x}", Sha256::digest(bytes))
}

/// A store in a new folder whose one model has `files`.
fn store(role: Role, from_hub: bool, files: Vec<FileSpec>) -> (TempDir, ModelStore) {
    let folder = tempfile::tempdir().unwrap();
    let spec = ModelSpec {
        id: "model",
        role,
        licence: "MIT",
        about: "test model",
        from_hub,
        files: files.leak(),
    };
    let store = ModelStore {
        dir: folder.path().join("models"),
        models: vec![spec].leak(),
    };
    (folder, store)
}

fn hub_store() -> (TempDir, ModelStore) {
    let origin = manifest::Origin::Hub {
        repo: REPO,
        revision: "main",
        path: "onnx/net.onnx",
    };
    let bundled = manifest::Origin::Bundled(b"vocabulary");
    store(
        Role::Embed,
        true,
        vec![
            FileSpec {
                name: "net.onnx",
                origin,
                pin: None,
            },
            FileSpec {
                name: "vocabulary",
                origin: bundled,
                pin: None,
            },
        ],
    )
}

fn options(endpoint: &str) -> PullOptions {
    PullOptions {
        route: Route::Hub,
        hub: HubSettings {
            endpoint: endpoint.to_owned(),
            ..HubSettings::default()
        },
        http: HttpSettings {
            retry: RetryPolicy {
                first_wait: Duration::from_millis(1),
                ..RetryPolicy::default()
            },
            ..HttpSettings::default()
        },
        pip: Some("/nowhere/pip".into()),
        own_runtime: false,
    }
}

/// Answers as the hub does: a redirect that says what the file is, and the file behind it.
fn hub(number: usize, request: &Request, body: &[u8]) -> Reply {
    let _ = number;
    match request.path() {
        "/org/name/resolve/main/onnx/net.onnx" => Reply::status(302)
            .with_header("location", "/cdn/blob?signature=canary")
            .with_header("x-linked-etag", format!("\"{}\"", sha256(body)))
            .with_header("x-linked-size", body.len().to_string())
            .with_header("x-repo-commit", "c0ffee"),
        "/cdn/blob" => {
            let from = request.header("range").and_then(|range| {
                range
                    .strip_prefix("bytes=")?
                    .strip_suffix('-')?
                    .parse::<usize>()
                    .ok()
            });
            match from {
                Some(from) => Reply::status(206)
                    .with_header(
                        "content-range",
                        format!("bytes {from}-{}/{}", body.len() - 1, body.len()),
                    )
                    .with_body(&body[from..]),
                None => Reply::status(200).with_body(body),
            }
        }
        _ => Reply::status(404),
    }
}

fn quiet(_: PullEvent) {}

/// Every name in the model's folder.
fn names(store: &ModelStore) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(store.dir.join("model"))
        .into_iter()
        .flatten()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[tokio::test]
async fn a_file_comes_from_behind_the_redirect_and_is_recorded() {
    let body = contents();
    let server = Server::answering(move |number, request| hub(number, request, &body)).await;
    let (_folder, store) = hub_store();
    let events = Mutex::new(Vec::new());
    let report = store
        .pull(&options(&server.url("/")), &|event| {
            events.lock().unwrap().push(event);
        })
        .await
        .unwrap();
    assert_eq!(
        report,
        PullReport {
            fetched: vec!["model"],
            present: Vec::new()
        }
    );
    assert_eq!(names(&store), ["manifest.json", "net.onnx", "vocabulary"]);
    let record = std::fs::read_to_string(store.dir.join("model/manifest.json")).unwrap();
    assert!(record.contains("hub, org/name@c0ffee:onnx/net.onnx"), "{record}");
    let events = events.into_inner().unwrap();
    let advanced: u64 = events
        .iter()
        .map(|event| {
            if let PullEvent::Advanced { bytes } = event {
                *bytes
            } else {
                0
            }
        })
        .sum();
    assert_eq!(advanced, 800_000);
    assert!(events.contains(&PullEvent::Finished {
        file: "net.onnx".to_owned()
    }));

    // The next pull checks the sums and asks nobody.
    let asked = server.requests().len();
    let report = store.pull(&options(&server.url("")), &quiet).await.unwrap();
    assert_eq!(report.present, ["model"]);
    assert_eq!(server.requests().len(), asked);
    let checked = store.verify().unwrap();
    assert!(
        checked.iter().all(|(_, file)| file.state == FileState::Verified),
        "{checked:?}"
    );
    assert!(store.list()[0].installed && store.list()[0].in_use);
}

#[tokio::test]
async fn a_cut_download_is_continued_within_a_pull() {
    let body = contents();
    let server = Server::answering(move |number, request| {
        let reply = hub(number, request, &body);
        // The first two answers with the file are cut.
        if request.path() == "/cdn/blob" && number <= 5 {
            reply.cut_after(300_000)
        } else {
            reply
        }
    })
    .await;
    let (_folder, store) = hub_store();
    store.pull(&options(&server.url("")), &quiet).await.unwrap();
    assert_eq!(
        std::fs::read(store.dir.join("model/net.onnx")).unwrap(),
        contents()
    );
    let requests = server.requests();
    let ranges: Vec<u64> = requests
        .iter()
        .filter(|request| request.path() == "/cdn/blob")
        .filter_map(|request| {
            request
                .header("range")?
                .strip_prefix("bytes=")?
                .strip_suffix('-')?
                .parse()
                .ok()
        })
        .collect();
    assert_eq!(ranges.len(), 2, "{ranges:?}");
    assert!(
        ranges[0] > 200_000 && ranges[1] > ranges[0] + 200_000,
        "{ranges:?}"
    );
}

#[tokio::test]
async fn a_download_is_continued_by_the_next_pull() {
    let body = contents();
    let server = Server::answering(move |number, request| {
        let reply = hub(number, request, &body);
        if request.path() == "/cdn/blob" && number <= 3 {
            reply.cut_after(500_000)
        } else if number <= 9 && request.path() == "/cdn/blob" {
            Reply::status(503)
        } else {
            reply
        }
    })
    .await;
    let (_folder, store) = hub_store();
    let mut once = options(&server.url(""));
    once.http.retry.max_attempts = 2;
    let error = store.pull(&once, &quiet).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert!(!error.report().contains("canary"), "{}", error.report());
    assert_eq!(
        names(&store)
            .iter()
            .filter(|name| Path::new(name).extension().is_some_and(|ending| ending == "part"))
            .count(),
        1
    );
    assert!(store.embedding().is_err());
    let seen = Mutex::new(Vec::new());
    let patient = PullOptions {
        http: HttpSettings {
            retry: RetryPolicy {
                max_attempts: 9,
                ..once.http.retry
            },
            ..once.http.clone()
        },
        ..once
    };
    store
        .pull(&patient, &|event| seen.lock().unwrap().push(event))
        .await
        .unwrap();
    let continued =
        seen.into_inner().unwrap().into_iter().any(
            |event| matches!(event, PullEvent::Note(text) if text.starts_with("continuing net.onnx after")),
        );
    assert!(continued);
    assert_eq!(names(&store), ["manifest.json", "net.onnx", "vocabulary"]);
}

#[tokio::test]
async fn a_server_without_ranges_is_read_from_the_beginning() {
    let body = contents();
    let server = Server::answering(move |number, request| match request.path() {
        "/cdn/blob" if number <= 3 => hub(number, request, &body).cut_after(400_000),
        "/cdn/blob" => Reply::status(200).with_body(body.clone()),
        _ => hub(number, request, &body),
    })
    .await;
    let (_folder, store) = hub_store();
    store.pull(&options(&server.url("")), &quiet).await.unwrap();
    assert_eq!(
        std::fs::read(store.dir.join("model/net.onnx")).unwrap(),
        contents()
    );
}

#[tokio::test]
async fn a_file_with_another_checksum_is_refused_and_removed() {
    let server = Server::answering(move |number, request| {
        let mut body = contents();
        let reply = hub(number, request, &body);
        if request.path() != "/cdn/blob" {
            return reply;
        }
        body[7] ^= 1;
        Reply::status(200).with_body(body)
    })
    .await;
    let (_folder, store) = hub_store();
    let error = store.pull(&options(&server.url("")), &quiet).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Protocol);
    assert!(error.message().contains("where the hub promised"), "{error}");
    assert!(names(&store).is_empty(), "{:?}", names(&store));
}

#[tokio::test]
async fn longer_files_than_promised_are_not_stored() {
    let server = Server::answering(move |number, request| {
        let body = contents();
        if request.path() == "/cdn/blob" {
            Reply::status(200).with_body([body, vec![0; 9]].concat())
        } else {
            hub(number, request, &body)
        }
    })
    .await;
    let (_folder, store) = hub_store();
    let error = store.pull(&options(&server.url("")), &quiet).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Protocol, "{error}");
}

#[tokio::test]
async fn refusals_name_the_remedy_and_keep_the_token() {
    let server = Server::answering(|_, request| match request.header("authorization") {
        Some("Bearer canary-token") => Reply::status(403),
        Some(_) => Reply::status(500),
        None => Reply::status(401).with_header("x-error-message", "Invalid username or password."),
    })
    .await;
    let (_folder, store) = hub_store();
    let mut options = options(&server.url(""));
    let error = store.pull(&options, &quiet).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Auth);
    assert!(error.hint().unwrap().contains("set HF_TOKEN"), "{error:?}");
    assert!(
        error.to_string().contains("Invalid username or password."),
        "{error}"
    );

    options.hub.token = Some(Secret::new("canary-token"));
    let error = store.pull(&options, &quiet).await.unwrap_err();
    assert!(
        error.hint().unwrap().contains("does not give access"),
        "{error:?}"
    );
    assert!(!format!("{} {error:?}", error.report()).contains("canary"));
    // Nothing is retried that cannot get better.
    assert_eq!(server.requests().len(), 2);

    let server = Server::answering(|_, _| Reply::status(404)).await;
    options.hub.endpoint = server.url("");
    let error = store.pull(&options, &quiet).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn the_token_stays_with_its_origin() {
    let body = b"bytes".to_vec();
    let cdn = Server::answering({
        let body = body.clone();
        move |_, _| Reply::status(200).with_body(body.clone())
    })
    .await;
    let elsewhere = cdn.url("/blob");
    let server = Server::answering(move |_, _| {
        Reply::status(302)
            .with_header("location", elsewhere.clone())
            .with_header("x-linked-etag", format!("\"{}\"", sha256(&body)))
            .with_header("x-linked-size", "5")
    })
    .await;
    let (_folder, store) = hub_store();
    let mut options = options(&server.url(""));
    options.hub.token = Some(Secret::new("canary"));
    store.pull(&options, &quiet).await.unwrap();
    assert!(
        server
            .requests()
            .iter()
            .all(|request| request.header("authorization") == Some("Bearer canary"))
    );
    assert!(
        cdn.requests()
            .iter()
            .all(|request| request.header("authorization").is_none())
    );
    assert_eq!(cdn.requests().len(), 1);
}

#[tokio::test]
async fn a_renamed_repository_is_followed_on_its_own_origin() {
    let body = contents();
    let server = Server::answering(move |number, request| match request.path() {
        "/old/org/name/resolve/main/onnx/net.onnx" => {
            Reply::status(307).with_header("location", "/org/name/resolve/main/onnx/net.onnx")
        }
        _ => hub(number, request, &body),
    })
    .await;
    let (_folder, store) = hub_store();
    store.pull(&options(&server.url("/old")), &quiet).await.unwrap();
    let circle =
        Server::answering(|_, request| Reply::status(302).with_header("location", request.target.clone()))
            .await;
    let (_folder, store) = hub_store();
    let error = store.pull(&options(&circle.url("")), &quiet).await.unwrap_err();
    assert!(error.message().contains("in circles"), "{error}");
}

#[tokio::test]
async fn a_hub_that_does_not_say_what_a_file_is_is_refused() {
    let server =
        Server::answering(|_, _| Reply::status(200).with_header("etag", "\"abc\"").with_body("x")).await;
    let (_folder, store) = hub_store();
    let error = store.pull(&options(&server.url("")), &quiet).await.unwrap_err();
    assert!(error.message().contains("without the sha256"), "{error}");
    let mut options = options("ftp://user:canary@host");
    options.http.retry.max_attempts = 1;
    let error = store.pull(&options, &quiet).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.hint().unwrap().contains("HF_ENDPOINT") && !error.report().contains("canary"));
}

#[tokio::test]
async fn offline_connects_to_nobody_and_names_the_file() {
    let server = Server::answering(|_, _| Reply::status(500)).await;
    let (folder, store) = hub_store();
    let pip = fake_pip(folder.path(), "exit 1");
    for route in [Route::Auto, Route::Hub] {
        let mut options = options(&server.url(""));
        options.route = route;
        options.pip = Some(pip.clone());
        options.hub.offline = true;
        let error = store.pull(&options, &quiet).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.message().contains("model/net.onnx"), "{error}");
        assert!(error.message().contains("HF_HUB_OFFLINE"), "{error}");
    }
    assert_eq!(server.accepted_connections(), 0);
    assert!(!folder.path().join("pip-calls").exists());
}

/// A hub cache that holds the file, as `huggingface_hub` lays it out.
#[cfg(unix)]
fn hub_cache(folder: &Path, body: &[u8], promised: &str) -> PathBuf {
    let repo = folder.join("hub/models--org--name");
    let snapshot = repo.join("snapshots/c0ffee/onnx");
    std::fs::create_dir_all(&snapshot).unwrap();
    std::fs::create_dir_all(repo.join("blobs")).unwrap();
    std::fs::create_dir_all(repo.join("refs")).unwrap();
    std::fs::write(repo.join("refs/main"), "c0ffee\n").unwrap();
    std::fs::write(repo.join("blobs").join(promised), body).unwrap();
    std::os::unix::fs::symlink(format!("../../../blobs/{promised}"), snapshot.join("net.onnx")).unwrap();
    folder.join("hub")
}

#[cfg(unix)]
#[tokio::test]
async fn the_hubs_own_cache_is_used_without_a_connection() {
    let (folder, store) = hub_store();
    let mut options = options("http://127.0.0.1:1");
    options.route = Route::Auto;
    options.hub.offline = true;
    options.hub.cache = Some(hub_cache(folder.path(), &contents(), &sha256(&contents())));
    let report = store.pull(&options, &quiet).await.unwrap();
    assert_eq!(report.fetched, ["model"]);
    assert_eq!(names(&store), ["manifest.json", "net.onnx", "vocabulary"]);
    let record = std::fs::read_to_string(store.dir.join("model/manifest.json")).unwrap();
    assert!(record.contains("hub cache, org/name@c0ffee"), "{record}");
}

#[cfg(unix)]
#[tokio::test]
async fn a_damaged_hub_cache_is_passed_over() {
    let body = contents();
    let server = Server::answering(move |number, request| hub(number, request, &body)).await;
    let (folder, store) = hub_store();
    let mut options = options(&server.url(""));
    options.hub.cache = Some(hub_cache(folder.path(), b"half of", &sha256(&contents())));
    store.pull(&options, &quiet).await.unwrap();
    assert_eq!(
        std::fs::read(store.dir.join("model/net.onnx")).unwrap(),
        contents()
    );
    // A reference that leads out of the cache is no reference.
    std::fs::write(folder.path().join("hub/models--org--name/refs/main"), "../../..").unwrap();
    let file = hub::HubFile {
        repo: REPO,
        revision: "main",
        path: "onnx/net.onnx",
    };
    assert_eq!(hub::cached(&folder.path().join("hub"), file), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_pulls_at_once_download_once() {
    let body = contents();
    let server = Server::answering(move |number, request| {
        hub(number, request, &body).trickling(100_000, Duration::from_millis(5))
    })
    .await;
    let (_folder, store) = hub_store();
    let options = options(&server.url(""));
    let (first, second) = tokio::join!(store.pull(&options, &quiet), store.pull(&options, &quiet));
    let mut fetched = [first.unwrap(), second.unwrap()].map(|report| report.fetched.len());
    fetched.sort_unstable();
    assert_eq!(fetched, [0, 1]);
    let bodies = server
        .requests()
        .iter()
        .filter(|request| request.path() == "/cdn/blob")
        .count();
    assert_eq!(bodies, 1);
}

#[tokio::test]
async fn damage_is_found_and_repaired() {
    let body = contents();
    let server = Server::answering(move |number, request| hub(number, request, &body)).await;
    let (_folder, store) = hub_store();
    let options = options(&server.url(""));
    store.pull(&options, &quiet).await.unwrap();
    let path = store.dir.join("model/net.onnx");
    let mut damaged = contents();
    damaged[1_000] ^= 1;
    std::fs::write(&path, &damaged).unwrap();
    let states: Vec<FileState> = store
        .verify()
        .unwrap()
        .into_iter()
        .map(|(_, file)| file.state)
        .collect();
    assert_eq!(states, [FileState::Damaged, FileState::Verified]);
    assert_eq!(store.pull(&options, &quiet).await.unwrap().fetched, ["model"]);
    assert_eq!(std::fs::read(&path).unwrap(), contents());
    std::fs::write(&path, b"short").unwrap();
    assert_eq!(store.list()[0].files[0].state, FileState::Damaged);
    assert!(
        store
            .require(Role::Embed)
            .unwrap_err()
            .message()
            .contains("is damaged")
    );
}

#[tokio::test]
async fn a_folder_that_cannot_be_written_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, b"").unwrap();
    let store = ModelStore {
        dir: file.join("models"),
        ..hub_store().1
    };
    let error = store
        .pull(&options("http://127.0.0.1:1"), &quiet)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::State);
    assert!(error.hint().unwrap().contains("AUDIORAG_MODELS_DIR"));
}

#[test]
fn what_is_missing_is_one_error_with_the_command() {
    let folder = tempfile::tempdir().unwrap();
    let store = ModelStore::new(folder.path());
    let error = store.missing().unwrap();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.message().contains("onnxruntime/"), "{error}");
    assert!(error.message().contains("and 5 more files"), "{error}");
    assert_eq!(error.hint(), Some("run `audiorag models pull`"));
    for error in [
        store.runtime().unwrap_err(),
        store.speech().unwrap_err(),
        store.embedding().unwrap_err(),
    ] {
        assert_eq!(error.hint(), Some("run `audiorag models pull`"));
    }
    assert_eq!(
        store.path("moonshine-tiny-en").unwrap(),
        folder.path().join("moonshine-tiny-en")
    );
    assert!(
        store
            .path("whisper")
            .unwrap_err()
            .hint()
            .unwrap()
            .contains("moonshine-tiny-en")
    );
    assert!(store.list().iter().all(|model| !model.installed && !model.in_use));
}

#[test]
fn a_form_from_the_hub_is_used_where_no_other_is() {
    let folder = tempfile::tempdir().unwrap();
    let store = ModelStore::new(folder.path());
    let model = folder.path().join("all-MiniLM-L6-v2");
    std::fs::create_dir_all(&model).unwrap();
    std::fs::write(model.join("model.onnx"), b"put here by hand").unwrap();
    std::fs::write(
        model.join("tokenizer.json"),
        include_bytes!("../../../assets/all-MiniLM-L6-v2-tokenizer.json"),
    )
    .unwrap();
    let files = store.embedding().unwrap();
    assert_eq!(files.model, "all-MiniLM-L6-v2");
    assert_eq!(files.network, model.join("model.onnx"));
    // Nobody can say whether a file that was put there by hand is right.
    let checked = store.verify().unwrap();
    let states: Vec<FileState> = checked
        .iter()
        .filter(|(spec, _)| spec.role == Role::Embed)
        .map(|(_, file)| file.state)
        .collect();
    assert_eq!(states, [FileState::Present, FileState::Verified]);
}

#[test]
fn routes_have_names() {
    for route in Route::ALL {
        assert_eq!(Route::parse(route.as_str()), Some(route));
    }
    assert_eq!(Route::parse("carrier pigeon"), None);
}

// --- Wheels ---------------------------------------------------------------------------------------------------

/// A program that says it is pip, notes its arguments in `pip-calls`, and then does `script`, with the folder
/// for the wheel in `$folder`.
#[cfg(unix)]
fn fake_pip(folder: &Path, script: &str) -> PathBuf {
    use std::os::unix::fs::PermissionsExt as _;
    let path = folder.join("pip");
    let calls = folder.join("pip-calls");
    let text = format!(
        "#!/bin/sh\nif [ \"$1\" = --version ]; then echo pip 99; exit 0; fi\necho \"$@\" >> '{}'\n\
         while [ $# -gt 1 ]; do if [ \"$1\" = -d ]; then folder=$2; fi; shift; done\n{script}\n",
        calls.display()
    );
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path
}

#[cfg(not(unix))]
fn fake_pip(folder: &Path, _script: &str) -> PathBuf {
    folder.join("pip")
}

fn wheel(folder: &Path, members: &[(&str, &[u8])]) -> PathBuf {
    let path = folder.join("source-1-py3-none-any.whl");
    let mut archive = zip::ZipWriter::new(std::fs::File::create(&path).unwrap());
    for (name, bytes) in members {
        archive
            .start_file(*name, zip::write::SimpleFileOptions::default())
            .unwrap();
        archive.write_all(bytes).unwrap();
    }
    archive.finish().unwrap();
    path
}

fn wheel_file(name: &'static str, member: &'static str, pin: Option<(u64, String)>) -> FileSpec {
    FileSpec {
        name,
        origin: manifest::Origin::Wheel {
            requirement: "source==1",
            platform: Some("any_tag"),
            member,
        },
        pin: pin.map(|(bytes, sha256)| manifest::Pin {
            bytes,
            sha256: sha256.leak(),
        }),
    }
}

fn wheel_options(pip: PathBuf) -> PullOptions {
    PullOptions {
        route: Route::Wheels,
        pip: Some(pip),
        ..PullOptions::default()
    }
}

#[cfg(unix)]
#[tokio::test]
async fn files_come_out_of_one_wheel() {
    let (folder, store) = store(
        Role::Transcribe,
        false,
        vec![
            wheel_file("a.bin", "source/a.bin", Some((3, sha256(b"aaa")))),
            wheel_file("lib.so.1", "source.libs/lib", None),
        ],
    );
    let source = wheel(
        folder.path(),
        &[
            ("source/a.bin", b"aaa"),
            ("source.libs/lib-12ab.so.1", b"library"),
        ],
    );
    let pip = fake_pip(folder.path(), &format!("cp '{}' \"$folder\"/", source.display()));
    let report = store.pull(&wheel_options(pip), &quiet).await.unwrap();
    assert_eq!(report.fetched, ["model"]);
    assert_eq!(names(&store), ["a.bin", "lib.so.1", "manifest.json"]);
    let calls = std::fs::read_to_string(folder.path().join("pip-calls")).unwrap();
    assert_eq!(calls.lines().count(), 1, "{calls}");
    assert!(
        calls.contains("download --no-deps --only-binary :all:"),
        "{calls}"
    );
    assert!(
        calls.trim_end().ends_with("--platform any_tag source==1"),
        "{calls}"
    );
    // The wheel itself is gone.
    let left: Vec<_> = std::fs::read_dir(store.dir())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(left.len(), 2, "{left:?}");
    let states: Vec<FileState> = store
        .verify()
        .unwrap()
        .into_iter()
        .map(|(_, file)| file.state)
        .collect();
    assert_eq!(states, [FileState::Verified, FileState::Verified]);
}

#[cfg(unix)]
#[tokio::test]
async fn a_wheel_with_other_contents_is_refused() {
    let spec = |bytes: u64| {
        let file = wheel_file("a.bin", "source/a.bin", Some((bytes, sha256(b"aaa"))));
        store(Role::Transcribe, false, vec![file])
    };
    for (bytes, contents, reason) in [
        (3, &b"bbb"[..], "has the sha256"),
        (3, b"aaaa", "is longer than 3 bytes"),
        (9, b"aaa", "has the sha256"),
    ] {
        let (folder, store) = spec(bytes);
        let source = wheel(folder.path(), &[("source/a.bin", contents)]);
        let pip = fake_pip(folder.path(), &format!("cp '{}' \"$folder\"/", source.display()));
        let error = store.pull(&wheel_options(pip), &quiet).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Protocol);
        assert!(error.message().contains(reason), "{error}");
        assert!(names(&store).is_empty(), "{:?}", names(&store));
    }
    let (folder, store) = spec(3);
    let source = wheel(folder.path(), &[("source/b.bin", b"aaa")]);
    let pip = fake_pip(folder.path(), &format!("cp '{}' \"$folder\"/", source.display()));
    let error = store.pull(&wheel_options(pip), &quiet).await.unwrap_err();
    assert!(error.message().contains("it has no source/a.bin"), "{error}");
    let pip = fake_pip(folder.path(), "echo no zip > \"$folder\"/x.whl");
    let error = store.pull(&wheel_options(pip), &quiet).await.unwrap_err();
    assert!(error.message().contains("x.whl cannot be used"), "{error}");
}

#[cfg(unix)]
#[tokio::test]
async fn what_pip_says_is_passed_on() {
    let (folder, store) = store(Role::Transcribe, false, vec![wheel_file("a.bin", "a", None)]);
    let script =
        "echo 'WARNING: old' >&2; echo 'ERROR: No matching distribution found for source==1' >&2; exit 1";
    let error = store
        .pull(&wheel_options(fake_pip(folder.path(), script)), &quiet)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(
        error
            .message()
            .ends_with("No matching distribution found for source==1"),
        "{error}"
    );
    let error = store
        .pull(&wheel_options(fake_pip(folder.path(), "exit 0")), &quiet)
        .await
        .unwrap_err();
    assert!(error.message().contains("brought no wheel"), "{error}");
    let error = store
        .pull(&wheel_options("/nowhere/pip".into()), &quiet)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.message().contains("/nowhere/pip cannot be run"), "{error}");
}

/// Two forms of one model: from a wheel and from the hub.
#[cfg(unix)]
fn two_forms() -> (TempDir, ModelStore, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let hub = manifest::Origin::Hub {
        repo: REPO,
        revision: "main",
        path: "onnx/net.onnx",
    };
    let spec = |id, from_hub, file| ModelSpec {
        id,
        role: Role::Embed,
        licence: "MIT",
        about: "test model",
        from_hub,
        files: vec![file].leak(),
    };
    let models = vec![
        spec("wheel-form", false, wheel_file("a.bin", "a.bin", None)),
        spec(
            "hub-form",
            true,
            FileSpec {
                name: "net.onnx",
                origin: hub,
                pin: None,
            },
        ),
    ];
    let store = ModelStore {
        dir: folder.path().join("models"),
        models: models.leak(),
    };
    let source = wheel(folder.path(), &[("a.bin", b"aaa")]);
    (folder, store, source)
}

#[cfg(unix)]
#[tokio::test]
async fn auto_takes_wheels_first_unless_the_hub_is_configured() {
    let body = contents();
    let server = Server::answering(move |number, request| hub(number, request, &body)).await;
    for (configured, works, expected) in [
        (false, true, "wheel-form"),
        (true, true, "hub-form"),
        (false, false, "hub-form"),
    ] {
        let (folder, store, source) = two_forms();
        let script = if works {
            format!("cp '{}' \"$folder\"/", source.display())
        } else {
            "exit 1".to_owned()
        };
        let mut options = options(&server.url(""));
        options.route = Route::Auto;
        options.pip = Some(fake_pip(folder.path(), &script));
        options.hub.configured = configured;
        let notes = Mutex::new(Vec::new());
        let report = store
            .pull(&options, &|event| {
                if let PullEvent::Note(text) = event {
                    notes.lock().unwrap().push(text);
                }
            })
            .await
            .unwrap();
        assert_eq!(report.fetched, [expected]);
        assert!(!notes.into_inner().unwrap().is_empty());
        // What is there stays in use, whatever the route says later.
        options.route = Route::Hub;
        assert_eq!(store.pull(&options, &quiet).await.unwrap().present, [expected]);
    }
}

#[cfg(unix)]
#[tokio::test]
async fn the_first_failure_is_reported_when_every_way_fails() {
    let server = Server::answering(|_, _| Reply::status(404)).await;
    let (folder, store, _) = two_forms();
    let mut options = options(&server.url(""));
    options.route = Route::Auto;
    options.pip = Some(fake_pip(folder.path(), "echo 'ERROR: index is down' >&2; exit 1"));
    let error = store.pull(&options, &quiet).await.unwrap_err();
    assert!(error.message().contains("index is down"), "{error}");
}

#[tokio::test]
async fn the_runtime_is_not_on_the_hub() {
    let (_folder, store) = store(Role::Runtime, false, vec![wheel_file("lib", "lib", None)]);
    let error = store
        .pull(&options("http://127.0.0.1:1"), &quiet)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.message().contains("is not on the model hub"), "{error}");
    let own = PullOptions {
        own_runtime: true,
        ..options("http://127.0.0.1:1")
    };
    assert_eq!(store.pull(&own, &quiet).await.unwrap(), PullReport::default());
}
