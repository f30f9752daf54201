//! How much of an unlimited search the search for words finds.

use super::texts::Texts;
use super::{DEPTH, Result, TOP, ids};
use audiorag_core::id::ChunkId;
use audiorag_core::model::Filter;
use audiorag_state::{State, StateOptions};
use sea_orm::{ConnectionTrait as _, Database, DatabaseConnection, DbBackend, Statement};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::Path;

/// Words in the questions here that a search for words takes no notice of.
const UNSAID: &[&str] = &[
    "about", "after", "all", "and", "any", "are", "been", "before", "being", "but", "can", "did", "does",
    "for", "from", "had", "has", "have", "her", "him", "his", "in", "into", "its", "just", "more", "most",
    "not", "out", "over", "said", "say", "she", "should", "some", "such", "than", "that", "the", "then",
    "there", "these", "they", "this", "was", "were", "what", "where", "which", "while", "who", "whose",
    "why", "will", "with", "you", "your",
];

/// The share of the first ten and forty of BM25 over all words of a question that the search for words has among its
/// first ten and forty. It scores fewer rows than hold a word, because that takes long.
pub(super) async fn agreement(database: &Path, texts: &Path, number: usize) -> Result<Value> {
    let texts = Texts::read(texts)?;
    let state = State::open(StateOptions::new(database)).await?;
    let url = format!(
        "sqlite://{}?mode=ro",
        database.to_str().ok_or("no text as a path")?
    );
    let plain = Database::connect(url).await?;
    let mut shares = [0.0; 2];
    for place in 0..number {
        let question = texts.question(place);
        let found = ids(state.search_text(&question, DEPTH, &Filter::default()).await?);
        let all = unlimited(&plain, &question).await?;
        for (share, top) in shares.iter_mut().zip([TOP, DEPTH]) {
            let best = all.get(..top).unwrap_or(&all);
            let found = found.get(..top).unwrap_or(&found);
            let shared = best.iter().filter(|id| found.contains(id)).count();
            *share += shared as f64 / best.len() as f64 / number as f64;
        }
    }
    state.close().await;
    let [first_10, first_40] = shares;
    Ok(json!({ "questions": number, "first_10": first_10, "first_40": first_40 }))
}

/// What BM25 ranks first if every row is scored that has one of a question's words.
async fn unlimited(plain: &DatabaseConnection, question: &str) -> Result<Vec<ChunkId>> {
    let question = question.to_lowercase();
    let words: BTreeSet<String> = question
        .split(|c: char| !c.is_alphabetic())
        .filter(|word| !word.is_empty() && !UNSAID.contains(word))
        .map(|word| format!("\"{word}\""))
        .collect();
    let words: Vec<String> = words.into_iter().collect();
    let rows = plain
        .query_all_raw(Statement::from_sql_and_values(
            DbBackend::Sqlite,
            "SELECT c.chunk_key FROM (SELECT rowid AS id, rank AS score FROM chunk_fts WHERE chunk_fts MATCH $1
             ORDER BY rank LIMIT $2) f JOIN chunk c ON c.id = f.id ORDER BY f.score, f.id",
            [
                format!("{{text header}} : ({})", words.join(" OR ")).into(),
                (DEPTH as i64).into(),
            ],
        ))
        .await?;
    rows.into_iter()
        .map(|row| Ok(ChunkId::from_stored(row.try_get_by_index::<String>(0)?)))
        .collect()
}
