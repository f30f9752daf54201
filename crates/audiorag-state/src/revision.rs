//! Verbs on revisions: built beside the live one, made visible in one transaction, retired through an outbox.

use crate::db::{commit, now, sql};
use crate::entity;
use crate::failpoint::Step;
use crate::fault::{Attempt, Fault};
use crate::ownership::fence;
use crate::records::{Lease, LiveMark, PartRow, Retirement, RevisionPlan, RevisionRecord};
use crate::source::instant;
use crate::{State, space, speaker, stored, transcribed};
use audiorag_core::id::{ConfigHash, ContentHash, RevisionId, SourceId};
use audiorag_core::model::{Segment, SourceStatus, Transcript};
use audiorag_core::{Error, MediaTime, Result};
use sea_orm::{
    ActiveValue::Set, ColumnTrait as _, ConnectionTrait, DatabaseTransaction, EntityTrait as _,
    QueryFilter as _, QueryOrder as _,
};

/// Values of `revision.state`.
pub(crate) const BUILDING: &str = "building";
pub(crate) const LIVE: &str = "live";
const RETIRED: &str = "retired";
/// How the name of what provided a transcript begins when it was given, and not made by speech-to-text.
pub(crate) const GIVEN: &str = "given/";

impl State {
    /// Starts a revision, or goes on with an unfinished one of equal content and settings. Other unfinished
    /// revisions of the source are retired.
    ///
    /// # Errors
    /// [`Cancelled`](audiorag_core::ErrorKind::Cancelled) when the lease was lost.
    pub async fn begin_revision(&self, lease: &Lease, plan: &RevisionPlan) -> Result<RevisionId> {
        self.begin_revision_beside(lease, plan, None).await
    }

    /// As [`begin_revision`](Self::begin_revision), but leaves the unfinished revision `kept` as it is.
    ///
    /// # Errors
    /// [`Cancelled`](audiorag_core::ErrorKind::Cancelled) when the lease was lost.
    pub async fn begin_revision_beside(
        &self,
        lease: &Lease,
        plan: &RevisionPlan,
        kept: Option<RevisionId>,
    ) -> Result<RevisionId> {
        self.db
            .explain("begin a revision", async {
                let tx = self.db.begin().await?;
                fence(&tx, lease).await?;
                let space_id = space::number(&tx, &plan.space).await?;
                let unfinished = entity::revision::Entity::find()
                    .filter(entity::revision::Column::SourceId.eq(lease.source_id.as_str()))
                    .filter(entity::revision::Column::State.eq(BUILDING))
                    .order_by_desc(entity::revision::Column::Id)
                    .all(&tx)
                    .await?;
                let mut resumed = None;
                for row in unfinished
                    .into_iter()
                    .filter(|row| kept != Some(RevisionId(row.id)))
                {
                    let same = row.content_hash == plan.content.as_str()
                        && row.config_hash == plan.config.as_str()
                        && row.space_id == space_id;
                    if same && resumed.is_none() {
                        resumed = Some(RevisionId(row.id));
                    } else {
                        retire(&tx, RevisionId(row.id)).await?;
                    }
                }
                let id = match resumed {
                    Some(id) => id,
                    None => insert(&tx, lease, plan, space_id).await?,
                };
                commit(tx, Step::BeginRevision).await?;
                Ok(id)
            })
            .await
    }

    /// Records a part of a revision; recording it again replaces it.
    ///
    /// # Errors
    /// [`Cancelled`](audiorag_core::ErrorKind::Cancelled) when the lease was lost.
    pub async fn record_part(&self, lease: &Lease, revision: RevisionId, part: &PartRow) -> Result<()> {
        self.db
            .explain("record a part", async {
                let tx = self.db.begin().await?;
                fence(&tx, lease).await?;
                unfinished(&tx, lease, revision).await?;
                tx.execute_raw(sql(
                    "INSERT INTO part (revision_id, idx, start_ms, end_ms, part_key) VALUES ($1, $2, $3, $4, $5)
                     ON CONFLICT (revision_id, idx) DO UPDATE SET start_ms = excluded.start_ms,
                     end_ms = excluded.end_ms, part_key = excluded.part_key",
                    [
                        revision.0.into(),
                        i64::from(part.index).into(),
                        (part.span.start().as_millis() as i64).into(),
                        (part.span.end().as_millis() as i64).into(),
                        part.key.as_ref().map(|key| key.as_str().to_owned()).into(),
                    ],
                ))
                .await?;
                commit(tx, Step::RecordPart).await?;
                Ok(())
            })
            .await
    }

