//! Whether a file is shorter than its own structure says.
//!
//! Symphonia refuses MP4, Matroska and AIFF files whose outermost element reaches beyond the end of the file. Such files
//! are therefore read as a stream without a known length, which yields everything up to the cut.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};

/// Boxes looked at before giving up on a file made to waste time.
const MAX_BOXES: usize = 20_000;

/// Whether a file of one of these kinds ends before its outermost element does. Moves the file's position.
pub(crate) fn is_cut_off(file: &File) -> bool {
    let Ok(length) = file.metadata().map(|metadata| metadata.len()) else {
        return false;
    };
    match bytes::<12>(file, 0) {
        Some([0x1a, 0x45, 0xdf, 0xa3, ..]) => matroska_end(file).is_some_and(|end| end > length),
        Some([_, _, _, _, b'f', b't', b'y', b'p', ..]) => mp4_end(file, length) > length,
        Some([b'F', b'O', b'R', b'M', size @ .., _, _, _, _]) => {
            8 + u64::from(u32::from_be_bytes(size)) > length
        }
        _ => false,
    }
}

fn bytes<const N: usize>(mut file: &File, at: u64) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    file.seek(SeekFrom::Start(at)).ok()?;
    file.read_exact(&mut bytes).ok()?;
    Some(bytes)
}

/// Where the last box that starts inside the file ends.
fn mp4_end(file: &File, length: u64) -> u64 {
    let mut at = 0_u64;
    for _ in 0..MAX_BOXES {
        let Some([a, b, c, d, ..]) = bytes::<8>(file, at) else {
            break;
        };
        let size = match u32::from_be_bytes([a, b, c, d]) {
            0 => return length,
            1 => bytes(file, at + 8).map_or(0, u64::from_be_bytes),
            size => u64::from(size),
        };
        if size < 8 {
            break;
        }
        at = at.saturating_add(size);
    }
    at
}

/// Where the segment ends, if it says so. Encoding of sizes: RFC 8794 section 4.
fn matroska_end(file: &File) -> Option<u64> {
    let (size, width) = variable_integer(file, 4)?;
    let segment = (4 + width).checked_add(size?)?;
    if bytes::<4>(file, segment)? != [0x18, 0x53, 0x80, 0x67] {
        return None;
    }
    let (size, width) = variable_integer(file, segment + 4)?;
    (segment + 4 + width).checked_add(size?)
}

/// A size (`None` when left open) and how many bytes it takes.
fn variable_integer(file: &File, at: u64) -> Option<(Option<u64>, u64)> {
    let [first] = bytes::<1>(file, at)?;
    let width = u64::from(first.leading_zeros()) + 1;
    if width > 8 {
        return None;
    }
    let mut value = u64::from(first) & (0xff >> width);
    for offset in 1..width {
        let [byte] = bytes::<1>(file, at + offset)?;
        value = value << 8 | u64::from(byte);
    }
    let is_open = value == (1 << (7 * width)) - 1;
    Some(((!is_open).then_some(value), width))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    fn judge(content: &[u8]) -> bool {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(content).unwrap();
        is_cut_off(&file)
    }

    #[test]
    fn mp4_boxes_must_fit() {
        let whole = b"\0\0\0\x0cftypM4A \0\0\0\x0amdatxx";
        assert!(!judge(whole));
        assert!(judge(&whole[..whole.len() - 1]));
        assert!(judge(b"\0\0\0\x0cftypM4A \0\0\0\x01mdat\0\0\0\0\0\0\x10\0xx"));
        // Zero: up to the end of the file.
        assert!(!judge(b"\0\0\0\x0cftypM4A \0\0\0\0mdatxx"));
    }

    #[test]
    fn matroska_segments_must_fit() {
        let start = b"\x1a\x45\xdf\xa3\x82\x01\x02\x18\x53\x80\x67";
        let with = |rest: &[u8]| [start.as_slice(), rest].concat();
        assert!(!judge(&with(&[0x83, 1, 2, 3])));
        assert!(judge(&with(&[0x84, 1, 2, 3])));
        assert!(judge(&with(&[0x40, 0x04, 1, 2, 3])));
        // Left open, as live streams do.
        assert!(!judge(&with(&[
            0x01, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1
        ])));
        assert!(!judge(&with(&[0])));
    }

    #[test]
    fn aiff_forms_must_fit() {
        assert!(!judge(b"FORM\0\0\0\x06AIFFxx"));
        assert!(judge(b"FORM\0\0\0\x07AIFFxx"));
    }

    #[test]
    fn other_files_are_not_judged() {
        assert!(!judge(b"RIFF\xff\xff\xff\x7fWAVE"));
        assert!(!judge(b""));
    }
}
