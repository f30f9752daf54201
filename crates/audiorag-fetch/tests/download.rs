//! Downloads against a server that misbehaves in every way that servers do.

use audiorag_core::id::KeyHasher;
use audiorag_core::retry::RetryPolicy;
use audiorag_core::{Error, ErrorKind};
use audiorag_fetch::{
    Document, Downloaded, Fetched, Kind, Validators, WebClient, WebPolicy, discard_partial,
};
use audiorag_testkit::http::{Reply, Request, Server};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

const TAG: &str = "\"v1\"";

fn client(change: impl FnOnce(&mut WebPolicy)) -> WebClient {
    let mut policy = WebPolicy {
        retry: RetryPolicy {
            max_attempts: 3,
            first_wait: Duration::from_millis(1),
            ..RetryPolicy::default()
        },
        ..WebPolicy::default()
    };
    match "127.0.0.1".parse() {
        Ok(host) => policy.allow_private.push(host),
        Err(error) => unreachable!("{error}"),
    }
    change(&mut policy);
    match WebClient::new(policy) {
        Ok(client) => client,
        Err(error) => unreachable!("{}", error.report()),
    }
}

/// A folder and the path in it that a download goes to.
fn place() -> (tempfile::TempDir, PathBuf) {
    match tempfile::tempdir() {
        Ok(folder) => {
            let into = folder.path().join("ours.bin");
            (folder, into)
        }
        Err(error) => unreachable!("{error}"),
    }
}

async fn fetch(client: &WebClient, url: &str, into: &Path) -> Result<Fetched, Error> {
    client
        .download(url, into, None, &|_, _| {}, &CancellationToken::new())
        .await
}

#[track_caller]
fn body(fetched: Result<Fetched, Error>) -> Downloaded {
    match fetched {
        Ok(Fetched::Body(downloaded)) => downloaded,
        Ok(Fetched::NotModified) => unreachable!("not modified"),
        Err(error) => unreachable!("{}", error.report()),
    }
}

/// Names in the folder, in order.
fn names(folder: &tempfile::TempDir) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(folder.path()) else {
        return Vec::new();
    };
    let mut names: Vec<String> = entries
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

fn sample(length: usize) -> Vec<u8> {
    (0..length).map(|index| (index * 31 % 251) as u8).collect()
}

/// The offset that a request asks from.
fn offset(request: &Request) -> Option<usize> {
    request
        .header("range")?
        .strip_prefix("bytes=")?
        .strip_suffix('-')?
        .parse()
        .ok()
}

/// What a good server answers: the part that was asked for if the tag is still right, else the whole.
fn honest(request: &Request, body: &[u8], tag: &str) -> Reply {
    match offset(request) {
        Some(from) if request.header("if-range") == Some(tag) => Reply::status(206)
            .with_header("etag", tag)
            .with_header(
                "content-range",
                format!("bytes {from}-{}/{}", body.len() - 1, body.len()),
            )
            .with_body(body.get(from..).unwrap_or_default()),
        _ => Reply::status(200).with_header("etag", tag).with_body(body),
    }
}

#[tokio::test]
async fn a_recording_arrives_whole_under_its_name_and_nothing_else_stays() {
    let data = sample(300_000);
    let reply = Reply::status(200)
        .with_header("etag", TAG)
        .with_header("last-modified", "Wed, 07 Jan 2026 06:00:00 GMT")
        .with_header("content-type", "Audio/MPEG; x=y")
        .with_header("content-disposition", "attachment; filename=\"../../evil.mp3\"")
        .with_body(data.clone());
    let server = Server::scripted([reply]).await;
    let (folder, into) = place();
    let seen = Mutex::new(Vec::new());
    let progress = |bytes, total| seen.lock().unwrap().push((bytes, total));
    let cancel = CancellationToken::new();
    let url = server.url("/a/b.mp3?token=1");
    let downloaded = body(
        client(|_| {})
            .download(&url, &into, None, &progress, &cancel)
            .await,
    );
    assert_eq!(std::fs::read(&into).unwrap(), data);
    assert_eq!(names(&folder), ["ours.bin"]);
    assert_eq!(downloaded.path, into);
    assert_eq!((downloaded.bytes, downloaded.resumed_from), (300_000, 0));
    assert_eq!(downloaded.validators.etag.as_deref(), Some(TAG));
    assert_eq!(
        downloaded.validators.last_modified.as_deref(),
        Some("Wed, 07 Jan 2026 06:00:00 GMT")
    );
    assert_eq!(downloaded.content_type.as_deref(), Some("audio/mpeg"));
    assert_eq!(downloaded.file_name_hint.as_deref(), Some("evil.mp3"));
    assert_eq!(downloaded.final_url, url);
    let seen = seen.into_inner().unwrap();
    assert!(seen.is_sorted());
    assert_eq!(seen.first(), Some(&(0, Some(300_000))));
    assert_eq!(seen.last(), Some(&(300_000, Some(300_000))));
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        assert_eq!(
            std::fs::metadata(&into).unwrap().permissions().mode() & 0o777,
            0o600
        );
    }
    let request = &server.requests()[0];
    assert!(request.header("user-agent").unwrap().starts_with("audiorag/"));
    assert_eq!(request.header("accept-encoding"), Some("identity"));
}

