//! From the units of a transcript to chunks, and to the texts that have to be embedded for them.

use super::build::Draft;
use super::{Indexer, embed};
use audiorag_core::Result;
use audiorag_core::chunking::{self, ChunkStrategy, Surroundings, Unit};
use audiorag_core::id::{ChunkId, EmbeddingKey, RevisionId, SourceId};
use audiorag_core::model::{Chunk, Media};
use audiorag_state::NewChunk;
use std::collections::BTreeSet;

/// What chunks are cut from.
#[derive(Clone, Copy)]
pub(super) struct Material<'a> {
    pub(super) units: &'a [Unit],
    /// The title in the header of each chunk.
    pub(super) header: Option<&'a str>,
    pub(super) media: &'a Media,
}

impl<'a> Material<'a> {
    fn surroundings(&self) -> Surroundings<'a> {
        Surroundings {
            title: self.header,
            date: self.media.date.as_deref(),
            chapters: &self.media.chapters,
        }
    }
}

impl Indexer {
    /// The chunks of some units, with the keys of their vectors. `changes` are the units with which subjects change.
    pub(super) fn cut(
        &self,
        material: Material<'_>,
        changes: &BTreeSet<usize>,
        source_id: &SourceId,
        revision: RevisionId,
    ) -> Vec<NewChunk> {
        let settings = &self.settings.chunks;
        chunking::chunk_at(material.units, changes, settings, material.surroundings())
            .into_iter()
            .map(|chunk| NewChunk {
                id: ChunkId::of(source_id, revision, chunk.index, chunk.span, &chunk.text),
                embedding_key: self.key_of(&chunk),
                chunk,
            })
            .collect()
    }

    fn key_of(&self, chunk: &Chunk) -> EmbeddingKey {
        EmbeddingKey::of(&chunk.embedded_text(), self.embedder.space())
    }

    /// The units of a draft with which subjects change, for the strategy that asks for them. Their vectors are kept, so
    /// that they are computed once.
    pub(super) async fn changes(&self, draft: Draft<'_>, units: &[Unit]) -> Result<BTreeSet<usize>> {
        let sentences: Vec<NewChunk> = self
            .sentences(units)
            .into_iter()
            .map(|chunk| NewChunk {
                id: ChunkId::of(
                    draft.source_id,
                    draft.revision,
                    chunk.index,
                    chunk.span,
                    &chunk.text,
                ),
                embedding_key: self.key_of(&chunk),
                chunk,
            })
            .collect();
        if sentences.is_empty() {
            return Ok(BTreeSet::new());
        }
        let batch = self.settings.embedding_batch;
        embed::embed(
            &self.state,
            &self.embedder,
            batch,
            draft.lease,
            &sentences,
            draft.cancel,
        )
        .await?;
        let keys: Vec<EmbeddingKey> = sentences.into_iter().map(|new| new.embedding_key).collect();
        let stored = self.state.cached_embeddings(&keys).await?;
        // All of them were stored a moment ago; one that was removed since is like no other.
        let vectors: Vec<&[f32]> = keys
            .iter()
            .map(|key| stored.get(key).map_or(&[][..], Vec::as_slice))
            .collect();
        Ok(chunking::topics(&vectors))
    }

    /// The units as they are embedded to find changes of subject; none for other strategies.
    fn sentences(&self, units: &[Unit]) -> Vec<Chunk> {
        if self.settings.chunks.strategy() != ChunkStrategy::Semantic {
            return Vec::new();
        }
        (0..)
            .zip(units)
            .map(|(index, unit)| Chunk {
                index,
                span: unit.span,
                text: unit.text.clone(),
                times: unit.times,
                header: None,
                speakers: Vec::new(),
                lines: Vec::new(),
            })
            .collect()
    }

    /// How many chunks some units give, and every text that is embedded for them. Where subjects change is not known
    /// before sentences are embedded, so these are the chunks of a recording with one subject.
    pub(super) fn to_embed(&self, material: Material<'_>) -> (usize, Vec<(EmbeddingKey, String)>) {
        let settings = &self.settings.chunks;
        let chunks = chunking::chunk_at(
            material.units,
            &BTreeSet::new(),
            settings,
            material.surroundings(),
        );
        let count = chunks.len();
        let texts = chunks
            .iter()
            .chain(&self.sentences(material.units))
            .map(|chunk| (self.key_of(chunk), chunk.embedded_text()))
            .collect();
        (count, texts)
    }
}
