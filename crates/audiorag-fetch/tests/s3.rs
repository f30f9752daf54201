//! Buckets against a small service on the loopback interface that speaks as much of S3 as reading needs.

use audiorag_core::retry::RetryPolicy;
use audiorag_core::{Error, ErrorKind, Secret};
use audiorag_fetch::s3::{BucketObject, BucketSettings, BucketUrl, Buckets};
use audiorag_fetch::{Downloaded, Fetched, Validators, WebPolicy};
use audiorag_testkit::http::{Reply, Request, Server};
use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

const DATE: &str = "Wed, 07 Jan 2026 05:00:00 GMT";

fn buckets(server: &Server, key: bool, change: impl FnOnce(&mut WebPolicy)) -> Buckets {
    let settings = BucketSettings {
        endpoint: Some(server.url("/")),
        access_key_id: key.then(|| "NAME".to_owned()),
        secret_access_key: key.then(|| Secret::new("canary")),
        ..BucketSettings::default()
    };
    let mut policy = WebPolicy {
        retry: RetryPolicy {
            max_attempts: 3,
            first_wait: Duration::from_millis(1),
            ..RetryPolicy::default()
        },
        ..WebPolicy::default()
    };
    change(&mut policy);
    match Buckets::new(settings, policy) {
        Ok(buckets) => buckets,
        Err(error) => unreachable!("{}", error.report()),
    }
}

#[track_caller]
fn at(url: &str) -> BucketUrl {
    match BucketUrl::parse(url) {
        Ok(url) => url,
        Err(error) => unreachable!("{}", error.report()),
    }
}

/// The object `body` as the service gives it, whole or from an offset, if the conditions hold.
fn object(request: &Request, body: &[u8], tag: &str) -> Reply {
    if request.header("if-none-match") == Some(tag) {
        return Reply::status(304).with_header("etag", tag);
    }
    if request.header("if-match").is_some_and(|wanted| wanted != tag) {
        return Reply::status(412);
    }
    let described = |status| {
        Reply::status(status)
            .with_header("etag", tag)
            .with_header("last-modified", DATE)
    };
    let from = request.header("range").and_then(|range| {
        range
            .strip_prefix("bytes=")?
            .strip_suffix('-')?
            .parse::<usize>()
            .ok()
    });
    match from {
        Some(from) => described(206)
            .with_header(
                "content-range",
                format!("bytes {from}-{}/{}", body.len() - 1, body.len()),
            )
            .with_body(body.get(from..).unwrap_or_default()),
        None => described(200).with_body(body),
    }
}

fn listing(keys: &[(&str, u64)], next: Option<&str>) -> Reply {
    let mut body = format!(
        "<?xml version=\"1.0\"?><ListBucketResult><IsTruncated>{}</IsTruncated>",
        next.is_some()
    );
    if let Some(next) = next {
        let _ = write!(body, "<NextContinuationToken>{next}</NextContinuationToken>");
    }
    for (key, size) in keys {
        let _ = write!(
            body,
            "<Contents><Key>{key}</Key><LastModified>2026-01-07T05:00:00.000Z</LastModified>\
             <ETag>&quot;{key}&quot;</ETag><Size>{size}</Size></Contents>"
        );
    }
    body.push_str("</ListBucketResult>");
    Reply::status(200)
        .with_header("content-type", "application/xml")
        .with_body(body)
}

