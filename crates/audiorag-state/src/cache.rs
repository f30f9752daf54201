//! What was paid for once and is never paid for again: transcripts of parts and vectors, by content.
//!
//! A process that lost its lease may still save these: they are results, not changes of a source, and equal keys
//! mean equal results. It is told so by the error that the verb returns after saving.

use crate::db::{commit, now, placeholders, sql};
use crate::failpoint::Step;
use crate::fault::{Attempt, Fault};
use crate::journal::{self, Settlement};
use crate::ownership::fence;
use crate::records::{CacheKind, CacheStats, Lease, NewTranscript};
use crate::{State, entity, space, stored};
use audiorag_core::Result;
use audiorag_core::id::{ContentHash, EmbeddingKey, PartKey};
use audiorag_core::model::{EmbeddingSpace, PartTranscript};
use sea_orm::{ConnectionTrait, DatabaseTransaction, EntityTrait as _, Value};
use std::collections::{HashMap, HashSet};

/// Keys in one statement.
const KEYS: usize = 500;
/// Holds for a row `t` of `part_transcript` that no live or unfinished revision uses. An unfinished one may need any
/// transcript of its recording: that a part is there is seen a moment before it is written down.
const UNUSED_TRANSCRIPT: &str = "NOT EXISTS (SELECT 1 FROM part p JOIN revision r ON r.id = p.revision_id
    WHERE p.part_key = t.part_key AND r.state IN ('building', 'live'))
    AND t.content_hash NOT IN (SELECT b.content_hash FROM revision b WHERE b.state = 'building')";
/// Holds for a row `e` of `embedding` that no live or unfinished revision and no stored vector uses.
const UNUSED_EMBEDDING: &str = "NOT EXISTS (SELECT 1 FROM vector v WHERE v.embedding_id = e.id)
    AND NOT EXISTS (SELECT 1 FROM chunk c JOIN revision r ON r.id = c.revision_id
    WHERE c.embedding_key = e.embedding_key AND r.state IN ('building', 'live'))";

impl State {
    /// The stored transcript of a part.
    pub async fn part_transcript(&self, key: &PartKey) -> Result<Option<PartTranscript>> {
        self.db
            .explain("look up a transcript", async {
                entity::part_transcript::Entity::find_by_id(key.as_str())
                    .one(self.db.reader())
                    .await?
                    .map(|row| stored::read_transcript(&row.transcript))
                    .transpose()
            })
            .await
    }

    /// Stores the transcript of a part, replacing an earlier one under the same key, and closes the call that it was
    /// paid with.
    ///
    /// # Errors
    /// [`Cancelled`](audiorag_core::ErrorKind::Cancelled) when the lease was lost; the transcript is kept.
    pub async fn save_part_transcript(
        &self,
        lease: &Lease,
        key: &PartKey,
        new: &NewTranscript<'_>,
    ) -> Result<()> {
        self.db
            .explain("store a transcript", async {
                let json = stored::write_transcript(new.transcript)?;
                let tx = self.db.begin().await?;
                tx.execute_raw(sql(
                    "INSERT INTO part_transcript
                     (part_key, content_hash, start_ms, end_ms, provider, transcript, created_at)
                     VALUES ($1, $2, $3, $4, $5, $6, $7)
                     ON CONFLICT (part_key) DO UPDATE SET content_hash = excluded.content_hash,
                     start_ms = excluded.start_ms, end_ms = excluded.end_ms, provider = excluded.provider,
                     transcript = excluded.transcript, created_at = excluded.created_at",
                    [
                        key.as_str().into(),
                        new.content.as_str().into(),
                        (new.span.start().as_millis() as i64).into(),
                        (new.span.end().as_millis() as i64).into(),
                        new.provider.into(),
                        json.into(),
                        now().into(),
                    ],
                ))
                .await?;
                if let Some(paid) = new.paid {
                    journal::settle(&tx, paid).await?;
                }
                commit_and_fence(tx, lease, Step::SavePartTranscript).await
            })
            .await
    }

