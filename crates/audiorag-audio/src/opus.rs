//! Opus for Symphonia, which reads its packets out of Ogg, Matroska, MP4 and CAF but does not decode them.
//!
//! One stream of mono or stereo is decoded by rusty-opus (docs/adr/0010). Surround is several such streams in one
//! packet, put together here: RFC 7845 section 5.1.1 has the channel mapping, RFC 6716 appendix B how all streams
//! but the last say their length.

use rusty_opus::OpusDecoder;
use std::sync::LazyLock;
use symphonia::core::audio::{
    AsGenericAudioBufferRef as _, AudioBuffer, AudioMut as _, AudioSpec, Channels, GenericAudioBufferRef,
};
use symphonia::core::codecs::CodecInfo;
use symphonia::core::codecs::audio::well_known::CODEC_ID_OPUS;
use symphonia::core::codecs::audio::{
    AudioCodecParameters, AudioDecoder, AudioDecoderOptions, FinalizeResult,
};
use symphonia::core::codecs::registry::{CodecRegistry, RegisterableAudioDecoder, SupportedAudioCodec};
use symphonia::core::errors::{Result, decode_error, unsupported_error};
use symphonia::core::packet::PacketRef;

/// Opus is always decoded at this rate; what it was recorded at does not matter to it.
const RATE: u32 = 48_000;
/// Frames of the longest packet, 120 ms.
const MAX_FRAMES: usize = 5760;
/// Output gains beyond this are nonsense or an attack on ears, in decibels.
const MAX_GAIN: f32 = 40.0;

/// For each number of channels of mapping family 1, which of the file's channels belongs into each plane. The file has
/// them in the order of Vorbis (left, centre, right, sides or rear, the low one last; RFC 7845 section 5.1.1.2), planes
/// are in the order of WAV files: left, right, centre, low, rear, sides.
const SURROUND: [&[usize]; 9] = [
    &[],
    &[0],
    &[0, 1],
    &[0, 2, 1],
    &[0, 1, 2, 3],
    &[0, 2, 1, 3, 4],
    &[0, 2, 1, 5, 3, 4],
    &[0, 2, 1, 6, 5, 3, 4],
    &[0, 2, 1, 7, 5, 6, 3, 4],
];

const CODEC: SupportedAudioCodec = SupportedAudioCodec {
    id: CODEC_ID_OPUS,
    info: CodecInfo {
        short_name: "opus",
        long_name: "Opus",
        profiles: &[],
    },
};

/// All codecs that are decoded here.
pub(crate) fn codecs() -> &'static CodecRegistry {
    static CODECS: LazyLock<CodecRegistry> = LazyLock::new(|| {
        let mut registry = CodecRegistry::new();
        symphonia::default::register_enabled_codecs(&mut registry);
        registry.register_audio_decoder::<Decoder>();
        registry
    });
    &CODECS
}

/// How much of a stream's start only primes the decoder, in nanoseconds. Nothing for other codecs, whose containers
/// say it.
pub(crate) fn nanos_before_start(parameters: &AudioCodecParameters) -> u64 {
    if parameters.codec != CODEC_ID_OPUS {
        return 0;
    }
    let frames = Head::of(parameters).map_or(0, |head| u64::from(head.pre_skip));
    frames * 1_000_000_000 / u64::from(RATE)
}

/// The identification header, RFC 7845 section 5.1.
#[derive(Clone, Debug, PartialEq)]
struct Head {
    channels: usize,
    pre_skip: u16,
    /// Factor for all samples.
    gain: f32,
    streams: usize,
    /// How many of the streams, the first ones, are stereo.
    coupled: usize,
    /// For each channel the decoded channel it takes, 255 for none.
    mapping: Vec<u8>,
}

impl Head {
    fn of(parameters: &AudioCodecParameters) -> Option<Self> {
        let channels = parameters.channels.as_ref().map_or(0, Channels::count);
        match parameters.extra_data.as_deref() {
            Some(data) => Self::parse(data),
            None => Self::plain(channels),
        }
    }

