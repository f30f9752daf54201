//! The file as a decoder sees it, and how long decoding may go on without a result.
//!
//! A thread cannot be killed, so this is the most that can be done inside a process: whatever loops in a decoder,
//! it reads input or returns packets, and both places ask here whether to go on. A loop that does neither is
//! stopped by [`Isolation`](crate::Isolation) alone.
//!
//! What a decoder keeps it has read before, so the bytes that it may read for one thing, its headers or one packet, bound
//! its memory, whatever a hostile file says of the size of a tag or a packet.

use crate::chapters::Patch;
use std::io::{self, Read, Seek, SeekFrom};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use symphonia::core::io::MediaSource;

/// Bytes a decoder gets through in a second, whatever the machine and its load.
const SLOWEST_BYTES: u64 = 100_000;

/// The most bytes that may be read for the headers or for one packet. The tables of a film of a day have less.
const MAX_READ: u64 = 128 << 20;

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
    /// Bytes read since the counting began.
    read: u64,
    is_greedy: bool,
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
        self.with(|state| {
            state.running_since = Some(Instant::now());
            state.read = 0;
        });
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

    /// Bytes were read.
    fn took(&self, bytes: usize) {
        self.with(|state| {
            state.read = state.read.saturating_add(bytes as u64);
            state.is_greedy |= state.read > MAX_READ;
        });
    }

    /// Whether more was read at once than any recording has in one piece.
    pub(crate) fn is_greedy(&self) -> bool {
        self.with(|state| state.is_greedy)
    }

    /// Bytes read since the counting began last.
    #[cfg(test)]
    pub(crate) fn bytes_read(&self) -> u64 {
        self.with(|state| state.read)
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
    patches: Vec<Patch>,
}

impl<F> Watched<F> {
    /// No more than `length` is read; `None`: a stream that does not say where it ends and is read from start to end.
    /// The file stands at its start.
    pub(crate) fn new(file: F, patience: Patience, length: Option<u64>, patches: Vec<Patch>) -> Self {
        Self {
            file,
            patience,
            is_seekable: length.is_some(),
            length,
            position: 0,
            patches,
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
        if self.patience.is_greedy() {
            return Err(io::Error::new(
                io::ErrorKind::FileTooLarge,
                "the decoder read too much at once",
            ));
        }
        Ok(())
    }
}

impl<F: Read> Read for Watched<F> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.check()?;
        let left = self
            .length
            .map_or(u64::MAX, |length| length.saturating_sub(self.position));
        let most = usize::try_from(left).map_or(buffer.len(), |left| left.min(buffer.len()));
        let count = self.file.read(buffer.get_mut(..most).unwrap_or_default())?;
        self.patience.took(count);
        if let Some(read) = buffer.get_mut(..count) {
            for patch in &self.patches {
                patch.apply(self.position, read);
            }
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
        let mut watched = Watched::new(Cursor::new(vec![1, 2, 3]), patience, Some(3), Vec::new());
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
        let mut watched = Watched::new(Cursor::new(vec![1, 2, 3]), patience, None, Vec::new());
        assert!(!watched.is_seekable() && watched.byte_len().is_none());
        assert!(watched.seek(SeekFrom::Start(0)).is_err());
        let mut all = Vec::new();
        assert_eq!(watched.read_to_end(&mut all).unwrap(), 3);
    }

    #[test]
    fn no_more_is_read_at_once_than_a_recording_has_in_one_piece() {
        let patience = Patience::new(Duration::from_hours(1), 3);
        let mut watched = Watched::new(io::repeat(7), patience.clone(), None, Vec::new());
        let mut block = vec![0; 1 << 20];
        for _ in 0..2 {
            // Every packet has as much again.
            let _counting = patience.count();
            for _ in 0..MAX_READ >> 20 {
                watched.read_exact(&mut block).unwrap();
            }
        }
        assert!(!patience.is_greedy());
        watched.read_exact(&mut block).unwrap();
        assert!(patience.is_greedy());
        assert_eq!(
            watched.read(&mut block).unwrap_err().kind(),
            io::ErrorKind::FileTooLarge
        );
    }
}
