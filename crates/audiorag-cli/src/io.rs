//! The program's streams and signals, replaceable so that tests run it inside their own process.

use crate::exit::ExitStatus;
use audiorag::Providers;
use std::io::{self, IsTerminal as _, Read, Write};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio_util::sync::CancellationToken;

/// Where the program reads and writes.
pub struct Io {
    /// Standard input.
    pub stdin: Box<dyn Read + Send>,
    /// Standard output.
    pub stdout: Box<dyn Write + Send>,
    /// Standard error.
    pub stderr: Box<dyn Write + Send>,
    /// Which of them are terminals.
    pub terminals: Terminals,
    /// Tells that the program is to end.
    pub interrupt: Interrupt,
    /// Providers in place of the configured ones, for programs that embed the command line.
    pub providers: Providers,
    /// Whether log messages of all threads belong to this run. Otherwise those of the calling task do.
    pub owns_process: bool,
}

/// Which streams are terminals.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Terminals {
    /// Standard input.
    pub stdin: bool,
    /// Standard output.
    pub stdout: bool,
    /// Standard error.
    pub stderr: bool,
}

impl Io {
    /// The streams of this process.
    pub fn process() -> Self {
        Self {
            terminals: Terminals {
                stdin: io::stdin().is_terminal(),
                stdout: io::stdout().is_terminal(),
                stderr: io::stderr().is_terminal(),
            },
            stdin: Box::new(io::stdin()),
            stdout: Box::new(io::stdout()),
            stderr: Box::new(io::stderr()),
            interrupt: Interrupt::default(),
            providers: Providers::default(),
            owns_process: true,
        }
    }

    /// Streams in memory: `stdin` is what can be read, and what is written can be looked at.
    pub fn captured(stdin: impl Into<Vec<u8>>) -> (Self, Captured, Captured) {
        let (stdout, stderr) = (Captured::default(), Captured::default());
        let io = Self {
            stdin: Box::new(io::Cursor::new(stdin.into())),
            stdout: Box::new(stdout.clone()),
            stderr: Box::new(stderr.clone()),
            terminals: Terminals::default(),
            interrupt: Interrupt::default(),
            providers: Providers::default(),
            owns_process: false,
        };
        (io, stdout, stderr)
    }
}

/// What was written to a stream in memory.
#[derive(Clone, Debug, Default)]
pub struct Captured(Arc<Mutex<Vec<u8>>>);

impl Captured {
    /// The text so far.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }
}

impl Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The request to end, with the signal that made it.
#[derive(Clone, Debug, Default)]
pub struct Interrupt {
    token: CancellationToken,
    signal: Arc<AtomicU8>,
}

impl Interrupt {
    /// Asks the program to end, as SIGINT or as SIGTERM does. The first request decides the exit code.
    ///
    /// Returns whether this was the first request.
    pub fn request(&self, status: ExitStatus) -> bool {
        let first = self
            .signal
            .compare_exchange(0, status.code(), Ordering::SeqCst, Ordering::SeqCst)
            .is_ok();
        self.token.cancel();
        first
    }

    /// Is cancelled by the first request.
    pub fn token(&self) -> CancellationToken {
        self.token.clone()
    }

    /// The exit status that the request asked for.
    pub fn status(&self) -> Option<ExitStatus> {
        match self.signal.load(Ordering::SeqCst) {
            0 => None,
            143 => Some(ExitStatus::Terminated),
            _ => Some(ExitStatus::Interrupted),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_signal_decides() {
        let interrupt = Interrupt::default();
        assert_eq!(interrupt.status(), None);
        assert!(interrupt.request(ExitStatus::Terminated));
        assert!(!interrupt.request(ExitStatus::Interrupted));
        assert_eq!(interrupt.status(), Some(ExitStatus::Terminated));
        assert!(interrupt.token().is_cancelled());
    }
}
