//! What is kept longer than anybody needs it: unfinished revisions that nobody went on with, and transcripts and
//! vectors whose last revision was forgotten a while ago.

use crate::db::{commit, sql};
use crate::failpoint::Step;
use crate::fault::Attempt;
use crate::rebuild::millis;
use crate::records::{Garbage, Owner};
use crate::revision::{BUILDING, retire};
use crate::source::owner_of;
use crate::{State, entity};
use audiorag_core::Result;
use audiorag_core::id::RevisionId;
use sea_orm::{ConnectionTrait, EntityTrait as _, Value};
use std::time::SystemTime;

/// Holds for a row `t` of `part_transcript` that is older than `$1` and that no revision needs. A retired revision
/// counts as long as it is there; an unfinished one may need any transcript of its recording.
const OLD_TRANSCRIPT: &str = "coalesce(t.last_used_at, t.created_at) < $1 AND t.created_at < $1
    AND NOT EXISTS (SELECT 1 FROM part p WHERE p.part_key = t.part_key)
    AND t.content_hash NOT IN (SELECT b.content_hash FROM revision b WHERE b.state = 'building')";
/// The same for a row `e` of `embedding`.
const OLD_EMBEDDING: &str = "coalesce(e.last_used_at, e.created_at) < $1 AND e.created_at < $1
    AND NOT EXISTS (SELECT 1 FROM vector v WHERE v.embedding_id = e.id)
    AND NOT EXISTS (SELECT 1 FROM chunk c WHERE c.embedding_key = e.embedding_key)";

impl State {
    /// How much nobody needs that was last used before `moment`. Nothing is changed.
    pub async fn garbage(&self, moment: SystemTime) -> Result<Garbage> {
        self.garbage_without(moment, &[]).await
    }

    /// How much [`collect_garbage`](Self::collect_garbage) would drop if the unfinished revisions `retired` were
    /// retired before. Nothing is changed.
    ///
    /// # Errors
    /// [`State`](audiorag_core::ErrorKind::State) when the database cannot be read.
    pub async fn garbage_without(&self, moment: SystemTime, retired: &[RevisionId]) -> Result<Garbage> {
        self.db
            .explain(
                "look for what nobody needs",
                measure(self.db.reader(), millis(moment), retired),
            )
            .await
    }

    /// Unfinished revisions that nobody went on with since `moment`, and whose source nobody works on: neither they
    /// nor a transcript of theirs are younger, nor were they found whole later.
    ///
    /// # Errors
    /// [`State`](audiorag_core::ErrorKind::State) when the database cannot be read.
    pub async fn abandoned_revisions(
        &self,
        moment: SystemTime,
        is_alive: &(dyn Fn(&Owner) -> bool + Sync),
    ) -> Result<Vec<RevisionId>> {
        self.db
            .explain(
                "look for abandoned revisions",
                abandoned(self.db.reader(), millis(moment), is_alive),
            )
            .await
    }

    /// Retires the [`abandoned_revisions`](Self::abandoned_revisions), so that they keep nothing from being dropped
    /// any more, and says how many those were.
    ///
    /// # Errors
    /// [`State`](audiorag_core::ErrorKind::State) when the database cannot be written.
    pub async fn retire_abandoned(
        &self,
        moment: SystemTime,
        is_alive: &(dyn Fn(&Owner) -> bool + Sync),
    ) -> Result<u64> {
        self.db
            .explain("retire abandoned revisions", async {
                let tx = self.db.begin().await?;
                // Read behind the write lock, so that whoever claims a source now finds it done.
                let found = abandoned(&tx, millis(moment), is_alive).await?;
                for revision in &found {
                    retire(&tx, *revision).await?;
                }
                commit(tx, Step::RetireAbandoned).await?;
                Ok(found.len() as u64)
            })
            .await
    }

