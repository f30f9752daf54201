//! What a benchmark ran on: figures mean little without it.

use serde_json::{Value, json};
use std::fs;

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

/// The value of the first line `name: value`.
fn field(path: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    text.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key.trim() == name).then(|| value.trim().to_owned())
    })
}
