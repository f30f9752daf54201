//! Full-text search over the chunks of live revisions.
//!
//! Questions come as people ask them. FTS5 scores every row that holds any of the words, so the words that are in
//! a great part of the rows cost most and say least: those are left out.

use crate::State;
use crate::db::{Db, sql};
use crate::fault::Attempt;
use crate::filter::Columns;
use audiorag_core::Result;
use audiorag_core::id::ChunkId;
use audiorag_core::model::Filter;
use sea_orm::{ConnectionTrait as _, Value};
use std::collections::HashSet;

/// The most words of a question that are used.
const MAX_TERMS: usize = 32;
/// How many rows the words of a question may be found in together; the rarest word is used in any case. Scoring
/// takes about 0.3 µs a row.
const ROW_BUDGET: u64 = 20_000;

/// What filters ask for, of chunk `c`, source `s` and revision `r`.
pub(crate) const COLUMNS: Columns = Columns {
    source: "c.source_id",
    language: "r.language",
    day: "s.date",
    start: "c.start_ms",
    end: "c.end_ms",
    speakers: ("EXISTS (SELECT 1 FROM json_each(c.speakers) n WHERE n.value", ")"),
};

/// English words that say nothing about the subject. Other languages rely on [`ROW_BUDGET`].
const STOP_WORDS: &[&str] = &[
    "a", "about", "after", "all", "also", "am", "an", "and", "any", "are", "as", "at", "be", "because",
    "been", "before", "being", "but", "by", "can", "could", "did", "do", "does", "doing", "for", "from",
    "had", "has", "have", "he", "her", "here", "him", "his", "how", "i", "if", "in", "into", "is", "it",
    "its", "just", "me", "more", "most", "my", "no", "not", "of", "on", "or", "our", "out", "over", "please",
    "say", "says", "said", "she", "should", "so", "some", "such", "tell", "than", "that", "the", "their",
    "them", "then", "there", "these", "they", "this", "those", "to", "up", "us", "was", "we", "were", "what",
    "when", "where", "which", "while", "who", "whom", "whose", "why", "will", "with", "would", "you", "your",
];

impl State {
    /// The chunks of live revisions that hold words of `query`, best first, each with its negated BM25 score. The
    /// query is a question or a few words; nothing in it has a special meaning.
    pub async fn search_text(
        &self,
        query: &str,
        limit: usize,
        filter: &Filter,
    ) -> Result<Vec<(ChunkId, f32)>> {
        self.db
            .explain("search the text", async {
                let terms = affordable(&self.db, terms(query)).await?;
                if terms.is_empty() || limit == 0 {
                    return Ok(Vec::new());
                }
                search(&self.db, &expression(&terms, filter), limit, filter).await
            })
            .await
    }
}

/// The words of a question, lower-case and distinct, without those that say nothing, unless it has no others.
pub(crate) fn terms(query: &str) -> Vec<String> {
    let mut seen = HashSet::new();
    let words: Vec<String> = query
        .split(|c: char| !(c.is_alphanumeric() || c == '\'' || c == '’'))
        .map(|word| word.trim_matches(['\'', '’']).to_lowercase())
        .filter(|word| !word.is_empty() && seen.insert(word.clone()))
        .collect();
    let telling = |word: &&String| {
        // "who's" and "don't" are judged by what stands before the apostrophe.
        let stem = word.split(['\'', '’']).next().unwrap_or(word);
        !STOP_WORDS.contains(&stem) && !STOP_WORDS.contains(&word.as_str())
    };
    let mut chosen: Vec<String> = words.iter().filter(telling).cloned().collect();
    if chosen.is_empty() {
        chosen = words;
    }
    chosen.truncate(MAX_TERMS);
    chosen
}

/// A word as an FTS5 string, in which nothing is special but the quotation mark.
pub(crate) fn quoted(word: &str) -> String {
    format!("\"{}\"", word.replace('"', "\"\""))
}

/// The words as an FTS5 expression, kept to the filter's sources inside the index.
fn expression(terms: &[String], filter: &Filter) -> String {
    let words: Vec<String> = terms.iter().map(|term| quoted(term)).collect();
    let words = format!("{{text header}} : ({})", words.join(" OR "));
    if filter.sources.is_empty() {
        return words;
    }
    let sources: Vec<String> = filter
        .sources
        .iter()
        .map(|source| quoted(&format!("{source}x")))
        .collect();
    format!("src : ({}) AND {words}", sources.join(" OR "))
}

