//! How far a server is between its first connection and its last.
//!
//! One value that the listener, every connection and the readiness page look at. It must not know any of them.

use std::{
    pin::pin,
    sync::atomic::{AtomicU8, Ordering},
};

use tokio::sync::{Notify, futures::Notified};

/// What a server does with connections. It only ever moves forward.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    /// Nothing is accepted yet.
    Starting,
    /// Connections are accepted and kept.
    Accepting,
    /// Connections are still accepted, and each HTTP/1 answer asks its client to go elsewhere.
    Draining,
    /// Every connection finishes what it has in hand and closes.
    Finishing,
    /// Nothing of a connection may remain.
    Cut,
}

/// The phase of one server, and the news that it has changed.
#[derive(Debug, Default)]
pub(super) struct Drain {
    phase: AtomicU8,
    news: Notify,
}

impl Drain {
    /// The phase now. One relaxed load: every answer asks.
    pub(super) fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Relaxed) {
            0 => Phase::Starting,
            1 => Phase::Accepting,
            2 => Phase::Draining,
            3 => Phase::Finishing,
            _ => Phase::Cut,
        }
    }

    /// From now on connections are accepted.
    pub(super) fn open(&self) {
        self.advance(Phase::Accepting);
    }

    /// From now on clients are asked to go elsewhere.
    pub(super) fn begin(&self) {
        self.advance(Phase::Draining);
    }

    /// Asks every connection to finish what it has in hand and close.
    pub(super) fn finish(&self) {
        self.advance(Phase::Finishing);
        self.news.notify_waiters();
    }

    /// Drops every connection that is still there.
    pub(super) fn cut(&self) {
        self.advance(Phase::Cut);
        self.news.notify_waiters();
    }

    /// Ready after the next [`Drain::finish`] or [`Drain::cut`], even when it is polled only then. The phase tells what
    /// has happened: who looks at it after this was called, and waits for this where it says nothing, misses nothing.
    pub(super) fn news(&self) -> Notified<'_> {
        self.news.notified()
    }

    /// Returns once nothing of a connection may remain.
    pub(super) async fn until_cut(&self) {
        let mut news = pin!(self.news());
        while self.phase() != Phase::Cut {
            news.as_mut().await;
            news.set(self.news());
        }
    }

    fn advance(&self, phase: Phase) {
        self.phase.fetch_max(phase as u8, Ordering::Relaxed);
    }
}
