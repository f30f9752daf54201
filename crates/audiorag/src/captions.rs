//! Transcripts that somebody else made: subtitles, the JSON of speech-to-text programs and podcasts, and what
//! [`export`](crate::export) writes.
//!
//! Reading is pure: bytes in, a transcript out. What a file is, its content says; the name it came under is for
//! messages. Nothing in a file is trusted: size, order, times and text are checked, what cannot be used is left out
//! and counted, and a file that holds no transcript at all is an error that says what it looks like.

mod cues;
mod json;
mod lean;
mod prefix;
mod text;
mod tsv;

pub(crate) use json::is_tag;

use audiorag_core::model::{PartTranscript, Segment, Transcript};
use audiorag_core::{Error, MediaTime, Result, Span};

/// Rises when the same bytes are read as another transcript: part of a revision's configuration.
pub const CAPTIONS_VERSION: u32 = 2;

/// The largest file that is read, in bytes: some hundred hours of words with times.
pub const MAX_BYTES: usize = 64 << 20;

/// What a transcript is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CaptionFormat {
    /// SubRip subtitles.
    Srt,
    /// WebVTT subtitles.
    Vtt,
    /// JSON: Whisper's own and those of programs around it, Podcasting 2.0, or an export of this program.
    Json,
    /// Tab-separated start, end (milliseconds), speaker and text, as this program and Whisper write it.
    Tsv,
}

impl CaptionFormat {
    /// The stable lower-case name, which is the usual file extension.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Srt => "srt",
            Self::Vtt => "vtt",
            Self::Json => "json",
            Self::Tsv => "tsv",
        }
    }
}

/// A transcript as it was given.
#[derive(Clone, Debug, PartialEq)]
pub struct GivenTranscript {
    /// What it says, in source time, sorted by start. The duration is the one that the file states, or its last end.
    pub transcript: Transcript,
    /// What it was written in.
    pub format: CaptionFormat,
    /// What was left out or guessed, in sentences for the user.
    pub warnings: Vec<String>,
}

impl GivenTranscript {
    /// The transcript of a recording of this length: what lies beyond its end is left out, with a warning.
    pub fn within(mut self, duration: MediaTime) -> Self {
        let bounds = Span::between(MediaTime::ZERO, duration);
        let before = self.transcript.segments.len();
        self.transcript
            .segments
            .retain(|segment| segment.span.start() < duration);
        for segment in &mut self.transcript.segments {
            segment.span = segment.span.clamp_to(bounds);
            for word in &mut segment.words {
                word.span = word.span.clamp_to(bounds);
            }
        }
        let beyond = before - self.transcript.segments.len();
        if beyond > 0 {
            self.warnings.push(format!(
                "{beyond} of {before} segments lie beyond the end of the recording at {duration} and are left out: \
                 does the transcript belong to it?"
            ));
        }
        self.transcript.duration = duration;
        self
    }

    /// The same as the transcript of a single part that is the whole recording.
    pub fn into_part(self) -> PartTranscript {
        PartTranscript {
            segments: self.transcript.segments,
            language: self.transcript.language,
        }
    }
}

/// What a reader found, before it is put in order.
#[derive(Debug, Default)]
struct Found {
    segments: Vec<Segment>,
    language: Option<String>,
    duration: Option<MediaTime>,
    /// Segments without usable times.
    untimed: usize,
    warnings: Vec<String>,
}

/// Reads a transcript. `name` is the file name or media type it came under, for messages.
///
/// SRT, WebVTT, JSON and TSV are told apart by their content; UTF-8 and UTF-16 are read with and without a byte order
/// mark, anything else as Windows-1252. Segments without usable times are left out and counted, the others are sorted.
///
/// # Errors
/// [`Input`](audiorag_core::ErrorKind::Input) for a file that is empty, too large, none of these formats, malformed
/// beyond use, or without a single segment.
pub fn parse(bytes: &[u8], name: &str) -> Result<GivenTranscript> {
    if bytes.len() > MAX_BYTES {
        return Err(refuse(name, format!("has more than {} MiB", MAX_BYTES >> 20)));
    }
    let (text, guessed) = text::decode(bytes);
    let body = text.trim_start_matches('\u{feff}').trim_start();
    if body.is_empty() {
        return Err(refuse(name, "is empty"));
    }
    let format = recognise(body).ok_or_else(|| refuse(name, looks_like(body)))?;
    let mut found = match format {
        CaptionFormat::Srt | CaptionFormat::Vtt => cues::read(body, format),
        CaptionFormat::Tsv => tsv::read(body),
        CaptionFormat::Json => json::read(body).map_err(|reason| refuse(name, reason))?,
    };
    if guessed {
        found
            .warnings
            .push("it is not UTF-8 and was read as Windows-1252".to_owned());
    }
    if found.untimed > 0 {
        found.warnings.push(format!(
            "{} segments without usable times are left out",
            found.untimed
        ));
    }
    found.segments.retain(|segment| !segment.text.is_empty());
    if found.segments.is_empty() {
        return Err(refuse(
            name,
            format!("is {} without a single line of speech", shown(format)),
        ));
    }
    found.segments.sort_by_key(|segment| segment.span);
    let end = found.segments.iter().map(|segment| segment.span.end()).max();
    Ok(GivenTranscript {
        transcript: Transcript {
            segments: found.segments,
            language: found.language,
            duration: found.duration.max(end).unwrap_or_default(),
        },
        format,
        warnings: found.warnings,
    })
}

fn refuse(name: &str, reason: impl std::fmt::Display) -> Error {
    Error::input(format!("the transcript '{name}' {reason}")).with_hint(
        "give SRT, WebVTT, JSON as Whisper, podcasts or `audiorag export -f json` write it, or TSV with a start and an \
         end in milliseconds",
    )
}

const fn shown(format: CaptionFormat) -> &'static str {
    match format {
        CaptionFormat::Srt => "an SRT file",
        CaptionFormat::Vtt => "a WebVTT file",
        CaptionFormat::Json => "a JSON file",
        CaptionFormat::Tsv => "a TSV file",
    }
}

/// What a text is written in, by its beginning.
fn recognise(body: &str) -> Option<CaptionFormat> {
    if let Some(rest) = body.strip_prefix("WEBVTT")
        && rest.chars().next().is_none_or(char::is_whitespace)
    {
        return Some(CaptionFormat::Vtt);
    }
    if body.starts_with(['{', '[']) {
        return Some(CaptionFormat::Json);
    }
    if tsv::is_header(body.lines().next().unwrap_or_default()) {
        return Some(CaptionFormat::Tsv);
    }
    // A web page may hold arrows, too.
    if body.starts_with('<') {
        return None;
    }
    let mut lines = body.lines().take(200);
    lines
        .any(|line| cues::timing(line).is_some())
        .then_some(CaptionFormat::Srt)
}

/// Why a text is none of the formats.
fn looks_like(body: &str) -> &'static str {
    if body.starts_with('<') {
        "is a web page or XML, not a transcript"
    } else if body.contains('\0') || body.contains('\u{fffd}') {
        "is not a text"
    } else {
        "is a text without times"
    }
}

#[cfg(test)]
mod tests;
