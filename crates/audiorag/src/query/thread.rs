//! Follow-up questions: what is searched for when a question makes sense only after the ones before it.

use super::{AnswerMode, Querier, generate};
use crate::guard::Guarded;
use crate::operation;
use audiorag_core::capability::Generator;
use audiorag_core::model::Answer;
use audiorag_core::{Error, Result, prompt};
use audiorag_state::{NewTurn, Turn};

/// The most turns that a follow-up may refer to.
const TURNS: usize = 4;
/// The most characters of an earlier answer that are read for it.
const ANSWER_CHARS: usize = 600;
/// The longest name of a thread, in characters.
const NAME_CHARS: usize = 100;
/// The longest stand-alone question that is believed to be one, in characters.
const QUESTION_CHARS: usize = 1_000;
/// The longest text that a follow-up is searched for together with, in characters.
const JOINED_CHARS: usize = 400;
/// The most tokens of a stand-alone question.
const QUESTION_TOKENS: u32 = 200;
/// A question with so many words that carry a meaning needs no other one beside it.
const ENOUGH_WORDS: usize = 4;

/// How a follow-up became what was searched for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Wording {
    /// It was searched for as it was asked.
    AsAsked,
    /// The generator made it understandable by itself.
    Rewritten,
    /// It was searched for together with the question before it.
    Joined,
}

impl Wording {
    /// The stable lower-case name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AsAsked => "as_asked",
            Self::Rewritten => "rewritten",
            Self::Joined => "joined",
        }
    }
}

/// The place of a question in a conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ThreadTurn {
    /// The conversation.
    pub name: String,
    /// Its place, from 1; absent when it could not be kept.
    pub number: Option<u64>,
    /// What was searched for.
    pub searched: String,
    /// How that came about.
    pub wording: Wording,
}

impl Querier {
    /// What to search for when `question` is asked in the conversation `name`. A generator that fails is named in
    /// `degraded`.
    pub(super) async fn in_thread(
        &self,
        name: &str,
        question: &str,
        degraded: &mut Vec<String>,
    ) -> Result<ThreadTurn> {
        check_name(name)?;
        let turns = self.state.turns(name).await?;
        let turn = |searched: String, wording| ThreadTurn {
            name: name.to_owned(),
            number: None,
            searched,
            wording,
        };
        let Some(last) = turns.last() else {
            return Ok(turn(question.to_owned(), Wording::AsAsked));
        };
        if let AnswerMode::Generator(generator) = &self.mode {
            match stand_alone(generator, &turns, question).await {
                Ok(Some(searched)) => return Ok(turn(searched, Wording::Rewritten)),
                Ok(None) => {}
                Err(error) => {
                    tracing::warn!(error = %error.report(), "cannot rewrite the question");
                    degraded.push("rewrite".to_owned());
                }
            }
        }
        if super::extract::content_words(question).len() >= ENOUGH_WORDS {
            return Ok(turn(question.to_owned(), Wording::AsAsked));
        }
        let before = joined_with(last);
        Ok(turn(format!("{before} {question}"), Wording::Joined))
    }

    /// Keeps a turn. An answer is worth having even if it cannot be kept.
    pub(super) async fn keep(&self, turn: &mut ThreadTurn, question: &str, answer: &mut Answer) {
        let kept = NewTurn {
            question: question.to_owned(),
            searched: turn.searched.clone(),
            answer: answer.text.clone(),
            model: answer.model.clone(),
            citations: answer.citations.clone(),
        };
        match self.state.save_turn(&turn.name, &kept).await {
            Ok(number) => turn.number = Some(number),
            Err(error) => {
                tracing::warn!(error = %error.report(), "the conversation cannot be kept");
                answer.degraded.push("thread".to_owned());
            }
        }
    }
}

/// What a follow-up is searched for together with. What the question before it was searched for names what both are
/// about, unless it grew too long; of a long question the beginning has to do.
fn joined_with(last: &Turn) -> String {
    if last.searched.chars().count() <= JOINED_CHARS {
        return last.searched.clone();
    }
    let Some((end, _)) = last.question.char_indices().nth(JOINED_CHARS) else {
        return last.question.clone();
    };
    let beginning = last.question.get(..end).unwrap_or_default();
    // Half a word is another word.
    let whole = beginning.rsplit_once(char::is_whitespace).map(|(words, _)| words);
    whole.unwrap_or(beginning).trim_end().to_owned()
}

/// Asks the generator for a question that can be understood without the turns before it; nothing when what it writes is
/// no question.
async fn stand_alone(
    generator: &Guarded<dyn Generator>,
    turns: &[Turn],
    question: &str,
) -> Result<Option<String>> {
    let from = turns.len().saturating_sub(TURNS);
    let earlier: Vec<(String, String)> = turns
        .get(from..)
        .unwrap_or_default()
        .iter()
        .map(|turn| {
            let answer = turn.answer.chars().take(ANSWER_CHARS).collect();
            (turn.question.clone(), answer)
        })
        .collect();
    let tokens = QUESTION_TOKENS.min(generator.limits().max_output_tokens);
    let request = prompt::follow_up(question, &earlier, &operation::random_delimiter(), tokens);
    let mut written = String::new();
    generate::write(generator, request, |delta| written.push_str(delta)).await?;
    let written: String = written.chars().filter(|c| !c.is_control()).collect();
    let written = written.trim();
    let fits = !written.is_empty() && written.chars().count() <= QUESTION_CHARS;
    Ok(fits.then(|| written.to_owned()))
}

fn check_name(name: &str) -> Result<()> {
    let length = name.chars().count();
    if name.trim().is_empty() || length > NAME_CHARS || name.chars().any(char::is_control) {
        return Err(Error::input(format!(
            "the name of a thread has 1 to {NAME_CHARS} visible characters"
        ))
        .with_hint("audiorag query --thread budget \"what was decided?\""));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turn(question: &str, searched: &str) -> Turn {
        Turn {
            number: 1,
            question: question.to_owned(),
            searched: searched.to_owned(),
            answer: String::new(),
            model: String::new(),
            citations: Vec::new(),
            asked_at: std::time::UNIX_EPOCH,
        }
    }

    #[test]
    fn a_follow_up_is_not_joined_with_more_than_fits() {
        let long = "wörter ".repeat(100);
        assert_eq!(joined_with(&turn("asked", "searched")), "searched");
        assert_eq!(joined_with(&turn("asked", &long)), "asked");
        let joined = joined_with(&turn(&long, &long));
        assert_eq!(joined, "wörter ".repeat(57).trim_end());
        assert!(joined.chars().count() <= JOINED_CHARS);
        let unbroken = "ö".repeat(1000);
        assert_eq!(joined_with(&turn(&unbroken, &unbroken)), "ö".repeat(JOINED_CHARS));
    }
}
