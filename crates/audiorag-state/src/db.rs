//! Connections: one that writes, a few that read.
//!
//! SQLite lets one connection write at a time. A transaction that reads first and writes later fails at once
//! when another one wrote in between, whatever the busy timeout; so every writing transaction takes the write
//! lock when it begins (`BEGIN IMMEDIATE`), and the process has one writing connection that its tasks queue for.

use crate::failpoint::{self, Step};
use crate::fault::{Attempt, Fault};
use crate::migration;
use audiorag_core::{Error, Result};
use sea_orm::sqlx::Connection as _;
use sea_orm::sqlx::sqlite::{SqliteAutoVacuum, SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sea_orm::{
    ConnectOptions, Database, DatabaseConnection, DatabaseTransaction, DbBackend, SqliteTransactionMode,
    Statement, TransactionOptions, TransactionTrait, Value,
};
use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

/// How long a statement waits for another process's lock.
const BUSY_TIMEOUT: Duration = Duration::from_secs(15);
/// Reading connections of a process.
const READERS: u32 = 4;
/// A vector of 384 floats fills a third of a default page badly; five of them fill this one well.
const PAGE_SIZE: u32 = 8192;
/// The journal is cut back to this many bytes after a checkpoint.
const JOURNAL_LIMIT: &str = "67108864";
/// Page cache of a connection that reads, in KiB (negative means KiB to SQLite).
const CACHE_SIZE: &str = "-16384";
/// That of the connection that writes: what it wrote is seldom read again by it, and would be kept until the cache is
/// full.
const WRITING_CACHE_SIZE: &str = "-4096";

/// How to open the state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateOptions {
    /// The database file. Its directory is created where missing.
    pub path: PathBuf,
    /// How long to wait for another process's lock.
    pub busy_timeout: Duration,
    /// Open an existing database without ever writing, even where the directory is writable.
    pub read_only: bool,
}

impl StateOptions {
    /// The defaults for the database at `path`.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            busy_timeout: BUSY_TIMEOUT,
            read_only: false,
        }
    }
}

/// The connections of a process to one database file.
pub(crate) struct Db {
    /// Absent when read-only.
    writer: Option<DatabaseConnection>,
    reader: DatabaseConnection,
    path: PathBuf,
}

impl Db {
    pub(crate) async fn open(options: StateOptions) -> Result<Self> {
        if options.read_only {
            return Self::open_read_only(options).await;
        }
        create_file(&options.path)?;
        let writer = connect_writer(&options).await?;
        if let Err(error) = migration::bring_up_to_date(&writer, &options.path).await {
            let _ = writer.close().await;
            return Err(error);
        }
        let reader = connect(&options, READERS, |options| options.read_only(true))
            .await
            .map_err(|fault| fault.explain("open the state", &options.path))?;
        Ok(Self {
            writer: Some(writer),
            reader,
            path: options.path,
        })
    }

