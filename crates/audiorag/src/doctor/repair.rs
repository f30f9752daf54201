//! The repair of what the deep check found. What was paid for is cached and used again; only what is in no cache is
//! computed anew, and only with leave to pay where a vendor computes it.

use super::invariants::{Examination, examine, is_embedded};
use crate::guard::Guarded;
use crate::guard::Run;
use crate::index::store::{SourceFacts, upsert};
use crate::index::{self, IndexOptions, Input};
use crate::operation::{may_be_alive, this_process};
use crate::registry::Purpose;
use crate::{AudioRag, CancellationToken};
use audiorag_core::capability::{Selector, VectorStore};
use audiorag_core::id::SourceId;
use audiorag_core::model::Media;
use audiorag_core::{Locator, Money, Result};
use audiorag_state::{
    Claim, Finding, Lease, NewChunk, Outcome, Problem, Remedy, RevisionRecord, Severity, SourceRecord,
};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How long a source is claimed while its vectors are written again. Should this process die, the next one on the
/// same machine does not wait for the end of it.
const LEASE: Duration = Duration::from_mins(15);

/// What a repair may do.
#[derive(Clone, Copy, Debug, Default)]
pub struct RepairOptions {
    /// Change nothing; say what would be done.
    pub dry_run: bool,
    /// Ask vendors that cost money for what is in no cache.
    pub pay: bool,
    /// The most that its calls may cost; `None` means what the settings say.
    pub max_cost: Option<Money>,
}

/// A finding that is still there, and why.
#[derive(Clone, Debug, PartialEq)]
pub struct Unmended {
    /// What is wrong.
    pub finding: Finding,
    /// Why it is still there, or, without a reason to be wrong, what would help.
    pub reason: String,
    /// Whether leave to pay would help.
    pub costs: bool,
}

/// What a repair found and did.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RepairReport {
    /// Whether nothing was changed.
    pub dry_run: bool,
    /// What was mended or, after a dry run, what would be.
    pub mended: Vec<Finding>,
    /// The damage that is left, or would be.
    pub left: Vec<Unmended>,
    /// Notices that are none of the repair's business.
    pub notices: Vec<Finding>,
    /// Vectors written to the store.
    pub written: u64,
    /// Of these, the vectors that were in no cache and were computed.
    pub computed: u64,
    /// Sources built anew from their recordings.
    pub rebuilt: u64,
}

impl RepairReport {
    /// Whether leave to pay would mend more.
    pub fn costs(&self) -> bool {
        self.left.iter().any(|left| left.costs)
    }
}

/// Whether a repair may mend a finding, and if not why.
enum Verdict {
    Yes,
    Costs(String),
    No(String),
}

/// One repair at work.
struct Repair<'a> {
    audiorag: &'a AudioRag,
    /// What its calls belong to.
    run: Run,
    pay: bool,
    report: RepairReport,
    /// What went wrong with single sources.
    trouble: BTreeMap<SourceId, String>,
}

pub(crate) async fn run(audiorag: &AudioRag, run: Run, options: RepairOptions) -> Result<RepairReport> {
    let mut repair = Repair {
        audiorag,
        run,
        pay: options.pay,
        report: RepairReport {
            dry_run: options.dry_run,
            ..RepairReport::default()
        },
        trouble: BTreeMap::new(),
    };
    let found = complete(audiorag).await?;
    if options.dry_run {
        for finding in found {
            match repair.verdict(&finding).await? {
                Verdict::Yes => repair.report.mended.push(finding),
                verdict => repair.leave(finding, verdict),
            }
        }
        return Ok(repair.report);
    }
    let state = &audiorag.state;
    let store = audiorag.registry.store(state, Purpose::Bulk)?;
    state.repair(is_embedded(&store), &may_be_alive).await?;
    index::retire_everywhere(state, &store, None).await?;
    // The state is in order now, so what the store lacks is known exactly.
    let now = complete(audiorag).await?;
    repair.rebuild(&now).await?;
    repair.store(&store, &complete(audiorag).await?).await?;
    // Those that had to wait until now, and those that a store did not remove at first.
    index::retire_everywhere(state, &store, None).await?;
    let left = complete(audiorag).await?;
    let same = |a: &Finding, b: &Finding| a.problem == b.problem && a.source == b.source;
    repair.report.mended = found
        .into_iter()
        .filter(|finding| !left.iter().any(|other| same(finding, other)))
        .collect();
    for finding in left {
        let trouble = finding
            .source
            .as_ref()
            .and_then(|id| repair.trouble.get(id))
            .cloned();
        let verdict = match trouble {
            Some(trouble) => Verdict::No(trouble),
            None => repair.verdict(&finding).await?,
        };
        repair.leave(finding, verdict);
    }
    Ok(repair.report)
}

