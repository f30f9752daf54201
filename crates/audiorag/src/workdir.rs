//! Temporary files of a run.

use audiorag_core::{Error, Result};
use std::path::{Path, PathBuf};

/// A directory of our own below the configured work directory, removed with everything in it when the guard is
/// dropped: on success, on an error, on a panic and on cancellation alike.
///
/// The configured directory itself is created and kept. Removal happens on the runtime's blocking threads where
/// there is a runtime, so that dropping the guard never blocks it; the outcome is logged either way.
#[derive(Debug)]
pub struct WorkDir {
    directory: Option<tempfile::TempDir>,
}

impl WorkDir {
    /// Makes a fresh directory, readable by its owner alone, below `parent`.
    ///
    /// # Errors
    /// [`State`](audiorag_core::ErrorKind::State) when the directory cannot be made.
    pub fn create(parent: &Path) -> Result<Self> {
        let failed = |error: std::io::Error| {
            Error::state(format!(
                "cannot create a work directory in '{}'",
                parent.display()
            ))
            .with_hint("free some space, or set AUDIORAG_WORK_DIR to a directory you may write to")
            .with_cause(error)
        };
        std::fs::create_dir_all(parent).map_err(failed)?;
        // tempfile gives directories mode 0700 on Unix.
        let directory = tempfile::Builder::new()
            .prefix("run-")
            .tempdir_in(parent)
            .map_err(failed)?;
        Ok(Self {
            directory: Some(directory),
        })
    }

    /// Where it is.
    pub fn path(&self) -> PathBuf {
        self.directory
            .as_ref()
            .map(|directory| directory.path().to_owned())
            .unwrap_or_default()
    }
}

impl Drop for WorkDir {
    fn drop(&mut self) {
        let Some(directory) = self.directory.take() else {
            return;
        };
        let remove = move || {
            let path = directory.path().to_owned();
            match directory.close() {
                Ok(()) => tracing::debug!(path = %path.display(), "work directory removed"),
                Err(error) => {
                    tracing::warn!(path = %path.display(), %error, "work directory could not be removed");
                }
            }
        };
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(remove)),
            Err(_) => remove(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A runtime waits for its blocking threads when it is dropped, so that what the guard left to them is done.
    fn in_runtime<T>(work: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap()
            .block_on(work)
    }

    #[test]
    fn nothing_is_left_after_success_error_and_cancellation() {
        let parent = tempfile::tempdir().unwrap();
        let configured = parent.path().join("work");
        in_runtime(async {
            let work = WorkDir::create(&configured).unwrap();
            std::fs::write(work.path().join("part.wav"), b"x").unwrap();
            let failed: Result<()> = async {
                let work = WorkDir::create(&configured)?;
                std::fs::write(work.path().join("part.wav"), b"x").unwrap();
                Err(Error::input("bad audio"))
            }
            .await;
            assert!(failed.is_err());
            let endless = async {
                let _work = WorkDir::create(&configured).unwrap();
                std::future::pending::<()>().await;
            };
            tokio::select! { () = endless => {}, () = tokio::task::yield_now() => {} }
        });
        assert_eq!(
            std::fs::read_dir(&configured).unwrap().count(),
            0,
            "the configured directory is kept, empty"
        );
    }

    #[test]
    fn nothing_is_left_after_a_panic() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().to_owned();
        let outcome = std::panic::catch_unwind(|| {
            let work = WorkDir::create(&path).unwrap();
            std::fs::write(work.path().join("x"), b"x").unwrap();
            panic!("in the middle");
        });
        assert!(outcome.is_err());
        assert_eq!(std::fs::read_dir(parent.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_directory_that_cannot_be_made_says_which_setting_to_change() {
        let parent = tempfile::tempdir().unwrap();
        let file = parent.path().join("file");
        std::fs::write(&file, b"").unwrap();
        let error = WorkDir::create(&file.join("below")).unwrap_err();
        assert!(error.hint().unwrap().contains("AUDIORAG_WORK_DIR"));
    }
}
