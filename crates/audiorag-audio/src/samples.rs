//! A recording as blocks of mono samples at 16 kHz.

use crate::DecodeOptions;
use crate::container;
use crate::decode::PacketDecoder;
use crate::ffmpeg::Ffmpeg;
use crate::isolate::Isolated;
use crate::resample::Resampler;
use audiorag_core::model::Media;
use audiorag_core::{Result, Stage};
use std::path::Path;

/// Decodes, mixes to mono and resamples to [`SAMPLE_RATE`](audiorag_core::model::SAMPLE_RATE), block by block.
///
/// Sample number `n` is what is heard `n` / 16000 s into the recording: encoder delay is cut off, damaged
/// packets and holes are silence. Values are within −1 and 1.
pub struct SampleReader {
    decoder: Decoder,
    block: Vec<f32>,
    samples: u64,
    is_done: bool,
}

/// Who decodes.
enum Decoder {
    /// This process.
    Native(Box<Native>),
    /// A child process of ours.
    Isolated(Box<Isolated>),
    /// The ffmpeg program.
    Ffmpeg(Box<Ffmpeg>),
}

impl Decoder {
    fn media(&self) -> &Media {
        match self {
            Self::Native(native) => native.media(),
            Self::Isolated(isolated) => isolated.media(),
            Self::Ffmpeg(ffmpeg) => ffmpeg.media(),
        }
    }
}

impl SampleReader {
    /// Opens a recording with the default options.
    ///
    /// # Errors
    /// As [`probe`](crate::probe), with stage `split`.
    pub fn open(path: &Path) -> Result<Self> {
        Self::open_with(path, &DecodeOptions::default())
    }

    /// Opens a recording.
    ///
    /// # Errors
    /// As [`probe`](crate::probe), with stage `split`.
    pub fn open_with(path: &Path, options: &DecodeOptions) -> Result<Self> {
        let stage = Stage::Split;
        let decoder = match &options.isolation {
            Some(isolation) => Isolated::open(path, options, isolation, stage)
                .map(|isolated| Decoder::Isolated(Box::new(isolated))),
            None => Native::open(path, options, stage).map(|native| Decoder::Native(Box::new(native))),
        };
        let found = decoder.as_ref().map(Decoder::media);
        let decoder = match container::ffmpeg_for(path, options, found, stage) {
            Some(program) => Decoder::Ffmpeg(Box::new(Ffmpeg::open(path, program, options, stage)?)),
            None => decoder?,
        };
        Ok(Self {
            decoder,
            block: Vec::new(),
            samples: 0,
            is_done: false,
        })
    }

    /// What the headers say.
    pub fn media(&self) -> &Media {
        self.decoder.media()
    }

    /// Whether ffmpeg decodes it, see [`DecodeOptions::ffmpeg`].
    pub fn is_by_ffmpeg(&self) -> bool {
        matches!(self.decoder, Decoder::Ffmpeg(_))
    }

    /// Samples handed out so far.
    pub fn position(&self) -> u64 {
        self.samples
    }

    /// What was found wrong with the recording; complete after the last block.
    pub fn warnings(&self) -> &[String] {
        match &self.decoder {
            Decoder::Native(native) => native.warnings(),
            Decoder::Isolated(isolated) => isolated.warnings(),
            Decoder::Ffmpeg(ffmpeg) => ffmpeg.warnings(),
        }
    }

    /// The next samples, never an empty block; `None` at the end. Blocks have no particular length.
    ///
    /// # Errors
    /// [`Input`](audiorag_core::ErrorKind::Input) when the recording turns out longer than allowed, shorter than
    /// [`Limits::min_duration`](crate::Limits::min_duration), or damaged beyond
    /// [`Limits::min_decodable`](crate::Limits::min_decodable). The latter two are only known at the end, when blocks
    /// have already been handed out. After an error there is nothing more to read.
    pub fn next_block(&mut self) -> Result<Option<&[f32]>> {
        self.block.clear();
        while self.block.is_empty() {
            if self.is_done {
                return Ok(None);
            }
            let filled = match &mut self.decoder {
                Decoder::Native(native) => native.fill(&mut self.block),
                Decoder::Isolated(isolated) => isolated.fill(&mut self.block),
                Decoder::Ffmpeg(ffmpeg) => ffmpeg.fill(&mut self.block),
            };
            self.is_done = !matches!(filled, Ok(true));
            filled?;
        }
        self.samples += self.block.len() as u64;
        Ok(Some(&self.block))
    }
}

/// A recording that is decoded in this process.
pub(crate) struct Native {
    decoder: PacketDecoder,
    resampler: Option<Resampler>,
    decoded: Vec<f32>,
    warnings: Vec<String>,
}

impl Native {
    pub(crate) fn open(path: &Path, options: &DecodeOptions, stage: Stage) -> Result<Self> {
        let opened = container::open(path, options, stage)?;
        Ok(Self {
            decoder: PacketDecoder::new(opened, options.limits),
            resampler: None,
            decoded: Vec::new(),
            warnings: Vec::new(),
        })
    }

    pub(crate) fn media(&self) -> &Media {
        self.decoder.media()
    }

    pub(crate) fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Appends samples to `out`, perhaps none; false when these were the last.
    pub(crate) fn fill(&mut self, out: &mut Vec<f32>) -> Result<bool> {
        let start = out.len();
        self.decoded.clear();
        let rate = self.decoder.next(&mut self.decoded)?;
        if let Some(old) = self.resampler.as_mut().filter(|old| Some(old.rate()) != rate) {
            old.finish(out)?;
            self.resampler = None;
        }
        if let Some(rate) = rate {
            let resampler = match &mut self.resampler {
                Some(resampler) => resampler,
                empty => empty.insert(Resampler::new(rate)?),
            };
            resampler.push(&self.decoded, out)?;
        } else {
            self.warnings = self.decoder.verdict()?;
        }
        for sample in out.get_mut(start..).unwrap_or_default() {
            *sample = sample.clamp(-1.0, 1.0);
        }
        Ok(rate.is_some())
    }
}
