//! From a file to the stored transcripts of its parts.
//!
//! Decoding runs on its own thread and hands over a part when there is room for it. Parts are transcribed side by side
//! and each is stored as it arrives, so that whatever ends the run, what was paid for is kept. What is sent over a
//! network becomes the file that is sent as soon as there is room for it: the samples take twice the memory.

use super::event::IndexEvent;
use super::identify::Target;
use super::lanes::{Lanes, Room};
use super::stage::Stages;
use super::voices::{Ended, Heard, Reading};
use super::watch::{self, Pulse, Working};
use crate::guard::{Guarded, Paid};
use crate::operation;
use audiorag_audio::{DecodeOptions, SplitSettings};
use audiorag_core::capability::{TranscribeRequest, Transcriber};
use audiorag_core::id::{ContentHash, PartInputs, PartKey, RevisionId};
use audiorag_core::model::{AudioPart, Fingerprint};
use audiorag_core::samples::{Samples, Wav};
use audiorag_core::speaker::CHANNEL;
use audiorag_core::{Error, MediaTime, Result, Span, Stage};
use audiorag_state::{Lease, NewTranscript, PartRow, State};
use futures_util::StreamExt as _;
use std::ops::ControlFlow;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio_util::sync::CancellationToken;

/// How long a decoder may go without one after an interruption: it only reads.
const LAST_PATIENCE: Duration = Duration::from_secs(5);

/// What is asked of speech-to-text, for every part alike.
#[derive(Clone, Debug)]
pub(crate) struct SpeechSettings {
    pub(crate) split: SplitSettings,
    pub(crate) decode: DecodeOptions,
    /// Whether every channel is a speaker.
    pub(crate) each_channel: bool,
    pub(crate) language: Option<String>,
    pub(crate) prompt: Option<String>,
    pub(crate) concurrency: usize,
    /// How long parts in flight are waited for after an interruption.
    pub(crate) grace: Duration,
}

impl SpeechSettings {
    /// A stable text that is equal exactly when the same file gives the same parts.
    pub(super) fn audio_fingerprint(&self) -> String {
        let parts = self.of_channel(None);
        if self.each_channel {
            format!("{parts} speakers=channels")
        } else {
            parts
        }
    }

    /// The text for the parts of one channel that is a speaker, or of the mix.
    fn of_channel(&self, channel: Option<u16>) -> String {
        let (split, decode) = (self.split.fingerprint(), self.decode.fingerprint());
        let channel = channel.map(|channel| format!("speaker={CHANNEL}{channel}"));
        let texts = [Some(split), Some(decode).filter(|text| !text.is_empty()), channel];
        texts.into_iter().flatten().collect::<Vec<_>>().join(" ")
    }

    /// How the parts are read.
    pub(super) fn reading(&self) -> Reading {
        Reading {
            split: self.split.clone(),
            decode: self.decode.clone(),
            each_channel: self.each_channel,
        }
    }

    /// The key of a part's transcript by `transcriber`, in one generation.
    pub(super) fn part_key(
        &self,
        content: &ContentHash,
        (channel, span): (Option<u16>, Span),
        transcriber: &str,
        generation: Option<u64>,
    ) -> PartKey {
        PartKey::of(&PartInputs {
            content,
            span,
            audio: &self.of_channel(channel),
            transcriber,
            language: self.language.as_deref(),
            prompt: self.prompt.as_deref(),
            generation,
        })
    }
}

/// What became of the parts.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct PartsReport {
    pub(crate) duration: MediaTime,
    pub(crate) transcribed: u32,
    pub(crate) reused: u32,
    pub(crate) silent: u32,
}

/// A part on its way to speech-to-text.
struct Ready {
    index: u32,
    channel: Option<u16>,
    span: Span,
    /// Where speech was detected, in source time.
    speech: Vec<Span>,
    samples: Samples,
    /// Its room, given back as soon as the samples are needed no more: another part leaves while the answer is stored.
    room: Room,
}

enum Done {
    Transcribed,
    Reused,
    Silent,
}

/// One source's way from its file to the stored transcripts of its parts.
#[derive(Clone, Copy)]
pub(crate) struct Transcription<'a> {
    pub(crate) state: &'a State,
    pub(crate) transcriber: &'a Guarded<dyn Transcriber>,
    pub(crate) settings: &'a SpeechSettings,
    pub(crate) lanes: &'a Lanes,
    pub(crate) lease: &'a Lease,
    pub(crate) revision: RevisionId,
    pub(crate) target: &'a Target,
    /// Which transcripts are used, where there are several.
    pub(crate) generation: Option<u64>,
    /// Whether those of no other generation are.
    pub(crate) again: bool,
}

