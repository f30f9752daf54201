//! What servers say about names and types. None of it is trusted: names are for people, and bytes decide what a file is.

use percent_encoding::percent_decode_str;
use reqwest::Url;
use reqwest::header::{CONTENT_DISPOSITION, CONTENT_TYPE, HeaderMap};

/// Characters of a name that are kept.
const LONGEST: usize = 120;

/// The media type without its parameters, in lower case.
pub(crate) fn content_type(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    let essence = value.split(';').next()?.trim().to_ascii_lowercase();
    let plausible =
        essence.contains('/') && essence.len() <= 100 && essence.bytes().all(|byte| byte.is_ascii_graphic());
    plausible.then_some(essence)
}

/// A name to show for what was fetched: what the server calls it, or the end of its path. Never a path.
pub(crate) fn file_name(headers: &HeaderMap, url: &Url) -> Option<String> {
    let said = headers
        .get(CONTENT_DISPOSITION)
        .and_then(|value| disposition(&String::from_utf8_lossy(value.as_bytes())));
    said.or_else(|| {
        let last = url.path_segments()?.next_back()?;
        clean(&percent_decode_str(last).decode_utf8_lossy())
    })
}

/// The file name in a `Content-Disposition`; the extended form (RFC 8187) wins.
fn disposition(value: &str) -> Option<String> {
    let mut plain = None;
    for parameter in parameters(value) {
        let Some((name, value)) = parameter.split_once('=') else {
            continue;
        };
        let value = value.trim();
        match name.trim().to_ascii_lowercase().as_str() {
            "filename*" => {
                let mut parts = value.splitn(3, '\'');
                let charset = parts.next().unwrap_or_default();
                let encoded = parts.nth(1).unwrap_or_default();
                if charset.eq_ignore_ascii_case("utf-8")
                    && let Some(name) = clean(&percent_decode_str(encoded).decode_utf8_lossy())
                {
                    return Some(name);
                }
            }
            "filename" => {
                let bare = value.trim_matches('"').replace("\\\"", "\"");
                plain = clean(&bare);
            }
            _ => {}
        }
    }
    plain
}

/// Splits at semicolons that are not inside quotation marks.
fn parameters(value: &str) -> Vec<&str> {
    let mut quoted = false;
    value
        .split(|character| {
            if character == '"' {
                quoted = !quoted;
            }
            character == ';' && !quoted
        })
        .collect()
}

/// The last part of a path, without characters that move the cursor or turn the text around.
pub(crate) fn clean(name: &str) -> Option<String> {
    let last = name.rsplit(['/', '\\']).next().unwrap_or_default();
    let kept: String = last
        .chars()
        .filter(|character| !character.is_control() && !is_direction(*character))
        .take(LONGEST)
        .collect();
    let kept = kept.trim().to_owned();
    (!kept.is_empty() && kept != "." && kept != "..").then_some(kept)
}

/// Marks that change the direction of text, with which a name can show another ending than it has.
fn is_direction(character: char) -> bool {
    matches!(character, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use reqwest::header::HeaderValue;

    fn named(disposition: &str, url: &str) -> Option<String> {
        let mut headers = HeaderMap::new();
        if !disposition.is_empty() {
            headers.insert(
                CONTENT_DISPOSITION,
                HeaderValue::from_bytes(disposition.as_bytes()).unwrap(),
            );
        }
        file_name(&headers, &Url::parse(url).unwrap())
    }

    /// Table: downloads | a good server
    #[test]
    fn names_are_found_and_are_never_paths() {
        let table = [
            ("", "https://h/a/Episode%201.mp3?x=/y", Some("Episode 1.mp3")),
            ("", "https://h/", None),
            ("", "https://h/a/..%2f..%2fetc%2fpasswd", Some("passwd")),
            ("attachment; filename=\"a;b.mp3\"", "https://h/x", Some("a;b.mp3")),
            (
                "attachment; filename=\"../../x.mp3\"",
                "https://h/x",
                Some("x.mp3"),
            ),
            (
                "attachment; filename=\"C:\\\\x\\\\y.mp3\"",
                "https://h/x",
                Some("y.mp3"),
            ),
            (
                "attachment; filename=a.mp3; filename*=UTF-8''%C3%A4.mp3",
                "https://h/x",
                Some("ä.mp3"),
            ),
            (
                "attachment; filename*=utf-16''%C3%A4.mp3",
                "https://h/x.ogg",
                Some("x.ogg"),
            ),
            ("attachment; filename=\"..\"", "https://h/x.ogg", Some("x.ogg")),
            (
                "attachment; filename=\"a\u{202e}3pm.exe\"",
                "https://h/x",
                Some("a3pm.exe"),
            ),
        ];
        for (disposition, url, expected) in table {
            assert_eq!(
                named(disposition, url).as_deref(),
                expected,
                "{disposition} {url}"
            );
        }
        let long = format!("https://h/{}", "a".repeat(10_000));
        assert_eq!(named("", &long).unwrap().len(), LONGEST);
    }
}
