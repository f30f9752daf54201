//! The first schema.
#![expect(
    elided_lifetimes_in_paths,
    reason = "the trait leaves the lifetime out, and async_trait needs the same form"
)]

use sea_orm::{ConnectionTrait as _, DbErr};
use sea_orm_migration::{MigrationName, MigrationTrait, SchemaManager, async_trait};

pub(super) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &'static str {
        "m20261123_000001_create_tables"
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

/// Times are milliseconds: of the recording in `*_ms`, since 1970 in `*_at` and `lease_until`.
const UP: &str = "
CREATE TABLE meta (
    name TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
);
-- Tells this database from any other: files derived from it carry the value.
INSERT INTO meta (name, value) VALUES ('store_epoch', lower(hex(randomblob(16))));

-- Which vectors may be compared. Rows are never deleted: outbox entries refer to them.
CREATE TABLE space (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    fingerprint TEXT NOT NULL UNIQUE,
    provider TEXT NOT NULL,
    model TEXT NOT NULL,
    dimensions BIGINT NOT NULL
);

CREATE TABLE source (
    id TEXT NOT NULL PRIMARY KEY,
    locator TEXT NOT NULL UNIQUE,
    title TEXT NOT NULL,
    content_hash TEXT,
    bytes BIGINT,
    modified_ns BIGINT,
    media TEXT,
    date TEXT,
    duration_ms BIGINT,
    status TEXT NOT NULL,
    failure_stage TEXT,
    failure_kind TEXT,
    failure_message TEXT,
    epoch BIGINT NOT NULL DEFAULT 0,
    owner_host TEXT,
    owner_pid BIGINT,
    owner_started BIGINT,
    lease_until BIGINT,
    active_revision BIGINT,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);
CREATE INDEX source_content ON source (content_hash);
CREATE INDEX source_date ON source (date);

-- Numbers are never used again (AUTOINCREMENT): chunk ids are derived from them.
CREATE TABLE revision (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    source_id TEXT NOT NULL REFERENCES source (id) ON DELETE CASCADE,
    content_hash TEXT NOT NULL,
    config_hash TEXT NOT NULL,
    config_json TEXT NOT NULL,
    space_id BIGINT NOT NULL REFERENCES space (id),
    state TEXT NOT NULL CHECK (state IN ('building', 'live', 'retired')),
    duration_ms BIGINT NOT NULL DEFAULT 0,
    language TEXT,
    chunk_count BIGINT NOT NULL DEFAULT 0,
    created_at BIGINT NOT NULL,
    published_at BIGINT
);
CREATE INDEX revision_source ON revision (source_id, state);

CREATE TABLE part (
    revision_id BIGINT NOT NULL REFERENCES revision (id) ON DELETE CASCADE,
    idx BIGINT NOT NULL,
    start_ms BIGINT NOT NULL,
    end_ms BIGINT NOT NULL,
    part_key TEXT,
    PRIMARY KEY (revision_id, idx)
);
CREATE INDEX part_by_key ON part (part_key);

-- Paid for: outlives the sources and revisions that use it.
CREATE TABLE part_transcript (
    part_key TEXT NOT NULL PRIMARY KEY,
    content_hash TEXT NOT NULL,
    start_ms BIGINT NOT NULL,
    end_ms BIGINT NOT NULL,
    provider TEXT NOT NULL,
    transcript TEXT NOT NULL,
    created_at BIGINT NOT NULL
);
CREATE INDEX part_transcript_content ON part_transcript (content_hash);

-- Paid for as well. Vectors are little-endian 32-bit floats.
CREATE TABLE embedding (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    embedding_key TEXT NOT NULL,
    space_id BIGINT NOT NULL REFERENCES space (id),
    vector BLOB NOT NULL,
    created_at BIGINT NOT NULL,
    UNIQUE (embedding_key, space_id)
);

CREATE TABLE chunk (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    chunk_key TEXT NOT NULL UNIQUE,
    revision_id BIGINT NOT NULL REFERENCES revision (id) ON DELETE CASCADE,
    source_id TEXT NOT NULL,
    idx BIGINT NOT NULL,
    start_ms BIGINT NOT NULL,
    end_ms BIGINT NOT NULL,
    text TEXT NOT NULL,
    header TEXT,
    speakers TEXT NOT NULL,
    lines TEXT NOT NULL,
    estimated BOOLEAN NOT NULL,
    embedding_key TEXT NOT NULL,
    UNIQUE (revision_id, idx)
);
CREATE INDEX chunk_embedding ON chunk (embedding_key);