impl Transcription<'_> {
    /// Decodes, splits and transcribes. `announced` is the length the headers give, for progress.
    ///
    /// When one part fails or `cancel` fires, no further part is started, those in flight are finished and stored
    /// (after `cancel`, within the grace period), and then the failure is returned. A decoder that hangs is left behind.
    pub(crate) async fn run(
        self,
        announced: Option<MediaTime>,
        stages: Stages<'_>,
        cancel: &CancellationToken,
    ) -> Result<PartsReport> {
        let Some(turn) = cancel.run_until_cancelled(self.lanes.turn()).await else {
            return Err(Error::cancelled("interrupted; the parts that are done are kept"));
        };
        // Given back when decoding ends, and taken back from a decoder that is left behind.
        let turn = Arc::new(Mutex::new(turn));
        let (sender, mut receiver) = mpsc::channel::<Ready>(1);
        let decoder = Working::start("decoder", {
            let (path, turn) = (self.target.path.clone(), Arc::clone(&turn));
            let reading = self.settings.reading();
            let fingerprint = self.target.fingerprint.clone();
            let gate = Gate {
                parts: sender,
                lanes: self.lanes.clone(),
                // Whoever takes encoded audio is sent it.
                encodes: self.transcriber.limits().max_bytes.is_some(),
                runtime: tokio::runtime::Handle::current(),
            };
            move |pulse: &Pulse| {
                let decoded = decode(&path, &fingerprint, &reading, &gate, pulse);
                give_back(&turn);
                decoded
            }
        })?;
        let limit = watch::limit(&self.settings.decode.limits);
        let pulse = decoder.pulse();
        let stop = cancel.child_token();
        let parts = futures_util::stream::poll_fn(move |context| receiver.poll_recv(context));
        let results = parts
            .take_until(stop.clone().cancelled_owned())
            .map(|part| async move {
                let (index, span) = (part.index, part.span);
                // One part's panic must not take along the others in flight, which are paid for.
                let done = operation::caught(self.one_part(part)).await;
                done.map_err(|error| error.with_context("part", index))
                    .map(|done| (index, span, done))
            })
            .buffer_unordered(self.settings.concurrency.max(1));
        let mut results = Box::pin(results);
        let mut report = PartsReport::default();
        let mut failure: Option<Error> = None;
        let mut impatient = pin!(async {
            cancel.cancelled().await;
            tokio::time::sleep(self.settings.grace).await;
        });
        let mut hung = pin!(pulse.stopped(limit));
        let mut is_hung = false;
        loop {
            let result = tokio::select! {
                biased;
                result = results.next() => result,
                () = &mut impatient => None,
                // No further part comes; those that came are finished.
                () = &mut hung, if !is_hung => {
                    is_hung = true;
                    give_back(&turn);
                    stop.cancel();
                    continue;
                }
            };
            let Some(result) = result else { break };
            match result {
                Ok((index, span, done)) => {
                    match done {
                        Done::Transcribed => report.transcribed += 1,
                        Done::Reused => report.reused += 1,
                        Done::Silent => report.silent += 1,
                    }
                    stages.event(IndexEvent::Part {
                        source: stages.source().to_owned(),
                        index,
                        end: span.end(),
                        duration: announced,
                        reused: !matches!(done, Done::Transcribed),
                    });
                }
                Err(error) => {
                    stop.cancel();
                    failure.get_or_insert(error.with_stage(Stage::Transcribe));
                }
            }
        }
        // Closes the channel, which ends the decoder where it has more to say.
        drop(results);
        let patience = if is_hung || cancel.is_cancelled() {
            limit.min(LAST_PATIENCE)
        } else {
            limit
        };
        let decoded = decoder.end(patience).await;
        if let Some(error) = failure {
            return Err(error);
        }
        if cancel.is_cancelled() {
            return Err(Error::cancelled("interrupted; the parts that are done are kept"));
        }
        let decoded = decoded
            .unwrap_or_else(|| Err(watch::hung(&self.target.path, limit)))
            .map_err(|error| error.with_stage(Stage::Split))?;
        for warning in decoded.warnings {
            stages.warn(warning);
        }
        report.duration = decoded.duration;
        Ok(report)
    }

    async fn one_part(self, part: Ready) -> Result<Done> {
        let channel = part.channel;
        let Self {
            state,
            transcriber,
            settings,
            lease,
            revision,
            target,
            generation,
            again,
            ..
        } = self;
        if part.speech.is_empty() {
            state
                .record_part(
                    lease,
                    revision,
                    &PartRow {
                        index: part.index,
                        span: part.span,
                        key: None,
                    },
                )
                .await?;
            return Ok(Done::Silent);
        }
        let content = &target.fingerprint.content;
        let vendor = transcriber.info().fingerprint();
        let row = |key: &PartKey| PartRow {
            index: part.index,
            span: part.span,
            key: Some(key.clone()),
        };
        let place = (channel, part.span);
        let first = settings.part_key(content, place, &vendor, None);
        let key = match generation {
            Some(_) => {
                let later = settings.part_key(content, place, &vendor, generation);
                if state.part_transcript(&later).await?.is_some() {
                    state.record_part(lease, revision, &row(&later)).await?;
                    return Ok(Done::Reused);
                }
                // Other settings than those that were transcribed again have only a first transcript.
                if again { later } else { first }
            }
            None => first,
        };
        if !again && state.part_transcript(&key).await?.is_some() {
            state.record_part(lease, revision, &row(&key)).await?;
            return Ok(Done::Reused);
        }
        let row = row(&key);
        let room = part.room;
        let offset = part.span.start();
        let request = TranscribeRequest {
            speech: part
                .speech
                .iter()
                .map(|span| {
                    Span::between(
                        span.start().saturating_sub(offset),
                        span.end().saturating_sub(offset),
                    )
                })
                .collect(),
            samples: part.samples,
            language: settings.language.clone(),
            prompt: settings.prompt.clone(),
        };
        let Paid { mut answer, bill } = transcriber.transcribe(&lease.source_id, request).await?;
        drop(room);
        if let Some(channel) = channel {
            for segment in &mut answer.transcript.segments {
                segment.speaker = Some(format!("{CHANNEL}{channel}"));
            }
        }
        let new = NewTranscript {
            content,
            span: part.span,
            provider: &vendor,
            transcript: &answer.transcript,
            paid: bill.as_ref().map(|bill| bill.settlement(&answer.usage)),
        };
        state.save_part_transcript(lease, &key, &new).await?;
        if let Some(bill) = bill {
            bill.close(&answer.usage);
        }
        state.record_part(lease, revision, &row).await?;
        Ok(Done::Transcribed)
    }
}

