//! Verbs on conversations: questions and answers under a name.
//!
//! A turn keeps its citations whole. A source that is deleted later does not take them away; whoever reads them is told.

use crate::State;
use crate::db::{commit, now, sql};
use crate::failpoint::Step;
use crate::source::instant;
use crate::stored;
use audiorag_core::Result;
use audiorag_core::model::Citation;
use sea_orm::ConnectionTrait as _;
use std::collections::HashSet;
use std::time::SystemTime;

/// A conversation, as a list has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Thread {
    /// Its name.
    pub name: String,
    /// How many questions were asked.
    pub turns: u64,
    /// The last one.
    pub question: String,
    /// When the first question was asked.
    pub created_at: SystemTime,
    /// When the last one was.
    pub updated_at: SystemTime,
}

/// A question and its answer, to be kept.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NewTurn {
    /// As it was asked.
    pub question: String,
    /// As it was searched for.
    pub searched: String,
    /// The answer with its markers; empty when there is none.
    pub answer: String,
    /// Who wrote it.
    pub model: String,
    /// One for each marker.
    pub citations: Vec<Citation>,
}

/// A question and its answer, as they were kept.
#[derive(Clone, Debug, PartialEq)]
pub struct Turn {
    /// Its place in the conversation, from 1.
    pub number: u64,
    /// As it was asked.
    pub question: String,
    /// As it was searched for.
    pub searched: String,
    /// The answer with its markers; empty when there is none.
    pub answer: String,
    /// Who wrote it.
    pub model: String,
    /// One for each marker.
    pub citations: Vec<TurnCitation>,
    /// When it was asked.
    pub asked_at: SystemTime,
}

/// A citation of an old answer.
#[derive(Clone, Debug, PartialEq)]
pub struct TurnCitation {
    /// What was cited.
    pub citation: Citation,
    /// Whether the source is not indexed any more.
    pub is_deleted: bool,
}

impl State {
    /// Keeps a turn at the end of a conversation, which begins with it if there is none of this name. Returns its
    /// number.
    ///
    /// # Errors
    /// [`State`](audiorag_core::ErrorKind::State) when the database cannot be written.
    pub async fn save_turn(&self, thread: &str, turn: &NewTurn) -> Result<u64> {
        self.db
            .explain("keep a conversation", async {
                let citations = stored::write_citations(&turn.citations)?;
                let tx = self.db.begin().await?;
                let now = now();
                tx.execute_raw(sql(
                    "INSERT INTO conversation (name, created_at, updated_at) VALUES ($1, $2, $2)
                     ON CONFLICT (name) DO UPDATE SET updated_at = excluded.updated_at",
                    [thread.into(), now.into()],
                ))
                .await?;
                let row = tx
                    .query_one_raw(sql(
                        "INSERT INTO turn (conversation_id, number, question, searched, answer, model, citations_json,
                         asked_at)
                         SELECT c.id, coalesce((SELECT max(number) FROM turn WHERE conversation_id = c.id), 0) + 1,
                         $2, $3, $4, $5, $6, $7 FROM conversation c WHERE c.name = $1 RETURNING number",
                        [
                            thread.into(),
                            turn.question.as_str().into(),
                            turn.searched.as_str().into(),
                            turn.answer.as_str().into(),
                            turn.model.as_str().into(),
                            citations.into(),
                            now.into(),
                        ],
                    ))
                    .await?;
                let number: i64 = row.map(|row| row.try_get_by_index(0)).transpose()?.unwrap_or(1);
                commit(tx, Step::SaveTurn).await?;
                Ok(number.max(1) as u64)
            })
            .await
    }

    /// Every conversation, the one that was last gone on with first.
    ///
    /// # Errors
    /// [`State`](audiorag_core::ErrorKind::State) when the database cannot be read.
    pub async fn threads(&self) -> Result<Vec<Thread>> {
        self.db
            .explain("list the conversations", async {
                let rows = self
                    .db
                    .reader()
                    .query_all_raw(sql(
                        "SELECT c.name, count(t.number),
                         (SELECT question FROM turn l WHERE l.conversation_id = c.id ORDER BY number DESC LIMIT 1),
                         c.created_at, c.updated_at
                         FROM conversation c JOIN turn t ON t.conversation_id = c.id
                         GROUP BY c.id ORDER BY c.updated_at DESC, c.name",
                        [],
                    ))
                    .await?;
                let mut threads = Vec::with_capacity(rows.len());
                for row in rows {
                    threads.push(Thread {
                        name: row.try_get_by_index(0)?,
                        turns: row.try_get_by_index::<i64>(1)?.max(0) as u64,
                        question: row.try_get_by_index(2)?,
                        created_at: instant(row.try_get_by_index(3)?),
                        updated_at: instant(row.try_get_by_index(4)?),
                    });
                }
                Ok(threads)
            })
            .await
    }

    /// What was asked and answered in a conversation, in order; nothing when there is none of this name.
    ///
    /// # Errors
    /// [`State`](audiorag_core::ErrorKind::State) when the database cannot be read.
    pub async fn turns(&self, thread: &str) -> Result<Vec<Turn>> {
        self.db
            .explain("read a conversation", async {
                let db = self.db.reader();
                let rows = db
                    .query_all_raw(sql(
                        "SELECT t.number, t.question, t.searched, t.answer, t.model, t.citations_json, t.asked_at
                         FROM turn t JOIN conversation c ON c.id = t.conversation_id
                         WHERE c.name = $1 ORDER BY t.number",
                        [thread.into()],
                    ))
                    .await?;
                let mut known = HashSet::new();
                if !rows.is_empty() {
                    for row in db.query_all_raw(sql("SELECT id FROM source", [])).await? {
                        known.insert(row.try_get_by_index::<String>(0)?);
                    }
                }
                let mut turns = Vec::with_capacity(rows.len());
                for row in rows {
                    let citations: String = row.try_get_by_index(5)?;
                    turns.push(Turn {
                        number: row.try_get_by_index::<i64>(0)?.max(0) as u64,
                        question: row.try_get_by_index(1)?,
                        searched: row.try_get_by_index(2)?,
                        answer: row.try_get_by_index(3)?,
                        model: row.try_get_by_index(4)?,
                        citations: stored::read_citations(&citations)?
                            .into_iter()
                            .map(|citation| TurnCitation {
                                is_deleted: !known.contains(citation.source_id.as_str()),
                                citation,
                            })
                            .collect(),
                        asked_at: instant(row.try_get_by_index(6)?),
                    });
                }
                Ok(turns)
            })
            .await
    }

    /// Forgets a conversation. Returns whether there was one of this name.
    ///
    /// # Errors
    /// [`State`](audiorag_core::ErrorKind::State) when the database cannot be written.
    pub async fn delete_thread(&self, thread: &str) -> Result<bool> {
        self.db
            .explain("delete a conversation", async {
                let tx = self.db.begin().await?;
                let deleted = tx
                    .execute_raw(sql("DELETE FROM conversation WHERE name = $1", [thread.into()]))
                    .await?;
                commit(tx, Step::DeleteThread).await?;
                Ok(deleted.rows_affected() > 0)
            })
            .await
    }
}
