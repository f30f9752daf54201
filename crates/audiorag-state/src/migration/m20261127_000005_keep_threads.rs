//! Conversations.
#![expect(
    elided_lifetimes_in_paths,
    reason = "the trait leaves the lifetime out, and async_trait needs the same form"
)]

use sea_orm::{ConnectionTrait as _, DbErr};
use sea_orm_migration::{MigrationName, MigrationTrait, SchemaManager, async_trait};

pub(super) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &'static str {
        "m20261127_000005_keep_threads"
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
-- Questions that belong together, under a name that the user gives.
CREATE TABLE conversation (
    id INTEGER NOT NULL PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);
CREATE TABLE turn (
    conversation_id INTEGER NOT NULL REFERENCES conversation (id) ON DELETE CASCADE,
    number BIGINT NOT NULL,
    question TEXT NOT NULL,
    -- The question as it was searched for: a follow-up makes sense only together with what came before.
    searched TEXT NOT NULL,
    answer TEXT NOT NULL,
    model TEXT NOT NULL,
    -- Whole citations, which outlive their sources: what was said once can be read for as long as the conversation.
    citations_json TEXT NOT NULL,
    asked_at BIGINT NOT NULL,
    PRIMARY KEY (conversation_id, number)
);
";

const DOWN: &str = "
DROP TABLE turn;
DROP TABLE conversation;
";
