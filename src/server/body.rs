//! Body of the responses that the server writes to a connection.
//!
//! One named type, and one function that leads to it from the gate's responses. All responses are whole today, so the type is
//! [`Full`] and costs nothing: no box, no branch. Proxied responses that stream make it an enum of `Full<Bytes>` and
//! `UnsyncBoxBody<Bytes, BoxError>`: whole responses stay unboxed then, and `connection` takes it as it is.

use bytes::Bytes;
use http_body_util::Full;

use crate::edge;

/// Body that is written to a connection.
pub(super) type ServerBody = Full<Bytes>;

/// Response that is written to a connection.
pub(super) type ServerResponse = http::Response<ServerBody>;

/// Turns a response of the gate, whose body is whole, into one for the connection.
#[inline]
pub(super) fn from_gate(response: edge::Response) -> ServerResponse {
    response
}
