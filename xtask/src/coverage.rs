//! `cargo xtask coverage`: the share of each crate's lines that its tests run, against a floor.
//!
//! Uses `cargo tarpaulin` with the compiler's own instrumentation, which sees functions that were never called
//! and counts what child processes ran. Its build is kept apart, since the instrumentation changes every crate.

use crate::process::{self, Findings};
use crate::suites::Suites;
use crate::workspace::{self, Workspace};
use crate::{environment, models, programs, servers, tidy};
use anyhow::{Context, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::Command;

/// No crate may have a smaller share of lines run by tests.
const FLOOR: f64 = 80.0;
/// What is installed where there is no tarpaulin yet.
const TARPAULIN_VERSION: &str = "0.37.5";
/// The instrumentation carries its own map to the source: debug information would only cost time and disk.
const NO_DEBUG_INFO: &str = "--rustflags=-Cdebuginfo=0";
/// Seconds after which a test program counts as hung. The sweep of failpoints takes a quarter of an hour on two busy cores.
const LONGEST_SUITE: &str = "2700";
/// Crates that are tools or tests themselves.
const EXCLUDED: &[&str] = &["xtask", "audiorag-e2e"];

/// A run of the tests in which every line was watched.
pub(crate) struct Measured {
    /// The test programs, and how each ended.
    pub(crate) suites: Suites,
    /// What is wrong with the coverage.
    pub(crate) findings: Findings,
}

/// Measures, prints the table, and names the crates below the floor and the tests that failed.
pub(crate) fn check() -> Result<Findings> {
    let Measured { suites, mut findings } = measure()?;
    let failed = suites
        .failures
        .iter()
        .map(|name| format!("the test {name} failed"));
    findings.extend(failed);
    Ok(findings)
}

/// Runs the tests and prints the table.
pub(crate) fn measure() -> Result<Measured> {
    ensure_tarpaulin()?;
    let workspace = Workspace::load()?;
    let target = target(&workspace);

    // The end-to-end tests start the program. It must be instrumented with tarpaulin's own flags, so that it
    // leaves a profile, and tarpaulin must be told of it, so that it can read the profile.
    let mut build = process::cargo(&["build", "--lib", "--bins", "--tests"]);
    build
        .args(WHAT)
        .arg("--target-dir")
        .arg(&target)
        .env("RUSTFLAGS", rust_flags()?);
    process::run(&mut build)?;
    let program = target
        .join("debug")
        .join(format!("audiorag{}", std::env::consts::EXE_SUFFIX));
    let folder = models::pull(&program)?;
    programs::install()?;

    let report = target.join("lcov.info");
    if report.exists() {
        std::fs::remove_file(&report).with_context(|| format!("cannot remove {}", report.display()))?;
    }
    let mut command = process::cargo(&["tarpaulin", "--engine", "llvm", NO_DEBUG_INFO]);
    command
        .args(WHAT)
        .args([
            "--skip-clean",
            "--implicit-test-threads",
            "--no-fail-fast",
            "--timeout",
            LONGEST_SUITE,
        ])
        .args(["--out", "lcov", "--output-dir"])
        .arg(&target)
        .arg("--target-dir")
        .arg(&target)
        .arg("--objects")
        .arg(&program)
        .env("AUDIORAG_TEST_MODELS", &folder)
        .envs(servers::install(&workspace.target_directory)?.variables());
    let mut suites = Suites::default();
    let status = process::stream(&mut command, |line| {
        suites.line(line);
        is_worth_showing(line)
    })?;
    // Every process that a test started left a profile of a few megabytes.
    let _ = std::fs::remove_dir_all(target.join("tarpaulin").join("profraws"));

    let lcov =
        std::fs::read_to_string(&report).with_context(|| format!("cannot read {}", report.display()))?;
    let root = workspace::root();
    let files = files(&lcov, root.to_str().context("the root's name is not UTF-8")?);
    let crates = by_crate(&files);
    print!("{}", table(&crates, &files));
    let mut findings = below_the_floor(&workspace, &crates);
    findings.extend(unmeasured(&tidy::sources()?, &files));
    if !status.success() && suites.failures.is_empty() {
        findings.push(format!("cargo tarpaulin ended with {status}"));
    }
    Ok(Measured { suites, findings })
}

/// The tests in documentation, which tarpaulin leaves out, with what was built for the others. They count for nothing in
/// the coverage.
pub(crate) fn documentation() -> Result<Command> {
    let mut command = process::cargo(&["test", "--doc"]);
    command
        .args(WHAT)
        .arg("--target-dir")
        .arg(target(&Workspace::load()?))
        .env("RUSTFLAGS", rust_flags()?)
        .env("LLVM_PROFILE_FILE", "/dev/null");
    Ok(command)
}

fn target(workspace: &Workspace) -> PathBuf {
    workspace.target_directory.join("coverage")
}

/// Every feature is on, because tarpaulin does not look at code behind a feature that it was not told of.
const WHAT: &[&str] = &["--workspace", "--exclude", "xtask", "--all-features", "--locked"];

/// The tests that passed and tarpaulin's notes on every file would hide what matters.
fn is_worth_showing(line: &str) -> bool {
    !(line.contains(" INFO") || line.starts_with("||") || line.ends_with(" ... ok") || line.is_empty())
}

/// Source files with several functions of which the report knows nothing: they would lift a crate's share by being
/// left out.
///
/// Files that a build with every feature and without tests does not have are none of them.
fn unmeasured(sources: &[(String, String)], files: &BTreeMap<String, Lines>) -> Findings {
    let left_out: BTreeSet<String> = sources
        .iter()
        .flat_map(|(path, text)| not_built(path, text))
        .collect();
    sources
        .iter()
        .filter(|(path, _)| !left_out.contains(path))
        .filter(|(path, _)| path.starts_with("crates/") && path.contains("/src/"))
        .filter(|(path, _)| !path.contains("/tests/") && !path.ends_with("/tests.rs"))
        .filter(|(path, _)| !files.contains_key(path))
        .filter(|(_, text)| {
            let code = text.split("#[cfg(test)]").next().unwrap_or_default();
            code.lines()
                .filter(|line| line.contains("fn ") && line.ends_with('{'))
                .count()
                >= 3
        })
        .map(|(path, _)| format!("{path} is not in the coverage report"))
        .collect()
}

/// The files of modules that the source declares for tests only, and of those that stand for a missing feature.
fn not_built(path: &str, text: &str) -> Vec<String> {
    let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
    let own = match path.strip_suffix(".rs") {
        Some(stem) if !path.ends_with("/lib.rs") && !path.ends_with("/mod.rs") => stem,
        _ => folder,
    };
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let tests = lines.windows(2).filter_map(|pair| match pair {
        ["#[cfg(test)]", declared] => declared
            .strip_prefix("mod ")?
            .strip_suffix(';')
            .map(|name| format!("{own}/{name}.rs")),
        _ => None,
    });
    let stand_ins = lines.iter().filter_map(|line| {
        let (_, name) = line
            .strip_prefix("#[cfg_attr(not(feature = ")?
            .split_once("path = \"")?;
        name.strip_suffix("\")]").map(|name| format!("{folder}/{name}"))
    });
    tests.chain(stand_ins).collect()
}

/// Lines of a file or crate, and how many of them ran.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Lines {
    run: u64,
    all: u64,
}

