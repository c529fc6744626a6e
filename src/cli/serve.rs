//! `doorward serve`: loads the configuration, builds the gate and runs it until a signal stops it.

use std::{future::Future, path::Path, process::ExitCode, time::Duration};

use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};

use super::{logging, printable::escaped_except_newlines};
use crate::{
    app::{BoundApp, ReloadSources},
    config::{self, ConfigWatcher},
    shutdown,
};

/// Time after which a thread for blocking work (the SQLite store, files) ends where it has nothing to do. Short, because the
/// allocator returns the memory of an idle thread only when it ends, and the work of every half a second wakes a different one of
/// them each time: in tokio's ten seconds none would ever be idle for long enough.
const BLOCKING_KEEP_ALIVE: Duration = Duration::from_secs(1);

/// Runs the gate.
pub(super) fn run(file: Option<&Path>) -> ExitCode {
    let (watcher, config) = ConfigWatcher::start(file);
    let config = match config {
        Ok(config) => config,
        Err(diagnostics) => {
            // As `check` prints it, with places that editors can jump to. The log is not configured yet.
            eprint!("{}", escaped_except_newlines(&config::report_text(&Err(diagnostics))));
            return ExitCode::FAILURE;
        }
    };
    let level = match logging::start(&config.log) {
        Ok(level) => level,
        Err(error) => return report(Err(error)),
    };
    let result = block_on(async {
        // First: without a handler SIGHUP would end the process.
        let hangup = signal(SignalKind::hangup()).context("cannot listen for SIGHUP")?;
        let changes = ReloadSources { watch: watcher, hangup, set_log_level: Box::new(move |to| level.set(to)) };
        let app = BoundApp::build(config).await?.with_reload(changes);
        let stop = shutdown::Signal::default();
        on_signal(stop.clone())?;
        app.run(stop).await
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        // Also in the log: operators may read nothing else.
        Err(error) => {
            tracing::error!(error = format!("{error:#}"), "stopped");
            ExitCode::FAILURE
        }
    }
}

/// Prints the error of a command, and returns the exit status.
pub(super) fn report(result: anyhow::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("doorward: {}", escaped_except_newlines(&format!("{error:#}")));
            ExitCode::FAILURE
        }
    }
}

/// Runs a future on a new runtime.
pub(super) fn block_on<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().thread_keep_alive(BLOCKING_KEEP_ALIVE).enable_all().build();
    let runtime = runtime.context("cannot start the runtime")?;
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
