//! PostgreSQL 18.4 with pgvector 0.8.5.

use crate::process::Server;
use crate::{holds_ten_thousand, refuses_another_space, store};
use audiorag_core::ErrorKind;
use audiorag_core::capability::{HealthStatus, Selector, VectorStore};
use audiorag_core::model::Filter;
use audiorag_testkit::suite::vector_store::{self, Collection};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tempfile::TempDir;

fn table(server: &Server, name: &str) -> Arc<dyn VectorStore> {
    store(
        "pgvector",
        &[("pgvector.table", name)],
        &[("pgvector.url", &server.address)],
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn honours_the_contract() {
    let folder = TempDir::new().unwrap();
    let server = Server::postgres(folder.path());
    let number = AtomicUsize::new(0);
    vector_store::run(|| {
        let number = number.fetch_add(1, Ordering::Relaxed);
        std::future::ready(table(&server, &format!("contract_{number}")))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn holds_much_and_deletes_it_whole() {
    let folder = TempDir::new().unwrap();
    let server = Server::postgres(folder.path());
    holds_ten_thousand(&*table(&server, "large")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keeps_its_data_over_restarts() {
    let folder = TempDir::new().unwrap();
    let server = tokio::sync::Mutex::new(None::<Server>);
    vector_store::survives_reopening(async || {
        let mut server = server.lock().await;
        if let Some(running) = server.take() {
            running.stop();
        }
        let running = Server::postgres(folder.path());
        let store = table(&running, "kept");
        *server = Some(running);
        store
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wide_vectors_are_indexed_in_half_precision_or_not_at_all() {
    let folder = TempDir::new().unwrap();
    let server = Server::postgres(folder.path());
    for (name, dimensions) in [("half", 3_072), ("none", 4_100)] {
        let store = table(&server, name);
        let collection = Collection::new(dimensions, 40);
        store.prepare(&collection.space).await.unwrap();
        store.upsert(collection.records.clone()).await.unwrap();
        let vector = &collection.records[7].vector;
        let found = store.search(vector, 5, &Filter::default()).await.unwrap();
        let exact = collection.search(vector, 5, &Filter::default());
        let ids = |matches: &[audiorag_core::capability::VectorMatch]| {
            matches.iter().map(|found| found.id.clone()).collect::<Vec<_>>()
        };
        assert_eq!(ids(&found), ids(&exact), "{name}");
        assert!((found[0].score - 1.0).abs() < 1e-5, "{name}: {}", found[0].score);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn spaces_failures_and_health_are_told_as_they_are() {
    let folder = TempDir::new().unwrap();
    let server = Server::postgres(folder.path());
    let first = table(&server, "spaces");
    let health = first.health_check().await;
    assert_eq!(health.status, HealthStatus::Healthy, "{}", health.detail);
    refuses_another_space(&*first, "AUDIORAG_PGVECTOR_TABLE").await;
    assert!(first.health_check().await.detail.contains("pgvector 0."));

    // Eight at once make one table.
    let collection = Collection::new(8, 3);
    let makers = (0..8).map(|_| {
        let (store, space) = (table(&server, "together"), collection.space.clone());
        tokio::spawn(async move { store.prepare(&space).await })
    });
    for maker in makers.collect::<Vec<_>>() {
        maker.await.unwrap().unwrap();
    }

    // What no text of PostgreSQL can hold does not stop a recording from being found.
    let store = table(&server, "together");
    store.prepare(&collection.space).await.unwrap();
    let mut record = collection.records[0].clone();
    record.text = "a\0b \\u0000 \\".to_owned();
    store.upsert(vec![record]).await.unwrap();
    assert_eq!(store.count(&Selector::All).await.unwrap(), 1);

    let address = server.address.replace("/postgres?", "/nowhere?");
    assert_ne!(address, server.address);
    let elsewhere = crate::store("pgvector", &[], &[("pgvector.url", &address)]);
    let error = elsewhere.prepare(&collection.space).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config, "{}", error.report());
}
