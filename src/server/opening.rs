//! Before anything is said on a connection: which version its client speaks.
//!
//! What arrives first is read at once, as much as hyper would read: a header that it gets in two pieces costs it 37,000
//! instructions more. Until then, and while it rests, a connection has no buffer. It must not know what is said, only in what.

use std::{
    mem::{MaybeUninit, take},
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use tokio::io::{AsyncRead, ReadBuf};

use super::{
    vigil::Talk,
    watched::{Pulse, Watched},
};

/// What an HTTP/2 client sends before all else, RFC 9113, section 3.4.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// hyper's first buffer.
const ROOM: usize = 8 * 1024;

/// What a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    /// One request after the other.
    Http1,
    /// Frames.
    Http2,
}

/// A stream on which nothing has been said, or not for a while.
pub(super) struct Opening<'a, 'p, S> {
    stream: &'a mut Watched<'p, S>,
    pulse: &'p Pulse,
    heard: Vec<u8>,
    before: Option<Version>,
    version: Option<Version>,
    is_over: bool,
}

impl<'a, 'p, S> Opening<'a, 'p, S> {
    /// Waits for the first bytes on `stream`, or for the next where it has spoken `before`.
    pub(super) fn of(stream: &'a mut Watched<'p, S>, pulse: &'p Pulse, before: Option<Version>) -> Self {
        let version = before.filter(|_| stream.is_ahead());
        Self { stream, pulse, heard: Vec::new(), before, version, is_over: false }
    }

    /// What is spoken, where anything is.
    pub(super) fn version(&self) -> Option<Version> {
        self.version
    }

    fn hear(&mut self, bytes: &[u8]) {
        self.pulse.header_begins();
        self.heard.extend_from_slice(bytes);
        self.version = self.before.or_else(|| spoken(&self.heard));
        match self.version {
            Some(Version::Http1) => self.stream.read_lines(Bytes::from(take(&mut self.heard))),
            Some(Version::Http2) => self.stream.read_frames(Bytes::from(take(&mut self.heard))),
            None => {}
        }
    }
}

impl<S: AsyncRead + Unpin> Talk for Opening<'_, '_, S> {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        while !self.is_over && self.version.is_none() {
            let mut room = [MaybeUninit::uninit(); ROOM];
            let mut bytes = ReadBuf::uninit(&mut room);
            match ready!(self.stream.poll_first(context, &mut bytes)) {
                Ok(()) if !bytes.filled().is_empty() => self.hear(bytes.filled()),
                Ok(()) | Err(_) => self.is_over = true,
            }
        }
        Poll::Ready(())
    }

    fn wind_up(&mut self) {
        self.is_over = true;
    }
}

/// The version of a client that began with these bytes, as soon as they tell.
fn spoken(heard: &[u8]) -> Option<Version> {
    match heard {
        _ if heard.starts_with(PREFACE) => Some(Version::Http2),
        _ if PREFACE.starts_with(heard) => None,
        _ => Some(Version::Http1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_told_by_the_first_byte_that_another_would_not_begin_with() {
        for (heard, expected) in [
            ("", None),
            ("P", None),
            ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r", None),
            ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Some(Version::Http2)),
            ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\x12", Some(Version::Http2)),
            ("PRI * HTTP/1.1\r\n", Some(Version::Http1)),
            ("POST", Some(Version::Http1)),
            ("G", Some(Version::Http1)),
            ("\r\n", Some(Version::Http1)),
        ] {
            assert_eq!(spoken(heard.as_bytes()), expected, "{heard:?}");
        }
    }
}