-- The lexical index reads its text from the chunks. `src` holds one token that names the source, so that a
-- search within sources stays inside the index; the trailing x keeps the stemmer away from it.
CREATE VIEW chunk_text AS
    SELECT id, source_id || 'x' AS src, text, coalesce(header, '') AS header FROM chunk;
CREATE VIRTUAL TABLE chunk_fts USING fts5 (
    src, text, header,
    content = 'chunk_text', content_rowid = 'id',
    tokenize = 'porter unicode61 remove_diacritics 2'
);
INSERT INTO chunk_fts (chunk_fts, rank) VALUES ('rank', 'bm25(0.0, 1.0, 0.5)');
CREATE TRIGGER chunk_added AFTER INSERT ON chunk BEGIN
    INSERT INTO chunk_fts (rowid, src, text, header)
    VALUES (new.id, new.source_id || 'x', new.text, coalesce(new.header, ''));
END;
CREATE TRIGGER chunk_removed AFTER DELETE ON chunk BEGIN
    INSERT INTO chunk_fts (chunk_fts, rowid, src, text, header)
    VALUES ('delete', old.id, old.source_id || 'x', old.text, coalesce(old.header, ''));
END;
CREATE TRIGGER chunk_changed AFTER UPDATE OF source_id, text, header ON chunk BEGIN
    INSERT INTO chunk_fts (chunk_fts, rowid, src, text, header)
    VALUES ('delete', old.id, old.source_id || 'x', old.text, coalesce(old.header, ''));
    INSERT INTO chunk_fts (rowid, src, text, header)
    VALUES (new.id, new.source_id || 'x', new.text, coalesce(new.header, ''));
END;

-- Revisions whose vectors have still to be deleted from the vector store. Outlives source and revision.
CREATE TABLE retirement (
    revision_id BIGINT NOT NULL PRIMARY KEY,
    source_id TEXT NOT NULL,
    space_id BIGINT NOT NULL REFERENCES space (id),
    created_at BIGINT NOT NULL
);

-- The embedded vector store. Ids are the order in which the side file takes vectors over and are never used
-- again (AUTOINCREMENT). Nothing here refers to sources: the store is exchangeable.
CREATE TABLE vector (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    record_id TEXT NOT NULL,
    source_id TEXT NOT NULL,
    revision_id BIGINT NOT NULL,
    space_id BIGINT NOT NULL REFERENCES space (id),
    embedding_id BIGINT NOT NULL REFERENCES embedding (id),
    start_ms BIGINT NOT NULL,
    end_ms BIGINT NOT NULL,
    language TEXT,
    date TEXT,
    UNIQUE (record_id, space_id)
);
CREATE INDEX vector_space ON vector (space_id);
-- A filter finds its numbers in these two alone.
CREATE INDEX vector_source ON vector (source_id, revision_id, space_id);
CREATE INDEX vector_date ON vector (date, space_id);
CREATE INDEX vector_embedding ON vector (embedding_id);

CREATE TABLE vector_speaker (
    speaker TEXT NOT NULL,
    vector_id BIGINT NOT NULL REFERENCES vector (id) ON DELETE CASCADE,
    PRIMARY KEY (speaker, vector_id)
);
CREATE INDEX vector_speaker_vector ON vector_speaker (vector_id, speaker);
";

const DOWN: &str = "
DROP TABLE vector_speaker;
DROP TABLE vector;
DROP TABLE retirement;
DROP TRIGGER chunk_changed;
DROP TRIGGER chunk_removed;
DROP TRIGGER chunk_added;
DROP TABLE chunk_fts;
DROP VIEW chunk_text;
DROP TABLE chunk;
DROP TABLE embedding;
DROP TABLE part_transcript;
DROP TABLE part;
DROP TABLE revision;
DROP TABLE source;
DROP TABLE space;
DROP TABLE meta;
";
