//! Full-text search over the chunks of live revisions.
//!
//! Questions come as people ask them. FTS5 scores every row that holds any of the words, and scoring a row takes some
//! thirty times as long as stepping over it. So not all of them are scored: those that have two words of the question are,
//! and of those that have one only if it is among the rarest. A row's score is BM25 over all words it has; only words
//! that are too frequent to be looked at are left out. See [`Words`].

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
pub(crate) const MAX_TERMS: usize = 32;
/// How many rows the words of a question may be found in together, rarest first, to be used in one way or another.
#[derive(Clone, Copy, Debug)]
struct Budget {
    /// Up to so many of all words each row is scored: to look for pairs would take as long.
    every: u64,
    /// So many are to be scored if the words have them, so that there is something to answer with.
    least: u64,
    /// Each row is scored, at about 1 µs. The rarest word is used in any case.
    alone: u64,
    /// Rows that have two such words are scored. Each list is stepped through three or four times, at about 40 ns a row,
    /// and as often by BM25, which counts for itself.
    paired: u64,
    /// What such a word adds to the scores of rows with a rarer one. Once each.
    adding: u64,
}

/// `docs/performance.md` has figures of how much is found with these of what BM25 would rank first among all rows.
const BUDGET: Budget = Budget {
    every: 3_000,
    least: 100,
    alone: 300,
    paired: 6_000,
    adding: 80_000,
};
/// Only rows that a filter lets through are scored, and of a few sources there are few.
const FILTERED_BUDGET: Budget = Budget {
    every: 20_000,
    alone: 20_000,
    paired: 20_000,
    ..BUDGET
};
/// The newest chunks, by which it is estimated how frequent frequent words are.
const SAMPLE: u64 = 32_768;
/// The score of a row, as the migration has it for `rank`. To sort by the function is faster than to sort by `rank`,
/// for which FTS5 keeps the places of all words of all rows.
const SCORE: &str = "bm25(chunk_fts, 0.0, 1.0, 0.5)";

/// What filters ask for, of chunk `c`, source `s` and revision `r`.
pub(crate) const COLUMNS: Columns = Columns {
    source: "c.source_id",
    language: "r.language",
    day: "s.date",
    start: "c.start_ms",
    end: "c.end_ms",
    speakers: ("EXISTS (SELECT 1 FROM json_each(c.speakers) n WHERE n.value", ")"),
};

/// English words that say nothing about the subject. Other languages rely on [`BUDGET`].
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
                let terms = terms(query);
                if terms.is_empty() || limit == 0 {
                    return Ok(Vec::new());
                }
                let words = Words::choose(&self.db, terms, filter).await?;
                search(&self.db, &words, limit, filter).await
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

fn any_of(words: &[String]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| quoted(word)).collect();
    format!("({})", quoted.join(" OR "))
}

/// An expression for the sources of a filter, which are kept to inside the index.
fn within_sources(filter: &Filter) -> Option<String> {
    let sources: Vec<String> = filter.sources.iter().map(|source| format!("{source}x")).collect();
    (!sources.is_empty()).then(|| format!("src : {}", any_of(&sources)))
}

/// Which of the words any chunk holds. One statement, since each is a message to the thread that has the connection.
pub(crate) async fn known(db: &Db, words: &[String]) -> Attempt<Vec<bool>> {
    let counts = each(db, words, |word| {
        format!("EXISTS (SELECT 1 FROM chunk_fts WHERE chunk_fts MATCH {word})")
    })
    .await?;
    Ok(counts.into_iter().map(|count| count > 0).collect())
}

