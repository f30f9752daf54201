//! Pages that only yt-dlp understands: an external program that the user installs.
//!
//! The URL is judged by the rules for all URLs before it is handed over. What yt-dlp does then, redirects and names that
//! change their address included, is not ours to judge; whoever cannot accept that does not install it.

mod failure;
mod info;
mod process;

pub use info::{Listed, PageMedia, Resolved};

use crate::client::WebClient;
use audiorag_core::{Error, Result, Stage};
use process::{Ended, Limits};
use std::ffi::OsString;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Entries of a playlist that are listed.
const MOST_ENTRIES: &str = "2000";
/// Bytes of its output that are read.
const MOST_OUTPUT: usize = 64 << 20;
/// The longest that listing may take.
const LONGEST_LISTING: Duration = Duration::from_mins(10);
/// The longest that asking for the version may take; a bundled Python takes its time.
const LONGEST_VERSION: Duration = Duration::from_mins(1);
/// What the downloaded file is called before its ending.
const STEM: &str = "media";

/// Arguments of every run: nothing from configuration files, nothing to execute, no files of its own.
const COMMON: &[&str] = &[
    "--ignore-config",
    "--no-exec",
    "--no-update",
    "--no-cache-dir",
    "--no-warnings",
    "--no-progress",
    "--color=never",
    "--socket-timeout=30",
];

/// yt-dlp, found by its path.
#[derive(Clone, Debug)]
pub struct YtDlp {
    program: PathBuf,
    cookies: Option<PathBuf>,
    environment: Option<Vec<(OsString, OsString)>>,
}

/// A recording that yt-dlp downloaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageDownload {
    /// Where it is: in the folder that was given, under a name of ours.
    pub path: PathBuf,
    /// Its length.
    pub bytes: u64,
    /// What the page says about it.
    pub media: PageMedia,
}

impl YtDlp {
    /// The program at `program`; a name without a slash is searched on the `PATH`.
    pub fn new(program: impl Into<PathBuf>) -> Self {
        Self {
            program: program.into(),
            cookies: None,
            environment: None,
        }
    }

    /// Hands over a cookies file in Netscape's format, for pages that ask who is there. yt-dlp gets a copy, because it
    /// writes to the file it is given.
    pub fn with_cookies(mut self, file: Option<PathBuf>) -> Self {
        self.cookies = file;
        self
    }

    /// Starts the program with these environment variables alone, instead of all that this process has.
    pub fn with_environment(mut self, variables: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        self.environment = Some(variables.into_iter().collect());
        self
    }

    /// The version it gives, which is a date: `2026.01.29`.
    ///
    /// # Errors
    /// [`Unsupported`](audiorag_core::ErrorKind::Unsupported) when it is not there or cannot be started.
    pub async fn version(&self) -> Result<String> {
        let limits = Limits {
            longest: LONGEST_VERSION,
            output: 10_000,
            folder: None,
        };
        let never = CancellationToken::new();
        let ended = self
            .run(
                vec!["--ignore-config".into(), "--version".into()],
                &limits,
                &never,
            )
            .await?;
        let said = String::from_utf8_lossy(&ended.output);
        let version = said.lines().next().unwrap_or_default().trim();
        if ended.success && version.starts_with(|first: char| first.is_ascii_digit()) && version.len() <= 40 {
            return Ok(version.to_owned());
        }
        Err(
            Error::unsupported(format!("{} is not yt-dlp", self.program.display()))
                .with_hint("give the path of yt-dlp"),
        )
    }

    /// What a page holds: one recording, or a list of them. Nothing is downloaded but the page.
    ///
    /// # Errors
    /// [`Input`](audiorag_core::ErrorKind::Input) for a URL that must not be fetched or a page without a recording,
    /// [`NotFound`](audiorag_core::ErrorKind::NotFound), [`Unavailable`](audiorag_core::ErrorKind::Unavailable),
    /// [`Unsupported`](audiorag_core::ErrorKind::Unsupported) when yt-dlp is not there or too old, and
    /// [`Cancelled`](audiorag_core::ErrorKind::Cancelled).
    pub async fn resolve(
        &self,
        client: &WebClient,
        url: &str,
        cancel: &CancellationToken,
    ) -> Result<Resolved> {
        let work = async {
            let url = client.vouch(url).await?;
            let (mut arguments, _copy) = self.arguments()?;
            arguments.extend(
                [
                    "--dump-single-json",
                    "--flat-playlist",
                    "--playlist-end",
                    MOST_ENTRIES,
                    "--",
                    url.as_str(),
                ]
                .map(OsString::from),
            );
            let limits = Limits {
                longest: LONGEST_LISTING,
                output: MOST_OUTPUT,
                folder: None,
            };
            let ended = self.run(arguments, &limits, cancel).await?;
            let output = self.successful(ended).await?;
            info::resolved(&output, client.policy())
        };
        work.await
            .map_err(|error: Error| error.with_stage(Stage::Discover))
    }

