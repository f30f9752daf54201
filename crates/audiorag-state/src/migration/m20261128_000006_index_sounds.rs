//! The index by sound of names and numbers.
#![expect(
    elided_lifetimes_in_paths,
    reason = "the trait leaves the lifetime out, and async_trait needs the same form"
)]

use crate::db::sql;
use crate::sound;
use sea_orm::{ConnectionTrait as _, DbErr};
use sea_orm_migration::{MigrationName, MigrationTrait, SchemaManager, async_trait};

/// Chunks that are read at once.
const BATCH: i64 = 500;

pub(super) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &'static str {
        "m20261128_000006_index_sounds"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let db = manager.get_connection();
        db.execute_unprepared(COLUMN).await?;
        // Before the triggers: the index is filled at once at the end.
        let mut last = 0_i64;
        loop {
            let rows = db
                .query_all_raw(sql(
                    "SELECT id, text FROM chunk WHERE id > $1 ORDER BY id LIMIT $2",
                    [last.into(), BATCH.into()],
                ))
                .await?;
            for row in &rows {
                let text: String = row.try_get_by_index(1)?;
                last = row.try_get_by_index(0)?;
                db.execute_raw(sql(
                    "UPDATE chunk SET sounds = $2 WHERE id = $1",
                    [last.into(), sound::index_text(&text).into()],
                ))
                .await?;
            }
            if rows.is_empty() {
                break;
            }
        }
        db.execute_unprepared(INDEX).await.map(drop)
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.get_connection().execute_unprepared(DOWN).await.map(drop)
    }

    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }
}

const COLUMN: &str = "
-- Codes of how the words sound, and the numbers that are said.
ALTER TABLE chunk ADD COLUMN sounds TEXT NOT NULL DEFAULT '';
";

const INDEX: &str = "
CREATE VIRTUAL TABLE chunk_sound USING fts5 (
    sounds,
    content = 'chunk', content_rowid = 'id',
    tokenize = 'ascii', detail = 'none'
);
INSERT INTO chunk_sound (chunk_sound) VALUES ('rebuild');
CREATE TRIGGER chunk_sound_added AFTER INSERT ON chunk BEGIN
    INSERT INTO chunk_sound (rowid, sounds) VALUES (new.id, new.sounds);
END;
CREATE TRIGGER chunk_sound_removed AFTER DELETE ON chunk BEGIN
    INSERT INTO chunk_sound (chunk_sound, rowid, sounds) VALUES ('delete', old.id, old.sounds);
END;
";

const DOWN: &str = "
DROP TRIGGER chunk_sound_removed;
DROP TRIGGER chunk_sound_added;
DROP TABLE chunk_sound;
ALTER TABLE chunk DROP COLUMN sounds;
";
