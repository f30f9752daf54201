//! Up, down and up again; newer, foreign and damaged files; the copy before a rewrite.

use super::*;
use crate::State;
use audiorag_core::ErrorKind;
use sea_orm::DbErr;
use sea_orm_migration::{MigrationName, SchemaManager, async_trait};
use std::fmt::Write as _;
use std::path::PathBuf;
use tempfile::TempDir;

/// The version that this program writes.
const NEWEST: &str = "m20261201_000007_normalise_languages";

/// The versions that change what is stored and not how.
const DATA_ONLY: [&str; 1] = [NEWEST];

fn scratch() -> (TempDir, StateOptions) {
    let directory = tempfile::tempdir().unwrap();
    let options = StateOptions::new(directory.path().join("state.db"));
    (directory, options)
}

/// Everything that was created, as SQLite keeps it.
async fn schema(options: &StateOptions) -> String {
    let connection = db::connect(options, 1, |options| options.read_only(true))
        .await
        .unwrap();
    let rows = connection
        .query_all_raw(sql(
            "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_%'
             AND name NOT LIKE 'chunk_fts_%' AND name NOT GLOB 'chunk_sound_[cdi]*' AND name <> 'seaql_migrations' ORDER BY type, name",
            [],
        ))
        .await
        .unwrap();
    let statements: Vec<String> = rows.iter().map(|row| row.try_get_by_index(0).unwrap()).collect();
    connection.close().await.unwrap();
    statements.join(";\n")
}

async fn run(options: &StateOptions, statement: &str) {
    let connection = db::connect_writer(options).await.unwrap();
    connection.execute_unprepared(statement).await.unwrap();
    connection.close().await.unwrap();
}

/// A version that rewrites what is stored, and changes the schema as well.
struct Rewriting;

struct NextMigration;

impl MigrationName for NextMigration {
    fn name(&self) -> &'static str {
        "m29990101_000000_rewrite"
    }
}

#[async_trait::async_trait]
#[expect(elided_lifetimes_in_paths, reason = "as the trait has it")]
impl MigrationTrait for NextMigration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager
            .get_connection()
            .execute_unprepared("UPDATE source SET title = 'rewritten'")
            .await?;
        manager
            .get_connection()
            .execute_unprepared("CREATE TABLE next (id INTEGER)")
            .await
            .map(drop)
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager
            .get_connection()
            .execute_unprepared("DROP TABLE next")
            .await
            .map(drop)
    }

    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }
}

impl MigratorTrait for Rewriting {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        let mut all = Released::migrations();
        all.push(Box::new(NextMigration));
        all
    }
}

impl Plan for Rewriting {
    fn rewriting() -> &'static [&'static str] {
        &["m29990101_000000_rewrite"]
    }
}

#[tokio::test]
async fn the_schema_is_the_reviewed_one() {
    let (_directory, options) = scratch();
    migrate(&options).await.unwrap();
    insta::assert_snapshot!(schema(&options).await);
}

#[tokio::test]
async fn up_down_up_gives_the_same_schema() {
    let (_directory, options) = scratch();
    let names: Vec<String> = Released::migrations()
        .iter()
        .map(|step| step.name().to_owned())
        .collect();
    assert_eq!(schema_status(&options).await.unwrap().pending, names);
    assert!(!options.path.exists());
    let mut status = migrate(&options).await.unwrap();
    assert!(status.pending.is_empty());
    assert_eq!(status.current(), Some(NEWEST));
    let newest = schema(&options).await;
    // Every version is taken back alone, after a copy, and gives the same schema when it comes again.
    let mut schemas = vec![newest.clone()];
    for step in names.iter().rev() {
        status = rollback(&options, 1).await.unwrap();
        assert!(status.pending.contains(step));
        assert!(backups(&options).iter().any(|name| name.ends_with(step.as_str())));
        schemas.push(schema(&options).await);
    }
    assert_eq!((status.current(), status.pending.len()), (None, names.len()));
    assert_eq!(schemas.pop().unwrap(), "");
    schemas.dedup();
    assert_eq!(
        schemas.len(),
        names.len() - DATA_ONLY.len(),
        "every version changes the schema, unless it changes data alone"
    );
    migrate(&options).await.unwrap();
    assert_eq!(schema(&options).await, newest);
    // Nothing to do, and nothing done.
    assert!(migrate(&options).await.unwrap().pending.is_empty());
}

