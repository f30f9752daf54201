//! Which piece of which recording `clip` and `play` are asked for.

use super::threads;
use crate::args::Piece;
use crate::context::Context;
use audiorag::AudioRag;
use audiorag::core::{Error, MediaTime, Result, Span};
use audiorag::state::SourceRecord;

/// The source and the span in it. `command` is how the command is called, for the hint of an error.
pub(super) async fn find(
    context: &Context,
    audiorag: &AudioRag,
    piece: &Piece,
    command: &str,
) -> Result<(SourceRecord, Span)> {
    let usage = || usage(command);
    match (&piece.thread, piece.what.as_slice()) {
        (Some(thread), [marker]) => cited(audiorag, thread, marker).await,
        (None, [one]) => {
            let (name, span) = one.rsplit_once('@').ok_or_else(usage)?;
            let (start, end) = span.split_once('-').ok_or_else(usage)?;
            Ok((context.source(audiorag, name).await?, between(start, end)?))
        }
        (None, [name, start, end]) => Ok((context.source(audiorag, name).await?, between(start, end)?)),
        _ => Err(usage()),
    }
}

fn usage(command: &str) -> Error {
    let verb = command.split(' ').next().unwrap_or(command);
    Error::input(format!("what to {verb} is not clear")).with_hint(format!(
        "audiorag {command} talk.mp3@1:02-1:10.5, audiorag {command} talk.mp3 1:02 1:10.5, or audiorag {command} \
         --thread NAME 2"
    ))
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
