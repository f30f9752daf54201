//! Words: how many speech-to-text got wrong, and whether a quote is really said.

use audiorag_core::{Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

/// How a transcript differs from what was really said, in words.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WordErrors {
    /// The title of the source.
    pub source: String,
    /// Words that were said.
    pub words: usize,
    /// Words written in place of others.
    pub substituted: usize,
    /// Words that were said and not written.
    pub deleted: usize,
    /// Words that were written and not said.
    pub inserted: usize,
}

impl WordErrors {
    /// Everything that is wrong.
    pub const fn errors(&self) -> usize {
        self.substituted + self.deleted + self.inserted
    }

    /// The fewest changes that make `heard` of `said`.
    pub fn between(source: &str, said: &str, heard: &str) -> Self {
        let (said, heard) = (words(said), words(heard));
        // A row of the table of edits: (changes, substituted, deleted, inserted) for each length of `heard`.
        let mut row: Vec<[usize; 4]> = (0..=heard.len()).map(|n| [n, 0, 0, n]).collect();
        for word in &said {
            let mut diagonal = row.first().copied().unwrap_or_default();
            if let Some(first) = row.first_mut() {
                *first = step(*first, 2);
            }
            let mut left = row.first().copied().unwrap_or_default();
            for (cell, other) in row.iter_mut().skip(1).zip(&heard) {
                let above = *cell;
                let across = if word == other {
                    diagonal
                } else {
                    step(diagonal, 1)
                };
                let best = [across, step(above, 2), step(left, 3)]
                    .into_iter()
                    .min_by_key(|[changes, ..]| *changes)
                    .unwrap_or_default();
                diagonal = above;
                *cell = best;
                left = best;
            }
        }
        let [_, substituted, deleted, inserted] = row.last().copied().unwrap_or_default();
        Self {
            source: source.to_owned(),
            words: said.len(),
            substituted,
            deleted,
            inserted,
        }
    }
}

/// One change more, of a kind.
fn step(mut cell: [usize; 4], kind: usize) -> [usize; 4] {
    cell[0] += 1;
    if let Some(count) = cell.get_mut(kind) {
        *count += 1;
    }
    cell
}

/// The words of a text, lower-case and without punctuation.
pub fn words(text: &str) -> Vec<String> {
    text.replace(['\'', '\u{2019}'], "")
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
        .collect()
}

/// Whether the words of `quote` stand in `text` one after the other. An empty quote does not.
pub fn says(text: &str, quote: &str) -> bool {
    let (text, quote) = (words(text), words(quote));
    !quote.is_empty() && text.windows(quote.len()).any(|window| window == quote.as_slice())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Reference {
    source: String,
    text: String,
}

/// What was really said, by the name of the source: from a file with an object `{"source", "text"}` a line, or from a
/// folder of text files named for their sources.
///
/// # Errors
/// [`Input`](audiorag_core::ErrorKind::Input) when something cannot be read, naming the file and the line.
pub fn references(path: &Path) -> Result<BTreeMap<String, String>> {
    let unreadable = |path: &Path, error: std::io::Error| {
        Error::input(format!("cannot read the reference {}", path.display()))
            .with_cause(error)
            .with_hint("give a folder of .txt files, or a file with {\"source\", \"text\"} a line")
    };
    let read = |path: &Path| std::fs::read_to_string(path).map_err(|error| unreadable(path, error));
    if !path.is_dir() {
        return read(path)?
            .lines()
            .enumerate()
            .filter(|(_, line)| !line.trim().is_empty())
            .map(|(index, line)| {
                let reference: Reference = serde_json::from_str(line).map_err(|error| {
                    Error::input(format!("{}, line {}: {error}", path.display(), index + 1))
                        .with_hint("a reference is {\"source\": \"talk.mp3\", \"text\": \"…\"}")
                })?;
                Ok((reference.source, reference.text))
            })
            .collect();
    }
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(path).map_err(|error| unreadable(path, error))? {
        let file = entry.map_err(|error| unreadable(path, error))?.path();
        if file.extension().is_some_and(|extension| extension == "txt")
            && let Some(name) = file.file_stem().and_then(|name| name.to_str())
        {
            found.insert(name.to_owned(), read(&file)?);
        }
    }
    if found.is_empty() {
        return Err(
            Error::input(format!("there is no .txt file in {}", path.display()))
                .with_hint("name each file for its source: talk.txt for talk.mp3"),
        );
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn changes_are_counted_by_kind() {
        let errors = WordErrors::between(
            "s",
            "The harbour board met, on Tuesday.",
            "the harbor met on a Tuesday",
        );
        assert_eq!(
            (errors.words, errors.substituted, errors.deleted, errors.inserted),
            (6, 1, 1, 1)
        );
        assert_eq!(WordErrors::between("s", "", "a b").inserted, 2);
        assert_eq!(WordErrors::between("s", "a b", "").deleted, 2);
    }

    #[test]
    fn quotes_are_found_whatever_their_punctuation() {
        assert!(says(
            "It's late, said Ann. Go home.",
            "its late \u{2014} said ann"
        ));
        assert!(!says("It is late", "late it"));
        assert!(!says("anything", " .. "));
    }

    proptest! {
        #[test]
        fn as_many_words_are_explained_as_there_are(said in "[abc ]{0,30}", heard in "[abc ]{0,30}") {
            let errors = WordErrors::between("s", &said, &heard);
            let kept = errors.words - errors.deleted;
            prop_assert_eq!(kept + errors.inserted, words(&heard).len());
            let back = WordErrors::between("s", &heard, &said);
            prop_assert_eq!(back.errors(), errors.errors());
            prop_assert_eq!(errors.errors() == 0, words(&said) == words(&heard));
        }
    }
}
