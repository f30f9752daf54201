//! Paying for calls: a place in the journal, which is a reservation from the budget, and its end.

use super::run::Run;
use crate::operation;
use crate::prices::Prices;
use audiorag_core::budget::{Amounts, Limits, Purpose, Shortage};
use audiorag_core::capability::{ProviderInfo, Usage};
use audiorag_core::id::SourceId;
use audiorag_core::{Attempts, Error, ErrorKind, MediaTime, Money, Result};
use audiorag_state::{CallEnd, CallId, NewCall, Opening, Owner, Settlement, State};
use std::sync::Arc;
use std::time::Duration;
use tracing::Instrument as _;

/// The longest that a question waits for the budget: somebody sits in front of it.
const PATIENCE_OF_A_QUERY: Duration = Duration::from_secs(20);
/// The longest nap before the budget is looked at again: another process may have settled for less.
const LONGEST_NAP: Duration = Duration::from_secs(10);

/// What happens when the budget is used up for now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Spending {
    /// The call waits until enough is free, at most this long.
    Wait(Duration),
    /// The call fails.
    Fail,
}

/// What calls are paid from: the journal and the budget of the database.
pub(crate) struct Purse {
    pub(crate) state: State,
    pub(crate) limits: Limits,
    pub(crate) spending: Spending,
    pub(crate) prices: Prices,
    pub(crate) owner: Owner,
}

impl std::fmt::Debug for Purse {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Purse")
            .field("limits", &self.limits)
            .field("spending", &self.spending)
            .finish_non_exhaustive()
    }
}

/// A call that is to be paid for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Order<'a> {
    pub(crate) capability: &'static str,
    pub(crate) purpose: Purpose,
    pub(crate) source: Option<&'a SourceId>,
    pub(crate) expected: Usage,
}

/// An open call. Dropped without an end it is lost: nobody will learn whether it was billed.
#[derive(Debug)]
pub(crate) struct Bill {
    purse: Arc<Purse>,
    run: Run,
    info: ProviderInfo,
    call: CallId,
    expected: Amounts,
    is_open: bool,
    is_sent: bool,
}

impl Purse {
    /// A purse over the journal of `state`.
    pub(crate) fn new(state: State, limits: Limits, spending: Spending, prices: Prices) -> Arc<Self> {
        Arc::new(Self {
            state,
            limits,
            spending,
            prices,
            owner: operation::this_process(),
        })
    }

    /// Writes a call down and sets aside what it may need, waiting for it where the policy says so. A call for a
    /// question that cannot be written down has no bill.
    ///
    /// # Errors
    /// [`Budget`](ErrorKind::Budget) when the budget or the cap of the run has no room, and failures of the database.
    pub(crate) async fn open(
        self: &Arc<Self>,
        run: &Run,
        info: &ProviderInfo,
        order: Order<'_>,
    ) -> Result<Option<Bill>> {
        let expected = Amounts {
            usage: order.expected,
            cost: self.prices.cost(info, &order.expected),
        };
        let call = NewCall {
            operation: run.operation.clone(),
            purpose: order.purpose,
            capability: order.capability,
            provider: info.vendor.clone(),
            model: info.model.clone(),
            source: order.source.cloned(),
            owner: self.owner.clone(),
            expected,
        };
        let reserved = expected.cost.unwrap_or_default();
        let started = tokio::time::Instant::now();
        loop {
            run.reserve(reserved)?;
            let opening = self.write_down(run, info, &call).await;
            if !matches!(opening, Ok(Ok(_))) {
                run.give_back(reserved);
            }
            match opening {
                // Somebody waits for an answer, and the disk is full or the database is locked: the call is made and
                // not recorded.
                Err(error) if order.purpose == Purpose::Query => {
                    tracing::warn!(error = %error.report(), "a call could not be recorded");
                    return Ok(None);
                }
                Err(error) => return Err(error),
                Ok(Ok(bill)) => return Ok(Some(bill)),
                Ok(Err(shortage)) => {
                    let nap = self.nap(shortage, order.purpose, started.elapsed())?;
                    tokio::time::sleep(nap).await;
                }
            }
        }
    }

    /// Writes a call down, if the budget has room. A task of its own does it: whoever waits may be dropped at the very
    /// moment when the row is there and its bill is not, and then nobody would close the call.
    async fn write_down(
        self: &Arc<Self>,
        run: &Run,
        info: &ProviderInfo,
        call: &NewCall,
    ) -> Result<std::result::Result<Bill, Shortage>> {
        let (purse, run, info, call) = (Arc::clone(self), run.clone(), info.clone(), call.clone());
        let writing = async move {
            Ok(match purse.state.open_call(&call, &purse.limits).await? {
                Opening::Short(shortage) => Err(shortage),
                Opening::Opened(id) => Ok(Bill {
                    run,
                    info,
                    call: id,
                    expected: call.expected,
                    is_open: true,
                    is_sent: false,
                    purse,
                }),
            })
        };
        match tokio::spawn(writing.in_current_span()).await {
            Ok(outcome) => outcome,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_) => Err(Error::cancelled("the runtime is shutting down")),
            },
        }
    }

    /// How long to wait before the budget is asked again.
    fn nap(&self, shortage: Shortage, purpose: Purpose, waited: Duration) -> Result<Duration> {
        let (what, wait) = match shortage {
            Shortage::Later { what, wait } => (what, wait),
            Shortage::Never { what } => {
                return Err(Error::new(
                    ErrorKind::Budget,
                    format!("a single call needs more than the budget of {what}"),
                )
                .with_hint("raise the limit under [budget]"));
            }
        };
        let patience = match (self.spending, purpose) {
            (Spending::Fail, _) => Duration::ZERO,
            (Spending::Wait(longest), Purpose::Query) => longest.min(PATIENCE_OF_A_QUERY),
            (Spending::Wait(longest), Purpose::Index) => longest,
        };
        if waited.saturating_add(wait) > patience {
            return Err(Error::new(
                ErrorKind::Budget,
                format!("the budget of {what} is used up for the next {}", words(wait)),
            )
            .with_retry_after(wait)
            .with_hint(
                "what is done is kept: run the same command again then, raise the limit under [budget], or let \
                 calls wait with budget.policy and budget.max_wait_seconds",
            ));
        }
        tracing::info!(what, wait_ms = wait.as_millis() as u64, "waiting for the budget");
        Ok(wait.clamp(Duration::from_millis(10), LONGEST_NAP))
    }
}

