//! How far a server is between its first connection and its last.
//!
//! One value that the listener, every connection and the readiness page look at. It must not know any of them.

use std::sync::atomic::{AtomicU8, Ordering};

use tokio_util::sync::CancellationToken;

/// What a server does with connections. It only ever moves forward.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Nothing is accepted yet.
    Starting,
    /// Connections are accepted and kept.
    Accepting,
    /// Connections are still accepted, and each HTTP/1 answer asks its client to go elsewhere.
    Draining,
}

/// The phase of one server, and the two events that end its connections.
#[derive(Debug, Default)]
pub(super) struct Drain {
    phase: AtomicU8,
    finish: CancellationToken,
    cut: CancellationToken,
}

impl Drain {
    /// The phase now. One relaxed load: every answer asks.
    pub(super) fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Relaxed) {
            0 => Phase::Starting,
            1 => Phase::Accepting,
            _ => Phase::Draining,
        }
    }

    /// From now on connections are accepted.
    pub(super) fn open(&self) {
        self.phase.fetch_max(1, Ordering::Relaxed);
    }

    /// From now on clients are asked to go elsewhere.
    pub(super) fn begin(&self) {
        self.phase.store(2, Ordering::Relaxed);
    }

    /// Asks every connection to finish what it has in hand and close.
    pub(super) fn finish(&self) {
        self.begin();
        self.finish.cancel();
    }

    /// Drops every connection that is still there.
    pub(super) fn cut(&self) {
        self.finish();
        self.cut.cancel();
    }

    /// One connection's own ear for [`Drain::finish`]: a child, because all connections of a busy server listening to
    /// the same token would take turns at its lock with every request.
    pub(super) fn finishing(&self) -> CancellationToken {
        self.finish.child_token()
    }

    /// The event after which nothing of a connection may remain.
    pub(super) fn cutting(&self) -> &CancellationToken {
        &self.cut
    }
}
