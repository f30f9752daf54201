//! Writes WAV files of the kinds that real recorders and careless tools leave behind.

/// How a sample is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// 8 bits, unsigned.
    Pcm8,
    /// 16 bits.
    Pcm16,
    /// 24 bits.
    Pcm24,
    /// 32 bits.
    Pcm32,
    /// IEEE float.
    Float32,
    /// G.711 µ-law, 8 bits.
    MuLaw,
}

impl Format {
    /// Every format.
    pub const ALL: [Self; 6] = [
        Self::Pcm8,
        Self::Pcm16,
        Self::Pcm24,
        Self::Pcm32,
        Self::Float32,
        Self::MuLaw,
    ];

    /// Bytes a sample takes.
    pub const fn bytes(self) -> u16 {
        match self {
            Self::Pcm8 | Self::MuLaw => 1,
            Self::Pcm16 => 2,
            Self::Pcm24 => 3,
            Self::Pcm32 | Self::Float32 => 4,
        }
    }

    /// The registered format number: 1 for PCM, 3 for float, 7 for µ-law.
    const fn tag(self) -> u16 {
        match self {
            Self::Float32 => 3,
            Self::MuLaw => 7,
            _ => 1,
        }
    }

    fn push(self, sample: f32, out: &mut Vec<u8>) {
        let sample = f64::from(sample.clamp(-1.0, 1.0));
        let scaled = |bits: u32| {
            let full = f64::from(1u32 << (bits - 1));
            (sample * full).round().clamp(-full, full - 1.0)
        };
        match self {
            Self::Pcm8 => out.push((scaled(8) + 128.0) as u8),
            Self::Pcm16 => out.extend((scaled(16) as i16).to_le_bytes()),
            Self::Pcm24 => out.extend(&(scaled(24) as i32).to_le_bytes()[..3]),
            Self::Pcm32 => out.extend((scaled(32) as i32).to_le_bytes()),
            Self::Float32 => out.extend((sample as f32).to_le_bytes()),
            Self::MuLaw => out.push(mu_law(scaled(16) as i16)),
        }
    }
}

/// A 16-bit sample as ITU-T G.711 µ-law stores it.
fn mu_law(sample: i16) -> u8 {
    const BIAS: i32 = 132;
    let sign = if sample < 0 { 0x80u8 } else { 0 };
    let magnitude = (i32::from(sample).abs().min(32_635)) + BIAS;
    // The segment is the position of the highest bit above bit 7; the bias makes sure that there is one.
    let segment = (31 - magnitude.leading_zeros()).saturating_sub(7).min(7);
    let mantissa = (magnitude >> (segment + 3)) & 0x0F;
    !(sign | (segment as u8) << 4 | mantissa as u8)
}

/// A WAV file of interleaved samples in −1 to 1.
pub fn encode(interleaved: &[f32], rate: u32, channels: u16, format: Format) -> Vec<u8> {
    let frame = channels * format.bytes();
    let length = interleaved.len() * usize::from(format.bytes());
    let mut out = Vec::with_capacity(length + 46);
    let extended = format.tag() != 1;
    let header: u32 = if extended { 18 } else { 16 };
    out.extend(b"RIFF");
    out.extend((4 + 8 + header + 8 + length as u32 + (length as u32 & 1)).to_le_bytes());
    out.extend(b"WAVEfmt ");
    out.extend(header.to_le_bytes());
    out.extend(format.tag().to_le_bytes());
    out.extend(channels.to_le_bytes());
    out.extend(rate.to_le_bytes());
    out.extend((rate * u32::from(frame)).to_le_bytes());
    out.extend(frame.to_le_bytes());
    out.extend((format.bytes() * 8).to_le_bytes());
    if extended {
        out.extend(0u16.to_le_bytes());
    }
    out.extend(b"data");
    out.extend((length as u32).to_le_bytes());
    for sample in interleaved {
        format.push(*sample, &mut out);
    }
    if length % 2 == 1 {
        out.push(0);
    }
    out
}

/// A 16-bit mono WAV file.
pub fn encode_mono(samples: &[f32], rate: u32) -> Vec<u8> {
    encode(samples, rate, 1, Format::Pcm16)
}