impl Lines {
    fn percent(self) -> f64 {
        if self.all == 0 {
            100.0
        } else {
            self.run as f64 * 100.0 / self.all as f64
        }
    }
}

fn ensure_tarpaulin() -> Result<()> {
    if environment::has_program("cargo-tarpaulin") {
        return Ok(());
    }
    process::headline("installing cargo-tarpaulin (about ten minutes, once)");
    process::run(&mut process::cargo(&[
        "install",
        "cargo-tarpaulin",
        "--locked",
        "--version",
        TARPAULIN_VERSION,
    ]))
}

fn rust_flags() -> Result<String> {
    let printed = process::capture(&mut process::cargo(&[
        "tarpaulin",
        "--engine",
        "llvm",
        NO_DEBUG_INFO,
        "--print-rust-flags",
    ]))?;
    printed
        .lines()
        .find_map(|line| line.trim().strip_prefix("RUSTFLAGS=\"")?.strip_suffix('"'))
        .map(str::to_owned)
        .with_context(|| format!("cargo tarpaulin printed no RUSTFLAGS: {printed}"))
}

/// Lines of each source file, by its path from the root. Code of tests does not count.
fn files(lcov: &str, root: &str) -> BTreeMap<String, Lines> {
    let mut files: BTreeMap<String, Lines> = BTreeMap::new();
    let mut current: Option<String> = None;
    for line in lcov.lines() {
        if let Some(path) = line.strip_prefix("SF:") {
            let path = path.strip_prefix(root).unwrap_or(path).trim_start_matches('/');
            current = (path.starts_with("crates/") && path.contains("/src/")).then(|| path.to_owned());
        } else if let (Some(path), Some(data)) = (&current, line.strip_prefix("DA:")) {
            let hits = data
                .split(',')
                .nth(1)
                .and_then(|hits| hits.parse::<u64>().ok())
                .unwrap_or_default();
            let lines = files.entry(path.clone()).or_default();
            lines.all += 1;
            lines.run += u64::from(hits > 0);
        }
    }
    files
}

fn by_crate(files: &BTreeMap<String, Lines>) -> BTreeMap<String, Lines> {
    let mut crates: BTreeMap<String, Lines> = BTreeMap::new();
    for (path, lines) in files {
        if let Some(name) = path.split('/').nth(1) {
            let sum = crates.entry(name.to_owned()).or_default();
            sum.run += lines.run;
            sum.all += lines.all;
        }
    }
    crates
}

