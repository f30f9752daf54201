//! A migration that users have run must never change: its hash is recorded and compared.

use super::{File, tree};
use crate::process::Findings;
use crate::workspace;
use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Lines of `sha256  path`, sorted by path.
const LOCK: &str = "xtask/migrations.lock";
const FOLDER: &str = "crates/audiorag-state/src/migration/";

/// Migrations that changed, vanished or were not recorded.
pub(super) fn check(tree: &[File]) -> Result<Findings> {
    Ok(compare(&recorded()?, &present(tree)))
}

fn compare(recorded: &BTreeMap<String, String>, present: &BTreeMap<String, String>) -> Findings {
    let mut findings = Findings::new();
    for (path, hash) in recorded {
        match present.get(path) {
            None => findings.push(format!("{path}: a recorded migration is gone")),
            Some(now) if now != hash => {
                findings.push(format!(
                    "{path}: a recorded migration changed: write a new one instead"
                ));
            }
            Some(_) => {}
        }
    }
    for path in present.keys().filter(|path| !recorded.contains_key(*path)) {
        findings.push(format!(
            "{path}: a migration is not recorded: run cargo xtask bless"
        ));
    }
    findings
}

/// Records new migrations. Those on record stay as they are, unless they never left this repository.
pub(crate) fn record(unreleased: bool) -> Result<()> {
    let present = present(&tree()?);
    let recorded = recorded()?;
    if !unreleased {
        for finding in compare(&recorded, &present) {
            if !finding.ends_with("run cargo xtask bless") {
                bail!("{finding} (or, if no release has it yet, cargo xtask bless --unreleased)");
            }
        }
    }
    let mut text = String::new();
    for (path, hash) in &present {
        writeln!(text, "{hash}  {path}")?;
    }
    std::fs::write(workspace::root().join(LOCK), text).with_context(|| format!("cannot write {LOCK}"))?;
    println!("{LOCK}: {} migrations", present.len());
    Ok(())
}

/// Files named `m20260101_000001_verb.rs`, by path.
fn present(tree: &[File]) -> BTreeMap<String, String> {
    tree.iter()
        .filter(|file| file.is_rust())
        .filter(|file| {
            file.path
                .strip_prefix(FOLDER)
                .and_then(|name| name.strip_prefix('m'))
                .is_some_and(|name| name.starts_with(|character: char| character.is_ascii_digit()))
        })
        .map(|file| (file.path.clone(), hash(file.text())))
        .collect()
}

fn recorded() -> Result<BTreeMap<String, String>> {
    let path = workspace::root().join(LOCK);
    if !path.exists() {
        return Ok(BTreeMap::new());
    }
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {LOCK}"))?;
    text.lines()
        .map(|line| {
            let (hash, path) = line
                .split_once("  ")
                .with_context(|| format!("{LOCK}: malformed line {line:?}"))?;
            Ok((path.to_owned(), hash.to_owned()))
        })
        .collect()
}

fn hash(text: &str) -> String {
    Sha256::digest(text.as_bytes())
        .iter()
        .fold(String::new(), |mut hex, byte| {
            // Writing to a string cannot fail.
            let _ = write!(hex, "{byte:02x}");
            hex
        })
}

#[cfg(test)]
mod tests {
    use super::super::file;
    use super::*;

    #[test]
    fn changes_losses_and_additions_are_told_apart() {
        let before = present(&[
            file(
                "crates/audiorag-state/src/migration/m20261123_000001_create.rs",
                "a",
            ),
            file("crates/audiorag-state/src/migration/m20261123_000002_add.rs", "b"),
            file("crates/audiorag-state/src/migration/mod.rs", "not a migration"),
        ]);
        assert_eq!(before.len(), 2);
        assert_eq!(compare(&before, &before), Findings::new());
        let after = present(&[
            file(
                "crates/audiorag-state/src/migration/m20261123_000002_add.rs",
                "changed",
            ),
            file("crates/audiorag-state/src/migration/m20261124_000001_new.rs", "c"),
        ]);
        let findings = compare(&before, &after);
        assert_eq!(findings.len(), 3);
        assert!(findings[0].contains("000001_create") && findings[0].contains("gone"));
        assert!(findings[1].contains("000002_add") && findings[1].contains("changed"));
        assert!(findings[2].contains("000001_new") && findings[2].contains("not recorded"));
    }

    #[test]
    fn the_hash_is_sha256() {
        assert_eq!(
            hash("abc"),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }
}
