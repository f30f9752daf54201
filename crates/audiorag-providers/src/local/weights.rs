//! Model files that sessions use where they lie in memory, once for all copies of a model.
//!
//! A session that is loaded from a file in ONNX Runtime's own format reads it, and then copies every weight out of what
//! it read. Made from bytes that outlive it, it takes the weights from there. Each further copy of Moonshine then takes
//! about 60 MB less.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

/// What was read. Never given back, as the library is not: sessions borrow from it, and a process uses one model
/// however often it opens an index.
static READ: Mutex<Vec<Weights>> = Mutex::new(Vec::new());

struct Weights {
    path: PathBuf,
    /// When the file was written, to notice one that was replaced.
    modified: Option<SystemTime>,
    bytes: &'static [u8],
}

/// The contents of the file at `path`, read when it is first asked for.
pub(super) fn of(path: &Path) -> std::io::Result<&'static [u8]> {
    let described = std::fs::metadata(path)?;
    let modified = described.modified().ok();
    let mut read = READ.lock().unwrap_or_else(PoisonError::into_inner);
    let known = read.iter().find(|weights| {
        weights.path == path && weights.modified == modified && weights.bytes.len() as u64 == described.len()
    });
    if let Some(weights) = known {
        return Ok(weights.bytes);
    }
    let bytes: &'static [u8] = Vec::leak(std::fs::read(path)?);
    read.push(Weights {
        path: path.to_owned(),
        modified,
        bytes,
    });
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_once_until_it_is_another() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), b"first").unwrap();
        let first = of(file.path()).unwrap();
        assert_eq!(first, b"first");
        assert!(std::ptr::eq(first, of(file.path()).unwrap()));
        std::fs::write(file.path(), b"another").unwrap();
        assert_eq!(of(file.path()).unwrap(), b"another");
        assert!(of(Path::new("/nowhere/encoder.ort")).is_err());
    }
}
