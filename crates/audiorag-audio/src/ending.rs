//! Whether a stream that says nowhere how long it is ends as it should.
//!
//! Ogg marks its last page, and frames of MPEG audio and ADTS say how long they are. A stream of frames that is cut
//! exactly between two of them looks whole, and so does one whose end is hidden behind other bytes.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};

/// Bytes that are looked at. An Ogg page has at most 65,307.
const TAIL: u64 = 128 << 10;
/// Frames in a row that are more than chance.
const SURE: usize = 4;
const NO_LAST_PAGE: &str = "it ends without a last page: it may be cut off";
pub(crate) const WITHIN_PAGE: &str = "it ends within a page: it may be cut off";
const WITHIN_FRAME: &str = "it ends within a frame: it may be cut off";

/// What is wrong with the end of an Ogg file or a stream of MPEG audio or ADTS; nothing for other files. Moves the
/// file's position.
pub(crate) fn complaint(mut file: &File) -> Option<&'static str> {
    let length = file.metadata().ok()?.len();
    let mut head = [0; 4];
    file.rewind().ok()?;
    file.read_exact(&mut head).ok()?;
    let mut tail = Vec::new();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL))).ok()?;
    file.take(TAIL).read_to_end(&mut tail).ok()?;
    match &head {
        b"OggS" => of_pages(&tail),
        [0xff, second, ..] if second & 0xf6 == 0xf0 => of_frames(&tail, adts),
        [0xff, second, ..] if second & 0xe0 == 0xe0 => of_frames(&tail, mpeg),
        // What follows the tag is not looked for: the frames themselves say what they are.
        [b'I', b'D', b'3', _] => of_frames(&tail, mpeg).or_else(|| of_frames(&tail, adts)),
        _ => None,
    }
}

/// Pages: RFC 3533 section 6.
fn of_pages(tail: &[u8]) -> Option<&'static str> {
    // The version is zero, and only three flags are known: the four letters may be part of the sound.
    let is_page = |at: &usize| {
        let page = tail.get(*at..).unwrap_or_default();
        page.starts_with(b"OggS")
            && page.get(4).is_none_or(|version| *version == 0)
            && page.get(5).is_none_or(|flags| *flags < 8)
    };
    let at = (0..tail.len()).rev().find(is_page)?;
    let page = tail.get(at..)?;
    let whole = page.get(26).and_then(|count| {
        let table = page.get(27..27 + usize::from(*count))?;
        let body: usize = table.iter().map(|size| usize::from(*size)).sum();
        page.get(..27 + table.len() + body)
    });
    match whole.and_then(|page| page.get(5)) {
        None => Some(WITHIN_PAGE),
        Some(flags) if flags & 4 == 0 => Some(NO_LAST_PAGE),
        Some(_) => None,
    }
}

/// `frame` gives the length of the frame whose header stands first, and what all frames of a stream have in common.
fn of_frames(tail: &[u8], frame: fn(&[u8]) -> Option<(usize, u32)>) -> Option<&'static str> {
    let end = match tail.len().checked_sub(128) {
        // A tag of the first version has 128 bytes at the end.
        Some(place) if tail.get(place..)?.starts_with(b"TAG") => place,
        _ => tail.len(),
    };
    let tail = tail.get(..end)?;
    let length = |at: usize| tail.get(at..).and_then(frame);
    let is_start = |start: &usize| {
        let Some((_, kind)) = length(*start) else {
            return false;
        };
        let mut at = *start;
        (0..SURE).all(|_| match length(at) {
            Some((size, same)) if same == kind => {
                at += size;
                true
            }
            _ => false,
        })
    };
    let mut at = (0..tail.len()).find(is_start)?;
    let (_, kind) = length(at)?;
    while let Some((size, _)) = length(at).filter(|(_, same)| *same == kind) {
        at += size;
        if at > end {
            return Some(WITHIN_FRAME);
        }
    }
    let rest = tail.get(at..)?;
    // Too short to be judged, and not a tag of another kind either.
    (rest.len() < 7 && rest.first() == Some(&0xff)).then_some(WITHIN_FRAME)
}

