//! Going on where an earlier attempt or process ended.

use super::{TAG, body, client, fetch, honest, names, offset, place, sample};
use audiorag_core::ErrorKind;
use audiorag_core::id::KeyHasher;
use audiorag_fetch::discard_partial;
use audiorag_testkit::http::{Reply, Server};
use std::path::Path;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// What is left of a download of `url` that ended after `bytes`, with a note in which `change` is different.
fn leave(into: &Path, url: &str, bytes: &[u8], note: &str) {
    let key = KeyHasher::new("audiorag.download").text(url).finish();
    let note = note.replace("KEY", &key);
    assert!(std::fs::write(into.with_file_name("ours.bin.part"), bytes).is_ok());
    assert!(std::fs::write(into.with_file_name("ours.bin.part.json"), note).is_ok());
}

/// Table: downloads | the connection breaks, anywhere | goes on from there (Range, If-Range); no byte is sent twice
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

/// Table: downloads | the process ends, or is stopped | the next one goes on from there
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

/// Table: downloads | the process ends, or is stopped
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

/// Table: downloads | another version midway, a server without ranges, weak tags, wrong parts, 416, a torn note
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

/// Table: downloads | another version midway, a server without ranges, weak tags, wrong parts, 416, a torn note |
/// begun anew
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

/// Table: downloads | the process ends, or is stopped
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

/// Table: downloads | the connection breaks, anywhere
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

/// Table: downloads | 429 and 503 with Retry-After
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

/// Table: downloads | two downloads to one file | the second is refused
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
