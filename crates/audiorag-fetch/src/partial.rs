//! A download that is not finished: the bytes so far, and a note of what they are the beginning of.
//!
//! Beside the final path stand `NAME.part` with the bytes and `NAME.part.json` with the note. Both are ours alone
//! (mode 0600), and whoever works on them holds a lock on the bytes.

use crate::download::Validators;
use audiorag_core::{Error, Result};
use serde::{Deserialize, Serialize};
use std::fs::{self, OpenOptions, TryLockError};
use std::io::{self, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::fs::File;
use tokio::io::{AsyncSeekExt as _, AsyncWriteExt as _};

/// Looks at a lock that somebody else holds, and the time between them.
const PATIENCE: u32 = 20;
const BETWEEN_LOOKS: Duration = Duration::from_millis(50);

/// What the bytes of a partial file are the beginning of.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Note {
    /// A hash of the URL, whose query may hold a token.
    pub(crate) url: String,
    pub(crate) etag: Option<String>,
    pub(crate) last_modified: Option<String>,
    /// The length of the whole, where it is known.
    pub(crate) total: Option<u64>,
}

impl Note {
    pub(crate) fn validators(&self) -> Validators {
        Validators {
            etag: self.etag.clone(),
            last_modified: self.last_modified.clone(),
        }
    }
}

/// The bytes so far, open and locked.
pub(crate) struct Partial {
    file: File,
    path: PathBuf,
    note_path: PathBuf,
    target: PathBuf,
    note: Option<Note>,
    length: u64,
}

impl Partial {
    /// Opens, or begins, the partial file of `target`. What is there is kept if it is of the URL with this hash.
    pub(crate) async fn open(target: &Path, url: &str) -> Result<Self> {
        let path = beside(target, ".part")?;
        let note_path = beside(target, ".part.json")?;
        let file = open_locked(&path).await?;
        let length = file
            .metadata()
            .map_err(|error| trouble(&path, "read", error))?
            .len();
        let note = fs::read(&note_path)
            .ok()
            .and_then(|bytes| serde_json::from_slice::<Note>(&bytes).ok())
            .filter(|note| note.url == url);
        let mut partial = Self {
            file: File::from_std(file),
            path,
            note_path,
            target: target.to_owned(),
            note,
            length,
        };
        match partial.note {
            Some(_) => partial.seek(length).await?,
            None => partial.restart().await?,
        }
        Ok(partial)
    }

    /// Bytes so far.
    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    /// What they are the beginning of, if there are any.
    pub(crate) fn note(&self) -> Option<&Note> {
        self.note.as_ref().filter(|_| self.length > 0)
    }

    /// Forgets all bytes.
    pub(crate) async fn restart(&mut self) -> Result<()> {
        self.file
            .set_len(0)
            .await
            .map_err(|error| trouble(&self.path, "write", error))?;
        self.seek(0).await?;
        self.length = 0;
        self.note = None;
        Ok(())
    }

    /// Begins anew with the bytes of what `note` names. The note is on disk before any of them.
    pub(crate) async fn begin(&mut self, note: Note) -> Result<()> {
        self.restart().await?;
        let text = serde_json::to_vec(&note)
            .map_err(|error| Error::internal("a note cannot be written").with_cause(error))?;
        write_private(&self.note_path, &text).map_err(|error| trouble(&self.note_path, "write", error))?;
        self.note = Some(note);
        Ok(())
    }

    /// Adds bytes at the end.
    pub(crate) async fn append(&mut self, bytes: &[u8]) -> Result<()> {
        self.file
            .write_all(bytes)
            .await
            .map_err(|error| trouble(&self.path, "write", error))?;
        self.length += bytes.len() as u64;
        Ok(())
    }

    /// Makes sure that what was appended has reached the file, so that a later attempt can go on from there.
    pub(crate) async fn settle(&mut self) -> Result<()> {
        self.file
            .flush()
            .await
            .map_err(|error| trouble(&self.path, "write", error))
    }

    /// Gives the bytes their final name, after they have reached the disk.
    pub(crate) async fn finish(mut self) -> Result<()> {
        self.settle().await?;
        self.file
            .sync_all()
            .await
            .map_err(|error| trouble(&self.path, "write", error))?;
        fs::rename(&self.path, &self.target).map_err(|error| trouble(&self.target, "write", error))?;
        remove(&self.note_path)?;
        #[cfg(unix)]
        if let Some(folder) = self
            .target
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty())
        {
            fs::File::open(folder)
                .and_then(|folder| folder.sync_all())
                .map_err(|error| trouble(folder, "write", error))?;
        }
        Ok(())
    }

    /// Removes everything.
    pub(crate) fn discard(self) -> Result<()> {
        remove(&self.note_path)?;
        remove(&self.path)
    }

    async fn seek(&mut self, to: u64) -> Result<()> {
        self.file
            .seek(SeekFrom::Start(to))
            .await
            .map(drop)
            .map_err(|error| trouble(&self.path, "read", error))
    }
}

