//! From a transcript to the chunks that are embedded and retrieved.

use crate::align;
use crate::model::{Chapter, Chunk, ChunkLine, Segment, TimeQuality, Transcript, Word};
use crate::{Error, MediaTime, Result, Span};

/// Rises when the same transcript and settings give other chunks: part of a revision's configuration.
pub const CHUNKING_VERSION: u32 = 1;

/// How long chunks are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkSettings {
    target: MediaTime,
    max: MediaTime,
    overlap: MediaTime,
}

impl ChunkSettings {
    /// Chunks of about `target`, where a single segment above `max` is cut, and each chunk repeats the last
    /// segments of the one before, up to `overlap`.
    ///
    /// # Errors
    /// [`Config`](crate::ErrorKind::Config) when `target` is zero, above `max`, or not above twice the overlap.
    pub fn new(target: MediaTime, max: MediaTime, overlap: MediaTime) -> Result<Self> {
        if target == MediaTime::ZERO {
            return Err(Error::config("the target length of a chunk is zero"));
        }
        if target > max {
            return Err(Error::config(format!(
                "the target length of a chunk ({} s) is above its maximum ({} s)",
                target.as_seconds_f64(),
                max.as_seconds_f64()
            )));
        }
        if overlap.as_millis() * 2 >= target.as_millis() {
            return Err(Error::config(format!(
                "an overlap of {} s is not less than half of the target length of {} s",
                overlap.as_seconds_f64(),
                target.as_seconds_f64()
            )));
        }
        Ok(Self { target, max, overlap })
    }

    /// The length that chunks are aimed at.
    pub fn target(&self) -> MediaTime {
        self.target
    }

    /// Stable text of the settings, for configuration hashes.
    pub fn fingerprint(&self) -> String {
        format!(
            "time@{CHUNKING_VERSION}/{}/{}/{}",
            self.target.as_millis(),
            self.max.as_millis(),
            self.overlap.as_millis()
        )
    }

    /// The longest a chunk of several segments gets: a tenth above the target, but never above the maximum.
    fn ceiling(&self) -> MediaTime {
        MediaTime::from_millis(self.target.as_millis() + self.target.as_millis() / 10).min(self.max)
    }
}

impl Default for ChunkSettings {
    fn default() -> Self {
        Self {
            target: MediaTime::from_seconds(30),
            max: MediaTime::from_seconds(60),
            overlap: MediaTime::ZERO,
        }
    }
}

/// What a transcript is part of: the header of its chunks, and bounds that they keep to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Surroundings<'a> {
    /// The source's title.
    pub title: Option<&'a str>,
    /// The source's date, as it is tagged.
    pub date: Option<&'a str>,
    /// The source's chapters, by start.
    pub chapters: &'a [Chapter],
}

impl<'a> Surroundings<'a> {
    /// The chapter in which the middle of a span lies; none before the first one begins.
    fn chapter(&self, span: Span) -> Option<&'a Chapter> {
        chapter_at(self.chapters, span.middle())
    }
}

/// The chapter that is under way at an instant.
pub fn chapter_at(chapters: &[Chapter], time: MediaTime) -> Option<&Chapter> {
    chapters.iter().rev().find(|chapter| chapter.start <= time)
}

