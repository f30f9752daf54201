//! What a check of the state finds, in words for people and for programs.

use audiorag_core::id::{RevisionId, SourceId};

/// What must hold of the state and its indexes at any time; `docs/invariants.md` says why, and what mends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Invariant {
    /// I1: every chunk of a live revision is in the vector store and in the lexical index exactly once.
    Searchable,
    /// I2: the parts of a live revision tile its source, and its chunks follow each other inside it.
    Spans,
    /// I3: the vector store holds no vector that nothing refers to.
    Orphans,
    /// I4: every call that waits for its end has a living owner.
    Calls,
    /// I5: statuses, claims and live revisions say the same.
    Statuses,
    /// I6: everything that the state names exists.
    Names,
}

impl Invariant {
    /// Every invariant, by number.
    pub const ALL: [Self; 6] = [
        Self::Searchable,
        Self::Spans,
        Self::Orphans,
        Self::Calls,
        Self::Statuses,
        Self::Names,
    ];

    /// `I1` to `I6`.
    pub const fn id(self) -> &'static str {
        match self {
            Self::Searchable => "I1",
            Self::Spans => "I2",
            Self::Orphans => "I3",
            Self::Calls => "I4",
            Self::Statuses => "I5",
            Self::Names => "I6",
        }
    }

    /// The invariant in one line.
    pub const fn statement(self) -> &'static str {
        match self {
            Self::Searchable => "every chunk is in the vector store and in the lexical index exactly once",
            Self::Spans => "parts tile their source, chunks follow each other inside it",
            Self::Orphans => "no vector is left that nothing refers to",
            Self::Calls => "every open call has a living owner",
            Self::Statuses => "statuses, claims and live revisions agree",
            Self::Names => "everything that the state names exists",
        }
    }
}

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Severity {
    /// To be expected, and no harm done: what a crash leaves for the next run, or a recording that was moved away.
    Notice,
    /// An invariant is broken.
    Damage,
}

impl Severity {
    /// `notice` or `damage`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Notice => "notice",
            Self::Damage => "damage",
        }
    }
}

/// What mends a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Remedy {
    /// A correction inside the database.
    State,
    /// Writing to the vector store what is cached.
    Store,
    /// Embedding texts again, which may cost money.
    Embed,
    /// Building the source anew from its recording; what is cached is used.
    Rebuild,
    /// Nothing that a program may do by itself.
    None,
}

