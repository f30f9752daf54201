//! What a benchmark found: rows of the table that `cargo xtask bench --all` ends with.

use serde_json::{Value, json};
use std::borrow::Cow;

/// What a benchmark hands back.
pub(super) struct Report {
    /// Figures that have a target, in the order of the table.
    pub(super) rows: Vec<Row>,
    /// Everything that was measured, for the record.
    pub(super) details: Value,
}

/// One figure against its target.
#[derive(Clone, Debug)]
pub(super) struct Row {
    /// What was measured, in a few words.
    pub(super) what: String,
    /// The figure.
    pub(super) figure: f64,
    /// What a one of it is: `x` for a ratio, `ms`, `MB`, `%`; empty for a share.
    pub(super) unit: Cow<'static, str>,
    pub(super) target: Target,
    /// What the figure was measured against, with its own figures.
    pub(super) note: String,
}

/// What a figure should be.
#[derive(Clone, Copy, Debug)]
pub(super) enum Target {
    AtMost(f64),
    AtLeast(f64),
}

impl Row {
    pub(super) fn new(what: impl Into<String>, figure: f64, unit: &'static str, target: Target) -> Self {
        Self {
            what: what.into(),
            figure,
            unit: unit.into(),
            target,
            note: String::new(),
        }
    }

    /// The same with a note.
    pub(super) fn note(mut self, note: impl Into<String>) -> Self {
        self.note = note.into();
        self
    }

    /// Whether the target is reached. What is not a number misses it.
    pub(super) fn is_met(&self) -> bool {
        match self.target {
            Target::AtMost(most) => self.figure <= most,
            Target::AtLeast(least) => self.figure >= least,
        }
    }

    /// A row that was saved. A figure that was no number is saved as null.
    pub(super) fn from_json(row: &Value) -> Option<Self> {
        let text = |name: &str| row.get(name)?.as_str().map(str::to_owned);
        let number = |name: &str| row.get(name)?.as_f64();
        Some(Self {
            what: text("what")?,
            figure: number("figure").unwrap_or(f64::NAN),
            unit: text("unit")?.into(),
            target: number("at_most")
                .map(Target::AtMost)
                .or_else(|| number("at_least").map(Target::AtLeast))?,
            note: text("note")?,
        })
    }

    pub(super) fn to_json(&self) -> Value {
        let (bound, value) = match self.target {
            Target::AtMost(most) => ("at_most", most),
            Target::AtLeast(least) => ("at_least", least),
        };
        json!({
            "what": self.what, "figure": self.figure, "unit": self.unit, bound: value, "met": self.is_met(),
            "note": self.note,
        })
    }
}

/// The rows of several benchmarks as a table in Markdown.
pub(super) fn table(reports: &[(&str, &[Row])]) -> String {
    let mut lines = vec![
        "| benchmark | what | figure | target | verdict | measured against |".to_owned(),
        "|---|---|---:|---:|---|---|".to_owned(),
    ];
    for (name, rows) in reports {
        for row in *rows {
            let target = match row.target {
                Target::AtMost(most) => format!("≤ {}", number(most, &row.unit)),
                Target::AtLeast(least) => format!("≥ {}", number(least, &row.unit)),
            };
            lines.push(format!(
                "| {name} | {} | {} | {target} | {} | {} |",
                row.what,
                number(row.figure, &row.unit),
                if row.is_met() { "met" } else { "**missed**" },
                row.note,
            ));
        }
    }
    lines.join("\n")
}

/// A figure with as many digits as mean something.
fn number(figure: f64, unit: &str) -> String {
    let digits = match figure.abs() {
        size if size >= 100.0 => 0,
        size if size >= 10.0 => 1,
        size if size >= 1.0 => 2,
        _ => 3,
    };
    let text = format!("{figure:.digits$}");
    let text = if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.')
    } else {
        &text
    };
    match unit {
        "" => text.to_owned(),
        "x" => format!("{text} ×"),
        unit => format!("{text} {unit}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_is_held_against_its_target() {
        assert!(Row::new("a", 1.1, "x", Target::AtMost(1.15)).is_met());
        assert!(!Row::new("a", 1.2, "x", Target::AtMost(1.15)).is_met());
        assert!(Row::new("a", 2.0, "x", Target::AtLeast(2.0)).is_met());
        assert!(!Row::new("a", f64::NAN, "x", Target::AtLeast(2.0)).is_met());
    }

    #[test]
    fn a_saved_row_is_the_same_row() {
        let row = Row::new("recall", 0.98, "", Target::AtLeast(0.99)).note("1,000 questions");
        let read = Row::from_json(&row.to_json()).unwrap();
        assert_eq!(table(&[("search", &[read])]), table(&[("search", &[row])]));
        assert!(Row::from_json(&json!({"what": "recall"})).is_none());
    }

    #[test]
    fn the_table_says_what_missed() {
        let rows = [
            Row::new("time", 151.63, "ms", Target::AtMost(250.0)).note("python 107.8 ms"),
            Row::new("recall", 0.98, "", Target::AtLeast(0.99)),
        ];
        let table = table(&[("search", &rows)]);
        assert!(
            table.contains("| search | time | 152 ms | ≤ 250 ms | met | python 107.8 ms |"),
            "{table}"
        );
        assert!(
            table.contains("| recall | 0.98 | ≥ 0.99 | **missed** |"),
            "{table}"
        );
    }
}
