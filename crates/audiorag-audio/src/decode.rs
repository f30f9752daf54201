//! From packets to mono samples at the recording's own rate, in source time.
//!
//! The position in the output is the position in the recording: encoder delay is cut off, packets that cannot
//! be decoded become silence of their length, and holes in the container's timestamps are filled. So nothing
//! that goes wrong moves what follows.

use crate::container::{self, Opened, guarded, too_long};
use crate::file::FileName;
use crate::patience::Patience;
use crate::{Limits, hidden, isolate, opus};
use audiorag_core::model::Media;
use audiorag_core::{MediaTime, Result};
use std::io;
use std::time::Duration;
use symphonia::core::audio::{Audio, GenericAudioBufferRef};
use symphonia::core::codecs::audio::AudioDecoder;
use symphonia::core::errors::Error as SymphoniaError;
use symphonia::core::formats::FormatReader;
use symphonia::core::packet::Packet;
use symphonia::core::units::{TimeBase, Timestamp};

/// Silence is handed out in blocks of this many samples.
const SILENCE_BLOCK: u64 = 1 << 16;
/// Failing reads in a row after which a stream counts as ended.
const MAX_FAILURES: u32 = 64;
/// Packets in a row that yield nothing, after which a stream counts as ended.
const MAX_BARREN: u32 = 100_000;
/// Holes in the timestamps below this are rounding of the container.
const MIN_HOLE: u64 = 250_000_000;
/// The largest sample that is taken for one; full scale is 1.
const LOUDEST: f32 = 100.0;
/// Holes above this in recordings of unknown length are wrong timestamps.
const MAX_HOLE: u64 = 600_000_000_000;
/// A Matroska track that starts later than this has timestamps of another origin.
const MAX_LATE_START: i128 = 10_000_000_000;
/// End padding is at most a few frames of a codec; more means that the announced end was wrong.
const MAX_END_PADDING: usize = 8192;
const NANOS: u128 = 1_000_000_000;

/// A recording being decoded.
pub(crate) struct PacketDecoder {
    reader: Box<dyn FormatReader>,
    decoder: Box<dyn AudioDecoder>,
    track: u32,
    time_base: Option<TimeBase>,
    media: Media,
    name: FileName,
    limits: Limits,
    is_announced: bool,
    /// The channel that is wanted, counted from 0; `None` for all.
    channel: Option<u16>,
    patience: Patience,

    clock: Clock,
    /// Whether the next packet only primes the decoder.
    is_priming: bool,
    /// Timestamp that is position zero.
    origin: Option<i128>,
    /// Nanoseconds still to be cut off at the start.
    skip: u64,
    /// Nanoseconds by which the edit list moves timestamps later (negative: earlier).
    moved: i128,
    /// Position at which the edit list stops playing.
    stop: Option<u64>,

    /// Samples of silence to hand out before `ready`.
    silence: u64,
    /// Decoded samples that wait for the silence before them.
    ready: Vec<f32>,
    /// Samples that are end padding if nothing follows them.
    padding: Vec<f32>,
    trusts_padding: bool,
    planes: Vec<Vec<f32>>,

    failures: u32,
    barren: u32,
    /// Packets that could not be decoded.
    bad_packets: u64,
    /// Nanoseconds of the output that stand for audio that could not be decoded.
    lost: u64,
    is_hole_damage: bool,
    is_cut_off: bool,
    ending: Option<&'static str>,
    is_done: bool,
}

/// How much has been put out, exact across changes of the sample rate.
#[derive(Default)]
struct Clock {
    rate: u32,
    base: u64,
    frames: u64,
}

impl Clock {
    fn nanos(&self) -> u64 {
        self.base + self.in_nanos(self.frames)
    }

    fn in_nanos(&self, frames: u64) -> u64 {
        (u128::from(frames) * NANOS / u128::from(self.rate.max(1))) as u64
    }

    fn in_frames(&self, nanos: u64) -> u64 {
        ((u128::from(nanos) * u128::from(self.rate) + NANOS / 2) / NANOS) as u64
    }

    fn set_rate(&mut self, rate: u32) {
        if rate != self.rate {
            self.base = self.nanos();
            self.frames = 0;
            self.rate = rate;
        }
    }
}