fn table(crates: &BTreeMap<String, Lines>, files: &BTreeMap<String, Lines>) -> String {
    let row = |name: &str, lines: Lines| {
        format!(
            "  {name:<26} {:>7} {:>8} {:>8.1} %",
            lines.all,
            lines.run,
            lines.percent()
        )
    };
    let mut rows = vec![
        String::new(),
        "  crate                        lines      run   coverage".to_owned(),
    ];
    rows.extend(crates.iter().map(|(name, lines)| row(name, *lines)));
    let total = crates.values().fold(Lines::default(), |sum, lines| Lines {
        run: sum.run + lines.run,
        all: sum.all + lines.all,
    });
    rows.push(row("all", total));
    let mut worst: Vec<_> = files
        .iter()
        .filter(|(_, lines)| lines.percent() < FLOOR)
        .collect();
    worst.sort_by_key(|(_, lines)| std::cmp::Reverse(lines.all - lines.run));
    if !worst.is_empty() {
        rows.push("\n  most lines not run, in files below the floor".to_owned());
    }
    rows.extend(worst.into_iter().take(15).map(|(path, lines)| {
        format!(
            "  {path:<60} {:>4} of {:>4} not run",
            lines.all - lines.run,
            lines.all
        )
    }));
    rows.join("\n") + "\n\n"
}

fn below_the_floor(workspace: &Workspace, crates: &BTreeMap<String, Lines>) -> Findings {
    let mut findings = Findings::new();
    for name in workspace
        .members()
        .map(|package| package.name.as_str())
        .filter(|name| !EXCLUDED.contains(name))
    {
        match crates.get(name) {
            // A crate that vanished from the report would otherwise pass unmeasured.
            None => findings.push(format!("{name} is not in the coverage report")),
            Some(lines) if lines.percent() < FLOOR => {
                findings.push(format!(
                    "{name} has {:.1} % of its lines run, below {FLOOR} %",
                    lines.percent()
                ));
            }
            Some(_) => {}
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    const LCOV: &str = "TN:\nSF:/w/crates/a/src/lib.rs\nDA:1,3\nDA:2,0\nend_of_record\n\
        SF:/w/crates/a/src/b.rs\nDA:7,1\nDA:8,1\nend_of_record\n\
        SF:/w/crates/a/tests/it.rs\nDA:1,0\nend_of_record\n\
        SF:/w/tests/src/lib.rs\nDA:1,0\nend_of_record\n";

    #[test]
    fn lines_are_summed_by_crate_without_tests() {
        let files = files(LCOV, "/w");
        assert_eq!(files.len(), 2);
        let crates = by_crate(&files);
        assert_eq!(crates.get("a"), Some(&Lines { run: 3, all: 4 }));
        let table = table(&crates, &files);
        assert!(
            table.contains("75.0 %") && table.contains("crates/a/src/lib.rs"),
            "{table}"
        );
        assert!(!table.contains("crates/a/src/b.rs"), "{table}");
    }

    #[test]
    fn files_that_are_not_built_are_not_missed() {
        let three = "fn a() {\n}\nfn b() {\n}\nfn c() {\n}\n";
        let source = |path: &str, text: &str| (path.to_owned(), text.to_owned());
        let sources = [
            source("crates/a/src/lib.rs", "#[cfg(test)]\nmod top;\n"),
            source("crates/a/src/top.rs", three),
            source(
                "crates/a/src/prompt.rs",
                "#[cfg(test)]\nmod attacks;\nmod built;\n",
            ),
            source("crates/a/src/prompt/attacks.rs", three),
            source("crates/a/src/prompt/built.rs", three),
            source(
                "crates/a/src/index.rs",
                "#[cfg_attr(not(feature = \"web\"), path = \"index/no_web.rs\")]\nmod web;\n",
            ),
            source("crates/a/src/index/no_web.rs", three),
            source("crates/a/src/index/web.rs", three),
        ];
        assert_eq!(
            unmeasured(&sources, &files(LCOV, "/w")),
            [
                "crates/a/src/prompt/built.rs is not in the coverage report",
                "crates/a/src/index/web.rs is not in the coverage report"
            ]
        );
    }

    #[test]
    fn a_file_that_was_left_out_is_found() {
        let three = "fn a() {\n}\nfn b() {\n}\nfn c() {\n}\n";
        let source = |path: &str, text: &str| (path.to_owned(), text.to_owned());
        let sources = [
            source("crates/a/src/lib.rs", three),
            source("crates/a/src/hidden.rs", three),
            source("crates/a/src/tests.rs", three),
            source(
                "crates/a/src/names.rs",
                "pub mod x;\n#[cfg(test)]\nfn a() {\nfn b() {\nfn c() {\n",
            ),
        ];
        assert_eq!(
            unmeasured(&sources, &files(LCOV, "/w")),
            ["crates/a/src/hidden.rs is not in the coverage report"]
        );
    }

    #[test]
    fn nothing_to_run_is_covered() {
        assert!(Lines::default().percent() > 99.0);
    }
}
