//! The journal of calls that may cost something: written before a call is sent and closed with what it returned.
//!
//! One table is the journal, the ledger and the reservations of the budget. What a call was expected to need counts
//! from the moment it is opened, in every process that shares the database; what it used counts once it is closed.
//! A process that dies leaves open calls behind: nobody knows whether they were billed, so they are called lost and
//! go on counting as what was expected of them.

mod report;

pub use report::{CostBy, CostRow, CostWindow};

use crate::State;
use crate::check::{LONGEST_CALL, dead_callers};
use crate::db::{commit, now, sql};
use crate::failpoint::{self, Step};
use crate::fault::Attempt;
use crate::records::Owner;
use audiorag_core::budget::{Amounts, Limits, Measure, Purpose, Shortage};
use audiorag_core::capability::Usage;
use audiorag_core::id::{OperationId, SourceId};
use audiorag_core::{MediaTime, Money, Result};
use sea_orm::{ConnectionTrait, DatabaseTransaction, Statement, Value};
use std::time::Duration;

/// Values of `call.state`.
const SENT: &str = "sent";
const DONE: &str = "done";
const FAILED: &str = "failed";
const LOST: &str = "lost";

/// The number of a call in the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CallId(pub i64);

/// A call that is about to be made.
#[derive(Clone, Debug, PartialEq)]
pub struct NewCall {
    /// The run or the question that it belongs to.
    pub operation: OperationId,
    /// What it is for.
    pub purpose: Purpose,
    /// `transcribe`, `embed`, `rerank` or `generate`.
    pub capability: &'static str,
    /// The vendor's id.
    pub provider: String,
    /// The model's name.
    pub model: String,
    /// The source it is made for, where there is one.
    pub source: Option<SourceId>,
    /// The process that makes it.
    pub owner: Owner,
    /// What it is expected to need.
    pub expected: Amounts,
}

/// The answer to the wish to make a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opening {
    /// It is in the journal and may be sent.
    Opened(CallId),
    /// The budget has no room for it now, or never.
    Short(Shortage),
}

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallEnd {
    /// It was answered.
    Done(Amounts),
    /// It was refused: requests were made, and nothing was billed.
    Failed {
        /// How many requests.
        requests: u32,
    },
    /// Nobody knows whether it was billed. What was expected of it stands.
    Lost,
    /// Nobody knows whether it was billed, or how often. This is the most it can have been.
    LostAtMost(Amounts),
}

/// The end of a call, to be stored with what the call returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settlement {
    /// The call.
    pub call: CallId,
    /// Its end.
    pub end: CallEnd,
}

impl State {
    /// Writes a call into the journal, if the budget has room for it: both in one transaction, so that processes
    /// side by side cannot all take the last of it.
    ///
    /// # Errors
    /// [`State`](audiorag_core::ErrorKind::State) when the database cannot be written.
    pub async fn open_call(&self, call: &NewCall, limits: &Limits) -> Result<Opening> {
        self.db
            .explain("record a call", async {
                let tx = self.db.begin().await?;
                let now = now();
                if let Some(shortage) = shortage(&tx, call, limits, now).await? {
                    return Ok(Opening::Short(shortage));
                }
                let usage = &call.expected.usage;
                let row = tx
                    .query_one_raw(sql(
                        "INSERT INTO call (operation_id, purpose, capability, provider, model, source_id, state,
                         owner_host, owner_pid, owner_started, requests, input_tokens, output_tokens, audio_ms,
                         cost_nanos, sent_at)
                         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)
                         RETURNING id",
                        [
                            call.operation.as_str().into(),
                            call.purpose.as_str().into(),
                            call.capability.into(),
                            call.provider.as_str().into(),
                            call.model.as_str().into(),
                            call.source.as_ref().map(|id| id.as_str().to_owned()).into(),
                            SENT.into(),
                            call.owner.host.as_str().into(),
                            i64::from(call.owner.pid).into(),
                            call.owner.started_at.into(),
                            i64::from(usage.requests).into(),
                            integer(usage.input_tokens),
                            integer(usage.output_tokens),
                            integer(usage.audio.as_millis()),
                            cost(call.expected.cost),
                            now.into(),
                        ],
                    ))
                    .await?;
                let id: i64 = match row {
                    Some(row) => row.try_get_by_index(0)?,
                    None => return Err(audiorag_core::Error::internal("a call got no number").into()),
                };
                commit(tx, Step::OpenCall).await?;
                Ok(Opening::Opened(CallId(id)))
            })
            .await
    }

    /// Closes a call. Closing it again changes nothing: the first end stands.
    ///
    /// # Errors
    /// [`State`](audiorag_core::ErrorKind::State) when the database cannot be written.
    pub async fn settle_call(&self, settlement: Settlement) -> Result<()> {
        self.db
            .explain("record the end of a call", async {
                failpoint::before(Step::SettleCall)?;
                settle(self.db.writer()?, settlement).await?;
                failpoint::after(Step::SettleCall)?;
                Ok(())
            })
            .await
    }

    /// Marks the calls that dead processes left open as lost, and says how many there were. `is_alive` knows who is
    /// at work; of processes on other machines it knows nothing, and their calls are lost after a day.
    ///
    /// # Errors
    /// [`State`](audiorag_core::ErrorKind::State) when the database cannot be written.
    pub async fn lose_calls(&self, is_alive: &(dyn Fn(&Owner) -> bool + Sync)) -> Result<u64> {
        self.db
            .explain("close the calls of dead processes", async {
                // Most runs find none, and then there is nothing to write.
                if dead_callers(self.db.reader(), is_alive).await?.is_empty() {
                    return Ok(0);
                }
                let tx = self.db.begin().await?;
                let lost = lose(&tx, is_alive).await?;
                commit(tx, Step::LoseCalls).await?;
                Ok(lost)
            })
            .await
    }

    /// What processes with open calls there are, dead or alive.
    ///
    /// # Errors
    /// [`State`](audiorag_core::ErrorKind::State) when the database cannot be read.
    pub async fn owners_of_open_calls(&self) -> Result<Vec<Owner>> {
        self.db.explain("list open calls", owners(self.db.reader())).await
    }
}

