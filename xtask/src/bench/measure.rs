//! What a child process took.

use crate::process;
use anyhow::{Context, Result, ensure};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use wait4::Wait4;

/// One run of a program.
#[derive(Clone, Copy, Debug)]
pub(super) struct Run {
    pub(super) wall: Duration,
    /// Processor time of all threads, in the program and in the kernel.
    pub(super) cpu: Duration,
    /// The most memory resident at once, in bytes, as the kernel counted it.
    pub(super) peak: u64,
}

impl Run {
    pub(super) fn peak_megabytes(self) -> f64 {
        self.peak as f64 / 1e6
    }
}

/// Runs a command to its end, with its output thrown away, and returns what it took.
pub(super) fn measure(command: &mut Command) -> Result<Run> {
    let started = Instant::now();
    let mut child = command
        .stdout(Stdio::null())
        .spawn()
        .with_context(|| format!("cannot start {}", process::describe(command)))?;
    let used = child.wait4().context("cannot wait for the program")?;
    let wall = started.elapsed();
    ensure!(
        used.status.success(),
        "{} ended with {}",
        process::describe(command),
        used.status
    );
    Ok(Run {
        wall,
        cpu: used.rusage.utime + used.rusage.stime,
        peak: used.rusage.maxrss,
    })
}

/// The middle of a list of numbers, the lower one of two.
pub(super) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted
        .get(sorted.len().saturating_sub(1) / 2)
        .copied()
        .unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_does_not_move_with_one_slow_run() {
        assert!((median(&[3.0, 1.0, 900.0]) - 3.0).abs() < f64::EPSILON);
        assert!((median(&[4.0, 1.0]) - 1.0).abs() < f64::EPSILON);
        assert!(median(&[]).is_nan());
    }

    #[test]
    fn a_child_is_measured() {
        let run = measure(process::program("sh").args(["-c", "exit 0"])).unwrap();
        assert!(run.peak > 100_000, "a shell needs more than {} bytes", run.peak);
        assert!(run.wall > Duration::ZERO);
        assert!(measure(process::program("sh").args(["-c", "exit 1"])).is_err());
    }
}