    /// Mono or stereo without a header.
    fn plain(channels: usize) -> Option<Self> {
        (1..=2).contains(&channels).then(|| Self {
            channels,
            pre_skip: 0,
            gain: 1.0,
            streams: 1,
            coupled: channels - 1,
            mapping: vec![0, 1],
        })
    }

    fn parse(data: &[u8]) -> Option<Self> {
        let data = data.strip_prefix(b"OpusHead")?;
        let (
            &[
                _,
                channels,
                skip_low,
                skip_high,
                _,
                _,
                _,
                _,
                gain_low,
                gain_high,
                family,
            ],
            rest,
        ) = data.split_first_chunk::<11>()?;
        let channels = usize::from(channels);
        let decibels = f32::from(i16::from_le_bytes([gain_low, gain_high])) / 256.0;
        let mut head = Self {
            pre_skip: u16::from_le_bytes([skip_low, skip_high]),
            gain: 10.0_f32.powf(decibels.clamp(-MAX_GAIN, MAX_GAIN) / 20.0),
            ..Self::plain(channels.clamp(1, 2))?
        };
        match family {
            0 if (1..=2).contains(&channels) => Some(head),
            // Family 3 has a matrix in the place of the table.
            0 | 3 => None,
            _ => {
                let (&[streams, coupled], table) = rest.split_first_chunk::<2>()?;
                head.channels = channels;
                head.streams = usize::from(streams);
                head.coupled = usize::from(coupled);
                head.mapping = table.get(..channels)?.to_vec();
                let decoded = head.streams + head.coupled;
                if let Some(order) = (family == 1).then(|| SURROUND.get(channels)).flatten() {
                    let placed = order.iter().map(|place| head.mapping.get(*place).copied());
                    head.mapping = placed.collect::<Option<_>>()?;
                }
                let is_sound = channels > 0
                    && head.streams > 0
                    && head.coupled <= head.streams
                    && decoded <= 255
                    && head
                        .mapping
                        .iter()
                        .all(|source| *source == 255 || usize::from(*source) < decoded);
                is_sound.then_some(head)
            }
        }
    }

    /// The stream and its channel that an output channel takes.
    fn source(&self, channel: usize) -> Option<(usize, usize)> {
        let source = usize::from(*self.mapping.get(channel)?);
        match source {
            255 => None,
            source if source < 2 * self.coupled => Some((source / 2, source % 2)),
            source => Some((source - self.coupled, 0)),
        }
    }
}

/// Decodes the packets of one track.
struct Decoder {
    parameters: AudioCodecParameters,
    head: Head,
    streams: Vec<OpusDecoder>,
    /// Interleaved samples of one stream.
    decoded: Vec<f32>,
    packet: Vec<u8>,
    buffer: AudioBuffer<f32>,
}

impl Decoder {
    fn new(parameters: &AudioCodecParameters) -> Result<Self> {
        let Some(head) = Head::of(parameters) else {
            return unsupported_error("opus: channel mapping");
        };
        let channels = match &parameters.channels {
            Some(channels) if channels.count() == head.channels => channels.clone(),
            _ => Channels::Discrete(u16::try_from(head.channels).unwrap_or(1)),
        };
        let streams = Self::streams(&head)?;
        Ok(Self {
            parameters: parameters.clone(),
            buffer: AudioBuffer::new(AudioSpec::new(RATE, channels), MAX_FRAMES),
            head,
            streams,
            decoded: vec![0.0; MAX_FRAMES * 2],
            packet: Vec::new(),
        })
    }

    fn streams(head: &Head) -> Result<Vec<OpusDecoder>> {
        (0..head.streams)
            .map(|stream| {
                let channels = if stream < head.coupled { 2 } else { 1 };
                OpusDecoder::new(RATE as i32, channels)
                    .or_else(|_| unsupported_error("opus: the decoder could not be made"))
            })
            .collect()
    }

