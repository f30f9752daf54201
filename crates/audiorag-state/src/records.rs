//! What the verbs take and return.

use crate::journal::Settlement;
use audiorag_core::id::{ChunkId, ConfigHash, ContentHash, EmbeddingKey, PartKey, RevisionId, SourceId};
use audiorag_core::model::{
    Chunk, ChunkLine, EmbeddingSpace, Fingerprint, Media, PartTranscript, SourceStatus, TimeQuality,
};
use audiorag_core::{ErrorKind, Locator, MediaTime, Span, Stage};
use std::fmt;
use std::time::SystemTime;

/// What is known of a source when it is first seen.
#[derive(Clone, Debug, PartialEq)]
pub struct NewSource {
    /// Where it is.
    pub locator: Locator,
    /// Its bytes, where they were read already.
    pub fingerprint: Option<Fingerprint>,
    /// Its headers, where they were read already.
    pub media: Option<Media>,
    /// Its title; the locator's own when absent.
    pub title: Option<String>,
}

/// A source as stored.
#[derive(Clone, Debug, PartialEq)]
pub struct SourceRecord {
    /// The id, which outlives moves.
    pub id: SourceId,
    /// Where it is now.
    pub locator: Locator,
    /// Its title.
    pub title: String,
    /// The bytes it was last seen with.
    pub fingerprint: Option<Fingerprint>,
    /// Its headers.
    pub media: Option<Media>,
    /// Length as decoded for the live revision.
    pub duration: Option<MediaTime>,
    /// Where it stands.
    pub status: SourceStatus,
    /// Why the last attempt failed.
    pub failure: Option<Failure>,
    /// How often it was claimed.
    pub epoch: i64,
    /// Who works on it.
    pub owner: Option<Owner>,
    /// When that claim ends.
    pub lease_until: Option<SystemTime>,
    /// The revision that answers queries.
    pub active_revision: Option<RevisionId>,
    /// Chunks of that revision.
    pub chunk_count: u64,
    /// When it was first seen.
    pub created_at: SystemTime,
    /// When anything about it last changed.
    pub updated_at: SystemTime,
}

/// Why an attempt failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Where in the index path.
    pub stage: Option<Stage>,
    /// What the caller could do.
    pub kind: ErrorKind,
    /// One line.
    pub message: String,
}

/// A process that works on a source.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Owner {
    /// Where its process number means something: the name of the machine and, after a `/`, whatever else tells apart
    /// two places of that name.
    pub host: String,
    /// The process on that machine.
    pub pid: u32,
    /// Tells apart two processes that had the same number: when it started, in any unit.
    pub started_at: i64,
}

/// As in "in progress by pid 12 on HOST".
impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.host.split('/').next().unwrap_or_default();
        write!(f, "pid {} on {name}", self.pid)
    }
}

/// The right to change a source until somebody else claims it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The source.
    pub source_id: SourceId,
    /// The number of the claim. Commits under an older number are refused.
    pub epoch: i64,
}

/// The answer to a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claim {
    /// The source is the caller's.
    Granted(Lease),
    /// A living process holds it.
    Busy(Owner),
}

/// How work on a source ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// As planned; the status stays as it was set.
    Done,
    /// With an error. The live revision, if any, stays searchable.
    Failed(Failure),
    /// On request, or because the process is ending. The next run resumes.
    Cancelled,
}

/// What a new revision is made from.
#[derive(Clone, Debug, PartialEq)]
pub struct RevisionPlan {
    /// The bytes.
    pub content: ContentHash,
    /// The settings.
    pub config: ConfigHash,
    /// The same settings, readable.
    pub config_json: String,
    /// What its vectors can be compared with.
    pub space: EmbeddingSpace,
}

/// One part of a revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartRow {
    /// Position among the parts, from zero.
    pub index: u32,
    /// Place in the source.
    pub span: Span,
    /// Its transcript; absent where nobody speaks.
    pub key: Option<PartKey>,
}

/// The transcript of a part, as it came back.
#[derive(Clone, Copy, Debug)]
pub struct NewTranscript<'a> {
    /// The recording's bytes.
    pub content: &'a ContentHash,
    /// The part's place in it.
    pub span: Span,
    /// Who wrote it, as `vendor/model@version`; `given/FORMAT@version` for one that was not made by speech-to-text.
    pub provider: &'a str,
    /// What is said, in times of the part.
    pub transcript: &'a PartTranscript,
    /// The call it was paid with, closed in the same transaction.
    pub paid: Option<Settlement>,
}

/// What is known of a revision once its transcript is whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RevisionFacts {
    /// Length of the source as decoded.
    pub duration: MediaTime,
    /// The language of most parts.
    pub language: Option<String>,
}

