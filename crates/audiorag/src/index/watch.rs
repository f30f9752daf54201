//! Work on a thread of its own that is given up when it shows no sign of life.
//!
//! A thread cannot be ended from outside. The limits of decoding hold wherever a decoder reads or returns something
//! (see `patience` in `audiorag-audio`); one that loops and does neither would keep its source, and with it the run,
//! waiting for ever. So its thread says when it gets on, and is left behind when it does not. It is no thread of the
//! runtime, which would wait for it at the end of the program.

use audiorag_audio::{DecodeOptions, Heartbeat, Limits};
use audiorag_core::model::Media;
use audiorag_core::{Error, Result};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// How many times the longest time without a sample a decoder may go without a sign of life. Its own limits come first
/// and say more; opening a file has several of them, one after the other, where ffmpeg is asked as well.
const PATIENCE: u32 = 5;

/// How long a decoder may go without a sign of life.
pub(super) fn limit(limits: &Limits) -> Duration {
    Duration::from_millis(limits.max_stall.as_millis()).saturating_mul(PATIENCE)
}

/// The error of a recording whose decoder was left behind.
pub(super) fn hung(path: &Path, limit: Duration) -> Error {
    let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
    Error::input(format!(
        "{} could not be decoded: its decoder hung, and was given up after {} s",
        name.escape_debug(),
        limit.as_secs()
    ))
    .with_source(path.display().to_string())
    .with_hint(
        "it is probably damaged; convert it first, for example with: ffmpeg -i INPUT -vn -ac 1 -ar 16000 OUTPUT.flac, \
         or use --isolate-decode, which ends such a decoder",
    )
}

/// Does `work` with the decoder of a recording, and leaves it behind when it hangs.
pub(super) async fn decoding<T: Send + 'static>(
    path: &Path,
    limits: &Limits,
    work: impl FnOnce(&Pulse) -> Result<T> + Send + 'static,
) -> Result<T> {
    let limit = limit(limits);
    let outcome = Working::start("decoder", work)?.end(limit).await;
    outcome.unwrap_or_else(|| Err(hung(path, limit)))
}

/// Reads the headers of a recording.
pub(super) async fn probe(path: &Path, options: &DecodeOptions) -> Result<Media> {
    let (own, options) = (path.to_owned(), options.clone());
    let limits = options.limits;
    decoding(path, &limits, move |_| audiorag_audio::probe_with(&own, &options)).await
}

/// When work last got on; nothing while it waits for others.
#[derive(Clone, Debug)]
pub(super) struct Pulse(Arc<Mutex<Option<Instant>>>);

impl Pulse {
    pub(super) fn new() -> Self {
        Self(Arc::new(Mutex::new(Some(Instant::now()))))
    }

    fn set(&self, since: Option<Instant>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = since;
    }

    /// The work got on.
    pub(super) fn beat(&self) {
        self.set(Some(Instant::now()));
    }

    /// The work waits, which may take any time.
    pub(super) fn rest(&self) {
        self.set(None);
    }

    /// The signs of life of a decoder as those of this work.
    pub(super) fn of_decoder(&self) -> Heartbeat {
        let own = self.clone();
        Arc::new(move || own.beat())
    }

    /// Resolves when the work has not got on for so long.
    pub(super) async fn stopped(&self, limit: Duration) {
        loop {
            let since = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let silent = since.map_or(Duration::ZERO, |since| since.elapsed());
            if silent >= limit {
                return;
            }
            tokio::time::sleep(limit.saturating_sub(silent)).await;
        }
    }
}

/// A thread that works and may be left behind.
pub(super) struct Working<T> {
    pulse: Pulse,
    outcome: oneshot::Receiver<Result<T>>,
}

impl<T: Send + 'static> Working<T> {
    /// Starts a thread of this name.
    ///
    /// # Errors
    /// [`Internal`](audiorag_core::ErrorKind::Internal) when the system gives no thread.
    pub(super) fn start(name: &str, work: impl FnOnce(&Pulse) -> Result<T> + Send + 'static) -> Result<Self> {
        let (sender, outcome) = oneshot::channel();
        let pulse = Pulse::new();
        let own = pulse.clone();
        let span = tracing::Span::current();
        std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                let result = catch_unwind(AssertUnwindSafe(|| span.in_scope(|| work(&own))));
                let result = result.unwrap_or_else(|_| Err(Error::internal("a background task panicked")));
                // Nobody may be waiting any more.
                let _ = sender.send(result);
            })
            .map_err(|cause| Error::internal("no thread could be started").with_cause(cause))?;
        Ok(Self { pulse, outcome })
    }

    /// Its signs of life.
    pub(super) fn pulse(&self) -> Pulse {
        self.pulse.clone()
    }

    /// What came of it; nothing when it shows no sign of life for `limit`, and then it is left behind.
    pub(super) async fn end(self, limit: Duration) -> Option<Result<T>> {
        tokio::select! {
            biased;
            outcome = self.outcome => {
                Some(outcome.unwrap_or_else(|_| Err(Error::internal("a background task ended without a word"))))
            }
            () = self.pulse.stopped(limit) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use audiorag_core::ErrorKind;
    use std::sync::atomic::{AtomicBool, Ordering};

    const SHORT: Duration = Duration::from_millis(50);

    #[tokio::test]
    async fn work_that_loops_is_left_behind_and_other_work_goes_on() {
        let is_enough = Arc::new(AtomicBool::new(false));
        let stop = is_enough.clone();
        let looping = Working::start("looping", move |_| {
            // Reads nothing and returns nothing, as a broken decoder.
            while !stop.load(Ordering::Relaxed) {
                std::hint::spin_loop();
            }
            Ok(())
        })
        .unwrap();
        let other = Working::start("other", |_| Ok(7)).unwrap();
        assert!(looping.end(SHORT).await.is_none());
        assert_eq!(other.end(Duration::from_hours(1)).await.unwrap().unwrap(), 7);
        is_enough.store(true, Ordering::Relaxed);
    }

    #[tokio::test]
    async fn a_decoder_that_loops_fails_its_recording() {
        let limits = Limits {
            max_stall: audiorag_core::MediaTime::from_millis(10),
            ..Limits::default()
        };
        let is_enough = Arc::new(AtomicBool::new(false));
        let stop = is_enough.clone();
        let looping = decoding(Path::new("/a/talk.mp3"), &limits, move |_| {
            while !stop.load(Ordering::Relaxed) {
                std::hint::spin_loop();
            }
            Ok(())
        });
        let error = looping.await.unwrap_err();
        is_enough.store(true, Ordering::Relaxed);
        assert_eq!(error.kind(), ErrorKind::Input);
        assert!(
            error.message().starts_with("talk.mp3 could not be decoded"),
            "{error}"
        );
        assert!(error.hint().is_some());
    }

    #[tokio::test]
    async fn work_that_gets_on_or_waits_is_not_given_up() {
        let work = Working::start("slow", |pulse| {
            for _ in 0..40 {
                pulse.beat();
                std::thread::sleep(Duration::from_millis(50));
            }
            pulse.rest();
            std::thread::sleep(Duration::from_millis(1300));
            Ok("done")
        })
        .unwrap();
        assert_eq!(work.end(Duration::from_secs(1)).await.unwrap().unwrap(), "done");
    }

    #[tokio::test]
    async fn a_panic_is_an_error() {
        let work: Working<()> = Working::start("broken", |_| panic!("index out of range")).unwrap();
        let error = work.end(Duration::from_hours(1)).await.unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Internal);
    }
}
