//! What an index run would do and cost, without doing it: nothing is written and nothing is sent.
//!
//! A recording of which nothing is stored is not decoded: its length is what its headers say, which is the most that
//! can be sent. One of which parts are stored is decoded and split as in the run itself, so that what the stored
//! transcripts save is exact.

use super::config::Config;
use super::cut::Material;
use super::discover::{Found, Input, Selection};
use super::event::FailedSource;
use super::given::NAMED_BEFORE;
use super::identify::{self, Look};
use super::voices::Heard;
use super::{IndexOptions, Indexer, watch};
use crate::prices::Prices;
use crate::settings::TranscriptMode;
use audiorag_core::budget::Amounts;
use audiorag_core::capability::{ProviderInfo, Usage};
use audiorag_core::chunking::{self, ChunkStrategy};
use audiorag_core::id::{ContentHash, EmbeddingKey, PartKey, SourceId};
use audiorag_core::model::{Media, Transcript};
use audiorag_core::transcript::assemble;
use audiorag_core::{MediaTime, Money, Result, Span, Stage};
use std::collections::HashSet;
use std::ops::ControlFlow;
use std::path::PathBuf;
use tokio_util::sync::CancellationToken;

/// How long a sentence is, by and large.
const SENTENCE: MediaTime = MediaTime::from_seconds(5);
/// Tokens in a second of speech: some 160 words a minute, four tokens for every three words.
const TOKENS_PER_SECOND: f64 = 160.0 / 60.0 * 4.0 / 3.0;

/// What an index run would do.
#[derive(Clone, Debug, PartialEq)]
pub struct IndexPlan {
    /// Sources that would be worked on or skipped, in the order of the run.
    pub sources: Vec<PlannedSource>,
    /// Sources that cannot be indexed as they are.
    pub failed: Vec<FailedSource>,
    /// Who would transcribe, as `vendor/model`.
    pub transcriber: String,
    /// Who would embed, as `vendor/model`.
    pub embedder: String,
}

/// What would be done with a source.
#[derive(Clone, Debug, PartialEq)]
pub struct PlannedSource {
    /// Its display locator.
    pub source: String,
    /// Its id, where it is known already.
    pub source_id: Option<SourceId>,
    /// Why nothing would be done.
    pub skipped: Option<String>,
    /// The stages that would run.
    pub stages: Vec<Stage>,
    /// Its length as its headers say, or as decoded.
    pub duration: Option<MediaTime>,
    /// The transcript that would be used in place of speech-to-text.
    pub transcript: Option<String>,
    /// What speech-to-text would be sent.
    pub transcribe: PlannedCalls,
    /// What would be embedded.
    pub embed: PlannedCalls,
}

/// Calls to one provider.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PlannedCalls {
    /// What would be sent, and its price.
    pub needed: Amounts,
    /// What need not be sent because it is stored, and what that saves.
    pub saved: Amounts,
    /// Whether the numbers are exact, and not the most that headers and averages lead to expect.
    pub exact: bool,
}

impl IndexPlan {
    /// What the run would cost at most; `None` where a price is unknown.
    pub fn cost(&self) -> Option<Money> {
        self.calls().map(|calls| calls.needed.cost).sum()
    }

    /// What stored transcripts and vectors save, as far as prices are known.
    pub fn saved(&self) -> Money {
        self.calls().filter_map(|calls| calls.saved.cost).sum()
    }

    /// Audio that would be sent to speech-to-text.
    pub fn audio(&self) -> MediaTime {
        let millis = self.calls().map(|calls| calls.needed.usage.audio.as_millis());
        MediaTime::from_millis(millis.sum())
    }

    fn calls(&self) -> impl Iterator<Item = PlannedCalls> {
        self.sources
            .iter()
            .flat_map(|source| [source.transcribe, source.embed])
    }
}

impl PlannedSource {
    fn skipped(found: &Found, source_id: Option<SourceId>, reason: String) -> Self {
        Self {
            source: found.locator.to_string(),
            source_id,
            skipped: Some(reason),
            stages: Vec::new(),
            duration: None,
            transcript: None,
            transcribe: PlannedCalls::none(),
            embed: PlannedCalls::none(),
        }
    }
}

impl PlannedCalls {
    /// No calls at all, which is exact.
    pub(super) fn none() -> Self {
        Self {
            needed: free(),
            saved: free(),
            exact: true,
        }
    }

    fn priced(prices: &Prices, info: &ProviderInfo, needed: Usage, saved: Usage, exact: bool) -> Self {
        let amounts = |usage: Usage| Amounts {
            usage,
            cost: if usage == Usage::default() {
                Some(Money::ZERO)
            } else {
                prices.cost(info, &usage)
            },
        };
        Self {
            needed: amounts(needed),
            saved: amounts(saved),
            exact,
        }
    }
}