    /// The keys of the stored transcripts of a recording's parts, whatever they were made with.
    ///
    /// # Errors
    /// [`State`](audiorag_core::ErrorKind::State) when the database cannot be read.
    pub async fn stored_parts(&self, content: &ContentHash) -> Result<HashSet<PartKey>> {
        self.db
            .explain("look up transcripts", async {
                let rows = self
                    .db
                    .reader()
                    .query_all_raw(sql(
                        "SELECT part_key FROM part_transcript WHERE content_hash = $1",
                        [content.as_str().into()],
                    ))
                    .await?;
                let mut keys = HashSet::with_capacity(rows.len());
                for row in rows {
                    let key: String = row.try_get_by_index(0)?;
                    keys.insert(PartKey::from_stored(key));
                }
                Ok(keys)
            })
            .await
    }

    /// The stored vectors under these keys. Those that are not stored are left out.
    pub async fn cached_embeddings(&self, keys: &[EmbeddingKey]) -> Result<HashMap<EmbeddingKey, Vec<f32>>> {
        self.db
            .explain("look up embeddings", async {
                let mut found = HashMap::with_capacity(keys.len());
                for batch in keys.chunks(KEYS) {
                    let text = format!(
                        "SELECT embedding_key, vector FROM embedding WHERE embedding_key IN ({})",
                        placeholders(batch.len())
                    );
                    let values = batch.iter().map(|key| Value::from(key.as_str()));
                    for row in self.db.reader().query_all_raw(sql(&text, values)).await? {
                        let key: String = row.try_get_by_index(0)?;
                        let vector: Vec<u8> = row.try_get_by_index(1)?;
                        found.insert(EmbeddingKey::from_stored(key), stored::read_vector(&vector));
                    }
                }
                Ok(found)
            })
            .await
    }

    /// Those of the keys under which vectors are stored.
    pub async fn known_embeddings(&self, keys: &[EmbeddingKey]) -> Result<HashSet<EmbeddingKey>> {
        self.db
            .explain("look up embeddings", async {
                let mut found = HashSet::with_capacity(keys.len());
                for batch in keys.chunks(KEYS) {
                    let text = format!(
                        "SELECT embedding_key FROM embedding WHERE embedding_key IN ({})",
                        placeholders(batch.len())
                    );
                    let values = batch.iter().map(|key| Value::from(key.as_str()));
                    for row in self.db.reader().query_all_raw(sql(&text, values)).await? {
                        found.insert(EmbeddingKey::from_stored(row.try_get_by_index::<String>(0)?));
                    }
                }
                Ok(found)
            })
            .await
    }

    /// Stores vectors of `space`, brought to unit length, and closes the call that they were paid with. A key that is
    /// stored already keeps its vector.
    ///
    /// # Errors
    /// [`Protocol`](audiorag_core::ErrorKind::Protocol) for a vector that does not belong to the space; nothing is
    /// stored then. [`Cancelled`](audiorag_core::ErrorKind::Cancelled) when the lease was lost; the vectors are
    /// kept.
    pub async fn save_embeddings(
        &self,
        lease: &Lease,
        space: &EmbeddingSpace,
        rows: &[(EmbeddingKey, Vec<f32>)],
        paid: Option<Settlement>,
    ) -> Result<()> {
        self.db
            .explain("store embeddings", async {
                let mut unit = Vec::with_capacity(rows.len());
                for (key, vector) in rows {
                    let mut vector = vector.clone();
                    space::check_unit(space, &mut vector)?;
                    unit.push((key.as_str(), stored::write_vector(&vector)));
                }
                let tx = self.db.begin().await?;
                let space_id = space::number(&tx, space).await?;
                space::insert_embeddings(&tx, space_id, unit).await?;
                if let Some(paid) = paid {
                    journal::settle(&tx, paid).await?;
                }
                commit_and_fence(tx, lease, Step::SaveEmbeddings).await
            })
            .await
    }