    fn decode_streams(&mut self, mut data: &[u8]) -> Result<()> {
        let Self {
            head,
            streams,
            decoded,
            packet,
            buffer,
            ..
        } = self;
        buffer.clear();
        let last = streams.len().saturating_sub(1);
        let mut expected = None;
        for (index, decoder) in streams.iter_mut().enumerate() {
            let own = if index == last {
                data
            } else {
                let Some(rest) = undelimit(data, packet) else {
                    return decode_error("opus: damaged packet of several streams");
                };
                data = rest;
                packet.as_slice()
            };
            // An empty packet asks for concealment, which cannot say how long.
            if own.is_empty() {
                return decode_error("opus: empty packet");
            }
            let frames = match decoder.decode(own, MAX_FRAMES, decoded) {
                Ok(frames) if frames <= MAX_FRAMES => frames,
                _ => return decode_error("opus: damaged packet"),
            };
            if *expected.get_or_insert(frames) != frames {
                return decode_error("opus: streams of different lengths");
            }
            if index == 0 {
                buffer.render_silence(Some(frames));
            }
            let width = if index < head.coupled { 2 } else { 1 };
            for channel in 0..head.channels {
                let Some((_, side)) = head.source(channel).filter(|(stream, _)| *stream == index) else {
                    continue;
                };
                let Some(plane) = buffer.plane_mut(channel) else {
                    continue;
                };
                let samples = decoded.iter().skip(side).step_by(width);
                for (out, sample) in plane.iter_mut().zip(samples) {
                    *out = *sample * head.gain;
                }
            }
        }
        Ok(())
    }
}

impl AudioDecoder for Decoder {
    fn reset(&mut self) {
        if let Ok(streams) = Self::streams(&self.head) {
            self.streams = streams;
        }
    }

    fn codec_info(&self) -> &CodecInfo {
        &CODEC.info
    }

    fn codec_params(&self) -> &AudioCodecParameters {
        &self.parameters
    }

    fn decode_ref(&mut self, packet: &PacketRef<'_>) -> Result<GenericAudioBufferRef<'_>> {
        if let Err(error) = self.decode_streams(packet.data) {
            self.buffer.clear();
            return Err(error);
        }
        Ok(self.buffer.as_generic_audio_buffer_ref())
    }

    fn finalize(&mut self) -> FinalizeResult {
        FinalizeResult::default()
    }

    fn last_decoded(&self) -> GenericAudioBufferRef<'_> {
        self.buffer.as_generic_audio_buffer_ref()
    }
}

impl RegisterableAudioDecoder for Decoder {
    fn try_registry_new(
        parameters: &AudioCodecParameters,
        _options: &AudioDecoderOptions,
    ) -> Result<Box<dyn AudioDecoder>> {
        Ok(Box::new(Self::new(parameters)?))
    }

    fn supported_codecs() -> &'static [SupportedAudioCodec] {
        &[CODEC]
    }
}

/// Takes one self-delimited packet from `data`, writes it to `packet` in the usual form, and returns what follows.
fn undelimit<'a>(data: &'a [u8], packet: &mut Vec<u8>) -> Option<&'a [u8]> {
    packet.clear();
    let (&head, mut rest) = data.split_first()?;
    packet.push(head);
    let mut padding = 0_usize;
    let body = match head & 3 {
        0 => length(&mut rest)?,
        1 => 2 * length(&mut rest)?,
        2 => {
            let first = length(&mut rest)?;
            push_length(first, packet);
            first + length(&mut rest)?
        }
        _ => {
            let (&count, after) = rest.split_first()?;
            rest = after;
            // Without the flag of padding, which is left out.
            packet.push(count & !0x40);
            if count & 0x40 != 0 {
                loop {
                    let (&more, after) = rest.split_first()?;
                    rest = after;
                    if more < 255 {
                        padding += usize::from(more);
                        break;
                    }
                    padding += 254;
                }
            }
            let frames = usize::from(count & 0x3f);
            if count & 0x80 == 0 {
                frames * length(&mut rest)?
            } else {
                let mut body = 0;
                for _ in 1..frames {
                    let frame = length(&mut rest)?;
                    push_length(frame, packet);
                    body += frame;
                }
                body + length(&mut rest)?
            }
        }
    };
    packet.extend_from_slice(rest.get(..body)?);
    rest.get(body.checked_add(padding)?..)
}

