//! The one place where errors of the database driver become errors of AudioRAG.
//!
//! `DbErr` stays inside the crate: its text may hold a connection string with a password, and its variants say
//! nothing about what the user can do.

use audiorag_core::{Error, ErrorKind};
use sea_orm::sqlx;
use sea_orm::{ConnAcquireErr, DbErr, RuntimeErr};
use std::path::Path;

/// What can go wrong inside a verb, before it is explained to the caller.
#[derive(Debug)]
pub(crate) enum Fault {
    /// The database refused or could not be reached.
    Database(DbErr),
    /// Already in the caller's words.
    Explained(Error),
}

/// The result of the steps of a verb.
pub(crate) type Attempt<T> = Result<T, Fault>;

impl From<DbErr> for Fault {
    fn from(error: DbErr) -> Self {
        Self::Database(error)
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Explained(error)
    }
}

impl Fault {
    /// The error to show for a failed attempt to `action` (as in "cannot `action`") on the database at `path`.
    pub(crate) fn explain(self, action: &str, path: &Path) -> Error {
        match self {
            Self::Explained(error) => error,
            Self::Database(error) => explain(&error, action, path),
        }
    }

    /// Whether another connection holds the lock, so that trying again can help.
    pub(crate) fn is_busy(&self) -> bool {
        matches!(self, Self::Database(error) if matches!(result_code(error).map(|code| code & 0xff), Some(5 | 6)))
    }

    /// Whether the file could not be opened at all.
    pub(crate) fn is_cannot_open(&self) -> bool {
        matches!(self, Self::Database(error) if matches!(result_code(error).map(|code| code & 0xff), Some(8 | 14)))
    }

    /// Whether the disk is full.
    pub(crate) fn is_full(&self) -> bool {
        matches!(self, Self::Database(error) if result_code(error).map(|code| code & 0xff) == Some(13))
    }

    /// Whether a virtual table, such as the lexical index, contradicts itself or its content.
    pub(crate) fn is_damaged_index(&self) -> bool {
        // SQLITE_CORRUPT_VTAB.
        matches!(self, Self::Database(error) if result_code(error) == Some(267))
    }

    /// Whether a row with this key is there already.
    pub(crate) fn is_duplicate(&self) -> bool {
        // SQLITE_CONSTRAINT_PRIMARYKEY and SQLITE_CONSTRAINT_UNIQUE.
        matches!(self, Self::Database(error) if matches!(result_code(error), Some(1555 | 2067)))
    }
}

/// The driver's error inside `error`.
fn driver(error: &DbErr) -> Option<&sqlx::Error> {
    match error {
        DbErr::Conn(RuntimeErr::SqlxError(error))
        | DbErr::Exec(RuntimeErr::SqlxError(error))
        | DbErr::Query(RuntimeErr::SqlxError(error)) => Some(error),
        _ => None,
    }
}

/// The extended result code of SQLite (<https://www.sqlite.org/rescode.html>).
fn result_code(error: &DbErr) -> Option<i32> {
    match driver(error)? {
        sqlx::Error::Database(error) => error.code()?.parse().ok(),
        _ => None,
    }
}

/// SQLite's own words, which name tables and conditions but never bound values.
fn detail(error: &DbErr) -> String {
    match driver(error) {
        Some(sqlx::Error::Database(error)) => error.message().to_owned(),
        Some(sqlx::Error::Io(error)) => error.to_string(),
        Some(sqlx::Error::PoolClosed) => "the state is closed".to_owned(),
        Some(sqlx::Error::WorkerCrashed) => "the connection's thread stopped".to_owned(),
        Some(sqlx::Error::ColumnDecode { index, .. }) => format!("column {index} holds an unexpected value"),
        _ => "the database layer failed".to_owned(),
    }
}

fn explain(error: &DbErr, action: &str, path: &Path) -> Error {
    let place = path.display();
    if let DbErr::ConnectionAcquire(ConnAcquireErr::Timeout) = error {
        return Error::state(format!("cannot {action}: no connection to {place} became free"))
            .with_hint("another operation of this process holds the database; try again when it is done");
    }
    let Some(code) = result_code(error) else {
        return Error::state(format!("cannot {action} in {place}: {}", detail(error)));
    };
    match code & 0xff {
        5 | 6 => Error::state(format!(
            "cannot {action}: {place}: database is locked by another process{}",
            holder(path).map_or_else(String::new, |holder| format!(", {holder}"))
        ))
        .with_hint("wait for the other process to finish, or stop it"),
        13 => Error::state(format!("cannot {action}: no space left for {place}")).with_hint(
            "free some space on that disk, then run the command again: nothing that was stored is lost",
        ),
        8 => Error::state(format!("cannot {action}: {place} is read-only"))
            .with_hint("make the file and its directory writable, or choose another database"),
        14 => Error::state(format!("cannot {action}: cannot open {place}"))
            .with_hint("check that its directory exists and that you may write there"),
        11 | 26 => Error::state(format!(
            "cannot {action}: {place} is damaged or not a database: {}",
            detail(error)
        ))
        .with_hint("restore a copy (such as a .backup- file beside it), or move it away to start afresh"),
        10 => Error::state(format!(
            "cannot {action}: reading or writing {place} failed: {}",
            detail(error)
        ))
        .with_hint("check the disk"),
        3 | 23 => Error::state(format!("cannot {action}: access to {place} was denied"))
            .with_hint("check the permissions of the file and its directory"),
        19 => Error::new(ErrorKind::Internal, format!("cannot {action}: {}", detail(error))),
        _ => Error::state(format!("cannot {action} in {place}: {}", detail(error))),
    }
    .with_context("code", code)
}

