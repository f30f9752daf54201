//! What goes over the wire.

use crate::wire::store::Fields;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::fmt;

#[derive(Serialize)]
pub(super) struct Vector<'a> {
    pub(super) id: String,
    pub(super) values: &'a [f32],
    pub(super) metadata: Fields<'a>,
}

#[derive(Deserialize)]
pub(super) struct Description {
    pub(super) host: String,
    pub(super) status: Status,
}

#[derive(Deserialize)]
pub(super) struct Status {
    pub(super) ready: bool,
}

#[derive(Deserialize)]
pub(super) struct Stats {
    #[serde(default)]
    pub(super) dimension: Option<usize>,
    #[serde(default)]
    pub(super) metric: Option<String>,
    #[serde(default)]
    pub(super) namespaces: HashMap<String, Namespace>,
    #[serde(default, rename = "totalVectorCount")]
    pub(super) total: u64,
}

#[derive(Deserialize)]
pub(super) struct Namespace {
    #[serde(default, rename = "vectorCount")]
    pub(super) count: u64,
}

#[derive(Deserialize)]
pub(super) struct Upserted {
    #[serde(default, rename = "upsertedCount")]
    pub(super) count: Option<usize>,
}

#[derive(Default, Deserialize)]
pub(super) struct Page {
    /// How many records there are. What is in them is skipped.
    #[serde(deserialize_with = "entries")]
    pub(super) vectors: u64,
    #[serde(default)]
    pub(super) pagination: Option<Pagination>,
}

#[derive(Deserialize)]
pub(super) struct Pagination {
    #[serde(default)]
    pub(super) next: Option<String>,
}

#[derive(Default, Deserialize)]
pub(super) struct Found {
    pub(super) matches: Vec<Match>,
}

#[derive(Deserialize)]
pub(super) struct Match {
    /// Proto JSON leaves out zeros.
    #[serde(default)]
    pub(super) score: f32,
    #[serde(default)]
    pub(super) metadata: Option<Kept>,
}

#[derive(Deserialize)]
pub(super) struct Kept {
    #[serde(default)]
    pub(super) chunk_id: Option<String>,
}

/// The number of entries of an object.
fn entries<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    struct Count;
    impl<'de> Visitor<'de> for Count {
        type Value = u64;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }
        fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<u64, M::Error> {
            let mut count = 0;
            while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {
                count += 1;
            }
            Ok(count)
        }
    }
    deserializer.deserialize_map(Count)
}
