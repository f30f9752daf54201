//! PostgreSQL with the extension pgvector: Supabase, or any other server.
//!
//! <https://github.com/pgvector/pgvector> and <https://supabase.com/docs/guides/ai/python-client>. The layout is that of
//! the Python package vecs 0.4.5: schema `vecs`, a table with `id`, `vec` and `metadata`, a GIN index on the metadata.
//! Tested against PostgreSQL 18.4 with pgvector 0.8.5 (2026-11-23).
//!
//! - A table belongs to one embedding space, which `vecs.audiorag_spaces` names.
//! - Up to 2,000 dimensions are indexed as they are, up to 4,000 in half precision, more not at all: then each search
//!   compares every vector.
//! - Statements have no names, so that a pooler that hands out another connection each time (Supavisor on port 6543)
//!   works.
//! - A filtered search over the index may find too few; it is repeated without the index, which is exact.

mod sql;

use super::{Offer, SettingKind, Vendor, VendorContext, VendorSetting};
use crate::http::{HttpSettings, health_of};
use crate::wire::record_id::RecordIds;
use crate::wire::store::{
    Fields, Place, Prepared, Ranges, best_first, check_records, check_vector, cut, json, other_space,
    plain_name,
};
use async_trait::async_trait;
use audiorag_core::capability::{
    Health, ProviderInfo, Selector, StoreLimits, VectorMatch, VectorRecord, VectorStore,
};
use audiorag_core::id::ChunkId;
use audiorag_core::model::{EmbeddingSpace, Filter};
use audiorag_core::{Error, Result};
use sql::{
    at_least_0_8, configuring, explain, extension, halved, one, restrict, statement, tables, without_zeros,
};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions, PgRow};
use sqlx::{PgConnection, PgPool, Postgres, QueryBuilder, Row as _};
use std::str::FromStr as _;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

pub(super) const VENDOR: Vendor = Vendor {
    id: "pgvector",
    about: "vectors in Supabase or any PostgreSQL with pgvector",
    docs: "https://github.com/pgvector/pgvector",
    settings: &[
        VendorSetting {
            path: "pgvector.url",
            aliases: &[
                "PGVECTOR_URL",
                "SUPABASE_DB_URL",
                "AUDIORAG_SUPABASE_CONNECTION_STRING",
            ],
            kind: SettingKind::Secret,
            default: None,
            doc: "Address of the database with its password, `postgresql://user:password@host:5432/database`.",
        },
        VendorSetting {
            path: "pgvector.table",
            aliases: &["PGVECTOR_TABLE", "AUDIORAG_SUPABASE_COLLECTION_NAME"],
            kind: SettingKind::Text,
            default: Some("audiorag"),
            doc: "Table in the schema `vecs` for the vectors of one embedding model. It is made when it is missing.",
        },
    ],
    store: Some(Offer::new(&[], build)),
    ..Vendor::NONE
};

/// Rows in one statement, as vecs has it.
const MAX_BATCH: usize = 500;
/// Bytes of one statement.
const MAX_REQUEST: usize = 16 << 20;
/// Bytes of records as the caller counts them, four for each component, which text writes in about three times that.
const MAX_BATCH_BYTES: usize = MAX_REQUEST / 4;
/// Matches in one answer.
const MAX_TOP_K: usize = 1_000;
/// The most dimensions that an index takes in full precision, and in half.
const INDEXED: (usize, usize) = (2_000, 4_000);
/// The most matches that the index is asked for: it visits at most 1,000 candidates.
const INDEX_TOP_K: usize = 400;
/// Connections of one store. Pools of hosted databases are small.
const CONNECTIONS: u32 = 8;

