//! What commands are given.

use crate::args::Global;
use crate::io::Interrupt;
use crate::logging;
use crate::printer::Printer;
use audiorag::core::model::Filter;
use audiorag::core::{MediaTime, Span};
use audiorag::settings::{Key, LogFormat, Resolution, Settings, Sources};
use audiorag::state::{SourceRecord, StateOptions};
use audiorag::{AudioRag, Builder, Error, Providers, Result};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::SystemTime;
use tracing::instrument::WithSubscriber as _;

/// The program before its settings are resolved.
pub(crate) struct Program {
    pub(crate) printer: Printer,
    pub(crate) sources: Sources,
    pub(crate) interrupt: Interrupt,
    pub(crate) yes: bool,
    providers: Providers,
    owns_process: bool,
}

impl Program {
    pub(crate) fn new(
        printer: Printer,
        global: &Global,
        mut sources: Sources,
        interrupt: Interrupt,
        providers: Providers,
        owns_process: bool,
    ) -> Self {
        sources.flags.extend(global.settings());
        if let Some(config) = &global.config {
            sources.config_file = Some(config.clone());
        }
        // Until settings are resolved, as far as that can be told without them.
        let format = sources
            .flags
            .get(&Key::LogFormat)
            .or_else(|| sources.env.get("AUDIORAG_LOG_FORMAT"));
        printer.set_log_lines(format.is_some_and(|format| format.eq_ignore_ascii_case("json")));
        Self {
            printer,
            sources,
            interrupt,
            yes: global.yes,
            providers,
            owns_process,
        }
    }

    /// Resolves the settings, with a command's own flags on top.
    pub(crate) fn resolve(mut self, flags: BTreeMap<Key, String>) -> Result<Context> {
        // What is written on the command line counts for programs that embed it, too.
        if flags.contains_key(&Key::GenerationProvider) {
            self.providers.generator = None;
        }
        self.sources.flags.extend(flags);
        let mut resolution = Settings::resolve(&self.sources)?;
        // As a part of a test program or of somebody else's, this one cannot be started as audiorag.
        if self.owns_process && resolution.settings.decode.program.is_none() {
            resolution.settings.decode.program = std::env::current_exe().ok();
        }
        self.printer
            .set_log_lines(resolution.settings.log.format == LogFormat::Json);
        for warning in &resolution.warnings {
            self.printer.warning(warning);
        }
        Ok(Context {
            printer: self.printer,
            resolution,
            interrupt: self.interrupt,
            yes: self.yes,
            search_path: self.sources.env.remove("PATH"),
            cwd: self.sources.cwd,
            providers: self.providers,
            owns_process: self.owns_process,
        })
    }
}

/// What a command works with.
pub(crate) struct Context {
    pub(crate) printer: Printer,
    pub(crate) resolution: Resolution,
    pub(crate) interrupt: Interrupt,
    pub(crate) yes: bool,
    pub(crate) cwd: PathBuf,
    /// The PATH, where programs are looked for.
    pub(crate) search_path: Option<String>,
    pub(crate) providers: Providers,
    owns_process: bool,
}

impl Context {
    pub(crate) fn settings(&self) -> &Settings {
        &self.resolution.settings
    }

    /// Runs a command's work with this run's log.
    pub(crate) async fn logged<T>(&self, work: impl Future<Output = T>) -> T {
        let dispatch = logging::dispatch(&self.settings().log, &self.printer);
        if self.owns_process {
            // Threads of the runtime and of libraries log as well. It fails only when a log is set already.
            let _ = tracing::dispatcher::set_global_default(dispatch);
            return work.await;
        }
        work.with_subscriber(dispatch).await
    }

    /// Opens the index, creating the database where it is missing.
    pub(crate) async fn open(&self) -> Result<AudioRag> {
        AudioRag::builder(self.settings().clone())
            .with_providers(self.providers.clone())
            .open()
            .await
    }

    /// Opens the index for reading. Without a database there is nothing to read.
    pub(crate) async fn open_existing(&self) -> Result<AudioRag> {
        self.existing()?
            .with_providers(self.providers.clone())
            .for_reading()
            .open()
            .await
    }

