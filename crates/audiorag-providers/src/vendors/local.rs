//! The models in the process, as an entry of the table. The facade makes them, because they need model files.

use super::{Model, Offer, Vendor};

pub(super) const VENDOR: Vendor = Vendor {
    id: "local",
    about: "models in the process, for processors: English speech, and embeddings",
    docs: "",
    transcribe: Some(Offer {
        models: &[Model::new(
            "moonshine-tiny-en",
            "English; sentence times estimated inside stretches of detected speech",
        )],
        closed: true,
        build: None,
    }),
    embed: Some(Offer {
        models: &[Model::new("all-MiniLM-L6-v2", "384 dimensions, 256 tokens")],
        closed: true,
        build: None,
    }),
    ..Vendor::NONE
};
