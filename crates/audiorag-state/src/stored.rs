//! Core types in the form in which they are stored: JSON with short, frozen field names, and blobs.
//!
//! The forms are private to this crate, so that renaming a field of a core type cannot change what old databases
//! mean. Unknown fields are ignored and missing ones take their default, in both directions.

use crate::fault::{Attempt, Fault};
use audiorag_core::id::SourceId;
use audiorag_core::model::{
    Chapter, ChunkLine, Citation, Media, PartTranscript, Segment, Suspicion, TimeQuality, Word,
};
use audiorag_core::{Error, Locator, MediaTime, Span};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

#[derive(Serialize, Deserialize, Default)]
#[serde(default)]
struct StoredMedia {
    container: String,
    codec: String,
    sample_rate: u32,
    channels: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    duration_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    title: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    artist: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    album: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    date: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    language: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    chapters: Vec<StoredChapter>,
}

#[derive(Serialize, Deserialize, Default)]
#[serde(default)]
struct StoredChapter {
    start: u64,
    title: String,
}

#[derive(Serialize, Deserialize, Default)]
#[serde(default)]
struct StoredTranscript {
    segments: Vec<StoredSegment>,
    #[serde(skip_serializing_if = "Option::is_none")]
    language: Option<String>,
}

#[derive(Serialize, Deserialize, Default)]
#[serde(default)]
struct StoredSegment {
    start: u64,
    end: u64,
    text: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    speaker: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    confidence: Option<f32>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    words: Vec<StoredWord>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    estimated: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    suspicion: Option<String>,
}

#[derive(Serialize, Deserialize, Default)]
#[serde(default)]
struct StoredWord {
    start: u64,
    end: u64,
    text: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    confidence: Option<f32>,
}

#[derive(Serialize, Deserialize, Default)]
#[serde(default)]
struct StoredLine {
    from: usize,
    to: usize,
    start: u64,
    end: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    speaker: Option<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    estimated: bool,
}

/// Headers as JSON.
pub(crate) fn write_media(media: &Media) -> Attempt<String> {
    write(&StoredMedia {
        container: media.container.clone(),
        codec: media.codec.clone(),
        sample_rate: media.sample_rate,
        channels: media.channels,
        duration_ms: media.duration.map(MediaTime::as_millis),
        title: media.title.clone(),
        artist: media.artist.clone(),
        album: media.album.clone(),
        date: media.date.clone(),
        language: media.language.clone(),
        chapters: media
            .chapters
            .iter()
            .map(|chapter| StoredChapter {
                start: chapter.start.as_millis(),
                title: chapter.title.clone(),
            })
            .collect(),
    })
}

/// Headers from JSON.
pub(crate) fn read_media(json: &str) -> Attempt<Media> {
    let stored: StoredMedia = read("headers", json)?;
    Ok(Media {
        container: stored.container,
        codec: stored.codec,
        sample_rate: stored.sample_rate,
        channels: stored.channels,
        duration: stored.duration_ms.map(MediaTime::from_millis),
        title: stored.title,
        artist: stored.artist,
        album: stored.album,
        date: stored.date,
        language: stored.language,
        chapters: stored
            .chapters
            .into_iter()
            .map(|chapter| Chapter {
                start: MediaTime::from_millis(chapter.start),
                title: chapter.title,
            })
            .collect(),
    })
}

/// A part's transcript as JSON. Numbers that are not finite have no JSON form and are left out.
pub(crate) fn write_transcript(transcript: &PartTranscript) -> Attempt<String> {
    let finite = |number: Option<f32>| number.filter(|value| value.is_finite());
    let segments = transcript
        .segments
        .iter()
        .map(|segment| StoredSegment {
            start: segment.span.start().as_millis(),
            end: segment.span.end().as_millis(),
            text: segment.text.clone(),
            speaker: segment.speaker.clone(),
            confidence: finite(segment.confidence),
            words: segment
                .words
                .iter()
                .map(|word| StoredWord {
                    start: word.span.start().as_millis(),
                    end: word.span.end().as_millis(),
                    text: word.text.clone(),
                    confidence: finite(word.confidence),
                })
                .collect(),
            estimated: segment.times == TimeQuality::Estimated,
            suspicion: segment.suspicion.map(|reason| reason.as_str().to_owned()),
        })
        .collect();
    write(&StoredTranscript {
        segments,
        language: transcript.language.clone(),
    })
}

