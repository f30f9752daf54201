//! The side file of an embedding space: an append-only list of eight-bit vectors beside the database.
//!
//! It is a cache. The database numbers vectors in the order in which it commits them and never uses a number
//! again, so the file is complete up to the number of its last record, and what is missing is read from the
//! database from there on. A file that belongs to another database, another space or another format, or that
//! cannot be read, is replaced. Nothing in it needs to be durable: after a crash the longest valid run of records
//! from the start counts, and the rest is written again.

use super::mapping::Mapping;
use super::record;
use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

const MAGIC: &[u8; 8] = b"ARAGVEC1";
/// Bytes of the header. Records follow.
const HEADER: usize = 128;
/// The header's fields up to its checksum.
const HEADER_BODY: usize = 64;
/// Where the number of trusted records is kept, outside the checksum because it changes.
const TRUSTED_AT: u64 = 120;
/// Records that are appended before the next [`seal`](SideFile::seal).
const SEAL_EVERY: u64 = 16_384;
/// Bytes read at once while checking.
const BLOCK: usize = 1 << 20;

/// What a side file belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    /// Components of a vector.
    pub(super) dimensions: usize,
    /// The space's number in the database.
    pub(super) space: i64,
    /// The database: 32 hexadecimal digits.
    pub(super) epoch: String,
}

impl Identity {
    fn header(&self, generation: u64) -> [u8; HEADER] {
        let mut body = Vec::with_capacity(HEADER);
        body.extend_from_slice(MAGIC);
        body.extend_from_slice(&(self.dimensions as u64).to_le_bytes());
        body.extend_from_slice(&self.space.to_le_bytes());
        body.extend_from_slice(&generation.to_le_bytes());
        body.extend(self.epoch.bytes().chain(std::iter::repeat(0)).take(32));
        debug_assert_eq!(body.len(), HEADER_BODY);
        let checksum = crc32fast::hash(&body);
        body.extend_from_slice(&checksum.to_le_bytes());
        body.resize(HEADER, 0);
        body.try_into().unwrap_or([0; HEADER])
    }
}

/// An open side file.
pub(super) struct SideFile {
    file: File,
    path: PathBuf,
    identity: Identity,
    /// Tells one file at this path from its replacement.
    generation: u64,
    /// Records that are known to be valid.
    count: u64,
    /// The id of the last of them, or 0.
    last_id: i64,
    /// Records that were on the disk when the number was written: not checked again on opening.
    trusted: u64,
}

impl SideFile {
    /// Creates an empty file, replacing what is at `path`.
    pub(super) fn create(path: &Path, identity: Identity) -> io::Result<Self> {
        let file = fresh_file(path)?;
        let generation = fresh_generation();
        write_at(&file, &identity.header(generation), 0)?;
        Ok(Self {
            file,
            path: path.to_owned(),
            identity,
            generation,
            count: 0,
            last_id: 0,
            trusted: 0,
        })
    }

