//! Interval between log lines of one kind that clients can cause.
//!
//! Promises: clients do not decide how many lines there are, and each line says how many it stands for.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use crate::clock::{AtomicTimestamp, Timestamp};

/// Interval between two lines, and what happened since the last one.
#[derive(Debug)]
pub(super) struct LogInterval {
    length: Duration,
    /// Moment from which the next line is due.
    due: AtomicTimestamp,
    suppressed: AtomicU64,
}

impl LogInterval {
    /// An interval of this length; the first line is due at once.
    pub(super) fn new(length: Duration) -> Self {
        Self { length, due: AtomicTimestamp::new(Timestamp::from_unix(0)), suppressed: AtomicU64::new(0) }
    }

    /// Returns what a line stands for, this occurrence included, where one is due; counts the occurrence where none is.
    pub(super) fn count_if_due(&self, now: Timestamp) -> Option<u64> {
        let due = self.due.get();
        if now >= due && self.due.compare_exchange(due, now.plus(self.length)) {
            return Some(self.suppressed.swap(0, Ordering::Relaxed) + 1);
        }
        self.suppressed.fetch_add(1, Ordering::Relaxed);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_one_line_an_interval_and_it_counts_the_others() {
        let (interval, start) = (LogInterval::new(Duration::from_mins(1)), Timestamp::from_unix(1_000_000));
        let at = |seconds| interval.count_if_due(start.plus(Duration::from_secs(seconds)));
        assert_eq!([at(0), at(0), at(59), at(60), at(61), at(120)], [Some(1), None, None, Some(3), None, Some(2)]);
    }
}
