//! Running an external program with an end to everything: its time, its output, its files, its children.

use audiorag_core::{Error, Result};
use std::ffi::OsString;
use std::io;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::{Child, Command};
use tokio_util::sync::CancellationToken;

/// Bytes of complaints that are kept: the last ones say why.
const COMPLAINTS: usize = 16 << 10;
/// How often the files of a run are measured.
const BETWEEN_LOOKS: Duration = Duration::from_millis(500);

/// What a run may use.
pub(super) struct Limits<'a> {
    pub(super) longest: Duration,
    /// Bytes on its standard output.
    pub(super) output: usize,
    /// Where it is started and writes files, if it does.
    pub(super) folder: Option<Folder<'a>>,
}

/// Where a run writes its files.
pub(super) struct Folder<'a> {
    pub(super) path: &'a Path,
    /// Bytes in it.
    pub(super) most: u64,
    pub(super) progress: &'a (dyn Fn(u64, Option<u64>) + Send + Sync),
}

/// How a run ended.
pub(super) struct Ended {
    pub(super) success: bool,
    pub(super) output: Vec<u8>,
    /// The end of its standard error.
    pub(super) complaints: String,
}

/// A child process that takes its own children with it when it is dropped.
struct Group {
    child: Child,
    ended: bool,
}

impl Drop for Group {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        #[cfg(unix)]
        if let Some(id) = self
            .child
            .id()
            .and_then(|id| i32::try_from(id).ok())
            .and_then(rustix::process::Pid::from_raw)
        {
            // It was made the leader of a group of its own.
            let _gone = rustix::process::kill_process_group(id, rustix::process::Signal::KILL);
        }
        let _gone = self.child.start_kill();
    }
}

/// The error for more bytes than are taken.
pub(super) fn too_large(most: u64) -> Error {
    Error::input(format!("the recording is larger than the limit of {most} bytes"))
        .with_hint("raise the limit on downloads if this is what you want")
}

/// Runs `program` until it ends, is cancelled, or exceeds a limit.
pub(super) async fn run(
    program: &Path,
    arguments: Vec<OsString>,
    environment: Option<&[(OsString, OsString)]>,
    limits: &Limits<'_>,
    cancel: &CancellationToken,
) -> Result<Ended> {
    let mut command = Command::new(program);
    command
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    #[cfg(unix)]
    command.process_group(0);
    if let Some(folder) = &limits.folder {
        command.current_dir(folder.path);
    }
    if let Some(environment) = environment {
        command
            .env_clear()
            .envs(environment.iter().map(|(name, value)| (name, value)));
    }
    let child = command.spawn().map_err(|error| cannot_start(program, error))?;
    let mut group = Group { child, ended: false };
    let (Some(mut stdout), Some(mut stderr)) = (group.child.stdout.take(), group.child.stderr.take()) else {
        return Err(Error::internal("a child process has no output"));
    };
    let work = async {
        // Both at once: a program that waits for a reader of one would never end the other.
        let (output, complaints) = tokio::try_join!(all(&mut stdout, limits.output), async {
            Ok(tail(&mut stderr).await)
        })?;
        let status = group
            .child
            .wait()
            .await
            .map_err(|error| cannot_start(program, error))?;
        Ok(Ended {
            success: status.success(),
            output,
            complaints,
        })
    };
    let outcome = tokio::select! {
        outcome = tokio::time::timeout(limits.longest, work) => outcome.unwrap_or_else(|_| {
            Err(Error::timeout(format!("yt-dlp took longer than {} s", limits.longest.as_secs()))
                .with_hint("run it again, or raise the limit"))
        }),
        () = cancel.cancelled() => Err(Error::cancelled("yt-dlp was stopped")),
        error = measured(limits.folder.as_ref()) => Err(error),
    };
    group.ended = outcome.is_ok();
    outcome
}

fn cannot_start(program: &Path, error: io::Error) -> Error {
    let name = program.display();
    if error.kind() == io::ErrorKind::NotFound {
        return Error::unsupported(format!("this page needs yt-dlp, and {name} is not there")).with_hint(
            "install yt-dlp, for example with pipx install yt-dlp, or give the path of the program",
        );
    }
    Error::unsupported(format!("{name} cannot be started"))
        .with_hint("check that it is a program and may be executed")
        .with_cause(error)
}

/// Everything that comes, if it is not too much.
async fn all(from: &mut (impl AsyncRead + Unpin), most: usize) -> Result<Vec<u8>> {
    let mut output = Vec::new();
    let mut limited = from.take(most as u64 + 1);
    limited
        .read_to_end(&mut output)
        .await
        .map_err(|error| Error::unavailable("the output of yt-dlp cannot be read").with_cause(error))?;
    if output.len() > most {
        return Err(Error::protocol(format!("yt-dlp says more than {most} bytes")).into_persistent());
    }
    Ok(output)
}

/// The end of everything that comes.
async fn tail(from: &mut (impl AsyncRead + Unpin)) -> String {
    let mut kept = Vec::new();
    let mut buffer = vec![0; 8 << 10];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        kept.extend_from_slice(buffer.get(..count).unwrap_or_default());
        if kept.len() > 2 * COMPLAINTS {
            kept.drain(..kept.len() - COMPLAINTS);
        }
    }
    String::from_utf8_lossy(&kept).into_owned()
}

/// Watches a folder grow, and returns when it has grown too much.
async fn measured(folder: Option<&Folder<'_>>) -> Error {
    let Some(folder) = folder else {
        return std::future::pending().await;
    };
    loop {
        tokio::time::sleep(BETWEEN_LOOKS).await;
        let entries = std::fs::read_dir(folder.path).into_iter().flatten().flatten();
        let bytes = entries
            .filter_map(|entry| entry.metadata().ok())
            .filter(std::fs::Metadata::is_file)
            .map(|metadata| metadata.len())
            .sum();
        (folder.progress)(bytes, None);
        if bytes > folder.most {
            return too_large(folder.most);
        }
    }
}