/// How many chunks hold each word: a figure up to `most`, an estimate above, which is larger than `most`. To count the
/// rows of frequent words would take as long as to search for them.
async fn count(db: &Db, words: &[String], most: u64) -> Attempt<Vec<u64>> {
    each(db, words, |word| {
        let rows = format!("FROM chunk_fts WHERE chunk_fts MATCH {word}");
        format!(
            "CASE WHEN EXISTS (SELECT 1 {rows} LIMIT 1 OFFSET {most})
             THEN max({most} + 1, (SELECT count(*) {rows} AND rowid > (SELECT max(id) FROM chunk) - {SAMPLE})
                 * (SELECT max(id) FROM chunk) / {SAMPLE})
             ELSE (SELECT count(*) {rows}) END"
        )
    })
    .await
}

/// The value of an SQL expression for each word. The expression gets the place of the word as an FTS5 string.
async fn each(db: &Db, words: &[String], expression: impl Fn(&str) -> String) -> Attempt<Vec<u64>> {
    if words.is_empty() {
        return Ok(Vec::new());
    }
    let places = (1..=words.len()).map(|place| expression(&format!("${place}")));
    let text = format!("SELECT {}", places.collect::<Vec<_>>().join(", "));
    let values = words.iter().map(|word| Value::from(quoted(word)));
    let Some(row) = db.reader().query_one_raw(sql(&text, values)).await? else {
        return Ok(Vec::new());
    };
    (0..words.len())
        .map(|place| {
            let value: i64 = row.try_get_by_index(place)?;
            Ok(value.max(0) as u64)
        })
        .collect()
}

/// The words of a question by what decides whether a row that has them is scored.
#[derive(Debug, Default, PartialEq, Eq)]
struct Words {
    /// The rarest: to have one of them is enough.
    alone: Vec<String>,
    /// Less rare ones: it takes two, or one and another one of the question.
    paired: Vec<String>,
    /// Frequent ones: it takes a rarer one.
    adding: Vec<String>,
}

impl Words {
    async fn choose(db: &Db, terms: Vec<String>, filter: &Filter) -> Attempt<Self> {
        let budget = if filter.is_empty() {
            BUDGET
        } else {
            FILTERED_BUDGET
        };
        let counts = match terms.as_slice() {
            // There is nothing to choose from.
            [_] => vec![1],
            terms => count(db, terms, budget.paired).await?,
        };
        Ok(Self::divide(counts.into_iter().zip(terms).collect(), budget))
    }

    fn divide(mut counted: Vec<(u64, String)>, budget: Budget) -> Self {
        counted.retain(|(count, _)| *count > 0);
        counted.sort_by_key(|(count, _)| *count);
        let mut words = Self::default();
        let every = counted
            .iter()
            .map(|(count, _)| *count)
            .fold(0, u64::saturating_add);
        let alone = if every <= budget.every {
            every
        } else {
            budget.alone
        };
        let (mut rows, mut frequent) = (0_u64, 0_u64);
        for (count, word) in counted {
            let few = rows < budget.least;
            rows = rows.saturating_add(count);
            if words.alone.is_empty() || rows <= alone || (few && rows <= budget.paired) {
                words.alone.push(word);
            } else if rows <= budget.paired {
                words.paired.push(word);
            } else {
                frequent = frequent.saturating_add(count);
                if frequent <= budget.adding {
                    words.adding.push(word);
                }
            }
        }
        words
    }

    /// FTS5 expressions that together match the rows to score. BM25 counts a word as often as it stands in an expression,
    /// and only words that stand in it. So each word stands in each expression at most once, and each row is matched by
    /// an expression with all its words: the best of a row's scores is its score.
    fn expressions(&self, filter: &Filter) -> Vec<String> {
        if self.alone.is_empty() {
            return Vec::new();
        }
        let mut all = vec![any_of(&self.alone)];
        let paired = self.paired.iter().map(std::slice::from_ref);
        all.extend(pairs(
            std::iter::once(self.alone.as_slice()).chain(paired).collect(),
        ));
        if !self.adding.is_empty() {
            let rarer = [self.alone.as_slice(), &self.paired].concat();
            all.push(format!("{} AND {}", any_of(&rarer), any_of(&self.adding)));
        }
        let sources = within_sources(filter).map(|sources| format!("{sources} AND "));
        let sources = sources.unwrap_or_default();
        all.into_iter()
            .map(|words| format!("{sources}{{text header}} : ({words})"))
            .collect()
    }
}

