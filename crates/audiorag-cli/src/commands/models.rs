//! `audiorag models`, and the offer to fetch them before the first `index`.

use super::size;
use crate::args::Models;
use crate::context::Context;
use crate::exit::ExitStatus;
use crate::printer::{Style, table};
use crate::progress::download_bar;
use audiorag::core::{Error, Result};
use audiorag::models::{self, FileState, FileStatus, ModelSpec, ModelStore, PullEvent, PullReport, Role};
use audiorag::settings::{PullConsent, Settings};
use indicatif::ProgressBar;
use serde_json::{Value, json};
use std::sync::{Mutex, PoisonError};

pub(super) async fn run(context: &Context, action: Models) -> Result<ExitStatus> {
    let store = models::store(context.settings());
    match action {
        Models::List => list(context, &store),
        Models::Pull { .. } => {
            let report = pull(context, &store).await?;
            if context.printer.is_json() {
                context.printer.json(&json!({
                    "dir": store.dir().display().to_string(),
                    "fetched": report.fetched,
                    "present": report.present,
                }))?;
            } else {
                for id in &report.fetched {
                    context.printer.line(format_args!("fetched  {id}"))?;
                }
                for id in &report.present {
                    context.printer.line(format_args!("present  {id}"))?;
                }
            }
            Ok(ExitStatus::Success)
        }
        Models::Verify => verify(context, &store),
        Models::Path => {
            let dir = store.dir().display().to_string();
            if context.printer.is_json() {
                context.printer.json(&json!({"dir": dir}))?;
            } else {
                context.printer.line(dir)?;
            }
            Ok(ExitStatus::Success)
        }
    }
}

fn list(context: &Context, store: &ModelStore) -> Result<ExitStatus> {
    let printer = &context.printer;
    let models = store.list();
    if printer.is_json() {
        let models: Vec<Value> = models
            .iter()
            .map(|model| {
                json!({
                    "id": model.spec.id,
                    "role": model.spec.role.as_str(),
                    "about": model.spec.about,
                    "licence": model.spec.licence,
                    "installed": model.installed,
                    "in_use": model.in_use,
                    "files": model.files.iter().map(file_json).collect::<Vec<_>>(),
                })
            })
            .collect();
        printer.json(&json!({"dir": store.dir().display().to_string(), "models": models}))?;
        return Ok(ExitStatus::Success);
    }
    let head = ["MODEL", "ROLE", "STATE", "SIZE", "LICENCE", "ABOUT"];
    let mut rows = vec![head.map(|name| printer.paint(Style::Bold, name)).to_vec()];
    for model in &models {
        let (style, state) = match (model.in_use, model.installed) {
            (true, _) => (Style::Good, "in use"),
            (false, true) => (Style::Dim, "installed"),
            (false, false) => (Style::Dim, "absent"),
        };
        let bytes: Option<u64> = model.files.iter().map(|file| file.bytes).sum();
        rows.push(vec![
            model.spec.id.to_owned(),
            model.spec.role.as_str().to_owned(),
            printer.paint(style, state),
            bytes.map_or_else(|| "-".to_owned(), size),
            model.spec.licence.to_owned(),
            model.spec.about.to_owned(),
        ]);
    }
    for line in table(&rows) {
        printer.line(line)?;
    }
    Ok(ExitStatus::Success)
}

fn file_json(file: &FileStatus) -> Value {
    json!({
        "name": file.name,
        "path": file.path.display().to_string(),
        "bytes": file.bytes,
        "sha256": file.sha256,
        "state": state(file.state),
    })
}

const fn state(state: FileState) -> &'static str {
    match state {
        FileState::Present => "present",
        FileState::Verified => "verified",
        FileState::Missing => "missing",
        FileState::Damaged => "damaged",
    }
}

