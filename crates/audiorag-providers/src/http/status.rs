//! What the status and headers of an answer mean, decided once for every vendor.

use super::Head;
use super::service::{Refinement, Refusal};
use audiorag_core::{Error, ErrorKind, Result};
use reqwest::Response;
use serde_json::Value;
use std::time::Duration;

/// Bytes of an error body that are read for its message.
const ERROR_BODY: usize = 16 << 10;
/// Characters of it that are shown.
const SHOWN: usize = 300;

/// Headers in which services name a request, for their support.
const REQUEST_IDS: &[&str] = &[
    "x-request-id",
    "request-id",
    "dg-request-id",
    "x-debug-trace-id",
    "chroma-trace-id",
    "x-pinecone-request-id",
];

/// Codes in error bodies that say more than the status.
const CODES: &[(&str, ErrorKind)] = &[
    ("insufficient_quota", ErrorKind::Budget),
    ("billing_hard_limit_reached", ErrorKind::Budget),
    ("billing_not_active", ErrorKind::Budget),
    ("billing_error", ErrorKind::Budget),
    ("quota_exceeded", ErrorKind::Budget),
    ("model_not_found", ErrorKind::NotFound),
    ("model_decommissioned", ErrorKind::NotFound),
    ("invalid_api_key", ErrorKind::Auth),
    ("overloaded_error", ErrorKind::Unavailable),
];

/// What the caller can do about a status that is not a success.
pub fn kind_of_status(status: u16) -> ErrorKind {
    match status {
        401 | 403 | 407 => ErrorKind::Auth,
        402 => ErrorKind::Budget,
        404 | 410 => ErrorKind::NotFound,
        408 => ErrorKind::Timeout,
        425 | 429 => ErrorKind::RateLimited,
        400..=499 => ErrorKind::Input,
        501 | 505 => ErrorKind::Unsupported,
        500..=599 => ErrorKind::Unavailable,
        _ => ErrorKind::Protocol,
    }
}

/// How long the server asks to wait: `retry-after-ms`, or `Retry-After` in seconds or as a date.
pub fn retry_after(head: &Head, now: jiff::Timestamp) -> Option<Duration> {
    if let Some(millis) = head
        .header("retry-after-ms")
        .and_then(|value| value.parse::<f64>().ok())
    {
        return Duration::try_from_secs_f64(millis / 1000.0).ok();
    }
    let value = head.header("retry-after")?;
    if let Ok(seconds) = value.parse::<f64>() {
        return Duration::try_from_secs_f64(seconds).ok();
    }
    let date = jiff::fmt::rfc2822::parse(value).ok()?.timestamp();
    // A date that has passed means now.
    Some(Duration::try_from(date.duration_since(now)).unwrap_or_default())
}

/// An answer that is not a success, as an error, and what the service says about another attempt.
pub(super) struct Declined {
    pub(super) error: Error,
    /// `x-should-retry`, where it is sent.
    pub(super) advice: Option<bool>,
}

/// The response, or an error for a status that is not a success.
pub(super) async fn check(name: &str, response: Response) -> Result<Response> {
    if response.status().is_success() {
        return Ok(response);
    }
    let declined = decline(name, response, |_| Refinement::default(), str::to_owned).await;
    Err(declined.error)
}

