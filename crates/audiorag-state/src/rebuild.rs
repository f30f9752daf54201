//! Verbs for building revisions anew from what is stored: taking parts over, and switching all sources at once to
//! another embedding space.

use crate::State;
use crate::db::{commit, now, sql};
use crate::entity;
use crate::failpoint::Step;
use crate::fault::Attempt;
use crate::ownership::{fence, runs};
use crate::records::{Lease, Owner, RevisionRecord, Switch};
use crate::revision::{BUILDING, LIVE, record, retire, unfinished};
use crate::source::owner_of;
use crate::space;
use audiorag_core::Result;
use audiorag_core::id::{ContentHash, RevisionId, SourceId};
use audiorag_core::model::{EmbeddingSpace, SourceStatus};
use sea_orm::{
    ColumnTrait as _, ConnectionTrait as _, DatabaseTransaction, EntityTrait as _, QueryFilter as _,
    QueryOrder as _,
};
use std::collections::BTreeSet;
use std::time::SystemTime;

/// Statuses of a source for whose bytes vendors may be asked, from [`State::start_on_bytes`] to the end of the claim.
const ON_BYTES: [SourceStatus; 6] = [
    SourceStatus::Transcribing,
    SourceStatus::Transcribed,
    SourceStatus::Chunking,
    SourceStatus::Chunked,
    SourceStatus::Embedding,
    SourceStatus::Embedded,
];

/// Whether a source with this status, in somebody's hands, is past [`State::start_on_bytes`].
pub(crate) fn is_on_bytes(status: &str) -> bool {
    SourceStatus::parse(status).is_some_and(|status| ON_BYTES.contains(&status))
}

impl State {
    /// Gives an unfinished revision the parts of another one of the same source, in place of those it had.
    ///
    /// # Errors
    /// [`Cancelled`](audiorag_core::ErrorKind::Cancelled) when the lease was lost.
    pub async fn copy_parts(&self, lease: &Lease, from: RevisionId, to: RevisionId) -> Result<()> {
        self.db
            .explain("take parts over", async {
                let tx = self.db.begin().await?;
                fence(&tx, lease).await?;
                unfinished(&tx, lease, to).await?;
                tx.execute_raw(sql("DELETE FROM part WHERE revision_id = $1", [to.0.into()]))
                    .await?;
                tx.execute_raw(sql(
                    "INSERT INTO part (revision_id, idx, start_ms, end_ms, part_key)
                     SELECT $2, p.idx, p.start_ms, p.end_ms, p.part_key FROM part p
                     JOIN revision r ON r.id = p.revision_id WHERE p.revision_id = $1 AND r.source_id = $3",
                    [from.0.into(), to.0.into(), lease.source_id.as_str().into()],
                ))
                .await?;
                commit(tx, Step::CopyParts).await?;
                Ok(())
            })
            .await
    }

    /// Every revision that is being built, whether or not anybody works on it now, oldest first.
    pub async fn unfinished_revisions(&self) -> Result<Vec<RevisionRecord>> {
        self.db
            .explain("list unfinished revisions", async {
                let reader = self.db.reader();
                let spaces = space::all(reader).await?;
                let rows = entity::revision::Entity::find()
                    .filter(entity::revision::Column::State.eq(BUILDING))
                    .order_by_asc(entity::revision::Column::Id)
                    .all(reader)
                    .await?;
                Ok(rows
                    .into_iter()
                    .filter_map(|row| {
                        let space = spaces.get(&row.space_id)?.clone();
                        Some(record(row, space))
                    })
                    .collect())
            })
            .await
    }

    /// Records that the vectors of an unfinished revision are in the store, so that nothing is left to do but to
    /// publish it.
    ///
    /// # Errors
    /// [`Cancelled`](audiorag_core::ErrorKind::Cancelled) when the lease was lost.
    pub async fn mark_verified(&self, lease: &Lease, revision: RevisionId) -> Result<()> {
        self.db
            .explain("record a check", async {
                let tx = self.db.begin().await?;
                fence(&tx, lease).await?;
                unfinished(&tx, lease, revision).await?;
                tx.execute_raw(sql(
                    "UPDATE revision SET verified_at = $2 WHERE id = $1",
                    [revision.0.into(), now().into()],
                ))
                .await?;
                commit(tx, Step::MarkVerified).await?;
                Ok(())
            })
            .await
    }

