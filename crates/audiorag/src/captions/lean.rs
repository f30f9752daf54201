//! JSON without what nobody here reads.
//!
//! A value in memory takes many times the bytes that it takes in a file: 64 MiB of `{"a":1},` would be gigabytes. Fields
//! that no transcript needs, such as Whisper's lists of tokens, are passed over, and what is kept is counted.

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use std::cell::Cell;
use std::fmt;

/// The fields that [`super::json`] knows.
const FIELDS: [&str; 31] = [
    "avg_logprob",
    "body",
    "chunks",
    "compression_ratio",
    "confidence",
    "duration",
    "end",
    "endTime",
    "end_time",
    "estimated_times",
    "from",
    "language",
    "no_speech_prob",
    "offsets",
    "probability",
    "result",
    "score",
    "segments",
    "speaker",
    "speakerName",
    "speaker_id",
    "start",
    "startTime",
    "start_time",
    "suspicion",
    "text",
    "timestamp",
    "to",
    "transcription",
    "word",
    "words",
];
/// The most bytes of memory that a document may take: more than a million words with times.
const MOST: usize = 1 << 30;
/// Bytes of a value, and of the first node of an object with its fields.
const VALUE: usize = size_of::<Value>();
const OBJECT: usize = 11 * (size_of::<String>() + VALUE);

/// Reads a document, or says what is wrong with it.
pub(super) fn read(body: &str) -> Result<Value, serde_json::Error> {
    within(body, MOST)
}

fn within(body: &str, most: usize) -> Result<Value, serde_json::Error> {
    let left = Cell::new(most);
    let mut reader = serde_json::Deserializer::from_str(body);
    let value = Lean(&left).deserialize(&mut reader)?;
    reader.end()?;
    Ok(value)
}

/// What is left of the memory.
#[derive(Clone, Copy)]
struct Lean<'a>(&'a Cell<usize>);

impl Lean<'_> {
    fn take<E: Error>(self, bytes: usize) -> Result<(), E> {
        let left = self
            .0
            .get()
            .checked_sub(bytes)
            .ok_or_else(|| E::custom("it holds more than any recording has words"))?;
        self.0.set(left);
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Lean<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Lean<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        self.take(value.len())?;
        Ok(value.into())
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = sequence.next_element_seed(self)? {
            self.take(VALUE)?;
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut fields = Map::new();
        while let Some(name) = map.next_key::<String>()? {
            if FIELDS.contains(&name.as_str()) {
                if fields.is_empty() {
                    self.take(OBJECT)?;
                }
                let value = map.next_value_seed(self)?;
                fields.insert(name, value);
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(Value::Object(fields))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_read_is_kept_and_the_rest_is_not() {
        let body = r#"{"text": "a", "tokens": [1, 2], "segments": [{"start": 0.5, "end": 1, "id": 7,
            "words": [{"word": "a", "probability": -1e-3}], "estimated_times": true, "speaker": null}]}"#;
        assert_eq!(
            read(body).unwrap(),
            json!({"text": "a", "segments": [{"start": 0.5, "end": 1, "words": [{"word": "a", "probability": -1e-3}],
                "estimated_times": true, "speaker": null}]})
        );
        assert!(read("{\"text\": ").is_err() && read("{} {}").is_err());
    }

    #[test]
    fn small_files_that_would_become_huge_are_refused() {
        let rows = |count: usize| format!("[{}]", vec![r#"{"text":1}"#; count].join(","));
        assert!(within(&rows(10), 1 << 16).is_ok());
        let error = within(&rows(1_000), 1 << 16).unwrap_err();
        assert!(error.to_string().contains("more than any recording"), "{error}");
        // Nobody reads these.
        let tokens = format!(r#"{{"tokens": [{}]}}"#, vec!["0"; 100_000].join(","));
        assert!(within(&tokens, 1 << 16).is_ok());
    }
}
