//! The vectors of sentences: made when a question comes near them, and kept for the next one.
//!
//! The index holds vectors of passages. Their sentences are embedded for the question that finds them, which takes most
//! of the time of an answer with local models, and money with a vendor's. Questions that follow one another find the
//! same passages again.

use crate::guard::Guarded;
use audiorag_core::capability::{Embedder, InputType};
use audiorag_core::{Error, Result, Stage};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// How many vectors one half of the memory holds: 2 × 2048 of 384 components are 6 MB.
const HALF: usize = 2_048;

/// Vectors of the sentences that were looked at last. Belongs to one embedder.
#[derive(Default)]
pub(crate) struct Memory(Mutex<Halves>);

/// Two generations: when the young one is full it becomes the old one, and what was old is forgotten. What is asked for
/// again is young again.
#[derive(Default)]
struct Halves {
    young: HashMap<String, Arc<[f32]>>,
    old: HashMap<String, Arc<[f32]>>,
}

impl Memory {
    fn get(&self, text: &str) -> Option<Arc<[f32]>> {
        let mut halves = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(vector) = halves.young.get(text) {
            return Some(Arc::clone(vector));
        }
        let vector = halves.old.remove(text)?;
        halves.keep(text.to_owned(), Arc::clone(&vector));
        Some(vector)
    }

    fn put(&self, text: String, vector: Arc<[f32]>) {
        let mut halves = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        halves.keep(text, vector);
    }
}

impl Halves {
    fn keep(&mut self, text: String, vector: Arc<[f32]>) {
        if self.young.len() >= HALF {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(text, vector);
    }
}

/// Embeds sentences, each once as long as it is remembered.
pub(crate) struct Sentences {
    pub(crate) embedder: Guarded<dyn Embedder>,
    pub(crate) memory: Arc<Memory>,
}

impl Sentences {
    /// The vectors of `texts`, in their order, of unit length.
    pub(super) async fn vectors(&self, texts: &[&str]) -> Result<Vec<Arc<[f32]>>> {
        let mut known: HashMap<&str, Arc<[f32]>> = HashMap::new();
        let mut missing: Vec<String> = Vec::new();
        for text in texts {
            if known.contains_key(text) || missing.iter().any(|other| other == text) {
                continue;
            }
            match self.memory.get(text) {
                Some(vector) => {
                    known.insert(text, vector);
                }
                None => missing.push((*text).to_owned()),
            }
        }
        let mut made: HashMap<String, Arc<[f32]>> = HashMap::with_capacity(missing.len());
        for batch in missing.chunks(self.embedder.limits().max_batch.max(1)) {
            let response = self
                .embedder
                .embed_now(batch, InputType::Document)
                .await
                .map_err(|error| error.with_stage(Stage::Generate))?;
            for (text, vector) in batch.iter().zip(response) {
                let vector: Arc<[f32]> = vector.into();
                self.memory.put(text.clone(), Arc::clone(&vector));
                made.insert(text.clone(), vector);
            }
        }
        texts
            .iter()
            .map(|text| known.get(text).or_else(|| made.get(*text)).cloned())
            .collect::<Option<_>>()
            .ok_or_else(|| Error::internal("a sentence was not embedded"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_asked_for_lately_is_remembered_and_the_memory_does_not_grow() {
        let memory = Memory::default();
        let vector: Arc<[f32]> = vec![1.0].into();
        memory.put("first".to_owned(), Arc::clone(&vector));
        memory.put("second".to_owned(), Arc::clone(&vector));
        for number in 0..HALF * 4 {
            memory.put(number.to_string(), Arc::clone(&vector));
            assert!(memory.get("first").is_some(), "forgotten at {number}");
        }
        assert!(memory.get("second").is_none());
        let halves = memory.0.lock().unwrap();
        assert!(halves.young.len() + halves.old.len() <= 2 * HALF);
    }
}
