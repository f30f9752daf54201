//! Running other programs, and saying what is run and how long it took.

use crate::{environment, workspace};
use anyhow::{Context, Result, bail, ensure};
use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::process::{Command, ExitStatus, Stdio};
use std::time::Instant;

/// What a check found wrong, one line each; empty when all is well.
pub(crate) type Findings = Vec<String>;

/// A program run from the root of the workspace, without standard input.
pub(crate) fn program(name: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(name);
    command.current_dir(workspace::root()).stdin(Stdio::null());
    for variable in environment::set_by_cargo() {
        command.env_remove(variable);
    }
    command
}

/// `cargo` with the given arguments.
pub(crate) fn cargo(arguments: &[&str]) -> Command {
    let mut command = program(environment::cargo());
    command.args(arguments);
    command
}

/// Announces and runs a command whose output goes straight to the terminal.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    announce(command);
    let status = command
        .status()
        .with_context(|| format!("cannot start {}", describe(command)))?;
    ensure!(status.success(), "{} ended with {status}", describe(command));
    Ok(())
}

/// Runs a command and returns what it wrote to standard output.
pub(crate) fn capture(command: &mut Command) -> Result<String> {
    let output = command
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("cannot start {}", describe(command)))?;
    ensure!(
        output.status.success(),
        "{} ended with {}",
        describe(command),
        output.status
    );
    String::from_utf8(output.stdout).with_context(|| format!("{} printed invalid UTF-8", describe(command)))
}

/// Announces and runs a command, handing each line of its output to `on_line` and passing on those for which that
/// returns true. Standard output and standard error share one pipe, so that lines keep their order.
pub(crate) fn stream(command: &mut Command, mut on_line: impl FnMut(&str) -> bool) -> Result<ExitStatus> {
    announce(command);
    let (reader, writer) = std::io::pipe().context("cannot make a pipe")?;
    command.stderr(writer.try_clone()?).stdout(writer);
    let mut child = command
        .spawn()
        .with_context(|| format!("cannot start {}", describe(command)))?;
    // The command holds the writing ends: while they are open, the reader never sees the end.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut reader = BufReader::new(reader);
    let mut line = Vec::new();
    while reader.read_until(b'\n', &mut line)? > 0 {
        let text = String::from_utf8_lossy(&line);
        if on_line(text.trim_end()) {
            print!("{text}");
        }
        line.clear();
    }
    Ok(child.wait()?)
}

/// Turns findings into a verdict, after printing them.
pub(crate) fn report(name: &str, findings: Result<Findings>) -> Result<()> {
    let findings = findings?;
    for finding in &findings {
        eprintln!("{name}: {finding}");
    }
    if !findings.is_empty() {
        bail!(
            "{name} found {} problem{}",
            findings.len(),
            if findings.len() == 1 { "" } else { "s" }
        );
    }
    println!("{name}: ok");
    Ok(())
}

/// Prints a line that stands out among the output of other programs.
pub(crate) fn headline(text: &str) {
    println!("\n==> {text}");
}

/// Time since `start`, for people.
pub(crate) fn elapsed(start: Instant) -> String {
    let seconds = start.elapsed().as_secs_f64();
    if seconds < 60.0 {
        format!("{seconds:.1} s")
    } else {
        format!("{} min {:02} s", (seconds / 60.0) as u64, seconds as u64 % 60)
    }
}

fn announce(command: &Command) {
    println!("$ {}", describe(command));
}

/// The command as one would type it.
pub(crate) fn describe(command: &Command) -> String {
    let name = command.get_program().to_string_lossy();
    let name = name.rsplit('/').next().unwrap_or_default().to_owned();
    std::iter::once(name)
        .chain(command.get_args().map(|argument| {
            let argument = argument.to_string_lossy();
            if argument.is_empty() || argument.contains(char::is_whitespace) {
                format!("{argument:?}")
            } else {
                argument.into_owned()
            }
        }))
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_keeps_the_order_of_both_outputs() {
        let mut lines = Vec::new();
        let mut command = program("sh");
        command.args(["-c", "echo one; echo two >&2; echo three; exit 4"]);
        let status = stream(&mut command, |line| {
            lines.push(line.to_owned());
            false
        })
        .unwrap();
        assert_eq!(lines, ["one", "two", "three"]);
        assert_eq!(status.code(), Some(4));
    }

    #[test]
    fn a_failing_command_is_named_with_its_status() {
        let error = capture(program("sh").args(["-c", "exit 3"]))
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("sh -c \"exit 3\"") && error.contains('3'),
            "{error}"
        );
        let error = run(&mut program("/no/such/program")).unwrap_err().to_string();
        assert!(error.contains("cannot start program"), "{error}");
    }

    #[test]
    fn findings_make_a_check_fail() {
        assert!(report("x", Ok(Vec::new())).is_ok());
        assert_eq!(
            report("x", Ok(vec!["a".into()])).unwrap_err().to_string(),
            "x found 1 problem"
        );
    }
}
