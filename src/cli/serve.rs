//! `doorward serve`: load, build, run until told to stop.

use std::{future::Future, path::Path, process::ExitCode};

use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

use crate::{
    app::App,
    config::{self, Log, LogFormat},
    shutdown,
};

/// Runs the gate.
pub(super) fn run(file: Option<&Path>) -> ExitCode {
    let config = match config::load(file) {
        Ok(config) => config,
        Err(complaints) => return report(Err(complaints.into())),
    };
    report(start_logging(&config.log).and_then(|()| {
        block_on(async {
            let app = App::build(config).await?;
            let stop = shutdown::Signal::default();
            on_signal(stop.clone())?;
            app.run(stop).await
        })
    }))
}

/// Says why the program had to stop, and which exit status that is.
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
pub(super) fn block_on(work: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start the runtime")?;
    runtime.block_on(work)
}

/// Sends log lines to standard error.
pub(super) fn start_logging(log: &Log) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(&log.level).context("log.level")?;
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false);
    let started = match log.format {
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
        LogFormat::Text => lines.try_init(),
    };
    started.map_err(|error| anyhow::anyhow!("cannot start logging: {error}"))
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
