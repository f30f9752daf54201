//! The markers with which an answer cites: `[1]`, `[1, 2]`, and `[1#2]` for a line of a passage.

use super::bind::NOTHING;

/// The marker of a passage, both counted from 1; with `lines`, of its lines from the first to the last of them, as
/// [`Document::lines`](crate::capability::Document::lines) has them.
pub fn marker(passage: usize, lines: Option<(usize, usize)>) -> String {
    match lines {
        None => format!("[{passage}]"),
        Some((first, last)) if first >= last => format!("[{passage}#{first}]"),
        Some((first, last)) => format!("[{passage}#{first}-{last}]"),
    }
}

/// What stands in square brackets and is no text.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Marker {
    /// `[1]`, `[1, 2#3]`.
    Passages(Vec<Place>),
    /// [`NOTHING`].
    Nothing,
}

/// What a marker names.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// The passage, from 1.
    pub(super) passage: usize,
    /// The first and the last of its lines, from 1.
    pub(super) lines: Option<(usize, usize)>,
}

/// Splits at the next marker: text before, the marker, text after.
pub(super) fn next_marker(text: &str) -> Option<(&str, Marker, &str)> {
    let mut search = 0;
    while let Some(at) = text.get(search..)?.find('[').map(|at| at + search) {
        let inner = text.get(at + 1..)?;
        if let Some(end) = inner.find(']')
            && let Some(marker) = inner.get(..end).and_then(parse)
        {
            return Some((text.get(..at)?, marker, inner.get(end + 1..)?));
        }
        search = at + 1;
    }
    None
}

fn parse(inner: &str) -> Option<Marker> {
    if inner.trim().eq_ignore_ascii_case(word_of_nothing()) {
        return Some(Marker::Nothing);
    }
    let places: Option<Vec<Place>> = inner
        .split([',', ';'])
        .map(|place| parse_place(place.trim()))
        .collect();
    places.map(Marker::Passages)
}

fn parse_place(text: &str) -> Option<Place> {
    // A number too large for a passage is still a marker, and a foreign one.
    let number = |text: &str| {
        (!text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()))
            .then(|| text.parse().unwrap_or(usize::MAX))
    };
    let Some((passage, lines)) = text.split_once('#') else {
        return Some(Place {
            passage: number(text)?,
            lines: None,
        });
    };
    let (first, last) = lines.split_once('-').unwrap_or((lines, lines));
    Some(Place {
        passage: number(passage)?,
        lines: Some((number(first)?, number(last)?)),
    })
}

fn word_of_nothing() -> &'static str {
    NOTHING.trim_matches(['[', ']'])
}

/// Where the text ends that cannot become a marker any more, whatever follows.
pub(super) fn open_marker(text: &str) -> usize {
    let Some(at) = text.rfind('[') else {
        return text.len();
    };
    let inner = text.get(at + 1..).unwrap_or_default();
    let numbers = inner
        .chars()
        .all(|c| c.is_ascii_digit() || matches!(c, ',' | ';' | '#' | '-') || c.is_whitespace());
    let word = inner.trim();
    let nothing = word_of_nothing()
        .get(..word.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(word));
    if numbers || nothing { at } else { text.len() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        for (passage, lines) in [(1, None), (20, Some((3, 3))), (2, Some((4, 9)))] {
            let text = marker(passage, lines);
            let (before, read, after) = next_marker(&text).unwrap();
            assert_eq!((before, after), ("", ""));
            assert_eq!(read, Marker::Passages(vec![Place { passage, lines }]));
        }
    }
}
