//! The file with the codes of a side file's records: a cache beside a cache.
//!
//! It belongs to one side file, not to the next at the same path, and has codes only of records that are sealed there,
//! which never change. Whoever holds the side file's lock writes it; others map what they find. The number of codes
//! stands in the header and is raised when they are on the disk, so that a cut write is not seen. Without the file, or
//! with one that cannot be read, records are compared without it.

use super::codes::{self, Centre, Codes};
use super::mapping::Mapping;
use super::record;
use super::side_file::{fresh_file, read_at, write_at};
use super::snapshot::Snapshot;
use std::fs::{File, OpenOptions};
use std::io;
use std::path::Path;

const MAGIC: &[u8; 8] = b"ARAGCOD1";
/// Bytes of the header before the centre: magic, dimensions, generation of the side file.
const FIXED: usize = 24;
/// Bytes behind the centre: a checksum of all before, four bytes of nothing, and the number of codes.
const END: usize = 16;

/// Opens the codes of the side file with this generation. `None` when there are none that fit.
pub(super) fn open(path: &Path, generation: u64, snapshot: &Snapshot) -> io::Result<Option<Codes>> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    match read_header(&file, generation, snapshot.dimensions())? {
        Some((centre, count)) if count <= snapshot.len() => map(&file, centre, count).map(Some),
        _ => Ok(None),
    }
}

