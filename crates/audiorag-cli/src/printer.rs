//! The one place that decides what is shown, where, and in which colour.
//!
//! Data goes to standard output and can be piped; everything else goes to standard error. Meaning is never
//! carried by colour alone.

use crate::args::Color;
use crate::io::Terminals;
use audiorag::core::{Error, Result};
use indicatif::MultiProgress;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::io::{self, BufRead as _, BufReader, Read, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// What the printer is told once.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Look {
    pub(crate) color: Color,
    pub(crate) json: bool,
    pub(crate) quiet: bool,
    pub(crate) no_progress: bool,
}

/// Shows things. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Printer {
    shared: Arc<Shared>,
}

struct Shared {
    stdin: Mutex<BufReader<Box<dyn Read + Send>>>,
    stdout: Mutex<Box<dyn Write + Send>>,
    stderr: Mutex<Box<dyn Write + Send>>,
    stdout_closed: AtomicBool,
    log_lines: AtomicBool,
    bars: MultiProgress,
    terminals: Terminals,
    look: Look,
    color_stdout: bool,
    color_stderr: bool,
}

/// A colour or weight, for what the words say as well.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Style {
    Bold,
    Dim,
    Good,
    Bad,
    Careful,
    Link,
}

impl Style {
    const fn code(self) -> &'static str {
        match self {
            Self::Bold => "1",
            Self::Dim => "2",
            Self::Good => "32",
            Self::Bad => "1;31",
            Self::Careful => "1;33",
            Self::Link => "36",
        }
    }
}

impl Printer {
    /// A printer on these streams. `env` is asked for `NO_COLOR`, `CLICOLOR_FORCE` and `TERM`.
    pub(crate) fn new(
        stdin: Box<dyn Read + Send>,
        stdout: Box<dyn Write + Send>,
        stderr: Box<dyn Write + Send>,
        terminals: Terminals,
        look: Look,
        env: &BTreeMap<String, String>,
    ) -> Self {
        let printer = Self {
            shared: Arc::new(Shared {
                stdin: Mutex::new(BufReader::new(stdin)),
                stdout: Mutex::new(stdout),
                stderr: Mutex::new(stderr),
                stdout_closed: AtomicBool::new(false),
                log_lines: AtomicBool::new(false),
                bars: MultiProgress::new(),
                terminals,
                look,
                color_stdout: colored(look.color, env, terminals.stdout),
                color_stderr: colored(look.color, env, terminals.stderr),
            }),
        };
        if !printer.shows_progress() {
            printer
                .shared
                .bars
                .set_draw_target(indicatif::ProgressDrawTarget::hidden());
        }
        printer
    }

    /// Whether standard output is to hold JSON.
    pub(crate) fn is_json(&self) -> bool {
        self.shared.look.json
    }

    /// From here on everything on standard error is a log line in JSON, or not.
    pub(crate) fn set_log_lines(&self, on: bool) {
        self.shared.log_lines.store(on, Ordering::Relaxed);
    }

    fn writes_log_lines(&self) -> bool {
        self.shared.log_lines.load(Ordering::Relaxed)
    }

    /// Whether a question can be asked.
    pub(crate) fn can_ask(&self) -> bool {
        self.shared.terminals.stdin && self.shared.terminals.stderr
    }

    /// Whether standard error shows progress: on a terminal, unless it is unwanted.
    pub(crate) fn shows_progress(&self) -> bool {
        let look = self.shared.look;
        self.shared.terminals.stderr && !look.no_progress && !look.quiet && !look.json
    }

    /// `text` in a style, for standard error.
    pub(crate) fn paint_stderr(&self, style: Style, text: impl fmt::Display) -> String {
        paint(self.shared.color_stderr, style, text)
    }

    /// Whether standard output is coloured.
    pub(crate) fn colors_stdout(&self) -> bool {
        self.shared.color_stdout
    }

    /// Whether standard error is coloured.
    pub(crate) fn colors_stderr(&self) -> bool {
        self.shared.color_stderr
    }

    /// Where progress bars are drawn; nowhere unless standard error is a terminal.
    pub(crate) fn bars(&self) -> &MultiProgress {
        &self.shared.bars
    }

