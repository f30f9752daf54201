//! Whether what an answer states stands in what it cites.
//!
//! Nothing here understands a sentence: it finds statements without a citation, quotations that nobody said, and
//! statements that share hardly a word with the passages they cite. What passes may still be wrong; what does not pass
//! deserves a look.

use super::marker::{Marker, Place, next_marker};
use crate::model::Hit;
use std::collections::HashSet;

/// The share of a statement's words that its passages hold, at least.
const SHARED: f32 = 0.2;
/// The fewest words that say something about a statement's origin.
const FEWEST_WORDS: usize = 3;
/// The fewest words in quotation marks that are a quotation, and no name or term.
const QUOTED_WORDS: usize = 3;
/// The share of an answer's shortest words that are found in passages of the same language, at least.
const SHARED_SHORT: f32 = 0.3;

/// Why a statement is in doubt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Doubt {
    /// It cites nothing.
    Uncited,
    /// Hardly one of its words stands in the passages that it cites.
    Wording,
    /// It quotes words that are not in the passages that it cites.
    Quotation,
}

impl Doubt {
    /// The stable lower-case name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Uncited => "uncited",
            Self::Wording => "wording",
            Self::Quotation => "quotation",
        }
    }
}

/// A statement of an answer that its citations do not carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unsupported {
    /// Where it begins in the answer's text, in bytes.
    pub from: usize,
    /// Where it ends in the answer's text, in bytes.
    pub to: usize,
    /// Why.
    pub doubt: Doubt,
}

/// One sentence of an answer.
struct Statement {
    from: usize,
    to: usize,
    /// Its text without markers.
    said: String,
    /// The numbers of its citations.
    cites: Vec<usize>,
}

/// The statements of `text` that are in doubt. Citation `n` in it is of the passage `cited[n - 1]`; `given` is all that
/// the answer was made from.
pub(super) fn unsupported(text: &str, cited: &[&Hit], given: &[Hit]) -> Vec<Unsupported> {
    let statements = statements(text);
    let same_language = is_same_language(&statements, given);
    let several = statements.len() > 1;
    statements
        .iter()
        .filter_map(|statement| {
            let passages: Vec<&Hit> = statement
                .cites
                .iter()
                .filter_map(|number| cited.get(number.checked_sub(1)?).copied())
                .collect();
            let doubt = if passages.is_empty() {
                (!leads_in(&statement.said, several)).then_some(Doubt::Uncited)
            } else {
                doubt_of(&statement.said, &passages, same_language)
            }?;
            Some(Unsupported {
                from: statement.from,
                to: statement.to,
                doubt,
            })
        })
        .collect()
}

fn doubt_of(said: &str, passages: &[&Hit], same_language: bool) -> Option<Doubt> {
    // Words between spaces, so that a quotation is found as whole words.
    let mut spoken = String::from(" ");
    for hit in passages {
        spoken.push_str(&words(&hit.text).join(" "));
        spoken.push_str("  ");
    }
    let invented = quotations(said).into_iter().any(|quoted| {
        let quoted = words(quoted);
        quoted.len() >= QUOTED_WORDS && !spoken.contains(&format!(" {} ", quoted.join(" ")))
    });
    if invented {
        return Some(Doubt::Quotation);
    }
    let wanted = stems(said);
    if !same_language || wanted.len() < FEWEST_WORDS {
        return None;
    }
    let there: HashSet<String> = passages
        .iter()
        .flat_map(|hit| {
            let speakers = hit.speakers.join(" ");
            [stems(&hit.text), stems(&hit.title), stems(&speakers)]
        })
        .flatten()
        .collect();
    let share = wanted.intersection(&there).count() as f32 / wanted.len() as f32;
    (share < SHARED).then_some(Doubt::Wording)
}

/// Whether a sentence states nothing: a heading, what leads to a list, a "Yes." before the reason.
fn leads_in(said: &str, several: bool) -> bool {
    let said = said.trim();
    let count = words(said).len();
    count == 0 || said.ends_with(':') || said.starts_with('#') || (count == 1 && several)
}

/// Cuts an answer into statements. A marker behind the full stop belongs to the sentence before it.
fn statements(text: &str) -> Vec<Statement> {
    let mut statements: Vec<Statement> = Vec::new();
    for range in crate::align::sentence_ranges(text) {
        let mut from = range.start;
        let mut rest = text.get(range.clone()).unwrap_or_default();
        while let Some((before, Marker::Passages(ids), after)) = next_marker(rest) {
            if !before.trim().is_empty() {
                break;
            }
            let Some(last) = statements.last_mut() else { break };
            last.cites.extend(passages(ids));
            from = range.end - after.trim_start().len();
            last.to = range.end - after.len();
            rest = after.trim_start();
        }
        let mut statement = Statement {
            from,
            to: range.end,
            said: String::new(),
            cites: Vec::new(),
        };
        while let Some((before, marker, after)) = next_marker(rest) {
            statement.said.push_str(before);
            if let Marker::Passages(ids) = marker {
                statement.cites.extend(passages(ids));
            }
            rest = after;
        }
        statement.said.push_str(rest);
        if !words(&statement.said).is_empty() {
            statements.push(statement);
        }
    }
    statements
}

