//! Opening recordings: regular files only, without ever waiting for a writer.

use crate::Limits;
use audiorag_core::id::ContentHash;
use audiorag_core::model::Fingerprint;
use audiorag_core::{Error, Result, Stage};
use sha2::{Digest, Sha256};
use std::fs::{File, FileType, Metadata};
use std::io::{self, Read};
use std::path::Path;
use std::time::UNIX_EPOCH;

/// A regular file, open for reading, with its size within the limits.
#[derive(Debug)]
pub(crate) struct OpenFile {
    pub(crate) file: File,
    pub(crate) metadata: Metadata,
    pub(crate) name: FileName,
}

/// How a file is called in messages.
#[derive(Clone, Debug)]
pub(crate) struct FileName {
    short: String,
    full: String,
    stage: Stage,
}

impl FileName {
    pub(crate) fn new(path: &Path, stage: Stage) -> Self {
        let full = escape(&path.to_string_lossy());
        let short = path
            .file_name()
            .map_or_else(|| full.clone(), |name| escape(&name.to_string_lossy()));
        Self { short, full, stage }
    }

    /// An error about this file; `reason` continues the sentence that starts with its name.
    pub(crate) fn error(&self, make: fn(String) -> Error, reason: impl std::fmt::Display) -> Error {
        make(format!("{} {reason}", self.short))
            .with_source(self.full.clone())
            .with_stage(self.stage)
    }

    pub(crate) fn input(&self, reason: impl std::fmt::Display) -> Error {
        self.error(Error::input, reason)
    }

    /// An error of the operating system, with the remedy where there is an obvious one.
    pub(crate) fn io(&self, doing: &str, cause: io::Error) -> Error {
        let error = match cause.kind() {
            io::ErrorKind::NotFound => self
                .error(Error::not_found, "does not exist")
                .with_hint("check the path"),
            io::ErrorKind::PermissionDenied => self
                .input("may not be read: permission denied")
                .with_hint("give yourself read permission, for example with chmod u+r"),
            _ => self
                .input(format_args!("could not be {doing}: {cause}"))
                .with_hint("check the path and the disk it is on"),
        };
        error.with_cause(cause)
    }
}

/// Control characters made visible, so that a name stays on one line and cannot drive a terminal.
fn escape(text: &str) -> String {
    text.chars()
        .flat_map(|c| {
            let escaped = c.is_control().then(|| c.escape_default());
            let plain = escaped.is_none().then_some(c);
            escaped.into_iter().flatten().chain(plain)
        })
        .collect()
}

/// Opens a recording, following links.
///
/// The kind is checked before opening, because opening a device may already have an effect, and again on the
/// open file, because the path may have been swapped in between.
pub(crate) fn open(path: &Path, limits: &Limits, stage: Stage) -> Result<OpenFile> {
    let name = FileName::new(path, stage);
    let before = std::fs::metadata(path).map_err(|cause| name.io("opened", cause))?;
    check_regular(before.file_type(), &name)?;
    let mut options = File::options();
    options.read(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        // Has no effect on regular files and keeps the open of a fifo from waiting for a writer.
        options.custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC);
    }
    let file = options.open(path).map_err(|cause| name.io("opened", cause))?;
    let metadata = file.metadata().map_err(|cause| name.io("opened", cause))?;
    check_regular(metadata.file_type(), &name)?;
    if metadata.len() == 0 {
        return Err(name
            .input("is an empty file")
            .with_hint("record or copy it again"));
    }
    if metadata.len() > limits.max_bytes {
        return Err(name
            .input(format_args!(
                "is too large: {} bytes, at most {} are allowed",
                metadata.len(),
                limits.max_bytes
            ))
            .with_hint("cut it into pieces, or compress it"));
    }
    Ok(OpenFile { file, metadata, name })
}

fn check_regular(kind: FileType, name: &FileName) -> Result<()> {
    if kind.is_file() {
        return Ok(());
    }
    let what = if kind.is_dir() {
        "is a directory, not a recording"
    } else {
        "is not a regular file (a pipe, socket or device)"
    };
    Err(name
        .input(what)
        .with_hint("give the path of an audio or video file"))
}

/// Hashes a file. Memory does not depend on its size.
///
/// # Errors
/// [`NotFound`](audiorag_core::ErrorKind::NotFound) for a missing path; [`Input`](audiorag_core::ErrorKind::Input)
/// for anything but a readable, non-empty regular file of at most [`Limits::max_bytes`], and for a file that
/// changed while it was read.
pub fn fingerprint(path: &Path) -> Result<Fingerprint> {
    let OpenFile {
        mut file,
        metadata,
        name,
    } = open(path, &Limits::default(), Stage::Probe)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 256 << 10];
    let mut bytes = 0_u64;
    loop {
        let count = match file.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => count,
            Err(cause) if cause.kind() == io::ErrorKind::Interrupted => continue,
            Err(cause) => return Err(name.io("read", cause)),
        };
        hasher.update(buffer.get(..count).unwrap_or_default());
        bytes += count as u64;
    }
    let after = file.metadata().map_err(|cause| name.io("read", cause))?;
    if bytes != metadata.len() || modified(&after) != modified(&metadata) {
        return Err(changed(&name));
    }
    Ok(Fingerprint {
        content: ContentHash::of_digest(hasher.finalize().into()),
        bytes,
        modified: modified(&metadata),
    })
}

/// Checks by size and modification time that a file is still the one that was fingerprinted, so that what is decoded
/// from it belongs to the bytes it is stored under.
///
/// # Errors
/// [`Input`](audiorag_core::ErrorKind::Input) when it changed, and as for [`fingerprint`] when it cannot be opened.
pub fn check_unchanged(path: &Path, before: &Fingerprint) -> Result<()> {
    let OpenFile { metadata, name, .. } = open(path, &Limits::default(), Stage::Split)?;
    if metadata.len() == before.bytes && modified(&metadata) == before.modified {
        return Ok(());
    }
    Err(changed(&name))
}

fn changed(name: &FileName) -> Error {
    name.input("changed while it was read")
        .with_hint("wait until it is written completely, then run the command again")
}

/// Modification time in nanoseconds since 1970, negative before.
fn modified(metadata: &Metadata) -> Option<i64> {
    let time = metadata.modified().ok()?;
    match time.duration_since(UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_nanos()).ok(),
        Err(before) => i64::try_from(before.duration().as_nanos())
            .ok()
            .map(|nanos| -nanos),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_on_one_line() {
        assert_eq!(escape("a\n\u{1b}[31mé"), "a\\n\\u{1b}[31mé");
    }
}
