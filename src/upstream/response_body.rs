//! Bodies of an upstream's responses, and the connections that they keep.
//!
//! Promises: a body may take any time and any length, but not stand still; a connection serves another request only after this
//! response has ended.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::time::{Sleep, sleep};
use tower::BoxError;

use super::{error::Error, pool::ConnectionLease};

/// Body of an upstream's response, which streams. While it is kept, its connection serves no other request; after a 101 (Switching
/// Protocols) it is kept for as long as the upgraded connection is in use.
pub struct ResponseBody {
    inner: Incoming,
    lease: Option<ConnectionLease>,
    silence: Duration,
    timer: Option<Pin<Box<Sleep>>>,
}

impl ResponseBody {
    /// A body that keeps its connection until it has ended.
    pub(super) fn new(inner: Incoming, lease: ConnectionLease, silence: Duration) -> Self {
        let mut body = Self { inner, lease: Some(lease), silence, timer: None };
        if body.inner.is_end_stream() {
            body.release();
        }
        body
    }

    /// The body of a 101, whose connection is nobody else's any more.
    pub(super) fn of_upgrade(inner: Incoming, lease: ConnectionLease, silence: Duration) -> Self {
        Self { inner, lease: Some(lease), silence, timer: None }
    }

    fn release(&mut self) {
        if let Some(lease) = self.lease.take() {
            lease.release();
        }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let Poll::Ready(frame) = Pin::new(&mut self.inner).poll_frame(cx) else {
            let silence = self.silence;
            ready!(self.timer.get_or_insert_with(|| Box::pin(sleep(silence))).as_mut().poll(cx));
            // Dropped with what the upstream may still send.
            self.lease = None;
            return Poll::Ready(Some(Err(Error::Timeout(silence).into())));
        };
        self.timer = None;
        match &frame {
            None => self.release(),
            Some(Ok(_)) if self.inner.is_end_stream() => self.release(),
            Some(Ok(_)) => {}
            Some(Err(_)) => self.lease = None,
        }
        Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
