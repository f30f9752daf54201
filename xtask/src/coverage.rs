//! `cargo xtask coverage`: the share of each crate's lines that its tests run, against a floor.
//!
//! Uses `cargo tarpaulin` with the compiler's own instrumentation, which sees functions that were never called
//! and counts what child processes ran. Its build is kept apart, since the instrumentation changes every crate.

use crate::process::{self, Findings};
use crate::workspace::{self, Workspace};
use crate::{environment, models};
use anyhow::{Context, Result};
use std::collections::BTreeMap;

/// No crate may have a smaller share of lines run by tests.
const FLOOR: f64 = 80.0;
/// What is installed where there is no tarpaulin yet.
const TARPAULIN_VERSION: &str = "0.37.5";
/// The instrumentation carries its own map to the source: debug information would only cost time and disk.
const NO_DEBUG_INFO: &str = "--rustflags=-Cdebuginfo=0";
/// Crates that are tools or tests themselves.
const EXCLUDED: &[&str] = &["xtask", "audiorag-e2e"];

/// Measures, prints the table, and names the crates below the floor.
pub(crate) fn check() -> Result<Findings> {
    ensure_tarpaulin()?;
    let workspace = Workspace::load()?;
    let target = workspace.target_directory.join("coverage");
    let target_text = target.to_str().context("the target folder's name is not UTF-8")?;

    // The end-to-end tests start the program. It must be instrumented with tarpaulin's own flags, so that it
    // leaves a profile, and tarpaulin must be told of it, so that it can read the profile.
    let flags = rust_flags()?;
    process::run(
        process::cargo(&[
            "build",
            "--workspace",
            "--exclude",
            "xtask",
            "--locked",
            "--target-dir",
            target_text,
        ])
        .args(["--lib", "--bins", "--tests"])
        .env("RUSTFLAGS", &flags),
    )?;
    let program = target
        .join("debug")
        .join(format!("audiorag{}", std::env::consts::EXE_SUFFIX));
    let folder = models::pull(&program)?;

    let mut command = process::cargo(&[
        "tarpaulin",
        "--engine",
        "llvm",
        NO_DEBUG_INFO,
        "--workspace",
        "--exclude",
        "xtask",
    ]);
    command
        .args([
            "--locked",
            "--skip-clean",
            "--implicit-test-threads",
            "--no-fail-fast",
            "--timeout",
            "900",
        ])
        .args([
            "--out",
            "lcov",
            "--output-dir",
            target_text,
            "--target-dir",
            target_text,
        ])
        .args(["--objects".as_ref(), program.as_os_str()])
        .env("AUDIORAG_TEST_MODELS", &folder);
    process::run(&mut command)?;

    let report = target.join("lcov.info");
    let lcov =
        std::fs::read_to_string(&report).with_context(|| format!("cannot read {}", report.display()))?;
    let root = workspace::root();
    let files = files(&lcov, root.to_str().context("the root's name is not UTF-8")?);
    let crates = by_crate(&files);
    print!("{}", table(&crates, &files));
    Ok(below_the_floor(&workspace, &crates))
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
    fn nothing_to_run_is_covered() {
        assert!(Lines::default().percent() > 99.0);
    }
}
