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
use std::path::Path;

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
        &["m20261201_000007_normalise_languages"]
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
            copy(connection, path, version).await?;
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
        if let Some(version) = status.current().filter(|_| rewrites) {
            copy(connection, path, version).await?;
        }
        let transaction = db::begin_immediate(connection).await?;
        P::up(&transaction, None).await?;
        transaction.commit().await?;
        Ok(())
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

/// Copies the database to `<file>.backup-<version>`. A copy of that version is kept when it is there already:
/// another process made it a moment ago, or an earlier attempt was interrupted.
async fn copy(connection: &DatabaseConnection, path: &Path, version: &str) -> Attempt<()> {
    let target = beside(path, &format!(".backup-{version}"));
    if target.exists() {
        return Ok(());
    }
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
    let kept = restrict(&temporary).and_then(|()| std::fs::rename(&temporary, &target));
    kept.map_err(|error| {
        Error::state(format!("cannot keep a copy at {}: {error}", target.display()))
            .with_cause(error)
            .into()
    })
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
