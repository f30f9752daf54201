//! The hub: its endpoint and its cache.

use super::*;

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