/// Expressions for rows that have words of two groups. The groups are parted in two by each binary digit of their
/// places: any two places differ in one digit, and the expression of that digit has the two on different sides.
fn pairs(groups: Vec<&[String]>) -> impl Iterator<Item = String> {
    let digits = usize::BITS - groups.len().saturating_sub(1).leading_zeros();
    (0..digits).map(move |digit| {
        let side = |wanted: usize| {
            let groups = groups.iter().enumerate();
            let groups = groups.filter(|(place, _)| place >> digit & 1 == wanted);
            any_of(&groups.flat_map(|(_, words)| *words).cloned().collect::<Vec<_>>())
        };
        format!("{} AND {}", side(0), side(1))
    })
}

/// Finds the chunks that have the words. Without a filter but for sources, the index picks the best rows itself, with
/// some to spare for those that are not live; when too few of these are left, or with other conditions, every matching
/// row is joined.
async fn search(db: &Db, words: &Words, limit: usize, filter: &Filter) -> Attempt<Vec<(ChunkId, f32)>> {
    let expressions = words.expressions(filter);
    if expressions.is_empty() {
        return Ok(Vec::new());
    }
    let beyond_sources = Filter {
        sources: Vec::new(),
        ..filter.clone()
    };
    if beyond_sources.is_empty() {
        let spare = limit.saturating_add(limit / 4).saturating_add(16);
        let rows = best(db, &expressions, spare).await?;
        let exhausted = rows.len() < spare;
        let mut live: Vec<_> = rows
            .into_iter()
            .filter_map(|(id, score)| Some((id?, score)))
            .collect();
        if exhausted || live.len() >= limit {
            live.truncate(limit);
            return Ok(live);
        }
    }
    best_live(db, expressions, limit, filter).await
}

/// The best rows of all, with the names of those that are live.
async fn best(db: &Db, expressions: &[String], limit: usize) -> Attempt<Vec<(Option<ChunkId>, f32)>> {
    let mut values: Vec<Value> = expressions.iter().map(|one| one.as_str().into()).collect();
    values.push((limit as i64).into());
    let limit = values.len();
    let searches: Vec<String> = (1..limit)
        .map(|place| {
            format!(
                "SELECT * FROM (SELECT rowid AS id, {SCORE} AS score FROM chunk_fts WHERE chunk_fts MATCH ${place}
                 ORDER BY score, id LIMIT ${limit})"
            )
        })
        .collect();
    let text = format!(
        "SELECT c.chunk_key, f.best FROM
         (SELECT id, min(score) AS best FROM ({}) GROUP BY id ORDER BY best, id LIMIT ${limit}) f
         LEFT JOIN chunk c ON c.id = f.id AND EXISTS
         (SELECT 1 FROM source s WHERE s.id = c.source_id AND s.active_revision = c.revision_id)
         ORDER BY f.best, f.id",
        searches.join(" UNION ALL ")
    );
    let rows = db.reader().query_all_raw(sql(&text, values)).await?;
    rows.into_iter()
        .map(|row| {
            let id: Option<String> = row.try_get_by_index(0)?;
            let rank: f64 = row.try_get_by_index(1)?;
            Ok((id.map(ChunkId::from_stored), -rank as f32))
        })
        .collect()
}

