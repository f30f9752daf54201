//! A program that is asked in slices, and what its answers say.

use super::SLICE;
use crate::bench::measure::median;
use crate::process;
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// The answers to one command, over all slices.
#[derive(Default)]
pub(super) struct Answers {
    pub(super) walls: Vec<f64>,
    pub(super) cpu: Vec<f64>,
    found: Vec<(usize, Vec<u64>)>,
}

/// A program that answers a line with a line.
pub(super) struct Server {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Server {
    pub(super) fn start(command: &mut Command) -> Result<Self> {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {}", process::describe(command)))?;
        let input = child.stdin.take().context("no standard input")?;
        let output = BufReader::new(child.stdout.take().context("no standard output")?);
        Ok(Self { child, input, output })
    }

    pub(super) fn ask(&mut self, command: &str, first: usize) -> Result<Value> {
        writeln!(self.input, "{command} {first} {SLICE}")?;
        self.input.flush()?;
        self.read()
    }

    pub(super) fn read(&mut self) -> Result<Value> {
        let mut line = String::new();
        ensure!(
            self.output.read_line(&mut line)? > 0,
            "a program that is measured ended"
        );
        Ok(serde_json::from_str(&line)?)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(super) fn numbers(value: &Value, name: &str) -> Vec<f64> {
    let list = value.get(name).and_then(Value::as_array);
    list.into_iter().flatten().filter_map(Value::as_f64).collect()
}

pub(super) fn number(value: &Value, name: &str) -> f64 {
    value.get(name).and_then(Value::as_f64).unwrap_or(f64::NAN)
}

fn places(value: &Value) -> Vec<u64> {
    value
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_u64)
        .collect()
}

impl Answers {
    pub(super) fn take(&mut self, first: usize, answer: &Value) -> Result<()> {
        self.walls.extend(numbers(answer, "wall_ms"));
        self.cpu.push(number(answer, "cpu_ms"));
        let found = answer
            .get("found")
            .and_then(Value::as_array)
            .context("no answers")?;
        self.found.extend(
            found
                .iter()
                .enumerate()
                .map(|(place, found)| (first + place, places(found))),
        );
        Ok(())
    }

    pub(super) fn percentile(&self, share: f64) -> f64 {
        let mut sorted = self.walls.clone();
        sorted.sort_by(f64::total_cmp);
        let place = (sorted.len() as f64 * share) as usize;
        sorted
            .get(place.min(sorted.len().saturating_sub(1)))
            .copied()
            .unwrap_or(f64::NAN)
    }

    /// Queries a second that one client gets answered, in the middle one of the slices.
    pub(super) fn throughput(&self) -> f64 {
        let slices: Vec<f64> = self
            .walls
            .chunks(SLICE)
            .map(|walls| walls.len() as f64 * 1000.0 / walls.iter().sum::<f64>())
            .collect();
        median(&slices)
    }

    /// The share of the true neighbours that was found.
    pub(super) fn recall(&self, truth: &Value) -> f64 {
        let (mut found, mut wanted) = (0, 0);
        for (place, answer) in &self.found {
            let truth = truth.get(*place).map(places).unwrap_or_default();
            found += truth.iter().filter(|place| answer.contains(place)).count();
            wanted += truth.len();
        }
        f64::from(found as u32) / f64::from(wanted as u32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn recall_is_the_share_of_the_truth() {
        let mut answers = Answers::default();
        let answer = json!({ "wall_ms": [1.0, 2.0], "cpu_ms": 1.0, "found": [[1, 2], [9]] });
        answers.take(0, &answer).unwrap();
        assert!((answers.recall(&json!([[1, 2], [3, 4]])) - 0.5).abs() < 1e-9);
        assert!((answers.throughput() - 2.0 * 1000.0 / 3.0).abs() < 1e-6);
        assert!((answers.percentile(0.99) - 2.0).abs() < 1e-9);
    }
}
