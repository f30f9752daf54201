//! The segments of the lexical index.
//!
//! FTS5 writes what is added into new segments, and each search opens the words it is for in every one of them. It merges
//! some by itself while it writes, of each size up to three stay.

use crate::State;
use crate::db::sql;
use crate::fault::Attempt;
use audiorag_core::Result;
use sea_orm::ConnectionTrait as _;

/// Pages that are written before others that want to write get their turn.
const PAGES: i64 = 500;
/// Turns of one run. What is left then, which is some gigabytes, is left to the next.
const TURNS: usize = 1000;

impl State {
    /// Merges segments of about the same size in the lexical index, so that searches open fewer. After a run that added
    /// something: it takes a small part of the time that adding took, since what is large already is left alone. Ends
    /// early when `stop` says so; what is merged by then stays merged. Does nothing while another task merges.
    ///
    /// # Errors
    /// [`State`](audiorag_core::ErrorKind::State) when the database cannot be written.
    pub async fn merge_segments(&self, stop: &(dyn Fn() -> bool + Sync)) -> Result<()> {
        self.db
            .explain("merge the lexical index", async {
                let writer = self.db.writer()?;
                // Two at once would each take what the other changes for a sign that there is more to merge.
                let Ok(_turn) = self.merging.try_lock() else {
                    return Ok(());
                };
                // How many segments of one size are merged when merging is asked for.
                writer
                    .execute_raw(sql(
                        "INSERT INTO chunk_fts (chunk_fts, rank) VALUES ('usermerge', 2)",
                        [],
                    ))
                    .await?;
                for _ in 0..TURNS {
                    if stop() {
                        break;
                    }
                    let before = self.changes().await?;
                    writer
                        .execute_raw(sql(
                            "INSERT INTO chunk_fts (chunk_fts, rank) VALUES ('merge', $1)",
                            [PAGES.into()],
                        ))
                        .await?;
                    // To be asked is one change: so SQLite's documentation tells that nothing was left to merge.
                    if self.changes().await? - before < 2 {
                        break;
                    }
                }
                Ok(())
            })
            .await
    }

    /// Rows that the writing connection ever changed.
    async fn changes(&self) -> Attempt<i64> {
        let row = self
            .db
            .writer()?
            .query_one_raw(sql("SELECT total_changes()", []))
            .await?;
        match row {
            Some(row) => Ok(row.try_get_by_index(0)?),
            None => Ok(0),
        }
    }
}
