//! A filter as SQL: fixed text, every value bound.

use audiorag_core::model::Filter;
use sea_orm::Value;

/// Where a query finds what a filter asks for.
pub(crate) struct Columns {
    pub(crate) source: &'static str,
    pub(crate) language: &'static str,
    pub(crate) day: &'static str,
    pub(crate) start: &'static str,
    pub(crate) end: &'static str,
    /// A condition on the speakers, up to the list of names in brackets, and what follows that list.
    pub(crate) speakers: (&'static str, &'static str),
}

impl Columns {
    /// The filter as conditions, each begun with `AND`. Its values are appended to `values`, whose places the
    /// conditions name.
    pub(crate) fn conditions(&self, filter: &Filter, values: &mut Vec<Value>) -> String {
        let mut all = Conditions {
            text: String::new(),
            values,
        };
        if !filter.sources.is_empty() {
            all.push(self.source);
            all.list(filter.sources.iter().map(|source| source.as_str().into()));
        }
        if !filter.speakers.is_empty() {
            let (before, after) = self.speakers;
            all.push(before);
            all.list(filter.speakers.iter().map(|speaker| speaker.as_str().into()));
            all.text.push_str(after);
        }
        if let Some(language) = &filter.language {
            all.compare(self.language, "=", language.as_str().into());
        }
        if let Some(day) = &filter.after {
            all.compare(self.day, ">=", day.as_str().into());
        }
        if let Some(day) = &filter.before {
            all.compare(self.day, "<=", day.as_str().into());
        }
        if let Some(within) = filter.within {
            all.compare(self.start, "<", (within.end().as_millis() as i64).into());
            all.compare(self.end, ">", (within.start().as_millis() as i64).into());
            // Nothing overlaps with a span of no length.
            all.push(self.start);
            all.text.push_str(" < ");
            all.text.push_str(self.end);
            if within.is_empty() {
                all.push("1 = 0");
            }
        }
        all.text
    }
}

struct Conditions<'a> {
    text: String,
    values: &'a mut Vec<Value>,
}

impl Conditions<'_> {
    fn push(&mut self, condition: &str) {
        self.text.push_str(" AND ");
        self.text.push_str(condition);
    }

    fn compare(&mut self, column: &str, operator: &str, value: Value) {
        self.values.push(value);
        let place = self.values.len();
        self.push(&format!("{column} {operator} ${place}"));
    }

    fn list(&mut self, values: impl Iterator<Item = Value>) {
        let first = self.values.len() + 1;
        self.values.extend(values);
        let places: Vec<String> = (first..=self.values.len())
            .map(|number| format!("${number}"))
            .collect();
        self.text.push_str(" IN (");
        self.text.push_str(&places.join(", "));
        self.text.push(')');
    }
}
