//! Documentation that is generated from the code, and files that record what must not change.
//!
//! That the pages are up to date is a test of the crate that makes them, and of the tables of tests a rule of `tidy`; this
//! writes them anew.

use crate::workspace::{self, Workspace};
use crate::{process, test, tidy};
use anyhow::{Context, Result};

/// The pages that the program itself writes, and the command for each.
const PAGES: &[(&str, [&str; 2])] = &[
    ("docs/configuration.md", ["config", "docs"]),
    ("docs/providers.md", ["config", "providers"]),
];

/// The tests that compare tables of what was tested with their pages, and write them under this variable.
const TABLES: &str = "the_page_has_the_table";
const BLESS: &str = "AUDIORAG_BLESS";

/// Writes generated pages and tables and records new migrations.
pub(crate) fn bless(unreleased: bool) -> Result<()> {
    tidy::record_migrations(unreleased)?;
    tidy::write_tables()?;
    test::build()?;
    let workspace = Workspace::load()?;
    for (name, command) in PAGES {
        let page = process::capture(process::program(workspace.binary("debug")).args(command))?;
        let path = workspace::root().join(name);
        std::fs::write(&path, page).with_context(|| format!("cannot write {}", path.display()))?;
        println!("wrote {name}");
    }
    process::run(
        test::command()
            .args(["--lib", "--test", "matrix", TABLES])
            .env(BLESS, "1"),
    )
}