    /// The transcript of a revision, joined from its parts in source time. Parts whose transcript is not stored
    /// are an error: a transcript with a hole must not pass for a whole one.
    ///
    /// # Errors
    /// [`State`](audiorag_core::ErrorKind::State) for missing parts,
    /// [`NotFound`](audiorag_core::ErrorKind::NotFound) for an unknown revision.
    pub async fn transcript(&self, revision: RevisionId) -> Result<Transcript> {
        self.db
            .explain("read a transcript", async {
                let reader = self.db.reader();
                let (source, mut transcript) = assembled(reader, revision).await?;
                speaker::names(reader, &source).await?.apply(&mut transcript);
                Ok(transcript)
            })
            .await
    }

    /// Hands over the segments of [`transcript`](Self::transcript) one after the other, and returns its language. The
    /// words of a few parts are in memory at a time, however many there are. Segments of parts that overlap, as those of
    /// two channels do, come part by part and not in the order of their spans.
    ///
    /// # Errors
    /// As [`transcript`](Self::transcript).
    pub async fn read_segments(
        &self,
        revision: RevisionId,
        mut take: impl FnMut(Segment) + Send,
    ) -> Result<Option<String>> {
        self.db
            .explain("read a transcript", async {
                let reader = self.db.reader();
                let parts = transcribed::Parts::of(reader, revision).await?;
                let names = speaker::names(reader, &parts.source).await?;
                parts
                    .read(reader, |mut segment| {
                        names.name(&mut segment);
                        take(segment);
                    })
                    .await
            })
            .await
    }

    /// The parts recorded for a revision, in order.
    pub async fn parts_of(&self, revision: RevisionId) -> Result<Vec<PartRow>> {
        self.db
            .explain("list parts", async {
                let rows = entity::part::Entity::find()
                    .filter(entity::part::Column::RevisionId.eq(revision.0))
                    .order_by_asc(entity::part::Column::Idx)
                    .all(self.db.reader())
                    .await?;
                Ok(rows
                    .into_iter()
                    .map(|row| PartRow {
                        index: row.idx.max(0) as u32,
                        span: stored::span(row.start_ms, row.end_ms),
                        key: row.part_key.map(audiorag_core::id::PartKey::from_stored),
                    })
                    .collect())
            })
            .await
    }

    /// Makes a revision the one that answers queries, in one transaction, and retires the one before it.
    /// `status` is [`Completed`](SourceStatus::Completed) or [`Empty`](SourceStatus::Empty). Publishing the live
    /// revision again changes nothing but the status.
    ///
    /// # Errors
    /// [`Cancelled`](audiorag_core::ErrorKind::Cancelled) when the lease was lost,
    /// [`Config`](audiorag_core::ErrorKind::Config) when other sources are live in another embedding space, with
    /// which this revision could not be searched.
    pub async fn publish_revision(
        &self,
        lease: &Lease,
        revision: RevisionId,
        status: SourceStatus,
    ) -> Result<()> {
        self.db
            .explain("publish a revision", async {
                let tx = self.db.begin().await?;
                fence(&tx, lease).await?;
                publish(&tx, lease, revision, status).await?;
                commit(tx, Step::Publish).await?;
                Ok(())
            })
            .await
    }

