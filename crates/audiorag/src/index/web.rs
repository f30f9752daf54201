//! Recordings from the web: which ones a URL stands for, and a copy of their bytes on this machine.
//!
//! What a URL leads to is judged by its first bytes: a recording, a podcast feed, or a page. A copy is fetched into
//! the downloads directory under a name of ours and stays there until the source is indexed, so that a run that ends
//! half way need not fetch it again. What the server said about its version is kept in the state: a recording that is
//! unchanged there is not fetched at all.

#[cfg_attr(not(feature = "s3"), path = "web/no_bucket.rs")]
mod bucket;

use self::bucket::Bucket;
use super::discover::{Copy, Episodes, Found, Offered, Remote, Selection};
use super::event::IndexEvent;
use super::identify::blocking;
use super::stage::Stages;
use crate::settings::{FetchSettings, Settings};
use audiorag_core::id::KeyHasher;
use audiorag_core::model::{Chapter, Fingerprint, Media};
use audiorag_core::{Error, ErrorKind, Result, Stage};
use audiorag_fetch::feed::{Episode, Feed, parse_chapters};
use audiorag_fetch::{
    Document, Fetched, Kind, PageMedia, Resolved, Url, Validators, WebClient, WebPolicy, YtDlp,
};
use audiorag_state::{Download, FeedItem, State};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

/// Recordings fetched side by side: more would press a podcast's server, and a line is full with fewer.
const DOWNLOADS: usize = 4;
/// Bytes between two reports of progress.
const STEP: u64 = 1 << 20;

/// Fetches recordings.
pub(crate) struct Web {
    limits: FetchSettings,
    client: OnceLock<WebClient>,
    bucket: Bucket,
    offline: bool,
    /// One for each download that is under way.
    turns: Semaphore,
}

impl Web {
    pub(crate) fn new(settings: &Settings) -> Self {
        Self {
            limits: settings.fetch.clone(),
            client: OnceLock::new(),
            bucket: Bucket::default(),
            offline: settings.offline,
            turns: Semaphore::new(DOWNLOADS),
        }
    }

    fn policy(&self) -> Result<WebPolicy> {
        let allowed = |host: &String| {
            host.parse()
                .map_err(|error: Error| error.with_context("setting", "fetch.allow_hosts"))
        };
        Ok(WebPolicy {
            allow_private: self
                .limits
                .allow_hosts
                .iter()
                .map(allowed)
                .collect::<Result<_>>()?,
            max_bytes: self.limits.max_bytes,
            total_timeout: self.limits.timeout,
            ..WebPolicy::default()
        })
    }

    fn online(&self) -> Result<()> {
        if self.offline {
            return Err(Error::new(
                ErrorKind::Config,
                "recordings on the web cannot be fetched offline",
            )
            .with_hint("leave out --offline (the setting offline), or download the recording yourself"));
        }
        Ok(())
    }

    /// The client, made when it is first needed: reading the certificates of the system takes a moment.
    fn client(&self) -> Result<&WebClient> {
        self.online()?;
        if let Some(client) = self.client.get() {
            return Ok(client);
        }
        let client = WebClient::new(self.policy()?)?;
        Ok(self.client.get_or_init(|| client))
    }

    /// The recordings that a URL stands for: itself, the episodes of a feed, or what `selection` takes of a bucket.
    pub(super) async fn expand(
        &self,
        state: &State,
        url: &str,
        episodes: &Episodes,
        selection: &Selection,
        cancel: &CancellationToken,
    ) -> Result<Vec<Found>> {
        if is_in_bucket(url) {
            return self.bucket.expand(self, url, selection, cancel).await;
        }
        let url = self.canonical(url)?;
        if let Some(known) = state.download(&url).await? {
            let remote = Remote {
                is_page: known.is_page,
                ..Remote::default()
            };
            return Ok(vec![Found::on_the_web(url, remote)]);
        }
        let peek = self.client()?.peek(&url, cancel).await?;
        match peek.kind {
            Kind::Media => Ok(vec![Found::on_the_web(url, Remote::default())]),
            Kind::Feed => {
                let feed = Feed::parse(&peek.body, &peek.final_url)?;
                if let Some(why) = &feed.incomplete {
                    tracing::warn!(feed = %url, "the feed is read only in part: {why}");
                }
                let chosen = feed.select(episodes.since.as_deref(), episodes.latest)?;
                if chosen.is_empty() {
                    return Err(
                        Error::input(format!("the feed '{url}' has no episode that was asked for"))
                            .with_hint("give another --since or --latest, or look at the feed in a browser"),
                    );
                }
                let mut found = Vec::with_capacity(chosen.len());
                for episode in chosen {
                    found.push(described(state, &url, &feed, episode).await?);
                }
                Ok(found)
            }
            Kind::Page => self.pages(&url, episodes, cancel).await,
        }
    }

