//! Which core works for whom: all servers share one and the generator has another, so that they wait for each other no more
//! than over a network, and none of them has a better place.

use std::{fs, panic, process::Command, thread};

/// The core of the servers.
pub(crate) const SERVERS: usize = 0;
/// The core of the generator.
pub(crate) const GENERATOR: usize = 1;

/// The kernel's number of the thread that asks.
pub(crate) fn this_thread() -> u32 {
    let link = fs::read_link("/proc/thread-self").expect("the kernel names threads");
    let number = link.file_name().and_then(|name| name.to_str()).and_then(|name| name.parse().ok());
    number.expect("a thread has a number")
}

/// Does a piece of work on a thread of its own that stays on a core. Not on the caller's: what it starts later would stay
/// there as well.
pub(crate) fn run_on<T: Send>(core: usize, work: impl FnOnce() -> T + Send) -> T {
    let pinned = || {
        keep(this_thread(), core);
        work()
    };
    thread::scope(|scope| scope.spawn(pinned).join()).unwrap_or_else(|fault| panic::resume_unwind(fault))
}

/// Keeps a thread or a process of one thread on a core, where there are several.
pub(crate) fn keep(thread: u32, core: usize) {
    if thread::available_parallelism().is_ok_and(|cores| cores.get() > 1) {
        let kept =
            Command::new("taskset").args(["--cpu-list", "--pid", &core.to_string(), &thread.to_string()]).output();
        assert!(kept.is_ok_and(|kept| kept.status.success()), "taskset is part of every Debian");
    }
}

/// Lets the thread that asks, and those that it starts from now on, go before others, where whoever runs this may do that: a
/// generator stands for a machine of its own.
pub(crate) fn hurry() {
    give_way(-10);
}

/// Lets the thread that asks go like all others again.
pub(crate) fn stroll() {
    give_way(0);
}

fn give_way(nice: i8) {
    let (nice, thread) = (nice.to_string(), this_thread().to_string());
    let _as_before = Command::new("renice").args(["--priority", &nice, "--pid", &thread]).output();
}
