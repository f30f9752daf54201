//! `cargo xtask demo`: from a clean clone to an answer with its second, on real speech and real models.

use crate::workspace::Workspace;
use crate::{models, process};
use anyhow::{Context, Result};
use std::time::Instant;

/// What is indexed: a reading of the opening of a novel, and three texts by a speech synthesiser.
pub(crate) const SPEECH: &[&str] = &[
    "tests/fixtures/two_cities.flac",
    "tests/fixtures/spoken-alice.ogg",
    "tests/fixtures/spoken-gettysburg.mp3",
    "tests/fixtures/spoken-lighthouse.m4a",
];

/// What is asked of it.
const QUESTIONS: &[&str] = &[
    "what kind of times were they",
    "what did the rabbit take out of its pocket",
];

/// Builds, fetches, indexes and asks.
pub(crate) fn run() -> Result<()> {
    let started = Instant::now();
    let workspace = Workspace::load()?;

    process::headline("1/4 building the program (a few minutes the first time)");
    process::run(&mut process::cargo(&[
        "build",
        "--release",
        "--locked",
        "--package",
        "audiorag-cli",
    ]))?;
    let program = workspace.binary("release");

    process::headline("2/4 fetching the local models (once)");
    models::pull(&program)?;

    // A fresh folder each time, so that the demo shows the work and not what is left of the last one.
    let folder = workspace.target_directory.join("demo");
    if folder.exists() {
        std::fs::remove_dir_all(&folder).with_context(|| format!("cannot remove {}", folder.display()))?;
    }
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let database = format!("sqlite://{}", folder.join("audiorag.db").display());
    let audiorag = || {
        let mut command = process::program(&program);
        command.args(["--database-url", &database]);
        command
    };

    process::headline("3/4 indexing the sample speech");
    // What was really said lies beside some of them, for the tests; here it is to be heard.
    process::run(audiorag().args(["index", "--transcript", "never"]).args(SPEECH))?;

    process::headline("4/4 asking");
    for question in QUESTIONS {
        process::run(audiorag().args(["query", question]))?;
        println!();
    }
    println!(
        "Done in {}. The index is {}.",
        process::elapsed(started),
        folder.display()
    );
    println!(
        "Ask your own: {} --database-url {database} query \"...\"",
        program.display()
    );
    Ok(())
}
