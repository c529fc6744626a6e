//! Settings of hyper and h2 for trusted and untrusted peers, and the executor of HTTP/2 streams.
//!
//! Bounds what one connection may make the gate hold, for untrusted peers far more closely than for edges. h2 has further
//! bounds of its own, which stay: CONTINUATION frames, streams that are reset before they are answered, empty frames.

use std::{
    convert::Infallible,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures_util::{FutureExt as _, future::select};
use hyper::{
    body::{Body, Incoming},
    rt::{Executor, Read, Write, bounds::Http2ServerConnExec},
    server::conn::{http1, http2},
    service::HttpService,
};
use tokio::time::timeout;

use super::{
    drain::{Drain, GracefulConnection},
    header_limits::{HeaderLimit, MAX_LINES},
};
use crate::shutdown::Tasks;

/// HTTP/2 requests on one connection: an edge keeps one connection for all of its clients.
const MAX_STREAMS: u32 = 2_048;

/// The same for an untrusted peer: a browser that loads a page.
const MAX_STREAMS_OF_UNTRUSTED: u32 = 16;

/// Flow-control window of a request's body: an unread body may fill it before the client has to wait.
const BODY_WINDOW: u32 = 64 * 1024;

/// The same for an untrusted peer, and for all bodies on its connection: the largest form that is read.
const BODY_WINDOW_OF_UNTRUSTED: u32 = 32 * 1024;

/// Smallest window that a connection begins with, RFC 9113, section 6.9.2.
const CONNECTION_WINDOW_OF_UNTRUSTED: u32 = 65_535;

/// Number of header lines that an HTTP/1 connection is served with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HeaderLines {
    /// As many as hyper has room for on its stack.
    Few,
    /// As many as [`MAX_LINES`].
    Many,
}

/// hyper's builders of server connections, set up for one kind of peer.
pub(super) struct HttpBuilders {
    /// HTTP/1.0 and HTTP/1.1, with hyper's own limit of 100 header lines.
    http1: http1::Builder,
    /// The same with up to [`MAX_LINES`] of them. Beyond hyper's own limit each request costs two allocations more, and edges
    /// send about twenty lines, so that a connection gets this only once there were too many for the other.
    http1_many_lines: http1::Builder,
    /// HTTP/2.
    pub(super) http2: http2::Builder<StreamExecutor>,
}

impl HttpBuilders {
    /// Builders for trusted peers.
    pub(super) fn for_trusted(streams: StreamExecutor) -> Self {
        let mut builders = Self::with(HeaderLimit::TRUSTED, streams);
        builders.http2.max_concurrent_streams(MAX_STREAMS).initial_stream_window_size(BODY_WINDOW);
        builders
    }

    /// Builders for untrusted peers.
    pub(super) fn for_untrusted(streams: StreamExecutor) -> Self {
        let mut builders = Self::with(HeaderLimit::UNTRUSTED, streams);
        builders
            .http2
            .max_concurrent_streams(MAX_STREAMS_OF_UNTRUSTED)
            .initial_stream_window_size(BODY_WINDOW_OF_UNTRUSTED)
            .initial_connection_window_size(CONNECTION_WINDOW_OF_UNTRUSTED);
        builders
    }

    fn with(header: HeaderLimit, streams: StreamExecutor) -> Self {
        let mut http1 = http1::Builder::new();
        // One buffer a write: responses are a head and at most a small page. `Deadlines` has the timeout for headers.
        http1.max_buf_size(header.http1_buffer()).writev(false).header_read_timeout(None);
        let mut http2 = http2::Builder::new(streams);
        http2.max_header_list_size(header.http2_list()).keep_alive_interval(None);
        let mut http1_many_lines = http1.clone();
        http1_many_lines.max_headers(MAX_LINES);
        Self { http1, http1_many_lines, http2 }
    }

    /// Returns the builder of an HTTP/1 connection.
    pub(super) fn http1(&self, lines: HeaderLines) -> &http1::Builder {
        match lines {
            HeaderLines::Few => &self.http1,
            HeaderLines::Many => &self.http1_many_lines,
        }
    }
}

impl<I, S, B> GracefulConnection for http1::Connection<I, S>
where
    I: Read + Write + Unpin,
    S: HttpService<Incoming, ResBody = B, Error = Infallible>,
    B: Body<Error: Into<Box<dyn std::error::Error + Send + Sync>>> + 'static,
{
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        Pin::new(self).poll_unpin(context).map(drop)
    }

    fn graceful_shutdown(&mut self) {
        Pin::new(self).graceful_shutdown();
    }
}

impl<I, S, B> GracefulConnection for http2::Connection<I, S, StreamExecutor>
where
    I: Read + Write + Unpin,
    S: HttpService<Incoming, ResBody = B, Error = Infallible>,
    B: Body<Error: Into<Box<dyn std::error::Error + Send + Sync>>> + 'static,
    StreamExecutor: Http2ServerConnExec<S::Future, B>,
{
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        Pin::new(self).poll_unpin(context).map(drop)
    }

    fn graceful_shutdown(&mut self) {
        Pin::new(self).graceful_shutdown();
    }
}

/// Runs HTTP/2 streams in tasks beside their connection, never after the server, and no longer than their timeout.
#[derive(Clone)]
pub(super) struct StreamExecutor {
    /// Spawns the tasks.
    pub(super) tasks: Tasks,
    /// Phase of the server.
    pub(super) drain: Arc<Drain>,
    /// Longest time for a stream.
    pub(super) timeout: Duration,
}

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for StreamExecutor {
    fn execute(&self, stream: F) {
        let (drain, longest) = (Arc::clone(&self.drain), self.timeout);
        self.tasks.spawn(async move {
            // A stream that is dropped is reset, and its queued data is freed.
            select(pin!(timeout(longest, stream)), pin!(drain.aborted())).await;
        });
    }
}
