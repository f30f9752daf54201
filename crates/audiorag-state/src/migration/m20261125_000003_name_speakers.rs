//! The names of speakers.
#![expect(
    elided_lifetimes_in_paths,
    reason = "the trait leaves the lifetime out, and async_trait needs the same form"
)]

use sea_orm::{ConnectionTrait as _, DbErr};
use sea_orm_migration::{MigrationName, MigrationTrait, SchemaManager, async_trait};

pub(super) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &'static str {
        "m20261125_000003_name_speakers"
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
-- What people call those whom a transcript has under a label: in one source, or in every source that does not say
-- otherwise, while source_id is NULL. Transcripts keep their labels.
CREATE TABLE speaker_name (
    id INTEGER NOT NULL PRIMARY KEY,
    source_id TEXT REFERENCES source (id) ON DELETE CASCADE,
    label TEXT NOT NULL,
    name TEXT NOT NULL
);
CREATE UNIQUE INDEX speaker_name_own ON speaker_name (source_id, label) WHERE source_id IS NOT NULL;
CREATE UNIQUE INDEX speaker_name_common ON speaker_name (label) WHERE source_id IS NULL;
";

const DOWN: &str = "
DROP TABLE speaker_name;
";