/// Reads back a 16-bit PCM WAV file: interleaved samples, rate and channels.
///
/// # Panics
/// On anything else: it is for recordings that a test knows.
pub fn decode_pcm16(bytes: &[u8]) -> (Vec<f32>, u32, u16) {
    let u32_at = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
    let u16_at = |at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
    assert_eq!(
        (&bytes[..4], &bytes[8..12]),
        (&b"RIFF"[..], &b"WAVE"[..]),
        "not a WAV file"
    );
    let (mut at, mut format) = (12, None);
    loop {
        let (name, length) = (&bytes[at..at + 4], u32_at(at + 4) as usize);
        let body = at + 8;
        match name {
            b"fmt " => {
                assert_eq!((u16_at(body), u16_at(body + 14)), (1, 16), "not 16-bit PCM");
                format = Some((u32_at(body + 4), u16_at(body + 2)));
            }
            b"data" => {
                let Some((rate, channels)) = format else {
                    panic!("samples before their format")
                };
                let (samples, _) = bytes[body..(body + length).min(bytes.len())].as_chunks::<2>();
                let samples = samples
                    .iter()
                    .map(|two| f32::from(i16::from_le_bytes(*two)) / 32_768.0);
                return (samples.collect(), rate, channels);
            }
            _ => {}
        }
        at = body + length + length % 2;
    }
}

/// The same samples on each of `channels` channels.
pub fn interleave(mono: &[f32], channels: u16) -> Vec<f32> {
    mono.iter()
        .flat_map(|sample| std::iter::repeat_n(*sample, usize::from(channels)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn le32(bytes: &[u8]) -> u32 {
        u32::from_le_bytes(bytes.try_into().unwrap())
    }

    #[test]
    fn headers_describe_what_follows() {
        for format in Format::ALL {
            let bytes = encode(&interleave(&[0.0, 0.5, -0.5], 3), 44_100, 3, format);
            assert_eq!(&bytes[..4], b"RIFF");
            assert_eq!(le32(&bytes[4..8]) as usize, bytes.len() - 8, "{format:?}");
            let data = bytes.windows(4).position(|window| window == b"data").unwrap();
            let length = le32(&bytes[data + 4..data + 8]) as usize;
            assert_eq!(length, 9 * usize::from(format.bytes()));
            assert_eq!(bytes.len(), data + 8 + length + length % 2);
            assert_eq!(le32(&bytes[28..32]), 44_100 * 3 * u32::from(format.bytes()));
        }
    }

    #[test]
    fn sixteen_bits_come_back() {
        let samples = [0.0, 0.5, -0.5, -1.0];
        let mut bytes = encode(&samples, 22_050, 2, Format::Pcm16);
        assert_eq!(decode_pcm16(&bytes), (samples.to_vec(), 22_050, 2));
        // A chunk of odd length before the samples, as editors write them.
        let data = bytes.windows(4).position(|window| window == b"data").unwrap();
        bytes.splice(data..data, *b"LIST\x03\0\0\0abc\0");
        assert_eq!(decode_pcm16(&bytes).0, samples);
    }

    #[test]
    fn extremes_and_silence_are_stored_as_the_standards_say() {
        let bytes = |sample, format: Format| {
            let mut out = Vec::new();
            format.push(sample, &mut out);
            out
        };
        assert_eq!(bytes(0.0, Format::Pcm8), [128]);
        assert_eq!(bytes(-1.0, Format::Pcm8), [0]);
        assert_eq!(bytes(1.0, Format::Pcm16), [0xFF, 0x7F]);
        assert_eq!(bytes(-1.0, Format::Pcm24), [0, 0, 0x80]);
        assert_eq!(bytes(2.0, Format::Pcm32), [0xFF, 0xFF, 0xFF, 0x7F]);
        assert_eq!(bytes(0.5, Format::Float32), 0.5f32.to_le_bytes());
        // G.711, table 2: zero is 0xFF, the largest values are 0x80 and 0x00.
        assert_eq!(bytes(0.0, Format::MuLaw), [0xFF]);
        assert_eq!(bytes(1.0, Format::MuLaw), [0x80]);
        assert_eq!(bytes(-1.0, Format::MuLaw), [0x00]);
    }
}
