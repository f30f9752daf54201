//! What benchmarks compare with: Python packages, installed once below the target folder by the ordinary client.

use crate::process;
use anyhow::{Context, Result};
use std::path::{Path, PathBuf};

/// Makes a Python environment with `packages` in `target/anchors/NAME`, unless it is there, and returns its Python.
pub(super) fn python(target: &Path, name: &str, packages: &[&str]) -> Result<PathBuf> {
    let folder = target.join("anchors").join(name);
    let python = folder.join("bin/python");
    // Written last, so that half an installation is not taken for a whole one.
    let stamp = folder.join("installed.txt");
    let wanted = packages.join("\n");
    if python.exists() && std::fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted) {
        return Ok(python);
    }
    process::headline(&format!("installing {} to compare with", packages.join(", ")));
    process::run(
        process::program("python3")
            .args(["-m", "venv", "--clear"])
            .arg(&folder),
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