    /// Revisions whose vectors have still to be deleted from the vector store, oldest first.
    pub async fn pending_retirements(&self) -> Result<Vec<Retirement>> {
        self.db
            .explain("list retired revisions", async {
                let spaces = space::all(self.db.reader()).await?;
                let rows = entity::retirement::Entity::find()
                    .order_by_asc(entity::retirement::Column::RevisionId)
                    .all(self.db.reader())
                    .await?;
                rows.into_iter()
                    .map(|row| {
                        Ok(Retirement {
                            source_id: SourceId::from_stored(row.source_id),
                            revision: RevisionId(row.revision_id),
                            space: spaces.get(&row.space_id).cloned().ok_or_else(|| {
                                Error::state(format!("embedding space {} is missing", row.space_id))
                            })?,
                        })
                    })
                    .collect::<Attempt<Vec<_>>>()
            })
            .await
    }

    /// Puts a revision into [`pending_retirements`](Self::pending_retirements) whose vectors may have reached the store
    /// after its source was deleted or taken over, when nobody deletes them any more. One that is live or being built
    /// is left alone: its vectors belong there.
    pub async fn retire_stray(&self, stray: &Retirement) -> Result<()> {
        self.db
            .explain("retire a revision", async {
                let tx = self.db.begin().await?;
                let space_id = space::number(&tx, &stray.space).await?;
                tx.execute_raw(sql(
                    "INSERT INTO retirement (revision_id, source_id, space_id, created_at)
                     SELECT $1, $2, $3, $4 WHERE NOT EXISTS
                         (SELECT 1 FROM revision WHERE id = $1 AND state IN ($5, $6))
                     ON CONFLICT (revision_id) DO NOTHING",
                    [
                        stray.revision.0.into(),
                        stray.source_id.as_str().into(),
                        space_id.into(),
                        now().into(),
                        BUILDING.into(),
                        LIVE.into(),
                    ],
                ))
                .await?;
                commit(tx, Step::RetireStray).await?;
                Ok(())
            })
            .await
    }

    /// Retires the unfinished revisions of the lease's source, so that what they wrote to a store may be deleted
    /// from it. Transcripts and vectors that were paid for stay cached, and whoever builds the source next uses them.
    ///
    /// # Errors
    /// [`Cancelled`](audiorag_core::ErrorKind::Cancelled) when the lease was lost.
    pub async fn retire_unfinished(&self, lease: &Lease) -> Result<()> {
        self.db
            .explain("retire unfinished revisions", async {
                let tx = self.db.begin().await?;
                fence(&tx, lease).await?;
                let unfinished = entity::revision::Entity::find()
                    .filter(entity::revision::Column::SourceId.eq(lease.source_id.as_str()))
                    .filter(entity::revision::Column::State.eq(BUILDING))
                    .all(&tx)
                    .await?;
                for row in &unfinished {
                    retire(&tx, RevisionId(row.id)).await?;
                }
                if !unfinished.is_empty() {
                    commit(tx, Step::RetireUnfinished).await?;
                }
                Ok(())
            })
            .await
    }

    /// Forgets a retired revision, its chunks and its parts, once its vectors are deleted. Doing it again is
    /// `Ok`; a revision that is live or being built is never touched.
    pub async fn finish_retirement(&self, retirement: &Retirement) -> Result<()> {
        self.db
            .explain("forget a retired revision", async {
                let tx = self.db.begin().await?;
                crate::garbage::note_use(&tx, "r.id = $1", retirement.revision.0.into()).await?;
                entity::revision::Entity::delete_many()
                    .filter(entity::revision::Column::Id.eq(retirement.revision.0))
                    .filter(entity::revision::Column::State.eq(RETIRED))
                    .exec(&tx)
                    .await?;
                entity::retirement::Entity::delete_by_id(retirement.revision.0)
                    .exec(&tx)
                    .await?;
                commit(tx, Step::FinishRetirement).await?;
                Ok(())
            })
            .await
    }

