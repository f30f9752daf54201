//! Rules for every file: what may be committed at all.

use super::File;
use crate::process::Findings;

/// Sample audio stays small, because every clone carries it for ever.
const MAX_AUDIO: u64 = 2 * 1024 * 1024;
const MAX_OTHER: u64 = 1024 * 1024;
const AUDIO: &[&str] = &[
    "wav", "flac", "mp3", "m4a", "mp4", "aac", "ogg", "opus", "mka", "mkv", "webm", "aif", "aiff", "caf",
];
/// Model weights are fetched, never committed.
const MODELS: &[&str] = &["onnx", "ort", "safetensors", "gguf", "ggml", "pt", "pth", "whl"];
/// Hosts of package registries, in halves: packages are named, and the user's own client knows where from.
const REGISTRIES: &[(&str, &str)] = &[
    ("crates.", "io"),
    ("pypi.", "org"),
    ("pythonhosted.", "org"),
    ("registry.npmjs.", "org"),
    ("deb.debian.", "org"),
    ("proxy.golang.", "org"),
];

/// All findings in one file.
pub(super) fn check(file: &File) -> Findings {
    let path = &file.path;
    let extension = path
        .rsplit_once('.')
        .map(|(_, extension)| extension.to_lowercase())
        .unwrap_or_default();
    let mut findings = Findings::new();
    if MODELS.contains(&extension.as_str()) {
        findings.push(format!(
            "{path}: model files and packages are fetched, not committed"
        ));
    }
    let limit = if AUDIO.contains(&extension.as_str()) {
        MAX_AUDIO
    } else {
        MAX_OTHER
    };
    if file.size > limit {
        findings.push(format!(
            "{path}: {} kB is more than {} kB",
            file.size / 1024,
            limit / 1024
        ));
    }
    // The lock file's format has the index's address in every entry.
    if path != "Cargo.lock" {
        for (front, back) in REGISTRIES {
            let host = format!("{front}{back}");
            for (number, _) in file
                .text()
                .lines()
                .enumerate()
                .filter(|(_, line)| line.contains(&host))
            {
                findings.push(format!("{path}:{}: names the registry host {host}", number + 1));
            }
        }
    }
    for (number, line) in file.text().lines().enumerate() {
        if ["<<<<<<< ", ">>>>>>> "]
            .iter()
            .any(|marker| line.starts_with(marker))
        {
            findings.push(format!("{path}:{}: has a merge conflict", number + 1));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::super::file;
    use super::*;

    #[test]
    fn big_audio_models_and_registry_hosts_are_found() {
        let big = File {
            path: "tests/fixtures/a.WAV".into(),
            size: MAX_AUDIO + 1,
            text: None,
        };
        assert!(check(&big)[0].contains("2048 kB is more than"));
        let fits = File {
            path: "tests/fixtures/a.flac".into(),
            size: MAX_AUDIO,
            text: None,
        };
        assert!(check(&fits).is_empty());
        assert!(check(&file("a/model.onnx", ""))[0].contains("not committed"));
        let host = ["https://crates.", "io/x"].concat();
        assert!(check(&file("README.md", &host))[0].contains("README.md:1"));
        assert!(check(&file("Cargo.lock", &host)).is_empty());
        assert!(check(&file("a.rs", "<<<<<<< HEAD\n"))[0].contains("conflict"));
    }
}