#[tokio::test]
async fn an_unchanged_recording_is_not_fetched_again() {
    let server = Server::answering(|_, request| match request.header("if-none-match") {
        Some(TAG) => Reply::status(304),
        _ => Reply::status(200).with_header("etag", TAG).with_body("abc"),
    })
    .await;
    let (folder, into) = place();
    let client = client(|_| {});
    let url = server.url("/");
    let first = body(fetch(&client, &url, &into).await);
    let again = client
        .download(
            &url,
            &into,
            Some(&first.validators),
            &|_, _| {},
            &CancellationToken::new(),
        )
        .await;
    assert_eq!(again.unwrap(), Fetched::NotModified);
    assert_eq!(names(&folder), ["ours.bin"]);
    let old = Validators {
        etag: Some("\"v0\"".to_owned()),
        last_modified: None,
    };
    let cancel = CancellationToken::new();
    body(
        client
            .download(&url, &into, Some(&old), &|_, _| {}, &cancel)
            .await,
    );
}

#[tokio::test]
async fn a_download_that_breaks_off_goes_on_and_no_byte_is_sent_twice() {
    let data = sample(100_000);
    let served = data.clone();
    let server = Server::answering(move |number, request| {
        let reply = honest(request, &served, TAG);
        // Three times in a row, somewhere else each time.
        if number <= 3 {
            reply.cut_after(20_000 + 1_000 * number)
        } else {
            reply
        }
    })
    .await;
    let (folder, into) = place();
    // Two attempts without progress are all that is allowed, but each of these makes some.
    let downloaded = body(
        fetch(
            &client(|policy| policy.retry.max_attempts = 2),
            &server.url("/"),
            &into,
        )
        .await,
    );
    assert_eq!(std::fs::read(&into).unwrap(), data);
    assert_eq!((downloaded.bytes, downloaded.resumed_from), (100_000, 0));
    assert_eq!(names(&folder), ["ours.bin"]);
    let asked: Vec<Option<usize>> = server.requests().iter().map(offset).collect();
    assert_eq!(asked.len(), 4);
    assert!(asked.is_sorted() && asked[1].is_some(), "{asked:?}");
    assert!(
        server.requests()[1..]
            .iter()
            .all(|request| request.header("if-range") == Some(TAG))
    );
}

#[tokio::test]
async fn another_process_goes_on_where_this_one_ended() {
    let data = sample(50_000);
    let served = data.clone();
    let server = Server::answering(move |number, request| {
        let reply = honest(request, &served, TAG);
        if number == 1 {
            reply.cut_after(30_000)
        } else {
            reply
        }
    })
    .await;
    let (folder, into) = place();
    let url = server.url("/");
    let error = fetch(&client(|policy| policy.retry.max_attempts = 1), &url, &into)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{}", error.report());
    assert_eq!(names(&folder), ["ours.bin.part", "ours.bin.part.json"]);
    let kept = std::fs::metadata(folder.path().join("ours.bin.part"))
        .unwrap()
        .len();
    let downloaded = body(fetch(&client(|_| {}), &url, &into).await);
    assert_eq!(std::fs::read(&into).unwrap(), data);
    assert_eq!(downloaded.resumed_from, kept);
    assert_eq!(offset(&server.requests()[1]), (kept > 0).then_some(kept as usize));
}

