//! Files that are either whole or not there, and a lock between processes.

use audiorag_core::{Error, Result};
use sha2::{Digest as _, Sha256};
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::path::Path;
use std::time::Duration;

/// How often a lock that another process holds is tried again.
const LOCK_POLL: Duration = Duration::from_millis(100);

/// Length and lower-case SHA-256 of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sum {
    pub(super) bytes: u64,
    pub(super) sha256: String,
}

/// Reads a whole file and sums it up. Blocks.
pub(super) fn sum(path: &Path) -> io::Result<Sum> {
    let mut file = File::open(path)?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0_u8; 1 << 16];
    let mut bytes = 0;
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            break;
        }
        hash.update(buffer.get(..read).unwrap_or_default());
        bytes += read as u64;
    }
    Ok(Sum {
        bytes,
        sha256: format!("{:x}", hash.finalize()),
    })
}

/// Writes `path` through a temporary file beside it: readers see the old contents or all of the new.
pub(super) fn write_whole(path: &Path, write: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<()> {
    let folder = path.parent().unwrap_or_else(|| Path::new("."));
    std::fs::create_dir_all(folder)?;
    let mut builder = tempfile::Builder::new();
    builder.prefix(".new-");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        // Temporary files are private by default; what is public to download need not be.
        builder.permissions(std::fs::Permissions::from_mode(0o644));
    }
    let mut file = builder.tempfile_in(folder)?;
    write(file.as_file_mut())?;
    file.as_file_mut().flush()?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    sync_folder(folder)
}

/// Gives a finished download its name.
pub(super) fn rename_whole(from: &Path, to: &Path) -> io::Result<()> {
    File::open(from)?.sync_all()?;
    std::fs::rename(from, to)?;
    sync_folder(to.parent().unwrap_or_else(|| Path::new(".")))
}

/// Makes the names in a folder survive a power cut.
fn sync_folder(folder: &Path) -> io::Result<()> {
    if cfg!(unix) {
        File::open(folder)?.sync_all()
    } else {
        Ok(())
    }
}

/// Holds the store against other processes until it is dropped.
pub(super) struct Lock {
    _file: File,
}

/// Waits for the lock file at `path`; `waiting` is called once if another process has it.
pub(super) async fn lock(path: &Path, waiting: impl FnOnce()) -> Result<Lock> {
    let failed = |error: io::Error| cannot_write(path, error);
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(failed)?;
    }
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)
        .map_err(failed)?;
    let mut waiting = Some(waiting);
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(Lock { _file: file }),
            Err(TryLockError::WouldBlock) => {
                if let Some(waiting) = waiting.take() {
                    waiting();
                }
                tokio::time::sleep(LOCK_POLL).await;
            }
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
    }
}

/// The error for a folder or file of the store that cannot be written.
pub(super) fn cannot_write(path: &Path, error: io::Error) -> Error {
    let hint = match error.kind() {
        io::ErrorKind::StorageFull => "free some space, or choose another folder with AUDIORAG_MODELS_DIR",
        _ => "choose a folder that can be written with AUDIORAG_MODELS_DIR",
    };
    Error::state(format!("{} cannot be written: {error}", path.display()))
        .with_cause(error)
        .with_hint(hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_write_leaves_the_old_file_and_no_rubbish() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sub/file");
        write_whole(&path, |file| file.write_all(b"old")).unwrap();
        let failed = write_whole(&path, |file| {
            file.write_all(b"half of the ne")?;
            Err(io::Error::other("power"))
        });
        assert!(failed.is_err());
        assert_eq!(std::fs::read(&path).unwrap(), b"old");
        assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
        assert_eq!(
            sum(&path).unwrap(),
            Sum {
                bytes: 3,
                sha256: "cba06b5736faf67e54b07b561eae94395e774c517a7d910a54369e1263ccfbd4".to_owned()
            }
        );
    }

    #[tokio::test]
    async fn a_lock_is_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(".lock");
        let first = lock(&path, || panic!("nobody holds it")).await.unwrap();
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let waiter = tokio::spawn({
            let path = path.clone();
            async move { lock(&path, move || sender.send(()).unwrap()).await }
        });
        receiver.await.unwrap();
        drop(first);
        assert!(waiter.await.unwrap().is_ok());
    }
}
