//! `audiorag cache`.

use super::{count, size};
use crate::args::Cache;
use crate::context::Context;
use crate::exit::ExitStatus;
use crate::json;
use crate::printer::table;
use audiorag::core::Result;
use audiorag::state::CacheKind;

pub(super) async fn run(context: &Context, action: Cache) -> Result<ExitStatus> {
    let audiorag = context.open_existing().await?;
    let printer = &context.printer;
    match action {
        Cache::Info => {
            let stats = audiorag.state().cache_stats().await?;
            if printer.is_json() {
                printer.json(&json::cache(&stats))?;
                return Ok(ExitStatus::Success);
            }
            let row = |name: &str, number: u64, bytes: u64, unused: u64, unused_bytes: u64| {
                [
                    name.to_owned(),
                    number.to_string(),
                    size(bytes),
                    unused.to_string(),
                    size(unused_bytes),
                ]
                .to_vec()
            };
            let head = ["", "KEPT", "SIZE", "UNUSED", "SIZE"].map(str::to_owned).to_vec();
            let rows = [
                head,
                row(
                    "transcripts",
                    stats.part_transcripts,
                    stats.part_bytes,
                    stats.unused_part_transcripts,
                    stats.unused_part_bytes,
                ),
                row(
                    "embeddings",
                    stats.embeddings,
                    stats.embedding_bytes,
                    stats.unused_embeddings,
                    stats.unused_embedding_bytes,
                ),
            ];
            for line in table(&rows) {
                printer.line(line)?;
            }
        }
        Cache::Clear {
            transcripts,
            embeddings,
        } => {
            let what = match (transcripts, embeddings) {
                (true, false) => CacheKind::Transcripts,
                (false, true) => CacheKind::Embeddings,
                _ => CacheKind::All,
            };
            let freed = audiorag.state().clear_cache(what).await?;
            if printer.is_json() {
                printer.json(&json::cache(&freed))?;
                return Ok(ExitStatus::Success);
            }
            printer.line(format_args!(
                "removed {} and {} that no source uses ({})",
                count(freed.part_transcripts as usize, "transcript"),
                count(freed.embeddings as usize, "embedding"),
                size(freed.part_bytes + freed.embedding_bytes),
            ))?;
        }
    }
    Ok(ExitStatus::Success)
}
