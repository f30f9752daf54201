//! From the transcripts of parts to the transcript of a source: the one place where times change clocks.

use crate::model::{PartTranscript, Segment, Transcript, Word};
use crate::quality;
use crate::speaker;
use crate::{MediaTime, Span};
use std::collections::BTreeMap;

/// A part of a source with what is said in it.
#[derive(Clone, Copy, Debug)]
pub struct PlacedPart<'a> {
    /// Its place in the source.
    pub span: Span,
    /// What is said, in times of the part.
    pub transcript: &'a PartTranscript,
    /// Whether it was given, and not made by speech-to-text: what people wrote is not judged as what models invent.
    pub is_given: bool,
}

impl PlacedPart<'_> {
    /// Whether a label may mean somebody else in another part. Given transcripts are of one piece.
    fn is_local(&self, label: &str) -> bool {
        !self.is_given && speaker::is_of_one_part(label)
    }

    /// Whether it has labels of that kind.
    fn has_labels(&self) -> bool {
        let mut labels = self
            .transcript
            .segments
            .iter()
            .filter_map(|segment| segment.speaker.as_deref());
        labels.any(|label| self.is_local(label))
    }
}

/// As [`assemble_parts`], for parts that speech-to-text made.
pub fn assemble<'a>(
    parts: impl IntoIterator<Item = (Span, &'a PartTranscript)>,
    duration: MediaTime,
) -> Transcript {
    let parts = parts.into_iter().map(|(span, transcript)| PlacedPart {
        span,
        transcript,
        is_given: false,
    });
    assemble_parts(parts, duration)
}

/// Joins part transcripts into one transcript in source time.
///
/// `parts` gives each part's place in the source, in any order. A part's times are moved by the part's own
/// start (never by what was said before it, so silence cannot shift anything) and kept inside the part.
///
/// Speech-to-text tells speakers apart within the part that it was sent. Where several parts have speakers, their labels
/// are therefore those of the part: `speaker 0 (part 2)`. Nobody is said to be the same person unless somebody who heard
/// them gives them one name. Labels of channels hold in the whole source.
pub fn assemble_parts<'a>(
    parts: impl IntoIterator<Item = PlacedPart<'a>>,
    duration: MediaTime,
) -> Transcript {
    let mut parts: Vec<PlacedPart<'_>> = parts.into_iter().collect();
    parts.sort_by_key(|part| part.span);
    let mut assembly = Assembly::default();
    for part in &parts {
        assembly.note(*part);
    }
    let mut segments: Vec<Segment> = (1..)
        .zip(parts)
        .flat_map(|(number, part)| assembly.place(number, part))
        .collect();
    segments.sort_by_key(|segment| segment.span);
    Transcript {
        segments,
        language: assembly.language(),
        duration,
    }
}

/// What [`assemble_parts`] does, for whoever holds one part at a time: the words of a long recording take much memory,
/// and only what is noted here has to be known of all parts before the first can be placed.
#[derive(Clone, Debug, Default)]
pub struct Assembly {
    /// Parts with labels that may mean somebody else in another part.
    labelled: usize,
    /// How long each language is spoken, in milliseconds.
    languages: BTreeMap<String, u64>,
}

impl Assembly {
    /// Takes note of a part. All parts have to be noted, each once.
    pub fn note(&mut self, part: PlacedPart<'_>) {
        self.labelled += usize::from(part.has_labels());
        if let Some(language) = &part.transcript.language {
            *self.languages.entry(language.clone()).or_default() += part.span.duration().as_millis();
        }
    }

    /// The language that is spoken longest.
    pub fn language(&self) -> Option<String> {
        let longest = self.languages.iter().max_by_key(|(_, time)| **time);
        longest.map(|(name, _)| name.clone())
    }

    /// What is said in a part, on the source's clock. `number` is the part's place among all, counted from 1 in the order
    /// of their spans. Segments of parts that overlap, as those of two channels do, have still to be sorted by their spans.
    pub fn place<'a>(&self, number: usize, part: PlacedPart<'a>) -> impl Iterator<Item = Segment> + use<'a> {
        let several = self.labelled > 1;
        let segments = part.transcript.segments.iter();
        segments
            .filter(|segment| !segment.text.trim().is_empty())
            .map(move |segment| {
                let mut placed = place(segment, part);
                if let Some(label) = placed
                    .speaker
                    .as_mut()
                    .filter(|label| several && part.is_local(label))
                {
                    *label = speaker::of_part(label, number);
                }
                placed
            })
    }
}

