//! The budget of a process: reservations from core's accounts, waited for or refused.

use audiorag_core::budget::{Allowance, Budget, Need, Shortage, Ticket};
use audiorag_core::{Error, ErrorKind, Result};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::time::Instant;

/// What happens when the budget is used up for now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Spending {
    /// The call waits until enough is free.
    Wait,
    /// The call fails.
    Fail,
}

/// A budget that calls are paid from. Clones of the `Arc` share it.
#[derive(Debug)]
pub(crate) struct Purse {
    budget: Mutex<Budget>,
    started: Instant,
    spending: Spending,
}

/// What a call has set aside. Dropped unsettled it is given back.
#[derive(Debug)]
pub(crate) struct Reservation {
    purse: Arc<Purse>,
    ticket: Ticket,
    settled: bool,
}

impl Purse {
    /// A purse with this allowance; `None` when nothing is limited.
    pub(crate) fn new(allowance: &Allowance, spending: Spending) -> Option<Arc<Self>> {
        (!allowance.is_unlimited()).then(|| {
            Arc::new(Self {
                budget: Mutex::new(Budget::new(allowance)),
                started: Instant::now(),
                spending,
            })
        })
    }

    /// Sets `need` aside, waiting for it where the policy says so.
    ///
    /// # Errors
    /// [`Budget`](ErrorKind::Budget) when it is used up and waiting is not wanted, or does not help.
    pub(crate) async fn reserve(self: &Arc<Self>, need: &Need) -> Result<Reservation> {
        loop {
            let outcome = self.with(|budget| budget.reserve(self.started.elapsed(), need));
            match outcome {
                Ok(ticket) => {
                    return Ok(Reservation {
                        purse: Arc::clone(self),
                        ticket,
                        settled: false,
                    });
                }
                Err(Shortage::Later { what, wait }) if self.spending == Spending::Wait => {
                    tracing::info!(what, wait_ms = wait.as_millis() as u64, "waiting for the budget");
                    tokio::time::sleep(wait).await;
                }
                Err(Shortage::Later { what, wait }) => {
                    return Err(Error::new(
                        ErrorKind::Budget,
                        format!("the budget of {what} is used up for now"),
                    )
                    .with_retry_after(wait)
                    .with_hint("wait, raise the limit under [budget], or set budget.policy to wait"));
                }
                Err(Shortage::Never { what }) => {
                    return Err(Error::new(
                        ErrorKind::Budget,
                        format!("a single call needs more than the budget of {what}"),
                    )
                    .with_hint("raise the limit under [budget]"));
                }
            }
        }
    }

    fn with<T>(&self, change: impl FnOnce(&mut Budget) -> T) -> T {
        change(&mut self.budget.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Reservation {
    /// The call was made. `used` is what it used, where that is known; the reservation stands otherwise.
    pub(crate) fn settle(mut self, used: Option<Need>) {
        self.settled = true;
        if let Some(used) = used {
            let now = self.purse.started.elapsed();
            self.purse.with(|budget| budget.settle(now, &self.ticket, &used));
        }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if !self.settled {
            self.purse.with(|budget| budget.release(&self.ticket));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn one_a_minute(spending: Spending) -> Arc<Purse> {
        let allowance = Allowance {
            requests_per_minute: Some(1),
            ..Allowance::default()
        };
        Purse::new(&allowance, spending).unwrap()
    }

    const ONE: Need = Need {
        requests: 1,
        tokens: 0,
        audio: audiorag_core::MediaTime::ZERO,
    };

    #[tokio::test(start_paused = true)]
    async fn a_used_up_budget_is_waited_for_or_refused() {
        let purse = one_a_minute(Spending::Wait);
        let started = Instant::now();
        purse.reserve(&ONE).await.unwrap().settle(None);
        purse.reserve(&ONE).await.unwrap().settle(Some(ONE));
        assert_eq!(started.elapsed(), Duration::from_mins(1));

        let purse = one_a_minute(Spending::Fail);
        purse.reserve(&ONE).await.unwrap().settle(None);
        let error = purse.reserve(&ONE).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Budget);
        assert!(error.retry_after().is_some());
        let two = Need { requests: 2, ..ONE };
        assert_eq!(purse.reserve(&two).await.unwrap_err().kind(), ErrorKind::Budget);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_dropped_is_given_back() {
        let purse = one_a_minute(Spending::Fail);
        drop(purse.reserve(&ONE).await.unwrap());
        assert!(purse.reserve(&ONE).await.is_ok());
        assert!(Purse::new(&Allowance::default(), Spending::Wait).is_none());
    }
}
