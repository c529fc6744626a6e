//! The feed of changes that other processes make to sessions, and the freshness that follows from it.
//!
//! Promises: while the feed is connected, a session that was read since it connected is fresh; otherwise none is served
//! unasked for longer than five seconds after the store last confirmed it.

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use crate::{
    clock::{AtomicTimestamp, Timestamp},
    session::freshness::validation::{RequestTime, Validation},
};

/// Age from which a session in use is revalidated in the background (stale-while-revalidate). Time is counted in whole
/// seconds, so that it may be up to one second longer.
const REVALIDATE_AFTER: Duration = Duration::from_secs(2);
/// Age from which the store has to be asked first: within five seconds, again because whole seconds are counted.
const STALE_AFTER: Duration = Duration::from_secs(4);

/// Stands for no epoch while the feed is disconnected.
const DISCONNECTED: u32 = 0;

/// State of the feed. Each connection is an epoch of its own, because changes may have been missed before it.
pub(in crate::session) struct ChangeFeed {
    epoch: AtomicU32,
    last_epoch: AtomicU32,
    complete_until: AtomicTimestamp,
}

/// Freshness of a session in memory, in the states of RFC 5861.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::session) enum Freshness {
    /// Served as it is.
    Fresh,
    /// Served, and to be revalidated in the background: stale-while-revalidate.
    Revalidate,
    /// Served only after the store has been asked, or failed to answer: stale-if-error.
    Stale,
}

impl ChangeFeed {
    /// The feed of a store that no other process changes: always connected.
    pub(in crate::session) fn for_exclusive_store() -> Self {
        let feed = Self::for_shared_store();
        feed.connected();
        feed
    }

    /// The feed of a store that other processes change: disconnected at first.
    pub(in crate::session) fn for_shared_store() -> Self {
        Self {
            epoch: AtomicU32::new(DISCONNECTED),
            last_epoch: AtomicU32::new(DISCONNECTED),
            complete_until: AtomicTimestamp::default(),
        }
    }

    /// Begins an epoch: every change is reported from now on.
    pub(in crate::session) fn connected(&self) {
        // A validation has one bit less for it than this.
        let epoch = (self.last_epoch.fetch_add(1, Ordering::Relaxed) + 1) % (1 << 31);
        self.epoch.store(epoch, Ordering::SeqCst);
    }

    /// Notes that no change has been missed up to this moment.
    pub(in crate::session) fn complete_until(&self, moment: Timestamp) {
        self.complete_until.set(moment);
    }

    /// Ends the epoch: changes may be missed from now on. What is in memory, whose validations `each` visits, stays confirmed
    /// up to the moment for which the feed was complete.
    pub(in crate::session) fn disconnected(&self, each: impl FnOnce(&dyn Fn(&Validation))) {
        let epoch = self.epoch.load(Ordering::SeqCst);
        if epoch == DISCONNECTED {
            return;
        }
        // Before the epoch ends, so that no request meets a session without a confirmation.
        each(&|validation| {
            if validation.epoch() == epoch {
                validation.extend(self.complete_until.get());
            }
        });
        self.epoch.store(DISCONNECTED, Ordering::SeqCst);
    }

    /// The request time of a question to the store. To be taken before it is asked.
    pub(in crate::session) fn request_time(&self, now: Timestamp) -> RequestTime {
        RequestTime { at: now, epoch: self.epoch.load(Ordering::SeqCst) }
    }

    /// Lets a confirmation be too old: the store is asked before its session is served, as long as it answers.
    pub(in crate::session) fn expire(validation: &Validation, now: Timestamp) {
        validation.set_back(now.minus(STALE_AFTER));
    }

    /// Freshness of a session with this validation.
    pub(in crate::session) fn freshness(&self, validation: &Validation, now: Timestamp) -> Freshness {
        let epoch = self.epoch.load(Ordering::Acquire);
        if epoch != DISCONNECTED && validation.epoch() == epoch {
            return Freshness::Fresh;
        }
        match validation.at() {
            // The clock was set back.
            at if at > now => Freshness::Stale,
            at if now.since(at) < REVALIDATE_AFTER => Freshness::Fresh,
            at if now.since(at) < STALE_AFTER => Freshness::Revalidate,
            _ => Freshness::Stale,
        }
    }
}
