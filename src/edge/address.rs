//! Who the client is, by the word of trusted hops alone.

use std::net::{IpAddr, SocketAddr};

use super::{BadRequest, TrustedPeer, field::Field};

/// The client in `X-Forwarded-For`, or `None` where the edge does not say.
///
/// Each hop appends the peer that it saw, so the chain is believed from the right for as long as the hops are trusted
/// proxies: the first that is none is the client, and what stands left of it is whatever that client made up. Where all
/// are trusted, the leftmost is the client.
pub(super) fn client(peer: TrustedPeer<'_>, forwarded: &Field<'_>) -> Result<Option<IpAddr>, BadRequest> {
    let Some(mut chain) = forwarded.text()? else {
        return Ok(None);
    };
    loop {
        // Nearly always there is one hop of a few bytes: nothing that searches fast is worth its beginning.
        let (before, hop) = match chain.bytes().rposition(|byte| byte == b',') {
            Some(comma) => (chain.get(..comma), chain.get(comma + 1..).unwrap_or_default()),
            None => (None, chain),
        };
        let address = address(hop.trim_ascii()).ok_or(forwarded.fault("holds something that is no address"))?;
        match before {
            Some(before) if peer.vouches_for(address) => chain = before,
            _ => return Ok(Some(address)),
        }
    }
}

/// An address, bare or with the port that some load balancers add. `::ffff:10.0.0.1` is `10.0.0.1`.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    bare.parse::<IpAddr>()
        .or_else(|_| text.parse::<SocketAddr>().map(|address| address.ip()))
        .map(|address| address.to_canonical())
        .ok()
}
