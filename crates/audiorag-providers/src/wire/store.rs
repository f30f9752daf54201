//! What vector stores have in common: the fields of a record, checks before a call, and cutting writes into pieces.

use audiorag_core::capability::{VectorMatch, VectorRecord};
use audiorag_core::id::ChunkId;
use audiorag_core::model::{EmbeddingSpace, Filter};
use audiorag_core::{Error, Result};
use serde::Serialize;
use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

/// A record's fields besides its vector, under the names they have in every store.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Fields<'a> {
    pub(crate) chunk_id: &'a str,
    pub(crate) source_id: &'a str,
    pub(crate) revision: i64,
    pub(crate) start_ms: u64,
    pub(crate) end_ms: u64,
    pub(crate) text: &'a str,
    pub(crate) title: &'a str,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    pub(crate) speakers: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) language: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) date: Option<&'a str>,
    /// The date as a number that can be compared, such as 20260331: most stores compare only numbers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) day: Option<u32>,
}

impl<'a> Fields<'a> {
    pub(crate) fn of(record: &'a VectorRecord) -> Self {
        Self {
            chunk_id: record.id.as_str(),
            source_id: record.source_id.as_str(),
            revision: record.revision.0,
            start_ms: record.span.start().as_millis(),
            end_ms: record.span.end().as_millis(),
            text: &record.text,
            title: &record.title,
            speakers: &record.speakers,
            language: record.language.as_deref(),
            date: record.date.as_deref(),
            day: record.date.as_deref().and_then(day),
        }
    }
}

/// `YYYY-MM-DD` as the number YYYYMMDD.
pub(crate) fn day(date: &str) -> Option<u32> {
    let [year, month, day]: [&str; 3] = date.split('-').collect::<Vec<_>>().try_into().ok()?;
    let number = |text: &str, digits: usize| {
        (text.len() == digits && text.bytes().all(|byte| byte.is_ascii_digit()))
            .then(|| text.parse::<u32>().ok())
            .flatten()
    };
    Some(number(year, 4)? * 10_000 + number(month, 2)? * 100 + number(day, 2)?)
}

/// The ranges of a filter as numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ranges {
    /// First day.
    pub(crate) after: Option<u32>,
    /// Last day.
    pub(crate) before: Option<u32>,
    /// A chunk must start before the second and end after the first number of milliseconds.
    pub(crate) within: Option<(u64, u64)>,
}

impl Ranges {
    /// The ranges of `filter`; `None` when nothing can pass them, because they hold no instant.
    ///
    /// # Errors
    /// [`Input`](audiorag_core::ErrorKind::Input) for a day of another form than `YYYY-MM-DD`.
    pub(crate) fn of(filter: &Filter) -> Result<Option<Self>> {
        let number = |date: &Option<String>| match date {
            None => Ok(None),
            Some(date) => day(date).map(Some).ok_or_else(|| {
                Error::input(format!("'{date}' is no day")).with_hint("write days as YYYY-MM-DD")
            }),
        };
        let ranges = Self {
            after: number(&filter.after)?,
            before: number(&filter.before)?,
            within: filter
                .within
                .map(|span| (span.start().as_millis(), span.end().as_millis())),
        };
        let hopeless = ranges.within.is_some_and(|(start, end)| start >= end);
        Ok((!hopeless).then_some(ranges))
    }
}

/// Checks a vector before anything is sent.
///
/// # Errors
/// [`Input`](audiorag_core::ErrorKind::Input) for a wrong number of components, components that are not finite, or no
/// direction.
pub(crate) fn check_vector(space: &EmbeddingSpace, vector: &[f32]) -> Result<()> {
    if vector.len() != space.dimensions {
        return Err(Error::input(format!(
            "a vector of {} components where {} has {}",
            vector.len(),
            space.model,
            space.dimensions
        )));
    }
    if !vector.iter().all(|value| value.is_finite()) {
        return Err(Error::input("a vector holds components that are not finite"));
    }
    if vector.iter().all(|value| *value == 0.0) {
        return Err(Error::input("a vector without direction"));
    }
    Ok(())
}