#[tokio::test]
async fn stopping_keeps_what_is_there_for_the_next_time() {
    let data = sample(40_000);
    let served = data.clone();
    let server = Server::answering(move |number, request| {
        let reply = honest(request, &served, TAG);
        // The first answer stays open after its beginning.
        if number == 1 {
            reply.trickling(20_000, Duration::from_hours(1))
        } else {
            reply
        }
    })
    .await;
    let (folder, into) = place();
    let url = server.url("/");
    let cancel = CancellationToken::new();
    let progress = |bytes, _| {
        if bytes > 0 {
            cancel.cancel();
        }
    };
    let error = client(|_| {})
        .download(&url, &into, None, &progress, &cancel)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled);
    assert_eq!(names(&folder), ["ours.bin.part", "ours.bin.part.json"]);
    let downloaded = body(fetch(&client(|_| {}), &url, &into).await);
    assert!(downloaded.resumed_from > 0);
    assert_eq!(std::fs::read(&into).unwrap(), data);
    discard_partial(&into).unwrap();
}

/// What is left of a download of `url` that ended after `bytes`, with a note in which `change` is different.
fn leave(into: &Path, url: &str, bytes: &[u8], note: &str) {
    let key = KeyHasher::new("audiorag.download").text(url).finish();
    let note = note.replace("KEY", &key);
    assert!(std::fs::write(into.with_file_name("ours.bin.part"), bytes).is_ok());
    assert!(std::fs::write(into.with_file_name("ours.bin.part.json"), note).is_ok());
}

#[tokio::test]
async fn what_cannot_be_continued_safely_is_begun_anew() {
    let client = client(|_| {});
    let whole = r#"{"url":"KEY","etag":"\"v1\"","last_modified":null,"total":1000}"#;
    let notes = [
        // The note of another URL, one that is torn, none that can be read.
        r#"{"url":"other","etag":"\"v1\"","last_modified":null,"total":1000}"#,
        r#"{"url":"KEY","etag":"\"v1"#,
        "",
        // Nothing that promises the same bytes.
        r#"{"url":"KEY","etag":null,"last_modified":null,"total":1000}"#,
        r#"{"url":"KEY","etag":"W/\"v1\"","last_modified":"Wed, 07 Jan 2026 06:00:00 GMT","total":1000}"#,
        // Another version than the server has now.
        r#"{"url":"KEY","etag":"\"v0\"","last_modified":null,"total":1000}"#,
    ];
    let data = sample(1_000);
    for note in notes {
        let served = data.clone();
        let server = Server::answering(move |_, request| honest(request, &served, TAG)).await;
        let (folder, into) = place();
        leave(&into, &server.url("/"), &[b'x'; 400], note);
        let downloaded = body(fetch(&client, &server.url("/"), &into).await);
        assert_eq!(downloaded.resumed_from, 0, "{note}");
        assert_eq!(std::fs::read(&into).unwrap(), data, "{note}");
        assert_eq!(names(&folder), ["ours.bin"], "{note}");
        assert_eq!(server.requests().len(), 1, "{note}");
    }
    // A part that is not the one that was asked for.
    let part = |range: &str, tag: &str| {
        Reply::status(206)
            .with_header("content-range", range)
            .with_header("etag", tag)
            .with_body(sample(600))
    };
    let wrong = [
        part("bytes 0-999/1000", TAG),
        part("bytes 401-999/1000", TAG),
        part("bytes 400-999/2000", TAG),
        part("bytes 400-999/1000", "\"v2\""),
        part("nonsense", TAG),
        part("bytes 400-999/1000", TAG).with_header("content-encoding", "gzip"),
        Reply::status(206).with_body(sample(600)),
        Reply::status(416).with_header("content-range", "bytes */1000"),
    ];
    for reply in wrong {
        let (served, shown) = (data.clone(), format!("{reply:?}"));
        let server = Server::answering(move |number, request| {
            if number == 1 {
                reply.clone()
            } else {
                honest(request, &served, TAG)
            }
        })
        .await;
        let (folder, into) = place();
        leave(&into, &server.url("/"), &[b'x'; 400], whole);
        body(fetch(&client, &server.url("/"), &into).await);
        assert_eq!(std::fs::read(&into).unwrap(), data, "{shown}");
        assert_eq!(names(&folder), ["ours.bin"], "{shown}");
        assert_eq!(offset(&server.requests()[0]), Some(400), "{shown}");
        assert_eq!(offset(&server.requests()[1]), None, "{shown}");
    }
}

