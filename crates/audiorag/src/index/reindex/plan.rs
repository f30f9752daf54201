//! What a run would do and cost, without doing any of it.

use super::super::Indexer;
use super::super::cut::Material;
use super::super::given::{GIVEN, given_of};
use super::super::plan::PlannedCalls;
use super::super::voices::channels_of;
use super::{NOT_INDEXED, Reindex, ReindexOptions, title_of};
use crate::prices::Prices;
use audiorag_core::capability::Usage;
use audiorag_core::chunking::Cutting;
use audiorag_core::id::SourceId;
use audiorag_core::{MediaTime, Money, Result};
use audiorag_state::{RevisionRecord, SourceRecord};
use std::collections::HashMap;

/// What a run would do.
#[derive(Clone, Debug, PartialEq)]
pub struct ReindexPlan {
    /// Every source of the run.
    pub sources: Vec<ReindexedSource>,
    /// Whether anything would be sent to a provider outside this process, which may cost money.
    pub is_remote: bool,
}

impl ReindexPlan {
    /// Parts that would be sent to speech-to-text.
    pub fn parts(&self) -> u32 {
        self.sources.iter().map(ReindexedSource::parts).sum()
    }

    /// The length of those parts.
    pub fn audio(&self) -> MediaTime {
        self.sources.iter().fold(MediaTime::ZERO, |sum, source| {
            sum.saturating_add(source.transcribe.needed.usage.audio)
        })
    }

    /// Texts that would be embedded, as far as they are known: those of parts that are transcribed again are not.
    pub fn vectors(&self) -> usize {
        self.sources.iter().map(|source| source.new_vectors).sum()
    }

    /// What the run would cost at most; `None` where a price is unknown.
    pub fn cost(&self) -> Option<Money> {
        self.sources.iter().map(ReindexedSource::cost).sum()
    }
}

/// What a run would do for one source.
#[derive(Clone, Debug, PartialEq)]
pub struct ReindexedSource {
    /// Its display locator.
    pub source: String,
    /// Its id.
    pub source_id: SourceId,
    /// Why nothing would be done for it.
    pub skip: Option<String>,
    /// Parts to be transcribed, where the file has not changed since it was indexed.
    pub transcribe: PlannedCalls,
    /// What would be embedded. An estimate where parts are transcribed again.
    pub embed: PlannedCalls,
    /// Chunks in the new revision; those of the live one where parts are transcribed again.
    pub chunks: usize,
    /// Vectors to be computed; unknown, and zero, where parts are transcribed again.
    pub new_vectors: usize,
}

impl ReindexedSource {
    /// Parts that would be sent to speech-to-text.
    pub fn parts(&self) -> u32 {
        self.transcribe.needed.usage.requests
    }

    /// What its calls would cost at most; `None` where a price is unknown.
    pub fn cost(&self) -> Option<Money> {
        let embed = self.embed.needed.cost?;
        Some(self.transcribe.needed.cost?.saturating_add(embed))
    }
}

impl Indexer {
    /// What a run would do.
    pub(crate) async fn plan_reindex(
        &self,
        options: &ReindexOptions,
        prices: &Prices,
    ) -> Result<ReindexPlan> {
        let sources = self.check_and_list(options).await?;
        let requests = self.requests(&sources).await?;
        let is_reembed = options.what == Reindex::Reembed;
        let mut plan = ReindexPlan {
            sources: Vec::with_capacity(sources.len()),
            is_remote: self.embedder.info().vendor != "local",
        };
        plan.is_remote |= options.what == Reindex::Retranscribe && self.transcriber.info().vendor != "local";
        for source in sources {
            let mut planned = ReindexedSource {
                source: source.locator.to_string(),
                source_id: source.id.clone(),
                skip: None,
                transcribe: PlannedCalls::none(),
                embed: PlannedCalls::none(),
                chunks: 0,
                new_vectors: 0,
            };
            match self.state.live_revision(&source.id).await? {
                None => planned.skip = Some(NOT_INDEXED.to_owned()),
                Some(live) if options.what == Reindex::Retranscribe => {
                    let request = requests.of(&source.id);
                    planned.chunks = live.chunk_count as usize;
                    if given_of(&live).is_some() {
                        planned.skip = Some(GIVEN.to_owned());
                    } else if self.is_done(&live, request).await? {
                        planned.skip = Some("nobody speaks, or transcribed again already".to_owned());
                    } else {
                        let needed = self.parts_to_do(&live, request).await?;
                        planned.transcribe = self.transcription(prices, needed, Usage::default(), true);
                        planned.embed = self.embedding_of(prices, needed.audio);
                    }
                }
                Some(live) if self.is_made(&live, &source, is_reembed).await? => {
                    planned.skip = Some("unchanged".to_owned());
                }
                Some(live) => self.plan_remake(&source, &live, prices, &mut planned).await?,
            }
            plan.sources.push(planned);
        }
        Ok(plan)
    }

    /// The parts that a request has still to transcribe, if the file is as it was.
    async fn parts_to_do(&self, live: &RevisionRecord, request: u64) -> Result<Usage> {
        let stored = self.state.stored_parts(&live.content).await?;
        let transcriber = self.transcriber.info().fingerprint();
        let speech = &self.settings.speech;
        let mut needed = Usage::default();
        let parts = self.state.parts_of(live.id).await?;
        for (part, channel) in parts.iter().zip(channels_of(&parts)) {
            let key = speech.part_key(&live.content, (channel, part.span), &transcriber, Some(request));
            if part.key.is_some() && !stored.contains(&key) {
                needed.requests += 1;
                needed.audio = needed.audio.saturating_add(part.span.duration());
            }
        }
        Ok(needed)
    }

    async fn plan_remake(
        &self,
        source: &SourceRecord,
        live: &RevisionRecord,
        prices: &Prices,
        planned: &mut ReindexedSource,
    ) -> Result<()> {
        let mut cutting = Cutting::new(&self.settings.chunks);
        self.state
            .read_segments(live.id, |segment| cutting.push(&segment))
            .await?;
        let media = source.media.clone().unwrap_or_default();
        let header = title_of(&self.config_like(live, source).await?).or_else(|| media.title.clone());
        let (chunks, texts) = self.to_embed(Material {
            units: &cutting.into_units(),
            header: header.as_deref(),
            media: &media,
        });
        let keys: Vec<_> = texts.iter().map(|(key, _)| key.clone()).collect();
        let known = self.state.known_embeddings(&keys).await?;
        // Equal texts are embedded once.
        let missing: HashMap<_, _> = texts
            .iter()
            .filter(|(key, _)| !known.contains(key))
            .map(|(key, text)| (key, crate::guard::tokens(text)))
            .collect();
        planned.chunks = chunks;
        planned.new_vectors = missing.len();
        planned.embed = self.embedding_needed(prices, missing.len(), missing.values().sum());
        Ok(())
    }
}