/// A part's transcript from JSON.
pub(crate) fn read_transcript(json: &str) -> Attempt<PartTranscript> {
    let stored: StoredTranscript = read("transcript", json)?;
    let segments = stored
        .segments
        .into_iter()
        .map(|segment| Segment {
            span: Span::from_millis(segment.start, segment.end),
            text: segment.text,
            speaker: segment.speaker,
            confidence: segment.confidence,
            words: segment
                .words
                .into_iter()
                .map(|word| Word {
                    span: Span::from_millis(word.start, word.end),
                    text: word.text,
                    confidence: word.confidence,
                })
                .collect(),
            times: time_quality(segment.estimated),
            suspicion: segment.suspicion.as_deref().and_then(Suspicion::parse),
        })
        .collect();
    Ok(PartTranscript {
        segments,
        language: stored.language,
    })
}

/// The lines of a chunk as JSON.
pub(crate) fn write_lines(lines: &[ChunkLine]) -> Attempt<String> {
    let lines: Vec<StoredLine> = lines
        .iter()
        .map(|line| StoredLine {
            from: line.from,
            to: line.to,
            start: line.span.start().as_millis(),
            end: line.span.end().as_millis(),
            speaker: line.speaker.clone(),
            estimated: line.times == TimeQuality::Estimated,
        })
        .collect();
    write(&lines)
}

/// The lines of a chunk from JSON.
pub(crate) fn read_lines(json: &str) -> Attempt<Vec<ChunkLine>> {
    let lines: Vec<StoredLine> = read("chunk", json)?;
    Ok(lines
        .into_iter()
        .map(|line| ChunkLine {
            from: line.from,
            to: line.to,
            span: Span::from_millis(line.start, line.end),
            speaker: line.speaker,
            times: time_quality(line.estimated),
        })
        .collect())
}

/// A list of names as JSON.
pub(crate) fn write_names(names: &[String]) -> Attempt<String> {
    write(names)
}

/// A list of names from JSON.
pub(crate) fn read_names(json: &str) -> Attempt<Vec<String>> {
    read("list of names", json)
}

/// The quality of times from its stored flag.
#[derive(Serialize, Deserialize, Default)]
#[serde(default)]
struct StoredCitation {
    marker: u32,
    source_id: String,
    title: String,
    locator: String,
    start: u64,
    end: u64,
    quote: String,
    link: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    speakers: Vec<String>,
    score: f32,
    estimated: bool,
}

/// Citations as JSON.
pub(crate) fn write_citations(citations: &[Citation]) -> Attempt<String> {
    let stored: Vec<StoredCitation> = citations
        .iter()
        .map(|citation| StoredCitation {
            marker: citation.marker,
            source_id: citation.source_id.as_str().to_owned(),
            title: citation.title.clone(),
            locator: citation.locator.to_uri(),
            start: citation.span.start().as_millis(),
            end: citation.span.end().as_millis(),
            quote: citation.quote.clone(),
            link: citation.link.clone(),
            speakers: citation.speakers.clone(),
            score: citation.score,
            estimated: citation.times == TimeQuality::Estimated,
        })
        .collect();
    write(&stored)
}

/// Citations from JSON.
pub(crate) fn read_citations(json: &str) -> Attempt<Vec<Citation>> {
    let stored: Vec<StoredCitation> = read("citations", json)?;
    stored
        .into_iter()
        .map(|citation| {
            Ok(Citation {
                marker: citation.marker,
                source_id: SourceId::from_stored(citation.source_id),
                title: citation.title,
                locator: Locator::parse_uri(&citation.locator)?,
                span: Span::from_millis(citation.start, citation.end.max(citation.start)),
                quote: citation.quote,
                link: citation.link,
                speakers: citation.speakers,
                score: citation.score,
                times: time_quality(citation.estimated),
            })
        })
        .collect()
}

