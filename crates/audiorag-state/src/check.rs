//! The check of the state: do the invariants hold?
//!
//! Every question is one statement over whole tables, and all of them are asked of one snapshot, so that what other
//! processes publish meanwhile cannot look like damage. Sources that somebody works on are no exception: whatever is
//! live has been published in one transaction.

use crate::db::{now, sql};
use crate::fault::Attempt;
use crate::finding::{Finding, Problem};
use crate::ownership::runs;
use crate::records::Owner;
use crate::source::owner_of;
use crate::{State, entity};
use audiorag_core::id::{ChunkId, RevisionId, SourceId};
use audiorag_core::model::EmbeddingSpace;
use audiorag_core::{Locator, Result};
use sea_orm::{
    ColumnTrait as _, Condition, ConnectionTrait, DatabaseTransaction, EntityTrait as _, QueryFilter as _,
    QueryResult, TransactionTrait as _,
};

/// No call to a vendor takes longer, in milliseconds: a day. One that was sent earlier has no owner any more,
/// whatever a process on another host may look like.
pub(crate) const LONGEST_CALL: i64 = 86_400_000;

/// Statuses that say that somebody works on the source, as SQL.
pub(crate) const IN_WORK: &str = "('downloading', 'downloaded', 'splitting', 'transcribing', 'transcribed',
    'chunking', 'chunked', 'embedding', 'embedded')";
/// Holds for a source `s` whose active revision is live and its own, as SQL.
pub(crate) const HAS_LIVE: &str = "EXISTS (SELECT 1 FROM revision l WHERE l.id = s.active_revision
    AND l.source_id = s.id AND l.state = 'live')";
/// Rows `v` of the embedded store that stand for no chunk of a live revision and for no unfinished or replaced one.
pub(crate) const ORPHAN: &str = "NOT EXISTS (SELECT 1 FROM retirement t WHERE t.revision_id = v.revision_id)
    AND NOT EXISTS (SELECT 1 FROM revision r WHERE r.id = v.revision_id AND r.source_id = v.source_id
        AND r.space_id = v.space_id AND (r.state <> 'live' OR EXISTS (SELECT 1 FROM chunk c
            WHERE c.chunk_key = v.record_id AND c.revision_id = r.id)))";
/// Chunks `c` of a live revision `r` without a cached vector of the right length, as SQL.
pub(crate) const NOT_EMBEDDED: &str =
    "NOT EXISTS (SELECT 1 FROM embedding e JOIN space p ON p.id = e.space_id
    WHERE e.embedding_key = c.embedding_key AND e.space_id = r.space_id
    AND octet_length(e.vector) = 4 * p.dimensions)";
/// Chunks `c` of a live revision `r` that the embedded store does not hold as they are, as SQL.
const NOT_STORED: &str = "NOT EXISTS (SELECT 1 FROM vector v JOIN embedding e ON e.id = v.embedding_id
    WHERE v.record_id = c.chunk_key AND v.space_id = r.space_id AND v.source_id = r.source_id
    AND v.revision_id = r.id AND v.start_ms = c.start_ms AND v.end_ms = c.end_ms
    AND e.embedding_key = c.embedding_key)";

/// A revision that an outside vector store is compared with.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredRevision {
    /// Its number.
    pub id: RevisionId,
    /// What its vectors can be compared with.
    pub space: EmbeddingSpace,
    /// Its chunks, for the live revision; empty for the others.
    pub chunks: Vec<ChunkId>,
    /// Whether it answers queries.
    pub is_live: bool,
}

/// The tables of the lexical index: by words and by sound.
pub(crate) const LEXICAL: [&str; 2] = ["chunk_fts", "chunk_sound"];

impl State {
    /// Checks the invariants as far as the database alone can tell. With `embedded_vectors` the embedded vector
    /// store is the one in use, and is compared with the chunks in the same snapshot.
    ///
    /// `is_alive` says whether a process may still be at work.
    ///
    /// # Errors
    /// [`State`](audiorag_core::ErrorKind::State) when the database cannot be read.
    pub async fn check(
        &self,
        embedded_vectors: bool,
        is_alive: &(dyn Fn(&Owner) -> bool + Sync),
    ) -> Result<Vec<Finding>> {
        self.db
            .explain("check the state", async {
                let snapshot = self.db.reader().begin().await?;
                let mut findings = Vec::new();
                chunks(&snapshot, &mut findings).await?;
                if embedded_vectors {
                    vectors(&snapshot, &mut findings).await?;
                }
                spans(&snapshot, &mut findings).await?;
                retirements(&snapshot, &mut findings).await?;
                calls(&snapshot, is_alive, &mut findings).await?;
                statuses(&snapshot, &mut findings).await?;
                claims(&snapshot, is_alive, &mut findings).await?;
                transcripts(&snapshot, &mut findings).await?;
                snapshot.rollback().await?;
                if !self.lexical_is_whole().await? {
                    findings.push(Finding::new(Problem::LexicalIndex, 1));
                }
                findings.sort();
                Ok(findings)
            })
            .await
    }

