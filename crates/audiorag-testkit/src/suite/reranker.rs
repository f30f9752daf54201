//! The contract of [`Reranker`].

use super::{check_health, check_info};
use audiorag_core::capability::{Ranked, Reranker};
use std::collections::BTreeSet;

const QUERY: &str = "How do glaciers shape valleys?";
const DOCUMENTS: [&str; 4] = [
    "The recipe asks for butter, sugar and three eggs.",
    "Our quarterly invoice is due on Friday.",
    "Glaciers shape valleys by carving rock as the ice moves.",
    "She plays the violin in a small orchestra.",
];

fn documents() -> Vec<String> {
    DOCUMENTS.iter().map(|text| (*text).to_owned()).collect()
}

/// Checks every line of the contract.
pub async fn run(reranker: &dyn Reranker) {
    check_info(reranker.info());
    let name = reranker.info().fingerprint();
    assert!(reranker.max_documents() > 0, "{name}: takes no documents");
    check_health(&name, &reranker.health_check().await);
    for top_n in [0, 1, 2, DOCUMENTS.len(), DOCUMENTS.len() + 10] {
        let ranked = rerank(&name, reranker, &documents(), top_n).await;
        if top_n > 0 {
            assert!(!ranked.is_empty(), "{name}: nothing is relevant at top_n {top_n}");
        }
    }
    rerank(
        &name,
        reranker,
        &[String::new(), "same".to_owned(), "same".to_owned()],
        3,
    )
    .await;
    let nothing = rerank(&name, reranker, &[], 5).await;
    assert!(nothing.is_empty(), "{name}: ranked documents that were not given");
}

/// For rerankers that judge: the one document about the question comes first.
pub async fn finds_the_relevant(reranker: &dyn Reranker) {
    let name = reranker.info().fingerprint();
    let ranked = rerank(&name, reranker, &documents(), 4).await;
    assert_eq!(
        ranked.first().map(|entry| entry.index),
        Some(2),
        "{name}: the relevant document is not first"
    );
}

async fn rerank(name: &str, reranker: &dyn Reranker, documents: &[String], top_n: usize) -> Vec<Ranked> {
    let ranked = match reranker.rerank(QUERY, documents, top_n).await {
        Ok(ranked) => ranked,
        Err(error) => panic!(
            "{name}: ranking {} documents failed: {}",
            documents.len(),
            error.report()
        ),
    };
    assert!(
        ranked.len() <= top_n,
        "{name}: {} entries where {top_n} were asked for",
        ranked.len()
    );
    let indices: BTreeSet<usize> = ranked.iter().map(|entry| entry.index).collect();
    assert_eq!(
        indices.len(),
        ranked.len(),
        "{name}: a document twice: {ranked:?}"
    );
    assert!(
        indices.iter().all(|index| *index < documents.len()),
        "{name}: an index outside: {ranked:?}"
    );
    assert!(
        ranked.iter().all(|entry| entry.score.is_finite()),
        "{name}: a score that is not finite"
    );
    assert!(
        ranked.is_sorted_by(|a, b| a.score >= b.score),
        "{name}: not best first: {ranked:?}"
    );
    ranked
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::FakeReranker;
    use async_trait::async_trait;
    use audiorag_core::Result;
    use audiorag_core::capability::{Health, ProviderInfo};

    struct Broken(FakeReranker, fn(&mut Vec<Ranked>));

    #[async_trait]
    impl Reranker for Broken {
        fn info(&self) -> &ProviderInfo {
            self.0.info()
        }
        fn max_documents(&self) -> usize {
            self.0.max_documents()
        }
        async fn rerank(&self, query: &str, documents: &[String], top_n: usize) -> Result<Vec<Ranked>> {
            let mut ranked = self.0.rerank(query, documents, top_n).await?;
            (self.1)(&mut ranked);
            Ok(ranked)
        }
        async fn health_check(&self) -> Health {
            self.0.health_check().await
        }
    }

    #[tokio::test]
    #[should_panic(expected = "not best first")]
    async fn notices_disorder() {
        run(&Broken(FakeReranker::new(), |ranked| ranked.reverse())).await;
    }

    #[tokio::test]
    #[should_panic(expected = "an index outside")]
    async fn notices_foreign_indices() {
        let foreign = |ranked: &mut Vec<Ranked>| {
            for entry in ranked {
                entry.index += 9;
            }
        };
        run(&Broken(FakeReranker::new(), foreign)).await;
    }
}
