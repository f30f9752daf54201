//! What the tests of the verbs share: a temporary database and short ways to fill it.

use audiorag_core::id::{ChunkId, ConfigHash, ContentHash, EmbeddingKey, PartKey, RevisionId, SourceId};
use audiorag_core::model::{
    Chunk, ChunkLine, EmbeddingSpace, Fingerprint, Media, PartTranscript, Segment, SourceStatus, TimeQuality,
};
use audiorag_core::{Locator, MediaTime, Span};
use audiorag_state::{
    Claim, Lease, NewChunk, NewSource, NewTranscript, Owner, PartRow, RevisionFacts, RevisionPlan,
    SourceRecord, State, StateOptions,
};
use std::path::PathBuf;
use std::time::Duration;
use tempfile::TempDir;

pub(crate) const TTL: Duration = Duration::from_mins(1);

/// A state in a directory that goes with it.
pub(crate) struct Scratch {
    pub(crate) state: State,
    pub(crate) directory: TempDir,
}

impl Scratch {
    pub(crate) async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let state = State::open(StateOptions::new(directory.path().join("state.db")))
            .await
            .unwrap();
        Self { state, directory }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.directory.path().join("state.db")
    }

    pub(crate) async fn add(&self, path: &str) -> SourceRecord {
        self.state.add_source(&new_source(path)).await.unwrap()
    }

    pub(crate) async fn lease(&self, id: &SourceId) -> Lease {
        lease(&self.state, id).await
    }

    /// Adds a source and publishes one revision with a chunk for each text.
    pub(crate) async fn publish(&self, path: &str, texts: &[&str]) -> (SourceRecord, RevisionId) {
        let source = self.add(path).await;
        let lease = self.lease(&source.id).await;
        let revision = build(&self.state, &lease, "config", texts).await;
        self.state
            .publish_revision(&lease, revision, SourceStatus::Completed)
            .await
            .unwrap();
        self.state
            .release(&lease, &audiorag_state::Outcome::Done)
            .await
            .unwrap();
        (self.state.source(&source.id).await.unwrap().unwrap(), revision)
    }
}

pub(crate) fn file(path: &str) -> Locator {
    Locator::File(PathBuf::from(path))
}

pub(crate) fn content(name: &str) -> ContentHash {
    ContentHash::from_stored(format!("content-of-{name}"))
}

pub(crate) fn fingerprint(name: &str) -> Fingerprint {
    Fingerprint {
        content: content(name),
        bytes: 1000,
        modified: Some(5),
    }
}

pub(crate) fn new_source(path: &str) -> NewSource {
    NewSource {
        locator: file(path),
        fingerprint: Some(fingerprint(path)),
        media: Some(Media {
            container: "wav".into(),
            date: Some("2026-03".into()),
            ..Media::default()
        }),
        title: None,
    }
}

pub(crate) fn owner(pid: u32) -> Owner {
    Owner {
        host: "here".into(),
        pid,
        started_at: 7,
    }
}

pub(crate) async fn lease(state: &State, id: &SourceId) -> Lease {
    match state.claim(id, &owner(1), TTL, &|_| true).await.unwrap() {
        Claim::Granted(lease) => lease,
        Claim::Busy(owner) => panic!("held by {owner}"),
    }
}

pub(crate) fn space() -> EmbeddingSpace {
    EmbeddingSpace {
        provider: "test".into(),
        model: "small".into(),
        dimensions: 3,
    }
}

pub(crate) fn plan(config: &str) -> RevisionPlan {
    RevisionPlan {
        content: content("x"),
        config: ConfigHash::from_stored(config),
        config_json: "{}".into(),
        space: space(),
    }
}

pub(crate) fn chunk(source: &SourceId, revision: RevisionId, index: u32, text: &str) -> NewChunk {
    let span = Span::from_millis(u64::from(index) * 1000, u64::from(index) * 1000 + 900);
    let chunk = Chunk {
        index,
        span,
        text: text.to_owned(),
        header: None,
        speakers: vec!["Ada".to_owned()],
        lines: vec![ChunkLine {
            from: 0,
            to: text.len(),
            span,
            speaker: Some("Ada".to_owned()),
            times: TimeQuality::Estimated,
        }],
        times: TimeQuality::Measured,
    };
    NewChunk {
        id: ChunkId::of(source, revision, index, span, text),
        embedding_key: EmbeddingKey::of(text, &space()),
        chunk,
    }
}

/// Builds a revision up to its chunks: one part with a transcript, one chunk for each text.
pub(crate) async fn build(state: &State, lease: &Lease, config: &str, texts: &[&str]) -> RevisionId {
    build_of(state, lease, plan(config), texts).await
}

/// The same for a plan.
pub(crate) async fn build_of(state: &State, lease: &Lease, plan: RevisionPlan, texts: &[&str]) -> RevisionId {
    let revision = state.begin_revision(lease, &plan).await.unwrap();
    let config = plan.config.as_str();
    let key = PartKey::from_stored(format!("part-{}-{config}", lease.source_id));
    let end = texts.len() as u64 * 1000;
    let span = Span::from_millis(0, end);
    let segments = texts
        .iter()
        .enumerate()
        .map(|(index, text)| Segment {
            span: Span::from_millis(index as u64 * 1000, index as u64 * 1000 + 900),
            text: (*text).to_owned(),
            ..Segment::default()
        })
        .collect();
    let transcript = PartTranscript {
        segments,
        language: Some("en".into()),
    };
    state
        .save_part_transcript(
            lease,
            &key,
            &NewTranscript {
                content: &plan.content,
                span,
                provider: "test/m@1",
                transcript: &transcript,
                paid: None,
            },
        )
        .await
        .unwrap();
    state
        .record_part(
            lease,
            revision,
            &PartRow {
                index: 0,
                span,
                key: Some(key),
            },
        )
        .await
        .unwrap();
    let chunks: Vec<NewChunk> = texts
        .iter()
        .enumerate()
        .map(|(index, text)| chunk(&lease.source_id, revision, index as u32, text))
        .collect();
    let facts = RevisionFacts {
        duration: MediaTime::from_millis(end),
        language: Some("en".into()),
    };
    state.save_chunks(lease, revision, &facts, &chunks).await.unwrap();
    revision
}