    /// What SQLite itself finds wrong with the file: damaged pages, rows that refer to nothing. Reads all of it.
    ///
    /// # Errors
    /// [`State`](audiorag_core::ErrorKind::State) when the file is too damaged to be read.
    pub async fn file_damage(&self) -> Result<Vec<String>> {
        self.db
            .explain("check the database file", async {
                let reader = self.db.reader();
                let mut damage = Vec::new();
                for row in reader
                    .query_all_raw(sql("PRAGMA integrity_check(10)", []))
                    .await?
                {
                    let line: String = row.try_get_by_index(0)?;
                    // The lexical index has a check of its own, and its repair.
                    if line != "ok" && !LEXICAL.iter().any(|table| line.contains(table)) {
                        damage.push(line);
                    }
                }
                for row in reader
                    .query_all_raw(sql("PRAGMA foreign_key_check", []))
                    .await?
                    .iter()
                    .take(10)
                {
                    let (table, parent): (String, String) =
                        (row.try_get_by_index(0)?, row.try_get_by_index(2)?);
                    damage.push(format!(
                        "a row of {table} refers to one of {parent} that is not there"
                    ));
                }
                Ok(damage)
            })
            .await
    }

    /// The revisions of a source whose vectors may be in the vector store: the live one, the unfinished ones, and
    /// those that are to be deleted from it.
    ///
    /// # Errors
    /// [`State`](audiorag_core::ErrorKind::State) when the database cannot be read.
    pub async fn revisions_in_store(&self, id: &SourceId) -> Result<Vec<StoredRevision>> {
        self.db
            .explain("list revisions", async {
                let snapshot = self.db.reader().begin().await?;
                let spaces = crate::space::all(&snapshot).await?;
                let rows = snapshot
                    .query_all_raw(sql(
                        "SELECT id, space_id, state = 'live' FROM revision WHERE source_id = $1
                         UNION SELECT revision_id, space_id, 0 FROM retirement WHERE source_id = $1
                         AND NOT EXISTS (SELECT 1 FROM revision r WHERE r.id = revision_id) ORDER BY 1",
                        [id.as_str().into()],
                    ))
                    .await?;
                let mut revisions = Vec::with_capacity(rows.len());
                for row in rows {
                    let (number, space_id): (i64, i64) = (row.try_get_by_index(0)?, row.try_get_by_index(1)?);
                    let is_live: bool = row.try_get_by_index(2)?;
                    let Some(space) = spaces.get(&space_id) else {
                        continue;
                    };
                    let mut chunks = Vec::new();
                    if is_live {
                        let text = "SELECT chunk_key FROM chunk WHERE revision_id = $1 ORDER BY idx";
                        for row in snapshot.query_all_raw(sql(text, [number.into()])).await? {
                            chunks.push(ChunkId::from_stored(row.try_get_by_index::<String>(0)?));
                        }
                    }
                    revisions.push(StoredRevision {
                        id: RevisionId(number),
                        space: space.clone(),
                        chunks,
                        is_live,
                    });
                }
                snapshot.rollback().await?;
                Ok(revisions)
            })
            .await
    }

    /// Whether the lexical index holds every chunk once and with its text. Where nothing can
    /// be written, the rows are compared and their text is left out.
    pub(crate) async fn lexical_is_whole(&self) -> Attempt<bool> {
        let mut rows = 0;
        for table in LEXICAL {
            let text = format!(
                "SELECT (SELECT count(*) FROM chunk WHERE id NOT IN (SELECT id FROM {table}_docsize))
                 + (SELECT count(*) FROM {table}_docsize WHERE id NOT IN (SELECT id FROM chunk))"
            );
            rows += number(self.db.reader(), &text).await?;
        }
        if rows > 0 || self.db.is_read_only() {
            return Ok(rows == 0);
        }
        match self.compare_lexical().await {
            Ok(()) => Ok(true),
            Err(fault) if fault.is_damaged_index() => Ok(false),
            // Nothing can be begun there; the rows are all that can be compared.
            Err(fault) if fault.is_full() => Ok(true),
            Err(fault) => Err(fault),
        }
    }