    /// Opens a file and finds its valid records. `None` when there is none at `path` or it belongs to something
    /// else.
    pub(super) fn open(path: &Path, identity: &Identity, writable: bool) -> io::Result<Option<Self>> {
        let file = match OpenOptions::new().read(true).write(writable).open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file?,
        };
        let mut header = [0; HEADER];
        match read_at(&file, &mut header, 0) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            read => read?,
        }
        let Some(generation) = generation_of(&header, identity) else {
            return Ok(None);
        };
        let mut opened = Self {
            file,
            path: path.to_owned(),
            identity: identity.clone(),
            generation,
            count: 0,
            last_id: 0,
            trusted: 0,
        };
        let sealed = header.last_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
        opened.trusted = sealed.min(opened.complete()?);
        if opened.trusted > 0 {
            let mut record = vec![0; opened.stride()];
            read_at(&opened.file, &mut record, opened.offset(opened.trusted - 1))?;
            opened.count = opened.trusted;
            opened.last_id = record::id(&record);
        }
        opened.check_new(|_| {})?;
        Ok(Some(opened))
    }

    /// Whether the file at the path is still this one.
    pub(super) fn is_current(&self) -> bool {
        let mut header = [0; HEADER];
        File::open(&self.path)
            .and_then(|file| read_at(&file, &mut header, 0))
            .is_ok()
            && generation_of(&header, &self.identity) == Some(self.generation)
    }

    /// Bytes of a record.
    pub(super) fn stride(&self) -> usize {
        record::size(self.identity.dimensions)
    }

    /// Tells this file from others at its path.
    pub(super) fn generation(&self) -> u64 {
        self.generation
    }

    /// Valid records.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// The id of the last valid record, or 0.
    pub(super) fn last_id(&self) -> i64 {
        self.last_id
    }

    /// Maps all valid records.
    pub(super) fn map(&self) -> io::Result<Mapping> {
        Mapping::new(&self.file, HEADER as u64, self.count as usize * self.stride())
    }

    /// The valid records that others appended since this file last looked.
    pub(super) fn read_new(&mut self) -> io::Result<Vec<u8>> {
        let mut fresh = Vec::new();
        self.check_new(|records| fresh.extend_from_slice(records))?;
        Ok(fresh)
    }

    /// Appends vectors with rising ids, and returns their records. Only for the one process that holds the lock.
    /// Whatever lies behind the valid records is overwritten.
    pub(super) fn append(&mut self, rows: &[(i64, Vec<f32>)]) -> io::Result<Vec<u8>> {
        let mut records = Vec::with_capacity(rows.len() * self.stride());
        for (id, vector) in rows {
            record::write_sized(&mut records, *id, vector, self.identity.dimensions);
        }
        write_at(&self.file, &records, self.offset(self.count))?;
        self.count += rows.len() as u64;
        self.last_id = rows.last().map_or(self.last_id, |(id, _)| *id);
        if self.count - self.trusted >= SEAL_EVERY {
            self.seal()?;
        }
        Ok(records)
    }

    /// Makes the valid records durable and says so in the header, so that the next opening need not check them.
    pub(super) fn seal(&mut self) -> io::Result<()> {
        self.file.sync_data()?;
        write_at(&self.file, &self.count.to_le_bytes(), TRUSTED_AT)?;
        self.trusted = self.count;
        Ok(())
    }

    /// Moves the file over the one at `path`.
    pub(super) fn rename(&mut self, path: &Path) -> io::Result<()> {
        std::fs::rename(&self.path, path)?;
        path.clone_into(&mut self.path);
        Ok(())
    }

    /// Takes over the valid records behind those that are known.
    fn check_new(&mut self, mut take: impl FnMut(&[u8])) -> io::Result<()> {
        let (stride, complete) = (self.stride(), self.complete()?);
        let block = (BLOCK / stride).max(1) as u64;
        let mut buffer = Vec::new();
        while self.count < complete {
            let records = block.min(complete - self.count);
            buffer.resize(records as usize * stride, 0);
            read_at(&self.file, &mut buffer, self.offset(self.count))?;
            let mut valid = 0;
            for record in buffer.chunks_exact(stride) {
                let id = record::id(record);
                if id <= self.last_id || !record::is_valid(record) {
                    break;
                }
                self.last_id = id;
                valid += 1;
            }
            self.count += valid as u64;
            take(buffer.get(..valid * stride).unwrap_or_default());
            if valid < records as usize {
                break;
            }
        }
        Ok(())
    }

    /// Records that the file is long enough for.
    fn complete(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len().saturating_sub(HEADER as u64) / self.stride() as u64)
    }

    fn offset(&self, record: u64) -> u64 {
        HEADER as u64 + record * self.stride() as u64
    }
}

/// The generation of a file with this header, if it belongs to `identity`.
fn generation_of(header: &[u8; HEADER], identity: &Identity) -> Option<u64> {
    let generation = header.get(24..32)?.try_into().map(u64::from_le_bytes).ok()?;
    let expected = identity.header(generation);
    (header.get(..HEADER_BODY + 4) == expected.get(..HEADER_BODY + 4)).then_some(generation)
}

/// An empty file for the user alone, in place of what is at `path`: a new file rather than a truncated one, since others
/// may have the old one mapped.
pub(super) fn fresh_file(path: &Path) -> io::Result<File> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut options = OpenOptions::new();
    options.read(true).write(true).create_new(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.mode(0o600);
    }
    options.open(path)
}

/// A number that no earlier file at the same path had.
fn fresh_generation() -> u64 {
    use std::hash::{BuildHasher as _, Hasher as _, RandomState};
    let mut hasher = RandomState::new().build_hasher();
    hasher.write_u32(std::process::id());
    hasher.finish()
}

#[cfg(unix)]
pub(super) fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, buffer, offset)
}

#[cfg(unix)]
pub(super) fn write_at(file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::write_all_at(file, bytes, offset)
}

#[cfg(windows)]
pub(super) fn read_at(file: &File, mut buffer: &mut [u8], mut offset: u64) -> io::Result<()> {
    use std::os::windows::fs::FileExt as _;
    while !buffer.is_empty() {
        let read = file.seek_read(buffer, offset)?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        buffer = buffer.split_at_mut(read).1;
        offset += read as u64;
    }
    Ok(())
}

#[cfg(windows)]
pub(super) fn write_at(file: &File, mut bytes: &[u8], mut offset: u64) -> io::Result<()> {
    use std::os::windows::fs::FileExt as _;
    while !bytes.is_empty() {
        let written = file.seek_write(bytes, offset)?;
        bytes = bytes.split_at(written).1;
        offset += written as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