#[tokio::test]
async fn languages_are_stored_by_their_primary_code() {
    let (_directory, options) = scratch();
    migrate(&options).await.unwrap();
    rollback(&options, 1).await.unwrap();
    let mut rows = String::from(
        "INSERT INTO space (id, fingerprint, provider, model, dimensions) VALUES (1, 'f', 'p', 'm', 1);
         INSERT INTO source (id, locator, title, status, created_at, updated_at)
            VALUES ('s', 'file:///s', 's', 'completed', 0, 0);
         INSERT INTO embedding (id, embedding_key, space_id, vector, created_at) VALUES (1, 'e', 1, x'00000000', 0);",
    );
    for (number, stored) in [
        "'en-US'", "'eng'", "'EN'", "'de_AT'", "'gsw-CH'", "'und'", "' '", "NULL",
    ]
    .into_iter()
    .enumerate()
    {
        let _ = write!(
            rows,
            "INSERT INTO revision (source_id, content_hash, config_hash, config_json, space_id, state, language,
                created_at) VALUES ('s', 'c', 'c', '{{}}', 1, 'retired', {stored}, 0);
             INSERT INTO vector (record_id, source_id, revision_id, space_id, embedding_id, start_ms, end_ms, language)
                VALUES ('r{number}', 's', 1, 1, 1, 0, 1, {stored});"
        );
    }
    run(&options, &rows).await;
    migrate(&options).await.unwrap();
    assert!(backups(&options).iter().any(|name| name.contains("000006")));
    let connection = db::connect_writer(&options).await.unwrap();
    for table in ["revision", "vector"] {
        let rows = connection
            .query_all_raw(sql(&format!("SELECT language FROM {table} ORDER BY id"), []))
            .await
            .unwrap();
        let languages: Vec<Option<String>> =
            rows.iter().map(|row| row.try_get_by_index(0).unwrap()).collect();
        let some = |language: &str| Some(language.to_owned());
        assert_eq!(
            languages,
            [
                some("en"),
                some("en"),
                some("en"),
                some("de"),
                some("gsw"),
                None,
                None,
                None
            ]
        );
    }
    connection.close().await.unwrap();
    rollback(&options, 1).await.unwrap();
    migrate(&options).await.unwrap();
}

fn backups(options: &StateOptions) -> Vec<String> {
    std::fs::read_dir(options.path.parent().unwrap())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.contains(".backup-"))
        .collect()
}

#[tokio::test]
async fn a_rewriting_migration_leaves_a_copy() {
    let (_directory, options) = scratch();
    let state = State::open(options.clone()).await.unwrap();
    let new = crate::NewSource {
        locator: audiorag_core::Locator::File(PathBuf::from("/a/before.mp3")),
        fingerprint: None,
        media: None,
        title: None,
    };
    state.add_source(&new).await.unwrap();
    state.close().await;
    let connection = db::connect_writer(&options).await.unwrap();
    apply::<Rewriting>(&connection, &options.path).await.unwrap();
    apply::<Rewriting>(&connection, &options.path).await.unwrap();
    connection.close().await.unwrap();
    let names = backups(&options);
    assert_eq!(names, [format!("state.db.backup-{NEWEST}")]);
    let copy = StateOptions::new(options.path.with_file_name(&names[0]));
    let state = State::open(copy.clone()).await.unwrap();
    assert_eq!(state.list_sources().await.unwrap()[0].title, "before");
    state.close().await;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        assert_eq!(
            std::fs::metadata(&copy.path).unwrap().permissions().mode() & 0o777,
            0o600
        );
    }
    // The database itself is too new for the released program.
    for error in [
        State::open(options.clone()).await.err().unwrap(),
        schema_status(&options).await.unwrap_err(),
        rollback(&options, 1).await.unwrap_err(),
        State::open(StateOptions {
            read_only: true,
            ..options.clone()
        })
        .await
        .err()
        .unwrap(),
    ] {
        assert_eq!(error.kind(), ErrorKind::State);
        assert!(error.message().contains("m29990101_000000_rewrite"), "{error}");
        assert!(error.message().contains(NEWEST), "{error}");
        assert!(error.hint().unwrap().contains("newer audiorag"));
    }
    // The program that knows it can go back.
    let connection = db::connect_writer(&options).await.unwrap();
    roll_back_on::<Rewriting>(&connection, &options.path, 1)
        .await
        .unwrap();
    connection.close().await.unwrap();
    assert!(State::open(options).await.is_ok());
}

