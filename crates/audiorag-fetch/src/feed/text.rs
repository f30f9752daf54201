//! Plain text out of what feeds put into titles and notes: HTML, entities, and characters that do not belong.

/// Named characters that occur in feeds; others stay as they are written.
const NAMED: &[(&str, &str)] = &[
    ("amp", "&"),
    ("apos", "'"),
    ("bull", "\u{2022}"),
    ("copy", "\u{a9}"),
    ("eacute", "\u{e9}"),
    ("gt", ">"),
    ("hellip", "\u{2026}"),
    ("laquo", "\u{ab}"),
    ("ldquo", "\u{201c}"),
    ("lsquo", "\u{2018}"),
    ("lt", "<"),
    ("mdash", "\u{2014}"),
    ("middot", "\u{b7}"),
    ("nbsp", " "),
    ("ndash", "\u{2013}"),
    ("quot", "\""),
    ("raquo", "\u{bb}"),
    ("rdquo", "\u{201d}"),
    ("rsquo", "\u{2019}"),
    ("auml", "\u{e4}"),
    ("ouml", "\u{f6}"),
    ("uuml", "\u{fc}"),
    ("szlig", "\u{df}"),
];

/// Bytes within which the name of a character ends.
const LONGEST_NAME: usize = 12;

/// Elements that end a line.
const BREAKS: &[&str] = &[
    "br",
    "p",
    "div",
    "li",
    "ul",
    "ol",
    "h1",
    "h2",
    "h3",
    "h4",
    "tr",
    "blockquote",
];

/// One line of plain text, or nothing.
pub(crate) fn line(html: &str, most: usize) -> Option<String> {
    let text = plain(html, usize::MAX)?;
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    bounded(&text, most)
}

/// Lines of plain text, or nothing: tags removed, entities resolved, white space as it would be shown.
pub(crate) fn plain(html: &str, most: usize) -> Option<String> {
    let mut text = String::new();
    let mut rest = html;
    // Where no tag can end any more; so the work stays proportional to the text.
    let beyond = html.len() - html.rfind('>').unwrap_or_default();
    while let Some(at) = rest.find('<') {
        let (before, tag) = rest.split_at(at);
        if tag.len() < beyond {
            break;
        }
        text.push_str(before);
        let Some((name, length)) = tag_name(tag) else {
            // A lone sign, as in "a < b".
            text.push('<');
            rest = tag.get(1..).unwrap_or_default();
            continue;
        };
        rest = tag.get(length..).unwrap_or_default();
        let bare = name.trim_start_matches('/');
        if BREAKS.contains(&bare) {
            text.push('\n');
        }
        if matches!(name.as_str(), "script" | "style") {
            // Their content is not for reading.
            rest = after_element(rest, bare);
        }
    }
    text.push_str(rest);
    let resolved = resolve(&text);
    let shown: String = resolved
        .chars()
        .filter(|character| is_shown(*character))
        .collect();
    let lines: Vec<String> = shown
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect();
    let mut joined = String::new();
    for line in lines.iter().filter(|line| !line.is_empty()) {
        if !joined.is_empty() {
            joined.push('\n');
        }
        joined.push_str(line);
    }
    bounded(&joined, most)
}

fn bounded(text: &str, most: usize) -> Option<String> {
    let text = text.trim();
    if text.is_empty() {
        return None;
    }
    match text.char_indices().nth(most) {
        None => Some(text.to_owned()),
        Some((end, _)) => Some(format!(
            "{}\u{2026}",
            text.get(..end).unwrap_or_default().trim_end()
        )),
    }
}

/// What follows the end of an element, or nothing if it does not end.
fn after_element<'a>(text: &'a str, name: &str) -> &'a str {
    let mut rest = text;
    while let Some(at) = rest.find("</") {
        rest = rest.get(at..).unwrap_or_default();
        let ends = rest
            .get(2..2 + name.len())
            .is_some_and(|found| found.eq_ignore_ascii_case(name));
        if ends {
            return rest;
        }
        rest = rest.get(2..).unwrap_or_default();
    }
    ""
}

/// The name of the tag that `text` begins with, with its slash, and the length of the tag.
fn tag_name(text: &str) -> Option<(String, usize)> {
    if text.starts_with("<!--") {
        let end = text.find("-->").map_or(text.len(), |end| end + 3);
        return Some(("!".to_owned(), end));
    }
    let inner = text.get(1..)?;
    let first = inner.strip_prefix('/').unwrap_or(inner).chars().next()?;
    if !first.is_ascii_alphabetic() && first != '!' && first != '?' {
        return None;
    }
    let end = text.find('>')?;
    let name: String = inner
        .chars()
        .enumerate()
        .take_while(|(index, character)| {
            character.is_ascii_alphanumeric() || (*index == 0 && *character == '/')
        })
        .map(|(_, character)| character.to_ascii_lowercase())
        .collect();
    Some((name, end + 1))
}

fn resolve(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        let (before, from) = rest.split_at(at);
        out.push_str(before);
        let end = from.bytes().take(LONGEST_NAME).position(|byte| byte == b';');
        let found = end.and_then(|end| Some((character(from.get(1..end)?)?, from.get(end + 1..)?)));
        if let Some((character, after)) = found {
            out.push_str(&character);
            rest = after;
        } else {
            out.push('&');
            rest = from.get(1..).unwrap_or_default();
        }
    }
    out.push_str(rest);
    out
}

fn character(name: &str) -> Option<String> {
    if let Some(number) = name.strip_prefix('#') {
        let code = match number.strip_prefix(['x', 'X']) {
            Some(digits) => u32::from_str_radix(digits, 16).ok()?,
            None => number.parse().ok()?,
        };
        return char::from_u32(code).map(String::from);
    }
    NAMED
        .iter()
        .find(|(known, _)| *known == name)
        .map(|(_, text)| (*text).to_owned())
}

/// Whether a character shows something. Control characters, and marks that turn the direction of text, do not.
fn is_shown(character: char) -> bool {
    (!character.is_control() || character == '\n' || character == '\t')
        && !matches!(character, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Table: feeds | a complete feed
    #[test]
    fn html_becomes_text() {
        let table = [
            ("<p>One</p><p>Two<br/>Three</p>", Some("One\nTwo\nThree")),
            (
                "a &amp; b &lt;c&gt; &#8212; &#x2014; &nbsp;d &unknown; &",
                Some("a & b <c> \u{2014} \u{2014} d &unknown; &"),
            ),
            ("1 < 2 and 3 > 2", Some("1 < 2 and 3 > 2")),
            ("x<script>alert('</p>')</script>y<style>p{}</style>z", Some("xyz")),
            (
                "<a href='https://h/?a=1'>link</a><!-- no --> \u{202e}end\u{0}",
                Some("link end"),
            ),
            ("unclosed <b", Some("unclosed <b")),
            ("<b>x</b> y < z <", Some("x y < z <")),
            ("<STYLE>a</Style>b", Some("b")),
            ("a<script>b", Some("a")),
            (" <p> </p> &nbsp; ", None),
            ("", None),
        ];
        for (html, expected) in table {
            assert_eq!(plain(html, 100).as_deref(), expected, "{html}");
        }
        assert_eq!(line("<b>a</b>\n b", 10).as_deref(), Some("a b"));
        assert_eq!(
            plain("\u{e4}\u{f6}\u{fc}abc", 3).as_deref(),
            Some("\u{e4}\u{f6}\u{fc}\u{2026}")
        );
    }
}
