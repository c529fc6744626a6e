//! Who the client is, by the word of trusted hops alone.

use std::net::{IpAddr, SocketAddr};

use super::{
    BadRequest, TrustedPeer,
    field::{FORWARDED_FOR, Line},
};

/// The client in `X-Forwarded-For`, or `None` where the edge does not say.
///
/// Each hop appends the peer that it saw, so the chain is believed from the right for as long as the hops are trusted
/// proxies: the first that is none is the client, and what stands left of it is whatever that client made up. Where all
/// are trusted, the leftmost is the client.
pub(super) fn client(peer: TrustedPeer<'_>, line: Line<'_>) -> Result<Option<IpAddr>, BadRequest> {
    let Some(chain) = line? else {
        return Ok(None);
    };
    let mut client = None;
    for hop in chain.rsplit(',') {
        let address = address(hop.trim_ascii()).ok_or(FORWARDED_FOR.fault("holds something that is no address"))?;
        client = Some(address);
        if !peer.vouches_for(address) {
            break;
        }
    }
    Ok(client)
}

/// An address, bare or with the port that some load balancers add. `::ffff:10.0.0.1` is `10.0.0.1`.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    bare.parse::<IpAddr>()
        .or_else(|_| text.parse::<SocketAddr>().map(|address| address.ip()))
        .map(|address| address.to_canonical())
        .ok()
}
