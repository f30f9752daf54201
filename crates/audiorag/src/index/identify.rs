//! Which source is this, and does anything have to be done?

use super::config::{Config, Shape};
use super::discover::Found;
use audiorag_core::id::{ContentHash, SourceId};
use audiorag_core::model::{Fingerprint, Media, SourceStatus};
use audiorag_core::{Error, Locator, Result};
use audiorag_state::{Lease, NewSource, SourceRecord, State};
use std::path::{Path, PathBuf};
use tokio_util::sync::CancellationToken;

/// What was decided about a discovered recording.
#[derive(Debug)]
pub(crate) enum Identity {
    /// The live revision is what would be built.
    Unchanged(SourceId, String),
    /// There is work.
    Work(Box<Target>),
}

/// A source that is to be built.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) source: SourceRecord,
    pub(crate) path: PathBuf,
    pub(crate) fingerprint: Fingerprint,
    /// What others say of it: they know its title better than its tags do.
    pub(crate) said: Option<Media>,
}

/// What a look at a recording says, before anything is written.
pub(crate) enum Look {
    /// The live revision is what would be built.
    Unchanged(SourceRecord, String),
    /// It is new, edited, moved, or to be built in another way.
    Changed {
        /// The source it is, or was before it was moved.
        known: Option<SourceRecord>,
        path: PathBuf,
        fingerprint: Fingerprint,
    },
}

/// Looks at a recording without writing anything down.
///
/// Size and modification time decide without reading the file when they are those of the live revision;
/// otherwise its bytes are hashed.
pub(crate) async fn look(
    state: &State,
    found: &Found,
    config: &Config,
    force: bool,
    cancel: &CancellationToken,
) -> Result<Look> {
    let path = local_path(found)?;
    let known = state.find_source(&found.locator).await?;
    if !force
        && let Some(source) = &known
        && let Some(last) = &source.fingerprint
        && last.bytes == found.bytes
        && last.modified.is_some()
        && last.modified == found.modified
        && is_settled(source)
        && is_current(state, source, &last.content, config).await?
    {
        return Ok(Look::Unchanged(source.clone(), unchanged(source)));
    }
    let fingerprint = blocking_until(cancel, {
        let path = path.clone();
        move || audiorag_audio::fingerprint(&path)
    })
    .await?;
    let known = match known {
        Some(source) => Some(source),
        None => match elsewhere(state, found).await? {
            Some(source) => Some(source),
            None => moved_from(state, &fingerprint.content).await?,
        },
    };
    Ok(Look::Changed {
        known,
        path,
        fingerprint,
    })
}

/// Recognises a recording: the same place with the same bytes, an edited file, a moved file, or a new one.
pub(crate) async fn identify(
    state: &State,
    found: &Found,
    config: &Config,
    force: bool,
    cancel: &CancellationToken,
) -> Result<Identity> {
    let (source, moved, path, fingerprint) = loop {
        let (known, path, fingerprint) = match look(state, found, config, force, cancel).await? {
            Look::Unchanged(source, reason) => return Ok(Identity::Unchanged(source.id, reason)),
            Look::Changed {
                known,
                path,
                fingerprint,
            } => (known, path, fingerprint),
        };
        let (source, moved) = match known {
            Some(source) if source.locator == found.locator => (source, false),
            Some(source) => {
                let moved = state
                    .relocate_source(&source.id, &source.locator, &found.locator, &fingerprint)
                    .await?;
                // Of two copies of what was moved, one is the source, and the other one saw it go.
                let Some(moved) = moved else { continue };
                tracing::info!(from = %source.locator, to = %found.locator, "source moved");
                (moved, true)
            }
            None => (add(state, &found.locator, &fingerprint).await?, false),
        };
        break (source, moved, path, fingerprint);
    };
    if !force && is_settled(&source) && is_current(state, &source, &fingerprint.content, config).await? {
        state.touch_source(&source.id, &fingerprint).await?;
        let reason = if moved {
            "moved".to_owned()
        } else {
            unchanged(&source)
        };
        return Ok(Identity::Unchanged(source.id, reason));
    }
    Ok(Identity::Work(Box::new(Target {
        said: found.remote.as_ref().and_then(|remote| remote.said.clone()),
        source,
        path,
        fingerprint,
    })))
}