/// What an answer that is not a success means: the status, then codes in the body that say more, then what the
/// vendor's own hook knows. `scrub` removes credentials that a service may echo.
pub(super) async fn decline(
    name: &str,
    mut response: Response,
    refine: fn(&Refusal<'_>) -> Refinement,
    scrub: impl Fn(&str) -> String,
) -> Declined {
    let head = Head::of(&response);
    let status = head.status();
    let text = error_text(&mut response).await;
    let body: Value = serde_json::from_str(&text).unwrap_or_default();
    // Gemini's errors sometimes come in a list of one.
    let body = body.get(0).cloned().unwrap_or(body);
    let refinement = refine(&Refusal {
        status,
        head: &head,
        body: &body,
    });
    let kind = refinement
        .kind
        .or_else(|| kind_of_code(&body))
        .unwrap_or_else(|| kind_of_status(status));
    let mut error = Error::new(kind, format!("{name} answers {}", response.status()));
    let said = head
        .header("x-error-message")
        .map(str::to_owned)
        .or_else(|| message_of(&body))
        .unwrap_or(text);
    let said = one_line(&scrub(&said));
    if !said.is_empty() {
        error = error.with_context("said", said);
    }
    if let Some(id) = REQUEST_IDS.iter().find_map(|id| head.header(id)) {
        error = error.with_context(
            "request",
            one_line(&scrub(id)).chars().take(80).collect::<String>(),
        );
    }
    let wait = retry_after(&head, jiff::Timestamp::now()).or(refinement.retry_after);
    if let Some(wait) = wait {
        error = error.with_retry_after(wait);
    }
    if let Some(hint) = refinement.hint.or(match kind {
        ErrorKind::Budget => {
            Some("the vendor's quota or credit is used up: raise it, or choose another provider")
        }
        _ => None,
    }) {
        error = error.with_hint(hint);
    }
    let advice = match head.header("x-should-retry") {
        Some("true") => Some(true),
        Some("false") => Some(false),
        _ => None,
    };
    Declined { error, advice }
}

/// What a code in the body says, wherever vendors put it.
fn kind_of_code(body: &Value) -> Option<ErrorKind> {
    let error = body.get("error").unwrap_or(body);
    ["code", "type", "status"]
        .iter()
        .filter_map(|field| error.get(field)?.as_str())
        .find_map(|said| CODES.iter().find(|(code, _)| *code == said))
        .map(|(_, kind)| *kind)
}

/// The message in the body, wherever vendors put it.
fn message_of(body: &Value) -> Option<String> {
    [
        "/error/message",
        // Where both stand side by side, `error` is only a name.
        "/message",
        "/error",
        "/detail",
        "/detail/message",
        "/err_msg",
        "/details",
        "/status/error",
        "/error/0/message",
    ]
    .iter()
    .find_map(|path| body.pointer(path)?.as_str().map(str::to_owned))
}

/// Text on one line, without control characters, cut to what is worth showing.
fn one_line(text: &str) -> String {
    if text.trim_start().starts_with('<') {
        // A page for people.
        return String::new();
    }
    text.split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
        .chars()
        .filter(|letter| !letter.is_control())
        .take(SHOWN)
        .collect()
}

/// An error body, if it is text and not long.
async fn error_text(response: &mut Response) -> String {
    let mut bytes = Vec::new();
    while let Ok(Some(chunk)) = response.chunk().await {
        bytes.extend_from_slice(&chunk);
        if bytes.len() >= ERROR_BODY {
            return String::new();
        }
    }
    String::from_utf8(bytes).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use reqwest::StatusCode;
    use reqwest::header::{HeaderMap, HeaderValue};

    fn head(pairs: &[(&'static str, &str)]) -> Head {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.insert(*name, HeaderValue::from_str(value).unwrap());
        }
        Head {
            status: StatusCode::OK,
            headers,
        }
    }

    #[test]
    fn every_status_has_one_meaning() {
        let table = [
            (400, ErrorKind::Input),
            (401, ErrorKind::Auth),
            (402, ErrorKind::Budget),
            (403, ErrorKind::Auth),
            (404, ErrorKind::NotFound),
            (408, ErrorKind::Timeout),
            (413, ErrorKind::Input),
            (422, ErrorKind::Input),
            (429, ErrorKind::RateLimited),
            (500, ErrorKind::Unavailable),
            (501, ErrorKind::Unsupported),
            (503, ErrorKind::Unavailable),
            (529, ErrorKind::Unavailable),
            (304, ErrorKind::Protocol),
        ];
        for (status, kind) in table {
            assert_eq!(kind_of_status(status), kind, "{status}");
        }
    }

    #[test]
    fn codes_and_messages_are_found_where_vendors_put_them() {
        let table = [
            (
                r#"{"error":{"message":"m","type":"insufficient_quota","code":"insufficient_quota"}}"#,
                Some(ErrorKind::Budget),
            ),
            (
                r#"{"type":"error","error":{"type":"overloaded_error","message":"m"}}"#,
                Some(ErrorKind::Unavailable),
            ),
            (
                r#"{"error":{"code":"model_not_found","message":"m"}}"#,
                Some(ErrorKind::NotFound),
            ),
            (
                r#"{"error":{"code":429,"message":"m","status":"RESOURCE_EXHAUSTED"}}"#,
                None,
            ),
            (r#"{"error":"m"}"#, None),
            (r#"{"error":"InvalidArgumentError","message":"m"}"#, None),
            (r#"{"detail":"m"}"#, None),
            (r#"{"message":"m"}"#, None),
            (r#"{"err_code":"X","err_msg":"m","request_id":"r"}"#, None),
            (r#"{"status":{"error":"m"},"time":0.1}"#, None),
        ];
        for (body, kind) in table {
            let body: Value = serde_json::from_str(body).unwrap();
            assert_eq!(kind_of_code(&body), kind, "{body}");
            assert_eq!(message_of(&body).as_deref(), Some("m"), "{body}");
        }
        assert_eq!(one_line(" a\n b\u{7}"), "a b");
        assert_eq!(one_line("<html>canary"), "");
    }

    #[test]
    fn retry_after_is_read_in_all_its_forms() {
        let now: jiff::Timestamp = "1994-11-06T08:49:27Z".parse().unwrap();
        let wait = |pairs: &[(&'static str, &str)]| retry_after(&head(pairs), now);
        assert_eq!(wait(&[("retry-after", "2")]), Some(Duration::from_secs(2)));
        assert_eq!(wait(&[("retry-after", "0.5")]), Some(Duration::from_millis(500)));
        assert_eq!(
            wait(&[("retry-after-ms", "250"), ("retry-after", "9")]),
            Some(Duration::from_millis(250))
        );
        let date = "Sun, 06 Nov 1994 08:49:37 GMT";
        assert_eq!(wait(&[("retry-after", date)]), Some(Duration::from_secs(10)));
        let past = "Sun, 06 Nov 1994 08:49:07 GMT";
        assert_eq!(wait(&[("retry-after", past)]), Some(Duration::ZERO));
        assert_eq!(wait(&[("retry-after", "soon")]), None);
        assert_eq!(wait(&[("retry-after", "-1")]), None);
        assert_eq!(wait(&[]), None);
    }
}