impl PacketDecoder {
    pub(crate) fn new(opened: Opened, limits: Limits) -> Self {
        let Opened {
            reader,
            decoder,
            track,
            media,
            name,
            time_base,
            edit,
            is_announced,
            is_cut_off,
            ending,
            channel,
            patience,
        } = opened;
        Self {
            reader,
            decoder,
            track,
            time_base,
            clock: Clock {
                rate: media.sample_rate,
                ..Clock::default()
            },
            media,
            name,
            limits,
            is_announced,
            channel,
            patience,
            is_priming: false,
            origin: None,
            skip: edit.skip,
            moved: i128::from(edit.lead) - i128::from(edit.skip),
            stop: edit.play.map(|play| edit.lead.saturating_add(play)),
            silence: 0,
            ready: Vec::new(),
            padding: Vec::new(),
            trusts_padding: true,
            planes: Vec::new(),
            failures: 0,
            barren: 0,
            bad_packets: 0,
            lost: 0,
            is_hole_damage: false,
            is_cut_off,
            ending,
            is_done: false,
        }
        .primed()
        .with_lead(edit.lead)
    }

    /// The first Vorbis packet of a stream has no audio of its own, but Symphonia puts some out. Only Ogg files
    /// say so, and only for their first stream.
    fn primed(mut self) -> Self {
        self.is_priming = self.media.codec == "vorbis" && self.media.container != "ogg";
        self
    }

    fn with_lead(mut self, lead: u64) -> Self {
        if self.clock.rate > 0 {
            self.silence = self.clock.in_frames(lead.min(MAX_HOLE));
        }
        self
    }

    pub(crate) fn media(&self) -> &Media {
        &self.media
    }

    /// Appends the next samples to `out` and returns their rate; `None` at the end of the recording.
    pub(crate) fn next(&mut self, out: &mut Vec<f32>) -> Result<Option<u32>> {
        loop {
            if self.silence > 0 {
                let count = self.silence.min(SILENCE_BLOCK);
                self.silence -= count;
                out.resize(out.len() + count as usize, 0.0);
                return self.put_out(count).map(Some);
            }
            if !self.ready.is_empty() {
                let count = self.ready.len() as u64;
                out.append(&mut self.ready);
                return self.put_out(count).map(Some);
            }
            if self.is_done || self.stop.is_some_and(|stop| self.clock.nanos() >= stop) {
                self.is_done = true;
                return Ok(None);
            }
            self.advance()?;
        }
    }

    fn put_out(&mut self, frames: u64) -> Result<u32> {
        self.clock.frames += frames;
        self.patience
            .reward(Duration::from_nanos(self.clock.in_nanos(frames)));
        let position = self.clock.nanos();
        let limit = self.limits.max_duration.as_millis().saturating_mul(1_000_000);
        if position > limit {
            let length = MediaTime::from_millis(position.div_ceil(1_000_000));
            return Err(too_long(&self.name, length, &self.limits));
        }
        Ok(self.clock.rate)
    }

    /// Reads one packet and, if it is ours, decodes it.
    fn advance(&mut self) -> Result<()> {
        let patience = self.patience.clone();
        let counting = patience.count();
        let result = self.read_packet();
        drop(counting);
        if patience.is_over() {
            self.is_done = true;
            let stall = Duration::from_millis(self.limits.max_stall.as_millis());
            return Err(isolate::too_slow(&self.name, stall));
        }
        if patience.is_greedy() {
            self.is_done = true;
            return Err(hidden::too_much(&self.name));
        }
        result
    }

    fn read_packet(&mut self) -> Result<()> {
        let Self { reader, name, .. } = self;
        match guarded(name, "reading packets", || reader.next_packet())? {
            Ok(Some(packet)) if packet.track_id != self.track => self.count_barren(),
            Ok(Some(packet)) => self.decode(&packet)?,
            Ok(None) => self.end(false),
            Err(SymphoniaError::ResetRequired) => self.restart()?,
            Err(SymphoniaError::IoError(cause)) if cause.kind() == io::ErrorKind::UnexpectedEof => {
                self.end(true);
            }
            Err(SymphoniaError::IoError(cause)) => return Err(self.name.io("read", cause)),
            Err(error) => {
                tracing::debug!(%error, "damaged container data");
                self.is_hole_damage = true;
                self.failures += 1;
                if self.failures >= MAX_FAILURES || !matches!(error, SymphoniaError::DecodeError(_)) {
                    self.end(true);
                }
            }
        }
        Ok(())
    }

    fn count_barren(&mut self) {
        self.barren += 1;
        if self.barren > MAX_BARREN {
            self.end(true);
        }
    }

    /// The stream has ended; `early` when the container had promised more.
    fn end(&mut self, early: bool) {
        self.is_done = true;
        self.is_cut_off |= early;
        // What remains in `padding` is padding indeed.
        self.padding.clear();
    }

