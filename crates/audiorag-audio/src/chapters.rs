//! Chapters of Matroska and MP4 files, which Symphonia refuses or leaves out.
//!
//! Symphonia turns a whole Matroska file down when its chapters lack an optional number, and ffmpeg writes them that
//! way. So chapters are read here (RFC 9559 section 5.1.7), and Symphonia sees a void element in their place (RFC
//! 8794 section 11.3.2). MP4 files have them in the box `chpl`, as Nero made it and ffmpeg writes it: times in units
//! of 100 ns, each with a title of up to 255 bytes.

use crate::edit::{Boxes, Extent};
use crate::tags;
use audiorag_core::MediaTime;
use audiorag_core::model::Chapter;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

/// Elements looked at before giving up on a file made to waste time.
const MAX_ELEMENTS: usize = 20_000;
/// Longest list of chapters that is read, in bytes.
const MAX_BYTES: u64 = 1 << 20;
const EBML: [u8; 4] = [0x1a, 0x45, 0xdf, 0xa3];
const SEGMENT: u32 = 0x1853_8067;
const CHAPTERS: u32 = 0x1043_a770;
const EDITION: u32 = 0x45b9;
const ATOM: u32 = 0xb6;
const START: u32 = 0x91;
const HIDDEN: u32 = 0x98;
const DISPLAY: u32 = 0x80;
const TITLE: u32 = 0x85;

/// Bytes that are shown in the place of those in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Patch {
    pub(crate) at: u64,
    pub(crate) bytes: Vec<u8>,
}

impl Patch {
    /// Changes what was read from `position` on.
    pub(crate) fn apply(&self, position: u64, buffer: &mut [u8]) {
        let (end, read) = (self.at + self.bytes.len() as u64, position + buffer.len() as u64);
        if end <= position || read <= self.at {
            return;
        }
        for (offset, byte) in self.bytes.iter().enumerate() {
            let place = (self.at + offset as u64).checked_sub(position);
            if let Some(place) = place.and_then(|place| buffer.get_mut(usize::try_from(place).ok()?)) {
                *place = *byte;
            }
        }
    }
}

/// Chapters, and what to hide. Moves the file's position.
pub(crate) fn of_file(file: &File) -> (Vec<Chapter>, Option<Patch>) {
    let mut chapters = Vec::new();
    let mut patch = None;
    if starts_with(file, EBML) {
        // Damage ends the search; what was found before it is sound.
        let _ = matroska(file, &mut chapters, &mut patch);
    } else {
        let _ = mp4(file, &mut chapters);
    }
    tags::order_chapters(&mut chapters);
    (chapters, patch)
}

fn starts_with(mut file: &File, magic: [u8; 4]) -> bool {
    let mut head = [0; 4];
    file.rewind().is_ok() && file.read_exact(&mut head).is_ok() && head == magic
}

/// The head of an element.
pub(crate) struct Element {
    pub(crate) id: u32,
    /// Bytes of the id.
    id_width: usize,
    /// Bytes of the size.
    size_width: usize,
    /// `None` when left open.
    pub(crate) size: Option<u64>,
}

impl Element {
    pub(crate) fn head(&self) -> u64 {
        (self.id_width + self.size_width) as u64
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let id_width = bytes.first()?.leading_zeros() as usize + 1;
        let id = bytes.get(..id_width.min(5)).filter(|id| id.len() <= 4)?;
        let id = id.iter().fold(0, |id, byte| id << 8 | u32::from(*byte));
        let rest = bytes.get(id_width..)?;
        let size_width = rest.first()?.leading_zeros() as usize + 1;
        let (first, more) = rest
            .get(..size_width)
            .filter(|size| size.len() <= 8)?
            .split_first()?;
        let first = u64::from(*first) & (0xff_u64 >> size_width);
        let size = more.iter().fold(first, |size, byte| size << 8 | u64::from(*byte));
        let is_open = size == (1 << (7 * size_width)) - 1;
        Some(Self {
            id,
            id_width,
            size_width,
            size: (!is_open).then_some(size),
        })
    }
}

pub(crate) fn head_at(mut file: &File, at: u64) -> Option<Element> {
    let mut bytes = Vec::with_capacity(12);
    file.seek(SeekFrom::Start(at)).ok()?;
    file.take(12).read_to_end(&mut bytes).ok()?;
    Element::parse(&bytes)
}

