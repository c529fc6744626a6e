//! How each edge describes the original request: one source each, and every other header that speaks of it is ignored.
//!
//! It must not know how the answer is written, nor what is done with the request.

use std::net::IpAddr;

use http::{HeaderMap, HeaderName, request::Parts};

use super::{
    AuthRequest, BadRequest, Edge, TrustedPeer, TrustedProxies, address,
    field::{Field, asked_host, is_method, target},
};
use crate::host::Authority;

static FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// What an edge's one source says. The scheme is not in it: that is configuration.
struct Original<'r> {
    method: Option<&'r str>,
    authority: Authority<'r>,
    target: &'r str,
    /// `X-Forwarded-For`, which every edge has in common.
    client: Field<'r>,
    /// The host that the edge routed by, where it says so beside its source.
    routed: Option<Authority<'r>>,
}

/// Reads the original request out of the one source that this edge has for it.
///
/// `envoy_target` is what follows `/auth/envoy` on the raw request line; other edges do not use it. Where the edge also says
/// which host it routed by ([`AuthRequest::routed`]), the caller has to see to it that both lead to the same app.
pub fn read<'r>(
    edge: Edge,
    peer: TrustedPeer<'_>,
    request: &'r Parts,
    envoy_target: &'r str,
) -> Result<AuthRequest<'r>, BadRequest> {
    let Original { method, authority, target, client, routed } = match edge {
        Edge::Traefik => forwarded(request)?,
        // Caddy keeps the client's `Host`, and passes on the `X-Forwarded-Host` of whoever stands in its `trusted_proxies`.
        Edge::Caddy => Original { routed: Some(asked_host(request)?), ..forwarded(request)? },
        Edge::Nginx => original_url(request)?,
        Edge::Envoy => request_line(request, envoy_target)?,
    };
    let client = address::client(peer, &client);
    Ok(AuthRequest { edge, method, authority, routed, target, client, headers: &request.headers })
}

/// The client of a request that came over a direct route: the peer, or whom it speaks for where it is an edge.
#[must_use]
pub fn direct_client(proxies: &TrustedProxies, peer: IpAddr, headers: &HeaderMap) -> Option<IpAddr> {
    let Some(trusted) = proxies.admit(peer) else { return Some(peer.to_canonical()) };
    address::client(trusted, &Field::of(headers, &FORWARDED_FOR, "X-Forwarded-For"))
}

/// Traefik and Caddy overwrite these three whatever the client sent.
fn forwarded(request: &Parts) -> Result<Original<'_>, BadRequest> {
    let mut method = Field::spelt("X-Forwarded-Method");
    let mut host = Field::spelt("X-Forwarded-Host");
    let mut uri = Field::spelt("X-Forwarded-Uri");
    let mut client = Field::spelt("X-Forwarded-For");
    // One walk over some twenty lines: to look each name up costs more.
    for (name, value) in &request.headers {
        match name.as_str() {
            "x-forwarded-method" => method.see(value),
            "x-forwarded-host" => host.see(value),
            "x-forwarded-uri" => uri.see(value),
            "x-forwarded-for" => client.see(value),
            _ => {}
        }
    }
    Ok(Original {
        method: Some(method.method(method.required()?)?),
        authority: host.authority(host.required()?)?,
        target: uri.target(uri.required()?)?,
        client,
        routed: None,
    })
}

/// nginx (and `HAProxy` in its place) is configured to send the whole address in one line. It routes by `Host`, while the
/// address may name another one: for a request in absolute form `$http_host` is whatever the client wrote beside it.
fn original_url(request: &Parts) -> Result<Original<'_>, BadRequest> {
    let mut url = Field::spelt("X-Original-URL");
    let mut method = Field::spelt("X-Original-Method");
    let mut client = Field::spelt("X-Forwarded-For");
    for (name, value) in &request.headers {
        match name.as_str() {
            "x-original-url" => url.see(value),
            "x-original-method" => method.see(value),
            "x-forwarded-for" => client.see(value),
            _ => {}
        }
    }
    let whole = url.required()?;
    let rest = whole
        .strip_prefix("https://")
        .or_else(|| whole.strip_prefix("http://"))
        .ok_or(url.fault("is not an absolute http or https address"))?;
    // A target such as `?x` straight behind the host is no request line's, and falls to the check for a slash.
    let end = rest.bytes().position(|byte| matches!(byte, b'/' | b'?' | b'#')).unwrap_or(rest.len());
    let (authority, target) = rest.split_at(end);
    Ok(Original {
        method: method.text()?.map(|text| method.method(text)).transpose()?,
        authority: url.authority(authority)?,
        target: url.target(target)?,
        client,
        routed: Some(asked_host(request)?),
    })
}

/// Envoy repeats the original request line behind its prefix, and keeps `Host`.
fn request_line<'r>(request: &'r Parts, envoy_target: &'r str) -> Result<Original<'r>, BadRequest> {
    let fault = |problem| BadRequest { header: "the request line", problem };
    let client = Field::of(&request.headers, &FORWARDED_FOR, "X-Forwarded-For");
    let method = request.method.as_str();
    if !is_method(method) {
        return Err(fault("has a method that is not in capitals"));
    }
    Ok(Original {
        method: Some(method),
        authority: asked_host(request)?,
        client,
        routed: None,
        target: target(envoy_target).map_err(|problem| match envoy_target {
            "" => fault("ends where the original target should stand"),
            _ => fault(problem),
        })?,
    })
}
