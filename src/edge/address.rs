//! The client's address, from `X-Forwarded-For`.
//!
//! Promises: only what trusted proxies appended counts.

use std::net::{IpAddr, SocketAddr};

use super::{field::Field, trust::TrustedPeer};

/// The client of a subrequest as trusted proxies describe it. Parsed only where it is asked for: most requests are answered
/// without it.
#[derive(Clone, Copy, Debug)]
pub struct ForwardedClient<'r>(ClientSource<'r>);

/// Source of a client's address.
#[derive(Clone, Copy, Debug)]
enum ClientSource<'r> {
    /// The line of a trusted peer.
    Forwarded(TrustedPeer<'r>, Field<'r>),
    /// The peer itself, which forwards for nobody.
    Peer(IpAddr),
}

impl<'r> ForwardedClient<'r> {
    /// The client that this line of a trusted peer names.
    pub(super) fn new(peer: TrustedPeer<'r>, forwarded: Field<'r>) -> Self {
        Self(ClientSource::Forwarded(peer, forwarded))
    }

    /// The peer of a connection, where that is the client.
    pub(super) fn of_peer(peer: IpAddr) -> Self {
        Self(ClientSource::Peer(peer))
    }

    /// A client that nothing trustworthy is told about.
    pub(super) fn unknown(peer: TrustedPeer<'r>) -> Self {
        Self(ClientSource::Forwarded(peer, Field::named("X-Forwarded-For")))
    }

    /// Returns its address, or `None` where it is unknown.
    #[must_use]
    pub fn address(&self) -> Option<IpAddr> {
        match &self.0 {
            ClientSource::Forwarded(peer, forwarded) => client(*peer, forwarded),
            ClientSource::Peer(peer) => Some(peer.to_canonical()),
        }
    }
}

/// Returns the client in `X-Forwarded-For`, or `None` where it is unknown.
///
/// Each hop appends the peer that it saw, so the chain is trusted from the right for as long as the hops are trusted proxies:
/// the first that is none is the client, and the client may have made up everything left of it. The client is unknown where
/// all hops are trusted, where the line is repeated, and where the hop that counts is no address.
pub(super) fn client(peer: TrustedPeer<'_>, forwarded: &Field<'_>) -> Option<IpAddr> {
    let mut left = forwarded.text().ok()?;
    while let Some(chain) = left {
        // Nearly always one hop of a few bytes: the set-up of `memchr` costs more than it saves.
        let (before, hop) = match chain.bytes().rposition(|byte| byte == b',') {
            Some(comma) => (chain.get(..comma), chain.get(comma + 1..).unwrap_or_default()),
            None => (None, chain),
        };
        let address = address(hop.trim_ascii())?;
        if !peer.trusts(address) {
            return Some(address);
        }
        left = before;
    }
    None
}

/// Parses an address, bare or with the port that some load balancers add. `::ffff:10.0.0.1` is `10.0.0.1`; the zone of
/// `fe80::1%eth0` is dropped, because it only means something on the hop that wrote it.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    bare.parse::<IpAddr>()
        .or_else(|_| text.parse::<SocketAddr>().map(|address| address.ip()))
        .map(|address| address.to_canonical())
        .ok()
        .or_else(|| without_zone(bare))
}

/// Parses an IPv6 address with a zone (RFC 4007, section 11).
fn without_zone(text: &str) -> Option<IpAddr> {
    let (address, zone) = text.split_once('%')?;
    let is_zone = !zone.is_empty() && zone.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte));
    address.parse::<std::net::Ipv6Addr>().ok().filter(|_| is_zone).map(|address| address.to_canonical())
}
