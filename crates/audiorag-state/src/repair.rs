//! The repair of what a check found, as far as the database alone can mend it: no provider is called.

use crate::check::{HAS_LIVE, IN_WORK, LEXICAL, ORPHAN, dead_claims};
use crate::db::{commit, now, sql};
use crate::failpoint::Step;
use crate::fault::Attempt;
use crate::records::{Lease, Owner};
use crate::{State, journal, ownership};
use audiorag_core::Result;
use audiorag_core::id::RevisionId;
use sea_orm::{ConnectionTrait as _, DatabaseTransaction};

impl State {
    /// Mends what needs nothing but the database: claims and calls of dead processes, statuses, the list of
    /// revisions to delete, counts, and the lexical index, which is rebuilt when it is damaged. With
    /// `embedded_vectors` also removes the orphans of the embedded vector store. Doing it again changes nothing.
    ///
    /// # Errors
    /// [`State`](audiorag_core::ErrorKind::State) when the database cannot be written.
    pub async fn repair(
        &self,
        embedded_vectors: bool,
        is_alive: &(dyn Fn(&Owner) -> bool + Sync),
    ) -> Result<()> {
        self.db
            .explain("repair the state", async {
                if !self.lexical_is_whole().await? {
                    for table in LEXICAL {
                        let rebuild = format!("INSERT INTO {table} ({table}) VALUES ('rebuild')");
                        self.db.writer()?.execute_unprepared(&rebuild).await?;
                    }
                }
                let tx = self.db.begin().await?;
                journal::lose(&tx, is_alive).await?;
                revisions(&tx).await?;
                claims(&tx, is_alive).await?;
                statuses(&tx).await?;
                if embedded_vectors {
                    let orphans = format!("DELETE FROM vector AS v WHERE {ORPHAN}");
                    tx.execute_raw(sql(&orphans, [])).await?;
                }
                commit(tx, Step::Repair).await?;
                Ok(())
            })
            .await
    }

    /// Drops the cached vectors of a live revision that have a wrong length, so that they are computed again. Their
    /// records in the embedded vector store go with them.
    ///
    /// # Errors
    /// [`Cancelled`](audiorag_core::ErrorKind::Cancelled) when the lease was lost.
    pub async fn drop_damaged_embeddings(&self, lease: &Lease, revision: RevisionId) -> Result<()> {
        self.db
            .explain("drop damaged vectors", async {
                let tx = self.db.begin().await?;
                ownership::fence(&tx, lease).await?;
                let damaged = "SELECT e.id FROM embedding e JOIN space p ON p.id = e.space_id
                    JOIN revision r ON r.space_id = e.space_id JOIN chunk c ON c.revision_id = r.id
                    WHERE r.id = $1 AND c.embedding_key = e.embedding_key
                    AND octet_length(e.vector) <> 4 * p.dimensions";
                for (table, column) in [("vector", "embedding_id"), ("embedding", "id")] {
                    let text = format!("DELETE FROM {table} WHERE {column} IN ({damaged})");
                    tx.execute_raw(sql(&text, [revision.0.into()])).await?;
                }
                commit(tx, Step::DropDamaged).await?;
                Ok(())
            })
            .await
    }
}

/// One live revision for each source, the one that it points to; every replaced one is listed for deletion, and no
/// other.
async fn revisions(tx: &DatabaseTransaction) -> Attempt<()> {
    let lost = format!(
        "UPDATE source AS s SET active_revision = (SELECT max(r.id) FROM revision r WHERE r.source_id = s.id
         AND r.state = 'live') WHERE NOT {HAS_LIVE} AND (s.active_revision IS NOT NULL
         OR EXISTS (SELECT 1 FROM revision r WHERE r.source_id = s.id AND r.state = 'live'))"
    );
    let steps = [
        lost.as_str(),
        "UPDATE revision SET state = 'retired' WHERE state = 'live' AND id IS DISTINCT FROM
         (SELECT s.active_revision FROM source s WHERE s.id = revision.source_id)",
        "DELETE FROM retirement WHERE revision_id IN (SELECT id FROM revision WHERE state <> 'retired')",
        "UPDATE revision SET chunk_count = (SELECT count(*) FROM chunk c WHERE c.revision_id = revision.id)
         WHERE state = 'live' AND chunk_count < (SELECT count(*) FROM chunk c WHERE c.revision_id = revision.id)",
    ];
    for step in steps {
        tx.execute_raw(sql(step, [])).await?;
    }
    tx.execute_raw(sql(
        "INSERT INTO retirement (revision_id, source_id, space_id, created_at)
         SELECT id, source_id, space_id, $1 FROM revision WHERE state = 'retired'
         ON CONFLICT (revision_id) DO NOTHING",
        [now().into()],
    ))
    .await?;
    Ok(())
}

/// Claims of processes that are gone are given back. The epoch rises: should one of them wake up after all, it may
/// not go on.
async fn claims(tx: &DatabaseTransaction, is_alive: &(dyn Fn(&Owner) -> bool + Sync)) -> Attempt<()> {
    for row in dead_claims(tx, is_alive).await? {
        tx.execute_raw(sql(
            "UPDATE source SET owner_host = NULL, owner_pid = NULL, owner_started = NULL, lease_until = NULL,
             epoch = epoch + 1, updated_at = $2 WHERE id = $1",
            [row.id.into(), now().into()],
        ))
        .await?;
    }
    Ok(())
}

/// Statuses that fit what is there. A source that was in work is to be resumed, whether or not an earlier revision
/// of it is live.
async fn statuses(tx: &DatabaseTransaction) -> Attempt<()> {
    let steps = [
        format!("UPDATE source SET status = 'pending' WHERE status IN {IN_WORK} AND owner_host IS NULL"),
        format!(
            "UPDATE source AS s SET status = 'pending' WHERE status IN ('completed', 'empty') AND NOT {HAS_LIVE}"
        ),
        "UPDATE source AS s SET status = CASE WHEN (SELECT r.chunk_count FROM revision r
         WHERE r.id = s.active_revision) > 0 THEN 'completed' ELSE 'empty' END
         WHERE status IN ('completed', 'empty')"
            .to_owned(),
    ];
    for step in steps {
        tx.execute_raw(sql(&step, [])).await?;
    }
    Ok(())
}