    /// `text` in a style, for standard output.
    pub(crate) fn paint(&self, style: Style, text: impl fmt::Display) -> String {
        paint(self.shared.color_stdout, style, text)
    }

    /// Writes a line of data.
    pub(crate) fn line(&self, text: impl fmt::Display) -> Result<()> {
        self.data(&format!("{text}\n"))
    }

    /// Writes data as it is. When nobody reads any more nothing is written and nothing is said.
    pub(crate) fn data(&self, text: &str) -> Result<()> {
        if self.shared.stdout_closed.load(Ordering::Relaxed) {
            return Ok(());
        }
        let mut stdout = self.shared.stdout.lock().unwrap_or_else(PoisonError::into_inner);
        let written = self
            .shared
            .bars
            .suspend(|| stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()));
        match written {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                self.shared.stdout_closed.store(true, Ordering::Relaxed);
                Ok(())
            }
            Err(error) => Err(Error::state("cannot write to standard output")
                .with_cause(error)
                .with_hint("make room where the output goes")),
        }
    }

    /// Writes a JSON document.
    pub(crate) fn json(&self, value: &Value) -> Result<()> {
        self.line(format_args!("{value:#}"))
    }

    /// Writes a JSON object on one line.
    pub(crate) fn event(&self, value: &Value) -> Result<()> {
        self.line(value)
    }

    /// Tells something that is no data.
    pub(crate) fn note(&self, text: impl fmt::Display) {
        if !self.shared.look.quiet {
            self.tell("info", &text.to_string(), "");
        }
    }

    /// Tells something that may surprise.
    pub(crate) fn warning(&self, text: impl fmt::Display) {
        if !self.shared.look.quiet {
            let label = self.paint_stderr(Style::Careful, "warning:");
            self.tell("warn", &text.to_string(), &format!("{label} "));
        }
    }

    fn tell(&self, level: &str, text: &str, label: &str) {
        if self.writes_log_lines() {
            self.say(&log_line(level, text, None));
        } else {
            self.say(&format!("{label}{text}\n"));
        }
    }

    /// Tells why the program ends without success.
    pub(crate) fn error(&self, error: &Error) {
        let report = error.report();
        if self.writes_log_lines() {
            self.say(&log_line("error", &report, Some(error_json(error))));
            return;
        }
        if self.shared.look.json {
            self.say(&format!("{}\n", json!({"error": error_json(error)})));
            return;
        }
        let mut text = format!("{} {report}\n", self.paint_stderr(Style::Bad, "error:"));
        if let Some(source) = error.source_name().filter(|source| !report.contains(source)) {
            let _ = writeln!(text, "  source: {source}");
        }
        if let Some(hint) = error.hint() {
            let _ = writeln!(text, "{} {hint}", self.paint_stderr(Style::Good, "hint:"));
        }
        self.say(&text);
    }

    /// Writes to standard error, above the bars. There is nobody to tell when that fails.
    pub(crate) fn say(&self, text: &str) {
        let mut stderr = self.shared.stderr.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = self
            .shared
            .bars
            .suspend(|| stderr.write_all(text.as_bytes()).and_then(|()| stderr.flush()));
    }

    /// Asks a question and reads one line; `None` at the end of input.
    pub(crate) fn ask(&self, question: &str) -> Result<Option<String>> {
        self.say(&format!("{question} "));
        let mut answer = String::new();
        let read = self.stdin().read_line(&mut answer).map_err(unreadable_stdin)?;
        Ok((read > 0).then(|| answer.trim().to_owned()))
    }

    /// Asks a yes-or-no question; anything but yes is no.
    pub(crate) fn confirm(&self, question: &str) -> Result<bool> {
        let answer = self.ask(&format!("{question} [y/N]"))?;
        Ok(answer.is_some_and(|answer| matches!(answer.to_ascii_lowercase().as_str(), "y" | "yes")))
    }

    /// Everything on standard input.
    pub(crate) fn read_stdin(&self) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.stdin().read_to_end(&mut bytes).map_err(unreadable_stdin)?;
        Ok(bytes)
    }

    fn stdin(&self) -> std::sync::MutexGuard<'_, BufReader<Box<dyn Read + Send>>> {
        self.shared.stdin.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn unreadable_stdin(error: io::Error) -> Error {
    Error::input("cannot read standard input").with_cause(error)
}

