//! Where somebody speaks.
//!
//! [earshot](https://docs.rs/earshot) judges frames of 16 ms; [`Segmenter`] turns its probabilities into stretches
//! of speech. It decides as early as it can and never changes its mind, so that parts can be cut while the
//! recording is still being read, and the result does not depend on how the samples were delivered.

use crate::SplitSettings;
use audiorag_core::MediaTime;
use audiorag_core::model::SAMPLE_RATE;
use std::collections::VecDeque;

/// Samples of a frame, as earshot wants them.
pub(crate) const FRAME: usize = 256;
/// Milliseconds of a frame.
pub(crate) const FRAME_MILLIS: u64 = FRAME as u64 * 1000 / SAMPLE_RATE as u64;

/// A stretch of frames `[start, end)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stretch {
    pub(crate) start: u64,
    pub(crate) end: u64,
}

impl Stretch {
    fn frames(self) -> u64 {
        self.end.saturating_sub(self.start)
    }
}

/// Whole frames in a length, at least `least`.
pub(crate) fn frames(length: MediaTime, least: u64) -> u64 {
    (length.as_millis() / FRAME_MILLIS).max(least)
}

/// What is known about a frame.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Judgement {
    /// Probability of speech.
    pub(crate) speech: f32,
    /// Whether the frame stands out from the background.
    pub(crate) is_loud: bool,
    /// Mean square of the samples.
    pub(crate) energy: f32,
}

/// Judges frame after frame.
///
/// Three things are done for earshot, each because of what was measured on a 44 s reading. White noise at
/// −65 dBFS is added: below it, the empty upper bands of telephone audio (8 kHz) made it report speech through
/// every pause. Quiet recordings are raised: at 30 dB below a normal level it missed half of the speech, at
/// 40 dB all. And the background level is tracked, because its probability takes about 200 ms to fall after the
/// last word, by which time short pauses would be gone.
pub(crate) struct Detector {
    earshot: Box<earshot::Detector>,
    frame: Vec<f32>,
    noise: u32,
    /// Level of the loudest recent frame in dBFS, falling by [`FALL`] each frame.
    envelope: f32,
    /// Mean squares of the last four frames.
    recent: [f32; 4],
    /// The lowest level in this stretch of [`FLOOR_FRAMES`], and in the one before.
    floors: [f32; 2],
    frames: u64,
}

/// Amplitude of uniform noise at −65 dBFS.
const NOISE: f32 = 0.000_974;
/// 10 dB a second.
const FALL: f32 = 0.16;
/// Recordings are raised to this level, by at most [`MAX_GAIN`] dB.
const QUIET: f32 = -40.0;
const MAX_GAIN: f32 = 30.0;
/// Frames over which the background level is looked for, twice (3 s each).
const FLOOR_FRAMES: u64 = 188;
/// A frame stands out when it is this many dB above the background.
const PROMINENCE: f32 = 6.0;
/// Backgrounds below this are not told apart: it is the level of the added noise.
const LOWEST: f32 = -65.0;

impl Detector {
    pub(crate) fn new() -> Self {
        Self {
            earshot: earshot::Detector::default_boxed(),
            frame: Vec::with_capacity(FRAME),
            noise: 0x9e37_79b9,
            // As if the recording were a quiet one: a loud one corrects this with its first word, while a
            // quiet one would lose its first words waiting for the envelope to fall.
            envelope: QUIET - MAX_GAIN,
            recent: [0.0; 4],
            floors: [0.0; 2],
            frames: 0,
        }
    }

    /// Judges the next frame. A shorter one, the last of a recording, is filled up with silence.
    pub(crate) fn judge(&mut self, samples: &[f32]) -> Judgement {
        let energy = samples.iter().map(|sample| sample * sample).sum::<f32>() / samples.len().max(1) as f32;
        self.envelope = decibels(energy).max(self.envelope - FALL);
        let gain = 10.0_f32.powf((QUIET - self.envelope).clamp(0.0, MAX_GAIN) / 20.0);
        let noise = &mut self.noise;
        self.frame.clear();
        self.frame.extend(
            samples
                .iter()
                .copied()
                .chain(std::iter::repeat(0.0))
                .take(FRAME)
                .map(|sample| {
                    // Xorshift: the same noise in every run.
                    *noise ^= *noise << 13;
                    *noise ^= *noise >> 17;
                    *noise ^= *noise << 5;
                    let uniform = *noise as f32 / (u32::MAX / 2) as f32 - 1.0;
                    (uniform * NOISE + sample * gain).clamp(-1.0, 1.0)
                }),
        );
        Judgement {
            speech: self.earshot.predict_f32(&self.frame),
            is_loud: self.is_loud(energy),
            energy,
        }
    }

