//! Recordings in buckets: `s3://bucket/key`, or a folder of a bucket.

use super::Web;
use crate::index::discover::{Found, Remote, Selection};
use audiorag_core::{Error, Result};
use audiorag_fetch::s3::{BucketSettings, BucketUrl, Buckets};
use audiorag_fetch::{Fetched, Validators};
use std::path::Path;
use tokio_util::sync::CancellationToken;

/// Reads buckets, once somebody asks for one.
#[derive(Default)]
pub(super) struct Bucket(std::sync::OnceLock<Buckets>);

impl Bucket {
    fn open(&self, web: &Web) -> Result<&Buckets> {
        web.online()?;
        if let Some(buckets) = self.0.get() {
            return Ok(buckets);
        }
        let settings = &web.limits.buckets;
        let settings = BucketSettings {
            endpoint: settings.endpoint.clone(),
            region: settings.region.clone(),
            access_key_id: settings.access_key_id.clone(),
            secret_access_key: settings.secret_access_key.clone(),
            session_token: settings.session_token.clone(),
        };
        let buckets = Buckets::new(settings, web.policy()?)
            .map_err(|error| error.with_context("settings", "fetch.s3_..."))?;
        Ok(self.0.get_or_init(|| buckets))
    }

    /// The recordings that `url` names: one object whatever it is called, or those of a folder that `selection` takes.
    pub(super) async fn expand(
        &self,
        web: &Web,
        url: &str,
        selection: &Selection,
        cancel: &CancellationToken,
    ) -> Result<Vec<Found>> {
        let asked = BucketUrl::parse(url)?;
        let listed = self.open(web)?.list(&asked, cancel).await?;
        let folder = asked.key().trim_end_matches('/');
        let found: Vec<Found> = listed
            .into_iter()
            .filter(|object| {
                let key = object.url.key();
                let below = key.strip_prefix(folder).unwrap_or(key).trim_start_matches('/');
                // Nothing is below an object.
                below.is_empty() || selection.takes_in_bucket(Path::new(below))
            })
            .map(|object| Found {
                bytes: object.bytes,
                ..Found::on_the_web(object.url.to_string(), Remote::default())
            })
            .collect();
        if found.is_empty() {
            return Err(Error::input(format!("no audio in '{asked}'"))
                .with_hint("name the objects themselves, or choose them with --include '*.EXT'"));
        }
        Ok(found)
    }

    pub(super) async fn download(
        &self,
        web: &Web,
        url: &str,
        into: &Path,
        validators: Option<&Validators>,
        progress: &(dyn Fn(u64, Option<u64>) + Send + Sync),
        cancel: &CancellationToken,
    ) -> Result<Fetched> {
        let url = BucketUrl::parse(url)?;
        self.open(web)?
            .download(&url, into, validators, progress, cancel)
            .await
    }
}
