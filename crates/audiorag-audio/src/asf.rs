//! How long a WMA file is meant to be. ffmpeg goes by what it finds, and finds nothing missing in half a file.

use audiorag_core::MediaTime;
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::Path;

/// Objects looked at before giving up on a file made to waste time.
const MAX_OBJECTS: usize = 200;
/// Identifiers: Advanced Systems Format specification, section 10.
const HEADER: [u8; 16] = [
    0x30, 0x26, 0xb2, 0x75, 0x8e, 0x66, 0xcf, 0x11, 0xa6, 0xd9, 0x00, 0xaa, 0x00, 0x62, 0xce, 0x6c,
];
const PROPERTIES: [u8; 16] = [
    0xa1, 0xdc, 0xab, 0x8c, 0x47, 0xa9, 0xcf, 0x11, 0x8e, 0xe4, 0x00, 0xc0, 0x0c, 0x20, 0x53, 0x65,
];
/// Set while the file is still being written.
const BROADCAST: u8 = 1;

/// The length that the header states; nothing for other files, and for those whose writer could not come back to it.
pub(crate) fn announced(path: &Path) -> Option<MediaTime> {
    let mut file = File::open(path).ok()?;
    let mut head = [0; 30];
    file.read_exact(&mut head).ok()?;
    if !head.starts_with(&HEADER) {
        return None;
    }
    let mut at = 30_u64;
    for _ in 0..MAX_OBJECTS {
        let mut object = [0; 24];
        file.seek(SeekFrom::Start(at)).ok()?;
        file.read_exact(&mut object).ok()?;
        let (kind, size) = object.split_at(16);
        if kind == PROPERTIES {
            return properties(&mut file);
        }
        let size = u64::from_le_bytes(size.try_into().ok()?);
        at = at.checked_add(size.max(24))?;
    }
    None
}

/// Section 3.2: 40 bytes, the length in units of 100 ns, 8 bytes, what comes before the start in ms, and flags.
fn properties(file: &mut File) -> Option<MediaTime> {
    let mut own = [0; 68];
    file.read_exact(&mut own).ok()?;
    let number =
        |at: usize| -> Option<u64> { Some(u64::from_le_bytes(own.get(at..at + 8)?.try_into().ok()?)) };
    let (played, before) = (number(40)? / 10_000, number(56)?);
    let is_known = own.get(64)? & BROADCAST == 0 && played > before;
    is_known.then(|| MediaTime::from_millis(played - before))
}
