//! The questions in two halves: defaults are chosen on the one, and what they are worth is told by the other.

use anyhow::{Context, Result};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use std::path::{Path, PathBuf};

/// A half of the questions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Half {
    /// To choose by.
    Tuning,
    /// To judge by.
    HeldOut,
}

impl Half {
    /// The half of a question. It hangs on its id alone, so that a new question moves no other.
    pub(super) fn of(id: &str) -> Self {
        let is_odd = Sha256::digest(id).first().is_some_and(|byte| byte % 2 == 1);
        if is_odd { Self::HeldOut } else { Self::Tuning }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Tuning => "tuning",
            Self::HeldOut => "held-out",
        }
    }
}

/// The reports with the questions of one half, as files beside them.
pub(super) fn take(reports: &[PathBuf], half: Half) -> Result<Vec<PathBuf>> {
    reports.iter().map(|report| take_one(report, half)).collect()
}

fn take_one(report: &Path, half: Half) -> Result<PathBuf> {
    let mut value: Value = serde_json::from_str(&std::fs::read_to_string(report)?)
        .with_context(|| format!("{} is no report", report.display()))?;
    if let Some(questions) = value.get_mut("questions").and_then(Value::as_array_mut) {
        questions.retain(|question| {
            let id = question.get("id").and_then(Value::as_str);
            id.is_some_and(|id| Half::of(id) == half)
        });
    }
    let path = report.with_extension(format!("{}.json", half.name()));
    std::fs::write(&path, value.to_string()).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_question_is_in_one_half_and_stays_there() {
        let ids: Vec<String> = (1..=400).map(|number| format!("plain-{number:03}")).collect();
        let held_out = ids.iter().filter(|id| Half::of(id) == Half::HeldOut).count();
        assert!((160..240).contains(&held_out), "{held_out}");
        let folder = std::env::temp_dir().join(format!("xtask-halves-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let report = folder.join("01.json");
        let questions: Vec<Value> = ids.iter().map(|id| json!({"id": id})).collect();
        std::fs::write(&report, json!({"label": "a", "questions": questions}).to_string()).unwrap();
        let mut all = 0;
        for half in [Half::Tuning, Half::HeldOut] {
            let paths = take(std::slice::from_ref(&report), half).unwrap();
            let taken: Value = serde_json::from_str(&std::fs::read_to_string(&paths[0]).unwrap()).unwrap();
            assert_eq!(taken["label"], "a");
            for question in taken["questions"].as_array().unwrap() {
                assert_eq!(Half::of(question["id"].as_str().unwrap()), half);
                all += 1;
            }
        }
        std::fs::remove_dir_all(&folder).unwrap();
        assert_eq!(all, ids.len());
    }
}
