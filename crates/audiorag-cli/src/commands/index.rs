//! `audiorag index`.

use super::{cost, count, plan};
use crate::args::Index;
use crate::context::{Context, date};
use crate::exit::ExitStatus;
use crate::json;
use crate::printer::{Printer, Style, table};
use crate::progress::IndexProgress;
use audiorag::core::{Error, ErrorKind, Result};
use audiorag::index::{FailedSource, IndexOptions, IndexReport, IndexedSource, Input};
use std::ffi::{OsStr, OsString};
use std::fs;

pub(super) async fn run(context: &Context, args: &Index) -> Result<ExitStatus> {
    let inputs = inputs(context, args)?;
    #[cfg(feature = "local")]
    super::models::ensure(context).await?;
    let audiorag = context.open().await?;
    let mut options = options(args)?;
    let file = args.given.transcript_file.as_ref();
    options.transcript_file = file.map(|file| context.cwd.join(file));
    for missing in audiorag.shortcomings()? {
        context.printer.note(missing);
    }
    if args.plan {
        return plan::show(&context.printer, &audiorag.plan(inputs, options).await?);
    }
    let progress = IndexProgress::new(context.printer.clone());
    let report = audiorag
        .index(inputs, options, &progress, context.interrupt.token())
        .await?;
    if context.printer.is_json() {
        context.printer.event(&json::summary(&report))?;
    } else {
        print(&context.printer, &report)?;
    }
    Ok(status(context, &report))
}

/// What the flags ask for.
pub(super) fn options(args: &Index) -> Result<IndexOptions> {
    Ok(IndexOptions {
        force: args.force,
        include: args.include.clone(),
        exclude: args.exclude.clone(),
        title: args.title.clone(),
        max_cost: args.max_cost,
        transcript_file: None,
        min_age: None,
        since: args
            .since
            .as_deref()
            .map(|day| date("--since", day))
            .transpose()?,
        latest: args.latest,
    })
}

/// What is named on the command line, in a list on standard input and in a list in a file.
pub(super) fn inputs(context: &Context, args: &Index) -> Result<Vec<Input>> {
    let mut names: Vec<OsString> = Vec::new();
    for input in &args.inputs {
        if input == "-" {
            names.extend(lines(&context.printer.read_stdin()?)?);
        } else {
            names.push(input.clone());
        }
    }
    if let Some(file) = &args.files_from {
        let bytes = if file.as_os_str() == "-" {
            context.printer.read_stdin()?
        } else {
            fs::read(context.cwd.join(file)).map_err(|error| {
                Error::input(format!("the list {} cannot be read", file.display())).with_cause(error)
            })?
        };
        names.extend(lines(&bytes)?);
    }
    if names.is_empty() {
        return Err(Error::input("there is nothing to index").with_hint("name files or folders"));
    }
    Ok(names
        .iter()
        .map(|name| match Input::parse(name) {
            Input::Path(path) => Input::Path(context.cwd.join(path)),
            uri @ Input::Uri(_) => uri,
        })
        .collect())
}

/// The names in a list: one a line, or separated by zero bytes as `find -print0` writes them.
fn lines(bytes: &[u8]) -> Result<Vec<OsString>> {
    let separator = if bytes.contains(&0) { 0 } else { b'\n' };
    bytes
        .split(|byte| *byte == separator)
        .map(|line| {
            if separator == b'\n' {
                line.strip_suffix(b"\r").unwrap_or(line)
            } else {
                line
            }
        })
        .filter(|line| !line.is_empty())
        .map(name)
        .collect()
}

#[cfg(unix)]
#[expect(clippy::unnecessary_wraps, reason = "fallible where names are not bytes")]
fn name(line: &[u8]) -> Result<OsString> {
    use std::os::unix::ffi::OsStrExt as _;
    Ok(OsStr::from_bytes(line).to_owned())
}

#[cfg(not(unix))]
fn name(line: &[u8]) -> Result<OsString> {
    let text = std::str::from_utf8(line).map_err(|_| Error::input("a name in the list is not UTF-8"))?;
    Ok(OsStr::new(text).to_owned())
}

/// The exit status of a run. What stopped it outweighs that some sources failed.
pub(super) fn status(context: &Context, report: &IndexReport) -> ExitStatus {
    if report.cancelled {
        return context.interrupt.status().unwrap_or(ExitStatus::Interrupted);
    }
    let stopped = report
        .failed
        .iter()
        .map(|failed| failed.kind)
        .find(|kind| Error::new(*kind, "").stops_batch());
    match stopped {
        Some(kind) => kind.into(),
        None if report.failed.is_empty() && report.prepared.is_empty() => ExitStatus::Success,
        None => ExitStatus::Partial,
    }
}

