//! Caddy `forward_auth`: the headers of Traefik's dialect, and the client's `Host` as a second witness.
//!
//! Caddy overwrites the headers, but passes on the `X-Forwarded-Host` of a peer in its `trusted_proxies`. It routes by `Host`.

use http::request::Parts;

use super::{original::Original, traefik};
use crate::edge::field::{BadRequest, request_host};

/// Sends the host that Caddy routes by, and no other.
pub(super) const MEND_HOST: &str = "in forward_auth: header_up X-Forwarded-Host {http.request.hostport}";

/// Passes the client's cookies to the check.
pub(super) const MEND_COOKIES: &str = "in forward_auth: remove header_up lines that remove or replace Cookie";

/// Passes on what the gate reads.
pub(super) const MEND_HEADERS: &str =
    "in forward_auth: remove header_up lines that remove Accept, Sec-Fetch-Dest, Sec-Fetch-Mode or Sec-Fetch-Site";

/// Reads the original request.
pub(super) fn read(request: &Parts) -> Result<Original<'_>, BadRequest> {
    Ok(Original { routed: Some(request_host(request)?), ..traefik::read(request)? })
}
