//! A circuit breaker: after several failures in a row a service is left alone for a while, then tried with one call.
//!
//! failsafe decides when to open and for how long. The states are kept here, because failsafe's own state machine
//! lets every waiting call through once it half opens, and lives on a clock that tests cannot hold.

use failsafe::backoff::{EqualJittered, equal_jittered};
use failsafe::failure_policy::{ConsecutiveFailures, FailurePolicy as _, consecutive_failures};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// Failures in a row after which the service counts as down.
const FAILURES: u32 = 5;
const SHORTEST: Duration = Duration::from_secs(5);
const LONGEST: Duration = Duration::from_mins(1);
/// How long to wait while somebody else's probe is out.
const PROBING: Duration = Duration::from_millis(250);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Closed,
    Open(Instant),
    /// One call is out to see whether the service is back.
    Probing,
}

struct Inner {
    state: State,
    policy: ConsecutiveFailures<EqualJittered>,
}

/// The breaker of one service.
pub(super) struct Breaker {
    inner: Mutex<Inner>,
}

impl std::fmt::Debug for Breaker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Breaker").finish_non_exhaustive()
    }
}

/// Leave to make one call. Dropped without a verdict it says nothing about the service.
#[derive(Debug)]
pub(super) struct Passage<'a> {
    breaker: &'a Breaker,
    probe: bool,
    settled: bool,
}

impl Breaker {
    pub(super) fn new() -> Self {
        Self {
            inner: Mutex::new(Inner {
                state: State::Closed,
                policy: consecutive_failures(FAILURES, equal_jittered(SHORTEST, LONGEST)),
            }),
        }
    }

    /// How long to wait before [`enter`](Self::enter) can succeed; `None` when it can.
    pub(super) fn peek(&self) -> Option<Duration> {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        match inner.state {
            State::Closed => None,
            State::Open(until) => until
                .checked_duration_since(Instant::now())
                .filter(|wait| !wait.is_zero()),
            State::Probing => Some(PROBING),
        }
    }

    /// Leave to make a call, or how long to wait before asking again.
    pub(super) fn enter(&self) -> Result<Passage<'_>, Duration> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let probe = match inner.state {
            State::Closed => false,
            State::Open(until) if until > now => return Err(until - now),
            State::Open(_) => {
                inner.state = State::Probing;
                true
            }
            State::Probing => return Err(PROBING),
        };
        Ok(Passage {
            breaker: self,
            probe,
            settled: false,
        })
    }
}

impl Passage<'_> {
    /// The service answered, whatever it answered.
    pub(super) fn alive(mut self) {
        self.settled = true;
        let mut inner = self.breaker.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if self.probe {
            inner.policy.revived();
            inner.state = State::Closed;
        } else if inner.state == State::Closed {
            inner.policy.record_success();
        }
    }

    /// The service was out of reach, out of order or out of its mind.
    pub(super) fn sick(mut self) {
        self.settled = true;
        let mut inner = self.breaker.inner.lock().unwrap_or_else(PoisonError::into_inner);
        // Calls that left before the breaker opened say nothing new.
        if self.probe || inner.state == State::Closed {
            match inner.policy.mark_dead_on_failure() {
                Some(rest) => inner.state = State::Open(Instant::now() + rest),
                None if self.probe => inner.state = State::Open(Instant::now() + SHORTEST),
                None => {}
            }
        }
    }
}

impl Drop for Passage<'_> {
    fn drop(&mut self) {
        if self.probe && !self.settled {
            // The probe was cancelled: the next one may try at once.
            let mut inner = self.breaker.inner.lock().unwrap_or_else(PoisonError::into_inner);
            inner.state = State::Open(Instant::now());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(breaker: &Breaker) -> Duration {
        for _ in 0..FAILURES {
            breaker.enter().unwrap().sick();
        }
        breaker.enter().unwrap_err()
    }

    #[tokio::test(start_paused = true)]
    async fn it_opens_lets_one_probe_through_and_closes_again() {
        let breaker = Breaker::new();
        let rest = open(&breaker);
        assert!(rest <= SHORTEST * 2, "{rest:?}");
        tokio::time::advance(rest + Duration::from_millis(1)).await;
        let probe = breaker.enter().unwrap();
        assert_eq!(breaker.enter().unwrap_err(), PROBING);
        probe.alive();
        let first = breaker.enter().unwrap();
        let second = breaker.enter().unwrap();
        first.alive();
        second.alive();
    }

    #[tokio::test(start_paused = true)]
    async fn a_failed_probe_opens_it_again_and_a_cancelled_one_does_not_block() {
        let breaker = Breaker::new();
        let rest = open(&breaker);
        tokio::time::advance(rest + Duration::from_millis(1)).await;
        breaker.enter().unwrap().sick();
        let rest = breaker.enter().unwrap_err();
        assert!(rest > PROBING && rest <= LONGEST, "{rest:?}");
        tokio::time::advance(rest + Duration::from_millis(1)).await;
        drop(breaker.enter().unwrap());
        breaker.enter().unwrap().alive();
        assert!(breaker.enter().is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn one_success_forgets_the_failures_before_it() {
        let breaker = Breaker::new();
        for _ in 0..3 {
            for _ in 0..FAILURES - 1 {
                breaker.enter().unwrap().sick();
            }
            breaker.enter().unwrap().alive();
        }
        assert!(breaker.enter().is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn failures_that_were_under_way_when_it_opened_change_nothing() {
        let breaker = Breaker::new();
        let late: Vec<_> = (0..20).map(|_| breaker.enter().unwrap()).collect();
        let rest = open(&breaker);
        for passage in late {
            passage.sick();
        }
        assert!(breaker.enter().unwrap_err() <= rest);
    }
}
