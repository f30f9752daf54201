//! The place of the module `web` in builds without the feature `web`.

use super::discover::{Copy, Episodes, Found, Remote, Selection};
use super::stage::Stages;
use crate::settings::Settings;
use audiorag_core::{Error, Result};
use audiorag_state::State;
use std::path::PathBuf;
use tokio_util::sync::CancellationToken;

/// Fetches nothing.
pub(crate) struct Web;

impl Web {
    pub(crate) const fn new(_: &Settings) -> Self {
        Self
    }

    pub(super) fn shown(url: &str) -> String {
        url.split_once('@').map_or(url, |(_, host)| host).to_owned()
    }

    #[expect(clippy::unused_async, reason = "the interface of the module it stands for")]
    pub(super) async fn expand(
        &self,
        _: &State,
        url: &str,
        _: &Episodes,
        _: &Selection,
        _: &CancellationToken,
    ) -> Result<Vec<Found>> {
        Err(missing(url))
    }

    #[expect(clippy::unused_async, reason = "the interface of the module it stands for")]
    pub(super) async fn fetch(
        &self,
        _: &State,
        url: &str,
        _: &Remote,
        _: bool,
        _: Stages<'_>,
        _: &CancellationToken,
    ) -> Result<Copy> {
        Err(missing(url))
    }

    #[expect(clippy::unused_async, reason = "the interface of the module it stands for")]
    pub(super) async fn document(&self, url: &str, _: &CancellationToken) -> Result<Vec<u8>> {
        Err(missing(url))
    }

    #[expect(clippy::unused_self, reason = "the interface of the module it stands for")]
    pub(super) const fn done_with(&self, _: &str) {}

    #[expect(clippy::unused_self, reason = "the interface of the module it stands for")]
    pub(crate) const fn forget(&self, _: &str) {}

    #[expect(clippy::unused_self, reason = "the interface of the module it stands for")]
    pub(crate) const fn copy_of(&self, _: &str) -> Option<PathBuf> {
        None
    }
}

fn missing(url: &str) -> Error {
    Error::unsupported(format!(
        "'{url}' is on the web, and this build reads local files only"
    ))
    .with_hint("build with the feature 'web', or download the recording and index the file")
}