/// An error as programs read it.
fn error_json(error: &Error) -> Value {
    json!({
        "kind": error.kind().as_str(),
        "stage": error.stage().map(audiorag::core::Stage::as_str),
        "source": error.source_name(),
        "provider": error.provider(),
        "message": error.report(),
        "hint": error.hint(),
    })
}

/// A message in the form of the log.
fn log_line(level: &str, message: &str, error: Option<Value>) -> String {
    let mut line = json!({
        "timestamp": format!("{:.3}", jiff::Timestamp::now()),
        "level": level,
        "target": "audiorag",
        "message": message,
    });
    if let (Some(line), Some(error)) = (line.as_object_mut(), error) {
        line.insert("error".to_owned(), error);
    }
    format!("{line}\n")
}

fn paint(colored: bool, style: Style, text: impl fmt::Display) -> String {
    if colored {
        format!("\u{1b}[{}m{text}\u{1b}[0m", style.code())
    } else {
        text.to_string()
    }
}

/// Whether a stream is coloured: the flag, then <https://no-color.org>, then `CLICOLOR_FORCE`, then the terminal.
pub(crate) fn colored(color: Color, env: &BTreeMap<String, String>, is_terminal: bool) -> bool {
    let is_set = |name: &str| env.get(name).is_some_and(|value| !value.is_empty());
    match color {
        Color::Always => true,
        Color::Never => false,
        Color::Auto if is_set("NO_COLOR") => false,
        Color::Auto
            if is_set("CLICOLOR_FORCE") && env.get("CLICOLOR_FORCE").is_some_and(|value| value != "0") =>
        {
            true
        }
        Color::Auto => is_terminal && env.get("TERM").is_none_or(|term| term != "dumb"),
    }
}

/// A table with left-aligned columns two spaces apart; the last column is as long as it needs to be.
pub(crate) fn table(rows: &[Vec<String>]) -> Vec<String> {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns)
        .map(|column| {
            rows.iter()
                .filter_map(|row| row.get(column))
                .map(|cell| width(cell))
                .max()
                .unwrap_or(0)
        })
        .collect();
    rows.iter()
        .map(|row| {
            let mut line = String::new();
            for (cell, width_of_column) in row.iter().zip(&widths) {
                line.push_str(cell);
                let padding = width_of_column.saturating_sub(width(cell)) + 2;
                line.extend(std::iter::repeat_n(' ', padding));
            }
            line.trim_end().to_owned()
        })
        .collect()
}

