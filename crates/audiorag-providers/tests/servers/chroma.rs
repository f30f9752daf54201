//! Chroma 1.5.9.

use crate::process::Server;
use crate::{holds_ten_thousand, refuses_another_space, store};
use audiorag_core::ErrorKind;
use audiorag_core::capability::{HealthStatus, VectorStore};
use audiorag_testkit::suite::vector_store;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tempfile::TempDir;

fn collection(server: &Server, name: &str) -> Arc<dyn VectorStore> {
    store(
        "chroma",
        &[("chroma.base_url", &server.address), ("chroma.collection", name)],
        &[],
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn honours_the_contract() {
    let folder = TempDir::new().unwrap();
    let server = Server::chroma(folder.path()).await;
    let number = AtomicUsize::new(0);
    vector_store::run(|| {
        let number = number.fetch_add(1, Ordering::Relaxed);
        std::future::ready(collection(&server, &format!("contract-{number}")))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn holds_much_and_deletes_it_whole() {
    let folder = TempDir::new().unwrap();
    let server = Server::chroma(folder.path()).await;
    let store = collection(&server, "large");
    holds_ten_thousand(&*store).await;
    assert_eq!(store.limits().max_batch, 1_000);
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
        let running = Server::chroma(folder.path()).await;
        let store = collection(&running, "kept");
        *server = Some(running);
        store
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn spaces_and_health_are_told_as_they_are() {
    let folder = TempDir::new().unwrap();
    let server = Server::chroma(folder.path()).await;
    let store = collection(&server, "spaces");
    let health = store.health_check().await;
    assert_eq!(health.status, HealthStatus::Healthy, "{}", health.detail);
    assert!(health.detail.contains("not made yet"), "{}", health.detail);
    refuses_another_space(&*store, "AUDIORAG_CHROMA_COLLECTION").await;
    assert!(!store.health_check().await.detail.contains("not made yet"));
    let elsewhere = crate::store(
        "chroma",
        &[
            ("chroma.base_url", &server.address),
            ("chroma.database", "nowhere"),
        ],
        &[],
    );
    let space = vector_store::Collection::new(4, 0).space;
    let error = elsewhere.prepare(&space).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Input);
    assert!(
        error.report().contains("Database [nowhere] does not exist"),
        "{}",
        error.report()
    );
    server.stop();
    let health = store.health_check().await;
    assert_eq!(health.status, HealthStatus::Unhealthy);
    assert_eq!(health.kind, Some(ErrorKind::Unavailable), "{health:?}");
}
