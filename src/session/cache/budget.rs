//! How much memory sessions may take: a share of what this process may have.
//!
//! A container with little memory must not be killed for remembering too much, and a large machine is there to be used.

use std::fs;

/// One part in so many is for sessions.
const SHARE: u64 = 4;
/// Where nobody says how much there is.
const USUAL: u64 = 4 << 30;
/// Some ten thousand sessions: with less, nearly every request would ask the store.
const LEAST: u64 = 32 << 20;

/// The limit of the control group, in its second version and in its first.
const LIMITS: [&str; 2] = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"];

/// Bytes that sessions may take.
pub(in crate::session) fn for_sessions() -> u64 {
    let read = |path| fs::read_to_string(path).ok();
    let limits = LIMITS.into_iter().filter_map(read).filter_map(|text| limit(&text));
    share(limits.chain(read("/proc/meminfo").and_then(|text| total(&text))).min())
}

fn share(available: Option<u64>) -> u64 {
    (available.unwrap_or(USUAL) / SHARE).max(LEAST)
}

/// A number of bytes; `max` stands for none.
fn limit(text: &str) -> Option<u64> {
    text.trim().parse().ok()
}

/// `MemTotal` of `/proc/meminfo`, proc(5): in kibibytes, whatever its unit is called.
fn total(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_may_take_a_quarter_of_what_there_is() {
        assert_eq!(limit("536870912\n"), Some(512 << 20));
        assert_eq!(limit("max\n"), None);
        assert_eq!(total("MemFree: 1 kB\nMemTotal:       16318480 kB\nSwapTotal: 0 kB\n"), Some(16_318_480 * 1024));
        assert_eq!(total("MemTotal: much\n"), None);
        assert_eq!(share(Some(512 << 20)), 128 << 20);
        assert_eq!(share(Some(1 << 20)), LEAST);
        assert_eq!(share(None), 1 << 30);
    }

    #[test]
    fn this_machine_says_how_much_it_has() {
        assert!(total(&fs::read_to_string("/proc/meminfo").unwrap()).unwrap() > LEAST);
        assert!(for_sessions() >= LEAST);
    }
}
