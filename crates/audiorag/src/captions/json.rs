//! JSON: Whisper and the programs around it (openai-whisper, OpenAI's `verbose_json`, WhisperX, faster-whisper,
//! whisper.cpp), the transcripts of Podcasting 2.0, and what `audiorag export -f json` writes.
//!
//! They differ in the names of a few fields: `start` is a number of seconds, as are `startTime` and `start_time`;
//! whisper.cpp has `offsets` in milliseconds.

use super::text::{flat, span};
use super::{Found, lean};
use audiorag_core::model::{Segment, Suspicion, TimeQuality, Word};
use audiorag_core::{MediaTime, Span};
use serde_json::Value;

/// Whisper's own thresholds for text that was not spoken.
const NO_SPEECH: f64 = 0.6;
const LOG_PROBABILITY: f64 = -1.0;
const COMPRESSION: f64 = 2.4;

/// The longest pause inside a segment that is joined from words, and the longest such segment, in milliseconds.
const PAUSE: u64 = 1_000;
const SENTENCE: u64 = 15_000;
/// The longest a single word takes, in milliseconds; what takes longer is a sentence.
const WORD: u64 = 3_000;

/// Names that Whisper gives to the languages that it hears most often.
const LANGUAGES: [(&str, &str); 20] = [
    ("arabic", "ar"),
    ("chinese", "zh"),
    ("czech", "cs"),
    ("danish", "da"),
    ("dutch", "nl"),
    ("english", "en"),
    ("finnish", "fi"),
    ("french", "fr"),
    ("german", "de"),
    ("hindi", "hi"),
    ("italian", "it"),
    ("japanese", "ja"),
    ("korean", "ko"),
    ("polish", "pl"),
    ("portuguese", "pt"),
    ("russian", "ru"),
    ("spanish", "es"),
    ("swedish", "sv"),
    ("turkish", "tr"),
    ("ukrainian", "uk"),
];

/// Reads a document, or says in words to follow the file's name what is wrong with it.
pub(super) fn read(body: &str) -> Result<Found, String> {
    let document = lean::read(body).map_err(|error| format!("is not whole JSON: {error}"))?;
    let rows = rows(&document).ok_or("is JSON without a list of segments")?;
    let mut found = Found {
        language: language(&document),
        duration: document
            .get("duration")
            .and_then(Value::as_f64)
            .and_then(MediaTime::from_seconds_f64),
        ..Found::default()
    };
    for row in rows {
        let text = text_of(row);
        if text.is_empty() {
            continue;
        }
        let Some(span) = span_of(row) else {
            found.untimed += 1;
            continue;
        };
        found.segments.push(segment(row, span, text));
    }
    if rows.iter().all(|row| row.get("words").is_none()) && is_by_word(&found.segments) {
        found.segments = joined(std::mem::take(&mut found.segments));
    }
    Ok(found)
}

/// The list of segments.
fn rows(document: &Value) -> Option<&Vec<Value>> {
    let list = match document {
        Value::Array(list) => list,
        _ => ["segments", "transcription", "chunks"]
            .iter()
            .find_map(|name| document.get(name)?.as_array())?,
    };
    list.iter().all(Value::is_object).then_some(list)
}

/// The language of a document as a tag, where it is one or a name that is known.
fn language(document: &Value) -> Option<String> {
    let whisper_cpp = document.get("result").and_then(|result| result.get("language"));
    let named = document.get("language").or(whisper_cpp)?.as_str()?.trim();
    let known = LANGUAGES
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case(named))
        .map(|(_, tag)| (*tag).to_owned());
    known.or_else(|| is_tag(named).then(|| named.to_owned()))
}

/// Whether a text may be a BCP 47 tag: two or three letters, and what follows behind hyphens.
pub(crate) fn is_tag(text: &str) -> bool {
    let mut subtags = text.split('-');
    let primary = subtags.next().unwrap_or_default();
    (2..=3).contains(&primary.len())
        && primary.bytes().all(|byte| byte.is_ascii_alphabetic())
        && subtags
            .all(|tag| (1..=8).contains(&tag.len()) && tag.bytes().all(|byte| byte.is_ascii_alphanumeric()))
}

fn first<'a>(row: &'a Value, names: &[&str]) -> Option<&'a Value> {
    names
        .iter()
        .find_map(|name| row.get(name).filter(|value| !value.is_null()))
}

/// The text with its spaces, as it was exported.
fn text_of(row: &Value) -> String {
    let text = first(row, &["text", "body", "word"])
        .and_then(Value::as_str)
        .unwrap_or_default();
    text.trim().to_owned()
}

fn span_of(row: &Value) -> Option<Span> {
    if let Some(offsets) = row.get("offsets") {
        return span(offsets.get("from")?.as_i64()?, offsets.get("to")?.as_i64()?);
    }
    if let Some(pair) = row.get("timestamp").and_then(Value::as_array) {
        let start = millis(pair.first()?)?;
        return span(start, pair.get(1).and_then(millis).unwrap_or(start));
    }
    let start = millis(first(row, &["start", "startTime", "start_time"])?)?;
    let end = first(row, &["end", "endTime", "end_time"]).and_then(millis);
    span(start, end.unwrap_or(start))
}

