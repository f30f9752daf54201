//! The evaluation set: texts and questions of `tests/eval`, spoken into recordings whose sentence times are known.

use super::random::Random;
use super::speech::{self, NOISE, VOICES};
use crate::{process, workspace};
use anyhow::{Context, Result, bail, ensure};
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// Changes when the same texts are spoken otherwise.
const VERSION: u32 = 3;
/// Seconds of speech that the set has at least, without the pauses between sentences.
const LEAST_SPOKEN: f64 = 2.0 * 3600.0;
/// Recordings that a quick run takes.
const QUICK: usize = 8;

/// Where the set lies, spoken.
pub(super) struct Set {
    /// Recordings, in the order of their names.
    pub(super) recordings: Vec<PathBuf>,
    /// Their titles, in the same order.
    pub(super) titles: Vec<String>,
    pub(super) questions: PathBuf,
    pub(super) references: PathBuf,
}

/// A text of the set.
struct Text {
    name: String,
    title: String,
    sentences: Vec<String>,
}

/// Speaks the set into `folder`, unless it is there already. With `quick` a part of it is used.
pub(super) fn prepare(folder: &Path, quick: bool) -> Result<Set> {
    let texts = texts()?;
    let questions = questions(&texts)?;
    speech::ensure_synthesizers()?;
    let stamp = stamp(&texts)?;
    let times_file = folder.join("times.json");
    let times = match std::fs::read_to_string(&times_file).map(|text| serde_json::from_str::<Value>(&text)) {
        Ok(Ok(kept)) if kept.get("stamp").and_then(Value::as_str) == Some(stamp.as_str()) => kept,
        _ => {
            let times = speak_all(&texts, folder, &stamp)?;
            write(&times_file, &format!("{times:#}\n"))?;
            times
        }
    };
    let seconds = times.get("seconds").and_then(Value::as_f64).unwrap_or_default();
    let spoken = times.get("spoken").and_then(Value::as_f64).unwrap_or_default();
    println!(
        "{} recordings, {:.1} minutes, {:.1} of them speech between the pauses, {} questions in {}",
        texts.len(),
        seconds / 60.0,
        spoken / 60.0,
        questions.len(),
        folder.display()
    );
    ensure!(
        spoken >= LEAST_SPOKEN,
        "the texts of tests/eval make {:.1} minutes of speech, and the set wants {:.0}: add texts",
        spoken / 60.0,
        LEAST_SPOKEN / 60.0
    );
    let chosen: Vec<&Text> = texts
        .iter()
        .take(if quick { QUICK } else { texts.len() })
        .collect();
    let name = if quick { "quick" } else { "all" };
    let references = folder.join(format!("references-{name}"));
    if references.exists() {
        std::fs::remove_dir_all(&references)?;
    }
    std::fs::create_dir_all(&references)?;
    for text in &chosen {
        let path = references.join(format!("{}.txt", text.name));
        write(&path, &(text.sentences.join("\n") + "\n"))?;
    }
    let questions_file = folder.join(format!("questions-{name}.jsonl"));
    write(&questions_file, &with_spans(&questions, &times, &chosen)?)?;
    Ok(Set {
        recordings: chosen
            .iter()
            .map(|text| folder.join(format!("{}.wav", text.name)))
            .collect(),
        titles: chosen.iter().map(|text| text.title.clone()).collect(),
        questions: questions_file,
        references,
    })
}

/// The texts, by name: a title, then a sentence a line.
fn texts() -> Result<Vec<Text>> {
    let folder = workspace::root().join("tests/eval/texts");
    let mut texts = Vec::new();
    for entry in std::fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let path = entry?.path();
        let name = path
            .file_stem()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        let content = std::fs::read_to_string(&path)?;
        let mut lines = content.lines();
        let title = lines.next().and_then(|line| line.strip_prefix("# "));
        texts.push(Text {
            name: name.to_owned(),
            title: title.with_context(|| format!("{name} has no title"))?.to_owned(),
            sentences: lines.map(str::to_owned).collect(),
        });
    }
    texts.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(texts)
}

