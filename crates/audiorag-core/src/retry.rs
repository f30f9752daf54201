//! The retry schedule, as arithmetic: no clock, no sleeping, no randomness of its own.

use crate::Error;
use std::time::Duration;

/// When to try again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Attempts in all, the first included.
    pub max_attempts: u32,
    /// The longest wait before the second attempt.
    pub first_wait: Duration,
    /// The longest wait before any attempt.
    pub max_wait: Duration,
    /// A server that asks for more than this is not waited for.
    pub max_retry_after: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            max_attempts: 3,
            first_wait: Duration::from_millis(500),
            max_wait: Duration::from_secs(30),
            max_retry_after: Duration::from_mins(2),
        }
    }
}

impl RetryPolicy {
    /// How long to wait before attempt number `attempt + 1`, or `None` to give up.
    ///
    /// `attempt` counts from 1 and names the one that just failed; `jitter` is a random number from 0 to 1.
    /// Without a word from the server the wait is full jitter: uniform between zero and the exponential cap.
    /// A server's own delay is obeyed exactly, plus up to a tenth.
    pub fn wait_after(&self, attempt: u32, error: &Error, jitter: f64) -> Option<Duration> {
        if !error.is_retryable() {
            return None;
        }
        self.wait(attempt, error.retry_after(), jitter)
    }

    /// [`wait_after`](Self::wait_after) for a failure that is worth another attempt whatever its kind, because the
    /// server said so; `asked` is the delay it asked for.
    pub fn wait(&self, attempt: u32, asked: Option<Duration>, jitter: f64) -> Option<Duration> {
        if attempt >= self.max_attempts {
            return None;
        }
        let jitter = jitter.clamp(0.0, 1.0);
        if let Some(asked) = asked {
            return (asked <= self.max_retry_after).then(|| asked.mul_f64(1.0 + 0.1 * jitter));
        }
        let doubled = self
            .first_wait
            .saturating_mul(1_u32.checked_shl(attempt - 1).unwrap_or(u32::MAX));
        Some(doubled.min(self.max_wait).mul_f64(jitter))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_server_that_asks_for_hours_is_not_waited_for() {
        let policy = RetryPolicy::default();
        let patient = Error::unavailable("x").with_retry_after(Duration::from_hours(3));
        assert_eq!(policy.wait_after(1, &patient, 0.5), None);
        let brief = Error::unavailable("x").with_retry_after(Duration::from_secs(2));
        assert_eq!(policy.wait_after(1, &brief, 0.0), Some(Duration::from_secs(2)));
    }

    #[test]
    fn hopeless_failures_are_not_retried() {
        assert_eq!(
            RetryPolicy::default().wait_after(1, &Error::input("bad"), 0.5),
            None
        );
        assert_eq!(
            RetryPolicy::default().wait_after(3, &Error::timeout("slow"), 0.5),
            None
        );
    }

    proptest! {
        #[test]
        fn waits_stay_inside_the_cap(attempt in 1u32..80, jitter in 0.0f64..=1.0) {
            let policy = RetryPolicy { max_attempts: 100, ..RetryPolicy::default() };
            let wait = policy.wait_after(attempt, &Error::timeout("slow"), jitter).unwrap();
            prop_assert!(wait <= policy.max_wait);
        }
    }
}
