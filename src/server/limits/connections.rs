//! Connection limits of a listener: how many it may have, how many of them untrusted peers may have, and which one is evicted.
//!
//! An untrusted peer is one that `server.trusted_proxies` does not name. However many there are and whatever they do, most slots
//! are left to the edges: untrusted peers share a part of them and one network of them a part of that, and where a share or the
//! listener is full, the least recently active untrusted peer is evicted in favour of the newcomer.

use std::{
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use foldhash::{HashMap, HashMapExt as _};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{
    peer::{ConnSignals, PeerState, RequestGuard},
    untrusted_peers::UntrustedPeers,
};
use crate::metrics::Gauge;

/// Shortest interval between two log lines about evictions.
const LOG_INTERVAL: Duration = Duration::from_mins(1);

/// Most connections of one listener at once, and the shares of untrusted peers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::server) struct ConnectionLimits {
    /// All connections.
    pub(in crate::server) total: usize,
    /// Connections of untrusted peers.
    pub(in crate::server) untrusted: usize,
    /// Connections of one untrusted peer: an IPv4 address or an IPv6 /64.
    pub(in crate::server) untrusted_each: usize,
    /// TLS handshakes of untrusted peers under way.
    pub(in crate::server) handshakes: usize,
    /// TLS handshakes of one untrusted peer under way.
    pub(in crate::server) handshakes_each: usize,
}

impl ConnectionLimits {
    /// Returns the limits of a listener with `total` connections: an eighth for untrusted peers, an eighth of that for each.
    pub(in crate::server) fn of(total: usize) -> Self {
        let untrusted = (total / 8).max(1);
        let untrusted_each = (untrusted / 8).max(8).min(untrusted);
        Self {
            total,
            untrusted,
            untrusted_each,
            handshakes: untrusted.min(64),
            handshakes_each: untrusted_each.min(16),
        }
    }

    /// Returns the limits of a listener for browsers: strangers may have all of it, one network an eighth.
    pub(in crate::server) fn of_browsers(total: usize) -> Self {
        let untrusted_each = (total / 8).max(64).min(total);
        Self {
            total,
            untrusted: total,
            untrusted_each,
            handshakes: total.min(512),
            handshakes_each: untrusted_each.min(64),
        }
    }

    /// Returns the limits of a listener that treats all peers alike: the newest connection is always served.
    pub(in crate::server) fn uniform(total: usize) -> Self {
        Self { total, untrusted: total, untrusted_each: total, handshakes: total, handshakes_each: total }
    }
}

/// Connection slots of one listener.
pub(in crate::server) struct ConnectionSlots {
    free: Arc<Semaphore>,
    table: Mutex<SlotTable>,
}

/// Slots in use.
struct SlotTable {
    /// Sequence number of the next event: a slot is taken, or an untrusted peer sends a request.
    next_sequence: u64,
    peers: HashMap<u64, Arc<PeerState>>,
    untrusted: UntrustedPeers,
    handshakes: UntrustedPeers,
    /// Evictions since the last log line.
    unlogged_evictions: u64,
    logged_at: Option<Instant>,
}

/// Slot of one connection, free again once it is dropped.
pub(in crate::server) struct ConnectionSlot {
    peer: Arc<PeerState>,
    slots: Arc<ConnectionSlots>,
    open: Gauge,
    _permit: OwnedSemaphorePermit,
}

impl ConnectionSlots {
    /// Creates the slots of a listener, all free.
    pub(in crate::server) fn new(limits: ConnectionLimits) -> Arc<Self> {
        let table = SlotTable {
            next_sequence: 1,
            peers: HashMap::new(),
            untrusted: UntrustedPeers::new(limits.untrusted, limits.untrusted_each),
            handshakes: UntrustedPeers::new(limits.handshakes, limits.handshakes_each),
            unlogged_evictions: 0,
            logged_at: None,
        };
        Arc::new(Self { free: Arc::new(Semaphore::new(limits.total)), table: Mutex::new(table) })
    }

    /// Acquires a free slot; where there is none, evicts an untrusted peer. Returns `None` if edges have all the slots: the
    /// caller has to wait.
    pub(in crate::server) async fn acquire_or_evict(&self) -> Option<OwnedSemaphorePermit> {
        if let Ok(permit) = Arc::clone(&self.free).try_acquire_owned() {
            return Some(permit);
        }
        let evicted = self.table().untrusted.evict();
        if evicted { Some(self.acquire().await) } else { None }
    }

    /// Waits for a free slot: backpressure on accepting.
    pub(in crate::server) async fn acquire(&self) -> OwnedSemaphorePermit {
        Arc::clone(&self.free).acquire_owned().await.expect("the semaphore is never closed")
    }