/// Sends the parts of a file until there are no more or nobody wants them. Transcripts are kept by the hash of the
/// file's bytes, so a part is sent only while the file is still the one that was hashed.
fn decode(
    path: &std::path::Path,
    fingerprint: &Fingerprint,
    reading: &Reading,
    gate: &Gate,
    pulse: &Pulse,
) -> Result<Ended> {
    reading.read(path, &pulse.of_decoder(), |heard| {
        audiorag_audio::check_unchanged(path, fingerprint)?;
        pulse.rest();
        let wanted = gate.pass(heard);
        pulse.beat();
        Ok(wanted)
    })
}

/// Lets the next recording be decoded.
fn give_back(turn: &Mutex<Option<OwnedSemaphorePermit>>) {
    turn.lock().unwrap_or_else(PoisonError::into_inner).take();
}

/// Where parts leave their decoder.
struct Gate {
    parts: mpsc::Sender<Ready>,
    lanes: Lanes,
    /// Whether speech-to-text takes files.
    encodes: bool,
    runtime: tokio::runtime::Handle,
}

impl Gate {
    /// Sends a part on when there is room for it, and says whether further ones are wanted.
    fn pass(&self, heard: Heard) -> ControlFlow<()> {
        let Heard { channel, part } = heard;
        let has_speech = part.has_speech();
        let AudioPart {
            index,
            span,
            samples,
            speech,
        } = part;
        let samples = if has_speech { samples } else { Vec::new() };
        let bytes = if self.encodes {
            Wav::size(samples.len())
        } else {
            size_of_val::<[f32]>(&samples)
        };
        let room = self.runtime.block_on(async {
            tokio::select! {
                room = self.lanes.room(bytes) => room,
                () = self.parts.closed() => None,
            }
        });
        let Some(room) = room else {
            return ControlFlow::Break(());
        };
        // Not before there is room: of a part that waits, there is one form in memory and not both.
        let samples = if self.encodes && has_speech {
            Samples::Wav(Wav::encode(&samples))
        } else {
            Samples::from(samples)
        };
        let ready = Ready {
            index,
            channel,
            span,
            speech,
            samples,
            room,
        };
        match self.parts.blocking_send(ready) {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        }
    }
}