    /// The recordings of a page, as yt-dlp sees them.
    async fn pages(&self, url: &str, episodes: &Episodes, cancel: &CancellationToken) -> Result<Vec<Found>> {
        let resolved = self.yt_dlp().resolve(self.client()?, url, cancel).await;
        let on_a_page = |url: String, said: Option<Media>| {
            let remote = Remote {
                is_page: true,
                said,
                ..Remote::default()
            };
            Found::on_the_web(url, remote)
        };
        match resolved {
            Ok(Resolved::One(media)) => Ok(vec![on_a_page(url.to_owned(), Some(said_by_page(&media)))]),
            // Indexing all of them instead would be what was to be avoided.
            Ok(Resolved::Many { .. }) if episodes.since.is_some() => Err(Error::unsupported(format!(
                "'{url}' is a list of recordings that does not say when they were published"
            ))
            .with_hint("leave out --since, and take some of them with --latest")),
            Ok(Resolved::Many { entries, .. }) => Ok(entries
                .into_iter()
                .take(episodes.latest.unwrap_or(usize::MAX))
                .map(|entry| {
                    let said = Media {
                        title: entry.title,
                        ..Media::default()
                    };
                    on_a_page(entry.url, Some(said))
                })
                .collect()),
            Err(error) if error.kind() == ErrorKind::Unsupported => {
                let hint = error.hint().map(str::to_owned).unwrap_or_default();
                Err(Error::unsupported(format!(
                    "'{url}' is a page, not a recording, and pages are read by yt-dlp: {}",
                    error.message()
                ))
                .with_hint(format!(
                    "give the URL of the recording itself or of the podcast's feed; or {hint}"
                )))
            }
            Err(error) => Err(error),
        }
    }

    fn yt_dlp(&self) -> YtDlp {
        let program = self.limits.yt_dlp.clone();
        YtDlp::new(program.unwrap_or_else(|| PathBuf::from("yt-dlp")))
            .with_cookies(self.limits.cookies.clone())
            .with_environment(
                self.limits
                    .environment
                    .iter()
                    .map(|(name, value)| (name.into(), value.into())),
            )
    }

    /// The URL as it is kept: normalised, and without the fragment, which servers never see.
    fn canonical(&self, url: &str) -> Result<String> {
        let mut url = self.policy()?.check(url)?;
        url.set_fragment(None);
        Ok(url.to_string())
    }

    /// A URL as it may be shown before it is known to hold no password.
    pub(super) fn shown(url: &str) -> String {
        match Url::parse(url) {
            Ok(mut parsed) if !parsed.username().is_empty() || parsed.password().is_some() => {
                // Neither fails for a URL that had them.
                let _ = parsed.set_username("");
                let _ = parsed.set_password(None);
                parsed.to_string()
            }
            _ => url.to_owned(),
        }
    }

    /// Where the copy of a URL's bytes is kept.
    fn place(&self, url: &str) -> PathBuf {
        self.limits
            .dir
            .join(KeyHasher::new("audiorag.copy").text(url).finish())
            // What messages about the file call it.
            .join("download")
    }