/// Cuts a transcript into chunks.
///
/// Segments stay whole unless one alone is longer than the maximum, which is then cut at sentence ends or
/// words. A change of speaker ends a chunk that is at least half full. Without overlap, the texts of all chunks
/// are the texts of all indexable segments, in order. The result depends on nothing but the arguments, and audio
/// appended later changes no chunk but the last.
///
/// No chunk spans two chapters: a segment belongs to the one in which its middle lies. The surroundings become a header
/// that is embedded with each chunk.
pub fn chunk(
    transcript: &Transcript,
    settings: &ChunkSettings,
    surroundings: Surroundings<'_>,
) -> Vec<Chunk> {
    let segments: Vec<Segment> = transcript
        .indexable()
        .flat_map(|segment| cut_to(segment, settings.max))
        .collect();
    let mut chunks: Vec<Chunk> = Vec::new();
    let mut open: Vec<&Segment> = Vec::new();
    // How many of the open segments were in the chunk before.
    let mut repeated = 0;
    for segment in &segments {
        let turns_page = open
            .last()
            .is_some_and(|last| surroundings.chapter(last.span) != surroundings.chapter(segment.span));
        if !open.is_empty() && (turns_page || closes_before(&open, segment, settings)) {
            if open.len() > repeated {
                chunks.push(build(chunks.len() as u32, &open, surroundings));
            }
            let keep = if turns_page {
                0
            } else {
                overlap_of(&open, segment, settings)
            };
            open.drain(..open.len() - keep);
            repeated = keep;
        }
        open.push(segment);
    }
    if open.len() > repeated {
        chunks.push(build(chunks.len() as u32, &open, surroundings));
    }
    chunks
}

/// Whether the open chunk ends before `next`.
fn closes_before(open: &[&Segment], next: &Segment, settings: &ChunkSettings) -> bool {
    let span = span_of(open);
    let turn = open.last().is_some_and(|last| last.speaker != next.speaker);
    span.duration() >= settings.target
        || span.union(next.span).duration() > settings.ceiling()
        || (turn && span.duration().as_millis() * 2 >= settings.target.as_millis())
}

/// How many of the closed chunk's last segments are repeated in the chunk that `next` joins.
fn overlap_of(closed: &[&Segment], next: &Segment, settings: &ChunkSettings) -> usize {
    // The first segment is never repeated: a chunk must move on.
    let candidates = closed.len().saturating_sub(1);
    (0..=candidates)
        .rev()
        .find(|keep| {
            let kept = closed.get(closed.len() - keep..).unwrap_or_default();
            kept.is_empty()
                || (span_of(kept).duration() <= settings.overlap
                    && span_of(kept).union(next.span).duration() <= settings.ceiling())
        })
        .unwrap_or(0)
}

fn span_of(segments: &[&Segment]) -> Span {
    segments
        .iter()
        .map(|s| s.span)
        .reduce(Span::union)
        .unwrap_or_default()
}

fn build(index: u32, segments: &[&Segment], surroundings: Surroundings<'_>) -> Chunk {
    let mut text = String::new();
    let mut lines: Vec<ChunkLine> = Vec::with_capacity(segments.len());
    let mut speakers: Vec<String> = Vec::new();
    for segment in segments {
        if let Some(last) = lines.last() {
            text.push(if last.speaker == segment.speaker {
                ' '
            } else {
                '\n'
            });
        }
        let from = text.len();
        text.push_str(&segment.text);
        lines.push(ChunkLine {
            from,
            to: text.len(),
            span: segment.span,
            speaker: segment.speaker.clone(),
            times: segment.times,
        });
        if let Some(speaker) = segment.speaker.as_ref().filter(|name| !speakers.contains(name)) {
            speakers.push(speaker.clone());
        }
    }
    let chapter = segments
        .first()
        .and_then(|first| surroundings.chapter(first.span));
    let estimated = [lines.first(), lines.last()]
        .into_iter()
        .flatten()
        .any(|l| l.times == TimeQuality::Estimated);
    Chunk {
        index,
        span: span_of(segments),
        text,
        header: header(surroundings, chapter, &speakers),
        speakers,
        lines,
        times: if estimated {
            TimeQuality::Estimated
        } else {
            TimeQuality::Measured
        },
    }
}

fn header(surroundings: Surroundings<'_>, chapter: Option<&Chapter>, speakers: &[String]) -> Option<String> {
    let chapter = chapter.map(|chapter| chapter.title.as_str());
    let named = [surroundings.title, surroundings.date, chapter];
    let mut parts: Vec<String> = named.into_iter().flatten().map(str::to_owned).collect();
    if !speakers.is_empty() {
        parts.push(speakers.join(", "));
    }
    (!parts.is_empty()).then(|| parts.join(" - "))
}

