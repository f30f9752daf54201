//! `cargo xtask test`: everything that has a test, on a bare machine, with one command.

use crate::suites::Suites;
use crate::workspace::Workspace;
use crate::{coverage, models, process, programs, servers};
use anyhow::{Result, bail};
use std::process::Command;
use std::time::Instant;

/// What `cargo test` builds, so that building it first costs nothing.
const TARGETS: &[&str] = &[
    "--workspace",
    "--locked",
    "--lib",
    "--bins",
    "--tests",
    "--examples",
    "--features",
    FEATURES,
];

/// What the tests need beyond the default build: Chroma and PostgreSQL, and places where a run is made to fail.
/// Nothing is different as long as no test uses them.
const FEATURES: &str = "audiorag-providers/real-servers,audiorag/failpoints,audiorag/s3";

/// Builds the program, the tests and what they use, as `cargo test` would.
pub(crate) fn build() -> Result<()> {
    process::run(process::cargo(&["build"]).args(TARGETS))
}

/// Builds everything, fetches the models, runs every test and prints the totals.
pub(crate) fn run() -> Result<()> {
    let started = Instant::now();
    let mut suites = Suites::default();
    let succeeded = everything(&mut suites, started)?;
    sum_up(&suites, succeeded, started)
}

/// The same with every line watched, and the coverage held against its floor: one build and one run do for both.
pub(crate) fn run_covered() -> Result<()> {
    let started = Instant::now();
    let coverage::Measured { mut suites, findings } = coverage::measure()?;
    process::headline("the tests in documentation, and those of the development tasks");
    let mut succeeded = true;
    for mut command in [
        coverage::documentation()?,
        process::cargo(&["test", "--package", "xtask", "--locked", "--no-fail-fast"]),
    ] {
        succeeded &= listen(&mut command, &mut suites)?;
    }
    let tested = sum_up(&suites, succeeded, started);
    process::report("coverage", Ok(findings)).and(tested)
}

/// Runs a command of tests and takes in what it says. Returns whether it succeeded.
fn listen(command: &mut Command, suites: &mut Suites) -> Result<bool> {
    command.env("CARGO_TERM_COLOR", "never");
    let status = process::stream(command, |line| {
        suites.line(line);
        true
    })?;
    Ok(status.success())
}

/// Returns whether the command that runs the tests succeeded.
fn everything(suites: &mut Suites, started: Instant) -> Result<bool> {
    let workspace = Workspace::load()?;
    programs::install()?;

    // The end-to-end tests start the program, which `cargo test` alone would not leave in place.
    process::headline("building the program and its tests");
    build()?;
    println!("built after {}", process::elapsed(started));

    process::headline("fetching the local models");
    let folder = models::pull(&workspace.binary("debug"))?;
    println!("models are in {}", folder.display());

    let servers = servers::install(&workspace.target_directory)?;

    process::headline("running the tests");
    let mut command = command();
    command
        .envs(servers.variables())
        .env("AUDIORAG_TEST_MODELS", &folder);
    listen(&mut command, suites)
}

/// The command that runs tests, all of them unless it is told which.
pub(crate) fn command() -> Command {
    let mut command = process::cargo(&["test", "--workspace", "--locked", "--no-fail-fast"]);
    command.args(["--features", FEATURES]);
    command
}

/// Prints the suites and the totals; an error when anything failed.
fn sum_up(suites: &Suites, succeeded: bool, started: Instant) -> Result<()> {
    let (passed, failed, skipped) = suites.totals();
    process::headline(&format!("tests, in {}", process::elapsed(started)));
    println!("{}", suites.table());
    for failure in &suites.failures {
        println!("  FAILED {failure}");
    }
    println!(
        "{passed} passed, {failed} failed{}",
        match skipped {
            0 => String::new(),
            skipped => format!(", {skipped} skipped"),
        }
    );
    if failed > 0 || suites.compile_errors > 0 || !succeeded {
        bail!(
            "{failed} tests failed, {} targets did not compile",
            suites.compile_errors
        );
    }
    if passed == 0 {
        bail!("no test ran");
    }
    Ok(())
}
