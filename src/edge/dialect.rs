//! How each edge describes the original request: one source each, and every other header that speaks of it is ignored.
//!
//! It must not know how the answer is written, nor what is done with the request.

use http::request::Parts;

use super::{
    AuthRequest, BadRequest, Edge, TrustedPeer, address,
    field::{
        FORWARDED_FOR, FORWARDED_HOST, FORWARDED_METHOD, FORWARDED_URI, Line, ORIGINAL_METHOD, ORIGINAL_URL,
        asked_host, is_method, lines, target,
    },
};
use crate::host::Authority;

/// What an edge's one source says. The scheme is not in it: that is configuration.
struct Original<'r> {
    method: Option<&'r str>,
    authority: Authority<'r>,
    target: &'r str,
    /// `X-Forwarded-For`, which every edge has in common.
    client: Line<'r>,
}

/// Reads the original request out of the one source that this edge has for it.
///
/// `envoy_target` is what follows `/auth/envoy` on the raw request line; other edges do not use it. The caller of the nginx
/// dialect still has to compare [`asked_host`] with the authority: where it names another app, the request is refused.
pub fn read<'r>(
    edge: Edge,
    peer: TrustedPeer<'_>,
    request: &'r Parts,
    envoy_target: &'r str,
) -> Result<AuthRequest<'r>, BadRequest> {
    let Original { method, authority, target, client } = match edge {
        Edge::Traefik | Edge::Caddy => forwarded(request)?,
        Edge::Nginx => original_url(request)?,
        Edge::Envoy => request_line(request, envoy_target)?,
    };
    let client = address::client(peer, client)?;
    Ok(AuthRequest { edge, method, authority, target, client, headers: &request.headers })
}

/// Traefik and Caddy overwrite these three whatever the client sent.
fn forwarded(request: &Parts) -> Result<Original<'_>, BadRequest> {
    let fields = [&FORWARDED_METHOD, &FORWARDED_HOST, &FORWARDED_URI, &FORWARDED_FOR];
    let [method, host, uri, client] = lines(&request.headers, fields);
    Ok(Original {
        method: Some(FORWARDED_METHOD.method(FORWARDED_METHOD.required(method)?)?),
        authority: FORWARDED_HOST.authority(FORWARDED_HOST.required(host)?)?,
        target: FORWARDED_URI.target(FORWARDED_URI.required(uri)?)?,
        client,
    })
}

/// nginx (and `HAProxy` in its place) is configured to send the whole address in one line.
fn original_url(request: &Parts) -> Result<Original<'_>, BadRequest> {
    let [url, method, client] = lines(&request.headers, [&ORIGINAL_URL, &ORIGINAL_METHOD, &FORWARDED_FOR]);
    let url = ORIGINAL_URL.required(url)?;
    let rest = url
        .strip_prefix("https://")
        .or_else(|| url.strip_prefix("http://"))
        .ok_or(ORIGINAL_URL.fault("is not an absolute http or https address"))?;
    // A target such as `?x` straight behind the host is no request line's, and falls to the check for a slash.
    let (authority, target) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    Ok(Original {
        method: method?.map(|text| ORIGINAL_METHOD.method(text)).transpose()?,
        authority: ORIGINAL_URL.authority(authority)?,
        target: ORIGINAL_URL.target(target)?,
        client,
    })
}

/// Envoy repeats the original request line behind its prefix, and keeps `Host`.
fn request_line<'r>(request: &'r Parts, envoy_target: &'r str) -> Result<Original<'r>, BadRequest> {
    let fault = |problem| BadRequest { header: "the request line", problem };
    let [client] = lines(&request.headers, [&FORWARDED_FOR]);
    let method = request.method.as_str();
    if !is_method(method) {
        return Err(fault("has a method that is not in capitals"));
    }
    Ok(Original {
        method: Some(method),
        authority: asked_host(request)?,
        client,
        target: target(envoy_target).map_err(|problem| match envoy_target {
            "" => fault("ends where the original target should stand"),
            _ => fault(problem),
        })?,
    })
}