/// A wait in words.
fn words(wait: Duration) -> String {
    match wait.as_secs() {
        0..120 => format!("{} s", wait.as_secs().max(1)),
        seconds @ 120..7200 => format!("{} min", seconds.div_ceil(60)),
        seconds => format!("{} h", seconds.div_ceil(3600)),
    }
}

impl Bill {
    /// The call is sent now: from here on it may be billed.
    pub(crate) fn send(&mut self) {
        self.is_sent = true;
    }

    /// The end of the call, to be stored together with what it returned. [`close`](Self::close) it then.
    pub(crate) fn settlement(&self, usage: &Usage) -> Settlement {
        Settlement {
            call: self.call,
            end: CallEnd::Done(self.amounts(usage)),
        }
    }

    /// The call was settled with `usage` by whoever stored its result.
    pub(crate) fn close(self, usage: &Usage) {
        let used = self.amounts(usage);
        self.pay(used.cost);
    }

    /// What the answer says was used, and what was expected once more for each request of which nobody knows whether
    /// it was billed.
    fn amounts(&self, usage: &Usage) -> Amounts {
        let answered = Usage {
            requests: usage.requests.saturating_sub(usage.unknown),
            unknown: 0,
            ..*usage
        };
        let cost = self.purse.prices.cost(&self.info, &answered);
        let mut amounts = self.and_expected(
            Amounts {
                usage: answered,
                cost,
            },
            usage.unknown,
        );
        amounts.usage.requests = usage.requests;
        amounts
    }

    /// `amounts`, and what was expected of the call `times` over. The requests stay as they are.
    fn and_expected(&self, amounts: Amounts, times: u32) -> Amounts {
        if times == 0 {
            return amounts;
        }
        let each = &self.expected.usage;
        let (used, often) = (amounts.usage, u64::from(times));
        let more = |used: u64, each: u64| used.saturating_add(each.saturating_mul(often));
        let cost = amounts
            .cost
            .zip(self.expected.cost)
            .map(|(cost, each)| Money::from_nanos(more(cost.as_nanos(), each.as_nanos())));
        Amounts {
            usage: Usage {
                audio: MediaTime::from_millis(more(used.audio.as_millis(), each.audio.as_millis())),
                input_tokens: more(used.input_tokens, each.input_tokens),
                output_tokens: more(used.output_tokens, each.output_tokens),
                ..used
            },
            cost,
        }
    }

    fn pay(mut self, cost: Option<Money>) {
        self.is_open = false;
        let reserved = self.expected.cost.unwrap_or_default();
        self.run.settle(reserved, cost.unwrap_or_default());
    }

    /// The call was answered; `usage` is what it used, or as much as expected where that is unknown.
    ///
    /// That it cannot be written down is no reason to throw away an answer: it is told in the log.
    pub(crate) async fn done(self, usage: Option<&Usage>) {
        let used = usage.map_or(self.expected, |usage| self.amounts(usage));
        record(&self.purse.state, self.call, CallEnd::Done(used)).await;
        self.pay(used.cost);
    }

    /// The call failed. What never arrived or was refused is free; of the rest nobody knows.
    pub(crate) async fn failed(self, error: &Error) {
        let attempts = error.attempts().unwrap_or_else(|| attempts_of(error.kind()));
        let (end, cost) = if attempts.may_have_been_billed() {
            let sent = Amounts {
                usage: Usage {
                    requests: attempts.requests,
                    ..Usage::default()
                },
                cost: Some(Money::ZERO),
            };
            let most = self.and_expected(sent, attempts.unknown);
            (CallEnd::LostAtMost(most), most.cost)
        } else {
            let requests = attempts.requests;
            (CallEnd::Failed { requests }, None)
        };
        record(&self.purse.state, self.call, end).await;
        self.pay(cost);
    }
}

/// What a failure says about the requests of its call where the provider does not: one was made, and a refusal is free.
fn attempts_of(kind: ErrorKind) -> Attempts {
    let is_unknown = matches!(
        kind,
        ErrorKind::Timeout | ErrorKind::Protocol | ErrorKind::Internal | ErrorKind::Cancelled
    );
    Attempts {
        requests: 1,
        unknown: u32::from(is_unknown),
    }
}

async fn record(state: &State, call: CallId, end: CallEnd) {
    if let Err(error) = state.settle_call(Settlement { call, end }).await {
        tracing::warn!(error = %error.report(), "the end of a call could not be recorded");
    }
}

impl Drop for Bill {
    fn drop(&mut self) {
        if !self.is_open {
            return;
        }
        // Where there is no runtime any more, the next run finds the call without a living owner.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let (state, call) = (self.purse.state.clone(), self.call);
            let end = if self.is_sent {
                CallEnd::Lost
            } else {
                self.run.give_back(self.expected.cost.unwrap_or_default());
                CallEnd::Failed { requests: 0 }
            };
            runtime.spawn(async move { record(&state, call, end).await });
        }
    }
}

#[cfg(test)]
mod tests;
