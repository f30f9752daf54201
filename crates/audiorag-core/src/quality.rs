//! Tests that tell speech from what models invent over silence, noise and music.

use crate::Span;
use crate::model::Suspicion;
use std::collections::HashMap;

/// Phrases that speech-to-text models are known to write where nobody speaks. Compared in lower case without
/// punctuation, and only against a segment's whole text.
const OUTROS: [&str; 12] = [
    "thank you",
    "thank you very much",
    "thank you for watching",
    "thanks for watching",
    "thank you so much for watching",
    "please subscribe",
    "subscribe to my channel",
    "please subscribe to my channel",
    "subtitles by the amara org community",
    "transcription by castingwords",
    "see you next time",
    "bye bye",
];

/// The longest span a real outro phrase is stretched over: a stock phrase said in more time is invented.
const OUTRO_MAX_MILLIS: u64 = 6_000;

/// The highest plausible rate of speech. Nobody says "thank you" in a tenth of a second.
const OUTRO_MIN_MILLIS: u64 = 250;

/// Why `text`, said within `span`, is probably not speech, or `None` for a plausible segment.
pub fn suspicion(text: &str, span: Span) -> Option<Suspicion> {
    let words = words(text);
    if is_looping(&words) {
        return Some(Suspicion::Looping);
    }
    if repetition_ratio(&words) > 2.4 {
        return Some(Suspicion::Repetitive);
    }
    let plain = words.join(" ");
    let millis = span.duration().as_millis();
    let implausible = !(OUTRO_MIN_MILLIS..=OUTRO_MAX_MILLIS).contains(&millis);
    (implausible && OUTROS.contains(&plain.as_str())).then_some(Suspicion::Outro)
}

/// Lower-case words without punctuation.
fn words(text: &str) -> Vec<String> {
    text.split(|c: char| !c.is_alphanumeric() && c != '\'')
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
        .collect()
}

/// Whether one n-gram of one to six words fills at least four fifths of a text of eight words or more, said at
/// least four times in a row.
fn is_looping(words: &[String]) -> bool {
    if words.len() < 8 {
        return false;
    }
    (1..=6).any(|n| {
        let mut best = 0;
        let mut run = 0;
        for index in n..words.len() {
            run = if words.get(index) == words.get(index - n) {
                run + 1
            } else {
                0
            };
            best = best.max(run);
        }
        // A run of r matches at distance n means r + n words in the loop.
        let looped = best + n;
        looped >= 4 * n && looped * 5 >= words.len() * 4
    })
}

/// How well the words would compress: their number over that of distinct neighbouring pairs. Plain speech is
/// near 1; Whisper's test on gzip (ratio above 2.4) catches the same texts.
fn repetition_ratio(words: &[String]) -> f64 {
    if words.len() < 16 {
        return 1.0;
    }
    let mut pairs: HashMap<(&str, &str), u32> = HashMap::new();
    for pair in words.windows(2) {
        if let [a, b] = pair {
            *pairs.entry((a, b)).or_default() += 1;
        }
    }
    (words.len() - 1) as f64 / pairs.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(text: &str, millis: u64) -> Option<Suspicion> {
        suspicion(text, Span::from_millis(0, millis))
    }

    #[test]
    fn loops_are_marked() {
        assert_eq!(judge(&"No. ".repeat(40), 9000), Some(Suspicion::Looping));
        assert_eq!(judge(&"I don't know. ".repeat(9), 9000), Some(Suspicion::Looping));
        let mixed = format!(
            "{} {}",
            "so we go on and on ".repeat(5),
            "what is that then ".repeat(8)
        );
        assert!(judge(&mixed, 9000).is_some());
    }

    #[test]
    fn real_speech_is_not() {
        let dickens = "it was the best of times, it was the worst of times, it was the age of wisdom, it was the \
                       age of foolishness, it was the epoch of belief, it was the epoch of incredulity";
        assert_eq!(judge(dickens, 14_000), None);
        assert_eq!(judge("No, no, no, no.", 2000), None);
        assert_eq!(judge("", 100), None);
    }

    #[test]
    fn outros_count_only_where_their_length_gives_them_away() {
        assert_eq!(judge("Thank you.", 900), None);
        assert_eq!(judge("Thank you.", 20_000), Some(Suspicion::Outro));
        assert_eq!(judge("Thanks for watching!", 100), Some(Suspicion::Outro));
    }
}
