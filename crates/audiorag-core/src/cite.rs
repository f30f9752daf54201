//! Citations: links that open at the right second, and markers that are checked instead of trusted.

mod bind;
mod marker;
mod support;

pub use bind::{Binder, Bound, NOTHING, bind};
pub use marker::marker;
pub use support::{Doubt, Unsupported};

use crate::model::{ChunkLine, Citation, Hit};
use crate::{Locator, Span};
use std::collections::HashSet;

/// A link that opens `locator` at `span`.
///
/// Files and plain web addresses get a media fragment (`#t=12.5,30`, W3C Media Fragments URI 1.0), YouTube its
/// own `t` parameter in whole seconds.
pub fn link(locator: &Locator, span: Span) -> String {
    let uri = locator.to_uri();
    if let Locator::Url(url) = locator
        && is_youtube(url)
    {
        let base = url.split('#').next().unwrap_or(url);
        let joint = if base.contains('?') { '&' } else { '?' };
        return format!("{base}{joint}t={}s", span.start().as_millis() / 1000);
    }
    let base = uri.split('#').next().unwrap_or(&uri);
    format!(
        "{base}#t={},{}",
        span.start().to_decimal_seconds(),
        span.end().to_decimal_seconds()
    )
}

fn is_youtube(url: &str) -> bool {
    let host = url
        .split("://")
        .nth(1)
        .and_then(|rest| rest.split(['/', '?', '#']).next())
        .unwrap_or_default();
    let host = host.to_lowercase();
    [
        "youtube.com",
        "www.youtube.com",
        "m.youtube.com",
        "music.youtube.com",
        "youtu.be",
    ]
    .contains(&host.as_str())
}

/// The citation of `line` of `hit` under `marker`; of the whole hit without a line.
pub fn citation(marker: u32, hit: &Hit, line: Option<&ChunkLine>, score: f32) -> Citation {
    let quote = line
        .and_then(|line| hit.text.get(line.from..line.to))
        .unwrap_or(&hit.text);
    let span = line.map_or(hit.span, |line| line.span);
    Citation {
        marker,
        source_id: hit.source_id.clone(),
        title: hit.title.clone(),
        locator: hit.locator.clone(),
        span,
        quote: quote.to_owned(),
        link: link(&hit.locator, span),
        speakers: line.map_or_else(
            || hit.speakers.clone(),
            |line| line.speaker.clone().into_iter().collect(),
        ),
        score,
        times: line.map_or(hit.times, |line| line.times),
    }
}

/// The line of `hit` that shares most words with `statement`; the earliest of equals. `None` when no line shares a word
/// that means something, as in an answer in another language: then nothing says which line it is.
pub fn best_line<'a>(hit: &'a Hit, statement: &str) -> Option<&'a ChunkLine> {
    best_of(hit, hit.lines.iter(), statement)
}

/// As [`best_line`], among some of its lines.
fn best_of<'a>(
    hit: &Hit,
    lines: impl DoubleEndedIterator<Item = &'a ChunkLine>,
    statement: &str,
) -> Option<&'a ChunkLine> {
    let wanted = content_words(statement);
    lines
        .rev()
        .map(|line| {
            let there = content_words(hit.text.get(line.from..line.to).unwrap_or_default());
            (weight_of(there.intersection(&wanted)), line)
        })
        .filter(|(shared, _)| *shared > 0)
        .max_by_key(|(shared, _)| *shared)
        .map(|(_, line)| line)
}

/// How much is shared: the letters of the words. One short word alone is nothing: every language has a "die".
fn weight_of<'a>(shared: impl Iterator<Item = &'a String>) -> usize {
    let (mut letters, mut words, mut telling) = (0, 0, false);
    for word in shared {
        letters += word.len();
        words += 1;
        telling |= word.len() > 3 || word.bytes().any(|byte| byte.is_ascii_digit());
    }
    if telling || words > 1 { letters } else { 0 }
}

/// Lower-case words of three letters or more and numbers; in scripts without spaces, each two neighbouring characters.
fn content_words(text: &str) -> HashSet<String> {
    let mut found = HashSet::new();
    for word in text.split(|c: char| !c.is_alphanumeric()) {
        let letters: Vec<char> = word.chars().collect();
        if letters.iter().any(|c| is_of_spaceless_script(*c)) {
            found.extend(letters.windows(2).map(|pair| pair.iter().collect::<String>()));
        } else if letters.len() > 2 || letters.iter().any(char::is_ascii_digit) {
            found.insert(word.to_lowercase());
        }
    }
    found
}

/// Thai to Khmer, and what China and Japan write with.
fn is_of_spaceless_script(c: char) -> bool {
    matches!(c, '\u{e00}'..='\u{eff}' | '\u{1000}'..='\u{109f}' | '\u{1780}'..='\u{17ff}'
        | '\u{3040}'..='\u{30ff}' | '\u{3400}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{3ffff}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{ChunkId, SourceId};
    use crate::model::{Scores, TimeQuality};
    use std::path::PathBuf;

    pub(crate) fn hit(id: &str, lines: &[(&str, u64, u64)]) -> Hit {
        let mut text = String::new();
        let mut placed = Vec::new();
        for (said, start, end) in lines {
            if !text.is_empty() {
                text.push(' ');
            }
            let from = text.len();
            text.push_str(said);
            placed.push(ChunkLine {
                from,
                to: text.len(),
                span: Span::from_millis(*start, *end),
                speaker: None,
                times: TimeQuality::Estimated,
            });
        }
        Hit {
            chunk_id: ChunkId::from_stored(id),
            source_id: SourceId::from_stored("s"),
            title: "T".into(),
            locator: Locator::File(PathBuf::from("/a/talk.mp3")),
            span: Span::from_millis(lines[0].1, lines[lines.len() - 1].2),
            text,
            chapter: None,
            speakers: vec![],
            lines: placed,
            times: TimeQuality::Measured,
            scores: Scores::default(),
        }
    }

    #[test]
    fn peer_defect_03_links_are_never_empty_and_open_at_the_second() {
        let span = Span::from_millis(12_500, 30_000);
        assert_eq!(
            link(&Locator::File(PathBuf::from("/a b.mp3")), span),
            "file:///a%20b.mp3#t=12.5,30"
        );
        assert_eq!(
            link(&Locator::Url("https://h/x.mp3#old".into()), span),
            "https://h/x.mp3#t=12.5,30"
        );
        let youtube = Locator::Url("https://www.youtube.com/watch?v=abc".into());
        assert_eq!(link(&youtube, span), "https://www.youtube.com/watch?v=abc&t=12s");
        assert_eq!(
            link(&Locator::Url("https://youtu.be/abc".into()), span),
            "https://youtu.be/abc?t=12s"
        );
        let impostor = Locator::Url("https://youtube.com.evil.test/a".into());
        assert_eq!(link(&impostor, span), "https://youtube.com.evil.test/a#t=12.5,30");
    }
}