fn passages(places: Vec<Place>) -> impl Iterator<Item = usize> {
    places.into_iter().map(|place| place.passage)
}

/// What stands between quotation marks.
fn quotations(text: &str) -> Vec<&str> {
    const PAIRS: [(char, char); 5] = [
        ('"', '"'),
        ('\u{201c}', '\u{201d}'),
        ('\u{201e}', '\u{201c}'),
        ('\u{ab}', '\u{bb}'),
        ('\u{300c}', '\u{300d}'),
    ];
    let mut found = Vec::new();
    for (open, close) in PAIRS {
        let mut rest = text;
        while let Some((_, after)) = rest.split_once(open)
            && let Some((inside, behind)) = after.split_once(close)
        {
            found.push(inside);
            rest = behind;
        }
    }
    found
}

/// Words in lower case, without punctuation.
fn words(text: &str) -> Vec<String> {
    text.split(|c: char| !c.is_alphanumeric() && c != '\'' && c != '\u{2019}')
        .map(|word| word.replace(['\'', '\u{2019}'], "").to_lowercase())
        .filter(|word| !word.is_empty())
        .collect()
}

/// The beginnings of words that carry a meaning, so that "decided" meets "decision".
fn stems(text: &str) -> HashSet<String> {
    words(text)
        .into_iter()
        .filter(|word| word.chars().count() > 3 || word.chars().any(|c| c.is_ascii_digit()))
        .map(|word| word.chars().take(5).collect())
        .collect()
}

/// Whether an answer is in the language of what it was made from, by the little words that every sentence needs. Only
/// then do its other words have to be those of the passages.
fn is_same_language(statements: &[Statement], given: &[Hit]) -> bool {
    let short = |text: &str| -> HashSet<String> {
        words(text)
            .into_iter()
            .filter(|word| (1..=3).contains(&word.chars().count()) && word.chars().all(char::is_alphabetic))
            .collect()
    };
    let said: HashSet<String> = statements.iter().flat_map(|s| short(&s.said)).collect();
    let spoken: HashSet<String> = given.iter().flat_map(|hit| short(&hit.text)).collect();
    said.is_empty() || said.intersection(&spoken).count() as f32 >= said.len() as f32 * SHARED_SHORT
}

#[cfg(test)]
mod tests {
    use super::super::bind;
    use super::super::tests::hit;
    use super::*;

    fn doubts(text: &str) -> Vec<(String, Doubt)> {
        let hits = [
            hit(
                "a",
                &[("The invoice of the harbour failed twice in March.", 0, 10)],
            ),
            hit(
                "b",
                &[(
                    "And the train to the coast was late, they said it was the snow.",
                    20,
                    30,
                )],
            ),
        ];
        let bound = bind(text, &hits);
        let text = &bound.text;
        let said = |u: &Unsupported| (text[u.from..u.to].to_owned(), u.doubt);
        bound.unsupported.iter().map(said).collect()
    }

    #[test]
    fn statements_without_a_citation_are_in_doubt() {
        assert_eq!(
            doubts(
                "The invoice failed in March [1]. The mayor resigned. The train was late because of snow [2]."
            ),
            [("The mayor resigned.".to_owned(), Doubt::Uncited)]
        );
        // A citation that was made up is none.
        assert_eq!(
            doubts("The mayor resigned [9]."),
            [("The mayor resigned.".to_owned(), Doubt::Uncited)]
        );
        assert_eq!(
            doubts("Two things happened:\n- The invoice failed. [1]\n- The train was late. [2]"),
            []
        );
        assert_eq!(doubts("Yes. The invoice failed twice [1]."), []);
        assert_eq!(doubts("Yes."), [("Yes.".to_owned(), Doubt::Uncited)]);
    }

    #[test]
    fn statements_about_something_else_than_they_cite_are_in_doubt() {
        assert_eq!(
            doubts("The invoice failed in March [1]. The mayor resigned after the scandal broke [2]."),
            [(
                "The mayor resigned after the scandal broke [2].".to_owned(),
                Doubt::Wording
            )]
        );
    }

    #[test]
    fn an_answer_in_another_language_is_not_judged_by_its_words() {
        assert_eq!(
            doubts("Die Rechnung des Hafens ist im Frühling zweimal geplatzt [1]."),
            []
        );
        assert_eq!(
            doubts("Der Bürgermeister ist zurückgetreten.")[0].1,
            Doubt::Uncited
        );
    }

    #[test]
    fn quotations_have_to_be_said() {
        assert_eq!(doubts("They said \u{201c}it was the snow\u{201d} [2]."), []);
        assert_eq!(
            doubts("They said \u{201c}it was the driver\u{201d} on the late train [2].")[0].1,
            Doubt::Quotation
        );
        // A term in quotation marks is no quotation.
        assert_eq!(doubts("The \"harbour invoice\" failed in March [1]."), []);
    }
}
