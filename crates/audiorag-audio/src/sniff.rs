//! What a file seems to be, judged by its first bytes. The name is never asked.
//!
//! Symphonia looks for the marker of *some* format in the first megabyte, so a text or an archive may be taken
//! for a stream of damaged MPEG frames. Contents that are known to be something else are named here first.

/// How many bytes from the start of a file [`recognise`] wants to see.
pub(crate) const HEAD: usize = 64 << 10;

/// The verdict on a file's first bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    /// A container or stream the decoder knows.
    Known,
    /// Media in a form that is not decoded here.
    Unsupported(&'static str),
    /// Something without sound.
    Foreign(&'static str),
    /// Nothing that is recognised.
    Unknown,
}

/// Magic bytes at an offset.
type Magic = (usize, &'static [u8]);

const KNOWN: &[&[Magic]] = &[
    &[(0, b"RIFF"), (8, b"WAVE")],
    &[(0, b"FORM"), (8, b"AIFF")],
    &[(0, b"FORM"), (8, b"AIFC")],
    &[(0, b"caff")],
    &[(0, b"fLaC")],
    &[(0, b"OggS")],
    &[(0, b"ID3")],
    &[(0, b"\x1a\x45\xdf\xa3")],
    &[(4, b"ftyp")],
];

const UNSUPPORTED: &[(Magic, &str)] = &[
    ((0, b"RF64"), "RF64 WAV"),
    ((0, b"BW64"), "BW64 WAV"),
    ((0, b"riff\x2e\x91\xcf\x11"), "Sony Wave64"),
    ((8, b"AVI "), "AVI video"),
    (
        (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11"),
        "Windows Media (ASF, WMA, WMV)",
    ),
    ((0, b"#!AMR"), "AMR speech"),
    ((0, b"MThd"), "MIDI"),
    ((0, b".snd"), "Sun AU"),
    ((0, b"wvpk"), "WavPack"),
    ((0, b"MAC "), "Monkey's Audio"),
    ((0, b"TTA1"), "True Audio"),
    ((0, b"MPCK"), "Musepack"),
    ((0, b"MP+"), "Musepack"),
    ((0, b"DSD "), "DSD"),
    ((0, b"FRM8"), "DSDIFF"),
    ((0, b".RMF"), "RealMedia"),
    ((0, b"FLV\x01"), "Flash video"),
    ((0, b"\x00\x00\x01\xba"), "MPEG program stream"),
    ((4, b"moov"), "QuickTime movie without file type"),
    ((4, b"mdat"), "QuickTime movie without file type"),
    ((4, b"wide"), "QuickTime movie without file type"),
    ((0, b"\x0b\x77"), "Dolby Digital (AC-3, E-AC-3)"),
    ((0, b"\x7f\xfe\x80\x01"), "DTS"),
];

const FOREIGN: &[(Magic, &str)] = &[
    ((0, b"%PDF-"), "a PDF document"),
    ((0, b"PK\x03\x04"), "a ZIP archive or office document"),
    ((0, b"\x1f\x8b"), "gzip data"),
    ((0, b"BZh"), "bzip2 data"),
    ((0, b"\xfd7zXZ\x00"), "xz data"),
    ((0, b"\x28\xb5\x2f\xfd"), "zstd data"),
    ((0, b"7z\xbc\xaf\x27\x1c"), "a 7-Zip archive"),
    ((0, b"Rar!\x1a\x07"), "a RAR archive"),
    ((257, b"ustar"), "a tar archive"),
    ((0, b"\x89PNG\r\n\x1a\n"), "a PNG image"),
    ((0, b"\xff\xd8\xff"), "a JPEG image"),
    ((0, b"GIF8"), "a GIF image"),
    ((8, b"WEBP"), "a WebP image"),
    ((0, b"II*\x00"), "a TIFF image"),
    ((0, b"MM\x00*"), "a TIFF image"),
    ((4, b"ftypheic"), "a HEIF image"),
    ((4, b"ftypmif1"), "a HEIF image"),
    ((4, b"ftypavif"), "an AVIF image"),
    ((0, b"\x7fELF"), "a program"),
    ((0, b"MZ"), "a Windows program"),
    ((0, b"SQLite format 3\x00"), "an SQLite database"),
    ((0, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"), "an old office document"),
    ((0, b"{\\rtf"), "an RTF document"),
    ((0, b"\xff\xfe"), "UTF-16 text"),
    ((0, b"\xfe\xff"), "UTF-16 text"),
];

/// Judges a file by its first [`HEAD`] bytes.
pub(crate) fn recognise(head: &[u8]) -> Content {
    // Before the foreign marks: an MPEG stream may begin like a UTF-16 text.
    if mpeg_frames_at(head, 0) {
        return Content::Known;
    }
    if let Some((_, what)) = FOREIGN.iter().find(|(magic, _)| matches(head, *magic)) {
        return Content::Foreign(what);
    }
    // The first packet of an Ogg file names its codec; a page with one packet has a head of 28 bytes.
    if head.starts_with(b"OggS") && matches(head, (28, b"Speex   ")) {
        return Content::Unsupported("Speex");
    }
    if KNOWN
        .iter()
        .any(|marks| marks.iter().all(|magic| matches(head, *magic)))
    {
        return Content::Known;
    }
    if let Some((_, what)) = UNSUPPORTED.iter().find(|(magic, _)| matches(head, *magic)) {
        return Content::Unsupported(what);
    }
    if is_transport_stream(head) {
        return Content::Unsupported("MPEG transport stream");
    }
    if is_text(head) {
        return Content::Foreign(match first_word(head) {
            b'<' => "an HTML or XML page",
            b'{' | b'[' => "JSON text",
            _ => "plain text",
        });
    }
    // Streams may start with padding, a cut-off frame or junk.
    if (0..head.len().saturating_sub(4)).any(|start| mpeg_frames_at(head, start)) {
        return Content::Known;
    }
    if head.iter().all(|byte| *byte == 0) {
        return Content::Foreign("nothing but zero bytes");
    }
    Content::Unknown
}

fn matches(head: &[u8], (offset, magic): Magic) -> bool {
    head.get(offset..).is_some_and(|rest| rest.starts_with(magic))
}

fn first_word(head: &[u8]) -> u8 {
    let text = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head);
    text.iter()
        .copied()
        .find(|byte| !byte.is_ascii_whitespace())
        .unwrap_or(b' ')
}

/// Valid UTF-8 (the last character may be cut off) with hardly any control characters.
fn is_text(head: &[u8]) -> bool {
    let valid = match std::str::from_utf8(head) {
        Ok(text) => text,
        Err(error) if error.error_len().is_none() => {
            std::str::from_utf8(head.get(..error.valid_up_to()).unwrap_or_default()).unwrap_or_default()
        }
        Err(_) => return false,
    };
    let odd = valid
        .chars()
        .filter(|c| c.is_control() && !matches!(c, '\n' | '\r' | '\t' | '\u{c}'))
        .count();
    !valid.is_empty() && odd * 100 <= valid.len()
}

/// Packets of 188 bytes, each starting with 0x47.
fn is_transport_stream(head: &[u8]) -> bool {
    head.len() > 188 * 4 && (0..5).all(|packet| head.get(packet * 188) == Some(&0x47))
}

/// Whether two frames of the same kind, MPEG audio or ADTS, follow each other at `start`.
fn mpeg_frames_at(head: &[u8], start: usize) -> bool {
    let Some(first) = head.get(start..).and_then(Frame::parse) else {
        return false;
    };
    let Some(rest) = head.get(start + first.bytes..) else {
        return false;
    };
    match Frame::parse(rest) {
        Some(second) => second.kind == first.kind,
        // A file of a single frame.
        None => start == 0 && rest.is_empty(),
    }
}

/// The header of an MPEG audio or ADTS frame.
struct Frame {
    /// What all frames of a stream have in common: version, layer and sample rate.
    kind: (u8, u8),
    bytes: usize,
}

impl Frame {
    fn parse(data: &[u8]) -> Option<Self> {
        let &[sync, version, rates, channels, ..] = data else {
            return None;
        };
        if sync != 0xff || version & 0xe0 != 0xe0 {
            return None;
        }
        let layer = version >> 1 & 3;
        if layer == 0 {
            // ADTS; bits as in ISO 13818-7 section 6.2.
            let (middle, low) = (*data.get(4)?, *data.get(5)?);
            let bytes = usize::from(channels & 3) << 11 | usize::from(middle) << 3 | usize::from(low >> 5);
            let is_adts = version & 0xf6 == 0xf0 && rates >> 2 & 15 < 13 && bytes >= 7;
            return is_adts.then_some(Self {
                kind: (version & 0xfe, rates & 0xfc),
                bytes,
            });
        }
        Self::mpeg(version, layer, rates)
    }

    /// Frame length of MPEG audio; tables of ISO 11172-3 section 2.4.2.3 and ISO 13818-3.
    fn mpeg(version: u8, layer: u8, rates: u8) -> Option<Self> {
        const KILOBITS: [[usize; 14]; 5] = [
            [32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448],
            [32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384],
            [32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320],
            [32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256],
            [8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160],
        ];
        let generation = version >> 3 & 3;
        let is_first = generation == 3;
        let hertz = *[44_100, 48_000, 32_000].get(usize::from(rates >> 2 & 3))?
            / match generation {
                3 => 1,
                2 => 2,
                0 => 4,
                _ => return None,
            };
        let table = match (layer, is_first) {
            (3, true) => 0,
            (2, true) => 1,
            (_, true) => 2,
            (3, false) => 3,
            (_, false) => 4,
        };
        // Index 0 is the free format, 15 is forbidden.
        let index = usize::from(rates >> 4).checked_sub(1)?;
        let bits = KILOBITS.get(table)?.get(index)? * 1000;
        let padding = usize::from(rates >> 1 & 1);
        let bytes = match (layer, is_first) {
            (3, _) => (12 * bits / hertz + padding) * 4,
            (1, false) => 72 * bits / hertz + padding,
            _ => 144 * bits / hertz + padding,
        };
        Some(Self {
            kind: (version & 0xfe, rates & 0x0c),
            bytes,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_what_it_sees() {
        assert_eq!(recognise(b"RIFF\x24\x00\x00\x00WAVEfmt "), Content::Known);
        assert_eq!(
            recognise(b"%PDF-1.7\n%\xe2\xe3"),
            Content::Foreign("a PDF document")
        );
        assert_eq!(
            recognise(b"  <html><body>"),
            Content::Foreign("an HTML or XML page")
        );
        assert_eq!(
            recognise(b"\xef\xbb\xbf{\"a\": 1}"),
            Content::Foreign("JSON text")
        );
        assert_eq!(recognise("Grüße".as_bytes()), Content::Foreign("plain text"));
        // A character that the end of the head cuts in two.
        assert_eq!(
            recognise(&"Gr\u{fc}".as_bytes()[..3]),
            Content::Foreign("plain text")
        );
        assert_eq!(recognise(b"\xff\xfeh\x00i\x00"), Content::Foreign("UTF-16 text"));
        assert_eq!(recognise(&[0; 400]), Content::Foreign("nothing but zero bytes"));
        assert_eq!(
            recognise(b"RIFF\x24\x00\x00\x00AVI LIST"),
            Content::Unsupported("AVI video")
        );
        assert_eq!(
            recognise(b"RIFF\x24\x00\x00\x00WEBPVP8 "),
            Content::Foreign("a WebP image")
        );
        assert_eq!(recognise(&[0x90, 3, 0x81, 0xfe, 7, 0]), Content::Unknown);
    }

    #[test]
    fn sees_a_transport_stream() {
        let mut data = vec![0xff_u8; 188 * 6];
        for packet in 0..6 {
            data[packet * 188] = 0x47;
        }
        assert_eq!(recognise(&data), Content::Unsupported("MPEG transport stream"));
    }

    #[test]
    fn mpeg_frames_need_a_successor() {
        // MPEG-1 layer III, 128 kbit/s, 44.1 kHz: 417 bytes.
        let mut data = vec![0x55_u8; 900];
        data[100..104].copy_from_slice(&[0xff, 0xfb, 0x90, 0x64]);
        assert_eq!(recognise(&data[..500]), Content::Unknown);
        data[517..521].copy_from_slice(&[0xff, 0xfb, 0x90, 0x64]);
        assert_eq!(recognise(&data), Content::Known);
        // MPEG-2.5 layer III, 8 kbit/s, 8 kHz: 72 bytes.
        let mut low = vec![0x80_u8; 200];
        low[..4].copy_from_slice(&[0xff, 0xe3, 0x18, 0xc4]);
        low[72..76].copy_from_slice(&[0xff, 0xe3, 0x18, 0xc4]);
        assert_eq!(recognise(&low), Content::Known);
    }

    #[test]
    fn adts_frames_are_known() {
        let header = [0xff, 0xf1, 0x50, 0x80, 0x02, 0x1f, 0xfc];
        let mut data = vec![0x80_u8; 64];
        data[..7].copy_from_slice(&header);
        data[16..23].copy_from_slice(&header);
        assert_eq!(recognise(&data), Content::Known);
    }

    #[test]
    fn random_bytes_are_not_audio() {
        // A fixed xorshift sequence.
        let mut state = 0x2545_f491_4f6c_dd1d_u64;
        for _ in 0..20 {
            let data: Vec<u8> = (0..HEAD)
                .map(|_| {
                    state ^= state << 13;
                    state ^= state >> 7;
                    state ^= state << 17;
                    (state >> 24) as u8
                })
                .collect();
            assert_eq!(recognise(&data), Content::Unknown);
        }
    }
}
