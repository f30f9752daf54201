//! The schema's versions: applied on opening, one transaction for all that is pending, never guessed at.

mod m20261123_000001_create_tables;
mod m20261124_000002_record_calls;
mod m20261125_000003_name_speakers;
mod m20261126_000004_fetch_sources;
mod m20261127_000005_keep_threads;
mod m20261128_000006_index_sounds;
mod m20261201_000007_normalise_languages;

use crate::db::{self, StateOptions, beside, sql};
use crate::fault::{Attempt, Fault};
use audiorag_core::{Error, Result};
use sea_orm::{ConnectionTrait, DatabaseConnection, EntityTrait as _, QueryOrder as _};
use sea_orm_migration::{MigrationTrait, MigratorTrait, seaql_migrations};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A copy that was not written to for so long is nobody's any more.
const UNFINISHED: Duration = Duration::from_mins(10);

/// A list of migrations, oldest first.
pub(crate) trait Plan: MigratorTrait {
    /// The names of those that rewrite stored data, before which the file is copied.
    fn rewriting() -> &'static [&'static str];
}

/// The released migrations. Entries are never changed or removed once released.
pub(crate) struct Released;

impl MigratorTrait for Released {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![
            Box::new(m20261123_000001_create_tables::Migration),
            Box::new(m20261124_000002_record_calls::Migration),
            Box::new(m20261125_000003_name_speakers::Migration),
            Box::new(m20261126_000004_fetch_sources::Migration),
            Box::new(m20261127_000005_keep_threads::Migration),
            Box::new(m20261128_000006_index_sounds::Migration),
            Box::new(m20261201_000007_normalise_languages::Migration),
        ]
    }
}

impl Plan for Released {
    fn rewriting() -> &'static [&'static str] {
        &[
            "m20261128_000006_index_sounds",
            "m20261201_000007_normalise_languages",
        ]
    }
}

/// One version of the schema.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MigrationStep {
    /// Its name, which sorts by age.
    pub name: String,
    /// Whether the database has it.
    pub applied: bool,
}

/// Which versions of the schema a database has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SchemaStatus {
    /// Every version that this program knows, oldest first.
    pub steps: Vec<MigrationStep>,
    /// The names of those still to apply.
    pub pending: Vec<String>,
}

impl SchemaStatus {
    /// The newest version that the database has.
    pub fn current(&self) -> Option<&str> {
        self.steps
            .iter()
            .rev()
            .find(|step| step.applied)
            .map(|step| step.name.as_str())
    }
}

/// Which versions of the schema the database has. Nothing is changed, and a missing file is not created: it has
/// none.
///
/// # Errors
/// [`State`](audiorag_core::ErrorKind::State) for a file that is damaged, foreign or newer than this program.
pub async fn schema_status(options: &StateOptions) -> Result<SchemaStatus> {
    if !options.path.exists() {
        return Ok(status_of::<Released>(&[]));
    }
    let connection = db::connect_for_reading(options)
        .await
        .map_err(|fault| fault.explain("read the schema", &options.path))?;
    let status = check(&connection, &options.path).await;
    let _ = connection.close().await;
    status
}

/// Creates the database where it is missing and applies what is pending. Opening the state does the same.
///
/// # Errors
/// As [`State::open`](crate::State::open).
pub async fn migrate(options: &StateOptions) -> Result<SchemaStatus> {
    let options = StateOptions {
        read_only: false,
        ..options.clone()
    };
    db::Db::open(options.clone()).await?.close().await;
    schema_status(&options).await
}

/// Takes back the newest `steps` versions, after copying the file. What those versions added is lost.
///
/// # Errors
/// [`State`](audiorag_core::ErrorKind::State) as for [`State::open`](crate::State::open), and when a version
/// cannot be taken back.
pub async fn rollback(options: &StateOptions, steps: u32) -> Result<SchemaStatus> {
    if !options.path.exists() {
        return Err(Error::state(format!(
            "there is no database at {}",
            options.path.display()
        )));
    }
    let connection = db::connect_writer(options).await?;
    let outcome = roll_back_on::<Released>(&connection, &options.path, steps).await;
    let _ = connection.close().await;
    outcome?;
    schema_status(options).await
}

