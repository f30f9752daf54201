//! What comes from speech-to-text vendors that know more than text: words become segments.

use audiorag_core::model::{Segment, Word};
use audiorag_core::{Error, MediaTime, Result, Span};
use std::fmt::Display;

/// A pause this long starts a new segment. Deepgram splits utterances here unless told otherwise.
const PAUSE: MediaTime = MediaTime::from_millis(800);

/// A word as a vendor returned it.
#[derive(Clone, Debug)]
pub(crate) struct Spoken {
    pub(crate) span: Span,
    pub(crate) text: String,
    /// What stands between it and the word before.
    pub(crate) lead: &'static str,
    pub(crate) confidence: Option<f32>,
    pub(crate) speaker: Option<String>,
}

/// Words that belong together.
#[derive(Clone, Debug, Default)]
pub(crate) struct Turn {
    /// The vendor's own text and confidence for all of them; without it they are split at pauses.
    pub(crate) written: Option<(String, Option<f32>)>,
    pub(crate) words: Vec<Spoken>,
}

/// Seconds as vendors write them.
///
/// # Errors
/// [`Protocol`](audiorag_core::ErrorKind::Protocol) when they are missing or no time.
pub(crate) fn seconds(start: Option<f64>, end: Option<f64>) -> Result<Span> {
    let time = |value: Option<f64>| value.and_then(MediaTime::from_seconds_f64);
    match (time(start), time(end)) {
        (Some(start), Some(end)) => Ok(Span::between(start, end)),
        _ => Err(Error::protocol("a word without the time it is spoken at")
            .with_context("start", format!("{start:?}"))
            .with_context("end", format!("{end:?}"))),
    }
}

/// A probability, whatever the arithmetic behind it left at the edges.
pub(crate) fn probability(value: Option<f64>) -> Option<f32> {
    value
        .filter(|value| value.is_finite())
        .map(|value| value.clamp(0.0, 1.0) as f32)
}

/// The name of a speaker that a vendor only numbers.
pub(crate) fn speaker(label: impl Display) -> String {
    format!("speaker {label}")
}

/// Turns as segments: sorted, inside the part, and never empty.
pub(crate) fn segments(turns: Vec<Turn>, part: Span) -> Vec<Segment> {
    let mut segments: Vec<Segment> = Vec::new();
    for mut turn in turns {
        turn.words.retain(|word| !word.text.trim().is_empty());
        turn.words.sort_by_key(|word| word.span.start());
        match turn.written {
            Some((text, confidence)) => segments.extend(whole(text.trim(), confidence, &turn.words, part)),
            None => segments.extend(split(turn.words, part)),
        }
    }
    segments.sort_by_key(|segment| segment.span.start());
    segments
}

/// One segment with the vendor's own text.
fn whole(text: &str, confidence: Option<f32>, words: &[Spoken], part: Span) -> Option<Segment> {
    let speaker = words.first().and_then(|word| word.speaker.clone());
    let words: Vec<Word> = words.iter().map(|word| placed(word, part)).collect();
    let span = words.iter().map(|word| word.span).reduce(Span::union)?;
    (!text.is_empty()).then(|| Segment {
        span,
        text: text.to_owned(),
        speaker,
        confidence: confidence.or_else(|| mean(&words)),
        words,
        ..Segment::default()
    })
}

/// Segments that begin at each change of speaker and after each pause.
fn split(words: Vec<Spoken>, part: Span) -> Vec<Segment> {
    let mut segments: Vec<Segment> = Vec::new();
    for spoken in words {
        let word = placed(&spoken, part);
        let last = segments.last_mut().filter(|last| {
            last.speaker == spoken.speaker && word.span.start().saturating_sub(last.span.end()) < PAUSE
        });
        match last {
            Some(last) => {
                last.text.push_str(spoken.lead);
                last.text.push_str(&word.text);
                last.span = last.span.union(word.span);
                last.words.push(word);
            }
            None => segments.push(Segment {
                span: word.span,
                text: word.text.clone(),
                speaker: spoken.speaker,
                words: vec![word],
                ..Segment::default()
            }),
        }
    }
    for segment in &mut segments {
        segment.confidence = mean(&segment.words);
    }
    segments
}

fn placed(word: &Spoken, part: Span) -> Word {
    Word {
        span: word.span.clamp_to(part),
        text: word.text.trim().to_owned(),
        confidence: word.confidence,
    }
}

/// The mean confidence of words, if every one has it.
fn mean(words: &[Word]) -> Option<f32> {
    let known: Option<Vec<f32>> = words.iter().map(|word| word.confidence).collect();
    let known = known.filter(|known| !known.is_empty())?;
    Some(known.iter().sum::<f32>() / known.len() as f32)
}