    /// The revision that answers queries about a source.
    pub async fn live_revision(&self, id: &SourceId) -> Result<Option<RevisionRecord>> {
        self.db
            .explain("look up a revision", async {
                let reader = self.db.reader();
                let row = entity::revision::Entity::find()
                    .filter(entity::revision::Column::SourceId.eq(id.as_str()))
                    .filter(entity::revision::Column::State.eq(LIVE))
                    .one(reader)
                    .await?;
                match row {
                    Some(row) => {
                        let space = space::get(reader, row.space_id).await?;
                        Ok(Some(record(row, space)))
                    }
                    None => Ok(None),
                }
            })
            .await
    }

    /// A mark that changes whenever a revision becomes live or stops being it.
    pub async fn live_mark(&self) -> Result<LiveMark> {
        self.db
            .explain("look up the live revisions", async {
                // The number of a revision is above that of the one it replaces.
                let row = self
                    .db
                    .reader()
                    .query_one_raw(sql(
                        "SELECT count(active_revision), coalesce(sum(active_revision), 0) FROM source",
                        [],
                    ))
                    .await?;
                match row {
                    Some(row) => Ok(LiveMark(row.try_get_by_index(0)?, row.try_get_by_index(1)?)),
                    None => Ok(LiveMark::default()),
                }
            })
            .await
    }

    /// The fingerprints of the spaces that live revisions with chunks are in, each with their number. More than
    /// one, or one that is not the configured embedder's, means that some sources have to be embedded again.
    pub async fn live_spaces(&self) -> Result<Vec<(String, u64)>> {
        self.db
            .explain("list embedding spaces", async {
                let rows = self
                    .db
                    .reader()
                    .query_all_raw(sql(
                        "SELECT s.fingerprint, count(*) FROM revision r JOIN space s ON s.id = r.space_id
                         WHERE r.state = $1 AND r.chunk_count > 0 GROUP BY s.fingerprint ORDER BY s.fingerprint",
                        [LIVE.into()],
                    ))
                    .await?;
                let mut spaces = Vec::with_capacity(rows.len());
                for row in rows {
                    let revisions: i64 = row.try_get_by_index(1)?;
                    spaces.push((row.try_get_by_index(0)?, revisions.max(0) as u64));
                }
                Ok(spaces)
            })
            .await
    }
}

/// The source of a revision, and its transcript with the labels that speakers have in it.
pub(crate) async fn assembled(
    connection: &impl ConnectionTrait,
    revision: RevisionId,
) -> Attempt<(String, Transcript)> {
    let parts = transcribed::Parts::of(connection, revision).await?;
    let mut segments = Vec::new();
    let language = parts.read(connection, |segment| segments.push(segment)).await?;
    segments.sort_by_key(|segment: &Segment| segment.span);
    let transcript = Transcript {
        segments,
        language,
        duration: parts.duration,
    };
    Ok((parts.source, transcript))
}

/// Makes a revision the live one of its source. Called inside the transaction of a verb, behind its fence.
pub(crate) async fn publish(
    tx: &DatabaseTransaction,
    lease: &Lease,
    revision: RevisionId,
    status: SourceStatus,
) -> Attempt<()> {
    let source = entity::source::Entity::find_by_id(lease.source_id.as_str())
        .one(tx)
        .await?
        .ok_or_else(crate::source::gone)?;
    if source.active_revision != Some(revision.0) {
        unfinished(tx, lease, revision).await?;
        refuse_mixture(tx, lease, revision).await?;
        if let Some(old) = source.active_revision {
            retire(tx, RevisionId(old)).await?;
        }
        tx.execute_raw(sql(
            "UPDATE revision SET state = $2, published_at = $3 WHERE id = $1",
            [revision.0.into(), LIVE.into(), now().into()],
        ))
        .await?;
    }
    tx.execute_raw(sql(
        "UPDATE source SET active_revision = $2, status = $3, failure_stage = NULL,
         failure_kind = NULL, failure_message = NULL,
         duration_ms = (SELECT duration_ms FROM revision WHERE id = $2) WHERE id = $1",
        [
            lease.source_id.as_str().into(),
            revision.0.into(),
            status.as_str().into(),
        ],
    ))
    .await?;
    Ok(())
}

