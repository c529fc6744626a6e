//! How HTTP is spoken with whom: what hyper and h2 are set to, and where HTTP/2 answers run.
//!
//! What one connection may make the gate hold is bounded here, for strangers far more closely than for edges. h2 has further
//! bounds of its own, which stay: frames that go on a header, streams that are reset before they are answered, empty frames.
//! It must not know what is said.

use std::{pin::pin, sync::Arc, time::Duration};

use futures_util::future::select;
use hyper::{
    rt::Executor,
    server::conn::{http1, http2},
};
use tokio::time::timeout;

use super::drain::Drain;
use crate::shutdown::Tasks;

/// Room for 64 KiB of header lines, the request line, and HTTP/2's 32 bytes for each line. In HTTP/1 a longer header is
/// read too when it happens to fit what the buffer has grown to, up to twice this size. hyper's limit of 100 lines
/// stays: a higher one costs two allocations with every request, and edges send about twenty.
const MAX_HEADER: usize = 72 * 1024;

/// The same for a stranger, who asks for a page, with an address of up to 16 KiB and the cookies of a browser.
const MAX_HEADER_OF_STRANGERS: usize = 36 * 1024;

/// HTTP/2 requests on one connection: an edge keeps one connection for all of its clients.
const MAX_STREAMS: u32 = 2_048;

/// The same for a stranger: a browser that loads a page.
const MAX_STREAMS_OF_STRANGERS: u32 = 16;

/// What a body that nobody reads may fill before the client has to wait.
const BODY_WINDOW: u32 = 64 * 1024;

/// The same for a stranger, and for all bodies on its connection: the largest form that is read.
const BODY_WINDOW_OF_STRANGERS: u32 = 32 * 1024;

/// The smallest window that a connection begins with, RFC 9113, section 6.9.2.
const CONNECTION_WINDOW_OF_STRANGERS: u32 = 65_535;

/// The two versions, as they are spoken with a kind of peer.
pub(super) struct Speech {
    /// One request after the other.
    pub(super) http1: http1::Builder,
    /// Frames.
    pub(super) http2: http2::Builder<Streams>,
}

impl Speech {
    /// With trusted peers.
    pub(super) fn of_edges(streams: Streams) -> Self {
        let mut speech = Self::with(MAX_HEADER, streams);
        speech.http2.max_concurrent_streams(MAX_STREAMS).initial_stream_window_size(BODY_WINDOW);
        speech
    }

    /// With everybody else.
    pub(super) fn of_strangers(streams: Streams) -> Self {
        let mut speech = Self::with(MAX_HEADER_OF_STRANGERS, streams);
        speech
            .http2
            .max_concurrent_streams(MAX_STREAMS_OF_STRANGERS)
            .initial_stream_window_size(BODY_WINDOW_OF_STRANGERS)
            .initial_connection_window_size(CONNECTION_WINDOW_OF_STRANGERS);
        speech
    }

    fn with(header: usize, streams: Streams) -> Self {
        let mut http1 = http1::Builder::new();
        // One buffer a write: answers are a head and at most a small page. The deadline for headers is the vigil's.
        http1.max_buf_size(header).writev(false).header_read_timeout(None);
        let mut http2 = http2::Builder::new(streams);
        let header = u32::try_from(header).expect("the limit is a small literal");
        http2.max_header_list_size(header).keep_alive_interval(None);
        Self { http1, http2 }
    }
}

/// Where HTTP/2 answers run: beside their connection, never after the server, and no longer than the client may take.
#[derive(Clone)]
pub(super) struct Streams {
    /// Where they are spawned.
    pub(super) tasks: Tasks,
    /// How far the server is.
    pub(super) drain: Arc<Drain>,
    /// How long a stream may last.
    pub(super) within: Duration,
}

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Streams {
    fn execute(&self, stream: F) {
        let (drain, within) = (Arc::clone(&self.drain), self.within);
        self.tasks.spawn(async move {
            // A stream that is dropped is reset, and what was queued for it is let go.
            select(pin!(timeout(within, stream)), pin!(drain.until_cut())).await;
        });
    }
}
