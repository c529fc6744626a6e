//! Watching one connection for clients that dribble, stall, or never come.
//!
//! hyper's own deadline for headers runs while a kept connection is idle too, and is set anew for each request. Here
//! the bytes are watched as they pass, and a timer is touched only when a header did not arrive in one piece. It knows
//! the first bytes of a request; it must not know what is asked or answered.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::oneshot,
    time::{Instant, Sleep},
};

use super::drain::Drain;

/// How long a connection may be in each of its states.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// A TLS handshake.
    pub(super) handshake: Duration,
    /// From being accepted to the first request.
    pub(super) first_request: Duration,
    /// From a request's first byte to the end of its header, and for a blocked client to take more of an answer.
    pub(super) header: Duration,
    /// Between requests; up to twice as long, because idle connections are looked at once in this time.
    pub(super) idle: Duration,
    /// From our wish to end a connection to its end.
    pub(super) farewell: Duration,
}

impl Patience {
    /// Edges keep idle connections for up to an hour (Envoy) and take our closing first for a failure: ours is longer.
    pub(super) const DEFAULT: Self = Self {
        handshake: Duration::from_secs(10),
        first_request: Duration::from_secs(30),
        header: Duration::from_secs(10),
        idle: Duration::from_secs(3_700),
        farewell: Duration::from_secs(1),
    };
}

/// What is known of a connection; written where bytes and requests pass, read by its [`Vigil`].
#[derive(Debug)]
pub(super) struct Pulse {
    drain: Arc<Drain>,
    requests: AtomicU64,
    in_header: AtomicBool,
    blocked: AtomicBool,
    fragment: AtomicBool,
}

impl Pulse {
    /// A connection of this server that nothing has passed over yet.
    pub(super) fn new(drain: Arc<Drain>) -> Self {
        Self {
            drain,
            requests: AtomicU64::new(0),
            in_header: AtomicBool::new(false),
            blocked: AtomicBool::new(false),
            fragment: AtomicBool::new(false),
        }
    }

    /// How far its server is.
    pub(super) fn drain(&self) -> &Drain {
        &self.drain
    }

    /// A request's header is complete. Says whether its target went on after a `#`, which HTTP libraries drop in
    /// silence.
    pub(super) fn request_begins(&self) -> bool {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.in_header.store(false, Ordering::Relaxed);
        self.fragment.load(Ordering::Relaxed) && self.fragment.swap(false, Ordering::Relaxed)
    }

    fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    fn is_slow(&self) -> bool {
        self.in_header.load(Ordering::Relaxed) || self.blocked.load(Ordering::Relaxed)
    }
}

/// Why a connection has to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Breach {
    /// There is nothing to do on it: it may be closed politely.
    Quiet,
    /// The client holds up a request or an answer.
    Slow,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Watch {
    FirstRequest,
    Slow { after: u64 },
    Idle { after: u64 },
    Farewell,
}

/// One connection's only timer.
pub(super) struct Vigil {
    pulse: Arc<Pulse>,
    patience: Patience,
    watch: Watch,
    alarm: Pin<Box<Sleep>>,
}

impl Vigil {
    /// A vigil over a connection that has just been accepted.
    pub(super) fn new(pulse: Arc<Pulse>, patience: Patience) -> Self {
        let alarm = Box::pin(tokio::time::sleep(patience.first_request));
        Self { pulse, patience, watch: Watch::FirstRequest, alarm }
    }

    /// Whether no request has come yet.
    pub(super) fn is_unused(&self) -> bool {
        self.pulse.requests() == 0
    }

    /// The connection is to end soon, with or without a request.
    pub(super) fn hurry(&mut self) {
        self.turn_to(Watch::Farewell);
    }

    /// Ready once the connection has to end. To be polled after the connection itself, with the same waker.
    pub(super) fn poll_breach(&mut self, context: &mut Context<'_>) -> Poll<Breach> {
        self.look();
        loop {
            ready!(self.alarm.as_mut().poll(context));
            if let Some(breach) = self.judge() {
                return Poll::Ready(breach);
            }
        }
    }

