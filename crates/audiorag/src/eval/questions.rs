//! Question files: one JSON object a line, checked before anything is asked.

use audiorag_core::{Error, MediaTime, Result, Span};
use serde::Deserialize;
use std::collections::HashMap;
use std::path::Path;

/// A question with what is right.
#[derive(Clone, Debug, PartialEq)]
pub struct Question {
    /// Unique in its file; comparisons of runs go by it.
    pub id: String,
    /// What is asked.
    pub text: String,
    /// The kind of question, by which results are broken down; `question` where the file names none.
    pub kind: String,
    /// Where it is answered. Empty exactly when nothing answers it.
    pub evidence: Vec<Evidence>,
    /// A right answer in words, for people who read the results.
    pub answer: Option<String>,
    /// Its line in the file, counted from 1.
    pub line: usize,
}

impl Question {
    /// Whether no recording answers it, so that the right answer is none.
    pub fn is_unanswerable(&self) -> bool {
        self.evidence.is_empty()
    }
}

/// A stretch of a source that answers a question, or a part of one.
#[derive(Clone, Debug, PartialEq)]
pub struct Evidence {
    /// The source as the file names it: by id, path, URL, title or the name of its file.
    pub source: String,
    /// When the answer is said.
    pub span: Span,
}

/// A line as it is written. What is not known is refused: a misspelt field would be evidence that nobody looks at.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    id: String,
    question: String,
    kind: Option<String>,
    source: Option<String>,
    #[serde(default)]
    spans: Vec<WrittenSpan>,
    answer: Option<String>,
    #[serde(default)]
    unanswerable: bool,
}

/// `[12.5, 17]`, or with a source of its own where the evidence is in several.
#[derive(Deserialize)]
#[serde(untagged)]
enum WrittenSpan {
    Pair([f64; 2]),
    Elsewhere { source: String, start: f64, end: f64 },
}

/// Reads a question file.
///
/// # Errors
/// [`Input`](audiorag_core::ErrorKind::Input) when the file cannot be read, and naming the first line that is wrong.
pub fn read(path: &Path) -> Result<Vec<Question>> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        Error::input(format!("cannot read the questions in {}", path.display()))
            .with_cause(error)
            .with_hint("give a file with one JSON object a line: docs/quality.md says what is in it")
    })?;
    parse(&text, &path.display().to_string())
}

/// Reads questions from `text`; `name` is what errors call it.
///
/// # Errors
/// As for [`read`].
pub fn parse(text: &str, name: &str) -> Result<Vec<Question>> {
    let mut questions = Vec::new();
    let mut lines_of: HashMap<String, usize> = HashMap::new();
    for (index, written) in text.lines().enumerate() {
        let line = index + 1;
        if written.trim().is_empty() {
            continue;
        }
        let question = question(written, line).map_err(|reason| {
            Error::input(format!("{name}, line {line}: {reason}")).with_hint(
                "a question is {\"id\": \"q1\", \"question\": \"…\", \"source\": \"talk.mp3\", \"spans\": [[12.5, 17.0]]}, \
                 or has \"unanswerable\": true in place of the spans",
            )
        })?;
        if let Some(first) = lines_of.insert(question.id.clone(), line) {
            return Err(Error::input(format!(
                "{name}, line {line}: the id '{}' is that of line {first}",
                question.id
            ))
            .with_hint("give every question an id of its own"));
        }
        questions.push(question);
    }
    if questions.is_empty() {
        return Err(Error::input(format!("{name} holds no question"))
            .with_hint("write one JSON object a line: docs/quality.md says what is in it"));
    }
    Ok(questions)
}

