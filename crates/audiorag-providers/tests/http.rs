//! The HTTP seam against a server that misbehaves.

use audiorag_core::retry::RetryPolicy;
use audiorag_core::{ErrorKind, Secret};
use audiorag_providers::http::{Get, HttpClient, HttpSettings};
use audiorag_testkit::http::{Reply, Server};
use std::time::Duration;

fn client(change: impl FnOnce(&mut HttpSettings)) -> HttpClient {
    let mut settings = HttpSettings {
        retry: RetryPolicy {
            first_wait: Duration::from_millis(1),
            ..RetryPolicy::default()
        },
        ..HttpSettings::default()
    };
    change(&mut settings);
    match HttpClient::new(&settings) {
        Ok(client) => client,
        Err(error) => unreachable!("{}", error.report()),
    }
}

#[tokio::test]
async fn json_is_read_with_the_token_and_the_programs_name() {
    let server = Server::scripted([Reply::json(200, r#"{"ok": [1, 2]}"#).chunked()]).await;
    let get = Get::new(&server.url("/x?y=1")).unwrap();
    let get = get.with_bearer(Some(&Secret::new("canary")));
    let value = client(|_| {}).json(&get, 1_000).await.unwrap();
    assert_eq!(value["ok"][1], 2);
    let request = &server.requests()[0];
    assert_eq!(request.target, "/x?y=1");
    assert_eq!(request.header("authorization"), Some("Bearer canary"));
    assert!(request.header("user-agent").unwrap().starts_with("audiorag/"));
    assert_eq!(request.header("range"), None);
}

#[tokio::test]
async fn an_empty_token_is_no_token_and_a_broken_one_is_refused() {
    let server = Server::answering(|_, _| Reply::json(200, "{}")).await;
    let get = Get::new(&server.url("/")).unwrap();
    client(|_| {})
        .json(&get.clone().with_bearer(Some(&Secret::new(" "))), 10)
        .await
        .unwrap();
    assert_eq!(server.requests()[0].header("authorization"), None);
    let error = client(|_| {})
        .json(&get.with_bearer(Some(&Secret::new("a\nb"))), 10)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Auth);
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn answers_are_capped_whether_or_not_they_say_how_long_they_are() {
    for reply in [Reply::status(200), Reply::status(200).chunked()] {
        let reply = reply.with_body(vec![b'x'; 5_000]);
        let server = Server::answering(move |_, _| reply.clone()).await;
        let get = Get::new(&server.url("/")).unwrap();
        let client = client(|_| {});
        assert_eq!(client.bytes(&get, 5_000).await.unwrap().len(), 5_000);
        let error = client.bytes(&get, 4_999).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Protocol);
        assert!(error.message().contains("more than 4999 bytes"), "{error}");
    }
}

#[tokio::test]
async fn what_is_not_json_is_a_broken_contract() {
    let server = Server::answering(|_, _| Reply::status(200).with_body("<html>")).await;
    let error = client(|_| {})
        .json(&Get::new(&server.url("/a")).unwrap(), 100)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Protocol);
    assert!(
        error.message().contains("/a does not answer with JSON"),
        "{error}"
    );
}

#[tokio::test]
async fn failures_that_may_pass_are_tried_again() {
    let server = Server::scripted([
        Reply::status(503),
        Reply::status(429).with_header("retry-after", "0"),
        Reply::status(200).with_body("done"),
    ])
    .await;
    let get = Get::new(&server.url("/")).unwrap();
    assert_eq!(client(|_| {}).bytes(&get, 100).await.unwrap(), b"done");
    assert_eq!(server.requests().len(), 3);
}

#[tokio::test]
async fn a_body_that_is_cut_is_fetched_again_as_a_whole() {
    let whole = Reply::status(200).with_body(vec![7; 10_000]);
    let server = Server::scripted([
        whole.clone().cut_after(5_000),
        whole.clone().reset_after(200),
        whole,
    ])
    .await;
    let get = Get::new(&server.url("/")).unwrap();
    assert_eq!(client(|_| {}).bytes(&get, 10_000).await.unwrap(), vec![7; 10_000]);
}

#[tokio::test]
async fn attempts_do_not_multiply() {
    let server = Server::answering(|_, _| Reply::status(500).with_body("overloaded\n today")).await;
    let get = Get::new(&server.url("/p?key=canary")).unwrap();
    let error = client(|_| {}).bytes(&get, 100).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert_eq!(server.requests().len(), 3);
    assert!(!error.is_retryable());
    let text = error.report();
    assert!(
        text.contains("said: overloaded today") && text.contains("attempts: 3"),
        "{text}"
    );
    assert!(!text.contains("canary"), "{text}");
}

#[tokio::test]
async fn long_and_markup_error_bodies_are_left_out() {
    for body in ["<!doctype html><p>sorry</p>".to_owned(), "x".repeat(100_000)] {
        let server = Server::answering(move |_, _| {
            Reply::status(400)
                .with_header("x-request-id", "r-1")
                .with_body(body.clone())
        })
        .await;
        let error = client(|_| {})
            .bytes(&Get::new(&server.url("/")).unwrap(), 10)
            .await
            .unwrap_err();
        assert_eq!(error.context(), [("request", "r-1".to_owned())]);
        assert_eq!(server.requests().len(), 1);
    }
}

#[tokio::test]
async fn a_server_that_says_nothing_is_a_timeout() {
    let server = Server::answering(|_, _| Reply::never()).await;
    let client = client(|settings| {
        settings.read_timeout = Duration::from_millis(50);
        settings.retry.max_attempts = 2;
    });
    let error = client
        .stream(&Get::new(&server.url("/")).unwrap())
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert!(error.message().contains("does not answer in time"), "{error}");
    assert_eq!(server.requests().len(), 2);
}

#[tokio::test]
async fn nobody_there_is_unavailable() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let get = Get::new(&format!("http://user:canary@{address}/x?token=canary")).unwrap();
    let error = client(|_| {}).bytes(&get, 10).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.message().contains("cannot be reached"), "{error}");
    assert!(!error.report().contains("canary"), "{}", error.report());
}

#[tokio::test]
async fn redirects_that_lead_nowhere_are_a_broken_contract() {
    for reply in [
        Reply::status(302),
        Reply::status(302).with_header("location", "ftp://host/x"),
    ] {
        let server = Server::answering(move |_, _| reply.clone()).await;
        let client = client(|settings| settings.retry.max_attempts = 1);
        let error = client
            .bytes(&Get::new(&server.url("/")).unwrap(), 10)
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Protocol);
        assert!(error.message().contains("redirects to nowhere"), "{error}");
    }
}

#[tokio::test]
async fn a_part_that_does_not_say_where_it_starts_is_refused() {
    let server = Server::answering(|_, _| Reply::status(206).with_body("x")).await;
    let get = Get::new(&server.url("/")).unwrap().with_range_from(5);
    let body = client(|_| {}).stream(&get).await.unwrap();
    assert_eq!(body.length(), Some(1));
    assert_eq!(body.start().unwrap_err().kind(), ErrorKind::Protocol);
    assert_eq!(server.requests()[0].header("range"), Some("bytes=5-"));
}
