//! Search by sound: names that speech-to-text misheard, and numbers however they are written.
//!
//! Each chunk has an index text beside its words: a code for the sound of each word and of each two neighbouring words,
//! because an unknown name is often heard as several known words ("Shevchenko": "chef chank oh"), and the numbers that
//! are said. The words of a question that no recording has are looked up there; whoever has a word of the same sound is then judged by how
//! alike the spellings are, since codes are coarse.

use crate::State;
use crate::db::{Db, sql};
use crate::fault::Attempt;
use crate::lexical::{self, COLUMNS};
use audiorag_core::Result;
use audiorag_core::id::ChunkId;
use audiorag_core::model::Filter;
use audiorag_core::numbers::spoken_numbers;
use rphonetic::DoubleMetaphone;
use sea_orm::{ConnectionTrait as _, Value};
use std::collections::{BTreeMap, BTreeSet};

/// Sounds of a code, at most: what follows is endings.
const CODE_LENGTH: usize = 6;
/// Shorter codes are those of too many words.
const LEAST_CODE: usize = 3;
/// Words with fewer letters are common ones, or say too little of their sound.
const LEAST_LETTERS: usize = 4;
/// Numbers below are in every second sentence.
const LEAST_NUMBER: u64 = 10;
/// The share of equal letters from which two words of the same sound may be the same name.
const ALIKE: f64 = 0.5;
/// Chunks that are judged for one question.
const CANDIDATES: usize = 256;

/// The codes of a word's sound: none where it has letters that the rules, which are for Latin script, do not know.
fn codes(word: &str) -> BTreeSet<String> {
    let letters: String = word.chars().filter_map(plain).collect();
    if letters.len() < word.chars().filter(|c| c.is_alphabetic()).count() {
        return BTreeSet::new();
    }
    let code = DoubleMetaphone::new(Some(CODE_LENGTH)).double_metaphone(&letters);
    [code.primary(), code.alternate()]
        .into_iter()
        // A vowel at the beginning is the first thing that is lost.
        .map(|code| code.trim_start_matches('A').to_owned())
        .filter(|code| code.len() >= LEAST_CODE)
        .collect()
}

/// A Latin letter without its marks.
fn plain(c: char) -> Option<char> {
    Some(match c.to_lowercase().next()? {
        c @ 'a'..='z' => c,
        'à'..='å' | 'ā' | 'ă' | 'ą' => 'a',
        'ç' | 'ć' | 'č' => 'c',
        'ď' | 'đ' | 'ð' => 'd',
        'è'..='ë' | 'ē' | 'ę' | 'ě' | 'ė' => 'e',
        'ğ' => 'g',
        'ì'..='ï' | 'ī' | 'ı' | 'į' => 'i',
        'ł' | 'ľ' => 'l',
        'ñ' | 'ń' | 'ň' => 'n',
        'ò'..='ö' | 'ø' | 'ō' | 'ő' => 'o',
        'ř' => 'r',
        'ś' | 'š' | 'ş' | 'ș' | 'ß' => 's',
        'ţ' | 'ț' | 'ť' => 't',
        'ù'..='ü' | 'ū' | 'ů' | 'ű' => 'u',
        'ý' | 'ÿ' => 'y',
        'ź' | 'ż' | 'ž' => 'z',
        _ => return None,
    })
}

/// The words of a text, in lower case.
fn words(text: &str) -> Vec<String> {
    text.split(|c: char| !(c.is_alphanumeric() || c == '\'' || c == '’'))
        .map(|word| {
            word.chars()
                .filter(|c| c.is_alphanumeric())
                .flat_map(char::to_lowercase)
                .collect()
        })
        .filter(|word: &String| !word.is_empty())
        .collect()
}

/// Each word, and each two neighbouring words as one.
fn heard(words: &[String]) -> impl Iterator<Item = String> {
    let pairs = words.windows(2).map(<[String]>::concat);
    words.iter().cloned().chain(pairs)
}

fn number_token(number: u64) -> String {
    format!("n{number}")
}

/// What the index by sound holds of a text.
pub(crate) fn index_text(text: &str) -> String {
    let words = words(text);
    let mut tokens: BTreeSet<String> = heard(&words)
        .filter(|word| word.chars().count() >= LEAST_LETTERS)
        .flat_map(|word| codes(&word))
        .collect();
    let numbers = spoken_numbers(text);
    tokens.extend(
        numbers
            .into_iter()
            .filter(|number| *number >= LEAST_NUMBER)
            .map(number_token),
    );
    tokens.into_iter().collect::<Vec<_>>().join(" ")
}

/// What is looked for by sound.
#[derive(Debug, Default, PartialEq, Eq)]
struct Wanted {
    /// Words, each with its codes.
    words: BTreeMap<String, BTreeSet<String>>,
    numbers: BTreeSet<u64>,
}

