//! Pictures, attachments and other bulk in tags, which Symphonia 0.6.1 reads into memory whole: it has limits for them
//! (`MetadataOptions`) and applies none. Nobody here looks at them, so Symphonia sees in their place what it passes over.
//!
//! This keeps honest recordings cheap. What hostile ones put elsewhere is stopped by the bytes that may be read at once,
//! see `patience`.

use crate::chapters::{self, Patch};
use crate::container;
use crate::file::FileName;
use audiorag_core::Error;
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};

/// Items looked at before giving up on a file made to waste time.
const MAX_ITEMS: usize = 20_000;
/// Places that are changed at most.
const MAX_PATCHES: usize = 1000;
/// The largest item of a tag that is read, in bytes: many times that of any title.
const MAX_ITEM: u64 = 1 << 20;
/// The most of all items together.
const MAX_ALL: u64 = 8 << 20;
/// Boxes of MP4 files that hold boxes.
const CONTAINERS: [&[u8; 4]; 7] = [b"moov", b"trak", b"mdia", b"minf", b"stbl", b"udta", b"edts"];
/// Boxes that are large for good reason, or passed over anyway.
const LARGE: [&[u8; 4]; 17] = [
    b"stts", b"ctts", b"stsc", b"stsz", b"stz2", b"stco", b"co64", b"stss", b"stsd", b"sidx", b"moof",
    b"mvex", b"mdat", b"free", b"skip", b"wide", b"sdtp",
];
const ATTACHMENTS: u32 = 0x1941_a469;
const TAGS: u32 = 0x1254_c367;
const SEGMENT: u32 = 0x1853_8067;

/// What to hide in a recording. Moves the file's position.
pub(crate) fn of_file(file: &File) -> Vec<Patch> {
    let mut search = Search {
        file,
        patches: Vec::new(),
        items: 0,
        seen: 0,
    };
    // Damage ends the search; what was found before it is sound.
    let _ = search.everything();
    search.patches
}

/// The error of a recording that wants more read at once than any has in one piece.
pub(crate) fn too_much(name: &FileName) -> Error {
    name.input("has headers or a packet of an impossible size")
        .with_hint(format!(
            "it is probably damaged, or made to do harm; if it plays elsewhere, {}",
            container::CONVERT
        ))
}

struct Search<'a> {
    file: &'a File,
    patches: Vec<Patch>,
    items: usize,
    /// Bytes of items that are not hidden.
    seen: u64,
}

