//! Rules for Markdown: what it names must exist.

use super::File;
use crate::process::Findings;

/// Links to files of the repository that are not there.
pub(super) fn links(file: &File, tree: &[File]) -> Findings {
    let mut findings = Findings::new();
    for (number, line) in prose(file.text()) {
        for target in line.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let target = target.split('#').next().unwrap_or_default();
            if target.is_empty() || target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            let resolved = resolve(&file.path, target);
            if !exists(&resolved, tree) {
                findings.push(format!(
                    "{}:{number}: links to {target}, which is not there",
                    file.path
                ));
            }
        }
    }
    findings
}

/// Paths and types that `ARCHITECTURE.md` names in backquotes and the tree does not have.
pub(super) fn architecture(tree: &[File]) -> Findings {
    const NAME: &str = "ARCHITECTURE.md";
    let Some(file) = tree.iter().find(|file| file.path == NAME) else {
        return vec![format!("{NAME} is missing")];
    };
    let mut findings = Findings::new();
    for (number, line) in prose(file.text()) {
        for name in line.split('`').skip(1).step_by(2) {
            let missing = if is_path(name) {
                !exists(&resolve(NAME, name), tree)
            } else if is_type(name) {
                !is_defined(name, tree)
            } else {
                false
            };
            if missing {
                findings.push(format!(
                    "{NAME}:{number}: names `{name}`, which is not in the tree"
                ));
            }
        }
    }
    findings
}

/// Pages whose tables name a test in the last column of every row.
const TESTED_PAGES: &[&str] = &["docs/reliability.md", "docs/sources.md"];

/// Tests that a table names and the tree does not have: a promise whose test is gone is none.
pub(super) fn named_tests(tree: &[File]) -> Findings {
    TESTED_PAGES
        .iter()
        .flat_map(|name| named_in(name, tree))
        .collect()
}

fn named_in(name: &str, tree: &[File]) -> Findings {
    let Some(file) = tree.iter().find(|file| file.path == name) else {
        return vec![format!("{name} is missing")];
    };
    let mut findings = Findings::new();
    for (number, line) in prose(file.text()) {
        let Some(row) = line
            .trim()
            .strip_prefix('|')
            .and_then(|row| row.strip_suffix('|'))
        else {
            continue;
        };
        let tests = row.rsplit('|').next().unwrap_or_default();
        if tests.trim() == "tests" || tests.trim().starts_with('-') {
            continue;
        }
        if !tests.contains('`') {
            findings.push(format!("{name}:{number}: names no test for this row"));
        }
        for test in tests.split('`').skip(1).step_by(2) {
            let definition = format!("fn {test}(");
            let is_there = tree
                .iter()
                .any(|file| file.is_rust() && file.text().contains(&definition));
            if !is_there {
                findings.push(format!(
                    "{name}:{number}: names the test `{test}`, which is not in the tree"
                ));
            }
        }
    }
    findings
}

/// The README promises two commands; the script that CI runs must run the second as the README writes it.
pub(super) fn commands(tree: &[File]) -> Findings {
    let mut findings = Findings::new();
    let has_line = |path: &str, expected: &str| {
        tree.iter().find(|file| file.path == path).is_some_and(|file| {
            file.text()
                .lines()
                .any(|line| line.trim().trim_start_matches("$ ") == expected)
        })
    };
    for (path, command) in [
        ("README.md", "cargo xtask demo"),
        ("README.md", "cargo xtask test"),
        ("CHANGELOG.md", "## [Unreleased]"),
    ] {
        if !has_line(path, command) {
            findings.push(format!("{path} has no line `{command}`"));
        }
    }
    let script = tree
        .iter()
        .find(|file| file.path == ".ci/run")
        .map(File::text)
        .unwrap_or_default();
    if !script.contains("cargo xtask test") || !script.contains("cargo xtask gates") {
        findings.push(".ci/run does not run `cargo xtask test` and `cargo xtask gates`".to_owned());
    }
    findings
}

/// Lines with their numbers from 1, without fenced blocks.
fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut fenced = false;
    text.lines().enumerate().filter_map(move |(index, line)| {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
            return None;
        }
        (!fenced).then_some((index + 1, line))
    })
}

