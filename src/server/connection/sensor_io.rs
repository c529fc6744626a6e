//! Stream of a connection that records what its bytes say about slow clients.
//!
//! hyper says nothing of a header that does not arrive whole, of a response that the client does not take, or of a target that
//! goes on after a `#`. The bytes do. Only the beginning of a request and the end of its first line are parsed here.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::hyper_errors;
use crate::edge::Reason;

/// Mark on a request whose target went on after a `#`. The rest of it is gone, so the path that an app would see is not known.
#[derive(Clone, Copy, Debug)]
pub(in crate::server) struct FragmentDropped;

/// State of a connection as seen in its bytes. Only its own task writes, so that no change needs to be one step; it is atomic
/// because the task moves between threads.
#[derive(Debug, Default)]
pub(super) struct ConnState {
    requests: AtomicU64,
    reading_header: AtomicBool,
    in_flight: AtomicBool,
    write_blocked: AtomicBool,
    has_fragment: AtomicBool,
    /// Bodies that stream in either direction; made for the first of them.
    streams: OnceLock<Arc<AtomicUsize>>,
    /// Set while the last response is an app's, which is never taken for hyper's own.
    relays: AtomicBool,
}

/// Body that streams, until it is dropped.
pub(in crate::server) struct StreamGuard(Arc<AtomicUsize>);

impl Drop for StreamGuard {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl ConnState {
    /// Records a body that streams.
    pub(super) fn stream_started(&self) -> StreamGuard {
        let streams = self.streams.get_or_init(Arc::default);
        streams.fetch_add(1, Ordering::Relaxed);
        StreamGuard(Arc::clone(streams))
    }

    /// Returns `true` while a body streams.
    pub(super) fn is_streaming(&self) -> bool {
        self.streams.get().is_some_and(|streams| streams.load(Ordering::Relaxed) > 0)
    }

    /// Records that the response is an app's.
    pub(super) fn relays(&self) {
        self.relays.store(true, Ordering::Relaxed);
    }

    /// Records the first bytes of a request.
    pub(super) fn header_started(&self) {
        self.reading_header.store(true, Ordering::Relaxed);
    }

    /// Records that a request's header is complete. Returns `true` if its target went on after a `#`, which HTTP libraries drop
    /// in silence.
    pub(super) fn request_started(&self) -> bool {
        self.requests.store(self.requests() + 1, Ordering::Relaxed);
        self.reading_header.store(false, Ordering::Relaxed);
        self.in_flight.store(true, Ordering::Relaxed);
        self.relays.store(false, Ordering::Relaxed);
        let has_fragment = self.has_fragment.load(Ordering::Relaxed);
        self.has_fragment.store(false, Ordering::Relaxed);
        has_fragment
    }

    /// Records the response to the only request in flight.
    pub(super) fn response_ready(&self) {
        self.in_flight.store(false, Ordering::Relaxed);
    }

    /// Number of requests so far.
    pub(super) fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// Returns `true` while a request waits for its response, on a connection that has one at a time.
    pub(super) fn is_in_flight(&self) -> bool {
        self.in_flight.load(Ordering::Relaxed) || self.is_streaming()
    }

    /// Returns `true` while the client holds up a request or a response.
    pub(super) fn is_client_slow(&self) -> bool {
        self.reading_header.load(Ordering::Relaxed) || self.write_blocked.load(Ordering::Relaxed)
    }
}

/// Position in the bytes that come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ReadPosition {
    /// HTTP/1, before a request's first line.
    BetweenRequests,
    /// HTTP/1, in the request line.
    RequestLine,
    /// HTTP/1, after the request line.
    Header,
    /// HTTP/2: frames come at any time and say nothing of how far a header is. A dribbling client holds no more than an
    /// idle one.
    Frames,
}

/// Stream that records in a [`ConnState`] what passes, and that reads a prefix before all else.
pub(super) struct SensorIo<'a, S> {
    stream: &'a mut S,
    /// Bytes that were read already, and are to be read again.
    prefix: Bytes,
    state: &'a ConnState,
    position: ReadPosition,
    read_closed: bool,
    /// Error response of hyper's own that is being written, with its reason.
    hyper_error: Option<Box<Bytes>>,
    /// Reason of the last one that was written.
    refused: Option<Reason>,
    header_overflow: HeaderOverflow,
}

/// State of a connection towards a header that is too large for hyper.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum HeaderOverflow {
    /// None yet. hyper's response to the first is dropped, because the request is read once more.
    Expected,
    /// hyper's response was dropped, and the connection is about to end.
    Pending,
    /// hyper's responses reach the client.
    Final,
}

impl<'a, S> SensorIo<'a, S> {
    /// Wraps a stream.
    pub(super) fn new(stream: &'a mut S, state: &'a ConnState) -> Self {
        let position = ReadPosition::BetweenRequests;
        let header_overflow = HeaderOverflow::Expected;
        Self {
            stream,
            prefix: Bytes::new(),
            state,
            position,
            read_closed: false,
            hyper_error: None,
            refused: None,
            header_overflow,
        }
    }

