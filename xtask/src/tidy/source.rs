//! Rules for Rust files.

use super::{File, exceptions};
use crate::process::Findings;

/// A file that grew past this does more than one thing.
pub(super) const MAX_LINES: usize = 600;

/// All findings in one file.
pub(super) fn check(file: &File) -> Findings {
    let mut findings = Findings::new();
    let path = &file.path;
    let first = file
        .text()
        .lines()
        .find(|line| !line.trim().is_empty())
        .unwrap_or_default();
    if !first.starts_with("//!") {
        findings.push(format!(
            "{path}:1: starts without //! that says what the module is for"
        ));
    }
    if is_long(file) && !exceptions::names(exceptions::LONG, path) {
        findings.push(format!(
            "{path}: has {} lines, more than {MAX_LINES}: split it",
            file.text().lines().count()
        ));
    }
    if is_unchecked(file) && !exceptions::names(exceptions::UNCHECKED, path) {
        findings.push(format!(
            "{path}: has unsafe code and is not on the list in xtask/src/tidy/exceptions.rs"
        ));
    }
    for (number, line) in code(file.text()) {
        if ["#[allow(", "#![allow("]
            .iter()
            .any(|attribute| line.starts_with(attribute))
        {
            findings.push(format!(
                "{path}:{number}: use #[expect(..., reason = \"...\")], which goes when it is not needed"
            ));
        }
        for name in ["todo", "unimplemented", "dbg"] {
            if calls_macro(&line, name) {
                findings.push(format!("{path}:{number}: {name}! is not for committed code"));
            }
        }
        if is_bare_commit(path, &line) {
            findings.push(format!(
                "{path}:{number}: commit with db::commit and a failpoint::Step, so that the sweep comes to it"
            ));
        }
    }
    findings
}

/// Whether a line of the state crate commits a transaction where no test can make it fail. Migrations run before
/// anything else does and have tests of their own.
fn is_bare_commit(path: &str, line: &str) -> bool {
    let is_swept = path.starts_with("crates/audiorag-state/src/")
        && !path.starts_with("crates/audiorag-state/src/migration/")
        && path != "crates/audiorag-state/src/db.rs";
    is_swept && line.contains(".commit()")
}

pub(super) fn is_long(file: &File) -> bool {
    file.text().lines().count() > MAX_LINES
}

/// Whether a file has a block, function or implementation that the compiler does not check.
pub(super) fn is_unchecked(file: &File) -> bool {
    code(file.text()).any(|(_, line)| {
        line.match_indices("unsafe").any(|(at, word)| {
            let before = line.get(..at).unwrap_or_default().chars().next_back();
            let after = line.get(at + word.len()..).unwrap_or_default();
            let starts =
                before.is_none_or(|character| character.is_whitespace() || "({[=|".contains(character));
            starts
                && [" {", " fn ", " impl", " extern", " trait", "("]
                    .iter()
                    .any(|form| after.starts_with(form))
        })
    })
}

/// Uses of the operating system in a file that should be a pure function of its arguments. Tests are free.
pub(super) fn impure(file: &File) -> Findings {
    const USES: &[&str] = &[
        "std::fs",
        "std::net",
        "std::env",
        "std::process",
        "std::thread",
        "SystemTime::now",
        "Instant::now",
    ];
    let tested = file
        .text()
        .lines()
        .position(|line| line.trim() == "#[cfg(test)]")
        .unwrap_or(usize::MAX);
    let mut findings = Findings::new();
    for (number, line) in code(file.text()).take_while(|(number, _)| *number <= tested) {
        for used in USES.iter().filter(|used| line.contains(**used)) {
            findings.push(format!("{}:{number}: {used} in the pure core", file.path));
        }
    }
    findings
}

/// Lines with their numbers from 1, without indentation, comments and what strings say.
fn code(text: &str) -> impl Iterator<Item = (usize, String)> {
    text.lines()
        .enumerate()
        .map(|(index, line)| (index + 1, bare(line.trim_start())))
}

/// A line without what its strings say and without its comment. A string over several lines is taken for code:
/// good enough for rules that look for a few unmistakable forms.
fn bare(line: &str) -> String {
    let mut bare = String::with_capacity(line.len());
    let mut characters = line.chars().peekable();
    let mut previous = ' ';
    while let Some(character) = characters.next() {
        match character {
            '/' if characters.peek() == Some(&'/') => break,
            // Not the character literal '"'.
            '"' if previous != '\'' || characters.peek() != Some(&'\'') => {
                bare.push('"');
                while let Some(inner) = characters.next() {
                    match inner {
                        '\\' => {
                            characters.next();
                        }
                        '"' => break,
                        _ => {}
                    }
                }
                bare.push('"');
            }
            other => bare.push(other),
        }
        previous = character;
    }
    bare
}

fn calls_macro(line: &str, name: &str) -> bool {
    line.match_indices(name).any(|(at, word)| {
        let before = line.get(..at).unwrap_or_default().chars().next_back();
        let after = line.get(at + word.len()..).unwrap_or_default();
        !before.is_some_and(|character| character.is_alphanumeric() || "_\"`".contains(character))
            && after.starts_with("!(")
    })
}

#[cfg(test)]
mod tests {
    use super::super::file;
    use super::*;

    fn findings(text: &str) -> Findings {
        check(&file("crates/x/src/a.rs", text))
    }

    #[test]
    fn a_clean_file_has_no_findings() {
        assert_eq!(
            findings("//! Adds.\n\nfn add() {} // todo!() later\n"),
            Findings::new()
        );
        assert_eq!(
            findings("//! Says \"unsafe {\" in words.\n#![expect(unsafe_code, reason = \"x\")]\n"),
            Findings::new()
        );
    }

    #[test]
    fn each_rule_finds_its_breach() {
        for (text, expected) in [
            ("fn main() {}\n", ":1: starts without //!"),
            ("//! A.\n#[allow(dead_code)]\nfn a() {}\n", ":2: use #[expect("),
            ("//! A.\nfn a() { todo!() }\n", ":2: todo! is not"),
            (
                "//! A.\nconst A: char = '\"'; fn a() { unimplemented!() }\n",
                ":2: unimplemented! is not",
            ),
            ("//! A.\nfn a() {\n    dbg!(1);\n}\n", ":3: dbg! is not"),
            ("//! A.\nfn a() { unsafe { b() } }\n", "has unsafe code"),
            ("//! A.\nunsafe impl Send for A {}\n", "has unsafe code"),
            ("//! A.\n#[unsafe(no_mangle)]\nfn a() {}\n", "has unsafe code"),
        ] {
            let found = findings(text);
            assert!(
                found.len() == 1 && found[0].contains(expected),
                "{text:?}: {found:?}"
            );
        }
        let commits = "//! A.\nasync fn a() { tx.commit().await?; }\n";
        let of = |path| check(&file(path, commits));
        assert!(of("crates/audiorag-state/src/cache.rs")[0].contains("failpoint::Step"));
        assert_eq!(of("crates/audiorag-state/src/migration/mod.rs"), Findings::new());
        let long = format!("//! Long.\n{}", "\n".repeat(MAX_LINES));
        assert!(findings(&long)[0].contains("split it"));
    }

    #[test]
    fn impurity_counts_outside_tests_only() {
        let text = "//! A.\nuse std::fs;\n// std::net\n#[cfg(test)]\nmod tests { use std::env; }\n";
        assert_eq!(
            impure(&file("crates/audiorag-core/src/a.rs", text)),
            ["crates/audiorag-core/src/a.rs:2: std::fs in the pure core"]
        );
    }
}