/// `crates/audiorag-core/src/time.rs`, `docs/adr/` and `deny.toml` are paths; `http.rs` alone is a short name for
/// a file of the crate at hand, and `GET /v1/x`, `a/b@c` and globs are something else.
fn is_path(name: &str) -> bool {
    const ROOTS: &[&str] = &["crates/", "tests/", "xtask/", "docs/", ".ci/", ".cargo/"];
    const TOP: &[&str] = &[".toml", ".md", ".lock"];
    let plain = name
        .chars()
        .all(|character| character.is_alphanumeric() || "./_-".contains(character));
    let top = !name.contains('/') && !name.starts_with('.') && TOP.iter().any(|end| name.ends_with(end));
    plain && (ROOTS.iter().any(|root| name.starts_with(root)) || (top && name != "audiorag.toml"))
}

fn is_type(name: &str) -> bool {
    name.starts_with(|character: char| character.is_ascii_uppercase())
        && name.chars().all(|character| character.is_ascii_alphanumeric())
        && name.contains(|character: char| character.is_ascii_lowercase())
}

fn is_defined(name: &str, tree: &[File]) -> bool {
    let definitions: Vec<String> = ["struct", "enum", "trait", "type"]
        .iter()
        .map(|keyword| format!("{keyword} {name}"))
        .collect();
    tree.iter().filter(|file| file.is_rust()).any(|file| {
        definitions.iter().any(|definition| {
            file.text().match_indices(definition.as_str()).any(|(at, _)| {
                let after = file
                    .text()
                    .get(at + definition.len()..)
                    .and_then(|rest| rest.chars().next());
                !after.is_some_and(|character| character.is_alphanumeric() || character == '_')
            })
        })
    })
}

/// A target relative to the folder of the file that names it.
fn resolve(from: &str, target: &str) -> String {
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    if target.starts_with('/') {
        parts.clear();
    }
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join("/")
}

fn exists(path: &str, tree: &[File]) -> bool {
    let folder = format!("{path}/");
    path.is_empty()
        || tree
            .iter()
            .any(|file| file.path == path || file.path.starts_with(&folder))
}

#[cfg(test)]
mod tests {
    use super::super::file;
    use super::*;

    #[test]
    fn broken_links_are_found_relative_to_their_file() {
        let tree = [
            file(
                "docs/a.md",
                "[ok](b.md) [up](../README.md#x) [out](https://e.org) [no](c.md)\n```\n[x](y.md)\n```\n",
            ),
            file("docs/b.md", ""),
            file("README.md", "[folder](docs/)\n"),
        ];
        assert_eq!(
            links(&tree[0], &tree),
            ["docs/a.md:1: links to c.md, which is not there"]
        );
        assert_eq!(links(&tree[2], &tree), Findings::new());
    }

    #[test]
    fn the_architecture_names_only_what_is_there() {
        let tree = [
            file(
                "ARCHITECTURE.md",
                "`crates/x/src/a.rs` `Good` `GoodOther` `crates/y` `cargo test` `deny.toml`\n",
            ),
            file("crates/x/src/a.rs", "pub struct Good;\n"),
        ];
        assert_eq!(
            architecture(&tree),
            [
                "ARCHITECTURE.md:1: names `GoodOther`, which is not in the tree",
                "ARCHITECTURE.md:1: names `crates/y`, which is not in the tree",
                "ARCHITECTURE.md:1: names `deny.toml`, which is not in the tree",
            ]
        );
    }

    #[test]
    fn tests_that_a_table_names_have_to_be_there() {
        let table = "| failure | what happens | tests |\n|---|---|---|\n| a | b | `is_there`, `is_gone` |\n| c | d | |\n";
        let tree = [
            file("docs/reliability.md", table),
            file("tests/it/a.rs", "#[test]\nfn is_there() {}\n"),
        ];
        assert_eq!(
            named_in("docs/reliability.md", &tree),
            [
                "docs/reliability.md:3: names the test `is_gone`, which is not in the tree",
                "docs/reliability.md:4: names no test for this row",
            ]
        );
        assert_eq!(
            named_tests(&[]),
            ["docs/reliability.md is missing", "docs/sources.md is missing"]
        );
    }

    #[test]
    fn the_promised_commands_are_looked_for() {
        let tree = [
            file("README.md", "```sh\n$ cargo xtask demo\ncargo xtask test\n```\n"),
            file("CHANGELOG.md", "## [Unreleased]\n"),
            file(".ci/run", "cargo xtask test\n"),
        ];
        assert_eq!(
            commands(&tree),
            [".ci/run does not run `cargo xtask test` and `cargo xtask gates`"]
        );
    }
}
