//! The rows of the embedded vector store: what is true, whatever the side files say.

use crate::db::{Db, placeholders, sql};
use crate::fault::Attempt;
use crate::filter::Columns;
use crate::stored;
use audiorag_core::capability::{Selector, VectorMatch};
use audiorag_core::id::ChunkId;
use audiorag_core::model::Filter;
use sea_orm::{ConnectionTrait, DatabaseTransaction, Statement, Value};
use simsimd::SpatialSimilarity as _;
use std::collections::BTreeSet;

/// Values of one list in a statement.
const LIST: usize = 500;
/// Vectors read at once while scanning the database.
const PAGE: i64 = 4096;

/// A vector that passed the filter, with its exact score.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Scored {
    pub(super) record: String,
    pub(super) score: f32,
}

/// The random name of the database.
pub(super) async fn store_epoch(db: &Db) -> Attempt<String> {
    let row = db
        .reader()
        .query_one_raw(sql("SELECT value FROM meta WHERE name = 'store_epoch'", []))
        .await?;
    match row {
        Some(row) => Ok(row.try_get_by_index(0)?),
        None => Err(audiorag_core::Error::state("the database has no name of its own")
            .with_hint("run 'audiorag doctor' to check the database")
            .into()),
    }
}

/// The newest vector of a space, or 0.
pub(super) async fn newest(db: &Db, space_id: i64) -> Attempt<i64> {
    let row = db
        .reader()
        .query_one_raw(sql(
            "SELECT max(id) FROM vector WHERE space_id = $1",
            [space_id.into()],
        ))
        .await?;
    let newest: Option<i64> = match row {
        Some(row) => row.try_get_by_index(0)?,
        None => None,
    };
    Ok(newest.unwrap_or_default())
}

/// The highest number that a vector ever had.
pub(super) async fn last_number(db: &Db) -> Attempt<i64> {
    let row = db
        .reader()
        .query_one_raw(sql("SELECT seq FROM sqlite_sequence WHERE name = 'vector'", []))
        .await?;
    match row {
        Some(row) => Ok(row.try_get_by_index(0)?),
        None => Ok(0),
    }
}

/// The newest vector of a space whose number is not above `last`.
pub(super) async fn newest_up_to(db: &Db, space_id: i64, last: i64) -> Attempt<Option<(i64, Vec<f32>)>> {
    let row = db
        .reader()
        .query_one_raw(sql(
            "SELECT v.id, e.vector FROM vector v JOIN embedding e ON e.id = v.embedding_id
             WHERE v.space_id = $1 AND v.id <= $2 ORDER BY v.id DESC LIMIT 1",
            [space_id.into(), last.into()],
        ))
        .await?;
    let Some(row) = row else { return Ok(None) };
    let vector: Vec<u8> = row.try_get_by_index(1)?;
    Ok(Some((row.try_get_by_index(0)?, stored::read_vector(&vector))))
}

/// The vectors behind number `after`, oldest first, some at a time.
pub(super) async fn page(db: &Db, space_id: i64, after: i64) -> Attempt<Vec<(i64, Vec<f32>)>> {
    let rows = db
        .reader()
        .query_all_raw(sql(
            "SELECT v.id, e.vector FROM vector v JOIN embedding e ON e.id = v.embedding_id
             WHERE v.space_id = $1 AND v.id > $2 ORDER BY v.id LIMIT $3",
            [space_id.into(), after.into(), PAGE.into()],
        ))
        .await?;
    let mut page = Vec::with_capacity(rows.len());
    for row in rows {
        let vector: Vec<u8> = row.try_get_by_index(1)?;
        page.push((row.try_get_by_index(0)?, stored::read_vector(&vector)));
    }
    Ok(page)
}

/// What filters ask for, of vectors `v` that are at hand.
const AT_HAND: Columns = Columns {
    source: "v.source_id",
    language: "v.language",
    day: "v.date",
    start: "v.start_ms",
    end: "v.end_ms",
    speakers: (
        "EXISTS (SELECT 1 FROM vector_speaker n WHERE n.vector_id = v.id AND n.speaker",
        ")",
    ),
};

/// The same of vectors `v` that have to be found by their speakers.
const BY_SPEAKER: Columns = Columns {
    speakers: ("v.id IN (SELECT vector_id FROM vector_speaker WHERE speaker", ")"),
    ..AT_HAND
};

