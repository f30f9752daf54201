//! How recordings are cut and what counts as speech.

use crate::AUDIO_VERSION;
use audiorag_core::MediaTime;

/// Lengths of parts and thresholds of the speech detector.
///
/// Values that contradict each other are brought in line rather than refused: `max` is at least one second,
/// `preferred` at most `max`.
#[derive(Clone, Debug, PartialEq)]
pub struct SplitSettings {
    /// Parts end at the best pause between half of this and this.
    pub preferred: MediaTime,
    /// No part is longer. Reached only when no pause follows [`preferred`](Self::preferred), or by silence.
    pub max: MediaTime,
    /// Probability from which a frame starts speech. Default 0.5, where earshot was measured.
    pub speech_on: f32,
    /// Probability below which a frame may end speech. Default 0.35.
    pub speech_off: f32,
    /// Pauses shorter than this do not interrupt speech. Default 250 ms.
    pub merge_gap: MediaTime,
    /// Speech that stands alone and is shorter than this in sum is dropped. Default 500 ms: a blip of 400 ms
    /// was seen to become an invented word.
    pub min_speech: MediaTime,
    /// Speech stands alone when there is none for this long before and after it. Default 1 s.
    pub isolation: MediaTime,
    /// Added before and after each stretch of speech, since onsets are soft. Default 96 ms.
    pub pad: MediaTime,
}

impl SplitSettings {
    /// Settings with the default thresholds.
    pub fn new(preferred: MediaTime, max: MediaTime) -> Self {
        let max = max.max(MediaTime::from_seconds(1));
        Self {
            preferred: preferred.clamp(MediaTime::from_millis(500), max),
            max,
            speech_on: 0.5,
            speech_off: 0.35,
            merge_gap: MediaTime::from_millis(250),
            min_speech: MediaTime::from_millis(500),
            isolation: MediaTime::from_seconds(1),
            pad: MediaTime::from_millis(96),
        }
    }

    /// A stable text that is equal exactly when parts come out equal; it belongs into part keys.
    pub fn fingerprint(&self) -> String {
        format!(
            "audio={AUDIO_VERSION} preferred={} max={} on={} off={} gap={} min={} alone={} pad={}",
            self.preferred.as_millis(),
            self.max.as_millis(),
            self.speech_on,
            self.speech_off,
            self.merge_gap.as_millis(),
            self.min_speech.as_millis(),
            self.isolation.as_millis(),
            self.pad.as_millis(),
        )
    }

    /// The same settings with lengths that do not contradict each other.
    pub(crate) fn consistent(self) -> Self {
        let lengths = Self::new(self.preferred, self.max);
        Self {
            preferred: lengths.preferred,
            max: lengths.max,
            // Padded neighbours must stay apart, so the pad is at most half of the smallest gap.
            pad: self
                .pad
                .min(MediaTime::from_millis(self.merge_gap.as_millis() / 2)),
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_changes_the_fingerprint() {
        let base = SplitSettings::new(MediaTime::from_seconds(60), MediaTime::from_seconds(120));
        let one = MediaTime::from_millis(1);
        let variants = [
            SplitSettings {
                preferred: one,
                ..base.clone()
            },
            SplitSettings {
                max: one,
                ..base.clone()
            },
            SplitSettings {
                speech_on: 0.6,
                ..base.clone()
            },
            SplitSettings {
                speech_off: 0.3,
                ..base.clone()
            },
            SplitSettings {
                merge_gap: one,
                ..base.clone()
            },
            SplitSettings {
                min_speech: one,
                ..base.clone()
            },
            SplitSettings {
                isolation: one,
                ..base.clone()
            },
            SplitSettings {
                pad: one,
                ..base.clone()
            },
        ];
        let mut texts: Vec<String> = variants.iter().map(SplitSettings::fingerprint).collect();
        texts.push(base.fingerprint());
        texts.sort();
        texts.dedup();
        assert_eq!(texts.len(), variants.len() + 1);
    }

    #[test]
    fn contradictions_are_resolved() {
        let odd = SplitSettings::new(MediaTime::from_seconds(60), MediaTime::ZERO);
        assert_eq!(
            (odd.preferred, odd.max),
            (MediaTime::from_seconds(1), MediaTime::from_seconds(1))
        );
        let wide = SplitSettings {
            pad: MediaTime::from_seconds(9),
            ..odd
        };
        assert_eq!(wide.consistent().pad, MediaTime::from_millis(125));
    }
}
