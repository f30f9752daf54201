//! Sources, revisions, caches and the embedded search index of AudioRAG, in SQLite.
//!
//! The crate exports *verbs* in the words of `audiorag-core`: [`State::claim`], [`State::begin_revision`],
//! [`State::publish_revision`], [`State::search_text`] and so on. Tables, SQL and the errors of the database
//! driver stay private, so that another database can stand behind the same verbs.
//!
//! The database file is the only truth. The files beside it that speed up the search for vectors are caches:
//! they can be deleted at any time and are rebuilt from the database.

mod cache;
mod check;
mod chunk;
mod db;
mod download;
mod entity;
#[doc(hidden)]
pub mod failpoint;
mod fault;
mod filter;
mod finding;
mod garbage;
mod hit;
mod journal;
mod lexical;
mod migration;
mod ownership;
mod rebuild;
mod records;
mod repair;
mod revision;
mod segments;
mod sound;
mod source;
mod space;
mod speaker;
mod stored;
mod thread;
mod transcribed;
mod vectors;

pub use check::StoredRevision;
pub use db::StateOptions;
pub use download::{Download, FeedItem};
pub use finding::{Finding, Invariant, Problem, Remedy, Severity};
pub use journal::{CallEnd, CallId, CostBy, CostRow, CostWindow, NewCall, Opening, Settlement};
pub use migration::{MigrationStep, SchemaStatus, migrate, rollback, schema_status};
pub use records::{
    CacheKind, CacheStats, Claim, Failure, Garbage, Lease, LiveMark, NewChunk, NewSource, NewTranscript,
    Outcome, Owner, PartRow, Retirement, RevisionFacts, RevisionPlan, RevisionRecord, SourceRecord,
    StoredChunk, Switch,
};
pub use speaker::{SpeakerCount, SpeakerName};
pub use thread::{NewTurn, Thread, Turn, TurnCitation};
pub use vectors::EmbeddedVectorStore;

use audiorag_core::Result;
use std::path::Path;
use std::sync::Arc;

/// The state of one installation: an open database. Clones share its connections.
#[derive(Clone)]
pub struct State {
    db: Arc<db::Db>,
    indexes: Arc<vectors::Indexes>,
    /// Held while somebody merges segments of the lexical index.
    merging: Arc<tokio::sync::Mutex<()>>,
}

impl State {
    /// Opens the database, creating it and bringing its schema up to date where needed.
    ///
    /// # Errors
    /// [`State`](audiorag_core::ErrorKind::State) when the file cannot be opened, is damaged, belongs to
    /// another program, was written by a newer version, or, for a read-only opening, is missing or needs a
    /// migration.
    pub async fn open(options: StateOptions) -> Result<Self> {
        let db = db::Db::open(options).await?;
        Ok(Self {
            db: Arc::new(db),
            indexes: Arc::default(),
            merging: Arc::default(),
        })
    }

    /// Closes all connections and writes the journal back into the database file.
    pub async fn close(self) {
        self.db.close().await;
    }

    /// The database file.
    pub fn path(&self) -> &Path {
        self.db.path()
    }

    /// Whether nothing can be written.
    pub fn is_read_only(&self) -> bool {
        self.db.is_read_only()
    }

    /// The vector store inside the database. It starts without a space: call
    /// [`prepare`](audiorag_core::capability::VectorStore::prepare) first.
    pub fn vectors(&self) -> EmbeddedVectorStore {
        EmbeddedVectorStore::new(Arc::clone(&self.db), Arc::clone(&self.indexes))
    }
}
