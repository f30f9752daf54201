//! What is looked at in a CAF file before Symphonia 0.6.1 reads it.
//!
//! It believes two numbers and asks for as much memory as they say: the size of a packet, and that of the codec's own
//! data ("magic cookie"). And it wants to reach the end of every chunk before it gives out the sound: of a file that is
//! cut off, or whose sound says that it lasts until the end, it is shown what is whole.

use crate::chapters::Patch;
use std::fs::File;
use std::io::{BufReader, Read, Seek as _, SeekFrom};

/// Chunks looked at before giving up on a file made to waste time.
const MAX_CHUNKS: usize = 10_000;
/// The largest packet, in bytes: many times that of any codec.
const MAX_PACKET: u32 = 1 << 20;
/// The most frames of a packet.
const MAX_FRAMES: u32 = 1 << 20;
/// The largest chunk besides the sound, in bytes. Tables of packets for a day have some ten megabytes.
const MAX_CHUNK: u64 = 64 << 20;
/// The most packets of their own sizes: a day of 20 ms each and some more. Symphonia takes 32 bytes for each.
const MAX_PACKETS: i64 = 5_000_000;
/// Bytes of the sound before its first packet.
const EDIT_COUNT: u64 = 4;
/// The size of a sound that lasts until the end of the file.
const UNTIL_THE_END: i64 = -1;

const NO_TABLE: &str = "is cut off: its table of packets is missing";
const WITHIN_SOUND: &str = "it ends within its sound: it is cut off";
const BEHIND_SOUND: &str = "it ends within what follows its sound: it is cut off";

/// What is shown of a file that has less than it says.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Shown {
    /// Where the file ends.
    pub(crate) end: u64,
    /// The size of the sound, when that is not the one in the file.
    pub(crate) patch: Option<Patch>,
    /// The length that the file states, in nanoseconds, when the patch takes it away.
    pub(crate) stated: Option<u64>,
    /// That something is missing.
    pub(crate) complaint: Option<&'static str>,
}

/// What to show of a CAF file instead of all of it; nothing of whole ones and other files. Moves the file's position.
///
/// # Errors
/// What is wrong with the file, to be said behind its name.
pub(crate) fn look(file: &File) -> Result<Option<Shown>, &'static str> {
    let (Some(sound), Ok(metadata)) = (Sound::of(file), file.metadata()) else {
        return Ok(None);
    };
    if sound.bytes > MAX_PACKET || sound.frames > MAX_FRAMES {
        return Err("has packets of an impossible size");
    }
    let length = metadata.len();
    let (mut at, mut is_behind, mut table) = (8, false, None);
    for _ in 0..MAX_CHUNKS {
        let Some([a, b, c, d, size @ ..]) = bytes::<12>(file, at) else {
            return if at < length && is_behind {
                sound.cut_behind(at, table).map(Some)
            } else {
                Ok(None)
            };
        };
        let (start, size) = (at + 12, i64::from_be_bytes(size));
        let end = u64::try_from(size).ok().map(|size| start.saturating_add(size));
        let is_whole = end.is_some_and(|end| end <= length);
        match &[a, b, c, d] {
            b"data" if is_whole => is_behind = true,
            // Nothing to be mended: Symphonia refuses other negative sizes, and a file without a first packet.
            b"data" if size < UNTIL_THE_END || start + EDIT_COUNT > length => return Ok(None),
            b"data" => return sound.cut_within(file, start, end, length, table).map(Some),
            _ if end.is_none_or(|end| end - start > MAX_CHUNK.min(length)) => {
                return Err("has a part of an impossible size");
            }
            _ if !is_whole && is_behind => return sound.cut_behind(at, table).map(Some),
            _ if !is_whole => return Ok(None),
            b"pakt" => {
                let packets = bytes(file, start).map_or(0, i64::from_be_bytes);
                if packets > MAX_PACKETS {
                    return Err("has more packets than a recording of a day");
                }
                table = Some(start);
            }
            _ => {}
        }
        at = end.unwrap_or(length);
    }
    Err("has too many parts")
}

