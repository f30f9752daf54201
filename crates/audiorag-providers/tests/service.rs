//! Calls to a service that misbehaves below and above HTTP: cuts, resets, trickles, floods and hostile answers.

use audiorag_core::retry::RetryPolicy;
use audiorag_core::{ErrorKind, Secret};
use audiorag_providers::http::{Call, Field, HttpClient, HttpSettings, Replay, Service};
use audiorag_testkit::http::{Reply, Server};
use serde_json::{Value, json};
use std::time::Duration;

const CANARY: &str = "canary-service-key";

/// A service at `server` of a client of its own: gates are shared within a client only.
fn service(server: &Server, change: impl FnOnce(&mut HttpSettings)) -> Service {
    let mut settings = HttpSettings {
        retry: RetryPolicy {
            first_wait: Duration::from_millis(1),
            ..RetryPolicy::default()
        },
        ..HttpSettings::default()
    };
    change(&mut settings);
    let builder = HttpClient::new(&settings)
        .and_then(|http| http.service("openai", &server.url("/v1")))
        .and_then(|builder| builder.bearer(&Secret::new(CANARY)))
        .and_then(|builder| builder.header("x-flavour", "plain"));
    match builder {
        Ok(builder) => builder.key_hint("check OPENAI_API_KEY").build(),
        Err(error) => unreachable!("{}", error.report()),
    }
}

