//! Downloads against a server that misbehaves in every way that servers do.

mod limits;
mod resume;

use audiorag_core::retry::RetryPolicy;
use audiorag_core::{Error, ErrorKind};
use audiorag_fetch::{Document, Downloaded, Fetched, Kind, Validators, WebClient, WebPolicy};
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

fn zipped(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    assert!(encoder.write_all(bytes).is_ok());
    encoder.finish().unwrap_or_default()
}

/// Table: downloads | a good server | one request; names and types from the server are hints, never paths
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

/// Table: downloads | unchanged since the last time | nothing is sent again (ETag, date)
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

/// Table: judged | redirects to elsewhere, in circles, to nowhere | followed without cookies, credentials and
/// referrer; ended after five
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

/// Table: downloads | a URL without an ending | its first bytes tell a feed, a page and a recording apart
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

/// Table: downloads | unchanged since the last time
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
