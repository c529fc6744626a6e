//! Version detection: HTTP/1 or HTTP/2 by the first bytes on a connection.
//!
//! What arrives first is read at once, as much as hyper would read: a header that hyper gets in two pieces costs it 37,000
//! instructions more. Until then, and while it is parked, a connection has no buffer.

use std::{
    mem::{MaybeUninit, take},
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use tokio::io::{AsyncRead, ReadBuf};

use super::{
    drain::GracefulConnection,
    sensor_io::{ConnState, SensorIo},
};

/// Connection preface of HTTP/2, RFC 9113, section 3.4.
const H2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Size of hyper's first buffer.
const BUFFER: usize = 8 * 1024;

/// Version of HTTP on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HttpVersion {
    /// HTTP/1.0 or HTTP/1.1.
    Http1,
    /// HTTP/2.
    Http2,
}

/// Detects the version on a new connection, or waits for the next request on a parked one.
pub(super) struct Detect<'a, 'p, S> {
    io: &'a mut SensorIo<'p, S>,
    state: &'p ConnState,
    buffer: Vec<u8>,
    previous: Option<HttpVersion>,
    version: Option<HttpVersion>,
    is_over: bool,
}

impl<'a, 'p, S> Detect<'a, 'p, S> {
    /// Waits for the first bytes on `io`, or for the next ones where its version is known from the `previous` requests.
    pub(super) fn new(io: &'a mut SensorIo<'p, S>, state: &'p ConnState, previous: Option<HttpVersion>) -> Self {
        let version = previous.filter(|_| io.has_prefix());
        Self { io, state, buffer: Vec::new(), previous, version, is_over: false }
    }

    /// Detected version; `None` if the connection ended before.
    pub(super) fn version(&self) -> Option<HttpVersion> {
        self.version
    }

    fn received(&mut self, bytes: &[u8]) {
        self.state.header_started();
        self.buffer.extend_from_slice(bytes);
        self.version = self.previous.or_else(|| sniff(&self.buffer));
        match self.version {
            Some(HttpVersion::Http1) => self.io.resume_http1(Bytes::from(take(&mut self.buffer))),
            Some(HttpVersion::Http2) => self.io.resume_http2(Bytes::from(take(&mut self.buffer))),
            None => {}
        }
    }
}

impl<S: AsyncRead + Unpin> GracefulConnection for Detect<'_, '_, S> {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        while !self.is_over && self.version.is_none() {
            let mut buffer = [MaybeUninit::uninit(); BUFFER];
            let mut bytes = ReadBuf::uninit(&mut buffer);
            match ready!(self.io.poll_read_raw(context, &mut bytes)) {
                Ok(()) if !bytes.filled().is_empty() => self.received(bytes.filled()),
                Ok(()) | Err(_) => self.is_over = true,
            }
        }
        Poll::Ready(())
    }

    fn graceful_shutdown(&mut self) {
        self.is_over = true;
    }
}

/// Returns the version of a client that sent these bytes first; `None` if more are needed.
fn sniff(bytes: &[u8]) -> Option<HttpVersion> {
    match bytes {
        _ if bytes.starts_with(H2_PREFACE) => Some(HttpVersion::Http2),
        _ if H2_PREFACE.starts_with(bytes) => None,
        _ => Some(HttpVersion::Http1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_byte_that_differs_from_the_preface_means_http_1() {
        for (bytes, expected) in [
            ("", None),
            ("P", None),
            ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r", None),
            ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Some(HttpVersion::Http2)),
            ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\x12", Some(HttpVersion::Http2)),
            ("PRI * HTTP/1.1\r\n", Some(HttpVersion::Http1)),
            ("POST", Some(HttpVersion::Http1)),
            ("G", Some(HttpVersion::Http1)),
            ("\r\n", Some(HttpVersion::Http1)),
        ] {
            assert_eq!(sniff(bytes.as_bytes()), expected, "{bytes:?}");
        }
    }
}