async fn roll_back_on<P: Plan>(connection: &DatabaseConnection, path: &Path, steps: u32) -> Result<()> {
    let status = check_plan::<P>(connection, path).await?;
    let attempt = async {
        if let Some(version) = status.current() {
            copy::<P>(connection, path, version).await?;
        }
        let transaction = db::begin_immediate(connection).await?;
        P::down(&transaction, Some(steps)).await?;
        transaction.commit().await?;
        Ok(())
    };
    attempt
        .await
        .map_err(|fault: Fault| fault.explain("roll back the schema", path))
}

/// Applies what is pending.
pub(crate) async fn bring_up_to_date(connection: &DatabaseConnection, path: &Path) -> Result<()> {
    apply::<Released>(connection, path).await
}

/// Applies what is pending of a plan. Safe when several processes do it at once: the list of applied versions is
/// read again under the write lock.
async fn apply<P: Plan>(connection: &DatabaseConnection, path: &Path) -> Result<()> {
    let status = check_plan::<P>(connection, path).await?;
    if status.pending.is_empty() {
        return Ok(());
    }
    let attempt = async {
        let rewrites = status
            .pending
            .iter()
            .any(|name| P::rewriting().contains(&name.as_str()));
        let copied = match status.current().filter(|_| rewrites) {
            Some(version) => copy::<P>(connection, path, version).await?,
            None => None,
        };
        let updated = async {
            let transaction = db::begin_immediate(connection).await?;
            P::up(&transaction, None).await?;
            transaction.commit().await?;
            Ok(())
        };
        let updated: Attempt<()> = updated.await;
        if let (Err(_), Some(copied)) = (&updated, copied) {
            // The database is as it was. Otherwise each attempt would leave another copy of it.
            let _ = std::fs::remove_file(copied);
        }
        updated
    };
    attempt
        .await
        .map_err(|fault: Fault| fault.explain("update the schema", path))
}

/// Compares the database with the released migrations.
pub(crate) async fn check(connection: &DatabaseConnection, path: &Path) -> Result<SchemaStatus> {
    check_plan::<Released>(connection, path).await
}

async fn check_plan<P: Plan>(connection: &DatabaseConnection, path: &Path) -> Result<SchemaStatus> {
    let read = async {
        let mut tables: Vec<String> = Vec::new();
        for row in connection
            .query_all_raw(sql("SELECT name FROM sqlite_master WHERE type = 'table'", []))
            .await?
        {
            tables.push(row.try_get_by_index(0)?);
        }
        if !tables.iter().any(|name| name == "seaql_migrations") {
            return Ok((Vec::new(), !tables.is_empty()));
        }
        let applied = seaql_migrations::Entity::find()
            .order_by_asc(seaql_migrations::Column::Version)
            .all(connection)
            .await?;
        Ok((
            applied.into_iter().map(|model| model.version).collect::<Vec<_>>(),
            false,
        ))
    };
    let (applied, foreign) = read
        .await
        .map_err(|fault: Fault| fault.explain("read the schema", path))?;
    if foreign {
        return Err(
            Error::state(format!("{} is a database of another program", path.display()))
                .with_hint("choose another path for AudioRAG's database"),
        );
    }
    let status = status_of::<P>(&applied);
    if let Some(unknown) = applied
        .iter()
        .find(|name| !status.steps.iter().any(|step| step.name == **name))
    {
        let newest = status.steps.last().map_or("none", |step| step.name.as_str());
        return Err(Error::state(format!(
            "the database at {} has schema {unknown}, but this version of audiorag knows schemas up to {newest}",
            path.display()
        ))
        .with_hint("install a newer audiorag, or restore a .backup- copy made before the update"));
    }
    Ok(status)
}

