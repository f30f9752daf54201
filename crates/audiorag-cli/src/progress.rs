//! What `index` and `models pull` show while they work.

use crate::json;
use crate::printer::Printer;
use audiorag::core::{MediaTime, Stage};
use audiorag::index::{IndexEvent, IndexObserver};
use indicatif::{ProgressBar, ProgressStyle};
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// How often a bar that stands still is drawn anew.
const TICK: Duration = Duration::from_millis(200);

/// Shows index events: as JSON lines, or as one bar for each source in work.
pub(crate) struct IndexProgress {
    printer: Printer,
    bars: Mutex<HashMap<String, ProgressBar>>,
}

impl IndexProgress {
    pub(crate) fn new(printer: Printer) -> Self {
        Self {
            printer,
            bars: Mutex::default(),
        }
    }

    /// Does something with the bar of a source.
    fn bar(&self, source: &str, action: impl FnOnce(&ProgressBar)) {
        let bars = self.bars.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bar) = bars.get(source) {
            action(bar);
        }
    }

    fn start(&self, source: &str) {
        let bar = ProgressBar::new_spinner().with_style(style("{spinner} {prefix:.bold} {msg}"));
        let bar = self.printer.bars().add(bar);
        bar.set_prefix(last_name(source));
        bar.enable_steady_tick(TICK);
        let mut bars = self.bars.lock().unwrap_or_else(PoisonError::into_inner);
        bars.insert(source.to_owned(), bar);
    }

    fn finish(&self, source: &str) {
        let bar = self
            .bars
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(source);
        if let Some(bar) = bar {
            bar.finish_and_clear();
        }
    }
}

impl IndexObserver for IndexProgress {
    fn event(&self, event: IndexEvent) {
        if self.printer.is_json() {
            // A reader that went away, or a full disk: the run itself goes on, and the summary reports it.
            let _ = self.printer.event(&json::event(&event));
            return;
        }
        match event {
            IndexEvent::SourceStarted { source } if self.printer.shows_progress() => self.start(&source),
            IndexEvent::StageStarted { source, stage } => {
                self.bar(&source, |bar| bar.set_message(describe(stage)));
            }
            IndexEvent::Download { source, bytes, total } => {
                let mebibytes = |bytes: u64| bytes.div_ceil(1 << 20);
                let of = total.map_or_else(String::new, |total| format!(" of {}", mebibytes(total)));
                let message = format!("downloading, {}{of} MiB", mebibytes(bytes));
                self.bar(&source, |bar| bar.set_message(message));
            }
            IndexEvent::Part {
                source,
                end,
                duration,
                ..
            } => {
                self.bar(&source, |bar| advance(bar, end, duration));
            }
            IndexEvent::Warning { source, message } => {
                self.printer.warning(format_args!("{source}: {message}"));
            }
            IndexEvent::SourceFinished { source, .. } => self.finish(&source),
            _ => {}
        }
    }
}

/// Parts arrive in any order: the bar shows the furthest.
fn advance(bar: &ProgressBar, end: MediaTime, duration: Option<MediaTime>) {
    let Some(duration) = duration.filter(|duration| *duration > MediaTime::ZERO) else {
        bar.set_message(format!("transcribing, at {end}"));
        return;
    };
    if bar.length() != Some(duration.as_millis()) {
        bar.set_length(duration.as_millis());
        bar.set_style(style("{spinner} {prefix:.bold} {bar:24} {percent:>3}% {msg}"));
    }
    bar.set_position(bar.position().max(end.as_millis()).min(duration.as_millis()));
    bar.set_message(format!(
        "{} of {duration}",
        MediaTime::from_millis(bar.position())
    ));
}

fn describe(stage: Stage) -> &'static str {
    match stage {
        Stage::Discover => "looking",
        Stage::Download => "downloading",
        Stage::Probe => "reading",
        Stage::Split => "decoding",
        Stage::Transcribe => "transcribing",
        Stage::Chunk => "cutting into passages",
        Stage::Embed => "embedding",
        Stage::Store => "storing",
        Stage::Verify => "checking",
        Stage::Publish => "publishing",
        _ => "working",
    }
}