/// One line, or what is wrong with it.
fn question(written: &str, number: usize) -> std::result::Result<Question, String> {
    let line: Line = serde_json::from_str(written).map_err(|error| error.to_string())?;
    for (name, value) in [("id", &line.id), ("question", &line.question)] {
        if value.trim().is_empty() {
            return Err(format!("'{name}' is empty"));
        }
    }
    if line.unanswerable && !line.spans.is_empty() {
        return Err("it is unanswerable and has spans that answer it".to_owned());
    }
    if !line.unanswerable && line.spans.is_empty() {
        return Err("it has no spans, and does not say that it is unanswerable".to_owned());
    }
    let mut evidence = Vec::with_capacity(line.spans.len());
    for span in line.spans {
        let (source, start, end) = match span {
            WrittenSpan::Elsewhere { source, start, end } => (source, start, end),
            WrittenSpan::Pair([start, end]) => {
                let source = line.source.clone().ok_or("it has a span and no 'source'")?;
                (source, start, end)
            }
        };
        let times = (
            MediaTime::from_seconds_f64(start),
            MediaTime::from_seconds_f64(end),
        );
        let span = match times {
            (Some(from), Some(to)) if from < to => Span::between(from, to),
            _ => {
                return Err(format!(
                    "[{start}, {end}] is no span in seconds from start to end"
                ));
            }
        };
        evidence.push(Evidence { source, span });
    }
    Ok(Question {
        id: line.id,
        text: line.question,
        kind: line.kind.unwrap_or_else(|| "question".to_owned()),
        evidence,
        answer: line.answer,
        line: number,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_are_read_with_their_evidence() {
        let text = r#"{"id": "a", "question": "Who?", "source": "x.wav", "spans": [[1, 2.5], {"source": "y", "start": 0, "end": 1}]}

{"id": "b", "question": "Why?", "kind": "none", "unanswerable": true, "answer": "nobody says"}
"#;
        let questions = parse(text, "f").unwrap();
        let spans: Vec<(&str, Span)> = questions[0]
            .evidence
            .iter()
            .map(|evidence| (evidence.source.as_str(), evidence.span))
            .collect();
        assert_eq!(
            spans,
            [
                ("x.wav", Span::from_millis(1000, 2500)),
                ("y", Span::from_millis(0, 1000))
            ]
        );
        assert_eq!(
            (questions[0].kind.as_str(), questions[0].is_unanswerable()),
            ("question", false)
        );
        assert_eq!((questions[1].line, questions[1].is_unanswerable()), (3, true));
    }

    #[test]
    fn a_wrong_line_is_named_with_what_is_wrong() {
        let good = r#"{"id": "a", "question": "Who?", "source": "x", "spans": [[1, 2]]}"#;
        for (bad, reason) in [
            ("{", "EOF"),
            (r#"{"id": "b", "question": "?"}"#, "no spans"),
            (
                r#"{"id": "b", "question": " ", "unanswerable": true}"#,
                "'question' is empty",
            ),
            (
                r#"{"id": "b", "question": "?", "spans": [[1, 2]]}"#,
                "no 'source'",
            ),
            (
                r#"{"id": "b", "question": "?", "source": "x", "spans": [[2, 1]]}"#,
                "[2, 1] is no span",
            ),
            (
                r#"{"id": "b", "question": "?", "source": "x", "spans": [[-1, 1]]}"#,
                "no span",
            ),
            (
                r#"{"id": "b", "question": "?", "source": "x", "spans": [[1, 2]], "unanswerable": true}"#,
                "unanswerable and has spans",
            ),
            (r#"{"id": "b", "question": "?", "sauce": "x"}"#, "sauce"),
            (
                r#"{"id": "a", "question": "?", "unanswerable": true}"#,
                "that of line 1",
            ),
        ] {
            let error = parse(&format!("{good}\n\n{bad}\n"), "file.jsonl").unwrap_err();
            let text = error.to_string();
            assert!(
                text.starts_with("file.jsonl, line 3: ") && text.contains(reason),
                "{text}"
            );
            assert!(error.hint().is_some());
        }
        assert!(
            parse("\n\n", "empty")
                .unwrap_err()
                .to_string()
                .contains("no question")
        );
    }
}
