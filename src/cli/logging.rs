//! The log: lines on standard error, and the level that decides which.

use std::io::{self, IsTerminal as _};

use anyhow::Context as _;
use tracing_subscriber::{
    Layer as _, Registry,
    filter::{LevelFilter, Targets},
    fmt,
    layer::SubscriberExt as _,
    reload,
    util::SubscriberInitExt as _,
};

use crate::config::{Log, LogFormat};

/// The crate whose lines are ours to choose.
const OURS: &str = "doorward";

/// Changes the level while lines are written.
pub(super) struct Level(reload::Handle<Targets, Registry>);

impl Level {
    /// Writes lines from this level on.
    pub(super) fn set(&self, level: &str) {
        let Ok(level) = level.parse() else { return };
        if let Err(error) = self.0.reload(wanted(level)) {
            tracing::error!(%error, "log.level could not be changed");
        }
    }
}

/// Sends log lines to standard error; with colours where somebody looks at it. A defect's last words are a line as well.
pub(super) fn start(log: &Log) -> anyhow::Result<Level> {
    let (filter, handle) = reload::Layer::new(wanted(log.level.parse().context("log.level")?));
    let lines = fmt::layer().with_writer(io::stderr).with_target(false);
    let lines = match log.format {
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
        LogFormat::Text if io::stderr().is_terminal() => lines.boxed(),
        LogFormat::Text => lines.with_ansi(false).boxed(),
    };
    tracing_subscriber::registry().with(filter).with(lines).try_init().context("cannot start logging")?;
    std::panic::set_hook(Box::new(|panic| tracing::error!(%panic, "a defect in doorward; please report it")));
    Ok(Level(handle))
}

/// Which lines are written: ours from `level` on. Other crates' never below a warning: they tell of frames and headers,
/// with cookies and tokens in them.
fn wanted(level: LevelFilter) -> Targets {
    Targets::new().with_default(level.min(LevelFilter::WARN)).with_target(OURS, level)
}

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::*;

    #[test]
    fn other_crates_never_say_more_than_warnings() {
        for (level, ours, others) in [
            (LevelFilter::ERROR, Level::ERROR, Level::ERROR),
            (LevelFilter::WARN, Level::WARN, Level::WARN),
            (LevelFilter::INFO, Level::INFO, Level::WARN),
            (LevelFilter::TRACE, Level::TRACE, Level::WARN),
        ] {
            let wanted = wanted(level);
            for asked in [Level::ERROR, Level::WARN, Level::INFO, Level::DEBUG, Level::TRACE] {
                assert_eq!(wanted.would_enable(module_path!(), &asked), asked <= ours, "{level}: ours at {asked}");
                for other in ["h2::codec::framed_read", "hyper_util::client", "rustls::conn", "log"] {
                    assert_eq!(wanted.would_enable(other, &asked), asked <= others, "{level}: {other} at {asked}");
                }
            }
        }
    }
}
