//! `Traefik` `ForwardAuth`: the original request in `X-Forwarded-Method`, `X-Forwarded-Host` and `X-Forwarded-Uri`.
//!
//! Trusted because Traefik overwrites these three whatever the client sent. `Host` is the gate's own name there.

use http::request::Parts;

use super::original::Original;
use crate::edge::field::{BadRequest, Field};

/// The header that names the original host.
pub(super) const HOST: &str = "X-Forwarded-Host";

/// The header that names the original target.
pub(super) const URI: &str = "X-Forwarded-Uri";

/// Passes the client's cookies to the check.
pub(super) const MEND_COOKIES: &str =
    "in forwardAuth: add Cookie to authRequestHeaders, or leave authRequestHeaders out, which passes all headers";

/// Passes on what the gate reads.
pub(super) const MEND_HEADERS: &str = "in forwardAuth: authRequestHeaders: [Accept, Authorization, Cookie, Doorward-Token, Origin, Purpose, Referer, Sec-Fetch-Dest, Sec-Fetch-Mode, \
     Sec-Fetch-Site, Sec-Purpose, Sec-WebSocket-Version, Upgrade, X-Requested-With], or none at all, which passes all headers";

/// Reads the original request.
pub(super) fn read(request: &Parts) -> Result<Original<'_>, BadRequest> {
    let mut method = Field::named("X-Forwarded-Method");
    let mut host = Field::named(HOST);
    let mut uri = Field::named(URI);
    let mut client = Field::named("X-Forwarded-For");
    // One pass over some twenty lines: looking each name up costs more.
    for (name, value) in &request.headers {
        match name.as_str() {
            "x-forwarded-method" => method.add(value),
            "x-forwarded-host" => host.add(value),
            "x-forwarded-uri" => uri.add(value),
            "x-forwarded-for" => client.add(value),
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
