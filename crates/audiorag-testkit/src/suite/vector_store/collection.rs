//! Records that differ in everything a filter can ask for, and the exact answers about them.

use crate::fake::passes;
use crate::synth::Random;
use audiorag_core::Span;
use audiorag_core::capability::{VectorMatch, VectorRecord};
use audiorag_core::id::{ChunkId, EmbeddingKey, RevisionId, SourceId};
use audiorag_core::model::{EmbeddingSpace, Filter};

/// A space and records in it that differ in everything a filter can ask for.
#[derive(Clone, Debug)]
pub struct Collection {
    /// What the vectors belong to.
    pub space: EmbeddingSpace,
    /// The records. Sources, speakers, languages, dates and times take turns at coprime periods.
    pub records: Vec<VectorRecord>,
}

impl Collection {
    /// `count` records of `dimensions` components, the same on every call.
    pub fn new(dimensions: usize, count: usize) -> Self {
        let space = EmbeddingSpace {
            provider: "fake".to_owned(),
            model: format!("model-{dimensions}"),
            dimensions,
        };
        let records = (0..count).map(|number| record(&space, number)).collect();
        Self { space, records }
    }

    /// The matches that an exact search gives.
    pub fn search(&self, vector: &[f32], top_k: usize, filter: &Filter) -> Vec<VectorMatch> {
        let mut matches: Vec<VectorMatch> = self
            .records
            .iter()
            .filter(|record| passes(filter, record))
            .map(|record| VectorMatch {
                id: record.id.clone(),
                score: similarity(vector, &record.vector),
            })
            .collect();
        matches.sort_by(|a, b| b.score.total_cmp(&a.score));
        matches.truncate(top_k);
        matches
    }
}

pub(super) fn similarity(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

pub(super) fn source(number: usize) -> SourceId {
    SourceId::from_stored(format!("{number:032x}"))
}

pub(super) fn vector(space: &EmbeddingSpace, seed: u64) -> Vec<f32> {
    let mut random = Random::new(seed);
    let mut vector: Vec<f32> = (0..space.dimensions).map(|_| random.between(-1.0, 1.0)).collect();
    space
        .normalize(&mut vector)
        .expect("a random vector has a direction");
    vector
}

fn record(space: &EmbeddingSpace, number: usize) -> VectorRecord {
    let source_id = source(number % 5);
    let revision = RevisionId(1 + (number % 2) as i64);
    let start = number as u64 * 1_000;
    let span = Span::from_millis(start, start + 1_500);
    let text = format!("passage {number} says \"ünïcode\" and; --quotes'");
    VectorRecord {
        id: ChunkId::of(&source_id, revision, number as u32, span, &text),
        source_id,
        revision,
        embedding_key: EmbeddingKey::of(&text, space),
        vector: vector(space, number as u64),
        span,
        text,
        title: format!("Title {}", number % 5),
        speakers: match number % 3 {
            0 => Vec::new(),
            1 => vec!["Ada".to_owned()],
            _ => vec!["Ada".to_owned(), "Bo 'x' \"y\", z".to_owned()],
        },
        language: [None, Some("en"), Some("de"), Some("fr")][number % 4].map(str::to_owned),
        date: (!number.is_multiple_of(7))
            .then(|| format!("2026-{:02}-{:02}", number % 12 + 1, number % 28 + 1)),
    }
}
