//! Tables of times and text, separated by tabs: the exporter's, and Whisper's without speakers.

use super::Found;
use super::text::{flat, span};
use audiorag_core::model::Segment;

/// Whether a line names the columns of such a table.
pub(super) fn is_header(line: &str) -> bool {
    let mut columns = line.split('\t').map(str::trim);
    columns
        .next()
        .is_some_and(|name| name.eq_ignore_ascii_case("start"))
        && columns
            .next()
            .is_some_and(|name| name.eq_ignore_ascii_case("end"))
}

/// Reads the lines below the header, whose columns may be in any order after the first two.
pub(super) fn read(body: &str) -> Found {
    let mut found = Found::default();
    let mut lines = body.lines();
    let columns: Vec<String> = lines
        .next()
        .unwrap_or_default()
        .split('\t')
        .map(|name| name.trim().to_ascii_lowercase())
        .collect();
    let place = |name: &str| columns.iter().position(|column| column == name);
    let (speaker, text) = (place("speaker"), place("text"));
    for line in lines.filter(|line| !line.trim().is_empty()) {
        let fields: Vec<&str> = line.split('\t').collect();
        let field = |place: Option<usize>| place.and_then(|place| fields.get(place)).map(|field| flat(field));
        let millis = |place: usize| {
            fields
                .get(place)
                .and_then(|field| field.trim().parse::<i64>().ok())
        };
        let Some(span) = millis(0).zip(millis(1)).and_then(|(start, end)| span(start, end)) else {
            found.untimed += 1;
            continue;
        };
        found.segments.push(Segment {
            span,
            text: field(text).unwrap_or_default(),
            speaker: field(speaker).filter(|name| !name.is_empty()),
            ..Segment::default()
        });
    }
    found
}
