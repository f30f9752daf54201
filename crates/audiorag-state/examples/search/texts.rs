//! What the chunks say, and what is asked.

use super::Result;
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::Path;

/// Passages of two lines each, another pair every time.
pub(super) struct Texts(Vec<String>);

impl Texts {
    pub(super) fn read(path: &Path) -> Result<Self> {
        let lines: Vec<String> = BufReader::new(File::open(path)?)
            .lines()
            .collect::<std::io::Result<_>>()?;
        if lines.len() < 2 {
            return Err("the texts are too few".into());
        }
        Ok(Self(lines))
    }

    fn line(&self, number: usize) -> &str {
        self.0.get(number % self.0.len()).map_or("", String::as_str)
    }

    pub(super) fn passage(&self, number: usize) -> String {
        let round = number / self.0.len() + 1;
        format!("{} {}", self.line(number), self.line(number * 7 + round * 7919))
    }

    /// A question as people ask them, with words from one line: mostly frequent ones and a rarer one.
    pub(super) fn question(&self, number: usize) -> String {
        let line = self.line(number * 131 + 17);
        let words: Vec<&str> = line
            .split(|c: char| !c.is_alphabetic())
            .filter(|word| word.len() > 2)
            .take(6)
            .collect();
        format!(
            "What did they say about {} in the meeting last year?",
            words.join(" ")
        )
    }

    /// A question with a name that no text has, and a number.
    pub(super) fn misheard(number: usize) -> String {
        let names = [
            "Kowalczyk",
            "Shevchenko",
            "Brandtner",
            "Ngozika",
            "Macarthurs",
            "Wojciechowska",
        ];
        let name = names.get(number % names.len()).copied().unwrap_or_default();
        format!("What happened to {name} in {}?", 1900 + number % 100)
    }
}
