//! Whether the licence of every dependency is one we accept.
//!
//! The accepted list lives in `deny.toml`, which `cargo deny` reads too; this check needs no extra tool and no
//! network, so it always runs.

use crate::process::Findings;
use crate::workspace::{self, Workspace};
use anyhow::{Context, Result, bail, ensure};
use std::collections::BTreeSet;

/// Packages that state their licence in a file instead of an SPDX expression, with what the file says.
const STATED_IN_A_FILE: &[(&str, &str)] = &[];

/// One line for each package with a licence outside the accepted list.
pub(crate) fn check(workspace: &Workspace) -> Result<Findings> {
    let path = workspace::root().join("deny.toml");
    let accepted =
        accepted(&std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?);
    ensure!(!accepted.is_empty(), "deny.toml has no list of accepted licences");
    let mut findings = Findings::new();
    for package in workspace.packages.values() {
        let stated = STATED_IN_A_FILE
            .iter()
            .find(|(name, _)| *name == package.name)
            .map(|(_, license)| *license);
        let Some(license) = package.license.as_deref().or(stated) else {
            findings.push(format!("{} {} states no licence", package.name, package.version));
            continue;
        };
        match is_accepted(license, &accepted) {
            Ok(true) => {}
            Ok(false) => findings.push(format!(
                "{} {} is under {license}, which deny.toml does not accept",
                package.name, package.version
            )),
            Err(error) => findings.push(format!("{} {}: {error:#}", package.name, package.version)),
        }
    }
    Ok(findings)
}

/// The strings of the array `allow` in the table `[licenses]`.
fn accepted(deny: &str) -> BTreeSet<String> {
    let mut table = "";
    let mut inside = false;
    let mut accepted = BTreeSet::new();
    for line in deny
        .lines()
        .map(|line| line.split('#').next().unwrap_or_default().trim())
    {
        if line.starts_with('[') && !inside {
            table = line;
        } else if table == "[licenses]" && line.starts_with("allow") {
            inside = true;
        }
        if inside {
            accepted.extend(line.split('"').skip(1).step_by(2).map(str::to_owned));
            inside = !line.ends_with(']');
        }
    }
    accepted
}

/// Evaluates an SPDX expression: every licence joined by `AND`, or one of those joined by `OR`.
fn is_accepted(expression: &str, accepted: &BTreeSet<String>) -> Result<bool> {
    // Old manifests separate alternatives with a slash.
    let spaced = expression
        .replace('/', " OR ")
        .replace('(', " ( ")
        .replace(')', " ) ");
    let mut words = spaced.split_whitespace().peekable();
    let verdict = alternatives(&mut words, accepted)
        .with_context(|| format!("cannot read the licence expression {expression:?}"))?;
    if let Some(rest) = words.next() {
        bail!("cannot read the licence expression {expression:?} from {rest:?} on");
    }
    Ok(verdict)
}

type Words<'text> = std::iter::Peekable<std::str::SplitWhitespace<'text>>;

fn alternatives(words: &mut Words<'_>, accepted: &BTreeSet<String>) -> Result<bool> {
    let mut verdict = conjunction(words, accepted)?;
    while words.next_if_eq(&"OR").is_some() {
        verdict |= conjunction(words, accepted)?;
    }
    Ok(verdict)
}

fn conjunction(words: &mut Words<'_>, accepted: &BTreeSet<String>) -> Result<bool> {
    let mut verdict = single(words, accepted)?;
    while words.next_if_eq(&"AND").is_some() {
        verdict &= single(words, accepted)?;
    }
    Ok(verdict)
}

fn single(words: &mut Words<'_>, accepted: &BTreeSet<String>) -> Result<bool> {
    match words.next() {
        Some("(") => {
            let verdict = alternatives(words, accepted)?;
            ensure!(words.next() == Some(")"), "a parenthesis is not closed");
            Ok(verdict)
        }
        Some(name) if !matches!(name, ")" | "AND" | "OR" | "WITH") => {
            if words.next_if_eq(&"WITH").is_some() {
                let exception = words.next().context("an exception has no name")?;
                return Ok(accepted.contains(&format!("{name} WITH {exception}")));
            }
            Ok(accepted.contains(name))
        }
        other => bail!("expected a licence, found {}", other.unwrap_or("the end")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list() -> BTreeSet<String> {
        accepted(
            "[bans]\nallow = [\"x\"]\n[licenses]\n# why\nallow = [\n  \"MIT\", # common\n  \"Unicode-3.0\",\n  \
             \"Apache-2.0 WITH LLVM-exception\",\n]\nconfidence-threshold = 0.9\n[sources]\nallow = [\"y\"]\n",
        )
    }

    #[test]
    fn the_list_is_read_from_its_own_table() {
        assert_eq!(
            list().into_iter().collect::<Vec<_>>(),
            ["Apache-2.0 WITH LLVM-exception", "MIT", "Unicode-3.0"]
        );
    }

    #[test]
    fn expressions_are_evaluated() {
        let list = list();
        for (expression, expected) in [
            ("MIT", true),
            ("GPL-3.0-only", false),
            ("GPL-3.0-only OR MIT", true),
            ("GPL-3.0-only/MIT", true),
            ("(MIT OR GPL-3.0-only) AND Unicode-3.0", true),
            ("MIT AND GPL-3.0-only", false),
            ("MIT OR GPL-3.0-only AND ISC", true),
            ("Apache-2.0 WITH LLVM-exception", true),
            ("Apache-2.0", false),
        ] {
            assert_eq!(is_accepted(expression, &list).unwrap(), expected, "{expression}");
        }
    }

    #[test]
    fn nonsense_is_an_error_not_a_licence() {
        for expression in ["", "MIT MIT", "(MIT", "AND MIT", "MIT OR", "MIT WITH"] {
            assert!(is_accepted(expression, &list()).is_err(), "{expression}");
        }
    }
}