    /// Assigns an acquired slot to a peer. `is_trusted` is called under the lock, so that no reclassification is missed.
    pub(in crate::server) fn assign(
        self: &Arc<Self>,
        permit: OwnedSemaphorePermit,
        address: IpAddr,
        is_trusted: impl FnOnce(IpAddr) -> bool,
        open: Gauge,
    ) -> ConnectionSlot {
        let mut table = self.table();
        let sequence = table.next_sequence();
        let peer = Arc::new(PeerState::new(sequence, address));
        table.peers.insert(sequence, Arc::clone(&peer));
        if !is_trusted(address) {
            table.add_untrusted(&peer, sequence);
        }
        drop(table);
        open.inc();
        ConnectionSlot { peer, slots: Arc::clone(self), open, _permit: permit }
    }

    /// Applies other trusted proxies to the connections that are open.
    pub(in crate::server) fn reclassify(&self, is_trusted: impl Fn(IpAddr) -> bool) {
        let mut table = self.table();
        let mut changed: Vec<_> =
            table.peers.values().filter(|peer| peer.is_untrusted() == is_trusted(peer.address())).cloned().collect();
        // Newly trusted peers first: they make room in the share of the untrusted ones.
        changed.sort_by_key(|peer| !peer.is_untrusted());
        for peer in changed {
            if peer.is_untrusted() {
                table.untrusted.remove(peer.last_active());
                peer.mark_trusted();
            } else {
                let sequence = table.next_sequence();
                table.add_untrusted(&peer, sequence);
            }
            peer.signal(ConnSignals::RECHECK_TIMEOUTS);
        }
    }

    /// Returns `true` if no slot is in use.
    #[cfg(test)]
    pub(super) fn is_unused(&self) -> bool {
        let table = self.table();
        table.peers.is_empty() && table.untrusted.is_empty() && table.handshakes.is_empty()
    }

    fn table(&self) -> MutexGuard<'_, SlotTable> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SlotTable {
    fn next_sequence(&mut self) -> u64 {
        let sequence = self.next_sequence;
        self.next_sequence += 1;
        sequence
    }

    fn add_untrusted(&mut self, peer: &Arc<PeerState>, sequence: u64) {
        peer.mark_untrusted(sequence);
        if self.untrusted.insert(sequence, peer) {
            self.log_eviction();
        }
    }

    /// Logs the first eviction at once, further ones once in [`LOG_INTERVAL`] with their number.
    fn log_eviction(&mut self) {
        self.unlogged_evictions += 1;
        if self.logged_at.is_none_or(|logged_at| logged_at.elapsed() >= LOG_INTERVAL) {
            self.logged_at = Some(Instant::now());
            tracing::warn!(
                count = std::mem::take(&mut self.unlogged_evictions),
                "too many connections of peers outside server.trusted_proxies; closing the least recently active"
            );
        }
    }
}

impl ConnectionSlot {
    /// Peer of the connection.
    pub(in crate::server) fn peer(&self) -> &PeerState {
        &self.peer
    }

    /// Records that a request has begun. Returns a guard to keep until it is answered: an untrusted peer that waits for an
    /// answer is not idle. `None` for trusted peers.
    pub(in crate::server) fn request_started(&self) -> Option<RequestGuard> {
        if !self.peer.is_untrusted() {
            return None;
        }
        let mut table = self.slots.table();
        // Not there if the peer has been reclassified or evicted meanwhile.
        if table.untrusted.remove(self.peer.last_active()) {
            let sequence = table.next_sequence();
            self.peer.mark_untrusted(sequence);
            table.untrusted.insert(sequence, &self.peer);
        }
        drop(table);
        Some(RequestGuard::new(&self.peer))
    }

    /// Records a TLS handshake as under way until the guard is dropped.
    pub(in crate::server) fn handshake_started(&self) -> HandshakeGuard<'_> {
        let sequence = self.peer.is_untrusted().then(|| {
            let mut table = self.slots.table();
            let sequence = table.next_sequence();
            if table.handshakes.insert(sequence, &self.peer) {
                table.log_eviction();
            }
            sequence
        });
        HandshakeGuard { slots: &self.slots, sequence }
    }
}

impl Drop for ConnectionSlot {
    fn drop(&mut self) {
        let mut table = self.slots.table();
        table.peers.remove(&self.peer.connection());
        if self.peer.is_untrusted() {
            table.untrusted.remove(self.peer.last_active());
        }
        drop(table);
        self.open.dec();
    }
}

/// TLS handshake under way.
pub(in crate::server) struct HandshakeGuard<'s> {
    slots: &'s ConnectionSlots,
    sequence: Option<u64>,
}

impl Drop for HandshakeGuard<'_> {
    fn drop(&mut self) {
        if let Some(sequence) = self.sequence {
            self.slots.table().handshakes.remove(sequence);
        }
    }
}