/// Reads every file. Missing and damaged ones are an error.
fn verify(context: &Context, store: &ModelStore) -> Result<ExitStatus> {
    let printer = &context.printer;
    let checked: Vec<(&ModelSpec, FileStatus)> = store
        .verify()?
        .into_iter()
        .filter(|(spec, _)| is_wanted(context.settings(), spec.role))
        .collect();
    let is_good = |file: &FileStatus| matches!(file.state, FileState::Present | FileState::Verified);
    if printer.is_json() {
        let files: Vec<Value> = checked
            .iter()
            .map(|(spec, file)| {
                let mut value = file_json(file);
                if let Some(object) = value.as_object_mut() {
                    object.insert("model".to_owned(), spec.id.into());
                }
                value
            })
            .collect();
        printer.json(&json!({"dir": store.dir().display().to_string(), "files": files}))?;
    } else {
        let rows: Vec<Vec<String>> = checked
            .iter()
            .map(|(spec, file)| {
                let style = if is_good(file) { Style::Good } else { Style::Bad };
                vec![
                    printer.paint(style, state(file.state)),
                    format!("{}/{}", spec.id, file.name),
                ]
            })
            .collect();
        for line in table(&rows) {
            printer.line(line)?;
        }
    }
    match checked.iter().filter(|(_, file)| !is_good(file)).count() {
        0 => Ok(ExitStatus::Success),
        bad => Err(
            Error::config(format!("{bad} of {} model files cannot be used", checked.len()))
                .with_hint("run `audiorag models pull`"),
        ),
    }
}

/// Whether a role's files come from the store: not when the user has an ONNX Runtime of their own.
fn is_wanted(settings: &Settings, role: Role) -> bool {
    role != Role::Runtime || settings.models.onnxruntime_library.is_none()
}

/// Fetches what is missing, with a bar for each file.
async fn pull(context: &Context, store: &ModelStore) -> Result<PullReport> {
    let printer = &context.printer;
    let current: Mutex<Option<ProgressBar>> = Mutex::new(None);
    let progress = |event: PullEvent| {
        let mut bar = current.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            PullEvent::Started { file, bytes } => *bar = Some(download_bar(printer, &file, bytes)),
            PullEvent::Advanced { bytes } => {
                if let Some(bar) = bar.as_ref() {
                    bar.inc(bytes);
                }
            }
            PullEvent::Finished { file } => {
                if let Some(bar) = bar.take() {
                    bar.finish_and_clear();
                }
                printer.note(format_args!("checked {file}"));
            }
            PullEvent::Note(text) => printer.note(text),
        }
    };
    let settings = context.settings();
    store.pull(&models::pull_options(settings), &progress).await
}

/// Which of `roles` need files from the store, and lack some.
fn lacking(context: &Context, roles: &[Role]) -> Vec<Role> {
    let settings = context.settings();
    let stt = settings.stt.provider == "local" && context.providers.transcriber.is_none();
    let embedding = settings.embedding.provider == "local" && context.providers.embedder.is_none();
    let needs = |role: Role| match role {
        Role::Transcribe => stt,
        Role::Embed => embedding,
        Role::Runtime => is_wanted(settings, role) && (stt || embedding),
    };
    let listed = models::store(settings).list();
    let installed = |role: Role| {
        listed
            .iter()
            .any(|model| model.spec.role == role && model.installed)
    };
    roles
        .iter()
        .copied()
        .filter(|role| needs(*role) && !installed(*role))
        .collect()
}

/// What `roles` lack, as an error that names the first file and the command that fetches it.
pub(super) fn missing(context: &Context, roles: &[Role]) -> Option<Error> {
    if lacking(context, roles).is_empty() {
        None
    } else {
        models::store(context.settings()).missing()
    }
}

/// Sees to it that the local models are there before they are needed: fetches them where that is allowed, asks
/// on a terminal, and otherwise fails with the name of the first missing file.
pub(super) async fn ensure(context: &Context) -> Result<()> {
    let settings = context.settings();
    let Some(missing) = missing(context, &Role::ALL) else {
        return Ok(());
    };
    let store = models::store(settings);
    if settings.models.offline {
        return Err(missing.with_hint("run `audiorag models pull` while online"));
    }
    match settings.models.auto_pull {
        PullConsent::Yes => {}
        PullConsent::Ask if context.printer.can_ask() => {
            let listed = store.list();
            let bytes: u64 = lacking(context, &Role::ALL)
                .iter()
                .filter_map(|role| listed.iter().find(|model| model.spec.role == *role))
                .flat_map(|model| &model.files)
                .filter_map(|file| file.bytes)
                .sum();
            let question = format!(
                "The local models are not here yet. Fetch them now, once ({} on disk in {})?",
                size(bytes),
                store.dir().display()
            );
            if !context.printer.confirm(&question)? {
                return Err(missing);
            }
        }
        PullConsent::Ask => {
            return Err(
                missing.with_hint("run `audiorag models pull`, or add --yes to fetch them on the way")
            );
        }
        _ => return Err(missing),
    }
    let stop = context.interrupt.token();
    tokio::select! {
        outcome = pull(context, &store) => outcome.map(|_| ()),
        () = stop.cancelled() => Err(Error::cancelled("interrupted while fetching models; the next pull goes on from here")),
    }
}
