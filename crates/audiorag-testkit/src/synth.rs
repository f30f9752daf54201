//! Recordings made from nothing: silence, tones, noise and bursts that voice activity detection takes for speech.
//!
//! A burst is a chain of syllables: a glottal pulse train through three formant resonators, with hiss between
//! some of them. It says nothing, but it has what detectors look for: harmonics of a moving pitch, formants and
//! a syllable rhythm of about five a second. Equal seeds give equal samples on every machine with IEEE floats.

use audiorag_core::{MediaTime, Span};
use std::f32::consts::TAU;

/// The small generator behind every synthetic signal (splitmix64): seeded, portable, no dependency.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// A generator that always gives the same numbers for the same `seed`.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// 64 even bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Evenly from `low` (included) to `high` (excluded).
    pub fn between(&mut self, low: f32, high: f32) -> f32 {
        let unit = (self.next_u64() >> 40) as f32 / (1u64 << 24) as f32;
        low + unit * (high - low)
    }

    /// Evenly from zero to below `bound`.
    pub fn below(&mut self, bound: usize) -> usize {
        (self.next_u64() % bound.max(1) as u64) as usize
    }
}

/// A mono recording under construction, with the truth about where it holds speech.
#[derive(Clone, Debug)]
pub struct Track {
    rate: u32,
    samples: Vec<f32>,
    speech: Vec<Span>,
}

impl Track {
    /// An empty recording at `rate` samples a second.
    pub const fn new(rate: u32) -> Self {
        Self {
            rate,
            samples: Vec::new(),
            speech: Vec::new(),
        }
    }

    /// Appends digital silence.
    pub fn silence(mut self, millis: u64) -> Self {
        let length = self.length_after(millis);
        self.samples.resize(length, 0.0);
        self
    }

    /// Appends a sine.
    pub fn tone(mut self, hertz: f32, millis: u64) -> Self {
        let (start, end) = (self.samples.len(), self.length_after(millis));
        let step = TAU * hertz / self.rate as f32;
        self.samples
            .extend((start..end).map(|index| 0.3 * ((index - start) as f32 * step).sin()));
        self
    }

    /// Appends white noise peaking at −40 dB, the hiss of a quiet room.
    pub fn noise(mut self, millis: u64, seed: u64) -> Self {
        let (start, end) = (self.samples.len(), self.length_after(millis));
        let mut random = Random::new(seed);
        self.samples
            .extend((start..end).map(|_| random.between(-0.01, 0.01)));
        self
    }

    /// Appends samples from elsewhere at this recording's rate, and notes them as speech.
    pub fn recording(mut self, samples: &[f32]) -> Self {
        let start = self.duration();
        self.samples.extend_from_slice(samples);
        self.speech.push(Span::between(start, self.duration()));
        self
    }

    /// Appends a burst of synthetic speech and notes its span. Different seeds sound different.
    pub fn speech(mut self, millis: u64, seed: u64) -> Self {
        let start = self.duration();
        let end = self.length_after(millis);
        let burst = burst(end - self.samples.len(), self.rate, seed);
        self.samples.extend(burst);
        self.speech.push(Span::between(start, self.duration()));
        self
    }

    /// The samples in −1 to 1.
    pub fn samples(&self) -> &[f32] {
        &self.samples
    }

    /// The recording as a 16-bit mono WAV file.
    pub fn to_wav(&self) -> Vec<u8> {
        crate::wav::encode_mono(&self.samples, self.rate)
    }

    /// Where the speech is.
    pub fn speech_spans(&self) -> &[Span] {
        &self.speech
    }

    /// Samples a second.
    pub const fn rate(&self) -> u32 {
        self.rate
    }

    /// The length so far.
    pub fn duration(&self) -> MediaTime {
        MediaTime::from_samples(self.samples.len() as u64, self.rate)
    }

    /// The sample count after `millis` more, so that rounding never adds up over many pieces.
    fn length_after(&self, millis: u64) -> usize {
        self.duration()
            .saturating_add(MediaTime::from_millis(millis))
            .to_samples(self.rate) as usize
    }
}

/// Formant frequencies in Hz of /a e i o u/ for an average adult (after Peterson and Barney, 1952).
const VOWELS: [[f32; 3]; 5] = [
    [730.0, 1090.0, 2440.0],
    [530.0, 1840.0, 2480.0],
    [270.0, 2290.0, 3010.0],
    [570.0, 840.0, 2410.0],
    [300.0, 870.0, 2240.0],
];
/// Their bandwidths.
const BANDWIDTHS: [f32; 3] = [80.0, 100.0, 140.0];