    /// Goes on with HTTP/1, `prefix` before all else.
    pub(super) fn resume_http1(&mut self, prefix: Bytes) {
        (self.position, self.prefix) = (ReadPosition::BetweenRequests, prefix);
    }

    /// Goes on with HTTP/2, `prefix` before all else.
    pub(super) fn resume_http2(&mut self, prefix: Bytes) {
        (self.position, self.prefix) = (ReadPosition::Frames, prefix);
        self.state.reading_header.store(false, Ordering::Relaxed);
    }

    /// Returns `true` if hyper has ended over a header that it is to read once more. The next time its response is sent.
    pub(super) fn take_header_overflow(&mut self) -> bool {
        let is_pending = self.header_overflow == HeaderOverflow::Pending;
        if is_pending {
            self.header_overflow = HeaderOverflow::Final;
        }
        is_pending
    }

    /// Returns the reason for which hyper refused what was no request.
    pub(super) fn refused(&self) -> Option<Reason> {
        self.refused
    }

    /// Returns `true` while there is a prefix to read.
    pub(super) fn has_prefix(&self) -> bool {
        !self.prefix.is_empty()
    }

    /// Returns `true` if the client has closed its side.
    pub(super) fn is_read_closed(&self) -> bool {
        self.read_closed
    }

    fn received(&mut self, bytes: &[u8]) {
        if self.position == ReadPosition::Frames || self.state.is_streaming() {
            return;
        }
        if self.position == ReadPosition::Header && !self.state.reading_header.load(Ordering::Relaxed) {
            self.position = ReadPosition::BetweenRequests;
        }
        self.state.header_started();
        self.scan_target(bytes);
    }

    fn scan_target(&mut self, mut bytes: &[u8]) {
        if self.position == ReadPosition::BetweenRequests {
            // Empty lines before a request are allowed and skipped, RFC 9112, section 2.2.
            let begins = bytes.iter().position(|byte| !matches!(byte, b'\r' | b'\n'));
            let Some(rest) = begins.and_then(|at| bytes.get(at..)) else {
                return;
            };
            (self.position, bytes) = (ReadPosition::RequestLine, rest);
        }
        if self.position == ReadPosition::RequestLine {
            for at in memchr::memchr2_iter(b'\n', b'#', bytes) {
                if bytes.get(at) == Some(&b'\n') {
                    self.position = ReadPosition::Header;
                    break;
                }
                self.state.has_fragment.store(true, Ordering::Relaxed);
            }
        }
    }
}

impl<S: AsyncRead + Unpin> SensorIo<'_, S> {
    /// Reads from the stream without recording the bytes: the version is not known yet.
    pub(super) fn poll_read_raw(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut *self.stream).poll_read(context, buffer))?;
        self.read_closed |= buffer.filled().len() == before;
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for SensorIo<'_, S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        if self.prefix.is_empty() {
            ready!(self.poll_read_raw(context, buffer))?;
        } else {
            let length = self.prefix.len().min(buffer.remaining());
            buffer.put_slice(&self.prefix.split_to(length));
        }
        match buffer.filled().get(before..) {
            Some(bytes) if !bytes.is_empty() => self.received(bytes),
            _ => {}
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for SensorIo<'_, S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        // Nearly every response is a 200, and differs from an error in this byte.
        let is_client_error = bytes.get(hyper_errors::STATUS_AT) == Some(&b'4');
        if is_client_error
            && this.hyper_error.is_none()
            && this.position != ReadPosition::Frames
            && !this.state.relays.load(Ordering::Relaxed)
        {
            if this.header_overflow == HeaderOverflow::Expected && hyper_errors::is_header_overflow(bytes) {
                this.header_overflow = HeaderOverflow::Pending;
                return Poll::Ready(Ok(bytes.len()));
            }
            if let Some((reason, response)) = hyper_errors::with_reason(bytes) {
                (this.refused, this.hyper_error) = (Some(reason), Some(Box::new(response)));
            }
        }
        let stream = Pin::new(&mut *this.stream);
        let written = match &mut this.hyper_error {
            None => stream.poll_write(context, bytes),
            Some(response) => hyper_errors::poll_write(stream, context, response).map_ok(|()| bytes.len()),
        };
        this.state.write_blocked.store(written.is_pending(), Ordering::Relaxed);
        if written.is_ready() {
            this.hyper_error = None;
        }
        written
    }

    /// Flushes TLS records: TLS takes what is written at once, and holds it where the client does not take it.
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut *self.stream).poll_flush(context);
        self.state.write_blocked.store(flushed.is_pending(), Ordering::Relaxed);
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.header_overflow == HeaderOverflow::Pending {
            return Poll::Ready(Ok(()));
        }
        let closed = Pin::new(&mut *self.stream).poll_shutdown(context);
        self.state.write_blocked.store(closed.is_pending(), Ordering::Relaxed);
        closed
    }
}