/// Writes the codes that are missing of the first `sealed` records, and a new file where there is none that fits.
pub(super) fn bring_up_to_date(
    path: &Path,
    generation: u64,
    snapshot: &Snapshot,
    sealed: usize,
) -> io::Result<Codes> {
    let dimensions = snapshot.dimensions();
    let mut options = OpenOptions::new();
    options.read(true).write(true);
    let existing = match options.open(path) {
        Ok(file) => read_header(&file, generation, dimensions)?.map(|header| (file, header)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    let (file, (centre, done)) = match existing {
        Some((file, (centre, done))) if done <= sealed => (file, (centre, done)),
        _ => {
            let records = (0..sealed).map(|place| snapshot.record(place));
            let centre = Centre::of(records, dimensions);
            (create(path, generation, &centre)?, (centre, 0))
        }
    };
    let mut fresh = Vec::with_capacity((sealed - done) * centre.size());
    for record in (done..sealed).map(|place| snapshot.record(place)) {
        codes::write(
            &mut fresh,
            &centre.code(record::scale(record), record::components(record)),
        );
    }
    let start = header_size(dimensions);
    write_at(&file, &fresh, (start + done * centre.size()) as u64)?;
    file.sync_data()?;
    write_at(&file, &(sealed as u64).to_le_bytes(), (start - 8) as u64)?;
    map(&file, centre, sealed)
}

fn header_size(dimensions: usize) -> usize {
    FIXED + dimensions * 4 + END
}

/// The header up to its checksum.
fn body(generation: u64, centre: &Centre) -> Vec<u8> {
    let mut body = Vec::with_capacity(header_size(centre.components().len()));
    body.extend_from_slice(MAGIC);
    body.extend_from_slice(&(centre.components().len() as u64).to_le_bytes());
    body.extend_from_slice(&generation.to_le_bytes());
    body.extend(centre.components().iter().flat_map(|middle| middle.to_le_bytes()));
    body
}

fn create(path: &Path, generation: u64, centre: &Centre) -> io::Result<File> {
    let file = fresh_file(path)?;
    let mut header = body(generation, centre);
    header.extend_from_slice(&crc32fast::hash(&header).to_le_bytes());
    header.resize(header_size(centre.components().len()), 0);
    write_at(&file, &header, 0)?;
    Ok(file)
}

/// The centre and the number of codes, of a file that belongs to this side file.
fn read_header(file: &File, generation: u64, dimensions: usize) -> io::Result<Option<(Centre, usize)>> {
    let mut header = vec![0; header_size(dimensions)];
    match read_at(file, &mut header, 0) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        read => read?,
    }
    let (body_bytes, end) = header.split_at(header.len() - END);
    let (middles, _) = body_bytes.get(FIXED..).unwrap_or_default().as_chunks::<4>();
    let centre = Centre::from_components(middles.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect());
    let checksum = crc32fast::hash(body_bytes).to_le_bytes();
    if body(generation, &centre) != body_bytes || !end.starts_with(&checksum) {
        return Ok(None);
    }
    let count = end.last_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
    let complete = file.metadata()?.len().saturating_sub(header.len() as u64) / centre.size().max(1) as u64;
    Ok((count <= complete).then_some((centre, count as usize)))
}

fn map(file: &File, centre: Centre, count: usize) -> io::Result<Codes> {
    let start = header_size(centre.components().len());
    let mapped = Mapping::new(file, start as u64, count * centre.size())?;
    Ok(Codes::new(centre, mapped))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vectors::record::quantize;
    use std::io::Write as _;

    const DIMENSIONS: usize = 70;

    fn vector(number: usize) -> Vec<f32> {
        let mixed = |place: usize| {
            let seed = (number * DIMENSIONS + place) as u64 + 1;
            seed.wrapping_mul(seed | 1).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40
        };
        (0..DIMENSIONS)
            .map(|place| mixed(place) as f32 / (1u64 << 23) as f32 - 1.0)
            .collect()
    }

    fn snapshot(count: usize) -> Snapshot {
        let mut bytes = Vec::new();
        for number in 0..count {
            record::write(&mut bytes, number as i64 + 1, &vector(number));
        }
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&bytes).unwrap();
        let mapping = Mapping::new(&file, 0, bytes.len()).unwrap();
        Snapshot::new(record::size(DIMENSIONS), mapping, count as i64)
    }

    fn nearest(codes: &Codes, number: usize) -> Vec<usize> {
        codes.nearest(&quantize(&vector(number)), 1, 1)
    }

    #[test]
    fn codes_are_found_again_and_added_to() {
        let directory = tempfile::tempdir().unwrap();
        let (path, snapshot) = (directory.path().join("codes"), snapshot(50));
        assert!(open(&path, 7, &snapshot).unwrap().is_none());
        assert_eq!(bring_up_to_date(&path, 7, &snapshot, 20).unwrap().len(), 20);
        assert_eq!(open(&path, 7, &snapshot).unwrap().unwrap().len(), 20);
        let first = std::fs::read(&path).unwrap();
        let codes = bring_up_to_date(&path, 7, &snapshot, 50).unwrap();
        assert_eq!((codes.len(), nearest(&codes, 44)), (50, vec![44]));
        let second = std::fs::read(&path).unwrap();
        let (count, start) = (header_size(DIMENSIONS) - 8, header_size(DIMENSIONS));
        assert_eq!(second[..count], first[..count], "the centre stays");
        assert_eq!(second[start..first.len()], first[start..], "so do the codes");
        let again = open(&path, 7, &snapshot).unwrap().unwrap();
        assert_eq!((again.len(), nearest(&again, 3)), (50, vec![3]));
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            assert_eq!(
                std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
                0o600
            );
        }
    }

    #[test]
    fn what_does_not_fit_is_not_used_and_is_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let (path, snapshot) = (directory.path().join("codes"), snapshot(50));
        bring_up_to_date(&path, 7, &snapshot, 50).unwrap();
        let whole = std::fs::read(&path).unwrap();
        assert!(open(&path, 8, &snapshot).unwrap().is_none(), "of another file");
        assert!(
            open(&path, 7, &self::snapshot(49)).unwrap().is_none(),
            "of more records"
        );
        let mut flipped = whole.clone();
        flipped[FIXED + 5] ^= 1;
        let mut more = whole.clone();
        more[header_size(DIMENSIONS) - 8] = 51;
        for damaged in [&flipped[..], &more, &whole[..whole.len() - 1], &whole[..100], b""] {
            std::fs::write(&path, damaged).unwrap();
            assert!(open(&path, 7, &snapshot).unwrap().is_none());
            assert_eq!(bring_up_to_date(&path, 7, &snapshot, 50).unwrap().len(), 50);
            assert_eq!(std::fs::read(&path).unwrap(), whole);
        }
        // A file whose records were sealed once and are not there any more.
        assert_eq!(bring_up_to_date(&path, 7, &snapshot, 30).unwrap().len(), 30);
    }

    #[test]
    fn codes_that_were_not_counted_are_written_again() {
        let directory = tempfile::tempdir().unwrap();
        let (path, snapshot) = (directory.path().join("codes"), snapshot(50));
        bring_up_to_date(&path, 7, &snapshot, 20).unwrap();
        let mut cut_write = std::fs::read(&path).unwrap();
        cut_write.extend([0x55; 31]);
        std::fs::write(&path, cut_write).unwrap();
        assert_eq!(open(&path, 7, &snapshot).unwrap().unwrap().len(), 20);
        let codes = bring_up_to_date(&path, 7, &snapshot, 50).unwrap();
        for number in [0, 19, 20, 21, 49] {
            assert_eq!(nearest(&codes, number), [number]);
        }
    }
}
