//! To 16 kHz, without moving anything: the filter's delay is cut off and its tail is flushed.

use audiorag_core::model::SAMPLE_RATE;
use audiorag_core::{Error, Result};
use rubato::audioadapter_buffers::direct::InterleavedSlice;
use rubato::{Fft, FixedSync, Indexing, Resampler as _};

/// Output samples of one transform. Longer ones cut closer to 8 kHz but cost more for rates with large
/// factors; at 1024 the pass band reaches beyond 7.5 kHz.
const BLOCK: usize = 1024;

/// A mono stream on its way to [`SAMPLE_RATE`].
pub(crate) struct Resampler {
    rate: u32,
    taken: u64,
    given: u64,
    filter: Option<Filter>,
}

struct Filter {
    fft: Fft<f32>,
    pending: Vec<f32>,
    block: Vec<f32>,
    /// Samples of delay not yet cut off.
    delay: usize,
}

impl Resampler {
    /// # Errors
    /// [`Internal`](audiorag_core::ErrorKind::Internal) for a rate of zero.
    pub(crate) fn new(rate: u32) -> Result<Self> {
        let filter = if rate == SAMPLE_RATE {
            None
        } else {
            Some(Filter::new(rate)?)
        };
        Ok(Self {
            rate,
            taken: 0,
            given: 0,
            filter,
        })
    }

    pub(crate) fn rate(&self) -> u32 {
        self.rate
    }

    /// Takes samples and appends what is complete to `out`.
    pub(crate) fn push(&mut self, samples: &[f32], out: &mut Vec<f32>) -> Result<()> {
        self.taken += samples.len() as u64;
        let before = out.len();
        match &mut self.filter {
            None => out.extend_from_slice(samples),
            Some(filter) => {
                filter.pending.extend_from_slice(samples);
                filter.run(out)?;
            }
        }
        self.given += (out.len() - before) as u64;
        Ok(())
    }

    /// Appends the tail: afterwards as many samples have come out as the input was long, rounded up.
    pub(crate) fn finish(&mut self, out: &mut Vec<f32>) -> Result<()> {
        let total =
            (u128::from(self.taken) * u128::from(SAMPLE_RATE)).div_ceil(u128::from(self.rate.max(1))) as u64;
        let Some(filter) = &mut self.filter else {
            return Ok(());
        };
        while self.given < total {
            let before = out.len();
            filter.pending.resize(filter.fft.input_frames_next(), 0.0);
            filter.run(out)?;
            let surplus = (self.given + (out.len() - before) as u64).saturating_sub(total);
            out.truncate(out.len() - surplus as usize);
            self.given += (out.len() - before) as u64;
        }
        Ok(())
    }
}

impl Filter {
    fn new(rate: u32) -> Result<Self> {
        let divisor = greatest_common_divisor(rate, SAMPLE_RATE).max(1);
        let (step_in, step_out) = ((rate / divisor) as usize, (SAMPLE_RATE / divisor) as usize);
        // An even number of steps makes the delay, half a block, a whole number of samples on both sides.
        let steps = BLOCK.div_ceil(step_out).next_multiple_of(2);
        let fft = Fft::new(
            rate as usize,
            SAMPLE_RATE as usize,
            steps * step_in,
            1,
            FixedSync::Both,
        )
        .map_err(|cause| Error::internal(format!("cannot resample from {rate} Hz")).with_cause(cause))?;
        let delay = fft.output_delay();
        let block = vec![0.0; fft.output_frames_max()];
        Ok(Self {
            fft,
            pending: Vec::new(),
            block,
            delay,
        })
    }

    /// Transforms every full block of `pending`.
    fn run(&mut self, out: &mut Vec<f32>) -> Result<()> {
        let Self {
            fft,
            pending,
            block,
            delay,
        } = self;
        let available = pending.len();
        let capacity = block.len();
        let mut used = 0;
        while available - used >= fft.input_frames_next() {
            let indexing = Indexing {
                input_offset: used,
                output_offset: 0,
                partial_len: None,
                active_channels_mask: None,
            };
            let input = InterleavedSlice::new(pending.as_slice(), 1, available).map_err(broken)?;
            let mut output = InterleavedSlice::new_mut(block.as_mut_slice(), 1, capacity).map_err(broken)?;
            let (read, written) = fft
                .process_into_buffer(&input, &mut output, Some(&indexing))
                .map_err(broken)?;
            used += read;
            let cut = written.min(*delay);
            *delay -= cut;
            out.extend_from_slice(block.get(cut..written).unwrap_or_default());
        }
        pending.drain(..used);
        Ok(())
    }
}

fn broken(cause: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::internal("the resampler was used wrongly").with_cause(cause)
}

