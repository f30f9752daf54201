//! `audiorag clip`.

use super::threads;
use crate::args::Clip;
use crate::context::Context;
use crate::exit::ExitStatus;
use audiorag::AudioRag;
use audiorag::core::{Error, MediaTime, Result, Span};
use audiorag::state::SourceRecord;
use serde_json::json;

pub(super) async fn run(context: &Context, args: &Clip) -> Result<ExitStatus> {
    let audiorag = context.open_existing().await?;
    let (source, span) = match (&args.thread, args.what.as_slice()) {
        (Some(thread), [marker]) => cited(&audiorag, thread, marker).await?,
        (None, [one]) => {
            let (name, span) = one.rsplit_once('@').ok_or_else(usage)?;
            let (start, end) = span.split_once('-').ok_or_else(usage)?;
            (context.source(&audiorag, name).await?, between(start, end)?)
        }
        (None, [name, start, end]) => (context.source(&audiorag, name).await?, between(start, end)?),
        _ => return Err(usage()),
    };
    let output = context.cwd.join(&args.output);
    let span = audiorag.clip(&source, span, &output, args.force).await?;
    if context.printer.is_json() {
        context.printer.json(&json!({
            "source_id": source.id.as_str(),
            "start": span.start().as_seconds_f64(),
            "end": span.end().as_seconds_f64(),
            "file": output.display().to_string(),
        }))?;
    } else {
        context.printer.note(format_args!(
            "wrote {} of '{}' to {}",
            span,
            source.title,
            output.display()
        ));
    }
    Ok(ExitStatus::Success)
}

fn usage() -> Error {
    Error::input("what to clip is not clear").with_hint(
        "audiorag clip talk.mp3@1:02-1:10.5 -o quote.wav, audiorag clip talk.mp3 1:02 1:10.5 -o quote.wav, or \
         audiorag clip --thread NAME 2 -o quote.wav",
    )
}

fn between(start: &str, end: &str) -> Result<Span> {
    let span = MediaTime::parse_clock(start)
        .zip(MediaTime::parse_clock(end))
        .and_then(|(start, end)| Span::new(start, end))
        .filter(|span| !span.is_empty());
    span.ok_or_else(|| {
        Error::input(format!("{start} to {end} is not a span of time"))
            .with_hint("write two times such as 62.5 or 1:02.5, the earlier one first")
    })
}

/// What the citation of this number in the last answer of a conversation cites.
async fn cited(audiorag: &AudioRag, thread: &str, marker: &str) -> Result<(SourceRecord, Span)> {
    let mut turns = audiorag.state().turns(thread).await?;
    let turn = turns.pop().ok_or_else(|| threads::unknown(thread))?;
    let wanted: Option<u32> = marker.trim_matches(['[', ']']).parse().ok();
    let cited = turn
        .citations
        .iter()
        .find(|cited| Some(cited.citation.marker) == wanted)
        .ok_or_else(|| {
            Error::not_found(format!("the last answer of '{thread}' has no citation {marker}")).with_hint(
                format!("it has {}", super::count(turn.citations.len(), "citation")),
            )
        })?;
    let source = audiorag.state().source(&cited.citation.source_id).await?;
    let source = source.ok_or_else(|| {
        Error::not_found(format!("'{}' is not indexed any more", cited.citation.title))
            .with_hint("index it again, and ask again")
    })?;
    Ok((source, cited.citation.span))
}
