//! Samples on their way to speech-to-text: as numbers to compute with, or as the file that will be sent.

use crate::model::SAMPLE_RATE;
use std::borrow::Cow;
use std::sync::Arc;

/// Bytes before the first sample of a WAV file.
const HEADER: usize = 44;

/// Mono samples at [`SAMPLE_RATE`].
#[derive(Clone, Debug, PartialEq)]
pub enum Samples {
    /// Numbers in −1 to 1: what a model in this process computes with.
    Float(Arc<[f32]>),
    /// A file: what is sent over a network, at half the size.
    Wav(Wav),
}

impl Samples {
    /// How many there are.
    pub fn len(&self) -> usize {
        match self {
            Self::Float(samples) => samples.len(),
            Self::Wav(wav) => wav.pcm().len() / 2,
        }
    }

    /// How much memory they take.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Float(samples) => size_of_val::<[f32]>(samples),
            Self::Wav(wav) => wav.as_bytes().len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// As numbers in −1 to 1. Those of a file are made for the caller.
    pub fn to_float(&self) -> Cow<'_, [f32]> {
        match self {
            Self::Float(samples) => Cow::Borrowed(samples),
            Self::Wav(wav) => Cow::Owned(
                wav.pcm()
                    .as_chunks::<2>()
                    .0
                    .iter()
                    .map(|pair| f32::from(i16::from_le_bytes(*pair)) / f32::from(i16::MAX))
                    .collect(),
            ),
        }
    }

    /// The same, for whoever keeps them.
    pub fn into_float(self) -> Arc<[f32]> {
        match self {
            Self::Float(samples) => samples,
            Self::Wav(_) => self.to_float().into(),
        }
    }

    /// As a file. That of numbers is made for the caller.
    pub fn to_wav(&self) -> Wav {
        match self {
            Self::Float(samples) => Wav::encode(samples),
            Self::Wav(wav) => wav.clone(),
        }
    }
}

impl From<Arc<[f32]>> for Samples {
    fn from(samples: Arc<[f32]>) -> Self {
        Self::Float(samples)
    }
}

impl From<Vec<f32>> for Samples {
    fn from(samples: Vec<f32>) -> Self {
        Self::Float(samples.into())
    }
}

impl From<&[f32]> for Samples {
    fn from(samples: &[f32]) -> Self {
        Self::Float(samples.into())
    }
}

/// A WAV file of mono 16-bit samples at [`SAMPLE_RATE`], as every speech-to-text service takes it. Clones share the
/// bytes, so that an attempt that is made again needs no second copy.
#[derive(Clone, PartialEq, Eq)]
pub struct Wav(Arc<Vec<u8>>);

impl Wav {
    /// What stands before `count` samples in such a file: 44 bytes. Whoever writes a file piece by piece writes them
    /// again when the number is known; one of more than 4 GiB says that it is as long as can be said.
    pub fn header(count: usize) -> Vec<u8> {
        let data = u32::try_from(count).unwrap_or(u32::MAX).saturating_mul(2);
        let mut out = Vec::with_capacity(HEADER);
        out.extend_from_slice(b"RIFF");
        out.extend_from_slice(&data.saturating_add(HEADER as u32 - 8).to_le_bytes());
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
        out
    }

    /// How many bytes a file of `count` samples has.
    pub const fn size(count: usize) -> usize {
        HEADER + count * 2
    }

    /// Makes a file of samples in −1 to 1; what is outside is clipped.
    pub fn encode(samples: &[f32]) -> Self {
        let data = samples.len() * 2;
        let mut out = Vec::with_capacity(HEADER + data);
        out.extend_from_slice(&Self::header(samples.len()));
        out.resize(HEADER + data, 0);
        let (_, body) = out.split_at_mut(HEADER);
        for (place, sample) in body.as_chunks_mut::<2>().0.iter_mut().zip(samples) {
            *place = sixteen_bit(*sample).to_le_bytes();
        }
        Self(Arc::new(out))
    }

    /// The bytes of the file.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The bytes of the samples.
    fn pcm(&self) -> &[u8] {
        self.0.get(HEADER..).unwrap_or_default()
    }
}

impl AsRef<[u8]> for Wav {
    fn as_ref(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl std::fmt::Debug for Wav {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Wav({} bytes)", self.0.len())
    }
}

/// The nearest of 65,535 steps. Halves are added by hand: `round` is a call of a function for each sample.
fn sixteen_bit(sample: f32) -> i16 {
    let value = sample.clamp(-1.0, 1.0) * f32::from(i16::MAX);
    (value + 0.5_f32.copysign(value)) as i16
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_file_has_half_the_bytes_and_the_same_samples() {
        let samples = [0.0, 0.5, -0.5, 1.0, -1.0, 3.0, -3.0];
        let float = Samples::from(samples.as_slice());
        let wav = Samples::Wav(float.to_wav());
        assert_eq!(float.len(), wav.len());
        assert_eq!((float.bytes(), wav.bytes()), (28, 44 + 14));
        assert_eq!(wav.to_wav().as_bytes().len(), HEADER + 2 * samples.len());
        for (sample, back) in samples.iter().zip(wav.to_float().iter()) {
            assert!((sample.clamp(-1.0, 1.0) - back).abs() < 1e-4, "{sample} {back}");
        }
        assert!(Samples::Wav(Wav::encode(&[])).is_empty());
        assert_eq!(format!("{:?}", Wav::encode(&[0.0])), "Wav(46 bytes)");
    }

    proptest! {
        #[test]
        fn the_nearest_step_is_taken(sample in -1.5_f32..1.5) {
            let exact = (f64::from(sample).clamp(-1.0, 1.0) * 32_767.0).round();
            prop_assert!((f64::from(sixteen_bit(sample)) - exact).abs() <= 1.0);
            prop_assert!((f64::from(sixteen_bit(sample)) / 32_767.0 - f64::from(sample.clamp(-1.0, 1.0))).abs() < 1.6e-5);
        }
    }
}