#[tokio::test]
async fn a_version_that_changes_midway_is_fetched_from_its_start() {
    let server = Server::answering(|number, request| match number {
        1 => honest(request, &[b'a'; 9_000], "\"a\"").cut_after(5_000),
        _ => honest(request, &[b'b'; 8_000], "\"b\""),
    })
    .await;
    let (_folder, into) = place();
    let downloaded = body(fetch(&client(|_| {}), &server.url("/"), &into).await);
    assert_eq!(std::fs::read(&into).unwrap(), [b'b'; 8_000]);
    assert_eq!(downloaded.validators.etag.as_deref(), Some("\"b\""));
}

#[tokio::test]
async fn all_bytes_without_the_last_step_are_asked_about_and_kept() {
    let data = sample(1_000);
    let note = r#"{"url":"KEY","etag":"\"v1\"","last_modified":null,"total":1000}"#;
    for unchanged in [true, false] {
        let server = Server::answering(move |_, request| {
            assert_eq!(request.header("if-none-match"), Some(TAG));
            assert_eq!(request.header("range"), None);
            if unchanged {
                Reply::status(304)
            } else {
                Reply::status(200).with_body("new")
            }
        })
        .await;
        let (folder, into) = place();
        leave(&into, &server.url("/"), &data, note);
        let downloaded = body(fetch(&client(|_| {}), &server.url("/"), &into).await);
        let expected: &[u8] = if unchanged { &data } else { b"new" };
        assert_eq!(std::fs::read(&into).unwrap(), expected);
        assert_eq!(downloaded.bytes, expected.len() as u64);
        assert_eq!(names(&folder), ["ours.bin"]);
    }
}

#[tokio::test]
async fn an_answer_cut_anywhere_is_mended() {
    let data = sample(150);
    let length = Reply::status(200)
        .with_header("etag", TAG)
        .with_body(data.clone())
        .to_bytes(false)
        .len();
    // Every place would do, but each takes the disk's time for making sure of its bytes.
    let client = client(|_| {});
    for cut in (0..length).step_by(7) {
        let served = data.clone();
        let server = Server::answering(move |number, request| {
            let reply = honest(request, &served, TAG);
            if number == 1 { reply.cut_after(cut) } else { reply }
        })
        .await;
        let (folder, into) = place();
        body(fetch(&client, &server.url("/"), &into).await);
        assert_eq!(std::fs::read(&into).unwrap(), data, "cut after {cut}");
        assert_eq!(names(&folder), ["ours.bin"], "cut after {cut}");
    }
}

#[tokio::test]
async fn attempts_are_bounded_where_nothing_moves() {
    let server = Server::answering(|_, _| Reply::status(200).with_body(sample(5_000)).cut_after(3_000)).await;
    let (_folder, into) = place();
    let error = fetch(&client(|_| {}), &server.url("/"), &into).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(!error.is_retryable());
    // Nothing promises the same bytes, so each attempt starts at the beginning. One may get a little further than the
    // one before, and starts the count anew.
    assert!(
        (3..=6).contains(&server.requests().len()),
        "{}",
        server.requests().len()
    );
    assert!(!into.exists());
}

#[tokio::test]
async fn busy_servers_are_waited_for_as_they_ask_but_not_for_hours() {
    let busy = |wait: &str| Reply::status(503).with_header("retry-after", wait);
    let server = Server::scripted([
        busy("0"),
        Reply::status(429).with_header("retry-after", "0"),
        Reply::status(200).with_body("x"),
    ])
    .await;
    let (_folder, into) = place();
    body(fetch(&client(|_| {}), &server.url("/"), &into).await);
    let server = Server::answering(move |_, _| busy("10800")).await;
    let (folder, into) = place();
    let error = fetch(&client(|_| {}), &server.url("/"), &into).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert_eq!(error.retry_after(), Some(Duration::from_hours(3)));
    assert_eq!(server.requests().len(), 1);
    assert!(names(&folder).is_empty());
}