    fn is_loud(&mut self, energy: f32) -> bool {
        let [_, b, c, d] = self.recent;
        self.recent = if self.frames == 0 {
            [energy; 4]
        } else {
            [b, c, d, energy]
        };
        let smooth = decibels(self.recent.iter().sum::<f32>() / 4.0);
        if self.frames.is_multiple_of(FLOOR_FRAMES) {
            self.floors = [0.0, self.floors[0]];
        }
        self.frames += 1;
        self.floors[0] = self.floors[0].min(smooth);
        let floor = self.floors[0].min(self.floors[1]).max(LOWEST);
        decibels(energy) > floor + PROMINENCE
    }
}

fn decibels(energy: f32) -> f32 {
    10.0 * (energy + 1e-10).log10()
}

/// Turns probabilities into stretches of speech.
///
/// Stretches closer than `merge_gap` are one. Stretches closer than `isolation` form a group; a group with less
/// than `min_speech` of speech in all is noise and is dropped. A group counts as speech the moment it has
/// enough, so nothing waits for its end.
pub(crate) struct Segmenter {
    on: f32,
    off: f32,
    merge_gap: u64,
    min_speech: u64,
    isolation: u64,
    /// Frames seen.
    frame: u64,
    /// The stretch that may still go on; it ends with the last active frame.
    open: Option<Stretch>,
    group: Option<Group>,
    /// Decided stretches not yet fetched.
    decided: VecDeque<Stretch>,
}

struct Group {
    start: u64,
    /// End of its last closed stretch.
    end: u64,
    /// Frames of speech in closed stretches.
    total: u64,
    is_speech: bool,
    /// Closed stretches while undecided.
    waiting: Vec<Stretch>,
}

/// A stretch shorter than this many frames (80 ms) is no syllable, whatever is around it.
const MIN_STRETCH: u64 = 5;
/// An undecided group longer than this many frames (4 s) has too little speech in it to be any.
const MAX_UNDECIDED: u64 = 250;

impl Segmenter {
    pub(crate) fn new(settings: &SplitSettings) -> Self {
        Self {
            on: settings.speech_on,
            off: settings.speech_off.min(settings.speech_on),
            merge_gap: frames(settings.merge_gap, 1),
            min_speech: frames(settings.min_speech, 0),
            isolation: frames(settings.isolation, 1).max(frames(settings.merge_gap, 1)),
            frame: 0,
            open: None,
            group: None,
            decided: VecDeque::new(),
        }
    }

    pub(crate) fn push(&mut self, probability: f32, is_loud: bool) {
        let now = self.frame;
        self.frame += 1;
        let threshold = if self.open.is_some() && is_loud {
            self.off
        } else {
            self.on
        };
        if probability >= threshold {
            let open = self.open.get_or_insert(Stretch { start: now, end: now });
            open.end = now + 1;
            let open = *open;
            let group = self.group.get_or_insert(Group {
                start: open.start,
                end: open.start,
                total: 0,
                is_speech: false,
                waiting: Vec::new(),
            });
            if !group.is_speech && group.total + open.frames() >= self.min_speech {
                group.is_speech = true;
                self.decided.extend(group.waiting.drain(..));
            }
        } else if let Some(open) = self.open.filter(|open| now + 1 - open.end >= self.merge_gap) {
            self.close(open);
        }
        let is_over = self.open.is_none()
            && self
                .group
                .as_ref()
                .is_some_and(|group| self.frame - group.end >= self.isolation);
        let is_sparse = self
            .group
            .as_ref()
            .is_some_and(|group| !group.is_speech && self.frame - group.start > MAX_UNDECIDED);
        if is_over {
            self.group = None;
        } else if is_sparse {
            self.group = self.open.map(|open| Group {
                start: open.start,
                end: open.start,
                total: 0,
                is_speech: false,
                waiting: Vec::new(),
            });
        }
    }

    fn close(&mut self, stretch: Stretch) {
        self.open = None;
        let Some(group) = &mut self.group else { return };
        group.end = stretch.end;
        if stretch.frames() < MIN_STRETCH {
            return;
        }
        group.total += stretch.frames();
        if group.is_speech {
            self.decided.push_back(stretch);
        } else {
            group.waiting.push(stretch);
        }
    }

    /// The recording has ended.
    pub(crate) fn finish(&mut self) {
        if let Some(open) = self.open {
            self.close(open);
        }
        self.group = None;
    }

    /// The next decided stretch, in order.
    pub(crate) fn fetch(&mut self) -> Option<Stretch> {
        self.decided.pop_front()
    }

    /// Speech that is still going on; its end may move later.
    pub(crate) fn ongoing(&self) -> Option<Stretch> {
        self.open
            .filter(|_| self.group.as_ref().is_some_and(|group| group.is_speech))
    }

