//! Untrusted peers that share a number of slots, in order of their last activity.
//!
//! Inserting never fails: where the limit of all or that of one network is reached, the least recently active peer is evicted and
//! its connection aborted, as nginx frees reusable connections.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use foldhash::{HashMap, HashMapExt as _};

use super::peer::{ConnSignals, PeerState};
use crate::edge::Network;

/// Untrusted peers by the sequence number of their last activity.
pub(super) struct UntrustedPeers {
    max: usize,
    max_per_network: usize,
    by_activity: BTreeMap<u64, Arc<PeerState>>,
    by_network: HashMap<Network, BTreeSet<u64>>,
}

impl UntrustedPeers {
    /// Creates an empty set for `max` peers, `max_per_network` of each network.
    pub(super) fn new(max: usize, max_per_network: usize) -> Self {
        Self { max, max_per_network, by_activity: BTreeMap::new(), by_network: HashMap::new() }
    }

    /// Inserts a peer whose `sequence` is higher than all others'. Returns `true` if another one was evicted.
    pub(super) fn insert(&mut self, sequence: u64, peer: &Arc<PeerState>) -> bool {
        let network = self.by_network.get(&peer.network()).filter(|own| own.len() >= self.max_per_network);
        let of_network = network.and_then(BTreeSet::first).copied();
        let of_all = || {
            self.by_activity.first_key_value().filter(|_| self.by_activity.len() >= self.max).map(|(oldest, _)| *oldest)
        };
        let evicted = of_network.or_else(of_all).and_then(|oldest| self.take(oldest));
        self.by_network.entry(peer.network()).or_default().insert(sequence);
        self.by_activity.insert(sequence, Arc::clone(peer));
        evicted.inspect(|evicted| evicted.signal(ConnSignals::ABORT)).is_some()
    }

    /// Removes a peer. Returns `true` if it was there.
    pub(super) fn remove(&mut self, sequence: u64) -> bool {
        self.take(sequence).is_some()
    }

    /// Evicts the least recently active peer. Returns `false` if there is none.
    pub(super) fn evict(&mut self) -> bool {
        let oldest = self.by_activity.first_key_value().map(|(oldest, _)| *oldest);
        let evicted = oldest.and_then(|oldest| self.take(oldest));
        evicted.inspect(|evicted| evicted.signal(ConnSignals::ABORT)).is_some()
    }

    /// Returns `true` if there are no peers.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.by_activity.is_empty() && self.by_network.is_empty()
    }

    fn take(&mut self, sequence: u64) -> Option<Arc<PeerState>> {
        let peer = self.by_activity.remove(&sequence)?;
        if let Some(own) = self.by_network.get_mut(&peer.network()) {
            own.remove(&sequence);
            if own.is_empty() {
                self.by_network.remove(&peer.network());
            }
        }
        Some(peer)
    }
}
