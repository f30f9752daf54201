//! Writing records into the rows of the embedded vector store, many with each statement.

use super::rows::delete_where;
use crate::db::{placeholders, repeated, sql};
use crate::fault::Attempt;
use crate::{space, stored};
use audiorag_core::capability::VectorRecord;
use sea_orm::{ConnectionTrait as _, DatabaseTransaction, QueryResult, Value};
use std::collections::{BTreeSet, HashMap};

/// Records that are looked for and written with one statement.
const RECORDS: usize = 128;
/// Speakers that are written with one statement.
const SPEAKERS: usize = 256;

/// Writes records of one space, replacing those with equal ids; of several with one id the last one stays. A record
/// that is there already, equal in all that can be filtered or compared, keeps its number.
pub(super) async fn upsert(tx: &DatabaseTransaction, space_id: i64, records: &[VectorRecord]) -> Attempt<()> {
    let vectors: Vec<(&str, Vec<u8>)> = records
        .iter()
        .map(|record| {
            (
                record.embedding_key.as_str(),
                stored::write_vector(&record.vector),
            )
        })
        .collect();
    space::insert_embeddings(tx, space_id, vectors).await?;
    let mut seen = BTreeSet::new();
    let mut last: Vec<&VectorRecord> = records
        .iter()
        .rev()
        .filter(|record| seen.insert(record.id.as_str()))
        .collect();
    last.reverse();
    for batch in last.chunks(RECORDS) {
        let stored = stored_ones(tx, space_id, batch).await?;
        let (mut replaced, mut new) = (Vec::new(), Vec::new());
        for record in batch {
            match stored.get(record.id.as_str()) {
                Some(there) if *there == Stored::of(record) => {}
                there => {
                    replaced.extend(there.map(|_| record.id.as_str()));
                    new.push(*record);
                }
            }
        }
        if !replaced.is_empty() {
            let condition = format!("space_id = ? AND record_id IN ({})", placeholders(replaced.len()));
            let ids = replaced.into_iter().map(Value::from);
            delete_where(
                tx,
                &condition,
                std::iter::once(space_id.into()).chain(ids).collect(),
            )
            .await?;
        }
        insert(tx, space_id, &new).await?;
    }
    Ok(())
}

/// All of a record that can be filtered or compared.
#[derive(Debug, PartialEq)]
struct Stored {
    source: String,
    revision: i64,
    start: i64,
    end: i64,
    language: Option<String>,
    date: Option<String>,
    embedding: String,
    speakers: BTreeSet<String>,
}

impl Stored {
    fn of(record: &VectorRecord) -> Self {
        Self {
            source: record.source_id.as_str().to_owned(),
            revision: record.revision.0,
            start: record.span.start().as_millis() as i64,
            end: record.span.end().as_millis() as i64,
            language: record.language.clone(),
            date: record.date.clone(),
            embedding: record.embedding_key.as_str().to_owned(),
            speakers: record.speakers.iter().cloned().collect(),
        }
    }

    /// From the columns of [`stored_ones`], without its speakers.
    fn read(row: &QueryResult) -> Attempt<Self> {
        Ok(Self {
            source: row.try_get_by_index(2)?,
            revision: row.try_get_by_index(3)?,
            start: row.try_get_by_index(4)?,
            end: row.try_get_by_index(5)?,
            language: row.try_get_by_index(6)?,
            date: row.try_get_by_index(7)?,
            embedding: row.try_get_by_index(8)?,
            speakers: BTreeSet::new(),
        })
    }
}

/// What is stored under the ids of these records.
async fn stored_ones(
    tx: &DatabaseTransaction,
    space_id: i64,
    records: &[&VectorRecord],
) -> Attempt<HashMap<String, Stored>> {
    let ids = records.iter().map(|record| Value::from(record.id.as_str()));
    let text = format!(
        "SELECT v.id, v.record_id, v.source_id, v.revision_id, v.start_ms, v.end_ms, v.language, v.date,
         e.embedding_key FROM vector v JOIN embedding e ON e.id = v.embedding_id
         WHERE v.space_id = ? AND v.record_id IN ({})",
        placeholders(records.len())
    );
    let values: Vec<Value> = std::iter::once(space_id.into()).chain(ids).collect();
    let mut numbered = HashMap::new();
    for row in tx.query_all_raw(sql(&text, values)).await? {
        let (number, id): (i64, String) = (row.try_get_by_index(0)?, row.try_get_by_index(1)?);
        numbered.insert(number, (id, Stored::read(&row)?));
    }
    if !numbered.is_empty() {
        let text = format!(
            "SELECT vector_id, speaker FROM vector_speaker WHERE vector_id IN ({})",
            placeholders(numbered.len())
        );
        let numbers: Vec<Value> = numbered.keys().map(|number| Value::from(*number)).collect();
        for row in tx.query_all_raw(sql(&text, numbers)).await? {
            let number: i64 = row.try_get_by_index(0)?;
            if let Some((_, stored)) = numbered.get_mut(&number) {
                stored.speakers.insert(row.try_get_by_index(1)?);
            }
        }
    }
    Ok(numbered.into_values().collect())
}

/// Writes records of which none is there. Numbers are looked up where they are needed: each row that comes back is a
/// message from the thread that has the connection.
async fn insert(tx: &DatabaseTransaction, space_id: i64, records: &[&VectorRecord]) -> Attempt<()> {
    if records.is_empty() {
        return Ok(());
    }
    let mut values: Vec<Value> = Vec::with_capacity(records.len() * 10);
    let mut speakers: Vec<(&str, &str)> = Vec::new();
    for record in records {
        values.extend([
            record.id.as_str().into(),
            record.source_id.as_str().into(),
            record.revision.0.into(),
            space_id.into(),
            record.embedding_key.as_str().into(),
            space_id.into(),
            (record.span.start().as_millis() as i64).into(),
            (record.span.end().as_millis() as i64).into(),
            record.language.clone().into(),
            record.date.clone().into(),
        ]);
        let distinct: BTreeSet<&str> = record.speakers.iter().map(String::as_str).collect();
        speakers.extend(distinct.into_iter().map(|speaker| (speaker, record.id.as_str())));
    }
    let row = "(?, ?, ?, ?, (SELECT id FROM embedding WHERE embedding_key = ? AND space_id = ?), ?, ?, ?, ?)";
    let text = format!(
        "INSERT INTO vector (record_id, source_id, revision_id, space_id, embedding_id, start_ms, end_ms, language,
         date) VALUES {}",
        repeated(row, records.len())
    );
    tx.execute_raw(sql(&text, values)).await?;
    for batch in speakers.chunks(SPEAKERS) {
        let row = "(?, (SELECT id FROM vector WHERE record_id = ? AND space_id = ?))";
        let text = format!(
            "INSERT INTO vector_speaker (speaker, vector_id) VALUES {}",
            repeated(row, batch.len())
        );
        let values: Vec<Value> = batch
            .iter()
            .flat_map(|(speaker, record)| [(*speaker).into(), (*record).into(), space_id.into()])
            .collect();
        tx.execute_raw(sql(&text, values)).await?;
    }
    Ok(())
}
