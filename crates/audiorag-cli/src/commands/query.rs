//! `audiorag query`.

use super::{open, open_to_keep, question};
use crate::args::Query;
use crate::context::Context;
use crate::exit::ExitStatus;
use crate::json;
use crate::printer::{Printer, Style};
use audiorag::core::cite::Doubt;
use audiorag::core::model::{Abstention, Answer, Citation, TimeQuality};
use audiorag::core::{Error, Result};
use audiorag::query::{QueryEvent, QueryObserver, QueryOptions, QueryReply, Wording};
use std::sync::{Mutex, PoisonError};

/// What is put behind a statement that its citations do not carry.
const MARK: &str = "[?]";

pub(super) async fn run(context: &Context, args: &Query) -> Result<ExitStatus> {
    let text = question(context, args.question.text.as_deref())?;
    let audiorag = if args.thread.is_some() {
        open_to_keep(context).await?
    } else {
        open(context).await?
    };
    let filter = context.filter(&audiorag, &args.question).await?;
    let options = QueryOptions {
        filter,
        thread: args.thread.clone(),
        ..QueryOptions::default()
    };
    let printer = &context.printer;
    let reply = if args.stream {
        let live = Live::new(printer);
        let reply = audiorag.query_observed(&text, options, &live).await?;
        live.end()?;
        reply
    } else {
        audiorag.query(&text, options).await?
    };
    if printer.is_json() {
        let mut value = json::query(&reply);
        if !args.stream {
            printer.json(&value)?;
        } else if let Some(object) = value.as_object_mut() {
            object.insert("event".to_owned(), "reply".into());
            printer.event(&value)?;
        }
    } else {
        print(printer, &reply, args.stream)?;
        if args.question.explain {
            explain(printer, &reply)?;
        }
    }
    Ok(ExitStatus::Success)
}

/// Shows an answer while it is written.
struct Live<'a> {
    printer: &'a Printer,
    progress: Mutex<Progress>,
}

#[derive(Default)]
struct Progress {
    /// Whether the line that is being written has an end to come.
    open: bool,
    failure: Option<Error>,
}

impl<'a> Live<'a> {
    fn new(printer: &'a Printer) -> Self {
        Self {
            printer,
            progress: Mutex::default(),
        }
    }

    /// Ends the last line, and tells what kept it from being written.
    fn end(self) -> Result<()> {
        let progress = self.progress.into_inner().unwrap_or_else(PoisonError::into_inner);
        match progress.failure {
            Some(failure) => Err(failure),
            None if progress.open => self.printer.line(""),
            None => Ok(()),
        }
    }
}

impl QueryObserver for Live<'_> {
    fn event(&self, event: &QueryEvent<'_>) {
        let mut progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        let written = match event {
            _ if self.printer.is_json() => self.printer.event(&json::query_event(event)),
            QueryEvent::Text(text) => {
                progress.open = true;
                self.printer.data(text)
            }
            QueryEvent::Restarted if std::mem::take(&mut progress.open) => {
                self.printer.line("").inspect(|()| {
                    self.printer
                        .warning("the answer broke off; what follows is what the recordings say");
                })
            }
            _ => Ok(()),
        };
        if let Err(failure) = written {
            progress.failure.get_or_insert(failure);
        }
    }
}

/// The answer, unless it `was_shown`, then each citation.
fn print(printer: &Printer, reply: &QueryReply, was_shown: bool) -> Result<()> {
    let answer = &reply.answer;
    super::degraded(printer, &answer.degraded, "answered");
    match answer.abstained {
        Some(why) => abstain(printer, answer, why)?,
        // With nobody to write answers, the passages are the answer.
        None if answer.text.is_empty() => {
            for hit in &answer.passages {
                super::search::print(printer, hit)?;
            }
        }
        None if was_shown => {}
        None => printer.line(marked(answer))?,
    }
    for citation in &answer.citations {
        printer.line("")?;
        print_citation(printer, citation)?;
    }
    doubts(printer, answer);
    Ok(())
}

fn abstain(printer: &Printer, answer: &Answer, why: Abstention) -> Result<()> {
    printer.line("Nothing in the recordings answers this.")?;
    if why == Abstention::Generator && !answer.text.is_empty() {
        printer.note(format_args!("{} says: {}", answer.model, answer.text));
    }
    if !answer.passages.is_empty() {
        printer.note("`audiorag search` shows the passages that come nearest");
    }
    Ok(())
}

/// The text, with a mark behind each statement that its citations do not carry.
pub(super) fn marked(answer: &Answer) -> String {
    let mut text = answer.text.clone();
    for statement in answer.unsupported.iter().rev() {
        if text.is_char_boundary(statement.to) {
            text.insert_str(statement.to, &format!(" {MARK}"));
        }
    }
    text
}

/// What has to be taken with care.
pub(super) fn doubts(printer: &Printer, answer: &Answer) {
    for found in &answer.unsupported {
        let reason = match found.doubt {
            Doubt::Uncited => "cites no passage",
            Doubt::Wording => "says hardly a word of what it cites",
            Doubt::Quotation => "quotes words that are not in what it cites",
            _ => "is not carried by what it cites",
        };
        let statement = answer.text.get(found.from..found.to).unwrap_or_default();
        printer.warning(format_args!("{MARK} {reason}: {statement}"));
    }
    if answer.removed_citations > 0 {
        printer.warning(format_args!(
            "{} named a passage that {} was not given, and {} removed",
            super::count(answer.removed_citations, "citation"),
            answer.model,
            if answer.removed_citations == 1 {
                "is"
            } else {
                "are"
            },
        ));
    }
}

/// What was read for the answer, with the scores, and how long each stage took.
fn explain(printer: &Printer, reply: &QueryReply) -> Result<()> {
    printer.line("")?;
    if let Some(turn) = &reply.thread {
        let how = match turn.wording {
            Wording::Rewritten => "as the generator understood it",
            Wording::Joined => "together with the question before it",
            _ => "as it was asked",
        };
        printer.line(format_args!("searched for {how}: {}", turn.searched))?;
    }
    for passage in &reply.answer.passages {
        printer.line(format_args!("{}  {}", passage.title, passage.span))?;
        super::search::explain(printer, passage)?;
    }
    let timings: Vec<String> = reply
        .timings
        .iter()
        .map(|(stage, took)| format!("{stage} {} ms", took.as_millis()))
        .collect();
    printer.line(printer.paint(Style::Dim, timings.join("  ")))
}

pub(super) fn print_citation(printer: &Printer, citation: &Citation) -> Result<()> {
    let estimated = if citation.times == TimeQuality::Estimated {
        " (estimated)"
    } else {
        ""
    };
    let marker = printer.paint(Style::Bold, format_args!("[{}]", citation.marker));
    printer.line(format_args!(
        "{marker} {}  {}{estimated}",
        citation.title, citation.span
    ))?;
    let speakers = if citation.speakers.is_empty() {
        String::new()
    } else {
        format!("{}: ", citation.speakers.join(", "))
    };
    printer.line(format_args!("    {speakers}\u{201c}{}\u{201d}", citation.quote))?;
    printer.line(format_args!("    {}", printer.paint(Style::Link, &citation.link)))
}
