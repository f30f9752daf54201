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

/// The speech probability of each frame.
pub(crate) struct Detector {
    earshot: Box<earshot::Detector>,
    frame: Vec<f32>,
}

impl Detector {
    pub(crate) fn new() -> Self {
        Self {
            earshot: earshot::Detector::default_boxed(),
            frame: Vec::with_capacity(FRAME),
        }
    }

    /// Judges the next frame. A shorter one, the last of a recording, is filled up with silence.
    pub(crate) fn judge(&mut self, samples: &[f32]) -> f32 {
        self.frame.clear();
        self.frame
            .extend(samples.iter().take(FRAME).map(|sample| sample.clamp(-1.0, 1.0)));
        self.frame.resize(FRAME, 0.0);
        self.earshot.predict_f32(&self.frame)
    }
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

    pub(crate) fn push(&mut self, probability: f32) {
        let now = self.frame;
        self.frame += 1;
        let threshold = if self.open.is_some() { self.off } else { self.on };
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
                segmenter.push(if frame < *active { 0.9 } else { 0.1 });
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
    fn hysteresis_bridges_weak_frames() {
        let mut segmenter = Segmenter::new(&settings());
        for frame in 0..100 {
            segmenter.push(if frame == 10 { 0.6 } else { 0.4 });
        }
        segmenter.finish();
        assert_eq!(segmenter.fetch(), Some(Stretch { start: 10, end: 100 }));
    }

    proptest! {
        #[test]
        fn what_is_settled_stays(probabilities in prop::collection::vec(0.0_f32..1.0, 1..1500)) {
            let mut segmenter = Segmenter::new(&settings());
            let mut settled = 0;
            let mut last = 0;
            for probability in probabilities {
                segmenter.push(probability);
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
    fn silence_has_no_speech() {
        let mut detector = Detector::new();
        assert!((0..100).all(|_| detector.judge(&[0.0; FRAME]) < 0.5));
        assert!(detector.judge(&[2.0; 7]) <= 1.0);
    }
}