    /// A chained stream goes on with another set of tracks.
    fn restart(&mut self) -> Result<()> {
        let Self { reader, name, .. } = self;
        let (track, parameters) = guarded(name, "reading the headers", || {
            container::choose_track(&**reader, None, name)
        })??;
        self.decoder = guarded(name, "reading the headers", || {
            container::make_decoder(&parameters, name)
        })??;
        self.track = track.id;
        self.time_base = track.time_base;
        self.origin = None;
        self.is_priming = container::codec_name(parameters.codec) == "vorbis";
        self.skip = opus::nanos_before_start(&parameters);
        // The next link's timestamps start anew at the present position.
        self.moved = i128::from(self.clock.nanos()) - i128::from(self.skip);
        // The announced length is that of one link.
        self.is_announced = false;
        self.failures += 1;
        if self.failures >= MAX_FAILURES {
            self.end(true);
        }
        Ok(())
    }

    fn decode(&mut self, packet: &Packet) -> Result<()> {
        self.fill_hole(packet);
        let trim_start = self.ticks_to_frames(packet.trim_start.get());
        let trim_end = self.ticks_to_frames(packet.trim_end.get());
        let Self {
            decoder,
            name,
            planes,
            channel,
            ..
        } = self;
        let decoded = guarded(name, "decoding", || {
            decoder.decode(packet).map(|buffer| {
                let (rate, channels) = (buffer.spec().rate(), buffer.spec().channels().count());
                (rate, channels, mix(&buffer, *channel, planes))
            })
        })?;
        match decoded {
            Ok((rate, channels, mono)) => {
                container::check_shape(rate, channels, &self.name, &self.limits)?;
                container::check_channel(
                    self.channel.map(|channel| channel.saturating_add(1)),
                    channels,
                    &self.name,
                )?;
                if mono.is_empty() || rate == 0 {
                    self.count_barren();
                    return Ok(());
                }
                (self.failures, self.barren) = (0, 0);
                self.is_hole_damage = false;
                if std::mem::take(&mut self.is_priming) {
                    return Ok(());
                }
                self.take(mono, rate, trim_start, trim_end);
            }
            Err(SymphoniaError::ResetRequired) => self.decoder.reset(),
            Err(error) => {
                tracing::debug!(%error, "damaged packet");
                self.bad_packets += 1;
                self.failures += 1;
                if self.failures >= MAX_FAILURES {
                    self.end(true);
                } else {
                    // The decoder's memory of the packet before does not fit the one after.
                    self.decoder.reset();
                    let frames = self
                        .ticks_to_frames(packet.dur.get())
                        .min(self.media.sample_rate as usize);
                    self.ready.resize(frames, 0.0);
                    self.lost += self.clock.in_nanos(frames as u64);
                }
            }
        }
        Ok(())
    }

    /// Puts silence where the container's timestamps jump ahead.
    fn fill_hole(&mut self, packet: &Packet) {
        let Some(start) = self.nanos_at(packet.pts, packet.trim_start.get()) else {
            return;
        };
        if self.origin.is_none() && self.media.container == "mkv" {
            // Only Matroska gives a track its place among the others: a late start is silence.
            self.origin = Some(if start > MAX_LATE_START { start } else { 0 });
        }
        let origin = *self.origin.get_or_insert(start);
        let Ok(expected) = u64::try_from(start - origin + self.moved) else {
            return;
        };
        let position = self.clock.nanos() + self.clock.in_nanos(self.padding.len() as u64);
        let hole = expected.saturating_sub(position);
        let most = match self.media.duration {
            Some(length) => (length.as_millis().saturating_mul(1_000_000)).saturating_sub(position),
            None => MAX_HOLE,
        };
        if hole < MIN_HOLE || hole > most || self.clock.rate == 0 {
            return;
        }
        self.silence = self.clock.in_frames(hole);
        // Only these containers have timestamps of their own; in others a hole is what damage has left.
        if self.is_hole_damage || !matches!(self.media.container.as_str(), "mkv" | "mp4") {
            self.lost += hole;
        }
    }

    fn nanos_at(&self, timestamp: Timestamp, trimmed: u64) -> Option<i128> {
        let base = self.time_base?;
        let ticks = i128::from(timestamp.get()) + i128::from(trimmed);
        Some(ticks * i128::from(base.numer.get()) * NANOS as i128 / i128::from(base.denom.get()))
    }

