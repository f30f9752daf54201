//! What yt-dlp's complaints mean, and what helps.

use audiorag_core::{Error, ErrorKind};

/// Characters of a complaint that are shown.
const SHOWN: usize = 300;

const COOKIES: &str = "give yt-dlp a cookies file of a browser in which you are signed in, or download the recording and index the file";
const UPDATE: &str = "update yt-dlp: sites change, and an older version stops understanding them";
const LATER: &str = "try again later";

/// Words in a complaint, in lower case, and what they mean. The first that fits counts.
const MEANINGS: &[(&str, ErrorKind, &str)] = &[
    ("no such option", ErrorKind::Unsupported, UPDATE),
    ("not a bot", ErrorKind::Input, COOKIES),
    ("sign in", ErrorKind::Input, COOKIES),
    ("log in", ErrorKind::Input, COOKIES),
    ("login required", ErrorKind::Input, COOKIES),
    ("cookies", ErrorKind::Input, COOKIES),
    ("private video", ErrorKind::Input, COOKIES),
    ("members-only", ErrorKind::Input, COOKIES),
    (
        "unsupported url",
        ErrorKind::Input,
        "no recording was found on this page: give the URL of the recording itself",
    ),
    (
        "no video formats",
        ErrorKind::Input,
        "no recording was found on this page: give the URL of the recording itself",
    ),
    (
        "requested format is not available",
        ErrorKind::Input,
        "the page has no recording that can be downloaded",
    ),
    (
        "drm",
        ErrorKind::Input,
        "the recording is protected against copying",
    ),
    (
        "not available in your country",
        ErrorKind::Input,
        "the site does not serve it where you are",
    ),
    (
        "video unavailable",
        ErrorKind::NotFound,
        "check the URL; it may have been removed",
    ),
    (
        "has been removed",
        ErrorKind::NotFound,
        "check the URL; it may have been removed",
    ),
    (
        "http error 404",
        ErrorKind::NotFound,
        "check the URL; it may have been removed",
    ),
    ("http error 429", ErrorKind::RateLimited, LATER),
    (
        "no space left",
        ErrorKind::State,
        "free space on this disk, or choose another folder for downloads",
    ),
    ("http error 403", ErrorKind::Unavailable, UPDATE),
    ("unable to extract", ErrorKind::Unavailable, UPDATE),
    ("signature", ErrorKind::Unavailable, UPDATE),
    ("http error 5", ErrorKind::Unavailable, LATER),
    ("timed out", ErrorKind::Unavailable, LATER),
    ("unable to download", ErrorKind::Unavailable, LATER),
];

/// The failure that `complaints` describe.
pub(super) fn explain(complaints: &str) -> Error {
    let line = complaints
        .lines()
        .rev()
        .map(str::trim)
        .find(|line| line.starts_with("ERROR:") || line.contains("error:"))
        .or_else(|| {
            complaints
                .lines()
                .rev()
                .map(str::trim)
                .find(|line| !line.is_empty())
        })
        .unwrap_or("it does not say why");
    let said: String = line
        .trim_start_matches("ERROR:")
        .trim()
        .chars()
        .filter(|character| !character.is_control())
        .take(SHOWN)
        .collect();
    let lower = said.to_lowercase();
    let meaning = MEANINGS.iter().find(|(words, ..)| lower.contains(words));
    let (kind, hint) = meaning.map_or((ErrorKind::Unavailable, UPDATE), |(_, kind, hint)| (*kind, *hint));
    Error::new(kind, "yt-dlp fails")
        .with_context("said", said)
        .with_hint(hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Table: pages | not installed, too old, asked who is there, removed
    #[test]
    fn complaints_are_told_with_what_helps() {
        let table = [
            (
                "ERROR: [youtube] x: Sign in to confirm you\u{2019}re not a bot. Use --cookies-from-browser",
                ErrorKind::Input,
                COOKIES,
            ),
            (
                "WARNING: a\nERROR: [youtube] x: Private video. Sign in if you have access",
                ErrorKind::Input,
                COOKIES,
            ),
            (
                "ERROR: Unsupported URL: https://host.example/",
                ErrorKind::Input,
                "no recording was found",
            ),
            (
                "ERROR: [youtube] x: Video unavailable. This video has been removed",
                ErrorKind::NotFound,
                "check the URL",
            ),
            (
                "ERROR: unable to download video data: HTTP Error 403: Forbidden",
                ErrorKind::Unavailable,
                UPDATE,
            ),
            (
                "ERROR: [generic] Unable to download webpage: HTTP Error 503",
                ErrorKind::Unavailable,
                LATER,
            ),
            (
                "ERROR: [generic] Unable to download webpage: HTTP Error 429: Too Many",
                ErrorKind::RateLimited,
                LATER,
            ),
            (
                "Usage: yt-dlp [OPTIONS] URL\n\nyt-dlp: error: no such option: --color",
                ErrorKind::Unsupported,
                UPDATE,
            ),
            (
                "ERROR: [x] y: Unable to extract title; please report this issue",
                ErrorKind::Unavailable,
                UPDATE,
            ),
            ("Traceback\nKeyError: 'x'", ErrorKind::Unavailable, UPDATE),
            ("", ErrorKind::Unavailable, UPDATE),
        ];
        for (complaints, kind, hint) in table {
            let error = explain(complaints);
            assert_eq!(error.kind(), kind, "{complaints}");
            assert!(
                error.hint().unwrap().starts_with(hint),
                "{complaints}: {:?}",
                error.hint()
            );
            // A terminal shows nothing but text.
            assert!(!error.report().contains(['\n', '\u{1b}']));
        }
        assert!(explain(&"x".repeat(10_000)).report().len() < 400);
    }
}