fn free() -> Amounts {
    Amounts {
        usage: Usage::default(),
        cost: Some(Money::ZERO),
    }
}

/// A part as it would be sent.
struct Part {
    span: Span,
    /// Absent where nobody speaks.
    key: Option<PartKey>,
}

impl Indexer {
    /// Works out what [`index`](Self::index) would do.
    pub(crate) async fn plan(
        &self,
        inputs: Vec<Input>,
        selection: Selection,
        options: &IndexOptions,
        prices: &Prices,
    ) -> Result<IndexPlan> {
        let name = |info: &ProviderInfo| format!("{}/{}", info.vendor, info.model);
        let mut plan = IndexPlan {
            sources: Vec::new(),
            failed: Vec::new(),
            transcriber: name(self.transcriber.info()),
            embedder: name(self.embedder.info()),
        };
        // A second copy of the same bytes costs nothing once the first one is indexed.
        let mut planned: HashSet<ContentHash> = HashSet::new();
        let cancel = CancellationToken::new();
        let found = self.discover(inputs, selection, options, &cancel).await?;
        super::given::refuse_several(options, found.len())?;
        for item in found {
            let outcome = match &item {
                Ok(found) => self.plan_source(found, options, prices, &mut planned).await,
                Err(error) => {
                    let name = error.source_name().unwrap_or_default();
                    plan.failed.push(FailedSource::new(name, error));
                    continue;
                }
            };
            match (outcome, item) {
                (Ok(source), _) => plan.sources.push(source),
                (Err(error), Ok(found)) => {
                    plan.failed
                        .push(FailedSource::new(found.locator.to_string(), &error));
                }
                (Err(_), Err(_)) => {}
            }
        }
        Ok(plan)
    }

    async fn plan_source(
        &self,
        found: &Found,
        options: &IndexOptions,
        prices: &Prices,
        planned: &mut HashSet<ContentHash>,
    ) -> Result<PlannedSource> {
        let given = self.given(found, options).await?.ready;
        let config = self.config(options.title.as_deref(), given.as_ref());
        if found.url().is_some() {
            return self.plan_download(found, &config, options.force, prices).await;
        }
        let cancel = CancellationToken::new();
        let look = identify::look(&self.state, found, &config, options.force, &cancel).await?;
        let (known, path, content) = match look {
            Look::Unchanged(source, reason) => {
                return Ok(PlannedSource::skipped(found, Some(source.id), reason));
            }
            Look::Changed {
                known,
                path,
                fingerprint,
            } => (known, path, fingerprint.content),
        };
        let source_id = known.map(|known| known.id);
        let media = watch::probe(&path, &self.settings.speech.decode).await?;
        let mut source = PlannedSource {
            source: found.locator.to_string(),
            source_id,
            skipped: None,
            stages: vec![
                Stage::Probe,
                Stage::Split,
                Stage::Chunk,
                Stage::Store,
                Stage::Verify,
                Stage::Publish,
            ],
            duration: media.duration,
            transcript: None,
            transcribe: PlannedCalls::none(),
            embed: PlannedCalls::none(),
        };
        let live = match &source.source_id {
            Some(id) => self.state.live_revision(id).await?,
            None => None,
        };
        let live = live.filter(|live| live.content == content);
        let ready = given
            .as_ref()
            .map(|ready| (ready.name.clone(), ready.transcript(&media)));
        let given = match (ready, &live) {
            (Some(ready), _) => Some(ready),
            (None, Some(live)) if self.kept(&config, Some(live)).await?.is_some() => {
                Some((NAMED_BEFORE.to_owned(), self.state.transcript(live.id).await?))
            }
            _ => None,
        };
        if let Some((name, transcript)) = given {
            source.embed = self
                .embedding_stored(prices, &transcript, &media, options)
                .await?;
            source.duration = Some(transcript.duration);
            source.transcript = Some(name);
            source.stages.retain(|stage| *stage != Stage::Split);
        } else if !planned.insert(content.clone()) {
            let whole = self.whole(&media);
            source.transcribe = self.transcription(prices, Usage::default(), whole, false);
            return Ok(source);
        } else {
            self.plan_speech(&mut source, &path, &content, &media, options, prices)
                .await?;
        }
        if source.transcribe.needed.usage.requests > 0 {
            source.stages.insert(2, Stage::Transcribe);
        }
        if source.embed.needed.usage.requests > 0 {
            let before = source.stages.iter().position(|stage| *stage == Stage::Store);
            source.stages.insert(before.unwrap_or_default(), Stage::Embed);
        }
        Ok(source)
    }

