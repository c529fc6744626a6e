//! Which peers may speak for a client.
//!
//! [`TrustedPeer`] is a proof: without one the forwarded headers cannot be read.

use std::{net::IpAddr, ops::RangeInclusive};

use ipnet::IpNet;

/// The networks whose peers are believed, from their first addresses to their last, as numbers: two comparisons tell who
/// is in.
#[derive(Clone, Debug)]
pub struct TrustedProxies {
    v4: Vec<RangeInclusive<u32>>,
    v6: Vec<RangeInclusive<u128>>,
}

impl TrustedProxies {
    /// Believes peers in these networks and no others.
    #[must_use]
    pub fn new(networks: Vec<IpNet>) -> Self {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for network in networks {
            match network {
                IpNet::V4(network) => v4.push(network.network().to_bits()..=network.broadcast().to_bits()),
                IpNet::V6(network) => v6.push(network.network().to_bits()..=network.broadcast().to_bits()),
            }
        }
        Self { v4, v6 }
    }

    /// The proof that this peer is believed.
    #[must_use]
    pub fn admit(&self, peer: IpAddr) -> Option<TrustedPeer<'_>> {
        self.contains(peer).then_some(TrustedPeer { proxies: self })
    }

    /// Whether an address is one of a trusted proxy. `::ffff:10.0.0.1` is `10.0.0.1`.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        match address.to_canonical() {
            IpAddr::V4(address) => self.v4.iter().any(|network| network.contains(&address.to_bits())),
            IpAddr::V6(address) => self.v6.iter().any(|network| network.contains(&address.to_bits())),
        }
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
