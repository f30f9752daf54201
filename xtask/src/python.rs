//! Environments of Python packages, made once below the target folder by the ordinary client.

use crate::process;
use anyhow::{Context, Result};
use std::path::{Path, PathBuf};

/// Makes an environment with `packages` in `folder`, unless it is there, and returns its Python.
pub(crate) fn environment(folder: &Path, packages: &[&str]) -> Result<PathBuf> {
    let python = folder.join("bin/python");
    // Written last, so that half an installation is not taken for a whole one.
    let stamp = folder.join("installed.txt");
    let wanted = packages.join("\n");
    if python.exists() && std::fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted) {
        return Ok(python);
    }
    process::headline(&format!("installing {}", packages.join(", ")));
    process::run(
        process::program("python3")
            .args(["-m", "venv", "--clear"])
            .arg(folder),
    )
    .context("cannot make a Python environment; Debian needs the package python3-venv")?;
    process::run(
        process::program(&python)
            .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"])
            .args(packages),
    )?;
    std::fs::write(&stamp, wanted)?;
    Ok(python)
}
