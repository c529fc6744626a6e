//! CPU time and memory of threads and processes, from the kernel.

use std::{fs, path::PathBuf, time::Duration};

/// A thread or process whose CPU time is counted.
#[derive(Clone, Debug)]
pub(crate) enum Account {
    /// One thread of this process.
    Thread(u32),
    /// A process with all its threads, and its children.
    Process(u32),
}

impl Account {
    /// Returns the CPU time so far.
    pub(crate) fn busy(&self) -> Duration {
        match self {
            Self::Thread(thread) => on_a_core(PathBuf::from(format!("/proc/self/task/{thread}/schedstat"))),
            Self::Process(pid) => family(*pid).into_iter().flat_map(threads).map(on_a_core).sum(),
        }
    }

    /// Returns the CPU time since it was `before`.
    pub(crate) fn since(&self, before: Duration) -> Duration {
        self.busy().saturating_sub(before)
    }
}

/// Returns the resident memory of a process in bytes.
pub(crate) fn resident(pid: u32) -> f64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the process runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a process has memory");
    let kilobytes: f64 = line.trim().trim_end_matches(" kB").parse().expect("a number of kilobytes");
    kilobytes * 1024.0
}

/// Returns the anonymous memory of a process in bytes: the allocator's, in use or not, and stacks.
pub(crate) fn anonymous(pid: u32) -> f64 {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).expect("the process runs");
    let line = rollup.lines().find_map(|line| line.strip_prefix("Anonymous:")).expect("a process has memory");
    let kilobytes: f64 = line.trim().trim_end_matches(" kB").parse().expect("a number of kilobytes");
    kilobytes * 1024.0
}

/// Returns the children of a process with one thread.
pub(crate) fn children(pid: u32) -> Vec<u32> {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    children.split_whitespace().filter_map(|child| child.parse().ok()).collect()
}

/// Returns a process and all its descendants.
fn family(pid: u32) -> Vec<u32> {
    let mut found = vec![pid];
    let mut next = 0;
    while let Some(parent) = found.get(next) {
        found.extend(children(*parent));
        next += 1;
    }
    found
}

fn threads(pid: u32) -> Vec<PathBuf> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    tasks.map(|task| task.path().join("schedstat")).collect()
}

/// Returns the CPU time of a task, or zero if it has ended meanwhile.
fn on_a_core(schedstat: PathBuf) -> Duration {
    let account = fs::read_to_string(schedstat).unwrap_or_default();
    let spent = account.split_whitespace().next().and_then(|word| word.parse().ok());
    Duration::from_nanos(spent.unwrap_or_default())
}
