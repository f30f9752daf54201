//! The model hub: its download endpoint and its cache on disk.
//!
//! The endpoint is `{endpoint}/{repo}/resolve/{revision}/{path}`. For a large file the hub answers with a
//! redirect to its storage and says in the redirect's headers what the file is: `X-Linked-Etag` (its SHA-256),
//! `X-Linked-Size` and `X-Repo-Commit`. The cache is `models--owner--name/{refs/main,snapshots/COMMIT/PATH}`;
//! a large file in it is a link to `blobs/SHA256`. Both as in the Python package `huggingface_hub`.

use super::PullEvent;
use super::files::{self, Sum, cannot_write};
use crate::http::{Get, Head, HttpClient};
use crate::local::blocking;
use audiorag_core::{Error, ErrorKind, Result, Secret};
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// The public hub.
pub const DEFAULT_ENDPOINT: &str = "https://huggingface.co";

/// How the hub is reached: the values of the environment names its own tools read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HubSettings {
    /// `HF_ENDPOINT`, or [`DEFAULT_ENDPOINT`].
    pub endpoint: String,
    /// `HF_TOKEN`.
    pub token: Option<Secret>,
    /// `HF_HUB_OFFLINE` or `TRANSFORMERS_OFFLINE`: no connection at all, neither to the hub nor for wheels
    /// that nobody asked for by name.
    pub offline: bool,
    /// `HF_HUB_CACHE`, or the folder `hub` in `HF_HOME`. Read, never written.
    pub cache: Option<PathBuf>,
    /// Whether the user has pointed at the hub (`HF_ENDPOINT` or `HF_TOKEN` is set): it is then tried before
    /// the wheels.
    pub configured: bool,
}

impl Default for HubSettings {
    fn default() -> Self {
        Self {
            endpoint: DEFAULT_ENDPOINT.to_owned(),
            token: None,
            offline: false,
            cache: None,
            configured: false,
        }
    }
}

/// A file of a repository.
#[derive(Clone, Copy, Debug)]
pub(super) struct HubFile {
    pub(super) repo: &'static str,
    pub(super) revision: &'static str,
    pub(super) path: &'static str,
}

/// What the hub says a file is.
#[derive(Debug)]
struct Promise {
    bytes: u64,
    sha256: String,
    commit: Option<String>,
}

/// Where `file` is in the hub's own cache, and the commit it belongs to.
pub(super) fn cached(cache: &Path, file: HubFile) -> Option<(PathBuf, String)> {
    let repo = cache.join(format!("models--{}", file.repo.replace('/', "--")));
    let named = std::fs::read_to_string(repo.join("refs").join(file.revision)).ok();
    let commit = named.map_or_else(|| file.revision.to_owned(), |commit| commit.trim().to_owned());
    // The commit is the name of a folder here, so it must not lead anywhere else.
    if commit.is_empty() || !commit.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return None;
    }
    let path = repo.join("snapshots").join(&commit).join(file.path);
    path.is_file().then_some((path, commit))
}

/// The SHA-256 that the cache promises for a file: the name of the blob its link leads to.
pub(super) fn promised_by_cache(path: &Path) -> Option<String> {
    let blob = std::fs::read_link(path).ok()?;
    let name = blob.file_name()?.to_str()?;
    is_sha256(name).then(|| name.to_owned())
}

/// Downloads `file` to `target` and returns what was written, and the commit it came from.
///
/// An interrupted download is kept beside the target and continued by the next one.
pub(super) async fn download(
    http: &HttpClient,
    settings: &HubSettings,
    file: HubFile,
    target: &Path,
    progress: &(dyn Fn(PullEvent) + Send + Sync),
) -> Result<(Sum, Option<String>)> {
    let url = format!(
        "{}/{}/resolve/{}/{}",
        settings.endpoint.trim_end_matches('/'),
        file.repo,
        file.revision,
        file.path
    );
    let get = Get::new(&url)
        .map_err(|error| error.with_hint("set HF_ENDPOINT to a URL such as https://huggingface.co"))?
        .with_bearer(settings.token.as_ref());
    let promise = promise(http, &get, settings.token.is_some()).await?;
    let folder = target.parent().unwrap_or_else(|| Path::new("."));
    std::fs::create_dir_all(folder).map_err(|error| cannot_write(folder, error))?;
    // Named after its contents, so that what is continued is the same file.
    let short = promise.sha256.get(..16).unwrap_or_default();
    let name = target
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or("file");
    let part = folder.join(format!(".{name}.{short}.part"));
    fetch(http, &get, &promise, &part, name, progress).await?;
    let sum = {
        let part = part.clone();
        blocking("the checksum", move || {
            files::sum(&part).map_err(|error| cannot_write(&part, error))
        })
        .await?
    };
    if sum.sha256 != promise.sha256 || sum.bytes != promise.bytes {
        let _ = std::fs::remove_file(&part);
        return Err(Error::protocol(format!(
            "{} has the sha256 {} where the hub promised {}",
            get.display_url(),
            sum.sha256,
            promise.sha256
        ))
        .with_hint("try again; if it happens again, check what stands between this machine and the hub")
        .into_persistent());
    }
    files::rename_whole(&part, target).map_err(|error| cannot_write(target, error))?;
    progress(PullEvent::Finished {
        file: name.to_owned(),
    });
    Ok((sum, promise.commit))
}