/// One line for each source, then the totals.
pub(super) fn print(printer: &Printer, report: &IndexReport) -> Result<()> {
    let mut rows = Vec::new();
    let mut row = |style, outcome: &str, source: &str, detail: String| {
        rows.push(vec![printer.paint(style, outcome), source.to_owned(), detail]);
    };
    for source in &report.indexed {
        row(Style::Good, "indexed", &source.source, indexed(source));
    }
    for source in &report.skipped {
        row(Style::Dim, "skipped", &source.source, source.reason.clone());
    }
    for source in &report.empty {
        row(
            Style::Careful,
            "empty",
            &source.source,
            format!("{}, nobody speaks", source.duration),
        );
    }
    for source in &report.prepared {
        row(Style::Careful, "prepared", &source.source, indexed(source));
    }
    for line in table(&rows) {
        printer.line(line)?;
    }
    for failed in &report.failed {
        let stage = failed
            .stage
            .map(|stage| format!(" at {stage}"))
            .unwrap_or_default();
        let (style, label) = if is_interrupted(failed) {
            (Style::Careful, "stopped")
        } else {
            (Style::Bad, "failed")
        };
        let label = printer.paint(style, format_args!("{label:7}"));
        printer.line(format_args!("{label}  {}", failed.source))?;
        printer.line(format_args!("    {}{stage}: {}", failed.kind, failed.message))?;
        if let Some(hint) = &failed.hint {
            printer.line(format_args!("    hint: {hint}"))?;
        }
    }
    let interrupted = report
        .failed
        .iter()
        .filter(|failed| is_interrupted(failed))
        .count();
    let mut totals = vec![
        format!("{} indexed", report.indexed.len()),
        format!("{} skipped", report.skipped.len()),
        format!("{} empty", report.empty.len()),
        format!("{} failed", report.failed.len() - interrupted),
    ];
    if !report.prepared.is_empty() {
        totals.push(format!("{} prepared", report.prepared.len()));
    }
    if interrupted > 0 {
        totals.push(format!("{interrupted} stopped"));
    }
    if report.not_started > 0 {
        totals.push(format!("{} not started", report.not_started));
    }
    let cancelled = if report.cancelled {
        "; interrupted, the next run goes on from here"
    } else {
        ""
    };
    let seconds = report.elapsed.as_secs_f64();
    let cost = match report.calls {
        0 => String::new(),
        calls => format!(", {}", cost::spent(report.cost, calls, report.unpriced_calls)),
    };
    printer.line(format_args!(
        "{} in {seconds:.1} s{cost}{cancelled}",
        totals.join(", ")
    ))
}

/// Whether a source is in the list only because the run was told to end.
fn is_interrupted(failed: &FailedSource) -> bool {
    failed.kind == ErrorKind::Cancelled
}

fn indexed(source: &IndexedSource) -> String {
    let mut detail = vec![source.duration.to_string(), count(source.chunks, "chunk")];
    if let Some(name) = &source.transcript {
        detail.push(format!("transcript given: {name}"));
    } else if source.reused_parts > 0 {
        let all = source.transcribed_parts + source.reused_parts;
        detail.push(format!("{} of {all} parts reused", source.reused_parts));
    }
    if source.suspicious_segments > 0 {
        detail.push(format!(
            "{} left out as not spoken",
            count(source.suspicious_segments, "segment")
        ));
    }
    detail.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(bytes: &[u8]) -> Vec<String> {
        lines(bytes)
            .unwrap()
            .into_iter()
            .map(|name| name.to_string_lossy().into_owned())
            .collect()
    }

    #[test]
    fn lists_are_lines_or_zero_separated() {
        assert_eq!(names(b"a.mp3\r\n\n b c.mp3 \n"), ["a.mp3", " b c.mp3 "]);
        assert_eq!(names(b"a\nb.mp3\0c.mp3\0"), ["a\nb.mp3", "c.mp3"]);
        assert!(names(b"").is_empty());
    }

    #[cfg(unix)]
    #[test]
    fn names_that_are_not_text_survive() {
        use std::os::unix::ffi::OsStrExt as _;
        assert_eq!(lines(b"\xff.wav\n").unwrap()[0].as_bytes(), b"\xff.wav");
    }
}
