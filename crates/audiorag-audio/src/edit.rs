//! The edit lists of MP4 files, which Symphonia reads but does not apply.
//!
//! An AAC track starts with encoder delay (often 1024 or 2112 samples) that players skip because the edit list
//! says so, and a track may start late or show only a part of what is stored. Without this, every citation of
//! an M4A file would be off by the delay. Format: ISO/IEC 14496-12 sections 8.2.2, 8.3.2, 8.4.2 and 8.6.6.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

/// What to do with a track's samples; times in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Edit {
    /// Silence before the track starts.
    pub(crate) lead: u64,
    /// Stored audio that is not played.
    pub(crate) skip: u64,
    /// Length of what is played after the lead, where the list bounds it.
    pub(crate) play: Option<u64>,
}

/// Boxes looked at before giving up on a file made to waste time.
const MAX_BOXES: usize = 20_000;
/// Entries of an edit list that are read.
const MAX_ENTRIES: u32 = 64;

/// The edits of all tracks by track id. A track is left out when its list is damaged or joins several
/// stretches, which cannot be expressed as skipping and stopping. Moves the file's position.
pub(crate) fn of_tracks(file: &File) -> Vec<(u32, Edit)> {
    let mut reader = Boxes::new(file);
    let mut edits = Vec::new();
    // A damaged box ends the search; what was found before it is sound.
    let _ = reader.collect(&mut edits);
    edits
}

/// Start and end of a box's content.
pub(crate) type Extent = (u64, u64);

/// The boxes of a file; a limited number of them.
pub(crate) struct Boxes<'a> {
    file: &'a File,
    left: usize,
}

impl<'a> Boxes<'a> {
    pub(crate) fn new(file: &'a File) -> Self {
        Self {
            file,
            left: MAX_BOXES,
        }
    }