    fn look(&mut self) {
        let (slow, requests) = (self.pulse.is_slow(), self.pulse.requests());
        match self.watch {
            Watch::Farewell => {}
            Watch::Slow { after } if slow && after == requests => {}
            _ if slow => self.turn_to(Watch::Slow { after: requests }),
            Watch::Slow { .. } => self.turn_to(Watch::Idle { after: requests }),
            Watch::FirstRequest | Watch::Idle { .. } => {}
        }
    }

    fn judge(&mut self) -> Option<Breach> {
        let after = self.pulse.requests();
        let breach = match self.watch {
            Watch::FirstRequest if after > 0 => None,
            Watch::Idle { after: before } if after > before => None,
            Watch::FirstRequest | Watch::Idle { .. } | Watch::Farewell => Some(Breach::Quiet),
            Watch::Slow { .. } => Some(Breach::Slow),
        };
        self.turn_to(Watch::Idle { after });
        breach
    }

    fn turn_to(&mut self, watch: Watch) {
        let time = match watch {
            Watch::FirstRequest => self.patience.first_request,
            Watch::Slow { .. } => self.patience.header,
            Watch::Idle { .. } => self.patience.idle,
            Watch::Farewell => self.patience.farewell,
        };
        self.watch = watch;
        self.alarm.as_mut().reset(Instant::now() + time);
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reading {
    /// Nothing has arrived yet.
    Nothing,
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

/// A stream whose bytes are noted as they pass. When it is dropped before the client has ended its side, the stream
/// goes back to where it came from.
pub(super) struct Watched<S> {
    stream: Option<S>,
    back: Option<oneshot::Sender<S>>,
    pulse: Arc<Pulse>,
    reading: Reading,
}

impl<S> Watched<S> {
    /// Notes in `pulse` what passes over `stream`. The other end is where the stream comes back.
    pub(super) fn new(stream: S, pulse: Arc<Pulse>) -> (Self, oneshot::Receiver<S>) {
        let (back, left) = oneshot::channel();
        (Self { stream: Some(stream), back: Some(back), pulse, reading: Reading::Nothing }, left)
    }

    fn stream(&mut self) -> Pin<&mut S>
    where
        S: Unpin,
    {
        Pin::new(self.stream.as_mut().expect("the stream leaves when this is dropped"))
    }

    fn arrived(&mut self, bytes: &[u8]) {
        match self.reading {
            // No HTTP/1 method begins like HTTP/2's preface does.
            Reading::Nothing if bytes.starts_with(b"PRI") => self.reading = Reading::Frames,
            Reading::Nothing => self.reading = Reading::Between,
            Reading::Header if !self.pulse.in_header.load(Ordering::Relaxed) => self.reading = Reading::Between,
            Reading::Between | Reading::Target | Reading::Header | Reading::Frames => {}
        }
        if self.reading != Reading::Frames {
            self.pulse.in_header.store(true, Ordering::Relaxed);
            self.scan_target(bytes);
        }
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
            let end = memchr::memchr(b'\n', bytes);
            let line = end.and_then(|at| bytes.get(..at)).unwrap_or(bytes);
            if memchr::memchr(b'#', line).is_some() {
                self.pulse.fragment.store(true, Ordering::Relaxed);
            }
            if end.is_some() {
                self.reading = Reading::Header;
            }
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(self.stream().poll_read(context, buffer))?;
        match buffer.filled().get(before..) {
            Some(bytes) if !bytes.is_empty() => self.arrived(bytes),
            _ => self.back = None,
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = self.stream().poll_write(context, bytes);
        self.pulse.blocked.store(written.is_pending(), Ordering::Relaxed);
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream().poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream().poll_shutdown(context)
    }
}

impl<S> Drop for Watched<S> {
    fn drop(&mut self) {
        if let (Some(stream), Some(back)) = (self.stream.take(), self.back.take()) {
            // Nobody waits for it where the connection was cut.
            let _unwanted = back.send(stream);
        }
    }
}
