//! From a file, or from parts that are transcribed already, to a revision: the steps that every way of making one
//! shares.

use super::config::{Config, Shape};
use super::cut::Material;
use super::event::IndexedSource;
use super::given::{NAMED_BEFORE, Ready};
use super::identify::Target;
use super::stage::Stages;
use super::store::{SourceFacts, retire, upsert, verify};
use super::transcribe::{PartsReport, Transcription};
use super::{Indexer, SourceOutcome, embed, watch};
use crate::operation;
use audiorag_audio::DecodeOptions;
use audiorag_core::chunking::Cutting;
use audiorag_core::id::{ContentHash, RevisionId, SourceId};
use audiorag_core::language;
use audiorag_core::model::{Media, SourceStatus};
use audiorag_core::{Error, ErrorKind, MediaTime, Result, Stage};
use audiorag_state::{Lease, RevisionFacts};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How often a run looks whether another process is done with the same recording.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

/// How a revision is made from a file.
#[derive(Clone, Debug)]
pub(crate) struct Recipe<'a> {
    /// What it is known by, but for the generation of its parts.
    pub(crate) config: &'a Config,
    /// The title that the user gave.
    pub(crate) title: Option<&'a str>,
    /// The transcript that takes the place of speech-to-text.
    pub(crate) given: Option<&'a Ready>,
    /// Set to transcribe again what was transcribed before: for which generation.
    pub(crate) again: Option<u64>,
}

/// A revision whose parts are transcribed.
#[derive(Clone, Copy)]
pub(crate) struct Draft<'a> {
    pub(crate) lease: &'a Lease,
    pub(crate) source_id: &'a SourceId,
    pub(crate) revision: RevisionId,
    pub(crate) media: &'a Media,
    /// The title that goes into the headers of chunks.
    pub(crate) header: Option<&'a str>,
    /// The title that is shown.
    pub(crate) title: &'a str,
    pub(crate) stages: Stages<'a>,
    pub(crate) cancel: &'a CancellationToken,
}

/// What [`Indexer::fill`] made of a draft.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Filled {
    pub(crate) duration: MediaTime,
    pub(crate) chunks: usize,
    pub(crate) embedded: usize,
    pub(crate) suspicious: usize,
}

impl Filled {
    pub(crate) fn status(self) -> SourceStatus {
        if self.chunks == 0 {
            SourceStatus::Empty
        } else {
            SourceStatus::Completed
        }
    }
}

