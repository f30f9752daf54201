//! The one place that maps a file into memory.
#![expect(unsafe_code, reason = "a memory map cannot be made in safe Rust")]

use memmap2::{Mmap, MmapOptions};
use std::fs::File;
use std::io;

/// The first bytes of a side file, as memory.
pub(super) struct Mapping(Option<Mmap>);

impl Mapping {
    /// Maps `length` bytes from `offset` on.
    ///
    /// # Errors
    /// When the file is shorter than that, or the system refuses.
    pub(super) fn new(file: &File, offset: u64, length: usize) -> io::Result<Self> {
        if length == 0 {
            // An empty map is an error on some systems.
            return Ok(Self(None));
        }
        if file.metadata()?.len() < offset + length as u64 {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "the side file is shorter than its records",
            ));
        }
        // SAFETY: Reading a map is undefined when the file shrinks or its mapped bytes change underneath. Side files
        // and the files of their codes are private to this crate, in a directory of the user's own. They only ever
        // grow at the end, past everything that is mapped (`SideFile::append` writes after the records it knows, which
        // include every record that any reader can have found valid; `codes_file::bring_up_to_date` writes after the
        // codes that the header counts, and the header is never mapped); they are replaced by removing them or by
        // renaming another file over them, which leaves the mapped one as it is; and no code truncates one.
        let map = unsafe { MmapOptions::new().offset(offset).len(length).map(file)? };
        Ok(Self(Some(map)))
    }

    /// The mapped bytes.
    pub(super) fn bytes(&self) -> &[u8] {
        self.0.as_deref().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    #[test]
    fn maps_what_was_asked_for_and_no_more() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"0123456789").unwrap();
        assert_eq!(Mapping::new(&file, 3, 4).unwrap().bytes(), b"3456");
        assert_eq!(Mapping::new(&file, 10, 0).unwrap().bytes(), b"");
        assert!(Mapping::new(&file, 3, 8).is_err());
    }

    #[test]
    fn a_map_outlives_growth_and_removal_of_its_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x");
        std::fs::write(&path, b"abc").unwrap();
        let mut file = std::fs::OpenOptions::new()
            .read(true)
            .append(true)
            .open(&path)
            .unwrap();
        let map = Mapping::new(&file, 0, 3).unwrap();
        file.write_all(b"def").unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(map.bytes(), b"abc");
    }
}
