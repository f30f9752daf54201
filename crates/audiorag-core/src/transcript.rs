//! From the transcripts of parts to the transcript of a source: the one place where times change clocks.

use crate::model::{PartTranscript, Segment, Transcript, Word};
use crate::quality;
use crate::{MediaTime, Span};
use std::collections::BTreeMap;

/// Joins part transcripts into one transcript in source time.
///
/// `parts` gives each part's place in the source, in any order. A part's times are moved by the part's own
/// start (never by what was said before it, so silence cannot shift anything) and kept inside the part.
pub fn assemble<'a>(
    parts: impl IntoIterator<Item = (Span, &'a PartTranscript)>,
    duration: MediaTime,
) -> Transcript {
    let mut parts: Vec<(Span, &PartTranscript)> = parts.into_iter().collect();
    parts.sort_by_key(|(span, _)| *span);
    let mut segments = Vec::new();
    let mut languages: BTreeMap<&str, u64> = BTreeMap::new();
    for (span, part) in parts {
        if let Some(language) = &part.language {
            *languages.entry(language).or_default() += span.duration().as_millis();
        }
        segments.extend(
            part.segments
                .iter()
                .filter(|s| !s.text.trim().is_empty())
                .map(|s| place(s, span)),
        );
    }
    segments.sort_by_key(|segment| segment.span);
    let language = languages
        .into_iter()
        .max_by_key(|(_, time)| *time)
        .map(|(name, _)| name.to_owned());
    Transcript {
        segments,
        language,
        duration,
    }
}

/// A segment of a part, on the source's clock.
fn place(segment: &Segment, part: Span) -> Segment {
    let moved = |span: Span| span.shift(part.start()).clamp_to(part);
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
    if placed.suspicion.is_none() {
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