impl Indexer {
    /// Makes a revision from a file and publishes it.
    pub(super) async fn build(
        &self,
        lease: &Lease,
        target: &Target,
        recipe: &Recipe<'_>,
        stages: Stages<'_>,
        cancel: &CancellationToken,
    ) -> Result<SourceOutcome> {
        let (state, source_id) = (&self.state, &target.source.id);
        let mut media = stages
            .run(Stage::Probe, probe(target, &self.settings.speech.decode, cancel))
            .await?;
        if let Some(said) = &target.said {
            media = media.corrected_by(said);
        }
        let media = media;
        let header = recipe.title.map(str::to_owned).or_else(|| media.title.clone());
        let title = header
            .clone()
            .unwrap_or_else(|| target.source.locator.default_title());
        state
            .update_media(lease, &target.fingerprint, &media, Some(&title))
            .await?;
        let content = &target.fingerprint.content;
        let live = state.live_revision(source_id).await?;
        let live = live.filter(|live| live.content == *content && recipe.again.is_none());
        let kept = self.kept(recipe.config, live.as_ref()).await?;
        let config = match (&kept, &live) {
            (Some(_), Some(live)) => &recipe.config.keeping(live),
            _ => recipe.config,
        };
        let is_given = recipe.given.is_some() || kept.is_some();
        let (generation, open) = if recipe.again.is_some() || is_given {
            (recipe.again, None)
        } else {
            let inherited = self.inherited(Some(source_id), content).await?;
            let open = self.open_request(source_id, content, inherited).await?;
            (inherited, open)
        };
        let names = state.speaker_names(source_id).await?;
        let plan = config
            .of_generation(generation)
            .shaped(&Shape::new(&media, &names))
            .plan(content, self.embedder.space());
        let revision = state.begin_revision_beside(lease, &plan, open).await?;

        // Loading takes more memory for a moment than the loaded model: better now than beside the transcriber.
        let warming = async {
            self.warm.get_or_init(|| self.embedder.warm_up()).await;
            Ok(())
        };
        self.within_grace(cancel, warming).await?;
        let start = if is_given {
            SourceStatus::Transcribed
        } else {
            SourceStatus::Transcribing
        };
        self.start_on_bytes(lease, content, start, stages, cancel).await?;
        let parts = if let Some(ready) = recipe.given {
            self.take_given(lease, revision, target, &media, ready, stages)
                .await?
        } else if let Some(part) = &kept {
            self.take_part(lease, revision, part, stages).await?
        } else {
            let transcription = Transcription {
                state,
                transcriber: &self.transcriber,
                settings: &self.settings.speech,
                lanes: &self.lanes,
                lease,
                revision,
                target,
                generation,
                again: recipe.again.is_some(),
            };
            stages
                .run(
                    Stage::Transcribe,
                    transcription.run(media.duration, stages, cancel),
                )
                .await?
        };
        state.set_status(lease, SourceStatus::Transcribed).await?;

        let draft = Draft {
            lease,
            source_id,
            revision,
            media: &media,
            header: header.as_deref(),
            title: &title,
            stages,
            cancel,
        };
        let filled = Box::pin(self.fill(draft, parts.duration)).await?;
        stages
            .run(
                Stage::Publish,
                state.publish_revision(lease, revision, filled.status()),
            )
            .await?;
        self.retire_replaced(stages, cancel).await?;
        let name = recipe.given.map(|ready| ready.name.as_str());
        Ok(outcome(draft, filled, parts).with_transcript(name.or(is_given.then_some(NAMED_BEFORE))))
    }

    /// Records with `status` that vendors may be asked, once no other process works on the same bytes under another
    /// name: its transcripts and vectors serve both.
    pub(super) async fn start_on_bytes(
        &self,
        lease: &Lease,
        content: &ContentHash,
        status: SourceStatus,
        stages: Stages<'_>,
        cancel: &CancellationToken,
    ) -> Result<()> {
        let me = operation::this_process();
        let mut told = false;
        while let Some(owner) = self
            .state
            .start_on_bytes(lease, content, status, &me, &operation::may_be_alive)
            .await?
        {
            if !told {
                stages.warn(format!("waiting for {owner}, which works on the same recording"));
                told = true;
            }
            let waited = cancel.run_until_cancelled(tokio::time::sleep(LOOK_AGAIN)).await;
            if waited.is_none() {
                return Err(Error::cancelled("interrupted while waiting for another process"));
            }
        }
        Ok(())
    }

