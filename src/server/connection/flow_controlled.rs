//! Response body over HTTP/2 whose stream lasts until the client has taken it: backpressure by flow control.
//!
//! hyper leaves a stream to itself once its last data is queued, however long the client's window stays shut, and the queued data
//! stays in memory. Here the last byte of each piece is a frame of its own: hyper waits for a window that the rest fits, and until
//! then the stream can be given up.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Body whose pieces are split before their last byte.
#[derive(Debug)]
pub(super) struct FlowControlledBody<B> {
    inner: B,
    last: Bytes,
    _permit: Option<OwnedSemaphorePermit>,
}

impl<B> FlowControlledBody<B> {
    /// Wraps a body.
    pub(super) fn new(inner: B) -> Self {
        Self { inner, last: Bytes::new(), _permit: None }
    }

    /// Wraps a body that holds a permit of `pending` until it has been taken. The body is empty where there is none left.
    pub(super) fn limited(pending: Arc<Semaphore>, inner: B) -> Self
    where
        B: Default,
    {
        pending.try_acquire_owned().map_or_else(
            |_none_left| Self::new(B::default()),
            |permit| Self { _permit: Some(permit), ..Self::new(inner) },
        )
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for FlowControlledBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if !self.last.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut self.last)))));
        }
        let piece = ready!(Pin::new(&mut self.inner).poll_frame(context));
        Poll::Ready(piece.map(|piece| {
            piece.map(|frame| {
                frame.map_data(|mut data| {
                    self.last = data.split_off(data.len().saturating_sub(1).max(1).min(data.len()));
                    data
                })
            })
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.last.is_empty() && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let last = u64::try_from(self.last.len()).unwrap_or(u64::MAX);
        self.inner
            .size_hint()
            .exact()
            .map_or_else(SizeHint::new, |rest| SizeHint::with_exact(rest.saturating_add(last)))
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use http_body_util::{BodyExt as _, Full, StreamBody};

    use super::*;

    #[tokio::test]
    async fn a_body_that_there_is_no_room_for_is_empty_until_another_was_taken() {
        let pending = Arc::new(Semaphore::new(1));
        let body = || FlowControlledBody::limited(Arc::clone(&pending), Full::new(Bytes::from_static(b"a page")));
        let first = body();
        assert_eq!(body().size_hint().exact(), Some(0));
        assert_eq!(first.collect().await.unwrap().to_bytes(), "a page");
        assert_eq!(body().size_hint().exact(), Some(6));
    }

    #[tokio::test]
    async fn a_body_in_two_pieces_is_the_same_body() {
        for (text, pieces) in [("", 0), ("a", 1), ("ab", 2), ("a page", 2)] {
            let mut body = FlowControlledBody::new(Full::new(Bytes::from(text)));
            assert_eq!(body.size_hint().exact(), Some(text.len() as u64));
            let (mut read, mut seen) = (String::new(), 0);
            while let Some(frame) = body.frame().await {
                read.push_str(std::str::from_utf8(&frame.unwrap().into_data().unwrap()).unwrap());
                seen += 1;
                assert_eq!(body.is_end_stream(), seen == pieces);
                assert_eq!(body.size_hint().exact(), Some((text.len() - read.len()) as u64));
            }
            assert_eq!((read.as_str(), seen), (text, pieces));
        }
    }
    #[tokio::test]
    async fn each_piece_of_a_streamed_body_is_split() {
        let pieces = ["one", "2", "three"].map(|piece| Ok::<_, Infallible>(Frame::data(Bytes::from(piece))));
        let mut body = FlowControlledBody::new(StreamBody::new(futures_util::stream::iter(pieces)));
        let mut seen = Vec::new();
        while let Some(frame) = body.frame().await {
            seen.push(frame.unwrap().into_data().unwrap());
        }
        assert_eq!(seen, ["on", "e", "2", "thre", "e"]);
    }
}