/// Whether the source's live revision was built from these bytes under this configuration, whatever the generation of
/// its parts.
pub(crate) async fn is_current(
    state: &State,
    source: &SourceRecord,
    content: &ContentHash,
    config: &Config,
) -> Result<bool> {
    let Some(live) = state.live_revision(&source.id).await? else {
        return Ok(false);
    };
    let shape = Shape::of(state, source).await?;
    Ok(live.content == *content && live.config == config.as_of(&live, &shape).hash)
}

/// Whether the last run that worked on the source also said how it ended. One that was killed, or that failed
/// after its revision had become visible, leaves a claim or a status that is not true any more.
pub(crate) fn is_settled(source: &SourceRecord) -> bool {
    source.owner.is_none() && matches!(source.status, SourceStatus::Completed | SourceStatus::Empty)
}

/// Makes the status of a source say again that its live revision is whole.
pub(crate) async fn settle(state: &State, lease: &Lease) -> Result<()> {
    match state.live_revision(&lease.source_id).await? {
        Some(live) => {
            let status = if live.chunk_count == 0 {
                SourceStatus::Empty
            } else {
                SourceStatus::Completed
            };
            state.publish_revision(lease, live.id, status).await
        }
        None => Ok(()),
    }
}

/// The source of a file that was moved: it has the same bytes, and its own file is gone.
async fn moved_from(state: &State, content: &ContentHash) -> Result<Option<SourceRecord>> {
    for other in state.sources_with_content(content).await? {
        let Some(path) = other.locator.as_path().map(Path::to_owned) else {
            continue;
        };
        let gone = blocking(move || Ok(matches!(path.try_exists(), Ok(false)))).await?;
        if gone {
            return Ok(Some(other));
        }
    }
    Ok(None)
}

async fn add(state: &State, locator: &Locator, fingerprint: &Fingerprint) -> Result<SourceRecord> {
    let new = NewSource {
        locator: locator.clone(),
        fingerprint: Some(fingerprint.clone()),
        media: None,
        title: Some(locator.default_title()),
    };
    state.add_source(&new).await
}

pub(super) fn unchanged(source: &SourceRecord) -> String {
    match source.status {
        SourceStatus::Empty => "unchanged, no speech in it".to_owned(),
        _ => "unchanged".to_owned(),
    }
}

/// The source of an item of a feed that is at another URL now.
async fn elsewhere(state: &State, found: &Found) -> Result<Option<SourceRecord>> {
    let Some(before) = found.remote.as_ref().and_then(|remote| remote.before.as_deref()) else {
        return Ok(None);
    };
    state.find_source(&Locator::Url(before.to_owned())).await
}

fn local_path(found: &Found) -> Result<PathBuf> {
    let path = found.copy.as_deref().or(found.locator.as_path());
    path.map(Path::to_owned)
        .ok_or_else(|| Error::internal(format!("'{}' was not fetched", found.locator)))
}

/// Runs `work`, which only reads, on a thread that may block, and does not wait for it any more once `cancel` fired: a
/// disk or a network drive can take as long as it likes.
pub(crate) async fn blocking_until<T: Send + 'static>(
    cancel: &CancellationToken,
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    match cancel.run_until_cancelled(blocking(work)).await {
        Some(outcome) => outcome,
        None => Err(Error::cancelled("interrupted; what is done is kept")),
    }
}

/// Runs `work` on a thread that may block.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    let span = tracing::Span::current();
    match tokio::task::spawn_blocking(move || span.in_scope(work)).await {
        Ok(outcome) => outcome,
        Err(error) if error.is_cancelled() => Err(Error::cancelled("the runtime is shutting down")),
        Err(error) => Err(Error::internal("a background task panicked").with_cause(error)),
    }
}