fn build(ctx: &VendorContext<'_>) -> Result<Arc<dyn VectorStore>> {
    let url = ctx.key("pgvector.url", "PGVECTOR_URL or SUPABASE_DB_URL")?;
    // The URL holds the password: neither it nor what the parser says of it is shown.
    let options = ["postgres://", "postgresql://"]
        .iter()
        .any(|scheme| url.expose().starts_with(scheme))
        .then(|| {
            PgConnectOptions::from_str(url.expose())
                // A socket is written without a host, which the parser does not take.
                .or_else(|_| PgConnectOptions::from_str(&url.expose().replacen("@/", "@localhost/", 1)))
                .ok()
        })
        .flatten()
        .ok_or_else(|| {
            Error::config("pgvector.url is no address of a PostgreSQL database")
                .with_hint("write it as postgresql://user:password@host:5432/database")
        })?
        .application_name("audiorag")
        .statement_cache_capacity(0);
    let table = plain_name("pgvector.table", ctx.required("pgvector.table")?, 1..=40)?;
    let quoted = |byte: u8| byte.is_ascii_uppercase() || byte == b'-';
    if table.bytes().any(quoted) || table.starts_with(|first: char| first.is_ascii_digit()) || table == SPACES
    {
        return Err(Error::config(format!(
            "pgvector.table is '{table}'; it takes lower-case letters, digits and '_', no digit first"
        )));
    }
    Ok(Arc::new(PgVector {
        info: ProviderInfo {
            vendor: "pgvector".to_owned(),
            model: table.clone(),
            version: 1,
        },
        ids: RecordIds::new(ctx, false)?,
        settings: ctx.http.settings().clone(),
        table,
        pool: OnceLock::new(),
        prepared: Prepared::default(),
        options,
    }))
}

/// The table that says which space a table belongs to.
const SPACES: &str = "audiorag_spaces";

struct PgVector {
    info: ProviderInfo,
    ids: RecordIds,
    settings: HttpSettings,
    options: PgConnectOptions,
    /// A validated identifier: it goes into statements as it is.
    table: String,
    /// Made on first use: it belongs to a runtime.
    pool: OnceLock<PgPool>,
    prepared: Prepared<Layout>,
}

/// What the database can do for a space.
#[derive(Clone, Copy, Debug)]
struct Layout {
    /// Whether there is an index of vectors.
    indexed: bool,
    /// Whether the index can go on when filters leave too little (pgvector 0.8).
    iterates: bool,
}

type Query = QueryBuilder<Postgres>;

impl PgVector {
    fn pool(&self) -> &PgPool {
        self.pool.get_or_init(|| {
            PgPoolOptions::new()
                .max_connections(CONNECTIONS)
                .acquire_timeout(self.settings.connect_timeout)
                .connect_lazy_with(self.options.clone())
        })
    }

    /// Runs statements in one transaction, again when that can help, and returns the rows of the last one.
    async fn run(&self, statements: impl Fn() -> Vec<Query> + Send + Sync) -> Result<Vec<PgRow>> {
        let mut attempt = 1;
        loop {
            match self.in_time(self.transact(statements())).await {
                Ok(rows) => return Ok(rows),
                Err(error) => self.wait_after(attempt, error).await?,
            }
            attempt += 1;
        }
    }

    /// Waits as the policy says, or gives the error back when no other attempt can help. The loops around are
    /// written out because the compiler cannot prove that the futures of borrowing async closures are `Send`.
    async fn wait_after(&self, attempt: u32, error: Error) -> Result<()> {
        match self.settings.retry.wait_after(attempt, &error, fastrand::f64()) {
            Some(wait) => {
                tokio::time::sleep(wait).await;
                Ok(())
            }
            None if attempt > 1 => Err(error.with_context("attempts", attempt).into_persistent()),
            None => Err(error),
        }
    }

    async fn transact(&self, statements: Vec<Query>) -> Result<Vec<PgRow>, sqlx::Error> {
        let mut transaction = self.pool().begin().await?;
        let mut rows = Vec::new();
        for mut query in statements {
            rows = query
                .build()
                .persistent(false)
                .fetch_all(&mut *transaction)
                .await?;
        }
        transaction.commit().await?;
        Ok(rows)
    }

