//! The values that flow through the index and query paths.

mod filter;

pub use filter::Filter;

use crate::cite::Unsupported;
use crate::id::{ChunkId, ContentHash, SourceId};
use crate::{Error, Locator, MediaTime, Result, Span};

/// The sample rate of all audio after decoding, in Hz.
pub const SAMPLE_RATE: u32 = 16_000;

/// What a recording's headers say, without decoding it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Media {
    /// Container, such as `wav`, `mp4` or `ogg`.
    pub container: String,
    /// Codec of the chosen track, such as `mp3` or `pcm_s16le`.
    pub codec: String,
    /// Samples a second of the chosen track.
    pub sample_rate: u32,
    /// Channels of the chosen track.
    pub channels: u16,
    /// Length as announced by the container; decoding decides.
    pub duration: Option<MediaTime>,
    /// Title tag.
    pub title: Option<String>,
    /// Artist, author or show.
    pub artist: Option<String>,
    /// Album or series.
    pub album: Option<String>,
    /// Recording or publication date as tagged, `YYYY`, `YYYY-MM` or `YYYY-MM-DD`.
    pub date: Option<String>,
    /// Language tag.
    pub language: Option<String>,
    /// Chapters, by start. Each lasts until the next one begins.
    pub chapters: Vec<Chapter>,
}

/// A named stretch of a source, as its makers divided it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chapter {
    /// Where it begins, in source time.
    pub start: MediaTime,
    /// Its name, one line, not empty.
    pub title: String,
}

impl Media {
    /// The same headers with what somebody who knows better says of the recording. What is measured stays, and so do
    /// chapters where nobody names others.
    #[must_use]
    pub fn corrected_by(mut self, said: &Self) -> Self {
        let fields = [
            (&mut self.title, &said.title),
            (&mut self.artist, &said.artist),
            (&mut self.album, &said.album),
            (&mut self.date, &said.date),
            (&mut self.language, &said.language),
        ];
        for (field, said) in fields {
            if said.is_some() {
                field.clone_from(said);
            }
        }
        if !said.chapters.is_empty() {
            self.chapters.clone_from(&said.chapters);
        }
        self
    }

    /// The tagged date as a day that can be compared, `YYYY-MM-DD`: a year or month alone stands for its first
    /// day. Tags of another form have no day.
    pub fn day(&self) -> Option<String> {
        let tag = self.date.as_deref()?.trim();
        // A time of day may follow.
        let day = tag.get(..10).unwrap_or(tag);
        let digits =
            |text: &str, length: usize| text.len() == length && text.bytes().all(|b| b.is_ascii_digit());
        let mut fields = day.split('-');
        let year = fields.next().filter(|year| digits(year, 4))?;
        let month = fields.next().unwrap_or("01");
        let day = fields.next().unwrap_or("01");
        (digits(month, 2) && digits(day, 2) && fields.next().is_none())
            .then(|| format!("{year}-{month}-{day}"))
    }
}

/// A contiguous piece of a source, decoded to mono at [`SAMPLE_RATE`].
///
/// The parts of a source tile it: the first starts at zero, each next one starts where the last ended, and the
/// final one ends at the source's duration.
#[derive(Clone, Debug, PartialEq)]
pub struct AudioPart {
    /// Position among the source's parts, from zero.
    pub index: u32,
    /// Place in the source.
    pub span: Span,
    /// Mono samples in −1 to 1.
    pub samples: Vec<f32>,
    /// Where speech was detected, in *source* time, inside [`span`](Self::span), sorted and disjoint.
    pub speech: Vec<Span>,
}

impl AudioPart {
    /// Whether any speech was detected. A part without speech is never sent to a transcriber.
    pub fn has_speech(&self) -> bool {
        !self.speech.is_empty()
    }
}

/// How exact a time is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum TimeQuality {
    /// Measured in the audio: by the vendor, or by voice activity detection.
    #[default]
    Measured,
    /// Interpolated inside a measured span.
    Estimated,
}

/// One word with its time.
#[derive(Clone, Debug, PartialEq)]
pub struct Word {
    /// When it is spoken.
    pub span: Span,
    /// The word with its punctuation.
    pub text: String,
    /// Probability from 0 to 1, where the vendor gives one.
    pub confidence: Option<f32>,
}

