//! What is known of recordings that were fetched from elsewhere.
#![expect(
    elided_lifetimes_in_paths,
    reason = "the trait leaves the lifetime out, and async_trait needs the same form"
)]

use sea_orm::{ConnectionTrait as _, DbErr};
use sea_orm_migration::{MigrationName, MigrationTrait, SchemaManager, async_trait};

pub(super) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &'static str {
        "m20261126_000004_fetch_sources"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.get_connection().execute_unprepared(UP).await.map(drop)
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.get_connection().execute_unprepared(DOWN).await.map(drop)
    }

    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }
}

const UP: &str = "
-- The last time that the bytes behind a URL were fetched: what their server said about their version, so that an
-- unchanged recording is not fetched again, and what else said what it is. Refers to nothing: it is written before
-- there is a source, and what is not needed any more goes with the source's deletion.
CREATE TABLE download (
    url TEXT NOT NULL PRIMARY KEY,
    etag TEXT,
    last_modified TEXT,
    content_hash TEXT NOT NULL,
    bytes BIGINT NOT NULL,
    -- The feed and the item's own name in it, for what a feed lists.
    feed TEXT,
    guid TEXT,
    -- Whether the URL is that of a page, from which yt-dlp fetched the recording.
    is_page BOOLEAN NOT NULL,
    -- What the feed or the page says of the recording, in the form of a source's headers.
    said_json TEXT,
    fetched_at BIGINT NOT NULL
);
CREATE INDEX download_item ON download (feed, guid) WHERE guid IS NOT NULL;
";

const DOWN: &str = "
DROP TABLE download;
";
