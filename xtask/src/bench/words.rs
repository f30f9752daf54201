//! How many words the local speech-to-text gets wrong, on readings whose text is known.

use super::{Bench, path_text};
use crate::{process, workspace};
use anyhow::{Context, Result, bail};
use serde_json::json;
use std::path::PathBuf;

/// The reading that the repository carries.
const READING: (&str, &str) = (
    "tests/fixtures/two_cities.flac",
    "tests/fixtures/texts/two_cities.txt",
);

/// Indexes each recording and counts the words to insert, delete and replace until what was heard is what was said.
/// `pairs` are recordings and their texts in turn; without any, the repository's own reading is taken.
pub(super) fn run(bench: &Bench, pairs: &[&str]) -> Result<()> {
    let given: Vec<PathBuf> = if pairs.is_empty() {
        [READING.0, READING.1]
            .iter()
            .map(|name| workspace::root().join(name))
            .collect()
    } else {
        pairs.iter().map(PathBuf::from).collect()
    };
    if !given.len().is_multiple_of(2) {
        bail!("each recording is followed by the file of its text");
    }
    println!("  errors  words  recording");
    let mut rows = Vec::new();
    for pair in given.chunks_exact(2) {
        let [recording, text] = pair else { continue };
        let said =
            std::fs::read_to_string(text).with_context(|| format!("cannot read {}", text.display()))?;
        let database = format!("words-{}", rows.len());
        process::run(&mut bench.audiorag(&database, &["index", path_text(recording)?]))?;
        let heard = process::capture(
            &mut bench.audiorag(&database, &["export", path_text(recording)?, "-f", "txt"]),
        )?;
        let (heard, said) = (words(&heard), words(&said));
        let errors = distance(&heard, &said);
        println!("  {errors:>6} {:>6}  {}", said.len(), recording.display());
        rows.push(json!({ "recording": recording, "errors": errors, "words": said.len() }));
    }
    bench.save("words", &[], &json!(rows))
}

/// Lower-case words without punctuation and digits, as the figures we compare with were scored.
fn words(text: &str) -> Vec<String> {
    text.to_lowercase()
        .split_whitespace()
        .map(|word| {
            word.chars()
                .filter(|c| c.is_alphabetic() || *c == '\'')
                .collect::<String>()
        })
        .filter(|word| !word.is_empty())
        .collect()
}

/// Levenshtein's distance in words.
fn distance(heard: &[String], said: &[String]) -> usize {
    let mut row: Vec<usize> = (0..=said.len()).collect();
    for (i, word) in heard.iter().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (j, expected) in said.iter().enumerate() {
            let above = row.get(j + 1).copied().unwrap_or_default();
            let best = (diagonal + usize::from(word != expected))
                .min(above + 1)
                .min(left + 1);
            if let Some(cell) = row.get_mut(j) {
                *cell = left;
            }
            diagonal = above;
            left = best;
        }
        if let Some(cell) = row.last_mut() {
            *cell = left;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_wrong_are_counted() {
        let errors = |heard: &str, said: &str| distance(&words(heard), &words(said));
        assert_eq!(errors("It was, the best!", "it was the best"), 0);
        assert_eq!(errors("it is the best of", "it was the best"), 2);
        assert_eq!(errors("", "it was"), 2);
        assert_eq!(errors("a b c", ""), 3);
        assert_eq!(errors("b c d", "a b c d e"), 2);
    }
}