/// The segment itself, or its pieces when it is longer than `max`.
fn cut_to(segment: &Segment, max: MediaTime) -> Vec<Segment> {
    if segment.span.duration() <= max {
        return vec![segment.clone()];
    }
    let mut pieces = Vec::new();
    for sentence in align::split_segment(segment) {
        if sentence.span.duration() <= max {
            merge_or_push(&mut pieces, sentence, max);
        } else {
            pieces.extend(cut_at_words(&sentence, max));
        }
    }
    pieces
}

/// Joins a sentence to the piece before it where both fit, so that cutting does not leave crumbs.
fn merge_or_push(pieces: &mut Vec<Segment>, sentence: Segment, max: MediaTime) {
    match pieces.last_mut() {
        Some(last) if last.span.union(sentence.span).duration() <= max => {
            last.span = last.span.union(sentence.span);
            last.text.push(' ');
            last.text.push_str(&sentence.text);
            last.words.extend(sentence.words);
            last.times = TimeQuality::Estimated;
        }
        _ => pieces.push(sentence),
    }
}

/// Cuts a sentence that never ends into pieces of even length, between words.
fn cut_at_words(sentence: &Segment, max: MediaTime) -> Vec<Segment> {
    let words: Vec<&str> = sentence.text.split_whitespace().collect();
    let wanted = sentence
        .span
        .duration()
        .as_millis()
        .div_ceil(max.as_millis().max(1)) as usize;
    let count = wanted.clamp(1, words.len().max(1));
    let length = sentence.span.duration().as_millis();
    (0..count)
        .map(|piece| {
            let at = |piece: usize| {
                let offset = length * piece as u64 / count as u64;
                sentence
                    .span
                    .start()
                    .saturating_add(MediaTime::from_millis(offset))
            };
            let span = Span::between(at(piece), at(piece + 1));
            let range = words.len() * piece / count..words.len() * (piece + 1) / count;
            let inside = |word: &&Word| span.start() <= word.span.start() && word.span.start() < span.end();
            Segment {
                span,
                text: words.get(range).unwrap_or_default().join(" "),
                words: sentence.words.iter().filter(inside).cloned().collect(),
                times: TimeQuality::Estimated,
                ..sentence.clone()
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Suspicion;
    use proptest::prelude::*;

    fn settings(target: u64, max: u64, overlap: u64) -> ChunkSettings {
        ChunkSettings::new(
            MediaTime::from_millis(target),
            MediaTime::from_millis(max),
            MediaTime::from_millis(overlap),
        )
        .unwrap()
    }

    fn said(start: u64, end: u64, speaker: Option<&str>, text: &str) -> Segment {
        Segment {
            span: Span::from_millis(start, end),
            text: text.into(),
            speaker: speaker.map(Into::into),
            ..Segment::default()
        }
    }

    fn transcript(segments: Vec<Segment>) -> Transcript {
        let duration = segments.last().map_or(MediaTime::ZERO, |s| s.span.end());
        Transcript {
            segments,
            language: None,
            duration,
        }
    }

    #[test]
    fn a_turn_ends_a_chunk_that_is_half_full() {
        let chunks = chunk(
            &transcript(vec![
                said(0, 6000, Some("A"), "one"),
                said(6000, 8000, Some("B"), "two"),
                said(8000, 9000, Some("A"), "three"),
            ]),
            &settings(10_000, 20_000, 0),
            Surroundings {
                title: Some("Talk"),
                ..Surroundings::default()
            },
        );
        let texts: Vec<&str> = chunks.iter().map(|c| c.text.as_str()).collect();
        assert_eq!(texts, ["one", "two\nthree"]);
        assert_eq!(chunks[1].speakers, ["B", "A"]);
        assert_eq!(chunks[1].embedded_text(), "Talk - B, A\ntwo\nthree");
    }

    #[test]
    fn suspicious_segments_are_left_out() {
        let mut invented = said(0, 1000, None, "thank you");
        invented.suspicion = Some(Suspicion::Outro);
        assert!(
            chunk(
                &transcript(vec![invented]),
                &ChunkSettings::default(),
                Surroundings::default()
            )
            .is_empty()
        );
    }

    #[test]
    fn an_endless_segment_is_cut_at_sentences() {
        let long = said(
            0,
            90_000,
            None,
            "First part of it. Second part of it. Third part of it.",
        );
        let chunks = chunk(
            &transcript(vec![long]),
            &settings(30_000, 40_000, 0),
            Surroundings::default(),
        );
        let texts: Vec<&str> = chunks.iter().map(|c| c.text.as_str()).collect();
        assert_eq!(
            texts,
            ["First part of it.", "Second part of it.", "Third part of it."]
        );
        assert!(chunks.iter().all(|c| c.times == TimeQuality::Estimated));
    }

    #[test]
    fn overlap_repeats_the_last_segments() {
        let segments = (0..6)
            .map(|i| said(i * 4000, i * 4000 + 4000, None, &format!("s{i}")))
            .collect();
        let chunks = chunk(
            &transcript(segments),
            &settings(12_000, 20_000, 4000),
            Surroundings::default(),
        );
        let texts: Vec<&str> = chunks.iter().map(|c| c.text.as_str()).collect();
        assert_eq!(texts, ["s0 s1 s2", "s2 s3 s4", "s4 s5"]);
    }

    fn chapters(marks: &[(u64, &str)]) -> Vec<Chapter> {
        let chapter = |(start, title): &(u64, &str)| Chapter {
            start: MediaTime::from_millis(*start),
            title: (*title).to_owned(),
        };
        marks.iter().map(chapter).collect()
    }

    #[test]
    fn a_chapter_ends_a_chunk_and_names_it() {
        let segments = vec![
            said(0, 1000, None, "hello"),
            // Begins a moment before the chapter does, and belongs to it.
            said(1900, 4000, Some("A"), "to the point"),
            said(4000, 6000, Some("A"), "and on"),
        ];
        let marks = chapters(&[(2000, "The point")]);
        let surroundings = Surroundings {
            title: Some("Talk"),
            date: Some("2026"),
            chapters: &marks,
        };
        let chunks = chunk(
            &transcript(segments),
            &settings(30_000, 60_000, 5000),
            surroundings,
        );
        let texts: Vec<String> = chunks.iter().map(Chunk::embedded_text).collect();
        assert_eq!(
            texts,
            [
                "Talk - 2026\nhello",
                "Talk - 2026 - The point - A\nto the point and on"
            ]
        );
    }

    #[test]
    fn contradictory_settings_are_refused() {
        let millis = MediaTime::from_millis;
        assert!(ChunkSettings::new(millis(0), millis(10), millis(0)).is_err());
        assert!(ChunkSettings::new(millis(20), millis(10), millis(0)).is_err());
        assert!(ChunkSettings::new(millis(10), millis(10), millis(5)).is_err());
    }

    prop_compose! {
        fn any_transcript()(
            steps in prop::collection::vec((0u64..5000, 100u64..70_000, 0u8..3, "[a-z]{1,6}( [a-z]{1,6}){0,20}[.]?"), 0..40),
        ) -> Transcript {
            let mut at = 0;
            let segments = steps.into_iter().map(|(gap, length, speaker, text)| {
                let start = at + gap;
                at = start + length;
                said(start, at, ["A", "B"].get(usize::from(speaker)).copied(), &text)
            }).collect();
            transcript(segments)
        }
    }

    fn words_of(texts: impl IntoIterator<Item = String>) -> Vec<String> {
        texts
            .into_iter()
            .flat_map(|t| t.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
            .collect()
    }

    proptest! {
        #[test]
        fn text_is_preserved_exactly(transcript in any_transcript(), target in 1000u64..60_000, extra in 0u64..60_000) {
            let chunks = chunk(&transcript, &settings(target, target + extra, 0), Surroundings::default());
            let chunked = words_of(chunks.iter().map(|c| c.text.clone()));
            let spoken = words_of(transcript.segments.iter().map(|s| s.text.clone()));
            prop_assert_eq!(chunked, spoken);
        }

        #[test]
        fn spans_are_monotone_inside_and_bounded(transcript in any_transcript(), target in 1000u64..60_000, extra in 0u64..60_000) {
            let settings = settings(target, target + extra, 0);
            let bounds = Span::between(MediaTime::ZERO, transcript.duration);
            let chunks = chunk(&transcript, &settings, Surroundings::default());
            for (index, piece) in chunks.iter().enumerate() {
                prop_assert_eq!(piece.index as usize, index);
                prop_assert!(bounds.contains(piece.span));
                // Within a tenth of the target, unless a single segment is longer than that.
                let limit = MediaTime::from_millis(target + target / 10);
                prop_assert!(piece.span.duration() <= limit || piece.lines.len() == 1);
                let single = piece.lines.len() == 1 && piece.text.split_whitespace().count() == 1;
                prop_assert!(piece.span.duration() <= MediaTime::from_millis(target + extra) || single);
                for line in &piece.lines {
                    prop_assert!(piece.span.contains(line.span));
                    prop_assert!(piece.text.get(line.from..line.to).is_some());
                }
            }
            prop_assert!(chunks.windows(2).all(|w| w[0].span.end() <= w[1].span.start()));
        }

        #[test]
        fn appended_audio_changes_only_the_last_chunk(transcript in any_transcript(), keep in 0usize..40) {
            let settings = settings(20_000, 30_000, 0);
            let mut shorter = transcript.clone();
            shorter.segments.truncate(keep);
            let all = chunk(&transcript, &settings, Surroundings::default());
            let some = chunk(&shorter, &settings, Surroundings::default());
            let settled = some.len().saturating_sub(1);
            prop_assert_eq!(&all[..settled], &some[..settled]);
        }

        #[test]
        fn no_chunk_spans_two_chapters(
            transcript in any_transcript(),
            starts in prop::collection::btree_set(0u64..1_000_000, 0..8),
            target in 1000u64..60_000,
            overlap in prop::bool::ANY,
        ) {
            let marks: Vec<(u64, String)> = starts.into_iter().map(|start| (start, format!("c{start}"))).collect();
            let marks: Vec<(u64, &str)> = marks.iter().map(|(start, title)| (*start, title.as_str())).collect();
            let marks = chapters(&marks);
            let surroundings = Surroundings { chapters: &marks, ..Surroundings::default() };
            let overlap = if overlap { target / 3 } else { 0 };
            let chunks = chunk(&transcript, &settings(target, target * 2, overlap), surroundings);
            for piece in &chunks {
                let of = |line: &ChunkLine| surroundings.chapter(line.span);
                prop_assert!(piece.lines.windows(2).all(|pair| of(&pair[0]) == of(&pair[1])), "{piece:?}");
                let title = of(&piece.lines[0]).map(|chapter| chapter.title.as_str());
                let header = piece.header.as_deref().unwrap_or_default();
                prop_assert_eq!(header.split(" - ").find(|part| part.starts_with('c')), title);
            }
            if overlap == 0 {
                let chunked = words_of(chunks.iter().map(|c| c.text.clone()));
                prop_assert_eq!(chunked, words_of(transcript.segments.iter().map(|s| s.text.clone())));
            }
            prop_assert!(chunks.windows(2).all(|w| w[0].span.start() < w[1].span.start()));
        }

        #[test]
        fn overlap_never_stalls(transcript in any_transcript(), target in 1000u64..60_000) {
            let chunks = chunk(&transcript, &settings(target, target * 2, target / 3), Surroundings::default());
            prop_assert!(chunks.windows(2).all(|w| w[0].span.start() < w[1].span.start()));
            let lines: usize = chunks.iter().map(|c| c.lines.len()).sum();
            prop_assert!(lines >= transcript.segments.len());
        }
    }
}
