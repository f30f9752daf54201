//! One contract suite for each capability trait, for every implementation and every wrapper to pass.
//!
//! Each `run` checks every line of the **Contract** list in `audiorag_core::capability` and panics at the first
//! broken one, naming the implementation. Call it from a `#[tokio::test]`.

pub mod embedder;
pub mod generator;
pub mod reranker;
pub mod transcriber;
pub mod vector_store;

use audiorag_core::capability::{Health, HealthStatus, ProviderInfo};
use std::time::Duration;

/// Every implementation says who it is.
fn check_info(info: &ProviderInfo) {
    assert!(
        !info.vendor.is_empty() && !info.model.is_empty(),
        "{info:?} does not name its vendor and model"
    );
}

/// A suite runs against something that works, so it must be found healthy.
fn check_health(name: &str, health: &Health) {
    assert_eq!(
        health.status,
        HealthStatus::Healthy,
        "{name}: unhealthy: {}",
        health.detail
    );
    assert!(
        !health.detail.is_empty(),
        "{name}: the health check says nothing about what it found"
    );
}

/// Polls until `reached` is true, for stores whose writes show later and work that stops a little later.
async fn eventually(what: &str, mut reached: impl AsyncFnMut() -> bool) {
    for wait in [0u64, 1, 5, 20, 50, 100, 200, 400, 800, 1_600, 3_200, 6_400] {
        tokio::time::sleep(Duration::from_millis(wait)).await;
        if reached().await {
            return;
        }
    }
    panic!("{what}: not reached after 13 s");
}