#[tokio::test]
async fn what_is_not_there_or_not_for_everybody_is_said_once_and_leaves_nothing() {
    let client = client(|_| {});
    for (status, kind) in [
        (401, ErrorKind::Input),
        (403, ErrorKind::Input),
        (404, ErrorKind::NotFound),
        (410, ErrorKind::NotFound),
        (204, ErrorKind::Protocol),
    ] {
        let server = Server::answering(move |_, _| Reply::status(status)).await;
        let (folder, into) = place();
        let error = fetch(&client, &server.url("/x?token=canary"), &into)
            .await
            .unwrap_err();
        assert_eq!(error.kind(), kind, "{status}");
        assert!(!error.report().contains("canary"), "{}", error.report());
        assert!(names(&folder).is_empty(), "{status}");
        assert!(
            server.requests().len() == 1 || kind == ErrorKind::Protocol,
            "{status}"
        );
    }
    let server = Server::answering(|_, _| Reply::status(200)).await;
    let (folder, into) = place();
    let error = fetch(&client, &server.url("/"), &into).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Input);
    assert!(error.message().ends_with("is empty"), "{error}");
    assert!(names(&folder).is_empty());
}

#[tokio::test]
async fn too_much_is_refused_before_or_while_it_arrives() {
    let large = Reply::status(200).with_body(sample(20_000));
    // Announced, and not announced.
    for reply in [large.clone(), large.chunked()] {
        let server = Server::answering(move |_, _| reply.clone()).await;
        let (folder, into) = place();
        let error = fetch(
            &client(|policy| policy.max_bytes = 10_000),
            &server.url("/"),
            &into,
        )
        .await
        .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Input);
        assert!(error.message().contains("limit of 10000 bytes"), "{error}");
        assert!(error.hint().is_some());
        assert!(names(&folder).is_empty());
        assert_eq!(server.requests().len(), 1);
        body(
            fetch(
                &client(|policy| policy.max_bytes = 20_000),
                &server.url("/"),
                &into,
            )
            .await,
        );
    }
}

fn zipped(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    assert!(encoder.write_all(bytes).is_ok());
    encoder.finish().unwrap_or_default()
}

#[tokio::test]
async fn compression_nobody_asked_for_is_undone_and_bombs_are_stopped() {
    let zip = |bytes: &[u8]| {
        Reply::status(200)
            .with_header("content-encoding", "gzip")
            .with_header("etag", TAG)
            .with_body(zipped(bytes))
    };
    let data = sample(30_000);
    let reply = zip(&data);
    let server = Server::answering(move |_, _| reply.clone()).await;
    let (_folder, into) = place();
    let downloaded = body(fetch(&client(|_| {}), &server.url("/"), &into).await);
    assert_eq!(std::fs::read(&into).unwrap(), data);
    assert_eq!(downloaded.bytes, 30_000);

    let bomb = zip(&vec![0; 50 << 20]);
    let server = Server::answering(move |_, _| bomb.clone()).await;
    let small = client(|policy| {
        policy.max_bytes = 1 << 20;
        policy.max_document_bytes = 1 << 20;
    });
    let (folder, into) = place();
    let error = fetch(&small, &server.url("/"), &into).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Input, "{}", error.report());
    assert!(names(&folder).is_empty());
    let error = small
        .document(&server.url("/"), None, &CancellationToken::new())
        .await
        .unwrap_err();
    assert!(error.message().contains("limit of 1048576 bytes"), "{error}");

    let server = Server::answering(|_, _| {
        Reply::status(200)
            .with_header("content-encoding", "br")
            .with_body("x")
    })
    .await;
    let error = fetch(&client(|_| {}), &server.url("/"), &into).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Protocol);
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn servers_that_fall_silent_or_never_end_are_left() {
    let silent = [
        Reply::never(),
        Reply::status(200)
            .with_body(sample(1_000))
            .trickling(500, Duration::from_hours(1)),
    ];
    for reply in silent {
        let server = Server::answering(move |_, _| reply.clone()).await;
        let (_folder, into) = place();
        let impatient = client(|policy| {
            policy.idle_timeout = Duration::from_millis(50);
            policy.connect_timeout = Duration::from_millis(50);
            policy.retry.max_attempts = 2;
        });
        let error = fetch(&impatient, &server.url("/"), &into).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout, "{}", error.report());
    }
    // One byte at a time, for ever: no silence, but an end.
    let trickle = Reply::status(200)
        .with_body(sample(100_000))
        .trickling(1, Duration::from_millis(20));
    let server = Server::answering(move |_, _| trickle.clone()).await;
    let (_folder, into) = place();
    let error = fetch(
        &client(|policy| policy.total_timeout = Duration::from_millis(300)),
        &server.url("/"),
        &into,
    )
    .await
    .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert!(error.message().contains("took longer"), "{error}");
}

