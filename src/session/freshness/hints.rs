//! Hints that a session is not as it was, and those who have to know of one: whoever is asking the store just then.
//!
//! Whoever may connect to the database can give a hint, whatever else is closed to him, so none is believed: it makes the
//! store be asked. Promises: a hint that comes while the store is being asked is not lost; what is kept is bounded by those
//! who ask, whatever others send.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::session::cookie::SessionId;

/// The keys that the store is being asked about.
#[derive(Default)]
pub(in crate::session) struct Hints(Mutex<HashMap<SessionId, Asked>>);

#[derive(Default)]
struct Asked {
    /// How many are asking.
    askers: usize,
    /// How many hints have come since the first of them began.
    hints: u64,
}

/// Somebody who asks the store about a session, from before the question until what was answered is in memory.
#[derive(Debug)]
pub(in crate::session) struct Watch {
    all: Arc<Hints>,
    key: SessionId,
    seen: u64,
}

impl Hints {
    /// Watches for hints about a session. To be taken before the store is asked.
    pub(in crate::session) fn watch(self: &Arc<Self>, key: SessionId) -> Watch {
        let mut asked = self.lock();
        let entry = asked.entry(key).or_default();
        entry.askers += 1;
        Watch { all: Arc::clone(self), key, seen: entry.hints }
    }

    /// Tells those who watch.
    pub(in crate::session) fn give(&self, key: &SessionId) {
        if let Some(entry) = self.lock().get_mut(key) {
            entry.hints += 1;
        }
    }

    /// The keys that are watched.
    #[cfg(test)]
    pub(in crate::session) fn keys(&self) -> Vec<SessionId> {
        self.lock().keys().copied().collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SessionId, Asked>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watch {
    /// Whether a hint has come since the watch began, or since this was asked last. To be asked once what the store answered
    /// is in memory: a hint that comes later finds it there.
    pub(in crate::session) fn was_hinted(&mut self) -> bool {
        let hints = self.all.lock().get(&self.key).map_or(0, |entry| entry.hints);
        std::mem::replace(&mut self.seen, hints) != hints
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let mut asked = self.all.lock();
        if let Some(entry) = asked.get_mut(&self.key) {
            entry.askers -= 1;
            if entry.askers == 0 {
                asked.remove(&self.key);
            }
        }
    }
}

impl std::fmt::Debug for Hints {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hints").field("asked", &self.lock().len()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hint_is_told_once_to_everybody_who_watches_that_key() {
        let (hints, key, other) = (Arc::new(Hints::default()), SessionId([1; 32]), SessionId([2; 32]));
        let [mut one, mut two, mut stranger] = [key, key, other].map(|key| hints.watch(key));
        hints.give(&key);
        assert!(one.was_hinted() && !one.was_hinted());
        let mut late = hints.watch(key);
        assert!(two.was_hinted() && !late.was_hinted() && !stranger.was_hinted());
        hints.give(&key);
        assert!(one.was_hinted() && two.was_hinted() && late.was_hinted());
    }

    #[test]
    fn nothing_is_kept_of_hints_that_nobody_watches_for() {
        let hints = Arc::new(Hints::default());
        for byte in 0..=u8::MAX {
            hints.give(&SessionId([byte; 32]));
        }
        assert!(hints.lock().is_empty());
        drop((hints.watch(SessionId([1; 32])), hints.watch(SessionId([1; 32]))));
        assert!(hints.lock().is_empty());
    }
}
