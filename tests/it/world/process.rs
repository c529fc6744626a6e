//! Processes that run beside a test and end with it, each with a log of its own.

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

/// A running process. Dropping it kills it; a failing test prints the end of its log.
pub(crate) struct Process {
    name: &'static str,
    child: Child,
    log: PathBuf,
}

/// Signals to a process.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Signal {
    /// SIGTERM.
    Term,
    /// SIGHUP.
    HangUp,
    /// SIGKILL.
    Kill,
}

impl Process {
    /// Starts `command`; both its outputs are appended to `dir/name.log`.
    pub(crate) fn start(name: &'static str, command: &mut Command, dir: &Path) -> Self {
        let log = dir.join(format!("{name}.log"));
        let out = File::options().create(true).append(true).open(&log).unwrap();
        let child =
            command.stdin(Stdio::null()).stdout(out.try_clone().unwrap()).stderr(out).spawn().unwrap_or_else(|error| {
                panic!("{name} ({}): {error}: run `make setup`", command.get_program().display())
            });
        Self { name, child, log }
    }

    /// Sends a signal to this process only.
    pub(crate) fn signal(&mut self, signal: Signal) {
        match signal {
            Signal::Kill => self.child.kill().unwrap(),
            Signal::Term => self.send("-TERM"),
            Signal::HangUp => self.send("-HUP"),
        }
    }

    fn send(&self, signal: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success(), "kill {signal} {pid}");
    }

    /// Limits the size of files that it writes, in bytes; `None` removes the limit.
    pub(crate) fn limit_files(&self, most: Option<u64>) {
        let (pid, most) = (self.child.id().to_string(), most.map_or("unlimited".to_owned(), |most| most.to_string()));
        let status = system("prlimit").args(["--pid", &pid, &format!("--fsize={most}:unlimited")]).status().unwrap();
        assert!(status.success(), "prlimit {most}: {status}");
    }

    /// Waits for the exit.
    pub(crate) async fn exited(&mut self) -> ExitStatus {
        let deadline = Instant::now() + TIMEOUT;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < deadline, "{} does not end:\n{}", self.name, self.log());
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    /// Polls until `ready`. Fails with the log if the process exits before.
    pub(crate) async fn until<F: Future<Output = bool>>(&mut self, mut ready: impl FnMut() -> F) {
        let deadline = Instant::now() + TIMEOUT;
        while !ready().await {
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("{} ended with {status}:\n{}", self.name, self.log());
            }
            assert!(Instant::now() < deadline, "{} is not getting ready:\n{}", self.name, self.log());
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    /// Returns the log.
    pub(crate) fn log(&self) -> String {
        std::fs::read(&self.log)
            .map_or_else(|error| error.to_string(), |log| String::from_utf8_lossy(&log).into_owned())
    }

    fn stop(&mut self) -> io::Result<()> {
        self.child.kill()?;
        self.child.wait().map(drop)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.stop();
        if std::thread::panicking() {
            let log = self.log();
            let tail: Vec<_> = log.lines().rev().take(LINES).collect();
            eprintln!("--- {} ended its log with:", self.name);
            tail.into_iter().rev().for_each(|line| eprintln!("{line}"));
        }
    }
}

/// Bound of a failing test: how long a process may take on a busy machine. Not an expectation.
pub(crate) const TIMEOUT: Duration = Duration::from_mins(3);
/// Interval between two polls.
pub(crate) const POLL_INTERVAL: Duration = Duration::from_millis(20);
/// Lines of a log that a failing test prints.
const LINES: usize = 40;

/// Returns a program that `make setup` installs.
pub(crate) fn tool(name: &str) -> Command {
    let path = neighbours().join(".tools/bin").join(name);
    assert!(path.exists(), "{name} is not installed: run `make setup`");
    Command::new(path)
}

/// Returns a program of the system.
pub(crate) fn system(name: &str) -> Command {
    ["/usr/bin", "/usr/sbin", "/usr/local/bin"]
        .map(|dir| Path::new(dir).join(name))
        .into_iter()
        .find(|path| path.exists())
        .map_or_else(|| panic!("{name} is not installed: run `make setup`"), Command::new)
}

/// Returns the folder of the neighbours' files.
pub(crate) fn neighbours() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/neighbours")
}
