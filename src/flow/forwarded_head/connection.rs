//! `Connection`, and the headers that belong to one connection (RFC 9110, section 7.6.1).
//!
//! Promises: what is called a connection's goes no further, and nobody can call so what the gate or a proxy says of a request.

use http::{HeaderMap, HeaderName, HeaderValue, Method, Version, header, request::Parts};

use super::reserved::may_be_of_connection;
use crate::policy::headers::is_spelling_of;

/// Protocols that no tunnel is opened for: they are HTTP, and requests in a tunnel are judged by nobody.
const HTTP_PROTOCOLS: &[&str] = &["h2", "h2c", "h3", "http", "tls"];

/// Headers of a message that its sender calls its connection's.
#[derive(Debug)]
pub(super) struct ConnectionHeaders<'h>(Vec<&'h str>);

impl<'h> ConnectionHeaders<'h> {
    /// Reads the `Connection` lines of a request. The error is a header that is no connection's: a client that calls one so would
    /// take away what a proxy in front, or the gate, says of it. `identity` are the headers that the app gets.
    ///
    /// Envoy refuses such a request too, nginx ignores the name, Go's `ReverseProxy` removes the client's copy. Removing would suit
    /// here as well, because the gate says its own afterwards; but behind a proxy that passes `Connection` on, it would remove that
    /// proxy's.
    pub(super) fn of_request(headers: &'h HeaderMap, identity: &HeaderMap) -> Result<Self, &'h str> {
        let mut named = Vec::new();
        for name in options(headers) {
            let is_own = identity.keys().any(|own| is_spelling_of(name, own.as_str()));
            if is_own || !may_be_of_connection(name) {
                return Err(name);
            }
            remember(&mut named, headers, name);
        }
        Ok(Self(named))
    }

    /// Reads the `Connection` lines of a response: an app may say of its own what it likes.
    pub(super) fn of_response(headers: &'h HeaderMap) -> Self {
        let mut named = Vec::new();
        for name in options(headers) {
            remember(&mut named, headers, name);
        }
        Self(named)
    }

    /// Returns `true` for a header that `Connection` names.
    pub(super) fn name(&self, header: &HeaderName) -> bool {
        self.0.iter().any(|named| named.eq_ignore_ascii_case(header.as_str()))
    }
}

/// Returns the protocol that a request asks to switch to: one, that is not HTTP, and asked for in full (RFC 9110, section 7.8).
///
/// Never that of a request with a body, whose end an app could take for the beginning of what is tunnelled.
#[cfg_attr(not(test), expect(dead_code, reason = "the server does not tunnel yet, so that no upgrade is asked for"))]
pub(in crate::flow) fn requested_protocol(request: &Parts, has_body: bool) -> Option<&HeaderValue> {
    let mut lines = request.headers.get_all(header::UPGRADE).iter();
    let only = lines.next().filter(|_| lines.next().is_none())?;
    let protocol = only.to_str().ok()?;
    let name = protocol.split('/').next().unwrap_or_default();
    let is_one = !name.is_empty() && protocol.bytes().all(|byte| !matches!(byte, b',' | b' ' | b'\t'));
    let is_http = HTTP_PROTOCOLS.iter().any(|http| name.eq_ignore_ascii_case(http));
    let is_asked_for = options(&request.headers).any(|option| option.eq_ignore_ascii_case("upgrade"));
    let may_switch = request.version == Version::HTTP_11 && request.method != Method::CONNECT && !has_body;
    (is_one && !is_http && is_asked_for && may_switch).then_some(only)
}

/// Returns `true` if a message has the transfer coding `chunked` and no other; `None` where it has none. Another one cannot be passed
/// on: it belongs to the connection, and what it codes would arrive without it.
pub(super) fn is_chunked_alone(headers: &HeaderMap) -> Option<bool> {
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    let first = codings.next()?;
    Some(codings.next().is_none() && first.as_bytes().eq_ignore_ascii_case(b"chunked"))
}

/// Returns `true` if the sender reads trailers (RFC 9110, section 10.1.4).
pub(super) fn reads_trailers(headers: &HeaderMap) -> bool {
    let lines = headers.get_all(header::TE).iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(',')).any(|coding| coding.trim().eq_ignore_ascii_case("trailers"))
}

/// Returns what the `Connection` lines of a message name.
fn options(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let lines = headers.get_all(header::CONNECTION).into_iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(',')).map(str::trim).filter(|option| !option.is_empty())
}

/// Remembers a header that is there, once: there may be thousands of options.
fn remember<'h>(named: &mut Vec<&'h str>, headers: &HeaderMap, name: &'h str) {
    if headers.contains_key(name) && !named.iter().any(|known| known.eq_ignore_ascii_case(name)) {
        named.push(name);
    }
}