/// The titles in a copy.
async fn titles(path: PathBuf) -> Vec<String> {
    let options = StateOptions {
        read_only: true,
        ..StateOptions::new(path)
    };
    let state = State::open(options).await.unwrap();
    let sources = state.list_sources().await.unwrap();
    state.close().await;
    sources.into_iter().map(|source| source.title).collect()
}

#[tokio::test]
async fn every_rollback_makes_a_copy_of_its_own_and_clears_what_a_killed_one_left() {
    let (directory, options) = scratch();
    let place = |name: &str| directory.path().join(format!("state.db.backup-{NEWEST}{name}"));
    let killed = place(".999999999.tmp");
    std::fs::write(&killed, b"half a copy").unwrap();
    let long_ago = std::time::SystemTime::now() - UNFINISHED * 2;
    std::fs::File::open(&killed)
        .unwrap()
        .set_modified(long_ago)
        .unwrap();
    for number in 1..=3 {
        let state = State::open(options.clone()).await.unwrap();
        let new = crate::NewSource {
            locator: audiorag_core::Locator::File(PathBuf::from(format!("/a/{number}.mp3"))),
            fingerprint: None,
            media: None,
            title: None,
        };
        state.add_source(&new).await.unwrap();
        state.close().await;
        let status = rollback(&options, 1).await.unwrap();
        assert_eq!(status.pending, [NEWEST]);
    }
    assert_eq!(titles(place("")).await, ["1"]);
    assert_eq!(titles(place(".2")).await, ["1", "2"]);
    assert_eq!(titles(place(".3")).await, ["1", "2", "3"]);
    assert!(!killed.exists());
    assert!(backups(&options).iter().all(|name| !name.contains(".tmp")));
}

#[tokio::test]
async fn the_index_of_sounds_is_made_after_a_copy() {
    let (_directory, options) = scratch();
    migrate(&options).await.unwrap();
    rollback(&options, 1).await.unwrap();
    let before = schema_status(&options)
        .await
        .unwrap()
        .current()
        .map(str::to_owned)
        .unwrap();
    migrate(&options).await.unwrap();
    assert!(backups(&options).contains(&format!("state.db.backup-{before}")));
}

#[tokio::test]
async fn a_failing_migration_changes_nothing() {
    let (_directory, options) = scratch();
    migrate(&options).await.unwrap();
    run(&options, "CREATE TABLE next (other TEXT)").await;
    let before = schema(&options).await;
    let connection = db::connect_writer(&options).await.unwrap();
    let error = apply::<Rewriting>(&connection, &options.path).await.unwrap_err();
    connection.close().await.unwrap();
    assert_eq!(error.kind(), ErrorKind::State);
    assert_eq!(schema(&options).await, before);
    assert!(schema_status(&options).await.unwrap().pending.is_empty());
    assert_eq!(backups(&options), [""; 0], "a copy of what is still there");
}

#[tokio::test]
async fn foreign_and_damaged_files_are_refused() {
    let (_directory, options) = scratch();
    run_on_fresh(&options, "CREATE TABLE customers (id INTEGER)").await;
    let error = State::open(options.clone()).await.err().unwrap();
    assert!(error.message().contains("another program"), "{error}");
    let (_directory, options) = scratch();
    std::fs::write(
        &options.path,
        b"this is a text, and a long one, but it is not a database at all",
    )
    .unwrap();
    let error = State::open(options.clone()).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::State);
    assert!(error.message().contains("not a database"), "{error}");
    let (_directory, options) = scratch();
    migrate(&options).await.unwrap();
    let mut bytes = std::fs::read(&options.path).unwrap();
    for byte in &mut bytes[100..2000] {
        *byte ^= 0x5a;
    }
    std::fs::write(&options.path, &bytes).unwrap();
    let error = State::open(options.clone()).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::State);
    assert!(error.message().contains("damaged"), "{error}");
    assert!(error.hint().unwrap().contains("backup"));
}

async fn run_on_fresh(options: &StateOptions, statement: &str) {
    std::fs::write(&options.path, b"").unwrap();
    run(options, statement).await;
}

#[tokio::test]
async fn rolling_back_nothing_is_an_error() {
    let (_directory, options) = scratch();
    assert_eq!(rollback(&options, 1).await.unwrap_err().kind(), ErrorKind::State);
}
