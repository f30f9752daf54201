//! `cargo xtask crash`: the program indexes two hundred recordings and is killed at any time, round after round.
//!
//! The loop itself is a test, `tests/it/crash.rs`, and the suite runs a few rounds of it. This runs as many as one
//! has patience for, and prints what was found.

use crate::process;
use anyhow::{Context, Result, bail};

/// Builds what is needed and runs the loop.
pub(crate) fn run(arguments: &[&str]) -> Result<()> {
    let options = Options::parse(arguments)?;
    process::headline("building the program and the loop");
    process::run(&mut process::cargo(&[
        "build",
        "--locked",
        "--package",
        "audiorag-cli",
    ]))?;
    process::headline("killing it again and again");
    let mut command = process::cargo(&["test", "--locked", "--package", "audiorag-e2e", "--test", "it"]);
    command
        .args(["--", "crash::", "--nocapture"])
        .env("AUDIORAG_CRASH_ROUNDS", options.rounds.to_string());
    if let Some(seed) = options.seed {
        command.env("AUDIORAG_CRASH_SEED", seed.to_string());
    }
    process::run(&mut command)
}

#[derive(Debug, PartialEq, Eq)]
struct Options {
    rounds: usize,
    seed: Option<u64>,
}

impl Options {
    fn parse(arguments: &[&str]) -> Result<Self> {
        let mut options = Self {
            rounds: 100,
            seed: None,
        };
        let mut rest = arguments.iter();
        while let Some(flag) = rest.next() {
            let value = rest.next().with_context(|| format!("{flag} wants a number"))?;
            let read = |text: &str| {
                text.parse()
                    .with_context(|| format!("{flag} wants a number, not {text}"))
            };
            match *flag {
                "--rounds" => options.rounds = usize::try_from(read(value)?)?,
                "--seed" => options.seed = Some(read(value)?),
                other => bail!("unknown flag {other}: there are --rounds and --seed"),
            }
        }
        Ok(options)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_read_and_mistakes_named() {
        let options = Options::parse(&["--rounds", "3", "--seed", "9"]).unwrap();
        assert_eq!((options.rounds, options.seed), (3, Some(9)));
        assert_eq!(Options::parse(&[]).unwrap().rounds, 100);
        for (arguments, named) in [
            (vec!["--rounds"], "--rounds"),
            (vec!["--seed", "x"], "x"),
            (vec!["--kills", "3"], "--kills"),
        ] {
            let error = format!("{:#}", Options::parse(&arguments).unwrap_err());
            assert!(error.contains(named), "{error}");
        }
    }
}
