//! A connection's bytes, noted as they pass.
//!
//! hyper says nothing of a header that does not arrive whole, of an answer that nobody takes, or of a target that goes on
//! after a `#`. The bytes do. It knows where a request begins and its first line ends; it must not know what is asked or
//! answered.

use std::{
    io,
    pin::Pin,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::refusal;

/// What is known of a connection. Only its own task writes, so that no change needs to be one step; it is atomic because
/// the task moves between threads.
#[derive(Debug, Default)]
pub(super) struct Pulse {
    requests: AtomicU64,
    in_header: AtomicBool,
    in_hand: AtomicBool,
    blocked: AtomicBool,
    fragment: AtomicBool,
}

impl Pulse {
    /// The first bytes of a request are there.
    pub(super) fn header_begins(&self) {
        self.in_header.store(true, Ordering::Relaxed);
    }

    /// A request's header is complete. Says whether its target went on after a `#`, which HTTP libraries drop in
    /// silence.
    pub(super) fn request_begins(&self) -> bool {
        self.requests.store(self.requests() + 1, Ordering::Relaxed);
        self.in_header.store(false, Ordering::Relaxed);
        self.in_hand.store(true, Ordering::Relaxed);
        let fragment = self.fragment.load(Ordering::Relaxed);
        self.fragment.store(false, Ordering::Relaxed);
        fragment
    }

    /// The answer to the only request in hand is there.
    pub(super) fn request_ends(&self) {
        self.in_hand.store(false, Ordering::Relaxed);
    }

    /// How many requests have begun.
    pub(super) fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// Whether a request waits for its answer, on a connection that has one at a time.
    pub(super) fn is_in_hand(&self) -> bool {
        self.in_hand.load(Ordering::Relaxed)
    }

    /// Whether the client holds up a request or an answer.
    pub(super) fn is_slow(&self) -> bool {
        self.in_header.load(Ordering::Relaxed) || self.blocked.load(Ordering::Relaxed)
    }
}

/// How the bytes that come in are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reading {
    /// HTTP/1, before a request's first line.
    Between,
    /// HTTP/1, in it.
    Target,
    /// HTTP/1, after it.
    Header,
    /// HTTP/2: frames come at any time and say nothing of how far a header is. A dribbling client holds no more than an
    /// idle one.
    Frames,
}

/// A stream whose bytes are noted as they pass.
pub(super) struct Watched<'a, S> {
    stream: &'a mut S,
    /// Read already, and to be read again.
    ahead: Bytes,
    pulse: &'a Pulse,
    reading: Reading,
    has_ended: bool,
    /// A refusal of hyper's own that is being written, as it is to be.
    refusal: Option<Box<Bytes>>,
}

impl<'a, S> Watched<'a, S> {
    /// Notes in `pulse` what passes over `stream`.
    pub(super) fn new(stream: &'a mut S, pulse: &'a Pulse) -> Self {
        Self { stream, ahead: Bytes::new(), pulse, reading: Reading::Between, has_ended: false, refusal: None }
    }

    /// What comes in now is HTTP/1, `ahead` before all else.
    pub(super) fn read_lines(&mut self, ahead: Bytes) {
        (self.reading, self.ahead) = (Reading::Between, ahead);
    }

    /// What comes in now is HTTP/2, `ahead` before all else.
    pub(super) fn read_frames(&mut self, ahead: Bytes) {
        (self.reading, self.ahead) = (Reading::Frames, ahead);
        self.pulse.in_header.store(false, Ordering::Relaxed);
    }

    /// Whether some of what was read is to be read again.
    pub(super) fn is_ahead(&self) -> bool {
        !self.ahead.is_empty()
    }

    /// Whether the client has ended its side.
    pub(super) fn has_ended(&self) -> bool {
        self.has_ended
    }

    fn arrived(&mut self, bytes: &[u8]) {
        if self.reading == Reading::Frames {
            return;
        }
        if self.reading == Reading::Header && !self.pulse.in_header.load(Ordering::Relaxed) {
            self.reading = Reading::Between;
        }
        self.pulse.header_begins();
        self.scan_target(bytes);
    }

    fn scan_target(&mut self, mut bytes: &[u8]) {
        if self.reading == Reading::Between {
            // Empty lines before a request are allowed and skipped, RFC 9112, section 2.2.
            let begins = bytes.iter().position(|byte| !matches!(byte, b'\r' | b'\n'));
            let Some(rest) = begins.and_then(|at| bytes.get(at..)) else {
                return;
            };
            (self.reading, bytes) = (Reading::Target, rest);
        }
        if self.reading == Reading::Target {
            for at in memchr::memchr2_iter(b'\n', b'#', bytes) {
                if bytes.get(at) == Some(&b'\n') {
                    self.reading = Reading::Header;
                    break;
                }
                self.pulse.fragment.store(true, Ordering::Relaxed);
            }
        }
    }
}

impl<S: AsyncRead + Unpin> Watched<'_, S> {
    /// Reads what is there without noting it: how it is to be read is not known yet.
    pub(super) fn poll_first(&mut self, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut *self.stream).poll_read(context, buffer))?;
        self.has_ended |= buffer.filled().len() == before;
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<'_, S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        if self.ahead.is_empty() {
            ready!(self.poll_first(context, buffer))?;
        } else {
            let length = self.ahead.len().min(buffer.remaining());
            buffer.put_slice(&self.ahead.split_to(length));
        }
        match buffer.filled().get(before..) {
            Some(bytes) if !bytes.is_empty() => self.arrived(bytes),
            _ => {}
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<'_, S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        // Nearly every answer lets in, and differs from a refusal in this byte.
        if bytes.get(refusal::MARK) == Some(&b'4') && this.refusal.is_none() && this.reading != Reading::Frames {
            this.refusal = refusal::marked(bytes).map(Box::new);
        }
        let stream = Pin::new(&mut *this.stream);
        let written = match &mut this.refusal {
            None => stream.poll_write(context, bytes),
            Some(refusal) => refusal::poll_write(stream, context, refusal).map_ok(|()| bytes.len()),
        };
        this.pulse.blocked.store(written.is_pending(), Ordering::Relaxed);
        if written.is_ready() {
            this.refusal = None;
        }
        written
    }

    /// TLS takes what is written at once, and holds it where the client does not take it; its end is written as well.
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut *self.stream).poll_flush(context);
        self.pulse.blocked.store(flushed.is_pending(), Ordering::Relaxed);
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let ended = Pin::new(&mut *self.stream).poll_shutdown(context);
        self.pulse.blocked.store(ended.is_pending(), Ordering::Relaxed);
        ended
    }
}
