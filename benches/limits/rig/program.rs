//! A program that runs beside a bench and ends with it.

use std::{
    ffi::OsStr,
    fs,
    path::Path,
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

/// How long a program may take to be ready on a machine that is busy with other things.
const PATIENCE: Duration = Duration::from_mins(1);
/// How often to look: what starts in milliseconds is timed with it.
const STEP: Duration = Duration::from_millis(1);

/// A running program.
pub(crate) struct Program {
    child: Child,
}

impl Program {
    /// Starts it. Its outputs go to `log`.
    pub(crate) fn start(command: &mut Command, log: &Path) -> Self {
        let out = fs::File::options().create(true).append(true).open(log).expect("a log can be written");
        let both = out.try_clone().expect("a file can be shared");
        let child = command.stdin(Stdio::null()).stdout(both).stderr(out).spawn();
        let name = command.get_program().display().to_string();
        Self { child: child.unwrap_or_else(|error| panic!("{name}: {error}: make setup")) }
    }

    /// Waits until `ready` says so, and says how long it took.
    pub(crate) fn until(&mut self, log: &Path, ready: impl Fn() -> bool) -> Duration {
        let begun = Instant::now();
        while !ready() {
            let gone = self.child.try_wait().expect("a child can be asked for");
            let said = || fs::read_to_string(log).unwrap_or_default();
            assert!(gone.is_none(), "it ended: {}", said());
            assert!(begun.elapsed() < PATIENCE, "it is not getting ready: {}", said());
            sleep(STEP);
        }
        begun.elapsed()
    }

    /// The kernel's number of it.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Asked politely, because a master that is killed leaves its workers behind.
        let asked = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status();
        let _gone = asked.and_then(|_| self.child.wait());
    }
}

/// A program that is ended when the thread that starts it ends, however that ends: a bench that is interrupted leaves nothing
/// behind. The wrapper becomes the program.
pub(crate) fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("/usr/bin/setpriv");
    command.args(["--pdeathsig", "TERM", "--"]).arg(program);
    command
}

/// One that `make setup` brings.
pub(crate) fn tool(name: &str) -> Command {
    command(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/neighbours/.tools/bin").join(name))
}
