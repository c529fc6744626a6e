//! Hints: change notifications that arrive while the store is being asked about the same session.
//!
//! Any role that may connect to the database can send a notification, so a hint proves nothing: it only makes the store be
//! asked. Promises: a hint that arrives while the store is being asked is not lost; memory is bounded by the questions
//! under way, not by the hints.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::session::cookie::SessionId;

/// Sessions that the store is being asked about.
#[derive(Default)]
pub(in crate::session) struct Hints(Mutex<HashMap<SessionId, WatchedSession>>);

#[derive(Default)]
struct WatchedSession {
    watchers: usize,
    /// Hints since the first of them began.
    hints: u64,
}

/// A watch for hints about one session: from before the store is asked until its answer is in memory.
#[derive(Debug)]
pub(in crate::session) struct HintWatch {
    all: Arc<Hints>,
    id: SessionId,
    seen: u64,
}

impl Hints {
    /// Watches for hints about a session. To be called before the store is asked.
    pub(in crate::session) fn watch(self: &Arc<Self>, id: SessionId) -> HintWatch {
        let mut watched = self.lock();
        let entry = watched.entry(id).or_default();
        entry.watchers += 1;
        HintWatch { all: Arc::clone(self), id, seen: entry.hints }
    }

    /// Tells the watches on a session that it may have changed.
    pub(in crate::session) fn notify(&self, id: &SessionId) {
        if let Some(entry) = self.lock().get_mut(id) {
            entry.hints += 1;
        }
    }

    /// Ids of the watched sessions.
    #[cfg(test)]
    pub(in crate::session) fn ids(&self) -> Vec<SessionId> {
        self.lock().keys().copied().collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SessionId, WatchedSession>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl HintWatch {
    /// Returns `true` if a hint has arrived since the watch began or since the last call. To be called once the store's
    /// answer is in memory: a hint that arrives later finds it there.
    pub(in crate::session) fn take_hint(&mut self) -> bool {
        let hints = self.all.lock().get(&self.id).map_or(0, |entry| entry.hints);
        std::mem::replace(&mut self.seen, hints) != hints
    }
}

impl Drop for HintWatch {
    fn drop(&mut self) {
        let mut watched = self.all.lock();
        if let Some(entry) = watched.get_mut(&self.id) {
            entry.watchers -= 1;
            if entry.watchers == 0 {
                watched.remove(&self.id);
            }
        }
    }
}

impl std::fmt::Debug for Hints {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hints").field("watched", &self.lock().len()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hint_is_reported_once_to_every_watch_on_that_session() {
        let (hints, id, other) = (Arc::new(Hints::default()), SessionId([1; 32]), SessionId([2; 32]));
        let [mut one, mut two, mut stranger] = [id, id, other].map(|id| hints.watch(id));
        hints.notify(&id);
        assert!(one.take_hint() && !one.take_hint());
        let mut late = hints.watch(id);
        assert!(two.take_hint() && !late.take_hint() && !stranger.take_hint());
        hints.notify(&id);
        assert!(one.take_hint() && two.take_hint() && late.take_hint());
    }

    #[test]
    fn hints_without_a_watch_are_not_kept() {
        let hints = Arc::new(Hints::default());
        for byte in 0..=u8::MAX {
            hints.notify(&SessionId([byte; 32]));
        }
        assert!(hints.lock().is_empty());
        drop((hints.watch(SessionId([1; 32])), hints.watch(SessionId([1; 32]))));
        assert!(hints.lock().is_empty());
    }
}
