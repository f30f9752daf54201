//! `cargo xtask gates`: what a change must pass besides its tests. Cheap gates come first.

use crate::process::{self, Findings};
use crate::workspace::Workspace;
use crate::{coverage, deps, environment, tidy};
use anyhow::{Result, bail, ensure};
use std::collections::BTreeSet;
use std::process::Command;
use std::time::Instant;

/// How a gate ended when it did not fail.
enum Verdict {
    Passed,
    /// It could not be tried, and why.
    Skipped(String),
}

struct Gate {
    name: &'static str,
    check: fn() -> Result<Verdict>,
}

const GATES: &[Gate] = &[
    Gate {
        name: "fmt",
        check: fmt,
    },
    Gate {
        name: "tidy",
        check: || findings("tidy", tidy::check()),
    },
    Gate {
        name: "deps",
        check: || findings("deps", deps::check()),
    },
    Gate {
        name: "deny",
        check: deny,
    },
    Gate {
        name: "clippy",
        check: clippy,
    },
    Gate {
        name: "rustdoc",
        check: rustdoc,
    },
    Gate {
        name: "coverage",
        check: || findings("coverage", coverage::check()),
    },
];

/// Runs the named gates, or all, or after `--but` all others; every one of them, whatever the others say.
pub(crate) fn run(arguments: &[&str]) -> Result<()> {
    let (others, names): (bool, &[&str]) = match arguments {
        ["--but", names @ ..] => (true, names),
        names => (names.is_empty(), names),
    };
    if let Some(unknown) = names
        .iter()
        .find(|name| GATES.iter().all(|gate| gate.name != **name))
    {
        let known: Vec<&str> = GATES.iter().map(|gate| gate.name).collect();
        bail!("there is no gate {unknown:?}, only {}", known.join(", "));
    }
    let mut lines = Vec::new();
    let (mut passed, mut failed, mut skipped) = (0, 0, 0);
    for gate in GATES.iter().filter(|gate| names.contains(&gate.name) != others) {
        process::headline(&format!("gate {}", gate.name));
        let started = Instant::now();
        let verdict = match (gate.check)() {
            Ok(Verdict::Passed) => {
                passed += 1;
                "passed".to_owned()
            }
            Ok(Verdict::Skipped(why)) => {
                skipped += 1;
                format!("SKIPPED: {why}")
            }
            Err(error) => {
                failed += 1;
                format!("FAILED: {error:#}")
            }
        };
        println!("gate {}: {verdict}", gate.name);
        lines.push(format!(
            "  {:<9} {:>12}  {verdict}",
            gate.name,
            process::elapsed(started)
        ));
    }
    process::headline("gates");
    for line in &lines {
        println!("{line}");
    }
    println!(
        "{passed} passed, {failed} failed{}",
        match skipped {
            0 => String::new(),
            skipped => format!(", {skipped} skipped"),
        }
    );
    if failed > 0 {
        bail!("{failed} of {} gates failed", passed + failed + skipped);
    }
    Ok(())
}

fn findings(name: &str, findings: Result<Findings>) -> Result<Verdict> {
    process::report(name, findings).map(|()| Verdict::Passed)
}

fn fmt() -> Result<Verdict> {
    process::run(&mut process::cargo(&["fmt", "--all", "--check"]))?;
    Ok(Verdict::Passed)
}

/// `cargo deny` says more than our own licence and version checks, but building it takes long: it runs where it
/// is installed, and the checks of `deps` run everywhere.
fn deny() -> Result<Verdict> {
    if !environment::has_program("cargo-deny") {
        return Ok(Verdict::Skipped(
            "cargo-deny is not installed; licences and versions were checked by deps".into(),
        ));
    }
    process::run(&mut process::cargo(&[
        "deny",
        "--offline",
        "check",
        "bans",
        "licenses",
        "sources",
    ]))?;
    Ok(Verdict::Passed)
}

/// Crates whose features for vendors only switch on those of the crate below: one of them stands for all.
const FORWARDERS: &[&str] = &["audiorag", "audiorag-cli"];
/// The features of a forwarder that change its own code.
const OWN_FEATURES: &[&str] = &["default", "failpoints", "http", "local", "s3", "web"];

/// The whole workspace as it is built by default, then every crate with features: with none, each alone, all.
/// Goes on after a failure, to show all of them.
fn clippy() -> Result<Verdict> {
    let mut runs = vec![warnings_denied(&["--workspace", "--all-targets", "--keep-going"])];
    let workspace = Workspace::load()?;
    for package in workspace.members() {
        let forwards = FORWARDERS.contains(&package.name.as_str());
        let alone: BTreeSet<String> = package
            .features
            .iter()
            .filter(|name| !forwards || OWN_FEATURES.contains(&name.as_str()))
            .cloned()
            .collect();
        for set in feature_sets(&alone)
            .into_iter()
            .filter(|_| package.features.iter().any(|name| name != "default"))
        {
            let mut arguments = vec!["-p", package.name.as_str(), "--no-default-features"];
            let joined = set.join(",");
            if !set.is_empty() {
                arguments.extend(["--features", &joined]);
            }
            // Tests are written for the default build; with all features they must compile too.
            if set.len() > 1 || package.features.len() <= 2 {
                arguments.push("--all-targets");
            }
            runs.push(warnings_denied(&arguments));
        }
    }
    let failed: Vec<String> = runs
        .iter_mut()
        .filter_map(|run| process::run(run).err())
        .map(|error| error.to_string())
        .collect();
    ensure!(failed.is_empty(), "{}", failed.join("; "));
    Ok(Verdict::Passed)
}

fn warnings_denied(arguments: &[&str]) -> Command {
    let mut command = process::cargo(&["clippy", "--quiet", "--locked"]);
    command.args(arguments).args(["--", "-D", "warnings"]);
    command
}

/// None, each alone, and all, without `default`, which is one of the others or a sum of them.
fn feature_sets(features: &BTreeSet<String>) -> Vec<Vec<&str>> {
    let named: Vec<&str> = features
        .iter()
        .map(String::as_str)
        .filter(|name| *name != "default")
        .collect();
    let mut sets = vec![Vec::new()];
    sets.extend(named.iter().map(|name| vec![*name]));
    if named.len() > 1 {
        sets.push(named);
    }
    sets
}

fn rustdoc() -> Result<Verdict> {
    let mut command = process::cargo(&["doc", "--workspace", "--no-deps", "--locked", "--quiet"]);
    process::run(command.env("RUSTDOCFLAGS", "-D warnings"))?;
    Ok(Verdict::Passed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn feature_sets_are_none_each_and_all() {
        let features = |names: &[&str]| {
            names
                .iter()
                .map(|name| (*name).to_owned())
                .collect::<BTreeSet<_>>()
        };
        assert_eq!(
            feature_sets(&features(&["default", "local"])),
            [vec![], vec!["local"]]
        );
        assert_eq!(
            feature_sets(&features(&["default", "a", "b"])),
            [vec![], vec!["a"], vec!["b"], vec!["a", "b"]]
        );
    }

    #[test]
    fn an_unknown_gate_is_named() {
        let error = run(&["fnt"]).unwrap_err().to_string();
        assert!(error.contains("\"fnt\"") && error.contains("fmt"), "{error}");
    }
}
