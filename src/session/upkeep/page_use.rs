//! Writing the last pages of sessions at apps with an idle timeout of their own.
//!
//! Promises: pages that the store does not take are written when it is available again; several pages of one session at an app
//! are one write.

use std::collections::HashMap;

use crate::{
    clock::Clock,
    session::{
        active_settings::ActiveSettings,
        page_uses::KnownPageUses,
        store::{
            ObservedStore,
            page_uses::{PageUse, PageUseKey, PageUseStore as _},
        },
    },
};

/// Rows that one statement writes.
const BATCH: usize = 500;

/// Writes last pages.
pub(in crate::session) struct PageUseWriter<'a> {
    settings: &'a ActiveSettings,
    clock: &'a Clock,
    store: &'a ObservedStore,
    uses: &'a KnownPageUses,
    pub(in crate::session) pending: HashMap<PageUseKey, PageUse>,
}

impl<'a> PageUseWriter<'a> {
    pub(in crate::session) fn new(
        settings: &'a ActiveSettings,
        clock: &'a Clock,
        store: &'a ObservedStore,
        uses: &'a KnownPageUses,
    ) -> Self {
        Self { settings, clock, store, uses, pending: HashMap::new() }
    }

    /// Writes the pages that are queued, until the store fails.
    pub(in crate::session) async fn write(&mut self) {
        self.uses.take_queued(&mut self.pending);
        while !self.pending.is_empty() {
            let batch: Vec<_> = self.pending.values().take(BATCH).copied().collect();
            if self.store.record_page_uses(&batch).await.is_err() {
                return;
            }
            for page in &batch {
                self.pending.remove(&page.key);
            }
        }
    }

    /// Forgets in memory what no session can depend on any more.
    pub(in crate::session) fn forget(&self) {
        self.uses.forget(self.clock.now().minus(self.settings.idle_timeout()));
    }
}