    /// Cuts the transcript of a draft, embeds the chunks, and writes and checks their vectors.
    pub(super) async fn fill(&self, draft: Draft<'_>, duration: MediaTime) -> Result<Filled> {
        let Draft {
            lease,
            source_id,
            revision,
            stages,
            cancel,
            ..
        } = draft;
        let state = &self.state;
        let (facts, chunks, suspicious) = stages
            .run(Stage::Chunk, async {
                let mut cutting = Cutting::new(&self.settings.chunks);
                let heard = state
                    .read_segments(revision, |segment| cutting.push(&segment))
                    .await?;
                let suspicious = cutting.suspicious();
                let units = cutting.into_units();
                let changes = Box::pin(self.within_grace(cancel, self.changes(draft, &units))).await?;
                let material = Material {
                    units: &units,
                    header: draft.header,
                    media: draft.media,
                };
                let chunks = self.cut(material, &changes, source_id, revision);
                drop(units);
                let facts = RevisionFacts {
                    duration,
                    language: [&heard, &draft.media.language]
                        .into_iter()
                        .flatten()
                        .find_map(|tag| language::primary(tag)),
                };
                state.save_chunks(lease, revision, &facts, &chunks).await?;
                Ok((facts, chunks, suspicious))
            })
            .await?;
        let mut filled = Filled {
            duration,
            chunks: chunks.len(),
            embedded: 0,
            suspicious,
        };
        if chunks.is_empty() {
            return Ok(filled);
        }
        state.set_status(lease, SourceStatus::Embedding).await?;
        let batch = self.settings.embedding_batch;
        let embedding = embed::embed(state, &self.embedder, batch, lease, &chunks, cancel);
        filled.embedded = stages
            .run(Stage::Embed, self.within_grace(cancel, embedding))
            .await?;
        state.set_status(lease, SourceStatus::Embedded).await?;
        let facts = SourceFacts {
            source_id: source_id.clone(),
            revision,
            title: draft.title.to_owned(),
            language: facts.language,
            date: draft.media.day(),
        };
        let space = self.embedder.space();
        let writing = upsert(state, &self.store, space, lease, &facts, &chunks);
        stages
            .run(Stage::Store, self.within_grace(cancel, writing))
            .await?;
        let checking = verify(
            &self.store,
            &facts,
            chunks.len() as u64,
            self.settings.verification,
            self.settings.verify_attempts,
            self.settings.verify_wait,
            stages,
        );
        stages
            .run(Stage::Verify, self.within_grace(cancel, checking))
            .await?;
        Ok(filled)
    }

    /// Runs `work` to its end, unless it is still under way a grace period after `cancel` fired: a provider that
    /// does not answer must not keep a run from ending.
    pub(super) async fn within_grace<T>(
        &self,
        cancel: &CancellationToken,
        work: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let impatient = async {
            cancel.cancelled().await;
            tokio::time::sleep(self.settings.speech.grace).await;
        };
        tokio::select! {
            biased;
            outcome = work => outcome,
            () = impatient => Err(Error::cancelled("interrupted; what is done is kept")),
        }
    }

    /// Removes the vectors of what was replaced.
    pub(super) async fn retire_replaced(&self, stages: Stages<'_>, cancel: &CancellationToken) -> Result<()> {
        let retiring = retire(&self.state, &self.store, self.embedder.space());
        match stages
            .run(Stage::Retire, self.within_grace(cancel, retiring))
            .await
        {
            // The next run deletes what is left, and the source is done.
            Err(error) if error.kind() == ErrorKind::Cancelled && cancel.is_cancelled() => Ok(()),
            retired => retired,
        }
    }
}

/// What is reported of a revision that is searchable now.
pub(super) fn outcome(draft: Draft<'_>, filled: Filled, parts: PartsReport) -> SourceOutcome {
    let report = report(draft, filled, parts);
    match filled.status() {
        SourceStatus::Empty => SourceOutcome::Empty(report),
        _ => SourceOutcome::Indexed(report),
    }
}

pub(super) fn report(draft: Draft<'_>, filled: Filled, parts: PartsReport) -> IndexedSource {
    IndexedSource {
        source: draft.stages.source().to_owned(),
        source_id: draft.source_id.clone(),
        revision: draft.revision,
        duration: filled.duration,
        chunks: filled.chunks,
        transcribed_parts: parts.transcribed,
        reused_parts: parts.reused,
        silent_parts: parts.silent,
        embedded_chunks: filled.embedded,
        reused_embeddings: filled.chunks - filled.embedded,
        suspicious_segments: filled.suspicious,
        transcript: None,
    }
}

/// Reads the headers of a recording, unless the run is to end.
async fn probe(target: &Target, decode: &DecodeOptions, cancel: &CancellationToken) -> Result<Media> {
    let probing = watch::probe(&target.path, decode);
    let probed = cancel.run_until_cancelled(probing).await;
    probed.unwrap_or_else(|| Err(Error::cancelled("interrupted; what is done is kept")))
}