impl Search<'_> {
    fn bytes<const N: usize>(&self, at: u64) -> Option<[u8; N]> {
        let mut bytes = [0; N];
        let mut file = self.file;
        file.seek(SeekFrom::Start(at)).ok()?;
        file.read_exact(&mut bytes).ok()?;
        Some(bytes)
    }

    /// Counts an item; `None` when there were too many.
    fn step(&mut self) -> Option<()> {
        self.items += 1;
        (self.items <= MAX_ITEMS && self.patches.len() < MAX_PATCHES).then_some(())
    }

    fn show(&mut self, at: u64, bytes: &[u8]) {
        self.patches.push(Patch {
            at,
            bytes: bytes.to_vec(),
        });
    }

    /// Whether an item of this size is more than is read.
    fn is_bulk(&mut self, size: u64) -> bool {
        let is_bulk = size > MAX_ITEM || self.seen.saturating_add(size) > MAX_ALL;
        if !is_bulk {
            self.seen += size;
        }
        is_bulk
    }

    fn everything(&mut self) -> Option<()> {
        let length = self.file.metadata().ok()?.len();
        let _ = self.ape(length);
        let mut at = 0;
        while self.bytes::<3>(at) == Some(*b"ID3") {
            self.step()?;
            at = self.id3(at)?;
        }
        match self.bytes::<12>(at)? {
            [b'f', b'L', b'a', b'C', ..] => self.flac(at + 4),
            [b'R', b'I', b'F', b'F', ..] => self.chunks(at + 12, u32::from_le_bytes),
            [b'F', b'O', b'R', b'M', ..] => self.chunks(at + 12, u32::from_be_bytes),
            [0x1a, 0x45, 0xdf, 0xa3, ..] => self.matroska(at),
            [_, _, _, _, b'f', b't', b'y', b'p', ..] => self.boxes(at, length, 0),
            _ => Some(()),
        }
    }

    /// Returns where the tag ends. Frames: ID3 tag versions 2.2.0 section 3.2, 2.3.0 section 3.3, 2.4.0 section 4.
    fn id3(&mut self, at: u64) -> Option<u64> {
        let [_, _, _, major, _, flags, size @ ..] = self.bytes::<10>(at)?;
        let end = at + 10 + u64::from(syncsafe(size)) + if flags & 0x10 == 0 { 0 } else { 10 };
        let mut place = at + 10;
        if flags & 0x40 != 0 {
            let size = self.bytes(place)?;
            place += match major {
                3 => 4 + u64::from(u32::from_be_bytes(size)),
                4 => u64::from(syncsafe(size)),
                _ => 0,
            };
        }
        let is_scrambled = flags & 0x80 != 0 && major < 4;
        while place < end {
            self.step()?;
            let (head, size) = if major == 2 {
                let [first, _, _, a, b, c] = self.bytes(place)?;
                (6, (first != 0).then_some(u32::from_be_bytes([0, a, b, c])))
            } else {
                let [first, _, _, _, size @ ..] = self.bytes::<8>(place)?;
                let size = if major == 4 {
                    syncsafe(size)
                } else {
                    u32::from_be_bytes(size)
                };
                (10, (first != 0).then_some(size))
            };
            // What follows the frames is padding.
            let Some(size) = size.map(u64::from) else { break };
            // With stuffed bytes the sizes of frames are not those in the file.
            if is_scrambled && end - place > MAX_ITEM {
                self.show(place, &[0]);
                break;
            }
            if self.is_bulk(size) {
                // Frames that are said to be compressed are passed over.
                match (major, self.bytes::<1>(place + 9)?) {
                    (3, [flags]) => self.show(place + 9, &[flags | 0x80]),
                    (4, [flags]) => self.show(place + 9, &[flags | 0x09]),
                    // There is no such flag: the tag ends here.
                    _ => {
                        self.show(place, &[0]);
                        break;
                    }
                }
            }
            place = place.checked_add(head)?.checked_add(size)?;
        }
        Some(end)
    }

    /// Items are not told apart, because nothing but the gain would be read of them. APEv2 specification, "APE Tags
    /// Header".
    fn ape(&mut self, length: u64) -> Option<()> {
        let old = length.checked_sub(128)?;
        let end = if self.bytes::<3>(old)? == *b"TAG" {
            old
        } else {
            length
        };
        let footer = end.checked_sub(32)?;
        let head: [u8; 16] = self.bytes(footer)?;
        let [.., a, b, c, d] = head;
        let size = u64::from(u32::from_le_bytes([a, b, c, d]));
        if head.starts_with(b"APETAGEX") && size > MAX_ITEM {
            self.show(footer, b"-");
            let header = end.checked_sub(size)?.checked_sub(32)?;
            if self.bytes::<8>(header)? == *b"APETAGEX" {
                self.show(header, b"-");
            }
        }
        Some(())
    }

    /// Metadata blocks: RFC 9639 section 8.
    fn flac(&mut self, mut at: u64) -> Option<()> {
        loop {
            self.step()?;
            let [kind, a, b, c] = self.bytes(at)?;
            let size = u64::from(u32::from_be_bytes([0, a, b, c]));
            let is_unread = match kind & 0x7f {
                // Stream information and the table for seeking, of which there is one each.
                0 | 3 => false,
                // Applications' own, and pictures.
                2 | 6 => true,
                _ => self.is_bulk(size),
            };
            if is_unread {
                self.show(at, &[kind & 0x80 | 1]);
            }
            if kind & 0x80 != 0 {
                return Some(());
            }
            at += 4 + size;
        }
    }

    fn chunks(&mut self, mut at: u64, number: fn([u8; 4]) -> u32) -> Option<()> {
        loop {
            self.step()?;
            let [a, b, c, d, size @ ..] = self.bytes::<8>(at)?;
            let size = u64::from(number(size));
            let is_sound = matches!(
                &[a, b, c, d],
                b"fmt " | b"data" | b"fact" | b"ds64" | b"COMM" | b"SSND"
            );
            if !is_sound && self.is_bulk(size) {
                self.show(at, b"JUNK");
            }
            at += 8 + size + size % 2;
        }
    }

    /// Top-level elements: RFC 9559 section 5.1.
    fn matroska(&mut self, at: u64) -> Option<()> {
        let head = chapters::head_at(self.file, at)?;
        let segment = at + head.head() + head.size?;
        let head = chapters::head_at(self.file, segment).filter(|element| element.id == SEGMENT)?;
        let mut at = segment + head.head();
        loop {
            self.step()?;
            let element = chapters::head_at(self.file, at)?;
            let size = element.size?;
            if element.id == ATTACHMENTS || (element.id == TAGS && self.is_bulk(size)) {
                let bytes = chapters::void(&element, size)?;
                self.show(at, &bytes);
            }
            at = at.checked_add(element.head())?.checked_add(size)?;
        }
    }

    /// Boxes of an MP4 file between two places. ISO/IEC 14496-12 section 4.2.
    fn boxes(&mut self, mut at: u64, end: u64, depth: u32) -> Option<()> {
        while at.saturating_add(8) <= end {
            self.step()?;
            let (kind, start, next) = self.item(at, end)?;
            if CONTAINERS.contains(&&kind) && depth < 8 {
                self.boxes(start, next, depth + 1)?;
            } else if kind == *b"meta" && depth < 8 {
                // In MP4 it begins with a version, in QuickTime files with its first box.
                let is_bare = self.bytes::<8>(start).is_some_and(|head| head.ends_with(b"hdlr"));
                self.boxes(if is_bare { start } else { start + 4 }, next, depth + 1)?;
            } else if kind == *b"ilst" {
                self.items(start, next)?;
            } else if !LARGE.contains(&&kind) && self.is_bulk(next - at) {
                self.show(at + 4, b"free");
            }
            at = next;
        }
        Some(())
    }

    /// The items of a list of tags. Symphonia reads the values of unknown ones as well, but of the boxes in an item only
    /// those that it knows: so these are hidden, not the item.
    fn items(&mut self, mut at: u64, end: u64) -> Option<()> {
        while at.saturating_add(8) <= end {
            self.step()?;
            let (kind, start, next) = self.item(at, end)?;
            if kind == *b"covr" || self.is_bulk(next - at) {
                let mut place = start;
                while place.saturating_add(8) <= next {
                    self.step()?;
                    self.show(place + 4, b"free");
                    (_, _, place) = self.item(place, next)?;
                }
            }
            at = next;
        }
        Some(())
    }

    /// The kind of a box, where its content starts, and where it ends, at the latest at `end`.
    fn item(&self, at: u64, end: u64) -> Option<([u8; 4], u64, u64)> {
        let [a, b, c, d, kind @ ..] = self.bytes::<8>(at)?;
        let (head, size) = match u32::from_be_bytes([a, b, c, d]) {
            0 => (8, end - at),
            1 => (16, u64::from_be_bytes(self.bytes(at + 8)?)),
            size => (8, u64::from(size)),
        };
        let next = at.checked_add(size).filter(|_| size >= head)?;
        Some((kind, at + head, next.min(end)))
    }
}