fn greatest_common_divisor(mut a: u32, mut b: u32) -> u32 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const RATES: [u32; 15] = [
        8000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 37_800, 44_100, 44_101, 48_000, 64_000, 88_200,
        96_000, 192_000,
    ];

    fn resample(input: &[f32], rate: u32, block: usize) -> Vec<f32> {
        let mut resampler = Resampler::new(rate).unwrap();
        let mut out = Vec::new();
        for chunk in input.chunks(block) {
            resampler.push(chunk, &mut out).unwrap();
        }
        resampler.finish(&mut out).unwrap();
        out
    }

    fn peak(samples: &[f32]) -> usize {
        (0..samples.len())
            .max_by(|a, b| samples[*a].abs().total_cmp(&samples[*b].abs()))
            .unwrap()
    }

    #[test]
    fn a_click_stays_where_it_is() {
        for rate in RATES {
            for at_millis in [0_u32, 3, 100, 777, 1499] {
                let at = u64::from(at_millis) * u64::from(rate) / 1000;
                let mut input = vec![0.0; rate as usize * 3 / 2];
                input[usize::try_from(at).unwrap()] = 1.0;
                let out = resample(&input, rate, 1000);
                let expected = at as f64 * f64::from(SAMPLE_RATE) / f64::from(rate);
                let found = peak(&out) as f64;
                assert!(
                    (found - expected).abs() <= 1.0,
                    "{rate} Hz, {at_millis} ms: {found} for {expected}"
                );
            }
        }
    }

    #[test]
    fn a_tone_keeps_its_level_and_aliases_vanish() {
        for rate in RATES {
            let tone = |hertz: f64| -> Vec<f32> {
                (0..rate * 2)
                    .map(|n| {
                        (f64::from(n) / f64::from(rate) * hertz * std::f64::consts::TAU).sin() as f32 * 0.5
                    })
                    .collect()
            };
            let level = |samples: &[f32]| {
                let middle = &samples[samples.len() / 4..samples.len() * 3 / 4];
                (middle.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>() / middle.len() as f64).sqrt()
            };
            let kept = level(&resample(&tone(1000.0), rate, 4096));
            assert!(
                (kept - 0.5 / std::f64::consts::SQRT_2).abs() < 1e-3,
                "{rate} Hz: {kept}"
            );
            if rate >= 32_000 {
                let alias = level(&resample(&tone(11_000.0), rate, 4096));
                assert!(alias < 1e-4, "{rate} Hz: {alias}");
            }
        }
    }

    /// What is left of a tone when the tone itself is taken out, against the tone, in decibels.
    fn signal_to_noise(samples: &[f32], hertz: f64) -> f64 {
        let middle = &samples[samples.len() / 4..samples.len() * 3 / 4];
        let angle = |n: usize| n as f64 / f64::from(SAMPLE_RATE) * hertz * std::f64::consts::TAU;
        let (mut sine, mut cosine) = (0.0, 0.0);
        for (n, sample) in middle.iter().enumerate() {
            sine += f64::from(*sample) * angle(n).sin();
            cosine += f64::from(*sample) * angle(n).cos();
        }
        let scale = 2.0 / middle.len() as f64;
        let (mut tone, mut noise) = (0.0, 0.0);
        for (n, sample) in middle.iter().enumerate() {
            let pure = scale * (sine * angle(n).sin() + cosine * angle(n).cos());
            tone += pure * pure;
            noise += (f64::from(*sample) - pure).powi(2);
        }
        10.0 * (tone / noise).log10()
    }

    #[test]
    fn noise_added_by_resampling_is_far_below_that_of_16_bits() {
        for rate in RATES {
            // A whole number of periods in the second that is looked at.
            for hertz in [200.0, 1000.0, 3000.0] {
                let tone: Vec<f32> = (0..rate * 2)
                    .map(|n| {
                        let time = f64::from(n) / f64::from(rate);
                        (time * hertz * std::f64::consts::TAU).sin() as f32 * 0.5
                    })
                    .collect();
                let ratio = signal_to_noise(&resample(&tone, rate, 4096), hertz);
                assert!(ratio > 105.0, "{rate} Hz, tone of {hertz} Hz: {ratio:.1} dB");
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn length_is_exact_and_blocks_do_not_matter(
            rate in prop::sample::select(RATES.to_vec()),
            length in 0_usize..40_000,
            block in 1_usize..5000,
        ) {
            let input: Vec<f32> = (0..length).map(|n| (n as f32 * 0.37).sin()).collect();
            let out = resample(&input, rate, block);
            let expected = (length as u64 * u64::from(SAMPLE_RATE)).div_ceil(u64::from(rate));
            prop_assert_eq!(out.len() as u64, expected);
            prop_assert_eq!(out, resample(&input, rate, length.max(1)));
        }
    }
}
