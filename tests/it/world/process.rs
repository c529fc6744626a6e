//! Programs that run beside a test and end with it, each with a log of its own.

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

/// A running program. Dropping it ends it; a test that fails prints the end of its log.
pub(crate) struct Process {
    name: &'static str,
    child: Child,
    log: PathBuf,
}

/// What a program is told.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Signal {
    /// Politely.
    Term,
    /// As by a terminal that is closed.
    HangUp,
    /// At once, without a last word.
    Kill,
}

impl Process {
    /// Starts `command`; both its outputs go to `dir/name.log`, behind what is there already.
    pub(crate) fn start(name: &'static str, command: &mut Command, dir: &Path) -> Self {
        let log = dir.join(format!("{name}.log"));
        let out = File::options().create(true).append(true).open(&log).unwrap();
        let child =
            command.stdin(Stdio::null()).stdout(out.try_clone().unwrap()).stderr(out).spawn().unwrap_or_else(|error| {
                panic!("{name} ({}): {error}: run `make setup`", command.get_program().display())
            });
        Self { name, child, log }
    }

    /// Sends a signal to this process and to no other.
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

    /// How large a file may become that it writes, in bytes; `None` for whatever it was.
    pub(crate) fn limit_files(&self, most: Option<u64>) {
        let (pid, most) = (self.child.id().to_string(), most.map_or("unlimited".to_owned(), |most| most.to_string()));
        let status = system("prlimit").args(["--pid", &pid, &format!("--fsize={most}:unlimited")]).status().unwrap();
        assert!(status.success(), "prlimit {most}: {status}");
    }

    /// Waits for the end.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        let patience = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < patience, "{} does not end:\n{}", self.name, self.log());
            tokio::time::sleep(STEP).await;
        }
    }

    /// Waits until `ready` says so. Fails with the log when the program ends before.
    pub(crate) async fn until<F: Future<Output = bool>>(&mut self, mut ready: impl FnMut() -> F) {
        let patience = Instant::now() + PATIENCE;
        while !ready().await {
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("{} ended with {status}:\n{}", self.name, self.log());
            }
            assert!(Instant::now() < patience, "{} is not getting ready:\n{}", self.name, self.log());
            tokio::time::sleep(STEP).await;
        }
    }

    /// Everything that the program has said.
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
            eprintln!("--- {} said last:", self.name);
            tail.into_iter().rev().for_each(|line| eprintln!("{line}"));
        }
    }
}

/// How long a neighbour may take on a machine that is busy with other things. Not an expectation: a way out.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);
/// How often to look again.
pub(crate) const STEP: Duration = Duration::from_millis(20);
const LINES: usize = 40;

/// A program that `make setup` installs.
pub(crate) fn tool(name: &str) -> Command {
    let path = neighbours().join(".tools/bin").join(name);
    assert!(path.exists(), "{name} is not installed: run `make setup`");
    Command::new(path)
}

/// A program of the system, wherever a bare `PATH` has it.
pub(crate) fn system(name: &str) -> Command {
    ["/usr/bin", "/usr/sbin", "/usr/local/bin"]
        .map(|dir| Path::new(dir).join(name))
        .into_iter()
        .find(|path| path.exists())
        .map_or_else(|| panic!("{name} is not installed: run `make setup`"), Command::new)
}

/// Where the neighbours' own files are.
pub(crate) fn neighbours() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/neighbours")
}
