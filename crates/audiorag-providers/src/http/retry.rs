//! The retry loop for downloads.

use audiorag_core::Result;
use audiorag_core::retry::RetryPolicy;

/// Runs `operation` until it succeeds, fails for good, or `policy` gives up; sleeps on tokio's clock.
///
/// `jitter` gives random numbers from 0 to 1. An error that was retried is marked as persistent and says how
/// often it was tried.
pub async fn with_retries<T>(
    policy: &RetryPolicy,
    mut jitter: impl FnMut() -> f64,
    mut operation: impl AsyncFnMut() -> Result<T>,
) -> Result<T> {
    let mut attempt = 1;
    loop {
        let error = match operation().await {
            Ok(value) => return Ok(value),
            Err(error) => error,
        };
        match policy.wait_after(attempt, &error, jitter()) {
            Some(wait) => {
                tracing::debug!(attempt, wait_ms = wait.as_millis() as u64, error = %error, "trying again");
                tokio::time::sleep(wait).await;
                attempt += 1;
            }
            None if attempt > 1 => return Err(error.with_context("attempts", attempt).into_persistent()),
            None => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use audiorag_core::{Error, ErrorKind};
    use std::time::Duration;

    #[tokio::test(start_paused = true)]
    async fn retries_wait_as_the_policy_says() {
        let started = tokio::time::Instant::now();
        let mut calls = 0;
        let outcome: Result<()> = with_retries(
            &RetryPolicy::default(),
            || 1.0,
            async || {
                calls += 1;
                Err(Error::unavailable("down"))
            },
        )
        .await;
        let error = outcome.unwrap_err();
        assert_eq!(calls, 3);
        assert_eq!(started.elapsed(), Duration::from_millis(500 + 1_000));
        assert!(!error.is_retryable());
        assert_eq!(error.context(), [("attempts", "3".to_owned())]);

        let started = tokio::time::Instant::now();
        let mut calls = 0;
        let outcome =
            with_retries(
                &RetryPolicy::default(),
                || 0.0,
                async || {
                    calls += 1;
                    match calls {
                        1 => Err(Error::new(ErrorKind::RateLimited, "slow")
                            .with_retry_after(Duration::from_secs(7))),
                        _ => Ok(calls),
                    }
                },
            )
            .await;
        assert_eq!(outcome.unwrap(), 2);
        assert_eq!(started.elapsed(), Duration::from_secs(7));
    }

    #[tokio::test(start_paused = true)]
    async fn hopeless_failures_are_tried_once() {
        let mut calls = 0;
        let outcome: Result<()> = with_retries(
            &RetryPolicy::default(),
            || 1.0,
            async || {
                calls += 1;
                Err(Error::not_found("gone"))
            },
        )
        .await;
        assert_eq!(calls, 1);
        assert!(outcome.unwrap_err().context().is_empty());
    }
}