/// What the description says of packets, and where they are whole.
struct Sound {
    rate: u32,
    /// Bytes of a packet, or 0 where each has its own number, which is in a table.
    bytes: u32,
    /// Frames of a packet, or 0 likewise.
    frames: u32,
}

impl Sound {
    /// The description is the first chunk: Apple Core Audio Format Specification, "Audio Description Chunk".
    fn of(file: &File) -> Option<Self> {
        let head: [u8; 52] = bytes(file, 0)?;
        let number = |at: usize| -> Option<u32> {
            let bytes = head.get(at..at + 4)?;
            Some(u32::from_be_bytes(bytes.try_into().ok()?))
        };
        if !head.starts_with(b"caff") {
            return None;
        }
        let rate = u64::from(number(20)?) << 32 | u64::from(number(24)?);
        Some(Self {
            rate: f64::from_bits(rate) as u32,
            bytes: number(36)?,
            frames: number(40)?,
        })
    }

    /// Whether all packets are alike, so that no table is needed.
    fn is_even(&self) -> bool {
        self.bytes > 0 && self.frames > 0
    }

    /// What is whole of a file whose chunk at `at`, behind the sound, is not.
    fn cut_behind(&self, at: u64, table: Option<u64>) -> Result<Shown, &'static str> {
        if !self.is_even() && table.is_none() {
            return Err(NO_TABLE);
        }
        Ok(Shown {
            end: at,
            complaint: Some(BEHIND_SOUND),
            ..Shown::default()
        })
    }

    /// What is whole of a sound that starts at `start` and is to end at `end`, or with the file.
    fn cut_within(
        &self,
        file: &File,
        start: u64,
        end: Option<u64>,
        length: u64,
        table: Option<u64>,
    ) -> Result<Shown, &'static str> {
        let first = start + EDIT_COUNT;
        let room = length.saturating_sub(first);
        let whole = if self.is_even() {
            room - room % u64::from(self.bytes)
        } else {
            self.whole(file, table.ok_or(NO_TABLE)?, room).unwrap_or_default()
        };
        Ok(Shown {
            end: first + whole,
            patch: Some(Patch {
                at: start - 8,
                bytes: (EDIT_COUNT + whole).to_be_bytes().to_vec(),
            }),
            stated: end.and_then(|end| self.nanos(end.saturating_sub(first))),
            complaint: end.map(|_| WITHIN_SOUND),
        })
    }

    /// How long so many bytes last, if that can be told without a table.
    fn nanos(&self, bytes: u64) -> Option<u64> {
        let packets = u128::from(bytes.checked_div(u64::from(self.bytes))?);
        let nanos = packets * u128::from(self.frames) * 1_000_000_000;
        let nanos = nanos.checked_div(u128::from(self.rate))?;
        self.is_even().then(|| u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    /// Bytes of the first packets that have room together. The table has 24 bytes before its first entry: "Packet Table
    /// Chunk".
    fn whole(&self, mut file: &File, table: u64, room: u64) -> Option<u64> {
        let packets = i64::from_be_bytes(bytes(file, table)?);
        file.seek(SeekFrom::Start(table + 24)).ok()?;
        let mut entries = BufReader::new(file.take(MAX_CHUNK));
        let mut whole = 0_u64;
        for _ in 0..packets {
            let size = match self.bytes {
                0 => number(&mut entries),
                bytes => Some(u64::from(bytes)),
            };
            let frames = match self.frames {
                0 => number(&mut entries),
                frames => Some(u64::from(frames)),
            };
            match size.zip(frames).and_then(|(size, _)| whole.checked_add(size)) {
                Some(more) if more <= room => whole = more,
                _ => break,
            }
        }
        Some(whole)
    }
}

/// A number of seven bits in a byte, all bytes but the last with the eighth.
fn number(bytes: &mut impl Read) -> Option<u64> {
    let mut number = 0;
    for _ in 0..9 {
        let mut byte = [0];
        bytes.read_exact(&mut byte).ok()?;
        let [byte] = byte;
        number = number << 7 | u64::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

fn bytes<const N: usize>(mut file: &File, at: u64) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    file.seek(SeekFrom::Start(at)).ok()?;
    file.read_exact(&mut bytes).ok()?;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    /// A file of these chunks; a size is given where it is not that of the content. Packets of `even` bytes and frames.
    fn caf(even: (u32, u32), chunks: &[(&[u8; 4], Option<i64>, &[u8])]) -> Vec<u8> {
        let mut content = b"caff\0\x01\0\0desc\0\0\0\0\0\0\0\x20".to_vec();
        content.extend(8000_f64.to_be_bytes());
        content.extend(b"lpcm\0\0\0\0");
        content.extend([even.0, even.1, 1, 16].map(u32::to_be_bytes).concat());
        for (kind, size, bytes) in chunks {
            content.extend(*kind);
            content.extend(size.unwrap_or(bytes.len() as i64).to_be_bytes());
            content.extend(*bytes);
        }
        content
    }

    fn judge(content: &[u8]) -> Result<Option<Shown>, &'static str> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(content).unwrap();
        look(&file)
    }

    /// Of a sound whose chunk starts behind the description.
    fn shown(whole: u64, stated: Option<u64>, complaint: Option<&'static str>) -> Shown {
        Shown {
            end: 52 + 16 + whole,
            patch: Some(Patch {
                at: 56,
                bytes: (4 + whole).to_be_bytes().to_vec(),
            }),
            stated,
            complaint,
        }
    }

    #[test]
    fn whole_files_are_shown_as_they_are() {
        let (sound, info): ((&[u8; 4], _, &[u8]), _) =
            ((b"data", None, &[0; 14]), (b"info", None, &b"abc"[..]));
        assert_eq!(judge(&caf((2, 1), &[sound])), Ok(None));
        assert_eq!(judge(&caf((2, 1), &[sound, info])), Ok(None));
        assert_eq!(judge(&caf((2, 1), &[info, sound])), Ok(None));
        assert_eq!(judge(b"RIFF\xff\xff\xff\x7fWAVE"), Ok(None));
        assert_eq!(judge(b"caff"), Ok(None));
    }

    #[test]
    fn more_packets_than_memory_has_room_for_are_refused() {
        let table = |packets: i64| [packets.to_be_bytes().as_slice(), &[0; 16], &[1; 64]].concat();
        let sound: (&[u8; 4], _, &[u8]) = (b"data", None, &[0; 14]);
        let judged = |packets| judge(&caf((0, 960), &[(b"pakt", None, &table(packets)), sound]));
        assert_eq!(judged(MAX_PACKETS), Ok(None));
        for packets in [MAX_PACKETS + 1, i64::MAX] {
            assert!(judged(packets).unwrap_err().contains("packets"), "{packets}");
        }
    }

    #[test]
    fn a_sound_that_is_cut_off_is_shown_to_its_last_whole_packet() {
        // Five frames of eight thousand: what half a frame is part of is left out.
        let content = caf((2, 1), &[(b"data", Some(4 + 10), &[0; 4 + 7])]);
        let expected = shown(6, Some(625_000), Some(WITHIN_SOUND));
        assert_eq!(judge(&content), Ok(Some(expected)));
        // Without a first packet there is nothing to be shown.
        let content = caf((2, 1), &[(b"data", Some(4 + 10), &[0; 3])]);
        assert_eq!(judge(&content), Ok(None));
        let content = caf((34, 64), &[(b"data", Some(4 + 68), &[0; 4 + 67])]);
        let expected = shown(34, Some(16_000_000), Some(WITHIN_SOUND));
        assert_eq!(judge(&content), Ok(Some(expected)));
    }

    #[test]
    fn a_sound_may_be_left_open() {
        let content = caf((2, 1), &[(b"data", Some(-1), &[0; 4 + 7])]);
        assert_eq!(judge(&content), Ok(Some(shown(6, None, None))));
    }

    #[test]
    fn what_follows_the_sound_may_be_cut_off() {
        let cut = |even, left| {
            let chunks: [(&[u8; 4], _, &[u8]); 3] = [
                (b"pakt", None, &[0; 30]),
                (b"data", None, &[0; 8]),
                (b"info", None, &[0; 9]),
            ];
            judge(caf(even, &chunks).get(..left).unwrap())
        };
        let behind = 52 + 42 + 20;
        for left in [behind + 1, behind + 12, behind + 20] {
            let expected = Shown {
                end: behind as u64,
                complaint: Some(BEHIND_SOUND),
                ..Shown::default()
            };
            assert_eq!(cut((2, 1), left), Ok(Some(expected)), "{left}");
        }
        assert_eq!(cut((0, 1), behind), Ok(None));
        // The table itself is not whole.
        let chunks: [(&[u8; 4], _, &[u8]); 2] = [(b"data", None, &[0; 8]), (b"pakt", Some(31), &[0; 30])];
        assert_eq!(judge(&caf((0, 1), &chunks)), Err(NO_TABLE));
    }

    #[test]
    fn packets_of_their_own_sizes_need_their_table() {
        let table = |packets: i64, entries: &[u8]| [&packets.to_be_bytes()[..], &[0; 16], entries].concat();
        let whole = |packets, entries: &[u8], even, size| {
            let table = table(packets, entries);
            let chunks: [(&[u8; 4], _, &[u8]); 2] = [(b"pakt", None, &table), (b"data", size, &[0; 4 + 200])];
            let shown = judge(&caf(even, &chunks)).unwrap().unwrap();
            assert_eq!(shown.stated, None);
            shown.end - (52 + 12 + table.len() as u64 + 16)
        };
        // 128 and 72 bytes are there, 73 would be too much.
        assert_eq!(whole(3, &[0x81, 0, 72, 9], (0, 1024), Some(300)), 200);
        assert_eq!(whole(3, &[0x81, 0, 73, 9], (0, 1024), Some(300)), 128);
        assert_eq!(whole(1, &[0x81, 0, 72, 9], (0, 1024), Some(-1)), 128);
        // Numbers of frames, alone or behind the sizes.
        assert_eq!(whole(3, &[99, 1, 100, 2, 2, 1], (0, 0), Some(300)), 199);
        assert_eq!(whole(9, &[1, 1, 1, 1, 1, 1, 1, 1, 1], (30, 0), Some(300)), 180);
        // Nonsense.
        assert_eq!(whole(-1, &[9], (0, 1), Some(300)), 0);
        assert_eq!(whole(MAX_PACKETS, &[0xff; 40], (0, 1), Some(i64::MAX)), 0);
        let content = caf((0, 1), &[(b"data", Some(300), &[0; 200])]);
        assert_eq!(judge(&content), Err(NO_TABLE));
    }

    #[test]
    fn no_size_does_harm() {
        for size in [i64::MIN, -2, -1, 0, 3, 4, 1 << 40, i64::MAX - 1, i64::MAX] {
            for kind in [b"data", b"pakt", b"free"] {
                for even in [(2, 1), (0, 1), (0, 0), (1 << 20, 1 << 20)] {
                    let content = caf(even, &[(kind, Some(size), &[0; 16])]);
                    if let Ok(Some(shown)) = judge(&content) {
                        assert!(kind == b"data" && shown.end <= content.len() as u64);
                    }
                }
            }
        }
        let content = caf((2, 1), &[(b"data", Some(i64::MAX), &[0; 16])]);
        let stated = judge(&content).unwrap().unwrap().stated;
        assert_eq!(stated, Some(u64::MAX));
    }
}