/// The newest vector of the space, or 0, and the numbers of the vectors that pass the filter, rising, or `None` when
/// they are more than `most`.
pub(super) async fn matching(
    db: &Db,
    space_id: i64,
    filter: &Filter,
    most: usize,
) -> Attempt<(i64, Option<Vec<i64>>)> {
    let row = db
        .reader()
        .query_one_raw(matching_query(space_id, filter, most))
        .await?;
    let (list, newest): (Option<String>, Option<i64>) = match row {
        Some(row) => (row.try_get_by_index(0)?, row.try_get_by_index(1)?),
        None => (None, None),
    };
    let mut ids: Vec<i64> = list
        .unwrap_or_default()
        .split(',')
        .filter_map(|number| number.parse().ok())
        .collect();
    ids.sort_unstable();
    Ok((newest.unwrap_or_default(), (ids.len() <= most).then_some(ids)))
}

/// One row with up to `most` numbers and one more: reading a row costs more than reading a number.
fn matching_query(space_id: i64, filter: &Filter, most: usize) -> Statement {
    let columns = if filter.sources.is_empty() {
        BY_SPEAKER
    } else {
        AT_HAND
    };
    let mut values = vec![space_id.into()];
    let conditions = columns.conditions(filter, &mut values);
    values.push((most as i64 + 1).into());
    // The plus keeps the planner from walking through the whole space instead of using the index that the filter
    // calls for.
    let text = format!(
        "SELECT group_concat(id), (SELECT max(id) FROM vector WHERE space_id = $1)
         FROM (SELECT v.id AS id FROM vector v WHERE +v.space_id = $1{conditions} LIMIT ${})",
        values.len()
    );
    sql(&text, values)
}

/// The exact scores of those of the numbered vectors that are still there and pass the filter, and the newest vector of
/// the space, or 0 when none of these is there.
pub(super) async fn score(
    db: &Db,
    space_id: i64,
    ids: &[i64],
    filter: &Filter,
    query: &[f32],
) -> Attempt<(Vec<Scored>, i64)> {
    let mut values = vec![space_id.into(), list(ids)];
    let conditions = AT_HAND.conditions(filter, &mut values);
    let text = format!(
        "SELECT v.record_id, e.vector, (SELECT max(id) FROM vector WHERE space_id = $1)
         FROM vector v JOIN embedding e ON e.id = v.embedding_id
         WHERE v.space_id = $1 AND v.id IN (SELECT value FROM json_each($2)){conditions}"
    );
    let rows = db.reader().query_all_raw(sql(&text, values)).await?;
    let (mut scored, mut newest) = (Vec::with_capacity(rows.len()), 0);
    for row in rows {
        let vector: Vec<u8> = row.try_get_by_index(1)?;
        newest = row.try_get_by_index(2)?;
        scored.push(Scored {
            record: row.try_get_by_index(0)?,
            score: dot(&vector, query),
        });
    }
    Ok((scored, newest))
}

/// Numbers as one value, for `json_each`: the statement is the same however many there are.
fn list(ids: &[i64]) -> Value {
    let ids: Vec<String> = ids.iter().map(i64::to_string).collect();
    format!("[{}]", ids.join(",")).into()
}

/// The `wanted` nearest vectors behind number `after` that pass the filter, by comparing each: slow and exact.
pub(super) async fn scan(
    db: &Db,
    space_id: i64,
    after: i64,
    filter: &Filter,
    query: &[f32],
    wanted: usize,
) -> Attempt<Vec<Scored>> {
    let mut best: Vec<Scored> = Vec::new();
    let mut last = after;
    loop {
        let mut values = vec![space_id.into(), last.into(), PAGE.into()];
        let conditions = AT_HAND.conditions(filter, &mut values);
        let text = format!(
            "SELECT v.id, v.record_id, e.vector FROM vector v JOIN embedding e ON e.id = v.embedding_id
             WHERE v.space_id = $1 AND v.id > $2{conditions} ORDER BY v.id LIMIT $3"
        );
        let rows = db.reader().query_all_raw(sql(&text, values)).await?;
        let count = rows.len() as i64;
        for row in rows {
            last = row.try_get_by_index(0)?;
            let vector: Vec<u8> = row.try_get_by_index(2)?;
            best.push(Scored {
                record: row.try_get_by_index(1)?,
                score: dot(&vector, query),
            });
        }
        keep_best(&mut best, wanted);
        if count < PAGE {
            return Ok(best);
        }
    }
}

/// Sorts, best first, and keeps the first `wanted`.
pub(super) fn keep_best(scored: &mut Vec<Scored>, wanted: usize) {
    scored.sort_by(|a, b| b.score.total_cmp(&a.score).then_with(|| a.record.cmp(&b.record)));
    scored.dedup_by(|a, b| a.record == b.record);
    scored.truncate(wanted);
}

/// The answer in the words of the capability.
pub(super) fn matches(scored: Vec<Scored>) -> Vec<VectorMatch> {
    scored
        .into_iter()
        .map(|found| VectorMatch {
            id: ChunkId::from_stored(found.record),
            score: found.score.clamp(-1.0, 1.0),
        })
        .collect()
}