/// Why a segment is kept in the transcript but left out of the index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Suspicion {
    /// The text compresses too well to be speech (ratio above 2.4, as Whisper's own test has it).
    Repetitive,
    /// One n-gram loops through the whole segment.
    Looping,
    /// Low average log probability together with a high no-speech probability.
    Improbable,
    /// A phrase that models write over silence, with hardly any speech detected under it.
    Outro,
}

impl Suspicion {
    /// Every reason.
    pub const ALL: [Self; 4] = [Self::Repetitive, Self::Looping, Self::Improbable, Self::Outro];

    /// The stable lower-case name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Repetitive => "repetitive",
            Self::Looping => "looping",
            Self::Improbable => "improbable",
            Self::Outro => "outro",
        }
    }

    /// The reason with this name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == name)
    }
}

/// A stretch of speech and its text, as speech-to-text returned it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Segment {
    /// When it is spoken: relative to the part inside a [`PartTranscript`], to the source inside a
    /// [`Transcript`].
    pub span: Span,
    /// The text, trimmed and not empty.
    pub text: String,
    /// Who speaks, where known.
    pub speaker: Option<String>,
    /// Probability from 0 to 1, where the vendor gives one.
    pub confidence: Option<f32>,
    /// Words with times, where the vendor gives them.
    pub words: Vec<Word>,
    /// Whether the span was measured or interpolated.
    pub times: TimeQuality,
    /// Set when the segment looks like an invention of the model.
    pub suspicion: Option<Suspicion>,
}

/// What speech-to-text returned for one part. Times are relative to the part.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PartTranscript {
    /// Sorted by start.
    pub segments: Vec<Segment>,
    /// The language found or assumed, as a BCP 47 tag.
    pub language: Option<String>,
}

/// Everything that is said in a source, in source time.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Transcript {
    /// Sorted by start.
    pub segments: Vec<Segment>,
    /// The language of most parts.
    pub language: Option<String>,
    /// Length of the source.
    pub duration: MediaTime,
}

impl Transcript {
    /// The segments that go into the index: those without a [`Suspicion`].
    pub fn indexable(&self) -> impl Iterator<Item = &Segment> {
        self.segments.iter().filter(|segment| segment.suspicion.is_none())
    }
}

/// One sentence's place inside a chunk's text: what citations are narrowed to.
#[derive(Clone, Debug, PartialEq)]
pub struct ChunkLine {
    /// Where it begins in the chunk's text, in bytes.
    pub from: usize,
    /// Where it ends in the chunk's text, in bytes.
    pub to: usize,
    /// When it is spoken, in source time.
    pub span: Span,
    /// Who speaks, where known.
    pub speaker: Option<String>,
    /// Whether the span was measured or interpolated.
    pub times: TimeQuality,
}

/// The unit that is embedded and retrieved.
#[derive(Clone, Debug, PartialEq)]
pub struct Chunk {
    /// Position among the revision's chunks, from zero.
    pub index: u32,
    /// From the first segment's start to the last one's end.
    pub span: Span,
    /// The spoken text, exactly.
    pub text: String,
    /// Context such as title and speakers, embedded with the text but never quoted.
    pub header: Option<String>,
    /// Distinct speakers in order of appearance.
    pub speakers: Vec<String>,
    /// The sentences the text is made of, in order, covering it up to the white space between them.
    pub lines: Vec<ChunkLine>,
    /// Whether the chunk's own bounds were measured or interpolated.
    pub times: TimeQuality,
}

impl Chunk {
    /// The text as it is embedded: header, then text.
    pub fn embedded_text(&self) -> String {
        match &self.header {
            Some(header) => format!("{header}\n{}", self.text),
            None => self.text.clone(),
        }
    }
}

/// What makes two vectors comparable.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct EmbeddingSpace {
    /// Provider id, such as `local` or `openai`.
    pub provider: String,
    /// Model name, with whatever variant changes its output.
    pub model: String,
    /// Number of components.
    pub dimensions: usize,
}

