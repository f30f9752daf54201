//! What a benchmark ran on: figures mean little without it.

use serde_json::{Value, json};
use std::fs;
use std::time::Duration;

/// The machine as the system describes it.
pub(super) fn describe() -> Value {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    json!({
        "processor": field("/proc/cpuinfo", "model name"),
        "cores": cores,
        "memory": field("/proc/meminfo", "MemTotal"),
        "kernel": fs::read_to_string("/proc/sys/kernel/osrelease").ok().map(|text| text.trim().to_owned()),
        "load_before": fs::read_to_string("/proc/loadavg").ok().and_then(|text| Some(text.split(' ').next()?.to_owned())),
    })
}

/// The same in a line.
pub(super) fn line() -> String {
    let described = describe();
    let text = |name: &str| {
        described
            .get(name)
            .and_then(Value::as_str)
            .unwrap_or("unknown")
            .to_owned()
    };
    format!(
        "{}, {} cores, {}, Linux {}",
        text("processor"),
        described.get("cores").and_then(Value::as_u64).unwrap_or_default(),
        text("memory"),
        text("kernel"),
    )
}

/// The processor time that all threads of a process have used so far, where the system tells.
pub(super) fn processor_time(process: u32) -> Option<Duration> {
    /// Of a second: what Linux counts this time in for programs, whatever it counts in itself.
    const TICK: u64 = 100;
    let text = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The name of the program may hold anything; what follows its last parenthesis is numbers.
    let (_, numbers) = text.rsplit_once(')')?;
    let mut numbers = numbers.split_whitespace().skip(11);
    let ticks = numbers.next()?.parse::<u64>().ok()? + numbers.next()?.parse::<u64>().ok()?;
    Some(Duration::from_millis(ticks * 1000 / TICK))
}

/// The value of the first line `name: value`.
fn field(path: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    text.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key.trim() == name).then(|| value.trim().to_owned())
    })
}