/// A chunk to store.
#[derive(Clone, Debug, PartialEq)]
pub struct NewChunk {
    /// Its id.
    pub id: ChunkId,
    /// Its text and place.
    pub chunk: Chunk,
    /// Names its vector.
    pub embedding_key: EmbeddingKey,
}

/// A revision as stored.
#[derive(Clone, Debug, PartialEq)]
pub struct RevisionRecord {
    /// Its number.
    pub id: RevisionId,
    /// Its source.
    pub source_id: SourceId,
    /// The bytes it was made from.
    pub content: ContentHash,
    /// The settings it was made with.
    pub config: ConfigHash,
    /// The same settings, readable.
    pub config_json: String,
    /// What its vectors can be compared with.
    pub space: EmbeddingSpace,
    /// Length of the source as decoded.
    pub duration: MediaTime,
    /// The language of most parts.
    pub language: Option<String>,
    /// Its chunks.
    pub chunk_count: u64,
    /// When it was begun.
    pub created_at: SystemTime,
    /// When its vectors were found complete in the store, for one that waits to be published with others.
    pub verified_at: Option<SystemTime>,
    /// When it became visible.
    pub published_at: Option<SystemTime>,
}

/// What became of the attempt to switch all sources to another embedding space.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Switch {
    /// These sources have these revisions now; none when all were in the space already.
    Done(Vec<(SourceId, RevisionId)>),
    /// Nothing was changed: these sources have no verified revision in the space yet.
    Waiting(Vec<SourceId>),
}

/// What nobody needs any more: what [`State::garbage`](crate::State::garbage) counts and
/// [`State::collect_garbage`](crate::State::collect_garbage) removes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Garbage {
    /// Transcripts of parts.
    pub part_transcripts: u64,
    /// Their size.
    pub part_bytes: u64,
    /// Vectors.
    pub embeddings: u64,
    /// Their size.
    pub embedding_bytes: u64,
}

/// Which revisions were live at a moment: equal marks mean that none of them was replaced in between.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LiveMark(pub(crate) i64, pub(crate) i64);

/// A revision that was replaced, dropped or deleted, and whose vectors have still to go.
#[derive(Clone, Debug, PartialEq)]
pub struct Retirement {
    /// The source it belonged to, which may be gone.
    pub source_id: SourceId,
    /// The revision.
    pub revision: RevisionId,
    /// The space its vectors are in.
    pub space: EmbeddingSpace,
}

/// A chunk of a revision, with what is needed to show it.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredChunk {
    /// Its id.
    pub chunk_id: ChunkId,
    /// Its source.
    pub source_id: SourceId,
    /// Its revision.
    pub revision: RevisionId,
    /// Position among the revision's chunks, from zero.
    pub index: u32,
    /// When it is said.
    pub span: Span,
    /// What is said.
    pub text: String,
    /// What is embedded with the text but never quoted.
    pub header: Option<String>,
    /// Who says it.
    pub speakers: Vec<String>,
    /// The segments the text is made of.
    pub lines: Vec<ChunkLine>,
    /// Whether the bounds were measured or interpolated.
    pub times: TimeQuality,
    /// Names its vector.
    pub embedding_key: EmbeddingKey,
    /// The source's title.
    pub title: String,
    /// Where the source is.
    pub locator: Locator,
    /// The revision's language.
    pub language: Option<String>,
    /// The chapter in which its first segment lies, for sources that have chapters.
    pub chapter: Option<String>,
    /// The source's date as `YYYY-MM-DD`; the first day of a tagged year or month.
    pub date: Option<String>,
}

impl StoredChunk {
    /// The chunk as it was cut.
    pub fn chunk(&self) -> Chunk {
        Chunk {
            index: self.index,
            span: self.span,
            text: self.text.clone(),
            header: self.header.clone(),
            speakers: self.speakers.clone(),
            lines: self.lines.clone(),
            times: self.times,
        }
    }
}

/// Which cached results to drop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CacheKind {
    /// Transcripts of parts.
    Transcripts,
    /// Vectors.
    Embeddings,
    /// Both.
    All,
}

/// How much is kept so that it need not be paid for again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheStats {
    /// Transcripts of parts.
    pub part_transcripts: u64,
    /// Their size.
    pub part_bytes: u64,
    /// Those that no live or unfinished revision uses.
    pub unused_part_transcripts: u64,
    /// Their size.
    pub unused_part_bytes: u64,
    /// Vectors.
    pub embeddings: u64,
    /// Their size.
    pub embedding_bytes: u64,
    /// Those that no live or unfinished revision uses.
    pub unused_embeddings: u64,
    /// Their size.
    pub unused_embedding_bytes: u64,
}