#[tokio::test]
async fn two_downloads_to_one_file_do_not_mix() {
    let server = Server::answering(|_, _| {
        Reply::status(200)
            .with_body(sample(4_000))
            .trickling(2_000, Duration::from_hours(1))
    })
    .await;
    let (_folder, into) = place();
    let client = client(|_| {});
    let url = server.url("/");
    let (cancel, begun) = (CancellationToken::new(), CancellationToken::new());
    let progress = |_, _| begun.cancel();
    let first = client.download(&url, &into, None, &progress, &cancel);
    let second = async {
        begun.cancelled().await;
        let outcome = fetch(&client, &url, &into).await;
        cancel.cancel();
        outcome
    };
    let (first, second) = tokio::join!(first, second);
    assert_eq!(first.unwrap_err().kind(), ErrorKind::Cancelled);
    let error = second.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.message().contains("somebody else"), "{error}");
}

#[tokio::test]
async fn places_that_cannot_be_written_to_are_named() {
    let server = Server::answering(|_, _| Reply::status(200).with_body("x")).await;
    let (folder, _) = place();
    let missing = folder.path().join("missing/ours.bin");
    let error = fetch(&client(|_| {}), &server.url("/"), &missing)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::State);
    assert!(error.message().contains("missing/ours.bin.part"), "{error}");
    assert!(server.requests().is_empty());
    #[cfg(unix)]
    {
        let into = folder.path().join("ours.bin");
        let victim = folder.path().join("victim");
        std::fs::write(&victim, "mine").unwrap();
        std::os::unix::fs::symlink(&victim, folder.path().join("ours.bin.part")).unwrap();
        let error = fetch(&client(|_| {}), &server.url("/"), &into).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::State);
        assert_eq!(std::fs::read_to_string(&victim).unwrap(), "mine");
    }
}

#[tokio::test]
async fn redirects_are_followed_without_telling_anybody_anything() {
    let target = Server::answering(|_, _| Reply::status(200).with_body("there")).await;
    let to = target.url("/end/b.mp3");
    let server = Server::answering(move |number, _| match number {
        1 => Reply::status(302)
            .with_header("location", "next?x=1")
            .with_header("set-cookie", "id=1"),
        2 => Reply::status(307).with_header("location", to.clone()),
        _ => Reply::status(500),
    })
    .await;
    let (_folder, into) = place();
    let downloaded = body(fetch(&client(|_| {}), &server.url("/a/start"), &into).await);
    assert_eq!(downloaded.final_url, target.url("/end/b.mp3"));
    assert_eq!(downloaded.file_name_hint.as_deref(), Some("b.mp3"));
    assert_eq!(server.requests()[1].target, "/a/next?x=1");
    for request in server.requests().iter().chain(&target.requests()) {
        for header in ["cookie", "authorization", "referer", "origin"] {
            assert_eq!(request.header(header), None);
        }
    }
    let circle = Server::answering(|_, _| Reply::status(302).with_header("location", "/")).await;
    let error = fetch(&client(|_| {}), &circle.url("/"), &into).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Protocol);
    assert_eq!(circle.requests().len(), 6);
    for location in ["", "http://", "http://[::1", "\u{1}"] {
        let server =
            Server::answering(move |_, _| Reply::status(302).with_header("location", location)).await;
        assert!(
            fetch(&client(|_| {}), &server.url("/"), &into).await.is_err(),
            "{location}"
        );
    }
}