/// The questions, checked: each names sentences that are there, or says that it cannot be answered.
fn questions(texts: &[Text]) -> Result<Vec<Map<String, Value>>> {
    let path = workspace::root().join("tests/eval/questions.jsonl");
    let lengths: BTreeMap<&str, usize> = texts
        .iter()
        .map(|text| (text.name.as_str(), text.sentences.len()))
        .collect();
    let mut questions = Vec::new();
    for (number, line) in std::fs::read_to_string(&path)?.lines().enumerate() {
        let Value::Object(question) = serde_json::from_str(line)? else {
            bail!("line {}: not an object", number + 1);
        };
        let unanswerable = question.get("unanswerable") == Some(&json!(true));
        let evidence = evidence(&question);
        ensure!(
            evidence.is_empty() == unanswerable,
            "line {}: unanswerable or answered?",
            number + 1
        );
        for (source, sentence) in evidence {
            let length = lengths.get(source.as_str()).copied().unwrap_or_default();
            ensure!(
                (1..=length).contains(&sentence),
                "line {}: {source} has no sentence {sentence}",
                number + 1
            );
        }
        questions.push(question);
    }
    Ok(questions)
}

/// Text and sentence, counted from 1, of each piece of evidence.
fn evidence(question: &Map<String, Value>) -> Vec<(String, usize)> {
    let listed = question.get("evidence").and_then(Value::as_array);
    listed
        .into_iter()
        .flatten()
        .filter_map(|piece| {
            let source = piece.get("source")?.as_str()?;
            let sentence = piece.get("sentence")?.as_u64()?;
            Some((source.to_owned(), sentence as usize))
        })
        .collect()
}

/// What the recordings depend on.
fn stamp(texts: &[Text]) -> Result<String> {
    let mut hash = Sha256::new();
    hash.update(VERSION.to_le_bytes());
    for voice in VOICES {
        hash.update(voice.describe());
    }
    hash.update(format!("{NOISE:?}"));
    for synthesizer in ["espeak-ng", "flite"] {
        // flite says its version and then that it failed.
        let said = process::program(synthesizer)
            .arg("--version")
            .output()
            .with_context(|| format!("cannot start {synthesizer}"))?;
        ensure!(!said.stdout.is_empty(), "{synthesizer} does not say its version");
        hash.update(said.stdout);
    }
    for text in texts {
        hash.update(&text.name);
        hash.update(text.sentences.join("\n"));
    }
    let mut stamp = String::new();
    for byte in hash.finalize() {
        let _ = write!(stamp, "{byte:02x}");
    }
    Ok(stamp)
}

/// Speaks every text, and returns the times of its sentences.
fn speak_all(texts: &[Text], folder: &Path, stamp: &str) -> Result<Value> {
    process::headline(&format!("speaking {} texts", texts.len()));
    if folder.exists() {
        std::fs::remove_dir_all(folder).with_context(|| format!("cannot remove {}", folder.display()))?;
    }
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let mut recordings = Map::new();
    let (mut seconds, mut said) = (0.0, 0.0);
    let voices = VOICES.iter().cycle();
    let noises = NOISE.iter().cycle();
    for ((text, voice), noise) in texts.iter().zip(voices).zip(noises) {
        let mut random = Random::of(&text.name);
        let spoken = speech::speak(&text.sentences, *voice, *noise, &mut random, folder)?;
        speech::write_wav(&folder.join(format!("{}.wav", text.name)), &spoken)?;
        println!(
            "  {:<20} {:>4.0} s  {}{}",
            text.name,
            spoken.seconds(),
            voice.describe(),
            noise.map_or_else(String::new, |db| format!(", noise {db} dB below"))
        );
        seconds += spoken.seconds();
        said += spoken.spans.iter().map(|(start, end)| end - start).sum::<f64>();
        let spans: Vec<[f64; 2]> = spoken
            .spans
            .iter()
            .map(|(start, end)| [round(*start), round(*end)])
            .collect();
        recordings.insert(
            text.name.clone(),
            json!({"voice": voice.describe(), "noise_db": noise, "spans": spans}),
        );
    }
    std::fs::remove_file(folder.join("sentence.wav"))?;
    Ok(json!({"stamp": stamp, "seconds": seconds, "spoken": said, "recordings": recordings}))
}

