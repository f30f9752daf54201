//! Sources, revisions, caches and the embedded search index of AudioRAG, in SQLite.
