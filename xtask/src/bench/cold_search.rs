//! How long a search takes from the start of the process to its hits.

use super::Bench;
use super::measure::{measure, median};
use super::report::{Report, Row, Target};
use crate::{demo, process};
use anyhow::Result;
use serde_json::json;

const QUESTION: &str = "who had the superlative degree of comparison only";

/// Indexes the sample speech once, then searches it in fresh processes, each next to an anchor of the same machine
/// at the same moment: starting Python to do nothing.
pub(super) fn run(bench: &Bench) -> Result<Report> {
    let rounds = if bench.quick { 3 } else { 21 };
    measure(bench.audiorag("search", &["index"]).args(demo::SPEECH))?;

    process::headline(&format!("cold-search: {rounds} rounds, taken in turns"));
    let (mut searches, mut anchors, mut peaks) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds {
        let search = measure(&mut bench.audiorag("search", &["search", QUESTION, "--json"]))?;
        searches.push(search.wall.as_secs_f64() * 1000.0);
        peaks.push(search.peak_megabytes());
        anchors.push(
            measure(process::program("python3").args(["-c", "pass"]))?
                .wall
                .as_secs_f64()
                * 1000.0,
        );
    }
    let (search, anchor, peak) = (median(&searches), median(&anchors), median(&peaks));
    println!("  audiorag search      median {search:>8.1} ms, peak {peak:.0} MB");
    println!("  python3 -c pass      median {anchor:>8.1} ms");
    println!("  ratio                       {:>8.2}", search / anchor);
    Ok(Report {
        rows: vec![
            Row::new(
                "search, start of the process to hits",
                search,
                "ms",
                Target::AtMost(250.0),
            )
            .note(format!("python3 -c pass {anchor:.0} ms")),
        ],
        details: json!({
            "search_ms": searches,
            "anchor_ms": anchors,
            "median_search_ms": search,
            "median_anchor_ms": anchor,
            "median_peak_megabytes": peak,
        }),
    })
}
