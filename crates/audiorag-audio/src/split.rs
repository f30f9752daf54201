//! Where to cut.
//!
//! Parts tile the recording: each starts where the last one ended. A cut falls into the longest pause of the
//! window from half the preferred length to the preferred length; failing that, into the first pause after it;
//! failing that, at the quietest moment before the longest length. Stretches without speech become parts of
//! their own, as long as allowed. All decisions are made frame by frame, so the size of the blocks in which
//! samples arrive cannot change them.

use crate::SplitSettings;
use crate::vad::{FRAME, FRAME_MILLIS, Judgement, Segmenter, Stretch};
use audiorag_core::model::SAMPLE_RATE;
use audiorag_core::{MediaTime, Span};
use std::collections::VecDeque;

/// Samples of a millisecond; cuts are multiples of it.
pub(crate) const SAMPLES_PER_MILLI: u64 = SAMPLE_RATE as u64 / 1000;
/// A pause does not get better by being longer than this (2 s).
const LONG_PAUSE: u64 = 2 * SAMPLE_RATE as u64;
/// A pause that is still going on counts from this length (1 s).
const OPEN_PAUSE: u64 = SAMPLE_RATE as u64;
/// Silence left before the speech that ends a part without speech (0.5 s).
const RUN_UP: u64 = SAMPLE_RATE as u64 / 2;
/// A remainder shorter than this (1 s) is joined to the part before it.
const TAIL: u64 = SAMPLE_RATE as u64;

/// Decides about cuts. Positions are samples at 16 kHz from the start of the recording.
pub(crate) struct Splitter {
    segmenter: Segmenter,
    preferred: u64,
    max: u64,
    tail: u64,
    min_pause: u64,
    pad: u64,
    start: u64,
    total: Option<u64>,
    /// Whether the window up to the preferred length has been searched in vain.
    is_beyond: bool,
    /// Decided speech that is not wholly before `start`.
    stretches: VecDeque<Stretch>,
    /// Energy of each frame from `first_energy` on.
    energies: VecDeque<f32>,
    first_energy: u64,
}

impl Splitter {
    pub(crate) fn new(settings: &SplitSettings) -> Self {
        let samples = |time: MediaTime| time.as_millis().saturating_mul(SAMPLES_PER_MILLI);
        let preferred = samples(settings.preferred);
        Self {
            segmenter: Segmenter::new(settings),
            preferred,
            max: samples(settings.max),
            tail: TAIL.min(whole_millis(preferred / 4)),
            min_pause: samples(settings.merge_gap),
            pad: settings.pad.as_millis(),
            start: 0,
            total: None,
            is_beyond: false,
            stretches: VecDeque::new(),
            energies: VecDeque::new(),
            first_energy: 0,
        }
    }

    /// Takes the next frame. [`next_cut`](Self::next_cut) must be asked after each.
    pub(crate) fn push(&mut self, frame: Judgement) {
        self.segmenter.push(frame.speech, frame.is_loud);
        self.energies.push_back(frame.energy);
        self.fetch();
    }

    /// The recording has ended after `total` samples.
    pub(crate) fn finish(&mut self, total: u64) {
        self.segmenter.finish();
        self.total = Some(total);
        self.fetch();
    }

    fn fetch(&mut self) {
        while let Some(stretch) = self.segmenter.fetch() {
            self.stretches.push_back(stretch);
        }
    }

    /// Where the current part ends, once that is certain; the next part starts there. After
    /// [`finish`](Self::finish), cuts come until the total is reached.
    pub(crate) fn next_cut(&mut self) -> Option<Cut> {
        let end = self.decide()?;
        let start = std::mem::replace(&mut self.start, end);
        let cut = Cut {
            start,
            end,
            speech: self.speech(start, end),
        };
        self.is_beyond = false;
        while self
            .stretches
            .front()
            .is_some_and(|stretch| stretch.end * FRAME as u64 <= end)
        {
            self.stretches.pop_front();
        }
        let used = (end / FRAME as u64).saturating_sub(self.first_energy);
        self.energies.drain(..(used as usize).min(self.energies.len()));
        self.first_energy += used;
        Some(cut)
    }

