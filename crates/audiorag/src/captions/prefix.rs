//! Speakers that are written before what they say: `Ada: good morning`.
//!
//! A colon alone makes no speaker. Names are taken when they are the rule of the whole file: when every cue begins with
//! one, or when at least four cues do and three quarters of those repeat a name. Where names appear only at a change of
//! speaker, as podcasts write them, a cue without a name belongs to the name before it; where the same name stands
//! before two cues in a row, a cue without a name is by nobody that is known.

use audiorag_core::model::Segment;
use std::collections::HashMap;

/// The longest name, in characters.
const LONGEST: usize = 40;
/// The most words of a name.
const WORDS: usize = 5;
/// The fewest cues with a name where not every cue has one.
const FEWEST: usize = 4;

/// Moves names from the text of segments to their speakers, if that is the rule of the file.
pub(super) fn split(segments: &mut [Segment]) {
    let named: Vec<Option<(String, String)>> =
        segments.iter().map(|segment| name_of(&segment.text)).collect();
    let names: Vec<&str> = named.iter().flatten().map(|(name, _)| name.as_str()).collect();
    if !is_rule(&names, segments.len()) {
        return;
    }
    let everywhere = names.windows(2).any(|pair| pair.first() == pair.last());
    let mut speaking: Option<String> = None;
    for (segment, named) in segments.iter_mut().zip(named) {
        match named {
            Some((name, text)) => {
                segment.text = text;
                speaking = Some(name);
                segment.speaker.clone_from(&speaking);
            }
            None if everywhere => {}
            None => segment.speaker.clone_from(&speaking),
        }
    }
}

fn is_rule(names: &[&str], cues: usize) -> bool {
    if names.is_empty() {
        return false;
    }
    if names.len() == cues {
        return true;
    }
    let mut counts: HashMap<&str, usize> = HashMap::new();
    for name in names {
        *counts.entry(name).or_default() += 1;
    }
    let repeated: usize = counts.values().filter(|count| **count > 1).sum();
    names.len() >= FEWEST && repeated * 4 >= names.len() * 3
}

/// The name before the first colon, and the text behind it. A name is short, begins with a letter or a digit, and holds
/// no punctuation that would make it a sentence.
fn name_of(text: &str) -> Option<(String, String)> {
    let (name, said) = text.split_once(": ")?;
    let (name, said) = (name.trim(), said.trim());
    let fits = name.chars().count() <= LONGEST
        && name.split_whitespace().count() <= WORDS
        && name.starts_with(char::is_alphanumeric)
        && !name.contains(['?', '!', ',', ';', '"', '…'])
        && !said.is_empty();
    fits.then(|| (name.to_owned(), said.to_owned()))
}
