//! Writing when sessions were last used.
//!
//! Promises: uses that the store does not take are written when it is available again; several uses of one session are one
//! write.

use std::{collections::HashMap, sync::Arc};

use crate::session::{
    backlog::Backlog,
    cache::session::CachedSession,
    cookie::SessionId,
    store::{ObservedStore, Store as _, Touch},
};

/// Rows that one statement writes.
const BATCH: usize = 500;

/// Writes last uses.
pub(in crate::session) struct LastUseWriter<'a> {
    store: &'a ObservedStore,
    backlog: &'a Backlog,
    pending: HashMap<SessionId, Arc<CachedSession>>,
}

impl<'a> LastUseWriter<'a> {
    pub(in crate::session) fn new(store: &'a ObservedStore, backlog: &'a Backlog) -> Self {
        Self { store, backlog, pending: HashMap::new() }
    }

    /// Writes the last uses that are queued, until the store fails.
    pub(in crate::session) async fn write(&mut self) {
        self.backlog.take_last_uses(&mut self.pending);
        while !self.pending.is_empty() {
            let sessions = self.pending.values().take(BATCH);
            let batch: Vec<_> =
                sessions.map(|session| Touch { key: session.id(), last_seen: session.last_seen() }).collect();
            if self.store.touch(&batch).await.is_err() {
                return;
            }
            for touch in &batch {
                self.pending.remove(&touch.key);
            }
        }
    }
}