    /// Opens an existing database for reading.
    async fn open_read_only(options: StateOptions) -> Result<Self> {
        let path = options.path.clone();
        if !path.is_file() {
            return Err(
                Error::state(format!("there is no database at {}", path.display()))
                    .with_hint("index something first, or name the right database"),
            );
        }
        let reader = connect_for_reading(&options)
            .await
            .map_err(|fault| fault.explain("open the state for reading", &path))?;
        let status = migration::check(&reader, &path).await?;
        if !status.pending.is_empty() {
            let _ = reader.close().await;
            return Err(Error::state(format!(
                "the database at {} has an older schema and cannot be updated while it is read-only",
                path.display()
            ))
            .with_hint("run 'audiorag db migrate' where the directory is writable"));
        }
        Ok(Self {
            writer: None,
            reader,
            path,
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn is_read_only(&self) -> bool {
        self.writer.is_none()
    }

    /// The pool that reads.
    pub(crate) fn reader(&self) -> &DatabaseConnection {
        &self.reader
    }

    /// The connection that writes, for single statements outside a transaction.
    pub(crate) fn writer(&self) -> Attempt<&DatabaseConnection> {
        self.writer.as_ref().ok_or_else(|| {
            Fault::Explained(
                Error::state(format!("{} was opened for reading only", self.path.display()))
                    .with_hint("make the file and its directory writable, or choose another database"),
            )
        })
    }

    /// Begins a transaction that may write. Dropping it without a commit rolls it back.
    pub(crate) async fn begin(&self) -> Attempt<DatabaseTransaction> {
        begin_immediate(self.writer()?).await
    }

    /// Runs a verb and puts its failure into the caller's words: "cannot `action`".
    pub(crate) async fn explain<T>(&self, action: &str, verb: impl Future<Output = Attempt<T>>) -> Result<T> {
        verb.await.map_err(|fault| fault.explain(action, &self.path))
    }

    pub(crate) async fn close(&self) {
        // Readers first: the last connection that may write folds the journal into the file.
        let _ = self.reader.close_by_ref().await;
        if let Some(writer) = &self.writer {
            let _ = writer.close_by_ref().await;
        }
    }
}

/// Begins a transaction that holds the write lock from its start.
pub(crate) async fn begin_immediate(connection: &DatabaseConnection) -> Attempt<DatabaseTransaction> {
    Ok(connection
        .begin_with_options(TransactionOptions {
            sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate),
            ..TransactionOptions::default()
        })
        .await?)
}

/// Commits the transaction of a step.
pub(crate) async fn commit(tx: DatabaseTransaction, step: Step) -> Attempt<()> {
    failpoint::before(step)?;
    tx.commit().await?;
    failpoint::after(step)?;
    Ok(())
}

/// A statement with bound values, `$1` being the first.
pub(crate) fn sql(text: &str, values: impl IntoIterator<Item = Value>) -> Statement {
    Statement::from_sql_and_values(DbBackend::Sqlite, text, values)
}

/// `?, ?, …` for `count` values. A statement that has these has no `$1`: numbers are counted apart. Many values must
/// not have numbers, which SQLite and the driver look up one behind the other for each.
pub(crate) fn placeholders(count: usize) -> String {
    vec!["?"; count].join(", ")
}

/// A row of values so many times, to write them with one statement: each statement is a message to the thread that has
/// the connection, which takes longer than most rows do.
pub(crate) fn repeated(row: &str, rows: usize) -> String {
    vec![row; rows].join(", ")
}

/// Milliseconds since 1970.
pub(crate) fn now() -> i64 {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |elapsed| elapsed.as_millis() as i64)
}

/// Opens the writing connection. Two processes that create a database at once collide in the switch to
/// write-ahead logging, for which SQLite does not wait by itself.
pub(crate) async fn connect_writer(options: &StateOptions) -> Result<DatabaseConnection> {
    let started = Instant::now();
    // Setting what an existing file has anyway would write to it: wait for others, and fail on a full disk.
    let fresh = std::fs::metadata(&options.path).is_ok_and(|file| file.len() == 0);
    loop {
        let attempt = connect(options, 1, move |options| {
            let options = if fresh {
                options
                    .page_size(PAGE_SIZE)
                    .auto_vacuum(SqliteAutoVacuum::Incremental)
            } else {
                options
            };
            options
                .journal_mode(SqliteJournalMode::Wal)
                .synchronous(SqliteSynchronous::Full)
                .pragma("journal_size_limit", JOURNAL_LIMIT)
                .pragma("cache_size", WRITING_CACHE_SIZE)
        })
        .await;
        match attempt {
            Ok(connection) => return Ok(connection),
            Err(fault) if fault.is_busy() && started.elapsed() < options.busy_timeout => {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            Err(fault) => return Err(fault.explain("open the state", &options.path)),
        }
    }
}

/// Opens connections that only read. Where the directory cannot be written, SQLite cannot create the journal's
/// index; a database without a journal is then opened as one that nobody changes.
pub(crate) async fn connect_for_reading(options: &StateOptions) -> Attempt<DatabaseConnection> {
    match probe(options, false).await {
        Err(fault) if fault.is_cannot_open() && !has_journal(&options.path) => probe(options, true).await,
        other => other,
    }
}

/// Opens connections that only read, and reads something.
async fn probe(options: &StateOptions, immutable: bool) -> Attempt<DatabaseConnection> {
    use sea_orm::ConnectionTrait as _;
    let connection = connect(options, READERS, move |options| {
        options.read_only(true).immutable(immutable)
    })
    .await?;
    connection
        .query_one_raw(sql("SELECT count(*) FROM sqlite_master", []))
        .await?;
    Ok(connection)
}

/// Opens a pool of connections.
pub(crate) async fn connect(
    options: &StateOptions,
    connections: u32,
    adjust: impl Fn(SqliteConnectOptions) -> SqliteConnectOptions + Send + Sync + 'static,
) -> Attempt<DatabaseConnection> {
    let (path, busy_timeout) = (options.path.clone(), options.busy_timeout);
    // The path goes in below: as part of a URL it would have to be valid UTF-8.
    let mut settings = ConnectOptions::new("sqlite://");
    settings
        .max_connections(connections)
        .min_connections(0)
        // Longer than one holder of the lock may take, so that the queue inside the process drains.
        .acquire_timeout(busy_timeout.saturating_mul(4))
        .idle_timeout(None)
        .max_lifetime(None)
        .test_before_acquire(false)
        .sqlx_logging(false)
        .record_stmt_in_spans(false)
        .map_sqlx_sqlite_pool_opts(|pool| {
            // When SQLite ends a transaction by itself, as on a full disk, the driver goes on counting it as open. On
            // such a connection the next transaction would be a savepoint of one that nobody ever commits.
            pool.before_acquire(|connection, _| {
                let usable = !connection.is_in_transaction();
                Box::pin(async move { Ok(usable) })
            })
        })
        .map_sqlx_sqlite_opts(move |options| {
            adjust(
                options
                    .filename(&path)
                    .create_if_missing(false)
                    .foreign_keys(true)
                    .busy_timeout(busy_timeout)
                    .pragma("cache_size", CACHE_SIZE),
            )
        });
    Ok(Database::connect(settings).await?)
}

/// Whether a journal with content lies beside the database.
fn has_journal(path: &Path) -> bool {
    std::fs::metadata(beside(path, "-wal")).is_ok_and(|meta| meta.len() > 0)
}

/// The path with `suffix` appended to its last name.
pub(crate) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// Creates the directory and the empty file, readable by the owner alone. SQLite gives the journal the
/// permissions of the database.
fn create_file(path: &Path) -> Result<()> {
    let fail = |what: &Path, error: io::Error| {
        let hint = match error.kind() {
            io::ErrorKind::StorageFull => "free some space on that disk",
            _ => "check the permissions of the directory, or choose another database",
        };
        Error::state(format!("cannot create {}: {error}", what.display()))
            .with_cause(error)
            .with_hint(hint)
    };
    if path.exists() {
        return Ok(());
    }
    if let Some(directory) = path
        .parent()
        .filter(|directory| !directory.as_os_str().is_empty())
    {
        let mut builder = std::fs::DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        {
            use std::os::unix::fs::DirBuilderExt as _;
            builder.mode(0o700);
        }
        builder
            .create(directory)
            .map_err(|error| fail(directory, error))?;
    }
    let mut file = std::fs::OpenOptions::new();
    file.write(true).create(true).truncate(false);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        file.mode(0o600);
    }
    file.open(path).map(drop).map_err(|error| fail(path, error))
}
