//! The run that calls belong to, and the most it may cost.

use audiorag_core::id::OperationId;
use audiorag_core::{Error, ErrorKind, Money, Result};
use std::sync::{Arc, Mutex, PoisonError};

/// An index run or a question. Clones share its cap.
#[derive(Clone, Debug)]
pub(crate) struct Run {
    pub(crate) operation: OperationId,
    cap: Option<Arc<Cap>>,
}

/// The most that a run may cost, and what it has spent or reserved.
#[derive(Debug)]
struct Cap {
    limit: Money,
    spent: Mutex<Money>,
}

impl Run {
    /// A run that may cost at most `cap`.
    pub(crate) fn new(operation: OperationId, cap: Option<Money>) -> Self {
        Self {
            operation,
            cap: cap.map(|limit| {
                Arc::new(Cap {
                    limit,
                    spent: Mutex::default(),
                })
            }),
        }
    }

    /// Whether it may not cost as much as it likes.
    pub(crate) fn is_capped(&self) -> bool {
        self.cap.is_some()
    }

    /// Sets `cost` aside before a call is made, so that calls side by side cannot spend the same money.
    ///
    /// # Errors
    /// [`Budget`](ErrorKind::Budget) when the run may not cost that much.
    pub(crate) fn reserve(&self, cost: Money) -> Result<()> {
        let Some(cap) = &self.cap else { return Ok(()) };
        let mut spent = cap.spent.lock().unwrap_or_else(PoisonError::into_inner);
        let after = spent.saturating_add(cost);
        if after > cap.limit {
            return Err(Error::new(
                ErrorKind::Budget,
                format!(
                    "this run may cost {} at most: {spent} is spent or set aside, and the next call may cost {cost}",
                    cap.limit
                ),
            )
            .with_hint("what is done is kept: run the same command again with a higher --max-cost or budget.usd_per_run"));
        }
        *spent = after;
        Ok(())
    }

    /// A call was not made after all.
    pub(crate) fn give_back(&self, reserved: Money) {
        self.settle(reserved, Money::ZERO);
    }

    /// A call for which `reserved` was set aside cost `cost`.
    pub(crate) fn settle(&self, reserved: Money, cost: Money) {
        if let Some(cap) = &self.cap {
            let mut spent = cap.spent.lock().unwrap_or_else(PoisonError::into_inner);
            *spent = spent.saturating_sub(reserved).saturating_add(cost);
        }
    }
}
