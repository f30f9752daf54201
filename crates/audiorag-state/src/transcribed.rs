//! The transcripts of a revision's parts, read a few at a time.

use crate::db::{placeholders, sql};
use crate::fault::Attempt;
use crate::revision::GIVEN;
use crate::{entity, stored};
use audiorag_core::id::RevisionId;
use audiorag_core::model::{PartTranscript, Segment};
use audiorag_core::transcript::{Assembly, PlacedPart};
use audiorag_core::{Error, MediaTime, Span};
use sea_orm::{ConnectionTrait, EntityTrait as _, Value};
use std::collections::HashMap;

/// Transcripts in memory at a time. Each has the words of some minutes.
const AT_A_TIME: usize = 8;

/// The parts of a revision, by their spans.
pub(crate) struct Parts {
    /// The source of the revision.
    pub(crate) source: String,
    /// How long the source is.
    pub(crate) duration: MediaTime,
    in_order: Vec<Part>,
}

struct Part {
    span: Span,
    /// Absent where nothing is said.
    key: Option<String>,
}

/// A transcript, and whether it was given.
type Said = (PartTranscript, bool);

impl Parts {
    /// # Errors
    /// [`NotFound`](audiorag_core::ErrorKind::NotFound) for an unknown revision.
    pub(crate) async fn of(connection: &impl ConnectionTrait, revision: RevisionId) -> Attempt<Self> {
        let row = entity::revision::Entity::find_by_id(revision.0)
            .one(connection)
            .await?
            .ok_or_else(|| Error::not_found(format!("there is no revision {revision}")))?;
        let rows = connection
            .query_all_raw(sql(
                "SELECT start_ms, end_ms, part_key FROM part WHERE revision_id = $1 ORDER BY idx",
                [revision.0.into()],
            ))
            .await?;
        let mut parts = Vec::with_capacity(rows.len());
        for part in rows {
            parts.push(Part {
                span: stored::span(part.try_get_by_index(0)?, part.try_get_by_index(1)?),
                key: part.try_get_by_index(2)?,
            });
        }
        parts.sort_by_key(|part| part.span);
        // Until the chunks are stored, the parts say how long the source is.
        let end = parts.iter().map(|part| part.span.end()).max().unwrap_or_default();
        Ok(Self {
            source: row.source_id,
            duration: MediaTime::from_millis(row.duration_ms.max(0) as u64).max(end),
            in_order: parts,
        })
    }

    /// Hands over every segment, part by part, and returns the language of the whole.
    ///
    /// # Errors
    /// [`State`](audiorag_core::ErrorKind::State) for missing transcripts: one with a hole must not pass for a whole one.
    pub(crate) async fn read(
        &self,
        connection: &impl ConnectionTrait,
        mut take: impl FnMut(Segment),
    ) -> Attempt<Option<String>> {
        let mut assembly = Assembly::default();
        for batch in self.in_order.chunks(AT_A_TIME) {
            let said = said(connection, batch).await?;
            for part in batch {
                if let Some(placed) = part.placed(&said)? {
                    assembly.note(placed);
                }
            }
        }
        let mut number = 0;
        for batch in self.in_order.chunks(AT_A_TIME) {
            let said = said(connection, batch).await?;
            for part in batch {
                number += 1;
                if let Some(placed) = part.placed(&said)? {
                    assembly.place(number, placed).for_each(&mut take);
                }
            }
        }
        Ok(assembly.language())
    }
}

impl Part {
    /// The part with what is said in it, unless that is nothing.
    fn placed<'a>(&self, said: &'a HashMap<String, Said>) -> Attempt<Option<PlacedPart<'a>>> {
        let Some(key) = &self.key else { return Ok(None) };
        let (transcript, is_given) = said.get(key).ok_or_else(|| {
            Error::state(format!(
                "the transcript of the part at {} is not stored",
                self.span
            ))
            .with_hint("run 'audiorag index' again to complete it")
        })?;
        Ok(Some(PlacedPart {
            span: self.span,
            transcript,
            is_given: *is_given,
        }))
    }
}

/// The stored transcripts of some parts, by their keys.
async fn said(connection: &impl ConnectionTrait, parts: &[Part]) -> Attempt<HashMap<String, Said>> {
    let keys: Vec<Value> = parts
        .iter()
        .filter_map(|part| part.key.as_deref().map(Value::from))
        .collect();
    if keys.is_empty() {
        return Ok(HashMap::new());
    }
    let text = format!(
        "SELECT part_key, provider, transcript FROM part_transcript WHERE part_key IN ({})",
        placeholders(keys.len())
    );
    let mut said = HashMap::with_capacity(keys.len());
    for row in connection.query_all_raw(sql(&text, keys)).await? {
        let provider: String = row.try_get_by_index(1)?;
        let json: String = row.try_get_by_index(2)?;
        let transcript = stored::read_transcript(&json)?;
        said.insert(
            row.try_get_by_index(0)?,
            (transcript, provider.starts_with(GIVEN)),
        );
    }
    Ok(said)
}
