//! Verbs on sources.

use crate::db::{commit, now, sql};
use crate::entity::{self, source::Column};
use crate::failpoint::{self, Step};
use crate::fault::{Attempt, Fault};
use crate::ownership::fence;
use crate::records::{Failure, Lease, NewSource, Owner, SourceRecord};
use crate::{State, stored};
use audiorag_core::id::{ContentHash, KeyHasher, RevisionId, SourceId};
use audiorag_core::model::{Fingerprint, Media, SourceStatus};
use audiorag_core::{Error, ErrorKind, Locator, MediaTime, Result, Stage};
use sea_orm::sea_query::Expr;
use sea_orm::{
    ActiveValue::Set, ColumnTrait as _, ConnectionTrait, EntityTrait as _, FromQueryResult as _,
    QueryFilter as _, QueryResult, QueryTrait as _, Select,
};
use sea_orm::{QueryOrder as _, QuerySelect as _};
use std::path::Path;
use std::time::{Duration, SystemTime};

/// The shortest id prefix that names a source.
const SHORTEST_PREFIX: usize = 4;
/// The most candidates that an ambiguous prefix lists.
const CANDIDATES: u64 = 8;

impl State {
    /// The source at `locator`.
    pub async fn find_source(&self, locator: &Locator) -> Result<Option<SourceRecord>> {
        self.db
            .explain("look up a source", async {
                first(
                    self.db.reader(),
                    select().filter(Column::Locator.eq(locator.to_uri())),
                )
                .await
            })
            .await
    }

    /// The source with this id.
    pub async fn source(&self, id: &SourceId) -> Result<Option<SourceRecord>> {
        self.db
            .explain("look up a source", by_id(self.db.reader(), id))
            .await
    }

