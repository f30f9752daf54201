//! What this process takes.

use super::Result;
use std::time::Instant;

/// Memory of this process that no file stands behind. Zero where the system does not say.
pub(super) fn anonymous_bytes() -> Result<u64> {
    let Ok(report) = std::fs::read_to_string("/proc/self/smaps_rollup") else {
        return Ok(0);
    };
    let line = report.lines().find_map(|line| line.strip_prefix("Anonymous:"));
    let kilobytes: u64 = line.ok_or("no line")?.trim().trim_end_matches(" kB").parse()?;
    Ok(kilobytes * 1024)
}

/// Wall time and processor time of all threads.
pub(super) struct Clock {
    started: Instant,
    used: f64,
}

impl Clock {
    pub(super) fn start() -> Self {
        Self {
            started: Instant::now(),
            used: processor_seconds(),
        }
    }

    pub(super) fn stop(&self) -> (f64, f64) {
        (
            self.started.elapsed().as_secs_f64(),
            processor_seconds() - self.used,
        )
    }

    pub(super) fn add(&self, spent: &mut [(f64, f64)], place: usize) {
        let (wall, used) = self.stop();
        if let Some((walls, all)) = spent.get_mut(place) {
            *walls += wall;
            *all += used;
        }
    }
}

/// Of all threads that live. Zero where the system does not say.
fn processor_seconds() -> f64 {
    let Ok(threads) = std::fs::read_dir("/proc/self/task") else {
        return 0.0;
    };
    threads
        .filter_map(|thread| std::fs::read_to_string(thread.ok()?.path().join("schedstat")).ok())
        .filter_map(|line| line.split_whitespace().next()?.parse::<f64>().ok())
        .sum::<f64>()
        / 1e9
}