fn matroska(mut file: &File, chapters: &mut Vec<Chapter>, patch: &mut Option<Patch>) -> Option<()> {
    let length = file.metadata().ok()?.len();
    let ebml = head_at(file, 0)?;
    let mut at = ebml.head() + ebml.size?;
    let segment = head_at(file, at).filter(|element| element.id == SEGMENT)?;
    at += segment.head();
    for _ in 0..MAX_ELEMENTS {
        if at >= length {
            break;
        }
        let element = head_at(file, at)?;
        let size = element.size?;
        if element.id == CHAPTERS {
            *patch = void(&element, size).map(|bytes| Patch { at, bytes });
            let mut content = Vec::new();
            file.seek(SeekFrom::Start(at + element.head())).ok()?;
            file.take(size.min(MAX_BYTES)).read_to_end(&mut content).ok()?;
            editions(&content, chapters);
            return Some(());
        }
        at = at.checked_add(element.head())?.checked_add(size)?;
    }
    Some(())
}

/// The head of a void element that ends where this one does.
pub(crate) fn void(element: &Element, size: u64) -> Option<Vec<u8>> {
    let whole = element.id_width + element.size_width - 1;
    // A size has eight bytes at most; what is left of the old head is then part of the content.
    let width = whole.min(8);
    let size = size.checked_add((whole - width) as u64)?;
    let marker = 1_u64.checked_shl(u32::try_from(7 * width).ok()?)?;
    let bytes = (marker | size).to_be_bytes();
    let mut head = vec![0xec];
    head.extend_from_slice(bytes.get(8 - width..)?);
    Some(head)
}

/// The elements one after the other in `content`, with their contents.
fn elements(mut content: &[u8]) -> impl Iterator<Item = (u32, &[u8])> {
    std::iter::from_fn(move || {
        let element = Element::parse(content)?;
        let start = usize::try_from(element.head()).ok()?;
        let end = start.checked_add(usize::try_from(element.size?).ok()?)?;
        let own = content.get(start..end)?;
        content = content.get(end..)?;
        Some((element.id, own))
    })
}

