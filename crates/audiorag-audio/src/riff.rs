//! The tags of WAV files (the list `INFO`), which Symphonia 0.6.1 reads and drops.

use crate::tags;
use audiorag_core::model::Media;
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};

/// Chunks looked at before giving up on a file made to waste time.
const MAX_CHUNKS: usize = 1000;
/// Longest list that is read, in bytes.
const MAX_LIST: u32 = 1 << 16;

/// What the tags of a WAV file say; nothing for other files. Moves the file's position.
pub(crate) fn of_file(file: &File) -> Media {
    let mut found = Media::default();
    let Some(list) = list(file) else { return found };
    let mut rest = list.as_slice();
    while let Some((name, size, after)) = chunk(rest) {
        let text = after.get(..size.min(after.len())).unwrap_or_default();
        let text = String::from_utf8_lossy(text.split(|byte| *byte == 0).next().unwrap_or_default());
        // Microsoft and IBM, "Multimedia Programming Interface and Data Specifications 1.0", INFO list chunk.
        let key = match &name {
            b"INAM" => "title",
            b"IART" => "artist",
            b"IPRD" => "album",
            b"ICRD" => "date",
            b"ILNG" => "language",
            _ => "",
        };
        tags::apply_named(key, &text, &mut found);
        // Chunks are padded to an even length.
        rest = after.get(size.saturating_add(size % 2)..).unwrap_or_default();
    }
    found
}

/// The name and length of the first chunk, and what follows its header.
fn chunk(bytes: &[u8]) -> Option<([u8; 4], usize, &[u8])> {
    let (name, rest) = bytes.split_first_chunk::<4>()?;
    let (size, rest) = rest.split_first_chunk::<4>()?;
    Some((*name, usize::try_from(u32::from_le_bytes(*size)).ok()?, rest))
}

/// What the list holds, wherever it stands in the file.
fn list(mut file: &File) -> Option<Vec<u8>> {
    let mut head = [0; 12];
    file.seek(SeekFrom::Start(0)).ok()?;
    file.read_exact(&mut head).ok()?;
    if !head.starts_with(b"RIFF") || !head.ends_with(b"WAVE") {
        return None;
    }
    let mut at = 12_u64;
    for _ in 0..MAX_CHUNKS {
        let mut head = [0; 12];
        file.seek(SeekFrom::Start(at)).ok()?;
        file.read_exact(&mut head).ok()?;
        let (name, _, rest) = chunk(&head)?;
        let size = u32::from_le_bytes(*head.get(4..)?.first_chunk()?);
        if &name == b"LIST" && rest == b"INFO" {
            let mut list = Vec::new();
            file.take(u64::from(size.saturating_sub(4).min(MAX_LIST)))
                .read_to_end(&mut list)
                .ok()?;
            return Some(list);
        }
        at = at.checked_add(8 + u64::from(size) + u64::from(size % 2))?;
    }
    None
}
