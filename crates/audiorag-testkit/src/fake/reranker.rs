//! Relevance without a model.

use super::{Script, health, info};
use async_trait::async_trait;
use audiorag_core::capability::{Health, ProviderInfo, Ranked, Reranker};
use audiorag_core::{Error, Result};
use std::collections::BTreeSet;

/// A reranker that counts the words a document shares with the query; earlier documents win ties.
pub struct FakeReranker {
    info: ProviderInfo,
    max_documents: usize,
    script: Script,
}

impl Default for FakeReranker {
    fn default() -> Self {
        Self {
            info: info("reranker"),
            max_documents: 100,
            script: Script::default(),
        }
    }
}

impl FakeReranker {
    /// Takes up to 100 documents.
    pub fn new() -> Self {
        Self::default()
    }

    /// Failures, delays and counts.
    pub fn script(&self) -> &Script {
        &self.script
    }
}

fn words(text: &str) -> BTreeSet<String> {
    text.split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
        .collect()
}

#[async_trait]
impl Reranker for FakeReranker {
    fn info(&self) -> &ProviderInfo {
        &self.info
    }

    fn max_documents(&self) -> usize {
        self.max_documents
    }

    async fn rerank(&self, query: &str, documents: &[String], top_n: usize) -> Result<Vec<Ranked>> {
        if documents.is_empty() || top_n == 0 {
            return Ok(Vec::new());
        }
        if documents.len() > self.max_documents {
            return Err(Error::input(format!(
                "{} documents where {} fit",
                documents.len(),
                self.max_documents
            )));
        }
        let (_, ticket) = self.script.enter().await?;
        let asked = words(query);
        let mut ranked: Vec<Ranked> = documents
            .iter()
            .enumerate()
            .map(|(index, text)| Ranked {
                index,
                score: words(text).intersection(&asked).count() as f32,
            })
            .collect();
        ranked.sort_by(|a, b| b.score.total_cmp(&a.score));
        ranked.truncate(top_n);
        ticket.succeed();
        Ok(ranked)
    }

    async fn health_check(&self) -> Health {
        health(&self.script)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use audiorag_core::ErrorKind;

    #[tokio::test]
    async fn honours_the_contract() {
        let fake = FakeReranker::new();
        crate::suite::reranker::run(&fake).await;
        crate::suite::reranker::finds_the_relevant(&fake).await;
    }

    #[tokio::test]
    async fn fails_when_told_and_refuses_too_many() {
        let fake = FakeReranker::new();
        fake.script().fail_from(1, ErrorKind::Timeout);
        let error = fake.rerank("q", &["d".to_owned()], 1).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout);
        let many = vec![String::new(); 101];
        assert_eq!(
            fake.rerank("q", &many, 1).await.unwrap_err().kind(),
            ErrorKind::Input
        );
    }
}