/// Everything that is wrong. A store that cannot be asked cannot be repaired either.
async fn complete(audiorag: &AudioRag) -> Result<Vec<Finding>> {
    let Examination { findings, store } = examine(&audiorag.state, &audiorag.registry).await?;
    store.map(|()| findings)
}

impl Repair<'_> {
    fn leave(&mut self, finding: Finding, verdict: Verdict) {
        if finding.problem.severity() == Severity::Notice {
            self.report.notices.push(finding);
            return;
        }
        let (reason, costs) = match verdict {
            Verdict::Yes => ("run the repair again".to_owned(), false),
            Verdict::Costs(reason) => (reason, true),
            Verdict::No(reason) => (reason, false),
        };
        self.report.left.push(Unmended {
            finding,
            reason,
            costs,
        });
    }

    /// Whether the repair mends this.
    async fn verdict(&self, finding: &Finding) -> Result<Verdict> {
        Ok(match finding.problem.remedy() {
            Remedy::State | Remedy::Store => Verdict::Yes,
            Remedy::Embed => self.may_embed(finding).await?,
            Remedy::Rebuild => self.may_rebuild(finding).await?,
            Remedy::None => Verdict::No("nothing that a repair may do".to_owned()),
        })
    }

    async fn may_embed(&self, finding: &Finding) -> Result<Verdict> {
        let Some(live) = self.live(finding).await? else {
            return Ok(Verdict::Yes);
        };
        let embedder = match self.audiorag.registry.embedder(Purpose::Bulk) {
            Ok(embedder) => embedder,
            Err(error) => return Ok(Verdict::No(error.report())),
        };
        let space = embedder.space();
        if *space != live.space {
            return Ok(Verdict::No(format!(
                "it was built with the embedding model {}, and the configuration says {}",
                live.space.fingerprint(),
                space.fingerprint()
            )));
        }
        let info = embedder.info();
        if self.pay || info.vendor == "local" {
            return Ok(Verdict::Yes);
        }
        Ok(Verdict::Costs(format!(
            "the vectors are in no cache; {}/{} would compute them at its price",
            info.vendor, info.model
        )))
    }

    /// A source is built anew when its recording is there and everything it needs is cached, or may be paid for.
    async fn may_rebuild(&self, finding: &Finding) -> Result<Verdict> {
        let Some((source, live)) = self.source(finding).await?.zip(self.live(finding).await?) else {
            return Ok(Verdict::Yes);
        };
        let path = source.locator.as_path().map(std::path::Path::to_owned);
        let is_there = match path {
            Some(path) => index::blocking(move || Ok(path.is_file())).await?,
            None => false,
        };
        if !is_there {
            return Ok(Verdict::No(
                "the recording is not there, and only from it can this be mended".to_owned(),
            ));
        }
        let indexer = match self.audiorag.indexer(None) {
            Ok(indexer) => indexer,
            Err(error) => return Ok(Verdict::No(error.report())),
        };
        let local = indexer.transcriber.info().vendor == "local" && indexer.embedder.info().vendor == "local";
        let before: serde_json::Value = serde_json::from_str(&live.config_json).unwrap_or_default();
        let is_given = index::given::given_of(&live).is_some();
        let today = indexer.config_json(options_of(&live).title.as_deref());
        let same = is_given || index::is_same_but_for_its_source(&before, &today);
        let cached = same && finding.problem != Problem::TranscriptsMissing;
        Ok(match (self.pay || local || cached, same) {
            (true, _) => Verdict::Yes,
            (false, true) => Verdict::Costs("transcribing these parts again has its price".to_owned()),
            (false, false) => Verdict::Costs(
                "the settings are not those that it was indexed with, and indexing it anew may have its price"
                    .to_owned(),
            ),
        })
    }

    async fn source(&self, finding: &Finding) -> Result<Option<SourceRecord>> {
        match &finding.source {
            Some(id) => self.audiorag.state.source(id).await,
            None => Ok(None),
        }
    }

    async fn live(&self, finding: &Finding) -> Result<Option<RevisionRecord>> {
        match &finding.source {
            Some(id) => self.audiorag.state.live_revision(id).await,
            None => Ok(None),
        }
    }

    /// Builds sources anew whose chunks or parts cannot be mended where they are.
    async fn rebuild(&mut self, found: &[Finding]) -> Result<()> {
        let mut inputs: BTreeMap<SourceId, (Locator, IndexOptions)> = BTreeMap::new();
        for finding in found
            .iter()
            .filter(|finding| finding.problem.remedy() == Remedy::Rebuild)
        {
            if let Verdict::Yes = self.verdict(finding).await?
                && let Some((source, live)) = self.source(finding).await?.zip(self.live(finding).await?)
            {
                inputs.insert(source.id, (source.locator, options_of(&live)));
            }
        }
        for (id, (locator, options)) in inputs {
            let Some(path) = locator.as_path() else { continue };
            let inputs = vec![Input::Path(path.to_owned())];
            let report = self
                .audiorag
                .index_for(&self.run, inputs, options, &(), CancellationToken::new())
                .await?;
            self.report.rebuilt += (report.indexed.len() + report.empty.len()) as u64;
            if let Some(failed) = report.failed.first() {
                self.trouble.insert(id, failed.message.clone());
            } else if let Some(skipped) = report.skipped.first() {
                self.trouble.insert(id, skipped.reason.clone());
            }
        }
        Ok(())
    }

    /// Brings the store in line with the live revisions.
    async fn store(&mut self, store: &Guarded<dyn VectorStore>, found: &[Finding]) -> Result<()> {
        let mut sources = BTreeSet::new();
        let mut crowded = BTreeSet::new();
        for finding in found {
            let Some(id) = &finding.source else { continue };
            match finding.problem {
                Problem::OrphanVectors => {
                    crowded.insert(id.clone());
                }
                Problem::VectorsMissing => {}
                Problem::EmbeddingsMissing if matches!(self.verdict(finding).await?, Verdict::Yes) => {}
                _ => continue,
            }
            sources.insert(id.clone());
        }
        for id in sources {
            let trouble = match self.one_source(store, &id, crowded.contains(&id)).await {
                Ok(trouble) => trouble,
                Err(error) if error.stops_batch() => return Err(error),
                Err(error) => Some(error.report()),
            };
            if let Some(trouble) = trouble {
                self.trouble.insert(id, trouble);
            }
        }
        if let Ok(embedder) = self.audiorag.registry.embedder(Purpose::Bulk) {
            store.prepare(embedder.space()).await?;
        }
        Ok(())
    }

    /// Brings one source in line, or says why that has to wait.
    async fn one_source(
        &mut self,
        store: &Guarded<dyn VectorStore>,
        id: &SourceId,
        crowded: bool,
    ) -> Result<Option<String>> {
        let state = &self.audiorag.state;
        // A claim does not keep out a run of this process.
        let content = state.source(id).await?.and_then(|source| source.fingerprint);
        let lock = content.map(|print| self.audiorag.registry.in_work().lock_of(&print.content));
        let _alone = match &lock {
            Some(lock) => Some(lock.lock().await),
            None => None,
        };
        let lease = match state.claim(id, &this_process(), LEASE, &may_be_alive).await? {
            Claim::Granted(lease) => lease,
            Claim::Busy(owner) => return Ok(Some(format!("in progress by {owner}"))),
        };
        let before = state.source(id).await?;
        let outcome = self.rewrite(store, &lease, crowded).await;
        // Whatever became of the last run of this source is still what became of it.
        let last = before.and_then(|source| source.failure);
        let released = state
            .release(&lease, &last.map_or(Outcome::Done, Outcome::Failed))
            .await;
        let trouble = outcome?;
        released.map(|()| trouble)
    }

    /// Writes the vectors of the live revision again, from the cache where they are in it.
    async fn rewrite(
        &mut self,
        store: &Guarded<dyn VectorStore>,
        lease: &Lease,
        crowded: bool,
    ) -> Result<Option<String>> {
        let state = &self.audiorag.state;
        let id = &lease.source_id;
        let source = state.source(id).await?;
        let live = state.live_revision(id).await?;
        if crowded && !is_embedded(store) {
            // The store cannot name the revisions that it should not have, so everything of the source goes, and
            // what belongs there comes back at once. An unfinished revision loses what it wrote, so it is not to be
            // gone on with. The claim says that nobody is about to: a repair that was killed has left it.
            state.retire_unfinished(lease).await?;
            if let Some(live) = &live {
                store.prepare(&live.space).await?;
            }
            store.delete(&Selector::Source(id.clone())).await?;
        }
        let Some((source, live)) = source.zip(live) else {
            return Ok(None);
        };
        let mut chunks: Vec<NewChunk> = state
            .chunks_of(live.id)
            .await?
            .into_iter()
            .map(|stored| NewChunk {
                chunk: stored.chunk(),
                id: stored.chunk_id,
                embedding_key: stored.embedding_key,
            })
            .collect();
        let embedder = self.audiorag.registry.embedder(Purpose::Bulk);
        let embedder = embedder.map(|embedder| embedder.during(&self.run));
        if let Ok(embedder) = embedder
            && *embedder.space() == live.space
            && (self.pay || embedder.info().vendor == "local")
        {
            state.drop_damaged_embeddings(lease, live.id).await?;
            let batch = self.audiorag.settings.embedding.batch;
            let computed =
                index::embed::embed(state, &embedder, batch, lease, &chunks, &CancellationToken::new())
                    .await?;
            self.report.computed += computed as u64;
        }
        // What may not be computed is left out, and found again by the last check.
        let keys: Vec<_> = chunks.iter().map(|chunk| chunk.embedding_key.clone()).collect();
        let mut known = state.cached_embeddings(&keys).await?;
        known.retain(|_, vector| vector.len() == live.space.dimensions);
        chunks.retain(|chunk| known.contains_key(&chunk.embedding_key));
        store.prepare(&live.space).await?;
        let facts = SourceFacts {
            source_id: id.clone(),
            revision: live.id,
            title: source.title,
            language: live.language,
            date: source.media.as_ref().and_then(Media::day),
        };
        upsert(state, store, &live.space, lease, &facts, &chunks).await?;
        self.report.written += chunks.len() as u64;
        Ok(None)
    }
}

/// The options under which a revision was built, as far as they shape it.
fn options_of(live: &RevisionRecord) -> IndexOptions {
    let config: serde_json::Value = serde_json::from_str(&live.config_json).unwrap_or_default();
    IndexOptions {
        force: true,
        title: config
            .get("title")
            .and_then(|title| title.as_str())
            .map(str::to_owned),
        ..IndexOptions::default()
    }
}
