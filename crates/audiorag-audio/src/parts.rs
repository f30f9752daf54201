//! A recording as parts with their speech.

use crate::split::{Cut, SAMPLES_PER_MILLI, Splitter};
use crate::vad::{Detector, FRAME};
use crate::{DecodeOptions, SampleReader, SplitSettings};
use audiorag_core::model::{AudioPart, Media};
use audiorag_core::{Error, MediaTime, Result, Span, Stage};
use std::path::Path;
use std::sync::Arc;

/// Reads a recording part by part.
///
/// The parts tile it: the first starts at zero, each next one where the last ended, the final one ends at
/// [`duration`](Self::duration). Their samples are those of the recording without gap or overlap; all lengths
/// are whole milliseconds except that the final span is rounded up. The same file and settings always give the
/// same parts. At most one part of [`SplitSettings::max`] and a few seconds of look-ahead are in memory.
///
/// An error ends the iteration. Since damage may only be found at the end, parts may come before the error;
/// none of them should then be used.
pub struct PartReader {
    samples: SampleReader,
    fingerprint: String,
    detector: Detector,
    splitter: Splitter,
    /// Samples from the start of the current part on.
    buffer: Vec<f32>,
    /// How many of them the detector has seen.
    judged: usize,
    /// Samples before the current part.
    start: u64,
    index: u32,
    duration: Option<MediaTime>,
    state: State,
    alive: Option<Heartbeat>,
}

/// Called when samples came out of a decoder.
pub type Heartbeat = Arc<dyn Fn() + Send + Sync>;

#[derive(Clone, Copy, PartialEq)]
enum State {
    Reading,
    /// All samples are in the buffer.
    Draining,
    Done,
}

impl PartReader {
    /// Opens a recording with the default options.
    ///
    /// # Errors
    /// As [`probe`](crate::probe), with stage `split`.
    pub fn open(path: &Path, settings: SplitSettings) -> Result<Self> {
        Self::open_with(path, settings, &DecodeOptions::default())
    }

    /// Opens a recording.
    ///
    /// # Errors
    /// As [`probe`](crate::probe), with stage `split`.
    pub fn open_with(path: &Path, settings: SplitSettings, options: &DecodeOptions) -> Result<Self> {
        let samples = SampleReader::open_with(path, options)?;
        Ok(Self {
            fingerprint: fingerprint(&samples, options),
            samples,
            detector: Detector::new(),
            splitter: Splitter::new(&settings.consistent()),
            buffer: Vec::new(),
            judged: 0,
            start: 0,
            index: 0,
            duration: None,
            state: State::Reading,
            alive: None,
        })
    }

    /// Has `alive` called whenever samples come out of the decoder: the only sign of life between two parts, for those
    /// who wait for them on another thread.
    pub fn on_samples(&mut self, alive: Heartbeat) {
        self.alive = Some(alive);
    }

    /// What the headers say.
    pub fn media(&self) -> &Media {
        self.samples.media()
    }

    /// A stable text that is equal exactly when the same file gives the same samples: that of the
    /// [`DecodeOptions`], and whether ffmpeg decodes. It belongs into part keys, beside that of the
    /// [`SplitSettings`].
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// The exact length, once the last part has been read.
    pub fn duration(&self) -> Option<MediaTime> {
        self.duration
    }

    /// What was found wrong with the recording, such as `decoded 61 of 64 s`; complete after the last part.
    pub fn warnings(&self) -> &[String] {
        self.samples.warnings()
    }

    fn advance(&mut self) -> Result<Option<AudioPart>> {
        loop {
            while let Some(frame) = self.buffer.get(self.judged..self.judged + FRAME) {
                self.splitter.push(self.detector.judge(frame));
                self.judged += FRAME;
                if let Some(cut) = self.splitter.next_cut() {
                    return self.emit(&cut).map(Some);
                }
            }
            if self.state == State::Draining {
                let Some(cut) = self.splitter.next_cut() else {
                    return Ok(None);
                };
                return self.emit(&cut).map(Some);
            }
            let block = self.samples.next_block()?;
            if let Some(alive) = &self.alive {
                alive();
            }
            match block {
                Some(block) => self.buffer.extend_from_slice(block),
                None => self.finish(),
            }
        }
    }

    fn finish(&mut self) {
        let total = self.start + self.buffer.len() as u64;
        if let Some(rest) = self.buffer.get(self.judged..).filter(|rest| !rest.is_empty()) {
            self.splitter.push(self.detector.judge(rest));
            self.judged = self.buffer.len();
        }
        self.splitter.finish(total);
        self.duration = Some(MediaTime::from_millis(total.div_ceil(SAMPLES_PER_MILLI)));
        self.state = State::Draining;
    }

    fn emit(&mut self, cut: &Cut) -> Result<AudioPart> {
        let length = (cut.end - cut.start) as usize;
        if cut.start != self.start || length > self.buffer.len() {
            return Err(Error::internal("the splitter lost its place").with_stage(Stage::Split));
        }
        // The part takes the memory along: it may wait long for its turn, and a copy would wait with it.
        let rest = self.buffer.split_off(length);
        let samples = std::mem::replace(&mut self.buffer, rest);
        self.judged = self.judged.saturating_sub(length);
        self.start = cut.end;
        let index = self.index;
        self.index += 1;
        Ok(AudioPart {
            index,
            span: Span::from_millis(cut.start / SAMPLES_PER_MILLI, cut.end.div_ceil(SAMPLES_PER_MILLI)),
            samples,
            speech: cut.speech.clone(),
        })
    }
}

fn fingerprint(samples: &SampleReader, options: &DecodeOptions) -> String {
    let mut text = options.fingerprint();
    if samples.is_by_ffmpeg() {
        text.push_str(if text.is_empty() {
            "decoder=ffmpeg"
        } else {
            " decoder=ffmpeg"
        });
    }
    text
}

impl Iterator for PartReader {
    type Item = Result<AudioPart>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.state == State::Done {
            return None;
        }
        let item = self.advance().transpose();
        if !matches!(item, Some(Ok(_))) {
            self.state = State::Done;
        }
        item
    }
}
