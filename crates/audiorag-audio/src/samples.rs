//! A recording as blocks of mono samples at 16 kHz.

use crate::Limits;
use crate::container;
use crate::decode::PacketDecoder;
use crate::resample::Resampler;
use audiorag_core::model::Media;
use audiorag_core::{Result, Stage};
use std::path::Path;

/// Decodes, mixes to mono and resamples to [`SAMPLE_RATE`](audiorag_core::model::SAMPLE_RATE), block by block.
///
/// Sample number `n` is what is heard `n` / 16000 s into the recording: encoder delay is cut off, damaged
/// packets and holes are silence. Values are within −1 and 1.
pub struct SampleReader {
    decoder: PacketDecoder,
    resampler: Option<Resampler>,
    decoded: Vec<f32>,
    block: Vec<f32>,
    samples: u64,
    warnings: Vec<String>,
    is_done: bool,
}

impl SampleReader {
    /// Opens a recording with the default [`Limits`].
    ///
    /// # Errors
    /// As [`probe`](crate::probe), with stage `split`.
    pub fn open(path: &Path) -> Result<Self> {
        Self::open_with(path, Limits::default())
    }

    /// Opens a recording.
    ///
    /// # Errors
    /// As [`probe`](crate::probe), with stage `split`.
    pub fn open_with(path: &Path, limits: Limits) -> Result<Self> {
        let opened = container::open(path, &limits, Stage::Split)?;
        Ok(Self {
            decoder: PacketDecoder::new(opened, limits),
            resampler: None,
            decoded: Vec::new(),
            block: Vec::new(),
            samples: 0,
            warnings: Vec::new(),
            is_done: false,
        })
    }

    /// What the headers say.
    pub fn media(&self) -> &Media {
        self.decoder.media()
    }

    /// Samples handed out so far.
    pub fn position(&self) -> u64 {
        self.samples
    }

    /// What was found wrong with the recording; complete after the last block.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// The next samples, never an empty block; `None` at the end. Blocks have no particular length.
    ///
    /// # Errors
    /// [`Input`](audiorag_core::ErrorKind::Input) when the recording turns out longer than allowed, shorter than
    /// [`Limits::min_duration`], or damaged beyond [`Limits::min_decodable`]. The latter two are only known at
    /// the end, when blocks have already been handed out. After an error there is nothing more to read.
    pub fn next_block(&mut self) -> Result<Option<&[f32]>> {
        match self.fill() {
            Ok(true) => Ok(Some(&self.block)),
            Ok(false) => Ok(None),
            Err(error) => {
                self.is_done = true;
                Err(error)
            }
        }
    }

    fn fill(&mut self) -> Result<bool> {
        self.block.clear();
        while self.block.is_empty() {
            if self.is_done {
                return Ok(false);
            }
            self.decoded.clear();
            let rate = self.decoder.next(&mut self.decoded)?;
            if let Some(old) = self.resampler.as_mut().filter(|old| Some(old.rate()) != rate) {
                old.finish(&mut self.block)?;
                self.resampler = None;
            }
            if let Some(rate) = rate {
                let resampler = match &mut self.resampler {
                    Some(resampler) => resampler,
                    empty => empty.insert(Resampler::new(rate)?),
                };
                resampler.push(&self.decoded, &mut self.block)?;
            } else {
                self.warnings = self.decoder.verdict()?;
                self.is_done = true;
            }
        }
        for sample in &mut self.block {
            *sample = sample.clamp(-1.0, 1.0);
        }
        self.samples += self.block.len() as u64;
        Ok(true)
    }
}