    /// The source that `text` names: an id, an unambiguous prefix of one (four digits or more), an absolute
    /// path, or a `file:` or `http:` URI.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) when there is none, [`Input`](ErrorKind::Input) when a prefix fits
    /// several or the URI cannot be read.
    pub async fn resolve_source(&self, text: &str) -> Result<SourceRecord> {
        let text = text.trim();
        let missing = || {
            Error::not_found(format!("no source matches '{text}'")).with_hint(
                "'audiorag list' shows every source; give an id, at least 4 digits of one, a path or a URL",
            )
        };
        if text.contains("://") {
            return self
                .find_source(&Locator::parse_uri(text)?)
                .await?
                .ok_or_else(missing);
        }
        if Path::new(text).is_absolute() {
            return self
                .find_source(&Locator::File(text.into()))
                .await?
                .ok_or_else(missing);
        }
        if let Some(source) = self.source(&SourceId::from_stored(text)).await? {
            return Ok(source);
        }
        let prefix = text.to_ascii_lowercase();
        if prefix.len() < SHORTEST_PREFIX || !prefix.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(missing());
        }
        let query = select()
            .filter(Column::Id.starts_with(prefix.as_str()))
            .order_by_asc(Column::Id)
            .limit(CANDIDATES);
        let mut found = self
            .db
            .explain("look up a source", async { list(self.db.reader(), query).await })
            .await?;
        match found.len() {
            0 => Err(missing()),
            1 => found.pop().ok_or_else(missing),
            _ => {
                let names: Vec<String> = found
                    .iter()
                    .map(|source| format!("{} ({})", source.id, source.locator))
                    .collect();
                Err(
                    Error::input(format!("'{text}' fits several sources: {}", names.join(", ")))
                        .with_hint("give more digits of the id"),
                )
            }
        }
    }

    /// Every source, by locator.
    pub async fn list_sources(&self) -> Result<Vec<SourceRecord>> {
        self.db
            .explain("list the sources", async {
                list(self.db.reader(), select().order_by_asc(Column::Locator)).await
            })
            .await
    }

    /// The sources whose bytes have this hash.
    pub async fn sources_with_content(&self, content: &ContentHash) -> Result<Vec<SourceRecord>> {
        let query = select()
            .filter(Column::ContentHash.eq(content.as_str()))
            .order_by_asc(Column::Locator);
        self.db
            .explain("look up sources by content", async {
                list(self.db.reader(), query).await
            })
            .await
    }

    /// Adds a source, or returns the one that is at its locator already.
    pub async fn add_source(&self, new: &NewSource) -> Result<SourceRecord> {
        self.db
            .explain("add a source", async {
                let uri = new.locator.to_uri();
                let tx = self.db.begin().await?;
                let at_locator = select().filter(Column::Locator.eq(uri.as_str()));
                if let Some(existing) = first(&tx, at_locator).await? {
                    return Ok(existing);
                }
                let id = free_id(&tx, &new.locator).await?;
                let title = new.title.clone().filter(|title| !title.trim().is_empty());
                let created = now();
                let row = entity::source::ActiveModel {
                    id: Set(id.as_str().to_owned()),
                    locator: Set(uri),
                    title: Set(title.unwrap_or_else(|| new.locator.default_title())),
                    content_hash: Set(new
                        .fingerprint
                        .as_ref()
                        .map(|print| print.content.as_str().to_owned())),
                    bytes: Set(new.fingerprint.as_ref().map(|print| print.bytes as i64)),
                    modified_ns: Set(new.fingerprint.as_ref().and_then(|print| print.modified)),
                    media: Set(new.media.as_ref().map(stored::write_media).transpose()?),
                    date: Set(new.media.as_ref().and_then(Media::day)),
                    status: Set(SourceStatus::Pending.as_str().to_owned()),
                    epoch: Set(0),
                    created_at: Set(created),
                    updated_at: Set(created),
                    ..Default::default()
                };
                entity::source::Entity::insert(row)
                    .exec_without_returning(&tx)
                    .await?;
                let record = by_id(&tx, &id).await?.ok_or_else(gone)?;
                commit(tx, Step::AddSource).await?;
                Ok(record)
            })
            .await
    }

    /// Records that a recording was moved: the source keeps its id, history and revisions. `None` when it is not at
    /// `from` any more, because somebody else has moved it meanwhile: then nothing is changed.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) for an unknown source, [`State`](ErrorKind::State) when another source
    /// is at `locator` already.
    pub async fn relocate_source(
        &self,
        id: &SourceId,
        from: &Locator,
        locator: &Locator,
        fingerprint: &Fingerprint,
    ) -> Result<Option<SourceRecord>> {
        self.db
            .explain("record a move", async {
                let tx = self.db.begin().await?;
                let before = by_id(&tx, id).await?.ok_or_else(gone)?;
                let update = update_fingerprint(id, fingerprint)
                    .filter(Column::Locator.eq(from.to_uri()))
                    .col_expr(Column::Locator, Expr::value(locator.to_uri()));
                // A title that was only the old file name follows the new one.
                let update = if before.title == before.locator.default_title() {
                    update.col_expr(Column::Title, Expr::value(locator.default_title()))
                } else {
                    update
                };
                let updated = match update.exec(&tx).await.map_err(Fault::from) {
                    Err(fault) if fault.is_duplicate() => {
                        return Err(Error::state(format!("another source is at {locator} already"))
                            .with_hint("delete one of the two with 'audiorag delete'")
                            .into());
                    }
                    other => other?,
                };
                if updated.rows_affected == 0 {
                    return Ok(None);
                }
                let record = by_id(&tx, id).await?.ok_or_else(gone)?;
                commit(tx, Step::RelocateSource).await?;
                Ok(Some(record))
            })
            .await
    }

    /// Records that the file was touched without a change of its bytes.
    pub async fn touch_source(&self, id: &SourceId, fingerprint: &Fingerprint) -> Result<()> {
        self.db
            .explain("update a source", async {
                failpoint::before(Step::TouchSource)?;
                update_fingerprint(id, fingerprint)
                    .exec(self.db.writer()?)
                    .await?;
                failpoint::after(Step::TouchSource)?;
                Ok(())
            })
            .await
    }

    /// Records what the recording's bytes and headers are now. An absent or empty title leaves the old one.
    ///
    /// # Errors
    /// [`Cancelled`](ErrorKind::Cancelled) when the lease was lost.
    pub async fn update_media(
        &self,
        lease: &Lease,
        fingerprint: &Fingerprint,
        media: &Media,
        title: Option<&str>,
    ) -> Result<()> {
        self.db
            .explain("update a source", async {
                let tx = self.db.begin().await?;
                fence(&tx, lease).await?;
                let mut update = update_fingerprint(&lease.source_id, fingerprint)
                    .col_expr(Column::Media, Expr::value(stored::write_media(media)?))
                    .col_expr(Column::Date, Expr::value(media.day()));
                if let Some(title) = title.filter(|title| !title.trim().is_empty()) {
                    update = update.col_expr(Column::Title, Expr::value(title));
                }
                update.exec(&tx).await?;
                commit(tx, Step::UpdateMedia).await?;
                Ok(())
            })
            .await
    }

    /// Removes a source with its revisions, chunks and history. Its vectors stay in
    /// [`pending_retirements`](Self::pending_retirements) until they are deleted from the vector store; cached
    /// transcripts and embeddings are kept. Deleting what is absent is `Ok`.
    pub async fn delete_source(&self, id: &SourceId) -> Result<()> {
        self.db
            .explain("delete a source", async {
                let tx = self.db.begin().await?;
                tx.execute_raw(sql(
                    "INSERT INTO retirement (revision_id, source_id, space_id, created_at)
                     SELECT id, source_id, space_id, $2 FROM revision WHERE source_id = $1
                     ON CONFLICT (revision_id) DO NOTHING",
                    [id.as_str().into(), now().into()],
                ))
                .await?;
                crate::garbage::note_use(&tx, "r.source_id = $1", id.as_str().into()).await?;
                tx.execute_raw(sql(
                    "DELETE FROM download WHERE url = (SELECT locator FROM source WHERE id = $1)",
                    [id.as_str().into()],
                ))
                .await?;
                entity::source::Entity::delete_by_id(id.as_str())
                    .exec(&tx)
                    .await?;
                commit(tx, Step::DeleteSource).await?;
                Ok(())
            })
            .await
    }
}

