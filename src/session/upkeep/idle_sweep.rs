//! The idle sweep: sessions in memory that are not in use are shrunk.
//!
//! Promises: it runs beside the other jobs, because there may be millions of sessions.

use std::{convert::Infallible, time::Duration};

use crate::{
    clock::Clock,
    session::{cache::Cache, upkeep::ticks::every},
};

/// Interval between sweeps.
const SWEEP_INTERVAL: Duration = Duration::from_secs(30);
/// Time without a use after which a session is idle.
const IDLE_AFTER: Duration = Duration::from_mins(1);

/// Shrinks idle sessions.
pub(in crate::session) struct IdleSweep<'a> {
    pub(in crate::session) clock: &'a Clock,
    pub(in crate::session) cache: &'a Cache,
}

impl IdleSweep<'_> {
    /// Sweeps at intervals.
    pub(in crate::session) async fn run(&self) -> Infallible {
        let mut ticks = every(SWEEP_INTERVAL);
        loop {
            ticks.tick().await;
            self.sweep().await;
        }
    }

    /// Sweeps once.
    pub(in crate::session) async fn sweep(&self) {
        self.cache.shrink_unused(self.clock.now().minus(IDLE_AFTER)).await;
    }
}
