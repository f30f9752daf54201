//! Development tasks, run as `cargo xtask NAME`.
//!
//! `demo` and `test` are the two commands of the README; `gates` is everything else a change must pass; `ci`
//! is both. Each task is one file, and each can be run alone.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a development tool talks to a terminal: it has no other output"
)]

mod bench;
mod coverage;
mod crash;
mod demo;
mod deps;
mod docs;
mod environment;
mod eval;
mod gates;
mod licenses;
mod models;
mod process;
mod programs;
mod python;
mod servers;
mod suites;
mod test;
mod tidy;
mod workspace;

use anyhow::{Result, bail};
use std::process::ExitCode;
use std::time::Instant;

const USAGE: &str = "\
cargo xtask COMMAND

  demo                 build the release program, fetch its models, index the sample speech, ask two questions
  test [--coverage]    fetch what the tests need and run every test; --coverage also holds each crate's share of lines
                       that ran against its floor
  gates [--but] [NAME...]
                       fmt, tidy, deps, deny, clippy, rustdoc, coverage; all of them without names, or all others
  ci                   test --coverage, then the gates that are left
  deps                 dependency directions, features, versions and licences
  tidy                 the conventions of the source tree
  coverage             line coverage of each crate against its floor
  bless [--unreleased] write generated documentation and record new migrations
  crash [--rounds R] [--seed S]
                       kill the program at random times while it indexes, and check what is left each time
  eval [--prepare] [--quick] [--bless] [--only LABEL]... [--program FILE]
                       speak the evaluation set, index it and measure each variant; --prepare stops after speaking,
                       --quick takes a part of it, --only some variants, --program a build that is there already,
                       --bless writes the figures into docs/quality.md
  bench NAME [--quick] index, decode, cold-search, memory [--dense] or words
  bench --all [--quick] [--bless]
                       those that have a target, one after the other, with one table at the end; --bless, also alone,
                       writes what was measured last into docs/performance.md
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let started = Instant::now();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            eprintln!("(after {})", process::elapsed(started));
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[&str]) -> Result<()> {
    match arguments {
        ["demo"] => demo::run(),
        ["test"] => test::run(),
        ["test", "--coverage"] => test::run_covered(),
        ["gates", names @ ..] => gates::run(names),
        ["ci"] => {
            // Both always run: a failing test should not hide a failing gate.
            let tested = test::run_covered();
            let gated = gates::run(&["--but", "coverage"]);
            tested.and(gated)
        }
        ["deps"] => process::report("deps", deps::check()),
        ["tidy"] => process::report("tidy", tidy::check()),
        ["coverage"] => process::report("coverage", coverage::check()),
        ["bless"] => docs::bless(false),
        ["bless", "--unreleased"] => docs::bless(true),
        ["crash", rest @ ..] => crash::run(rest),
        ["eval", rest @ ..] => eval::run(rest),
        ["bench", rest @ ..] => bench::run(rest),
        [] | ["help" | "-h" | "--help"] => {
            print!("{USAGE}");
            Ok(())
        }
        [other, ..] => bail!("unknown or malformed command {other:?}\n\n{USAGE}"),
    }
}