    fn decide(&mut self) -> Option<u64> {
        let start = self.start;
        let settled = self
            .total
            .unwrap_or_else(|| self.segmenter.settled() * FRAME as u64);
        let length = settled.saturating_sub(start);
        if let Some(total) = self.total {
            if total <= start {
                return None;
            }
            if length <= self.max.min(self.preferred + self.tail) {
                return Some(total);
            }
        }
        if !self.is_beyond {
            if self.total.is_none() && length <= self.preferred + self.tail {
                return None;
            }
            let (low, high) = (start + whole_millis(self.preferred / 2), start + self.preferred);
            if let Some(cut) = self
                .before_speech(high, low)
                .or_else(|| self.best_pause(low, high, settled))
            {
                return Some(cut);
            }
            self.is_beyond = true;
        }
        let low = start + self.preferred;
        let mut high = start + self.max;
        if let Some(total) = self.total.filter(|total| *total > high) {
            high = high.min(whole_millis(total - self.tail));
        }
        if let Some(cut) = self
            .before_speech(high, low)
            .or_else(|| self.first_pause(low, high, settled))
        {
            return Some(cut);
        }
        match self.total {
            Some(total) if length <= self.max => Some(total),
            Some(_) => Some(self.quietest(high)),
            None => (length > self.max + self.tail).then(|| self.quietest(high)),
        }
    }

    /// All speech that is known of, in samples.
    fn speech_samples(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        let ongoing = self.segmenter.ongoing();
        self.stretches
            .iter()
            .copied()
            .chain(ongoing)
            .map(|stretch| (stretch.start * FRAME as u64, stretch.end * FRAME as u64))
    }

    /// The end of a part without speech, shortly before speech that starts after `low`.
    fn before_speech(&self, high: u64, low: u64) -> Option<u64> {
        let (first, _) = self.speech_samples().next()?;
        (first > low).then(|| whole_millis(first.saturating_sub(RUN_UP).clamp(low, high)))
    }

