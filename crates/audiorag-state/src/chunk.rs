//! Verbs on the chunks of a revision.

use crate::State;
use crate::db::commit;
use crate::entity::{self, chunk::Column};
use crate::failpoint::Step;
use crate::hit::{self, placed};
use crate::ownership::fence;
use crate::records::{Lease, NewChunk, RevisionFacts, StoredChunk};
use crate::revision::unfinished;
use crate::sound;
use crate::stored;
use audiorag_core::Result;
use audiorag_core::id::{ChunkId, RevisionId};
use audiorag_core::model::TimeQuality;
use sea_orm::sea_query::Expr;
use sea_orm::{ActiveValue::Set, ColumnTrait as _, EntityTrait as _, QueryFilter as _};
use std::collections::HashMap;

/// Rows in one statement. Twelve values each stay far below SQLite's limit of 32,766.
const ROWS: usize = 256;

impl State {
    /// Stores the chunks of a revision in place of those it had, with what is known of the revision now.
    ///
    /// # Errors
    /// [`Cancelled`](audiorag_core::ErrorKind::Cancelled) when the lease was lost.
    pub async fn save_chunks(
        &self,
        lease: &Lease,
        revision: RevisionId,
        facts: &RevisionFacts,
        chunks: &[NewChunk],
    ) -> Result<()> {
        self.db
            .explain("store chunks", async {
                let tx = self.db.begin().await?;
                fence(&tx, lease).await?;
                unfinished(&tx, lease, revision).await?;
                entity::chunk::Entity::delete_many()
                    .filter(Column::RevisionId.eq(revision.0))
                    .exec(&tx)
                    .await?;
                for batch in chunks.chunks(ROWS) {
                    let mut rows = Vec::with_capacity(batch.len());
                    for new in batch {
                        rows.push(entity::chunk::ActiveModel {
                            chunk_key: Set(new.id.as_str().to_owned()),
                            revision_id: Set(revision.0),
                            source_id: Set(lease.source_id.as_str().to_owned()),
                            idx: Set(i64::from(new.chunk.index)),
                            start_ms: Set(new.chunk.span.start().as_millis() as i64),
                            end_ms: Set(new.chunk.span.end().as_millis() as i64),
                            text: Set(new.chunk.text.clone()),
                            header: Set(new.chunk.header.clone()),
                            speakers: Set(stored::write_names(&new.chunk.speakers)?),
                            lines: Set(stored::write_lines(&new.chunk.lines)?),
                            estimated: Set(new.chunk.times == TimeQuality::Estimated),
                            embedding_key: Set(new.embedding_key.as_str().to_owned()),
                            sounds: Set(sound::index_text(&new.chunk.text)),
                            ..Default::default()
                        });
                    }
                    entity::chunk::Entity::insert_many(rows)
                        .exec_without_returning(&tx)
                        .await?;
                }
                entity::revision::Entity::update_many()
                    .filter(entity::revision::Column::Id.eq(revision.0))
                    .col_expr(
                        entity::revision::Column::DurationMs,
                        Expr::value(facts.duration.as_millis() as i64),
                    )
                    .col_expr(
                        entity::revision::Column::Language,
                        Expr::value(facts.language.clone()),
                    )
                    .col_expr(
                        entity::revision::Column::ChunkCount,
                        Expr::value(chunks.len() as i64),
                    )
                    // What was found complete in the store were the vectors of the chunks before.
                    .col_expr(entity::revision::Column::VerifiedAt, Expr::value(None::<i64>))
                    .exec(&tx)
                    .await?;
                commit(tx, Step::SaveChunks).await?;
                Ok(())
            })
            .await
    }

    /// The chunks of a revision, live or not, in order.
    pub async fn chunks_of(&self, revision: RevisionId) -> Result<Vec<StoredChunk>> {
        self.db
            .explain("list chunks", async {
                placed(
                    self.db.reader(),
                    "c.revision_id = $1 ORDER BY c.idx",
                    [revision.0.into()],
                )
                .await
            })
            .await
    }

    /// The chunks around number `index` of a revision: up to `before` ahead of it, itself, and up to `after`
    /// behind it, in order.
    pub async fn neighbours(
        &self,
        revision: RevisionId,
        index: u32,
        before: u32,
        after: u32,
    ) -> Result<Vec<StoredChunk>> {
        let (first, last) = (index.saturating_sub(before), index.saturating_add(after));
        self.db
            .explain("look up neighbouring chunks", async {
                placed(
                    self.db.reader(),
                    "c.revision_id = $1 AND c.idx BETWEEN $2 AND $3 ORDER BY c.idx",
                    [revision.0.into(), i64::from(first).into(), i64::from(last).into()],
                )
                .await
            })
            .await
    }

    /// The chunks with these ids that belong to live revisions. The others are left out.
    pub async fn hits(&self, ids: &[ChunkId]) -> Result<HashMap<ChunkId, StoredChunk>> {
        self.db
            .explain("look up chunks", hit::live(self.db.reader(), ids))
            .await
    }
}
