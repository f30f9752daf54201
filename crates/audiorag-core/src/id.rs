//! Identifiers. All but [`RevisionId`] and [`OperationId`] are content addresses: equal input, equal id.

use crate::model::EmbeddingSpace;
use crate::{Locator, Span};
use sha2::{Digest, Sha256};
use std::fmt::{self, Write as _};

/// Hashes a sequence of fields so that no two different sequences share an encoding: each field is preceded by
/// its length, and the whole by a domain name.
#[derive(Clone)]
pub struct KeyHasher(Sha256);

impl KeyHasher {
    /// Starts a key of the given domain, such as `part/1`.
    pub fn new(domain: &str) -> Self {
        Self(Sha256::new()).bytes(domain.as_bytes())
    }

    /// Adds raw bytes.
    pub fn bytes(mut self, field: &[u8]) -> Self {
        self.0.update((field.len() as u64).to_le_bytes());
        self.0.update(field);
        self
    }

    /// Adds text.
    pub fn text(self, field: &str) -> Self {
        self.bytes(field.as_bytes())
    }

    /// Adds text that may be absent; absent differs from empty.
    pub fn optional(self, field: Option<&str>) -> Self {
        match field {
            Some(value) => self.bytes(&[1]).text(value),
            None => self.bytes(&[0]),
        }
    }

    /// Adds a number.
    pub fn number(self, field: u64) -> Self {
        self.bytes(&field.to_le_bytes())
    }

    /// The key as 64 lower-case hexadecimal digits.
    pub fn finish(self) -> String {
        hex(&self.0.finalize())
    }
}

/// Lower-case hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut out, byte| {
            let _ = write!(out, "{byte:02x}");
            out
        })
}

macro_rules! text_id {
    ($($(#[$doc:meta])* $name:ident;)*) => {
        $(
            $(#[$doc])*
            #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
            pub struct $name(String);

            impl $name {
                /// Takes over an id that was made earlier, for example one read from a database.
                pub fn from_stored(value: impl Into<String>) -> Self {
                    Self(value.into())
                }

                /// The id as text.
                pub fn as_str(&self) -> &str {
                    &self.0
                }
            }

            impl fmt::Display for $name {
                fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    f.pad(&self.0)
                }
            }
        )*
    };
}

text_id! {
    /// One recording: 32 hexadecimal digits made from the locator it was first seen under.
    SourceId;
    /// The SHA-256 of a recording's bytes, as 64 hexadecimal digits.
    ContentHash;
    /// A part's transcript: everything that can change what speech-to-text returns.
    PartKey;
    /// A text's vector: the text as embedded and the space it was embedded into.
    EmbeddingKey;
    /// One chunk of one revision.
    ChunkId;
    /// The settings that shape a revision.
    ConfigHash;
    /// One user-level call, in every log line of it.
    OperationId;
}

impl SourceId {
    /// The id of the recording first seen under `locator`.
    pub fn of(locator: &Locator) -> Self {
        let mut key = KeyHasher::new("source/1").text(&locator.to_uri()).finish();
        key.truncate(32);
        Self(key)
    }
}

impl ContentHash {
    /// The id of a SHA-256 digest.
    pub fn of_digest(digest: [u8; 32]) -> Self {
        Self(hex(&digest))
    }
}

/// What a part's transcript depends on.
#[derive(Clone, Debug)]
pub struct PartInputs<'a> {
    /// The recording's bytes.
    pub content: &'a ContentHash,
    /// The part's place in the recording.
    pub span: Span,
    /// How the audio was decoded and split, with a version.
    pub audio: &'a str,
    /// Provider and model, with a version of the code that drives it.
    pub transcriber: &'a str,
    /// The language asked for.
    pub language: Option<&'a str>,
    /// The prompt given.
    pub prompt: Option<&'a str>,
    /// Which request to transcribe again it was made for; `None` for the first transcript of the part.
    pub generation: Option<u64>,
}

impl PartKey {
    /// The key of a part's transcript.
    pub fn of(inputs: &PartInputs<'_>) -> Self {
        let key = KeyHasher::new("part/1")
            .text(inputs.content.as_str())
            .number(inputs.span.start().as_millis())
            .number(inputs.span.end().as_millis())
            .text(inputs.audio)
            .text(inputs.transcriber)
            .optional(inputs.language)
            .optional(inputs.prompt);
        // Nothing is added for the first one, so that keys are what they were before there were generations.
        Self(match inputs.generation {
            Some(generation) => key.number(generation).finish(),
            None => key.finish(),
        })
    }
}

impl EmbeddingKey {
    /// The key of `text` embedded as a document in `space`.
    pub fn of(text: &str, space: &EmbeddingSpace) -> Self {
        Self(
            KeyHasher::new("embedding/1")
                .text(&space.fingerprint())
                .text(text)
                .finish(),
        )
    }
}

impl ChunkId {
    /// The id of chunk number `index` of a revision. Identical texts at different places differ.
    pub fn of(source: &SourceId, revision: RevisionId, index: u32, span: Span, text: &str) -> Self {
        Self(
            KeyHasher::new("chunk/1")
                .text(source.as_str())
                .number(revision.0 as u64)
                .number(u64::from(index))
                .number(span.start().as_millis())
                .number(span.end().as_millis())
                .text(text)
                .finish(),
        )
    }
}

/// One complete indexing of a source, numbered by the state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RevisionId(pub i64);

impl fmt::Display for RevisionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbouring_fields_do_not_run_together() {
        let a = KeyHasher::new("t").text("ab").text("c").finish();
        let b = KeyHasher::new("t").text("a").text("bc").finish();
        assert_ne!(a, b);
        assert_ne!(
            KeyHasher::new("t").optional(None).finish(),
            KeyHasher::new("t").optional(Some("")).finish()
        );
    }

    #[test]
    fn identical_sentences_at_two_places_are_two_chunks() {
        let source = SourceId::from_stored("s");
        let at = |index, start| {
            ChunkId::of(
                &source,
                RevisionId(1),
                index,
                Span::from_millis(start, start + 10),
                "thank you",
            )
        };
        assert_ne!(at(0, 0), at(1, 10));
    }
}