/// The length of a frame, RFC 6716 section 3.2.1.
fn length(data: &mut &[u8]) -> Option<usize> {
    let (&first, rest) = data.split_first()?;
    *data = rest;
    if first < 252 {
        return Some(usize::from(first));
    }
    let (&second, rest) = rest.split_first()?;
    *data = rest;
    Some(usize::from(second) * 4 + usize::from(first))
}

fn push_length(length: usize, packet: &mut Vec<u8>) {
    if length < 252 {
        packet.push(length as u8);
    } else {
        let first = 252 + (length & 3);
        packet.extend([first as u8, ((length - first) / 4) as u8]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(family: u8, channels: u8, rest: &[u8]) -> Vec<u8> {
        let mut out = b"OpusHead\x01".to_vec();
        out.extend([channels, 0x38, 0x01, 0x80, 0xbb, 0, 0, 0, 6, family]);
        out.extend(rest);
        out
    }

    #[test]
    fn headers_are_read() {
        let stereo = Head::parse(&head(0, 2, &[])).unwrap();
        assert_eq!((stereo.pre_skip, stereo.streams, stereo.coupled), (312, 1, 1));
        assert_eq!((stereo.source(0), stereo.source(1)), (Some((0, 0)), Some((0, 1))));
        // 6 dB.
        assert!((stereo.gain - 1.995).abs() < 0.001);
        // 5.1: two pairs and two single channels.
        let surround = Head::parse(&head(1, 6, &[4, 2, 0, 4, 1, 2, 3, 5])).unwrap();
        let sources: Vec<_> = (0..6).map(|channel| surround.source(channel).unwrap()).collect();
        // Left, right, centre, low, rear left and right.
        assert_eq!(sources, [(0, 0), (0, 1), (2, 0), (3, 0), (1, 0), (1, 1)]);
        let silent = Head::parse(&head(255, 2, &[1, 0, 255, 0])).unwrap();
        assert_eq!((silent.source(0), silent.source(1)), (None, Some((0, 0))));
    }

    #[test]
    fn senseless_headers_are_refused() {
        for bad in [
            head(0, 3, &[]),
            head(0, 0, &[]),
            head(1, 6, &[4, 2, 0, 4]),
            head(1, 2, &[1, 2, 0, 1]),
            head(1, 2, &[0, 0, 0, 1]),
            head(1, 2, &[1, 0, 0, 1]),
            head(3, 2, &[1, 1, 0, 1]),
            b"OpusTags".to_vec(),
        ] {
            assert_eq!(Head::parse(&bad), None, "{bad:?}");
        }
    }

    #[test]
    fn self_delimited_packets_are_unpacked() {
        let mut packet = Vec::new();
        let mut unpack = |data: &[u8]| -> Option<(Vec<u8>, Vec<u8>)> {
            let rest = undelimit(data, &mut packet)?.to_vec();
            Some((packet.clone(), rest))
        };
        // One frame of two bytes, then another packet.
        assert_eq!(unpack(&[8, 2, 1, 2, 9, 9]), Some((vec![8, 1, 2], vec![9, 9])));
        // Two of the same length, two of different lengths.
        assert_eq!(unpack(&[9, 1, 1, 2, 7]), Some((vec![9, 1, 2], vec![7])));
        assert_eq!(
            unpack(&[10, 1, 2, 1, 2, 3, 7]),
            Some((vec![10, 1, 1, 2, 3], vec![7]))
        );
        // Three frames of their own lengths with two bytes of padding.
        assert_eq!(
            unpack(&[11, 0xc3, 2, 1, 0, 1, 1, 5, 0, 0, 7]),
            Some((vec![11, 0x83, 1, 0, 1, 5], vec![7]))
        );
        // Long frames have lengths of two bytes.
        let mut long = vec![10, 253, 1, 0];
        long.extend([3; 257]);
        let (unpacked, rest) = unpack(&long).unwrap();
        assert_eq!(
            (unpacked.get(..3), unpacked.len(), rest.len()),
            (Some(&[10, 253, 1][..]), 260, 0)
        );
        for bad in [
            &[][..],
            &[8],
            &[8, 2, 1],
            &[8, 252],
            &[11, 0x41, 255],
            &[11, 0x82, 5, 5, 1],
        ] {
            assert_eq!(unpack(bad), None, "{bad:?}");
        }
    }
}