/// The error for a source that is not there (any more).
pub(crate) fn gone() -> Error {
    Error::not_found("the source is not in the database").with_hint("'audiorag list' shows every source")
}

/// The id for a new source. Normally the locator's own; when that belongs to a source that has moved away, the
/// next one in a fixed sequence.
async fn free_id(connection: &impl ConnectionTrait, locator: &Locator) -> Attempt<SourceId> {
    let mut id = SourceId::of(locator);
    let mut number = 1;
    while entity::source::Entity::find_by_id(id.as_str())
        .one(connection)
        .await?
        .is_some()
    {
        number += 1;
        let mut text = KeyHasher::new("source/1/again")
            .text(&locator.to_uri())
            .number(number)
            .finish();
        text.truncate(32);
        id = SourceId::from_stored(text);
    }
    Ok(id)
}

fn update_fingerprint(
    id: &SourceId,
    fingerprint: &Fingerprint,
) -> sea_orm::UpdateMany<entity::source::Entity> {
    entity::source::Entity::update_many()
        .filter(Column::Id.eq(id.as_str()))
        .col_expr(Column::ContentHash, Expr::value(fingerprint.content.as_str()))
        .col_expr(Column::Bytes, Expr::value(fingerprint.bytes as i64))
        .col_expr(Column::ModifiedNs, Expr::value(fingerprint.modified))
        .col_expr(Column::UpdatedAt, Expr::value(now()))
}

/// Sources with the number of chunks of their live revision.
fn select() -> Select<entity::source::Entity> {
    entity::source::Entity::find().column_as(
        Expr::cust("(SELECT revision.chunk_count FROM revision WHERE revision.id = source.active_revision)"),
        "live_chunks",
    )
}

async fn first(
    connection: &impl ConnectionTrait,
    query: Select<entity::source::Entity>,
) -> Attempt<Option<SourceRecord>> {
    let row = connection.query_one(&query.into_query()).await?;
    row.as_ref().map(record).transpose()
}

async fn list(
    connection: &impl ConnectionTrait,
    query: Select<entity::source::Entity>,
) -> Attempt<Vec<SourceRecord>> {
    connection
        .query_all(&query.into_query())
        .await?
        .iter()
        .map(record)
        .collect()
}

pub(crate) async fn by_id(connection: &impl ConnectionTrait, id: &SourceId) -> Attempt<Option<SourceRecord>> {
    first(connection, select().filter(Column::Id.eq(id.as_str()))).await
}

/// The point in time `millis` after 1970.
pub(crate) fn instant(millis: i64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_millis(millis.max(0) as u64)
}

fn record(row: &QueryResult) -> Attempt<SourceRecord> {
    let model = entity::source::Model::from_query_result(row, "")?;
    let chunk_count: Option<i64> = row.try_get("", "live_chunks")?;
    let owner = owner_of(&model);
    let failure = model.failure_kind.as_deref().map(|kind| Failure {
        stage: model.failure_stage.as_deref().and_then(Stage::parse),
        kind: ErrorKind::parse(kind).unwrap_or(ErrorKind::Internal),
        message: model.failure_message.clone().unwrap_or_default(),
    });
    let fingerprint = model.content_hash.map(|content| Fingerprint {
        content: ContentHash::from_stored(content),
        bytes: model.bytes.unwrap_or_default().max(0) as u64,
        modified: model.modified_ns,
    });
    Ok(SourceRecord {
        id: SourceId::from_stored(model.id),
        locator: Locator::parse_uri(&model.locator)?,
        title: model.title,
        fingerprint,
        media: model.media.as_deref().map(stored::read_media).transpose()?,
        duration: model
            .duration_ms
            .map(|millis| MediaTime::from_millis(millis.max(0) as u64)),
        // A status of a later version says at least that there is something to do.
        status: SourceStatus::parse(&model.status).unwrap_or(SourceStatus::Pending),
        failure,
        epoch: model.epoch,
        lease_until: owner.as_ref().and(model.lease_until).map(instant),
        owner,
        active_revision: model.active_revision.map(RevisionId),
        chunk_count: chunk_count.unwrap_or_default().max(0) as u64,
        created_at: instant(model.created_at),
        updated_at: instant(model.updated_at),
    })
}

/// Who holds the source, if anybody.
pub(crate) fn owner_of(model: &entity::source::Model) -> Option<Owner> {
    Some(Owner {
        host: model.owner_host.clone()?,
        pid: u32::try_from(model.owner_pid?).ok()?,
        started_at: model.owner_started?,
    })
}
