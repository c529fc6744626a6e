//! The real `doorward` as a process.

use std::{
    env, fs,
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    thread::sleep,
    time::{Duration, Instant},
};

use tempfile::TempDir;

use super::{
    account::{self, Account},
    contestant::{AnswerSubject, Contestant, Endpoint},
    cores,
    line::Wire,
    nginx, people,
    program::{self, Program},
};
use crate::support::{configuration::Configuration, gate::tokens};

/// Bound of waiting for the gate's background work.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Interval between two polls.
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// A running gate.
pub(crate) struct Daemon {
    program: Program,
    port: u16,
    management: u16,
    took: Duration,
    folder: TempDir,
}

/// CPU affinity of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// The servers' core.
    OneCore,
    /// The whole machine.
    Anywhere,
}

impl Daemon {
    /// Starts it with this configuration, on ports of its own, and waits until it is ready.
    pub(crate) fn start(configuration: Configuration, place: Place) -> Self {
        let folder = tempfile::tempdir().expect("a folder for a gate");
        let (port, management) = (nginx::free_address().port(), nginx::free_address().port());
        let (file, log) = (folder.path().join("doorward.toml"), folder.path().join("log"));
        let text = Configuration { port, management, ..configuration }.text();
        fs::write(&file, text).expect("the folder takes a file");
        let mut command = command(place);
        // The environment may have variables of the gate. Those of the allocator are for experiments.
        let allocator = env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("MIMALLOC_"));
        command.env_clear().envs(allocator).current_dir(folder.path()).arg("serve").arg("--config").arg(&file);
        let mut program = Program::start(&mut command, &log);
        let took = program.until(&log, || get(management, "/-/health/ready").is_some());
        Self { program, port, management, took, folder }
    }

    /// Signs people in at a store in `folder` and starts a gate with it. Also returns their cookies.
    pub(crate) fn with_people(
        folder: &Path,
        name: &str,
        people: usize,
        server: String,
        place: Place,
    ) -> (Self, Arc<Vec<String>>) {
        let store = format!("sqlite:{}", folder.join(name).display());
        let cookies = people::signed_in(&store, people, &tokens());
        (Self::start(Configuration { server, ..Configuration::of(&store) }, place), cookies)
    }

    /// Writes another configuration with the same ports, and reloads it at once.
    pub(crate) fn configure(&self, configuration: Configuration) {
        let text = Configuration { port: self.port, management: self.management, ..configuration }.text();
        fs::write(self.folder.path().join("doorward.toml"), text).expect("the folder takes a file");
        let told = Command::new("kill").args(["-HUP", &self.program.pid().to_string()]).status();
        assert!(told.is_ok_and(|told| told.success()), "the gate takes signals");
    }

    /// Waits until a sum of metrics, as [`Daemon::metric`] makes it, is at least this.
    pub(crate) fn until(&self, begins: &str, least: f64) {
        let begun = Instant::now();
        while self.metric(begins) < least {
            assert!(begun.elapsed() < TIMEOUT, "{begins} does not come to {least}");
            sleep(POLL_INTERVAL);
        }
    }

    /// Address for subrequests.
    pub(crate) fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// Returns the time from the start until it was ready.
    pub(crate) fn took(&self) -> Duration {
        self.took
    }

    /// Returns its resident memory in bytes.
    pub(crate) fn resident(&self) -> f64 {
        account::resident(self.program.pid())
    }

    /// Returns its anonymous memory in bytes: allocator and stacks.
    pub(crate) fn anonymous(&self) -> f64 {
        account::anonymous(self.program.pid())
    }

    /// Returns the account of its CPU time.
    pub(crate) fn account(&self) -> Account {
        Account::Process(self.program.pid())
    }

    /// Returns the sum of all metrics whose name and labels begin with `begins`.
    pub(crate) fn metric(&self, begins: &str) -> f64 {
        let page = self.metrics();
        let values = page.lines().filter(|line| line.starts_with(begins)).filter_map(|line| line.rsplit_once(' '));
        values.filter_map(|(_, value)| value.parse::<f64>().ok()).sum()
    }

    /// Returns all metrics in the format of Prometheus.
    pub(crate) fn metrics(&self) -> String {
        get(self.management, "/metrics").expect("the gate shows its metrics")
    }

    /// Returns it as a contestant with these people's sessions.
    pub(crate) fn contestant(&self, name: &str, wire: Wire, cookies: &Arc<Vec<String>>) -> Contestant {
        Contestant {
            name: name.to_owned(),
            address: self.address(),
            wire,
            asked: Endpoint::Gate,
            about: AnswerSubject::Requester,
            cookies: Arc::clone(cookies),
            accounts: vec![self.account()],
            _keep: Box::new(()),
        }
    }
}

fn command(place: Place) -> Command {
    let own = PathBuf::from(env!("CARGO_BIN_EXE_doorward"));
    match place {
        Place::Anywhere => program::command(own),
        Place::OneCore => {
            // `taskset` replaces itself by the program, too.
            let mut command = program::command("/usr/bin/taskset");
            command.args(["--cpu-list", &cores::SERVERS.to_string()]).arg(own);
            command
        }
    }
}

/// Returns a page of the management port if its status is 200.
fn get(port: u16, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok()?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    text.starts_with("HTTP/1.1 200").then_some(text)
}
