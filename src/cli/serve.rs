//! `doorward serve`: load, build, run until told to stop.

use std::{
    future::Future,
    io::{self, IsTerminal as _},
    path::Path,
    process::ExitCode,
};

use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::{
    Layer as _,
    filter::{LevelFilter, Targets},
    fmt,
    layer::SubscriberExt as _,
    util::SubscriberInitExt as _,
};

use crate::{
    app::App,
    config::{self, Log, LogFormat},
    shutdown,
};

/// The crate whose lines are ours to choose.
const OURS: &str = "doorward";

/// Runs the gate.
pub(super) fn run(file: Option<&Path>) -> ExitCode {
    let config = match config::load(file) {
        Ok(config) => config,
        Err(complaints) => {
            // As `check` prints it: each line can be jumped to. How to log is not known yet.
            eprint!("{}", config::report_text(&Err(complaints)));
            return ExitCode::FAILURE;
        }
    };
    if let Err(error) = start_logging(&config.log) {
        return report(Err(error));
    }
    let result = block_on(async {
        let app = App::build(config).await?;
        let stop = shutdown::Signal::default();
        on_signal(stop.clone())?;
        on_hangup(stop.clone())?;
        app.run(stop).await
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever reads the log may read nothing but the log.
        Err(error) => {
            tracing::error!(error = format!("{error:#}"), "stopped");
            ExitCode::FAILURE
        }
    }
}

/// Says to people why the program had to stop, and which exit status that is.
pub(super) fn report(result: anyhow::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("doorward: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Runs something on a new runtime.
pub(super) fn block_on<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start the runtime")?;
    runtime.block_on(work)
}

/// Sends log lines to standard error; with colours where somebody looks at it. A defect's last words are a line as well.
pub(super) fn start_logging(log: &Log) -> anyhow::Result<()> {
    let lines = fmt::layer().with_writer(io::stderr).with_target(false);
    let lines = match log.format {
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
        LogFormat::Text if io::stderr().is_terminal() => lines.boxed(),
        LogFormat::Text => lines.with_ansi(false).boxed(),
    };
    let level = log.level.parse().context("log.level")?;
    tracing_subscriber::registry().with(lines).with(wanted(level)).try_init().context("cannot start logging")?;
    std::panic::set_hook(Box::new(|panic| tracing::error!(%panic, "a defect in doorward; please report it")));
    Ok(())
}

/// Which lines are written: ours from `level` on. Other crates' never below a warning: they tell of frames and headers,
/// with cookies and tokens in them.
fn wanted(level: LevelFilter) -> Targets {
    Targets::new().with_default(level.min(LevelFilter::WARN)).with_target(OURS, level)
}

/// Raises `stop` on the first SIGTERM or SIGINT; the second ends the process at once.
pub(super) fn on_signal(stop: shutdown::Signal) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    shutdown::Tasks::new(stop.clone()).run(async move {
        for first in [true, false] {
            tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
            if first {
                tracing::info!("stopping; a second signal stops at once");
                stop.raise();
            }
        }
        tracing::warn!("stopped at once by a second signal");
        std::process::exit(1);
    });
    Ok(())
}

/// Says on each SIGHUP what it does not do. Unheard, it would end the process without draining, and there are people and
/// programs that send it to have a configuration read again.
fn on_hangup(stop: shutdown::Signal) -> anyhow::Result<()> {
    let mut hangup = signal(SignalKind::hangup()).context("cannot listen for SIGHUP")?;
    shutdown::Tasks::new(stop).run(async move {
        while hangup.recv().await.is_some() {
            tracing::warn!("SIGHUP changes nothing: the configuration is read at the start; restart to apply a change");
        }
    });
    Ok(())
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