    /// What speech-to-text and embedding would be sent for a recording.
    async fn plan_speech(
        &self,
        source: &mut PlannedSource,
        path: &std::path::Path,
        content: &ContentHash,
        media: &Media,
        options: &IndexOptions,
        prices: &Prices,
    ) -> Result<()> {
        let stored = self.state.stored_parts(content).await?;
        if stored.is_empty() {
            let whole = self.whole(media);
            source.transcribe = self.transcription(prices, whole, Usage::default(), false);
            let speech = media.duration.unwrap_or_default();
            source.embed = self.embedding_of(prices, speech);
        } else {
            let (parts, duration) = self
                .split(path, content, source.source_id.as_ref(), &stored)
                .await?;
            source.duration = Some(duration);
            let mut needed = Usage::default();
            let mut saved = Usage::default();
            for part in &parts {
                let usage = match &part.key {
                    None => continue,
                    Some(key) if stored.contains(key) => &mut saved,
                    Some(_) => &mut needed,
                };
                usage.requests += 1;
                usage.audio = usage.audio.saturating_add(part.span.duration());
            }
            source.transcribe = self.transcription(prices, needed, saved, true);
            source.embed = if needed.requests == 0 {
                let transcript = self.stored_transcript(&parts, duration).await?;
                self.embedding_stored(prices, &transcript, media, options).await?
            } else {
                // What is stored of it may not have been embedded yet either.
                self.embedding_of(prices, needed.audio.saturating_add(saved.audio))
            };
        }
        Ok(())
    }

    /// A recording that is not here: what is known of it is what a feed says, or what the last download was.
    async fn plan_download(
        &self,
        found: &Found,
        config: &Config,
        force: bool,
        prices: &Prices,
    ) -> Result<PlannedSource> {
        let known = self.state.find_source(&found.locator).await?;
        if let Some(source) = known
            .as_ref()
            .filter(|source| !force && identify::is_settled(source))
            && let Some(last) = &source.fingerprint
            && identify::is_current(&self.state, source, &last.content, config).await?
        {
            let reason = format!(
                "{}, unless its server says otherwise",
                identify::unchanged(source)
            );
            return Ok(PlannedSource::skipped(found, Some(source.id.clone()), reason));
        }
        let said = found.remote.as_ref().and_then(|remote| remote.said.as_ref());
        let duration = known
            .as_ref()
            .and_then(|source| source.duration)
            .or_else(|| said.and_then(|said| said.duration));
        let length = duration.unwrap_or_default();
        let announced = Media {
            duration,
            ..Media::default()
        };
        let mut source = PlannedSource {
            source: found.locator.to_string(),
            source_id: known.map(|known| known.id),
            skipped: None,
            stages: vec![
                Stage::Download,
                Stage::Probe,
                Stage::Split,
                Stage::Transcribe,
                Stage::Chunk,
                Stage::Embed,
                Stage::Store,
                Stage::Verify,
                Stage::Publish,
            ],
            duration,
            transcript: None,
            transcribe: self.transcription(prices, self.whole(&announced), Usage::default(), false),
            embed: self.embedding_of(prices, length),
        };
        let offered = found
            .remote
            .as_ref()
            .is_some_and(|remote| !remote.transcripts.is_empty());
        if offered && self.settings.transcript != TranscriptMode::Never {
            source.transcript = Some("the feed's, if it can be read".to_owned());
            source.transcribe = PlannedCalls::none();
            source
                .stages
                .retain(|stage| !matches!(stage, Stage::Split | Stage::Transcribe));
        }
        if duration.is_none() {
            // Nobody knows before it is here.
            source.transcribe.needed.cost = None;
            source.embed.needed.cost = None;
        }
        Ok(source)
    }

    /// All of a recording sent in parts of the usual length, every channel for itself where each is a speaker. One of
    /// which nothing is known has two.
    fn whole(&self, media: &Media) -> Usage {
        let duration = media.duration.unwrap_or_default().as_millis();
        let channels = match (self.settings.speech.each_channel, media.channels) {
            (false, _) => 1,
            (true, 0) => 2,
            (true, count) => u64::from(count),
        };
        let part = self.transcriber.limits().preferred_part.as_millis().max(1);
        let parts = duration.div_ceil(part).saturating_mul(channels);
        Usage {
            requests: u32::try_from(parts).unwrap_or(u32::MAX),
            audio: MediaTime::from_millis(duration.saturating_mul(channels)),
            ..Usage::default()
        }
    }

    pub(super) fn transcription(
        &self,
        prices: &Prices,
        needed: Usage,
        saved: Usage,
        exact: bool,
    ) -> PlannedCalls {
        PlannedCalls::priced(prices, self.transcriber.info(), needed, saved, exact)
    }

