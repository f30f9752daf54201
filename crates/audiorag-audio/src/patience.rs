//! The file as a decoder sees it, and how long decoding may go on without a result.
//!
//! A thread cannot be killed, so this is the most that can be done inside a process: whatever loops in a decoder,
//! it reads input or returns packets, and both places ask here whether to go on. A loop that does neither is
//! stopped by [`Isolation`](crate::Isolation) alone.

use crate::chapters::Patch;
use std::io::{self, Read, Seek, SeekFrom};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use symphonia::core::io::MediaSource;

/// Bytes a decoder gets through in a second, whatever the machine and its load.
const SLOWEST_BYTES: u64 = 100_000;

/// Counts the time that is spent inside the decoder; what the caller does in between is not counted.
#[derive(Clone, Debug)]
pub(crate) struct Patience {
    state: Arc<Mutex<State>>,
    /// Longest time without a sample.
    stall: Duration,
    /// Longest time for everything.
    whole: Duration,
}

#[derive(Debug, Default)]
struct State {
    running_since: Option<Instant>,
    /// Time spent since the last sample.
    barren: Duration,
    total: Duration,
    is_over: bool,
}

impl Patience {
    /// For a file of `bytes`: what a very slow machine needs for them, and `stall` on top.
    pub(crate) fn new(stall: Duration, bytes: u64) -> Self {
        Self {
            state: Arc::default(),
            stall,
            whole: stall.saturating_add(Duration::from_secs(bytes / SLOWEST_BYTES)),
        }
    }

    fn with<T>(&self, action: impl FnOnce(&mut State) -> T) -> T {
        action(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Starts counting and returns what stops it.
    pub(crate) fn count(&self) -> Counting<'_> {
        self.with(|state| state.running_since = Some(Instant::now()));
        Counting(self)
    }

    /// Samples of this length came out, and their time is given back: a recording may pack hours into few bytes.
    pub(crate) fn reward(&self, samples: Duration) {
        self.with(|state| {
            if let Some(since) = state.running_since {
                state.total += since.elapsed();
                state.running_since = Some(Instant::now());
            }
            state.total = state.total.saturating_sub(samples);
            state.barren = Duration::ZERO;
        });
    }

    /// Whether the time is up.
    pub(crate) fn is_over(&self) -> bool {
        self.with(|state| {
            let running = state
                .running_since
                .map_or(Duration::ZERO, |since| since.elapsed());
            state.is_over |= state.barren + running > self.stall || state.total + running > self.whole;
            state.is_over
        })
    }
}

/// Time is counted as long as this lives.
pub(crate) struct Counting<'a>(&'a Patience);

impl Drop for Counting<'_> {
    fn drop(&mut self) {
        self.0.with(|state| {
            if let Some(since) = state.running_since.take() {
                let spent = since.elapsed();
                state.barren += spent;
                state.total += spent;
            }
        });
    }
}

/// A file that cannot be read any more once the time is up.
pub(crate) struct Watched<F> {
    file: F,
    patience: Patience,
    length: Option<u64>,
    is_seekable: bool,
    position: u64,
    patch: Option<Patch>,
}

impl<F> Watched<F> {
    /// `length` of `None`: a stream that does not say where it ends and is read from start to end.
    /// The file stands at its start.
    pub(crate) fn new(file: F, patience: Patience, length: Option<u64>, patch: Option<Patch>) -> Self {
        Self {
            file,
            patience,
            is_seekable: length.is_some(),
            length,
            position: 0,
            patch,
        }
    }

    pub(crate) fn patience(&self) -> &Patience {
        &self.patience
    }

    fn check(&self) -> io::Result<()> {
        if self.patience.is_over() {
            return Err(io::Error::new(
                io::ErrorKind::TimedOut,
                "the decoder took too long",
            ));
        }
        Ok(())
    }
}

impl<F: Read> Read for Watched<F> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.check()?;
        let count = self.file.read(buffer)?;
        if let (Some(patch), Some(read)) = (&self.patch, buffer.get_mut(..count)) {
            patch.apply(self.position, read);
        }
        self.position += count as u64;
        Ok(count)
    }
}

impl<F: Seek> Seek for Watched<F> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.check()?;
        if !self.is_seekable {
            return Err(io::Error::new(io::ErrorKind::Unsupported, "a stream cannot seek"));
        }
        self.position = self.file.seek(to)?;
        Ok(self.position)
    }
}

impl<F: Read + Seek + Send + Sync> MediaSource for Watched<F> {
    fn is_seekable(&self) -> bool {
        self.is_seekable
    }

    fn byte_len(&self) -> Option<u64> {
        self.length
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    #[test]
    fn time_is_up_only_while_the_decoder_works() {
        let patience = Patience::new(Duration::ZERO, 0);
        assert!(!patience.is_over());
        {
            let _counting = patience.count();
            // The clock may be coarse.
            while !patience.is_over() {
                std::hint::spin_loop();
            }
        }
        // Once over, it stays so, even when samples come at last.
        patience.reward(Duration::from_secs(1));
        assert!(patience.is_over());
        let mut watched = Watched::new(Cursor::new(vec![1, 2, 3]), patience, Some(3), None);
        assert_eq!(
            watched.read(&mut [0; 2]).unwrap_err().kind(),
            io::ErrorKind::TimedOut
        );
        assert_eq!(
            watched.seek(SeekFrom::Start(0)).unwrap_err().kind(),
            io::ErrorKind::TimedOut
        );
    }

    #[test]
    fn a_patient_reader_reads_everything() {
        let patience = Patience::new(Duration::from_hours(1), 3);
        let mut watched = Watched::new(Cursor::new(vec![1, 2, 3]), patience, None, None);
        assert!(!watched.is_seekable() && watched.byte_len().is_none());
        assert!(watched.seek(SeekFrom::Start(0)).is_err());
        let mut all = Vec::new();
        assert_eq!(watched.read_to_end(&mut all).unwrap(), 3);
    }
}
