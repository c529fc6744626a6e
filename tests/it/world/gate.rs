//! The real `doorward` as a process.

use std::{
    path::{Path, PathBuf},
    process::{Command, ExitStatus},
};

use super::{
    ports,
    process::{Process, Signal, system},
    visitor,
};

/// One replica of the gate.
pub(crate) struct Gate {
    /// Port for subrequests and own pages.
    pub(crate) port: u16,
    /// Port for metrics and health.
    pub(crate) management: u16,
    config: PathBuf,
    dir: PathBuf,
    process: Option<Process>,
}

impl Gate {
    /// A gate with ports of its own, neither configured nor started.
    pub(crate) fn new(dir: &Path) -> Self {
        let (port, management) = (ports::free(), ports::free());
        Self { port, management, config: dir.join(format!("doorward-{port}.toml")), dir: dir.to_owned(), process: None }
    }

    /// Writes the configuration; a running gate reloads it.
    pub(crate) fn configure(&self, text: &str) {
        std::fs::write(&self.config, text).unwrap();
    }

    /// Path of the configuration.
    pub(crate) fn path(&self) -> &Path {
        &self.config
    }

    /// Returns the value of a series, such as `name{label="value"}`, or `None` if it is absent.
    pub(crate) async fn metric(&self, series: &str) -> Option<u64> {
        let metrics = self.metrics().await;
        let value = metrics.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        value.map(|value| value.parse().unwrap())
    }

    /// Starts the gate and waits until it is ready.
    pub(crate) async fn start(&mut self) {
        let ready = self.management_url("/-/health/ready");
        self.launch().until(|| visitor::answers(&ready)).await;
    }

    /// Starts the gate and waits until it is live.
    pub(crate) async fn start_to_live(&mut self) {
        let live = self.management_url("/-/health/live");
        self.launch().until(|| visitor::answers(&live)).await;
    }

    fn launch(&mut self) -> &mut Process {
        // A file at its size limit is then a failed write, as on a full disk, instead of a signal that kills the process.
        let mut command = system("env");
        command.arg("--ignore-signal=XFSZ").arg(env!("CARGO_BIN_EXE_doorward"));
        // The environment of the tests may have variables of the gate.
        command.env_clear().current_dir(&self.dir).arg("serve").arg("--config").arg(&self.config);
        self.process.insert(Process::start("doorward", &mut command, &self.dir))
    }

    /// Runs another subcommand of `doorward` with the same configuration and returns its output.
    pub(crate) fn command(&self, arguments: &[&str]) -> String {
        let mut command = Command::new(env!("CARGO_BIN_EXE_doorward"));
        let output = command.env_clear().args(arguments).arg("--config").arg(&self.config).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Sends a signal without waiting.
    pub(crate) fn signal(&mut self, signal: Signal) {
        self.process.as_mut().expect("the gate runs").signal(signal);
    }

    /// Waits for the exit.
    pub(crate) async fn exited(&mut self) -> ExitStatus {
        self.process.take().expect("the gate runs").exited().await
    }

    /// Stops the gate with a signal and starts it again.
    pub(crate) async fn restart(&mut self, signal: Signal) {
        self.signal(signal);
        self.exited().await;
        self.start().await;
    }

    /// Limits the size of files that the gate writes, in bytes; `None` removes the limit.
    pub(crate) fn limit_files(&self, most: Option<u64>) {
        self.process.as_ref().expect("the gate runs").limit_files(most);
    }

    /// Returns the log since the start of the test.
    pub(crate) fn log(&self) -> String {
        self.process.as_ref().map_or_else(String::new, Process::log)
    }

    /// Returns the text of `/metrics`.
    pub(crate) async fn metrics(&self) -> String {
        visitor::get(&self.management_url("/metrics")).await.expect("the gate shows its metrics").text()
    }

    /// Returns a URL on the management port.
    pub(crate) fn management_url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.management)
    }
}