    /// Drops the transcripts and vectors that no revision needs and that were last used before `moment`, and says
    /// how much that was. What a source in work needs is never dropped.
    pub async fn collect_garbage(&self, moment: SystemTime) -> Result<Garbage> {
        self.db
            .explain("drop what nobody needs", async {
                let before = millis(moment);
                let tx = self.db.begin().await?;
                let found = measure(&tx, before, &[]).await?;
                for (table, old) in [
                    ("part_transcript AS t", OLD_TRANSCRIPT),
                    ("embedding AS e", OLD_EMBEDDING),
                ] {
                    tx.execute_raw(sql(&format!("DELETE FROM {table} WHERE {old}"), [before.into()]))
                        .await?;
                }
                commit(tx, Step::CollectGarbage).await?;
                // Gives the freed pages back to the file system.
                self.db
                    .writer()?
                    .execute_unprepared("PRAGMA incremental_vacuum")
                    .await?;
                Ok(found)
            })
            .await
    }
}

/// Notes that what revisions need was needed until now, before they are forgotten. `which` is a condition on
/// revisions `r` with the one value `$1`.
pub(crate) async fn note_use(connection: &impl ConnectionTrait, which: &str, value: Value) -> Attempt<()> {
    let now = crate::db::now();
    let text = format!(
        "UPDATE part_transcript SET last_used_at = $2 WHERE part_key IN
         (SELECT p.part_key FROM part p JOIN revision r ON r.id = p.revision_id WHERE {which})"
    );
    connection
        .execute_raw(sql(&text, [value.clone(), now.into()]))
        .await?;
    let text = format!(
        "UPDATE embedding SET last_used_at = $2 WHERE embedding_key IN
         (SELECT c.embedding_key FROM chunk c JOIN revision r ON r.id = c.revision_id WHERE {which})"
    );
    connection.execute_raw(sql(&text, [value, now.into()])).await?;
    Ok(())
}

/// See [`State::abandoned_revisions`].
async fn abandoned(
    connection: &impl ConnectionTrait,
    before: i64,
    is_alive: &(dyn Fn(&Owner) -> bool + Sync),
) -> Attempt<Vec<RevisionId>> {
    let rows = connection
        .query_all_raw(sql(
            "SELECT r.id, r.source_id FROM revision r WHERE r.state = $1 AND r.created_at < $2
             AND coalesce(r.verified_at, 0) < $2
             AND NOT EXISTS (SELECT 1 FROM part p JOIN part_transcript t ON t.part_key = p.part_key
                 WHERE p.revision_id = r.id AND t.created_at >= $2) ORDER BY r.id",
            [BUILDING.into(), before.into()],
        ))
        .await?;
    let mut found = Vec::with_capacity(rows.len());
    for row in rows {
        let source: String = row.try_get_by_index(1)?;
        let Some(source) = entity::source::Entity::find_by_id(source).one(connection).await? else {
            continue;
        };
        let claimed = crate::ownership::runs(source.lease_until)
            && owner_of(&source).is_some_and(|owner| is_alive(&owner));
        if !claimed {
            found.push(RevisionId(row.try_get_by_index(0)?));
        }
    }
    Ok(found)
}

async fn measure(connection: &impl ConnectionTrait, before: i64, retired: &[RevisionId]) -> Attempt<Garbage> {
    let mut old_transcript = OLD_TRANSCRIPT.to_owned();
    if !retired.is_empty() {
        let ids: Vec<String> = retired.iter().map(RevisionId::to_string).collect();
        old_transcript = old_transcript.replace(
            "b.state = 'building'",
            &format!("b.state = 'building' AND b.id NOT IN ({})", ids.join(", ")),
        );
    }
    let mut numbers = [0; 4];
    let text = format!(
        "SELECT (SELECT count(*) FROM part_transcript t WHERE {old_transcript}),
         (SELECT coalesce(sum(octet_length(t.transcript)), 0) FROM part_transcript t WHERE {old_transcript}),
         (SELECT count(*) FROM embedding e WHERE {OLD_EMBEDDING}),
         (SELECT coalesce(sum(octet_length(e.vector)), 0) FROM embedding e WHERE {OLD_EMBEDDING})"
    );
    if let Some(row) = connection.query_one_raw(sql(&text, [before.into()])).await? {
        for (index, number) in numbers.iter_mut().enumerate() {
            let value: i64 = row.try_get_by_index(index)?;
            *number = value.max(0) as u64;
        }
    }
    let [part_transcripts, part_bytes, embeddings, embedding_bytes] = numbers;
    Ok(Garbage {
        part_transcripts,
        part_bytes,
        embeddings,
        embedding_bytes,
    })
}
