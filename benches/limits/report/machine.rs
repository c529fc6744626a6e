//! The machine that a report is about.

use std::{fmt, fs, process::Command, thread};

use serde::{Deserialize, Serialize};

/// Description of a machine, as a reader needs it to judge a figure.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Machine {
    processor: String,
    cores: usize,
    memory_gib: u64,
    system: String,
    kernel: String,
    rust: String,
    nginx: String,
    postgres: String,
}

impl Machine {
    /// Describes the current machine.
    pub(super) fn this() -> Self {
        let read = |file: &str| fs::read_to_string(file).unwrap_or_default();
        let line = |file: &str, name: &str| {
            let text = read(file);
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            line.unwrap_or_default().trim_matches([' ', '\t', ':', '=', '"']).to_owned()
        };
        let kilobytes = line("/proc/meminfo", "MemTotal");
        let kilobytes: u64 = kilobytes.trim_end_matches(" kB").parse().unwrap_or_default();
        Self {
            processor: line("/proc/cpuinfo", "model name"),
            cores: thread::available_parallelism().map_or(0, usize::from),
            memory_gib: kilobytes >> 20,
            system: line("/etc/os-release", "PRETTY_NAME"),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            rust: said("rustc", &["--version"]),
            nginx: said("nginx", &["-v"]).rsplit(' ').next().unwrap_or_default().to_owned(),
            postgres: said("psql", &["--version"])
                .rsplit(' ')
                .next()
                .unwrap_or_default()
                .trim_end_matches(')')
                .to_owned(),
        }
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}, {} cores, {} GiB; {}, Linux {}; {}; {}; PostgreSQL {}",
            self.processor, self.cores, self.memory_gib, self.system, self.kernel, self.rust, self.nginx, self.postgres
        )
    }
}

/// Returns the first line of a program's output or error output.
pub(super) fn said(program: &str, asked: &[&str]) -> String {
    let output = Command::new(program).args(asked).output();
    let text = output.map(|output| [output.stdout, output.stderr].concat()).unwrap_or_default();
    String::from_utf8_lossy(&text).lines().next().unwrap_or_default().to_owned()
}
