//! `audiorag setup`: a few questions, one file.

use crate::args::Setup;
use crate::context::Program;
use crate::exit::ExitStatus;
use audiorag::core::{Error, Result};
use audiorag::settings::{Key, Settings};
use std::fmt::Write as _;
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::Path;

/// What is asked.
const QUESTIONS: &[(Key, &str)] = &[
    (Key::DatabaseUrl, "Where should the index be kept?"),
    (
        Key::SttLanguage,
        "Which language is spoken, such as en? Empty lets the model decide.",
    ),
    (
        Key::ModelsRoute,
        "Where should models come from: auto, hub or wheels?",
    ),
    (
        Key::ModelsAutoPull,
        "May missing models be fetched on the way: ask, yes or no?",
    ),
    (
        Key::ModelsHfToken,
        "A token for the model hub, shown as you type? Empty means none.",
    ),
];

/// How often a question is asked before setup gives up.
const ATTEMPTS: usize = 3;

pub(super) fn run(program: &Program, args: &Setup) -> Result<ExitStatus> {
    let printer = &program.printer;
    let path = program.sources.cwd.join(&args.output);
    if path.exists() && !args.force {
        return Err(Error::input(format!("{} exists already", path.display()))
            .with_hint("edit it, or replace it with --force"));
    }
    let mut answers = Vec::new();
    if !program.yes {
        if !printer.can_ask() {
            return Err(
                Error::input("nobody can be asked").with_hint("add --yes to write a file of defaults")
            );
        }
        for (key, question) in QUESTIONS {
            if let Some(answer) = ask(program, *key, question)? {
                answers.push((*key, answer));
            }
        }
    }
    let holds_secret = answers.iter().any(|(key, _)| key.spec().is_secret());
    write(&path, &render(&answers), holds_secret)?;
    printer.note(format_args!("wrote {}", path.display()));
    if holds_secret {
        printer.note("it holds a secret: only you can read it, and it should not be committed");
    }
    printer.note("next: audiorag index PATH");
    Ok(ExitStatus::Success)
}

/// Asks until the answer is one that the setting takes. `None` keeps the default.
fn ask(program: &Program, key: Key, question: &str) -> Result<Option<String>> {
    let spec = key.spec();
    let default = default(program, key);
    let prompt = match default.as_deref() {
        Some(default) => format!("{question} [{default}]"),
        None => question.to_owned(),
    };
    for _ in 0..ATTEMPTS {
        let Some(answer) = program.printer.ask(&prompt)? else {
            return Err(Error::input("the input ended before every question was answered"));
        };
        if answer.is_empty() || Some(&answer) == default.as_ref() {
            return Ok(None);
        }
        let sources = program.sources.clone().with(key, answer.as_str());
        match Settings::resolve(&sources) {
            Ok(_) => return Ok(Some(answer)),
            Err(error) => program.printer.warning(error.report()),
        }
    }
    Err(Error::input(format!("no usable answer for {}", spec.path))
        .with_hint(format!("expected {}", spec.kind.describe())))
}

/// The value that holds when nothing is answered; secrets have none.
fn default(program: &Program, key: Key) -> Option<String> {
    let resolution = Settings::resolve(&program.sources).ok()?;
    let entry = resolution.entries.into_iter().find(|entry| entry.key == key)?;
    entry.value.filter(|_| !key.spec().is_secret())
}

/// The file: top-level settings first, then one table for each group.
fn render(answers: &[(Key, String)]) -> String {
    let mut text =
        "# Settings of AudioRAG. `audiorag config show` prints all of them with their origin.\n".to_owned();
    if answers.is_empty() {
        text.push_str("# Nothing differs from the defaults.\n");
    }
    let mut answers: Vec<(&str, &str, &str)> = answers
        .iter()
        .map(|(key, value)| {
            let (group, name) = key.spec().path.split_once('.').unwrap_or(("", key.spec().path));
            (group, name, value.as_str())
        })
        .collect();
    // Stable, so that the order of the questions stays within a group; the group without a name comes first.
    answers.sort_by_key(|(group, _, _)| *group);
    let mut current = "";
    for (group, name, value) in answers {
        if group != current {
            let _ = write!(text, "\n[{group}]\n");
            current = group;
        }
        let _ = writeln!(text, "{name} = {}", toml::Value::from(value));
    }
    text
}

/// Writes the file whole or not at all. With a secret in it nobody else may read it, from the first byte on.
fn write(path: &Path, text: &str, holds_secret: bool) -> Result<()> {
    let staged = path.with_extension("toml.new");
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.mode(if holds_secret { 0o600 } else { 0o644 });
    }
    #[cfg(not(unix))]
    let _ = holds_secret;
    // What an interrupted setup left behind.
    let _ = fs::remove_file(&staged);
    let written = path
        .parent()
        .map_or(Ok(()), fs::create_dir_all)
        .and_then(|()| options.open(&staged))
        .and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()))
        .and_then(|()| fs::rename(&staged, path));
    written.map_err(|error| {
        let _ = fs::remove_file(&staged);
        Error::state(format!("cannot write {}", path.display()))
            .with_cause(error)
            .with_hint("choose another file with --output")
    })
}
