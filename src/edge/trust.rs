//! Trusted proxies: the peers that may forward for clients (`server.trusted_proxies`).
//!
//! Promises: [`TrustedPeer`] is a proof, and without one the forwarded headers cannot be read.

use std::{net::IpAddr, ops::RangeInclusive};

use ipnet::IpNet;

/// Networks of trusted proxies, as ranges of numbers: one membership test is two comparisons.
#[derive(Clone, Debug)]
pub struct TrustedProxies {
    v4: Vec<RangeInclusive<u32>>,
    v6: Vec<RangeInclusive<u128>>,
}

impl TrustedProxies {
    /// Trusts peers in these networks and no others.
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

    /// Returns a proof where this peer is trusted.
    #[must_use]
    pub fn admit(&self, peer: IpAddr) -> Option<TrustedPeer<'_>> {
        self.contains(peer).then_some(TrustedPeer { proxies: self })
    }

    /// Returns `true` if the address is that of a trusted proxy. `::ffff:10.0.0.1` is `10.0.0.1`.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        match address.to_canonical() {
            IpAddr::V4(address) => self.v4.iter().any(|network| network.contains(&address.to_bits())),
            IpAddr::V6(address) => self.v6.iter().any(|network| network.contains(&address.to_bits())),
        }
    }
}

/// Proof that the peer at the other end of a connection may forward for clients.
#[derive(Clone, Copy, Debug)]
pub struct TrustedPeer<'a> {
    proxies: &'a TrustedProxies,
}

impl TrustedPeer<'_> {
    /// Returns `true` if `address`, named by this peer, is itself a trusted proxy.
    #[must_use]
    pub fn trusts(&self, address: IpAddr) -> bool {
        self.proxies.contains(address)
    }
}
