//! The fields of the class, and conditions on them in REST and GraphQL.

use crate::wire::store::Ranges;
use audiorag_core::model::Filter;
use serde_json::{Value, json};

/// Name, type and whether it is filtered by, of every field.
pub(super) const PROPERTIES: [(&str, &str, bool); 11] = [
    ("chunk_id", "text", true),
    ("source_id", "text", true),
    ("revision", "int", true),
    ("start_ms", "int", true),
    ("end_ms", "int", true),
    ("text", "text", false),
    ("title", "text", false),
    ("speakers", "text[]", true),
    ("language", "text", true),
    ("date", "text", false),
    ("day", "int", true),
];

/// A field's declaration. `field` keeps a text whole: filters compare all of it, with its case.
pub(super) fn property(name: &str, kind: &str, filtered: bool) -> Value {
    let mut property = json!({"name": name, "dataType": [kind], "indexFilterable": filtered});
    if let Some(fields) = property.as_object_mut()
        && kind.starts_with("text")
    {
        fields.insert("tokenization".to_owned(), json!("field"));
        fields.insert("indexSearchable".to_owned(), json!(false));
    }
    property
}

pub(super) fn equal(field: &str, text: &str) -> Value {
    json!({"operator": "Equal", "path": [field], "valueText": text})
}

pub(super) fn compare(field: &str, operator: &str, number: impl Into<i64>) -> Value {
    json!({"operator": operator, "path": [field], "valueInt": number.into()})
}

pub(super) fn joined(operator: &str, mut conditions: Vec<Value>) -> Option<Value> {
    match conditions.len() {
        0 | 1 => conditions.pop(),
        _ => Some(json!({"operator": operator, "operands": conditions})),
    }
}

pub(super) fn all(conditions: Vec<Value>) -> Option<Value> {
    joined("And", conditions)
}

pub(super) fn any(conditions: Vec<Value>) -> Option<Value> {
    joined("Or", conditions)
}

/// The conditions of a filter, all of which must hold.
pub(super) fn conditions(filter: &Filter, ranges: Ranges) -> Vec<Value> {
    let millis = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    let (start, end) = ranges.within.unzip();
    [
        any(filter
            .sources
            .iter()
            .map(|source| equal("source_id", source.as_str()))
            .collect()),
        // An array equals a text when one of its elements does.
        any(filter
            .speakers
            .iter()
            .map(|name| equal("speakers", name))
            .collect()),
        filter
            .language
            .as_deref()
            .map(|language| equal("language", language)),
        ranges.after.map(|day| compare("day", "GreaterThanEqual", day)),
        ranges.before.map(|day| compare("day", "LessThanEqual", day)),
        end.map(|end| compare("start_ms", "LessThan", millis(end))),
        start.map(|start| compare("end_ms", "GreaterThan", millis(start))),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// A condition in the syntax of GraphQL: JSON whose keys and operators have no quotes. Strings are written alike in
/// both, so that nothing in them can end the string.
pub(super) fn graphql(condition: &Value) -> String {
    match condition {
        Value::Object(fields) => {
            let fields: Vec<String> = fields
                .iter()
                .map(|(key, value)| match value.as_str() {
                    Some(operator) if key == "operator" => format!("operator: {operator}"),
                    _ => format!("{key}: {}", graphql(value)),
                })
                .collect();
            format!("{{{}}}", fields.join(", "))
        }
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(graphql).collect();
            format!("[{}]", items.join(", "))
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_name_ends_its_string() {
        let condition = all(vec![
            equal("speakers", "a\"}]) { x } \\ \u{7}"),
            compare("day", "LessThanEqual", 5),
        ]);
        assert_eq!(
            graphql(&condition.unwrap()),
            r#"{operands: [{operator: Equal, path: ["speakers"], valueText: "a\"}]) { x } \\ \u0007"}, {operator: LessThanEqual, path: ["day"], valueInt: 5}], operator: And}"#
        );
        assert_eq!(all(Vec::new()), None);
    }

    #[test]
    fn what_is_filtered_by_is_declared() {
        let declared = |name: &str| {
            PROPERTIES
                .iter()
                .any(|(declared, _, filtered)| *declared == name && *filtered)
        };
        for field in [
            "source_id",
            "chunk_id",
            "revision",
            "speakers",
            "day",
            "start_ms",
            "end_ms",
        ] {
            assert!(declared(field), "{field}");
        }
        assert_eq!(property("speakers", "text[]", true)["tokenization"], "field");
        assert_eq!(property("day", "int", true).get("tokenization"), None);
    }
}