/// A prompt as the terms it lists, for vendors that take terms and no sentences: what stands between commas,
/// semicolons and line breaks, without what is longer than the vendor allows.
pub(crate) fn terms(
    prompt: Option<&str>,
    most: usize,
    most_words: usize,
    most_letters: usize,
) -> Vec<String> {
    let mut terms: Vec<String> = Vec::new();
    for term in prompt.unwrap_or_default().split([',', ';', '\n']) {
        let term = term.trim();
        let fits = term.split_whitespace().count() <= most_words && term.chars().count() <= most_letters;
        if !term.is_empty() && fits && !terms.iter().any(|known| known == term) {
            terms.push(term.to_owned());
        }
    }
    terms.truncate(most);
    terms
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spoken(from: u64, to: u64, text: &str, speaker: &str) -> Spoken {
        Spoken {
            span: Span::from_millis(from, to),
            text: text.to_owned(),
            lead: " ",
            confidence: Some(0.5),
            speaker: Some(speaker.to_owned()),
        }
    }

    #[test]
    fn a_pause_or_another_speaker_starts_a_segment() {
        let words = vec![
            spoken(1_000, 1_300, "there.", "a"),
            spoken(500, 900, "Hello", "a"),
            spoken(1_400, 1_500, "  ", "a"),
            spoken(1_500, 1_900, "Hi!", "b"),
            spoken(2_800, 9_000, "Well", "b"),
        ];
        let turn = Turn { written: None, words };
        let segments = segments(vec![turn], Span::from_millis(0, 3_000));
        let found: Vec<(&str, Option<&str>, u64, u64)> = segments
            .iter()
            .map(|segment| {
                let (start, end) = (segment.span.start().as_millis(), segment.span.end().as_millis());
                (segment.text.as_str(), segment.speaker.as_deref(), start, end)
            })
            .collect();
        assert_eq!(
            found,
            [
                ("Hello there.", Some("a"), 500, 1_300),
                ("Hi!", Some("b"), 1_500, 1_900),
                ("Well", Some("b"), 2_800, 3_000),
            ]
        );
        assert_eq!(segments[0].confidence, Some(0.5));
        assert_eq!(segments[0].words.len(), 2);
    }

    #[test]
    fn turns_keep_the_vendors_text_and_lose_what_is_empty() {
        let turn = |text: &str, confidence, words| Turn {
            written: Some((text.to_owned(), confidence)),
            words,
        };
        let turns = vec![
            turn(" Later. ", Some(0.9), vec![spoken(5_000, 5_400, "later", "b")]),
            turn("$5, please", None, vec![spoken(0, 400, "five", "a")]),
            turn("no words", None, Vec::new()),
            turn(" ", None, vec![spoken(1, 2, "x", "a")]),
        ];
        let segments = segments(turns, Span::from_millis(0, 10_000));
        let texts: Vec<&str> = segments.iter().map(|segment| segment.text.as_str()).collect();
        assert_eq!(texts, ["$5, please", "Later."]);
        assert_eq!(segments[0].confidence, Some(0.5));
        assert_eq!(segments[1].confidence, Some(0.9));
        assert_eq!(segments[1].speaker.as_deref(), Some("b"));
    }

    #[test]
    fn what_is_no_time_is_the_vendors_fault() {
        assert_eq!(
            seconds(Some(1.5), Some(0.25)).unwrap(),
            Span::from_millis(250, 1_500)
        );
        for (start, end) in [
            (None, Some(1.0)),
            (Some(-1.0), Some(1.0)),
            (Some(0.0), Some(f64::NAN)),
        ] {
            let error = seconds(start, end).unwrap_err();
            assert_eq!(error.kind(), audiorag_core::ErrorKind::Protocol);
        }
        assert_eq!(probability(Some(1.2)), Some(1.0));
        assert_eq!(probability(Some(f64::NAN)), None);
    }

    #[test]
    fn prompts_are_read_as_lists() {
        let prompt = Some("AudioRAG, Ada Lovelace;Ada Lovelace\n\n a b c d e f g ,Rust");
        assert_eq!(terms(prompt, 9, 6, 50), ["AudioRAG", "Ada Lovelace", "Rust"]);
        assert_eq!(terms(prompt, 1, 6, 50), ["AudioRAG"]);
        assert_eq!(terms(prompt, 9, 6, 4), ["Rust"]);
        assert!(terms(None, 9, 9, 9).is_empty());
    }
}