fn status_of<P: Plan>(applied: &[String]) -> SchemaStatus {
    let steps: Vec<MigrationStep> = P::migrations()
        .iter()
        .map(|migration| {
            let name = migration.name().to_owned();
            MigrationStep {
                applied: applied.contains(&name),
                name,
            }
        })
        .collect();
    let pending = steps
        .iter()
        .filter(|step| !step.applied)
        .map(|step| step.name.clone())
        .collect();
    SchemaStatus { steps, pending }
}

/// Copies the database to `<file>.backup-<version>`, or, where earlier copies of that version are, to the first free
/// of `<file>.backup-<version>.2`, `.3` and so on: what an earlier copy holds is nowhere else any more.
///
/// Returns where the copy is, or nothing when another process has changed the schema meanwhile: it made its copy.
async fn copy<P: Plan>(
    connection: &DatabaseConnection,
    path: &Path,
    version: &str,
) -> Attempt<Option<PathBuf>> {
    remove_unfinished_copies(path);
    let temporary = beside(path, &format!(".backup-{version}.{}.tmp", std::process::id()));
    let _ = std::fs::remove_file(&temporary);
    let Some(name) = temporary.to_str() else {
        return Err(Error::state(format!(
            "cannot copy {}: its name is not valid UTF-8",
            path.display()
        ))
        .with_hint("move the database to a path that is")
        .into());
    };
    connection
        .execute_raw(sql("VACUUM INTO $1", [name.into()]))
        .await?;
    let options = StateOptions::new(&temporary);
    let copied = db::connect(&options, 1, |options| options.read_only(true).immutable(true)).await?;
    let status = check_plan::<P>(&copied, &temporary).await;
    let _ = copied.close().await;
    if status?.current() != Some(version) {
        let _ = std::fs::remove_file(&temporary);
        return Ok(None);
    }
    match restrict(&temporary).and_then(|()| keep(&temporary, path, version)) {
        Ok(target) => Ok(Some(target)),
        Err(error) => {
            let _ = std::fs::remove_file(&temporary);
            Err(Error::state(format!(
                "cannot keep a copy of {} beside it: {error}",
                path.display()
            ))
            .with_cause(error)
            .into())
        }
    }
}

/// Gives a finished copy the first free name.
fn keep(temporary: &Path, path: &Path, version: &str) -> std::io::Result<PathBuf> {
    let mut number = 1_u32;
    loop {
        let suffix = match number {
            1 => String::new(),
            number => format!(".{number}"),
        };
        let target = beside(path, &format!(".backup-{version}{suffix}"));
        // A new name for the file, not a rename, which would replace what another process kept a moment ago.
        match std::fs::hard_link(temporary, &target) {
            Ok(()) => {
                let _ = std::fs::remove_file(temporary);
                return Ok(target);
            }
            Err(error) if error.kind() == ErrorKind::AlreadyExists => number += 1,
            // Some file systems know no second names.
            Err(_) if !target.exists() => return std::fs::rename(temporary, &target).map(|()| target),
            Err(error) => return Err(error),
        }
    }
}

/// Removes what is left of copies whose process was killed: a copy that is being made is written to all the time.
fn remove_unfinished_copies(path: &Path) {
    let (Some(directory), Some(name)) = (path.parent(), path.file_name().and_then(|name| name.to_str()))
    else {
        return;
    };
    let directory = if directory.as_os_str().is_empty() {
        Path::new(".")
    } else {
        directory
    };
    let begins = format!("{name}.backup-");
    let Ok(entries) = std::fs::read_dir(directory) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let is_copy = name.to_str().is_some_and(|name| name.starts_with(&begins))
            && Path::new(&name).extension().is_some_and(|ending| ending == "tmp");
        let is_left = entry.metadata().is_ok_and(|file| {
            file.modified()
                .is_ok_and(|written| written.elapsed().is_ok_and(|age| age > UNFINISHED))
        });
        if is_copy && is_left {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

/// Makes a copy readable by its owner alone, as the database is, and durable.
fn restrict(path: &Path) -> std::io::Result<()> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    }
    std::fs::File::open(path)?.sync_all()
}

#[cfg(test)]
mod tests;
