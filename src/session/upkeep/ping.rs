//! The ping: asking the store at intervals whether it is available.
//!
//! Promises: an outage shows without traffic; endings that the store did not take are finished soon after it is available
//! again.

use crate::{
    metrics::{self, LogoutKind},
    session::{
        cache::Cache,
        end::SessionEnding,
        store::{ObservedStore, Store as _},
        upkeep::retired_keys::RetiredKeySync,
    },
};

/// Pings the store, and does what its answer allows.
pub(in crate::session) struct StorePing<'a> {
    pub(in crate::session) store: &'a ObservedStore,
    pub(in crate::session) cache: &'a Cache,
    pub(in crate::session) metrics: &'a metrics::SessionMetrics,
    pub(in crate::session) retired_keys: RetiredKeySync<'a>,
    pub(in crate::session) ending: SessionEnding<'a>,
}

impl StorePing<'_> {
    /// Pings the store. Returns `true` if it answered.
    pub(super) async fn run(&self) -> bool {
        let cached = self.cache.run_maintenance();
        self.metrics.cached.set(i64::try_from(cached).unwrap_or(i64::MAX));
        let is_available = self.store.ping().await.is_ok();
        if is_available {
            self.retired_keys.load().await;
            self.ending.finish_pending().await;
            self.count_operator_endings().await;
        }
        is_available
    }

    /// Counts sessions that the command line ended, because nothing scrapes its metrics.
    pub(in crate::session) async fn count_operator_endings(&self) {
        if let Ok(count) = self.store.take_uncounted().await {
            self.metrics.count_ended(LogoutKind::Operator, count);
        }
    }
}
