//! What the status and headers of an answer mean, decided once for every vendor.

use super::Head;
use audiorag_core::{Error, ErrorKind, Result};
use reqwest::Response;
use std::time::Duration;

/// Bytes of an error body that are read for its message.
const ERROR_BODY: usize = 2_048;

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

/// The response, or an error for a status that is not a success.
pub(super) async fn check(name: &str, mut response: Response) -> Result<Response> {
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let head = Head {
        status,
        headers: response.headers().clone(),
    };
    let mut error = Error::new(
        kind_of_status(status.as_u16()),
        format!("{name} answers {status}"),
    );
    let said = match head.header("x-error-message") {
        Some(message) => message.to_owned(),
        None => error_text(&mut response).await,
    };
    if !said.is_empty() {
        error = error.with_context("said", said);
    }
    if let Some(id) = head.header("x-request-id") {
        error = error.with_context("request", id.chars().take(80).collect::<String>());
    }
    if let Some(wait) = retry_after(&head, jiff::Timestamp::now()) {
        error = error.with_retry_after(wait);
    }
    Err(error)
}

/// The beginning of an error body, if it is short text, on one line.
async fn error_text(response: &mut Response) -> String {
    let mut bytes = Vec::new();
    while let Ok(Some(chunk)) = response.chunk().await {
        bytes.extend_from_slice(&chunk);
        if bytes.len() >= ERROR_BODY {
            return String::new();
        }
    }
    match String::from_utf8(bytes) {
        Ok(text) if !text.trim_start().starts_with('<') => text
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ")
            .chars()
            .take(200)
            .collect(),
        _ => String::new(),
    }
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
