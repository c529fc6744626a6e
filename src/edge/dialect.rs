//! How each edge asks and must be answered.

use bytes::Bytes;
use http::request::Parts;
use http_body_util::Full;

use super::{AuthRequest, BadRequest, Edge, TrustedPeer, Verdict};

/// What goes back to the edge.
pub type Response = http::Response<Full<Bytes>>;

/// Reads the original request out of the one source that this edge has for it.
///
/// `envoy_target` is what follows `/auth/envoy` on the raw request line.
pub fn read<'r>(
    edge: Edge,
    _peer: TrustedPeer<'_>,
    _request: &'r Parts,
    _envoy_target: &'r str,
) -> Result<AuthRequest<'r>, BadRequest> {
    let _ = edge;
    Err(BadRequest { header: "", problem: "" })
}

/// Writes the verdict as this edge understands it.
#[must_use]
pub fn write(_edge: Edge, _verdict: Verdict, _request_id: &str) -> Response {
    Response::default()
}
