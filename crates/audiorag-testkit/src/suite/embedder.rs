//! The contract of [`Embedder`].

use super::{check_health, check_info};
use audiorag_core::ErrorKind;
use audiorag_core::capability::{EmbedResponse, Embedder, InputType};

/// Texts without a common word, and of very different lengths, so that mixed-up answers show.
const TEXTS: [&str; 5] = [
    "It was the best of times, it was the worst of times.",
    "a",
    "Glaciers carve valleys out of solid rock.",
    "Zwölf große Boxkämpfer jagen Viktor quer über den Sylter Deich. 東京 🚀",
    "The invoice is due at the end of the month,\nand the landlord does not wait.",
];

/// Checks every line of the contract.
pub async fn run(embedder: &dyn Embedder) {
    check_info(embedder.info());
    let name = embedder.info().fingerprint();
    let (space, limits) = (embedder.space(), embedder.limits());
    assert!(
        space.dimensions > 0 && !space.model.is_empty(),
        "{name}: an empty space {space:?}"
    );
    assert!(
        limits.max_batch > 0 && limits.concurrency > 0 && limits.max_input_tokens > 0,
        "{name}: {limits:?}"
    );
    check_health(&name, &embedder.health_check().await);

    for input in [InputType::Document, InputType::Query] {
        keeps_number_and_order(&name, embedder, input).await;
    }
    takes_full_batches_and_long_texts(&name, embedder).await;
    takes_nothing(&name, embedder).await;
    refuses_too_many(&name, embedder).await;
}

async fn embed(name: &str, embedder: &dyn Embedder, texts: &[String], input: InputType) -> EmbedResponse {
    let response = match embedder.embed(texts, input).await {
        Ok(response) => response,
        Err(error) => panic!(
            "{name}: embedding {} texts failed: {}",
            texts.len(),
            error.report()
        ),
    };
    assert_eq!(
        response.vectors.len(),
        texts.len(),
        "{name}: not one vector for each text"
    );
    for vector in &response.vectors {
        assert_eq!(
            vector.len(),
            embedder.space().dimensions,
            "{name}: not the dimensions of its space"
        );
        assert!(
            vector.iter().all(|value| value.is_finite()),
            "{name}: a component that is not finite"
        );
        assert!(vector.iter().any(|value| *value != 0.0), "{name}: a zero vector");
    }
    response
}

fn similarity(a: &[f32], b: &[f32]) -> f32 {
    let norm = |vector: &[f32]| vector.iter().map(|x| x * x).sum::<f32>().sqrt();
    a.iter().zip(b).map(|(x, y)| x * y).sum::<f32>() / (norm(a) * norm(b))
}

/// The vectors of a batch are those of its texts alone, at their places.
async fn keeps_number_and_order(name: &str, embedder: &dyn Embedder, input: InputType) {
    let texts: Vec<String> = TEXTS.iter().map(|text| (*text).to_owned()).collect();
    let mut batched = Vec::new();
    for batch in texts.chunks(embedder.limits().max_batch) {
        batched.extend(embed(name, embedder, batch, input).await.vectors);
    }
    for (place, text) in texts.iter().enumerate() {
        let alone = embed(name, embedder, std::slice::from_ref(text), input)
            .await
            .vectors;
        let scores: Vec<f32> = batched
            .iter()
            .map(|vector| similarity(vector, &alone[0]))
            .collect();
        let best = (0..scores.len()).max_by(|a, b| scores[*a].total_cmp(&scores[*b]));
        assert_eq!(
            best,
            Some(place),
            "{name}: text {place} came back at another place ({input:?}): {scores:?}"
        );
        assert!(
            scores[place] > 0.98,
            "{name}: text {place} differs alone and in a batch: {}",
            scores[place]
        );
    }
}

async fn takes_full_batches_and_long_texts(name: &str, embedder: &dyn Embedder) {
    let limits = embedder.limits();
    let full: Vec<String> = (0..limits.max_batch.min(256))
        .map(|number| format!("sentence {number}"))
        .collect();
    embed(name, embedder, &full, InputType::Document).await;
    // Longer than the model reads: cut by the model, not refused.
    let long = "speech ".repeat(limits.max_input_tokens.min(20_000) + 50);
    embed(name, embedder, &[long], InputType::Document).await;
}

async fn takes_nothing(name: &str, embedder: &dyn Embedder) {
    let response = embed(name, embedder, &[], InputType::Document).await;
    assert_eq!(response.usage.requests, 0, "{name}: no texts cost a call");
}

async fn refuses_too_many(name: &str, embedder: &dyn Embedder) {
    // A limit beyond this cannot be exceeded by mistake.
    const REACHABLE: usize = 100_000;
    let max = embedder.limits().max_batch;
    if max < REACHABLE {
        let error = embedder
            .embed(&vec!["x".to_owned(); max + 1], InputType::Document)
            .await;
        let kind = error.err().map(|error| error.kind());
        assert_eq!(
            kind,
            Some(ErrorKind::Input),
            "{name}: {} texts where {max} fit",
            max + 1
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::HashEmbedder;
    use async_trait::async_trait;
    use audiorag_core::Result;
    use audiorag_core::capability::{EmbedderLimits, Health, ProviderInfo};
    use audiorag_core::model::EmbeddingSpace;

    struct Broken(HashEmbedder, fn(&mut Vec<Vec<f32>>));

    #[async_trait]
    impl Embedder for Broken {
        fn info(&self) -> &ProviderInfo {
            self.0.info()
        }
        fn space(&self) -> &EmbeddingSpace {
            self.0.space()
        }
        fn limits(&self) -> EmbedderLimits {
            self.0.limits()
        }
        async fn embed(&self, texts: &[String], input: InputType) -> Result<EmbedResponse> {
            let mut response = self.0.embed(texts, input).await?;
            (self.1)(&mut response.vectors);
            Ok(response)
        }
        async fn health_check(&self) -> Health {
            self.0.health_check().await
        }
    }

    async fn broken(breakage: fn(&mut Vec<Vec<f32>>)) {
        run(&Broken(HashEmbedder::new(64), breakage)).await;
    }

    #[tokio::test]
    #[should_panic(expected = "another place")]
    async fn notices_disorder() {
        broken(|vectors| vectors.reverse()).await;
    }

    #[tokio::test]
    #[should_panic(expected = "not one vector")]
    async fn notices_a_missing_vector() {
        broken(|vectors| drop(vectors.pop())).await;
    }

    #[tokio::test]
    #[should_panic(expected = "not the dimensions")]
    async fn notices_wrong_dimensions() {
        broken(|vectors| vectors.iter_mut().for_each(|vector| vector.truncate(63))).await;
    }

    #[tokio::test]
    #[should_panic(expected = "zero vector")]
    async fn notices_zeros() {
        broken(|vectors| vectors.iter_mut().for_each(|vector| vector.fill(0.0))).await;
    }
}