    /// Pauses between `low` and `high`, with whether they have ended.
    fn pauses(&self, low: u64, high: u64, settled: u64) -> impl Iterator<Item = (u64, u64, bool)> + '_ {
        let starts = self.speech_samples().map(|(start, _)| (start, true)).skip(1);
        self.speech_samples()
            .zip(starts.chain(std::iter::once((settled, false))))
            .map(|((_, from), (to, has_ended))| (from, to, has_ended))
            .filter(move |(from, to, _)| {
                *from < high && *to > low && to.saturating_sub(*from) >= self.min_pause.max(1)
            })
    }

    fn best_pause(&self, low: u64, high: u64, settled: u64) -> Option<u64> {
        self.pauses(low, high, settled)
            // Of equals the last is taken.
            .max_by_key(|(from, to, _)| (to - from).min(LONG_PAUSE))
            .map(|(from, to, _)| middle(from, to, low, high))
    }

    fn first_pause(&self, low: u64, high: u64, settled: u64) -> Option<u64> {
        self.pauses(low, high, settled)
            .find(|(from, to, has_ended)| *has_ended || self.total.is_some() || to - from >= OPEN_PAUSE)
            .map(|(from, to, _)| middle(from, to, low, high))
    }

    /// The middle of the quietest three frames before `high`; of equals the last. Without speech, `high` itself.
    fn quietest(&self, high: u64) -> u64 {
        let has_speech = self
            .speech_samples()
            .next()
            .is_some_and(|(first, _)| first < high);
        let low = (self.start + self.preferred)
            .min(high.saturating_sub(TAIL))
            .max(self.start + self.preferred / 2);
        if !has_speech || low >= high {
            return high;
        }
        let frame = |sample: u64| (sample / FRAME as u64).saturating_sub(self.first_energy) as usize;
        let energies: Vec<f32> = self.energies.range(..).copied().collect();
        let mut best = (f32::INFINITY, None);
        for (index, three) in energies
            .windows(3)
            .enumerate()
            .take(frame(high).saturating_sub(2))
            .skip(frame(low))
        {
            let energy = three.iter().sum::<f32>();
            if energy <= best.0 {
                best = (energy, Some(index));
            }
        }
        let quietest = best.1.map_or(high, |index| {
            (self.first_energy + index as u64 + 1) * FRAME as u64 + FRAME as u64 / 2
        });
        whole_millis(quietest.clamp(low, high))
    }

    /// Speech inside a part, padded, in milliseconds of the recording.
    fn speech(&self, start: u64, end: u64) -> Vec<Span> {
        let bounds = Span::from_millis(start / SAMPLES_PER_MILLI, end.div_ceil(SAMPLES_PER_MILLI));
        let mut spans: Vec<Span> = Vec::new();
        let inside =
            |stretch: &Stretch| stretch.start * (FRAME as u64) < end && stretch.end * FRAME as u64 > start;
        for stretch in self
            .stretches
            .iter()
            .copied()
            .chain(self.segmenter.ongoing())
            .filter(inside)
        {
            let padded = Span::from_millis(
                (stretch.start * FRAME_MILLIS).saturating_sub(self.pad),
                stretch.end * FRAME_MILLIS + self.pad,
            )
            .clamp_to(bounds);
            match spans.last_mut() {
                Some(last) if last.end() >= padded.start() => *last = last.union(padded),
                _ if padded.is_empty() => {}
                _ => spans.push(padded),
            }
        }
        spans
    }
}

/// One part, in samples, with its speech.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Cut {
    pub(crate) start: u64,
    pub(crate) end: u64,
    pub(crate) speech: Vec<Span>,
}

fn whole_millis(sample: u64) -> u64 {
    sample / SAMPLES_PER_MILLI * SAMPLES_PER_MILLI
}

