//! Which peers may speak for a client.
//!
//! [`TrustedPeer`] is a proof: without one the forwarded headers cannot be read.

use std::{net::IpAddr, ops::RangeInclusive};

use ipnet::IpNet;

/// The networks whose peers are believed, from their first addresses to their last: two comparisons tell who is in.
#[derive(Clone, Debug)]
pub struct TrustedProxies(Vec<RangeInclusive<IpAddr>>);

impl TrustedProxies {
    /// Believes peers in these networks and no others.
    #[must_use]
    pub fn new(networks: Vec<IpNet>) -> Self {
        Self(networks.into_iter().map(|network| network.network()..=network.broadcast()).collect())
    }

    /// The proof that this peer is believed.
    #[must_use]
    pub fn admit(&self, peer: IpAddr) -> Option<TrustedPeer<'_>> {
        self.contains(peer).then_some(TrustedPeer { proxies: self })
    }

    /// Whether an address is one of a trusted proxy. `::ffff:10.0.0.1` is `10.0.0.1`.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }
}

/// Proof that the peer at the other end of a connection may speak for clients.
#[derive(Clone, Copy, Debug)]
pub struct TrustedPeer<'a> {
    proxies: &'a TrustedProxies,
}

impl TrustedPeer<'_> {
    /// Whether `address`, named by this peer, is itself a trusted proxy.
    #[must_use]
    pub fn vouches_for(&self, address: IpAddr) -> bool {
        self.proxies.contains(address)
    }
}
