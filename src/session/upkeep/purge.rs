//! Purge: deleting the rows of expired sessions.
//!
//! Promises: it goes in small batches with pauses, because everything else works with the same store on the same cores; a
//! session that was just used at another replica is spared.

use std::time::Duration;

use tokio::time::Instant;

use crate::{
    clock::Clock,
    metrics::{self, LogoutKind},
    session::{
        active_settings::ActiveSettings,
        backlog::Backlog,
        store::{Cutoffs, ObservedStore, Store as _},
    },
};

/// Rows deleted at once.
const BATCH: u32 = 100;
/// Length of the pause after a batch, in multiples of the time that the batch took.
const PAUSE_FACTOR: u32 = 100;
/// Longest pause after a batch.
const LONGEST_PAUSE: Duration = Duration::from_millis(500);
/// Time beyond its idle timeout after which an unused session is deleted: another replica may hold a later use that it has
/// not written yet, for at most a minute, a round and a deadline.
const IDLE_MARGIN: Duration = Duration::from_secs(90);

/// Deletes the rows of expired sessions.
pub(in crate::session) struct Purge<'a> {
    pub(in crate::session) settings: &'a ActiveSettings,
    pub(in crate::session) clock: &'a Clock,
    pub(in crate::session) store: &'a ObservedStore,
    pub(in crate::session) backlog: &'a Backlog,
    pub(in crate::session) metrics: &'a metrics::SessionMetrics,
    /// Time of the next batch; `None` while no purge is under way.
    pub(in crate::session) next_batch: Option<Instant>,
}

impl Purge<'_> {
    /// Returns `true` if a request has met an expired session.
    pub(super) fn is_wanted(&self) -> bool {
        self.backlog.take_expired()
    }

    /// Begins a purge, unless one is under way.
    pub(super) fn begin(&mut self) {
        self.next_batch.get_or_insert_with(Instant::now);
    }

    /// Deletes one batch, and sets the time of the next.
    pub(in crate::session) async fn run_batch(&mut self) {
        let (now, began) = (self.clock.now(), Instant::now());
        let cutoffs = Cutoffs {
            created: now.minus(self.settings.lifetime()),
            last_seen: now.minus(self.settings.idle_timeout()).minus(IDLE_MARGIN),
        };
        // A purge that fails is tried again in a minute: a store in trouble has better things to do.
        let deleted = self.store.purge(cutoffs, BATCH).await.unwrap_or(0);
        self.metrics.count_ended(LogoutKind::Expired, u64::from(deleted));
        let pause = || (began.elapsed() * PAUSE_FACTOR).min(LONGEST_PAUSE);
        self.next_batch = (deleted == BATCH).then(|| Instant::now() + pause());
    }
}