/// The middle of a pause, as far as it lies in the window. All bounds of windows are whole milliseconds.
fn middle(from: u64, to: u64, low: u64, high: u64) -> u64 {
    whole_millis((from + (to - from) / 2).clamp(low, high))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: u64 = SAMPLE_RATE as u64;

    fn settings(preferred: u64, max: u64) -> SplitSettings {
        SplitSettings::new(MediaTime::from_millis(preferred), MediaTime::from_millis(max)).consistent()
    }

    /// Runs frames of (is speech, energy) through a splitter.
    fn cuts(frames: &[(bool, f32)], extra: u64, settings: &SplitSettings) -> Vec<Cut> {
        let mut splitter = Splitter::new(settings);
        let mut cuts = Vec::new();
        for (is_speech, energy) in frames {
            let speech = if *is_speech { 0.9 } else { 0.05 };
            splitter.push(Judgement {
                speech,
                is_loud: *is_speech,
                energy: *energy,
            });
            cuts.extend(splitter.next_cut());
        }
        let total = frames.len() as u64 * FRAME as u64 + extra;
        if extra > 0 {
            splitter.push(Judgement {
                speech: 0.0,
                is_loud: false,
                energy: 0.0,
            });
            cuts.extend(splitter.next_cut());
        }
        splitter.finish(total);
        cuts.extend(std::iter::from_fn(|| splitter.next_cut()));
        cuts
    }

    /// Alternating seconds of speech and pause.
    fn timeline(runs: &[(f64, bool)]) -> Vec<(bool, f32)> {
        let mut out = Vec::new();
        for (seconds, is_speech) in runs {
            let count = (seconds * SECOND as f64 / FRAME as f64).round() as usize;
            out.extend(std::iter::repeat_n(
                (*is_speech, if *is_speech { 0.1 } else { 0.0 }),
                count,
            ));
        }
        out
    }

    fn ends(cuts: &[Cut]) -> Vec<f64> {
        cuts.iter()
            .map(|cut| (cut.end as f64 / SECOND as f64 * 10.0).round() / 10.0)
            .collect()
    }

    #[test]
    fn the_longest_pause_in_the_window_wins() {
        let frames = timeline(&[
            (6.0, true),
            (0.4, false),
            (1.0, true),
            (0.8, false),
            (1.0, true),
            (0.4, false),
            (8.0, true),
        ]);
        assert_eq!(ends(&cuts(&frames, 0, &settings(10_000, 20_000))), [7.8, 17.6]);
    }

    #[test]
    fn without_a_pause_the_first_one_after_it_is_taken() {
        let frames = timeline(&[(13.0, true), (0.4, false), (2.0, true), (0.8, false), (9.0, true)]);
        assert_eq!(ends(&cuts(&frames, 0, &settings(10_000, 20_000))), [13.2, 25.2]);
    }

    #[test]
    fn endless_speech_is_cut_at_its_quietest_moment() {
        let mut frames = timeline(&[(30.0, true)]);
        for frame in &mut frames[1000..1003] {
            frame.1 = 0.01;
        }
        let cuts = cuts(&frames, 0, &settings(10_000, 20_000));
        assert_eq!(ends(&cuts), [16.0, 30.0]);
        assert_eq!(cuts[0].speech, [Span::from_millis(0, 16_024)]);
        assert_eq!(cuts[1].speech, [Span::from_millis(16_024, 30_000)]);
    }

    #[test]
    fn silence_becomes_parts_of_its_own() {
        let frames = timeline(&[(70.0, false), (5.0, true), (70.0, false)]);
        let cuts = cuts(&frames, 0, &settings(10_000, 30_000));
        let has_speech: Vec<bool> = cuts.iter().map(|cut| !cut.speech.is_empty()).collect();
        assert_eq!(has_speech.iter().filter(|speech| **speech).count(), 1, "{cuts:?}");
        assert_eq!(ends(&cuts)[..3], [30.0, 60.0, 69.5]);
        assert!(cuts.len() <= 7);
    }

    #[test]
    fn a_tiny_rest_joins_the_part_before() {
        let frames = timeline(&[(10.5, true)]);
        assert_eq!(cuts(&frames, 100, &settings(10_000, 20_000)).len(), 1);
        // Where the longest length forbids it, the cut moves forward instead.
        let parts = cuts(&timeline(&[(10.5, true)]), 0, &settings(10_000, 10_000));
        assert_eq!(parts.len(), 2);
        assert!(parts[1].end - parts[1].start >= SECOND);
    }

    proptest! {
        #[test]
        fn parts_tile_the_recording(
            runs in prop::collection::vec((0.02_f64..6.0, any::<bool>()), 0..40),
            extra in 0_u64..256,
            preferred in 500_u64..8000,
            more in 0_u64..8000,
        ) {
            let frames = timeline(&runs);
            let total = frames.len() as u64 * FRAME as u64 + extra;
            let settings = settings(preferred, preferred + more);
            let max = settings.max.as_millis() * SAMPLES_PER_MILLI;
            let mut end = 0;
            for cut in cuts(&frames, extra, &settings) {
                prop_assert_eq!(cut.start, end);
                prop_assert!(cut.end > cut.start && cut.end - cut.start <= max);
                prop_assert!(cut.end == total || cut.end % SAMPLES_PER_MILLI == 0);
                let bounds = Span::from_millis(cut.start / 16, cut.end.div_ceil(16));
                let mut last = None;
                for span in &cut.speech {
                    prop_assert!(bounds.contains(*span) && !span.is_empty());
                    prop_assert!(last.is_none_or(|last| last < span.start()));
                    last = Some(span.end());
                }
                end = cut.end;
            }
            prop_assert_eq!(end, total);
        }
    }
}