/// Seven bits of each byte.
fn syncsafe(bytes: [u8; 4]) -> u32 {
    bytes
        .iter()
        .fold(0, |number, byte| number << 7 | u32::from(byte & 0x7f))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    fn judge(content: &[u8]) -> Vec<Patch> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(content).unwrap();
        of_file(&file)
    }

    fn patch(at: u64, bytes: &[u8]) -> Patch {
        Patch {
            at,
            bytes: bytes.to_vec(),
        }
    }

    #[test]
    fn small_tags_stay_as_they_are() {
        assert_eq!(
            judge(b"ID3\x04\0\0\0\0\0\x0cTIT2\0\0\0\x02\0\0\x03x\xff\xfb\x90\x64"),
            []
        );
        assert_eq!(judge(b""), []);
        assert_eq!(judge(b"RIFF\xff\xff\xff\xffWAVELIST"), []);
    }

    #[test]
    fn large_frames_are_hidden_and_those_behind_them_are_not() {
        let frame = |id: &[u8], size: u32| [id, &size.to_be_bytes(), &[0, 0]].concat();
        let mut content = b"ID3\x03\0\0\0\x7f\x7f\x7f".to_vec();
        content.extend(frame(b"TIT2", 2));
        content.extend([0, b'x']);
        let at = content.len() as u64;
        content.extend(frame(b"APIC", 1_050_000));
        content.resize(content.len() + 1_050_000, 7);
        content.extend(frame(b"TALB", 2));
        assert_eq!(judge(&content), [patch(at + 9, &[0x80])]);
        // Stuffed bytes make the sizes of frames useless.
        *content.get_mut(5).unwrap() = 0x80;
        assert_eq!(judge(&content), [patch(10, &[0])]);
    }

    #[test]
    fn pictures_and_attachments_are_hidden_whatever_their_size() {
        let flac = b"fLaC\x06\0\0\x02xx\x00\0\0\x01y\x86\0\0\x01z";
        assert_eq!(judge(flac), [patch(4, &[1]), patch(15, &[0x81])]);
        let movie = b"\0\0\0\x0cftypM4A \0\0\0\x44moov\0\0\0\x3cudta\0\0\0\x34meta\0\0\0\0\0\0\0\x28ilst\0\0\0\x10covr\0\0\0\x08data\0\0\0\x10\xa9nam12345678";
        assert_eq!(judge(movie), [patch(60, b"free")]);
        let matroska =
            b"\x1a\x45\xdf\xa3\x80\x18\x53\x80\x67\x01\xff\xff\xff\xff\xff\xff\xff\x19\x41\xa4\x69\x82ab\x1f\x43\xb6\x75\x80";
        assert_eq!(judge(matroska), [patch(17, &[0xec, 0x10, 0, 0, 2])]);
    }
}
