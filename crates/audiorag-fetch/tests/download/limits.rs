//! Refusals, and an end to everything that a server may go on with.

use super::{TAG, body, client, fetch, names, place, sample, zipped};
use audiorag_core::ErrorKind;
use audiorag_testkit::http::{Reply, Server};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Table: downloads | 429 and 503 with Retry-After | waited for, but not for hours
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

/// Table: downloads | 401, 403, 404, 410, an empty body | said once, for this recording alone; nothing stays
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

/// Table: downloads | too large, announced or not; gzip bombs | refused at the limit, after decompression; nothing
/// stays
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

/// Table: downloads | too large, announced or not; gzip bombs
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

/// Table: downloads | silent, stalled, endless | left after the idle and the total limit
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

/// Table: downloads | disk full, no folder, a link in the place of the file
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

/// Table: judged | a redirect inside, to another scheme, to a name inside | refused, and nothing is sent there
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
