//! Chunks with what is needed to show them.

use crate::db::{placeholders, sql};
use crate::fault::Attempt;
use crate::records::StoredChunk;
use crate::stored;
use audiorag_core::Locator;
use audiorag_core::chunking::chapter_at;
use audiorag_core::id::{ChunkId, EmbeddingKey, RevisionId, SourceId};
use sea_orm::{ConnectionTrait, FromQueryResult, Value};
use std::collections::HashMap;

/// Ids in one statement.
const IDS: usize = 500;

const COLUMNS: &str =
    "c.chunk_key, c.source_id, c.revision_id, c.idx, c.start_ms, c.end_ms, c.text, c.header,
    c.speakers, c.lines, c.estimated, c.embedding_key, s.title, s.locator, s.date, s.media, r.language";

#[derive(FromQueryResult)]
struct Row {
    chunk_key: String,
    source_id: String,
    revision_id: i64,
    idx: i64,
    start_ms: i64,
    end_ms: i64,
    text: String,
    header: Option<String>,
    speakers: String,
    lines: String,
    estimated: bool,
    embedding_key: String,
    title: String,
    locator: String,
    date: Option<String>,
    media: Option<String>,
    language: Option<String>,
}

/// Chunks `c` with their source `s` and revision `r`. `condition` is ours; its values are bound.
pub(crate) async fn placed(
    connection: &impl ConnectionTrait,
    condition: &str,
    values: impl IntoIterator<Item = Value>,
) -> Attempt<Vec<StoredChunk>> {
    let text = format!(
        "SELECT {COLUMNS} FROM chunk c JOIN source s ON s.id = c.source_id
         JOIN revision r ON r.id = c.revision_id WHERE {condition}"
    );
    let rows = connection.query_all_raw(sql(&text, values)).await?;
    rows.iter()
        .map(|row| from_row(Row::from_query_result(row, "")?))
        .collect()
}

/// Those of the chunks that belong to live revisions.
pub(crate) async fn live(
    connection: &impl ConnectionTrait,
    ids: &[ChunkId],
) -> Attempt<HashMap<ChunkId, StoredChunk>> {
    let mut found = HashMap::with_capacity(ids.len());
    for batch in ids.chunks(IDS) {
        let condition = format!(
            "c.chunk_key IN ({}) AND s.active_revision = c.revision_id",
            placeholders(batch.len())
        );
        let values = batch.iter().map(|id| Value::from(id.as_str()));
        for chunk in placed(connection, &condition, values).await? {
            found.insert(chunk.chunk_id.clone(), chunk);
        }
    }
    Ok(found)
}

fn from_row(row: Row) -> Attempt<StoredChunk> {
    let lines = stored::read_lines(&row.lines)?;
    let media = row.media.as_deref().map(stored::read_media).transpose()?;
    let chapter = lines.first().zip(media.as_ref()).and_then(|(line, media)| {
        chapter_at(&media.chapters, line.span.middle()).map(|chapter| chapter.title.clone())
    });
    Ok(StoredChunk {
        chapter,
        chunk_id: ChunkId::from_stored(row.chunk_key),
        source_id: SourceId::from_stored(row.source_id),
        revision: RevisionId(row.revision_id),
        index: row.idx.max(0) as u32,
        span: stored::span(row.start_ms, row.end_ms),
        text: row.text,
        header: row.header,
        speakers: stored::read_names(&row.speakers)?,
        lines,
        times: stored::time_quality(row.estimated),
        embedding_key: EmbeddingKey::from_stored(row.embedding_key),
        title: row.title,
        locator: Locator::parse_uri(&row.locator)?,
        language: row.language,
        date: row.date,
    })
}
