//! Temporary files of a run.

use crate::operation;
use audiorag_core::id::KeyHasher;
use audiorag_core::{Error, Result};
use audiorag_state::Owner;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

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
        let prefix = prefix();
        let mut builder = tempfile::Builder::new();
        builder.prefix(&prefix);
        // Otherwise the process's umask decides, and it mostly lets everybody read.
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o700));
        let directory = builder.tempdir_in(parent).map_err(failed)?;
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

/// `run-`, this machine, this process and when it began: enough to tell later whether its owner is gone.
fn prefix() -> String {
    let me = operation::this_process();
    format!("run-{}-{}-{}-", machine(&me.host), me.pid, me.started_at)
}

/// A host's name in few letters that fit into any file name.
fn machine(host: &str) -> String {
    let mut name = KeyHasher::new("host/1").text(host).finish();
    name.truncate(8);
    name
}

/// The work directories in `parent` that nobody will remove: those of dead processes of this machine, and, since
/// nothing is known of processes elsewhere, those that were last written before `moment`.
pub(crate) fn left_behind(parent: &Path, moment: SystemTime) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(parent) else {
        return Vec::new();
    };
    let host = operation::this_process().host;
    entries
        .flatten()
        .filter(|entry| {
            let name = entry.file_name();
            let Some(rest) = name.to_str().and_then(|name| name.strip_prefix("run-")) else {
                return false;
            };
            if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                return false;
            }
            match owner(rest, &host) {
                Some(owner) => !operation::may_be_alive(&owner),
                None => entry
                    .metadata()
                    .is_ok_and(|meta| meta.modified().is_ok_and(|modified| modified < moment)),
            }
        })
        .map(|entry| entry.path())
        .collect()
}

/// The process of this machine that a directory's name tells of.
fn owner(rest: &str, host: &str) -> Option<Owner> {
    let mut fields = rest.split('-');
    if fields.next()? != machine(host) {
        return None;
    }
    Some(Owner {
        host: host.to_owned(),
        pid: fields.next()?.parse().ok()?,
        started_at: fields.next()?.parse().ok()?,
    })
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
            #[cfg(unix)]
            {
                let mode = std::fs::metadata(work.path()).unwrap().permissions();
                assert_eq!(std::os::unix::fs::PermissionsExt::mode(&mode) & 0o777, 0o700);
            }
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
    fn directories_of_dead_processes_are_found_and_no_others() {
        let parent = tempfile::tempdir().unwrap();
        let living = WorkDir::create(parent.path()).unwrap();
        let mut child = std::process::Command::new("true").spawn().unwrap();
        child.wait().unwrap();
        let here = machine(&operation::this_process().host);
        let dead = parent.path().join(format!("run-{here}-{}-1-x", child.id()));
        let elsewhere = parent.path().join(format!("run-00000000-{}-1-x", child.id()));
        let foreign = parent.path().join("jobs");
        for folder in [&dead, &elsewhere, &foreign] {
            std::fs::create_dir(folder).unwrap();
        }
        assert_eq!(
            left_behind(parent.path(), SystemTime::UNIX_EPOCH),
            std::slice::from_ref(&dead)
        );
        let later = SystemTime::now() + std::time::Duration::from_mins(1);
        let mut old = left_behind(parent.path(), later);
        old.sort();
        let mut expected = vec![dead, elsewhere];
        expected.sort();
        assert_eq!(old, expected);
        assert!(living.path().is_dir());
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
