//! `audiorag show`.

use super::count;
use super::list::style;
use crate::context::Context;
use crate::exit::ExitStatus;
use crate::json;
use crate::printer::table;
use audiorag::core::Result;
use serde_json::json;

pub(super) async fn run(context: &Context, name: &str) -> Result<ExitStatus> {
    let audiorag = context.open_existing().await?;
    let source = context.source(&audiorag, name).await?;
    let live = audiorag.state().live_revision(&source.id).await?;
    let printer = &context.printer;
    if printer.is_json() {
        let mut value = json::source(&source);
        let media = source.media.as_ref().map(|media| {
            json!({
                "container": media.container,
                "codec": media.codec,
                "sample_rate": media.sample_rate,
                "channels": media.channels,
                "artist": media.artist,
                "album": media.album,
                "date": media.date,
                "chapters": json::chapters(&media.chapters),
            })
        });
        let extra = [
            (
                "content_hash",
                json!(source.fingerprint.as_ref().map(|print| print.content.as_str())),
            ),
            (
                "bytes",
                json!(source.fingerprint.as_ref().map(|print| print.bytes)),
            ),
            ("media", json!(media)),
            (
                "language",
                json!(live.as_ref().and_then(|live| live.language.as_deref())),
            ),
            (
                "embedding",
                json!(live.as_ref().map(|live| live.space.fingerprint())),
            ),
            ("owner", json!(source.owner.as_ref().map(ToString::to_string))),
            ("created_at", json!(json::instant(source.created_at))),
        ];
        if let Some(object) = value.as_object_mut() {
            object.extend(extra.map(|(name, value)| (name.to_owned(), value)));
        }
        printer.json(&value)?;
        return Ok(ExitStatus::Success);
    }
    let mut rows = Vec::new();
    let mut row = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            let colon = if name.is_empty() { "" } else { ":" };
            rows.push(vec![format!("{name}{colon}"), value]);
        }
    };
    row("id", Some(source.id.to_string()));
    row("title", Some(source.title.clone()));
    row("location", Some(source.locator.to_string()));
    row(
        "status",
        Some(printer.paint(style(source.status), source.status.as_str())),
    );
    row("in work by", source.owner.as_ref().map(ToString::to_string));
    row("length", source.duration.map(|duration| duration.to_string()));
    row("chunks", Some(source.chunk_count.to_string()));
    row(
        "revision",
        source.active_revision.map(|revision| revision.to_string()),
    );
    row("language", live.as_ref().and_then(|live| live.language.clone()));
    row("embedding", live.as_ref().map(|live| live.space.fingerprint()));
    if let Some(media) = &source.media {
        let audio = format!(
            "{}, {}, {} Hz, {}",
            media.container,
            media.codec,
            media.sample_rate,
            count(usize::from(media.channels), "channel")
        );
        row("audio", Some(audio));
        row("artist", media.artist.clone());
        row("album", media.album.clone());
        row("date", media.date.clone());
        for (number, chapter) in media.chapters.iter().enumerate() {
            let name = if number == 0 { "chapters" } else { "" };
            row(name, Some(format!("{}  {}", chapter.start, chapter.title)));
        }
    }
    row(
        "content",
        source.fingerprint.as_ref().map(|print| print.content.to_string()),
    );
    row("updated", json::instant(source.updated_at));
    if let Some(failure) = &source.failure {
        let stage = failure
            .stage
            .map(|stage| format!(" at {stage}"))
            .unwrap_or_default();
        row(
            "failed",
            Some(format!("{}{stage}: {}", failure.kind, failure.message)),
        );
    }
    for line in table(&rows) {
        printer.line(line)?;
    }
    Ok(ExitStatus::Success)
}
