//! What was spent, on what.

use crate::State;
use crate::db::sql;
use crate::journal::usage;
use audiorag_core::budget::Amounts;
use audiorag_core::id::OperationId;
use audiorag_core::{Money, Result};
use sea_orm::{ConnectionTrait as _, Value};
use std::time::{Duration, SystemTime};

/// What costs are added up by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CostBy {
    /// Vendor, model and capability.
    Provider,
    /// Source: its locator, or its id when it was deleted. Queries have none.
    Source,
    /// Day in UTC, as `YYYY-MM-DD`.
    Day,
    /// Run or question.
    Operation,
}

/// Which calls are added up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CostWindow {
    /// Of this run or question.
    pub operation: Option<OperationId>,
    /// Sent at this time or later.
    pub since: Option<SystemTime>,
    /// Sent before this time.
    pub until: Option<SystemTime>,
}

impl CostWindow {
    /// The calls of one run or question.
    pub fn of(operation: &OperationId) -> Self {
        Self {
            operation: Some(operation.clone()),
            ..Self::default()
        }
    }
}

/// The calls of one group.
#[derive(Clone, Debug, PartialEq)]
pub struct CostRow {
    /// What they have in common: `vendor/model transcribe`, a locator, a day or an operation id.
    pub group: String,
    /// Calls of any end.
    pub calls: u64,
    /// Of these, refused: they cost nothing.
    pub failed: u64,
    /// Of these, with an unknown end: counted as what was expected of them.
    pub lost: u64,
    /// Of these, still open.
    pub open: u64,
    /// Of these, without a known price: they are missing in the cost.
    pub unpriced: u64,
    /// What they used, and what that cost as far as prices are known.
    pub amounts: Amounts,
}

impl State {
    /// What calls used and cost, in groups, the most expensive first (days: the latest first).
    ///
    /// # Errors
    /// [`State`](audiorag_core::ErrorKind::State) when the database cannot be read.
    pub async fn costs(&self, by: CostBy, window: CostWindow) -> Result<Vec<CostRow>> {
        let group = match by {
            CostBy::Provider => "c.provider || '/' || c.model || ' ' || c.capability",
            CostBy::Source => "coalesce(s.locator, c.source_id, '')",
            CostBy::Day => "strftime('%Y-%m-%d', c.sent_at / 1000, 'unixepoch')",
            CostBy::Operation => "c.operation_id",
        };
        let order = match by {
            CostBy::Day => "1 DESC",
            _ => "sum(c.cost_nanos) DESC NULLS LAST, count(*) DESC, 1",
        };
        let only = match window.operation {
            Some(_) => " AND c.operation_id = $3",
            None => "",
        };
        let text = format!(
            "SELECT {group}, count(*), sum(c.state = 'failed'), sum(c.state = 'lost'), sum(c.state = 'sent'),
             sum(c.cost_nanos IS NULL), sum(c.requests), sum(c.input_tokens), sum(c.output_tokens),
             sum(c.audio_ms), sum(c.cost_nanos)
             FROM call c LEFT JOIN source s ON s.id = c.source_id
             WHERE c.sent_at >= $1 AND c.sent_at < $2{only} GROUP BY 1 ORDER BY {order}"
        );
        let since = window.since.map_or(i64::MIN, millis);
        let until = window.until.map_or(i64::MAX, millis);
        let mut values: Vec<Value> = vec![since.into(), until.into()];
        values.extend(window.operation.map(|operation| Value::from(operation.as_str())));
        self.db
            .explain("add up costs", async {
                let rows = self.db.reader().query_all_raw(sql(&text, values)).await?;
                let mut groups = Vec::with_capacity(rows.len());
                for row in rows {
                    let number = |index: usize| row.try_get_by_index::<i64>(index);
                    let count = |index: usize| number(index).map(|count| count.max(0) as u64);
                    let cost: Option<i64> = row.try_get_by_index(10)?;
                    groups.push(CostRow {
                        group: row.try_get_by_index(0)?,
                        calls: count(1)?,
                        failed: count(2)?,
                        lost: count(3)?,
                        open: count(4)?,
                        unpriced: count(5)?,
                        amounts: Amounts {
                            usage: usage(number(6)?, number(7)?, number(8)?, number(9)?),
                            cost: cost.map(|nanos| Money::from_nanos(nanos.max(0) as u64)),
                        },
                    });
                }
                Ok(groups)
            })
            .await
    }
}

fn millis(time: SystemTime) -> i64 {
    let elapsed = time
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or(Duration::ZERO);
    i64::try_from(elapsed.as_millis()).unwrap_or(i64::MAX)
}
