//! The place of the module `bucket` in builds without the feature `s3`.

use super::Web;
use crate::index::discover::{Found, Selection};
use audiorag_core::{Error, Result};
use audiorag_fetch::{Fetched, Validators};
use std::path::Path;
use tokio_util::sync::CancellationToken;

/// Reads no bucket.
#[derive(Default)]
pub(super) struct Bucket(());

#[expect(clippy::unused_async, reason = "the interface of the module it stands for")]
impl Bucket {
    pub(super) async fn expand(
        &self,
        _: &Web,
        url: &str,
        _: &Selection,
        _: &CancellationToken,
    ) -> Result<Vec<Found>> {
        Err(missing(url))
    }

    pub(super) async fn download(
        &self,
        _: &Web,
        url: &str,
        _: &Path,
        _: Option<&Validators>,
        _: &(dyn Fn(u64, Option<u64>) + Send + Sync),
        _: &CancellationToken,
    ) -> Result<Fetched> {
        Err(missing(url))
    }
}

fn missing(url: &str) -> Error {
    Error::unsupported(format!("'{url}' is in a bucket, and this build reads none"))
        .with_hint("build with the feature 's3', or give the https: URL of the recording")
}
