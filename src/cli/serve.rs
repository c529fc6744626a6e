//! `doorward serve`: load, build, run until told to stop.

use std::{future::Future, path::Path, process::ExitCode};

use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};

use super::{logging, printable::escaped_but_for_lines};
use crate::{
    app::{BoundApp, ReloadSources},
    config::{self, Watch},
    shutdown,
};

/// Runs the gate.
pub(super) fn run(file: Option<&Path>) -> ExitCode {
    let (watch, config) = Watch::begin(file);
    let config = match config {
        Ok(config) => config,
        Err(complaints) => {
            // As `check` prints it: each line can be jumped to. How to log is not known yet.
            eprint!("{}", escaped_but_for_lines(&config::report_text(&Err(complaints))));
            return ExitCode::FAILURE;
        }
    };
    let level = match logging::start(&config.log) {
        Ok(level) => level,
        Err(error) => return report(Err(error)),
    };
    let result = block_on(async {
        // First of all: unheard, it would end the process.
        let hangup = signal(SignalKind::hangup()).context("cannot listen for SIGHUP")?;
        let sources = ReloadSources { watch, hangup, set_log_level: Box::new(move |to| level.set(to)) };
        let app = BoundApp::build(config).await?.with_reload(sources);
        let stop = shutdown::Signal::default();
        on_signal(stop.clone())?;
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
            eprintln!("doorward: {}", escaped_but_for_lines(&format!("{error:#}")));
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

/// Raises `stop` on the first SIGTERM or SIGINT; the second ends the process at once.
pub(super) fn on_signal(stop: shutdown::Signal) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    shutdown::Tasks::new(stop.clone()).spawn(async move {
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
