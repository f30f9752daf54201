//! The embedded vector store: rows in the database, scanned through a memory-mapped side file.

mod codes;
mod codes_file;
mod index;
mod mapping;
mod record;
mod rows;
mod side_file;
mod snapshot;
mod upsert;

use crate::db::{Db, commit};
use crate::failpoint::Step;
use crate::fault::Attempt;
use crate::space;
use async_trait::async_trait;
use audiorag_core::capability::{
    Health, ProviderInfo, Selector, StoreLimits, VectorMatch, VectorRecord, VectorStore,
};
use audiorag_core::model::{EmbeddingSpace, Filter};
use audiorag_core::{Error, Result};
use index::Index;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// Rows that may pile up before a writer brings the side file up to date itself.
const CATCH_UP: i64 = 4096;

/// The side files of a database, by space.
#[derive(Default)]
pub(crate) struct Indexes(Mutex<HashMap<i64, Arc<Index>>>);

impl Indexes {
    fn of(&self, db: &Db, space_id: i64, dimensions: usize) -> Arc<Index> {
        let mut indexes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(
            indexes
                .entry(space_id)
                .or_insert_with(|| Arc::new(Index::new(db, space_id, dimensions))),
        )
    }
}

/// The vector store inside the database: nothing to install, exact scores, deletes at once.
///
/// Vectors of several spaces live side by side; searches and [`Selector::All`] mean the one that was prepared last
/// on this value, the other selectors mean all of them. Vectors are brought to unit length. A vector under an
/// embedding key that is stored already is taken to be the stored one.
pub struct EmbeddedVectorStore {
    db: Arc<Db>,
    indexes: Arc<Indexes>,
    info: ProviderInfo,
    prepared: Mutex<Option<Prepared>>,
}

#[derive(Clone)]
struct Prepared {
    space: EmbeddingSpace,
    /// Absent where the space has no vectors yet and nothing can be written.
    id: Option<i64>,
}

impl EmbeddedVectorStore {
    pub(crate) fn new(db: Arc<Db>, indexes: Arc<Indexes>) -> Self {
        let info = ProviderInfo {
            vendor: "embedded".into(),
            model: "sqlite".into(),
            version: 1,
        };
        Self {
            db,
            indexes,
            info,
            prepared: Mutex::new(None),
        }
    }

    fn prepared(&self) -> Result<Prepared> {
        self.prepared
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
            .ok_or_else(|| Error::internal("the vector store was used before it was prepared"))
    }

    /// The number of the prepared space, if one is prepared and known.
    fn space_id(&self) -> Option<i64> {
        self.prepared
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .as_ref()
            .and_then(|prepared| prepared.id)
    }

    async fn prepare_space(&self, space: &EmbeddingSpace) -> Attempt<Option<i64>> {
        if let Some(id) = space::find(self.db.reader(), space).await? {
            return Ok(Some(id));
        }
        if self.db.is_read_only() {
            return Ok(None);
        }
        let tx = self.db.begin().await?;
        let id = space::number(&tx, space).await?;
        commit(tx, Step::PrepareSpace).await?;
        Ok(Some(id))
    }
}

#[async_trait]
impl VectorStore for EmbeddedVectorStore {
    fn info(&self) -> &ProviderInfo {
        &self.info
    }

    fn limits(&self) -> StoreLimits {
        StoreLimits {
            max_batch: 1024,
            max_batch_bytes: None,
            max_top_k: 10_000,
            read_your_writes: true,
        }
    }

    async fn prepare(&self, space: &EmbeddingSpace) -> Result<()> {
        if space.dimensions == 0 {
            return Err(Error::config(format!("{} has no dimensions", space.model)));
        }
        let id = self
            .db
            .explain("prepare the vector store", self.prepare_space(space))
            .await?;
        let prepared = Prepared {
            space: space.clone(),
            id,
        };
        *self.prepared.lock().unwrap_or_else(PoisonError::into_inner) = Some(prepared);
        Ok(())
    }

    async fn upsert(&self, mut records: Vec<VectorRecord>) -> Result<()> {
        if records.is_empty() {
            return Ok(());
        }
        let prepared = self.prepared()?;
        for record in &mut records {
            space::check_unit(&prepared.space, &mut record.vector)?;
        }
        self.db
            .explain("store vectors", async {
                let tx = self.db.begin().await?;
                let id = space::number(&tx, &prepared.space).await?;
                upsert::upsert(&tx, id, &records).await?;
                commit(tx, Step::StoreVectors).await?;
                self.indexes
                    .of(&self.db, id, prepared.space.dimensions)
                    .keep_up(&self.db, CATCH_UP)
                    .await
            })
            .await
    }

    async fn search(&self, vector: &[f32], top_k: usize, filter: &Filter) -> Result<Vec<VectorMatch>> {
        let prepared = self.prepared()?;
        let mut query = vector.to_vec();
        space::check_unit(&prepared.space, &mut query)?;
        let Some(id) = prepared.id.filter(|_| top_k > 0) else {
            return Ok(Vec::new());
        };
        let index = self.indexes.of(&self.db, id, prepared.space.dimensions);
        let found = self
            .db
            .explain(
                "search the vectors",
                index.search(&self.db, &query, top_k, filter),
            )
            .await?;
        Ok(rows::matches(found))
    }

    async fn delete(&self, selector: &Selector) -> Result<()> {
        self.db
            .explain("delete vectors", async {
                let tx = self.db.begin().await?;
                let deleted = rows::delete(&tx, selector, self.space_id()).await?;
                commit(tx, Step::DeleteVectors).await?;
                match self
                    .prepared()
                    .ok()
                    .and_then(|prepared| Some((prepared.id?, prepared.space.dimensions)))
                {
                    Some((id, dimensions)) if deleted > 0 => {
                        self.indexes.of(&self.db, id, dimensions).compact(&self.db).await
                    }
                    _ => Ok(()),
                }
            })
            .await
    }

    async fn count(&self, selector: &Selector) -> Result<u64> {
        self.db
            .explain("count vectors", rows::count(&self.db, selector, self.space_id()))
            .await
    }

    async fn health_check(&self) -> Health {
        let started = Instant::now();
        let counted = self.db.explain("count vectors", rows::total(&self.db)).await;
        let outcome = counted.map(|vectors| format!("{vectors} vectors in {}", self.db.path().display()));
        Health::of(outcome, started.elapsed())
    }
}