    /// Makes `space` the space of all live revisions, in one transaction: every live revision of another space is
    /// replaced by the verified one that was built beside it. When one of them has none, nothing is changed and the
    /// answer names their sources.
    ///
    /// Whoever holds a claim on a source that is switched loses it: what it builds is of the old space.
    pub async fn switch_space(&self, space: &EmbeddingSpace) -> Result<Switch> {
        self.db
            .explain("switch the embedding model", async {
                let tx = self.db.begin().await?;
                let space_id = space::number(&tx, space).await?;
                let rows = tx
                    .query_all_raw(sql(
                        "SELECT old.source_id, old.id, (SELECT max(new.id) FROM revision new
                             WHERE new.source_id = old.source_id AND new.state = $2 AND new.space_id = $3
                             AND new.verified_at IS NOT NULL)
                         FROM revision old WHERE old.state = $1 AND old.space_id <> $3 ORDER BY old.id",
                        [LIVE.into(), BUILDING.into(), space_id.into()],
                    ))
                    .await?;
                let (mut ready, mut waiting) = (Vec::new(), Vec::new());
                for row in rows {
                    let source = SourceId::from_stored(row.try_get_by_index::<String>(0)?);
                    let old: i64 = row.try_get_by_index(1)?;
                    match row.try_get_by_index::<Option<i64>>(2)? {
                        Some(new) => ready.push((source, RevisionId(old), RevisionId(new))),
                        None => waiting.push(source),
                    }
                }
                if !waiting.is_empty() {
                    return Ok(Switch::Waiting(waiting));
                }
                for (source, old, new) in &ready {
                    replace(&tx, source, *old, *new).await?;
                }
                commit(tx, Step::SwitchSpace).await?;
                Ok(Switch::Done(
                    ready.into_iter().map(|(source, _, new)| (source, new)).collect(),
                ))
            })
            .await
    }

    /// Records with `status` that vendors may be asked for what is made of `content`, unless another living process
    /// does that for another source: then says who, and nothing is recorded. Waiting for them is cheaper than paying
    /// for the same beside them. It ends when they publish, or give their source back or die.
    ///
    /// Looking and recording are one transaction, so that of two processes one always goes on; and whoever went on
    /// waits for nobody, so that nobody waits in a circle.
    ///
    /// # Errors
    /// [`Cancelled`](audiorag_core::ErrorKind::Cancelled) when the lease was lost.
    pub async fn start_on_bytes(
        &self,
        lease: &Lease,
        content: &ContentHash,
        status: SourceStatus,
        me: &Owner,
        is_alive: &(dyn Fn(&Owner) -> bool + Sync),
    ) -> Result<Option<Owner>> {
        self.db
            .explain("look up equal recordings", async {
                let tx = self.db.begin().await?;
                fence(&tx, lease).await?;
                let rows = entity::revision::Entity::find()
                    .filter(entity::revision::Column::State.eq(BUILDING))
                    .filter(entity::revision::Column::ContentHash.eq(content.as_str()))
                    .filter(entity::revision::Column::SourceId.ne(lease.source_id.as_str()))
                    .all(&tx)
                    .await?;
                let others: BTreeSet<String> = rows.into_iter().map(|row| row.source_id).collect();
                for id in others {
                    let Some(row) = entity::source::Entity::find_by_id(id).one(&tx).await? else {
                        continue;
                    };
                    if let Some(owner) = owner_of(&row)
                        && runs(row.lease_until)
                        && is_on_bytes(&row.status)
                        && owner != *me
                        && is_alive(&owner)
                    {
                        return Ok(Some(owner));
                    }
                }
                tx.execute_raw(sql(
                    "UPDATE source SET status = $2 WHERE id = $1",
                    [lease.source_id.as_str().into(), status.as_str().into()],
                ))
                .await?;
                commit(tx, Step::SetStatus).await?;
                Ok(None)
            })
            .await
    }
}

/// Puts `new` in the place of the live revision `old` and ends all claims on the source.
async fn replace(
    tx: &DatabaseTransaction,
    source: &SourceId,
    old: RevisionId,
    new: RevisionId,
) -> Attempt<()> {
    retire(tx, old).await?;
    tx.execute_raw(sql(
        "UPDATE revision SET state = $2, published_at = $3 WHERE id = $1",
        [new.0.into(), LIVE.into(), now().into()],
    ))
    .await?;
    tx.execute_raw(sql(
        "UPDATE source SET active_revision = $2, epoch = epoch + 1, owner_host = NULL, owner_pid = NULL,
         owner_started = NULL, lease_until = NULL, failure_stage = NULL, failure_kind = NULL,
         failure_message = NULL, updated_at = $3,
         status = (SELECT CASE WHEN chunk_count > 0 THEN $4 ELSE $5 END FROM revision WHERE id = $2),
         duration_ms = (SELECT duration_ms FROM revision WHERE id = $2) WHERE id = $1",
        [
            source.as_str().into(),
            new.0.into(),
            now().into(),
            SourceStatus::Completed.as_str().into(),
            SourceStatus::Empty.as_str().into(),
        ],
    ))
    .await?;
    Ok(())
}

/// Milliseconds since 1970.
pub(crate) fn millis(moment: SystemTime) -> i64 {
    moment
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |elapsed| {
            i64::try_from(elapsed.as_millis()).unwrap_or(i64::MAX)
        })
}