fn dot(stored_vector: &[u8], query: &[f32]) -> f32 {
    let vector = stored::read_vector(stored_vector);
    f32::dot(&vector, query).map_or(f32::NEG_INFINITY, |product| product as f32)
}

/// A selector as conditions on `vector`, one for each statement that is needed. A source's or chunk's vectors are
/// meant in every space: a revision that was made with another model has to go as well. `None` for the space means
/// that none is prepared.
fn selections(selector: &Selector, space_id: Option<i64>) -> Vec<(String, Vec<Value>)> {
    match selector {
        Selector::Source(source) => vec![("source_id = $1".into(), vec![source.as_str().into()])],
        Selector::Revision(source, revision) => vec![(
            "source_id = $1 AND revision_id = $2".into(),
            vec![source.as_str().into(), revision.0.into()],
        )],
        Selector::Chunks(ids) => {
            let distinct: BTreeSet<&str> = ids.iter().map(ChunkId::as_str).collect();
            let distinct: Vec<&str> = distinct.into_iter().collect();
            distinct
                .chunks(LIST)
                .map(|batch| {
                    let list = placeholders(batch.len());
                    (
                        format!("record_id IN ({list})"),
                        batch.iter().map(|id| Value::from(*id)).collect(),
                    )
                })
                .collect()
        }
        Selector::All => space_id
            .map(|space| ("space_id = $1".into(), vec![space.into()]))
            .into_iter()
            .collect(),
    }
}

pub(super) async fn delete_where(
    tx: &DatabaseTransaction,
    condition: &str,
    values: Vec<Value>,
) -> Attempt<u64> {
    let text = format!("DELETE FROM vector WHERE {condition}");
    Ok(tx.execute_raw(sql(&text, values)).await?.rows_affected())
}

/// Removes what is selected and returns how much that was.
pub(super) async fn delete(
    tx: &DatabaseTransaction,
    selector: &Selector,
    space_id: Option<i64>,
) -> Attempt<u64> {
    let mut deleted = 0;
    for (condition, values) in selections(selector, space_id) {
        deleted += delete_where(tx, &condition, values).await?;
    }
    Ok(deleted)
}

/// Counts what is selected.
pub(super) async fn count(db: &Db, selector: &Selector, space_id: Option<i64>) -> Attempt<u64> {
    let mut total = 0;
    for (condition, values) in selections(selector, space_id) {
        let text = format!("SELECT count(*) FROM vector WHERE {condition}");
        if let Some(row) = db.reader().query_one_raw(sql(&text, values)).await? {
            let count: i64 = row.try_get_by_index(0)?;
            total += count.max(0) as u64;
        }
    }
    Ok(total)
}

/// Counts everything, in every space.
pub(super) async fn total(db: &Db) -> Attempt<u64> {
    let row = db
        .reader()
        .query_one_raw(sql("SELECT count(*) FROM vector", []))
        .await?;
    let count: i64 = match row {
        Some(row) => row.try_get_by_index(0)?,
        None => 0,
    };
    Ok(count.max(0) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{State, StateOptions};
    use audiorag_core::id::SourceId;

    #[tokio::test]
    async fn filters_use_the_index_that_is_made_for_them() {
        let directory = tempfile::tempdir().unwrap();
        let state = State::open(StateOptions::new(directory.path().join("s.db")))
            .await
            .unwrap();
        let source = Filter {
            sources: vec![SourceId::from_stored("s")],
            ..Filter::default()
        };
        let cases = [
            (source.clone(), "COVERING INDEX vector_source"),
            (
                Filter {
                    language: Some("en".into()),
                    ..source.clone()
                },
                "INDEX vector_source",
            ),
            (
                Filter {
                    speakers: vec!["Ada".into()],
                    ..source
                },
                "INDEX vector_source",
            ),
            (
                Filter {
                    after: Some("2026-01-01".into()),
                    ..Filter::default()
                },
                "COVERING INDEX vector_date",
            ),
            (
                Filter {
                    speakers: vec!["Ada".into()],
                    ..Filter::default()
                },
                "INTEGER PRIMARY KEY",
            ),
        ];
        for (filter, expected) in cases {
            let mut query = matching_query(1, &filter, 10);
            query.sql = format!("EXPLAIN QUERY PLAN {}", query.sql);
            let rows = state.db.reader().query_all_raw(query).await.unwrap();
            let steps: Vec<String> = rows
                .iter()
                .map(|row| row.try_get("", "detail").unwrap())
                .collect();
            assert!(
                steps
                    .iter()
                    .any(|step| step.starts_with("SEARCH v") && step.contains(expected)),
                "{steps:?}"
            );
        }
    }
}