    /// Downloads the recording of a page into `folder`, which is ours alone: the best audio there is, as it is served.
    /// A folder with the beginning of an earlier attempt is gone on with. `progress` gets the bytes so far.
    ///
    /// # Errors
    /// As [`resolve`](Self::resolve); [`Input`](audiorag_core::ErrorKind::Input) also for more bytes than the policy
    /// allows and for a live broadcast.
    pub async fn download(
        &self,
        client: &WebClient,
        url: &str,
        folder: &Path,
        progress: &(dyn Fn(u64, Option<u64>) + Send + Sync),
        cancel: &CancellationToken,
    ) -> Result<PageDownload> {
        let work = async {
            let url = client.vouch(url).await?;
            let (mut arguments, _copy) = self.arguments()?;
            let output = format!("{STEM}.%(ext)s");
            arguments.extend(
                [
                    "--dump-json",
                    "--no-simulate",
                    "--no-playlist",
                    "--format=bestaudio/best",
                    "--match-filters=!is_live & !is_upcoming",
                    "--fixup=never",
                    "--no-mtime",
                    "--continue",
                    // Relative to the folder it is started in, so that nothing in a path means anything to it.
                    "--output",
                    output.as_str(),
                    "--",
                    url.as_str(),
                ]
                .map(OsString::from),
            );
            let policy = client.policy();
            let limits = Limits {
                longest: policy.total_timeout,
                output: MOST_OUTPUT,
                folder: Some(process::Folder {
                    path: folder,
                    most: policy.max_bytes,
                    progress,
                }),
            };
            let ended = self.run(arguments, &limits, cancel).await?;
            let output = self.successful(ended).await?;
            let Some((path, bytes)) = downloaded(folder)? else {
                return Err(
                    Error::input("yt-dlp finds nothing to download there that has ended")
                        .with_hint("a live broadcast can be indexed when it is over"),
                );
            };
            if bytes > policy.max_bytes {
                return Err(process::too_large(policy.max_bytes));
            }
            Ok(PageDownload {
                path,
                bytes,
                media: info::one(&output)?,
            })
        };
        work.await
            .map_err(|error: Error| error.with_stage(Stage::Download))
    }

    /// The arguments of every run, and the copy of the cookies that one of them names.
    fn arguments(&self) -> Result<(Vec<OsString>, Option<tempfile::NamedTempFile>)> {
        let mut arguments: Vec<OsString> = COMMON.iter().map(OsString::from).collect();
        let Some(cookies) = &self.cookies else {
            return Ok((arguments, None));
        };
        let unreadable = |error| {
            Error::config(format!("the cookies file {} cannot be read", cookies.display()))
                .with_hint("export the cookies of your browser in Netscape's format, and give that file")
                .with_cause(error)
        };
        let content = std::fs::read(cookies).map_err(unreadable)?;
        // Made with mode 0600.
        let mut copy = tempfile::NamedTempFile::new().map_err(unreadable)?;
        copy.write_all(&content).map_err(unreadable)?;
        arguments.push("--cookies".into());
        arguments.push(copy.path().into());
        Ok((arguments, Some(copy)))
    }

    async fn run(
        &self,
        arguments: Vec<OsString>,
        limits: &Limits<'_>,
        cancel: &CancellationToken,
    ) -> Result<Ended> {
        process::run(
            &self.program,
            arguments,
            self.environment.as_deref(),
            limits,
            cancel,
        )
        .await
    }

    /// The output of a run that ended well, or what its failure means.
    async fn successful(&self, ended: Ended) -> Result<Vec<u8>> {
        if ended.success {
            return Ok(ended.output);
        }
        let error = failure::explain(&ended.complaints);
        Err(match self.version().await {
            Ok(version) => error.with_context("yt-dlp", version),
            Err(_) => error,
        })
    }
}

/// The file that was downloaded, which has our name and any ending but those of work under way.
fn downloaded(folder: &Path) -> Result<Option<(PathBuf, u64)>> {
    let trouble = |error| crate::partial::trouble(folder, "read", error);
    for entry in std::fs::read_dir(folder).map_err(trouble)? {
        let entry = entry.map_err(trouble)?;
        let path = entry.path();
        let is_ours = path.file_stem().is_some_and(|stem| stem == STEM);
        let is_partial = path
            .extension()
            .is_some_and(|ending| ending == "part" || ending == "ytdl");
        // Of the entry itself, so that a link is not followed.
        let metadata = entry.metadata().map_err(trouble)?;
        if is_ours && !is_partial && metadata.is_file() {
            return Ok(Some((path, metadata.len())));
        }
    }
    Ok(None)
}