/// `length` samples of syllables.
fn burst(length: usize, rate: u32, seed: u64) -> Vec<f32> {
    let mut random = Random::new(seed ^ 0x5EED);
    let mut out = Vec::with_capacity(length);
    let pitch = random.between(95.0, 190.0);
    while out.len() < length {
        if random.below(3) > 0 {
            hiss(
                &mut out,
                (random.between(0.03, 0.07) * rate as f32) as usize,
                &mut random,
            );
        }
        let contour = pitch * random.between(0.9, 1.15);
        let vowel = random.below(VOWELS.len());
        let seconds = random.between(0.12, 0.24);
        voice(
            &mut out,
            (seconds * rate as f32) as usize,
            rate,
            contour,
            VOWELS[vowel],
            &mut random,
        );
    }
    out.truncate(length);
    let peak = out.iter().fold(1e-6f32, |peak, sample| peak.max(sample.abs()));
    for sample in &mut out {
        *sample *= 0.6 / peak;
    }
    out
}

/// A fricative: differentiated noise, quieter than the vowels.
fn hiss(out: &mut Vec<f32>, length: usize, random: &mut Random) {
    let mut last = 0.0;
    for index in 0..length {
        let white = random.between(-1.0, 1.0);
        out.push(0.12 * (white - last) * swell(index, length));
        last = white;
    }
}

/// A vowel: pulses of a gliding pitch through the formants in a row.
fn voice(out: &mut Vec<f32>, length: usize, rate: u32, pitch: f32, formants: [f32; 3], random: &mut Random) {
    let start = out.len();
    let mut phase = 0.0;
    let glide = random.between(-0.15, 0.1);
    let mut tilt = 0.0;
    for index in 0..length {
        let along = index as f32 / length as f32;
        phase += pitch * (1.0 + glide * along + random.between(-0.01, 0.01)) / rate as f32;
        let pulse = if phase >= 1.0 { 1.0 } else { 0.0 };
        phase = phase.fract();
        // One pole below the formants gives the −6 dB an octave of a glottis, and breath keeps it from buzzing.
        tilt = 0.9 * tilt + pulse + random.between(-0.02, 0.02);
        out.push(tilt);
    }
    for (frequency, bandwidth) in formants.into_iter().zip(BANDWIDTHS) {
        resonate(&mut out[start..], frequency, bandwidth, rate);
    }
    let peak = out[start..]
        .iter()
        .fold(1e-6f32, |peak, sample| peak.max(sample.abs()));
    for (index, sample) in out[start..].iter_mut().enumerate() {
        *sample *= swell(index, length) / peak;
    }
}

/// A two-pole resonance in place.
fn resonate(samples: &mut [f32], frequency: f32, bandwidth: f32, rate: u32) {
    let radius = (-std::f32::consts::PI * bandwidth / rate as f32).exp();
    let (a, b) = (
        2.0 * radius * (TAU * frequency / rate as f32).cos(),
        -radius * radius,
    );
    let (mut y1, mut y2) = (0.0f32, 0.0f32);
    for sample in samples {
        let y = *sample + a * y1 + b * y2;
        (y2, y1) = (y1, y);
        *sample = y;
    }
}

/// Rises over the first fifth, falls over the last.
fn swell(index: usize, length: usize) -> f32 {
    let along = (index as f32 + 0.5) / length.max(1) as f32;
    (along.min(1.0 - along) * 5.0).min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The share of 16 ms frames that earshot takes for speech.
    fn voiced(samples: &[f32]) -> f32 {
        let mut detector = earshot::Detector::default();
        let scores: Vec<f32> = samples
            .chunks_exact(256)
            .map(|frame| detector.predict_f32(frame))
            .collect();
        scores.iter().filter(|score| **score >= 0.5).count() as f32 / scores.len() as f32
    }

    #[test]
    fn the_detector_takes_bursts_for_speech_and_nothing_else() {
        for seed in 0..20 {
            let share = voiced(Track::new(16_000).speech(3_000, seed).samples());
            assert!(share > 0.8, "seed {seed}: only {share} of the frames");
        }
        assert!(voiced(Track::new(16_000).silence(2_000).samples()) < 0.01);
        assert!(voiced(Track::new(16_000).noise(2_000, 1).samples()) < 0.05);
        assert!(voiced(Track::new(16_000).tone(1_000.0, 2_000).samples()) < 0.05);
    }

    #[test]
    fn spans_are_exact_and_samples_repeatable_at_every_rate() {
        for rate in [8_000, 11_025, 16_000, 44_100, 48_000, 192_000] {
            let make = || {
                Track::new(rate)
                    .silence(333)
                    .speech(777, 7)
                    .tone(440.0, 111)
                    .speech(501, 8)
                    .silence(7)
            };
            let track = make();
            assert_eq!(
                track.speech_spans(),
                [Span::from_millis(333, 1_110), Span::from_millis(1_221, 1_722)]
            );
            assert_eq!(track.duration(), MediaTime::from_millis(1_729), "at {rate} Hz");
            assert_eq!(track.samples(), make().samples());
            assert!(track.samples().iter().all(|sample| sample.abs() <= 1.0));
            let copy = Track::new(rate).silence(50).recording(track.samples());
            assert_eq!(copy.speech_spans(), [Span::from_millis(50, 1_779)]);
            assert_eq!(copy.to_wav().len(), 44 + copy.samples().len() * 2);
        }
        assert_ne!(
            Track::new(16_000).speech(500, 1).samples(),
            Track::new(16_000).speech(500, 2).samples()
        );
    }
}
