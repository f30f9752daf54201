//! From bytes to text, and the small parts of text that several formats share: times, tags, entities.

use audiorag_core::Span;
use std::borrow::Cow;

/// What Windows-1252 has where Latin-1 has control characters.
const WINDOWS: [char; 32] = [
    '€', '\u{81}', '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', '\u{8d}', 'Ž', '\u{8f}', '\u{90}',
    '‘', '’', '“', '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', '\u{9d}', 'ž', 'Ÿ',
];

/// The text of some bytes, and whether its encoding had to be guessed.
pub(super) fn decode(bytes: &[u8]) -> (Cow<'_, str>, bool) {
    match bytes {
        [0xff, 0xfe, rest @ ..] => (utf16(rest, u16::from_le_bytes).into(), false),
        [0xfe, 0xff, rest @ ..] => (utf16(rest, u16::from_be_bytes).into(), false),
        // Every format begins with an ASCII character, which shows the order of the bytes.
        [first, 0, ..] if *first != 0 => (utf16(bytes, u16::from_le_bytes).into(), false),
        [0, second, ..] if *second != 0 => (utf16(bytes, u16::from_be_bytes).into(), false),
        _ => match std::str::from_utf8(bytes) {
            Ok(text) => (text.into(), false),
            Err(_) => (bytes.iter().map(|byte| windows(*byte)).collect(), true),
        },
    }
}

fn utf16(bytes: &[u8], order: fn([u8; 2]) -> u16) -> String {
    let units = bytes.as_chunks::<2>().0.iter().map(|pair| order(*pair));
    char::decode_utf16(units)
        .map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER))
        .collect()
}

fn windows(byte: u8) -> char {
    match byte {
        0x80..=0x9f => WINDOWS
            .get(usize::from(byte - 0x80))
            .copied()
            .unwrap_or(char::REPLACEMENT_CHARACTER),
        other => char::from(other),
    }
}

/// Words with one space between them, without control characters.
pub(super) fn flat(text: &str) -> String {
    text.split(|c: char| c.is_whitespace() || c.is_control())
        .filter(|word| !word.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
}

/// A time as subtitles write it, in milliseconds, negative where it says so: `[[hours:]minutes:]seconds` with a point
/// or a comma before the fraction.
pub(super) fn clock(text: &str) -> Option<i64> {
    let text = text.trim();
    let (negative, text) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (whole, fraction) = text.split_once(['.', ',']).unwrap_or((text, ""));
    let mut seconds: i64 = 0;
    let mut fields = 0;
    for field in whole.split(':') {
        if field.is_empty() || field.len() > 9 || !field.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        seconds = seconds.checked_mul(60)?.checked_add(field.parse().ok()?)?;
        fields += 1;
    }
    if !(2..=3).contains(&fields) || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let digits: String = fraction.chars().chain("000".chars()).take(3).collect();
    let millis = seconds.checked_mul(1000)?.checked_add(digits.parse().ok()?)?;
    Some(if negative { -millis } else { millis })
}

/// `text` with character references replaced by what they stand for.
pub(super) fn unescape(text: &str) -> Cow<'_, str> {
    if !text.contains('&') {
        return text.into();
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('&') {
        out.push_str(before);
        // The longest reference that is known has seven characters.
        let end = after.bytes().take(10).position(|byte| byte == b';');
        let reference = end.and_then(|end| Some((reference(after.get(..end)?)?, after.get(end + 1..)?)));
        if let Some((character, behind)) = reference {
            out.push(character);
            rest = behind;
        } else {
            out.push('&');
            rest = after;
        }
    }
    out.push_str(rest);
    out.into()
}

fn reference(name: &str) -> Option<char> {
    Some(match name {
        "amp" => '&',
        "lt" => '<',
        "gt" => '>',
        "quot" => '"',
        "apos" => '\'',
        "nbsp" => '\u{a0}',
        "lrm" => '\u{200e}',
        "rlm" => '\u{200f}',
        _ => {
            let number = name.strip_prefix('#')?;
            let code = match number.strip_prefix(['x', 'X']) {
                Some(hex) => u32::from_str_radix(hex, 16).ok()?,
                None => number.parse().ok()?,
            };
            char::from_u32(code)?
        }
    })
}

/// The longest recording that times are believed for, in milliseconds: a thousand hours.
const LONGEST: i64 = 3_600_000_000;

/// The span between two times in milliseconds. What begins before the recording begins with it; what lies before it
/// altogether, or absurdly far behind, has no span.
pub(super) fn span(start: i64, end: i64) -> Option<Span> {
    let (start, end) = (start.min(end), start.max(end));
    (0..=LONGEST)
        .contains(&end)
        .then(|| Span::from_millis(start.max(0) as u64, end as u64))
}
