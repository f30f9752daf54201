//! Who may change a source: claims with a lease, and the check that every commit makes.
//!
//! A lease alone protects nothing: a process that slept through its lease would still write. So each claim raises
//! the source's epoch, and every commit holds only while the epoch is the one of the claim.

use crate::State;
use crate::db::{commit, now, sql};
use crate::entity;
use crate::failpoint::Step;
use crate::fault::Attempt;
use crate::records::{Claim, Lease, Outcome, Owner};
use crate::source::{gone, owner_of};
use audiorag_core::id::SourceId;
use audiorag_core::model::SourceStatus;
use audiorag_core::{Error, Result, Stage};
use sea_orm::{ConnectionTrait, EntityTrait as _};
use std::time::Duration;

/// The longest lease that is given.
const LONGEST: Duration = Duration::from_hours(1);

impl State {
    /// Asks for the right to work on a source for `ttl`, an hour at most. It is granted when nobody holds it, when the claim of
    /// its holder has run out, when the holder is the caller itself, and when `is_alive` says that the holder is
    /// gone.
    ///
    /// # Errors
    /// [`NotFound`](audiorag_core::ErrorKind::NotFound) for an unknown source.
    pub async fn claim(
        &self,
        id: &SourceId,
        owner: &Owner,
        ttl: Duration,
        is_alive: &(dyn Fn(&Owner) -> bool + Sync),
    ) -> Result<Claim> {
        self.db
            .explain("claim a source", async {
                let tx = self.db.begin().await?;
                let row = entity::source::Entity::find_by_id(id.as_str())
                    .one(&tx)
                    .await?
                    .ok_or_else(gone)?;
                if let Some(holder) = owner_of(&row)
                    && runs(row.lease_until)
                    && holder != *owner
                    && is_alive(&holder)
                {
                    return Ok(Claim::Busy(holder));
                }
                let epoch = row.epoch + 1;
                // How far a dead owner had come is not where the new one stands: others wait for what it says.
                let stale = crate::rebuild::is_on_bytes(&row.status);
                tx.execute_raw(sql(
                    "UPDATE source SET epoch = $2, owner_host = $3, owner_pid = $4, owner_started = $5,
                     lease_until = $6, updated_at = $7, status = coalesce($8, status) WHERE id = $1",
                    [
                        id.as_str().into(),
                        epoch.into(),
                        owner.host.clone().into(),
                        i64::from(owner.pid).into(),
                        owner.started_at.into(),
                        end_of(ttl).into(),
                        now().into(),
                        stale.then_some(SourceStatus::Pending.as_str()).into(),
                    ],
                ))
                .await?;
                commit(tx, Step::Claim).await?;
                Ok(Claim::Granted(Lease {
                    source_id: id.clone(),
                    epoch,
                }))
            })
            .await
    }

    /// Makes the lease end `ttl` from now.
    ///
    /// # Errors
    /// [`Cancelled`](audiorag_core::ErrorKind::Cancelled) when the lease was lost.
    pub async fn renew(&self, lease: &Lease, ttl: Duration) -> Result<()> {
        self.db
            .explain("renew a claim", async {
                let tx = self.db.begin().await?;
                fence(&tx, lease).await?;
                tx.execute_raw(sql(
                    "UPDATE source SET lease_until = $2 WHERE id = $1",
                    [lease.source_id.as_str().into(), end_of(ttl).into()],
                ))
                .await?;
                commit(tx, Step::Renew).await?;
                Ok(())
            })
            .await
    }

    /// Gives the source back and records how the work ended. The live revision stays what it is.
    ///
    /// # Errors
    /// [`Cancelled`](audiorag_core::ErrorKind::Cancelled) when the lease was lost.
    pub async fn release(&self, lease: &Lease, outcome: &Outcome) -> Result<()> {
        self.db
            .explain("release a source", async {
                let (status, failure) = match outcome {
                    Outcome::Done => (None, None),
                    Outcome::Failed(failure) => (Some(SourceStatus::Failed), Some(failure)),
                    Outcome::Cancelled => (Some(SourceStatus::Cancelled), None),
                };
                let tx = self.db.begin().await?;
                fence(&tx, lease).await?;
                tx.execute_raw(sql(
                    "UPDATE source SET owner_host = NULL, owner_pid = NULL, owner_started = NULL,
                     lease_until = NULL, status = coalesce($2, status), failure_stage = $3, failure_kind = $4,
                     failure_message = $5 WHERE id = $1",
                    [
                        lease.source_id.as_str().into(),
                        status.map(SourceStatus::as_str).into(),
                        failure
                            .and_then(|failure| failure.stage)
                            .map(Stage::as_str)
                            .into(),
                        failure.map(|failure| failure.kind.as_str()).into(),
                        failure.map(|failure| failure.message.clone()).into(),
                    ],
                ))
                .await?;
                commit(tx, Step::Release).await?;
                Ok(())
            })
            .await
    }

    /// Records where the source stands.
    ///
    /// # Errors
    /// [`Cancelled`](audiorag_core::ErrorKind::Cancelled) when the lease was lost.
    pub async fn set_status(&self, lease: &Lease, status: SourceStatus) -> Result<()> {
        self.db
            .explain("record a status", async {
                let tx = self.db.begin().await?;
                fence(&tx, lease).await?;
                tx.execute_raw(sql(
                    "UPDATE source SET status = $2 WHERE id = $1",
                    [lease.source_id.as_str().into(), status.as_str().into()],
                ))
                .await?;
                commit(tx, Step::SetStatus).await?;
                Ok(())
            })
            .await
    }
}

impl State {
    /// Whether the source is still the holder's of the lease. Commits check that by themselves; this is for work
    /// outside of the database.
    pub async fn holds(&self, lease: &Lease) -> Result<bool> {
        self.db
            .explain("look up a claim", async {
                let row = entity::source::Entity::find_by_id(lease.source_id.as_str())
                    .one(self.db.reader())
                    .await?;
                Ok(row.is_some_and(|row| row.epoch == lease.epoch))
            })
            .await
    }
}

fn end_of(ttl: Duration) -> i64 {
    now().saturating_add(i64::try_from(ttl.min(LONGEST).as_millis()).unwrap_or(i64::MAX))
}

/// Whether a lease has not ended. One that has longer to run than any is given was written before the clock was set
/// back, and would lock the source for as long as that.
pub(crate) fn runs(lease_until: Option<i64>) -> bool {
    let left = lease_until.map_or(0, |until| until.saturating_sub(now()));
    left > 0 && u128::try_from(left).is_ok_and(|left| left <= LONGEST.as_millis())
}

/// Refuses to go on under a lease that was lost. Called inside the transaction that it protects.
pub(crate) async fn fence(connection: &impl ConnectionTrait, lease: &Lease) -> Attempt<()> {
    let held = connection
        .execute_raw(sql(
            "UPDATE source SET updated_at = $3 WHERE id = $1 AND epoch = $2",
            [lease.source_id.as_str().into(), lease.epoch.into(), now().into()],
        ))
        .await?
        .rows_affected();
    if held == 1 {
        return Ok(());
    }
    let row = entity::source::Entity::find_by_id(lease.source_id.as_str())
        .one(connection)
        .await?;
    let reason = match row.as_ref().map(owner_of) {
        None => "superseded by the deletion of the source".to_owned(),
        Some(Some(owner)) => format!("superseded by {owner}"),
        Some(None) => "superseded by a later run".to_owned(),
    };
    Err(Error::cancelled(reason).into())
}
