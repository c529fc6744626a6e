//! The last confirmation of a session by the store.
//!
//! Promises: it is set and read without a lock; one caller at a time is chosen to revalidate.

use std::sync::atomic::{AtomicU32, Ordering};

use crate::clock::{AtomicTimestamp, Timestamp};

/// The lowest bit of the state: a revalidation is queued or under way.
const REVALIDATING: u32 = 1;

/// The time at which the store was asked, and the epoch of the change feed then. Its answer holds from that moment on, not
/// from when it arrived (`request_time` of RFC 9111 §4.2.3).
#[derive(Clone, Copy, Debug)]
pub(in crate::session) struct RequestTime {
    pub(super) at: Timestamp,
    pub(super) epoch: u32,
}

/// The last confirmation of a session by the store.
#[derive(Debug)]
pub(in crate::session) struct Validation {
    at: AtomicTimestamp,
    /// The epoch, and [`REVALIDATING`] in the lowest bit.
    state: AtomicU32,
}

impl Validation {
    const INVALIDATED: Timestamp = Timestamp::from_unix(0);

    /// A session as the store had it when it was asked.
    pub(in crate::session) fn new(request: RequestTime) -> Self {
        Self { at: AtomicTimestamp::new(request.at), state: AtomicU32::new(request.epoch << 1) }
    }

    /// Notes that the store has confirmed the session.
    pub(in crate::session) fn confirm(&self, request: RequestTime) {
        self.at.set(request.at);
        let confirmed = |state| Some(request.epoch << 1 | state & REVALIDATING);
        let _before = self.state.fetch_update(Ordering::Relaxed, Ordering::Relaxed, confirmed);
    }

    /// Extends it to a later moment.
    pub(super) fn extend(&self, until: Timestamp) {
        self.at.advance(until);
    }

    /// Takes the confirmation back, because the session may have changed. It is not served before the store has been asked,
    /// not even while the store is unavailable.
    pub(in crate::session) fn invalidate(&self) {
        self.at.set(Self::INVALIDATED);
        self.state.fetch_and(REVALIDATING, Ordering::Relaxed);
    }

    /// Sets it back to an earlier moment, and out of its epoch.
    pub(super) fn set_back(&self, moment: Timestamp) {
        if self.at.get() > moment {
            self.at.set(moment);
        }
        self.state.fetch_and(REVALIDATING, Ordering::Relaxed);
    }

    /// Returns `true` if the confirmation was taken back.
    pub(in crate::session) fn is_invalidated(&self) -> bool {
        self.at.get() == Self::INVALIDATED
    }

    /// Returns `true` for the one caller who has to see to a revalidation.
    pub(in crate::session) fn begin_revalidation(&self) -> bool {
        self.state.fetch_or(REVALIDATING, Ordering::Relaxed) & REVALIDATING == 0
    }

    /// Notes that the store has been asked, or that there was no room in the queue.
    pub(in crate::session) fn end_revalidation(&self) {
        self.state.fetch_and(!REVALIDATING, Ordering::Relaxed);
    }

    /// Returns `true` while somebody has to see to a revalidation.
    pub(in crate::session) fn is_revalidating(&self) -> bool {
        self.state.load(Ordering::Relaxed) & REVALIDATING != 0
    }

    /// Epoch of the change feed in which the store confirmed it.
    pub(super) fn epoch(&self) -> u32 {
        self.state.load(Ordering::Relaxed) >> 1
    }

    /// Time of the last confirmation.
    pub(in crate::session) fn at(&self) -> Timestamp {
        self.at.get()
    }
}