/// The byte of the index of the journal that whoever writes has locked
/// (<https://www.sqlite.org/walformat.html#locks>).
const WRITER: u64 = 120;

/// Who has the database locked, where the system tells: Linux, in `/proc/locks` (proc_locks(5)), of the processes that
/// can be seen from here.
fn holder(path: &Path) -> Option<String> {
    let locks = std::fs::read_to_string("/proc/locks").ok()?;
    let index = inode(&crate::db::beside(path, "-shm"))?;
    let pid = locks.lines().find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [_, "POSIX", _, "WRITE", pid, file, first, last] = fields[..] else {
            return None;
        };
        let number: u64 = file.rsplit(':').next()?.parse().ok()?;
        let first: u64 = first.parse().ok()?;
        let covers = first <= WRITER && last.parse().map_or(last == "EOF", |last: u64| WRITER <= last);
        (number == index && covers)
            .then(|| pid.parse::<u32>().ok())
            .flatten()
    })?;
    if pid == 0 || pid == std::process::id() {
        return None;
    }
    Some(match std::fs::read_to_string(format!("/proc/{pid}/comm")) {
        Ok(name) => format!("pid {pid} ({})", name.trim()),
        Err(_) => format!("pid {pid}"),
    })
}

#[cfg(unix)]
fn inode(path: &Path) -> Option<u64> {
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata(path).ok().map(|file| file.ino())
}

#[cfg(not(unix))]
fn inode(_: &Path) -> Option<u64> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{NewSource, State, StateOptions};
    use audiorag_core::Locator;
    use sea_orm::ConnectionTrait as _;

    fn new_source(number: usize) -> NewSource {
        let name = format!("/a/{number}-{}.mp3", "x".repeat(200));
        NewSource {
            locator: Locator::File(name.into()),
            fingerprint: None,
            media: None,
            title: None,
        }
    }

    #[tokio::test]
    async fn a_full_disk_is_reported_as_such_and_loses_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state.db");
        let state = State::open(StateOptions::new(&path)).await.unwrap();
        state.add_source(&new_source(0)).await.unwrap();
        // Down to the present size.
        state
            .db
            .writer()
            .unwrap()
            .execute_unprepared("PRAGMA max_page_count = 1")
            .await
            .unwrap();
        let mut stored = 1;
        let error = loop {
            match state.add_source(&new_source(stored)).await {
                Ok(_) => stored += 1,
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), ErrorKind::State);
        assert!(
            error.message().contains("no space left") && error.message().contains("state.db"),
            "{error}"
        );
        assert!(error.hint().unwrap().contains("free some space"));
        assert_eq!(state.list_sources().await.unwrap().len(), stored);
        let limit = "PRAGMA max_page_count = 100000";
        state
            .db
            .writer()
            .unwrap()
            .execute_unprepared(limit)
            .await
            .unwrap();
        state.add_source(&new_source(stored)).await.unwrap();
    }

    /// On a full disk, and after other failures, SQLite rolls back without being asked, and the driver goes on
    /// counting the transaction as open. The next ones would be savepoints of it, and never be committed.
    #[tokio::test]
    async fn a_transaction_that_the_database_ended_takes_no_later_one_with_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state.db");
        let state = State::open(StateOptions::new(&path)).await.unwrap();
        let impatient = StateOptions {
            busy_timeout: std::time::Duration::from_millis(20),
            ..StateOptions::new(&path)
        };
        let other = State::open(impatient).await.unwrap();
        for round in 0..3 {
            let tx = state.db.begin().await.unwrap();
            tx.execute_unprepared("ROLLBACK").await.unwrap();
            drop(tx);
            let tx = state.db.begin().await.unwrap();
            tx.execute_unprepared("DELETE FROM source").await.unwrap();
            drop(tx);
            state.add_source(&new_source(round)).await.unwrap();
            assert_eq!(other.list_sources().await.unwrap().len(), round + 1);
            // Whoever begins holds the lock from the start, as always.
            let tx = state.db.begin().await.unwrap();
            let error = other.add_source(&new_source(99)).await.unwrap_err();
            assert!(error.message().contains("database is locked"), "{error}");
            drop(tx);
        }
    }

    #[tokio::test]
    async fn a_database_that_breaks_while_it_is_open_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state.db");
        let state = State::open(StateOptions::new(&path)).await.unwrap();
        state
            .db
            .writer()
            .unwrap()
            .execute_unprepared("DROP TABLE retirement")
            .await
            .unwrap();
        let error = state.pending_retirements().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::State);
        assert!(
            error.message().starts_with("cannot list retired revisions"),
            "{error}"
        );
        state
            .db
            .writer()
            .unwrap()
            .execute_unprepared("UPDATE meta SET value = ''")
            .await
            .unwrap();
        state.clone().close().await;
        assert_eq!(state.list_sources().await.unwrap_err().kind(), ErrorKind::State);
    }

    #[test]
    fn every_code_has_its_words() {
        let path = Path::new("/d/state.db");
        let busy = explain(&DbErr::ConnectionAcquire(ConnAcquireErr::Timeout), "x", path);
        assert!(busy.message().contains("became free"));
        let plain = explain(&DbErr::Custom("sqlite://user:secret@host".into()), "x", path);
        assert!(!plain.report().contains("secret"), "{}", plain.report());
    }
}
