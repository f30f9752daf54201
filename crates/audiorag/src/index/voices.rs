//! The parts of a recording as they are sent to speech-to-text: those of its mix, or those of each channel in turn,
//! where every channel is a speaker of its own.

use audiorag_audio::{DecodeOptions, Heartbeat, PartReader, SplitSettings, probe_with};
use audiorag_core::model::AudioPart;
use audiorag_core::{MediaTime, Result};
use audiorag_state::PartRow;
use std::ops::ControlFlow;

/// How parts are read from a file.
#[derive(Clone, Debug)]
pub(super) struct Reading {
    pub(super) split: SplitSettings,
    pub(super) decode: DecodeOptions,
    /// Whether every channel is read for itself, in recordings that have several.
    pub(super) each_channel: bool,
}

/// A part, and the channel it is of, counted from 1; of the mix without one.
pub(super) struct Heard {
    pub(super) channel: Option<u16>,
    pub(super) part: AudioPart,
}

/// What is known of a recording at its end.
pub(super) struct Ended {
    pub(super) duration: MediaTime,
    pub(super) warnings: Vec<String>,
}

impl Reading {
    /// Hands over every part in order, numbered over all channels, until `take` breaks off. `alive` is called whenever
    /// the decoder got on.
    pub(super) fn read(
        &self,
        path: &std::path::Path,
        alive: &Heartbeat,
        mut take: impl FnMut(Heard) -> Result<ControlFlow<()>>,
    ) -> Result<Ended> {
        let mut ended = Ended {
            duration: MediaTime::ZERO,
            warnings: Vec::new(),
        };
        let mut first = 0;
        for channel in self.channels(path)? {
            let options = DecodeOptions {
                channel: channel.or(self.decode.channel),
                ..self.decode.clone()
            };
            let mut reader = PartReader::open_with(path, self.split.clone(), &options)?;
            reader.on_samples(alive.clone());
            let mut end = MediaTime::ZERO;
            let mut count = 0;
            for part in reader.by_ref() {
                let mut part = part?;
                count = part.index + 1;
                part.index += first;
                end = part.span.end();
                if take(Heard { channel, part })?.is_break() {
                    break;
                }
            }
            first += count;
            ended.duration = ended.duration.max(reader.duration().unwrap_or(end));
            for warning in reader.warnings() {
                // Every channel is cut off where the recording is.
                if !ended.warnings.contains(warning) {
                    ended.warnings.push(warning.clone());
                }
            }
        }
        Ok(ended)
    }

    fn channels(&self, path: &std::path::Path) -> Result<Vec<Option<u16>>> {
        if !self.each_channel {
            return Ok(vec![None]);
        }
        Ok(match probe_with(path, &self.decode)?.channels {
            0 | 1 => vec![None],
            count => (1..=count).map(Some).collect(),
        })
    }
}

/// The channel of each part that is stored of a recording, in their order: with each of them time begins anew. Of the
/// mix where it never does.
pub(super) fn channels_of(parts: &[PartRow]) -> Vec<Option<u16>> {
    let mut channel = 0_u16;
    let numbers: Vec<u16> = parts
        .iter()
        .map(|part| {
            channel += u16::from(part.span.start() == MediaTime::ZERO);
            channel
        })
        .collect();
    numbers
        .into_iter()
        .map(|number| (channel > 1).then_some(number))
        .collect()
}