pub(crate) fn time_quality(estimated: bool) -> TimeQuality {
    if estimated {
        TimeQuality::Estimated
    } else {
        TimeQuality::Measured
    }
}

/// A vector as little-endian 32-bit floats.
pub(crate) fn write_vector(vector: &[f32]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(vector.len() * 4);
    for component in vector {
        bytes.extend_from_slice(&component.to_le_bytes());
    }
    bytes
}

/// A vector from little-endian 32-bit floats.
pub(crate) fn read_vector(bytes: &[u8]) -> Vec<f32> {
    bytes
        .as_chunks::<4>()
        .0
        .iter()
        .map(|component| f32::from_le_bytes(*component))
        .collect()
}

/// A span from two columns.
pub(crate) fn span(start_ms: i64, end_ms: i64) -> Span {
    Span::from_millis(start_ms.max(0) as u64, end_ms.max(0) as u64)
}

fn write<T: Serialize + ?Sized>(value: &T) -> Attempt<String> {
    serde_json::to_string(value)
        .map_err(|error| Fault::Explained(Error::internal("cannot write a stored value").with_cause(error)))
}

fn read<T: DeserializeOwned>(what: &str, json: &str) -> Attempt<T> {
    serde_json::from_str(json).map_err(|error| {
        Fault::Explained(
            Error::state(format!("the database holds a {what} that cannot be read"))
                .with_cause(error)
                .with_hint("run 'audiorag doctor' to check the database"),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn segment() -> impl Strategy<Value = Segment> {
        let word =
            (0u64..9, 0u64..9, ".*", prop::option::of(0f32..1.0)).prop_map(|(a, b, text, confidence)| Word {
                span: Span::from_millis(a, b),
                text,
                confidence,
            });
        let reason = prop::option::of(prop::sample::select(Suspicion::ALL.to_vec()));
        let times = prop::sample::select(vec![TimeQuality::Measured, TimeQuality::Estimated]);
        (
            (0u64..1000, 0u64..1000),
            ".*",
            prop::option::of(".*"),
            prop::option::of(0f32..1.0),
            prop::collection::vec(word, 0..3),
            times,
            reason,
        )
            .prop_map(
                |((a, b), text, speaker, confidence, words, times, suspicion)| Segment {
                    span: Span::from_millis(a, b),
                    text,
                    speaker,
                    confidence,
                    words,
                    times,
                    suspicion,
                },
            )
    }

    proptest! {
        #[test]
        fn transcripts_round_trip(segments in prop::collection::vec(segment(), 0..4), language in prop::option::of("[a-z]{2}")) {
            let transcript = PartTranscript { segments, language };
            let json = write_transcript(&transcript).unwrap();
            prop_assert_eq!(read_transcript(&json).unwrap(), transcript);
        }

        #[test]
        fn vectors_round_trip(vector in prop::collection::vec(any::<f32>(), 0..20)) {
            let back = read_vector(&write_vector(&vector));
            prop_assert_eq!(back.iter().map(|x| x.to_bits()).collect::<Vec<_>>(), vector.iter().map(|x| x.to_bits()).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_number_that_json_cannot_hold_is_left_out() {
        let segment = Segment {
            confidence: Some(f32::NAN),
            text: "x".into(),
            ..Segment::default()
        };
        let json = write_transcript(&PartTranscript {
            segments: vec![segment],
            language: None,
        })
        .unwrap();
        assert_eq!(read_transcript(&json).unwrap().segments[0].confidence, None);
    }

    #[test]
    fn headers_round_trip_and_fields_of_other_versions_are_ignored() {
        let media = Media {
            container: "wav".into(),
            duration: Some(MediaTime::from_millis(5)),
            chapters: vec![Chapter {
                start: MediaTime::from_millis(3),
                title: "Two".into(),
            }],
            ..Media::default()
        };
        assert_eq!(read_media(&write_media(&media).unwrap()).unwrap(), media);
        assert_eq!(
            read_media(r#"{"container":"mp4","later":1}"#).unwrap().container,
            "mp4"
        );
        assert!(read_media("[").is_err());
    }
}
