//! Log messages on standard error: for people, or one JSON object a line.
//!
//! Both forms carry a timestamp, the level, the target, the fields of every enclosing span (the operation id
//! among them), the event's own fields and the message.

use crate::printer::{Printer, Style};
use audiorag::settings::{LogFormat, LogLevel, LogSettings};
use jiff::Timestamp;
use serde_json::{Map, Value};
use std::fmt::{self, Write as _};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Dispatch, Event, Level, Subscriber};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::registry::{LookupSpan, Registry};

/// Where this run's messages go.
pub(crate) fn dispatch(settings: &LogSettings, printer: &Printer) -> Dispatch {
    let lines = Lines {
        printer: printer.clone(),
        format: settings.format,
    };
    Dispatch::new(Registry::default().with(lines.with_filter(filter(settings))))
}

/// Our own messages from `level` on. Libraries speak up about failures only: at finer levels their messages
/// bury ours, and hold SQL.
fn filter(settings: &LogSettings) -> Targets {
    let (own, others) = match settings.level {
        LogLevel::Off => (LevelFilter::OFF, LevelFilter::OFF),
        LogLevel::Error => (LevelFilter::ERROR, LevelFilter::ERROR),
        LogLevel::Info => (LevelFilter::INFO, LevelFilter::ERROR),
        LogLevel::Debug => (LevelFilter::DEBUG, LevelFilter::WARN),
        LogLevel::Trace => (LevelFilter::TRACE, LevelFilter::TRACE),
        // `Warn`, and levels that a newer version may add.
        _ => (LevelFilter::WARN, LevelFilter::ERROR),
    };
    let targets = Targets::new().with_target("audiorag", own).with_default(others);
    // People read what became of each source in the summary, and warnings as they come: not twice.
    if settings.format == LogFormat::Human && own <= LevelFilter::WARN {
        return targets
            .with_target("audiorag::index", LevelFilter::OFF)
            .with_target("audiorag::index::store", own);
    }
    targets
}

/// Writes a line for each event.
struct Lines {
    printer: Printer,
    format: LogFormat,
}