/// Checks every vector, and keeps the last record of each id: a store may refuse a batch that holds one twice.
pub(crate) fn check_records(space: &EmbeddingSpace, records: Vec<VectorRecord>) -> Result<Vec<VectorRecord>> {
    for record in &records {
        check_vector(space, &record.vector)?;
    }
    let last: HashMap<ChunkId, usize> = records
        .iter()
        .enumerate()
        .map(|(at, record)| (record.id.clone(), at))
        .collect();
    Ok(records
        .into_iter()
        .enumerate()
        .filter(|(at, record)| last.get(&record.id) == Some(at))
        .map(|(_, record)| record)
        .collect())
}

/// Cuts items into runs of at most `max_count` that together stay under `max_bytes`.
///
/// # Errors
/// [`Input`](audiorag_core::ErrorKind::Input) when one item alone is larger.
pub(crate) fn cut<T>(
    items: Vec<T>,
    max_count: usize,
    max_bytes: usize,
    size: impl Fn(&T) -> usize,
) -> Result<Vec<Vec<T>>> {
    let mut runs = Vec::new();
    let (mut run, mut bytes) = (Vec::new(), 0);
    for item in items {
        let size = size(&item);
        if size > max_bytes {
            return Err(Error::input(format!(
                "a record of {size} bytes is larger than the {max_bytes} bytes the store takes in one request"
            )));
        }
        if !run.is_empty() && (run.len() >= max_count || bytes + size > max_bytes) {
            runs.push(std::mem::take(&mut run));
            bytes = 0;
        }
        bytes += size;
        run.push(item);
    }
    if !run.is_empty() {
        runs.push(run);
    }
    Ok(runs)
}

/// A value as JSON text. Components of vectors keep their short form, which they lose inside a `serde_json::Value`.
pub(crate) fn json<T: Serialize + ?Sized>(value: &T) -> Result<String> {
    serde_json::to_string(value)
        .map_err(|error| Error::internal("a record cannot be written as JSON").with_cause(error))
}

/// Matches in the order and number that were asked for, with scores inside their range.
pub(crate) fn best_first(mut matches: Vec<VectorMatch>, top_k: usize) -> Vec<VectorMatch> {
    for found in &mut matches {
        found.score = found.score.clamp(-1.0, 1.0);
    }
    matches.sort_by(|a, b| b.score.total_cmp(&a.score).then_with(|| a.id.cmp(&b.id)));
    matches.truncate(top_k);
    matches
}

/// The refusal of a place that holds vectors of another space. `setting` names the place.
pub(crate) fn other_space(place: &str, held: &str, wanted: &EmbeddingSpace, setting: &str) -> Error {
    Error::config(format!(
        "{place} holds vectors of {held}, which cannot be compared with those of {}",
        wanted.fingerprint()
    ))
    .with_hint(format!(
        "go back to that embedding model, or embed everything again: set {setting} to a new name and run \
         `audiorag reindex --reembed`"
    ))
}

/// A name that goes into a path or a query: letters, digits, `_` and `-`.
///
/// # Errors
/// [`Config`](audiorag_core::ErrorKind::Config) for anything else.
pub(crate) fn plain_name(path: &str, name: &str, lengths: std::ops::RangeInclusive<usize>) -> Result<String> {
    let plain = name
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
    if plain && lengths.contains(&name.len()) {
        return Ok(name.to_owned());
    }
    Err(Error::config(format!(
        "{path} is '{name}'; it takes {} to {} letters, digits, '_' and '-'",
        lengths.start(),
        lengths.end()
    )))
}

/// What [`prepare`](audiorag_core::capability::VectorStore::prepare) found: the space, and where it is kept.
#[derive(Debug)]
pub(crate) struct Prepared<T> {
    slot: RwLock<Option<Arc<Place<T>>>>,
}

/// A space, and what a store needs to know to reach it.
#[derive(Debug)]
pub(crate) struct Place<T> {
    pub(crate) space: EmbeddingSpace,
    pub(crate) at: T,
}

impl<T> Default for Prepared<T> {
    fn default() -> Self {
        Self {
            slot: RwLock::new(None),
        }
    }
}

