//! Processes that run beside a bench and end with it.

use std::{
    ffi::OsStr,
    fs,
    path::Path,
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

/// Bound of waiting for a program to be ready on a busy machine.
const TIMEOUT: Duration = Duration::from_mins(1);
/// Interval between two polls: start-up times of milliseconds are measured with it.
const POLL_INTERVAL: Duration = Duration::from_millis(1);

/// A running program.
pub(crate) struct Program {
    child: Child,
}

impl Program {
    /// Starts it with its outputs in `log`.
    pub(crate) fn start(command: &mut Command, log: &Path) -> Self {
        let out = fs::File::options().create(true).append(true).open(log).expect("a log can be written");
        let both = out.try_clone().expect("a file can be shared");
        let child = command.stdin(Stdio::null()).stdout(both).stderr(out).spawn();
        let name = command.get_program().display().to_string();
        Self { child: child.unwrap_or_else(|error| panic!("{name}: {error}: make setup")) }
    }

    /// Polls until `ready`, and returns the time it took.
    pub(crate) fn until(&mut self, log: &Path, ready: impl Fn() -> bool) -> Duration {
        let begun = Instant::now();
        while !ready() {
            let gone = self.child.try_wait().expect("a child can be asked for");
            let said = || fs::read_to_string(log).unwrap_or_default();
            assert!(gone.is_none(), "it ended: {}", said());
            assert!(begun.elapsed() < TIMEOUT, "it is not getting ready: {}", said());
            sleep(POLL_INTERVAL);
        }
        begun.elapsed()
    }

    /// Returns the process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // SIGTERM, because a master that is killed leaves its workers behind.
        let asked = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status();
        let _gone = asked.and_then(|_| self.child.wait());
    }
}

/// Returns a command that is killed when the thread that starts it ends, so that an interrupted bench leaves nothing behind.
/// The wrapper replaces itself by the program.
pub(crate) fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("/usr/bin/setpriv");
    command.args(["--pdeathsig", "TERM", "--"]).arg(program);
    command
}

/// Returns a command that `make setup` installs.
pub(crate) fn tool(name: &str) -> Command {
    command(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/neighbours/.tools/bin").join(name))
}
