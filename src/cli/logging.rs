//! The log: lines on standard error, filtered by level.

use std::{
    fmt::{Debug, Result},
    io::{self, IsTerminal as _},
};

use anyhow::Context as _;
use tracing::field::{Field, Visit};
use tracing_subscriber::{
    Layer as _, Registry,
    field::RecordFields,
    filter::{LevelFilter, Targets},
    fmt::{self, FormatFields, format::Writer},
    layer::SubscriberExt as _,
    reload,
    util::SubscriberInitExt as _,
};

use super::printable::{self, escaped, write_value};
use crate::config::{Log, LogFormat};

/// Target of our own lines, whose level the operator chooses.
const OWN_TARGET: &str = "doorward";

/// Handle that changes the log level at run time.
pub(super) struct LogLevel(reload::Handle<Targets, Registry>);

impl LogLevel {
    /// Sets the level.
    pub(super) fn set(&self, level: &str) {
        let Ok(level) = level.parse() else { return };
        if let Err(error) = self.0.reload(targets(level)) {
            tracing::error!(%error, "log.level could not be changed");
        }
    }
}

/// Starts logging to standard error, with colours on a terminal. Panics are logged as well.
pub(super) fn start(log: &Log) -> anyhow::Result<LogLevel> {
    let (filter, handle) = reload::Layer::new(targets(log.level.parse().context("log.level")?));
    let lines = fmt::layer().with_target(false);
    let lines = match log.format {
        LogFormat::Json => lines.json().flatten_event(true).with_writer(|| printable::Json(io::stderr())).boxed(),
        LogFormat::Text => {
            let ansi = io::stderr().is_terminal();
            lines.fmt_fields(EscapedFields).with_ansi(ansi).with_writer(io::stderr).boxed()
        }
    };
    tracing_subscriber::registry().with(filter).with(lines).try_init().context("cannot start logging")?;
    std::panic::set_hook(Box::new(|panic| tracing::error!(%panic, "a defect in doorward; please report it")));
    Ok(LogLevel(handle))
}

/// Formats the fields of text lines: on the same line, quoted unless a plain word, and without a character that a terminal
/// would act upon. Values may come from clients.
struct EscapedFields;

impl<'w> FormatFields<'w> for EscapedFields {
    fn format_fields<R: RecordFields>(&self, writer: Writer<'w>, fields: R) -> Result {
        let mut line = FieldWriter { writer, result: Ok(()), is_first: true };
        fields.record(&mut line);
        line.result
    }
}

/// Visitor that writes the fields of a line.
struct FieldWriter<'w> {
    writer: Writer<'w>,
    result: Result,
    is_first: bool,
}

impl FieldWriter<'_> {
    fn write(&mut self, name: &str, value: &str) -> Result {
        self.result?;
        if !std::mem::take(&mut self.is_first) {
            self.writer.write_char(' ')?;
        }
        if name == "message" {
            return self.writer.write_str(&escaped(value));
        }
        write!(self.writer, "{name}=")?;
        write_value(&mut self.writer, value)
    }
}

impl Visit for FieldWriter<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        // Values recorded as `%value` arrive here too; their `Debug` is their `Display`.
        self.result = self.write(field.name(), &format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.result = self.write(field.name(), value);
    }
}

/// Returns the filter: our own lines from `level` on, other crates' never below a warning, because they log frames and
/// headers with cookies and tokens.
fn targets(level: LevelFilter) -> Targets {
    Targets::new().with_default(level.min(LevelFilter::WARN)).with_target(OWN_TARGET, level)
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tracing::Level;

    use super::*;

    /// Buffer of the written lines.
    #[derive(Clone, Default)]
    struct LogBuffer(Arc<Mutex<Vec<u8>>>);

    impl io::Write for LogBuffer {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn no_value_of_any_field_forges_a_line_or_colours_a_terminal() {
        let hostile = "x\n2026-01-01T00:00:00Z  INFO signed in app=admin \u{1b}[31m\u{202e}\u{2028}\u{9b}0m\r\u{7f}";
        let error = io::Error::other(hostile);
        for ansi in [false, true] {
            let buffer = LogBuffer::default();
            let written = buffer.clone();
            let lines = fmt::layer().fmt_fields(EscapedFields).with_ansi(ansi).with_writer(move || written.clone());
            tracing::subscriber::with_default(tracing_subscriber::registry().with(lines), || {
                tracing::info!(host = hostile, "refused");
                tracing::info!(subject = %hostile, "refused");
                tracing::info!(groups = ?[hostile], "refused");
                tracing::info!(%error, "refused");
                tracing::info!(error = &error as &dyn std::error::Error, "refused");
                tracing::info!(user = Some(hostile), path = Some(String::from(hostile)), "refused");
                tracing::info!("{hostile}");
            });
            let text = String::from_utf8(buffer.0.lock().unwrap().clone()).unwrap();
            assert_eq!(text.lines().count(), 7, "{text}");
            for line in text.lines() {
                assert!(!line.contains("\u{1b}[31m"), "{line:?}");
                let rest = if ansi { line.replace('\u{1b}', "") } else { line.to_owned() };
                assert!(!rest.contains(printable::is_active), "{rest:?}");
                assert!(line.contains("\\u{202e}") && line.contains("\\n2026-01-01"), "{line}");
            }
            assert!(text.contains("host=\"x\\n2026"), "{text}");
        }
    }

    #[test]
    fn a_plain_line_is_written_without_quotes_and_escapes() {
        let buffer = LogBuffer::default();
        let written = buffer.clone();
        let lines = fmt::layer().fmt_fields(EscapedFields).with_ansi(false).without_time().with_target(false);
        let lines = lines.with_writer(move || written.clone());
        tracing::subscriber::with_default(tracing_subscriber::registry().with(lines), || {
            tracing::info!(app = "grafana", count = 7_u64, none = None::<&str>, needs = "groups = [\"a\"]", "refused");
        });
        let text = String::from_utf8(buffer.0.lock().unwrap().clone()).unwrap();
        assert_eq!(text, " INFO refused app=grafana count=7 needs=\"groups = [\\\"a\\\"]\"\n");
    }

    #[test]
    fn other_crates_log_warnings_at_most() {
        for (level, ours, others) in [
            (LevelFilter::ERROR, Level::ERROR, Level::ERROR),
            (LevelFilter::WARN, Level::WARN, Level::WARN),
            (LevelFilter::INFO, Level::INFO, Level::WARN),
            (LevelFilter::TRACE, Level::TRACE, Level::WARN),
        ] {
            let targets = targets(level);
            for asked in [Level::ERROR, Level::WARN, Level::INFO, Level::DEBUG, Level::TRACE] {
                assert_eq!(targets.would_enable(module_path!(), &asked), asked <= ours, "{level}: ours at {asked}");
                for other in ["h2::codec::framed_read", "hyper_util::client", "rustls::conn", "log"] {
                    assert_eq!(targets.would_enable(other, &asked), asked <= others, "{level}: {other} at {asked}");
                }
            }
        }
    }
}