    /// The embedding of speech that nobody has heard yet, by averages.
    pub(super) fn embedding_of(&self, prices: &Prices, speech: MediaTime) -> PlannedCalls {
        let mut tokens = (speech.as_seconds_f64() * TOKENS_PER_SECOND).ceil() as u64;
        let mut chunks = speech
            .as_millis()
            .div_ceil(self.settings.chunks.target().as_millis().max(1));
        if self.settings.chunks.strategy() == ChunkStrategy::Semantic {
            tokens *= 2;
            chunks += speech.as_millis().div_ceil(SENTENCE.as_millis());
        }
        let batch = self.batch() as u64;
        let needed = Usage {
            requests: u32::try_from(chunks.div_ceil(batch)).unwrap_or(u32::MAX),
            input_tokens: tokens,
            ..Usage::default()
        };
        PlannedCalls::priced(prices, self.embedder.info(), needed, Usage::default(), false)
    }

    /// The embedding of `texts` texts of so many tokens.
    pub(super) fn embedding_needed(&self, prices: &Prices, texts: usize, tokens: u64) -> PlannedCalls {
        let needed = Usage {
            requests: u32::try_from(texts.div_ceil(self.batch())).unwrap_or(u32::MAX),
            input_tokens: tokens,
            ..Usage::default()
        };
        PlannedCalls::priced(prices, self.embedder.info(), needed, Usage::default(), true)
    }

    /// The transcript that stored parts make.
    async fn stored_transcript(&self, parts: &[Part], duration: MediaTime) -> Result<Transcript> {
        let mut transcripts = Vec::with_capacity(parts.len());
        for part in parts {
            let transcript = match &part.key {
                Some(key) => self.state.part_transcript(key).await?.unwrap_or_default(),
                None => audiorag_core::model::PartTranscript::default(),
            };
            transcripts.push((part.span, transcript));
        }
        Ok(assemble(
            transcripts.iter().map(|(span, part)| (*span, part)),
            duration,
        ))
    }

    /// The embedding of a transcript that is known: what is missing is known text by text.
    async fn embedding_stored(
        &self,
        prices: &Prices,
        transcript: &Transcript,
        media: &Media,
        options: &IndexOptions,
    ) -> Result<PlannedCalls> {
        let title = options.title.as_deref().or(media.title.as_deref());
        let (_, texts) = self.to_embed(Material {
            units: &chunking::units(transcript, &self.settings.chunks),
            header: title,
            media,
        });
        let keys: Vec<EmbeddingKey> = texts.iter().map(|(key, _)| key.clone()).collect();
        let known = self.state.known_embeddings(&keys).await?;
        let (mut needed, mut saved) = (Usage::default(), Usage::default());
        let mut missing = 0;
        let mut seen = HashSet::new();
        for (key, text) in &texts {
            let tokens = crate::guard::tokens(text);
            if known.contains(key) {
                saved.input_tokens += tokens;
            } else if seen.insert(key) {
                needed.input_tokens += tokens;
                missing += 1;
            }
        }
        let calls = |texts: usize| u32::try_from(texts.div_ceil(self.batch())).unwrap_or(u32::MAX);
        needed.requests = calls(missing);
        saved.requests = calls(known.len());
        Ok(PlannedCalls::priced(
            prices,
            self.embedder.info(),
            needed,
            saved,
            true,
        ))
    }

    /// Texts in one call.
    fn batch(&self) -> usize {
        let most = self.embedder.limits().max_batch.max(1);
        self.settings.embedding_batch.clamp(1, most)
    }

    /// Decodes and splits as the run would.
    async fn split(
        &self,
        path: &std::path::Path,
        content: &ContentHash,
        source: Option<&SourceId>,
        stored: &HashSet<PartKey>,
    ) -> Result<(Vec<Part>, MediaTime)> {
        let (generation, stored) = (self.inherited(source, content).await?, stored.clone());
        let speech = self.settings.speech.clone();
        let transcriber = self.transcriber.info().fingerprint();
        let (path, content): (PathBuf, _) = (path.to_owned(), content.clone());
        let (whole, limits) = (path.clone(), speech.decode.limits);
        watch::decoding(&whole, &limits, move |pulse| {
            let mut parts = Vec::new();
            let alive = pulse.of_decoder();
            let ended = speech.reading().read(&path, &alive, |Heard { channel, part }| {
                let key = part.has_speech().then(|| {
                    let place = (channel, part.span);
                    let key = |generation| speech.part_key(&content, place, &transcriber, generation);
                    // What was transcribed again comes before what was transcribed first.
                    Some(key(generation))
                        .filter(|later| stored.contains(later))
                        .unwrap_or_else(|| key(None))
                });
                parts.push(Part { span: part.span, key });
                Ok(ControlFlow::Continue(()))
            })?;
            Ok((parts, ended.duration))
        })
        .await
    }
}
