//! `audiorag config`.

use crate::context::{Context, Program};
use crate::exit::ExitStatus;
use crate::json;
use crate::printer::{Style, table};
use audiorag::core::Result;
use audiorag::settings::{self, Entry, Key, Origin, PROJECT_FILE};
use serde_json::json;

/// Every setting with its value and origin. People are spared the defaults of vendors they do not use.
pub(super) fn show(context: &Context) -> Result<ExitStatus> {
    let printer = &context.printer;
    let entries = &context.resolution.entries;
    if printer.is_json() {
        printer.json(&json::entries(entries))?;
        return Ok(ExitStatus::Success);
    }
    let settings = &context.resolution.settings;
    let in_use = [
        &settings.stt.provider,
        &settings.embedding.provider,
        &settings.vector_store.provider,
        &settings.generation.provider,
        &settings.reranker.provider,
    ];
    let matters = |entry: &Entry| {
        let vendor = entry.key.spec().path.split('.').next().unwrap_or_default();
        !matches!(entry.key, Key::Vendor(_))
            || entry.origin != Origin::Default
            || in_use.iter().any(|provider| provider.as_str() == vendor)
    };
    let rows: Vec<Vec<String>> = entries
        .iter()
        .filter(|entry| matters(entry))
        .map(|entry| {
            let value = entry.value.clone().unwrap_or_else(|| "(unset)".to_owned());
            let style = if entry.origin == Origin::Default {
                Style::Dim
            } else {
                Style::Good
            };
            vec![
                entry.key.spec().path.to_owned(),
                value,
                printer.paint(style, &entry.origin),
            ]
        })
        .collect();
    for line in table(&rows) {
        printer.line(line)?;
    }
    Ok(ExitStatus::Success)
}

/// The files that settings are read from. Works when they cannot be read.
pub(super) fn path(program: &Program) -> Result<ExitStatus> {
    let printer = &program.printer;
    let project = program
        .sources
        .project_file()
        .unwrap_or_else(|| program.sources.cwd.join(PROJECT_FILE));
    let files = [("project", Some(project)), ("user", program.sources.user_file())];
    let files = files
        .into_iter()
        .filter_map(|(role, path)| path.map(|path| (role, path)));
    if printer.is_json() {
        let files: Vec<_> = files
            .map(|(role, path)| json!({"role": role, "path": path.display().to_string(), "exists": path.exists()}))
            .collect();
        printer.json(&json!({"files": files}))?;
        return Ok(ExitStatus::Success);
    }
    let rows: Vec<Vec<String>> = files
        .map(|(role, path)| {
            let exists = if path.exists() { "" } else { "(does not exist)" };
            vec![role.to_owned(), path.display().to_string(), exists.to_owned()]
        })
        .collect();
    for line in table(&rows) {
        printer.line(line)?;
    }
    Ok(ExitStatus::Success)
}

/// The reference of all vendors in this build.
pub(super) fn providers(program: &Program) -> Result<ExitStatus> {
    #[cfg(feature = "http")]
    program.printer.data(&audiorag::vendors_markdown()?)?;
    #[cfg(not(feature = "http"))]
    program.printer.data("This build has no vendors.\n")?;
    Ok(ExitStatus::Success)
}

/// The reference of all settings.
pub(super) fn docs(program: &Program) -> Result<ExitStatus> {
    program.printer.data(&settings::reference_markdown())?;
    Ok(ExitStatus::Success)
}
