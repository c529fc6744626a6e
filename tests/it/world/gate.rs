//! The real `doorward`, as a process.

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
    /// Where edges ask.
    pub(crate) port: u16,
    /// Where metrics and health are.
    pub(crate) management: u16,
    config: PathBuf,
    dir: PathBuf,
    process: Option<Process>,
}

impl Gate {
    /// A gate with ports of its own; not yet configured.
    pub(crate) fn new(dir: &Path) -> Self {
        let (port, management) = (ports::free(), ports::free());
        Self { port, management, config: dir.join(format!("doorward-{port}.toml")), dir: dir.to_owned(), process: None }
    }

    /// Writes the configuration; a running gate takes notice by itself.
    pub(crate) fn configure(&self, text: &str) {
        std::fs::write(&self.config, text).unwrap();
    }

    /// Where the configuration is.
    pub(crate) fn path(&self) -> &Path {
        &self.config
    }

    /// The number of one series, such as `name{label="value"}`; `None` where it is not shown.
    pub(crate) async fn number(&self, series: &str) -> Option<u64> {
        let metrics = self.metrics().await;
        let value = metrics.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        value.map(|value| value.parse().unwrap())
    }

    /// Starts the gate and waits until it says that it is ready.
    pub(crate) async fn start(&mut self) {
        let ready = self.management_url("/-/health/ready");
        self.launch().until(|| visitor::answers(&ready)).await;
    }

    /// Starts the gate and waits until it lives.
    pub(crate) async fn start_to_live(&mut self) {
        let live = self.management_url("/-/health/live");
        self.launch().until(|| visitor::answers(&live)).await;
    }

    fn launch(&mut self) -> &mut Process {
        // A file that may not grow is an error to the program then, as a full disk is, and not its end.
        let mut command = system("env");
        command.arg("--ignore-signal=XFSZ").arg(env!("CARGO_BIN_EXE_doorward"));
        // Whoever runs the tests may have variables of the gate set.
        command.env_clear().current_dir(&self.dir).arg("serve").arg("--config").arg(&self.config);
        self.process.insert(Process::start("doorward", &mut command, &self.dir))
    }

    /// What `doorward` prints when it is told to do something else with the same configuration.
    pub(crate) fn tell(&self, arguments: &[&str]) -> String {
        let mut command = Command::new(env!("CARGO_BIN_EXE_doorward"));
        let output = command.env_clear().args(arguments).arg("--config").arg(&self.config).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Asks the gate to end, without waiting.
    pub(crate) fn signal(&mut self, signal: Signal) {
        self.process.as_mut().expect("the gate runs").signal(signal);
    }

    /// Waits for the end that was asked for.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        self.process.take().expect("the gate runs").ended().await
    }

    /// Ends the gate and starts it again.
    pub(crate) async fn restart(&mut self, signal: Signal) {
        self.signal(signal);
        self.ended().await;
        self.start().await;
    }

    /// How large a file may become that the gate writes, in bytes; `None` for whatever it was.
    pub(crate) fn limit_files(&self, most: Option<u64>) {
        self.process.as_ref().expect("the gate runs").limit_files(most);
    }

    /// Everything that the gate has said since the test began.
    pub(crate) fn log(&self) -> String {
        self.process.as_ref().map_or_else(String::new, Process::log)
    }

    /// The text of `/metrics`.
    pub(crate) async fn metrics(&self) -> String {
        visitor::get(&self.management_url("/metrics")).await.expect("the gate shows its metrics").text()
    }

    /// An address on the management port.
    pub(crate) fn management_url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.management)
    }
}