/// A segment of a part, on the source's clock.
fn place(segment: &Segment, part: PlacedPart<'_>) -> Segment {
    let moved = |span: Span| span.shift(part.span.start()).clamp_to(part.span);
    let mut placed = Segment {
        span: moved(segment.span),
        text: segment.text.trim().to_owned(),
        words: segment
            .words
            .iter()
            .map(|word| Word {
                span: moved(word.span),
                ..word.clone()
            })
            .collect(),
        ..segment.clone()
    };
    if placed.suspicion.is_none() && !part.is_given {
        placed.suspicion = quality::suspicion(&placed.text, placed.span);
    }
    placed
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::TimeQuality;
    use proptest::prelude::*;

    fn segment(start: u64, end: u64, text: &str) -> Segment {
        Segment {
            span: Span::from_millis(start, end),
            text: text.into(),
            ..Segment::default()
        }
    }

    #[test]
    fn peer_defect_02_silence_at_a_cut_does_not_shift_what_follows() {
        // 20 s of silence end the first part, and the second part is silent altogether.
        let first = PartTranscript {
            segments: vec![segment(0, 10_000, "before")],
            language: Some("en".into()),
        };
        let silent = PartTranscript::default();
        let third = PartTranscript {
            segments: vec![segment(500, 1500, "after")],
            language: Some("en".into()),
        };
        let transcript = assemble(
            [
                (Span::from_millis(60_000, 90_000), &third),
                (Span::from_millis(0, 30_000), &first),
                (Span::from_millis(30_000, 60_000), &silent),
            ],
            MediaTime::from_millis(90_000),
        );
        let spans: Vec<Span> = transcript.segments.iter().map(|s| s.span).collect();
        assert_eq!(
            spans,
            [Span::from_millis(0, 10_000), Span::from_millis(60_500, 61_500)]
        );
        assert_eq!(transcript.language.as_deref(), Some("en"));
    }

    #[test]
    fn a_vendor_that_answers_past_the_part_is_kept_inside_it() {
        let wild = PartTranscript {
            segments: vec![segment(9_000, 99_000, "x")],
            language: None,
        };
        let transcript = assemble(
            [(Span::from_millis(10_000, 20_000), &wild)],
            MediaTime::from_millis(20_000),
        );
        assert_eq!(transcript.segments[0].span, Span::from_millis(19_000, 20_000));
        assert_eq!(transcript.segments[0].times, TimeQuality::Measured);
    }

    #[test]
    fn speakers_of_two_parts_are_not_taken_for_one() {
        let part = |label: &str| PartTranscript {
            segments: vec![Segment {
                speaker: Some(label.to_owned()),
                ..segment(0, 500, "hello")
            }],
            language: None,
        };
        let speakers = |parts: &[(&PartTranscript, bool)]| -> Vec<Option<String>> {
            let placed = parts
                .iter()
                .zip(0..)
                .map(|((transcript, is_given), at)| PlacedPart {
                    span: Span::from_millis(at * 1000, at * 1000 + 1000),
                    transcript,
                    is_given: *is_given,
                });
            let transcript = assemble_parts(placed, MediaTime::from_millis(9000));
            transcript
                .segments
                .into_iter()
                .map(|segment| segment.speaker)
                .collect()
        };
        let (zero, left, silent) = (part("speaker 0"), part("channel 1"), PartTranscript::default());
        let some = |label: &str| Some(label.to_owned());
        assert_eq!(
            speakers(&[(&zero, false), (&silent, false), (&zero, false)]),
            [some("speaker 0 (part 1)"), some("speaker 0 (part 3)")]
        );
        // The only part in which anybody has a label, channels, and what was given.
        assert_eq!(speakers(&[(&zero, false), (&silent, false)]), [some("speaker 0")]);
        assert_eq!(
            speakers(&[(&left, false), (&left, false)]),
            [some("channel 1"), some("channel 1")]
        );
        assert_eq!(speakers(&[(&zero, true), (&silent, false)]), [some("speaker 0")]);
    }

    #[test]
    fn what_people_wrote_is_not_judged_as_what_models_invent() {
        // A subtitle that stays on the screen while nobody speaks.
        let part = PartTranscript {
            segments: vec![segment(0, 20_000, "Thank you.")],
            language: None,
        };
        let span = Span::from_millis(0, 20_000);
        let judged = |is_given| {
            let parts = [PlacedPart {
                span,
                transcript: &part,
                is_given,
            }];
            assemble_parts(parts, span.end()).segments[0].suspicion
        };
        assert!(judged(false).is_some());
        assert_eq!(judged(true), None);
    }

    proptest! {
        #[test]
        fn the_order_of_arrival_does_not_matter(
            cuts in prop::collection::btree_set(1u64..100_000, 1..12),
            seed in any::<u64>(),
        ) {
            let mut bounds: Vec<u64> = cuts.into_iter().collect();
            bounds.insert(0, 0);
            let parts: Vec<(Span, PartTranscript)> = bounds
                .windows(2)
                .enumerate()
                .map(|(index, w)| {
                    let length = w[1] - w[0];
                    let said = segment(length / 4, length / 2, &format!("part {index}"));
                    (Span::from_millis(w[0], w[1]), PartTranscript { segments: vec![said], language: None })
                })
                .collect();
            let duration = MediaTime::from_millis(*bounds.last().unwrap());
            let forward = assemble(parts.iter().map(|(s, t)| (*s, t)), duration);
            let mut shuffled: Vec<_> = parts.iter().map(|(s, t)| (*s, t)).collect();
            shuffled.sort_by_key(|(s, _)| s.start().as_millis().wrapping_mul(seed | 1));
            prop_assert_eq!(&assemble(shuffled, duration), &forward);
            for ((part, _), segment) in parts.iter().zip(&forward.segments) {
                prop_assert!(part.contains(segment.span));
                // Exactly the part's start plus the offset inside the part.
                let offset = segment.span.start().saturating_sub(part.start()).as_millis();
                prop_assert_eq!(offset, part.duration().as_millis() / 4);
            }
        }
    }
}
