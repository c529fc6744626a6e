//! Peer of one connection: trusted or not, and the signals to its connection.
//!
//! Shared between the connection and the slots of its listener: the slots signal, the connection acts.

use std::{
    future::poll_fn,
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering},
    },
    task::{Poll, Waker},
};

use futures_util::task::AtomicWaker;

use crate::edge::Network;

/// Set of signals to a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::server) struct ConnSignals(u8);

impl ConnSignals {
    /// No signal.
    pub(in crate::server) const NONE: Self = Self(0);
    /// Look up the timeouts again: the peer has become trusted or untrusted.
    pub(super) const RECHECK_TIMEOUTS: Self = Self(1);
    /// End as soon as no request is in flight.
    pub(in crate::server) const GRACEFUL_SHUTDOWN: Self = Self(2);
    /// End at once. Never cleared.
    pub(super) const ABORT: Self = Self(4);

    /// Returns `true` if a graceful shutdown is asked for.
    pub(in crate::server) fn has_graceful_shutdown(self) -> bool {
        self.0 & Self::GRACEFUL_SHUTDOWN.0 != 0
    }

    /// Returns `true` if the connection has to end at once.
    pub(in crate::server) fn has_abort(self) -> bool {
        self.0 & Self::ABORT.0 != 0
    }
}

/// State of the peer of one connection.
#[derive(Debug)]
pub(in crate::server) struct PeerState {
    connection: u64,
    address: IpAddr,
    untrusted: AtomicBool,
    /// Sequence number of an untrusted peer's last activity. Changes only together with its entry in `UntrustedPeers`.
    last_active: AtomicU64,
    in_flight: AtomicUsize,
    signals: AtomicU8,
    waker: AtomicWaker,
}

impl PeerState {
    /// Creates the state of a peer on connection number `connection`; trusted until [`PeerState::mark_untrusted`].
    pub(in crate::server) fn new(connection: u64, address: IpAddr) -> Self {
        Self {
            connection,
            address,
            untrusted: AtomicBool::new(false),
            last_active: AtomicU64::new(0),
            in_flight: AtomicUsize::new(0),
            signals: AtomicU8::new(0),
            waker: AtomicWaker::new(),
        }
    }

    /// Address of the peer.
    pub(in crate::server) fn address(&self) -> IpAddr {
        self.address
    }

    /// Returns `true` if the peer is not among `server.trusted_proxies`. One relaxed load.
    pub(in crate::server) fn is_untrusted(&self) -> bool {
        self.untrusted.load(Ordering::Relaxed)
    }

    /// Returns `true` while an untrusted peer has requests in flight.
    pub(in crate::server) fn has_requests_in_flight(&self) -> bool {
        self.in_flight.load(Ordering::Relaxed) > 0
    }

    /// Returns `true` if there are signals to take. One relaxed load.
    pub(in crate::server) fn has_signals(&self) -> bool {
        self.signals.load(Ordering::Relaxed) != 0
    }

    /// Takes the signals and clears all but the one to abort. The next signal wakes `waker`.
    pub(in crate::server) fn take_signals(&self, waker: &Waker) -> ConnSignals {
        self.waker.register(waker);
        ConnSignals(self.signals.fetch_and(ConnSignals::ABORT.0, Ordering::Acquire))
    }

    /// Signals the connection and wakes it.
    pub(in crate::server) fn signal(&self, signals: ConnSignals) {
        self.signals.fetch_or(signals.0, Ordering::Release);
        self.waker.wake();
    }

    /// Returns once the connection has to end at once.
    pub(in crate::server) async fn aborted(&self) {
        poll_fn(|context| if self.take_signals(context.waker()).has_abort() { Poll::Ready(()) } else { Poll::Pending })
            .await;
    }

    pub(super) fn connection(&self) -> u64 {
        self.connection
    }

    pub(super) fn network(&self) -> Network {
        Network::of(self.address)
    }

    pub(super) fn last_active(&self) -> u64 {
        self.last_active.load(Ordering::Relaxed)
    }

    pub(super) fn mark_untrusted(&self, last_active: u64) {
        self.last_active.store(last_active, Ordering::Relaxed);
        self.untrusted.store(true, Ordering::Relaxed);
    }

    pub(super) fn mark_trusted(&self) {
        self.untrusted.store(false, Ordering::Relaxed);
    }
}

/// Counts an untrusted peer's request as in flight until it is dropped.
#[derive(Debug)]
pub(in crate::server) struct RequestGuard {
    peer: Arc<PeerState>,
}

impl RequestGuard {
    pub(super) fn new(peer: &Arc<PeerState>) -> Self {
        peer.in_flight.fetch_add(1, Ordering::Relaxed);
        Self { peer: Arc::clone(peer) }
    }

    /// Peer that the request came from.
    pub(in crate::server) fn peer(&self) -> &PeerState {
        &self.peer
    }
}

impl Drop for RequestGuard {
    fn drop(&mut self) {
        self.peer.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}