impl Wanted {
    /// What the index is asked for.
    fn tokens(&self) -> BTreeSet<String> {
        let codes = self.words.values().flatten().cloned();
        let numbers = self.numbers.iter().map(|number| number_token(*number));
        codes.chain(numbers).collect()
    }

    /// How well a text has what is wanted: each word by its most similar one of the same sound, each number in full.
    fn score(&self, text: &str) -> f64 {
        let mut best: BTreeMap<&str, f64> = BTreeMap::new();
        for candidate in heard(&words(text)) {
            for (word, codes) in &self.words {
                let alike = strsim::normalized_levenshtein(word, &candidate);
                let known = best.get(word.as_str()).copied().unwrap_or_default();
                if alike > known.max(ALIKE) && !self::codes(&candidate).is_disjoint(codes) {
                    best.insert(word, alike);
                }
            }
        }
        let numbers: BTreeSet<u64> = spoken_numbers(text).into_iter().collect();
        best.values().sum::<f64>() + self.numbers.intersection(&numbers).count() as f64
    }
}

impl State {
    /// The chunks of live revisions in which a word of `query` that no recording has may have been misheard, or in which its numbers are said; best first. The score is the sum of how alike the words are, 1.0 for
    /// each that is the same and for each number.
    pub async fn search_sounds(
        &self,
        query: &str,
        limit: usize,
        filter: &Filter,
    ) -> Result<Vec<(ChunkId, f32)>> {
        self.db
            .explain("search by sound", async {
                let wanted = wanted(&self.db, query).await?;
                if (wanted.words.is_empty() && wanted.numbers.is_empty()) || limit == 0 {
                    return Ok(Vec::new());
                }
                let mut found: Vec<(ChunkId, f32)> = candidates(&self.db, &wanted.tokens(), filter)
                    .await?
                    .into_iter()
                    .map(|(id, text)| (id, wanted.score(&text) as f32))
                    .filter(|(_, score)| *score > 0.0)
                    .collect();
                // Stable: of two that are equally alike, the one with more of the rarer sounds is first.
                found.sort_by(|a, b| b.1.total_cmp(&a.1));
                found.truncate(limit);
                Ok(found)
            })
            .await
    }
}

/// The words of a question that were never understood, and its numbers.
async fn wanted(db: &Db, query: &str) -> Attempt<Wanted> {
    let mut wanted = Wanted {
        numbers: spoken_numbers(query)
            .into_iter()
            .filter(|number| *number >= LEAST_NUMBER)
            // Each is a column of a statement, which may not have any number of them.
            .take(lexical::MAX_TERMS)
            .collect(),
        ..Wanted::default()
    };
    let mut sounding = Vec::new();
    for term in lexical::terms(query) {
        for word in words(&term) {
            if word.chars().count() < LEAST_LETTERS || word.contains(|c: char| c.is_ascii_digit()) {
                continue;
            }
            let codes = codes(&word);
            if !codes.is_empty() {
                sounding.push((term.clone(), word, codes));
            }
        }
    }
    let terms: Vec<String> = sounding.iter().map(|(term, ..)| term.clone()).collect();
    let known = lexical::known(db, &terms).await?;
    for ((_, word, codes), known) in sounding.into_iter().zip(known) {
        if !known {
            wanted.words.insert(word, codes);
        }
    }
    Ok(wanted)
}

/// Chunks that have one of the codes, those with more and rarer ones first, with their texts.
///
/// BM25 would not do: this index keeps no places, so that FTS5 reads and splits the texts of all rows to rank them.
async fn candidates(db: &Db, tokens: &BTreeSet<String>, filter: &Filter) -> Attempt<Vec<(ChunkId, String)>> {
    let ranked = ranked(db, tokens).await?;
    let mut found = Vec::new();
    let mut rest = ranked.as_slice();
    // More at once each time: of some filters most rows fall short.
    let mut most = CANDIDATES;
    while !rest.is_empty() && found.len() < CANDIDATES {
        let (next, later) = rest.split_at(most.min(rest.len()));
        found.extend(live_texts(db, next, CANDIDATES - found.len(), filter).await?);
        rest = later;
        most *= 2;
    }
    Ok(found)
}

/// The rows that have one of the codes, those with more and rarer ones first.
async fn ranked(db: &Db, tokens: &BTreeSet<String>) -> Attempt<Vec<i64>> {
    let lists: Vec<String> = (1..=tokens.len())
        .map(|place| {
            format!("(SELECT group_concat(rowid) FROM chunk_sound WHERE chunk_sound MATCH ${place})")
        })
        .collect();
    let text = format!("SELECT (SELECT max(id) FROM chunk), {}", lists.join(", "));
    let values = tokens.iter().map(|token| lexical::quoted(token).into());
    let Some(row) = db.reader().query_one_raw(sql(&text, values)).await? else {
        return Ok(Vec::new());
    };
    let all: Option<i64> = row.try_get_by_index(0)?;
    let mut weighed: Vec<(i64, f64)> = Vec::new();
    for place in 1..=lists.len() {
        let list: Option<String> = row.try_get_by_index(place)?;
        let list = list.unwrap_or_default();
        let ids: Vec<i64> = list.split(',').filter_map(|id| id.parse().ok()).collect();
        let weight = rarity(ids.len(), all.unwrap_or_default());
        weighed.extend(ids.into_iter().map(|id| (id, weight)));
    }
    Ok(heaviest_first(weighed))
}

