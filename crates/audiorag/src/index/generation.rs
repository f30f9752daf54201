//! Which of several transcripts of a recording is a source's own.
//!
//! A request to transcribe again makes transcripts under keys of its own, its generation, beside those that are live.
//! The settings of a revision name the generation of its parts, and whatever is made of the source later inherits it.
//! Until such a revision is published, it is the mark that the request is unfinished, and is kept beside whatever else
//! is made of the source.

use super::Indexer;
use super::config::Config;
use audiorag_core::id::{ContentHash, RevisionId, SourceId};
use audiorag_core::{ErrorKind, Result};
use audiorag_state::{RevisionRecord, SourceRecord};
use serde_json::Value;
use std::collections::{HashMap, HashSet};
use std::time::SystemTime;

/// The name of the generation in the settings of a revision.
const GENERATION: &str = "retranscribe";

impl Config {
    /// The same settings, for parts of this generation.
    pub(crate) fn of_generation(&self, generation: Option<u64>) -> Self {
        self.with(GENERATION, generation.map(Value::from))
    }
}

/// The generation of a revision's parts; none for those that were transcribed once.
pub(crate) fn generation_of(revision: &RevisionRecord) -> Option<u64> {
    let json: Value = serde_json::from_str(&revision.config_json).ok()?;
    json.get(GENERATION)?.as_u64()
}

/// Which request to transcribe again each source of a run belongs to.
#[derive(Debug)]
pub(crate) struct Requests {
    /// Those that go on with an earlier request.
    earlier: HashMap<SourceId, u64>,
    /// The one that is made now.
    pub(super) new: u64,
}

impl Requests {
    /// The generation that a source is transcribed for.
    pub(super) fn of(&self, source: &SourceId) -> u64 {
        self.earlier.get(source).copied().unwrap_or(self.new)
    }
}

impl Indexer {
    /// The generation of the transcripts that serve a source with these bytes: that of its live revision, or for one
    /// that has none of them the latest that another source is live with.
    pub(super) async fn inherited(
        &self,
        source: Option<&SourceId>,
        content: &ContentHash,
    ) -> Result<Option<u64>> {
        if let Some(id) = source
            && let Some(live) = self.state.live_revision(id).await?
            && live.content == *content
        {
            return Ok(generation_of(&live));
        }
        let mut latest = None;
        for other in self.state.sources_with_content(content).await? {
            if let Some(live) = self.state.live_revision(&other.id).await?
                && live.content == *content
            {
                latest = latest.max(generation_of(&live));
            }
        }
        Ok(latest)
    }

    /// The unfinished revision of a source that belongs to a request later than `generation`.
    pub(super) async fn open_request(
        &self,
        source: &SourceId,
        content: &ContentHash,
        generation: Option<u64>,
    ) -> Result<Option<RevisionId>> {
        let unfinished = self.state.unfinished_revisions().await?;
        Ok(unfinished
            .iter()
            .filter(|revision| revision.source_id == *source && revision.content == *content)
            .filter(|revision| generation_of(revision) > generation)
            .max_by_key(|revision| generation_of(revision))
            .map(|revision| revision.id))
    }

    /// Finds out what is left of earlier requests. A source that one was left unfinished for goes on with it. So does
    /// one that is done, as long as the same request has others to do; those that failed for good do not count, lest
    /// a file that is gone keeps all the others from ever being transcribed again.
    pub(super) async fn requests(&self, sources: &[SourceRecord]) -> Result<Requests> {
        let unfinished = self.state.unfinished_revisions().await?;
        let mut new = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .map_or(0, |elapsed| elapsed.as_millis() as u64);
        let mut earlier = HashMap::new();
        let mut done = Vec::new();
        let mut under_way = HashSet::new();
        for source in sources {
            let Some(live) = self.state.live_revision(&source.id).await? else {
                continue;
            };
            let own = generation_of(&live);
            let open = unfinished
                .iter()
                .filter(|revision| revision.source_id == source.id)
                .filter_map(generation_of)
                .filter(|generation| Some(*generation) > own)
                .max();
            // Later than every other, whatever the clock says.
            new = new.max(open.or(own).map_or(0, |generation| generation.saturating_add(1)));
            match (open, own) {
                (Some(open), _) => {
                    earlier.insert(source.id.clone(), open);
                    if !failed_for_good(source) {
                        under_way.insert(open);
                    }
                }
                (None, Some(own)) => done.push((source.id.clone(), own)),
                (None, None) => {}
            }
        }
        earlier.extend(
            done.into_iter()
                .filter(|(_, generation)| under_way.contains(generation)),
        );
        Ok(Requests { earlier, new })
    }
}

/// Whether doing the same again would fail again, for a reason that is the source's own.
fn failed_for_good(source: &SourceRecord) -> bool {
    source.failure.as_ref().is_some_and(|failure| {
        matches!(
            failure.kind,
            ErrorKind::Input | ErrorKind::NotFound | ErrorKind::Unsupported | ErrorKind::Internal
        )
    })
}