impl EmbeddingSpace {
    /// One line that is equal exactly when vectors may be compared: `provider/model/dimensions`.
    pub fn fingerprint(&self) -> String {
        format!("{}/{}/{}", self.provider, self.model, self.dimensions)
    }

    /// Checks vectors against the space and brings them to unit length.
    ///
    /// # Errors
    /// [`Protocol`](crate::ErrorKind::Protocol) for a wrong number of components, values that are not finite,
    /// or a zero vector.
    pub fn normalize(&self, vector: &mut [f32]) -> Result<()> {
        if vector.len() != self.dimensions {
            return Err(Error::protocol(format!(
                "a vector of {} components where {} has {}",
                vector.len(),
                self.model,
                self.dimensions
            )));
        }
        let norm = vector
            .iter()
            .map(|x| f64::from(*x) * f64::from(*x))
            .sum::<f64>()
            .sqrt();
        if !norm.is_finite() || norm < 1e-12 {
            return Err(Error::protocol(format!(
                "{} returned a vector without direction",
                self.model
            )));
        }
        for x in vector.iter_mut() {
            *x = (f64::from(*x) / norm) as f32;
        }
        Ok(())
    }
}

/// The places of a hit in the rankings that were fused, from 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ranks {
    /// By similarity.
    pub dense: Option<u32>,
    /// By words.
    pub lexical: Option<u32>,
    /// By sound.
    pub sound: Option<u32>,
}

/// The scores a hit collected on its way; higher is better in each.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Scores {
    /// Cosine similarity, −1 to 1.
    pub dense: Option<f32>,
    /// Lexical relevance (negated BM25), unbounded.
    pub lexical: Option<f32>,
    /// How alike words of the same sound are, summed over the question's words that no recording has, and its numbers.
    pub sound: Option<f32>,
    /// Reciprocal rank fusion.
    pub fused: f32,
    /// The reranker's score, without a promised range.
    pub rerank: Option<f32>,
    /// Where each search had it.
    pub ranks: Ranks,
}

/// A retrieved chunk.
#[derive(Clone, Debug, PartialEq)]
pub struct Hit {
    /// The chunk.
    pub chunk_id: ChunkId,
    /// Its source.
    pub source_id: SourceId,
    /// The source's title.
    pub title: String,
    /// Where the source is.
    pub locator: Locator,
    /// When it is said.
    pub span: Span,
    /// The chapter in which it is said, for sources that have chapters.
    pub chapter: Option<String>,
    /// What is said.
    pub text: String,
    /// Who says it.
    pub speakers: Vec<String>,
    /// The sentences the text is made of.
    pub lines: Vec<ChunkLine>,
    /// Whether the bounds were measured or interpolated.
    pub times: TimeQuality,
    /// Why it was found.
    pub scores: Scores,
}

/// A span of a source that supports a statement of an answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Citation {
    /// The number in the answer's text, from 1.
    pub marker: u32,
    /// The source.
    pub source_id: SourceId,
    /// The source's title.
    pub title: String,
    /// Where the source is.
    pub locator: Locator,
    /// When the quoted words are said.
    pub span: Span,
    /// The words, exactly as transcribed.
    pub quote: String,
    /// Opens the source at the span.
    pub link: String,
    /// Who says it.
    pub speakers: Vec<String>,
    /// Similarity of the quote to the question.
    pub score: f32,
    /// Whether the bounds were measured or interpolated.
    pub times: TimeQuality,
}

/// The reply to a question.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Answer {
    /// The reply with `[n]` markers. Empty when nothing was found.
    pub text: String,
    /// One for each marker in the text, in order.
    pub citations: Vec<Citation>,
    /// What was retrieved, best first.
    pub passages: Vec<Hit>,
    /// Stages that were skipped because they failed.
    pub degraded: Vec<String>,
    /// `provider/model` of the generator, or `extractive`.
    pub model: String,
    /// Why there is no answer, when there is none.
    pub abstained: Option<Abstention>,
    /// Markers of the generator that named no passage and were taken out.
    pub removed_citations: usize,
    /// Statements of the text that what they cite does not carry.
    pub unsupported: Vec<Unsupported>,
}

