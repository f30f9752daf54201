//! `setup`.

use crate::world::World;
use audiorag_cli::ExitStatus;

fn world() -> World {
    let mut world = World::new();
    world.terminals.stdin = true;
    world.terminals.stderr = true;
    world
}

#[tokio::test]
async fn answers_become_a_file_that_is_read() {
    let world = world();
    let answers = "talks.db\nen\nhub\nyes\nhf_secret\n";
    let run = world.run_with(&["--color", "never", "setup"], answers).await.ok();
    insta::assert_snapshot!("setup-dialogue", world.stable(&run.stderr));
    let file = world.path("audiorag.toml");
    insta::assert_snapshot!("setup-file", std::fs::read_to_string(&file).unwrap());
    let shown = world.run(&["config", "show"]).await.ok();
    assert!(
        shown.stdout.contains(world.path("talks.db").to_str().unwrap()),
        "{shown:?}"
    );
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        assert_eq!(
            std::fs::metadata(&file).unwrap().permissions().mode() & 0o777,
            0o600
        );
    }
}

#[tokio::test]
async fn defaults_need_no_answers_and_files_are_kept() {
    let world = World::new();
    world
        .run(&["setup"])
        .await
        .exits(ExitStatus::Usage)
        .says(&["add --yes"]);
    world.run(&["setup", "--yes"]).await.ok().says(&["wrote "]);
    let text = std::fs::read_to_string(world.path("audiorag.toml")).unwrap();
    assert!(text.lines().all(|line| line.starts_with('#')), "{text}");
    world
        .run(&["setup", "--yes"])
        .await
        .exits(ExitStatus::Usage)
        .says(&["exists already", "--force"]);
    world.run(&["setup", "--yes", "--force"]).await.ok();
    world
        .run(&["setup", "--yes", "-o", "deep/er/mine.toml"])
        .await
        .ok();
    assert!(world.path("deep/er/mine.toml").is_file());
    world.write("file", "");
    let run = world.run(&["setup", "--yes", "-o", "file/mine.toml"]).await;
    run.exits(ExitStatus::State).says(&["cannot write"]);
}

#[tokio::test]
async fn wrong_answers_are_asked_again_and_again_but_not_for_ever() {
    let world = world();
    let run = world
        .run_with(&["setup"], "\nen\nmoon\nwheels\n\n\n")
        .await
        .ok()
        .says(&["models.route"]);
    let text = std::fs::read_to_string(world.path("audiorag.toml")).unwrap();
    assert!(
        text.contains("route = \"wheels\"") && text.contains("language = \"en\""),
        "{text} {run:?}"
    );
    let run = world
        .run_with(&["setup", "--force"], "\n\nmoon\nmoon\nmoon\n")
        .await;
    run.exits(ExitStatus::Usage)
        .says(&["no usable answer for models.route"]);
    let run = world.run_with(&["setup", "--force"], "\n").await;
    run.exits(ExitStatus::Usage).says(&["the input ended"]);
}