macro_rules! problems {
    ($($(#[$doc:meta])* $name:ident = $text:literal, $invariant:ident, $severity:ident, $remedy:ident;)*) => {
        /// One way in which an invariant can be broken.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum Problem {
            $($(#[$doc])* $name,)*
        }

        impl Problem {
            /// Every problem.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The stable lower-case name used in JSON.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// The invariant that it breaks.
            pub const fn invariant(self) -> Invariant {
                match self { $(Self::$name => Invariant::$invariant,)* }
            }

            /// How much it matters.
            pub const fn severity(self) -> Severity {
                match self { $(Self::$name => Severity::$severity,)* }
            }

            /// What mends it.
            pub const fn remedy(self) -> Remedy {
                match self { $(Self::$name => Remedy::$remedy,)* }
            }
        }
    };
}

problems! {
    /// Chunks of a live revision that are not in the vector store as they should be.
    VectorsMissing = "vectors_missing", Searchable, Damage, Store;
    /// Chunks of a live revision whose vector is not cached, or cached with a wrong length.
    EmbeddingsMissing = "embeddings_missing", Searchable, Damage, Embed;
    /// Rows of the lexical index that do not stand for the text of a chunk, or chunks without one.
    LexicalIndex = "lexical_index", Searchable, Damage, State;
    /// A revision that says it has fewer chunks than it has.
    ChunkCount = "chunk_count", Searchable, Damage, State;
    /// Chunks of a live revision that are not in the database any more.
    ChunksLost = "chunks_lost", Searchable, Damage, Rebuild;
    /// Parts of a live revision that leave a gap, overlap, or do not end where the source ends.
    PartsGap = "parts_gap", Spans, Damage, Rebuild;
    /// Chunks of a live revision that go back in time or lie outside the source.
    ChunkOrder = "chunk_order", Spans, Damage, Rebuild;
    /// Vectors in the store that stand for no chunk of a live or unfinished revision.
    OrphanVectors = "orphan_vectors", Orphans, Damage, Store;
    /// Replaced revisions of which nobody remembers that their vectors have to go.
    Forgotten = "forgotten_retirement", Orphans, Damage, State;
    /// Replaced revisions whose vectors are still to be deleted: the next run does.
    Retiring = "pending_retirement", Orphans, Notice, Store;
    /// Vectors in the store that belong to no source of this database, or to one that was deleted.
    Strangers = "unknown_vectors", Orphans, Notice, None;
    /// Calls that were sent by a process that is gone: the next run closes them.
    OpenCalls = "open_calls", Calls, Notice, State;
    /// A source that is called searchable and has no live revision, or points to one that is not live.
    NoRevision = "no_live_revision", Statuses, Damage, State;
    /// A live revision that its source does not point to.
    SecondRevision = "second_live_revision", Statuses, Damage, State;
    /// A source with chunks that is called empty, or one without that is called complete.
    WrongStatus = "wrong_status", Statuses, Damage, State;
    /// A source that is said to be in work while nobody works on it.
    NobodyWorks = "nobody_works", Statuses, Damage, State;
    /// A live or unfinished revision that is listed for deletion.
    LiveRetirement = "live_retirement", Statuses, Damage, State;
    /// A claim of a process that is gone: the next run takes the source over.
    DeadClaim = "dead_claim", Statuses, Notice, State;
    /// Parts of a live revision whose transcript is not stored.
    TranscriptsMissing = "transcripts_missing", Names, Damage, Rebuild;
    /// A source whose recording is not where it was: answers go on, playing it does not.
    RecordingMissing = "recording_missing", Names, Notice, None;
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Finding {
    /// What is wrong.
    pub problem: Problem,
    /// The source that is concerned, where it is one.
    pub source: Option<SourceId>,
    /// The name of that source: where it is, or was.
    pub name: Option<String>,
    /// The revision that is concerned, where it is one.
    pub revision: Option<RevisionId>,
    /// How many of what the problem is about; 1 for the source itself.
    pub count: u64,
}

impl Finding {
    /// A finding about the database as a whole.
    pub fn new(problem: Problem, count: u64) -> Self {
        Self {
            problem,
            source: None,
            name: None,
            revision: None,
            count,
        }
    }

    /// The same about one source.
    #[must_use]
    pub fn of(mut self, source: SourceId, name: impl Into<String>) -> Self {
        self.source = Some(source);
        self.name = Some(name.into());
        self
    }

    /// The same about one revision.
    #[must_use]
    pub fn in_revision(mut self, revision: RevisionId) -> Self {
        self.revision = Some(revision);
        self
    }

    /// What is wrong, in one line.
    pub fn detail(&self) -> String {
        let text = self.sentence();
        match &self.name {
            Some(name) => format!("{name}: {text}"),
            None => text,
        }
    }

    fn sentence(&self) -> String {
        let some = |one: &str, many: &str| match self.count {
            1 => format!("1 {one}"),
            count => format!("{count} {many}"),
        };
        match self.problem {
            Problem::VectorsMissing => match self.count {
                1 => "1 chunk is missing from the vector store, or differs there".to_owned(),
                count => format!("{count} chunks are missing from the vector store, or differ there"),
            },
            Problem::EmbeddingsMissing => some("chunk has", "chunks have") + " no usable cached vector",
            Problem::LexicalIndex => "the lexical index does not match the chunks".to_owned(),
            Problem::ChunkCount => {
                some("chunk is", "chunks are") + " in the database that the revision does not count"
            }
            Problem::ChunksLost => some("chunk is", "chunks are") + " not in the database any more",
            Problem::PartsGap => {
                "the parts do not tile the recording: ".to_owned() + &some("place", "places")
            }
            Problem::ChunkOrder => {
                some("chunk goes", "chunks go") + " back in time or outside of the recording"
            }
            Problem::OrphanVectors => some("vector belongs", "vectors belong") + " to no revision in use",
            Problem::Forgotten => {
                some("replaced revision is", "replaced revisions are")
                    + " not listed for deletion from the vector store"
            }
            Problem::Retiring => {
                some("replaced revision waits", "replaced revisions wait")
                    + " to be deleted from the vector store"
            }
            Problem::Strangers => {
                some("vector", "vectors")
                    + " in the store of another database, or of sources that were deleted"
            }
            Problem::OpenCalls => some("call", "calls") + " of a process that is gone still counted as open",
            Problem::NoRevision => "points to no live revision, yet should have one".to_owned(),
            Problem::SecondRevision => {
                some("live revision", "live revisions") + " that the source does not point to"
            }
            Problem::WrongStatus => "the status does not fit the number of chunks".to_owned(),
            Problem::NobodyWorks => "is said to be in work, and nobody works on it".to_owned(),
            Problem::LiveRetirement => {
                some("revision in use is", "revisions in use are") + " listed for deletion"
            }
            Problem::DeadClaim => "claimed by a process that is gone; the next run takes it over".to_owned(),
            Problem::TranscriptsMissing => some("part has", "parts have") + " no stored transcript",
            Problem::RecordingMissing => {
                "the recording is not there: answers go on, it cannot be played".to_owned()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_problem_has_a_name_and_a_sentence_of_its_own() {
        let names: BTreeSet<&str> = Problem::ALL.iter().map(|problem| problem.as_str()).collect();
        let sentences: BTreeSet<String> = Problem::ALL
            .iter()
            .map(|problem| Finding::new(*problem, 2).detail())
            .collect();
        assert_eq!(
            (names.len(), sentences.len()),
            (Problem::ALL.len(), Problem::ALL.len())
        );
        // Open calls of the dead are what a kill leaves, and the next run closes them: I4 is the one that an
        // interruption alone breaks.
        for invariant in Invariant::ALL {
            let mut own = Problem::ALL
                .iter()
                .filter(|problem| problem.invariant() == invariant);
            let severity = if invariant == Invariant::Calls {
                Severity::Notice
            } else {
                Severity::Damage
            };
            assert!(
                own.any(|problem| problem.severity() == severity),
                "{} cannot be broken",
                invariant.id()
            );
        }
        let finding = Finding::new(Problem::ChunksLost, 1).of(SourceId::from_stored("x"), "/a.wav");
        assert_eq!(
            finding.detail(),
            "/a.wav: 1 chunk is not in the database any more"
        );
    }
}