/// Removes what an unfinished download to `target` left behind. Nothing there is no failure.
///
/// # Errors
/// [`State`](audiorag_core::ErrorKind::State) when a file cannot be removed.
pub fn discard_partial(target: &Path) -> Result<()> {
    remove(&beside(target, ".part.json")?)?;
    remove(&beside(target, ".part")?)
}

/// The path with `ending` after its name.
fn beside(target: &Path, ending: &str) -> Result<PathBuf> {
    let mut name = target
        .file_name()
        .ok_or_else(|| Error::internal("a download has no file name to go to"))?
        .to_owned();
    name.push(ending);
    Ok(target.with_file_name(name))
}

/// The file at `path`, locked against others.
async fn open_locked(path: &Path) -> Result<fs::File> {
    let mut patience = PATIENCE;
    loop {
        let file = private()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(|error| trouble(path, "write", error))?;
        match file.try_lock() {
            Ok(()) => {}
            // A download that was just stopped holds its lock until its last write has ended.
            Err(TryLockError::WouldBlock) if patience > 0 => {
                patience -= 1;
                tokio::time::sleep(BETWEEN_LOOKS).await;
                continue;
            }
            Err(TryLockError::WouldBlock) => {
                return Err(Error::unavailable("somebody else is downloading this now")
                    .with_context("file", path.display())
                    .with_hint("wait until that is done, then try again"));
            }
            // Not every network file system has locks. Without one, the claim on the source still keeps others away.
            Err(TryLockError::Error(error)) => {
                tracing::debug!(path = %path.display(), %error, "the file cannot be locked");
            }
        }
        // Between opening and locking, the owner before may have finished: then this is no longer the partial file.
        if is_at(&file, path) {
            return Ok(file);
        }
    }
}

#[cfg(unix)]
fn is_at(file: &fs::File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    let identity = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
    match (file.metadata(), fs::symlink_metadata(path)) {
        (Ok(open), Ok(named)) => identity(open) == identity(named),
        // A file that cannot be asked is not opened again for ever.
        (Err(_), _) => true,
        (_, Err(_)) => false,
    }
}

#[cfg(not(unix))]
fn is_at(_file: &fs::File, path: &Path) -> bool {
    // Open files keep their names here.
    path.exists()
}

fn private() -> OpenOptions {
    #[cfg_attr(not(unix), expect(unused_mut, reason = "modes are a Unix matter"))]
    let mut options = OpenOptions::new();
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        // A link that somebody put in the place of the file is not followed.
        options.mode(0o600).custom_flags(libc::O_NOFOLLOW);
    }
    options
}

fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    use io::Write as _;
    let mut file = private().write(true).create(true).truncate(true).open(path)?;
    file.write_all(bytes)
}

fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(trouble(path, "remove", error)),
        _ => Ok(()),
    }
}

/// A failure of the file system, with the path and what helps.
pub(crate) fn trouble(path: &Path, what: &str, error: io::Error) -> Error {
    let (message, hint) = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => (
            format!("no space left to {what} {}", path.display()),
            "free space on this disk, or choose another folder for downloads",
        ),
        io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied => (
            format!("{} must not be changed", path.display()),
            "choose a folder for downloads that can be written to",
        ),
        io::ErrorKind::FileTooLarge => (
            format!("{} may not grow any further", path.display()),
            "raise the limit on file sizes (ulimit -f), or choose another file system",
        ),
        _ => (
            format!("cannot {what} {}", path.display()),
            "check the folder for downloads and its disk",
        ),
    };
    Error::state(message).with_hint(hint).with_cause(error)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use audiorag_core::ErrorKind;

    /// Table: downloads | disk full, no folder, a link in the place of the file | named, with what helps
    #[tokio::test]
    async fn a_full_disk_is_named_with_what_helps() {
        let file = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ours.part");
        let mut partial = Partial {
            file: File::from_std(file),
            path: path.clone(),
            note_path: folder.path().join("ours.part.json"),
            target: folder.path().join("ours"),
            note: None,
            length: 0,
        };
        let outcome = match partial.append(b"bytes").await {
            Ok(()) => partial.settle().await,
            Err(error) => Err(error),
        };
        let error = outcome.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::State);
        assert_eq!(
            error.message(),
            format!("no space left to write {}", path.display())
        );
        assert!(error.hint().unwrap().contains("free space"));
    }
}