/// ISO/IEC 13818-7 section 6.2.
fn adts(bytes: &[u8]) -> Option<(usize, u32)> {
    let [0xff, second, third, fourth, fifth, sixth, _, ..] = *bytes else {
        return None;
    };
    let size = usize::from(fourth & 3) << 11 | usize::from(fifth) << 3 | usize::from(sixth >> 5);
    (second & 0xf6 == 0xf0 && size > 7).then_some((size, u32::from(second) << 8 | u32::from(third & 0x3c)))
}

/// ISO/IEC 11172-3 section 2.4.2.3 and ISO/IEC 13818-3 section 2.4.2.3.
fn mpeg(bytes: &[u8]) -> Option<(usize, u32)> {
    const FIRST: [[usize; 14]; 3] = [
        [32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448],
        [32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384],
        [32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320],
    ];
    const SECOND: [[usize; 14]; 2] = [
        [32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256],
        [8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160],
    ];
    let [0xff, second, third, _, ..] = *bytes else {
        return None;
    };
    if second & 0xe0 != 0xe0 {
        return None;
    }
    // 0 is version 2.5, 2 is version 2, 3 is version 1; the layers count down.
    let (version, layer) = (second >> 3 & 3, 4 - usize::from(second >> 1 & 3));
    let place = usize::from(third >> 4).checked_sub(1)?;
    let rates = if version == 3 {
        FIRST.get(layer - 1)?
    } else {
        SECOND.get(layer.min(2) - 1)?
    };
    let bits = rates.get(place)? * 1000;
    let base = [44_100, 48_000, 32_000].get(usize::from(third >> 2 & 3))?;
    let rate = match version {
        3 => *base,
        2 => base / 2,
        0 => base / 4,
        _ => return None,
    };
    let padding = usize::from(third >> 1 & 1);
    let size = match layer {
        1 => (12 * bits / rate + padding) * 4,
        3 if version != 3 => 72 * bits / rate + padding,
        2 | 3 => 144 * bits / rate + padding,
        _ => return None,
    };
    (size > 4).then_some((size, u32::from(second & 0xfe) << 8 | u32::from(third & 0x0c)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    fn judge(content: &[u8]) -> Option<&'static str> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(content).unwrap();
        complaint(&file)
    }

    fn page(flags: u8, body: &[u8]) -> Vec<u8> {
        let mut page = b"OggS\0".to_vec();
        page.push(flags);
        page.resize(26, 0);
        page.extend([1, u8::try_from(body.len()).unwrap()]);
        page.extend(body);
        page
    }

    #[test]
    fn an_ogg_file_ends_with_its_last_page() {
        let whole = [page(2, b"ab"), page(4, b"cOggS\x01")].concat();
        assert_eq!(judge(&whole), None);
        assert_eq!(judge(&[whole.as_slice(), b"tail"].concat()), None);
        assert_eq!(judge(whole.get(..whole.len() - 1).unwrap()), Some(WITHIN_PAGE));
        assert_eq!(judge(whole.get(..40).unwrap()), Some(WITHIN_PAGE));
        assert_eq!(judge(&page(2, b"ab")), Some(NO_LAST_PAGE));
    }

    #[test]
    fn frames_are_whole_or_not() {
        // MPEG-2 layer III, 8 kbit/s at 16 kHz: 36 bytes. ADTS of 20 bytes.
        let mpeg = [&[0xff, 0xf3, 0x18, 0xc4][..], &[0; 32]].concat();
        let adts = [&[0xff, 0xf1, 0x60, 0x40, 0x02, 0x9f, 0xfc][..], &[0; 13]].concat();
        for frame in [mpeg, adts] {
            let stream = frame.repeat(9);
            assert_eq!(judge(&stream), None);
            for lost in [1, 10, frame.len() - 9, frame.len() - 1] {
                let cut = stream.get(..stream.len() - lost).unwrap();
                assert_eq!(judge(cut), Some(WITHIN_FRAME), "{lost}");
            }
            // Between two frames nothing can be seen.
            assert_eq!(judge(stream.get(frame.len()..).unwrap()), None);
            let tagged = [b"ID3\x04\0\0\0\0\0\0", stream.as_slice(), b"TAG", &[0; 125]].concat();
            assert_eq!(judge(&tagged), None);
        }
        assert_eq!(judge(b"RIFF\0\0\0\0WAVE"), None);
    }
}