async fn fetch(buckets: &Buckets, into: &Path, known: Option<&Validators>) -> Result<Fetched, Error> {
    let cancel = CancellationToken::new();
    buckets
        .download(
            &at("s3://recordings/talks/a b.mp3"),
            into,
            known,
            &|_, _| {},
            &cancel,
        )
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

/// Table: buckets | a folder, over several pages; one key; a public bucket
#[test]
fn urls_of_buckets_are_read_as_they_are_written() {
    for (url, bucket, key) in [
        ("s3://recordings", "recordings", ""),
        ("s3://recordings/", "recordings", ""),
        (" s3://my.bucket-1/talks/", "my.bucket-1", "talks/"),
        (
            "s3://recordings/a b%20\u{e4}.mp3",
            "recordings",
            "a b%20\u{e4}.mp3",
        ),
    ] {
        let read = at(url);
        assert_eq!((read.bucket(), read.key()), (bucket, key), "{url}");
    }
    for wrong in [
        "",
        "s3://",
        "s3:///a",
        "s3://UPPER/a",
        "s3://a@b/c",
        "s3://a..b/c",
        "https://bucket/a",
        "s3://b:80/c",
    ] {
        assert_eq!(
            BucketUrl::parse(wrong).unwrap_err().kind(),
            ErrorKind::Input,
            "{wrong}"
        );
    }
}

/// Table: buckets | refusals, too large
#[test]
fn settings_that_do_not_fit_together_are_refused_without_showing_the_secret() {
    let secret = Some(Secret::new("canary"));
    for settings in [
        BucketSettings {
            secret_access_key: secret.clone(),
            ..BucketSettings::default()
        },
        BucketSettings {
            access_key_id: Some("NAME".to_owned()),
            ..BucketSettings::default()
        },
        BucketSettings {
            endpoint: Some("minio:9000".to_owned()),
            ..BucketSettings::default()
        },
        BucketSettings {
            endpoint: Some("http://u:canary@minio/".to_owned()),
            ..BucketSettings::default()
        },
    ] {
        let error = Buckets::new(settings, WebPolicy::default()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(!error.report().contains("canary"));
    }
    let settings = BucketSettings {
        access_key_id: Some("NAME".to_owned()),
        secret_access_key: secret,
        ..BucketSettings::default()
    };
    let shown = format!("{:?}", Buckets::new(settings, WebPolicy::default()).unwrap());
    assert!(!shown.contains("canary"), "{shown}");
}

/// Table: buckets | a folder, over several pages; one key; a public bucket | listed, signed where there is a key
#[tokio::test]
async fn a_folder_is_listed_over_all_its_pages() {
    let server = Server::answering(|_, request| {
        if request.target.contains("continuation-token=more") {
            listing(&[("talks/a.mp3", 10)], None)
        } else {
            listing(&[("talks/b &amp; c.mp3", 20), ("talks/folder/", 0)], Some("more"))
        }
    })
    .await;
    let buckets = buckets(&server, true, |_| {});
    let found = buckets
        .list(&at("s3://recordings/talks/"), &CancellationToken::new())
        .await
        .unwrap();
    let object = |key: &str, bytes, etag: &str| BucketObject {
        url: at(&format!("s3://recordings/{key}")),
        bytes,
        etag: Some(etag.to_owned()),
        last_modified: Some("2026-01-07T05:00:00Z".to_owned()),
    };
    assert_eq!(
        found,
        [
            object("talks/a.mp3", 10, "\"talks/a.mp3\""),
            object("talks/b & c.mp3", 20, "\"talks/b & c.mp3\""),
        ]
    );
    for request in server.requests() {
        assert_eq!(request.path(), "/recordings");
        assert!(request.target.contains("prefix=talks%2F"), "{}", request.target);
        let signed = request.header("authorization").unwrap();
        assert!(
            signed.starts_with("AWS4-HMAC-SHA256 Credential=NAME/"),
            "{signed}"
        );
        assert!(!format!("{request:?}").contains("canary"));
    }
}

/// Table: buckets | a folder, over several pages; one key; a public bucket
#[tokio::test]
async fn one_object_is_found_by_its_key_and_public_buckets_need_no_signature() {
    let server = Server::answering(|_, request| match (request.method.as_str(), request.path()) {
        ("HEAD", "/recordings/a.mp3") => object(request, b"sound", "\"v1\""),
        ("HEAD", _) => Reply::status(404),
        _ => listing(&[], None),
    })
    .await;
    let buckets = buckets(&server, false, |_| {});
    let cancel = CancellationToken::new();
    let found = buckets.list(&at("s3://recordings/a.mp3"), &cancel).await.unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].bytes, found[0].etag.as_deref()), (5, Some("\"v1\"")));
    let error = buckets
        .list(&at("s3://recordings/none"), &cancel)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(
        buckets
            .list(&at("s3://recordings/empty/"), &cancel)
            .await
            .unwrap()
            .is_empty()
    );
    assert!(
        server
            .requests()
            .iter()
            .all(|request| request.header("authorization").is_none())
    );
}