    /// Runs FTS5's own command, which has the form of a write and changes nothing. The rank asks it to compare the
    /// index with the text of the chunks.
    async fn compare_lexical(&self) -> Attempt<()> {
        for table in LEXICAL {
            let tx = self.db.begin().await?;
            let command = format!("INSERT INTO {table} ({table}, rank) VALUES ('integrity-check', 1)");
            let outcome = tx.execute_unprepared(&command).await;
            tx.rollback().await?;
            outcome?;
        }
        Ok(())
    }
}

/// One number, or 0.
pub(crate) async fn number(connection: &impl ConnectionTrait, text: &str) -> Attempt<u64> {
    let number: Option<i64> = match connection.query_one_raw(sql(text, [])).await? {
        Some(row) => row.try_get_by_index(0)?,
        None => None,
    };
    Ok(number.unwrap_or_default().max(0) as u64)
}

/// Findings from rows of source, locator, revision and count.
async fn per_revision(
    snapshot: &DatabaseTransaction,
    problem: Problem,
    text: &str,
    findings: &mut Vec<Finding>,
) -> Attempt<()> {
    for row in snapshot.query_all_raw(sql(text, [])).await? {
        let (id, locator): (String, String) = (row.try_get_by_index(0)?, row.try_get_by_index(1)?);
        let revision: Option<i64> = row.try_get_by_index(2)?;
        let count: i64 = row.try_get_by_index(3)?;
        let mut finding =
            Finding::new(problem, count.max(0) as u64).of(SourceId::from_stored(id), name(&locator)?);
        finding.revision = revision.map(RevisionId);
        findings.push(finding);
    }
    Ok(())
}

/// A locator as people know it.
fn name(locator: &str) -> Attempt<String> {
    Ok(Locator::parse_uri(locator)?.to_string())
}

/// I1 inside the database: every chunk that a live revision counts is there and has its vector cached.
async fn chunks(snapshot: &DatabaseTransaction, findings: &mut Vec<Finding>) -> Attempt<()> {
    let counted = "SELECT s.id AS sid, s.locator, r.id AS rid, r.chunk_count AS said,
        (SELECT count(*) FROM chunk c WHERE c.revision_id = r.id) AS found
        FROM revision r JOIN source s ON s.id = r.source_id WHERE r.state = 'live'";
    let more = format!("SELECT sid, locator, rid, found - said FROM ({counted}) WHERE found > said");
    per_revision(snapshot, Problem::ChunkCount, &more, findings).await?;
    // A hole in the numbering tells of a lost chunk even where the count was adjusted.
    let fewer = format!(
        "SELECT sid, locator, rid, max(said, (SELECT coalesce(max(c.idx), -1) + 1 FROM chunk c
            WHERE c.revision_id = rid)) - found AS lost FROM ({counted}) WHERE lost > 0"
    );
    per_revision(snapshot, Problem::ChunksLost, &fewer, findings).await?;
    per_chunk(snapshot, Problem::EmbeddingsMissing, NOT_EMBEDDED, findings).await
}

/// Findings for live revisions `r` with chunks `c` for which `condition` holds.
async fn per_chunk(
    snapshot: &DatabaseTransaction,
    problem: Problem,
    condition: &str,
    findings: &mut Vec<Finding>,
) -> Attempt<()> {
    let text = format!(
        "SELECT s.id, s.locator, r.id, count(*) FROM revision r JOIN source s ON s.id = r.source_id
         JOIN chunk c ON c.revision_id = r.id WHERE r.state = 'live' AND {condition} GROUP BY r.id"
    );
    per_revision(snapshot, problem, &text, findings).await
}

/// I1 and I3 for the embedded vector store.
async fn vectors(snapshot: &DatabaseTransaction, findings: &mut Vec<Finding>) -> Attempt<()> {
    per_chunk(snapshot, Problem::VectorsMissing, NOT_STORED, findings).await?;
    let known = format!(
        "SELECT s.id, s.locator, NULL, count(*) FROM vector v JOIN source s ON s.id = v.source_id
         WHERE {ORPHAN} GROUP BY s.id"
    );
    per_revision(snapshot, Problem::OrphanVectors, &known, findings).await?;
    let unknown = format!(
        "SELECT count(*) FROM vector v WHERE v.source_id NOT IN (SELECT id FROM source) AND {ORPHAN}"
    );
    let unknown = number(snapshot, &unknown).await?;
    if unknown > 0 {
        findings.push(Finding::new(Problem::OrphanVectors, unknown));
    }
    Ok(())
}