    /// Brings the bytes behind `url` here, unless `needed` is false and they are those of the last time.
    pub(super) async fn fetch(
        &self,
        state: &State,
        url: &str,
        remote: &Remote,
        needed: bool,
        stages: Stages<'_>,
        cancel: &CancellationToken,
    ) -> Result<Copy> {
        let path = self.place(url);
        let known = state.download(url).await?;
        let here = match &known {
            Some(known) => self.kept(&path, known).await,
            None => None,
        };
        let validators = known
            .as_ref()
            .filter(|_| here.is_some() || !needed)
            .map(|known| Validators {
                etag: known.etag.clone(),
                last_modified: known.last_modified.clone(),
            })
            .filter(|validators| !validators.is_empty());
        make_directory(path.parent().unwrap_or(&path))?;
        let Some(Ok(_turn)) = cancel.run_until_cancelled(self.turns.acquire()).await else {
            return Err(Error::cancelled(
                "interrupted while other recordings were fetched",
            ));
        };
        let told = AtomicU64::new(0);
        let progress = |bytes: u64, total: Option<u64>| {
            if bytes >= told.load(Ordering::Relaxed) + STEP || Some(bytes) == total {
                told.store(bytes, Ordering::Relaxed);
                stages.event(IndexEvent::Download {
                    source: stages.source().to_owned(),
                    bytes,
                    total,
                });
            }
        };
        if remote.is_page || known.as_ref().is_some_and(|known| known.is_page) {
            if let Some(fingerprint) = here {
                return Ok(Copy::Here { path, fingerprint });
            }
            let said = self.download_page(url, &path, &progress, cancel).await?;
            return self
                .note(state, url, remote, path, Validators::default(), Some(said))
                .await;
        }
        let validators = validators.as_ref();
        let fetched = if is_in_bucket(url) {
            self.bucket
                .download(self, url, &path, validators, &progress, cancel)
                .await?
        } else {
            self.client()?
                .download(url, &path, validators, &progress, cancel)
                .await?
        };
        let downloaded = match (fetched, here) {
            (Fetched::NotModified, Some(fingerprint)) => return Ok(Copy::Here { path, fingerprint }),
            (Fetched::NotModified, None) => return Ok(Copy::Unchanged),
            (Fetched::Body(downloaded), _) => downloaded,
        };
        if downloaded.downgraded {
            stages.warn("a redirect on the way to the recording left HTTPS, so that others could change it");
        }
        let said = self.said(remote, stages, cancel).await;
        self.note(state, url, remote, path, downloaded.validators, said)
            .await
    }

    /// Notes what was fetched.
    async fn note(
        &self,
        state: &State,
        url: &str,
        remote: &Remote,
        path: PathBuf,
        validators: Validators,
        said: Option<Media>,
    ) -> Result<Copy> {
        let fingerprint = fingerprint(&path).await?;
        state
            .save_download(&Download {
                url: url.to_owned(),
                etag: validators.etag,
                last_modified: validators.last_modified,
                content: fingerprint.content.clone(),
                bytes: fingerprint.bytes,
                item: remote.item.clone(),
                is_page: remote.is_page,
                said,
            })
            .await?;
        Ok(Copy::Here { path, fingerprint })
    }

    /// Has yt-dlp fetch the recording of a page, and says what the page says of it. What it has fetched of it stays in
    /// a folder of its own until it is whole.
    async fn download_page(
        &self,
        url: &str,
        path: &Path,
        progress: &(dyn Fn(u64, Option<u64>) + Send + Sync),
        cancel: &CancellationToken,
    ) -> Result<Media> {
        let folder = path.with_extension("page");
        make_directory(&folder)?;
        let downloaded = self
            .yt_dlp()
            .download(self.client()?, url, &folder, progress, cancel)
            .await?;
        let moved = std::fs::rename(&downloaded.path, path).and_then(|()| std::fs::remove_dir_all(&folder));
        moved.map_err(|error| {
            Error::state(format!(
                "what was downloaded cannot be moved to {}",
                path.display()
            ))
            .with_stage(Stage::Download)
            .with_cause(error)
        })?;
        Ok(said_by_page(&downloaded.media))
    }

    /// The fingerprint of the copy that an earlier run left, if it is the one that the state knows.
    async fn kept(&self, path: &Path, known: &Download) -> Option<Fingerprint> {
        let is_there = std::fs::symlink_metadata(path)
            .is_ok_and(|metadata| metadata.is_file() && metadata.len() == known.bytes);
        if !is_there {
            return None;
        }
        let found = fingerprint(path).await.ok()?;
        (found.content == known.content).then_some(found)
    }

