//! For how long a session in memory may be believed without asking the store.
//!
//! Promises: while the store tells what others do, a session that was read since it began to is believed; otherwise none
//! is believed for five seconds after the store last vouched for it. It must not know how sessions are read.

pub(super) mod hints;
mod revalidation;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use crate::{
    clock::{AtomicTimestamp, Timestamp},
    session::cache::session::CachedSession,
};

/// After this a session that is in use is to be asked about, while it is still believed. Time is counted in whole
/// seconds, so that the span may be up to one second longer.
const DOUBT: Duration = Duration::from_secs(2);
/// After this the store has to be asked first: within five seconds, again because whole seconds are counted.
const LIMIT: Duration = Duration::from_secs(4);

/// No era: nothing is heard.
const DEAF: u32 = 0;

/// Whether we hear what others do to sessions, and since when. Each time that hearing begins is an era of its own,
/// because something may have been missed before.
pub(super) struct ChangeFeed {
    now: AtomicU32,
    eras: AtomicU32,
    heard_until: AtomicTimestamp,
}

/// How far a session in memory can be believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Freshness {
    /// Entirely.
    Fresh,
    /// For a moment; somebody should ask.
    Revalidate,
    /// The store has to be asked first.
    Stale,
}

/// What the store said last of a session, and when.
#[derive(Debug)]
pub(super) struct Validation {
    at: AtomicTimestamp,
    /// The era, and in the lowest bit whether somebody is to ask the store already.
    state: AtomicU32,
}

const DOUBTED: u32 = 1;

/// The moment at which the store is asked. What it answers holds from then on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    at: Timestamp,
    era: u32,
}

impl ChangeFeed {
    /// Of a store that nobody else changes: there is nothing to hear.
    pub(super) fn of_nobody() -> Self {
        let hearing = Self::of_others();
        hearing.begin();
        hearing
    }

    /// Of a store that others change: deaf until told otherwise.
    pub(super) fn of_others() -> Self {
        Self { now: AtomicU32::new(DEAF), eras: AtomicU32::new(DEAF), heard_until: AtomicTimestamp::default() }
    }

    /// From now on everything is heard.
    pub(super) fn begin(&self) {
        // A voucher has a bit less for it than this.
        let era = (self.eras.fetch_add(1, Ordering::Relaxed) + 1) % (1 << 31);
        self.now.store(era, Ordering::SeqCst);
    }

    /// Nothing has been missed up to this moment.
    pub(super) fn continued(&self, until: Timestamp) {
        self.heard_until.set(until);
    }

    /// From now on things may be missed. What was heard until then still vouches for `sessions`, for as long as that
    /// lasts.
    pub(super) fn end(&self, sessions: impl Iterator<Item = Arc<CachedSession>>) {
        let era = self.now.load(Ordering::SeqCst);
        if era == DEAF {
            return;
        }
        // Before the era ends, so that no request meets a session that nobody vouches for.
        for session in sessions {
            let voucher = session.voucher();
            if voucher.era() == era {
                voucher.at.advance(self.heard_until.get());
            }
        }
        self.now.store(DEAF, Ordering::SeqCst);
    }

    /// To be taken before the store is asked.
    pub(super) fn asking(&self, now: Timestamp) -> Asked {
        Asked { at: now, era: self.now.load(Ordering::SeqCst) }
    }

    /// How far a session can be believed.
    pub(super) fn trust(&self, live: &CachedSession, now: Timestamp) -> Freshness {
        let voucher = live.voucher();
        let era = self.now.load(Ordering::Acquire);
        if era != DEAF && voucher.era() == era {
            return Freshness::Fresh;
        }
        match voucher.at() {
            // The clock was set back.
            at if at > now => Freshness::Stale,
            at if now.since(at) < DOUBT => Freshness::Fresh,
            at if now.since(at) < LIMIT => Freshness::Revalidate,
            _ => Freshness::Stale,
        }
    }
}

impl Validation {
    const VOID: Timestamp = Timestamp::from_unix(0);

    pub(super) fn new(asked: Asked) -> Self {
        Self { at: AtomicTimestamp::new(asked.at), state: AtomicU32::new(asked.era << 1) }
    }

    /// The store has said that the session is as it was.
    pub(super) fn renew(&self, asked: Asked) {
        self.at.set(asked.at);
        let renewed = |state| Some(asked.era << 1 | state & DOUBTED);
        let _before = self.state.fetch_update(Ordering::Relaxed, Ordering::Relaxed, renewed);
    }

    /// Takes back what the store said: the session may be another one by now. Nobody is answered from it before the store has
    /// been asked, not even while the store is away.
    pub(super) fn void(&self) {
        self.at.set(Self::VOID);
        self.state.fetch_and(DOUBTED, Ordering::Relaxed);
    }

    /// Whether what the store said was taken back.
    pub(super) fn is_void(&self) -> bool {
        self.at.get() == Self::VOID
    }

    /// Whether the caller is the one who has to see to it that the store is asked.
    pub(super) fn doubt(&self) -> bool {
        self.state.fetch_or(DOUBTED, Ordering::Relaxed) & DOUBTED == 0
    }

    /// The store has been asked, or there was no room for it.
    pub(super) fn end_doubt(&self) {
        self.state.fetch_and(!DOUBTED, Ordering::Relaxed);
    }

    fn era(&self) -> u32 {
        self.state.load(Ordering::Relaxed) >> 1
    }

    /// Since when nobody has vouched for it.
    pub(super) fn at(&self) -> Timestamp {
        self.at.get()
    }
}