/// Seconds, as a number or a text, in milliseconds.
fn millis(value: &Value) -> Option<i64> {
    let seconds = match value {
        Value::String(text) => text.trim().parse().ok()?,
        _ => value.as_f64()?,
    };
    // Far beyond what any recording has; more would not fit.
    (-1e12..1e12)
        .contains(&seconds)
        .then(|| (seconds * 1000.0).round() as i64)
}

fn segment(row: &Value, span: Span, text: String) -> Segment {
    let words: Vec<Word> = row
        .get("words")
        .and_then(Value::as_array)
        .map(|words| words.iter().filter_map(word).collect())
        .unwrap_or_default();
    let estimated = row.get("estimated_times").and_then(Value::as_bool) == Some(true);
    Segment {
        span,
        text,
        speaker: speaker(row).or_else(|| majority(row)),
        confidence: first(row, &["confidence"]).and_then(probability),
        words,
        times: if estimated {
            TimeQuality::Estimated
        } else {
            TimeQuality::Measured
        },
        suspicion: suspicion(row),
    }
}

fn speaker(row: &Value) -> Option<String> {
    let name = match first(row, &["speaker", "speaker_id", "speakerName"])? {
        Value::String(name) => name.trim().to_owned(),
        Value::Number(number) => format!("speaker {number}"),
        _ => return None,
    };
    Some(name).filter(|name| !name.is_empty())
}

/// Who says most words of a segment that names speakers only word by word.
fn majority(row: &Value) -> Option<String> {
    let names: Vec<String> = row.get("words")?.as_array()?.iter().filter_map(speaker).collect();
    let count = |name: &String| names.iter().filter(|other| *other == name).count();
    names.iter().rev().max_by_key(|name| count(name)).cloned()
}

fn word(row: &Value) -> Option<Word> {
    let text = text_of(row);
    let span = span_of(row).filter(|_| !text.is_empty())?;
    let confidence = first(row, &["probability", "score", "confidence"]).and_then(probability);
    Some(Word {
        span,
        text,
        confidence,
    })
}

fn probability(value: &Value) -> Option<f32> {
    let value = value.as_f64()? as f32;
    (0.0..=1.0).contains(&value).then_some(value)
}

/// What an export says, or else what Whisper's own measures say. The text itself is not judged: people who write
/// subtitles may repeat themselves, and their "thank you" was said.
fn suspicion(row: &Value) -> Option<Suspicion> {
    if let Some(named) = row.get("suspicion") {
        return named.as_str().and_then(Suspicion::parse);
    }
    let measure = |name: &str| row.get(name).and_then(Value::as_f64);
    if measure("compression_ratio").is_some_and(|ratio| ratio > COMPRESSION) {
        return Some(Suspicion::Repetitive);
    }
    let silent = measure("no_speech_prob").is_some_and(|probability| probability > NO_SPEECH);
    let unsure = measure("avg_logprob").is_some_and(|probability| probability < LOG_PROBABILITY);
    (silent && unsure).then_some(Suspicion::Improbable)
}

/// Whether nearly every segment is a single word, as some podcast hosts write them.
fn is_by_word(segments: &[Segment]) -> bool {
    let single = segments.iter().filter(|segment| is_word(segment)).count();
    segments.len() >= 8 && single * 10 >= segments.len() * 9
}

/// Whether a segment is a single word. A sentence in a script without spaces has no spaces either, but more letters than
/// a word and takes longer to say.
fn is_word(segment: &Segment) -> bool {
    let letters = segment.text.chars().count();
    let most = if segment.text.contains(is_spaceless) {
        4
    } else {
        40
    };
    letters <= most
        && !segment.text.contains(char::is_whitespace)
        && segment.span.duration().as_millis() <= WORD
}

/// Whether a letter belongs to a script that is written without spaces between words: Chinese, Japanese, Thai, Lao,
/// Burmese, Khmer.
fn is_spaceless(letter: char) -> bool {
    matches!(letter,
        '\u{0e00}'..='\u{0eff}' | '\u{1000}'..='\u{109f}' | '\u{1780}'..='\u{17ff}' | '\u{3001}'..='\u{30ff}'
        | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' | '\u{ff01}'..='\u{ff9f}'
        | '\u{20000}'..='\u{3ffff}')
}

/// Sentences made of words.
fn joined(mut words: Vec<Segment>) -> Vec<Segment> {
    words.sort_by_key(|word| word.span);
    let mut sentences: Vec<Segment> = Vec::new();
    for word in words {
        let timed = Word {
            span: word.span,
            text: word.text.clone(),
            confidence: word.confidence,
        };
        match sentences.last_mut() {
            Some(open)
                if open.speaker == word.speaker
                    && !open.text.ends_with(['.', '?', '!', '。', '？', '！'])
                    && word.span.start().saturating_sub(open.span.end()).as_millis() < PAUSE
                    && open.span.union(word.span).duration().as_millis() <= SENTENCE =>
            {
                open.span = open.span.union(word.span);
                let joint = (open.text.chars().next_back(), word.text.chars().next());
                if !matches!(joint, (Some(left), Some(right)) if is_spaceless(left) && is_spaceless(right)) {
                    open.text.push(' ');
                }
                open.text.push_str(&flat(&word.text));
                open.words.push(timed);
            }
            _ => sentences.push(Segment {
                words: vec![timed],
                ..word
            }),
        }
    }
    sentences
}
