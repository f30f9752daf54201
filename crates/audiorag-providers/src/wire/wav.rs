//! Audio as every speech-to-text service takes it: WAV with 16-bit samples.

use audiorag_core::model::SAMPLE_RATE;
use bytes::Bytes;

/// Bytes before the first sample.
const HEADER: u32 = 44;

/// Mono samples in −1 to 1 at [`SAMPLE_RATE`] as a WAV file.
pub(crate) fn encode(samples: &[f32]) -> Bytes {
    let data = samples.len() as u32 * 2;
    let mut out = Vec::with_capacity((HEADER + data) as usize);
    out.extend_from_slice(b"RIFF");
    out.extend_from_slice(&(HEADER - 8 + data).to_le_bytes());
    out.extend_from_slice(b"WAVEfmt ");
    out.extend_from_slice(&16u32.to_le_bytes());
    // PCM, one channel.
    out.extend_from_slice(&1u16.to_le_bytes());
    out.extend_from_slice(&1u16.to_le_bytes());
    out.extend_from_slice(&SAMPLE_RATE.to_le_bytes());
    out.extend_from_slice(&(SAMPLE_RATE * 2).to_le_bytes());
    // Bytes and bits of a sample.
    out.extend_from_slice(&2u16.to_le_bytes());
    out.extend_from_slice(&16u16.to_le_bytes());
    out.extend_from_slice(b"data");
    out.extend_from_slice(&data.to_le_bytes());
    for sample in samples {
        let value = (sample.clamp(-1.0, 1.0) * f32::from(i16::MAX)).round() as i16;
        out.extend_from_slice(&value.to_le_bytes());
    }
    Bytes::from(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use audiorag_testkit::wav::decode_pcm16;

    #[test]
    fn samples_come_back_within_a_step() {
        let samples = [0.0, 0.5, -0.5, 1.0, -1.0, 3.0, -3.0];
        let bytes = encode(&samples);
        assert_eq!(bytes.len(), 44 + 2 * samples.len());
        let (decoded, rate, channels) = decode_pcm16(&bytes);
        assert_eq!((rate, channels), (SAMPLE_RATE, 1));
        for (sample, decoded) in samples.iter().zip(decoded) {
            assert!(
                (sample.clamp(-1.0, 1.0) - decoded).abs() < 1e-4,
                "{sample} {decoded}"
            );
        }
        assert_eq!(encode(&[]).len(), 44);
    }
}
