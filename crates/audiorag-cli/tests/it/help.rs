//! What `--help` prints is a contract.

use crate::world::World;
use audiorag_cli::ExitStatus;

#[tokio::test]
async fn help_of_every_command() {
    let world = World::new();
    let commands: [&[&str]; 37] = [
        &[],
        &["setup"],
        &["index"],
        &["reindex"],
        &["query"],
        &["search"],
        &["list"],
        &["show"],
        &["status"],
        &["clip"],
        &["play"],
        &["summarize"],
        &["export"],
        &["speakers"],
        &["speakers", "list"],
        &["speakers", "rename"],
        &["speakers", "merge"],
        &["delete"],
        &["doctor"],
        &["cache"],
        &["cache", "info"],
        &["cache", "clear"],
        &["eval"],
        &["gc"],
        &["config"],
        &["config", "show"],
        &["config", "path"],
        &["db"],
        &["db", "status"],
        &["db", "migrate"],
        &["db", "rollback"],
        &["models"],
        &["models", "list"],
        &["models", "pull"],
        &["models", "verify"],
        &["models", "path"],
        &["completions"],
    ];
    for command in commands {
        let run = world.run(&[command, &["--help"]].concat()).await.ok();
        assert_eq!(run.stderr, "");
        let (own, global) = match run.stdout.split_once("Global options:") {
            Some((own, global)) if !command.is_empty() => (own.to_owned(), global.contains("--json")),
            _ => (run.stdout.clone(), true),
        };
        assert!(global, "{command:?} lacks the global options");
        let name = if command.is_empty() {
            "audiorag".to_owned()
        } else {
            command.join("-")
        };
        insta::assert_snapshot!(format!("help-{name}"), own.trim_end());
    }
}

#[tokio::test]
async fn help_and_version_are_data_and_mistakes_are_not() {
    let world = World::new();
    let version = world.run(&["--version"]).await.ok();
    assert_eq!(
        version.stdout,
        format!("audiorag {}\n", env!("CARGO_PKG_VERSION"))
    );
    for wrong in [
        &["fly"][..],
        &["index"],
        &["export", "x", "-f", "mp3"],
        &["-q", "-v", "list"],
        &[],
    ] {
        let run = world.run(wrong).await.exits(ExitStatus::Usage);
        assert_eq!(run.stdout, "", "{run:?}");
        assert!(
            run.stderr.contains("--help") || run.stderr.contains("Usage"),
            "{run:?}"
        );
    }
}

#[tokio::test]
async fn help_is_coloured_on_a_terminal() {
    let mut world = World::new();
    assert!(!world.run(&["--help"]).await.stdout.contains('\u{1b}'));
    world.terminals.stdout = true;
    assert!(world.run(&["--help"]).await.stdout.contains('\u{1b}'));
    world.terminals.stderr = true;
    assert!(world.run(&["fly"]).await.stderr.contains('\u{1b}'));
}

#[tokio::test]
async fn every_shell_gets_completions() {
    let world = World::new();
    for (shell, mark) in [
        ("bash", "complete"),
        ("zsh", "#compdef"),
        ("fish", "complete -c"),
        ("powershell", "Register"),
    ] {
        let run = world.run(&["completions", shell]).await.ok();
        assert!(
            run.stdout.contains(mark) && run.stdout.contains("export"),
            "{shell}"
        );
    }
}
