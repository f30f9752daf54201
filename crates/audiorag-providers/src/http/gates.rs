//! What stands between a call and the network: one set for each service.

use super::breaker::Breaker;
use audiorag_core::{Error, ErrorKind, Result};
use governor::clock::Clock;
use governor::middleware::NoOpMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tower::retry::budget::{Budget as _, TpsBudget};

/// A success pays for this many retries in the next ten seconds.
const RETRIES_PER_SUCCESS: f32 = 0.2;
const RETRIES_PER_SECOND: u32 = 1;
const RETRY_WINDOW: Duration = Duration::from_secs(10);

/// The numbers behind the gates.
#[derive(Clone, Copy, Debug)]
pub(super) struct GateSettings {
    pub(super) max_in_flight: usize,
    pub(super) requests_per_minute: Option<NonZeroU32>,
}

/// Tokio's clock for the limiter, so that tests can hold it.
#[derive(Clone, Debug)]
struct TokioClock(Instant);

impl Clock for TokioClock {
    type Instant = Duration;

    fn now(&self) -> Duration {
        self.0.elapsed()
    }
}

type Limiter = RateLimiter<NotKeyed, InMemoryState, TokioClock, NoOpMiddleware<Duration>>;

/// The gates of one service.
#[derive(Debug)]
pub(super) struct Gates {
    pub(super) breaker: Breaker,
    permits: Arc<Semaphore>,
    limiter: Option<(Limiter, TokioClock)>,
    /// Until when a 429 asked everybody to keep away.
    not_before: Mutex<Option<Instant>>,
    retries: TpsBudget,
}

impl Gates {
    pub(super) fn new(settings: GateSettings) -> Self {
        let limiter = settings.requests_per_minute.map(|rate| {
            let clock = TokioClock(Instant::now());
            // A tenth of a minute's worth at once: a whole minute's worth would meet the vendor's limit at the start.
            let burst = NonZeroU32::new(rate.get() / 10).unwrap_or(NonZeroU32::MIN);
            let quota = Quota::per_minute(rate).allow_burst(burst);
            (RateLimiter::direct_with_clock(quota, clock.clone()), clock)
        });
        Self {
            breaker: Breaker::new(),
            permits: Arc::new(Semaphore::new(settings.max_in_flight.max(1))),
            limiter,
            not_before: Mutex::new(None),
            retries: TpsBudget::new(RETRY_WINDOW, RETRIES_PER_SECOND, RETRIES_PER_SUCCESS),
        }
    }

    /// A permit and a slot of the rate, or an error when neither comes before `deadline`.
    pub(super) async fn pass(&self, deadline: Instant) -> Result<OwnedSemaphorePermit> {
        let permit = tokio::time::timeout_at(deadline, Arc::clone(&self.permits).acquire_owned())
            .await
            .map_err(|_| Error::timeout("no request finished in time to make room for this one"))?
            .map_err(|_| Error::cancelled("the client was shut down"))?;
        while let Some(wait) = self.wait() {
            if Instant::now() + wait > deadline {
                return Err(Error::new(
                    ErrorKind::RateLimited,
                    "the limit on requests leaves no room before the deadline",
                )
                .with_retry_after(wait));
            }
            tokio::time::sleep(wait).await;
        }
        Ok(permit)
    }

    /// How long to wait before asking for a slot again; `None` once it is taken.
    fn wait(&self) -> Option<Duration> {
        let now = Instant::now();
        let held = *self.not_before.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(until) = held.filter(|until| *until > now) {
            return Some(until - now);
        }
        let (limiter, clock) = self.limiter.as_ref()?;
        let refused = limiter.check().err()?;
        // Never zero, or the loop would spin on a clock that stands still.
        Some(refused.wait_time_from(clock.now()).max(Duration::from_millis(1)))
    }

    /// Keeps everybody away from a service that asked for a pause.
    pub(super) fn hold(&self, wait: Duration) {
        let until = Instant::now() + wait;
        let mut held = self.not_before.lock().unwrap_or_else(PoisonError::into_inner);
        if held.is_none_or(|other| other < until) {
            *held = Some(until);
        }
    }

    /// Notes a success, which pays for later retries.
    pub(super) fn earn(&self) {
        self.retries.deposit();
    }

    /// Whether one more retry may be made.
    pub(super) fn spend(&self) -> bool {
        self.retries.withdraw()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gates(max_in_flight: usize, rate: Option<u32>) -> Gates {
        Gates::new(GateSettings {
            max_in_flight,
            requests_per_minute: rate.and_then(NonZeroU32::new),
        })
    }

    #[tokio::test(start_paused = true)]
    async fn the_rate_is_kept_on_tokios_clock() {
        let gates = gates(8, Some(60));
        let started = Instant::now();
        let deadline = started + Duration::from_hours(1);
        for _ in 0..66 {
            drop(gates.pass(deadline).await.unwrap());
        }
        // Six at once, then one a second.
        let elapsed = started.elapsed().as_secs_f64();
        assert!((59.0..61.5).contains(&elapsed), "{elapsed}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_holds_everybody_and_an_early_deadline_is_said() {
        let gates = gates(8, None);
        let started = Instant::now();
        gates.hold(Duration::from_secs(7));
        gates.hold(Duration::from_secs(3));
        let error = gates.pass(started + Duration::from_secs(5)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::RateLimited);
        assert_eq!(error.retry_after(), Some(Duration::from_secs(7)));
        drop(gates.pass(started + Duration::from_mins(1)).await.unwrap());
        assert_eq!(started.elapsed(), Duration::from_secs(7));
    }

    #[tokio::test(start_paused = true)]
    async fn permits_bound_what_is_in_flight() {
        let gates = gates(1, None);
        let deadline = Instant::now() + Duration::from_secs(1);
        let permit = gates.pass(deadline).await.unwrap();
        assert_eq!(gates.pass(deadline).await.unwrap_err().kind(), ErrorKind::Timeout);
        drop(permit);
        assert!(gates.pass(Instant::now()).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn retries_are_paid_for_by_successes() {
        let gates = gates(1, None);
        let without = (0..1_000).filter(|_| gates.spend()).count();
        assert!(without <= 10, "{without}");
        for _ in 0..1_000 {
            gates.earn();
        }
        let with = (0..1_000).filter(|_| gates.spend()).count();
        assert!((150..=210).contains(&with), "{with}");
    }
}