    fn ticks_to_frames(&self, ticks: u64) -> usize {
        let Some(base) = self.time_base else { return 0 };
        let per_second = u128::from(base.denom.get());
        (u128::from(ticks) * u128::from(base.numer.get()) * u128::from(self.clock.rate) / per_second) as usize
    }

    /// Cuts delay, padding and edits off decoded samples and makes the rest ready.
    fn take(&mut self, mut mono: Vec<f32>, rate: u32, trim_start: usize, trim_end: usize) {
        if rate != self.clock.rate {
            // Silence so far was counted at the old rate.
            let silence = self.clock.in_nanos(self.silence);
            self.clock.set_rate(rate);
            self.silence = self.clock.in_frames(silence);
        }
        mono.drain(..trim_start.min(mono.len()));
        if self.skip > 0 {
            let frames = self.clock.in_frames(self.skip);
            let cut = frames.min(mono.len() as u64);
            mono.drain(..cut as usize);
            self.skip = if cut == frames {
                0
            } else {
                self.clock.in_nanos(frames - cut)
            };
        }
        if !self.padding.is_empty() {
            // Something follows the announced end, as in concatenated files.
            if mono.len() > trim_end || self.padding.len() + mono.len() > MAX_END_PADDING {
                self.trusts_padding = false;
            }
            let mut held = std::mem::take(&mut self.padding);
            held.append(&mut mono);
            mono = held;
            if self.trusts_padding {
                self.padding = mono;
            } else {
                self.ready.append(&mut mono);
            }
        } else if trim_end > 0 && self.trusts_padding {
            self.padding = mono.split_off(mono.len().saturating_sub(trim_end));
            self.ready.append(&mut mono);
        } else {
            self.ready.append(&mut mono);
        }
        if let Some(stop) = self.stop {
            let left = self.clock.in_frames(stop.saturating_sub(self.clock.nanos()));
            let left = left.saturating_sub(self.silence) as usize;
            self.ready.truncate(left);
        }
    }

    /// Judges a finished recording: warnings, or an error when too much of it is missing.
    pub(crate) fn verdict(&self) -> Result<Vec<String>> {
        let position = self.clock.nanos();
        let decoded = position.saturating_sub(self.lost);
        let announced = self
            .media
            .duration
            .map_or(0, |length| length.as_millis().saturating_mul(1_000_000));
        let expected = if self.is_announced || self.is_cut_off {
            announced.max(position)
        } else {
            position
        };
        let mut warnings = container::judge_length(&self.name, &self.limits, decoded, position, expected)?;
        if warnings.is_empty() {
            warnings.extend(self.ending.map(str::to_owned));
        }
        if self.bad_packets > 0 {
            warnings.push(format!(
                "{} damaged packets were replaced by silence",
                self.bad_packets
            ));
        }
        Ok(warnings)
    }
}

/// One channel, or the average of all. Values that are not numbers become silence: a single one would otherwise
/// spread over a whole block of the resampler.
fn mix(buffer: &GenericAudioBufferRef<'_>, channel: Option<u16>, planes: &mut Vec<Vec<f32>>) -> Vec<f32> {
    let channels = buffer.num_planes();
    let wanted = match channel {
        Some(channel) => usize::from(channel)..usize::from(channel) + 1,
        None => 0..channels,
    };
    let count = wanted.len();
    let mut mono = match buffer {
        GenericAudioBufferRef::F32(buffer) => sum(wanted.map_while(|index| buffer.plane(index))),
        other => {
            other.copy_to_vecs_planar::<f32>(planes);
            sum(wanted.map_while(|index| planes.get(index)).map(Vec::as_slice))
        }
    };
    let gain = 1.0 / count.max(1) as f32;
    for sample in &mut mono {
        // Beyond the loudest that a float recording may hold the resampler's sums could overflow.
        *sample = if sample.is_finite() {
            (*sample * gain).clamp(-LOUDEST, LOUDEST)
        } else {
            0.0
        };
    }
    mono
}

fn sum<'a>(mut planes: impl Iterator<Item = &'a [f32]>) -> Vec<f32> {
    let mut mono = planes.next().map(<[f32]>::to_vec).unwrap_or_default();
    for plane in planes {
        for (total, sample) in mono.iter_mut().zip(plane) {
            *total += sample;
        }
    }
    mono
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_survives_a_change_of_rate() {
        let mut clock = Clock {
            rate: 44_100,
            base: 0,
            frames: 44_100,
        };
        clock.set_rate(8000);
        clock.frames += 4000;
        assert_eq!(clock.nanos(), 1_500_000_000);
        assert_eq!(clock.in_frames(250_000_000), 2000);
    }
}