/// Marks what was asked of a vendor by a process that is gone: nobody knows how it ended.
pub(crate) async fn lose(
    tx: &DatabaseTransaction,
    is_alive: &(dyn Fn(&Owner) -> bool + Sync),
) -> Attempt<u64> {
    let now = now();
    let mut lost = 0;
    for (owner, _) in dead_callers(tx, is_alive).await? {
        let latest = if is_alive(&owner) {
            now - LONGEST_CALL
        } else {
            i64::MAX
        };
        lost += tx
            .execute_raw(sql(
                "UPDATE call SET state = $6, ended_at = $4 WHERE state = 'sent' AND owner_host = $1
                 AND owner_pid = $2 AND owner_started = $3 AND sent_at < $5",
                [
                    owner.host.into(),
                    i64::from(owner.pid).into(),
                    owner.started_at.into(),
                    now.into(),
                    latest.into(),
                    LOST.into(),
                ],
            ))
            .await?
            .rows_affected();
    }
    Ok(lost)
}

/// Closes a call, inside the transaction that stores what it returned.
pub(crate) async fn settle(connection: &impl ConnectionTrait, settlement: Settlement) -> Attempt<()> {
    let id = settlement.call.0;
    let statement = match settlement.end {
        CallEnd::Done(amounts) => close_with(id, DONE, &amounts),
        CallEnd::LostAtMost(amounts) => close_with(id, LOST, &amounts),
        CallEnd::Failed { requests } => sql(
            "UPDATE call SET state = $2, ended_at = $3, requests = $4, input_tokens = 0, output_tokens = 0,
             audio_ms = 0, cost_nanos = 0 WHERE id = $1 AND state = 'sent'",
            [id.into(), FAILED.into(), now().into(), i64::from(requests).into()],
        ),
        CallEnd::Lost => sql(
            "UPDATE call SET state = $2, ended_at = $3 WHERE id = $1 AND state = 'sent'",
            [id.into(), LOST.into(), now().into()],
        ),
    };
    connection.execute_raw(statement).await?;
    Ok(())
}

/// Closes a call with amounts that go before what was expected of it.
fn close_with(id: i64, state: &str, amounts: &Amounts) -> Statement {
    let usage = &amounts.usage;
    sql(
        "UPDATE call SET state = $2, ended_at = $3, requests = $4, input_tokens = $5, output_tokens = $6,
         audio_ms = $7, cost_nanos = $8 WHERE id = $1 AND state = 'sent'",
        [
            id.into(),
            state.into(),
            now().into(),
            i64::from(usage.requests).into(),
            integer(usage.input_tokens),
            integer(usage.output_tokens),
            integer(usage.audio.as_millis()),
            cost(amounts.cost),
        ],
    )
}

