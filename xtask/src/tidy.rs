//! `cargo xtask tidy`: the conventions of the source tree that no compiler or linter knows.
//!
//! Reads every file that git tracks or would track, so that a slip is found before it is committed.

mod documents;
mod exceptions;
mod files;
mod migrations;
mod secrets;
mod source;
mod tables;

use crate::process::{self, Findings};
use crate::workspace;
use anyhow::{Context, Result};

pub(crate) use migrations::record as record_migrations;
pub(crate) use tables::write as write_tables;

/// One file of the tree.
struct File {
    /// Relative to the root, with slashes.
    path: String,
    size: u64,
    /// The content, when it is text.
    text: Option<String>,
}

impl File {
    fn is_rust(&self) -> bool {
        std::path::Path::new(&self.path)
            .extension()
            .is_some_and(|extension| extension == "rs")
    }

    fn is_markdown(&self) -> bool {
        std::path::Path::new(&self.path)
            .extension()
            .is_some_and(|extension| extension == "md")
    }

    fn text(&self) -> &str {
        self.text.as_deref().unwrap_or_default()
    }
}

/// Everything that is wrong with the tree.
pub(crate) fn check() -> Result<Findings> {
    let tree = tree()?;
    let mut findings = Findings::new();
    for file in &tree {
        findings.extend(files::check(file));
        findings.extend(secrets::check(file));
        if file.is_rust() {
            findings.extend(source::check(file));
        }
        if file.is_markdown() {
            findings.extend(documents::links(file, &tree));
        }
    }
    findings.extend(exceptions::stale(&tree));
    findings.extend(documents::architecture(&tree));
    findings.extend(documents::commands(&tree));
    findings.extend(documents::named_tests(&tree));
    findings.extend(tables::check(&tree));
    findings.extend(migrations::check(&tree)?);
    Ok(findings)
}

/// The domain crate performs no input or output; the dependency table cannot see the standard library.
pub(crate) fn pure_core() -> Result<Findings> {
    let tree = tree()?;
    Ok(tree
        .iter()
        .filter(|file| file.is_rust() && file.path.starts_with("crates/audiorag-core/src/"))
        .flat_map(source::impure)
        .collect())
}

/// The path and the text of every Rust file.
pub(crate) fn sources() -> Result<Vec<(String, String)>> {
    let tree = tree()?.into_iter().filter(File::is_rust);
    Ok(tree
        .map(|file| (file.path, file.text.unwrap_or_default()))
        .collect())
}

fn tree() -> Result<Vec<File>> {
    let mut git = process::program("git");
    git.args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]);
    let listing = process::capture(&mut git)?;
    let root = workspace::root();
    let mut tree = Vec::new();
    for path in listing.split('\0').filter(|path| !path.is_empty()) {
        let full = root.join(path);
        // Deleted in the work tree, or a link, which has no content of its own.
        if !full.symlink_metadata().is_ok_and(|metadata| metadata.is_file()) {
            continue;
        }
        let bytes = std::fs::read(&full).with_context(|| format!("cannot read {path}"))?;
        tree.push(File {
            path: path.to_owned(),
            size: bytes.len() as u64,
            text: String::from_utf8(bytes).ok(),
        });
    }
    Ok(tree)
}

#[cfg(test)]
fn file(path: &str, text: &str) -> File {
    File {
        path: path.to_owned(),
        size: text.len() as u64,
        text: Some(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tree_holds_this_file() {
        let tree = tree().unwrap();
        let this = tree.iter().find(|file| file.path == "xtask/src/tidy.rs").unwrap();
        assert!(this.is_rust() && this.text().starts_with("//!") && this.size > 100);
    }
}