    /// How much is stored, and how much of it no live or unfinished revision uses.
    pub async fn cache_stats(&self) -> Result<CacheStats> {
        self.db
            .explain("measure the cache", stats(self.db.reader()))
            .await
    }

    /// Drops what no live or unfinished revision uses, and says how much that was: `part_transcripts`,
    /// `part_bytes`, `embeddings` and `embedding_bytes` of the answer are what was freed.
    pub async fn clear_cache(&self, what: CacheKind) -> Result<CacheStats> {
        self.db
            .explain("clear the cache", async {
                let tx = self.db.begin().await?;
                let before = stats(&tx).await?;
                if matches!(what, CacheKind::Transcripts | CacheKind::All) {
                    let text = format!("DELETE FROM part_transcript AS t WHERE {UNUSED_TRANSCRIPT}");
                    tx.execute_raw(sql(&text, [])).await?;
                }
                if matches!(what, CacheKind::Embeddings | CacheKind::All) {
                    let text = format!("DELETE FROM embedding AS e WHERE {UNUSED_EMBEDDING}");
                    tx.execute_raw(sql(&text, [])).await?;
                }
                let after = stats(&tx).await?;
                commit(tx, Step::ClearCache).await?;
                // Gives the freed pages back to the file system.
                self.db
                    .writer()?
                    .execute_unprepared("PRAGMA incremental_vacuum")
                    .await?;
                Ok(CacheStats {
                    part_transcripts: before.part_transcripts.saturating_sub(after.part_transcripts),
                    part_bytes: before.part_bytes.saturating_sub(after.part_bytes),
                    embeddings: before.embeddings.saturating_sub(after.embeddings),
                    embedding_bytes: before.embedding_bytes.saturating_sub(after.embedding_bytes),
                    ..CacheStats::default()
                })
            })
            .await
    }
}

/// Commits what was written whatever became of the lease, then says what became of it.
async fn commit_and_fence(tx: DatabaseTransaction, lease: &Lease, step: Step) -> Attempt<()> {
    let held = fence(&tx, lease).await;
    if !matches!(held, Err(Fault::Database(_))) {
        commit(tx, step).await?;
    }
    held
}

async fn stats(connection: &impl ConnectionTrait) -> Attempt<CacheStats> {
    let transcripts = numbers(connection, "part_transcript t", "t.transcript", UNUSED_TRANSCRIPT).await?;
    let embeddings = numbers(connection, "embedding e", "e.vector", UNUSED_EMBEDDING).await?;
    Ok(CacheStats {
        part_transcripts: transcripts[0],
        part_bytes: transcripts[1],
        unused_part_transcripts: transcripts[2],
        unused_part_bytes: transcripts[3],
        embeddings: embeddings[0],
        embedding_bytes: embeddings[1],
        unused_embeddings: embeddings[2],
        unused_embedding_bytes: embeddings[3],
    })
}

/// Rows, their bytes, unused rows, their bytes.
async fn numbers(
    connection: &impl ConnectionTrait,
    table: &str,
    column: &str,
    unused: &str,
) -> Attempt<[u64; 4]> {
    let text = format!(
        "SELECT count(*), coalesce(sum(size), 0), coalesce(sum(unused), 0), coalesce(sum(unused * size), 0)
         FROM (SELECT octet_length({column}) AS size, CASE WHEN {unused} THEN 1 ELSE 0 END AS unused FROM {table})"
    );
    let mut numbers = [0; 4];
    if let Some(row) = connection.query_one_raw(sql(&text, [])).await? {
        for (index, number) in numbers.iter_mut().enumerate() {
            let value: i64 = row.try_get_by_index(index)?;
            *number = value.max(0) as u64;
        }
    }
    Ok(numbers)
}
