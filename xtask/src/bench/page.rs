//! `docs/performance.md`: the table of the figures that were measured last, and the charts.

use super::report::{Row, table};
use super::{BENCHES, Bench};
use crate::workspace;
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::fmt::Write as _;
use std::path::Path;

/// Between these lines the page is written by the command.
const BEGIN: &str = "<!-- figures of cargo xtask bench: begin -->";
const END: &str = "<!-- figures of cargo xtask bench: end -->";

/// Writes what the benchmarks saved, each when it was last run in full, into the page.
pub(super) fn bless(results: &Path) -> Result<()> {
    let mut measured = Vec::new();
    let mut machines: Vec<String> = Vec::new();
    for bench in BENCHES {
        let path = results.join(format!("{}.json", bench.name));
        let Ok(text) = std::fs::read_to_string(&path) else {
            continue;
        };
        let record: Value =
            serde_json::from_str(&text).with_context(|| format!("{} is broken", path.display()))?;
        if record.get("quick").and_then(Value::as_bool) != Some(false) {
            continue;
        }
        let rows: Vec<Row> = record
            .get("rows")
            .and_then(Value::as_array)
            .map(|rows| rows.iter().filter_map(Row::from_json).collect())
            .unwrap_or_default();
        let field = |name: &str| record.get("machine").and_then(|machine| machine.get(name));
        let machine = format!(
            "{} with {} cores",
            field("processor")
                .and_then(Value::as_str)
                .unwrap_or("an unknown processor"),
            field("cores").and_then(Value::as_u64).unwrap_or_default()
        );
        if !machines.contains(&machine) {
            machines.push(machine);
        }
        measured.push((bench.name, rows));
    }
    ensure!(
        !measured.is_empty(),
        "nothing was measured yet: run `cargo xtask bench --all` first"
    );
    let tables: Vec<(&str, &[Row])> = measured
        .iter()
        .map(|(name, rows)| (*name, rows.as_slice()))
        .collect();
    let mut written = format!(
        "Made by `cargo xtask bench --bless` from the last full run of each benchmark, on {}.\n\n{}\n",
        machines.join(" and "),
        table(&tables)
    );
    for name in charts(results)? {
        let _ = write!(
            written,
            "\n![{}](performance/{name})\n",
            name.trim_end_matches(".svg")
        );
    }
    let page = workspace::root().join("docs/performance.md");
    let old = std::fs::read_to_string(&page).with_context(|| format!("cannot read {}", page.display()))?;
    let (before, rest) = old
        .split_once(BEGIN)
        .context("the page has no place for the figures")?;
    let (_, after) = rest
        .split_once(END)
        .context("the page's place for the figures has no end")?;
    std::fs::write(&page, format!("{before}{BEGIN}\n\n{written}\n{END}{after}"))
        .with_context(|| format!("cannot write {}", page.display()))?;
    println!("wrote {}", page.display());
    Ok(())
}

/// Copies the charts beside the page and returns their names.
fn charts(results: &Path) -> Result<Vec<String>> {
    let folder = workspace::root().join("docs/performance");
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let mut names = Vec::new();
    for entry in std::fs::read_dir(results)? {
        let path = entry?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
            continue;
        };
        if path.extension().is_some_and(|ending| ending == "svg") {
            std::fs::copy(&path, folder.join(name)).with_context(|| format!("cannot copy {name}"))?;
            names.push(name.to_owned());
        }
    }
    names.sort();
    Ok(names)
}

impl Bench {
    /// Where the results of all benchmarks are.
    pub(super) fn all_results() -> Result<std::path::PathBuf> {
        Ok(workspace::Workspace::load()?.target_directory.join("bench"))
    }
}