/// The first edition; others divide the same recording in another way.
fn editions(content: &[u8], chapters: &mut Vec<Chapter>) {
    let Some((_, edition)) = elements(content).find(|(id, _)| *id == EDITION) else {
        return;
    };
    for (_, atom) in elements(edition).filter(|(id, _)| *id == ATOM) {
        let number = |wanted: u32| {
            elements(atom)
                .find(|(id, own)| *id == wanted && own.len() <= 8)
                .map(|(_, own)| own.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
        };
        let title = elements(atom)
            .find(|(id, _)| *id == DISPLAY)
            .and_then(|(_, display)| elements(display).find(|(id, _)| *id == TITLE))
            .and_then(|(_, title)| tags::clean(&String::from_utf8_lossy(title)));
        if let (Some(start), Some(title), None | Some(0)) = (number(START), title, number(HIDDEN)) {
            chapters.push(Chapter {
                start: MediaTime::from_millis(start / 1_000_000),
                title,
            });
        }
    }
}

fn mp4(mut file: &File, chapters: &mut Vec<Chapter>) -> io::Result<()> {
    let length = file.metadata()?.len();
    let mut boxes = Boxes::new(file);
    let mut within: Extent = (0, length);
    for kind in [*b"moov", *b"udta", *b"chpl"] {
        match boxes.find(within.0, within.1, kind)? {
            Some(found) => within = found,
            None => return Ok(()),
        }
    }
    let mut content = Vec::new();
    file.seek(SeekFrom::Start(within.0))?;
    file.take((within.1 - within.0).min(MAX_BYTES))
        .read_to_end(&mut content)?;
    // Version, flags, four bytes without meaning, and how many; a byte for each of the lengths.
    let mut rest = content.get(9..).unwrap_or_default();
    while let Some((start, after)) = rest.split_first_chunk::<8>() {
        let Some((&size, after)) = after.split_first() else {
            break;
        };
        let Some(title) = after.get(..usize::from(size)) else {
            break;
        };
        rest = after.get(usize::from(size)..).unwrap_or_default();
        if let Some(title) = tags::clean(&String::from_utf8_lossy(title)) {
            chapters.push(Chapter {
                start: MediaTime::from_millis(u64::from_be_bytes(*start) / 10_000),
                title,
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    fn element(id: &[u8], content: &[u8]) -> Vec<u8> {
        let size = u8::try_from(content.len()).unwrap();
        [id, &[0x40, size], content].concat()
    }

    fn atom(start: u32, title: &str, hidden: u8) -> Vec<u8> {
        let display = element(&[0x80], &element(&[0x85], title.as_bytes()));
        let content = [
            element(&[0x91], &start.to_be_bytes()),
            element(&[0x98], &[hidden]),
            display,
        ];
        element(&[0xb6], &content.concat())
    }

    fn movie(chapters: &[u8]) -> (Vec<u8>, usize) {
        let mut bytes = [
            &EBML[..],
            &[0x81, 0],
            &[
                0x18, 0x53, 0x80, 0x67, 0x01, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
            ],
        ]
        .concat();
        bytes.extend(element(&[0x15, 0x49, 0xa9, 0x66], &[1, 2, 3]));
        let at = bytes.len();
        bytes.extend(chapters);
        (bytes, at)
    }

    fn read(bytes: &[u8]) -> (Vec<(u64, String)>, Option<Patch>) {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        let (chapters, patch) = of_file(&file);
        let chapters = chapters
            .into_iter()
            .map(|c| (c.start.as_millis(), c.title))
            .collect();
        (chapters, patch)
    }

    #[test]
    fn matroska_chapters_are_read_and_hidden_from_symphonia() {
        let atoms = [
            atom(2_000_000_000, "Two", 0),
            atom(0, "One", 0),
            atom(1_000_000_000, "No", 1),
        ]
        .concat();
        let (bytes, at) = movie(&element(
            &[0x10, 0x43, 0xa7, 0x70],
            &element(&[0x45, 0xb9], &atoms),
        ));
        let (chapters, patch) = read(&bytes);
        assert_eq!(chapters, [(0, "One".to_owned()), (2000, "Two".to_owned())]);
        // Whatever block of the file is read, what is seen is a void element of the same length.
        let patch = patch.unwrap();
        for start in 0..at + 8 {
            let mut seen = bytes[start..].to_vec();
            patch.apply(start as u64, &mut seen);
            let mut expected = bytes.clone();
            let size = u64::from(bytes[at + 5]);
            expected[at] = 0xec;
            expected[at + 1..at + 6].copy_from_slice(&(0x08_0000_0000 | size).to_be_bytes()[3..]);
            assert_eq!(seen, expected[start..], "from {start}");
        }
        let void = Element::parse(&{
            let mut seen = bytes[at..].to_vec();
            patch.apply(at as u64, &mut seen);
            seen
        })
        .unwrap();
        assert_eq!(
            (void.id, void.head(), void.size),
            (0xec, 6, Some(u64::from(bytes[at + 5])))
        );
    }

    #[test]
    fn mp4_chapters_are_read() {
        let wrap = |kind: &[u8], content: &[u8]| {
            [
                &u32::try_from(content.len() + 8).unwrap().to_be_bytes()[..],
                kind,
                content,
            ]
            .concat()
        };
        let mut list = vec![1, 0, 0, 0, 0, 0, 0, 0, 2];
        for (start, title) in [(0_u64, "One"), (15_000_000, "Two")] {
            list.extend(start.to_be_bytes());
            list.push(3);
            list.extend(title.as_bytes());
        }
        let moov = wrap(b"moov", &wrap(b"udta", &wrap(b"chpl", &list)));
        let bytes = [wrap(b"ftyp", b"M4A "), moov].concat();
        assert_eq!(read(&bytes).0, [(0, "One".to_owned()), (1500, "Two".to_owned())]);
        let cut = [
            wrap(b"ftyp", b"M4A "),
            wrap(b"moov", &wrap(b"udta", &wrap(b"chpl", &list[..14]))),
        ]
        .concat();
        assert_eq!(read(&cut), (Vec::new(), None));
    }

    #[test]
    fn damage_and_other_files_have_none() {
        let (bytes, _) = movie(&[0x10, 0x43, 0xa7, 0x70, 0xff]);
        for end in 0..bytes.len() {
            assert_eq!(read(&bytes[..end]).0, []);
        }
        assert_eq!(read(&bytes), (Vec::new(), None));
        assert_eq!(read(b"RIFF....WAVE"), (Vec::new(), None));
    }
}