/// Whether any chunk holds a word.
pub(crate) async fn is_known(db: &Db, term: &str) -> Attempt<bool> {
    Ok(count(db, term, 1).await? > 0)
}

/// How many chunks hold a word, at most `most`.
async fn count(db: &Db, term: &str, most: u64) -> Attempt<u64> {
    let row = db
        .reader()
        .query_one_raw(sql(
            "SELECT count(*) FROM (SELECT 1 FROM chunk_fts WHERE chunk_fts MATCH $1 LIMIT $2)",
            [quoted(term).into(), (most as i64).into()],
        ))
        .await?;
    let count: i64 = match row {
        Some(row) => row.try_get_by_index(0)?,
        None => 0,
    };
    Ok(count as u64)
}

/// The rarest words whose rows together stay within the budget, rarest first.
async fn affordable(db: &Db, terms: Vec<String>) -> Attempt<Vec<String>> {
    let reader = db.reader();
    let newest = reader.query_one_raw(sql("SELECT max(id) FROM chunk", [])).await?;
    let rows: Option<i64> = match newest {
        Some(row) => row.try_get_by_index(0)?,
        None => None,
    };
    // Even if each word were in every row.
    if rows.unwrap_or_default().max(0) as u64 * terms.len() as u64 <= ROW_BUDGET {
        return Ok(terms);
    }
    let mut counted = Vec::with_capacity(terms.len());
    for term in terms {
        let count = count(db, &term, ROW_BUDGET + 1).await?;
        if count > 0 {
            counted.push((count, term));
        }
    }
    counted.sort_by_key(|(count, _)| *count);
    let mut total = 0;
    Ok(counted
        .into_iter()
        .enumerate()
        .take_while(|(place, (count, _))| {
            total += count;
            *place == 0 || total <= ROW_BUDGET
        })
        .map(|(_, (_, term))| term)
        .collect())
}

/// Runs the expression. Without other conditions than sources, the index picks the best rows itself, with some to
/// spare for those that are not live; when too few of these are left, or with other conditions, every matching
/// row is joined.
async fn search(db: &Db, expression: &str, limit: usize, filter: &Filter) -> Attempt<Vec<(ChunkId, f32)>> {
    let wanted = limit as i64;
    let without_sources = Filter {
        sources: Vec::new(),
        ..filter.clone()
    };
    if without_sources.is_empty() {
        let spare = wanted.saturating_mul(2).saturating_add(32);
        let rows = db
            .reader()
            .query_all_raw(sql(
                "SELECT c.chunk_key, f.score FROM
                 (SELECT rowid AS id, rank AS score FROM chunk_fts WHERE chunk_fts MATCH $1 ORDER BY rank LIMIT $2) f
                 LEFT JOIN chunk c ON c.id = f.id AND EXISTS
                 (SELECT 1 FROM source s WHERE s.id = c.source_id AND s.active_revision = c.revision_id)
                 ORDER BY f.score, f.id",
                [expression.into(), spare.into()],
            ))
            .await?;
        let exhausted = (rows.len() as i64) < spare;
        let mut found = Vec::with_capacity(rows.len());
        for row in rows {
            let id: Option<String> = row.try_get_by_index(0)?;
            let score: f64 = row.try_get_by_index(1)?;
            found.extend(id.map(|id| (ChunkId::from_stored(id), -score as f32)));
        }
        if exhausted || found.len() >= limit {
            found.truncate(limit);
            return Ok(found);
        }
    }
    let mut values: Vec<Value> = vec![expression.into()];
    let conditions = COLUMNS.conditions(filter, &mut values);
    values.push(wanted.into());
    // CROSS JOIN keeps the planner from running the expression once for each row.
    let text = format!(
        "SELECT c.chunk_key, f.rank FROM chunk_fts f CROSS JOIN chunk c ON c.id = f.rowid
         CROSS JOIN source s ON s.id = c.source_id AND s.active_revision = c.revision_id
         CROSS JOIN revision r ON r.id = c.revision_id
         WHERE chunk_fts MATCH $1{conditions} ORDER BY f.rank, c.id LIMIT ${}",
        values.len()
    );
    let rows = db.reader().query_all_raw(sql(&text, values)).await?;
    let mut found = Vec::with_capacity(rows.len());
    for row in rows {
        let id: String = row.try_get_by_index(0)?;
        let score: f64 = row.try_get_by_index(1)?;
        found.push((ChunkId::from_stored(id), -score as f32));
    }
    Ok(found)
}