    /// What the feed says of the recording, with its list of chapters.
    async fn said(&self, remote: &Remote, stages: Stages<'_>, cancel: &CancellationToken) -> Option<Media> {
        let mut said = remote.said.clone();
        if let Some(url) = &remote.chapters_url {
            match self.chapters(url, cancel).await {
                Ok(chapters) => said.get_or_insert_default().chapters = chapters,
                Err(error) => stages.warn(format!(
                    "the episode's chapters cannot be had: {}",
                    error.report()
                )),
            }
        }
        said
    }

    async fn chapters(&self, url: &str, cancel: &CancellationToken) -> Result<Vec<Chapter>> {
        parse_chapters(&self.document(url, cancel).await?)
    }

    /// Fetches something small, such as a transcript.
    pub(super) async fn document(&self, url: &str, cancel: &CancellationToken) -> Result<Vec<u8>> {
        match self.client()?.document(url, None, cancel).await? {
            Document::Body(body) => Ok(body.bytes),
            Document::NotModified => Err(Error::protocol(
                "the server says that nothing changed since never",
            )),
        }
    }

    /// Removes the copy of a recording that is indexed.
    pub(super) fn done_with(&self, url: &str) {
        if !self.limits.keep {
            self.forget(url);
        }
    }

    /// The copy of a recording, if one was kept.
    pub(crate) fn copy_of(&self, url: &str) -> Option<PathBuf> {
        let path = self.place(url);
        std::fs::symlink_metadata(&path)
            .is_ok_and(|metadata| metadata.is_file())
            .then_some(path)
    }

    /// Removes the copy of a recording, whole or in part.
    pub(crate) fn forget(&self, url: &str) {
        let path = self.place(url);
        let Some(folder) = path.parent() else { return };
        match std::fs::remove_dir_all(folder) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                tracing::warn!(path = %path.display(), %error, "a copy could not be removed");
            }
            _ => {}
        }
    }
}

/// Whether a URL is the place of an object or a folder in a bucket.
fn is_in_bucket(url: &str) -> bool {
    url.starts_with("s3://")
}

fn said_by_page(page: &PageMedia) -> Media {
    Media {
        title: page.title.clone(),
        artist: page.uploader.clone(),
        date: page.date.clone(),
        language: page.language.clone(),
        duration: page.duration,
        chapters: page.chapters.clone(),
        ..Media::default()
    }
}

async fn fingerprint(path: &Path) -> Result<Fingerprint> {
    let path = path.to_owned();
    blocking(move || audiorag_audio::fingerprint(&path)).await
}

/// An episode as a source.
async fn described(state: &State, url: &str, feed: &Feed, episode: &Episode) -> Result<Found> {
    let said = Media {
        title: episode.title.clone(),
        artist: episode.author.clone().or_else(|| feed.author.clone()),
        album: feed.title.clone(),
        date: episode
            .published
            .as_deref()
            .and_then(|time| time.get(..10))
            .map(str::to_owned),
        language: feed.language.clone(),
        duration: episode.duration,
        ..Media::default()
    };
    let item = FeedItem {
        feed: url.to_owned(),
        guid: episode.guid.clone(),
    };
    let before = state.download_of(&item).await?.map(|download| download.url);
    let remote = Remote {
        is_page: false,
        before: before.filter(|before| *before != episode.enclosure_url),
        item: Some(item),
        said: Some(said),
        chapters_url: episode.chapters_url.clone(),
        transcripts: episode
            .transcripts
            .iter()
            .map(|link| Offered {
                url: link.url.clone(),
                media_type: link.media_type.clone(),
                language: link.language.clone(),
            })
            .collect(),
    };
    Ok(Found::on_the_web(episode.enclosure_url.clone(), remote))
}

fn make_directory(path: &Path) -> Result<()> {
    let made = {
        let mut builder = std::fs::DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(path)
    };
    made.map_err(|error| {
        Error::state(format!(
            "cannot make the downloads directory '{}'",
            path.display()
        ))
        .with_hint("free some space, or set AUDIORAG_FETCH_DIR to a directory you may write to")
        .with_stage(Stage::Download)
        .with_cause(error)
    })
}