/// Table: buckets | a break, a change midway, no change | goes on, begins anew, is not fetched
#[tokio::test]
async fn an_object_is_downloaded_and_goes_on_after_a_break() {
    let data: Vec<u8> = (0..60_000_u32).map(|index| (index % 249) as u8).collect();
    let served = data.clone();
    let server = Server::answering(move |number, request| {
        let reply = object(request, &served, "\"v1\"");
        if number == 1 {
            reply.cut_after(25_000)
        } else {
            reply
        }
    })
    .await;
    let folder = tempfile::tempdir().unwrap();
    let into = folder.path().join("ours.bin");
    let buckets = buckets(&server, true, |_| {});
    let downloaded = body(fetch(&buckets, &into, None).await);
    assert_eq!(std::fs::read(&into).unwrap(), data);
    assert_eq!(downloaded.bytes, 60_000);
    assert_eq!(downloaded.file_name_hint.as_deref(), Some("a b.mp3"));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    let requests = server.requests();
    assert_eq!(requests.len(), 2);
    assert_eq!(requests[0].path(), "/recordings/talks/a%20b.mp3");
    assert_eq!(requests[1].header("if-match"), Some("\"v1\""));
    assert!(requests[1].header("range").is_some());
    let again = fetch(&buckets, &into, Some(&downloaded.validators))
        .await
        .unwrap();
    assert_eq!(again, Fetched::NotModified);
}

/// Table: buckets | a break, a change midway, no change
#[tokio::test]
async fn an_object_that_changes_midway_is_fetched_from_its_start() {
    let server = Server::answering(|number, request| match number {
        1 => object(request, &[b'a'; 9_000], "\"a\"").cut_after(5_000),
        _ => object(request, &[b'b'; 8_000], "\"b\""),
    })
    .await;
    let folder = tempfile::tempdir().unwrap();
    let into = folder.path().join("ours.bin");
    let downloaded = body(fetch(&buckets(&server, true, |_| {}), &into, None).await);
    assert_eq!(std::fs::read(&into).unwrap(), [b'b'; 8_000]);
    assert_eq!(downloaded.validators.etag.as_deref(), Some("\"b\""));
}

/// Table: buckets | refusals, too large | told, and nothing stays; the secret is never shown
#[tokio::test]
async fn refusals_of_the_service_are_told_and_leave_nothing() {
    let refuse = |status, code: &str| {
        let body = format!("<Error><Code>{code}</Code><Message>no</Message></Error>");
        Reply::status(status)
            .with_header("content-type", "application/xml")
            .with_body(body)
    };
    for (reply, of_list, of_download) in [
        (refuse(403, "AccessDenied"), ErrorKind::Auth, ErrorKind::Input),
        (
            refuse(404, "NoSuchBucket"),
            ErrorKind::NotFound,
            ErrorKind::NotFound,
        ),
        (
            refuse(503, "SlowDown"),
            ErrorKind::Unavailable,
            ErrorKind::Unavailable,
        ),
    ] {
        let server = Server::answering(move |_, _| reply.clone()).await;
        let buckets = buckets(&server, true, |_| {});
        let error = buckets
            .list(&at("s3://recordings/talks/"), &CancellationToken::new())
            .await
            .unwrap_err();
        assert_eq!(error.kind(), of_list, "{}", error.report());
        let folder = tempfile::tempdir().unwrap();
        let error = fetch(&buckets, &folder.path().join("ours.bin"), None)
            .await
            .unwrap_err();
        assert_eq!(error.kind(), of_download, "{}", error.report());
        assert!(!error.report().contains("canary"));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
    let server = Server::answering(|_, request| object(request, &[0; 5_000], "\"v1\"")).await;
    let folder = tempfile::tempdir().unwrap();
    let small = buckets(&server, true, |policy| policy.max_bytes = 4_999);
    let error = fetch(&small, &folder.path().join("ours.bin"), None)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Input);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn reading_buckets_may_run_on_any_thread() {
    fn crosses_threads<T: Send>(_: &T) {}
    let buckets = Buckets::new(BucketSettings::default(), WebPolicy::default()).unwrap();
    let (url, cancel) = (at("s3://recordings/a.mp3"), CancellationToken::new());
    crosses_threads(&buckets.list(&url, &cancel));
    crosses_threads(&buckets.download(&url, Path::new("x"), None, &|_, _| {}, &cancel));
}
