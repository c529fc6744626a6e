//! Draining: the phases of a server's graceful shutdown.
//!
//! One value that the listener, every connection and the readiness page read; it only ever moves forward.

use std::{
    pin::pin,
    sync::atomic::{AtomicU8, Ordering},
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    sync::{Notify, futures::Notified},
    time::{sleep, timeout},
};
use tokio_util::task::TaskTracker;

/// Longest time in which a draining server still accepts: the time a cluster needs to stop sending.
const MAX_DRAIN_DELAY: Duration = Duration::from_secs(5);

/// Shortest such time: after it a server without connections does not wait any longer.
const MIN_DRAIN_DELAY: Duration = Duration::from_secs(1);

/// Phase of a server, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::server) enum Phase {
    /// Nothing is accepted yet.
    Starting,
    /// Connections are accepted and kept alive.
    Accepting,
    /// Connections are still accepted, and each HTTP/1 response has `Connection: close`.
    Draining,
    /// Every connection shuts down gracefully: it finishes the requests in flight and closes.
    ShuttingDown,
    /// Every connection is aborted.
    Aborting,
}

/// Phase of one server, with notifications.
#[derive(Debug, Default)]
pub(in crate::server) struct Drain {
    phase: AtomicU8,
    changed: Notify,
}

impl Drain {
    /// Current phase. One relaxed load, because every response asks.
    pub(in crate::server) fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Relaxed) {
            0 => Phase::Starting,
            1 => Phase::Accepting,
            2 => Phase::Draining,
            3 => Phase::ShuttingDown,
            _ => Phase::Aborting,
        }
    }

    /// Enters [`Phase::Accepting`].
    pub(in crate::server) fn start_accepting(&self) {
        self.advance(Phase::Accepting);
    }

    /// Enters [`Phase::Draining`].
    pub(in crate::server) fn start_draining(&self) {
        self.advance(Phase::Draining);
    }

    /// Enters [`Phase::ShuttingDown`] and notifies every connection.
    pub(in crate::server) fn shut_down_connections(&self) {
        self.advance(Phase::ShuttingDown);
        self.changed.notify_waiters();
    }

    /// Enters [`Phase::Aborting`] and notifies every connection.
    pub(in crate::server) fn abort_connections(&self) {
        self.advance(Phase::Aborting);
        self.changed.notify_waiters();
    }

    /// Returns a future that is ready after the next [`Drain::shut_down_connections`] or [`Drain::abort_connections`], even when it
    /// is polled only then. To miss no change, read the phase after calling this and before awaiting it.
    pub(super) fn changed(&self) -> Notified<'_> {
        self.changed.notified()
    }

    /// Returns once connections have to be aborted.
    pub(super) async fn aborted(&self) {
        let mut changed = pin!(self.changed());
        while self.phase() != Phase::Aborting {
            changed.as_mut().await;
            changed.set(self.changed());
        }
    }

    fn advance(&self, phase: Phase) {
        self.phase.fetch_max(phase as u8, Ordering::Relaxed);
    }
}

/// Waits until a draining server may stop accepting: for a quarter of the grace period, or until no connection is `open`.
pub(in crate::server) async fn drain_delay(open: &TaskTracker, grace: Duration) {
    let longest = MAX_DRAIN_DELAY.min(grace / 4);
    let shortest = MIN_DRAIN_DELAY.min(longest);
    sleep(shortest).await;
    open.close();
    let _none_is_open = timeout(longest.saturating_sub(shortest), open.wait()).await;
}

/// Connection that can be shut down gracefully.
pub(super) trait GracefulConnection {
    /// Drives the connection. Ready at its end.
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()>;

    /// Ends the connection as soon as no request is in flight: the response has `Connection: close` over HTTP/1, and GOAWAY is
    /// sent over HTTP/2.
    fn graceful_shutdown(&mut self);
}
