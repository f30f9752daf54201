//! What the first bytes of an answer are.

use crate::peek::Kind;

/// Bytes that decide. Feeds put comments and style sheets before their first element.
pub(crate) const ENOUGH: usize = 16 << 10;

/// Beginnings of media files.
const MEDIA: &[&[u8]] = &[
    b"ID3",
    b"fLaC",
    b"OggS",
    b"FORM",
    b"caff",
    b"#!AMR",
    b"\x1aE\xdf\xa3",
    b"\x30\x26\xb2\x75\x8e\x66\xcf\x11",
    b"wvpk",
    b"MAC ",
    b".snd",
    b"MPCK",
    b"MP+",
    b"TTA1",
    b"FLV\x01",
    b"RF64",
];

/// What a body is, by its first bytes; the type that the server gives decides only where the bytes say nothing.
pub(crate) fn kind(head: &[u8], content_type: Option<&str>) -> Kind {
    if is_media(head) {
        return Kind::Media;
    }
    if let Some(text) = text(head) {
        return kind_of_text(&text);
    }
    match content_type {
        Some(said) if said.starts_with("text/") => Kind::Page,
        // Neither text nor a container that is known by its beginning: a decoder will say.
        _ => Kind::Media,
    }
}

fn is_media(head: &[u8]) -> bool {
    let at = |offset: usize, magic: &[u8]| head.get(offset..).is_some_and(|rest| rest.starts_with(magic));
    MEDIA.iter().any(|magic| head.starts_with(magic))
        || (at(0, b"RIFF") && (at(8, b"WAVE") || at(8, b"AVI ")))
        || ["ftyp", "moov", "mdat", "wide", "free", "skip"].iter().any(|atom| at(4, atom.as_bytes()))
        || is_mpeg_audio(head)
        // Packets of a transport stream.
        || (at(0, b"G") && at(188, b"G") && at(376, b"G"))
}

/// A frame header of MPEG audio or ADTS, with values that exist.
fn is_mpeg_audio(head: &[u8]) -> bool {
    let &[0xff, second, third, ..] = head else {
        return false;
    };
    let (version, layer) = (second >> 3 & 3, second >> 1 & 3);
    let (bitrate, rate) = (third >> 4, third >> 2 & 3);
    let mpeg = second & 0xe0 == 0xe0 && version != 1 && layer != 0 && bitrate != 15 && rate != 3;
    let adts = second & 0xf6 == 0xf0 && third >> 2 & 15 < 13;
    mpeg || adts
}

/// The bytes as text in lower case, if they are text in an encoding that feeds come in.
fn text(head: &[u8]) -> Option<String> {
    let wide = |rest: &[u8], unit: fn([u8; 2]) -> u16| {
        let units = rest.as_chunks::<2>().0.iter().map(|pair| unit(*pair));
        char::decode_utf16(units)
            .map(|character| character.unwrap_or('\u{fffd}'))
            .collect()
    };
    let text: String = match head {
        [0xef, 0xbb, 0xbf, rest @ ..] => String::from_utf8_lossy(rest).into_owned(),
        [0xff, 0xfe, rest @ ..] => wide(rest, u16::from_le_bytes),
        [0xfe, 0xff, rest @ ..] => wide(rest, u16::from_be_bytes),
        [b'<', 0, ..] => wide(head, u16::from_le_bytes),
        [0, b'<', ..] => wide(head, u16::from_be_bytes),
        _ => String::from_utf8_lossy(head).into_owned(),
    };
    let binary = text
        .chars()
        .any(|character| character < ' ' && !matches!(character, '\t' | '\n' | '\r' | '\u{c}'));
    (!binary).then(|| text.to_lowercase())
}

fn kind_of_text(text: &str) -> Kind {
    let text = text.trim_start();
    if text.starts_with('{') {
        // JSON Feed names its version first, or soon.
        let is_feed = text.contains("\"version\"") && text.contains("jsonfeed.org");
        return if is_feed { Kind::Feed } else { Kind::Page };
    }
    match first_element(text) {
        Some("rss" | "feed" | "rdf:rdf") => Kind::Feed,
        _ => Kind::Page,
    }
}

/// The name of the first element of a document, after declarations, comments and instructions.
fn first_element(mut text: &str) -> Option<&str> {
    loop {
        text = text.trim_start();
        let rest = text.strip_prefix('<')?;
        let end = match rest.as_bytes().first()? {
            b'?' => "?>",
            b'!' if rest.starts_with("!--") => "-->",
            b'!' => ">",
            _ => {
                let end = rest.find(|character: char| character.is_whitespace() || "/>".contains(character));
                return rest.get(..end.unwrap_or(rest.len()));
            }
        };
        text = rest.split_once(end)?.1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Table: downloads | a URL without an ending
    #[test]
    fn bytes_decide_and_types_are_hints() {
        let table: &[(&[u8], Option<&str>, Kind)] = &[
            (b"ID3\x04\0\0", Some("text/html"), Kind::Media),
            (b"\xff\xfb\x90\x64", None, Kind::Media),
            (b"\xff\xf1\x50\x80", None, Kind::Media),
            (b"RIFF\x24\0\0\0WAVEfmt ", None, Kind::Media),
            (
                b"\0\0\0\x20ftypM4A ",
                Some("application/octet-stream"),
                Kind::Media,
            ),
            (b"OggS\0", None, Kind::Media),
            (b"\0\x01\x02\x03", Some("audio/mpeg"), Kind::Media),
            (
                b"<?xml version=\"1.0\"?>\n<!-- hi <html> -->\n<rss version=\"2.0\">",
                Some("audio/mpeg"),
                Kind::Feed,
            ),
            (b"\xef\xbb\xbf  <rss>", Some("text/html"), Kind::Feed),
            (
                b"<?xml-stylesheet href='x'?><feed xmlns='http://www.w3.org/2005/Atom'>",
                None,
                Kind::Feed,
            ),
            (b"<rdf:RDF xmlns='http://purl.org/rss/1.0/'>", None, Kind::Feed),
            (b"\xff\xfe<\0r\0s\0s\0>\0", None, Kind::Feed),
            (b"<\0f\0e\0e\0d\0 \0", None, Kind::Feed),
            (
                b"{\"version\": \"https://jsonfeed.org/version/1.1\"",
                None,
                Kind::Feed,
            ),
            (b"{\"error\": 1}", Some("audio/mpeg"), Kind::Page),
            (b"<!DOCTYPE html><html>", Some("audio/mpeg"), Kind::Page),
            (b"<html><rss>", None, Kind::Page),
            (b"not found", Some("audio/mpeg"), Kind::Page),
            (b"#EXTM3U\n#EXTINF:1", None, Kind::Page),
        ];
        for (bytes, said, expected) in table {
            assert_eq!(
                kind(bytes, *said),
                *expected,
                "{}",
                String::from_utf8_lossy(bytes)
            );
        }
    }
}