    /// Frames about which everything is decided.
    pub(crate) fn settled(&self) -> u64 {
        match (&self.group, self.open) {
            (Some(group), _) if !group.is_speech => group.start,
            (_, Some(open)) if open.frames() < MIN_STRETCH => open.start,
            (_, Some(open)) => open.end,
            _ => self.frame,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn settings() -> SplitSettings {
        SplitSettings::new(MediaTime::from_seconds(10), MediaTime::from_seconds(20))
    }

    /// Runs of (active frames, quiet frames).
    fn stretches(runs: &[(u64, u64)]) -> Vec<(u64, u64)> {
        let mut segmenter = Segmenter::new(&settings());
        let mut found = Vec::new();
        for (active, quiet) in runs {
            for frame in 0..active + quiet {
                segmenter.push(if frame < *active { 0.9 } else { 0.1 }, true);
                found.extend(std::iter::from_fn(|| segmenter.fetch()));
            }
        }
        segmenter.finish();
        found.extend(std::iter::from_fn(|| segmenter.fetch()));
        found.iter().map(|stretch| (stretch.start, stretch.end)).collect()
    }

    #[test]
    fn short_gaps_merge_and_longer_ones_stay_visible() {
        assert_eq!(stretches(&[(40, 10), (40, 30), (40, 5)]), [(0, 90), (120, 160)]);
    }

    #[test]
    fn lonely_blips_are_dropped_and_blips_beside_speech_stay() {
        // 400 ms alone, then 1 s with a blip of 160 ms 480 ms later.
        assert_eq!(
            stretches(&[(25, 100), (62, 30), (10, 100)]),
            [(125, 187), (217, 227)]
        );
        assert_eq!(stretches(&[(0, 10), (25, 0)]), []);
        // A click of 48 ms beside speech.
        assert_eq!(stretches(&[(3, 30), (62, 0)]), [(33, 95)]);
    }

    #[test]
    fn short_words_add_up() {
        assert_eq!(stretches(&[(16, 40), (16, 40)]), [(0, 16), (56, 72)]);
    }

    #[test]
    fn clicking_is_not_speech() {
        assert_eq!(stretches(&[(1, 40); 60]), []);
    }

    #[test]
    fn hysteresis_bridges_weak_frames_that_stand_out() {
        let mut segmenter = Segmenter::new(&settings());
        for frame in 0..100 {
            segmenter.push(if frame == 10 { 0.6 } else { 0.4 }, frame < 60);
        }
        segmenter.finish();
        assert_eq!(segmenter.fetch(), Some(Stretch { start: 10, end: 60 }));
    }

    proptest! {
        #[test]
        fn what_is_settled_stays(probabilities in prop::collection::vec(0.0_f32..1.0, 1..1500)) {
            let mut segmenter = Segmenter::new(&settings());
            let mut settled = 0;
            let mut last = 0;
            for probability in probabilities {
                segmenter.push(probability, probability > 0.2);
                while let Some(stretch) = segmenter.fetch() {
                    prop_assert!(stretch.start < stretch.end && last <= stretch.start);
                    last = stretch.end;
                }
                prop_assert!(segmenter.settled() >= settled);
                settled = segmenter.settled();
                // Nothing that is decided later may lie in the settled past.
                if let Some(ongoing) = segmenter.ongoing() {
                    prop_assert_eq!(ongoing.end, settled);
                }
            }
            segmenter.finish();
            prop_assert_eq!(segmenter.ongoing(), None);
        }
    }

    #[test]
    fn silence_and_noise_are_not_speech() {
        let mut detector = Detector::new();
        assert!((0..500).all(|_| detector.judge(&[0.0; FRAME]).speech < 0.5));
        let mut state = 1_u32;
        let mut noise = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / 8_388_608.0 - 1.0
        };
        for level in [0.0003, 0.003, 0.03] {
            let speech = (0..500)
                .filter(|_| {
                    let frame: Vec<f32> = (0..FRAME).map(|_| noise() * level).collect();
                    detector.judge(&frame).speech > 0.5
                })
                .count();
            assert!(speech < 15, "{speech} of 500 frames at {level}");
        }
        assert!(detector.judge(&[2.0; 7]).speech <= 1.0);
    }

    #[test]
    fn the_background_does_not_stand_out() {
        let mut detector = Detector::new();
        let mut loud = |level: f32| detector.judge(&[level; FRAME]).is_loud;
        let quiet = (0..200).filter(|_| loud(0.01)).count();
        assert!(quiet == 0, "{quiet}");
        assert!((0..20).all(|_| loud(0.1)));
        assert!(!loud(0.01));
        // After six seconds the new level is the background.
        assert!(!(0..600).map(|_| loud(0.1)).last().unwrap());
    }
}
