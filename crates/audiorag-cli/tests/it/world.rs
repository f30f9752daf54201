//! A machine of its own for each test.

use audiorag::Providers;
use audiorag::settings::Sources;
use audiorag_cli::{ExitStatus, Interrupt, Io, Terminals, run};
use audiorag_testkit::fake::{FakeGenerator, FakeTranscriber, HashEmbedder};
use audiorag_testkit::synth::Track;
use serde_json::Value;
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use tempfile::TempDir;

/// What the fake transcriber says, one call after the other.
pub(crate) const SAID: [&str; 3] = [
    "The budget of the harbour was approved in March.",
    "Nobody objected to the new lighthouse on the northern pier.",
    "The ferry to the islands leaves at seven.",
];

pub(crate) struct World {
    pub(crate) root: TempDir,
    pub(crate) transcriber: Arc<FakeTranscriber>,
    pub(crate) embedder: Arc<HashEmbedder>,
    pub(crate) generator: Option<Arc<FakeGenerator>>,
    pub(crate) sources: Sources,
    pub(crate) terminals: Terminals,
    pub(crate) interrupt: Interrupt,
    pub(crate) fakes: bool,
}

/// What a run did.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl World {
    /// An empty machine whose providers are fakes.
    pub(crate) fn new() -> Self {
        Self::with(FakeTranscriber::saying(SAID).with_limits(|limits| limits.concurrency = 1))
    }

    pub(crate) fn with(transcriber: FakeTranscriber) -> Self {
        let root = TempDir::new().unwrap();
        std::fs::create_dir(root.path().join("work")).unwrap();
        let mut sources = Sources::isolated(root.path());
        sources.cwd = root.path().join("work");
        Self {
            root,
            transcriber: Arc::new(transcriber),
            embedder: Arc::new(HashEmbedder::new(128)),
            generator: None,
            sources,
            terminals: Terminals::default(),
            interrupt: Interrupt::default(),
            fakes: true,
        }
    }

    /// The same machine with the program's own providers, and no models for them.
    #[cfg(feature = "local")]
    pub(crate) fn without_fakes() -> Self {
        Self {
            fakes: false,
            ..Self::new()
        }
    }

    /// A path below the current directory of the program.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root.path().join("work").join(name)
    }

    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, content).unwrap();
        path
    }

    /// Writes a recording in which somebody speaks for some seconds. Different seeds are different recordings.
    pub(crate) fn record(&self, name: &str, seed: u64) -> PathBuf {
        self.write(
            name,
            Track::new(16_000)
                .silence(500)
                .speech(4_000, seed)
                .silence(500)
                .to_wav(),
        )
    }

    /// Three recordings, indexed.
    pub(crate) async fn library() -> Self {
        let world = Self::new();
        for (seed, name) in ["budget.wav", "lighthouse.wav", "ferry.wav"]
            .into_iter()
            .enumerate()
        {
            let path = world.record(name, seed as u64 + 1);
            world.run(&["index", path.to_str().unwrap()]).await.ok();
        }
        world
    }

    pub(crate) async fn run(&self, args: &[&str]) -> Run {
        self.run_with(args, "").await
    }

    pub(crate) async fn run_with(&self, args: &[&str], stdin: impl Into<Vec<u8>>) -> Run {
        let (mut io, stdout, stderr) = Io::captured(stdin);
        io.terminals = self.terminals;
        io.interrupt = self.interrupt.clone();
        if self.fakes {
            io.providers = Providers {
                transcriber: Some(self.transcriber.clone()),
                embedder: Some(self.embedder.clone()),
                generator: self.generator.clone().map(|generator| generator as _),
                ..Providers::default()
            };
        }
        let args = std::iter::once("audiorag")
            .chain(args.iter().copied())
            .map(OsString::from)
            .collect();
        let status = run(args, self.sources.clone(), io).await;
        Run {
            status,
            stdout: stdout.text(),
            stderr: stderr.text(),
        }
    }

    /// `text` with everything that differs from run to run replaced.
    pub(crate) fn stable(&self, text: &str) -> String {
        let root = self.root.path().to_str().unwrap();
        let text = text.replace(root, "ROOT");
        let text = replace_runs(
            &text,
            12,
            |c| c.is_ascii_hexdigit() && !c.is_ascii_uppercase(),
            "ID",
        );
        let text = blank_numbers_after(&text, &[" in ", "_ms\": ", "_ms\":"], "N");
        narrow(&blank_times(&text))
    }
}

impl Run {
    #[track_caller]
    pub(crate) fn exits(self, status: ExitStatus) -> Self {
        assert_eq!(self.status, status, "{self:#?}");
        self
    }

    #[track_caller]
    pub(crate) fn ok(self) -> Self {
        self.exits(ExitStatus::Success)
    }

    #[track_caller]
    pub(crate) fn says(self, words: &[&str]) -> Self {
        for word in words {
            assert!(self.stderr.contains(word), "'{word}' is not in {self:#?}");
        }
        self
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        let parsed = serde_json::from_str(&self.stdout);
        assert!(parsed.is_ok(), "{self:#?}");
        parsed.unwrap()
    }

    /// The events of `index --json`.
    #[track_caller]
    pub(crate) fn events(&self) -> Vec<Value> {
        self.stdout
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }
}

/// Replaces runs of at least `length` characters that hold a digit.
fn replace_runs(text: &str, length: usize, belongs: impl Fn(char) -> bool, with: &str) -> String {
    let mut out = String::new();
    let mut run = String::new();
    for c in text.chars().chain(std::iter::once('\0')) {
        if belongs(c) {
            run.push(c);
            continue;
        }
        if run.len() >= length && run.contains(|c: char| c.is_ascii_digit()) {
            out.push_str(with);
        } else {
            out.push_str(&run);
        }
        run.clear();
        if c != '\0' {
            out.push(c);
        }
    }
    out
}

/// Replaces the decimal number that follows one of `marks`.
fn blank_numbers_after(text: &str, marks: &[&str], with: &str) -> String {
    let mut out = text.to_owned();
    for mark in marks {
        let mut parts = out.split(mark);
        let mut next = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let rest = part.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
            next.push_str(mark);
            next.push_str(if rest.len() < part.len() { with } else { "" });
            next.push_str(rest);
        }
        out = next;
    }
    out
}

/// Replaces points in time such as `2026-11-23T14:00:00Z`.
fn blank_times(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('T').filter(|_| rest.contains('Z')) {
        let (before, after) = rest.split_at(at);
        let is_time = before.len() >= 10
            && before.ends_with(|c: char| c.is_ascii_digit())
            && after
                .get(1..)
                .is_some_and(|after| after.starts_with(|c: char| c.is_ascii_digit()));
        if let Some(end) = after.find('Z').filter(|_| is_time) {
            out.push_str(before.get(..before.len() - 10).unwrap_or_default());
            out.push_str("TIME");
            rest = after.get(end + 1..).unwrap_or_default();
        } else {
            out.push_str(before);
            out.push('T');
            rest = after.get(1..).unwrap_or_default();
        }
    }
    out.push_str(rest);
    out
}

/// Makes the columns of tables, whose width depends on the length of paths, two spaces apart.
fn narrow(text: &str) -> String {
    let mut out = String::new();
    for line in text.lines() {
        let indent = line.len() - line.trim_start().len();
        let (indent, line) = line.split_at(indent);
        out.push_str(indent);
        let cells: Vec<&str> = line
            .split("  ")
            .map(str::trim)
            .filter(|cell| !cell.is_empty())
            .collect();
        out.push_str(&cells.join("  "));
        out.push('\n');
    }
    out
}