/// Asks the hub what the file is.
async fn promise(http: &HttpClient, get: &Get, has_token: bool) -> Result<Promise> {
    let head = http
        .head(get, |head| head.header("x-linked-etag").is_some())
        .await
        .map_err(|error| with_hub_hint(error, has_token))?;
    let etag = ["x-linked-etag", "etag"]
        .into_iter()
        .filter_map(|name| head.header(name))
        .map(bare_etag);
    let sha256 = etag.into_iter().find(|etag| is_sha256(etag)).ok_or_else(|| {
        Error::protocol(format!(
            "{} comes without the sha256 of the file",
            get.display_url()
        ))
        .with_hint("use another HF_ENDPOINT, or `audiorag models pull --route wheels`")
        .into_persistent()
    })?;
    let bytes = length(&head).ok_or_else(|| {
        Error::protocol(format!(
            "{} comes without the length of the file",
            get.display_url()
        ))
        .into_persistent()
    })?;
    Ok(Promise {
        bytes,
        sha256: sha256.to_owned(),
        commit: head.header("x-repo-commit").map(str::to_owned),
    })
}

fn length(head: &Head) -> Option<u64> {
    let linked = head.header("x-linked-size");
    let own = (head.status() == 200)
        .then(|| head.header("content-length"))
        .flatten();
    linked.or(own)?.parse().ok()
}

/// Completes the file at `part`, from where it ends.
async fn fetch(
    http: &HttpClient,
    get: &Get,
    promise: &Promise,
    part: &Path,
    name: &str,
    progress: &(dyn Fn(PullEvent) + Send + Sync),
) -> Result<()> {
    let failed = |error: std::io::Error| cannot_write(part, error);
    let mut file = OpenOptions::new()
        .create(true)
        .append(true)
        .open(part)
        .map_err(failed)?;
    let mut have = file.metadata().map_err(failed)?.len();
    if have > promise.bytes {
        file.set_len(0).map_err(failed)?;
        have = 0;
    }
    progress(PullEvent::Started {
        file: name.to_owned(),
        bytes: Some(promise.bytes),
    });
    if have > 0 {
        progress(PullEvent::Note(format!("continuing {name} after {have} bytes")));
        progress(PullEvent::Advanced { bytes: have });
    }
    // Retries are counted here, between pieces: a connection that makes progress may break any number of times.
    let once = http.without_retries();
    let mut attempt = 1;
    while have < promise.bytes {
        let before = have;
        let Err(error) = append(&once, get, promise, &mut file, &mut have, progress).await else {
            continue;
        };
        if have > before {
            attempt = 1;
        }
        let Some(wait) = http.retry().wait_after(attempt, &error, fastrand::f64()) else {
            return Err(error.with_hint("run `audiorag models pull` again: it continues where it stopped"));
        };
        progress(PullEvent::Note(format!("{error}; continuing {name}")));
        tokio::time::sleep(wait).await;
        attempt += 1;
    }
    Ok(())
}

/// Appends one answer to the file.
async fn append(
    http: &HttpClient,
    get: &Get,
    promise: &Promise,
    file: &mut File,
    have: &mut u64,
    progress: &(dyn Fn(PullEvent) + Send + Sync),
) -> Result<()> {
    let mut body = http.stream(&get.clone().with_range_from(*have)).await?;
    let start = body.start()?;
    if start != *have {
        if start != 0 {
            return Err(Error::protocol(format!(
                "{} answers with another part",
                get.display_url()
            )));
        }
        // The server does not do ranges: from the beginning.
        file.set_len(0)
            .map_err(|error| cannot_write(Path::new("the download"), error))?;
        *have = 0;
    }
    while let Some(bytes) = body.chunk().await? {
        if *have + bytes.len() as u64 > promise.bytes {
            return Err(Error::protocol(format!(
                "{} is longer than the {} bytes promised",
                get.display_url(),
                promise.bytes
            ))
            .into_persistent());
        }
        // A short write into the page cache: not worth a thread.
        file.write_all(&bytes)
            .map_err(|error| cannot_write(Path::new("the download"), error))?;
        *have += bytes.len() as u64;
        progress(PullEvent::Advanced {
            bytes: bytes.len() as u64,
        });
    }
    if *have < promise.bytes {
        return Err(Error::unavailable(format!("{} ends early", get.display_url())));
    }
    Ok(())
}

fn with_hub_hint(error: Error, has_token: bool) -> Error {
    match error.kind() {
        ErrorKind::Auth if has_token => error.with_hint("HF_TOKEN does not give access to this model"),
        ErrorKind::Auth => error.with_hint("set HF_TOKEN to a token of your hub account"),
        ErrorKind::NotFound => {
            error.with_hint("check HF_ENDPOINT, or use `audiorag models pull --route wheels`")
        }
        _ if error.is_retryable() || error.kind() == ErrorKind::Unavailable => {
            error.with_hint("check the network and HF_ENDPOINT, or use `audiorag models pull --route wheels`")
        }
        _ => error,
    }
}

/// An entity tag without its weakness mark and quotes.
fn bare_etag(etag: &str) -> &str {
    etag.trim().trim_start_matches("W/").trim_matches('"')
}

fn is_sha256(text: &str) -> bool {
    text.len() == 64
        && text
            .bytes()
            .all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}