/// The fields of a span, kept with it.
#[derive(Default)]
struct Fields(Map<String, Value>);

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Lines {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        if let Some(span) = context.span(id) {
            let mut fields = Fields::default();
            attributes.record(&mut fields);
            span.extensions_mut().replace(fields);
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(fields) = span.extensions_mut().get_mut::<Fields>()
        {
            values.record(fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = Fields::default();
        // Outer spans first, so that the closest value of a name stays.
        for span in context
            .event_scope(event)
            .into_iter()
            .flat_map(tracing_subscriber::registry::Scope::from_root)
        {
            if let Some(outer) = span.extensions().get::<Fields>() {
                fields.0.extend(outer.0.clone());
            }
        }
        event.record(&mut fields);
        let metadata = event.metadata();
        let line = match self.format {
            LogFormat::Json => json_line(Timestamp::now(), *metadata.level(), metadata.target(), fields.0),
            _ => human_line(
                &self.printer,
                Timestamp::now(),
                *metadata.level(),
                metadata.target(),
                fields.0,
            ),
        };
        self.printer.say(&line);
    }
}

fn json_line(now: Timestamp, level: Level, target: &str, fields: Map<String, Value>) -> String {
    let mut line = Map::new();
    line.insert("timestamp".to_owned(), format!("{now:.3}").into());
    line.insert("level".to_owned(), level.as_str().to_ascii_lowercase().into());
    line.insert("target".to_owned(), target.into());
    for (name, value) in fields {
        // A field never hides what every line has.
        let name = if line.contains_key(&name) {
            format!("field.{name}")
        } else {
            name
        };
        line.insert(name, value);
    }
    format!("{}\n", Value::Object(line))
}

fn human_line(
    printer: &Printer,
    now: Timestamp,
    level: Level,
    target: &str,
    mut fields: Map<String, Value>,
) -> String {
    let style = match level {
        Level::ERROR => Style::Bad,
        Level::WARN => Style::Careful,
        Level::INFO => Style::Good,
        _ => Style::Dim,
    };
    let message = fields.remove("message");
    let message = message.as_ref().and_then(Value::as_str).unwrap_or_default();
    let mut line = format!(
        "{now:.3} {} {target}: {message}",
        printer.paint_stderr(style, format!("{level:>5}"))
    );
    for (name, value) in fields {
        let _ = match value {
            Value::String(text) if text.contains(char::is_whitespace) => write!(line, " {name}={text:?}"),
            Value::String(text) => write!(line, " {name}={text}"),
            other => write!(line, " {name}={other}"),
        };
    }
    line.push('\n');
    line
}

impl Visit for Fields {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.0.insert(field.name().to_owned(), value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.0.insert(field.name().to_owned(), value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.0.insert(field.name().to_owned(), value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.0.insert(field.name().to_owned(), value.into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name().to_owned(), value.into());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0
            .insert(field.name().to_owned(), format!("{value:?}").into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::{Captured, Io};
    use crate::printer::Look;
    use audiorag::settings::{Key, Settings, Sources};
    use std::collections::BTreeMap;

    fn run(level: &str, format: &str, work: impl FnOnce()) -> String {
        let root = std::env::temp_dir();
        let sources = Sources::isolated(&root)
            .with(Key::LogLevel, level)
            .with(Key::LogFormat, format);
        let settings = Settings::resolve(&sources).unwrap().settings;
        let (io, _, stderr): (_, _, Captured) = Io::captured("");
        let env = BTreeMap::new();
        let printer = Printer::new(
            io.stdin,
            io.stdout,
            io.stderr,
            io.terminals,
            Look::default(),
            &env,
        );
        tracing::dispatcher::with_default(&dispatch(&settings.log, &printer), work);
        stderr.text()
    }

    fn events() {
        let span = tracing::info_span!(target: "audiorag::index", "index", operation_id = "op1", parts = tracing::field::Empty);
        let _entered = span.enter();
        span.record("parts", 3_u64);
        let inner = tracing::info_span!(target: "audiorag::index", "source", source_id = "s1");
        let _inner = inner.enter();
        tracing::info!(target: "audiorag::index", took = 1.5, ok = true, left = -1_i64, level = "x", text = ?"a b", "stage completed");
        tracing::debug!(target: "audiorag::index", "hidden");
        tracing::warn!(target: "sqlx", "of a library");
    }

    #[test]
    fn json_lines_carry_the_fields_of_all_spans() {
        let text = run("info", "json", events);
        let lines: Vec<Value> = text
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert_eq!(lines.len(), 1, "{text}");
        let line = &lines[0];
        assert!(line["timestamp"].as_str().unwrap().ends_with('Z'));
        for (name, value) in [
            ("level", Value::from("info")),
            ("target", "audiorag::index".into()),
            ("message", "stage completed".into()),
            ("operation_id", "op1".into()),
            ("source_id", "s1".into()),
            ("parts", 3.into()),
            ("took", 1.5.into()),
            ("ok", true.into()),
            ("left", (-1).into()),
            ("field.level", "x".into()),
        ] {
            assert_eq!(line[name], value, "{name}");
        }
    }

    #[test]
    fn lines_for_people_carry_them_as_well() {
        let text = run("debug", "human", events);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 3, "{text}");
        assert!(
            lines[0].contains(" INFO audiorag::index: stage completed "),
            "{text}"
        );
        assert!(lines[0].contains(" operation_id=op1 "), "{text}");
        assert!(lines[0].contains("text=\"\\\"a b\\\"\""), "{text}");
        assert!(lines[2].contains("WARN sqlx: of a library"), "{text}");
    }

    #[test]
    fn levels_are_honoured() {
        assert_eq!(run("off", "human", events), "");
        assert_eq!(run("error", "human", events), "");
        assert_eq!(run("warn", "human", events), "");
        let failed = || tracing::error!(target: "audiorag::index", "a source failed");
        assert_eq!(run("warn", "human", failed), "");
        assert_eq!(run("warn", "json", failed).lines().count(), 1);
        assert_eq!(run("info", "human", failed).lines().count(), 1);
        assert_eq!(run("trace", "json", events).lines().count(), 3);
    }
}
