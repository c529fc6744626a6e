//! Who the client is, by the word of trusted hops alone.

use std::net::{IpAddr, SocketAddr};

use super::{TrustedPeer, field::Field};

/// The client in `X-Forwarded-For`, or `None` where it is unknown.
///
/// Each hop appends the peer that it saw, so the chain is believed from the right for as long as the hops are trusted
/// proxies: the first that is none is the client, and what stands left of it is whatever that client made up. Where all
/// are trusted, where the line is repeated, and where the hop that counts is no address, nobody can tell who the client is.
pub(super) fn client(peer: TrustedPeer<'_>, forwarded: &Field<'_>) -> Option<IpAddr> {
    let mut left = forwarded.text().ok()?;
    while let Some(chain) = left {
        // Nearly always there is one hop of a few bytes: nothing that searches fast is worth its beginning.
        let (before, hop) = match chain.bytes().rposition(|byte| byte == b',') {
            Some(comma) => (chain.get(..comma), chain.get(comma + 1..).unwrap_or_default()),
            None => (None, chain),
        };
        let address = address(hop.trim_ascii())?;
        if !peer.vouches_for(address) {
            return Some(address);
        }
        left = before;
    }
    None
}

/// An address, bare or with the port that some load balancers add. `::ffff:10.0.0.1` is `10.0.0.1`, and the zone of
/// `fe80::1%eth0` means something to the hop that wrote it alone.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    bare.parse::<IpAddr>()
        .or_else(|_| text.parse::<SocketAddr>().map(|address| address.ip()))
        .map(|address| address.to_canonical())
        .ok()
        .or_else(|| without_zone(bare))
}

/// RFC 4007, section 11.
fn without_zone(text: &str) -> Option<IpAddr> {
    let (address, zone) = text.split_once('%')?;
    let is_zone = !zone.is_empty() && zone.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte));
    address.parse::<std::net::Ipv6Addr>().ok().filter(|_| is_zone).map(IpAddr::from)
}
