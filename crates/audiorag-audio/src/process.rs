//! A child process that hands over bytes, is waited for only so long, and never outlives its reader.

use std::ffi::OsStr;
use std::io::{self, Read};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Bytes that are handed over at once.
const BLOCK: usize = 64 << 10;
/// Blocks that may wait, so that a child works while we do.
const WAITING: usize = 4;
/// What is kept of the standard error, and how much of it is read at all.
const ERROR_KEPT: usize = 16 << 10;

/// Why a child yields no more bytes.
#[derive(Debug)]
pub(crate) enum Stopped {
    /// It was silent for this long, or worked for this long in all, and was killed.
    TooSlow(Duration),
    /// Its output could not be read.
    Unreadable(io::Error),
}

/// A running program, its standard output as a stream of blocks.
pub(crate) struct ChildStream {
    child: Child,
    /// Taken when the stream ends, so that the thread behind it stops.
    blocks: Option<Receiver<io::Result<Vec<u8>>>>,
    threads: Vec<JoinHandle<Vec<u8>>>,
    stall: Duration,
    wall: Duration,
    waited: Duration,
}

impl ChildStream {
    /// Starts a program without input and with an environment of its own that holds a search path and nothing
    /// else: keys have no business in a program that reads hostile files.
    ///
    /// Only the time spent waiting for it is counted: against `stall` since its last byte, against `wall` in all.
    pub(crate) fn spawn(mut command: Command, stall: Duration, wall: Duration) -> io::Result<Self> {
        #[cfg(unix)]
        command
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin:/opt/homebrew/bin");
        let mut child = command
            .env("LC_ALL", "C")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let (sender, blocks) = sync_channel(WAITING);
        let mut threads = Vec::new();
        if let Some(output) = child.stdout.take() {
            threads.push(std::thread::spawn(move || {
                forward(output, &sender);
                Vec::new()
            }));
        }
        if let Some(error) = child.stderr.take() {
            threads.push(std::thread::spawn(move || collect(error)));
        }
        Ok(Self {
            child,
            blocks: Some(blocks),
            threads,
            stall,
            wall,
            waited: Duration::ZERO,
        })
    }

    /// Limits the memory and the processor time of the program, where the system can do so from outside (Linux). It has
    /// just been started, and not come to its input.
    pub(crate) fn limit(&self, memory: u64, processor: Duration) {
        #[cfg(target_os = "linux")]
        {
            use rustix::process::{Pid, Resource, Rlimit, prlimit};
            let seconds = processor.as_secs().max(1);
            for (resource, current, maximum) in [
                (Resource::Core, 0, 0),
                // At the lower limit comes the signal that says why, at the upper one the end.
                (Resource::Cpu, seconds, seconds + 1),
                (Resource::As, memory, memory),
            ] {
                let limit = Rlimit {
                    current: Some(current),
                    maximum: Some(maximum),
                };
                if let Err(error) = prlimit(Some(Pid::from_child(&self.child)), resource, limit) {
                    tracing::debug!(?resource, %error, "a limit could not be set");
                }
            }
        }
        #[cfg(not(target_os = "linux"))]
        let _ = (memory, processor);
    }

    /// The next bytes; `None` at the end of the output.
    pub(crate) fn next(&mut self) -> Result<Option<Vec<u8>>, Stopped> {
        let Some(blocks) = &self.blocks else {
            return Ok(None);
        };
        let left = self.wall.saturating_sub(self.waited).min(self.stall);
        let started = Instant::now();
        let received = blocks.recv_timeout(left);
        self.waited += started.elapsed();
        match received {
            Ok(Ok(block)) => Ok(Some(block)),
            Ok(Err(cause)) => Err(Stopped::Unreadable(cause)),
            Err(RecvTimeoutError::Disconnected) => Ok(None),
            Err(RecvTimeoutError::Timeout) => {
                let limit = if self.waited >= self.wall {
                    self.wall
                } else {
                    self.stall
                };
                self.kill();
                Err(Stopped::TooSlow(limit))
            }
        }
    }

    /// Waits for the end of a program whose output has ended, and returns how it ended and what it said.
    pub(crate) fn finish(&mut self) -> io::Result<(ExitStatus, String)> {
        self.blocks = None;
        // A program may close its output and go on; it has had its time.
        let deadline = Instant::now() + self.stall.min(Duration::from_secs(10));
        let status = loop {
            if let Some(status) = self.child.try_wait()? {
                break status;
            }
            if Instant::now() >= deadline {
                self.child.kill()?;
                break self.child.wait()?;
            }
            std::thread::sleep(Duration::from_millis(1));
        };
        Ok((status, self.said()))
    }

    fn kill(&mut self) {
        self.blocks = None;
        // It may have ended meanwhile.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    fn said(&mut self) -> String {
        let said: Vec<u8> = self
            .threads
            .drain(..)
            .filter_map(|thread| thread.join().ok())
            .flatten()
            .collect();
        String::from_utf8_lossy(&said).into_owned()
    }
}

impl Drop for ChildStream {
    fn drop(&mut self) {
        self.kill();
        self.said();
    }
}

/// Passes blocks on until the output ends or nobody wants them.
fn forward(mut output: ChildStdout, blocks: &SyncSender<io::Result<Vec<u8>>>) {
    loop {
        let mut block = vec![0; BLOCK];
        let read = match output.read(&mut block) {
            Ok(0) => return,
            Ok(count) => {
                block.truncate(count);
                Ok(block)
            }
            Err(cause) if cause.kind() == io::ErrorKind::Interrupted => continue,
            Err(cause) => Err(cause),
        };
        let is_failed = read.is_err();
        if blocks.send(read).is_err() || is_failed {
            return;
        }
    }
}

/// The last of what a program says; all of it is read, so that it never waits for us.
fn collect(mut error: impl Read) -> Vec<u8> {
    let mut kept = Vec::new();
    let mut block = [0; 4096];
    loop {
        match error.read(&mut block) {
            Ok(0) => return kept,
            Ok(count) => {
                kept.extend_from_slice(block.get(..count).unwrap_or_default());
                if kept.len() > 2 * ERROR_KEPT {
                    kept.drain(..kept.len() - ERROR_KEPT);
                }
            }
            Err(cause) if cause.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return kept,
        }
    }
}

/// How a program ended, in words: `exit code 3`, `signal 9`.
pub(crate) fn ending(status: ExitStatus) -> String {
    #[cfg(unix)]
    {
        use std::os::unix::process::ExitStatusExt as _;
        if let Some(signal) = status.signal() {
            return format!("signal {signal}");
        }
    }
    match status.code() {
        Some(code) => format!("exit code {code}"),
        None => "no exit code".to_owned(),
    }
}

/// How a program is called in messages.
pub(crate) fn called(program: &OsStr) -> String {
    program.to_string_lossy().escape_debug().to_string()
}
