//! Samples as a WAV file, the form of audio that every speech-to-text vendor takes.

use audiorag_core::model::SAMPLE_RATE;
use bytes::{BufMut as _, Bytes, BytesMut};

/// The bytes before the first sample.
const HEADER: usize = 44;

/// Mono samples in −1 to 1 at [`SAMPLE_RATE`] as a WAV file with 16 bits a sample.
pub(crate) fn encode(samples: &[f32]) -> Bytes {
    let data = samples.len() * 2;
    let mut out = BytesMut::with_capacity(HEADER + data);
    // Parts are minutes long; the sizes of the format end at four gigabytes.
    out.put_slice(b"RIFF");
    out.put_u32_le((HEADER - 8 + data) as u32);
    out.put_slice(b"WAVEfmt ");
    out.put_u32_le(16);
    out.put_u16_le(1);
    out.put_u16_le(1);
    out.put_u32_le(SAMPLE_RATE);
    out.put_u32_le(SAMPLE_RATE * 2);
    out.put_u16_le(2);
    out.put_u16_le(16);
    out.put_slice(b"data");
    out.put_u32_le(data as u32);
    for sample in samples {
        // A sample that is not a number becomes silence.
        out.put_i16_le((sample.clamp(-1.0, 1.0) * f32::from(i16::MAX)).round() as i16);
    }
    out.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_tells_the_truth_about_the_samples() {
        let wav = encode(&[0.0, 1.0, -1.0, 2.0, f32::NAN, 0.5]);
        assert_eq!(wav.len(), HEADER + 12);
        assert_eq!(&wav[..4], b"RIFF");
        assert_eq!(u32::from_le_bytes(wav[4..8].try_into().unwrap()), 36 + 12);
        assert_eq!(&wav[8..16], b"WAVEfmt ");
        assert_eq!(u32::from_le_bytes(wav[24..28].try_into().unwrap()), SAMPLE_RATE);
        assert_eq!(u32::from_le_bytes(wav[40..44].try_into().unwrap()), 12);
        let samples: Vec<i16> = wav[HEADER..]
            .chunks(2)
            .map(|pair| i16::from_le_bytes(pair.try_into().unwrap()))
            .collect();
        assert_eq!(samples, [0, 32_767, -32_767, 32_767, 0, 16_384]);
    }
}