/// The longest wait that any limit demands.
async fn shortage(
    tx: &DatabaseTransaction,
    call: &NewCall,
    limits: &Limits,
    now: i64,
) -> Attempt<Option<Shortage>> {
    let mut longest: Option<Shortage> = None;
    for (provider, allowance) in limits.scopes(&call.provider) {
        for measure in Measure::ALL {
            let Some(limit) = measure.limit(allowance) else {
                continue;
            };
            let amount = measure.amount(&call.expected);
            let room = measure.room(limit, call.purpose, limits.query_share, amount);
            // What is there in sum decides most cases; single calls are looked at only to know how long to wait.
            let since = now.saturating_sub(measure.window().as_millis() as i64);
            let used = used(tx, measure, provider, since, now).await?;
            if amount <= room && used.saturating_add(amount) <= room {
                continue;
            }
            let entries = entries(tx, measure, provider, since, now).await?;
            if let Some(found) = measure.shortage(room, amount, entries) {
                longest = Some(longest.map_or(found, |longest| longest.or_longer(found)));
            }
        }
    }
    Ok(longest)
}

/// The column that holds what a measure counts.
const fn column(measure: Measure) -> &'static str {
    match measure {
        Measure::Requests => "requests",
        Measure::Tokens => "input_tokens + output_tokens",
        Measure::Audio => "audio_ms",
        Measure::Money => "coalesce(cost_nanos, 0)",
    }
}

/// What is looked at: calls of the last window, of one provider where one is meant. Calls of a clock that ran ahead
/// count as well, but not for longer than a window: a clock that was a day ahead must not stop everything for a day.
fn within(provider: Option<&str>, since: i64, now: i64) -> (&'static str, Vec<Value>) {
    let until = now.saturating_add(now.saturating_sub(since));
    match provider {
        Some(provider) => (
            "sent_at > $1 AND sent_at <= $2 AND provider = $3",
            vec![since.into(), until.into(), provider.into()],
        ),
        None => ("sent_at > $1 AND sent_at <= $2", vec![since.into(), until.into()]),
    }
}

async fn used(
    tx: &DatabaseTransaction,
    measure: Measure,
    provider: Option<&str>,
    since: i64,
    now: i64,
) -> Attempt<u64> {
    let (condition, values) = within(provider, since, now);
    let column = column(measure);
    let text = format!("SELECT coalesce(sum({column}), 0) FROM call WHERE {condition}");
    let total: i64 = match tx.query_one_raw(sql(&text, values)).await? {
        Some(row) => row.try_get_by_index(0)?,
        None => 0,
    };
    Ok(total.max(0) as u64)
}

async fn entries(
    tx: &DatabaseTransaction,
    measure: Measure,
    provider: Option<&str>,
    since: i64,
    now: i64,
) -> Attempt<Vec<(Duration, u64)>> {
    let (condition, values) = within(provider, since, now);
    let column = column(measure);
    let text = format!("SELECT sent_at, {column} FROM call WHERE {condition} ORDER BY sent_at");
    let mut entries = Vec::new();
    for row in tx.query_all_raw(sql(&text, values)).await? {
        let (at, amount): (i64, i64) = (row.try_get_by_index(0)?, row.try_get_by_index(1)?);
        let age = Duration::from_millis(now.saturating_sub(at).max(0) as u64);
        entries.push((age, amount.max(0) as u64));
    }
    Ok(entries)
}

async fn owners(connection: &impl ConnectionTrait) -> Attempt<Vec<Owner>> {
    let rows = connection
        .query_all_raw(sql(
            "SELECT DISTINCT owner_host, owner_pid, owner_started FROM call WHERE state = 'sent'",
            [],
        ))
        .await?;
    let mut owners = Vec::with_capacity(rows.len());
    for row in rows {
        let pid: i64 = row.try_get_by_index(1)?;
        owners.push(Owner {
            host: row.try_get_by_index(0)?,
            pid: u32::try_from(pid).unwrap_or_default(),
            started_at: row.try_get_by_index(2)?,
        });
    }
    Ok(owners)
}

/// The most that one call can count: a quadrillion, so that sums over many calls stay whole numbers, whatever a vendor
/// claims.
const MOST: u64 = 1 << 50;

/// A count as the database keeps it.
fn integer(count: u64) -> Value {
    (count.min(MOST) as i64).into()
}

fn cost(cost: Option<Money>) -> Value {
    cost.map(|cost| cost.as_nanos().min(MOST) as i64).into()
}

/// Amounts from four columns and the cost.
fn usage(requests: i64, input_tokens: i64, output_tokens: i64, audio_ms: i64) -> Usage {
    Usage {
        requests: u32::try_from(requests.max(0)).unwrap_or(u32::MAX),
        input_tokens: input_tokens.max(0) as u64,
        output_tokens: output_tokens.max(0) as u64,
        audio: MediaTime::from_millis(audio_ms.max(0) as u64),
        ..Usage::default()
    }
}
