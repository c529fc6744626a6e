//! Ticks of the upkeep's jobs.
//!
//! Promises: a job that took long is not run several times to catch up.

use std::time::Duration;

use tokio::time::{Interval, MissedTickBehavior, interval};

/// A tick now and one in each period.
pub(in crate::session) fn every(period: Duration) -> Interval {
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}
