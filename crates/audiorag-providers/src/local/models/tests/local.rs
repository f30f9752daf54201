//! What the store says without asking anybody.

use super::*;

#[test]
fn what_is_missing_is_one_error_with_the_command() {
    let folder = tempfile::tempdir().unwrap();
    let store = ModelStore::new(folder.path());
    let error = store.missing().unwrap();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.message().contains("onnxruntime/"), "{error}");
    assert!(error.message().contains("and 5 more files"), "{error}");
    assert_eq!(error.hint(), Some("run `audiorag models pull`"));
    for error in [
        store.runtime().unwrap_err(),
        store.speech().unwrap_err(),
        store.embedding().unwrap_err(),
    ] {
        assert_eq!(error.hint(), Some("run `audiorag models pull`"));
    }
    assert_eq!(
        store.path("moonshine-tiny-en").unwrap(),
        folder.path().join("moonshine-tiny-en")
    );
    assert!(
        store
            .path("whisper")
            .unwrap_err()
            .hint()
            .unwrap()
            .contains("moonshine-tiny-en")
    );
    assert!(store.list().iter().all(|model| !model.installed && !model.in_use));
}

#[test]
fn a_form_from_the_hub_is_used_where_no_other_is() {
    let folder = tempfile::tempdir().unwrap();
    let store = ModelStore::new(folder.path());
    let model = folder.path().join("all-MiniLM-L6-v2");
    std::fs::create_dir_all(&model).unwrap();
    std::fs::write(model.join("model.onnx"), b"put here by hand").unwrap();
    std::fs::write(
        model.join("tokenizer.json"),
        include_bytes!("../../../../assets/all-MiniLM-L6-v2-tokenizer.json"),
    )
    .unwrap();
    let files = store.embedding().unwrap();
    assert_eq!(files.model, "all-MiniLM-L6-v2");
    assert_eq!(files.network, model.join("model.onnx"));
    // Nobody can say whether a file that was put there by hand is right.
    let checked = store.verify().unwrap();
    let states: Vec<FileState> = checked
        .iter()
        .filter(|(spec, _)| spec.role == Role::Embed)
        .map(|(_, file)| file.state)
        .collect();
    assert_eq!(states, [FileState::Present, FileState::Verified]);
}

#[test]
fn routes_have_names() {
    for route in Route::ALL {
        assert_eq!(Route::parse(route.as_str()), Some(route));
    }
    assert_eq!(Route::parse("carrier pigeon"), None);
}
