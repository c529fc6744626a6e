//! CPU affinity: all servers share one core and the generator has another, so that they interfere no more than over a network
//! and no server has an advantage.

use std::{fs, panic, process::Command, thread};

/// The core of the servers.
pub(crate) const SERVERS: usize = 0;
/// The core of the generator.
pub(crate) const GENERATOR: usize = 1;

/// Returns the kernel's id of the current thread.
pub(crate) fn this_thread() -> u32 {
    let link = fs::read_link("/proc/thread-self").expect("the kernel names threads");
    let number = link.file_name().and_then(|name| name.to_str()).and_then(|name| name.parse().ok());
    number.expect("a thread has a number")
}

/// Runs work on a new thread that is pinned to a core. The caller's thread is not pinned, because threads that it starts later
/// would inherit that.
pub(crate) fn run_on<T: Send>(core: usize, work: impl FnOnce() -> T + Send) -> T {
    let pinned = || {
        keep(this_thread(), core);
        work()
    };
    thread::scope(|scope| scope.spawn(pinned).join()).unwrap_or_else(|fault| panic::resume_unwind(fault))
}

/// Pins a thread, or a process with one thread, to a core if there are several.
pub(crate) fn keep(thread: u32, core: usize) {
    if thread::available_parallelism().is_ok_and(|cores| cores.get() > 1) {
        let kept =
            Command::new("taskset").args(["--cpu-list", "--pid", &core.to_string(), &thread.to_string()]).output();
        assert!(kept.is_ok_and(|kept| kept.status.success()), "taskset is part of every Debian");
    }
}

/// Raises the priority of the current thread and those that it starts from now on, if permitted: a generator stands for a
/// machine of its own.
pub(crate) fn raise_priority() {
    set_nice(-10);
}

/// Resets the priority of the current thread.
pub(crate) fn reset_priority() {
    set_nice(0);
}

fn set_nice(nice: i8) {
    let (nice, thread) = (nice.to_string(), this_thread().to_string());
    let _as_before = Command::new("renice").args(["--priority", &nice, "--pid", &thread]).output();
}
