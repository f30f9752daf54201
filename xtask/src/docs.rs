//! Documentation that is generated from the code, and files that record what must not change.

use crate::process::{self, Findings};
use crate::tidy;
use crate::workspace::{self, Workspace};
use anyhow::{Context, Result};

/// The reference of all settings, written by the program itself.
const CONFIGURATION: &str = "docs/configuration.md";

/// Compares generated pages with what the program prints now.
pub(crate) fn check() -> Result<Findings> {
    let path = workspace::root().join(CONFIGURATION);
    let expected = configuration()?;
    let found = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(if found == expected {
        Findings::new()
    } else {
        vec![format!(
            "{CONFIGURATION} differs from what the program prints: run cargo xtask bless"
        )]
    })
}

/// Writes generated pages and records new migrations.
pub(crate) fn bless(unreleased: bool) -> Result<()> {
    tidy::record_migrations(unreleased)?;
    let path = workspace::root().join(CONFIGURATION);
    std::fs::write(&path, configuration()?).with_context(|| format!("cannot write {}", path.display()))?;
    println!("wrote {CONFIGURATION}");
    Ok(())
}

fn configuration() -> Result<String> {
    let workspace = Workspace::load()?;
    process::run(&mut process::cargo(&[
        "build",
        "--quiet",
        "--locked",
        "--package",
        "audiorag-cli",
    ]))?;
    process::capture(process::program(workspace.binary("debug")).args(["config", "docs"]))
}
