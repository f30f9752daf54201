//! Statements, and what the database's failures mean.

use super::{INDEXED, Query};
use audiorag_core::model::{EmbeddingSpace, Filter};
use audiorag_core::{Error, ErrorKind, Result};
use serde_json::Value;
use sqlx::{PgConnection, QueryBuilder, Row as _};

/// Whether vectors are compared in half precision, because an index takes no more of full precision.
pub(super) fn halved(space: &EmbeddingSpace) -> bool {
    (INDEXED.0 + 1..=INDEXED.1).contains(&space.dimensions)
}

/// What makes a table with its indexes.
pub(super) fn tables(table: &str, space: &EmbeddingSpace) -> Vec<String> {
    let dimensions = space.dimensions;
    let mut all = vec![
        format!(
            r#"CREATE TABLE vecs."{table}" (id text PRIMARY KEY, vec vector({dimensions}) NOT NULL, metadata jsonb NOT NULL DEFAULT '{{}}')"#
        ),
        format!(r#"CREATE INDEX "{table}_metadata" ON vecs."{table}" USING gin (metadata jsonb_path_ops)"#),
        format!(r#"CREATE INDEX "{table}_source" ON vecs."{table}" ((metadata->>'source_id'))"#),
    ];
    let indexed = if halved(space) {
        Some(format!("(vec::halfvec({dimensions})) halfvec_cosine_ops"))
    } else {
        (dimensions <= INDEXED.0).then(|| "vec vector_cosine_ops".to_owned())
    };
    all.extend(
        indexed
            .map(|indexed| format!(r#"CREATE INDEX "{table}_vec" ON vecs."{table}" USING hnsw ({indexed})"#)),
    );
    all
}

/// Adds the conditions of a filter.
pub(super) fn restrict(query: &mut Query, filter: &Filter) {
    if !filter.sources.is_empty() {
        let ids: Vec<String> = filter
            .sources
            .iter()
            .map(|source| source.as_str().to_owned())
            .collect();
        query.push(" AND metadata->>'source_id' = ANY(");
        query.push_bind(ids);
        query.push(")");
    }
    if !filter.speakers.is_empty() {
        query.push(" AND metadata->'speakers' ?| ");
        query.push_bind(filter.speakers.clone());
    }
    if let Some(language) = &filter.language {
        query.push(" AND metadata->>'language' = ");
        query.push_bind(language.clone());
    }
    // Days as text have an order of their own only byte by byte.
    if let Some(day) = &filter.after {
        query.push(" AND (metadata->>'date') COLLATE \"C\" >= ");
        query.push_bind(day.clone());
    }
    if let Some(day) = &filter.before {
        query.push(" AND (metadata->>'date') COLLATE \"C\" <= ");
        query.push_bind(day.clone());
    }
    if let Some(span) = filter.within {
        let millis = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        query.push(" AND (metadata->>'start_ms')::bigint < ");
        query.push_bind(millis(span.end().as_millis()));
        query.push(" AND (metadata->>'end_ms')::bigint > ");
        query.push_bind(millis(span.start().as_millis()));
    }
}

/// The one text that a statement returns.
pub(super) async fn one(
    connection: &mut PgConnection,
    mut query: Query,
) -> Result<Option<String>, sqlx::Error> {
    let row = query.build().persistent(false).fetch_optional(connection).await?;
    row.map_or(Ok(None), |row| row.try_get(0))
}

/// Runs a statement that returns nothing.
pub(super) async fn statement(connection: &mut PgConnection, text: String) -> Result<(), sqlx::Error> {
    let mut query: Query = QueryBuilder::new(text);
    query.build().persistent(false).execute(connection).await?;
    Ok(())
}

/// The version of pgvector, if it is switched on.
pub(super) async fn extension(connection: &mut PgConnection) -> Result<Option<String>, sqlx::Error> {
    let query = QueryBuilder::new("SELECT extversion FROM pg_extension WHERE extname = 'vector'");
    one(connection, query).await
}

/// A statement that sets a parameter until the end of the transaction.
pub(super) fn configuring(name: &str, value: &str) -> Query {
    let mut query = QueryBuilder::new("SELECT set_config(");
    let mut arguments = query.separated(", ");
    arguments.push_bind(name.to_owned());
    arguments.push_bind(value.to_owned());
    query.push(", true)");
    query
}

pub(super) fn at_least_0_8(version: &str) -> bool {
    let mut numbers = version.split('.').map(|part| part.parse::<u32>().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) >= (0, 8)
}

/// What a failure of the database means for the caller. Nothing of the address is shown.
pub(super) fn explain(error: sqlx::Error) -> Error {
    let failure = |kind, message: &str| Error::new(kind, message);
    match error {
        sqlx::Error::Database(said) => {
            let code = said.code().unwrap_or_default().into_owned();
            let (kind, hint) = meaning(&code);
            let error = failure(kind, "the database refuses")
                .with_context("said", said.message())
                .with_context("code", code);
            match hint {
                Some(hint) => error.with_hint(hint),
                None => error,
            }
        }
        sqlx::Error::Io(error) => failure(ErrorKind::Unavailable, "the database cannot be reached")
            .with_hint("check the host and port in pgvector.url, and that the server runs")
            .with_cause(error),
        sqlx::Error::Tls(error) => failure(ErrorKind::Unavailable, "no encrypted connection to the database")
            .with_hint("check the system's root certificates, and sslmode in pgvector.url")
            .with_cause(error),
        // The pool has tried again and again until its time was up.
        sqlx::Error::PoolTimedOut => failure(ErrorKind::Unavailable, "no connection to the database in time")
            .with_hint("check the host and port in pgvector.url, and the server's limit of connections")
            .into_persistent(),
        sqlx::Error::Configuration(_) => failure(ErrorKind::Config, "pgvector.url cannot be used"),
        other => failure(
            ErrorKind::Protocol,
            "the database answers with something unexpected",
        )
        .with_cause(other),
    }
}

/// What a SQLSTATE means: <https://www.postgresql.org/docs/current/errcodes-appendix.html>.
pub(super) fn meaning(code: &str) -> (ErrorKind, Option<&'static str>) {
    match (code, code.get(..2).unwrap_or_default()) {
        ("57014", _) => (ErrorKind::Timeout, None),
        ("42501", _) => (
            ErrorKind::Auth,
            Some("grant the user of pgvector.url the right to make and use the schema vecs"),
        ),
        ("0A000" | "58P01", _) => (
            ErrorKind::Unsupported,
            Some("install the extension pgvector on the database server"),
        ),
        ("42P01", _) => (ErrorKind::NotFound, None),
        (_, "28") => (ErrorKind::Auth, Some("check user and password in pgvector.url")),
        (_, "3D") => (ErrorKind::Config, Some("check the database name in pgvector.url")),
        (_, "08" | "40" | "53" | "55" | "57") => (ErrorKind::Unavailable, None),
        (_, "22" | "23") => (ErrorKind::Input, None),
        // A statement that the database does not understand will not be understood the next time either.
        (_, "42") => (ErrorKind::Internal, None),
        _ => (ErrorKind::Protocol, None),
    }
}

/// JSON whose texts hold no character zero, which no text of PostgreSQL can.
pub(super) fn without_zeros(json: String) -> Result<String> {
    if !json.contains("\\u0000") {
        return Ok(json);
    }
    // It may be a backslash that is meant as such: only the parser knows.
    fn clean(value: &mut Value) {
        match value {
            Value::String(text) => *text = text.replace('\0', " "),
            Value::Array(items) => items.iter_mut().for_each(clean),
            Value::Object(fields) => fields.values_mut().for_each(clean),
            _ => {}
        }
    }
    let mut value: Value = serde_json::from_str(&json)
        .map_err(|error| Error::internal("a record cannot be read back from JSON").with_cause(error))?;
    clean(&mut value);
    Ok(value.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use audiorag_core::Span;
    use audiorag_core::id::SourceId;

    fn space(dimensions: usize) -> EmbeddingSpace {
        EmbeddingSpace {
            provider: "p".to_owned(),
            model: "m".to_owned(),
            dimensions,
        }
    }

    #[test]
    fn the_index_fits_the_dimensions() {
        let index = |dimensions| tables("t", &space(dimensions)).get(3).cloned();
        assert!(index(2_000).unwrap().ends_with("hnsw (vec vector_cosine_ops)"));
        assert!(
            index(3_072)
                .unwrap()
                .ends_with("((vec::halfvec(3072)) halfvec_cosine_ops)")
        );
        assert_eq!(index(4_001), None);
        assert!(at_least_0_8("0.8.5") && at_least_0_8("1.0") && !at_least_0_8("0.7.4") && !at_least_0_8(""));
    }

    #[test]
    fn values_of_filters_are_bound() {
        let canary = "'; DROP TABLE x; --".to_owned();
        let filter = Filter {
            sources: vec![SourceId::from_stored(canary.clone())],
            speakers: vec![canary.clone()],
            language: Some(canary.clone()),
            after: Some("2026-01-01".to_owned()),
            before: Some("2026-01-01".to_owned()),
            within: Some(Span::from_millis(1, 2)),
        };
        let mut query = QueryBuilder::new("");
        restrict(&mut query, &filter);
        let text = query.into_string();
        assert!(!text.contains("DROP") && !text.contains("2026"), "{text}");
        for bound in 1..=7 {
            assert!(text.contains(&format!("${bound}")), "{text}");
        }
    }

    #[test]
    fn states_have_their_meaning() {
        for (code, kind) in [
            ("28P01", ErrorKind::Auth),
            ("3D000", ErrorKind::Config),
            ("42501", ErrorKind::Auth),
            ("40P01", ErrorKind::Unavailable),
            ("53300", ErrorKind::Unavailable),
            ("57014", ErrorKind::Timeout),
            ("57P01", ErrorKind::Unavailable),
            ("22P02", ErrorKind::Input),
            ("42601", ErrorKind::Internal),
            ("", ErrorKind::Protocol),
        ] {
            assert_eq!(meaning(code).0, kind, "{code}");
        }
    }
}