    /// Opens the index to change what is in it. Without a database there is nothing to change.
    pub(crate) async fn open_to_change(&self) -> Result<AudioRag> {
        self.existing()?
            .with_providers(self.providers.clone())
            .open()
            .await
    }

    fn existing(&self) -> Result<Builder> {
        let path = &self.settings().database.path;
        if path.exists() {
            return Ok(AudioRag::builder(self.settings().clone()));
        }
        Err(Error::not_found(format!(
            "nothing is indexed yet: there is no database at {}",
            path.display()
        ))
        .with_hint("run `audiorag index PATH`, or name another database with --database-url"))
    }

    /// How to open the database.
    pub(crate) fn state_options(&self) -> StateOptions {
        StateOptions::new(&self.settings().database.path)
    }

    /// The source that a user names: an id, the start of one, a path or a URL.
    pub(crate) async fn source(&self, audiorag: &AudioRag, name: &str) -> Result<SourceRecord> {
        match audiorag.state().resolve_source(name).await {
            Ok(source) => Ok(source),
            Err(error) if name.contains("://") || Path::new(name).is_absolute() => Err(error),
            // Not an id: a path below the current directory, perhaps, in the form that sources are known by.
            Err(error) => {
                let path = self.cwd.join(name);
                let path = path.canonicalize().unwrap_or(path);
                match path.to_str() {
                    Some(path) => audiorag.state().resolve_source(path).await.map_err(|_| error),
                    None => Err(error),
                }
            }
        }
    }

    /// The restrictions of a question.
    pub(crate) async fn filter(
        &self,
        audiorag: &AudioRag,
        question: &crate::args::Question,
    ) -> Result<Filter> {
        let mut sources = Vec::new();
        for name in &question.source {
            sources.push(self.source(audiorag, name).await?.id);
        }
        if let Some(title) = &question.title {
            let titled = audiorag
                .state()
                .list_sources()
                .await?
                .into_iter()
                .filter(|source| {
                    (sources.is_empty() || sources.contains(&source.id))
                        && source.title.to_lowercase().contains(&title.to_lowercase())
                });
            sources = titled.map(|source| source.id).collect();
            if sources.is_empty() {
                return Err(Error::not_found(format!("no source has '{title}' in its title"))
                    .with_hint("`audiorag list` shows the titles"));
            }
        }
        Ok(Filter {
            sources,
            speakers: question.speaker.clone(),
            language: question.language.clone(),
            after: question
                .after
                .as_deref()
                .map(|day| date("--after", day))
                .transpose()?,
            before: question
                .before
                .as_deref()
                .map(|day| date("--before", day))
                .transpose()?,
            within: question.within.as_deref().map(within).transpose()?,
        })
    }
}

/// The span of a recording that is given as `START-END`.
fn within(text: &str) -> Result<Span> {
    let ends = text.split_once('-');
    let span = ends.and_then(|(start, end)| {
        let (start, end) = (MediaTime::parse_clock(start)?, MediaTime::parse_clock(end)?);
        Span::new(start, end).filter(|span| !span.is_empty())
    });
    span.ok_or_else(|| {
        Error::input(format!("--within {text} is not a span of time"))
            .with_hint("write its start and its end: --within 10:00-25:30")
    })
}

/// Checks a day.
pub(crate) fn date(flag: &str, text: &str) -> Result<String> {
    Ok(civil(flag, text)?.to_string())
}

fn civil(flag: &str, text: &str) -> Result<jiff::civil::Date> {
    text.parse().map_err(|_| {
        Error::input(format!("{flag} {text} is not a day"))
            .with_hint(format!("write it as year, month and day: {flag} 2026-03-31"))
    })
}

/// When a day begins, in UTC.
pub(crate) fn midnight(flag: &str, text: &str) -> Result<SystemTime> {
    let start = civil(flag, text)?
        .to_zoned(jiff::tz::TimeZone::UTC)
        .map_err(|error| Error::input(format!("{flag} {text} is out of range")).with_cause(error))?;
    Ok(start.timestamp().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_checked() {
        assert_eq!(date("--after", "2026-03-31").unwrap(), "2026-03-31");
        let error = date("--before", "31.3.2026").unwrap_err();
        assert_eq!(error.to_string(), "--before 31.3.2026 is not a day");
        assert!(date("--after", "2026-02-30").is_err());
    }
}
