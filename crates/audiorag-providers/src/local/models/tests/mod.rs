//! Pulls against a hub on the loopback interface, a hub cache on disk and a pip made of shell script.

mod hub_route;
mod local;
mod wheel_route;

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