/// How much one of all rows has of what so many have.
fn rarity(rows: usize, all: i64) -> f64 {
    (1.0 + all.max(0) as f64 / (1.0 + rows as f64)).ln()
}

/// Each row once, by the sum of its weights.
fn heaviest_first(mut weighed: Vec<(i64, f64)>) -> Vec<i64> {
    weighed.sort_unstable_by_key(|(id, _)| *id);
    weighed.dedup_by(|next, kept| {
        let same = next.0 == kept.0;
        if same {
            kept.1 += next.1;
        }
        same
    });
    // Stable: of equal ones the older is first.
    weighed.sort_by(|a, b| b.1.total_cmp(&a.1));
    weighed.into_iter().map(|(id, _)| id).collect()
}

/// The texts of those rows that are live and pass the filter, in their order.
async fn live_texts(db: &Db, rows: &[i64], limit: usize, filter: &Filter) -> Attempt<Vec<(ChunkId, String)>> {
    let rows: Vec<String> = rows.iter().map(i64::to_string).collect();
    let mut values: Vec<Value> = vec![format!("[{}]", rows.join(",")).into()];
    let conditions = COLUMNS.conditions(filter, &mut values);
    values.push((limit as i64).into());
    let text = format!(
        "SELECT c.chunk_key, c.text FROM json_each($1) f CROSS JOIN chunk c ON c.id = f.value
         CROSS JOIN source s ON s.id = c.source_id AND s.active_revision = c.revision_id
         CROSS JOIN revision r ON r.id = c.revision_id{conditions} ORDER BY f.key LIMIT ${}",
        values.len()
    );
    let rows = db.reader().query_all_raw(sql(&text, values)).await?;
    rows.into_iter()
        .map(|row| {
            let id: String = row.try_get_by_index(0)?;
            Ok((ChunkId::from_stored(id), row.try_get_by_index(1)?))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn wanting(query: &str) -> Wanted {
        Wanted {
            words: words(query)
                .into_iter()
                .map(|word| (word.clone(), codes(&word)))
                .filter(|(_, codes)| !codes.is_empty())
                .collect(),
            numbers: spoken_numbers(query).into_iter().collect(),
        }
    }

    #[test]
    fn misheard_names_share_a_code_and_letters_with_what_was_said() {
        for (said, heard) in [
            ("Kowalczyk", "and then mister co walchick said"),
            ("Shevchenko", "the poet chevchenco wrote"),
            ("Brandt", "when chancellor brant resigned"),
            ("Catherine", "to Katherine"),
            ("Müller", "miss muller"),
            ("Ngozi", "thanks to in gozi"),
            ("MacArthur", "general mc arthur"),
        ] {
            let wanted = wanting(said);
            let index = index_text(heard);
            let tokens: BTreeSet<&str> = index.split(' ').collect();
            let shares = wanted
                .words
                .values()
                .flatten()
                .any(|code| tokens.contains(code.as_str()));
            println!("{said}: {wanted:?} {} / {index}", wanted.score(heard));
            assert!(shares && wanted.score(heard) > 0.5, "{said}");
        }
        assert!(wanting("Kowalczyk").score("the weather in the valley is cold") == 0.0);
    }

    #[test]
    fn rows_with_more_and_rarer_codes_are_judged_first() {
        let (rare, frequent) = (rarity(3, 1_000), rarity(400, 1_000));
        assert!(rare > frequent && rarity(1_000, 1_000) > 0.0 && rarity(5, 0) >= 0.0);
        let weighed = vec![
            (7, frequent),
            (9, frequent),
            (4, rare),
            (3, frequent),
            (9, rare),
            (8, rare),
        ];
        assert_eq!(heaviest_first(weighed), [9, 4, 8, 3, 7]);
    }

    #[test]
    fn numbers_are_found_however_they_are_written() {
        let index = index_text("in twenty twenty six there were 1,000 of them, and two left");
        let tokens: BTreeSet<&str> = index.split(' ').collect();
        assert!(tokens.contains("n2026") && tokens.contains("n1000"), "{index}");
        assert!(!tokens.contains("n2"), "too common");
        assert!(wanting("what happened in 2026").score("in twenty twenty six") >= 1.0);
    }

    proptest! {
        #[test]
        fn any_text_has_an_index_text(text in "\\PC{0,80}|[a-zß-ÿ' ]{0,80}") {
            let index = index_text(&text);
            prop_assert!(index.chars().all(|c| c.is_ascii_alphanumeric() || c == ' '), "{}", index);
            let _ = wanting(&text).score(&text);
        }
    }
}
