//! What is looked at in a CAF file before Symphonia reads it, which believes two of its numbers and asks for as much
//! memory as they say: the size of a packet, and that of the codec's own data ("magic cookie").

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};

/// Chunks looked at before giving up on a file made to waste time.
const MAX_CHUNKS: usize = 10_000;
/// The largest packet, in bytes: many times that of any codec.
const MAX_PACKET: u32 = 1 << 20;
/// The most frames of a packet.
const MAX_FRAMES: u32 = 1 << 20;
/// The largest chunk besides the sound, in bytes. Tables of packets for a day have some ten megabytes.
const MAX_CHUNK: i64 = 64 << 20;

/// What is wrong with the numbers of a CAF file; nothing for other files. Moves the file's position.
pub(crate) fn objection(file: &File) -> Option<&'static str> {
    let head: [u8; 52] = bytes(file, 0)?;
    if !head.starts_with(b"caff") {
        return None;
    }
    // The description is the first chunk: Apple Core Audio Format Specification, "Audio Description Chunk".
    let number = |at: usize| -> Option<u32> {
        let bytes = head.get(at..at + 4)?;
        Some(u32::from_be_bytes(bytes.try_into().ok()?))
    };
    if number(36)? > MAX_PACKET || number(40)? > MAX_FRAMES {
        return Some("has packets of an impossible size");
    }
    let length = i64::try_from(file.metadata().ok()?.len()).ok()?;
    let mut at = 8_i64;
    for _ in 0..MAX_CHUNKS {
        let chunk: [u8; 12] = bytes(file, u64::try_from(at).ok()?)?;
        let (kind, size) = chunk.split_at(4);
        let size = i64::from_be_bytes(size.try_into().ok()?);
        if kind == b"data" {
            // It may be the last one, without a size.
            if size < 0 {
                return None;
            }
        } else if !(0..=MAX_CHUNK.min(length)).contains(&size) {
            return Some("has a part of an impossible size");
        }
        at = at.checked_add(12)?.checked_add(size)?;
    }
    Some("has too many parts")
}

fn bytes<const N: usize>(mut file: &File, at: u64) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    file.seek(SeekFrom::Start(at)).ok()?;
    file.read_exact(&mut bytes).ok()?;
    Some(bytes)
}
