//! Rows that stand for embedding spaces.

use crate::db::{now, repeated, sql};
use crate::entity;
use crate::fault::{Attempt, Fault};
use audiorag_core::Error;
use audiorag_core::model::EmbeddingSpace;
use sea_orm::{ColumnTrait as _, ConnectionTrait, EntityTrait as _, QueryFilter as _, Value};
use std::collections::HashMap;

/// Embeddings that are written with one statement.
const EMBEDDINGS: usize = 64;

/// The number of a space, if it has one.
pub(crate) async fn find(connection: &impl ConnectionTrait, space: &EmbeddingSpace) -> Attempt<Option<i64>> {
    Ok(entity::space::Entity::find()
        .filter(entity::space::Column::Fingerprint.eq(space.fingerprint()))
        .one(connection)
        .await?
        .map(|row| row.id))
}

/// The number of a space, which is given one where needed.
pub(crate) async fn number(connection: &impl ConnectionTrait, space: &EmbeddingSpace) -> Attempt<i64> {
    if let Some(id) = find(connection, space).await? {
        return Ok(id);
    }
    connection
        .execute_raw(sql(
            "INSERT INTO space (fingerprint, provider, model, dimensions) VALUES ($1, $2, $3, $4)
             ON CONFLICT (fingerprint) DO NOTHING",
            [
                space.fingerprint().into(),
                space.provider.clone().into(),
                space.model.clone().into(),
                (space.dimensions as i64).into(),
            ],
        ))
        .await?;
    find(connection, space)
        .await?
        .ok_or_else(|| Fault::Explained(Error::internal("a space vanished")))
}

/// All spaces by number.
pub(crate) async fn all(connection: &impl ConnectionTrait) -> Attempt<HashMap<i64, EmbeddingSpace>> {
    Ok(entity::space::Entity::find()
        .all(connection)
        .await?
        .into_iter()
        .map(|row| (row.id, from_row(row)))
        .collect())
}

/// One space by number.
pub(crate) async fn get(connection: &impl ConnectionTrait, id: i64) -> Attempt<EmbeddingSpace> {
    let row = entity::space::Entity::find_by_id(id).one(connection).await?;
    row.map(from_row)
        .ok_or_else(|| Fault::Explained(Error::state(format!("embedding space {id} is missing"))))
}

fn from_row(row: entity::space::Model) -> EmbeddingSpace {
    EmbeddingSpace {
        provider: row.provider,
        model: row.model,
        dimensions: row.dimensions.max(0) as usize,
    }
}

/// Writes vectors that are not there yet; the first vector under a key stays. Returns how many were new.
pub(crate) async fn insert_embeddings(
    connection: &impl ConnectionTrait,
    space_id: i64,
    rows: Vec<(&str, Vec<u8>)>,
) -> Attempt<u64> {
    let (created, mut new) = (now(), 0);
    let mut rows = rows.into_iter();
    while rows.len() > 0 {
        let count = rows.len().min(EMBEDDINGS);
        let values: Vec<Value> = rows
            .by_ref()
            .take(count)
            .flat_map(|(key, vector)| [key.into(), space_id.into(), vector.into(), created.into()])
            .collect();
        let text = format!(
            "INSERT INTO embedding (embedding_key, space_id, vector, created_at) VALUES {}
             ON CONFLICT (embedding_key, space_id) DO NOTHING",
            repeated("(?, ?, ?, ?)", count)
        );
        new += connection.execute_raw(sql(&text, values)).await?.rows_affected();
    }
    Ok(new)
}

/// Checks that a vector belongs to the space and brings it to unit length; one that has it stays as it is, bit by
/// bit.
pub(crate) fn check_unit(space: &EmbeddingSpace, vector: &mut [f32]) -> Result<(), Error> {
    let mut unit = vector.to_vec();
    space.normalize(&mut unit)?;
    let differs = vector
        .iter()
        .zip(&unit)
        .any(|(old, new)| (old - new).abs() > 1e-5);
    if differs {
        vector.copy_from_slice(&unit);
    }
    Ok(())
}