/// Whole milliseconds.
fn round(seconds: f64) -> f64 {
    (seconds * 1000.0).round() / 1000.0
}

/// The questions about the chosen texts in the form that `audiorag eval` reads. Of those that nothing answers as large
/// a share is taken as of the others.
fn with_spans(questions: &[Map<String, Value>], times: &Value, chosen: &[&Text]) -> Result<String> {
    let is_chosen = |name: &str| chosen.iter().any(|text| text.name == name);
    let answered: Vec<_> = questions
        .iter()
        .filter(|question| {
            let evidence = evidence(question);
            !evidence.is_empty() && evidence.iter().all(|(source, _)| is_chosen(source))
        })
        .collect();
    let all = questions
        .iter()
        .filter(|question| !evidence(question).is_empty())
        .count();
    let unanswerable: Vec<_> = questions
        .iter()
        .filter(|question| evidence(question).is_empty())
        .collect();
    let taken = (unanswerable.len() * answered.len()).div_ceil(all.max(1));
    let mut out = String::new();
    for question in answered.into_iter().chain(unanswerable.into_iter().take(taken)) {
        let mut line = question.clone();
        line.remove("evidence");
        let spans = evidence(question)
            .into_iter()
            .map(|(source, sentence)| {
                let span = times
                    .pointer(&format!("/recordings/{source}/spans/{}", sentence - 1))
                    .with_context(|| format!("no time of sentence {sentence} of {source}"))?;
                Ok(json!({"source": source, "start": span.get(0), "end": span.get(1)}))
            })
            .collect::<Result<Vec<_>>>()?;
        if !spans.is_empty() {
            line.insert("spans".to_owned(), Value::Array(spans));
        }
        out.push_str(&Value::Object(line).to_string());
        out.push('\n');
    }
    Ok(out)
}

fn write(path: &Path, text: &str) -> Result<()> {
    std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn the_questions_are_well_formed_and_enough() {
        let texts = texts().unwrap();
        let questions = questions(&texts).unwrap();
        let text = |question: &Map<String, Value>, field: &str| {
            question
                .get(field)
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
        let (mut ids, mut asked) = (BTreeSet::new(), BTreeSet::new());
        for question in &questions {
            assert!(ids.insert(text(question, "id")), "{question:?}");
            assert!(
                asked.insert(text(question, "question")),
                "asked twice: {question:?}"
            );
            assert!(text(question, "question").ends_with('?'), "{question:?}");
            let kind = text(question, "kind");
            let pieces = match kind.as_str() {
                "plain" | "misheard name" => 1,
                "two passages" => 2,
                _ => 0,
            };
            assert_eq!(evidence(question).len(), pieces, "{question:?}");
            assert_eq!(text(question, "answer").is_empty(), pieces == 0, "{question:?}");
            *kinds.entry(kind).or_default() += 1;
        }
        assert!(questions.len() >= 200, "{}", questions.len());
        for kind in ["unanswerable", "misheard name", "two passages"] {
            assert!(kinds.get(kind).is_some_and(|count| *count >= 40), "{kinds:?}");
        }
        assert_eq!(kinds.len(), 4, "{kinds:?}");
    }

    #[test]
    fn questions_get_the_times_of_their_sentences() {
        let Value::Object(question) = json!({
            "id": "a", "question": "?", "evidence": [{"source": "t", "sentence": 2}]
        }) else {
            panic!("not an object")
        };
        let text = Text {
            name: "t".into(),
            title: "T".into(),
            sentences: vec!["a".into(), "b".into()],
        };
        let times = json!({"recordings": {"t": {"spans": [[0.5, 1.0], [2.0, 3.5]]}}});
        let lines = with_spans(std::slice::from_ref(&question), &times, &[&text]).unwrap();
        let line: Value = serde_json::from_str(&lines).unwrap();
        assert_eq!(
            line.pointer("/spans/0"),
            Some(&json!({"source": "t", "start": 2.0, "end": 3.5}))
        );
        assert_eq!(line.get("evidence"), None);
        assert_eq!(with_spans(&[question], &times, &[]).unwrap(), "");
    }
}