    fn bytes<const N: usize>(&mut self, at: u64) -> io::Result<[u8; N]> {
        let mut bytes = [0; N];
        self.file.seek(SeekFrom::Start(at))?;
        self.file.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    /// The next box of this kind between two positions.
    pub(crate) fn find(&mut self, mut at: u64, end: u64, kind: [u8; 4]) -> io::Result<Option<Extent>> {
        while at.saturating_add(8) <= end {
            let Some(left) = self.left.checked_sub(1) else {
                return Ok(None);
            };
            self.left = left;
            let [a, b, c, d, name @ ..] = self.bytes::<8>(at)?;
            let (head, size) = match u32::from_be_bytes([a, b, c, d]) {
                0 => (8, end - at),
                1 => (16, u64::from_be_bytes(self.bytes(at + 8)?)),
                size => (8, u64::from(size)),
            };
            let Some(next) = at.checked_add(size).filter(|next| size >= head && *next <= end) else {
                return Ok(None);
            };
            if name == kind {
                return Ok(Some((at + head, next)));
            }
            at = next;
        }
        Ok(None)
    }

    fn collect(&mut self, edits: &mut Vec<(u32, Edit)>) -> Option<()> {
        let end = self.file.metadata().ok()?.len();
        let (start, end) = self.find(0, end, *b"moov").ok()??;
        let movie_scale = self.header_number((start, end), *b"mvhd")?;
        let mut from = start;
        while let Some(trak) = self.find(from, end, *b"trak").ok()? {
            from = trak.1;
            let track = self.header_number(trak, *b"tkhd")?;
            let media = self.find(trak.0, trak.1, *b"mdia").ok()??;
            let media_scale = self.header_number(media, *b"mdhd")?;
            let Some(list) = self.find(trak.0, trak.1, *b"edts").ok()? else {
                continue;
            };
            let Some(list) = self.find(list.0, list.1, *b"elst").ok()? else {
                continue;
            };
            if let Some(edit) = self.edit(list, movie_scale, media_scale) {
                edits.push((track, edit));
            }
        }
        Some(())
    }

    /// The number that follows the two times of a header box: the time scale, or the track id.
    fn header_number(&mut self, (start, end): Extent, kind: [u8; 4]) -> Option<u32> {
        let header = self.find(start, end, kind).ok()??;
        let offset = if self.version(header)? == 1 { 20 } else { 12 };
        self.number(header, offset)
    }

    fn version(&mut self, (start, end): Extent) -> Option<u8> {
        let [version] = (start < end).then(|| self.bytes(start).ok())??;
        Some(version)
    }

    /// A big-endian number inside a box.
    fn number(&mut self, (start, end): Extent, offset: u64) -> Option<u32> {
        (start + offset + 4 <= end).then(|| self.bytes(start + offset).ok().map(u32::from_be_bytes))?
    }

    fn edit(&mut self, list: Extent, movie_scale: u32, media_scale: u32) -> Option<Edit> {
        if movie_scale == 0 || media_scale == 0 {
            return None;
        }
        let is_wide = self.version(list)? == 1;
        let count = self.number(list, 4)?;
        if count > MAX_ENTRIES {
            return None;
        }
        let mut edit = Edit::default();
        let mut is_playing = false;
        for entry in 0..u64::from(count) {
            let (length, start) = if is_wide {
                let at = 8 + entry * 20;
                let high = u64::from(self.number(list, at)?) << 32;
                let length = high | u64::from(self.number(list, at + 4)?);
                let high = u64::from(self.number(list, at + 8)?) << 32;
                (
                    length,
                    (high | u64::from(self.number(list, at + 12)?)).cast_signed(),
                )
            } else {
                let at = 8 + entry * 12;
                let start = self.number(list, at + 4)?.cast_signed();
                (u64::from(self.number(list, at)?), i64::from(start))
            };
            match (u64::try_from(start), is_playing) {
                (Err(_), false) => edit.lead = edit.lead.saturating_add(nanos(length, movie_scale)),
                (Ok(start), false) => {
                    is_playing = true;
                    edit.skip = nanos(start, media_scale);
                    // Fragmented files leave it open.
                    edit.play = (length > 0).then(|| nanos(length, movie_scale));
                }
                (_, true) => return None,
            }
        }
        is_playing.then_some(edit)
    }
}

fn nanos(ticks: u64, scale: u32) -> u64 {
    u64::try_from(u128::from(ticks) * 1_000_000_000 / u128::from(scale.max(1))).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn atom(kind: [u8; 4], content: &[u8]) -> Vec<u8> {
        let mut out = u32::try_from(content.len() + 8).unwrap().to_be_bytes().to_vec();
        out.extend_from_slice(&kind);
        out.extend_from_slice(content);
        out
    }

    fn header(numbers: &[u32]) -> Vec<u8> {
        let mut out = vec![0; 4];
        for number in numbers {
            out.extend_from_slice(&number.to_be_bytes());
        }
        out
    }

    fn movie(list: &[u8]) -> File {
        let track = [
            atom(*b"tkhd", &header(&[0, 0, 7, 0, 0])),
            atom(*b"edts", &atom(*b"elst", list)),
            atom(*b"mdia", &atom(*b"mdhd", &header(&[0, 0, 48_000, 0]))),
        ]
        .concat();
        let moov = [atom(*b"mvhd", &header(&[0, 0, 1000, 0])), atom(*b"trak", &track)].concat();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(
            &[
                atom(*b"ftyp", b"M4A "),
                atom(*b"free", &[0; 9]),
                atom(*b"moov", &moov),
            ]
            .concat(),
        )
        .unwrap();
        file
    }

    fn of_track(file: &File, track: u32) -> Option<Edit> {
        of_tracks(file)
            .into_iter()
            .find(|(id, _)| *id == track)
            .map(|(_, edit)| edit)
    }

    #[test]
    fn reads_delay_and_length() {
        let list = header(&[1, 2500, 1024, 0x1_0000]);
        let edit = Edit {
            lead: 0,
            skip: 21_333_333,
            play: Some(2_500_000_000),
        };
        assert_eq!(of_track(&movie(&list), 7), Some(edit));
        assert_eq!(of_track(&movie(&list), 8), None);
    }

    #[test]
    fn reads_a_late_start() {
        let list = header(&[2, 300, u32::MAX, 0x1_0000, 0, 0, 0x1_0000]);
        assert_eq!(
            of_track(&movie(&list), 7),
            Some(Edit {
                lead: 300_000_000,
                skip: 0,
                play: None
            })
        );
    }

    #[test]
    fn reads_wide_entries() {
        let mut list = header(&[1, 0, 2500, 0, 2112, 0x1_0000]);
        list[0] = 1;
        assert_eq!(of_track(&movie(&list), 7).unwrap().skip, 44_000_000);
    }

    #[test]
    fn leaves_montages_and_damage_alone() {
        let montage = header(&[2, 300, 0, 0x1_0000, 300, 96_000, 0x1_0000]);
        assert_eq!(of_track(&movie(&montage), 7), None);
        assert_eq!(of_track(&movie(&header(&[9])), 7), None);
        assert_eq!(of_track(&movie(&header(&[u32::MAX])), 7), None);
        assert_eq!(of_track(&movie(&[]), 7), None);
        let mut empty = tempfile::tempfile().unwrap();
        empty.write_all(&[0, 0, 0, 1, b'm', b'o', b'o', b'v', 0]).unwrap();
        assert_eq!(of_track(&empty, 7), None);
    }
}
