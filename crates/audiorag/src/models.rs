//! The files of the local models, as the settings place and fetch them.

pub use audiorag_providers::local::models::*;

use crate::settings::{ModelRoute, Settings};

/// The model files on this machine.
pub fn store(settings: &Settings) -> ModelStore {
    ModelStore::new(&settings.models.dir)
}

/// How missing files are fetched under these settings.
pub fn pull_options(settings: &Settings) -> PullOptions {
    let models = &settings.models;
    let hub = HubSettings {
        endpoint: models.hf_endpoint.clone(),
        token: models.hf_token.clone(),
        offline: models.offline,
        cache: Some(models.hf_hub_cache.clone()),
        configured: models.hf_configured,
    };
    let mut options = PullOptions {
        route: match models.route {
            ModelRoute::Auto => Route::Auto,
            ModelRoute::Hub => Route::Hub,
            ModelRoute::Wheels => Route::Wheels,
        },
        hub,
        own_runtime: models.onnxruntime_library.is_some(),
        ..PullOptions::default()
    };
    options.http.retry = settings.retry;
    options
}
