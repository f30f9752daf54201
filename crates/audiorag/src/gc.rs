//! Removing what nobody needs any more: vectors of replaced revisions, unfinished revisions that nobody went on with,
//! transcripts and vectors out of use, work directories of dead processes, and notes of jobs that nobody waits for.

use crate::guard::Guarded;
use crate::index::{blocking, retire_everywhere};
use crate::operation;
use crate::workdir;
use audiorag_core::Result;
use audiorag_core::capability::VectorStore;
use audiorag_state::{Garbage, State};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// Below the work directory, where vendors leave notes of paid jobs (docs/adr/0007-notes-of-remote-jobs.md).
pub(crate) const NOTES: &str = "jobs";

/// What was removed, or would be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GcReport {
    /// Whether nothing was changed.
    pub dry_run: bool,
    /// Unfinished revisions that nobody went on with for the retention. They are among `revisions`, too.
    pub abandoned: u64,
    /// Replaced, deleted and abandoned revisions whose vectors were removed from the vector store.
    pub revisions: u64,
    /// Those whose vectors could not be removed yet; the next run tries again.
    pub revisions_left: u64,
    /// Transcripts and vectors.
    pub cache: Garbage,
    /// Work directories of processes that are gone.
    pub work_dirs: u64,
    /// Bytes in them.
    pub work_dir_bytes: u64,
    /// Notes of jobs at vendors.
    pub notes: u64,
    /// Bytes in them.
    pub note_bytes: u64,
}

/// Removes what nobody needs. Unfinished revisions, transcripts, vectors and notes stay for `retention` after their last use.
pub(crate) async fn run(
    state: &State,
    store: &Guarded<dyn VectorStore>,
    work_dir: &Path,
    retention: Duration,
    dry_run: bool,
) -> Result<GcReport> {
    let now = SystemTime::now();
    let before = now.checked_sub(retention).unwrap_or(SystemTime::UNIX_EPOCH);
    let mut report = GcReport {
        dry_run,
        ..GcReport::default()
    };
    let mut abandoned = Vec::new();
    if dry_run {
        abandoned = state
            .abandoned_revisions(before, &operation::may_be_alive)
            .await?;
        report.abandoned = abandoned.len() as u64;
        report.revisions = report.abandoned + state.pending_retirements().await?.len() as u64;
        report.cache = state.garbage_without(before, &abandoned).await?;
    } else {
        report.abandoned = state.retire_abandoned(before, &operation::may_be_alive).await?;
        let retired = retire_everywhere(state, store, None).await?;
        (report.revisions, report.revisions_left) = (retired.done, retired.left);
        report.cache = state.collect_garbage(before).await?;
    }
    // A note may belong to a source whose transcription was interrupted; which one, nobody can tell.
    let oldest_unfinished = state
        .unfinished_revisions()
        .await?
        .iter()
        .filter(|revision| !abandoned.contains(&revision.id))
        .map(|revision| revision.created_at)
        .min();
    let notes_before = oldest_unfinished.map_or(before, |begun| before.min(begun));
    let directory = work_dir.to_owned();
    let (work_dirs, notes) = blocking(move || {
        let left = workdir::left_behind(&directory, before);
        let notes = old_files(&directory.join(NOTES), notes_before);
        Ok((remove(&left, dry_run), remove(&notes, dry_run)))
    })
    .await?;
    (report.work_dirs, report.work_dir_bytes) = work_dirs;
    (report.notes, report.note_bytes) = notes;
    Ok(report)
}

/// The files directly in `folder` that were last written before `moment`.
fn old_files(folder: &Path, moment: SystemTime) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter(|entry| {
            entry
                .metadata()
                .is_ok_and(|meta| meta.is_file() && meta.modified().is_ok_and(|modified| modified < moment))
        })
        .map(|entry| entry.path())
        .collect()
}

/// Removes files and directories, and says how many and how large they were. What cannot be removed is logged and
/// not counted.
fn remove(paths: &[PathBuf], dry_run: bool) -> (u64, u64) {
    let (mut count, mut bytes) = (0, 0);
    for path in paths {
        let size = size_of(path);
        let removed = match path.is_dir() {
            _ if dry_run => Ok(()),
            true => fs::remove_dir_all(path),
            false => fs::remove_file(path),
        };
        match removed {
            Ok(()) => {
                count += 1;
                bytes += size;
            }
            Err(error) => tracing::warn!(path = %path.display(), %error, "could not be removed"),
        }
    }
    (count, bytes)
}

/// Bytes of a file, or of all files below a directory. Links are not followed.
fn size_of(path: &Path) -> u64 {
    let Ok(meta) = fs::symlink_metadata(path) else {
        return 0;
    };
    if !meta.is_dir() {
        return meta.len();
    }
    fs::read_dir(path).map_or(0, |entries| {
        entries.flatten().map(|entry| size_of(&entry.path())).sum()
    })
}
