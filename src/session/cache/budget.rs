//! The memory budget of the session cache: a share of what this process may have.
//!
//! Promises: a container with little memory is not killed for caching too much; a large machine is used.

use std::fs;

/// Divisor of the available memory.
const SHARE: u64 = 4;
/// Available memory where neither the control group nor the kernel tells.
const DEFAULT_AVAILABLE: u64 = 4 << 30;
/// Lower bound, some ten thousand sessions: with less, nearly every request would ask the store.
const MIN_BUDGET: u64 = 32 << 20;

/// Files with the memory limit of the control group, version 2 and version 1.
const CGROUP_LIMITS: [&str; 2] = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"];

/// Bytes that the session cache may take.
pub(in crate::session) fn for_sessions() -> u64 {
    let read = |path| fs::read_to_string(path).ok();
    let limits = CGROUP_LIMITS.into_iter().filter_map(read).filter_map(|text| limit(&text));
    share(limits.chain(read("/proc/meminfo").and_then(|text| total(&text))).min())
}

fn share(available: Option<u64>) -> u64 {
    (available.unwrap_or(DEFAULT_AVAILABLE) / SHARE).max(MIN_BUDGET)
}

/// A number of bytes; `None` for `max`, no limit.
fn limit(text: &str) -> Option<u64> {
    text.trim().parse().ok()
}

/// `MemTotal` of `/proc/meminfo`, in bytes. proc(5): its `kB` are kibibytes.
fn total(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_may_take_a_quarter_of_the_available_memory() {
        assert_eq!(limit("536870912\n"), Some(512 << 20));
        assert_eq!(limit("max\n"), None);
        assert_eq!(total("MemFree: 1 kB\nMemTotal:       16318480 kB\nSwapTotal: 0 kB\n"), Some(16_318_480 * 1024));
        assert_eq!(total("MemTotal: much\n"), None);
        assert_eq!(share(Some(512 << 20)), 128 << 20);
        assert_eq!(share(Some(1 << 20)), MIN_BUDGET);
        assert_eq!(share(None), 1 << 30);
    }

    #[test]
    fn this_machine_tells_its_memory() {
        assert!(total(&fs::read_to_string("/proc/meminfo").unwrap()).unwrap() > MIN_BUDGET);
        assert!(for_sessions() >= MIN_BUDGET);
    }
}
