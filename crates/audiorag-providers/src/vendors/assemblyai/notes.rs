//! A note that a paid job is under way, for the next run.

use audiorag_core::{Error, Result};
use bytes::Bytes;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::fs::{DirBuilder, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// The place of a note: named after what was asked for, so that the same question finds it again.
pub(super) struct Note {
    path: PathBuf,
}

impl Note {
    /// The note about a job of `vendor` that is made from `key`, and from nothing else.
    pub(super) async fn of(folder: &Path, vendor: &str, key: Vec<Bytes>) -> Result<Self> {
        let digest = tokio::task::spawn_blocking(move || {
            let mut hash = Sha256::new();
            for piece in key {
                // Lengths keep pieces apart.
                hash.update((piece.len() as u64).to_le_bytes());
                hash.update(piece);
            }
            format!("{:x}", hash.finalize())
        })
        .await
        .map_err(|error| Error::internal("the audio could not be hashed").with_cause(error))?;
        Ok(Self {
            path: folder.join(format!("{vendor}-{digest}.json")),
        })
    }

    /// The job that the note names. A note that makes no sense is as good as none.
    pub(super) fn read(&self) -> Option<String> {
        let text = std::fs::read(&self.path).ok()?;
        let note: Value = serde_json::from_slice(&text).ok()?;
        let id = note.get("transcript")?.as_str()?;
        let sound = !id.is_empty()
            && id
                .chars()
                .all(|letter| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_'));
        sound.then(|| id.to_owned())
    }

    /// Writes the job down: whole or not at all, and readable by its owner only.
    ///
    /// It blocks on purpose, for less than it takes to be cancelled. Without a note the job still ends well, unless
    /// this run does not: a failure is a warning.
    pub(super) fn write(&self, id: &str) {
        if let Err(error) = self.try_write(id) {
            tracing::warn!(
                path = %self.path.display(),
                job = id,
                error = %error,
                "a paid job could not be written down; if this run ends before it, it is paid again"
            );
        }
    }

    fn try_write(&self, id: &str) -> std::io::Result<()> {
        if let Some(folder) = self.path.parent() {
            private_folder().create(folder)?;
        }
        let temporary = self
            .path
            .with_extension(format!("{:016x}.tmp", fastrand::u64(..)));
        let written = (|| {
            let mut file = private_file().open(&temporary)?;
            file.write_all(json!({ "transcript": id }).to_string().as_bytes())?;
            file.sync_all()?;
            std::fs::rename(&temporary, &self.path)
        })();
        if written.is_err() {
            let _ = std::fs::remove_file(&temporary);
        }
        written
    }

    /// Forgets the job. What is gone already stays gone.
    pub(super) fn remove(&self) {
        match std::fs::remove_file(&self.path) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => {
                tracing::warn!(path = %self.path.display(), error = %error, "a note could not be removed");
            }
        }
    }
}

fn private_folder() -> DirBuilder {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder
}

fn private_file() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_note_is_found_by_the_same_question_only() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("notes");
        let note = async |pieces: &[&'static str]| {
            let key = pieces
                .iter()
                .map(|piece| Bytes::from_static(piece.as_bytes()))
                .collect();
            Note::of(&folder, "x", key).await.unwrap()
        };
        let first = note(&["ab", "c"]).await;
        assert_eq!(first.read(), None);
        first.write("job-1");
        first.write("job-2");
        assert_eq!(note(&["ab", "c"]).await.read().as_deref(), Some("job-2"));
        assert_eq!(note(&["a", "bc"]).await.read(), None);
        assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 1);
        first.remove();
        first.remove();
        assert_eq!(first.read(), None);
        for nonsense in ["", "{", r#"{"transcript": "../../x"}"#, r#"{"transcript": ""}"#] {
            std::fs::write(&first.path, nonsense).unwrap();
            assert_eq!(first.read(), None, "{nonsense}");
        }
    }

    #[tokio::test]
    async fn a_note_that_cannot_be_written_is_no_failure() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, "").unwrap();
        let note = Note::of(&file, "x", Vec::new()).await.unwrap();
        note.write("job");
        assert_eq!(note.read(), None);
        note.remove();
    }
}
