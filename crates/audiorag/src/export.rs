//! Transcripts in the formats that other programs read.

use audiorag_core::model::{Chapter, Segment, TimeQuality, Transcript};
use audiorag_core::{Error, Result};
use audiorag_state::SourceRecord;
use serde_json::json;
use std::fmt::Write as _;

/// A transcript format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// SubRip subtitles.
    Srt,
    /// WebVTT subtitles.
    Vtt,
    /// Plain text, a line for each segment.
    Txt,
    /// Markdown with times.
    Markdown,
    /// JSON close to the `verbose_json` of speech-to-text services; seconds as numbers.
    Json,
    /// Tab-separated start, end (milliseconds), speaker and text.
    Tsv,
}

impl Format {
    /// Every format.
    pub const ALL: [Self; 6] = [
        Self::Srt,
        Self::Vtt,
        Self::Txt,
        Self::Markdown,
        Self::Json,
        Self::Tsv,
    ];

    /// The file extension, which is also the name on the command line.
    pub const fn extension(self) -> &'static str {
        match self {
            Self::Srt => "srt",
            Self::Vtt => "vtt",
            Self::Txt => "txt",
            Self::Markdown => "md",
            Self::Json => "json",
            Self::Tsv => "tsv",
        }
    }

    /// The format of this name.
    ///
    /// # Errors
    /// [`Input`](audiorag_core::ErrorKind::Input), naming those there are.
    pub fn parse(name: &str) -> Result<Self> {
        Self::ALL
            .into_iter()
            .find(|format| format.extension() == name)
            .ok_or_else(|| {
                let known = Self::ALL.map(Self::extension).join(", ");
                Error::input(format!("'{name}' is not a transcript format"))
                    .with_hint(format!("one of: {known}"))
            })
    }
}

/// Writes a transcript. Segments that look invented appear in JSON only, marked.
pub fn render(format: Format, source: &SourceRecord, transcript: &Transcript) -> String {
    match format {
        Format::Srt => srt(transcript),
        Format::Vtt => vtt(transcript),
        Format::Txt => txt(transcript),
        Format::Markdown => markdown(source, transcript),
        Format::Json => json(source, transcript),
        Format::Tsv => tsv(transcript),
    }
}

fn said(segment: &Segment) -> String {
    match &segment.speaker {
        Some(speaker) => format!("{speaker}: {}", segment.text),
        None => segment.text.clone(),
    }
}

/// One line: neither a line break nor a tab may end a record early.
fn flat(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn srt(transcript: &Transcript) -> String {
    let mut out = String::new();
    for (index, segment) in transcript.indexable().enumerate() {
        let (start, end) = (
            segment.span.start().to_subtitle(','),
            segment.span.end().to_subtitle(','),
        );
        let _ = write!(
            out,
            "{}\n{start} --> {end}\n{}\n\n",
            index + 1,
            flat(&said(segment))
        );
    }
    out
}

fn vtt(transcript: &Transcript) -> String {
    let mut out = String::from("WEBVTT\n\n");
    // Characters with a meaning in cue text (WebVTT, section 4.2.2).
    let escape = |text: &str| {
        flat(text)
            .replace('&', "&amp;")
            .replace('<', "&lt;")
            .replace('>', "&gt;")
    };
    for segment in transcript.indexable() {
        let (start, end) = (
            segment.span.start().to_subtitle('.'),
            segment.span.end().to_subtitle('.'),
        );
        let text = match &segment.speaker {
            Some(speaker) => format!("<v {}>{}", escape(speaker), escape(&segment.text)),
            None => escape(&segment.text),
        };
        let _ = write!(out, "{start} --> {end}\n{text}\n\n");
    }
    out
}

fn txt(transcript: &Transcript) -> String {
    transcript
        .indexable()
        .map(|segment| flat(&said(segment)) + "\n")
        .collect()
}

fn tsv(transcript: &Transcript) -> String {
    let mut out = String::from("start\tend\tspeaker\ttext\n");
    for segment in transcript.indexable() {
        let (start, end) = (segment.span.start().as_millis(), segment.span.end().as_millis());
        let speaker = flat(segment.speaker.as_deref().unwrap_or_default());
        let _ = writeln!(out, "{start}\t{end}\t{speaker}\t{}", flat(&segment.text));
    }
    out
}

fn markdown(source: &SourceRecord, transcript: &Transcript) -> String {
    let mut out = format!("# {}\n\n", flat(&source.title));
    let mut chapters = chapters(source).iter().peekable();
    for segment in transcript.indexable() {
        let start = segment.span.start();
        // As chunks have it: a segment belongs to the chapter in which its middle lies.
        while let Some(chapter) = chapters.next_if(|chapter| chapter.start <= segment.span.middle()) {
            let _ = write!(out, "## {} {}\n\n", chapter.start, flat(&chapter.title));
        }
        match &segment.speaker {
            Some(speaker) => {
                let _ = write!(
                    out,
                    "**[{start}] {}:** {}\n\n",
                    flat(speaker),
                    flat(&segment.text)
                );
            }
            None => {
                let _ = write!(out, "**[{start}]** {}\n\n", flat(&segment.text));
            }
        }
    }
    out
}

fn chapters(source: &SourceRecord) -> &[Chapter] {
    source.media.as_ref().map_or(&[], |media| &media.chapters)
}

fn json(source: &SourceRecord, transcript: &Transcript) -> String {
    let segments: Vec<_> = transcript
        .segments
        .iter()
        .enumerate()
        .map(|(id, segment)| {
            let words: Vec<_> = segment
                .words
                .iter()
                .map(|word| {
                    json!({
                        "word": word.text,
                        "start": word.span.start().as_seconds_f64(),
                        "end": word.span.end().as_seconds_f64(),
                        "probability": word.confidence,
                    })
                })
                .collect();
            json!({
                "id": id,
                "start": segment.span.start().as_seconds_f64(),
                "end": segment.span.end().as_seconds_f64(),
                "text": segment.text,
                "speaker": segment.speaker,
                "confidence": segment.confidence,
                "estimated_times": segment.times == TimeQuality::Estimated,
                "suspicion": segment.suspicion.map(audiorag_core::model::Suspicion::as_str),
                "words": words,
            })
        })
        .collect();
    let text: Vec<&str> = transcript
        .indexable()
        .map(|segment| segment.text.as_str())
        .collect();
    let document = json!({
        "source_id": source.id.as_str(),
        "title": source.title,
        "locator": source.locator.to_uri(),
        "language": transcript.language,
        "duration": transcript.duration.as_seconds_f64(),
        "chapters": chapters(source)
            .iter()
            .map(|chapter| json!({"start": chapter.start.as_seconds_f64(), "title": chapter.title}))
            .collect::<Vec<_>>(),
        "text": text.join(" "),
        "segments": segments,
    });
    format!("{document:#}\n")
}
