//! The deep check: do the state and the vector store still say the same?
//!
//! The state is asked in one snapshot. The embedded vector store is part of it; any other store is asked afterwards
//! what its trait allows, which is to count, so that its answers are compared with the state as it is then.

use crate::guard::Guarded;
use crate::index::blocking;
use crate::operation::may_be_alive;
use crate::registry::{Purpose, Registry};
use audiorag_core::Result;
use audiorag_core::capability::{Selector, VectorStore};
use audiorag_core::id::{ChunkId, SourceId};
use audiorag_core::model::EmbeddingSpace;
use audiorag_state::{Finding, Problem, SourceRecord, State, StoredRevision};
use futures_util::{StreamExt as _, TryStreamExt as _};

/// Sources that are compared with the store side by side.
const CONCURRENCY: usize = 8;
/// Chunks of one question to the store.
const CHUNKS: usize = 256;
/// How often a source that changes under our eyes is looked at again.
const LOOKS: usize = 3;

/// What was found, and what kept the vector store from being asked.
pub(crate) struct Examination {
    pub(crate) findings: Vec<Finding>,
    pub(crate) store: Result<()>,
}

/// Checks every invariant.
pub(crate) async fn examine(state: &State, registry: &Registry) -> Result<Examination> {
    let store = registry.store(state, Purpose::Query);
    let embedded = store.as_ref().is_ok_and(is_embedded);
    let mut findings = state.check(embedded, &may_be_alive).await?;
    findings.extend(recordings(state).await?);
    let outside = async {
        let store = store?;
        if embedded {
            return Ok(Vec::new());
        }
        let configured = registry
            .embedder(Purpose::Query)
            .ok()
            .map(|embedder| embedder.space().clone());
        compare(state, &store, configured).await
    };
    let store = outside.await.map(|found| findings.extend(found));
    findings.sort();
    Ok(Examination { findings, store })
}

/// Whether the store is the one inside the database.
pub(crate) fn is_embedded(store: &Guarded<dyn VectorStore>) -> bool {
    store.info().vendor == "embedded"
}

/// I6 for recordings.
async fn recordings(state: &State) -> Result<Vec<Finding>> {
    let sources = state.list_sources().await?;
    blocking(move || {
        let gone = sources.into_iter().filter(|source| {
            let path = source.locator.as_path();
            path.is_some_and(|path| matches!(path.try_exists(), Ok(false)))
        });
        Ok(gone
            .map(|source| {
                Finding::new(Problem::RecordingMissing, 1).of(source.id, source.locator.to_string())
            })
            .collect())
    })
    .await
}

/// I1 and I3 for a store outside the database, in each space that live revisions are in.
async fn compare(
    state: &State,
    store: &Guarded<dyn VectorStore>,
    configured: Option<EmbeddingSpace>,
) -> Result<Vec<Finding>> {
    let sources = state.list_sources().await?;
    let mut spaces: Vec<EmbeddingSpace> = Vec::new();
    for source in &sources {
        if let Some(live) = state.live_revision(&source.id).await?
            && live.chunk_count > 0
            && !spaces.contains(&live.space)
        {
            spaces.push(live.space);
        }
    }
    // The configured one comes last: what a store is prepared for, it stays prepared for.
    if let Some(space) = configured {
        spaces.retain(|other| *other != space);
        spaces.push(space);
    }
    let mut findings = Vec::new();
    for space in spaces {
        store.prepare(&space).await?;
        let all = store.count(&Selector::All).await?;
        let outcomes: Vec<Outcome> = futures_util::stream::iter(&sources)
            .map(|source| look(state, store, &space, source))
            .buffer_unordered(CONCURRENCY)
            .try_collect()
            .await?;
        let mut known: u64 = outcomes.iter().map(|outcome| outcome.total).sum();
        for retirement in state.pending_retirements().await? {
            let gone = !sources.iter().any(|source| source.id == retirement.source_id);
            if gone && retirement.space == space {
                let selector = Selector::Revision(retirement.source_id, retirement.revision);
                known += store.count(&selector).await?;
            }
        }
        if all > known {
            findings.push(Finding::new(Problem::Strangers, all - known));
        }
        findings.extend(outcomes.into_iter().flat_map(|outcome| outcome.findings));
    }
    Ok(findings)
}

/// What the store says of one source.
#[derive(Default)]
struct Outcome {
    total: u64,
    findings: Vec<Finding>,
}

/// Compares one source. When it changed meanwhile, what was counted says nothing: it is counted again, and left alone
/// when it does not come to rest.
async fn look(
    state: &State,
    store: &Guarded<dyn VectorStore>,
    space: &EmbeddingSpace,
    source: &SourceRecord,
) -> Result<Outcome> {
    let mut outcome = Outcome::default();
    for _ in 0..LOOKS {
        let before = state.revisions_in_store(&source.id).await?;
        outcome = count(store, space, source, &before).await?;
        let now = state.source(&source.id).await?;
        let in_work = now
            .and_then(|source| source.owner)
            .is_some_and(|owner| may_be_alive(&owner));
        if !in_work && state.revisions_in_store(&source.id).await? == before {
            return Ok(outcome);
        }
    }
    outcome.findings.clear();
    Ok(outcome)
}

async fn count(
    store: &Guarded<dyn VectorStore>,
    space: &EmbeddingSpace,
    source: &SourceRecord,
    revisions: &[StoredRevision],
) -> Result<Outcome> {
    let total = store.count(&Selector::Source(source.id.clone())).await?;
    let mut outcome = Outcome {
        total,
        findings: Vec::new(),
    };
    let mut known = 0;
    for revision in revisions.iter().filter(|revision| revision.space == *space) {
        let counted = store
            .count(&Selector::Revision(source.id.clone(), revision.id))
            .await?;
        if !revision.is_live {
            known += counted;
            continue;
        }
        // A record that is there under another revision would be left out of answers with it.
        let there = present(store, &revision.chunks).await?.min(counted);
        known += there;
        let missing = (revision.chunks.len() as u64).saturating_sub(there);
        if missing > 0 {
            let finding = about(Problem::VectorsMissing, missing, &source.id, source);
            outcome.findings.push(finding.in_revision(revision.id));
        }
    }
    if total > known {
        let orphans = about(Problem::OrphanVectors, total - known, &source.id, source);
        outcome.findings.push(orphans);
    }
    Ok(outcome)
}

fn about(problem: Problem, count: u64, id: &SourceId, source: &SourceRecord) -> Finding {
    Finding::new(problem, count).of(id.clone(), source.locator.to_string())
}

/// How many of the chunks are in the store.
async fn present(store: &Guarded<dyn VectorStore>, chunks: &[ChunkId]) -> Result<u64> {
    let mut present = 0;
    for batch in chunks.chunks(CHUNKS) {
        present += store.count(&Selector::Chunks(batch.to_vec())).await?;
    }
    Ok(present)
}