#[tokio::test]
async fn redirects_do_not_lead_inside() {
    let client = client(|_| {});
    for inside in [
        "http://127.0.0.2/",
        "http://2130706434/",
        "//0x7f.2/",
        "http://[::1]/",
        "http://169.254.169.254/latest/meta-data/",
        "http://10.0.0.1:8080/",
        "file:///etc/passwd",
        "gopher://127.0.0.1/",
        "http://user:canary@127.0.0.1/",
    ] {
        let server = Server::answering(move |_, _| Reply::status(301).with_header("location", inside)).await;
        let (folder, into) = place();
        let error = fetch(&client, &server.url("/"), &into).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Input, "{inside}: {}", error.report());
        assert!(!error.report().contains("canary"));
        assert_eq!(server.requests().len(), 1, "{inside}");
        assert!(names(&folder).is_empty());
        let error = client
            .peek(&server.url("/"), &CancellationToken::new())
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Input, "{inside}");
    }
}

#[tokio::test]
async fn a_look_tells_feeds_pages_and_recordings_apart() {
    let feed = format!(
        "<?xml version='1.0'?><rss version='2.0'>{}</rss>",
        " ".repeat(100_000)
    );
    let served = feed.clone();
    let server = Server::answering(move |_, request| match request.path() {
        "/feed" => Reply::status(200)
            .with_header("content-encoding", "gzip")
            .with_header("etag", TAG)
            .with_body(zipped(served.as_bytes())),
        "/page" => Reply::status(200)
            .with_header("content-type", "audio/mpeg")
            .with_body("<!doctype html><p>log in"),
        // Only its beginning is read, or this test would not end.
        "/media.mp3" => Reply::status(200)
            .with_header("content-type", "text/html")
            .with_body([b"ID3".to_vec(), sample(40_000)].concat())
            .trickling(20_000, Duration::from_hours(1)),
        _ => Reply::status(200),
    })
    .await;
    let cancel = CancellationToken::new();
    let client = client(|_| {});
    let look = client.peek(&server.url("/feed"), &cancel).await.unwrap();
    assert_eq!(look.kind, Kind::Feed);
    assert_eq!(look.body, feed.as_bytes());
    assert_eq!(look.validators.etag.as_deref(), Some(TAG));
    let look = client.peek(&server.url("/page"), &cancel).await.unwrap();
    assert_eq!((look.kind, look.body.len()), (Kind::Page, 0));
    assert_eq!(look.content_type.as_deref(), Some("audio/mpeg"));
    let look = client.peek(&server.url("/media.mp3"), &cancel).await.unwrap();
    assert_eq!((look.kind, look.length), (Kind::Media, Some(40_003)));
    assert_eq!(look.file_name_hint.as_deref(), Some("media.mp3"));
    assert_eq!(
        client
            .peek(&server.url("/empty"), &cancel)
            .await
            .unwrap_err()
            .kind(),
        ErrorKind::Input
    );
}

#[tokio::test]
async fn documents_are_asked_for_only_if_they_changed() {
    let server = Server::answering(
        |number, request| match (number, request.header("if-none-match")) {
            (1, _) => Reply::status(500),
            (_, Some(TAG)) => Reply::status(304),
            _ => Reply::status(200).with_header("etag", TAG).with_body("WEBVTT"),
        },
    )
    .await;
    let cancel = CancellationToken::new();
    let client = client(|_| {});
    let Document::Body(document) = client.document(&server.url("/"), None, &cancel).await.unwrap() else {
        panic!("a document is there")
    };
    assert_eq!(document.bytes, b"WEBVTT");
    let again = client
        .document(&server.url("/"), Some(&document.validators), &cancel)
        .await
        .unwrap();
    assert_eq!(again, Document::NotModified);
    let unasked = Server::answering(|_, _| Reply::status(304)).await;
    assert_eq!(
        client
            .document(&unasked.url("/"), None, &cancel)
            .await
            .unwrap_err()
            .kind(),
        ErrorKind::Protocol
    );
}