    /// Waits no longer for an attempt than for one of a request.
    async fn in_time<T>(&self, attempt: impl Future<Output = Result<T, sqlx::Error>> + Send) -> Result<T> {
        match tokio::time::timeout(self.settings.attempt_timeout, attempt).await {
            Ok(outcome) => outcome.map_err(explain),
            Err(_) => Err(Error::timeout("the database does not answer in time")),
        }
    }

    /// A statement about the rows of a selector.
    fn query(&self, verb: &str, selector: &Selector) -> Query {
        let mut query = QueryBuilder::new(format!(r#"{verb} vecs."{}""#, self.table));
        match selector {
            Selector::Source(source) => {
                query.push(" WHERE metadata->>'source_id' = ");
                query.push_bind(source.as_str().to_owned());
            }
            Selector::Revision(source, revision) => {
                query.push(" WHERE metadata->>'source_id' = ");
                query.push_bind(source.as_str().to_owned());
                query.push(" AND (metadata->>'revision')::bigint = ");
                query.push_bind(revision.0);
            }
            Selector::Chunks(chunks) => {
                let ids: Vec<String> = chunks.iter().map(|chunk| self.ids.of(chunk)).collect();
                query.push(" WHERE id = ANY(");
                query.push_bind(ids);
                query.push(")");
            }
            Selector::All => {}
        }
        query
    }

    /// The statement of a search.
    fn nearest(&self, space: &EmbeddingSpace, vector: &str, top_k: usize, filter: &Filter) -> Query {
        let mut query = QueryBuilder::new("SELECT metadata->>'chunk_id', (1 - (vec <=> ");
        query.push_bind(vector.to_owned());
        query.push("::vector))::float8 FROM vecs.\"");
        query.push(&self.table);
        query.push("\" WHERE TRUE");
        restrict(&mut query, filter);
        let kind = if halved(space) {
            let kind = format!("halfvec({})", space.dimensions);
            query.push(format!(" ORDER BY vec::{kind} <=> "));
            kind
        } else {
            query.push(" ORDER BY vec <=> ");
            format!("vector({})", space.dimensions)
        };
        query.push_bind(vector.to_owned());
        query.push(format!("::{kind} LIMIT {top_k}"));
        query
    }

    async fn searched(
        &self,
        place: &Place<Layout>,
        vector: &str,
        top_k: usize,
        filter: &Filter,
        by_index: bool,
    ) -> Result<Vec<VectorMatch>> {
        let statements = || {
            let mut statements = Vec::new();
            if by_index {
                let breadth = (2 * top_k).clamp(100, 1_000).to_string();
                statements.push(configuring("hnsw.ef_search", &breadth));
                if place.at.iterates {
                    statements.push(configuring("hnsw.iterative_scan", "strict_order"));
                }
            } else {
                // Bitmaps over the other indexes stay possible.
                statements.push(configuring("enable_indexscan", "off"));
            }
            statements.push(self.nearest(&place.space, vector, top_k, filter));
            statements
        };
        let rows = self.run(statements).await?;
        rows.iter()
            .map(|row| {
                let id: Option<String> = row.try_get(0).map_err(explain)?;
                let score: f64 = row.try_get(1).map_err(explain)?;
                match id {
                    Some(id) => Ok(VectorMatch {
                        id: ChunkId::from_stored(id),
                        score: score as f32,
                    }),
                    None => Err(Error::protocol("the table holds a row without chunk_id")),
                }
            })
            .collect()
    }

    /// Makes what is missing. The layout, or the space that is there instead.
    async fn lay_out(&self, space: &EmbeddingSpace) -> Result<Result<Layout, String>, sqlx::Error> {
        let mut transaction = self.pool().begin().await?;
        let connection = &mut *transaction;
        // Two that make the same table at the same time disturb each other. Released with the transaction.
        one(
            connection,
            QueryBuilder::new("SELECT 'x' FROM pg_advisory_xact_lock(7206251984)"),
        )
        .await?;
        let mut version = extension(connection).await?;
        if version.is_none() {
            statement(connection, "CREATE EXTENSION vector".to_owned()).await?;
            version = extension(connection).await?;
        }
        if one(
            connection,
            QueryBuilder::new("SELECT to_regnamespace('vecs')::text"),
        )
        .await?
        .is_none()
        {
            statement(connection, "CREATE SCHEMA vecs".to_owned()).await?;
        }
        if self.missing(connection, SPACES).await? {
            let columns = "name text PRIMARY KEY, provider text NOT NULL, model text NOT NULL, \
                 dimensions bigint NOT NULL";
            statement(connection, format!("CREATE TABLE vecs.{SPACES} ({columns})")).await?;
        }
        if self.missing(connection, &self.table).await? {
            for text in tables(&self.table, space) {
                statement(connection, text).await?;
            }
            self.claim(connection, space).await?;
        }
        let layout = Layout {
            indexed: space.dimensions <= INDEXED.1,
            iterates: version.is_some_and(|version| at_least_0_8(&version)),
        };
        let held = self.held(connection).await?;
        transaction.commit().await?;
        Ok(match held {
            Some(held) if held == *space => Ok(layout),
            Some(held) => Err(held.fingerprint()),
            None => Err("something that AudioRAG did not make".to_owned()),
        })
    }

    async fn missing(&self, connection: &mut PgConnection, table: &str) -> Result<bool, sqlx::Error> {
        let mut query = QueryBuilder::new("SELECT to_regclass(");
        query.push_bind(format!("vecs.{table}"));
        query.push(")::text");
        Ok(one(connection, query).await?.is_none())
    }

    /// Writes down that the table belongs to a space.
    async fn claim(&self, connection: &mut PgConnection, space: &EmbeddingSpace) -> Result<(), sqlx::Error> {
        let mut query = QueryBuilder::new(format!("INSERT INTO vecs.{SPACES} VALUES ("));
        let mut values = query.separated(", ");
        values.push_bind(self.table.clone());
        values.push_bind(space.provider.clone());
        values.push_bind(space.model.clone());
        values.push_bind(space.dimensions as i64);
        query.push(
            ") ON CONFLICT (name) DO UPDATE SET provider = EXCLUDED.provider, model = EXCLUDED.model, \
             dimensions = EXCLUDED.dimensions",
        );
        query.build().persistent(false).execute(connection).await?;
        Ok(())
    }

    /// The space that the table belongs to.
    async fn held(&self, connection: &mut PgConnection) -> Result<Option<EmbeddingSpace>, sqlx::Error> {
        let mut query = QueryBuilder::new(format!(
            "SELECT provider, model, dimensions FROM vecs.{SPACES} WHERE name = "
        ));
        query.push_bind(self.table.clone());
        let row = query.build().persistent(false).fetch_optional(connection).await?;
        row.map(|row| {
            Ok(EmbeddingSpace {
                provider: row.try_get(0)?,
                model: row.try_get(1)?,
                dimensions: usize::try_from(row.try_get::<i64, _>(2)?).unwrap_or_default(),
            })
        })
        .transpose()
    }
}

#[async_trait]
impl VectorStore for PgVector {
    fn info(&self) -> &ProviderInfo {
        &self.info
    }

    fn limits(&self) -> StoreLimits {
        StoreLimits {
            max_batch: MAX_BATCH,
            max_batch_bytes: Some(MAX_BATCH_BYTES),
            max_top_k: MAX_TOP_K,
            read_your_writes: true,
        }
    }

    async fn prepare(&self, space: &EmbeddingSpace) -> Result<()> {
        let mut attempt = 1;
        let laid_out = loop {
            match self.in_time(self.lay_out(space)).await {
                Ok(laid_out) => break laid_out,
                Err(error) => self.wait_after(attempt, error).await?,
            }
            attempt += 1;
        };
        match laid_out {
            Ok(layout) => {
                self.prepared.set(space, layout);
                Ok(())
            }
            Err(held) => {
                let place = format!("the table vecs.{}", self.table);
                Err(other_space(&place, &held, space, "AUDIORAG_PGVECTOR_TABLE"))
            }
        }
    }

    async fn upsert(&self, records: Vec<VectorRecord>) -> Result<()> {
        let place = self.prepared.get()?;
        let mut rows = check_records(&place.space, records)?
            .iter()
            .map(|record| {
                Ok((
                    self.ids.of(&record.id),
                    json(&record.vector)?,
                    without_zeros(json(&Fields::of(record))?)?,
                ))
            })
            .collect::<Result<Vec<_>>>()?;
        // Two writers that lock the same rows in different orders would block each other.
        rows.sort_unstable();
        for run in cut(rows, MAX_BATCH, MAX_REQUEST, |(id, vector, fields)| {
            id.len() + vector.len() + fields.len()
        })? {
            let statement = || {
                let column = |of: fn(&(String, String, String)) -> &String| {
                    run.iter().map(of).cloned().collect::<Vec<String>>()
                };
                let mut query = QueryBuilder::new(format!(
                    "INSERT INTO vecs.\"{}\" (id, vec, metadata) \
                     SELECT id, vec::vector, metadata::jsonb FROM unnest(",
                    self.table
                ));
                let mut columns = query.separated(", ");
                columns.push_bind(column(|row| &row.0));
                columns.push_bind(column(|row| &row.1));
                columns.push_bind(column(|row| &row.2));
                query.push(
                    ") AS given(id, vec, metadata) \
                     ON CONFLICT (id) DO UPDATE SET vec = EXCLUDED.vec, metadata = EXCLUDED.metadata",
                );
                vec![query]
            };
            self.run(statement).await?;
        }
        Ok(())
    }

    async fn search(&self, vector: &[f32], top_k: usize, filter: &Filter) -> Result<Vec<VectorMatch>> {
        let place = self.prepared.get()?;
        check_vector(&place.space, vector)?;
        let top_k = top_k.min(MAX_TOP_K);
        if top_k == 0 || Ranges::of(filter)?.is_none() {
            return Ok(Vec::new());
        }
        let vector = json(vector)?;
        let by_index = place.at.indexed && top_k <= INDEX_TOP_K;
        let mut matches = self.searched(&place, &vector, top_k, filter, by_index).await?;
        if by_index && matches.len() < top_k {
            matches = self.searched(&place, &vector, top_k, filter, false).await?;
        }
        Ok(best_first(matches, top_k))
    }

    async fn delete(&self, selector: &Selector) -> Result<()> {
        self.prepared.get()?;
        self.run(|| vec![self.query("DELETE FROM", selector)]).await?;
        Ok(())
    }

    async fn count(&self, selector: &Selector) -> Result<u64> {
        self.prepared.get()?;
        let rows = self
            .run(|| vec![self.query("SELECT count(*) FROM", selector)])
            .await?;
        let count: i64 = match rows.first() {
            Some(row) => row.try_get(0).map_err(explain)?,
            None => return Err(Error::protocol("the database returns no count")),
        };
        Ok(count.unsigned_abs())
    }

    async fn health_check(&self) -> Health {
        let start = Instant::now();
        let outcome = async {
            let query = "SELECT current_setting('server_version'), \
                 (SELECT extversion FROM pg_extension WHERE extname = 'vector')";
            let rows = self.run(|| vec![QueryBuilder::new(query)]).await?;
            let versions = rows.first().map(|row| (row.try_get(0), row.try_get(1)));
            match versions {
                Some((Ok::<String, _>(server), Ok(Some::<String>(vector)))) => {
                    Ok(format!("PostgreSQL {server}, pgvector {vector}"))
                }
                Some((Ok(server), Ok(None))) => {
                    Ok(format!("PostgreSQL {server}, pgvector not switched on yet"))
                }
                _ => Err(Error::protocol("the database returns no version")),
            }
        };
        health_of(outcome.await, start.elapsed())
    }
}
