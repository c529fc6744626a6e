//! `Traefik` `ForwardAuth`: the original request in `X-Forwarded-Method`, `X-Forwarded-Host` and `X-Forwarded-Uri`.
//!
//! Trusted because Traefik overwrites these three whatever the client sent. `Host` is the gate's own name there.

use http::request::Parts;

use super::original::Original;
use crate::edge::field::{BadRequest, Field};

/// The header that names the original host.
pub(super) const HOST: &str = "X-Forwarded-Host";

/// Reads the original request.
pub(super) fn read(request: &Parts) -> Result<Original<'_>, BadRequest> {
    let mut method = Field::named("X-Forwarded-Method");
    let mut host = Field::named(HOST);
    let mut uri = Field::named("X-Forwarded-Uri");
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
