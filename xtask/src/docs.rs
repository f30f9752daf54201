//! Documentation that is generated from the code, and files that record what must not change.
//!
//! That the pages are up to date is a test of the crate that makes them; this writes them anew.

use crate::workspace::{self, Workspace};
use crate::{process, test, tidy};
use anyhow::{Context, Result};

/// The reference of all settings, written by the program itself.
const CONFIGURATION: &str = "docs/configuration.md";

/// Writes generated pages and records new migrations.
pub(crate) fn bless(unreleased: bool) -> Result<()> {
    tidy::record_migrations(unreleased)?;
    test::build()?;
    let workspace = Workspace::load()?;
    let page = process::capture(process::program(workspace.binary("debug")).args(["config", "docs"]))?;
    let path = workspace::root().join(CONFIGURATION);
    std::fs::write(&path, page).with_context(|| format!("cannot write {}", path.display()))?;
    println!("wrote {CONFIGURATION}");
    Ok(())
}
