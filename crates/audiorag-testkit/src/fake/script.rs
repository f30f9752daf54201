//! When a fake fails, how long it takes, and how often it was called.

use super::lock;
use audiorag_core::{Error, ErrorKind, Result};
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;
use tokio::sync::Notify;

/// What a fake does besides its work. Calls are numbered from 1 in the order in which they arrive.
///
/// Delays use tokio's clock, so they cost nothing under `tokio::time::pause`.
#[derive(Debug, Default)]
pub struct Script {
    state: Mutex<State>,
    released: Notify,
}

#[derive(Debug, Default)]
struct State {
    calls: usize,
    succeeded: usize,
    in_flight: usize,
    most_in_flight: usize,
    failures: BTreeMap<usize, ErrorKind>,
    outage: Option<(usize, ErrorKind)>,
    delays: BTreeMap<usize, Duration>,
    delay: Duration,
    held: Option<usize>,
}

impl Script {
    /// Makes call number `nth` fail.
    pub fn fail_nth(&self, nth: usize, kind: ErrorKind) -> &Self {
        lock(&self.state).failures.insert(nth, kind);
        self
    }

    /// Makes every call from now on fail, until [`recover`](Self::recover).
    pub fn go_down(&self, kind: ErrorKind) -> &Self {
        let mut state = lock(&self.state);
        state.outage = Some((state.calls + 1, kind));
        drop(state);
        self
    }

    /// Makes every call from number `nth` on fail, until [`recover`](Self::recover).
    pub fn fail_from(&self, nth: usize, kind: ErrorKind) -> &Self {
        lock(&self.state).outage = Some((nth, kind));
        self
    }

    /// Forgets all failures still to come.
    pub fn recover(&self) -> &Self {
        let mut state = lock(&self.state);
        state.outage = None;
        state.failures.clear();
        drop(state);
        self
    }

    /// Makes every call take `delay`.
    pub fn delay(&self, delay: Duration) -> &Self {
        lock(&self.state).delay = delay;
        self
    }

    /// Makes call number `nth` take `delay`: later calls overtake it.
    pub fn delay_nth(&self, nth: usize, delay: Duration) -> &Self {
        lock(&self.state).delays.insert(nth, delay);
        self
    }

    /// Makes call number `nth` wait for [`release`](Self::release), however long that takes.
    pub fn hold_nth(&self, nth: usize) -> &Self {
        lock(&self.state).held = Some(nth);
        self
    }

    /// Lets the call go on that is held, or will be.
    pub fn release(&self) {
        self.released.notify_one();
    }

    /// Calls that arrived.
    pub fn calls(&self) -> usize {
        lock(&self.state).calls
    }

    /// Calls that were answered, rather than failed or dropped.
    pub fn succeeded(&self) -> usize {
        lock(&self.state).succeeded
    }

    /// Calls running now.
    pub fn in_flight(&self) -> usize {
        lock(&self.state).in_flight
    }

    /// The most calls that ever ran side by side.
    pub fn most_in_flight(&self) -> usize {
        lock(&self.state).most_in_flight
    }

    /// The kind that the next call would fail with because of an outage.
    pub(super) fn outage(&self) -> Option<ErrorKind> {
        let state = lock(&self.state);
        state
            .outage
            .and_then(|(from, kind)| (state.calls + 1 >= from).then_some(kind))
    }

    /// Counts a call, waits its delay, and fails it if told to. Returns its number and a ticket that ends the
    /// call when dropped, also when the caller is cancelled.
    pub(super) async fn enter(&self) -> Result<(usize, Ticket<'_>)> {
        let (number, delay, is_held, failure) = {
            let mut state = lock(&self.state);
            state.calls += 1;
            state.in_flight += 1;
            state.most_in_flight = state.most_in_flight.max(state.in_flight);
            let number = state.calls;
            let outage = state
                .outage
                .and_then(|(from, kind)| (number >= from).then_some(kind));
            let failure = state.failures.get(&number).copied().or(outage);
            (
                number,
                state.delays.get(&number).copied().unwrap_or(state.delay),
                state.held == Some(number),
                failure,
            )
        };
        let ticket = Ticket { script: self };
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        if is_held {
            self.released.notified().await;
        }
        match failure {
            Some(kind) => Err(Error::new(kind, format!("call {number} is scripted to fail"))
                .with_hint("this is a fake: change its script")),
            None => Ok((number, ticket)),
        }
    }
}

/// A running call.
pub(super) struct Ticket<'a> {
    script: &'a Script,
}

impl Ticket<'_> {
    /// Ends the call with an answer.
    pub(super) fn succeed(self) {
        lock(&self.script.state).succeeded += 1;
    }
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        lock(&self.script.state).in_flight -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn calls_fail_wait_and_count_as_told() {
        let script = Script::default();
        script
            .fail_nth(2, ErrorKind::RateLimited)
            .delay(Duration::from_secs(5))
            .delay_nth(1, Duration::from_secs(9));
        let (first, second) = tokio::join!(script.enter(), script.enter());
        assert_eq!(second.err().unwrap().kind(), ErrorKind::RateLimited);
        let (number, ticket) = first.ok().unwrap();
        assert_eq!((number, script.in_flight(), script.most_in_flight()), (1, 1, 2));
        ticket.succeed();
        assert_eq!(
            (script.calls(), script.succeeded(), script.in_flight()),
            (2, 1, 0)
        );

        script.go_down(ErrorKind::Unavailable);
        assert_eq!(script.outage(), Some(ErrorKind::Unavailable));
        assert_eq!(script.enter().await.err().unwrap().kind(), ErrorKind::Unavailable);
        script.recover();
        assert_eq!(script.outage(), None);
        assert!(script.enter().await.is_ok());
        script.fail_from(6, ErrorKind::Timeout);
        assert!(script.enter().await.is_ok());
        assert_eq!(script.enter().await.err().unwrap().kind(), ErrorKind::Timeout);
        assert_eq!(script.in_flight(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_dropped_call_is_over() {
        let script = Script::default();
        script.delay(Duration::from_mins(1));
        assert!(
            tokio::time::timeout(Duration::from_secs(1), script.enter())
                .await
                .is_err()
        );
        assert_eq!(
            (script.calls(), script.succeeded(), script.in_flight()),
            (1, 0, 0)
        );
    }
}