/// Why a question is not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Abstention {
    /// No passage was found.
    NoPassages,
    /// No sentence of the passages is near enough to the question. No generator was asked.
    WeakEvidence,
    /// The generator read the passages and found no answer in them.
    Generator,
}

impl Abstention {
    /// The stable lower-case name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoPassages => "no_passages",
            Self::WeakEvidence => "weak_evidence",
            Self::Generator => "generator",
        }
    }
}

impl Answer {
    /// Whether there is anything to say.
    pub fn is_found(&self) -> bool {
        !self.citations.is_empty()
    }
}

/// Where a source stands. The names are those of the Python AudioRAG, so that scripts keep working.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SourceStatus {
    /// Known, nothing done yet, or to be resumed.
    Pending,
    /// Remote bytes are being fetched.
    Downloading,
    /// The bytes are here.
    Downloaded,
    /// Being decoded and split.
    Splitting,
    /// Parts are being transcribed.
    Transcribing,
    /// All parts have a transcript.
    Transcribed,
    /// Being cut into chunks.
    Chunking,
    /// Chunks are stored.
    Chunked,
    /// Chunks are being embedded.
    Embedding,
    /// All chunks have vectors.
    Embedded,
    /// Searchable.
    Completed,
    /// Searched through: no speech in it.
    Empty,
    /// The last attempt failed; an earlier revision may still be searchable.
    Failed,
    /// The last attempt was cancelled.
    Cancelled,
}

impl SourceStatus {
    /// Every status in the order of the index path.
    pub const ALL: [Self; 14] = [
        Self::Pending,
        Self::Downloading,
        Self::Downloaded,
        Self::Splitting,
        Self::Transcribing,
        Self::Transcribed,
        Self::Chunking,
        Self::Chunked,
        Self::Embedding,
        Self::Embedded,
        Self::Completed,
        Self::Empty,
        Self::Failed,
        Self::Cancelled,
    ];

    /// The stable lower-case name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Downloading => "downloading",
            Self::Downloaded => "downloaded",
            Self::Splitting => "splitting",
            Self::Transcribing => "transcribing",
            Self::Transcribed => "transcribed",
            Self::Chunking => "chunking",
            Self::Chunked => "chunked",
            Self::Embedding => "embedding",
            Self::Embedded => "embedded",
            Self::Completed => "completed",
            Self::Empty => "empty",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// The status with this name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == name)
    }
}

/// The bytes of a source, hashed.
#[derive(Clone, Debug, PartialEq)]
pub struct Fingerprint {
    /// SHA-256 of the bytes.
    pub content: ContentHash,
    /// Their number.
    pub bytes: u64,
    /// Modification time in nanoseconds since 1970.
    pub modified: Option<i64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_are_checked_and_normalized() {
        let space = EmbeddingSpace {
            provider: "p".into(),
            model: "m".into(),
            dimensions: 2,
        };
        let mut vector = [3.0, 4.0];
        space.normalize(&mut vector).unwrap();
        assert!(
            (vector[0] - 0.6).abs() < 1e-6 && (vector[1] - 0.8).abs() < 1e-6,
            "{vector:?}"
        );
        assert!(space.normalize(&mut [1.0]).is_err());
        assert!(space.normalize(&mut [0.0, 0.0]).is_err());
        assert!(space.normalize(&mut [f32::NAN, 1.0]).is_err());
    }

    #[test]
    fn tagged_dates_become_days() {
        let day = |tag: &str| {
            Media {
                date: Some(tag.into()),
                ..Media::default()
            }
            .day()
        };
        assert_eq!(day("2026").as_deref(), Some("2026-01-01"));
        assert_eq!(day(" 2026-03").as_deref(), Some("2026-03-01"));
        assert_eq!(day("2026-03-31T10:00:00Z").as_deref(), Some("2026-03-31"));
        assert_eq!(day("31.3.2026"), None);
        assert_eq!(day("ünd-2026"), None);
    }

    #[test]
    fn status_names_round_trip() {
        for status in SourceStatus::ALL {
            assert_eq!(SourceStatus::parse(status.as_str()), Some(status));
        }
        for reason in Suspicion::ALL {
            assert_eq!(Suspicion::parse(reason.as_str()), Some(reason));
        }
    }
}