/// Columns that a text takes on a terminal, colours not counted.
fn width(text: &str) -> usize {
    console::measure_text_width(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::{Captured, Io};

    fn printer(look: Look, terminals: Terminals) -> (Printer, Captured, Captured) {
        let (io, stdout, stderr) = Io::captured("yes\nno\n");
        (
            Printer::new(io.stdin, io.stdout, io.stderr, terminals, look, &BTreeMap::new()),
            stdout,
            stderr,
        )
    }

    #[test]
    fn colour_follows_flag_environment_and_terminal() {
        let env = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
            pairs
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect()
        };
        assert!(colored(Color::Auto, &env(&[]), true));
        assert!(!colored(Color::Auto, &env(&[]), false));
        assert!(!colored(
            Color::Auto,
            &env(&[("NO_COLOR", "1"), ("CLICOLOR_FORCE", "1")]),
            true
        ));
        assert!(colored(Color::Auto, &env(&[("NO_COLOR", "")]), true));
        assert!(colored(Color::Auto, &env(&[("CLICOLOR_FORCE", "1")]), false));
        assert!(!colored(Color::Auto, &env(&[("CLICOLOR_FORCE", "0")]), false));
        assert!(!colored(Color::Auto, &env(&[("TERM", "dumb")]), true));
        assert!(colored(Color::Always, &env(&[("NO_COLOR", "1")]), false));
        assert!(!colored(Color::Never, &env(&[("CLICOLOR_FORCE", "1")]), true));
    }

    #[test]
    fn data_and_messages_take_their_own_stream() {
        let (printer, stdout, stderr) = printer(Look::default(), Terminals::default());
        printer.line("data").unwrap();
        printer.note("note");
        printer.warning("careful");
        printer.error(
            &Error::input("bad file")
                .with_source("a.mp3")
                .with_hint("give another"),
        );
        assert_eq!(stdout.text(), "data\n");
        assert_eq!(
            stderr.text(),
            "note\nwarning: careful\nerror: bad file\n  source: a.mp3\nhint: give another\n"
        );
    }

    #[test]
    fn quiet_leaves_errors() {
        let (printer, _, stderr) = printer(
            Look {
                quiet: true,
                ..Look::default()
            },
            Terminals::default(),
        );
        printer.note("note");
        printer.warning("careful");
        printer.error(&Error::input("bad file"));
        assert_eq!(stderr.text(), "error: bad file\n");
    }

    #[test]
    fn json_errors_carry_everything() {
        let (printer, _, stderr) = printer(
            Look {
                json: true,
                ..Look::default()
            },
            Terminals::default(),
        );
        let stage = audiorag::core::Stage::Probe;
        printer.error(
            &Error::input("bad file")
                .with_source("a.mp3")
                .with_stage(stage)
                .with_hint("try"),
        );
        let value: Value = serde_json::from_str(&stderr.text()).unwrap();
        assert_eq!(value["error"]["kind"], "input");
        assert_eq!(value["error"]["stage"], "probe");
        assert_eq!(value["error"]["source"], "a.mp3");
        assert_eq!(value["error"]["hint"], "try");
    }

    #[test]
    fn messages_can_take_the_form_of_the_log() {
        let (printer, _, stderr) = printer(Look::default(), Terminals::default());
        printer.set_log_lines(true);
        printer.note("note");
        printer.warning("careful");
        printer.error(&Error::input("bad"));
        let lines: Vec<Value> = stderr
            .text()
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        let told: Vec<_> = lines
            .iter()
            .map(|line| (line["level"].clone(), line["message"].clone()))
            .collect();
        let expected = [("info", "note"), ("warn", "careful"), ("error", "bad")];
        assert_eq!(
            told,
            expected.map(|(level, message)| (level.into(), message.into()))
        );
        assert_eq!(lines[2]["error"]["kind"], "input");
        assert!(
            lines
                .iter()
                .all(|line| line["timestamp"].is_string() && line["target"] == "audiorag")
        );
    }

    #[test]
    fn questions_are_answered_line_by_line() {
        let terminals = Terminals {
            stdin: true,
            stdout: false,
            stderr: true,
        };
        let (printer, _, stderr) = printer(
            Look {
                no_progress: true,
                ..Look::default()
            },
            terminals,
        );
        assert!(printer.can_ask());
        assert!(printer.confirm("Sure?").unwrap());
        assert!(!printer.confirm("Really?").unwrap());
        assert!(!printer.confirm("Still?").unwrap());
        assert_eq!(stderr.text(), "Sure? [y/N] Really? [y/N] Still? [y/N] ");
    }

    struct Failing(io::ErrorKind);

    impl Write for Failing {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_closed_pipe_is_quiet_and_a_full_disk_is_not() {
        let with = |kind| {
            let (io, _, _) = Io::captured("");
            let env = BTreeMap::new();
            Printer::new(
                io.stdin,
                Box::new(Failing(kind)),
                io.stderr,
                io.terminals,
                Look::default(),
                &env,
            )
        };
        let closed = with(io::ErrorKind::BrokenPipe);
        assert!(closed.line("x").is_ok() && closed.line("y").is_ok());
        let full = with(io::ErrorKind::StorageFull);
        assert_eq!(
            full.line("x").unwrap_err().kind(),
            audiorag::core::ErrorKind::State
        );
    }

    #[test]
    fn tables_align_wide_characters() {
        let rows = vec![
            vec!["日本".to_owned(), "x".to_owned()],
            vec!["abcdef".to_owned(), "y".to_owned()],
        ];
        assert_eq!(table(&rows), ["日本    x", "abcdef  y"]);
    }
}