fn good() -> Reply {
    Reply::json(200, r#"{"answer": [1, 2, 3], "note": "zürich"}"#)
}

#[tokio::test]
async fn a_request_carries_what_it_was_given() {
    let server = Server::scripted([good(), good(), good()]).await;
    let service = service(&server, |_| {});
    let call = Call::post("x/y").query("q", "a b&c").header("x-trace", "7");
    service.done(&call.json(&json!({"k": 1}))).await.unwrap();
    let form = vec![
        Field::Text("model", "m".to_owned()),
        Field::File(
            "file",
            "part.wav",
            "audio/wav",
            bytes::Bytes::from_static(b"RIFF"),
        ),
    ];
    service.done(&Call::post("form").form(form)).await.unwrap();
    service
        .done(&Call::put("raw").bytes("audio/wav", &b"RIFF"[..]))
        .await
        .unwrap();
    let requests = server.requests();
    assert_eq!(requests[0].target, "/v1/x/y?q=a+b%26c");
    assert_eq!(
        requests[0].header("authorization"),
        Some(format!("Bearer {CANARY}").as_str())
    );
    assert_eq!(requests[0].header("x-flavour"), Some("plain"));
    assert_eq!(requests[0].header("x-trace"), Some("7"));
    assert_eq!(requests[0].header("content-type"), Some("application/json"));
    assert_eq!(requests[0].text(), r#"{"k":1}"#);
    let kind = requests[1].header("content-type").unwrap();
    assert!(kind.starts_with("multipart/form-data; boundary="), "{kind}");
    let text = requests[1].text();
    assert!(text.contains("name=\"model\"\r\n\r\nm\r\n"), "{text}");
    assert!(
        text.contains("filename=\"part.wav\"") && text.contains("RIFF"),
        "{text}"
    );
    assert_eq!(requests[2].header("content-type"), Some("audio/wav"));
}

/// Wherever an answer is cut, the call is made again when that is safe, and never half believed.
#[tokio::test]
async fn an_answer_cut_at_any_byte_is_asked_for_again() {
    let length = good().to_bytes(false).len();
    for cut in 0..length {
        let broken = if cut % 2 == 0 {
            good().cut_after(cut)
        } else {
            good().reset_after(cut)
        };
        let server = Server::scripted([broken.clone(), good()]).await;
        let call = Call::post("x").replay(Replay::Free);
        let answer = service(&server, |_| {}).json::<Value>(&call).await.unwrap();
        assert_eq!(answer.value["answer"][2], 3, "cut at {cut}");
        assert_eq!((answer.requests, answer.unknown), (2, 1), "cut at {cut}");

        let server = Server::scripted([broken, good()]).await;
        let call = Call::post("x").replay(Replay::Creates);
        let error = service(&server, |_| {}).json::<Value>(&call).await.unwrap_err();
        assert!(
            matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Protocol),
            "cut at {cut}: {}",
            error.report()
        );
        assert_eq!(server.requests().len(), 1, "cut at {cut}");
        let attempts = error.attempts().unwrap();
        assert_eq!((attempts.requests, attempts.unknown), (1, 1), "cut at {cut}");
    }
}

#[tokio::test]
async fn a_trickle_is_read_and_silence_is_given_up() {
    let trickle = good().trickling(7, Duration::from_millis(1));
    let server = Server::scripted([trickle]).await;
    let call = Call::get("x");
    service(&server, |_| {}).json::<Value>(&call).await.unwrap();

    let server = Server::answering(|_, _| Reply::never()).await;
    let hasty = service(&server, |settings| {
        settings.attempt_timeout = Duration::from_millis(30);
    });
    let error = hasty.done(&Call::post("x")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    // Billed, perhaps, twice: not a third time.
    assert_eq!(server.requests().len(), 2);
}

#[tokio::test]
async fn a_flood_is_not_read_whatever_it_is_packed_in() {
    for reply in [
        Reply::status(200).with_body(vec![b'x'; 5_000]),
        Reply::status(200).with_body(vec![b'x'; 5_000]).chunked(),
        Reply::status(200)
            .with_header("content-encoding", "gzip")
            .with_body(gzip(&[b'x'; 5_000])),
    ] {
        let server = Server::answering(move |_, _| reply.clone()).await;
        let service = service(&server, |_| {});
        let whole = service
            .send(&Call::get("x").cap(5_000), |reply| Ok(reply.body.len()))
            .await;
        assert_eq!(whole.unwrap().value, 5_000);
        let error = service.done(&Call::get("x").cap(4_999)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Protocol);
        assert_eq!(server.requests().len(), 2, "a flood is not asked for again");
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let elsewhere = Server::scripted([good()]).await;
    let target = elsewhere.url("/v1/x");
    let server =
        Server::answering(move |_, _| Reply::status(307).with_header("location", target.clone())).await;
    let error = service(&server, |_| {}).done(&Call::post("x")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Protocol);
    assert!(elsewhere.requests().is_empty(), "the key must not travel");
}

#[tokio::test]
async fn what_a_service_says_is_shown_without_the_key() {
    let message = format!("wrong key\n {CANARY}\u{7} sent");
    let body = json!({"error": {"message": message, "type": "invalid_request_error"}});
    let reply = Reply::json(401, body.to_string()).with_header("x-request-id", "req_17");
    let server = Server::scripted([reply]).await;
    let error = service(&server, |_| {})
        .done(&Call::get("models"))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Auth);
    assert_eq!(error.hint(), Some("check OPENAI_API_KEY"));
    let report = error.report();
    assert!(
        report.contains("wrong key *** sent") && report.contains("req_17"),
        "{report}"
    );
    assert!(!format!("{report} {error:?}").contains(CANARY));
}

#[tokio::test]
async fn a_success_that_quotes_the_key_is_read_without_it() {
    let echo = json!({"error": format!("bad key {CANARY}"), "other": [1]}).to_string();
    let stream = format!("event: {CANARY}\ndata: {echo}\n\n");
    let server = Server::scripted([Reply::json(200, echo), Reply::status(200).with_body(stream)]).await;
    let service = service(&server, |_| {});
    let answer = service.json::<Value>(&Call::post("x")).await.unwrap().value;
    assert_eq!(answer, json!({"error": "bad key ***", "other": [1]}));
    let mut events = service.events(&Call::post("x")).await.unwrap().value;
    let event = events.next().await.unwrap().unwrap();
    assert_eq!((event.name.as_str(), event.data.contains(CANARY)), ("***", false));
    assert!(event.data.contains("bad key ***"), "{}", event.data);
}

#[tokio::test]
async fn a_refused_connection_is_called_so() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let gone = format!("http://{}/v1", listener.local_addr().unwrap());
    drop(listener);
    let http = HttpClient::new(&HttpSettings::default())
        .unwrap()
        .without_retries();
    let service = http.service("openai", &gone).unwrap().build();
    let error = service.done(&Call::get("models")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert_eq!(
        error.context().first(),
        Some(&("cause", "refused".to_owned())),
        "{}",
        error.report()
    );
    assert!(!error.attempts().unwrap().may_have_been_billed());
    assert!(error.hint().is_some());
}

#[tokio::test]
async fn events_arrive_one_by_one_and_breaks_show() {
    let stream = "event: a\ndata: 1\n\ndata: 2\n\n";
    let reply = || {
        Reply::status(200)
            .with_header("content-type", "text/event-stream")
            .with_body(stream)
            .chunked()
    };
    let whole = reply().to_bytes(false).len();
    let server = Server::scripted([Reply::status(503), reply(), reply().reset_after(whole - 8)]).await;
    let service = service(&server, |_| {});
    let answer = service.events(&Call::post("x")).await.unwrap();
    assert_eq!(answer.requests, 2);
    let mut events = answer.value;
    let first = events.next().await.unwrap().unwrap();
    assert_eq!((first.name.as_str(), first.data.as_str()), ("a", "1"));
    assert_eq!(events.next().await.unwrap().unwrap().data, "2");
    assert!(events.next().await.unwrap().is_none());
    // Broken in the middle: nothing is invented, and nothing is asked again, for words were given out.
    let mut events = service.events(&Call::post("x")).await.unwrap().value;
    let broken = loop {
        match events.next().await {
            Ok(Some(_)) => {}
            other => break other.map(|_| ()),
        }
    };
    assert_eq!(broken.unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(server.requests().len(), 3);
}

#[tokio::test]
async fn a_stream_keeps_its_permit_until_it_is_dropped() {
    let server = Server::answering(|_, request| match request.path() {
        "/v1/stream" => Reply::status(200).with_body("data: 1\n\n"),
        _ => good(),
    })
    .await;
    let service = service(&server, |settings| settings.max_in_flight = 1);
    let mut events = service.events(&Call::post("stream")).await.unwrap().value;
    assert_eq!(events.next().await.unwrap().unwrap().data, "1");
    let call = Call::post("x");
    let mut other = std::pin::pin!(service.done(&call));
    let waited = tokio::time::timeout(Duration::from_millis(50), &mut other).await;
    assert!(waited.is_err(), "the stream is still open");
    assert_eq!(server.requests().len(), 1);
    drop(events);
    other.await.unwrap();
    assert_eq!(server.requests().len(), 2);
}

/// A gzip file of one stored block.
fn gzip(data: &[u8]) -> Vec<u8> {
    let length = u16::try_from(data.len()).unwrap_or(u16::MAX);
    let mut out = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255, 1];
    out.extend(length.to_le_bytes());
    out.extend((!length).to_le_bytes());
    out.extend(data);
    out.extend(crc32fast::hash(data).to_le_bytes());
    out.extend(u32::from(length).to_le_bytes());
    out
}
