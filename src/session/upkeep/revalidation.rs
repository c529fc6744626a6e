//! Revalidation in the background: of sessions in use that requests have queued, and of unused ones.
//!
//! Promises: a session is asked about once in a turn, however many hints come; unused sessions stay confirmed recently
//! enough to be served for most of the grace in an outage.

use std::{
    convert::Infallible,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::task::yield_now;

use crate::{
    clock::Clock,
    session::{
        active_settings::ActiveSettings,
        backlog::Backlog,
        cache::{Cache, session::CachedSession},
        freshness::{ChangeFeed, Freshness},
        revalidation::Revalidation,
        upkeep::ticks::every,
    },
};

/// Interval at which queued sessions are revalidated: shorter than the time for which they are served meanwhile.
pub(in crate::session) const QUEUE_INTERVAL: Duration = Duration::from_millis(500);
/// Shortest interval at which unused sessions are revalidated. It is an eighth of the grace.
pub(super) const SHORTEST_UNUSED_INTERVAL: Duration = Duration::from_secs(1);
/// Longest interval at which unused sessions are revalidated.
const LONGEST_UNUSED_INTERVAL: Duration = Duration::from_mins(5);
/// Sessions that one statement asks about.
const BATCH: usize = 500;
/// Sessions in memory that are visited before requests get a turn.
const YIELD_EVERY: usize = 1_000;

/// Revalidates the sessions that requests have queued.
pub(in crate::session) struct QueuedRevalidation<'a> {
    pub(in crate::session) backlog: &'a Backlog,
    pub(in crate::session) revalidation: Revalidation<'a>,
}

/// Revalidates sessions in memory that are not in use.
pub(in crate::session) struct UnusedRevalidation<'a> {
    pub(in crate::session) settings: &'a ActiveSettings,
    pub(in crate::session) clock: &'a Clock,
    pub(in crate::session) cache: &'a Cache,
    pub(in crate::session) feed: &'a ChangeFeed,
    pub(in crate::session) revalidation: Revalidation<'a>,
    pub(in crate::session) last_run: Instant,
}

impl QueuedRevalidation<'_> {
    /// Revalidates at intervals. A session whose turn comes too late makes a request wait for the store, so nothing else may
    /// hold this up.
    pub(in crate::session) async fn run(&self) -> Infallible {
        let mut ticks = every(QUEUE_INTERVAL);
        loop {
            ticks.tick().await;
            self.revalidate_queued().await;
        }
    }

    /// Revalidates the sessions that are queued now. Those that are queued meanwhile wait for the next turn.
    pub(in crate::session) async fn revalidate_queued(&self) {
        for _ in 0..self.backlog.revalidations().div_ceil(BATCH) {
            let batch = self.backlog.take_revalidations(BATCH);
            self.revalidation.revalidate_all(&batch).await;
        }
    }
}

impl UnusedRevalidation<'_> {
    /// Revalidates, if the interval has passed. The interval follows the grace, which may have changed.
    pub(super) async fn run_if_due(&mut self) {
        let interval = (self.settings.outage_grace() / 8).clamp(SHORTEST_UNUSED_INTERVAL, LONGEST_UNUSED_INTERVAL);
        if self.last_run.elapsed() >= interval {
            self.last_run = Instant::now();
            self.revalidate_unused().await;
        }
    }

    /// Revalidates the sessions that were confirmed too long ago to be served for most of the grace.
    pub(in crate::session) async fn revalidate_unused(&self) {
        let (now, old) = (self.clock.now(), self.settings.outage_grace() / 4);
        let is_old = |session: &Arc<CachedSession>| {
            let validation = session.validation();
            self.feed.freshness(validation, now) != Freshness::Fresh && now.since(validation.at()) >= old
        };
        let mut found = Vec::new();
        for (visited, session) in self.cache.all().enumerate() {
            found.extend(Some(session).filter(is_old));
            if visited % YIELD_EVERY == YIELD_EVERY - 1 {
                yield_now().await;
            }
        }
        for batch in found.chunks(BATCH) {
            if !self.revalidation.revalidate_all(batch).await {
                return;
            }
        }
    }
}