/// I2: the parts and chunks of live revisions.
async fn spans(snapshot: &DatabaseTransaction, findings: &mut Vec<Finding>) -> Attempt<()> {
    // Places where a part does not begin where the one before it ends, and ends that are not the source's. Where every
    // channel is a speaker, time begins anew with each of them.
    let parts = "
        WITH placed AS (
            SELECT p.revision_id, p.start_ms, p.end_ms, p.idx, r.duration_ms AS whole,
                lag(p.end_ms, 1, 0) OVER w AS previous, row_number() OVER w - 1 AS place
            FROM part p JOIN revision r ON r.id = p.revision_id AND r.state = 'live'
            WINDOW w AS (PARTITION BY p.revision_id ORDER BY p.idx)
        ), breaks AS (
            SELECT revision_id, sum(idx <> place OR end_ms < start_ms
                OR (start_ms <> previous AND NOT (start_ms = 0 AND previous = whole))) AS wrong,
                max(end_ms) AS last FROM placed GROUP BY revision_id
        )
        SELECT s.id, s.locator, r.id, coalesce(b.wrong, 0) + (coalesce(b.last, 0) <> r.duration_ms) AS n
        FROM revision r JOIN source s ON s.id = r.source_id LEFT JOIN breaks b ON b.revision_id = r.id
        WHERE r.state = 'live' AND n > 0";
    per_revision(snapshot, Problem::PartsGap, parts, findings).await?;
    let chunks = "
        SELECT s.id, s.locator, r.id, sum(n.wrong) FROM (
            SELECT c.revision_id, (c.start_ms < lag(c.start_ms, 1, 0) OVER w OR c.end_ms < c.start_ms
                OR c.start_ms < 0 OR c.end_ms > r.duration_ms) AS wrong
            FROM chunk c JOIN revision r ON r.id = c.revision_id AND r.state = 'live'
            WINDOW w AS (PARTITION BY c.revision_id ORDER BY c.idx)
        ) n JOIN revision r ON r.id = n.revision_id JOIN source s ON s.id = r.source_id
        WHERE n.wrong GROUP BY r.id";
    per_revision(snapshot, Problem::ChunkOrder, chunks, findings).await
}

/// I3 and I5 for the list of revisions whose vectors have to go.
async fn retirements(snapshot: &DatabaseTransaction, findings: &mut Vec<Finding>) -> Attempt<()> {
    let questions = [
        (
            Problem::Forgotten,
            "SELECT count(*) FROM revision r WHERE r.state = 'retired'
             AND NOT EXISTS (SELECT 1 FROM retirement t WHERE t.revision_id = r.id)",
        ),
        (
            Problem::LiveRetirement,
            "SELECT count(*) FROM retirement t JOIN revision r ON r.id = t.revision_id WHERE r.state <> 'retired'",
        ),
        (
            Problem::Retiring,
            "SELECT count(*) FROM retirement t
             WHERE NOT EXISTS (SELECT 1 FROM revision r WHERE r.id = t.revision_id AND r.state <> 'retired')",
        ),
    ];
    for (problem, text) in questions {
        let count = number(snapshot, text).await?;
        if count > 0 {
            findings.push(Finding::new(problem, count));
        }
    }
    Ok(())
}

/// An owner from three columns.
fn owner(row: &QueryResult) -> Attempt<Owner> {
    let pid: i64 = row.try_get_by_index(1)?;
    Ok(Owner {
        host: row.try_get_by_index(0)?,
        pid: pid.clamp(0, i64::from(u32::MAX)) as u32,
        started_at: row.try_get_by_index(2)?,
    })
}

