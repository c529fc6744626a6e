//! The dialects of auth subrequests, one file each: `ForwardAuth` ([`traefik`]), `forward_auth` ([`caddy`]), `auth_request`
//! ([`nginx`]), `ext_authz` ([`envoy`]), and the one of oauth2-proxy that several edges are set up for ([`oauth2_proxy`]).
//!
//! Promises: each dialect has one source that describes the original request, and every other header that does is ignored, or in
//! the last one has to agree.

mod caddy;
mod envoy;
mod nginx;
mod oauth2_proxy;
mod original;
mod proxy;
mod traefik;

use std::net::IpAddr;

use http::HeaderMap;

use self::original::{FORWARDED_FOR, Original};
use super::{
    address::{self, ForwardedClient},
    field::{BadRequest, Field},
    request::{AuthRequest, Edge, Namespace, Subrequest},
    trust::{TrustedPeer, TrustedProxies},
};

/// Host that an edge routed by, in contradiction to its description of the original request.
#[derive(Debug)]
pub struct HostMismatch {
    /// The header that describes the original request.
    pub header: &'static str,
    /// The host in it.
    pub described: String,
    /// The host that the edge routed by.
    pub routed: String,
    /// Lines for the edge's configuration that put an end to it.
    pub mend: &'static str,
}

impl HostMismatch {
    /// The mismatch without its hosts, for the client.
    #[must_use]
    pub fn problem(&self) -> BadRequest {
        BadRequest { header: self.header, problem: "names another host than Host does" }
    }
}

/// Reads the original request from the source of the subrequest's dialect.
///
/// In some dialects the edge also says which host it routed by; [`cross_check`] has to follow. `service_hosts` are names under
/// which edges reach the gate itself.
pub fn read<'r>(
    peer: TrustedPeer<'r>,
    subrequest: &Subrequest<'r>,
    service_hosts: &[String],
) -> Result<AuthRequest<'r>, BadRequest> {
    let Subrequest { edge, namespace, parts, target, .. } = *subrequest;
    let Original { method, authority, target, client, routed } = match edge {
        Edge::Traefik => traefik::read(parts)?,
        Edge::Caddy => caddy::read(parts)?,
        Edge::Nginx => nginx::read(parts)?,
        Edge::Envoy => envoy::read(parts, target)?,
        Edge::OAuth2Proxy => oauth2_proxy::read(parts, service_hosts)?,
        Edge::Proxy => proxy::read(parts)?,
    };
    let client = match (edge, namespace) {
        // Its usual configuration for nginx passes on what clients wrote.
        (Edge::Nginx, Namespace::Authentik) => ForwardedClient::unknown(peer),
        _ => ForwardedClient::new(peer, client),
    };
    Ok(AuthRequest { edge, method, authority, routed, target, client, headers: &parts.headers })
}

/// Reads a request that the gate itself passes on, of any peer: only a trusted proxy says for whom it forwards.
pub fn read_proxied<'r>(
    proxies: &'r TrustedProxies,
    subrequest: &Subrequest<'r>,
) -> Result<AuthRequest<'r>, BadRequest> {
    if let Some(trusted) = proxies.admit(subrequest.peer) {
        return read(trusted, subrequest, &[]);
    }
    let Subrequest { edge, peer, parts, .. } = *subrequest;
    let Original { method, authority, target, routed, .. } = proxy::read(parts)?;
    let client = ForwardedClient::of_peer(peer);
    Ok(AuthRequest { edge, method, authority, routed, target, client, headers: &parts.headers })
}

/// Compares the host that is judged with the host that the edge routed by, in dialects that send both.
///
/// They are the same, or `is_same_app` finds one app that names them both. A name under which edges reach the gate itself
/// (`service_hosts`) says nothing about the original request.
pub fn cross_check(
    request: &AuthRequest<'_>,
    service_hosts: &[String],
    is_same_app: impl FnOnce(&str, &str) -> bool,
) -> Result<(), HostMismatch> {
    let Some(routed) = &request.routed else { return Ok(()) };
    let (described, routed) = (request.authority.host(), routed.host());
    if routed == described || service_hosts.iter().any(|service| service == routed) || is_same_app(described, routed) {
        return Ok(());
    }
    let (header, mend) = match request.edge {
        Edge::Caddy => (traefik::HOST, caddy::MEND_HOST),
        Edge::Nginx | Edge::Traefik | Edge::Envoy | Edge::OAuth2Proxy | Edge::Proxy => (nginx::URL, nginx::MEND_HOST),
    };
    Err(HostMismatch { header, described: described.to_owned(), routed: routed.to_owned(), mend })
}

/// Returns the line for an edge's configuration that makes it send the original method, where it can be configured not to.
#[must_use]
pub fn mend_method(edge: Edge) -> &'static str {
    match edge {
        Edge::Nginx => nginx::MEND_METHOD,
        Edge::OAuth2Proxy => oauth2_proxy::MEND_METHOD,
        Edge::Traefik | Edge::Caddy | Edge::Envoy | Edge::Proxy => "",
    }
}

/// Returns the lines for an edge's configuration that make it pass the client's cookies to the check.
#[must_use]
pub fn mend_cookies(edge: Edge) -> &'static str {
    match edge {
        Edge::Traefik => traefik::MEND_COOKIES,
        Edge::Caddy => caddy::MEND_COOKIES,
        Edge::Nginx => nginx::MEND_COOKIES,
        Edge::Envoy => envoy::MEND_COOKIES,
        Edge::OAuth2Proxy => oauth2_proxy::MEND_COOKIES,
        // Nothing stands between the client and the gate.
        Edge::Proxy => "",
    }
}

/// Returns the lines for an edge's configuration that make it pass on the headers which tell pages from scripts.
#[must_use]
pub fn mend_headers(edge: Edge) -> &'static str {
    match edge {
        Edge::Traefik => traefik::MEND_HEADERS,
        Edge::Caddy => caddy::MEND_HEADERS,
        Edge::Nginx => nginx::MEND_HEADERS,
        Edge::Envoy => envoy::MEND_HEADERS,
        Edge::OAuth2Proxy => oauth2_proxy::MEND_HEADERS,
        Edge::Proxy => "",
    }
}

/// Returns `true` for a request that carries an edge's description of another one.
#[must_use]
pub fn is_question(headers: &HeaderMap) -> bool {
    [traefik::URI, nginx::URL].iter().any(|name| headers.contains_key(*name))
}

/// Returns the client of a request over a direct route: the peer, or the client that a trusted proxy forwards for.
#[must_use]
pub fn direct_client(proxies: &TrustedProxies, peer: IpAddr, headers: &HeaderMap) -> Option<IpAddr> {
    let Some(trusted) = proxies.admit(peer) else { return Some(peer.to_canonical()) };
    address::client(trusted, &Field::of(headers, &FORWARDED_FOR, "X-Forwarded-For"))
}