/// Refuses to make a revision live beside those of another space. A run that began before the index was switched to
/// another embedding model ends here.
async fn refuse_mixture(tx: &DatabaseTransaction, lease: &Lease, revision: RevisionId) -> Attempt<()> {
    let other = tx
        .query_one_raw(sql(
            "SELECT s.fingerprint FROM revision new, revision r JOIN space s ON s.id = r.space_id
             WHERE new.id = $2 AND new.chunk_count > 0 AND r.state = $3 AND r.chunk_count > 0
             AND r.source_id <> $1 AND r.space_id <> new.space_id LIMIT 1",
            [lease.source_id.as_str().into(), revision.0.into(), LIVE.into()],
        ))
        .await?;
    let Some(row) = other else { return Ok(()) };
    let space: String = row.try_get_by_index(0)?;
    Err(Error::config(format!(
        "the index was switched to the embedding model {space} while this source was being embedded with another"
    ))
    .with_hint("run the same command again with that model; its transcript is kept")
    .into())
}

async fn insert(
    tx: &DatabaseTransaction,
    lease: &Lease,
    plan: &RevisionPlan,
    space_id: i64,
) -> Attempt<RevisionId> {
    let row = entity::revision::ActiveModel {
        source_id: Set(lease.source_id.as_str().to_owned()),
        content_hash: Set(plan.content.as_str().to_owned()),
        config_hash: Set(plan.config.as_str().to_owned()),
        config_json: Set(plan.config_json.clone()),
        space_id: Set(space_id),
        state: Set(BUILDING.to_owned()),
        duration_ms: Set(0),
        chunk_count: Set(0),
        created_at: Set(now()),
        ..Default::default()
    };
    Ok(RevisionId(
        entity::revision::Entity::insert(row)
            .exec(tx)
            .await?
            .last_insert_id,
    ))
}

/// Takes a revision out of use and leaves word that its vectors have to go.
pub(crate) async fn retire(tx: &DatabaseTransaction, revision: RevisionId) -> Attempt<()> {
    tx.execute_raw(sql(
        "UPDATE revision SET state = $2 WHERE id = $1",
        [revision.0.into(), RETIRED.into()],
    ))
    .await?;
    tx.execute_raw(sql(
        "INSERT INTO retirement (revision_id, source_id, space_id, created_at)
         SELECT id, source_id, space_id, $2 FROM revision WHERE id = $1
         ON CONFLICT (revision_id) DO NOTHING",
        [revision.0.into(), now().into()],
    ))
    .await?;
    Ok(())
}

/// Checks that a revision belongs to the lease's source and is still being built.
pub(crate) async fn unfinished(
    connection: &impl ConnectionTrait,
    lease: &Lease,
    revision: RevisionId,
) -> Attempt<entity::revision::Model> {
    entity::revision::Entity::find_by_id(revision.0)
        .filter(entity::revision::Column::SourceId.eq(lease.source_id.as_str()))
        .filter(entity::revision::Column::State.eq(BUILDING))
        .one(connection)
        .await?
        .ok_or_else(|| {
            Fault::Explained(Error::internal(format!(
                "revision {revision} of source {} is not being built",
                lease.source_id
            )))
        })
}

pub(crate) fn record(
    row: entity::revision::Model,
    space: audiorag_core::model::EmbeddingSpace,
) -> RevisionRecord {
    RevisionRecord {
        id: RevisionId(row.id),
        source_id: SourceId::from_stored(row.source_id),
        content: ContentHash::from_stored(row.content_hash),
        config: ConfigHash::from_stored(row.config_hash),
        config_json: row.config_json,
        space,
        duration: MediaTime::from_millis(row.duration_ms.max(0) as u64),
        language: row.language,
        chunk_count: row.chunk_count.max(0) as u64,
        created_at: instant(row.created_at),
        verified_at: row.verified_at.map(instant),
        published_at: row.published_at.map(instant),
    }
}
