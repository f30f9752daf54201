//! Output that scripts and people rely on, as it is. Nothing here depends on what a model heard.

use crate::recordings::short;
use crate::sandbox::{Run, Sandbox};
use serde_json::Value;

/// Replaces what differs from run to run and from machine to machine.
fn settings() -> insta::Settings {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("snapshots");
    settings.set_prepend_module_to_snapshot(false);
    settings.add_filter(r"/[^\s']*/audiorag-e2e-\w+", "[SANDBOX]");
    settings.add_filter(r"\b[0-9a-f]{32}\b", "[ID]");
    settings.add_filter(r"\b[0-9a-f]{12}\b", "[SHORT ID]");
    settings.add_filter(r"in \d+\.\d s", "in [TIME]");
    settings
}

fn shown(run: &Run) -> String {
    format!(
        "exit {}\n--- stdout\n{}--- stderr\n{}",
        run.code(),
        run.stdout,
        run.stderr
    )
}

/// A JSON document with the type in place of each value, so that its shape can be compared.
fn shape(value: &Value) -> Value {
    match value {
        Value::Null => "null".into(),
        Value::Bool(_) => "bool".into(),
        Value::Number(_) => "number".into(),
        Value::String(_) => "string".into(),
        Value::Array(items) => items
            .first()
            .map_or_else(|| Value::Array(Vec::new()), |item| vec![shape(item)].into()),
        Value::Object(fields) => fields
            .iter()
            .map(|(name, value)| (name.clone(), shape(value)))
            .collect(),
    }
}

#[test]
fn messages_for_people() {
    let sandbox = Sandbox::new();
    sandbox.write("talk.wav", short().to_wav());
    sandbox.write("empty.mp3", "");
    sandbox.write("notes.mp3", "Dear diary,\n".repeat(500));
    settings().bind(|| {
        insta::assert_snapshot!("list_before_index", shown(&sandbox.run(&["list"])));
        insta::assert_snapshot!(
            "index",
            shown(&sandbox.run(&["index", "talk.wav", "empty.mp3", "notes.mp3", "gone.mp3"]))
        );
        insta::assert_snapshot!("index_again", shown(&sandbox.run(&["index", "talk.wav"])));
        insta::assert_snapshot!("list", shown(&sandbox.run(&["list"])));
        insta::assert_snapshot!("show_unknown", shown(&sandbox.run(&["show", "nobody"])));
        insta::assert_snapshot!(
            "wrong_setting",
            shown(&sandbox.run(&["--log-level", "shout", "list"]))
        );
    });
}

#[test]
fn shapes_for_programs() {
    let sandbox = Sandbox::new();
    sandbox.write("talk.wav", short().to_wav());
    sandbox.write("empty.mp3", "");
    let index = sandbox
        .run(&["index", "--json", "talk.wav", "empty.mp3"])
        .exits(3);
    let mut events: Vec<String> = index
        .events()
        .iter()
        .map(|event| shape(event).to_string())
        .collect();
    events.sort();
    events.dedup();
    let question = "was it the age of wisdom";
    settings().bind(|| {
        insta::assert_snapshot!("json_events", events.join("\n"));
        insta::assert_json_snapshot!(
            "json_query",
            shape(&sandbox.run(&["query", "--json", question]).ok().json())
        );
        insta::assert_json_snapshot!(
            "json_search",
            shape(&sandbox.run(&["search", "--json", question]).ok().json())
        );
        insta::assert_json_snapshot!("json_list", shape(&sandbox.run(&["list", "--json"]).ok().json()));
        insta::assert_json_snapshot!(
            "json_show",
            shape(&sandbox.run(&["show", "--json", "talk.wav"]).ok().json())
        );
        insta::assert_json_snapshot!(
            "json_status",
            shape(&sandbox.run(&["status", "--json"]).ok().json())
        );
        insta::assert_json_snapshot!(
            "json_doctor",
            shape(&sandbox.run(&["doctor", "--json"]).ok().json())
        );
        insta::assert_json_snapshot!(
            "json_models",
            shape(&sandbox.run(&["models", "list", "--json"]).ok().json())
        );
        insta::assert_json_snapshot!(
            "json_cache",
            shape(&sandbox.run(&["cache", "info", "--json"]).ok().json())
        );
        insta::assert_json_snapshot!(
            "json_db",
            shape(&sandbox.run(&["db", "status", "--json"]).ok().json())
        );
        let exported = sandbox.run(&["export", "talk.wav", "-f", "json"]).ok().json();
        insta::assert_json_snapshot!("json_export", shape(&exported));
    });
}