/// The best of the rows that are live and pass the filter; no others are scored.
async fn best_live(
    db: &Db,
    expressions: Vec<String>,
    limit: usize,
    filter: &Filter,
) -> Attempt<Vec<(ChunkId, f32)>> {
    let number = expressions.len();
    let mut values: Vec<Value> = expressions.into_iter().map(Value::from).collect();
    let conditions = COLUMNS.conditions(filter, &mut values);
    values.push((limit as i64).into());
    let last = values.len();
    // CROSS JOIN keeps the planner from running the expression once for each row, and the limit keeps it from scoring
    // after the rows are grouped, which FTS5 cannot.
    let searches: Vec<String> = (1..=number)
        .map(|place| {
            format!(
                "SELECT * FROM (SELECT c.id AS id, c.chunk_key AS chunk_key, {SCORE} AS score
                 FROM chunk_fts CROSS JOIN chunk c ON c.id = chunk_fts.rowid
                 CROSS JOIN source s ON s.id = c.source_id AND s.active_revision = c.revision_id
                 CROSS JOIN revision r ON r.id = c.revision_id
                 WHERE chunk_fts MATCH ${place}{conditions} ORDER BY score, id LIMIT ${last})"
            )
        })
        .collect();
    let text = format!(
        "SELECT chunk_key, min(score) AS best FROM ({}) GROUP BY id ORDER BY best, id LIMIT ${last}",
        searches.join(" UNION ALL ")
    );
    let rows = db.reader().query_all_raw(sql(&text, values)).await?;
    rows.into_iter()
        .map(|row| {
            let id: String = row.try_get_by_index(0)?;
            let rank: f64 = row.try_get_by_index(1)?;
            Ok((ChunkId::from_stored(id), -rank as f32))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: Budget = Budget {
        every: 20,
        least: 5,
        alone: 10,
        paired: 100,
        adding: 1_000,
    };

    fn divided(counts: &[u64]) -> [usize; 3] {
        let words = counts.iter().map(|count| (*count, format!("w{count}"))).collect();
        let words = Words::divide(words, SMALL);
        [words.alone.len(), words.paired.len(), words.adding.len()]
    }

    #[test]
    fn words_are_used_in_so_far_as_they_are_rare() {
        assert_eq!(divided(&[]), [0, 0, 0]);
        assert_eq!(divided(&[0, 0]), [0, 0, 0]);
        // Few rows: all of them are scored.
        assert_eq!(divided(&[3, 0, 6, 11]), [3, 0, 0]);
        assert_eq!(divided(&[3, 0, 6, 12]), [2, 1, 0]);
        // Too few rows: one word more, if not too frequent.
        assert_eq!(divided(&[2, 30, 40]), [2, 1, 0]);
        assert_eq!(divided(&[2, 300, 40]), [2, 0, 1]);
        assert_eq!(divided(&[2, 300]), [1, 0, 1]);
        assert_eq!(divided(&[60, 3, 6, 20]), [2, 2, 0]);
        assert_eq!(divided(&[400, 60, 3, 500, 30, 6]), [2, 2, 2]);
        // The rarest in any case, and none of those that are in nearly all rows.
        assert_eq!(divided(&[5_000]), [1, 0, 0]);
        assert_eq!(divided(&[5_000, 6_000, 300]), [1, 0, 0]);
        assert_eq!(divided(&[u64::MAX, u64::MAX, 1]), [1, 0, 0]);
    }

    #[test]
    fn any_two_groups_are_on_two_sides_of_an_expression_once() {
        for number in 0..=MAX_TERMS {
            let words: Vec<String> = (0..number).map(|place| format!("w{place}")).collect();
            let expressions: Vec<String> = pairs(words.iter().map(std::slice::from_ref).collect()).collect();
            let sides: Vec<(&str, &str)> = expressions
                .iter()
                .filter_map(|expression| expression.split_once(" AND "))
                .collect();
            for (place, one) in words.iter().enumerate() {
                let one = quoted(one);
                assert!(
                    expressions
                        .iter()
                        .all(|expression| expression.matches(&one).count() == 1)
                );
                for other in words.iter().skip(place + 1).map(|other| quoted(other)) {
                    let apart = sides.iter().any(|(left, right)| {
                        left.contains(&one) != left.contains(&other)
                            && right.contains(&one) != right.contains(&other)
                    });
                    assert!(apart, "{one} and {other} of {number}");
                }
            }
        }
    }
}
