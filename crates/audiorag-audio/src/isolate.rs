//! Decoding in a child process, which a hostile file may crash, stall or fill.
//!
//! The child is the same program, started with a command that leads to [`run_isolated`]. It limits its own memory
//! and processor time before it looks at the file, and only knows the file's path; the parent limits the time and
//! ends it whenever it wants. See `wire` for what is said between them.

use crate::file::FileName;
use crate::process::{self, ChildStream, Stopped};
use crate::samples::Native;
use crate::wire::{self, Frame, Request};
use crate::{DecodeOptions, container};
use audiorag_core::model::Media;
use audiorag_core::{Error, Result, Stage};
use std::ffi::OsString;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// How the child process is started and what it may take.
#[derive(Clone, Debug, PartialEq)]
pub struct Isolation {
    /// The program, usually this one.
    pub program: PathBuf,
    /// Its arguments up to those for [`run_isolated`], which are appended.
    pub arguments: Vec<OsString>,
    /// Longest time it may work without a result, not counting the time nobody waits for it. Default 60 s.
    pub stall: Duration,
    /// Longest time it may work in all, counted alike. Default 2 h.
    pub wall: Duration,
    /// Most address space it may have, in bytes; Linux only. Default 1 GiB.
    pub memory: u64,
    /// Most processor time it may take. Default 2 h.
    pub processor: Duration,
}

impl Isolation {
    /// Isolation with the default limits.
    pub fn new(program: impl Into<PathBuf>, arguments: Vec<OsString>) -> Self {
        Self {
            program: program.into(),
            arguments,
            stall: Duration::from_mins(1),
            wall: Duration::from_hours(2),
            memory: 1 << 30,
            processor: Duration::from_hours(2),
        }
    }
}

/// The child's side of [`Isolation`]: limits this process, decodes what the arguments say and writes the result to
/// `out`. A recording that cannot be decoded is a result, so this returns `Ok`.
///
/// The limits stay with the process: call this in a process that does nothing else.
///
/// # Errors
/// [`Config`](audiorag_core::ErrorKind::Config) when the arguments are not those of an [`Isolation`],
/// [`Internal`](audiorag_core::ErrorKind::Internal) when nobody reads the output.
pub fn run_isolated(arguments: impl IntoIterator<Item = OsString>, out: &mut dyn Write) -> Result<()> {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let [request, path] = arguments.as_slice() else {
        return Err(Error::config(
            "this command is called by the program itself, with two arguments",
        ));
    };
    let request: Request = request
        .to_str()
        .and_then(|text| serde_json::from_str(text).ok())
        .ok_or_else(|| Error::config("this command is called by the program itself, with a request"))?;
    limit(&request);
    let stage = Stage::parse(&request.stage).unwrap_or(Stage::Split);
    answer(&request, stage, Path::new(path), out)
        .map_err(|cause| Error::internal("nobody reads what is decoded").with_cause(cause))
}

fn answer(request: &Request, stage: Stage, path: &Path, out: &mut dyn Write) -> io::Result<()> {
    let options = request.options();
    if request.probe {
        return match container::open(path, &options, stage) {
            Ok(opened) => {
                wire::write_headers(out, &opened.media)?;
                wire::write_warnings(out, &[])
            }
            Err(error) => wire::write_failure(out, &error),
        };
    }
    let mut reader = match Native::open(path, &options, stage) {
        Ok(reader) => reader,
        Err(error) => return wire::write_failure(out, &error),
    };
    wire::write_headers(out, reader.media())?;
    let mut block = Vec::new();
    loop {
        block.clear();
        match reader.fill(&mut block) {
            Ok(more) => {
                wire::write_samples(out, &block)?;
                if !more {
                    return wire::write_warnings(out, reader.warnings());
                }
            }
            Err(error) => return wire::write_failure(out, &error),
        }
    }
}

/// What cannot be limited is left to the parent, which limits the time anyway.
fn limit(request: &Request) {
    #[cfg(unix)]
    {
        use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
        let set = |resource: Resource, value: u64, grace: u64| {
            let most = getrlimit(resource).maximum;
            let bounded = |value: u64| Some(most.map_or(value, |most| value.min(most)));
            let limit = Rlimit {
                current: bounded(value),
                maximum: bounded(value.saturating_add(grace)),
            };
            if let Err(error) = setrlimit(resource, limit) {
                tracing::debug!(?resource, %error, "a limit could not be set");
            }
        };
        set(Resource::Core, 0, 0);
        // At the lower limit comes the signal that says why, at the upper one the end.
        set(Resource::Cpu, request.processor.max(1), 1);
        #[cfg(target_os = "linux")]
        set(Resource::As, request.memory, 0);
    }
    #[cfg(not(unix))]
    let _ = request;
}

