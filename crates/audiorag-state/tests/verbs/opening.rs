//! Opening: files, permissions, read-only, several processes at once.

use crate::common::{Scratch, new_source};
use audiorag_core::ErrorKind;
use audiorag_core::model::Filter;
use audiorag_state::{State, StateOptions, schema_status};
use std::time::Duration;

#[cfg(unix)]
#[tokio::test]
async fn only_the_owner_can_read_what_is_created() {
    use std::os::unix::fs::PermissionsExt as _;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("new/er/state.db");
    let state = State::open(StateOptions::new(&path)).await.unwrap();
    state.add_source(&new_source("/a/x.mp3")).await.unwrap();
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(path.parent().unwrap()), 0o700);
    assert_eq!(mode(path.parent().unwrap().parent().unwrap()), 0o700);
    for entry in std::fs::read_dir(path.parent().unwrap()).unwrap() {
        let entry = entry.unwrap().path();
        assert_eq!(mode(&entry), 0o600, "{}", entry.display());
    }
    assert_eq!(state.path(), path);
}

#[tokio::test]
async fn what_was_written_is_there_after_closing() {
    let scratch = Scratch::new().await;
    let (source, _) = scratch.publish("/a/x.mp3", &["a whale"]).await;
    let path = scratch.path();
    let Scratch { state, directory } = scratch;
    state.close().await;
    let names: Vec<_> = std::fs::read_dir(directory.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(names, ["state.db"], "the journal is folded in");
    let state = State::open(StateOptions::new(path)).await.unwrap();
    assert_eq!(state.source(&source.id).await.unwrap(), Some(source));
}

#[tokio::test]
async fn a_read_only_state_reads_and_refuses_to_write() {
    let scratch = Scratch::new().await;
    let (source, _) = scratch.publish("/a/x.mp3", &["a whale"]).await;
    let options = StateOptions {
        read_only: true,
        ..StateOptions::new(scratch.path())
    };
    let reader = State::open(options.clone()).await.unwrap();
    assert!(reader.is_read_only() && !scratch.state.is_read_only());
    // Beside a living writer it sees what that one commits.
    scratch.add("/a/y.mp3").await;
    assert_eq!(reader.list_sources().await.unwrap().len(), 2);
    assert_eq!(
        reader
            .search_text("whale", 5, &Filter::default())
            .await
            .unwrap()
            .len(),
        1
    );
    for error in [
        reader.add_source(&new_source("/a/z.mp3")).await.unwrap_err(),
        reader.delete_source(&source.id).await.unwrap_err(),
        reader
            .touch_source(&source.id, &crate::common::fingerprint("x"))
            .await
            .unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::State);
        assert!(error.message().contains("for reading only"), "{error}");
    }
    reader.close().await;
    scratch.state.clone().close().await;
    // Without a writer as well.
    let reader = State::open(options).await.unwrap();
    assert_eq!(reader.list_sources().await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_read_only_opening_needs_a_database_of_today() {
    let directory = tempfile::tempdir().unwrap();
    let options = StateOptions {
        read_only: true,
        ..StateOptions::new(directory.path().join("none.db"))
    };
    let error = State::open(options.clone()).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::State);
    assert!(error.message().contains("there is no database"), "{error}");
    assert!(!options.path.exists());
    std::fs::write(&options.path, b"").unwrap();
    let error = State::open(options.clone()).await.err().unwrap();
    assert!(error.message().contains("older schema"), "{error}");
    let status = schema_status(&options).await.unwrap();
    assert_eq!(status.pending.len(), status.steps.len());
}

#[tokio::test]
async fn places_that_cannot_be_used_are_named() {
    let directory = tempfile::tempdir().unwrap();
    let occupied = directory.path().join("file");
    std::fs::write(&occupied, b"x").unwrap();
    for path in [occupied.join("state.db"), directory.path().to_owned()] {
        let error = State::open(StateOptions::new(&path)).await.err().unwrap();
        assert_eq!(error.kind(), ErrorKind::State, "{error}");
        assert!(
            error.message().contains(occupied.to_str().unwrap())
                || error.message().contains(path.to_str().unwrap()),
            "{error}"
        );
        assert!(error.hint().is_some());
    }
}

#[tokio::test]
async fn a_lock_that_is_not_given_back_is_reported_as_such() {
    let scratch = Scratch::new().await;
    let impatient = StateOptions {
        busy_timeout: Duration::from_millis(50),
        ..StateOptions::new(scratch.path())
    };
    let second = State::open(impatient).await.unwrap();
    let holder = sea_orm::Database::connect(format!("sqlite://{}", scratch.path().display()))
        .await
        .unwrap();
    use sea_orm::ConnectionTrait as _;
    holder.execute_unprepared("BEGIN EXCLUSIVE").await.unwrap();
    let error = second.add_source(&new_source("/a/x.mp3")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::State);
    assert!(
        error.message().contains("database is locked by another process"),
        "{error}"
    );
    // Reading goes on.
    assert!(second.list_sources().await.unwrap().is_empty());
    holder.execute_unprepared("COMMIT").await.unwrap();
    second.add_source(&new_source("/a/x.mp3")).await.unwrap();
}

#[tokio::test]
async fn opening_waits_for_nobody_who_writes() {
    use sea_orm::ConnectionTrait as _;
    let scratch = Scratch::new().await;
    scratch.publish("/a/x.mp3", &["a whale"]).await;
    let holder = sea_orm::Database::connect(format!("sqlite://{}", scratch.path().display()))
        .await
        .unwrap();
    holder.execute_unprepared("BEGIN IMMEDIATE").await.unwrap();
    let impatient = StateOptions {
        busy_timeout: Duration::from_millis(50),
        ..StateOptions::new(scratch.path())
    };
    let state = State::open(impatient).await.unwrap();
    assert_eq!(state.list_sources().await.unwrap().len(), 1);
    holder.execute_unprepared("COMMIT").await.unwrap();
    state.add_source(&new_source("/a/y.mp3")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_open_a_fresh_database_at_once() {
    for _ in 0..5 {
        let directory = tempfile::tempdir().unwrap();
        let mut tasks = tokio::task::JoinSet::new();
        for number in 0..6 {
            let options = StateOptions::new(directory.path().join("state.db"));
            tasks.spawn(async move {
                let state = State::open(options).await.unwrap();
                state
                    .add_source(&new_source(&format!("/a/{number}.mp3")))
                    .await
                    .unwrap();
                state
            });
        }
        let states = tasks.join_all().await;
        assert_eq!(states[0].list_sources().await.unwrap().len(), 6);
    }
}

/// The reader of the test below. It finds the database in its working directory.
#[test]
#[ignore = "run by a_directory_without_write_permission_can_be_searched"]
fn one_reader() {
    if !std::path::Path::new("go").exists() {
        return;
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        assert!(
            std::fs::write("state.db-shm", b"").is_err(),
            "the directory is writable after all"
        );
        // Beside the files of a journal it can be opened, and not be written.
        let refused = match State::open(StateOptions::new("state.db")).await {
            Ok(state) => state.add_source(&new_source("/a/y.mp3")).await.unwrap_err(),
            Err(error) => error,
        };
        assert_eq!(refused.kind(), ErrorKind::State);
        assert!(
            refused.message().contains("read-only") || refused.message().contains("cannot open"),
            "{refused}"
        );
        let options = StateOptions {
            read_only: true,
            ..StateOptions::new("state.db")
        };
        let state = State::open(options).await.unwrap();
        assert_eq!(
            state
                .search_text("whale", 5, &Filter::default())
                .await
                .unwrap()
                .len(),
            1
        );
    });
}

/// Runs `one_reader` in a directory without write permission: as another user where the tests run as root, whom
/// permissions do not bind.
#[cfg(unix)]
fn read_without_permission(directory: &std::path::Path) {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
    std::fs::write(directory.join("go"), b"").unwrap();
    let mode = |path: &std::path::Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    let program = tempfile::tempdir().unwrap();
    let copy = program.path().join("verbs");
    std::fs::copy(std::env::current_exe().unwrap(), &copy).unwrap();
    mode(program.path(), 0o755);
    mode(&copy, 0o755);
    for entry in std::fs::read_dir(directory).unwrap() {
        mode(&entry.unwrap().path(), 0o444);
    }
    mode(directory, 0o555);
    let is_root = std::fs::metadata(directory).unwrap().uid() == 0;
    let mut command = if is_root {
        let mut command = std::process::Command::new("setpriv");
        command
            .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
            .arg(&copy);
        command
    } else {
        std::process::Command::new(&copy)
    };
    let status = command
        .args(["--exact", "--ignored", "opening::one_reader"])
        .current_dir(directory)
        .status();
    mode(directory, 0o755);
    assert!(status.unwrap().success());
}

#[cfg(unix)]
#[tokio::test]
async fn a_directory_without_write_permission_can_be_searched() {
    let scratch = Scratch::new().await;
    scratch.publish("/a/x.mp3", &["a whale"]).await;
    let Scratch { state, directory } = scratch;
    state.close().await;
    read_without_permission(directory.path());
}

/// What a process that was killed leaves: the last commits are in the journal alone.
#[cfg(unix)]
#[tokio::test]
async fn a_directory_without_write_permission_can_be_searched_with_the_journal_of_a_killed_process() {
    let scratch = Scratch::new().await;
    scratch.publish("/a/x.mp3", &["a whale"]).await;
    let left = tempfile::tempdir().unwrap();
    for name in ["state.db", "state.db-wal", "state.db-shm"] {
        std::fs::copy(scratch.directory.path().join(name), left.path().join(name)).unwrap();
    }
    let alone = tempfile::tempdir().unwrap();
    std::fs::copy(scratch.path(), alone.path().join("state.db")).unwrap();
    let options = StateOptions {
        read_only: true,
        ..StateOptions::new(alone.path().join("state.db"))
    };
    let found = match State::open(options).await {
        Ok(state) => state.list_sources().await.map_or(0, |sources| sources.len()),
        Err(_) => 0,
    };
    assert_eq!(found, 0, "the source is in the database file already");
    read_without_permission(left.path());
}