impl<T> Prepared<T> {
    pub(crate) fn set(&self, space: &EmbeddingSpace, at: T) {
        let place = Arc::new(Place {
            space: space.clone(),
            at,
        });
        *self.slot.write().unwrap_or_else(PoisonError::into_inner) = Some(place);
    }

    /// The place that later calls mean.
    ///
    /// # Errors
    /// [`Internal`](audiorag_core::ErrorKind::Internal) before the first success of `prepare`.
    pub(crate) fn get(&self) -> Result<Arc<Place<T>>> {
        self.slot
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
            .ok_or_else(|| Error::internal("the store was not prepared"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use audiorag_core::{ErrorKind, Span};
    use audiorag_testkit::suite::vector_store::Collection;

    #[test]
    fn days_become_numbers_in_their_order() {
        assert_eq!(day("2026-03-31"), Some(20_260_331));
        for other in [
            "2026-3-31",
            "2026-03",
            "2026-03-31-01",
            "202a-03-31",
            "",
            "+026-03-31",
        ] {
            assert_eq!(day(other), None, "{other}");
        }
        let filter = |after: &str, within| Filter {
            after: Some(after.to_owned()),
            within,
            ..Filter::default()
        };
        let ranges = Ranges::of(&filter("2026-01-02", Some(Span::from_millis(5, 9)))).unwrap();
        let ranges = ranges.unwrap();
        assert_eq!(
            (ranges.after, ranges.before, ranges.within),
            (Some(20_260_102), None, Some((5, 9)))
        );
        assert!(
            Ranges::of(&filter("2026-01-02", Some(Span::from_millis(5, 5))))
                .unwrap()
                .is_none()
        );
        assert_eq!(
            Ranges::of(&filter("yesterday", None)).unwrap_err().kind(),
            ErrorKind::Input
        );
    }

    #[test]
    fn writes_are_cut_by_count_and_bytes() {
        let sizes = |items: Vec<usize>, count, bytes| cut(items, count, bytes, |size| *size).unwrap();
        assert_eq!(sizes(vec![1; 5], 2, 100), [vec![1, 1], vec![1, 1], vec![1]]);
        assert_eq!(sizes(vec![4, 4, 4, 10], 9, 10), [vec![4, 4], vec![4], vec![10]]);
        assert!(sizes(vec![], 2, 10).is_empty());
        assert_eq!(
            cut(vec![11], 2, 10, |size| *size).unwrap_err().kind(),
            ErrorKind::Input
        );
    }

    #[test]
    fn records_are_checked_and_the_last_of_an_id_stays() {
        let collection = Collection::new(4, 3);
        let mut records = collection.records.clone();
        let mut again = records[0].clone();
        again.text = "again".to_owned();
        records.push(again);
        let kept = check_records(&collection.space, records.clone()).unwrap();
        let texts: Vec<&str> = kept.iter().map(|record| record.text.as_str()).collect();
        assert_eq!((kept.len(), texts[2]), (3, "again"));
        for spoiled in [vec![0.0; 4], vec![1.0; 5], vec![1.0, f32::NAN, 0.0, 0.0]] {
            records[1].vector = spoiled;
            let refused = check_records(&collection.space, records.clone()).unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::Input);
        }
    }

    #[test]
    fn names_and_answers_are_plain() {
        assert!(plain_name("x.name", "a_b-9", 3..=9).is_ok());
        for bad in ["ab", "a/b", "a b c", "../x", "abcdefghij", "ä12"] {
            assert_eq!(
                plain_name("x.name", bad, 3..=9).unwrap_err().kind(),
                ErrorKind::Config
            );
        }
        let found = |id: &str, score| VectorMatch {
            id: ChunkId::from_stored(id),
            score,
        };
        let sorted = best_first(vec![found("a", 0.1), found("b", 1.000_1), found("c", -2.0)], 2);
        assert_eq!(sorted, [found("b", 1.0), found("a", 0.1)]);
        assert_eq!(json(&[0.1_f32]).unwrap(), "[0.1]");
    }
}