/// The file name of a display locator.
fn last_name(source: &str) -> String {
    source
        .rsplit(['/', '\\'])
        .find(|name| !name.is_empty())
        .unwrap_or(source)
        .to_owned()
}

/// The style of a template, which is correct: a test draws each.
fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner())
}

/// A bar that counts bytes.
#[cfg(feature = "local")]
pub(crate) fn download_bar(printer: &Printer, file: &str, bytes: Option<u64>) -> ProgressBar {
    let bar = match bytes {
        Some(bytes) => {
            ProgressBar::new(bytes).with_style(style("{prefix:.bold} {bar:24} {bytes}/{total_bytes} {eta}"))
        }
        None => ProgressBar::new_spinner().with_style(style("{spinner} {prefix:.bold} {bytes}")),
    };
    let bar = printer.bars().add(bar);
    bar.set_prefix(file.to_owned());
    bar.enable_steady_tick(TICK);
    bar
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::Color;
    use crate::io::{Io, Terminals};
    use crate::printer::Look;
    use std::collections::BTreeMap;

    #[test]
    fn every_template_is_correct() {
        for template in [
            "{spinner} {prefix:.bold} {msg}",
            "{spinner} {prefix:.bold} {bar:24} {percent:>3}% {msg}",
            "{prefix:.bold} {bar:24} {bytes}/{total_bytes} {eta}",
            "{spinner} {prefix:.bold} {bytes}",
        ] {
            assert!(ProgressStyle::with_template(template).is_ok(), "{template}");
        }
    }

    #[test]
    fn bars_follow_the_events_of_their_source() {
        let (io, _, stderr) = Io::captured("");
        let terminals = Terminals {
            stderr: true,
            ..Terminals::default()
        };
        let look = Look {
            color: Color::Never,
            ..Look::default()
        };
        let printer = Printer::new(io.stdin, io.stdout, io.stderr, terminals, look, &BTreeMap::new());
        printer
            .bars()
            .set_draw_target(indicatif::ProgressDrawTarget::hidden());
        let progress = IndexProgress::new(printer);
        let source = || "/talks/a.mp3".to_owned();
        progress.event(IndexEvent::SourceStarted { source: source() });
        progress.event(IndexEvent::StageStarted {
            source: source(),
            stage: Stage::Transcribe,
        });
        progress.bar("/talks/a.mp3", |bar| {
            assert_eq!(
                (bar.prefix().as_str(), bar.message().as_str()),
                ("a.mp3", "transcribing")
            );
        });
        let part = |end, duration: Option<u64>| IndexEvent::Part {
            source: source(),
            index: 0,
            end: MediaTime::from_seconds(end),
            duration: duration.map(MediaTime::from_seconds),
            reused: false,
        };
        progress.event(part(10, None));
        progress.bar("/talks/a.mp3", |bar| {
            assert_eq!(bar.message(), "transcribing, at 00:10");
        });
        progress.event(part(60, Some(120)));
        progress.event(part(30, Some(120)));
        progress.bar("/talks/a.mp3", |bar| {
            assert_eq!((bar.position(), bar.length()), (60_000, Some(120_000)));
            assert_eq!(bar.message(), "01:00 of 02:00");
        });
        progress.event(IndexEvent::Warning {
            source: source(),
            message: "cut short".to_owned(),
        });
        assert_eq!(stderr.text(), "warning: /talks/a.mp3: cut short\n");
        progress.finish("/talks/a.mp3");
        progress.bar("/talks/a.mp3", |_| panic!("the bar is still there"));
    }

    #[test]
    fn every_stage_has_words() {
        for stage in Stage::ALL {
            assert!(!describe(stage).is_empty());
        }
        assert_eq!(last_name("plain"), "plain");
    }
}