/// The owners of open calls that are gone. A call that is too old counts as its owner's end.
pub(crate) async fn dead_callers(
    connection: &impl ConnectionTrait,
    is_alive: &(dyn Fn(&Owner) -> bool + Sync),
) -> Attempt<Vec<(Owner, u64)>> {
    let rows = connection
        .query_all_raw(sql(
            "SELECT owner_host, owner_pid, owner_started, count(*), sum(sent_at < $1) FROM call
             WHERE state = 'sent' GROUP BY 1, 2, 3 ORDER BY 1, 2, 3",
            [(now() - LONGEST_CALL).into()],
        ))
        .await?;
    let mut dead = Vec::new();
    for row in rows {
        let owner = owner(&row)?;
        let (all, old): (i64, i64) = (row.try_get_by_index(3)?, row.try_get_by_index(4)?);
        let count = if is_alive(&owner) { old } else { all };
        if count > 0 {
            dead.push((owner, count.max(0) as u64));
        }
    }
    Ok(dead)
}

/// I4.
async fn calls(
    snapshot: &DatabaseTransaction,
    is_alive: &(dyn Fn(&Owner) -> bool + Sync),
    findings: &mut Vec<Finding>,
) -> Attempt<()> {
    let dead = dead_callers(snapshot, is_alive).await?;
    let count = dead.iter().map(|(_, count)| count).sum();
    if count > 0 {
        findings.push(Finding::new(Problem::OpenCalls, count));
    }
    Ok(())
}

/// I5 but for claims.
async fn statuses(snapshot: &DatabaseTransaction, findings: &mut Vec<Finding>) -> Attempt<()> {
    let none = format!(
        "SELECT s.id, s.locator, s.active_revision, 1 FROM source s WHERE NOT {HAS_LIVE}
         AND (s.active_revision IS NOT NULL OR s.status IN ('completed', 'empty'))"
    );
    per_revision(snapshot, Problem::NoRevision, &none, findings).await?;
    let second =
        "SELECT s.id, s.locator, max(r.id), count(*) FROM revision r JOIN source s ON s.id = r.source_id
        WHERE r.state = 'live' AND s.active_revision IS DISTINCT FROM r.id GROUP BY s.id";
    per_revision(snapshot, Problem::SecondRevision, second, findings).await?;
    let wrong = "SELECT s.id, s.locator, r.id, 1 FROM source s JOIN revision r
        ON r.id = s.active_revision AND r.source_id = s.id AND r.state = 'live'
        WHERE (s.status = 'completed' AND r.chunk_count = 0) OR (s.status = 'empty' AND r.chunk_count > 0)";
    per_revision(snapshot, Problem::WrongStatus, wrong, findings).await?;
    let nobody = format!(
        "SELECT s.id, s.locator, NULL, 1 FROM source s WHERE s.status IN {IN_WORK} AND s.owner_host IS NULL"
    );
    per_revision(snapshot, Problem::NobodyWorks, &nobody, findings).await
}

/// Sources whose claim nobody holds any more, though it was never given back.
pub(crate) async fn dead_claims(
    connection: &impl ConnectionTrait,
    is_alive: &(dyn Fn(&Owner) -> bool + Sync),
) -> Attempt<Vec<entity::source::Model>> {
    use entity::source::Column;
    let any = Condition::any()
        .add(Column::OwnerHost.is_not_null())
        .add(Column::OwnerPid.is_not_null())
        .add(Column::OwnerStarted.is_not_null())
        .add(Column::LeaseUntil.is_not_null());
    let claimed = entity::source::Entity::find().filter(any).all(connection).await?;
    Ok(claimed
        .into_iter()
        .filter(|row| !runs(row.lease_until) || owner_of(row).is_none_or(|owner| !is_alive(&owner)))
        .collect())
}

/// I5 for claims.
async fn claims(
    snapshot: &DatabaseTransaction,
    is_alive: &(dyn Fn(&Owner) -> bool + Sync),
    findings: &mut Vec<Finding>,
) -> Attempt<()> {
    for row in dead_claims(snapshot, is_alive).await? {
        let finding = Finding::new(Problem::DeadClaim, 1);
        findings.push(finding.of(SourceId::from_stored(row.id), name(&row.locator)?));
    }
    Ok(())
}

/// I6 inside the database: parts whose transcript is gone.
async fn transcripts(snapshot: &DatabaseTransaction, findings: &mut Vec<Finding>) -> Attempt<()> {
    let text = "SELECT s.id, s.locator, r.id, count(*) FROM part p JOIN revision r ON r.id = p.revision_id
        JOIN source s ON s.id = r.source_id WHERE r.state = 'live' AND p.part_key IS NOT NULL
        AND NOT EXISTS (SELECT 1 FROM part_transcript t WHERE t.part_key = p.part_key) GROUP BY r.id";
    per_revision(snapshot, Problem::TranscriptsMissing, text, findings).await
}
