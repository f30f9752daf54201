//! The journal of calls that cost something, and what cleaning up needs to know.
#![expect(
    elided_lifetimes_in_paths,
    reason = "the trait leaves the lifetime out, and async_trait needs the same form"
)]

use sea_orm::{ConnectionTrait as _, DbErr};
use sea_orm_migration::{MigrationName, MigrationTrait, SchemaManager, async_trait};

pub(super) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &'static str {
        "m20261124_000002_record_calls"
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
-- Every call that may cost something, written before it is sent: the journal, the ledger and the reservations of
-- the budget in one. While a call is 'sent' its amounts are what it may need; once it is 'done', what it used. A
-- 'failed' call was refused, so that only its requests count; of a 'lost' one nobody knows the end, and what was
-- expected of it counts as used. Refers to nothing, so that it outlives the sources it was paid for.
CREATE TABLE call (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    operation_id TEXT NOT NULL,
    purpose TEXT NOT NULL CHECK (purpose IN ('index', 'query')),
    capability TEXT NOT NULL,
    provider TEXT NOT NULL,
    model TEXT NOT NULL,
    source_id TEXT,
    state TEXT NOT NULL CHECK (state IN ('sent', 'done', 'failed', 'lost')),
    owner_host TEXT NOT NULL,
    owner_pid BIGINT NOT NULL,
    owner_started BIGINT NOT NULL,
    requests BIGINT NOT NULL,
    input_tokens BIGINT NOT NULL,
    output_tokens BIGINT NOT NULL,
    audio_ms BIGINT NOT NULL,
    -- Billionths of a US dollar; absent where no price is known.
    cost_nanos BIGINT,
    sent_at BIGINT NOT NULL,
    ended_at BIGINT
);
-- The budget sums up the last minute, hour and day from this index alone.
CREATE INDEX call_amounts ON call
    (sent_at, provider, purpose, requests, input_tokens, output_tokens, audio_ms, cost_nanos);
CREATE INDEX call_operation ON call (operation_id);
CREATE INDEX call_open ON call (owner_host, owner_pid, owner_started) WHERE state = 'sent';

-- When the vectors of a revision that is still being built were found complete in the store.
ALTER TABLE revision ADD COLUMN verified_at BIGINT;
-- When the last revision that used it was forgotten; never, while it is NULL.
ALTER TABLE part_transcript ADD COLUMN last_used_at BIGINT;
ALTER TABLE embedding ADD COLUMN last_used_at BIGINT;
";

const DOWN: &str = "
ALTER TABLE embedding DROP COLUMN last_used_at;
ALTER TABLE part_transcript DROP COLUMN last_used_at;
ALTER TABLE revision DROP COLUMN verified_at;
DROP TABLE call;
";