/// What an isolated decoder says of a recording's headers.
pub(crate) fn probe(
    path: &Path,
    options: &DecodeOptions,
    isolation: &Isolation,
    stage: Stage,
) -> Result<Media> {
    Isolated::start(path, options, isolation, stage, true).map(|isolated| isolated.media)
}

/// A recording that a child process decodes.
pub(crate) struct Isolated {
    child: ChildStream,
    pending: Vec<u8>,
    media: Media,
    name: FileName,
    warnings: Vec<String>,
    is_done: bool,
    processor: Duration,
}

impl Isolated {
    pub(crate) fn open(
        path: &Path,
        options: &DecodeOptions,
        isolation: &Isolation,
        stage: Stage,
    ) -> Result<Self> {
        Self::start(path, options, isolation, stage, false)
    }

    fn start(
        path: &Path,
        options: &DecodeOptions,
        isolation: &Isolation,
        stage: Stage,
        probe: bool,
    ) -> Result<Self> {
        let name = FileName::new(path, stage);
        let request = Request::new(
            probe,
            stage,
            options,
            isolation.memory,
            isolation.processor.as_secs(),
        );
        let request = serde_json::to_string(&request)
            .map_err(|cause| Error::internal("a request could not be written").with_cause(cause))?;
        let mut command = Command::new(&isolation.program);
        command.args(&isolation.arguments).arg(request).arg(path);
        let child = ChildStream::spawn(command, isolation.stall, isolation.wall).map_err(|cause| {
            let program = process::called(isolation.program.as_os_str());
            Error::internal(format!("the isolated decoder could not be started: {program}"))
                .with_stage(stage)
                .with_cause(cause)
                .with_hint("check that the program was not moved or replaced while it runs")
        })?;
        let mut isolated = Self {
            child,
            pending: Vec::new(),
            media: Media::default(),
            name,
            warnings: Vec::new(),
            is_done: false,
            processor: isolation.processor,
        };
        match isolated.frame()? {
            Frame::Headers(media) => isolated.media = *media,
            Frame::Failure(error) => return Err(error),
            Frame::Samples(_) | Frame::Warnings(_) => return Err(isolated.crashed()),
        }
        Ok(isolated)
    }

    pub(crate) fn media(&self) -> &Media {
        &self.media
    }

    pub(crate) fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Appends samples to `out`; false at the end.
    pub(crate) fn fill(&mut self, out: &mut Vec<f32>) -> Result<bool> {
        if self.is_done {
            return Ok(false);
        }
        let frame = self.frame();
        self.is_done = !matches!(frame, Ok(Frame::Samples(_)));
        match frame? {
            Frame::Samples(mut samples) => out.append(&mut samples),
            Frame::Warnings(warnings) => self.warnings = warnings,
            Frame::Failure(error) => return Err(error),
            Frame::Headers(_) => return Err(self.crashed()),
        }
        Ok(!self.is_done)
    }

    fn frame(&mut self) -> Result<Frame> {
        loop {
            match wire::take(&mut self.pending) {
                Ok(Some(frame)) => return Ok(frame),
                Ok(None) => {}
                Err(_) => return Err(self.crashed()),
            }
            match self.child.next() {
                Ok(Some(bytes)) => self.pending.extend_from_slice(&bytes),
                Ok(None) => return Err(self.crashed()),
                Err(Stopped::TooSlow(limit)) => return Err(too_slow(&self.name, limit)),
                Err(Stopped::Unreadable(cause)) => return Err(self.name.io("decoded", cause)),
            }
        }
    }

    /// The child ended, or speaks, as no sound decoder does.
    fn crashed(&mut self) -> Error {
        let (status, said) = match self.child.finish() {
            Ok(ended) => ended,
            Err(cause) => return self.name.io("decoded", cause),
        };
        #[cfg(unix)]
        {
            use std::os::unix::process::ExitStatusExt as _;
            if status.signal() == Some(rustix::process::Signal::XCPU.as_raw()) {
                return too_slow(&self.name, self.processor);
            }
        }
        tracing::debug!(said, "the isolated decoder crashed");
        self.name
            .input(format_args!("crashed its decoder ({})", process::ending(status)))
            .with_hint(format!("it is probably damaged; {}", container::CONVERT))
    }
}

/// The error of a recording whose decoding was ended.
pub(crate) fn too_slow(name: &FileName, limit: Duration) -> Error {
    name.input(format_args!(
        "could not be decoded: the decoder was stopped after {} s",
        limit.as_secs()
    ))
    .with_hint(format!("it is probably damaged; {}", container::CONVERT))
}
